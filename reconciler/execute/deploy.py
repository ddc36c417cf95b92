"""Deploy changes become requests to clients, and their answers become outcomes.

* All that a client gets goes in one request over one connection.
* A client that is no longer as planned answers `stale` and what it has. It gets the release all the same if what it has
  is below it; if not, it is left as it is: `skipped`.
* Files that the version FROM has too aren't sent: the client copies them. The store knows them while it holds FROM.
* Where the plan names a way over incrementals and the store has them, only those are sent. A client that can't apply
  one answers `unpatched` and gets the full on the same connection: at most `bytes_full` of the plan.
* An incremental that failed on DISTRUST clients and worked on none isn't tried on others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from reconciler.errors import UpdoserError
from reconciler.model.client import DeployRequest, Hop, Installed, Outcome, Patched, Profile, Step
from reconciler.model.delta import compose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.client.reach import Reach
    from reconciler.contracts import Session
    from reconciler.model.client import Client, DeployReport
    from reconciler.model.delta import Chain, Incremental
    from reconciler.model.plan import Basis, Deploy
    from reconciler.model.release import Release
    from reconciler.model.spec import ComponentSpec, Spec
    from reconciler.storage.store import Store

SKIPPED = "changed since plan"
DISTRUST = 3
MOVED = "somebody else is changing it now; apply again"


@dataclass(frozen=True, slots=True)
class Task:
    """What one client is to get. `profile` is what was seen of it when it was planned."""

    client: Client
    steps: tuple[Step, ...]
    profile: Profile | None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task: outcomes of the steps that were answered, and the error that ended the rest.

    `fallbacks` are the components of which the client got the full because an incremental failed there.
    """

    task: Task
    outcomes: tuple[Outcome, ...] = ()
    bytes_sent: int = 0
    error: UpdoserError | None = None
    fallbacks: frozenset[str] = frozenset()


class Stepper:
    """Makes the steps of deploy changes; clients of a cohort share them."""

    def __init__(self, spec: Spec, releases: Mapping[str, Release], incrementals: Iterable[Incremental] = ()) -> None:
        """Take the releases that the store holds, by content digest, and its incrementals."""
        self._components = spec.components
        self._releases = releases
        self._incrementals = {
            (entry.component, entry.platform, entry.name): entry for entry in incrementals if not entry.refused
        }

    def steps(self, deploys: tuple[Deploy, ...]) -> tuple[Step, ...]:
        """Give the steps of one client's changes."""
        return tuple(self._step(deploy) for deploy in deploys)

    def _step(self, deploy: Deploy) -> Step:
        release = self._releases[deploy.to_digest]
        step = Step(
            component=deploy.component,
            from_version=deploy.from_version,
            from_digest=deploy.from_digest,
            to_version=deploy.to,
            to_digest=deploy.to_digest,
            files=release.files,
            kept=self._kept(deploy, release),
            layout=self._components[deploy.component].layout,
        )
        return self._patched(step, deploy)

    def _kept(self, deploy: Deploy, release: Release) -> dict[str, str]:
        before = self._releases.get(deploy.from_digest)
        return {file.name: file.name for file in before.shared_with(release)} if before else {}

    def _patched(self, step: Step, deploy: Deploy) -> Step:
        """Give the step over the plan's incrementals; the full one where they aren't there, or don't fit."""
        path = [self._incrementals.get((deploy.component, deploy.platform, name)) for name in deploy.path]
        known = [entry for entry in path if entry is not None]
        if not known or len(known) != len(path):
            return step
        try:
            chains = compose(known)
        except ValueError:
            return step
        if known[0].from_digest not in {"", step.from_digest} or known[-1].to_digest != step.to_digest:
            return step
        if {file.name for file in step.files} != set(chains):
            return step
        kept = {name: chain.base for name, chain in chains.items() if not chain.patches}
        patched = {name: _hops(chain) for name, chain in chains.items() if chain.patches}
        if not known[0].from_digest:  # a packed full: what the client has already stays
            kept = dict(step.kept)
            patched = {name: way for name, way in patched.items() if name not in kept}
        return replace(step, kept=kept, patched=patched)


def _hops(chain: Chain) -> Patched:
    hops = tuple(Hop(patch.codec, patch.size, patch.sha256, patch.result) for patch in chain.patches)
    return Patched(chain.base, hops)


