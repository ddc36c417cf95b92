"""What people are told of: conditions that begin, change and end, and the messages that say so."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.network import Proxy
    from reconciler.model.spec import PluginConfig

ConditionKind = Literal[
    "rollout_halted",
    "approval_needed",
    "source_stale",
    "signature_expiring",
    "client_quarantined",
    "outdated",
    "unknown",
    "round_failed",
    "spec_rejected",
    "spec_unreachable",
    "drift",
]
CONDITIONS: tuple[ConditionKind, ...] = get_args(ConditionKind)
TRANSIENT: frozenset[ConditionKind] = frozenset(["source_stale", "round_failed", "spec_unreachable", "drift"])
"""What is often over by itself: it is told when it lasts."""
OF_CONTROLLER: frozenset[ConditionKind] = frozenset(["round_failed", "spec_rejected", "spec_unreachable"])
"""What is known of a round that failed, too; of all else nothing is, so it stays as it was."""
Severity = Literal["info", "warning", "critical"]
RECORDED = ""
"""In place of a notifier's name: what the controller knows, whoever is told of it."""
URGENT: frozenset[ConditionKind] = frozenset(["rollout_halted", "client_quarantined"])
"""What is told while a round goes on, which may take hours."""
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The worst is the last."""
Delivery = Literal["delivered", "failed"]
DELIVERIES: tuple[Delivery, ...] = get_args(Delivery)
Change = Literal["begun", "changed", "goes_on", "ended", "test"]
CHANGES: tuple[Change, ...] = get_args(Change)
_WORDS: Mapping[Change, str] = {
    "begun": "",
    "changed": "changed: ",
    "goes_on": "still: ",
    "ended": "over: ",
    "test": "test: ",
}
MAX_SHOWN = 20
"""Notices of one message that stand in its text; all are among its data."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that somebody may want to know while it lasts.

    `about` names what it is about, and nothing that changes while it lasts: no count, time or version of a sentence.
    `summary` is for people. `share` is how large a part of its clients has it, 0 to 1, where that decides who is told.
    """

    kind: ConditionKind
    about: str
    severity: Severity
    summary: str
    share: float = 1.0

    @property
    def fingerprint(self) -> str:
        """What it is known by from its beginning to its end: 32 digits."""
        return hashlib.sha256(f"{self.kind}\0{self.about}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which share of clients on, and after what time, it is told."""

    above: float
    span: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierSpec:
    """Who is told of which conditions, and how.

    What is `TRANSIENT` is told when it lasted for `patience`, and what lasts is told again each `repeat` (None: never).
    `grouped`: what a round found is one message. Sending one takes at most `timeout`.
    """

    name: str
    plugin: PluginConfig
    on: frozenset[ConditionKind] = frozenset(CONDITIONS)
    min_severity: Severity = "info"
    repeat: timedelta | None = timedelta(hours=24)
    patience: timedelta = timedelta(minutes=10)
    outdated: Threshold = Threshold(0.1, timedelta(days=7))
    unknown: Threshold = Threshold(0.2, timedelta(hours=1))
    grouped: bool = True
    timeout: timedelta = timedelta(seconds=15)
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a notifier knows of a condition: since when it lasts, and what was told last (no severity: nothing yet)."""

    condition: Condition
    since: datetime
    severity: Severity | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One change of a condition, as it is told."""

    change: Change
    condition: Condition
    since: datetime

    @property
    def line(self) -> str:
        """It in one line."""
        return f"{_WORDS[self.change]}{self.condition.summary}"


@dataclass(frozen=True, slots=True)
class Message:
    """What a notifier sends: notices of one round, said by `host`. What is sent once more has the same `id`."""

    id: str
    at: datetime
    host: str
    notices: tuple[Notice, ...] = field(default=())

    @property
    def severity(self) -> Severity:
        """The worst of what isn't over."""
        open_ones = [one.condition.severity for one in self.notices if one.change != "ended"]
        return max(open_ones, key=SEVERITIES.index, default="info")

    @property
    def title(self) -> str:
        """The message in one line."""
        first, more = self.notices[0].line, len(self.notices) - 1
        return f"updoser on {self.host}: {first}" + (f" (and {more} more)" if more else "")

    @property
    def text(self) -> str:
        """The message in some lines, one for each notice."""
        lines = [one.line for one in self.notices[:MAX_SHOWN]]
        left = len(self.notices) - len(lines)
        return "\n".join([*lines, *([f"and {left} more"] if left else [])])

    @property
    def document(self) -> dict[str, Any]:
        """The message for machines; see schema/notification.schema.json."""
        return {
            "format_version": "1.0",
            "id": self.id,
            "at": _written(self.at),
            "host": self.host,
            "severity": self.severity,
            "title": self.title,
            "text": self.text,
            "notices": [
                {
                    "change": one.change,
                    "condition": one.condition.kind,
                    "about": one.condition.about,
                    "fingerprint": one.condition.fingerprint,
                    "severity": one.condition.severity,
                    "summary": one.condition.summary,
                    "since": _written(one.since),
                }
                for one in self.notices
            ],
        }


def message_of(document: Mapping[str, Any]) -> Message:
    """Read what `Message.document` gave.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    notices = tuple(
        Notice(
            one["change"],
            Condition(one["condition"], one["about"], one["severity"], one["summary"]),
            datetime.fromisoformat(one["since"]),
        )
        for one in document["notices"]
    )
    return Message(document["id"], datetime.fromisoformat(document["at"]), document["host"], notices)


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
