"""Says of lines of the fleet what a listing says of clients, and takes those of which conditions hold.

* A client that isn't known now (it didn't answer, or answers to another controller) counts as `unknown`; what was seen
  of it last is shown.
* Each distinct profile is judged once, and only as many are kept as `_KEPT`: a million clients never stand in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from reconciler.errors import OtherControllerError
from reconciler.model.listing import CURRENT, ListedClient, ListedComponent
from reconciler.model.network import why_unreachable
from reconciler.model.plan import NEVER_SEEN
from reconciler.reasons import REASONS, reached, reason_of
from reconciler.storage.base import moment
from reconciler.storage.fleet import labels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from reconciler.formats.filter import Filter
    from reconciler.formats.select import Pattern
    from reconciler.model.client import Client, Installed, Profile
    from reconciler.model.listing import ClientState, ComponentState
    from reconciler.model.version import VersionScheme
    from reconciler.reasons import ReasonIfAny
    from reconciler.storage.lines import LastFailure, Line

    Measure = Callable[[str, Installed | None, str], "Counted"]
    """Gives what a component counts as on a client that is known: by its id, what is installed, and the platform."""
    Chooses = Callable[[str, str, Sequence[str]], bool]
    """Says of a client whether it was asked for: by its name, group and labels."""

_KEPT = 20_000
"""Distinct profiles that are kept."""
_WORST: tuple[ClientState, ...] = ("quarantined", "held", "unreachable", "failed", "unknown")
MAX_NAMES = 4
"""Names of one machine that are told."""


class Counted(NamedTuple):
    """What a component counts as, the version that is wanted of it, and how many releases an outdated one lacks."""

    state: ComponentState
    wanted: str
    behind: int = 0


class Behind(NamedTuple):
    """A client that failed in the rollout of a version, and what it said."""

    component: str
    version: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What clients are judged by, beside what is remembered of each.

    `groups` has the components that the clients of each group get, in the order of the catalog, `schemes` how versions
    are read. `holds` are those in force, each with why. Nobody is left alone for longer than `quarantine` from now.
    `failed` are clients that failed in rollouts that aren't superseded. `lineage` and `epoch`: who this state is.
    """

    now: datetime
    lineage: str
    epoch: int
    groups: Mapping[str, Sequence[str]]
    schemes: Mapping[str, VersionScheme]
    holds: Sequence[tuple[Pattern, str]] = ()
    quarantine: timedelta
    failed: Mapping[str, Sequence[Behind]] = field(default_factory=lambda: MappingProxyType({}))


class Memory(Protocol):
    """Where more is asked about clients that were chosen."""

    def doubles(self, of: Collection[str]) -> list[list[str]]:
        """Give the names of each machine that answered under several, sorted, of those with some names."""

    def last_failures(self, names: Collection[str]) -> Mapping[str, LastFailure]:
        """Give how some clients failed last, by name."""

    def profiles_of(self, fingerprints: Collection[str]) -> Mapping[str, Profile]:
        """Give some profiles, by fingerprint."""


