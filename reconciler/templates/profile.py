"""What templates may do, as data: one profile for the text of the spec, one for files of settings.

Whatever a profile doesn't list is refused before anything of the template runs; `sandbox` is what refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

KIB, MIB = 1024, 2**20
OF_CLIENT = ("name", "group", "address", "labels", "install_root", "proxy", "vars")
SECRET = "secret"  # noqa: S105  (the name of a variable)
MAX_ROUNDS = 100_000
"""Rounds of all loops of one file together, and numbers of one range()."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large things may be, and what is said of larger ones. Sizes of text are in characters.

    `value` is what a value may weigh (`values.weigh`), `number` what an operator takes up to, `written` what a whole
    number may be written up to. `compared` are the comparisons of a chain, `argument` is the text that a method of a
    text takes: looking for a long one may take as long as both multiplied.
    """

    template: int
    output: int
    value: int
    long_template: str
    long_output: str
    long_value: str
    number: int = 10**15
    written: float = 10**15
    nesting: int = 40
    compared: int = 40
    argument: int = 1024


@dataclass(frozen=True, slots=True)
class Spending:
    """What one rendering may take: rounds of its loops, the weight of all values that it builds, and seconds."""

    rounds: int
    built: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a template may be made of.

    `nodes` are those of Jinja2's tree, and `words` names others for messages. Other `tests` are refused by the
    inspection or, without `inspects_tests`, by Jinja2 where it comes to one. `functions` may be called by their name,
    and `callables` says what may be called. `no_values` are names that are no values, each with what is said of it. A
    value that is one of `methods` has those methods; `+` puts together two of one type of `adds`. `fixed` are names
    that can't be set. `syntax` are options of Jinja2's lexer. Without `spending` there is nothing that could be spent:
    no loop, and no value that is made of others but text.
    """

    nodes: frozenset[str]
    words: Mapping[str, str]
    filters: tuple[str, ...]
    tests: tuple[str, ...]
    inspects_tests: bool
    functions: frozenset[str]
    callables: str
    no_values: Mapping[str, str]
    methods: Mapping[type, frozenset[str]]
    adds: frozenset[type]
    fixed: frozenset[str]
    syntax: Mapping[str, Any]
    limits: Limits
    spending: Spending | None
    hint: str
    hint_filters: str


_EXPRESSIONS = frozenset(
    [
        *("Template", "Output", "TemplateData", "Name", "Const", "Filter", "Test", "If", "CondExpr", "Call", "Concat"),
        *("Compare", "Operand", "And", "Or", "Not", "Neg", "Pos", "Add", "Sub", "Mul", "Div", "FloorDiv", "Mod"),
    ]
)
"""What both profiles have."""

_SPEC_FILTERS = ("default", "int", "length", "lower", "replace", "string", "trim", "upper")
_SPEC_HINT = f"there is: variables, env(), {{% if %}}, comparisons, + - * / // %, ~, filters {', '.join(_SPEC_FILTERS)}"
_SPEC_TEMPLATE, _SPEC_OUTPUT = 16 * KIB, 64 * KIB
_SPEC_TOO_LONG = f"the value is longer than {_SPEC_OUTPUT} characters"

SPEC_TEXT = Profile(
    nodes=_EXPRESSIONS,
    words=MappingProxyType(
        {
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
    ),
    filters=_SPEC_FILTERS,
    tests=("defined", "undefined", "number", "string"),
    inspects_tests=False,
    functions=frozenset({"env"}),
    callables="env()",
    no_values=MappingProxyType({"env": "env is called: env('NAME')", "self": "a template can't use `self`"}),
    methods=MappingProxyType({}),
    adds=frozenset(),
    fixed=frozenset(),
    syntax=MappingProxyType({"comment_start_string": "\0#", "comment_end_string": "#\0"}),
    limits=Limits(
        template=_SPEC_TEMPLATE,
        output=_SPEC_OUTPUT,
        value=_SPEC_OUTPUT,
        long_template=f"the template is longer than {_SPEC_TEMPLATE} characters",
        long_output=_SPEC_TOO_LONG,
        long_value=_SPEC_TOO_LONG,
        written=float("inf"),
        compared=_SPEC_TEMPLATE,
    ),
    spending=None,
    hint=_SPEC_HINT,
    hint_filters=_SPEC_HINT,
)

_SETTINGS_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "indent", "int", "join", "last"),
    *("length", "list", "lower", "max", "min", "quote", "replace", "round", "sort", "string", "sum", "title"),
    *("to_json", "tojson", "trim", "unique", "upper"),
)
_SETTINGS_TEMPLATE, _SETTINGS_OUTPUT, _SETTINGS_VALUE = 256 * KIB, 1024 * KIB, 256 * KIB

SETTINGS_FILE = Profile(
    nodes=_EXPRESSIONS | {"For", "Assign", "Getattr", "Getitem", "Slice", "List", "Tuple", "Dict", "Pair", "Keyword"},
    words=MappingProxyType(
        {
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
            "Scope": "{% autoescape %}",
        }
    ),
    filters=_SETTINGS_FILTERS,
    tests=(
        *("defined", "undefined", "number", "string", "none", "true", "false", "sequence", "mapping", "iterable"),
        *("in", "even", "odd", "eq", "ne", "lt", "le", "gt", "ge", "==", "!=", "<", "<=", ">", ">="),
    ),
    inspects_tests=True,
    functions=frozenset({"range"}),
    callables="range() and methods of values",
    no_values=MappingProxyType({}),
    methods=MappingProxyType(
        {
            str: frozenset(
                [
                    *("split", "rsplit", "splitlines", "startswith", "endswith", "strip", "lstrip", "rstrip", "lower"),
                    *("upper", "title", "capitalize", "removeprefix", "removesuffix", "partition", "rpartition"),
                    *("isdigit", "find"),
                ]
            ),
            dict: frozenset(["items", "keys", "values", "get"]),
        }
    ),
    adds=frozenset({str, list, tuple}),
    fixed=frozenset({*OF_CLIENT, SECRET}),
    syntax=MappingProxyType({"trim_blocks": True}),
    limits=Limits(
        template=_SETTINGS_TEMPLATE,
        output=_SETTINGS_OUTPUT,
        value=_SETTINGS_VALUE,
        long_template=f"the template is longer than {_SETTINGS_TEMPLATE // KIB} KiB",
        long_output=f"the result is longer than {_SETTINGS_OUTPUT // KIB} KiB",
        long_value=f"a value is longer than {_SETTINGS_VALUE // KIB} KiB",
    ),
    spending=Spending(rounds=MAX_ROUNDS, built=16 * MIB, seconds=5.0),
    hint="",
    hint_filters=f"there is: {', '.join(_SETTINGS_FILTERS)}",
)
"""What it may build is, in memory, some 50 MiB."""
