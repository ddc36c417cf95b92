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
from reconciler.model.names import Names
from reconciler.model.network import DIRECT, why_unreachable
from reconciler.model.plan import NEVER_SEEN, Cohort
from reconciler.model.settings import to_do
from reconciler.model.spec import Quarantine
from reconciler.present.words import count_text
from reconciler.reasons import REASONS, label_of
from reconciler.storage.blocks import blocks_of
from reconciler.storage.fleet import labels_of
from reconciler.storage.judging import double_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from reconciler.formats.select import Pattern
    from reconciler.model.client import Profile
    from reconciler.model.spec import Hold
    from reconciler.storage.blocks import Block, Likeness
    from reconciler.storage.fleet import ClientRow
    from reconciler.storage.state import Identity

    _Piece = Mapping[str, Sequence[str]]
    """Names by group, sorted, in the order of the groups."""
    _Sorted = dict["Situation", list["_Packed"]]

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
"""What clients of one cohort have in common: group, or what it shares with others, fingerprint, error, route, hold,
failing since, patterns of waves that select them, what is to be done about settings."""


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

    @property
    def by_name(self) -> bool:
        """False when clients that are alike in group and labels are chosen alike."""
        return self.pattern is not None and self.pattern.by_name

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


class Gathered(NamedTuple):
    """A fleet as cohorts: those that are `chosen`, and the `others`.

    `profiles` are what all of them had when they were last seen, by fingerprint. `asleep` are the fingerprints of those
    that aren't chosen or can't be changed.
    """

    chosen: list[Cohort]
    others: list[Cohort]
    profiles: Mapping[str, Profile]
    asleep: Collection[str]


def gather_cohorts(
    rows: Iterable[ClientRow],
    profiles: Mapping[str, Profile],
    *,
    choice: Selection,
    marks: Marks,
    identity: Identity,
    now: datetime,
    likes: Mapping[str, str] | None = None,
) -> tuple[list[Cohort], list[Cohort]]:
    """Group the rows of a fleet; see the module's rules. Those that aren't chosen are the second list."""
    made = gather(blocks_of(rows), lambda _prints: profiles, choice, marks, Eye(identity, now, likes or {}))
    return made.chosen, made.others


class Eye(NamedTuple):
    """Who looks, and when; `likes` has for groups in which everything is decided alike one word that they share."""

    identity: Identity
    now: datetime
    likes: Mapping[str, str]


def gather(
    blocks: Iterable[Block],
    profiles_of: Callable[[Collection[str]], Mapping[str, Profile]],
    choice: Selection,
    marks: Marks,
    eye: Eye,
) -> Gathered:
    """Put the clients of a fleet into cohorts; `profiles_of` gives the profiles of fingerprints, once all are known."""
    sorter = _Sorter(choice, marks, eye)
    prints: set[str] = set()
    for block in blocks:
        if block.like.fingerprint is not None:
            prints.add(block.like.fingerprint)
        sorter.take(block)
    profiles = profiles_of(prints)
    lineage, epoch = eye.identity.lineage, eye.identity.epoch
    foreign = {key for key, profile in profiles.items() if profile.is_foreign(lineage, epoch)}
    chosen, others = (_cohorts(members, profiles, foreign, eye.now) for members in (sorter.chosen, sorter.others))
    return Gathered(chosen, others, profiles, sorter.asleep)


class _Packed(NamedTuple):
    """The clients of one piece of a cohort, packed."""

    groups: tuple[str, ...]
    counts: tuple[int, ...]
    names: Names


def _packed(names: _Piece) -> _Packed:
    return _Packed(tuple(names), tuple(map(len, names.values())), Names(names.values()))


class _Mark(NamedTuple):
    """What is decided for clients by their group, labels or names."""

    taken: bool
    like: str
    hold: Left
    selected: frozenset[str]
    todo: Todo