class Judge:
    """Judges clients, a batch after the other."""

    def __init__(self, ground: Ground, wanted: Filter, measure: Measure, memory: Memory) -> None:
        """Take the conditions that must hold of whom is given."""
        self._ground = ground
        self._filter = wanted
        self._measure = measure
        self._memory = memory
        self._profiles: dict[str, Profile] = {}
        self._judged: dict[tuple[object, ...], tuple[ListedComponent, ...]] = {}
        self._current: dict[tuple[object, ...], bool] = {}
        self._labels: dict[str, tuple[str, ...]] = {}

    def take(self, lines: Sequence[Line], chooses: Chooses | None = None) -> list[ListedClient]:
        """Give those that were asked for."""
        chosen = []
        for line in lines:
            labels = self._labels.get(line.labels)
            if labels is None:
                labels = self._labels[line.labels] = labels_of(line.labels)
            if chooses is None or chooses(line.name, line.group, labels):
                chosen.append((line, labels))
        if not chosen:
            return []
        several = self._memory.doubles([line.name for line, _labels in chosen])
        doubles = {name: double_text(names) for names in several for name in names}
        self._learn({line.fingerprint for line, _labels in chosen if line.fingerprint})
        failed = [line.name for line, _labels in chosen if line.failures or line.name in self._ground.failed]
        said = self._memory.last_failures(failed) if failed else {}
        found = (
            self._listed(line, labels, doubles, self._failure(line, said.get(line.name))) for line, labels in chosen
        )
        return [listed for listed in found if listed is not None]

    def measured(self, component: str, installed: Installed | None, platform: str, known: bool) -> ListedComponent:
        """Give what is listed of a component."""
        counted = self._measure(component, installed, platform)
        return ListedComponent(
            id=component,
            version=installed.version if installed else "",
            wanted=counted.wanted,
            state=counted.state if known else "unknown",
            loaded=installed.loaded if installed else "",
            unsaid=installed.unsaid if installed else "",
            behind=counted.behind if known else 0,
        )

    def _failure(self, line: Line, last: LastFailure | None) -> _Failure:
        """Say how a client failed that answers: in its last run, or in a rollout whose version it still lacks."""
        if line.failures and last is not None:
            return _Failure(last.message, last.reason)
        profile = self._profiles.get(line.fingerprint or "")
        for component, version, message in self._ground.failed.get(line.name, ()):
            if lacks(self._ground.schemes[component], profile, component, version):
                return _Failure(message, last.reason if last is not None else "")
        return _FINE

    def _learn(self, fingerprints: set[str]) -> None:
        """Have the profiles of a batch at hand."""
        if len(self._profiles) > _KEPT:
            self._profiles.clear()
            self._judged.clear()
            self._current.clear()
        new = [one for one in fingerprints if one not in self._profiles]
        if new:
            self._profiles |= self._memory.profiles_of(new)

    def _listed(
        self, line: Line, labels: tuple[str, ...], doubles: Mapping[str, str], failure: _Failure
    ) -> ListedClient | None:
        """Give a client, if the conditions hold of it."""
        ground = self._ground
        profile = self._profiles.get(line.fingerprint or "")
        no_way = why_unreachable(line.route)
        foreign = profile is not None and profile.is_foreign(ground.lineage, ground.epoch)
        known = profile is not None and not (line.error or no_way or foreign)
        hold = self._hold(line, labels) or doubles.get(line.name, "")
        until = moment(line.quarantined)
        until = until if until is not None and until > ground.now else None
        until = min(until, ground.now + ground.quarantine) if until else None
        failed = bool(failure.said or line.failures)
        words = _words(line, known=known, hold=hold, quarantined=until is not None, no_way=no_way, failed=failed)
        components = self._components(line, profile, words, known=known)
        if self._filter.asks_components and not components:
            return None
        platform = profile.platform if profile else ""
        seen = self._past(line.seen_at)
        error = no_way or line.error or failure.said or (REASONS[OtherControllerError.reason].label if foreign else "")
        reason = _reason(line, no_way=no_way, seen=profile is not None, foreign=foreign, failure=failure)
        asked = self._filter.takes(
            name=line.name,
            group=line.group,
            labels=labels,
            platform=platform,
            seen=seen,
            error=error,
            reason=reason,
            known=known,
            current=self._filter.asks_current and self._is_current(line, profile, known=known),
        )
        if not asked:
            return None
        return ListedClient(
            name=line.name,
            group=line.group,
            labels=labels,
            platform=platform,
            state=_worst(words, components),
            why=hold or error or ("" if known else NEVER_SEEN),
            seen=seen,
            failing_since=self._past(line.failing_since) if line.error else None,
            failures=line.failures,
            until=until,
            components=components,
            reason=reason,
        )

    def _past(self, stamp: float | None) -> datetime | None:
        read = moment(stamp)
        return None if read is None else min(read, self._ground.now)

    def _hold(self, line: Line, labels: tuple[str, ...]) -> str:
        for pattern, text in self._ground.holds:
            if pattern.matches(line.name, (line.group,), labels):
                return text
        return ""

    def _components(
        self, line: Line, profile: Profile | None, words: frozenset[str], *, known: bool
    ) -> tuple[ListedComponent, ...]:
        key = line.fingerprint if profile else "", line.group, known, words
        found = self._judged.get(key)
        if found is None:
            found = self._filter.components(self._all(line.group, profile, known=known), words)
            self._judged[key] = found
        return found

    def _is_current(self, line: Line, profile: Profile | None, *, known: bool) -> bool:
        """Say whether a client is updated in all that it should have, which is something."""
        key = line.fingerprint if profile else "", line.group, known
        found = self._current.get(key)
        if found is None:
            states = {one.state for one in self._all(line.group, profile, known=known)}
            found = self._current[key] = bool(states) and states <= CURRENT
        return found

    def _all(self, group: str, profile: Profile | None, *, known: bool) -> Iterable[ListedComponent]:
        for component in self._ground.groups.get(group, ()):
            installed = profile.by_component.get(component) if profile else None
            yield self.measured(component, installed, profile.platform if profile else "", known)


class _Failure(NamedTuple):
    said: str
    reason: ReasonIfAny


_FINE = _Failure("", "")


def with_addresses(listed: Sequence[ListedClient], clients: Iterable[Client]) -> list[ListedClient]:
    """Add the address of each; who has none of its own is reached by its name."""
    known = {client.name: client.address for client in clients}
    return [replace(one, address=known.get(one.name) or one.name) for one in listed]


def lacks(scheme: VersionScheme, profile: Profile | None, component: str, version: str) -> bool:
    """Say whether a client hasn't got a version, or a later one, as far as its versions can be compared."""
    installed = profile.by_component.get(component) if profile else None
    if installed is None or not (scheme.accepts(installed.version) and scheme.accepts(version)):
        return True
    return scheme.parse(installed.version) < scheme.parse(version)


def double_text(names: Sequence[str]) -> str:
    """Say of the names of one machine what is wrong with them."""
    others = ", ".join(names[1:MAX_NAMES])
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{names[0]} is the same machine as {others}{more} (one install_root): keep one of the names"


def _reason(line: Line, *, no_way: str, seen: bool, foreign: bool, failure: _Failure) -> ReasonIfAny:
    """Give the reason that troubles count a client under."""
    if no_way:
        return "no_way"
    if line.error:
        return reason_of(line.error)
    if foreign:
        return OtherControllerError.reason
    return failure.reason if seen else ""


def _words(line: Line, *, known: bool, hold: str, quarantined: bool, no_way: str, failed: bool) -> frozenset[str]:
    """Give the states that a client is in as a whole."""
    answered = not line.error or reached(line.error)
    words = {
        "quarantined": quarantined,
        "held": bool(hold),
        "unreachable": bool(no_way) or not answered,
        "failed": not no_way and answered and (bool(line.error) or failed),
        "unknown": not known,
    }
    return frozenset(word for word, holds in words.items() if holds)


def _worst(words: frozenset[str], components: Sequence[ListedComponent]) -> ClientState:
    """Give the word for a client: what is in its way, or else what is the matter with its components."""
    for word in _WORST:
        if word in words:
            return word
    states = {component.state for component in components}
    if states & {"missing", "damaged", "outdated"}:
        return "outdated"
    ranked = ("unknown", "pending", "ahead", "deferred")
    return cast("ClientState", next((word for word in ranked if word in states), "updated"))
