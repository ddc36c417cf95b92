"""What would be observed if everything in a plan succeeded now.

* The store has what is downloaded, merged and generated, and lets go of what is pruned. An incremental that is to be
  made has the size that the plan expects.
* Clients have what they switch to, or what was sent early lies ready there; they know who their controller is, and
  their settings are done. Those that are alike by then are one cohort: a million clients stay a few thousand cohorts.
* Rollouts are where the plan says, and what was to be proved is. Who failed before, and has the version now, didn't.
* Nothing else changes: who doesn't answer goes on not answering.

The run itself goes by the same rules where they are (`model.client.switched`, `RolloutRecord.proved`, `key_among`), so
that both can't differ.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.client import made_ready, switched
from reconciler.model.delta import Incremental, Patch, incremental_name
from reconciler.model.names import Names
from reconciler.model.rollout import AT_WORK, key_among
from reconciler.model.roster import Ids, Roster, Section
from reconciler.planner.waves import part_of, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.change import Deploy, Generate
    from reconciler.model.client import Profile
    from reconciler.model.mirror import Mirror
    from reconciler.model.plan import Cohort, Plan
    from reconciler.model.release import Release, ReleaseKey
    from reconciler.model.repository import Published
    from reconciler.model.rollout import Key, RolloutRecord
    from reconciler.model.roster import Membered
    from reconciler.planner.inputs import Observed, Wanted

    Failures = Mapping[Key, Mapping[str, str]]

_NO_DIGEST = "0" * 64
"""Of the bytes of a patch that isn't made yet."""


def advance(wanted: Wanted, observed: Observed, plan: Plan, now: datetime) -> Observed:
    """Give what would be observed if everything in a plan, made of what is observed, succeeded now."""
    incrementals = _incrementals(observed, plan)
    held = _held(observed, plan)
    fetched = {(change.component, change.to, change.platform) for change in plan.fetches}
    return replace(
        observed,
        unfetched=[entry for entry in observed.unfetched if entry.unfetched.key not in fetched],
        held=held,
        incrementals=incrementals,
        cohorts=_cohorts(wanted, observed, plan),
        rollouts=_rollouts(observed, plan),
        failures=_failures(observed.failures, plan),
        troubles=_failures(observed.troubles, plan),
        first_seen=first_seen(observed, now),
        published=_published(observed, plan, held, incrementals),
        mirrors=_mirrors(observed, plan, held),
    )


def first_seen(observed: Observed, now: datetime) -> Mapping[tuple[str, str], datetime]:
    """Give when releases were seen for the first time, if sources are read now."""
    offered = {(offer.release.component, offer.release.version): now for offer in observed.offers}
    return {**offered, **observed.first_seen}


# --- the store --------------------------------------------------------------------------------------------------------


def _held(observed: Observed, plan: Plan) -> Sequence[Release]:
    pruned = {(prune.component, prune.to, prune.platform) for prune in plan.prunes if prune.kind == "full"}
    attached = [change for change in plan.publishes if change.kind == "attached"]
    if not (plan.arriving or pruned or attached):
        return observed.held
    held = {_key(release): release for release in observed.held}
    known = {(*_key(offer.release), offer.release.digest): offer.release for offer in observed.offers}
    for change in plan.arriving:
        release = known.get((change.component, change.to, change.platform, change.to_digest))
        if release is not None:
            held[_key(release)] = release
    for told in attached:
        key = told.component, told.to, told.platform
        if key in held:
            along = known.get((*key, held[key].digest), held[key]).attached
            held[key] = replace(held[key], attached=tuple(sorted({*held[key].attached, *along})))
    return [release for key, release in held.items() if key not in pruned]


