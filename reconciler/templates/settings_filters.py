"""What templates of settings can call, every part of it bounded: filters and range()."""

from __future__ import annotations

import json
import math
import shlex
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, Undefined

from reconciler.templates.fault import TemplateFault
from reconciler.templates.profile import MAX_ROUNDS, SETTINGS_FILE
from reconciler.templates.values import joined, sized, weigh, written

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMITS = SETTINGS_FILE.limits


def bounded_range(*bounds: Any) -> range:
    """Give the numbers that `range` gives, no more than a template may count through."""
    if not all(isinstance(bound, int) and abs(bound) < _LIMITS.number for bound in bounds):
        raise TemplateFault("range() takes whole numbers")
    made = range(*bounds)
    if len(made) > MAX_ROUNDS:
        raise TemplateFault(f"range() gives more than {MAX_ROUNDS} numbers")
    return made


def _text(value: Any) -> str:
    return written(value, _LIMITS)


def join(values: Any, between: Any = "") -> str:
    """Put texts together."""
    return joined(values, _LIMITS, _text(between))


def _replace(value: Any, old: Any, new: Any) -> str:
    text, old, new = _text(value), _text(old), _text(new)
    if not old:
        raise TemplateFault("replace() needs something to look for")
    if len(text) + text.count(old) * len(new) > _LIMITS.value:
        raise TemplateFault(_LIMITS.long_value)
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
    if sum(len(line) + len(space) for line in lines) > _LIMITS.value:
        raise TemplateFault(_LIMITS.long_value)
    rest = [space + line if line else line for line in lines[1:]]
    return "\n".join([space + lines[0] if first else lines[0], *rest])


def _json(value: Any, indent: Any = None) -> str:
    if isinstance(value, Undefined):
        str(value)
    weigh(value, _LIMITS)
    pieces, size = [], 0
    encoder = json.JSONEncoder(indent=min(int(indent), 16) if indent else None, ensure_ascii=False)
    for piece in encoder.iterencode(value):
        pieces.append(piece)
        size += len(piece)
        if size > _LIMITS.value:
            raise TemplateFault(_LIMITS.long_value)
    return "".join(pieces)


def _quote(value: Any) -> str:
    return sized(shlex.quote(_text(value)), _LIMITS)


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
