"""Templates of settings: Jinja2 in a sandbox, with loops, and with bounds on time, output and everything that can grow.

* Known are the variables of the file and of `-e`, and of the client `name`, `group`, `address`, `labels`,
  `install_root`, `vars` and `proxy` (name, host, port and scheme; none where its group has no proxy); `secret.NAME` is
  one that the setting names. What isn't there is an error (StrictUndefined).
* There are `{% for %}`, `{% if %}`, `{% set %}`, `range()`, and the filters and methods of the profile. There are no
  macros, includes, namespaces and calls of anything else: nothing that could walk out of the sandbox, or grow by
  itself.
* Loops share one budget of rounds and one of time; text, lists and numbers are bounded wherever they are put together,
  each for itself and all together: the sandbox has every expression weighed that can give more than it takes.
* Values are data: a `{{` in a client's variable stays what it is.
* As in Ansible, the line end behind a `{% … %}` is taken away (`trim_blocks`), and the last one of the file stays.
"""

from __future__ import annotations

import re
import traceback
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.templates.fault import TemplateFault
from reconciler.templates.profile import SECRET, SETTINGS_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.templates.sandbox import Sandbox

_BEGINNINGS = frozenset(["variable_begin", "block_begin"])
_LIMITS = SETTINGS_FILE.limits


@dataclass(frozen=True, slots=True)
class Uses:
    """What a template reads: variables by name, and of `vars` and `secret` which entries (None: maybe all)."""

    names: frozenset[str]
    vars: frozenset[str] | None
    secrets: frozenset[str] | None


class Tags:
    """A template with a line of its own for what each `{{` and `{%` begins: by its line, each is found again.

    Jinja2 knows lines only. A line end behind the beginning of a tag changes nothing in what comes of it.
    """

    def __init__(self, lex: Callable[[str], Iterable[tuple[int, str, str]]], source: str) -> None:
        """Take Jinja2's `lex`, which finds the tags."""
        source = source.replace("\r\n", "\n").replace("\r", "\n")
        # Each line of `text` that a tag begins anew, and the line and column of that tag in the source.
        self._places = [(0, 1, 1)]
        parts: list[str] = []
        done = at = line = row = 0
        for _line, kind, token in lex(source):
            begin = source.find(token, at)  # what `{%-` takes away is between two tokens
            at = begin + len(token)
            if kind in _BEGINNINGS:
                ends = source.count("\n", done, begin)
                line += ends
                row = source.rindex("\n", done, begin) + 1 if ends else row
                self._places.append((line + len(self._places) + 1, line + 1, begin - row + 1))
                parts.append(source[done:at])
                done = at
        self.text = "\n".join([*parts, source[done:]])

    def place(self, line: int) -> tuple[int, int]:
        """Give the line and column of the source for a line of `text`: those of the tag, or of a line within it."""
        if line <= 0:
            return 0, 0
        found = bisect_right(self._places, (line, 10**9, 0)) - 1
        first, there, column = self._places[found]
        return (there, column) if line == first else (line - found, 1)


class Template:
    """A compiled template; safe to use from several threads."""

    def __init__(self, text: str, name: str) -> None:
        """Compile; `name` is what messages call it.

        Raises:
            TemplateFault: it is malformed, too large, or uses what there isn't.
        """
        from reconciler.templates.sandbox import fault_of

        if len(text) > _LIMITS.template:
            raise TemplateFault(_LIMITS.long_template)
        self._name = name
        self._sandbox = _sandbox()
        self._tags: Tags | None = None
        try:
            self._tags = Tags(self._sandbox.lex, text)
            tree = self._sandbox.inspected(self._tags.text, name)
            self.uses = _uses(tree)
            self._needed = _needed(tree)
            self._program = self._sandbox.compiled(tree, name)
        except Exception as error:  # a number of 5,000 digits, say
            raise fault_of(error, "the template is malformed: ", self._place_in_text) from error

    def check_names(self, known: frozenset[str]) -> None:
        """Refuse a name that no client could give a value for, unless the template itself asks whether it is there.

        Raises:
            TemplateFault: there is one.
        """
        from difflib import get_close_matches

        for name, line in self._needed.items():
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"set it under `vars` or with -e {name}=VALUE"
                raise TemplateFault(f"the variable `{name}` isn't defined", hint).at(self._place(line))

    def render(self, values: Mapping[str, Any]) -> str:
        """Render with these values.

        Raises:
            TemplateFault: a value isn't there or doesn't fit, or something is out of bounds.
        """
        from reconciler.templates.sandbox import fault_of

        try:
            return self._sandbox.render(self._program, values).encode().decode()
        except UnicodeEncodeError as error:
            raise TemplateFault("the result has half a character in it") from error
        except Exception as error:  # whatever Python says of a value, it is said of this client's
            raise fault_of(error, place=self._place_in_traceback) from error

    def _place(self, line: int) -> tuple[int, int]:
        return self._tags.place(line) if self._tags else (line, 0)

    def _place_in_text(self, error: Exception) -> tuple[int, int]:
        """Give where the tag stands that can't be compiled."""
        return self._place(getattr(error, "line", 0) or getattr(error, "lineno", 0))

    def _place_in_traceback(self, error: Exception) -> tuple[int, int]:
        """Give where the tag stands at which rendering ended: Jinja2 puts its templates into the traceback."""
        frames = traceback.extract_tb(error.__traceback__, limit=-50)
        return self._place(next((frame.lineno or 0 for frame in reversed(frames) if frame.filename == self._name), 0))


@cache
def _sandbox() -> Sandbox:
    """Give the sandbox that all templates share."""
    from reconciler.templates.sandbox import Sandbox
    from reconciler.templates.settings_filters import FILTERS, bounded_range

    return Sandbox(SETTINGS_FILE, FILTERS, {"range": bounded_range})


# --- what a template uses ---------------------------------------------------------------------------------------------


def _uses(tree: Any) -> Uses:
    from jinja2 import meta

    return Uses(
        frozenset(meta.find_undeclared_variables(tree) - {"range", "loop"}),
        _entries(tree, "vars"),
        _entries(tree, SECRET),
    )


def _entries(tree: Any, name: str) -> frozenset[str] | None:
    """Give which entries of a map a template reads; None where it takes the map as a whole, or what it looks up."""
    from jinja2 import nodes

    found: set[str] = set()
    named = 0
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if not (isinstance(node.node, nodes.Name) and node.node.name == name):
            continue
        if isinstance(node, nodes.Getattr) and node.attr not in SETTINGS_FILE.methods[dict]:
            found.add(node.attr)
            named += 1
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            found.add(node.arg.value)
            named += 1
    whole = sum(node.name == name for node in tree.find_all(nodes.Name)) > named
    return None if whole else frozenset(found)


def _needed(tree: Any) -> dict[str, int]:
    """Give the names that must have a value, each with its first line: those that nothing asks about."""
    from jinja2 import meta, nodes

    free = meta.find_undeclared_variables(tree) - {"range", "loop"}
    asked = {
        node.node.name
        for node in tree.find_all((nodes.Test, nodes.Filter))
        if node.name in {"defined", "undefined", "default", "d"} and isinstance(node.node, nodes.Name)
    }
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in free - asked:
            lines[node.name] = min(lines.get(node.name, node.lineno), node.lineno)
    return dict(sorted(lines.items(), key=lambda entry: entry[1]))


PLACEHOLDER = re.compile(r"""(["']?)%s\1""")
"""What stands for the file in `validate`, with or without quotes around it."""
