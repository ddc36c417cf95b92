"""Values of templates, put together within the limits of a profile.

A value weighs what it would take to write it out: each character, and ENTRY for each entry of a list or map, at every
place where it stands. A list that holds another one twice weighs twice as much, though both are one object.
"""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, ValuesView
from typing import TYPE_CHECKING, Any

from jinja2 import Undefined

from reconciler.templates.fault import TemplateFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.templates.profile import Limits, Profile

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


def operate(operator: str, left: Any, right: Any, profile: Profile) -> Any:
    """Work an operator out: on small numbers, and `+` on what the profile adds, too."""
    limits = profile.limits
    if operator in OPERATORS and is_small(left, limits) and is_small(right, limits):
        return OPERATORS[operator](left, right)
    kinds = {type(left), type(right)}
    if operator == "+" and len(kinds) == 1 and kinds <= profile.adds:
        each = 1 if isinstance(left, str) else ENTRY
        if (len(left) + len(right)) * each > limits.value:
            raise TemplateFault(limits.long_value)
        return left + right
    raise TemplateFault(f"`{operator}` takes two small numbers", "join text with `~`")


def is_small(value: Any, limits: Limits) -> bool:
    """Say whether it is a number with which nothing gets out of hand."""
    return isinstance(value, (int, float)) and abs(value) < limits.number


def weigh(value: Any, limits: Limits) -> int:
    """Give what a value weighs.

    Raises:
        TemplateFault: it is more than any value may, or has something in it that is no data.
    """
    if isinstance(value, _SCALARS):
        return 0
    if isinstance(value, str):
        return len(sized(value, limits))
    weight, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            weight += len(one)
        elif isinstance(one, _SCALARS):
            weight += ENTRY
        elif isinstance(one, (dict, *_LISTS)):
            weight += ENTRY * (1 + len(one))
            if weight <= limits.value:
                waiting += one
                waiting += one.values() if isinstance(one, dict) else ()
        elif isinstance(one, Undefined):
            str(one)  # raises: it is strict
        else:
            raise TemplateFault(f"a {type(one).__name__} is no value", "a method is called: `vars.items()`")
        if weight > limits.value:
            raise TemplateFault(limits.long_value)
    return weight


def sized(text: str, limits: Limits) -> str:
    """Give a text that isn't too long."""
    if len(text) > limits.value:
        raise TemplateFault(limits.long_value)
    return text


def written(value: Any, limits: Limits) -> str:
    """Give a value as text."""
    if isinstance(value, (str, Undefined)):
        return str(value)  # raises where it isn't there: it is strict
    if isinstance(value, int) and not abs(value) < limits.written:
        raise TemplateFault("a number is too large")
    weigh(value, limits)
    return sized(str(value), limits)


def joined(values: Iterable[Any], limits: Limits, between: str = "") -> str:
    """Put texts together."""
    parts: list[str] = []
    size = 0
    for value in values:
        parts.append(written(value, limits))
        size += len(parts[-1]) + len(between)
        if size > limits.value:
            raise TemplateFault(limits.long_value)
    return between.join(parts)