class Deployer:
    """Carries tasks out, one client at a time; used by several threads at once."""

    def __init__(self, spec: Spec, basis: Basis, reach: Reach, store: Store) -> None:
        """Take what is the same for all clients."""
        self._spec = spec
        self._basis = basis
        self._reach = reach
        self._store = store
        self._lock = Lock()
        self._failures: Counter[tuple[str, str, str]] = Counter()
        self._proven: set[tuple[str, str, str]] = set()

    def __call__(self, task: Task) -> Result:
        """Change one client; errors are part of the result."""
        try:
            return self._reach.work(task.client, lambda session: self._deploy(task, session))
        except UpdoserError as error:
            return Result(task, error=error)

    def _deploy(self, task: Task, session: Session) -> Result:
        task = replace(task, steps=tuple(step.full if self._is_distrusted(step) else step for step in task.steps))
        report = self._send(task.client, task.steps, session)
        again: dict[str, Step] = {}
        unpatched: set[str] = set()
        for step, outcome in zip(task.steps, report.outcomes, strict=True):
            self._learn(step, outcome)
            if outcome.status == "unpatched":
                unpatched.add(step.component)
                again[step.component] = replace(step, kept={}, patched={})
            renewed = self._from_actual(step, outcome) if outcome.status == "stale" else None
            if renewed is not None:
                again[step.component] = renewed
        if not again:
            return Result(task, tuple(map(_skipped, report.outcomes)), report.bytes_sent)
        try:
            second = self._send(task.client, tuple(again.values()), session)
        except UpdoserError as error:
            known = tuple(outcome for outcome in report.outcomes if outcome.component not in again)
            return Result(task, tuple(map(_skipped, known)), report.bytes_sent, error)
        done = replace(task, steps=tuple(again.get(step.component, step) for step in task.steps))
        later = {outcome.component: _moved(outcome) for outcome in second.outcomes}
        outcomes = tuple(later.get(outcome.component) or _skipped(outcome) for outcome in report.outcomes)
        fallen = frozenset(entry.component for entry in outcomes if entry.component in unpatched)
        return Result(done, outcomes, report.bytes_sent + second.bytes_sent, fallbacks=fallen)

    def _is_distrusted(self, step: Step) -> bool:
        with self._lock:
            way = _way(step)
            return bool(step.patched) and way not in self._proven and self._failures[way] >= DISTRUST

    def _learn(self, step: Step, outcome: Outcome) -> None:
        """Remember how incrementals fare; one that worked once is trusted from then on."""
        if not step.patched:
            return
        with self._lock:
            if outcome.status == "changed":
                self._proven.add(_way(step))
            elif outcome.status == "unpatched":
                self._failures[_way(step)] += 1

    def _send(self, client: Client, steps: tuple[Step, ...], session: Session) -> DeployReport:
        request = DeployRequest(
            self._basis.lineage, self._basis.epoch, client.install_root, self._spec.client_keep, steps
        )
        return session.deploy(request, self._store.open)

    def _from_actual(self, step: Step, outcome: Outcome) -> Step | None:
        """Give the step from what the client has by now; None when that isn't below the release."""
        wanted: ComponentSpec = self._spec.components[step.component]
        scheme = wanted.component.scheme
        if outcome.version and scheme.accepts(outcome.version) and scheme.accepts(step.to_version):
            same = outcome.version == step.to_version
            if not same and scheme.parse(outcome.version) > scheme.parse(step.to_version):
                return None
        return replace(step, from_version=outcome.version, from_digest=outcome.digest, kept={}, patched={})


def _way(step: Step) -> tuple[str, str, str]:
    return step.component, step.from_digest, step.to_digest


def _skipped(outcome: Outcome) -> Outcome:
    """Say of a stale client that it is left as it is."""
    return replace(outcome, status="skipped", message=SKIPPED) if outcome.status == "stale" else outcome


def _moved(outcome: Outcome) -> Outcome:
    """Say of a client that it was changed by somebody else between two requests, moments apart."""
    return replace(outcome, message=MOVED) if outcome.status == "stale" else outcome


def profile_after(result: Result, basis: Basis) -> Profile | None:
    """Give what a client has after a task, from its answers; None when nothing was known of it before."""
    before = result.task.profile
    if before is None:
        return None
    installed = dict(before.by_component)
    steps = {step.component: step for step in result.task.steps}
    for outcome in result.outcomes:
        step = steps[outcome.component]
        if outcome.status in {"changed", "ok"}:
            known = installed.get(step.component)
            same = known is not None and known.version == step.to_version
            previous = known.previous if known and same else known.version if known else ""
            installed[step.component] = Installed(
                step.component, step.to_version, step.to_digest, previous, step.layout.fingerprint
            )
        elif outcome.status in {"stale", "skipped"} and outcome.version:
            installed[step.component] = Installed(step.component, outcome.version, outcome.digest)
    changed = tuple(sorted(installed.values()))
    return replace(before, installed=changed, lineage=basis.lineage, epoch=basis.epoch)
