"""Measures what one client has of a component against what a plan wants of all that is held or offered.

That is the highest version, or the pin. What is offered and can't be downloaded counts; what has to wait for its age,
or is blocked, doesn't: who lacks only that is updated, and the release is `deferred`.

* updated   runs that version, undamaged
* ahead     runs a higher version: newer than the server isn't "updated"
* pending   has that version, and its engine hasn't loaded it, or doesn't say so: it counts neither as updated nor as
  outdated (`planner.loading`)
* unknown   did not answer, or was never seen
* outdated  everything else: a lower version, none, or damaged files

Two allowances turn outdated into updated: `within` N releases behind (releases that are known, not numerals), and
`max_age`: the first release that the client lacks came out less than that long ago. They hold for what is loaded, too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from reconciler.model.release import ANY_PLATFORM
from reconciler.model.report import MAX_LAG, ComponentStatus
from reconciler.model.spec import LATEST
from reconciler.planner.desired import Desired
from reconciler.planner.loading import in_effect
from reconciler.planner.targets import Times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from reconciler.model.client import Installed
    from reconciler.model.spec import ComponentSpec
    from reconciler.model.version import Version
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.targets import Target, Waiting

Verdict = Literal["updated", "pending", "outdated", "ahead", "unknown"]
State = Literal["updated", "pending", "outdated", "ahead", "unknown", "missing", "damaged", "deferred"]


@dataclass(frozen=True, slots=True)
class Allowance:
    """What still counts as updated; `first_seen` gives release times by (component, version) where they are known."""

    now: datetime
    within: int = 0
    max_age: timedelta | None = None
    first_seen: Mapping[tuple[str, str], datetime] | None = None


@dataclass(slots=True)
class Counts:
    """Clients by verdict and by version; `deferred` are those of the updated that a release is kept back from.

    `lags` counts those that are outdated by the releases that they lack.
    """

    verdicts: Counter[str]
    versions: Counter[str]
    deferred: int = 0
    lags: Counter[int] = field(default_factory=Counter)


class Ruler:
    """What clients are measured against."""

    def __init__(self, wanted: Wanted, observed: Observed, allowance: Allowance) -> None:
        times = Times(allowance.now, allowance.first_seen or {})
        self._held = Desired(wanted.components, observed.held, (), observed.withdrawn, times)
        remembered = observed.remembered or observed.offers
        self._offered = Desired(
            wanted.components,
            observed.held,
            remembered,
            observed.withdrawn,
            times,
            unfetched=observed.unfetched,
        )
        self._allowance = allowance
        self._known: dict[str, list[Version]] = {component: [] for component in wanted.components}
        self._released: dict[tuple[str, str], datetime] = dict(allowance.first_seen or {})
        self._offers: dict[str, Version] = {}
        for release in (*observed.held, *(offer.release for offer in remembered)):
            spec = wanted.components.get(release.component)
            if spec is None or not spec.component.scheme.accepts(release.version):
                continue
            self._known[release.component].append(spec.component.version(release.version))
            if release.released and times.says_when(release):
                self._released[release.component, release.version] = release.released
        for offer in remembered:
            spec = wanted.components.get(offer.release.component)
            if spec is not None and spec.component.scheme.accepts(offer.release.version):
                version = spec.component.version(offer.release.version)
                self._offers[spec.component.id] = max(version, self._offers.get(spec.component.id, version))
        for entry in observed.unfetched:
            spec = wanted.components.get(entry.unfetched.component)
            if spec is not None:
                version = spec.component.version(entry.unfetched.version)
                self._offers[spec.component.id] = max(version, self._offers.get(spec.component.id, version))
        for versions in self._known.values():
            versions[:] = sorted(set(versions))

    def _target(self, component: str, platform: str) -> Target | None:
        return self._offered.target(component, platform)

    def verdict(self, component: str, installed: Installed | None, platform: str) -> Verdict:
        """Say what one profile counts as; without any known release nothing can be said: `unknown`."""
        target = self._target(component, platform)
        if target is None:
            return "unknown"
        if installed is None or installed.damage or not target.spec.component.scheme.accepts(installed.version):
            return "outdated"
        version = target.spec.component.version(installed.version)
        if version > target.version:
            return "ahead"
        same = version == target.version and installed.digest == target.release.digest
        if not same and (version == target.version or not self._allowed(component, version, target.version)):
            return "outdated"
        return "updated" if self._is_in_effect(target, installed) else "pending"

    def _is_in_effect(self, target: Target, installed: Installed) -> bool:
        """Say whether what is loaded of a component that is updated is as good as what is installed."""
        runs = in_effect(target.spec, installed)
        if runs == installed.version or not runs:
            return bool(runs)
        version = target.spec.component.version(runs)
        return version < target.version and self._allowed(target.spec.component.id, version, target.version)

    def lacks(self, component: str, installed: Installed | None, platform: str) -> Waiting | None:
        """Give the release that a client doesn't get yet because the policy keeps it back for now, if there is one."""
        waiting = self._offered.waiting(component, platform)
        if waiting is None or installed is None or not waiting.target.spec.component.scheme.accepts(installed.version):
            return waiting
        return waiting if waiting.target.spec.component.version(installed.version) < waiting.target.version else None

    def state(self, component: str, installed: Installed | None, platform: str) -> State:
        """Say more closely what a verdict comes from: what is outdated is `missing` or `damaged`, or neither.

        What is updated as far as the policy goes is `deferred` where that keeps something newer back.
        """
        verdict = self.verdict(component, installed, platform)
        if verdict == "outdated":
            return "missing" if installed is None else "damaged" if installed.damage else "outdated"
        if verdict == "updated":
            return "deferred" if self.lacks(component, installed, platform) else "updated"
        return verdict

    def wanted(self, component: str, platform: str) -> str:
        """Give the version that clients of a platform should run; empty where there is none."""
        target = self._target(component, platform)
        return target.release.version if target else ""

    def kept_back(self, spec: ComponentSpec) -> str:
        """Say why the highest version that is offered isn't wanted by anybody; empty where it is."""
        component, highest = spec.component.id, self._offers.get(spec.component.id)
        wanted = max((target.version for target in self._offered.targets(component)), default=None)
        if highest is None or (wanted is not None and wanted >= highest):
            return ""
        refusal = self._offered.refused.get((component, highest.text))
        if refusal is not None:
            return f"{highest} is {refusal.text}"
        for platform in self._offered.platforms(component) or [ANY_PLATFORM]:
            target = self._offered.unfetched(component, platform)
            if target is not None and target.version == highest:
                return (
                    f"{highest} is to be fetched from {target.source}: nobody knows its bytes before an apply does that"
                )
        if spec.version != LATEST:
            return f"{highest} is offered, and {spec.version} is pinned"
        whys = {platform: self._offered.waiting(component, platform) for platform in self._offered.platforms(component)}
        waiting = next((one for one in whys.values() if one is not None and one.target.version == highest), None)
        if waiting is not None:
            return f"{highest} waits: {waiting.why}"
        if spec.snapshot is not None:
            return f"{highest} is offered, and the snapshot is of {spec.snapshot.isoformat()}"
        return f"{highest} is offered, and latest-{spec.behind} is wanted" if spec.behind else ""

    def lag(self, component: str, installed: Installed | None, platform: str) -> int:
        """Say how many releases an outdated client lacks; 0 where it lacks something else, or more than MAX_LAG."""
        lacking = self.behind(component, installed, platform)
        return lacking if lacking <= MAX_LAG else 0

    def behind(self, component: str, installed: Installed | None, platform: str) -> int:
        """Say how many releases an outdated client lacks; 0 where it lacks something else."""
        target = self._target(component, platform)
        scheme = target.spec.component.scheme if target else None
        if target is None or scheme is None or installed is None or installed.damage:
            return 0
        if not scheme.accepts(installed.version):
            return 0
        return len(self._lacking(component, scheme.parse(installed.version), target.version))

    def _lacking(self, component: str, version: Version, target: Version) -> list[Version]:
        return [known for known in self._known[component] if version < known <= target]

    def _allowed(self, component: str, version: Version, target: Version) -> bool:
        lacking = self._lacking(component, version, target)
        if len(lacking) <= self._allowance.within:
            return True
        released = self._released.get((component, lacking[0].text)) if lacking else None
        max_age = self._allowance.max_age
        return max_age is not None and released is not None and self._allowance.now - released < max_age

    def status(self, spec: ComponentSpec, parts: Iterable[Counts]) -> ComponentStatus:
        """Add counts up to the status of a component."""
        verdicts: Counter[str] = Counter()
        versions: Counter[str] = Counter()
        lags: Counter[int] = Counter()
        deferred = 0
        for part in parts:
            verdicts += part.verdicts
            versions += part.versions
            lags += part.lags
            deferred += part.deferred
        component = spec.component.id
        latest = max((target.version for target in self._held.targets(component)), default=None)
        wanted = max((target.version for target in self._offered.targets(component)), default=None)
        released = self._released.get((component, latest.text)) if latest else None
        offered = self._offers.get(component)
        return ComponentStatus(
            id=component,
            latest_held=latest.text if latest else "",
            latest_offered=offered.text if offered else "",
            updated=verdicts["updated"],
            outdated=verdicts["outdated"],
            ahead=verdicts["ahead"],
            unknown=verdicts["unknown"],
            pending=verdicts["pending"],
            versions=dict(sorted(versions.items(), key=lambda item: _newest_first(spec, item[0]))),
            deferred=deferred,
            kept_back=self.kept_back(spec),
            age=int((self._allowance.now - released).total_seconds()) if released else None,
            released_at=released,
            name=spec.component.name,
            kind=spec.component.kind,
            wanted=wanted.text if wanted else "",
            target_reason=target_reason(spec),
            lags=dict(sorted(lags.items())),
        )


def target_reason(spec: ComponentSpec) -> str:
    """Say by which rule of the spec a version of a component is the one that clients should run."""
    pinned = spec.version != LATEST
    rule = f"pin {spec.version}" if pinned else f"{LATEST}-{spec.behind}" if spec.behind else LATEST
    day = f" of what was out on {spec.snapshot.isoformat()}" if spec.snapshot else ""
    age = f", at least {spec.min_age.total_seconds() / 3600:g} h old" if spec.min_age else ""
    return f"{rule}{day}{age}"


def _newest_first(spec: ComponentSpec, text: str) -> tuple[int, tuple[int, ...], str]:
    scheme = spec.component.scheme
    if not scheme.accepts(text):
        return 1, (), text
    return 0, tuple(-field for field in scheme.parse(text).key), text
