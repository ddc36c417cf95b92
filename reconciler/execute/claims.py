"""Tells clients of a later epoch of their controller, so that they refuse whoever still has the earlier state.

The request is one that changes nothing: it names what the client has already, to be made ready and not switched to. A
client that has something else by now answers `stale`, and knows the epoch all the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.dispatch.jobs import Job, Made, by_site
from reconciler.errors import TransportError
from reconciler.model.batch import Change, Target
from reconciler.model.deploy import Step
from reconciler.model.events import Trouble
from reconciler.model.work_events import DeployStarted
from reconciler.present.words import count_text
from reconciler.storage.state import Observation

if TYPE_CHECKING:
    from reconciler.execute.tally import Tally
    from reconciler.model.client import Profile
    from reconciler.model.plan import Plan
    from reconciler.workspace import Workspace

_NO_DIGEST = "0" * 64


def claim_all(plan: Plan, work: Workspace, tally: Tally, *, forks: int) -> None:
    """Tell all clients that a plan claims, before anything else is done with any.

    Raises:
        StateError: the state can't be read or written.
        LimitError: this machine has no room for more.
    """
    names = {name for claim in plan.claims for cohort in claim.members for name in plan.members[cohort]}
    if not names or work.means.stop.is_set():
        return
    profiles = work.state.profiles()
    seen = {
        row.name: profiles[row.fingerprint]
        for row in work.state.rows()
        if row.name in names and row.fingerprint in profiles
    }
    clients = [one for one in work.state.clients({claim.group for claim in plan.claims}) if one.name in seen]
    work.means.emit(DeployStarted(f"taking over {count_text(len(clients), 'client')}", clients=len(clients)))

    task = Change(lineage=plan.basis.lineage, epoch=plan.basis.epoch, keep=1, purpose="stage", stay=True)
    component = next(iter(work.spec.components), "none")

    def make(job: Job[None]) -> Made:
        step = _step(seen[job.client.name], component)
        return Made(task=task, target=Target(client=job.client, steps=(step,)))

    for job, answer in work.flow(make, forks=forks).answers(*by_site(clients, work.spec.site_of)):
        client, error = job.client, answer.error
        now = work.means.clock()
        if error is None:
            profile = replace(seen[client.name], lineage=plan.basis.lineage, epoch=plan.basis.epoch)
            work.state.record_observations(
                [Observation(client=client.name, profile=profile, free=None, error="", at=now)]
            )
            continue
        count = tally.unreachable if isinstance(error, TransportError) else tally.failed
        count(client.name, client.group, f"it isn't taken over: {error.brief}", error.reason)
        work.means.emit(Trouble(f"{client.name}: it isn't taken over: {error.brief}"))


def _step(profile: Profile, component: str) -> Step:
    whole = next((entry for entry in profile.installed if entry.digest), None)
    has = (whole.component, whole.version, whole.digest) if whole else (component, "0", _NO_DIGEST)
    component, version, digest = has
    return Step(
        component=component,
        from_version=version,
        from_digest=digest,
        to_version=version,
        to_digest=digest,
        files=(),
        held=True,
    )
