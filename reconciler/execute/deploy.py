"""Deploy changes become requests to clients, and their answers become outcomes.

* All that a client gets goes in one request over one connection.
* A client that is no longer as planned answers `stale` and what it has. It gets the release all the same if what it has
  is below it; if not, it is left as it is: `skipped`.
* Files that the version FROM has too aren't sent: the client copies them. The store knows them while it holds FROM.
* Where the plan names a way over incrementals and the store has them, only those are sent. A client that can't apply
  one answers `unpatched` and gets the full on the same connection: at most `bytes_full` of the plan.
* A client that another process is changing now is `stale` too, and left to a later run: that may be a process of ours
  that lost its controller, and it may bring the very release.
* An incremental that failed on DISTRUST clients and worked on none isn't tried on others.
* What is only sent early follows on the same connection, in a request of its own that switches nothing.
* Files of settings are rendered when the client's turn has come, and go in the same request. One that can't be rendered
  fails; the rest goes on.
* What may not be done any more when a client's turn has come, and again when it is connected to, is left.
* A check that runs here, on the server, comes when the client has switched; when it is bad the client goes back to the
  version that it kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import KW_ONLY, dataclass, replace
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from reconciler.client.reach import expecting
from reconciler.errors import BusyError, UpdoserError
from reconciler.execute.settings import NOTHING, Prepared
from reconciler.guards import Caught
from reconciler.model.client import Installed, Profile, made_ready, switched
from reconciler.model.delta import compose
from reconciler.model.deploy import MISSED, SENT, WELL, DeployReport, DeployRequest, Outcome, Patched, PatchHop, Step
from reconciler.model.settings import is_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from reconciler.client.reach import Reach
    from reconciler.contracts import Session
    from reconciler.model.change import Deploy, Settings
    from reconciler.model.client import Client
    from reconciler.model.delta import Chain, Incremental
    from reconciler.model.deploy import ClientCheck, Purpose
    from reconciler.model.plan import Basis
    from reconciler.model.release import Release
    from reconciler.model.spec import ComponentSpec, Spec
    from reconciler.storage.store import Store

SKIPPED = "changed since plan"
DISTRUST = 3
MOVED = "somebody else is changing it now; apply again"


@dataclass(frozen=True, slots=True)
class Task:
    """What one client is to get, and `early` what it is sent before its time.

    `profile` is what was seen of it when it was planned. `settings` are those that it had then, where they are to be
    changed, and `prepared` what is made of that once its turn has come. `changes` are those of the plan that it is of.
    """

    client: Client
    steps: tuple[Step, ...]
    profile: Profile | None
    _: KW_ONLY
    early: tuple[Step, ...] = ()
    settings: str | None = None
    prepared: Prepared = NOTHING
    changes: tuple[Deploy | Settings, ...] = ()

    @property
    def all_steps(self) -> dict[str, Step]:
        """All steps, by component."""
        bad = (step for step, _outcome in self.prepared.bad)
        return {step.component: step for step in (*self.steps, *self.early, *bad)}


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

    def __init__(
        self,
        spec: Spec,
        releases: Mapping[str, Release],
        incrementals: Iterable[Incremental] = (),
        checks: Callable[[str, str], tuple[ClientCheck, ...]] = lambda _group, _component: (),
    ) -> None:
        """Take the releases that the store holds, by content digest, its incrementals, and what clients check.

        `checks` gives the checks of a component in a group.
        """
        self._components = spec.components
        self._checks = checks
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
            checks=self._checks(deploy.group, deploy.component),
            hooks=self._components[deploy.component].hooks,
            question=self._components[deploy.component].loaded,
        )
        if deploy.held:
            return replace(step, kept={}, held=True)
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
    hops = tuple(PatchHop(patch.codec, patch.size, patch.sha256, patch.result) for patch in chain.patches)
    return Patched(chain.base, hops)


class Deployer:
    """Carries tasks out, one client at a time; used by several threads at once."""

    def __init__(
        self,
        spec: Spec,
        basis: Basis,
        reach: Reach,
        store: Store,
        *,
        releases: Mapping[str, Release] | None = None,
        check_here: Callable[[Client, Step], str] = lambda _client, _step: "",
        turn: Callable[[Task], Task] = lambda task: task,
        render: Callable[[Client, str], Prepared] = lambda _client, _has: NOTHING,
        over: Callable[[Client, Session], Session] = lambda _client, session: session,
    ) -> None:
        """Take what is the same for all clients.

        `releases` are those of the store by digest; `check_here` says what is bad about a client that switched, `turn`
        gives what of a task may still be done; `render` makes the settings of a client that has some, or none.
        What is asked of a client goes `over` the session that this gives (`relays`).
        """
        self._render = render
        self._over = over
        self._releases = releases or {}
        self._check_here = check_here
        self._turn = turn
        self._spec = spec
        self._basis = basis
        self._reach = reach
        self._store = store
        self._lock = Lock()
        self._failures: Counter[tuple[str, str, str]] = Counter()
        self._worked: set[tuple[str, str, str]] = set()

    def __call__(self, task: Task) -> Result:
        """Change one client; errors are part of the result.

        Raises:
            LimitError: this machine has no room for more.
        """
        task = self._turn(task)
        result = Result(task)
        with Caught() as caught:
            if task.settings is not None:
                with expecting():
                    prepared = self._render(task.client, task.settings)
                task = replace(task, steps=(*task.steps, *prepared.steps), prepared=prepared)
                result = Result(task)
            if task.steps or task.early:
                result = self._reach.work(
                    task.client, lambda session: self._work_on(task, self._over(task.client, session))
                )
        if caught.error is not None:
            result = Result(task, error=caught.error)
        bad = (outcome for _step, outcome in task.prepared.bad)
        return replace(result, outcomes=(*task.prepared.masked(result.outcomes), *bad))

    def _work_on(self, task: Task, session: Session) -> Result:
        task = self._turn(task)  # a connection may have taken long
        result = self._checked_here(self._deploy(task, session), session) if task.steps else Result(task)
        if not task.early or result.error is not None:
            return result
        with Caught() as caught:
            early = self._deploy(replace(task, steps=task.early), session, purpose="stage")
        if caught.error is not None:  # what was switched before stays so
            return replace(result, error=caught.error)
        done = replace(result.task, early=early.task.steps)
        return Result(
            task=done,
            outcomes=(*result.outcomes, *early.outcomes),
            bytes_sent=result.bytes_sent + early.bytes_sent,
            error=early.error,
            fallbacks=result.fallbacks | early.fallbacks,
        )

    def _checked_here(self, result: Result, session: Session) -> Result:
        """Run what is checked here on what changed; what is bad goes back to what the client had."""
        steps = result.task.all_steps
        outcomes = list(result.outcomes)
        for at, outcome in enumerate(outcomes):
            trouble = (
                self._check_here(result.task.client, steps[outcome.component]) if outcome.status == "changed" else ""
            )
            if trouble:
                outcomes[at] = self._take_back(result.task.client, steps[outcome.component], trouble, session)
        return replace(result, outcomes=tuple(outcomes))

    def _take_back(self, client: Client, step: Step, trouble: str, session: Session) -> Outcome:
        bad = Outcome(
            component=step.component,
            status="failed",
            version=step.to_version,
            digest=step.to_digest,
            message=trouble,
            reason="check",
        )
        before = self._releases.get(step.from_digest)
        if before is None:
            return replace(bad, message=f"{trouble}; the version before isn't known here, so it has this one")
        back = Step(
            component=step.component,
            from_version=step.to_version,
            from_digest=step.to_digest,
            to_version=step.from_version,
            to_digest=step.from_digest,
            files=before.files,
            layout=step.layout,
            held=True,
            hooks=step.hooks,
        )
        try:
            (outcome,) = self._send(Task(client, (), None), (back,), session).outcomes
            if outcome.status == "unpatched":
                (outcome,) = self._send(Task(client, (), None), (back.full,), session).outcomes
        except UpdoserError as error:
            return replace(bad, message=f"{trouble}; going back failed: {error.brief}")
        if outcome.status != "changed":
            return replace(bad, message=f"{trouble}; going back failed: {outcome.message or outcome.status}")
        text = f"{trouble}; it is back at {step.from_version}"
        return replace(bad, version=step.from_version, digest=step.from_digest, message=text)

    def _deploy(self, task: Task, session: Session, purpose: Purpose = "switch") -> Result:
        task = replace(task, steps=tuple(step.full if self._is_distrusted(step) else step for step in task.steps))
        try:
            report = self._send(task, task.steps, session, purpose)
        except BusyError as error:
            return Result(task, _busy(task.steps, error))
        again: dict[str, Step] = {}
        unpatched: set[str] = set()
        for step, outcome in zip(task.steps, report.outcomes, strict=True):
            self._learn(step, outcome)
            if outcome.status == "unpatched":
                unpatched.add(step.component)
                again[step.component] = replace(step, kept={}, patched={}, held=False)
            renewed = self._from_actual(step, outcome) if outcome.status == "stale" else None
            if renewed is not None:
                again[step.component] = renewed
        if not again:
            return Result(task, tuple(map(_skipped, report.outcomes)), report.bytes_sent)
        with Caught() as caught:
            second = self._send(task, tuple(again.values()), session, purpose)
        if isinstance(caught.error, BusyError):
            second = DeployReport(_busy(again.values(), caught.error), 0)
        elif caught.error is not None:
            known = tuple(outcome for outcome in report.outcomes if outcome.component not in again)
            return Result(task, tuple(map(_skipped, known)), report.bytes_sent, caught.error)
        done = replace(task, steps=tuple(again.get(step.component, step) for step in task.steps))
        later = {outcome.component: _moved(outcome) for outcome in second.outcomes}
        outcomes = tuple(later.get(outcome.component) or _skipped(outcome) for outcome in report.outcomes)
        fallen = frozenset(entry.component for entry in outcomes if entry.component in unpatched)
        return Result(done, outcomes, report.bytes_sent + second.bytes_sent, fallbacks=fallen)

    def _is_distrusted(self, step: Step) -> bool:
        with self._lock:
            way = _way(step)
            return bool(step.patched) and way not in self._worked and self._failures[way] >= DISTRUST

    def _learn(self, step: Step, outcome: Outcome) -> None:
        """Remember how incrementals fare; one that worked once is trusted from then on."""
        if not step.patched:
            return
        with self._lock:
            if outcome.status in SENT:
                self._worked.add(_way(step))
            elif outcome.status == "unpatched":
                self._failures[_way(step)] += 1

    def _send(self, task: Task, steps: tuple[Step, ...], session: Session, purpose: Purpose = "switch") -> DeployReport:
        keep, client, rendered = self._spec.client_keep, task.client, task.prepared.content
        basis = self._basis
        request = DeployRequest(
            lineage=basis.lineage,
            epoch=basis.epoch,
            install_root=client.install_root,
            keep=keep,
            steps=steps,
            purpose=purpose,
            vars=client.vars,
        )

        def content(sha256: str) -> AbstractContextManager[BinaryIO]:
            return BytesIO(rendered[sha256]) if sha256 in rendered else self._store.open(sha256)

        return session.deploy(request, content)

    def _from_actual(self, step: Step, outcome: Outcome) -> Step | None:
        """Give the step from what the client has by now; None when that isn't below the release."""
        wanted: ComponentSpec | None = self._spec.components.get(step.component)
        if wanted is None:  # settings have no order: what is wanted now is right
            return replace(step, from_version=outcome.version, from_digest=outcome.digest)
        scheme = wanted.component.scheme
        if outcome.version and scheme.accepts(outcome.version) and scheme.accepts(step.to_version):
            same = outcome.version == step.to_version
            if not same and scheme.parse(outcome.version) > scheme.parse(step.to_version):
                return None
        return replace(step, from_version=outcome.version, from_digest=outcome.digest, kept={}, patched={}, held=False)


