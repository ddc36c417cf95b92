"""Which clients conditions may hold of by their profiles, said by standings: nothing is judged, and no profile read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from reconciler.formats.where import OF_COMPONENT
from reconciler.model.listing import CURRENT, ListedComponent
from reconciler.storage import sieve
from reconciler.storage.tables import CLIENTS, PROFILE_COMPONENTS, PROFILE_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from reconciler.formats.filter import Filter
    from reconciler.storage.judging import Ground
    from reconciler.storage.sieve import Rows
    from reconciler.storage.sifting import Sifter
    from reconciler.storage.standings import Measured, Standing


@dataclass(slots=True)
class Chosen:
    """Standings that fit, by component; `bare`: clients without a profile fit, too."""

    of: dict[str, list[Standing]] = field(default_factory=lambda: defaultdict(list))
    bare: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The clients whose profiles have one of some standings: about how many, and of how many profiles.

    `bare`: and those without a profile. `known` is the part of them that is left without clients that aren't known.
    """

    standings: tuple[int, ...]
    clients: int
    profiles: int
    bare: bool = False
    known: Crowd | None = None

    def cost(self, limit: int) -> float:
        """Say how many clients are read at most for a page."""
        return self.profiles + min(self.clients, self.profiles * limit)


class Indexed:
    """What `sifting` asks of profiles."""

    def __init__(
        self, sifter: Sifter, wanted: Filter, ground: Ground, measured: Measured, moved: Collection[str] = ()
    ) -> None:
        """Take all standings, and the conditions; `moved` are clients that the state has in another group."""
        self._moved = moved
        self._measured = measured
        self._ground = ground
        self._wanted = wanted
        self.failed = tuple(ground.failed)
        components = {one for group in sifter.groups for one in ground.groups[group] if wanted.takes_component(one)}
        self.groups = tuple(
            group
            for group in sifter.groups
            if not wanted.asks_components or not components.isdisjoint(ground.groups[group])
        )
        self._kinds: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for group in self.groups:
            self._kinds[tuple(ground.groups[group])].append(group)
        self._own, self._helped = (({True: Chosen(), False: Chosen()}) for _each in range(2))
        self._any = next(iter(measured.by_component), "")
        """A component of which each profile has a standing."""
        for component in components if wanted.asks_components else [self._any]:
            for one in measured.by_component.get(component, ()):
                self._choose(sifter, one)

    def _choose(self, sifter: Sifter, one: Standing) -> None:
        if not self._wanted.takes_platform(one.platform):
            return
        version = one.installed.version if one.installed else ""
        known, unknown = (
            ListedComponent(one.component, version, one.wanted, state, behind=one.behind)
            for state in (one.state, "unknown")
        )
        fits = sifter.may_fit(known, unknown) if self._wanted.asks_components else (True,) * 4
        kept = (self._own[True], self._helped[True], self._own[False], self._helped[False])
        for fit, chosen in zip(fits, kept, strict=True):
            if fit and one.bare:
                chosen.bare.add(one.component)
            elif fit:
                chosen.of[one.component].append(one)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def own(self, *, known: bool) -> Rows:
        """Give the clients with a component of which conditions hold by its own state."""
        return self._rows(self._own[known])

    def helped(self, *, known: bool) -> Rows:
        """Give the clients with a component of which they hold if the client as a whole is in some other state."""
        return self._rows(self._helped[known])

    def foreign(self) -> Rows:
        """Give the clients that answer to another controller, and those whose profiles weren't read yet."""
        return sieve.either([_having(self.foreign_standings()), _unread()])

    def ours(self) -> Rows:
        """Give the clients that don't."""
        foreign = self.foreign_standings()
        return ~_having(foreign) if 0 < len(foreign) <= sieve.MAX_LISTED else sieve.ALL

    def foreign_standings(self) -> list[int]:
        """Give the standings of one component on clients that answer to another controller."""
        who = self._ground.lineage, self._ground.epoch
        return [one.id for one in self._measured.by_component.get(self._any, ()) if one.is_foreign(*who)]

    def _rows(self, chosen: Chosen) -> Rows:
        if not self._any:
            return sieve.ALL
        parts: list[Rows] = [_unread(), *([sieve.called(self._moved)] if self._moved else [])]
        for components, groups in self._kinds.items():
            asked = components if self._wanted.asks_components else (self._any,)
            having = self._having(chosen, asked)
            if not chosen.bare.isdisjoint(asked):
                having = sieve.either([having, sieve.BARE])
            parts.append(having if len(self._kinds) == 1 else sieve.every([sieve.of_groups(groups), having]))
        return sieve.either(parts)

    def current(self, *, wholly: bool) -> Rows:
        """Give the clients whose profiles are updated in all that those of their groups should have, or the others."""
        if not self._any:
            return sieve.ALL
        parts: list[Rows] = [_unread(), *([sieve.called(self._moved)] if self._moved else [])]
        for components, groups in self._kinds.items():
            late = [
                one.id
                for component in components
                for one in self._measured.by_component.get(component, ())
                if not one.bare and one.state not in CURRENT
            ]
            fine = sieve.every([CLIENTS.c.fingerprint.is_not(None), *([~_having(late)] if late else [])])
            if len(late) > sieve.MAX_LISTED:
                fitting = sieve.ALL
            elif wholly:
                fitting = fine if components else sieve.NONE
            else:
                fitting = ~fine if components else sieve.ALL
            parts.append(fitting if len(self._kinds) == 1 else sieve.every([sieve.of_groups(groups), fitting]))
        return sieve.either(parts)

    def _having(self, chosen: Chosen, components: Iterable[str]) -> Rows:
        found: list[int] = []
        for component in components:
            some = chosen.of.get(component, ())
            if some and len(some) == sum(1 for one in self._measured.by_component[component] if not one.bare):
                return CLIENTS.c.fingerprint.is_not(None)
            found += [one.id for one in some]
        return _having(found)

    # --- how many -----------------------------------------------------------------------------------------------------

    def fitting(self) -> Crowd | None:
        """Give the clients of which conditions on components or platforms may hold; None where there are none."""
        asked = any(one.field in OF_COMPONENT or one.field == "platform" for one in self._wanted.conditions)
        if not asked or not self._any or len(self._measured.all) > sieve.MAX_LISTED:
            return None
        own, others = (_crowd(self._own[known].of) for known in (True, False))
        if not self._own[False].of and not self._own[False].bare:
            return own
        both: dict[str, list[Standing]] = defaultdict(list)
        for part in (self._own[True].of, self._own[False].of):
            for component, some in part.items():
                both[component] += [one for one in some if one not in both[component]]
        all_ = _crowd(both, bare=bool(self._own[False].bare))
        return replace(all_, known=own if others.clients else None)


