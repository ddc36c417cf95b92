"""Who is told what: from the conditions that a round found, and what a notifier was told before.

1. A condition counts for a notifier that asks for its kind, if it is severe enough and over the threshold.
2. It is told when it lasted for as long as its kind has to; one that is over before that was never told.
3. Then it is told once more when its severity changes, each `repeat`, and when it is over.
4. What a round couldn't judge stays as it was.

What is compared is the fingerprint and the severity: no wording, count or time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.notice import SEVERITIES, TRANSIENT, Known, Message, Notice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from reconciler.model.notice import Change, Condition, ConditionKind, NotifierSpec


def tell(
    spec: NotifierSpec,
    before: Mapping[str, Known],
    conditions: Iterable[Condition],
    judged: Collection[ConditionKind],
    now: datetime,
) -> tuple[dict[str, Known], tuple[Notice, ...]]:
    """Give what a notifier knows from now on, by fingerprint, and what it is to tell; the worst first."""
    found = {one.fingerprint: one for one in conditions if one.kind in judged and _counts(spec, one)}
    after: dict[str, Known] = {}
    notices: list[Notice] = []
    for key, told in before.items():
        kind = told.condition.kind
        if key in found or kind not in spec.on:  # whoever wants to hear no more of a kind isn't told that it is over
            continue
        if kind not in judged:
            after[key] = told
        elif told.severity is not None:
            notices.append(Notice("ended", told.condition, told.since))
    for key, condition in found.items():
        told = replace(before.get(key, Known(condition, now)), condition=condition)
        change = _change(spec, told, now)
        if change is not None:
            notices.append(Notice(change, condition, told.since))
            told = replace(told, severity=condition.severity, at=now)
        after[key] = told
    return after, tuple(sorted(notices, key=_weight))


def messages(spec: NotifierSpec, notices: tuple[Notice, ...], id_: str, host: str, now: datetime) -> list[Message]:
    """Give the messages that say so: one, or one for each notice where they aren't grouped."""
    if not notices:
        return []
    if spec.grouped:
        return [Message(id_, now, host, notices)]
    return [Message(f"{id_}-{number}", now, host, (one,)) for number, one in enumerate(notices, 1)]


def _counts(spec: NotifierSpec, condition: Condition) -> bool:
    if condition.kind not in spec.on or SEVERITIES.index(condition.severity) < SEVERITIES.index(spec.min_severity):
        return False
    if condition.kind == "outdated":
        return condition.share > spec.outdated.above
    return condition.kind != "unknown" or condition.share > spec.unknown.above


def _change(spec: NotifierSpec, told: Known, now: datetime) -> Change | None:
    """Say what is to be told of a condition that is there; None: nothing now."""
    if told.severity is None or told.at is None:
        return "begun" if now - told.since >= _patience(spec, told.condition) else None
    if told.severity != told.condition.severity:
        return "changed"
    return "goes_on" if spec.repeat is not None and now - told.at >= spec.repeat else None


def _patience(spec: NotifierSpec, condition: Condition) -> timedelta:
    if condition.kind == "outdated":
        return spec.outdated.span
    if condition.kind == "unknown":
        return spec.unknown.span
    return spec.patience if condition.kind in TRANSIENT else timedelta(0)


def _weight(notice: Notice) -> tuple[bool, int, str, str]:
    condition = notice.condition
    return notice.change == "ended", -SEVERITIES.index(condition.severity), condition.kind, condition.about
