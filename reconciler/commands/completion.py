"""What a shell may complete, read without opening anything: names from the spec, and from the state's file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.formats.select import FAILED_SET
from reconciler.specfile.catalogs import catalog_path, component_list
from reconciler.specfile.extend import read_extended
from reconciler.specfile.reader import read
from reconciler.specfile.tree import child_map, child_seq
from reconciler.storage.names import client_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from click import Command

    from reconciler.errors import Problem
    from reconciler.present.terminal import Terminal
    from reconciler.specfile.tree import Map

MOST = 200
"""As many names as a person may want to choose from."""
_LAST = re.compile(r"(?:.*[,:])?[!&]?")


def script(terminal: Terminal, shell: str, command: Command) -> int:
    """Print what teaches a shell to complete."""
    from click.shell_completion import ShellComplete, get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    made = found(command, {}, "updoser", "_UPDOSER_COMPLETE")
    terminal.result(ShellComplete.source(made))  # not its own: that starts a shell to see how old it is
    return 0


def components(file: Path, typed: str) -> list[str]:
    """Give the managed components that begin so."""
    problems: list[Problem] = []
    tree = read_extended(file, problems)
    listed = child_map(tree, "components")
    names = {name: None for name in listed if name != "*"}
    if not listed or "*" in listed:
        for name in child_seq(tree, "catalogs") or ["officescan"]:
            catalog = read(catalog_path(str(name), file.absolute().parent), problems)
            names |= {component.id: None for component in component_list(catalog, problems)}
    return _begin(names, typed)


def clients(file: Path, typed: str) -> list[str]:
    """Give the clients that begin so: those of the spec, and those that inventories listed at the last look."""
    tree = read_extended(file, [])
    return _begin([*_written(tree), *_remembered(tree, file, typed)], typed)


def patterns(file: Path, typed: str) -> list[str]:
    """Give patterns of `--limit` whose last part begins so: groups and labels first, then clients."""
    before = _LAST.match(typed)
    assert before is not None  # it matches an empty text, too
    head, last = before[0], typed[before.end() :]
    tree = read_extended(file, [])
    groups = child_map(tree, "groups")
    labels = [label for entry in _entries(tree) for label in child_seq(entry, "labels")]
    labels += [label for name in groups for label in child_seq(child_map(groups, name), "labels")]
    names = [f"@{FAILED_SET}", *groups, *labels, *_written(tree), *_remembered(tree, file, last)]
    return [head + name for name in _begin(names, last)]


def _begin(names: Iterable[object], typed: str) -> list[str]:
    found = (name for name in names if isinstance(name, str) and name.startswith(typed) and name.isprintable())
    return list(dict.fromkeys(found))[:MOST]


def _entries(tree: Map) -> Iterator[object]:
    groups = child_map(tree, "groups")
    for name in groups:
        yield from child_seq(child_map(groups, name), "clients")


def _written(tree: Map) -> list[str]:
    return [str(entry["name"]) for entry in _entries(tree) if isinstance(entry, dict) and "name" in entry]


def _remembered(tree: Map, file: Path, typed: str) -> list[str]:
    url = child_map(tree, "server").get("state", "sqlite:///.updoser/state.db")
    return client_names(url, file.absolute().parent, typed, MOST) if isinstance(url, str) else []
