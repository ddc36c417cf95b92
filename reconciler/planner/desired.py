"""Which release each platform should run: the highest that is known, or the one that is pinned.

* Known is what the store holds and what trusted sources offer. A release that vanished upstream but is held still
  counts: a source that is away changes nothing on clients.
* `latest` is the highest version by the component's scheme, `latest-1` and `latest-2` the ones before it: releases are
  counted, not numerals. An exact version is a pin; when nobody has it, nothing is wanted of the component and the plan
  says so.
* A version that the spec blocks, or that a trusted source withdrew, is wanted by nobody; a pin to it wants nothing, and
  the plan says so.
* With `min_age` a release isn't wanted before it is old enough, with `snapshot` not if it came out after that day. Both
  go by its release time or, where that isn't known or lies ahead, by when it was first seen here.
* A version whose rollout was halted or aborted goes to nobody until the spec blocks it or somebody resumes it; those
  that have it keep it, unless it is to be taken back.
* While a release is on its way through the fleet, a newer one may have to wait for it: `target` is then asked for the
  version of the former.
* A release that is known by its name only, as nobody fetched its bytes yet, counts like the others; where it would be
  the one that clients run, it is to be fetched, and the one before it stays in force until then.
* A client gets releases of its own platform and of `any`; of equal versions its own platform's.
* A version that stands for one content and is offered with another: as long as nobody got the former, the latter takes
  its place, for a file may have been seen half-written. Afterwards it is never taken from the source: the plan says
  so, and what is held stays in force, until somebody accepts the other bytes.

Example: held 16.677.00, offered 16.677.00 and 16.679.00, `version: latest` -> 16.679.00, to be downloaded; with
`min_age: 2h`, an hour after 16.679.00 came out -> 16.677.00, and 16.679.00 waits for another hour.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from reconciler.model.release import ANY_PLATFORM, Release
from reconciler.model.spec import LATEST
from reconciler.planner.targets import First, Halt, Past, Refusal, Target, Times, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.offer import Fetchable, Offer, Withdrawal
    from reconciler.model.release import Content
    from reconciler.model.rollout import RolloutRecord
    from reconciler.model.spec import ComponentSpec
    from reconciler.model.version import Version


class Desired:
    """The targets of all managed components, asked by component and client platform.

    `problems` are sentences: pins that nobody has, offers that contradict what is held; `excused` are those of them
    that are as the spec wants it, `unmet` names what can't be had, and `notes` are other sentences. `held` gives the
    releases in the store by content digest, `newest_held` the highest version there by (component, platform), `known`
    all versions of a component that are held or offered, `refused` why a (component, version) is wanted by nobody.
    """

    def __init__(
        self,
        components: Mapping[str, ComponentSpec],
        held: Sequence[Release],
        offers: Sequence[Offer],
        withdrawn: Mapping[str, Sequence[Withdrawal]] | None = None,
        times: Times | None = None,
        halted: Mapping[tuple[str, str], Halt] | None = None,
        past: Past | None = None,
        unfetched: Iterable[Fetchable] = (),
    ) -> None:
        self._past = past or Past()
        self._halted = halted or {}
        self._versions: dict[tuple[str, str, str], Target] = {}
        self.problems: list[str] = []
        self.excused: list[str] = []
        self.unmet: list[str] = []
        self.notes: list[str] = []
        self.refused = {
            (entry.component, entry.version): Refusal("withdrawn", f"withdrawn by source {source}: {entry.reason}")
            for source, entries in (withdrawn or {}).items()
            for entry in entries
        } | {
            (name, version): Refusal("blocked", f"blocked: {reason}")
            for name, spec in components.items()
            for version, reason in spec.blocked.items()
        }
        self._times = times
        self._schemes = {name: spec.component.scheme for name, spec in components.items()}
        self._waiting: dict[tuple[str, str], Waiting] = {}
        self.held = {release.digest: release for release in held}
        self.newest_held: dict[tuple[str, str], Version] = {}
        self.known: dict[str, set[str]] = {component: set() for component in components}
        self._platforms: dict[tuple[str, str], set[str]] = {}
        self._targets: dict[tuple[str, str], Target] = {}
        self._unfetched: dict[tuple[str, str], Target] = {}
        holding = {(release.component, release.version, release.platform): release for release in held}
        known: dict[str, list[Target]] = {component: [] for component in components}
        coming = [offer for offer in offers if self._is_new(offer, holding)]
        replaced = {_key(offer.release) for offer in coming}
        for release in held:
            if _key(release) not in replaced:
                self._learn(components, known, release, "")
        for offer in coming:
            twin = holding.get(_key(offer.release))
            self._learn(components, known, offer.release, offer.source, twin.digest if twin else "")
        there = {*holding, *(_key(offer.release) for offer in offers)}
        for entry in unfetched:
            if entry.unfetched.component in components and entry.unfetched.key not in there:
                known[entry.unfetched.component].append(_nameless(components[entry.unfetched.component], entry))
        for component, spec in components.items():
            self._choose(spec, known[component])

    def _is_new(self, offer: Offer, holding: Mapping[tuple[str, str, str], Release]) -> bool:
        """Say whether an offer is to be known: not what is held, nor other bytes than a version stands for."""
        release, twin = offer.release, holding.get(_key(offer.release))
        if release.component not in self.known or (twin is not None and twin.digest == release.digest):
            return False
        before = _before(release, holding, self._past.contents)
        if not before:
            return True
        said = f"{release.component} {release.version}: source {offer.source} now offers other bytes"
        if (release.component, release.version) not in self._past.got:
            self.notes.append(f"{said} than before ({release.digest[:12]}, before {before[:12]}); nobody got those")
            return True
        kept = "; the held release stays in force" if twin is not None else ""
        self.problems.append(
            f"{said} than those that are out ({release.digest[:12]}, before {before[:12]}){kept}; to take them all the "
            f"same: updoser release accept {release.component} {release.version}"
        )
        return False

    def is_former(self, release: Release, digest: str) -> bool:
        """Say whether a release's version stood for a content before somebody accepted the one of the release."""
        content = self._past.contents.get(_key(release))
        return content is not None and content.digest == release.digest and digest in content.replaced

    def target(self, component: str, platform: str, first: Sequence[First] = ()) -> Target | None:
        """Give what clients of a platform should run of a component; None when nothing is wanted or known.

        `first` has versions that they should run in place of that: the first one that there is a release of for the
        platform, unless its clients go by a later one already.
        """
        for ahead in first:
            places = ((component, name, ahead.version.text) for name in (platform, ANY_PLATFORM))
            found = next((self._versions[place] for place in places if place in self._versions), None)
            if found is not None and platform not in ahead.passed:
                return found
        own = self._targets.get((component, platform))
        common = self._targets.get((component, ANY_PLATFORM))
        if own is None or common is None:
            return own or common
        return common if common.version > own.version else own

    def unfetched(self, component: str, platform: str) -> Target | None:
        """Give what clients of a platform would run of a component if somebody had its bytes; None where it is there.

        What is there, and is wanted as much or more, isn't fetched from anywhere.
        """
        own, common = (self._best(component, name) for name in (platform, ANY_PLATFORM))
        best = own if common is None or (own is not None and own.version >= common.version) else common
        return best if best is not None and best.unfetched is not None else None

    def _best(self, component: str, platform: str) -> Target | None:
        return self._unfetched.get((component, platform)) or self._targets.get((component, platform))

    def waits_for(self, first: Sequence[First], component: str, platform: str) -> bool:
        """Say whether clients of a platform go by a rollout of an earlier version before they go by anything later."""
        return any(platform not in one.passed and self.knows(component, one.version.text) for one in first)

    def knows(self, component: str, version: str) -> bool:
        """Say whether there is a release of a version that clients may run."""
        return any(place[0] == component and place[2] == version for place in self._versions)

    def platforms(self, component: str) -> list[str]:
        """Give the platforms that there are releases of a component for that clients may run."""
        return sorted({place[1] for place in self._versions if place[0] == component})

    def overtaking(self, record: RolloutRecord, others: Iterable[RolloutRecord]) -> RolloutRecord | None:
        """Give a rollout that came after another one in its lane, of a higher version and for its platforms."""
        own = self._platforms.get((record.component, record.version), set())
        for other, theirs in self._later(record, others):
            if ANY_PLATFORM in theirs or own <= theirs:
                return other
        return None

    def first(self, record: RolloutRecord, others: Iterable[RolloutRecord]) -> First:
        """Give the version of a rollout that comes first, except on platforms that one after it is for."""
        passed = (theirs for _other, theirs in self._later(record, others))
        return First(self._schemes[record.component].parse(record.version), frozenset[str]().union(*passed))

    def _later(
        self, record: RolloutRecord, others: Iterable[RolloutRecord]
    ) -> Iterator[tuple[RolloutRecord, set[str]]]:
        """Give the rollouts that came after one in its lane, of higher versions, with the platforms they are for."""
        scheme = self._schemes.get(record.component)
        if scheme is None or not scheme.accepts(record.version):
            return
        version = scheme.parse(record.version)
        for other in others:
            if (other.component, other.group) != (record.component, record.group) or other.started < record.started:
                continue
            if scheme.accepts(other.version) and scheme.parse(other.version) > version:
                yield other, self._platforms.get((other.component, other.version), {ANY_PLATFORM})

    def is_undone(self, component: str, version: str) -> bool:
        """Say whether the rollout of a version was halted so that clients go back."""
        halt = self._halted.get((component, version))
        return halt is not None and halt.undone

    @property
    def anything_waits(self) -> bool:
        """True when some release isn't old enough yet."""
        return bool(self._waiting)

    def waiting(self, component: str, platform: str) -> Waiting | None:
        """Give the release that clients of a platform would run of a component if it were old enough."""
        found = [self._waiting.get((component, name)) for name in (platform, ANY_PLATFORM)]
        return max(filter(None, found), key=lambda entry: entry.target.version, default=None)

    def targets(self, component: str) -> list[Target]:
        """Give the targets of a component on all platforms."""
        return [target for (known, _platform), target in self._targets.items() if known == component]

    def newer(self, component: str) -> list[Target]:
        """Give what is wanted of a component on all platforms, what is to be fetched for that included."""
        unfetched = [target for (known, _platform), target in self._unfetched.items() if known == component]
        return [*self.targets(component), *unfetched]

    def _learn(
        self,
        components: Mapping[str, ComponentSpec],
        known: Mapping[str, list[Target]],
        release: Release,
        source: str,
        replaces: str = "",
    ) -> None:
        spec = components.get(release.component)
        if spec is None or not spec.component.scheme.accepts(release.version):
            return
        version = spec.component.version(release.version)
        self.known[release.component].add(release.version)
        self._platforms.setdefault((release.component, release.version), set()).add(release.platform)
        known[release.component].append(
            Target(
                spec=spec,
                version=version,
                release=release,
                source=source,
                pinned=spec.version != LATEST,
                replaces=replaces,
            )
        )
        key = (release.component, release.platform)
        if not source and (key not in self.newest_held or self.newest_held[key] < version):
            self.newest_held[key] = version

    def _choose(self, spec: ComponentSpec, known: Sequence[Target]) -> None:
        """Keep the wanted release of each platform; between equal ones the held one, then the first source."""
        component = spec.component.id
        fit: dict[str, list[Target]] = {}
        turned_down: dict[str, Refusal] = {}
        stopped: list[Target] = []
        for candidate in known:
            version = candidate.release.version
            if spec.version not in {LATEST, version}:
                continue
            refusal = self.refused.get((component, version))
            if refusal is not None:
                turned_down[version] = refusal
            elif (component, version) in self._halted:
                stopped.append(candidate)
            else:
                fit.setdefault(candidate.release.platform, []).append(candidate)
        for platform, candidates in sorted(fit.items()):
            chosen = self._of_platform(spec, candidates)
            if chosen is not None:
                self._targets[component, platform] = chosen
        self._stop(stopped)
        best = max((target.version for target in self.targets(component)), default=None)
        for version, refusal in sorted(turned_down.items()):
            if refusal.word == "withdrawn" or best is None or spec.component.version(version) > best:
                self.problems.append(f"{component} {version} is {refusal.text}")
                self.excused.append(self.problems[-1])
        if not fit and not stopped:
            self._nothing(spec, refused=bool(turned_down))

    def _stop(self, stopped: Iterable[Target]) -> None:
        """Remember the highest version that would be wanted if its rollout hadn't been halted."""
        for candidate in sorted(stopped, key=lambda target: target.version):
            place = candidate.release.component, candidate.release.platform
            chosen = self._targets.get(place)
            if chosen is None or chosen.version < candidate.version:
                why = self._halted[candidate.release.component, candidate.release.version].why
                self._waiting[place] = Waiting(candidate, why, "held")

    def _nothing(self, spec: ComponentSpec, *, refused: bool) -> None:
        if refused:
            self._miss(spec, "nothing else of it is known, so clients keep what they have")
        else:
            wanted = "any release" if spec.version == LATEST else f"the pinned version {spec.version}"
            self._miss(spec, f"no source offers {wanted} and the store doesn't hold it")
            if spec.version == LATEST and not spec.named:  # all of a catalog are wanted, as far as there are any
                self.excused.append(self.problems[-1])
                self.unmet.pop()

    def _miss(self, spec: ComponentSpec, why: str) -> None:
        """Say that what is wanted of a component can't be had."""
        component = spec.component.id
        self.problems.append(f"{component}: {why}")
        self.unmet.append(component if spec.version == LATEST else f"{component} {spec.version}")

    def _of_platform(self, spec: ComponentSpec, candidates: Sequence[Target]) -> Target | None:
        """Choose among releases of one platform, the highest first; what isn't old enough yet is remembered."""
        first: dict[str, Target] = {}
        for candidate in candidates:
            first.setdefault(candidate.release.version, candidate)
        for version, target in first.items():
            if target.unfetched is None:
                self._versions[spec.component.id, target.release.platform, version] = target
        ordered = sorted(first.values(), key=lambda target: target.version, reverse=True)
        out = [target for target in ordered if self._was_out(spec, target.release)]
        old = [target for target in out if self._ripe_at(spec, target.release) is None]
        chosen = old[spec.behind] if spec.behind < len(old) else None
        coming = out[spec.behind] if spec.behind < len(out) else None
        if coming is not None and coming is not chosen:
            self._wait(coming, [target for target in out[: spec.behind + 1] if target not in old])
        elif chosen is None:
            self._too_few(spec, ordered, out)
        if chosen is not None and chosen.unfetched is not None:
            self._unfetched[spec.component.id, chosen.release.platform] = chosen
            return next((target for target in old[spec.behind :] if target.unfetched is None), None)
        return chosen

    def _too_few(self, spec: ComponentSpec, ordered: Sequence[Target], out: Sequence[Target]) -> None:
        if spec.snapshot is not None and not out:
            self._miss(spec, f"no release that is known was out on {spec.snapshot.isoformat()}")
        elif ordered:
            known = f"{len(out)} are known" if len(out) != 1 else "one is known"
            self._miss(spec, f"latest-{spec.behind} wants {spec.behind + 1} releases, and {known}")

    def _wait(self, coming: Target, young: Sequence[Target]) -> None:
        """Remember the release that is wanted once all of the `young` ones are old enough, and when that is."""
        times = [(self._ripe_at(target.spec, target.release), target.release) for target in young]
        ripe, last = max(((at, release) for at, release in times if at is not None), key=lambda entry: entry[0])
        since = "was first seen, as nothing says when it came out"
        if last.released is not None:
            told = self._times is not None and self._times.says_when(last)
            since = "came out" if told else f"was first seen, as its release time {last.released:%Y-%m-%d} lies ahead"
        why = f"min_age: not before {ripe:%Y-%m-%dT%H:%M:%SZ}, counted from when {last.version} {since}"
        self._waiting[coming.release.component, coming.release.platform] = Waiting(coming, why, at=ripe)

    def _ripe_at(self, spec: ComponentSpec, release: Release) -> datetime | None:
        """Give the time at which a release is old enough, if that is still to come."""
        if spec.min_age is None or self._times is None:
            return None
        ripe = self._times.out_at(release) + spec.min_age
        return ripe if ripe > self._times.now else None

    def _was_out(self, spec: ComponentSpec, release: Release) -> bool:
        if spec.snapshot is None or self._times is None:
            return True
        return self._times.out_at(release).astimezone(UTC).date() <= spec.snapshot


