"""What a status is measured against by pipelines: `age>48h,outdated>5%`.

A condition is a measure, `>` or `<`, and a limit. Measures: `age` (since the latest held version came out, a duration),
`updated`, `outdated`, `pending` (installed, not loaded), `ahead` and `unknown` (clients, as a number or as a share in
percent). A condition is met when it holds for any component. Conditions are separated by commas; one that is met is
enough.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from reconciler.formats.duration import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.report import ComponentStatus

_CONDITION = re.compile(r"\s*(age|updated|outdated|pending|ahead|unknown)\s*([<>])\s*(\S+)\s*")
_NUMBER = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(%?)")
EXAMPLE = "age>48h,outdated>5%"


@dataclass(frozen=True, slots=True)
class Condition:
    """One measure and its limit; `share` says that the limit is a share (0 to 1) of the component's clients."""

    text: str
    measure: str
    above: bool
    limit: float | Fraction
    share: bool = False

    def met_by(self, status: ComponentStatus) -> bool:
        """Say whether a component is beyond the limit; an age that isn't known is not."""
        if self.measure == "age":
            if status.age is None:
                return False
            value: float | Fraction = status.age
        else:
            count: int = getattr(status, self.measure)
            value = count if not self.share else Fraction(count, status.clients) if status.clients else 0
        return value > self.limit if self.above else value < self.limit


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Read conditions as `--fail-on` takes them.

    Raises:
        ValueError: the text isn't of that form.
    """
    return tuple(_parse(part) for part in text.split(","))


def _parse(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if not match:
        raise ValueError(f"{text.strip()!r} is no condition (such as {EXAMPLE})")
    measure, sign, limit = match.groups()
    if measure == "age":
        return Condition(text.strip(), measure, sign == ">", parse_duration(limit).total_seconds())
    number = _NUMBER.fullmatch(limit)
    if not number:
        raise ValueError(f"{limit!r} in {text.strip()!r} is neither a number nor a share (such as 5%)")
    share = bool(number[2])
    return Condition(
        text=text.strip(),
        measure=measure,
        above=sign == ">",
        limit=Fraction(number[1]) / (100 if share else 1),
        share=share,
    )


def breaches(conditions: Iterable[Condition], components: Iterable[ComponentStatus]) -> list[str]:
    """List every condition that a component meets, as `component: condition`."""
    listed = tuple(components)
    return [
        f"{status.id}: {condition.text}" for condition in conditions for status in listed if condition.met_by(status)
    ]
