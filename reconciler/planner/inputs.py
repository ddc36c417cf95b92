"""What a plan is made from: the part of the spec that decides, and all facts that were observed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.delta import CodecTraits, Duplication, Incremental, Sample
from reconciler.model.policy import AutoUpdate
from reconciler.model.rollout import UNFIT, Key, RolloutRecord
from reconciler.model.spec import passes_on
from reconciler.planner.targets import Past

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reconciler.model.mirror import Mirror
    from reconciler.model.offer import Fetchable, Offer, OfferedIncremental, Withdrawal
    from reconciler.model.plan import Basis, Cohort
    from reconciler.model.relay import RelaySeen, RelaySpec
    from reconciler.model.release import Release
    from reconciler.model.repository import Published
    from reconciler.model.spec import ComponentSpec, GroupSpec, MirrorSpec, RepositorySpec

ALWAYS = AutoUpdate()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of the spec that decides: managed components and groups, and whether a target left some out.

    `forced` passes over what triggers updates, `limited` says that the plan is for some clients only. `expedited` are
    the components that wait for no soak and no window. `client_keep` is how many versions stay on a client.
    `relays` are those that clients fetch from, by name. Clients of the groups `afar` are worked on by other machines,
    to which content goes once.
    """

    components: Mapping[str, ComponentSpec]
    groups: Mapping[str, GroupSpec]
    partial: bool = False
    duplication: Duplication = Duplication()
    repository: RepositorySpec | None = None
    mirrors: Sequence[MirrorSpec] = ()
    policies: Mapping[tuple[str, str], AutoUpdate] = field(default_factory=dict)
    forced: bool = False
    limited: bool = False
    expedited: frozenset[str] = frozenset()
    client_keep: int = 2
    relays: Mapping[str, RelaySpec] = field(default_factory=dict)
    afar: frozenset[str] = frozenset()

    def passes_on(self, component: str) -> bool:
        """Say whether what is attached to releases of a component is wanted; see `passes_on` of the spec."""
        return passes_on(component, self.repository, self.mirrors)

    def policy(self, group: str, component: str) -> AutoUpdate:
        """Give the auto-update policy of a group for a component."""
        return self.policies.get((group, component), ALWAYS)

    def of_group(self, group: str) -> tuple[ComponentSpec, ...]:
        """Give the components that clients of a group get, in catalog order."""
        method = self.groups[group].scan_method
        return tuple(spec for spec in self.components.values() if spec.component.for_scan_method(method))


@dataclass(frozen=True, slots=True)
class Observed:
    """All facts that a plan is made from.

    `freeze` is a reason for which nothing but first installs may be sent (a state that was taken over and isn't
    confirmed yet), or empty. `dormant` are the (component, digest) of clients that didn't answer, as last seen.
    `withdrawn` has what sources took back, by the source's name; `remembered` what they offer or offered when they were
    last read; `source_routes` the way to each. `published` is what the repository for other sites has, `mirrors`
    the same of each folder in another layout, by its name. `first_seen`
    says when each (component, version) was. `others` are the clients that a limit leaves out, as last seen. `rollouts`
    are those that the state remembers, `failures` the clients that failed in them, with their messages, and `troubles`
    those that couldn't be served because of something that is wrong with them. `excused` are those of the `problems`
    that are as the spec wants it, or that time mends; `unread` are sources that can't be read and should be. `past` is
    what is remembered of the bytes of versions. `back` says when clients answered for the first time, or again after
    they hadn't, where some policy asks for that. `unfetched` are releases whose bytes nobody knows.
    `samples` tell of incrementals between two contents; `memory` has the bytes that making one may take (0: not known).
    `relays` has what each host of a relay had when it was seen last, and `apart` why clients are kept from theirs.
    """

    basis: Basis
    held: Sequence[Release] = ()
    offers: Sequence[Offer] = ()
    problems: Sequence[str] = ()
    cohorts: Sequence[Cohort] = ()
    gone: Sequence[str] = ()
    freeze: str = ""
    incrementals: Sequence[Incremental] = ()
    offered: Sequence[OfferedIncremental] = ()
    codecs: Mapping[str, CodecTraits] = field(default_factory=dict)
    dormant: frozenset[tuple[str, str]] = frozenset()
    withdrawn: Mapping[str, Sequence[Withdrawal]] = field(default_factory=dict)
    remembered: Sequence[Offer] = ()
    source_routes: Mapping[str, str] = field(default_factory=dict)
    first_seen: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    published: Published | None = None
    mirrors: Mapping[str, Mirror] = field(default_factory=dict)
    others: Sequence[Cohort] = ()
    rollouts: Mapping[Key, RolloutRecord] = field(default_factory=dict)
    failures: Mapping[Key, Mapping[str, str]] = field(default_factory=dict)
    troubles: Mapping[Key, Mapping[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    excused: Sequence[str] = ()
    unread: Sequence[str] = ()
    past: Past = field(default_factory=Past)
    back: Mapping[str, datetime] = field(default_factory=dict)
    unfetched: Sequence[Fetchable] = ()
    relays: Mapping[tuple[str, str], RelaySeen] = field(default_factory=dict)
    apart: Mapping[str, str] = field(default_factory=dict)
    samples: Mapping[tuple[str, str], Sample] = field(default_factory=dict)
    memory: int = 0

    def got(self) -> set[tuple[str, str]]:
        """Give the (component, version) that clients have or had, or that are or were published, as far as is known."""
        found = set(self.past.got)
        for cohort in (*self.cohorts, *self.others):
            for entry in cohort.profile.installed if cohort.profile else ():
                found.update((entry.component, version) for version in (entry.version, *dict(entry.kept)))
        if self.published is not None:
            found.update((entry.component, entry.version) for entry in self.published.releases)
            found.update((entry.component, entry.version) for entry in self.published.withdrawn)
        for mirror in self.mirrors.values():
            found.update((entry.component, entry.version) for entry in mirror.releases)
        return found.union(record.key[:2] for record in self.rollouts.values() if record.status in UNFIT)
