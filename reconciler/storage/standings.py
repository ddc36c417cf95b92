"""What the components of clients are like, and what each counts as: so that clients are found by it.

Clients are many, profiles are fewer, and what a component may be like on a client (a standing: its version, digest and
damage, on a platform, under a controller) is told apart in hundreds. Which standings a profile has never changes, as
its fingerprint covers them; what a standing counts as does with each release. So a new release, a pin or another
controller means new words for a few rows, and only profiles that weren't there before are read.

Until a profile is read here, its clients are found by none of its components, and judged when they are asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

from sqlalchemy import bindparam, delete, func, select

from reconciler.model.client import Installed, Profile
from reconciler.model.listing import ComponentState
from reconciler.storage.base import Part
from reconciler.storage.bulk import any_of, none_of
from reconciler.storage.cells import sound
from reconciler.storage.database import insert_many
from reconciler.storage.judging import Counted
from reconciler.storage.tables import CLIENTS, PROFILE_COMPONENTS, PROFILE_NUMBERS, PROFILES, STANDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from reconciler.model.client import Decides
    from reconciler.model.version import VersionScheme
    from reconciler.storage.judging import Measure

_BATCH = 1000
_STATES = frozenset(get_args(ComponentState))
_Key = tuple[str, str, str, str, int]
"""Component, platform, what is there (`Standing.has`), lineage and epoch."""
_NOBODY = -1
"""In place of an epoch: the standing of clients of which nothing is known."""


UNREAD = select(PROFILES.c.fingerprint).where(
    ~select(PROFILE_NUMBERS.c.number).where(PROFILE_NUMBERS.c.fingerprint == PROFILES.c.fingerprint).exists()
)
"""The fingerprints of profiles that came since profiles were judged last."""


@dataclass(frozen=True)
class Standing:
    """What a component may be like, and what it counts as on a client that is known.

    `has` is JSON of what decides of what is installed; empty: nothing is. `lineage` and `epoch` are those of the
    controller that the client answers to. `behind` counts the releases that an outdated one lacks. `profiles` and
    `clients` say about how many have it.
    """

    id: int
    component: str
    platform: str
    has: str
    lineage: str
    epoch: int
    state: ComponentState
    wanted: str
    behind: int
    profiles: int
    clients: int

    @property
    def key(self) -> _Key:
        """What tells it from others."""
        return self.component, self.platform, self.has, self.lineage, self.epoch

    @property
    def bare(self) -> bool:
        """True for that of clients of which nothing is known."""
        return self.epoch == _NOBODY

    def is_foreign(self, lineage: str, epoch: int) -> bool:
        """Say whether it is of clients that answer to another controller, as `Profile.is_foreign` does."""
        return Profile(lineage=self.lineage, epoch=self.epoch).is_foreign(lineage, epoch)

    @cached_property
    def installed(self) -> Installed | None:
        """What is there, as far as it decides."""
        if not self.has:
            return None
        version, digest, damaged, loaded, unsaid = json.loads(self.has)
        return Installed.of(self.component, (version, digest, damaged, loaded, unsaid))


class Standings(Part):
    """The standings of profiles."""

    def judge_profiles(self, components: Sequence[str], measure: Measure) -> str:
        """Read the profiles that are new, forget those that are gone, and say anew what all that is there counts as.

        `components` are those that are managed. Gives a digest of all standings.
        """
        with self._write() as connection:
            self._forget(connection, components)
            known = {one.key: one.id for one in self._standings(connection)}
            before = len(known)
            for component in components:  # what those count as of which nothing is known
                known.setdefault((component, "", "", "", _NOBODY), 1 + max(known.values(), default=0))
            self._learn(connection, components, known)
            self._add(connection, list(known.items())[before:])
            self._judge(connection, measure)
            self._count(connection)
            told = "\n".join(map(repr, self._standings(connection)))
            return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()

    def _forget(self, connection: Connection, components: Sequence[str]) -> None:
        """Let go of what is gone; where there are components that weren't managed before, all is read again."""
        entry = PROFILE_COMPONENTS.c
        known = set(connection.scalars(select(STANDINGS.c.component).distinct()))
        if not known >= set(components):
            for table in (PROFILE_COMPONENTS, PROFILE_NUMBERS, STANDINGS):
                connection.execute(delete(table))
            return
        there = select(PROFILES.c.fingerprint).where(PROFILES.c.fingerprint == PROFILE_NUMBERS.c.fingerprint)
        gone = list(connection.scalars(select(PROFILE_NUMBERS.c.number).where(~there.exists())))
        for start in range(0, len(gone), _BATCH):
            some = gone[start : start + _BATCH]
            connection.execute(delete(PROFILE_COMPONENTS).where(any_of(entry.profile, some)))
            connection.execute(delete(PROFILE_NUMBERS).where(any_of(PROFILE_NUMBERS.c.number, some)))
        unmanaged = select(STANDINGS.c.id).where(none_of(STANDINGS.c.component, components))
        connection.execute(delete(PROFILE_COMPONENTS).where(entry.standing.in_(unmanaged)))
        used = select(entry.standing).where(entry.standing == STANDINGS.c.id).exists()
        connection.execute(delete(STANDINGS).where(~used, STANDINGS.c.epoch != _NOBODY))

    def _learn(self, connection: Connection, components: Sequence[str], known: dict[_Key, int]) -> None:
        """Read the profiles that are new; standings that are new get a number in `known`."""
        number = connection.scalar(select(func.max(PROFILE_NUMBERS.c.number))) or 0
        following = 1 + max(known.values(), default=0)
        new, has_of = list(connection.scalars(UNREAD)), _Texts()
        of_kind: dict[tuple[str, str, int], dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        for (component, platform, has, lineage, epoch), standing in known.items():
            of_kind[platform, lineage, epoch][component][has] = standing
        for start in range(0, len(new), _BATCH):
            some = new[start : start + _BATCH]
            chosen = select(PROFILES.c.fingerprint, PROFILES.c.data).where(any_of(PROFILES.c.fingerprint, some))
            names, entries = [], []
            for fingerprint, data in connection.execute(chosen).all():
                with sound("of a profile"):
                    platform, lineage, epoch, installed = has_of.profile(data)
                numbers = of_kind[platform, lineage, epoch]
                number += 1
                names.append((number, fingerprint))
                for component in components:
                    has = installed.get(component, "")
                    of_component = numbers[component]
                    if has not in of_component:
                        of_component[has] = known[component, platform, has, lineage, epoch] = following
                        following += 1
                    entries.append((of_component[has], number))
            insert_many(connection, PROFILE_NUMBERS, ("number", "fingerprint"), names)
            insert_many(connection, PROFILE_COMPONENTS, ("standing", "profile"), sorted(entries))

    @staticmethod
    def _add(connection: Connection, new: Sequence[tuple[_Key, int]]) -> None:
        names = ("component", "platform", "has", "lineage", "epoch")
        blank = {"state": "unknown", "wanted": "", "behind": 0, "profiles": 0, "clients": 0}
        rows = [{"id": id_, **dict(zip(names, key, strict=True)), **blank} for key, id_ in new]
        if rows:
            connection.execute(STANDINGS.insert(), rows)

    def _judge(self, connection: Connection, measure: Measure) -> None:
        changed = []
        for one in self._standings(connection):
            counted = measure(one.component, one.installed, one.platform)
            if counted != (one.state, one.wanted, one.behind):
                state, wanted, behind = counted
                changed.append({"which": one.id, "word": state, "version": wanted, "lag": behind})
        if changed:
            said = STANDINGS.update().where(STANDINGS.c.id == bindparam("which"))
            words: dict[str, Any] = {
                "state": bindparam("word"),
                "wanted": bindparam("version"),
                "behind": bindparam("lag"),
            }
            connection.execute(said.values(words), changed)

    def _count(self, connection: Connection) -> None:
        """Say of how many profiles and clients each standing is: about, as those count that left, too."""
        entry, name = PROFILE_COMPONENTS.c, PROFILE_NUMBERS.c
        of_profile = (
            select(name.number, func.count().label("clients"))
            .join(CLIENTS, CLIENTS.c.fingerprint == name.fingerprint)
            .group_by(name.number)
            .subquery()
        )
        counted = (
            select(entry.standing, func.count(), func.sum(of_profile.c.clients))
            .join(of_profile, of_profile.c.number == entry.profile)
            .group_by(entry.standing)
        )
        found = {standing: (profiles, int(clients)) for standing, profiles, clients in connection.execute(counted)}
        changed = [
            {"which": one.id, "some": profiles, "many": clients}
            for one in self._standings(connection)
            for profiles, clients in (found.get(one.id, (0, 0)),)
            if (profiles, clients) != (one.profiles, one.clients)
        ]
        if changed:
            said = STANDINGS.update().where(STANDINGS.c.id == bindparam("which"))
            connection.execute(said.values(profiles=bindparam("some"), clients=bindparam("many")), changed)

    def _standings(self, connection: Connection) -> Iterator[Standing]:
        for row in connection.execute(select(STANDINGS).order_by(STANDINGS.c.id)).all():
            if row.state not in _STATES:
                raise ValueError(f"{row.component} is {row.state}")
            yield Standing(*row)

    def standings(self) -> Measured:
        """Give all that components of clients are like."""
        with self._read() as connection:
            return Measured(tuple(self._standings(connection)))

    def has_unread(self) -> bool:
        """Say whether there are profiles that came since profiles were judged last."""
        with self._read() as connection:
            return connection.scalar(UNREAD.limit(1)) is not None


class _Texts(dict[tuple[object, ...], str]):
    """What decides of components, as standings have it, by component and what is installed.

    Of twenty thousand profiles that are new at once each has some of the same few hundred.
    """

    def __missing__(self, key: tuple[object, ...]) -> str:
        if not all(isinstance(text, str) for text in key):
            raise TypeError(f"a profile has {key!r:.60}")
        component, version, digest, damage, loaded, unsaid = map(str, key)
        installed = Installed(component, version, digest, damage=damage, loaded=loaded, unsaid=unsaid)
        self[key] = json.dumps(installed.decides)
        return self[key]

    def profile(self, data: str) -> tuple[str, str, int, dict[str, str]]:
        """Read what of a profile decides: platform, lineage, epoch, and what is there of each component."""
        read = json.loads(data)
        installed = {}
        for entry in read["installed"]:
            name, get = entry["component"], entry.get
            installed[name] = self[
                name, entry["version"], entry["digest"], entry["damage"], get("loaded", ""), get("unsaid", "")
            ]
        platform, lineage, epoch = read["platform"], read["lineage"], read["epoch"]
        if not (isinstance(platform, str) and isinstance(lineage, str) and isinstance(epoch, int)):
            raise TypeError(f"a profile is of {platform!r:.60}")
        return platform, lineage, epoch, installed


@dataclass(frozen=True)
class Measured:
    """All standings at one time."""

    all: tuple[Standing, ...]

    @cached_property
    def by_component(self) -> Mapping[str, Sequence[Standing]]:
        """The standings of each component."""
        found: dict[str, list[Standing]] = defaultdict(list)
        for one in self.all:
            found[one.component].append(one)
        return found

    @cached_property
    def clients(self) -> int:
        """About how many clients there are."""
        return max((sum(one.clients for one in part) for part in self.by_component.values()), default=0)

    def odd_versions(self, schemes: Mapping[str, VersionScheme]) -> Mapping[str, frozenset[str]]:
        """Give the versions that clients have and that their component's scheme doesn't know, by component."""
        versions = {
            (one.component, one.installed.version) for one in self.all if one.installed and one.component in schemes
        }
        found: dict[str, set[str]] = defaultdict(set)
        for component, version in versions:
            if not schemes[component].accepts(version):
                found[component].add(version)
        return {component: frozenset(some) for component, some in found.items()}

    @cached_property
    def _states(self) -> Mapping[tuple[str, str, Decides | None], Counted]:
        return {
            (one.component, one.platform, one.installed.decides if one.installed else None): Counted(
                one.state, one.wanted, one.behind
            )
            for one in self.all
        }

    @cached_property
    def _wanted(self) -> Mapping[tuple[str, str], str]:
        return {(one.component, one.platform): one.wanted for one in self.all}

    def count(self, component: str, installed: Installed | None, platform: str) -> Counted:
        """Give what a component counts as, and what is wanted of it; what wasn't judged yet is unknown."""
        found = self._states.get((component, platform, installed.decides if installed else None))
        if found is not None:
            return found
        return Counted("unknown", self._wanted.get((component, platform), self._wanted.get((component, ""), "")))
