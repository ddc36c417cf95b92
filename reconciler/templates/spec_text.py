"""`{{ name }}` in the strings of the desired state: a small, bounded part of Jinja2.

* Only values that are text are rendered, never keys, and only after `extends` is merged. A rendered value is text.
* There are the variables of `vars` and `-e`, `env('UPDOSER_VAR_NAME')`, `{% if %}`, comparisons, arithmetic on numbers,
  `~`, and the filters listed below. There are no loops, macros, attributes, subscripts or methods, so there is nothing
  to walk out of the sandbox with and nothing that can run long. `*` and the other operators take small numbers only.
* A variable is text, a number or true/false. `vars` are rendered in file order and see `-e` and the ones above them;
  `-e` wins and is taken as it stands.
* What isn't defined is an error. With `no_exec`, `env()` is one too.
* `{#` is left alone: it is no comment, because `${#x}` means something to a shell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.formats.text import unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


ENV_PREFIX = "UPDOSER_VAR_"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_TEMPLATE = 16 * 1024
MAX_OUTPUT = 64 * 1024
MAX_VARIABLE = 4 * 1024
MAX_DISTINCT = 2000
MAX_NUMBER = 10**15
MAX_NESTING = 40

MARK = re.compile(r"\{\{|\{%")
_SIMPLE = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")
_WORDS = frozenset({"true", "false", "none", "True", "False", "None", "env"})
_STATEMENTS = frozenset(
    [
        "Template",
        "Output",
        "TemplateData",
        "Name",
        "Const",
        "Filter",
        "Test",
        "If",
        "CondExpr",
        "Call",
        "Concat",
        "Compare",
        "Operand",
        "And",
        "Or",
        "Not",
        "Neg",
        "Pos",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "FloorDiv",
        "Mod",
    ]
)
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: left // right,
    "%": lambda left, right: left % right,
}


class TemplateFault(Exception):  # noqa: N818  (never leaves the room: it becomes a Problem)
    """A template can't be rendered; the message says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Renderer:
    """Renders templates with one set of variables; equal templates are rendered once."""

    def __init__(self, variables: Mapping[str, Any], environ: Mapping[str, str], *, no_exec: bool = False) -> None:
        self.variables = dict(variables)
        self._environ = environ
        self._no_exec = no_exec
        self._rendered: dict[str, str] = {}
        self._jinja: Any = None

    def define(self, name: str, value: Any) -> None:
        """Add a variable; what was rendered before stays as it is."""
        self.variables[name] = value
        self._rendered.clear()

    def render(self, text: str) -> str:
        """Render a text; one without marks comes back as it is.

        Raises:
            TemplateFault: it isn't a template, uses what isn't there, or is out of bounds.
        """
        if not MARK.search(text):
            return text
        if text not in self._rendered:
            self._rendered[text] = self._quick(text) or self._slow(text)
        return self._rendered[text]

    def _quick(self, text: str) -> str | None:
        """Put variables in where a text has nothing but `{{ name }}`: most do, and a fleet may have many."""
        parts = _SIMPLE.split(text)
        known = self.variables
        if any(name not in known or name in _WORDS for name in parts[1::2]) or any(map(MARK.search, parts[::2])):
            return None
        if any("}}" in part or "%}" in part for part in parts[::2]):
            return None
        return _bounded("".join(str(known[part]) if odd % 2 else part for odd, part in enumerate(parts)))

    def _slow(self, text: str) -> str:
        if len(text) > MAX_TEMPLATE:
            raise TemplateFault(f"the template is longer than {MAX_TEMPLATE} characters")
        if len(self._rendered) >= MAX_DISTINCT:
            raise TemplateFault(f"there are more than {MAX_DISTINCT} different templates with expressions")
        if self._jinja is None:
            self._jinja = _environment(self._env)
        return _evaluate(self._jinja, text, self.variables)

    def _env(self, name: Any = "", default: Any = None) -> str:
        if self._no_exec:
            raise TemplateFault("env() isn't read with --no-exec", f"give the value with -e or under `vars`: {name}")
        if not isinstance(name, str) or not name.startswith(ENV_PREFIX):
            raise TemplateFault(f"env() reads only variables that begin with {ENV_PREFIX}")
        if name in self._environ:
            if trouble := unfit(self._environ[name]):
                raise TemplateFault(f"the environment variable {name} has {trouble} in it")
            return _bounded(self._environ[name], MAX_VARIABLE)
        if default is None:
            raise TemplateFault(f"the environment variable {name} isn't set", f"set it, or env('{name}', 'default')")
        return str(default)


def _bounded(text: str, limit: int = MAX_OUTPUT) -> str:
    if len(text) > limit:
        raise TemplateFault(f"the value is longer than {limit} characters")
    return text


