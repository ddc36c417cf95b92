"""What of the fleet a listing has to read: conditions said in the words of the state (`storage.sieve`).

The filter stays the judge of each client. What is said here must be true of all clients that it takes, and is better
the fewer others it is true of. What a component counts as is known by profile, of which there are few: each is judged
once (`Judged`), or was when the controller looked last (`standings`), and its clients are read or not.

What a client is in as a whole (held, failed, …) may take the place of a component's state. So a client is read if a
component of its profile fits by its own state, or if one fits else and the client may be in a state that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, get_args

from reconciler.formats.duration import parse_duration
from reconciler.formats.select import said_by
from reconciler.formats.where import NEVER, OF_COMPONENT
from reconciler.model.listing import ComponentState
from reconciler.reasons import REASONS, reached
from reconciler.storage import sieve
from reconciler.storage.sieve import Sieve

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.formats.filter import Filter
    from reconciler.formats.select import Pattern
    from reconciler.formats.where import Condition
    from reconciler.model.client import Installed, Profile
    from reconciler.model.listing import ListedComponent
    from reconciler.storage.sieve import Rows

    Measure = Callable[[str, Installed | None, str, bool], ListedComponent]
    """Gives what is listed of a component: by its id, what is installed, the platform, and whether that is known."""

MAX_PROFILES = 50_000
"""Distinct profiles that are judged ahead, at most; where each client has its own, reading on costs the same."""
KNOWN_WORDS = frozenset(["quarantined", "held", "failed"])
"""The states that a client may be in as a whole whose components are known."""
UNKNOWN = frozenset(["unknown"])
UNKNOWN_WORDS = KNOWN_WORDS | {"unreachable"} | UNKNOWN
_COMPONENT_WORDS = frozenset(get_args(ComponentState)) - UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known beside the rows: the groups of the spec, its holds, and who failed in rollouts, by name.

    `doubles` are names of machines that have several; None: the state is asked. `moved` are in another group than the
    state says.
    """

    now: datetime
    groups: Collection[str]
    holds: Sequence[Pattern] = ()
    failed: Collection[str] = ()
    doubles: Collection[str] | None = None
    moved: Collection[str] = ()


class Fitting(Protocol):
    """Says of which clients conditions may hold by their profiles; `known`: whether what they have is known."""

    def own(self, *, known: bool) -> Rows:
        """Give the clients with a component of which they may hold by its own state."""

    def helped(self, *, known: bool) -> Rows:
        """Give the clients with a component of which they may hold if the client as a whole is in some other state."""

    def foreign(self) -> Rows:
        """Give the clients that answer to another controller."""

    def ours(self) -> Rows:
        """Give the clients that don't."""

    def current(self, *, wholly: bool) -> Rows:
        """Give the clients that are updated in all that they should have, as far as profiles say, or the others."""


@dataclass(slots=True)
class Judged:
    """Profiles that were judged one by one, by fingerprint; None is for clients without one, `seen` are all."""

    seen: set[str] = field(default_factory=set)
    of_others: set[str] = field(default_factory=set)
    fit: Mapping[bool, set[str | None]] = field(default_factory=lambda: {True: set(), False: set()})
    may_fit: Mapping[bool, set[str | None]] = field(default_factory=lambda: {True: set(), False: set()})

    def own(self, *, known: bool) -> Rows:
        """Give the clients with a profile that fits."""
        return self._with(self.fit[known])

    def helped(self, *, known: bool) -> Rows:
        """Give the clients with a profile that may fit."""
        return self._with(self.may_fit[known])

    def foreign(self) -> Rows:
        """Give the clients that answer to another controller."""
        return self._with(self.of_others) if self.of_others else sieve.NONE

    def ours(self) -> Rows:
        """Give the clients that don't, and those that aren't known."""
        return sieve.without_profile(self.of_others)

    def current(self, *, wholly: bool) -> Rows:  # noqa: ARG002 - what they should have depends on their group
        """Give the clients that may be updated in all that they should have, or not."""
        return sieve.ALL

    def _with(self, wanted: Collection[str | None]) -> Rows:
        named = {one for one in wanted if one is not None}
        return sieve.with_profile(named, self.seen - named, bare=None in wanted)