def _nameless(spec: ComponentSpec, entry: Fetchable) -> Target:
    """Give what stands for a release of which nobody knows the bytes."""
    found = entry.unfetched
    return Target(
        spec=spec,
        version=spec.component.version(found.version),
        release=Release(found.component, found.version, found.platform, (), released=found.released),
        source=entry.source,
        pinned=spec.version != LATEST,
        unfetched=found,
        signed=entry.signed,
    )


def changed_offers(
    offers: Iterable[Offer], held: Iterable[Release], contents: Mapping[tuple[str, str, str], Content]
) -> set[tuple[str, str]]:
    """Give the (component, version) that are offered with other bytes than they stand for."""
    holding = {_key(release): release for release in held}
    return {
        (offer.release.component, offer.release.version)
        for offer in offers
        if _before(offer.release, holding, contents)
    }


def _before(
    release: Release,
    holding: Mapping[tuple[str, str, str], Release],
    contents: Mapping[tuple[str, str, str], Content],
) -> str:
    """Give the content that a release's version stands for, where that is another one; else an empty text."""
    twin, content = holding.get(_key(release)), contents.get(_key(release))
    if twin is not None and twin.digest == release.digest:
        return ""
    before = content.digest if content is not None else twin.digest if twin is not None else ""
    return before if before != release.digest else ""


def _key(release: Release) -> tuple[str, str, str]:
    return release.component, release.version, release.platform
