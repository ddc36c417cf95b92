"""`-e NAME=VALUE` and `-e @FILE`: variables from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import SpecError, UsageError
from reconciler.formats.text import unfit
from reconciler.specfile.tree import Odd
from reconciler.templates.spec_text import NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.errors import Problem


def parse_variables(items: Sequence[str]) -> dict[str, Any]:
    """Read variables in their order; a later one wins. Values of `NAME=VALUE` are text, as Ansible's are.

    Raises:
        UsageError: an item is neither form.
        SpecError: a file can't be read, or isn't a map of names to scalars.
    """
    variables: dict[str, Any] = {}
    for item in items:
        if item.startswith("@"):
            variables.update(_from_file(Path(item[1:])))
            continue
        name, equals, value = item.partition("=")
        if not equals or not NAME.fullmatch(name):
            raise UsageError(f"-e {item}: not of the form NAME=VALUE or @FILE")
        if trouble := unfit(value):
            raise UsageError(f"-e {name}: its value has {trouble} in it", hint="give it as UTF-8")
        variables[name] = value
    return variables


def _from_file(path: Path) -> dict[str, Any]:
    from reconciler.specfile.reader import read

    problems: list[Problem] = []
    tree = read(path, problems)
    for name, value in tree.items():
        if not NAME.fullmatch(name):
            problems.append(tree.keys_at[name].problem(f"`{name}` can't be a variable's name"))
        elif isinstance(value, (dict, list)) or value is None:
            problems.append(tree.values_at[name].problem("a variable is text, a number, or true or false"))
    if problems:
        raise SpecError(problems)
    return {name: value.raw if isinstance(value, Odd) else value for name, value in tree.items()}