class Sifter:
    """Says what is to be read for a filter."""

    def __init__(self, judge: Filter, known: Known) -> None:
        """Take the filter that judges what comes through."""
        self._filter = judge
        self._known = known
        self._conditions = judge.conditions
        self.groups = tuple(group for group in known.groups if judge.takes_group(group))
        """The groups whose clients are asked for."""

    @property
    def asks_profiles(self) -> bool:
        """True when `with_profiles` holds more back than `bare`."""
        return any(one.field in _OF_PROFILES or _is_part(one) for one in self._conditions)

    def seen_before(self) -> float | None:
        """Give the time before which all that are taken answered last, if they ever did; None: some did later."""
        spans = [one.values[0] for one in self._conditions if one.field == "seen" and one.sign == ">"]
        return min(map(self._ago, spans), default=None)

    def _ago(self, span: str) -> float:
        return self._known.now.timestamp() - parse_duration(span).total_seconds()

    def names(self) -> list[str] | None:
        """Give the names of all clients that may be taken; None where they aren't named one by one."""
        for one in self._conditions:
            if _is_of(one, "name") and not any(char in name for name in one.values for char in "*?["):
                return list(one.values)
        return None

    @property
    def asks_labels(self) -> bool:
        """True when only clients are taken that have labels."""
        return any(_is_of(one, "label") for one in self._conditions)

    def takes_labels(self, labels: Collection[str]) -> bool:
        """Say whether clients with just these labels may be taken."""
        return self._filter.takes_labels(labels)

    def odd(self) -> tuple[str, ...] | None:
        """Say which kinds of clients that are few the taken ones are of (`tables.ODD`); None: of others, too.

        Beside those there are `bare` ones, of which nothing is known, `failed` ones by name, and `foreign` ones.
        """
        for one in self._conditions:
            if one.field == "seen" and one.values == (NEVER,):
                return ("never_seen",)
            if one.field == "known" and "yes" not in one.values:
                return ("in_trouble", "without_way", "bare", "foreign")
            if _is_part(one) or _is_of(one, "reason"):
                return ("in_trouble", "without_way", "failing", "failed", "foreign")
            if _is_of(one, "state") and _OF_WORDS.keys() >= set(one.values):
                return tuple(dict.fromkeys(kind for word in one.values for kind in _OF_WORDS[word]))
        return None

    def odd_beside(self) -> tuple[str, ...] | None:
        """Say of which kinds clients are that are taken for a state of theirs as a whole; None: of any."""
        words = {word for one in self._conditions if _is_of(one, "state") for word in one.values}
        asked = sorted(words - _COMPONENT_WORDS - UNKNOWN)
        if not _OF_WORDS.keys() >= set(asked):
            return None
        return tuple(dict.fromkeys(kind for word in asked for kind in _OF_WORDS[word]))

    def bare(self) -> Sieve:
        """Give what can be said without a look at profiles."""
        return self._sieve([*self._of_client(), *self._only_words()])

    def with_profiles(self, fitting: Fitting) -> Sieve:
        """Give all that can be said."""
        parts = [*self._of_client(), *self._only_words(), self._of_profiles(fitting)]
        parts += [self._saying(one.values[0], fitting) for one in self._conditions if _is_part(one)]
        for one in self._conditions:
            if one.field == "known" and len(set(one.values)) == 1:
                parts.append(self._is_known(fitting) if one.values[0] == "yes" else self._unknown(fitting))
            if one.field == "current" and len(set(one.values)) == 1:
                parts.append(self._current(fitting, wholly=one.values[0] == "yes"))
        parts += [self._because(one.values, fitting) for one in self._conditions if _is_of(one, "reason")]
        return self._sieve(parts)

    def _sieve(self, parts: Iterable[Rows]) -> Sieve:
        prefixes = [_common(map(sieve.literal_prefix, one.values)) for one in self._conditions if _is_of(one, "name")]
        return Sieve(sieve.every(parts), max(prefixes, key=len, default=""))

    def _of_client(self) -> Iterator[Rows]:
        for one in self._conditions:
            if _is_of(one, "name"):
                yield sieve.either(map(sieve.named, one.values))
            elif _is_of(one, "label"):
                yield sieve.either(map(sieve.labelled, one.values))
            elif one.values == (NEVER,) and one.field == "seen":
                yield sieve.NEVER_SEEN
            elif one.field == "seen":
                at = self._ago(one.values[0])
                yield sieve.not_seen_since(at) if one.sign == ">" else sieve.seen_since(at)

    # --- states of clients as a whole ---------------------------------------------------------------------------------

    def _only_words(self) -> Iterator[Rows]:
        """Give what must be true where no state of a component was asked for."""
        for one in self._conditions:
            if _is_of(one, "state") and _COMPONENT_WORDS.isdisjoint(one.values):
                yield self._in_one_of(one.values)

    def _in_one_of(self, words: Iterable[str]) -> Rows:
        """Give the clients that may be in one of some states as a whole; of components, no state counts."""
        return sieve.either(self._in(word) for word in words if word not in _COMPONENT_WORDS)

    def _in(self, word: str) -> Rows:
        if word == "quarantined":
            return sieve.left_alone(self._known.now.timestamp())
        if word == "held":
            doubles = self._known.doubles
            several = sieve.doubled() if doubles is None else sieve.called(doubles)
            return sieve.either([several, *map(self._of_pattern, self._known.holds)])
        if word == "unreachable":
            return sieve.either([sieve.NO_WAY, sieve.every([sieve.SAID, ~_WAS_THERE])])
        if word == "failed":
            return sieve.either([_WAS_THERE, self._failed()])
        return sieve.ALL  # a component may be unknown on a client that isn't

    def _failed(self) -> Rows:
        return sieve.either([sieve.FAILED_LAST, sieve.called(self._known.failed)])

    def _unknown(self, fitting: Fitting) -> Rows:
        return sieve.either([sieve.SAID, sieve.NO_WAY, sieve.BARE, fitting.foreign()])

    def _is_known(self, fitting: Fitting) -> Rows:
        return sieve.every([~sieve.SAID, ~sieve.NO_WAY, ~sieve.BARE, fitting.ours()])

    def _current(self, fitting: Fitting, *, wholly: bool) -> Rows:
        rows = fitting.current(wholly=wholly)
        return sieve.every([self._is_known(fitting), rows]) if wholly else sieve.either([self._unknown(fitting), rows])

    def _of_pattern(self, pattern: Pattern) -> Rows:
        kinds: dict[str, list[Rows]] = {"": [], "&": []}
        for term, _match in pattern.terms:
            mark, wanted, glob = said_by(term)
            if mark in kinds:
                kinds[mark].append(self._of_term(wanted, glob))
        return sieve.every([*kinds["&"], *([sieve.either(kinds[""])] if kinds[""] else [])])

    def _of_term(self, wanted: str, glob: str) -> Rows:
        parts = {"name": sieve.named(glob), "group": self._of_group(glob), "label": sieve.labelled(glob)}
        return parts[wanted] if wanted else sieve.either(parts.values())

    def _of_group(self, glob: str) -> Rows:
        groups = [group for group in self._known.groups if fnmatchcase(group, glob) or group == glob]
        moved = self._known.moved
        return sieve.either([sieve.of_groups(groups), *([sieve.called(moved)] if moved else [])])

    # --- profiles -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        profiles: Iterable[tuple[str, Profile]],
        components: Sequence[str],
        measure: Measure,
        is_foreign: Callable[[Profile], bool],
    ) -> Judged:
        """Judge all profiles, by fingerprint; `components` are those that clients of the groups may get."""
        found = Judged()
        judged: dict[tuple[object, ...], tuple[bool, ...]] = {}
        for fingerprint, profile in (*profiles, (None, None)):
            if fingerprint is not None and profile is not None:
                found.seen.add(fingerprint)
                if is_foreign(profile):
                    found.of_others.add(fingerprint)
            platform = profile.platform if profile else ""
            if not self._filter.takes_platform(platform):
                continue
            fits = [not self._filter.asks_components] * 4
            for component in components if self._filter.asks_components else ():
                installed = profile.by_component.get(component) if profile else None
                key = component, platform, installed
                fitting = judged.get(key)
                if fitting is None:
                    known, unknown = (measure(component, installed, platform, is_known) for is_known in (True, False))
                    fitting = judged[key] = self.may_fit(known, unknown)
                fits = [one or other for one, other in zip(fits, fitting, strict=True)]
            for may, kept in zip(
                fits, (found.fit[True], found.may_fit[True], found.fit[False], found.may_fit[False]), strict=True
            ):
                if may:
                    kept.add(fingerprint)
        return found

    def may_fit(self, known: ListedComponent, unknown: ListedComponent) -> tuple[bool, bool, bool, bool]:
        """Say of a component whether conditions may hold: on a client that is known, and on one that isn't.

        Of each first whether they hold by its own state, then whether they may on a client that is in some state.
        """
        return (
            self._filter.may_take(known),
            self._filter.may_take(known, possible=KNOWN_WORDS),
            self._filter.may_take(unknown, certain=UNKNOWN),
            self._filter.may_take(unknown, possible=UNKNOWN_WORDS, certain=UNKNOWN),
        )

    def _of_profiles(self, fitting: Fitting) -> Rows:
        words = {word for one in self._conditions if _is_of(one, "state") for word in one.values}
        parts = []
        for known in (True, False):
            part = fitting.own(known=known)
            if words - _COMPONENT_WORDS:
                part = sieve.either([part, sieve.every([self._in_one_of(words), fitting.helped(known=known)])])
            parts.append(sieve.every([self._is_known(fitting) if known else self._unknown(fitting), part]))
        return sieve.either(parts)

    def _saying(self, part: str, fitting: Fitting) -> Rows:
        return sieve.either([sieve.saying(part), self._failed(), fitting.foreign()])

    def _because(self, reasons: Collection[str], fitting: Fitting) -> Rows:
        """Give the clients that may be in trouble for one of some reasons: how they failed last says the journal."""
        labels = [about.label for reason, about in REASONS.items() if reason in reasons]
        known = [sieve.saying_label(label) for label in labels] if "other" not in reasons else [sieve.SAID]
        return sieve.either([sieve.NO_WAY, *known, self._failed(), fitting.foreign()])


_OF_PROFILES = OF_COMPONENT | {"platform", "reason", "known", "current"}
"""Fields of which profiles say something."""
_WAS_THERE = sieve.either(sieve.saying_label(about.label) for about in REASONS.values() if reached(about.label))
"""Those that were reached when they were looked at last, and failed."""
_OF_WORDS = {
    "quarantined": ("in_quarantine",),
    "unreachable": ("in_trouble", "without_way"),
    "failed": ("in_trouble", "failing", "failed"),
}
"""States of clients as a whole that few are in."""


def _is_of(condition: Condition, field_: str) -> bool:
    """Say whether one of the values of a condition on a field must fit."""
    return condition.field == field_ and condition.sign == "="


def _is_part(condition: Condition) -> bool:
    return condition.field == "error" and condition.sign == "~"


def _common(texts: Iterable[str]) -> str:
    """Give what all texts begin with."""
    lowest, *_rest, highest = sorted([*texts] * 2)
    at = next((at for at, char in enumerate(lowest) if char != highest[at]), len(lowest))
    return lowest[:at]