def _environment(env: Callable[..., str]) -> Any:
    """Make the sandbox: nothing but what the module docstring lists."""
    from jinja2 import StrictUndefined, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({*_OPERATORS, "**"})

        def call_binop(self, _context: Any, operator: str, left: Any, right: Any) -> Any:
            numbers = all(isinstance(x, (int, float)) and abs(x) < MAX_NUMBER for x in (left, right))
            if operator not in _OPERATORS or not numbers:
                raise TemplateFault(f"`{operator}` takes two small numbers", "join text with `~`")
            return _OPERATORS[operator](left, right)

        def is_safe_attribute(self, _obj: Any, attr: str, _value: Any) -> bool:
            raise SecurityError(f"`.{attr}` isn't there")

    sandbox = Sandbox(undefined=StrictUndefined, comment_start_string="\0#", comment_end_string="#\0", cache_size=0)
    sandbox.keep_trailing_newline = True
    sandbox.globals = {"env": env}
    sandbox.filters = {**_FILTERS, "_joined": _join}
    sandbox.tests = {name: sandbox.tests[name] for name in ("defined", "undefined", "number", "string")}
    sandbox.updoser_nodes = nodes  # type: ignore[attr-defined]
    return sandbox


def _evaluate(sandbox: Any, text: str, variables: Mapping[str, Any]) -> str:
    """Parse, look at every node, run, and cut at the limit. Foreign errors are mapped here."""
    from jinja2 import TemplateSyntaxError, UndefinedError

    try:
        tree = sandbox.parse(text)
        _inspect(sandbox.updoser_nodes, tree, 0)
        text = _join(sandbox.from_string(_bounded_joins(tree)).generate(variables))
    except UndefinedError as error:
        raise TemplateFault(*_undefined(str(error.message), variables)) from error
    except TemplateSyntaxError as error:
        raise TemplateFault(f"the template is malformed: {error.message}") from error
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise TemplateFault("the template is nested too deeply") from error
    except TemplateFault:
        raise
    except Exception as error:  # Jinja2's own, and whatever Python says of a value
        raise TemplateFault(f"the template can't be rendered: {str(error) or type(error).__name__}") from error
    if trouble := unfit(text):
        raise TemplateFault(f"the value has {trouble} in it")
    return text


def _bounded_joins(tree: Any) -> Any:
    """Rewrite `~`, so that what it makes is bounded like all else."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    class Joins(NodeTransformer):
        def visit_Concat(self, node: Any) -> Any:  # noqa: N802  (Jinja2's name)
            self.generic_visit(node)
            return nodes.Filter(nodes.List(node.nodes), "_joined", [], [], None, None, lineno=node.lineno)

    made = Joins().visit(tree)
    made.set_environment(tree.environment)
    return made


def _undefined(message: str, variables: Mapping[str, Any]) -> tuple[str, str]:
    from reconciler.hints import did_you_mean

    match = re.search(r"'([^']*)' is undefined", message)
    if not match:
        return message, ""
    name = match.group(1)
    return f"the variable `{name}` isn't defined", did_you_mean(name, variables) or (
        f"set it under `vars` or with -e {name}=VALUE"
    )


def _inspect(nodes: Any, node: Any, depth: int, *, called: bool = False) -> None:
    """Refuse what the module docstring doesn't list, before anything of it runs."""
    kind = type(node).__name__
    if kind not in _STATEMENTS:
        raise TemplateFault(f"a template can't use {_WORD.get(kind, kind.lower())}", _AVAILABLE)
    if depth > MAX_NESTING:
        raise TemplateFault("the template is nested too deeply")
    if kind == "Call" and not (isinstance(node.node, nodes.Name) and node.node.name == "env"):
        raise TemplateFault("a template can't call anything but env()", _AVAILABLE)
    if kind == "Name" and node.name == "env" and not called:
        raise TemplateFault("env is called: env('NAME')", _AVAILABLE)
    if kind == "Filter" and node.name not in _FILTERS:
        raise TemplateFault(f"there is no filter `{node.name}`", _AVAILABLE)
    for child in node.iter_child_nodes():
        _inspect(nodes, child, depth + 1, called=kind == "Call" and child is node.node)


_WORD = {
    "For": "loops",
    "Getattr": "attributes (`a.b`)",
    "Getitem": "subscripts (`a[b]`)",
    "Pow": "`**`",
    "Assign": "{% set %}",
    "Macro": "macros",
    "Include": "{% include %}",
    "Import": "{% import %}",
    "List": "lists",
    "Dict": "dicts",
    "Tuple": "tuples",
}


def _replace(value: Any, old: Any, new: Any) -> str:
    text, old, new = str(value), str(old), str(new)
    if not old:
        raise TemplateFault("replace() needs something to look for")
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_OUTPUT:
        raise TemplateFault(f"the value is longer than {MAX_OUTPUT} characters")
    return text.replace(old, new)


def _join(values: Any) -> str:
    parts: list[str] = []
    size = 0
    for value in values:
        parts.append(str(value))  # a name without a value raises: it is strict
        size += len(parts[-1])
        if size > MAX_OUTPUT:
            raise TemplateFault(f"the value is longer than {MAX_OUTPUT} characters")
    return "".join(parts)


def _default(value: Any, fallback: Any = "") -> Any:
    from jinja2 import Undefined

    return fallback if isinstance(value, Undefined) else value


_FILTERS: dict[str, Callable[..., Any]] = {
    "default": _default,
    "int": lambda value: int(str(value)[:MAX_DIGITS]),
    "length": lambda value: len(str(value)),
    "lower": lambda value: str(value).lower(),
    "replace": _replace,
    "string": str,
    "trim": lambda value: str(value).strip(),
    "upper": lambda value: str(value).upper(),
}
MAX_DIGITS = 16
_AVAILABLE = "there is: variables, env(), {% if %}, comparisons, + - * / // %, ~, filters " + ", ".join(_FILTERS)
