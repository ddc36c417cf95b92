"""Templates of settings: Jinja2 in a sandbox, with loops, and with bounds on time, output and everything that can grow.

* Known are the variables of the file and of `-e`, and of the client `name`, `group`, `address`, `labels`,
  `install_root`, `vars` and `proxy` (name, host, port and scheme; none where its group has no proxy); `secret.NAME` is
  one that the setting names. What isn't there is an error (StrictUndefined).
* There are `{% for %}`, `{% if %}`, `{% set %}`, `range()`, the filters and methods listed below. There are no macros,
  includes, namespaces and calls of anything else: nothing that could walk out of the sandbox, or grow by itself.
* Loops share one budget of rounds and one of time; text, lists and numbers are bounded wherever they are put together,
  each for itself and all together: `sandbox.bounded` has every expression weighed that can give more than it takes.
* Values are data: a `{{` in a client's variable stays what it is.
* As in Ansible, the line end behind a `{% … %}` is taken away (`trim_blocks`), and the last one of the file stays.
"""

from __future__ import annotations

import re
import traceback
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

OF_CLIENT = ("name", "group", "address", "labels", "install_root", "proxy", "vars")
SECRET = "secret"  # noqa: S105  (the name of a variable)
MAX_TEMPLATE = 256 * 1024
MAX_OUTPUT = 1024 * 1024
MAX_NESTING = 40

_BEGINNINGS = frozenset(["variable_begin", "block_begin"])
_NODES = frozenset(
    [
        *("Template", "Output", "TemplateData", "Name", "Const", "Filter", "Test", "If", "CondExpr", "For", "Assign"),
        *("Call", "Concat", "Compare", "Operand", "And", "Or", "Not", "Neg", "Pos"),
        *("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Getattr", "Getitem", "Slice"),
        *("List", "Tuple", "Dict", "Pair", "Keyword"),
    ]
)
_WORDS = {
    "Pow": "`**`",
    "Macro": "macros",
    "CallBlock": "{% call %}",
    "FilterBlock": "{% filter %}",
    "NSRef": "namespaces",
    "Include": "{% include %}",
    "Import": "{% import %}",
    "FromImport": "{% import %}",
    "Extends": "{% extends %}",
    "Block": "{% block %}",
    "AssignBlock": "{% set %} with a block",
}
METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(
        [
            *("split", "rsplit", "splitlines", "startswith", "endswith", "strip", "lstrip", "rstrip", "lower", "upper"),
            *("title", "capitalize", "removeprefix", "removesuffix", "partition", "rpartition", "isdigit", "find"),
        ]
    ),
    dict: frozenset(["items", "keys", "values", "get"]),
}
TESTS = (
    *("defined", "undefined", "number", "string", "none", "true", "false", "sequence", "mapping", "iterable"),
    *("in", "even", "odd", "eq", "ne", "lt", "le", "gt", "ge", "==", "!=", "<", "<=", ">", ">="),
)


