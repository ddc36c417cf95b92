"""A fleet's rows in the state become cohorts: clients of one group in the same situation.

Rows are many, situations are few: what is the same for many rows is worked out once.

* A client that did not answer when it was looked at last is in a cohort without a profile, by the kind of its error.
* So is one whose manifest names another controller: what it has isn't ours to compare.
* One to which there is no way isn't looked at; its cohort says why.
* A hold applies up to and including its day, in UTC. A client in quarantine is held until that is over.
* One machine that answers under several names is held under all of them, if its install_root is the same: what one
  name should have would undo what the other should.
* Clients that waves select by a pattern are in cohorts of their own, and so are those whose settings differ.
* Nothing else keeps clients apart: since when one failed matters while it fails, its settings while it can be reached.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

from reconciler.errors import OtherControllerError, UsageError
from reconciler.formats.select import FAILED_SET, parse
from reconciler.model.change import SettingsReason
from reconciler.model.network import DIRECT, why_unreachable
from reconciler.model.plan import NEVER_SEEN, Cohort
from reconciler.model.settings import to_do
from reconciler.model.spec import Quarantine
from reconciler.present.words import count_text
from reconciler.reasons import REASONS, label_of
from reconciler.storage.fleet import labels_of
from reconciler.storage.judging import double_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from reconciler.formats.select import Pattern
    from reconciler.model.client import Profile
    from reconciler.model.spec import Hold
    from reconciler.storage.fleet import ClientRow
    from reconciler.storage.state import Identity

NAMED_SET = "named"
MAX_DOUBLES = 50
"""Machines with several names that are named in one plan."""
MORE_DOUBLES = "it is the same machine as another client (one install_root): keep one of the names"
NOT_SELECTED: frozenset[str] = frozenset()


class Left(NamedTuple):
    """Why a client is left alone (empty: it isn't), and when nothing keeps it any more; None: not by the time alone."""

    why: str
    until: datetime | None


FREE = Left("", None)
_MINUTE = timedelta(minutes=1)
Todo = SettingsReason | Literal[""]
Situation = tuple[str, str | None, str, str, Left, float | None, frozenset[str], Todo]
"""What clients of one cohort have in common: group, fingerprint, error, route, hold, failing since, patterns of waves
that select them, what is to be done about settings."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which clients a command is about: all, those that `--limit` selects, or, `exact`, some that are named."""

    pattern: Pattern | None = None
    exact: bool = False

    @classmethod
    def parse(cls, limit: str, failed: Collection[str]) -> Selection:
        """Read `--limit`; `failed` are the clients behind `@failed`.

        Raises:
            UsageError: it isn't a pattern.
        """
        if not limit:
            return cls()
        try:
            return cls(parse(limit, {FAILED_SET: failed}))
        except ValueError as error:
            raise UsageError(f"--limit: {error}") from error

    @classmethod
    def named(cls, names: Collection[str]) -> Selection:
        """Choose clients by their exact names, whatever characters those have."""
        return cls(parse(f"@{NAMED_SET}", {NAMED_SET: names}), exact=True)

    def takes(self, name: str, group: str, labels: Collection[str]) -> bool:
        """Say whether a client is chosen."""
        return self.pattern is None or self.pattern.matches(name, (group,), labels)


EVERYBODY = Selection()


@dataclass(frozen=True, slots=True)
class Marks:
    """What tells clients in the same situation apart: holds, patterns of waves, and the settings that they should have.

    `settings` has the versions that each client's settings should have (`model.settings.wish`), by its name, and
    `group_settings` those of groups whose clients all should have the same. Who isn't in them has no settings. No
    client is left alone for longer than `quarantine` from now. `doubles` has what is wrong with clients that are a
    machine which has another name, too.
    """

    holds: Sequence[Hold] = ()
    selects: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    group_settings: Mapping[str, str] = field(default_factory=dict)
    quarantine: timedelta = Quarantine().span
    doubles: Mapping[str, str] = field(default_factory=dict)


def gather_cohorts(
    rows: Iterable[ClientRow],
    profiles: Mapping[str, Profile],
    *,
    choice: Selection,
    marks: Marks,
    identity: Identity,
    now: datetime,
) -> tuple[list[Cohort], list[Cohort]]:
    """Group the rows of a fleet; see the module's rules. Those that aren't chosen are the second list."""
    foreign = {key for key, profile in profiles.items() if profile.is_foreign(identity.lineage, identity.epoch)}
    reader = _Marker(marks, now)
    chosen: dict[Situation, list[str]] = defaultdict(list)
    others: dict[Situation, list[str]] = defaultdict(list)
    stamp = now.timestamp()
    labels_of: dict[str, tuple[str, ...]] = {}
    selected_of: dict[tuple[str, str], frozenset[str]] = {}
    for row in rows:
        name, group, text = row.name, row.group, row.labels
        hold, selected, members = FREE, NOT_SELECTED, chosen
        if reader.asks_selects:
            known = selected_of.get((group, text))
            if known is None:
                known = reader.selected(name, group, _labels(text, labels_of))
                if not reader.by_name:
                    selected_of[group, text] = known
            selected = known
        if reader.asks_names or choice.pattern is not None:
            labels = _labels(text, labels_of)
            hold = reader.hold(name, group, labels)
            if not choice.takes(name, group, labels):
                members = others
        if marks.doubles and name in marks.doubles:
            hold = Left(hold.why or marks.doubles[name], None)
        if row.quarantined is not None and row.quarantined > stamp:
            hold = _in_quarantine(min(datetime.fromtimestamp(row.quarantined, UTC), now + marks.quarantine), hold)
        todo: Todo = reader.settings(name, group, row.settings) if reader.any_settings else ""
        members[group, row.fingerprint, row.error, row.route, hold, row.failing_since, selected, todo].append(name)
    return _cohorts(chosen, profiles, foreign, now), _cohorts(others, profiles, foreign, now)


def _in_quarantine(until: datetime, held: Left) -> Left:
    """Say how a client is left alone that is in quarantine, too; its end counts by the minute that is over then."""
    minute = until.replace(second=0, microsecond=0)
    over = minute if minute == until else minute + _MINUTE
    if not held.why:
        return Left(f"quarantine until {minute:%Y-%m-%dT%H:%MZ}: it failed again and again", over)
    return Left(held.why, held.until and max(held.until, over))


def say_doubles(doubles: Sequence[Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """Say of the names of each machine that has several what is wrong with them: by name, and as sentences.

    Where whole lists overlap, the first machines are named and the others counted: each text is a situation of its own.
    """
    named = [double_text(names) for names in doubles[:MAX_DOUBLES]]
    rest = len(doubles) - len(named)
    texts = [*named, *([MORE_DOUBLES] * rest)]
    told = {name: text for names, text in zip(doubles, texts, strict=True) for name in names}
    return told, [*named, *([f"{count_text(rest, 'more machine')} have several names"] if rest else [])]


def _labels(text: str, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Read labels; equal ones once."""
    labels = known.get(text)
    if labels is None:
        labels = known[text] = labels_of(text)
    return labels


class _Marker:
    """Says which marks a client has."""

    def __init__(self, marks: Marks, now: datetime) -> None:
        today = now.date()
        held = [hold for hold in marks.holds if hold.applies(today)]
        self._holds = [(parse(hold.clients), hold) for hold in held]
        self._selects = [parse(text) for text in dict.fromkeys(marks.selects)]
        self._wanted, self._wanted_by_group = marks.settings, marks.group_settings
        self.any_settings = bool(marks.settings or marks.group_settings)
        self.by_name = any(pattern.by_name for pattern in self._selects)
        """True when a pattern of a wave asks for names, so that clients alike in all else may differ."""
        self.asks_selects = bool(self._selects)
        self.asks_names = bool(self._holds)

    def hold(self, name: str, group: str, labels: tuple[str, ...]) -> Left:
        """Give the first hold that takes a client, and when the last of them is over."""
        found = [hold for pattern, hold in self._holds if pattern.matches(name, (group,), labels)]
        if not found:
            return FREE
        ends = [hold.over for hold in found if hold.over is not None]
        return Left(found[0].text, max(ends) if len(ends) == len(found) else None)

    def selected(self, name: str, group: str, labels: tuple[str, ...]) -> frozenset[str]:
        return frozenset(pattern.text for pattern in self._selects if pattern.matches(name, (group,), labels))

    def settings(self, name: str, group: str, has: str) -> Todo:
        """Say what is to be done about the settings of a client, which has those that `has` tells."""
        wanted = self._wanted_by_group.get(group) or self._wanted.get(name, "")
        return to_do(wanted, has) if wanted else ""


def _cohorts(
    members: Mapping[Situation, list[str]],
    profiles: Mapping[str, Profile],
    foreign: Collection[str],
    now: datetime,
) -> list[Cohort]:
    """Put those together who are in the same situation once what doesn't matter in it is left out."""
    alike: dict[Situation, list[str]] = defaultdict(list)
    for (group, fingerprint, error, route, hold, since, selected, settings), names in members.items():
        if why_unreachable(route):
            alike[group, None, "", route, FREE, None, selected, ""] += names
        elif error:
            failing = None if since is None else min(since, now.timestamp())
            alike[group, None, label_of(error), "", hold, failing, selected, ""] += names
        elif fingerprint not in profiles:
            alike[group, None, NEVER_SEEN, "", hold, None, selected, ""] += names
        elif fingerprint in foreign:
            alike[group, None, REASONS[OtherControllerError.reason].label, "", hold, None, selected, ""] += names
        else:
            alike[group, fingerprint, "", route, hold, None, selected, settings] += names
    return [
        Cohort(
            group,
            tuple(sorted(names)),
            profiles[fingerprint] if fingerprint else None,
            unknown=why,
            hold=hold.why,
            free_at=hold.until,
            route=route if fingerprint else DIRECT,
            unreachable=why_unreachable(route),
            since=None if since is None else datetime.fromtimestamp(since, UTC),
            selected=selected,
            settings=settings,
        )
        for (group, fingerprint, why, route, hold, since, selected, settings), names in alike.items()
    ]
