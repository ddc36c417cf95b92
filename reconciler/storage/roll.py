"""The fleet as one command sees it, and what of that a later run may decide by.

What a look finds is of two kinds. Facts (what a client has, what a source offers) are written down as they are seen.
The rest would make a later run decide otherwise: who belongs to the fleet, when a release was seen first, whose clients
these are. A plan only looks, so that is kept here until something is carried out, and is taken in then.

* Groups that were listed have the clients of that list; of all others the state's memory must do.
* A client that a look listed, and no apply took in yet, is remembered beside the fleet: what was seen of it needs a
  place. Only where a group has no other clients is it believed without a new list.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING

from reconciler.model.leaving import FleetMove, first_names
from reconciler.model.names import in_parts
from reconciler.model.network import DIRECT
from reconciler.storage.blocks import blocks_of
from reconciler.storage.fleet import ClientRow, Seen
from reconciler.storage.lines import Line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.client import Client
    from reconciler.model.leaving import MoveKind
    from reconciler.storage.blocks import Block
    from reconciler.storage.sieve import Sieve
    from reconciler.storage.state import Identity, State

Releases = set[tuple[str, str]]
_BATCH = 500


@dataclass
class Roll:
    """The fleet of one command; see the module's rules.

    `groups` are those of the spec, `listed` the clients of those that were listed, by group, and `ways` the way to each
    that isn't reached directly. `asked`: inventories were, so that who isn't listed left. `seen` are releases, as
    (component, version), that were offered at `seen_at`; `named_in_plan` are clients that were approved with a plan
    file, whatever a list says; `adopted` is who the state is to be, `confirmed` that it may
    send upgrades to clients that were taken over.
    """

    state: State
    groups: tuple[str, ...] = ()
    listed: Mapping[str, Sequence[Client]] = field(default_factory=dict)
    ways: Mapping[str, str] = field(default_factory=dict)
    asked: bool = False
    seen: Releases = field(default_factory=set)
    seen_at: datetime | None = None
    named_in_plan: Collection[str] = ()
    adopted: Identity | None = None
    confirmed: bool = False
    _parted: _Parted | None = None

    def call(
        self, groups: Collection[str], listed: Mapping[str, Sequence[Client]], ways: Mapping[str, str], *, asked: bool
    ) -> None:
        """Take a list of the fleet."""
        self.groups, self.listed, self.ways, self.asked = tuple(groups), listed, ways, asked
        self._parted = None

    def saw(self, releases: Releases, at: datetime) -> None:
        """Take releases that are offered."""
        self.seen, self.seen_at = releases, at

    # --- asking -------------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[ClientRow]:
        """Give a row for each client, as `State.rows` does."""
        yield from self.state.rows([group for group in self.groups if group not in self.listed])
        yield from self._listed_rows()

    def _listed_rows(self) -> Iterator[ClientRow]:
        if not any(self.listed.values()):
            return
        remembered = self.state.seen()
        texts: dict[tuple[str, ...], str] = {}
        for group, clients in self.listed.items():
            for client in clients:
                text = texts.get(client.labels)
                if text is None:
                    text = texts[client.labels] = json.dumps(client.labels)
                seen = remembered.get(client.name, _NOTHING)
                yield ClientRow(
                    name=client.name,
                    group=group,
                    labels=text,
                    fingerprint=seen.fingerprint,
                    error=seen.error,
                    route=self.ways.get(client.name, DIRECT),
                    failing_since=seen.failing_since,
                    quarantined=seen.quarantined,
                    settings=seen.settings,
                )

    def blocks(self) -> Iterator[Block]:
        """Give the clients by what their rows are alike in; the same clients as `rows`."""
        kept, there = [group for group in self.groups if group not in self.listed], set[str]()
        for block in self.state.alike(kept) if kept else ():
            there.update(block.names)
            yield block
        yield from self.state.listed_alike([group for group in kept if group not in there])
        yield from blocks_of(self._listed_rows())

    def lines(
        self, after: str = "", first: int = 500, only: Collection[str] | None = None, through: Sieve | None = None
    ) -> Iterator[Line]:
        """Give the clients that follow a name, in the order of their names, as `State.lines` does.

        `only`: those of these groups. What a list says isn't in the state, and no sieve holds it back.
        """
        kept = [group for group in self.groups if group not in self.listed]
        asked = kept if only is None else [group for group in kept if group in only]
        remembered = self.state.lines(asked, after, first, through) if asked else iter(())
        last = ""
        for line in merge(remembered, self._listed_lines(after, kept), key=_NAME):
            if line.name != last and (only is None or line.group in only):
                yield line
            last = line.name

    def _listed_lines(self, after: str, kept: Collection[str]) -> Iterator[Line]:
        """Give those of a list that follow a name, with what is remembered of them.

        A name that the state has in one of the groups `kept` is that client, whether that is asked for or not.
        """
        listed = [(client, group) for group, clients in self.listed.items() for client in clients]
        following = sorted((pair for pair in listed if pair[0].name > after), key=lambda pair: pair[0].name)
        for start in range(0, len(following), _BATCH):
            batch = following[start : start + _BATCH]
            names = [client.name for client, _group in batch]
            known = self.state.lines_of(names)
            others = self.state.among(kept, names) if kept else ()
            for client, group in batch:
                if client.name in others:
                    continue
                yield known.get(client.name, _BLANK)._replace(
                    name=client.name,
                    group=group,
                    labels=json.dumps(client.labels),
                    route=self.ways.get(client.name, DIRECT),
                )

    def clients(self, groups: Collection[str]) -> list[Client]:
        """Give the clients of groups, sorted by group and name."""
        found = self.state.clients([group for group in groups if group not in self.listed])
        found += [client for group in groups for client in self.listed.get(group, ())]
        return sorted(found, key=lambda client: (client.group, client.name))

    def named(self, names: Collection[str]) -> list[tuple[Client, str]]:
        """Give some clients by name, in the order of their names, each with the settings that it has."""
        wanted = set(names)
        fresh = {client.name: client for part in self.listed.values() for client in part if client.name in wanted}
        return [(fresh.get(client.name, client), has) for client, has in self.state.named(wanted)]

    def stream(self, names: Iterable[str], at_once: int = _BATCH) -> Iterator[tuple[Client, str]]:
        """Give clients as `named` does, in the order of these names; few of them are in memory at a time.

        Take the names of a cohort (`plan.members[one]`), or of all that some changes are about
        (`model.roster.names_of`): then they come by group.
        """
        fresh = {client.name: client for clients in self.listed.values() for client in clients}
        for part in in_parts(names, at_once):
            known = {client.name: (client, has) for client, has in self.state.named(part)}
            for name in part:
                if name in known:
                    client, has = known[name]
                    yield fresh.get(name, client), has

    def doubles(self, of: Collection[str] | None = None) -> list[list[str]]:
        """Give the names of each machine that answered under several of this fleet, sorted; `of`: of some clients."""
        several = self.state.doubles(of)
        if not several:
            return []
        ours = self._among([name for names in several for name in names])
        found = ([name for name in names if name in ours] for names in several)
        return [names for names in found if len(names) > 1]

    def _among(self, names: Collection[str]) -> set[str]:
        """Give those of some names that are of this fleet."""
        wanted = set(names)
        found = {client.name for clients in self.listed.values() for client in clients if client.name in wanted}
        kept, rest = [group for group in self.groups if group not in self.listed], sorted(wanted - found)
        for start in range(0, len(rest), _BATCH):
            found |= self.state.among(kept, rest[start : start + _BATCH])
        return found

    def gone(self) -> list[str]:
        """Give the names of clients that left since something was carried out last."""
        return sorted(name for names in self._compare().gone.values() for name in names) if self.asked else []

    def moves(self, known: Collection[str] = ()) -> list[FleetMove]:
        """Give the groups and clients that came, left or moved since something was carried out last.

        None where inventories weren't asked, and none before anything was carried out: all would be new. `known` are
        groups that were there, with or without clients.
        """
        parted = self._compare() if self.asked else _Parted()
        if not parted.groups:
            return []
        moves: list[FleetMove] = []
        were = parted.groups.union(known)
        for group in sorted({*self.listed, *were}):
            new, gone = parted.new.get(group, []), parted.gone.get(group, [])
            if group not in were:
                everybody = [client.name for client in self.listed[group]]
                moves.append(_move("group_new", group, everybody))
            elif new:
                moves.append(_move("clients_new", group, new))
            if group not in self.groups:
                moves.append(_move("group_gone", group, gone))
            elif gone:
                moves.append(_move("clients_gone", group, gone))
        return moves + [
            _move("clients_moved", group, names, before) for (before, group), names in sorted(parted.moved.items())
        ]

    def moved(self) -> dict[str, dict[str, str]]:
        """Give the former groups of clients that moved since something was carried out last, by group and name."""
        found: dict[str, dict[str, str]] = {}
        for (before, group), names in self._compare().moved.items() if self.asked else ():
            found.setdefault(group, {}).update(dict.fromkeys(names, before))
        return found

    def _compare(self) -> _Parted:
        """Hold the list of the fleet against the clients that are of it; once, as both may be long."""
        if self._parted is None:
            kept = set(self.groups) - set(self.listed)
            there = dict(self.state.members())
            self._parted = parted = _Parted(groups=set(there.values()))
            for group, clients in self.listed.items():
                for client in clients:
                    before = there.pop(client.name, "")
                    if before == group:
                        continue
                    if before:
                        parted.moved[before, group].append(client.name)
                    else:
                        parted.new[group].append(client.name)
            for name, group in there.items():
                if group not in kept:
                    parted.gone[group].append(name)
        return self._parted

    # --- taking in ----------------------------------------------------------------------------------------------------

    def take_in(self) -> None:
        """Remember all that for later runs; called when something is carried out."""
        state = self.state
        if self.adopted is not None:
            state.adopt(self.adopted.lineage, self.adopted.epoch)
        if self.confirmed:
            state.confirm_adopted()
        if self.asked:
            state.sync_groups(self.groups)
        for group in self.groups:
            if group in self.listed:
                state.sync_clients(group, self.listed[group], self.ways)
            else:
                state.take_in(group, self.named_in_plan)
        if self.seen_at is not None:
            state.record_first_seen(self.seen, self.seen_at)
        self.adopted, self.confirmed, self.seen, self.seen_at = None, False, set(), None
        self.named_in_plan = ()
        self.groups, self.listed, self.ways, self.asked = (), {}, {}, False
        self._parted = None


@dataclass(slots=True)
class _Parted:
    """In what a list of the fleet differs from the clients that are of it.

    `groups` are those that have clients already; names of clients stand by group, of those that `moved` by both.
    """

    groups: set[str] = field(default_factory=set)
    new: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    gone: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    moved: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))


def _move(kind: MoveKind, group: str, names: Sequence[str], before: str = "") -> FleetMove:
    return FleetMove(kind=kind, group=group, before=before, clients=len(names), names=first_names(names))


_NOTHING = Seen(fingerprint=None, error="", failing_since=None, quarantined=None, settings="")
_BLANK = Line(
    name="",
    group="",
    labels="[]",
    fingerprint=None,
    error="",
    route=DIRECT,
    seen_at=None,
    failing_since=None,
    failures=0,
    quarantined=None,
)
_NAME = attrgetter("name")