def _incrementals(observed: Observed, plan: Plan) -> Sequence[Incremental]:
    fetched = {
        (download.component, download.platform, incremental_name(download.previous, download.to, download.kind))
        for download in plan.downloads
        if download.kind != "full"
    }
    pruned = {
        (prune.component, prune.platform, incremental_name(prune.previous, prune.to, prune.kind))
        for prune in plan.prunes
        if prune.kind != "full"
    }
    if not (fetched or pruned or plan.generates):
        return observed.incrementals
    known = {(entry.component, entry.platform, entry.name): entry for entry in observed.incrementals}
    for offered in observed.offered:
        entry = offered.incremental
        if (entry.component, entry.platform, entry.name) in fetched:
            known[entry.component, entry.platform, entry.name] = entry
    for change in plan.generates:
        known[place_of(change)] = _made(change)
    return [entry for place, entry in known.items() if place not in pruned]


def place_of(change: Generate) -> tuple[str, str, str]:
    """Give component, platform and name of an incremental that is to be made."""
    return change.component, change.platform, incremental_name(change.previous, change.to, change.codec)


def _made(change: Generate) -> Incremental:
    patch = Patch(change.component, change.bytes, _NO_DIGEST, change.codec)
    return Incremental(
        component=change.component,
        platform=change.platform,
        from_version=change.previous,
        from_digest=change.from_digest,
        to_version=change.to,
        to_digest=change.to_digest,
        codec=change.codec,
        patches=(patch,),
    )


def _published(
    observed: Observed, plan: Plan, held: Iterable[Release], incrementals: Iterable[Incremental]
) -> Published | None:
    """Give what the repository for other sites has: the releases that it is to have, with all incrementals to them."""
    before = observed.published
    if before is None or not any(not change.repository for change in plan.publishes):
        return before
    releases = {_key(release): release for release in before.releases}
    by_key = {_key(release): release for release in held}
    for change in plan.publishes:
        key = change.component, change.to, change.platform
        if change.repository:
            continue
        if change.kind in {"release", "attached"} and key in by_key:
            releases[key] = by_key[key]
        elif change.kind == "let go":
            releases.pop(key, None)
    goals = {release.digest for release in releases.values()}
    listed = (entry for entry in incrementals if entry.to_digest in goals and entry.from_version and not entry.refused)
    return replace(before, releases=tuple(releases.values()), incrementals=tuple(listed), renew="")


def _mirrors(observed: Observed, plan: Plan, held: Iterable[Release]) -> dict[str, Mirror]:
    """Give what each mirror has then: as the plan says."""
    by_key = {_key(release): release for release in held}
    found = {}
    for name, mirror in observed.mirrors.items():
        releases = {_key(release): release for release in mirror.releases}
        changes = [change for change in plan.publishes if change.repository == name]
        for change in changes:
            key = change.component, change.to, change.platform
            if change.kind in {"release", "attached"} and key in by_key:
                releases[key] = by_key[key]
            elif change.kind in {"let go", "withdraw"}:
                releases.pop(key, None)
        found[name] = replace(mirror, releases=tuple(releases.values()), renew="" if changes else mirror.renew)
    return found


def _key(release: Release) -> ReleaseKey:
    return release.component, release.version, release.platform


# --- rollouts ---------------------------------------------------------------------------------------------------------


def _rollouts(observed: Observed, plan: Plan) -> Mapping[Key, RolloutRecord]:
    records = dict(observed.rollouts)
    for step in plan.rollouts:
        if step.new:
            records[step.record.key] = step.record
    for key in {proof.key for proof in plan.proofs}:
        if key in records:
            records[key] = records[key].proved()
    return records


def _failures(failures: Failures, plan: Plan) -> Failures:
    """Leave out who has the version now, and rollouts that are over."""
    if not failures:
        return failures
    left = {key: dict(names) for key, names in failures.items()}
    for step in plan.rollouts:
        if step.new and step.record.over:
            left.pop(step.record.key, None)
    at_work = {step.record.key for step in plan.rollouts if step.record.status in AT_WORK}
    for deploy in plan.deploys:
        key = key_among(at_work, deploy.component, deploy.to, deploy.group)
        names = left.get(key) if key is not None else None
        if names and not deploy.early:
            for name in [name for cohort in deploy.members for name in plan.members[cohort] if name in names]:
                del names[name]
    return {key: names for key, names in left.items() if names}