def _crowd(standings: Mapping[str, Sequence[Standing]], *, bare: bool = False) -> Crowd:
    some = [one for part in standings.values() for one in part]
    return Crowd(
        tuple(one.id for one in some),
        clients=sum(one.clients for one in some),
        profiles=sum(one.profiles for one in some),
        bare=bare,
    )


def _having(standings: Collection[int]) -> Rows:
    """Give the clients whose profiles have one of some standings."""
    if not standings:
        return sieve.NONE
    if len(standings) > sieve.MAX_LISTED:
        return CLIENTS.c.fingerprint.is_not(None)
    number, part = PROFILE_NUMBERS.c, PROFILE_COMPONENTS.c
    return (
        select(part.standing)
        .join(PROFILE_NUMBERS, number.number == part.profile)
        .where(number.fingerprint == CLIENTS.c.fingerprint, part.standing.in_(list(standings)))
        .correlate(CLIENTS)
        .exists()
    )


def _unread() -> Rows:
    """Give the clients whose profiles weren't read yet."""
    number = PROFILE_NUMBERS.c
    read = select(number.number).where(number.fingerprint == CLIENTS.c.fingerprint).correlate(CLIENTS).exists()
    return sieve.every([CLIENTS.c.fingerprint.is_not(None), ~read])