class TemplateFault(Exception):  # noqa: N818  (never leaves the room: it becomes a Problem, or a client's outcome)
    """A template can't be compiled or rendered; `line` and `column` count from 1, 0 where they aren't known."""

    def __init__(self, message: str, line: int = 0, hint: str = "", column: int = 0) -> None:
        super().__init__(message)
        self.message, self.line, self.hint, self.column = message, line, hint, column

    def at(self, place: tuple[int, int]) -> TemplateFault:
        """Give the same fault with its line and column."""
        return TemplateFault(self.message, place[0], self.hint, place[1])


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
        from jinja2 import TemplateSyntaxError

        from reconciler.templates.sandbox import bounded, sandbox

        if len(text) > MAX_TEMPLATE:
            raise TemplateFault(f"the template is longer than {MAX_TEMPLATE // 1024} KiB")
        self._name = name
        jinja = sandbox()
        try:
            self._tags = Tags(jinja.lex, text)
            tree = jinja.parse(self._tags.text, name)
            self._inspect(tree, 0)
            self.uses = _uses(tree)
            self._needed = _needed(tree)
            compiled = jinja.compile(bounded(tree), name, name)
        except TemplateFault as fault:
            raise fault.at(self._tags.place(fault.line)) from fault
        except TemplateSyntaxError as error:
            tags: Tags | None = getattr(self, "_tags", None)
            place = tags.place(error.lineno) if tags else (error.lineno, 0)
            raise TemplateFault(f"the template is malformed: {error.message}").at(place) from error
        except (RecursionError, MemoryError, SyntaxError) as error:
            raise TemplateFault("the template is nested too deeply") from error
        except Exception as error:  # a number of 5,000 digits, say
            raise TemplateFault(f"the template is malformed: {error}") from error
        self._template = jinja.template_class.from_code(jinja, compiled, jinja.globals)

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
                raise TemplateFault(f"the variable `{name}` isn't defined", hint=hint).at(self._tags.place(line))

    def render(self, values: Mapping[str, Any]) -> str:
        """Render with these values.

        Raises:
            TemplateFault: a value isn't there or doesn't fit, or something is out of bounds.
        """
        from jinja2 import TemplateError

        try:
            return "".join(self._pieces(values)).encode().decode()
        except UnicodeEncodeError as error:
            raise TemplateFault("the result has half a character in it") from error
        except TemplateFault as fault:
            raise fault.at(self._place_of(fault)) from fault
        except TemplateError as error:
            raise TemplateFault(str(error.message or error)).at(self._place_of(error)) from error
        except (RecursionError, MemoryError) as error:
            raise TemplateFault("the template is nested too deeply") from error
        except Exception as error:  # whatever Python says of a value, it is said of this client's
            raise TemplateFault(str(error) or type(error).__name__).at(self._place_of(error)) from error

    def _pieces(self, values: Mapping[str, Any]) -> Iterator[str]:
        from reconciler.templates.sandbox import BUDGET, Budget

        budget, size = Budget(), 0
        for piece in self._template.generate({**values, BUDGET: budget}):
            size += len(piece)
            if size > MAX_OUTPUT:
                raise TemplateFault(f"the result is longer than {MAX_OUTPUT // 1024} KiB")
            budget.look()
            yield piece

    def _place_of(self, error: BaseException) -> tuple[int, int]:
        """Give where the tag stands at which rendering ended: Jinja2 puts its templates into the traceback."""
        frames = traceback.extract_tb(error.__traceback__, limit=-50)
        return self._tags.place(
            next((frame.lineno or 0 for frame in reversed(frames) if frame.filename == self._name), 0)
        )

    def _inspect(self, node: Any, depth: int) -> None:
        """Refuse what the module docstring doesn't list, before anything of it runs."""
        from jinja2 import nodes

        from reconciler.templates.filters import FILTERS

        kind = type(node).__name__
        line = getattr(node, "lineno", 0)
        if kind not in _NODES or (kind == "For" and node.recursive):
            raise TemplateFault(f"a template can't use {_WORDS.get(kind, kind.lower())}", line)
        if depth > MAX_NESTING or (kind == "Compare" and len(node.ops) > MAX_NESTING):
            raise TemplateFault("the template is nested too deeply", line)
        if kind == "Call":
            called = node.node
            if not (isinstance(called, nodes.Getattr) or (isinstance(called, nodes.Name) and called.name == "range")):
                raise TemplateFault("a template can't call anything but range() and methods of values", line)
        if kind == "Filter" and node.name not in FILTERS:
            raise TemplateFault(f"there is no filter `{node.name}`", line, f"there is: {', '.join(FILTERS)}")
        if kind == "Test" and node.name not in TESTS:
            raise TemplateFault(f"there is no test `{node.name}`", line)
        if kind == "Name" and node.ctx == "store" and (node.name in {*OF_CLIENT, SECRET} or node.name[0] == "_"):
            raise TemplateFault(f"`{node.name}` can't be set", line)
        for child in node.iter_child_nodes():
            self._inspect(child, depth + 1)


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
        if isinstance(node, nodes.Getattr) and node.attr not in METHODS[dict]:
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