# --- clients ----------------------------------------------------------------------------------------------------------


class _Orders:
    """What the parts of a fleet get by a plan: deploys, settings, and to know their controller."""

    def __init__(self, plan: Plan, roster: Roster) -> None:
        self._roster = roster
        self._deploys: dict[int, list[tuple[Deploy, frozenset[str]]]] = defaultdict(list)
        alike: dict[tuple[object, ...], list[Deploy]] = defaultdict(list)
        for deploy in plan.deploys:
            alike[_numbers(deploy), deploy.component, deploy.to, deploy.to_digest, deploy.early].append(deploy)
        for deploys in alike.values():
            groups = frozenset(deploy.group for deploy in deploys)
            for number in _numbers(deploys[0]):
                self._deploys[number].append((deploys[0], groups))
        self._set_up = self._groups_of(plan.settings)
        claimed = self._groups_of(plan.claims)
        self.sections = sorted({*self._deploys, *self._set_up, *claimed})
        self._claimed = claimed

    def _groups_of(self, entries: Iterable[Membered]) -> dict[int, frozenset[str]]:
        found: dict[int, set[str]] = defaultdict(set)
        for entry in entries:
            if isinstance(entry.members, Ids):
                for number in entry.members.wanted:
                    found[number].update(entry.members.groups)
        return {number: frozenset(groups) for number, groups in found.items()}

    def parts(self, number: int) -> Iterator[tuple[Section, tuple[Deploy, ...], bool]]:
        """Give what the clients of a section get, and whether they are set up; in parts where groups differ in that."""
        section = self._roster.sections[number]
        alike: dict[tuple[tuple[Deploy, ...], bool], list[int]] = defaultdict(list)
        for run, group in enumerate(section.groups):
            gets = tuple(deploy for deploy, groups in self._deploys.get(number, ()) if group in groups)
            set_up = group in self._set_up.get(number, ())
            if gets or set_up or group in self._claimed.get(number, ()):
                alike[gets, set_up].append(run)
        for (gets, set_up), runs in alike.items():
            yield section.of_runs(runs), gets, set_up


def _numbers(deploy: Deploy) -> frozenset[int]:
    return deploy.members.wanted if isinstance(deploy.members, Ids) else frozenset()


def _cohorts(wanted: Wanted, observed: Observed, plan: Plan) -> Sequence[Cohort]:
    roster = plan.members
    if not isinstance(roster, Roster):  # nobody is in it
        return observed.cohorts
    orders = _Orders(plan, roster)
    sections = _sections(observed.cohorts, roster, orders.sections)
    if not sections:
        return observed.cohorts
    layouts = {name: spec.layout.fingerprint for name, spec in wanted.components.items()}
    made: dict[object, Profile] = {}
    alike: dict[tuple[object, ...], list[Cohort]] = defaultdict(list)

    def add(cohort: Cohort) -> None:
        fingerprint = cohort.profile.fingerprint if cohort.profile else None
        alike[fingerprint, *situation(cohort)].append(cohort)

    for at, cohort in enumerate(observed.cohorts):
        gone = bytearray(len(cohort.members)) if at in sections else bytearray()
        for number in sections.get(at, ()):
            assert cohort.profile is not None
            for section, gets, set_up in orders.parts(number):
                for taken in section.numbers:
                    gone[taken] = 1
                alone = tuple((deploy.component, deploy.to, deploy.to_digest, deploy.early) for deploy in gets)
                key = cohort.profile.fingerprint, alone
                if key not in made:
                    made[key] = _after(cohort.profile, gets, layouts, plan, wanted.client_keep)
                settings = "" if set_up else cohort.settings
                add(replace(part_of(cohort, section), profile=made[key], settings=settings))
        left = array("I", [number for number, taken in enumerate(gone) if not taken])
        if left or not gone:
            add(part_of(cohort, whole(cohort).pick(left)) if gone else cohort)
    return [joined(found) for found in alike.values()]


