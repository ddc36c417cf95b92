"""Which rollout of a component counts: what took the place of one, and where one goes on that was stopped.

* A rollout is overtaken by a later one of a higher version in the same lane, for all platforms that it is for. Whatever
  became of that one: what is overtaken never has a newer version wait for it again.
* It would reach nobody where no client should have its version: there is a higher one, or it is blocked.
* What is meant without a version is a rollout that is neither.
* One that is resumed goes on in its wave. Where it was overtaken or taken back, or clients of the waves before lost its
  version since, it begins anew with its first wave, and soaks anew. Where it would reach nobody it is only no longer
  stopped: should its version be wanted again, it begins anew by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.rollout import UNFIT, Approval
from reconciler.planner.desired import Desired
from reconciler.planner.rollout import forced_versions, halts, lane
from reconciler.planner.targets import Times
from reconciler.planner.waves import Lineup, first_waves, structure

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.rollout import RolloutRecord
    from reconciler.planner.inputs import Observed, Wanted


@dataclass(frozen=True, slots=True)
class Resumed:
    """A rollout after it was resumed, and where that leaves it in words."""

    record: RolloutRecord
    says: str


class Succession:
    """Knows all rollouts, and what clients should run, at a time."""

    def __init__(self, wanted: Wanted, observed: Observed, now: datetime) -> None:
        """Look at the whole fleet: `wanted` and `observed` have no limit."""
        self._wanted = wanted
        self._observed = observed
        self._now = now
        self._forced = forced_versions(wanted, self._desired({}), observed.rollouts)

    def _desired(self, changed: dict[tuple[str, str, str], RolloutRecord]) -> Desired:
        observed = self._observed
        halted = halts({**observed.rollouts, **changed}.values())
        times = Times(self._now, observed.first_seen)
        return Desired(self._wanted.components, observed.held, observed.offers, observed.withdrawn, times, halted)

    def overtaken(self, record: RolloutRecord) -> str:
        """Say what took the place of a rollout, or why it would reach nobody; empty where it is the one that counts."""
        later = self._desired({}).overtaking(record, self._observed.rollouts.values())
        return f"{later.version} came after it" if later else self.idle(record)

    def idle(self, record: RolloutRecord) -> str:
        """Say why a rollout would reach nobody if it weren't stopped; empty where it would."""
        component, version = record.component, record.version
        refused = self._desired({}).refused.get((component, version))
        if refused is not None:
            return f"it is {refused.text}"
        desired = self._desired({record.key: replace(record, status="running")})
        targets = []
        for group in self._wanted.groups:
            if any(spec.component.id == component for spec in self._wanted.of_group(group)):
                if lane(self._wanted, group, component) != record.group or record.group not in {"", group}:
                    continue
                first = self._forced.get(group, {}).get(component, ())
                targets += [desired.target(component, place, first) for place in desired.platforms(component)]
        found = [target for target in targets if target is not None]
        if any(target.release.version == version for target in found):
            return ""
        best = max(found, key=lambda target: target.version, default=None)
        return f"clients should have {best.release.version}" if best else "no client should have it"

    def resumed(self, record: RolloutRecord) -> Resumed:
        """Give a rollout that was paused, halted or aborted after somebody let it go on."""
        idle = self.idle(record)
        if idle:
            return Resumed(
                replace(record, status="superseded", reason=idle, undo=""),
                f"is no longer {record.status}, and goes to nobody: {idle}",
            )
        running = replace(record, status="running", reason="", undo="")
        if self.overtaken(record) or record.undo == "all" or self._is_torn(record):
            anew = replace(running, wave=0, opened=self._now, passed=self._now, cleared=True, first=False, approved=())
            return Resumed(anew, f"begins anew with the first of {len(record.cuts)} waves")
        if record.status in UNFIT:
            running = replace(running, opened=self._now, passed=None, cleared=False)
        return Resumed(running, f"goes on in {record.place}")

    def _is_torn(self, record: RolloutRecord) -> bool:
        """Say whether clients of the waves before the open one have a lower version: they lost this one since."""
        spec, part = self._wanted.components[record.component], first_waves(record.cuts, record.wave - 1)
        scheme, observed = spec.component.scheme, self._observed
        failed = {*observed.failures.get(record.key, ()), *observed.troubles.get(record.key, ())}
        lineup = Lineup((*self._observed.cohorts, *self._observed.others))
        for at, cohort in enumerate(lineup.cohorts):
            installed = cohort.profile.by_component.get(record.component) if cohort.profile else None
            if installed is None or cohort.hold or record.group not in {"", cohort.group}:
                continue
            lower = not scheme.accepts(installed.version) or scheme.parse(installed.version) < scheme.parse(
                record.version
            )
            inside = lineup.split(at, (part,)).get((True,)) if lower else None
            if inside is not None and not failed.issuperset(inside.names):
                return True
        return False

    def approved(self, record: RolloutRecord, who: str) -> tuple[RolloutRecord, str]:
        """Give a rollout whose next wave may open, and say which; the record itself where nothing waits for that."""
        group = next((name for name in self._wanted.groups if record.group in {"", name}), "")
        waves = self._wanted.policy(group, record.component).rollout.waves
        number = record.wave + 1 if structure(waves) == record.structure else 1
        if number > len(waves):
            return record, "it is in its last wave, so there is nothing to approve"
        shown = f"wave {number} of {len(waves)}"
        known = next((entry for entry in record.approved if entry.wave == number), None)
        if known is not None:
            return record, f"{shown} was approved by {known.who} already"
        if not waves[number - 1].approve:
            return record, f"{shown} needs no approval"
        return replace(record, approved=(*record.approved, Approval(number, who, self._now))), f"{shown} may open"