class _Sorter:
    """Puts blocks where they belong, in as few pieces as it takes; block after block."""

    def __init__(self, choice: Selection, marks: Marks, eye: Eye) -> None:
        self._choice = choice
        self._marks = marks
        self._likes = eye.likes
        self._reader = reader = _Marker(marks, eye.now)
        self._now = eye.now
        self._by_name = reader.by_name or choice.by_name or bool(marks.settings)
        self._known: dict[tuple[str, str, str], dict[str, _Mark]] = defaultdict(dict)
        self._groups: dict[str, str] = {}
        self.chosen: _Sorted = defaultdict(list)
        self.others: _Sorted = defaultdict(list)
        self.asleep: set[str] = set()

    def take(self, block: Block) -> None:
        """Put the clients of a block where they belong."""
        like = block.like
        labels = labels_of(like.labels)
        if self._by_name or self._has_doubles(block):
            pieces = self._by_names(block, labels)
        else:
            known = self._known[like.labels, like.settings, ""]
            marks: dict[_Mark, None] = {}
            for group in block.names:
                mark = known.get(group)
                if mark is None:
                    mark = known[group] = self._mark("", group, labels, like.settings)
                marks[mark] = None
            pieces = self._apart(block, known, marks)
        for mark, names in pieces:
            self._put(mark, like, names)

    def _has_doubles(self, block: Block) -> bool:
        doubles = self._marks.doubles.keys()
        return bool(doubles) and not all(map(doubles.isdisjoint, block.names.values()))

    def _apart(
        self, block: Block, known: Mapping[str, _Mark], marks: Collection[_Mark]
    ) -> Iterable[tuple[_Mark, _Piece]]:
        """Take a block apart by what is decided for its groups; mostly that is the same for all."""
        if len(marks) == 1:
            (only,) = marks
            return [(only, block.names)]
        parts: dict[_Mark, dict[str, Sequence[str]]] = {mark: {} for mark in marks}
        for group, names in block.names.items():
            parts[known[group]][group] = names
        return parts.items()

    def _by_names(self, block: Block, labels: tuple[str, ...]) -> Iterable[tuple[_Mark, _Piece]]:
        parts: dict[_Mark, dict[str, list[str]]] = {}
        doubles, settings = self._marks.doubles, block.like.settings
        for group, names in block.names.items():
            for name in names:
                mark = self._mark(name, group, labels, settings)
                if name in doubles:
                    mark = mark._replace(hold=Left(mark.hold.why or doubles[name], None))
                parts.setdefault(mark, {}).setdefault(group, []).append(name)
        return parts.items()

    def _mark(self, name: str, group: str, labels: tuple[str, ...], settings: str) -> _Mark:
        reader = self._reader
        return _Mark(
            taken=self._choice.takes(name, group, labels),
            like=self._likes.get(group, group),
            hold=reader.hold(name, group, labels),
            selected=reader.selected(name, group, labels),
            todo=reader.settings(name, group, settings) if reader.any_settings else "",
        )

    def _put(self, mark: _Mark, like: Likeness, names: _Piece) -> None:
        hold, until = mark.hold, like.quarantined
        if until is not None and until > self._now.timestamp():
            most = self._now + self._marks.quarantine
            hold = _in_quarantine(min(datetime.fromtimestamp(until, UTC), most), hold)
        if like.fingerprint and (like.error or why_unreachable(like.route) or not mark.taken):
            self.asleep.add(like.fingerprint)
        situation = (
            *(mark.like, like.fingerprint, like.error, like.route),
            *(hold, like.failing_since, mark.selected, mark.todo),
        )
        (self.chosen if mark.taken else self.others)[situation].append(_packed(names))


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


class _Marker:
    """Says which marks a client has."""

    def __init__(self, marks: Marks, now: datetime) -> None:
        today = now.date()
        held = [hold for hold in marks.holds if hold.applies(today)]
        self._holds = [(parse(hold.clients), hold) for hold in held]
        self._selects = [parse(text) for text in dict.fromkeys(marks.selects)]
        self._wanted, self._wanted_by_group = marks.settings, marks.group_settings
        self.any_settings = bool(marks.settings or marks.group_settings)
        patterns = (*self._selects, *(pattern for pattern, _hold in self._holds))
        self.by_name = any(pattern.by_name for pattern in patterns)
        """True when a pattern asks for names, so that clients alike in all else may differ."""

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
    members: _Sorted, profiles: Mapping[str, Profile], foreign: Collection[str], now: datetime
) -> list[Cohort]:
    """Put those together who are in the same situation once what doesn't matter in it is left out."""
    alike: _Sorted = defaultdict(list)
    for (like, fingerprint, error, route, hold, since, selected, settings), pieces in members.items():
        if why_unreachable(route):
            alike[like, None, "", route, FREE, None, selected, ""] += pieces
        elif error:
            failing = None if since is None else min(since, now.timestamp())
            alike[like, None, label_of(error), "", hold, failing, selected, ""] += pieces
        elif fingerprint not in profiles:
            alike[like, None, NEVER_SEEN, "", hold, None, selected, ""] += pieces
        elif fingerprint in foreign:
            alike[like, None, REASONS[OtherControllerError.reason].label, "", hold, None, selected, ""] += pieces
        else:
            alike[like, fingerprint, "", route, hold, None, selected, settings] += pieces
    together = ((situation, _together(pieces)) for situation, pieces in alike.items())
    in_order = sorted(together, key=lambda one: (one[1].groups[0], one[1].names.first))
    return [_cohort(situation, packed, profiles) for situation, packed in in_order]


def _together(pieces: Sequence[_Packed]) -> _Packed:
    """Make one of several pieces."""
    if len(pieces) == 1:
        return pieces[0]
    found: dict[str, list[str]] = defaultdict(list)
    for piece in pieces:
        for number, group in enumerate(piece.groups):
            found[group] += piece.names.run(number)
    return _packed({group: sorted(found[group]) for group in sorted(found)})


def _cohort(situation: Situation, packed: _Packed, profiles: Mapping[str, Profile]) -> Cohort:
    like, fingerprint, why, route, hold, since, selected, settings = situation
    several = len(packed.groups) > 1
    return Cohort(
        packed.groups[0],
        packed.names,
        profiles[fingerprint] if fingerprint else None,
        unknown=why,
        hold=hold.why,
        free_at=hold.until,
        route=route if fingerprint else DIRECT,
        unreachable=why_unreachable(route),
        since=None if since is None else datetime.fromtimestamp(since, UTC),
        selected=selected,
        settings=settings,
        groups=packed.groups if several else (),
        counts=packed.counts if several else (),
        like=like if like != packed.groups[0] else "",
    )