def _sections(cohorts: Sequence[Cohort], roster: Roster, numbers: Iterable[int]) -> dict[int, list[int]]:
    """Give the numbers of sections by the number of the observed cohort that each is a part of."""
    places = {id(cohort.members): at for at, cohort in enumerate(cohorts)}
    alike: dict[Sequence[str], int] = {}
    found: dict[int, list[int]] = defaultdict(list)
    for number in numbers:
        names = roster.sections[number].whole.names
        at = places.get(id(names))
        if at is None:  # the same was observed once more
            alike = alike or {cohort.members: at for at, cohort in enumerate(cohorts)}
            at = alike[names]
        found[at].append(number)
    return found


def situation(cohort: Cohort) -> tuple[object, ...]:
    """Give what clients with the same profile must have in common to be of one cohort."""
    left_alone = cohort.hold, cohort.free_at
    seen = cohort.unknown, cohort.route, cohort.unreachable, cohort.since
    return cohort.like or cohort.group, *left_alone, *seen, cohort.selected, cohort.settings


def all_loaded(wanted: Wanted, observed: Observed) -> Observed:
    """Give what would be observed once all engines had loaded what is installed."""
    asked = {name for name, spec in wanted.components.items() if spec.loaded is not None}
    if not asked:
        return observed
    made: dict[str, Profile] = {}

    def loaded(cohort: Cohort) -> Cohort:
        if cohort.profile is None:
            return cohort
        key = cohort.profile.fingerprint
        if key not in made:
            installed = tuple(
                replace(entry, loaded=entry.version, unsaid="") if entry.component in asked else entry
                for entry in cohort.profile.installed
            )
            made[key] = replace(cohort.profile, installed=installed)
        return replace(cohort, profile=made[key])

    return replace(
        observed, cohorts=[loaded(one) for one in observed.cohorts], others=[loaded(one) for one in observed.others]
    )


def set_free(cohorts: Sequence[Cohort], now: datetime) -> Sequence[Cohort]:
    """Leave nobody alone for longer than until a time."""
    if not any(cohort.free_at is not None and cohort.free_at <= now for cohort in cohorts):
        return cohorts
    return [
        replace(cohort, hold="", free_at=None) if cohort.free_at is not None and cohort.free_at <= now else cohort
        for cohort in cohorts
    ]


def joined(cohorts: Sequence[Cohort]) -> Cohort:
    """Put cohorts in the same situation together."""
    if len(cohorts) == 1:
        return cohorts[0]
    found: dict[str, list[str]] = defaultdict(list)
    for cohort in cohorts:
        for group, members in cohort.parts():
            found[group] += members
    names = {group: sorted(found[group]) for group in sorted(found)}
    section = Section(Names(names.values()), tuple(names), tuple(map(len, names.values())))
    return part_of(cohorts[0], section)


def _after(profile: Profile, deploys: Iterable[Deploy], layouts: Mapping[str, str], plan: Plan, keep: int) -> Profile:
    """Give what clients of a profile have once they are changed, and have loaded it."""
    installed = dict(profile.by_component)
    for deploy in deploys:
        name, known = deploy.component, installed.get(deploy.component)
        if not deploy.early:
            has = switched(known, name, deploy.to, deploy.to_digest, layout=layouts[name], keep=keep)
            installed[name] = replace(has, loaded=deploy.to, unsaid="")
        elif known is not None:
            installed[name] = made_ready(known, deploy.to, deploy.to_digest)
    basis = plan.basis
    return replace(profile, installed=tuple(sorted(installed.values())), lineage=basis.lineage, epoch=basis.epoch)