def _busy(steps: Iterable[Step], error: BusyError) -> tuple[Outcome, ...]:
    return tuple(Outcome(step.component, "stale", message=error.message) for step in steps)


def _way(step: Step) -> tuple[str, str, str]:
    return step.component, step.from_digest, step.to_digest


def _skipped(outcome: Outcome) -> Outcome:
    """Say of a stale client that it is left as it is."""
    return replace(outcome, status="skipped", message=SKIPPED) if outcome.status == "stale" else outcome


def _moved(outcome: Outcome) -> Outcome:
    """Say of a client that it was changed by somebody else between two requests, moments apart."""
    return replace(outcome, message=outcome.message or MOVED) if outcome.status == "stale" else outcome


def profile_after(result: Result, basis: Basis, keep: int = 2) -> Profile | None:
    """Give what a client has after a task, from its answers; None when nothing was known of it before.

    `keep` is how many versions stay on a client.
    """
    before = result.task.profile
    if before is None:
        return None
    installed = dict(before.by_component)
    steps = result.task.all_steps
    for outcome in result.outcomes:
        if is_setting(outcome.component):
            continue
        step = steps[outcome.component]
        known = installed.get(step.component)
        if outcome.status == "staged" and known is not None:
            installed[step.component] = made_ready(known, step.to_version, step.to_digest)
        elif outcome.status in WELL:
            layout = step.layout.fingerprint
            has = switched(known, step.component, step.to_version, step.to_digest, layout=layout, keep=keep)
            if outcome.loaded or outcome.unsaid:
                has = replace(has, loaded=outcome.loaded, unsaid=outcome.unsaid)
            installed[step.component] = has
        elif outcome.status in MISSED and outcome.version:
            installed[step.component] = Installed(step.component, outcome.version, outcome.digest)
        elif outcome.status == "failed" and known is not None and outcome.version == known.version:
            installed[step.component] = replace(known, digest=outcome.digest or known.digest)
    changed = tuple(sorted(installed.values()))
    return replace(before, installed=changed, lineage=basis.lineage, epoch=basis.epoch)
