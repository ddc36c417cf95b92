"""What templates of settings can call, every part of it bounded: filters, operators and range().

A value weighs what it would take to write it out: each character, and ENTRY for each entry of a list or map, at every
place where it stands. A list that holds another one twice weighs twice as much, though both are one object.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import ItemsView, KeysView, ValuesView
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, Undefined

from reconciler.templates.settings_file import TemplateFault

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_VALUE = 256 * 1024
MAX_ROUNDS = 100_000
MAX_NUMBER = 10**15
ENTRY = 16
_SCALARS = (int, float, type(None), range)
_LISTS = (list, tuple, KeysView, ValuesView, ItemsView)

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: left // right,
    "%": lambda left, right: left % right,
}


def _too_long() -> TemplateFault:
    return TemplateFault(f"a value is longer than {MAX_VALUE // 1024} KiB")


def operate(operator: str, left: Any, right: Any) -> Any:
    """Work an operator out: on small numbers, and `+` on text and lists, too."""
    if operator in OPERATORS and is_small(left) and is_small(right):
        return OPERATORS[operator](left, right)
    if operator == "+" and type(left) is type(right) and isinstance(left, (str, list, tuple)):
        each = 1 if isinstance(left, str) else ENTRY
        if (len(left) + len(right)) * each > MAX_VALUE:
            raise _too_long()
        return left + right
    raise TemplateFault(f"`{operator}` takes two small numbers", hint="join text with `~`")


def is_small(value: Any) -> bool:
    """Say whether it is a number with which nothing gets out of hand."""
    return isinstance(value, (int, float)) and abs(value) < MAX_NUMBER


def weigh(value: Any) -> int:
    """Give what a value weighs.

    Raises:
        TemplateFault: it is more than any value may, or has something in it that is no data.
    """
    if isinstance(value, _SCALARS):
        return 0
    if isinstance(value, str):
        return len(_sized(value))
    weight, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            weight += len(one)
        elif isinstance(one, _SCALARS):
            weight += ENTRY
        elif isinstance(one, (dict, *_LISTS)):
            weight += ENTRY * (1 + len(one))
            if weight <= MAX_VALUE:
                waiting += one
                waiting += one.values() if isinstance(one, dict) else ()
        elif isinstance(one, Undefined):
            str(one)  # raises: it is strict
        else:
            raise TemplateFault(f"a {type(one).__name__} is no value", hint="a method is called: `vars.items()`")
        if weight > MAX_VALUE:
            raise _too_long()
    return weight


def written(value: Any) -> str:
    """Give a value as it comes to stand in the file."""
    return value if isinstance(value, str) else _text(value)


def _sized(text: str) -> str:
    if len(text) > MAX_VALUE:
        raise _too_long()
    return text


def bounded_range(*bounds: Any) -> range:
    """Give the numbers that `range` gives, no more than a template may count through."""
    if not all(isinstance(bound, int) and abs(bound) < MAX_NUMBER for bound in bounds):
        raise TemplateFault("range() takes whole numbers")
    made = range(*bounds)
    if len(made) > MAX_ROUNDS:
        raise TemplateFault(f"range() gives more than {MAX_ROUNDS} numbers")
    return made


def _text(value: Any) -> str:
    if isinstance(value, Undefined):
        return str(value)  # raises: it is strict
    if isinstance(value, int) and not is_small(value):
        raise TemplateFault("a number is too large")
    if not isinstance(value, str):
        weigh(value)
    return str(value) if isinstance(value, str) else _sized(str(value))


def join(values: Any, between: Any = "") -> str:
    """Put texts together."""
    parts: list[str] = []
    size = 0
    gap = _text(between)
    for value in values:
        parts.append(_text(value))
        size += len(parts[-1]) + len(gap)
        if size > MAX_VALUE:
            raise _too_long()
    return gap.join(parts)


def _replace(value: Any, old: Any, new: Any) -> str:
    text, old, new = _text(value), _text(old), _text(new)
    if not old:
        raise TemplateFault("replace() needs something to look for")
    if len(text) + text.count(old) * len(new) > MAX_VALUE:
        raise _too_long()
    return text.replace(old, new)


def _default(value: Any, fallback: Any = "", empty_too: Any = False) -> Any:
    return fallback if isinstance(value, Undefined) or (empty_too and not value) else value


def _whole(value: Any, fallback: Any = 0) -> Any:
    try:
        return int(value) if isinstance(value, float) else int(_text(value)[:16])
    except ValueError:
        return fallback
    except OverflowError:
        raise TemplateFault("a number is too large") from None


def _float(value: Any, fallback: Any = 0.0) -> Any:
    try:
        number = float(_text(value)[:32])
    except ValueError:
        return fallback
    if not math.isfinite(number):
        raise TemplateFault(f"`{number}` is no number to work with")
    return number


def _indent(value: Any, width: Any = 4, first: Any = False) -> str:
    space = width if isinstance(width, str) else " " * min(int(width), 200)
    lines = _text(value).split("\n")
    if sum(len(line) + len(space) for line in lines) > MAX_VALUE:
        raise _too_long()
    rest = [space + line if line else line for line in lines[1:]]
    return "\n".join([space + lines[0] if first else lines[0], *rest])


def _json(value: Any, indent: Any = None) -> str:
    if isinstance(value, Undefined):
        str(value)
    weigh(value)
    pieces, size = [], 0
    encoder = json.JSONEncoder(indent=min(int(indent), 16) if indent else None, ensure_ascii=False)
    for piece in encoder.iterencode(value):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_VALUE:
            raise _too_long()
    return "".join(pieces)


def _quote(value: Any) -> str:
    return _sized(shlex.quote(_text(value)))


def _unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))


def _first(values: Any) -> Any:
    return next(iter(values), StrictUndefined("what is empty has no first entry"))


def _last(values: Any) -> Any:
    entries = list(values)
    return entries[-1] if entries else StrictUndefined("what is empty has no last entry")


def _list(values: Any) -> list[Any]:
    return list(values)


FILTERS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "capitalize": lambda value: _text(value).capitalize(),
    "count": len,
    "d": _default,
    "default": _default,
    "dictsort": lambda value: sorted(value.items()),
    "first": _first,
    "float": _float,
    "indent": _indent,
    "int": _whole,
    "join": join,
    "last": _last,
    "length": len,
    "list": _list,
    "lower": lambda value: _text(value).lower(),
    "max": max,
    "min": min,
    "quote": _quote,
    "replace": _replace,
    "round": lambda value, digits=0: round(value, min(max(int(digits), 0), 15)),
    "sort": sorted,
    "string": _text,
    "sum": sum,
    "title": lambda value: _text(value).title(),
    "to_json": _json,
    "tojson": _json,
    "trim": lambda value: _text(value).strip(),
    "unique": _unique,
    "upper": lambda value: _text(value).upper(),
}
