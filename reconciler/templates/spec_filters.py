"""The filters of text in the spec: each gives text or a number, within its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Undefined

from reconciler.templates.fault import TemplateFault
from reconciler.templates.profile import SPEC_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DIGITS = 16
_LIMITS = SPEC_TEXT.limits


def _replace(value: Any, old: Any, new: Any) -> str:
    text, old, new = str(value), str(old), str(new)
    if not old:
        raise TemplateFault("replace() needs something to look for")
    if len(text) + text.count(old) * (len(new) - len(old)) > _LIMITS.value:
        raise TemplateFault(_LIMITS.long_value)
    return text.replace(old, new)


def _default(value: Any, fallback: Any = "") -> Any:
    return fallback if isinstance(value, Undefined) else value


FILTERS: dict[str, Callable[..., Any]] = {
    "default": _default,
    "int": lambda value: int(str(value)[:MAX_DIGITS]),
    "length": lambda value: len(str(value)),
    "lower": lambda value: str(value).lower(),
    "replace": _replace,
    "string": str,
    "trim": lambda value: str(value).strip(),
    "upper": lambda value: str(value).upper(),
}
