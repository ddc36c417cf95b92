"""Proves a release once more before its rollout goes on: switched checks on clients that have it, and gates."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from reconciler.dispatch.jobs import Job, Made, by_site
from reconciler.errors import PluginError
from reconciler.execute.checks import Checks, ask_gate
from reconciler.execute.collector import AT_ONCE
from reconciler.formats.counts import number_text
from reconciler.model.batch import Change, Target
from reconciler.model.deploy import RELEASE, Step
from reconciler.model.share import exceeds
from reconciler.model.work_events import CheckFinished
from reconciler.storage.outcomes import Fared

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from reconciler.execute.rollouts import Breaker
    from reconciler.execute.tally import Tally
    from reconciler.model.batch import Answer
    from reconciler.model.change import Proof
    from reconciler.model.client import Client
    from reconciler.model.events import Level
    from reconciler.model.plan import Plan
    from reconciler.model.release import Release
    from reconciler.workspace import Workspace


def prove_all(plan: Plan, work: Workspace, breaker: Breaker, tally: Tally, *, forks: int) -> None:
    """Carry the proofs of a plan out; a rollout with a bad one halts, one with good ones only is cleared.

    Raises:
        StoreError, StateError: store or state fail as a whole.
    """
    if not plan.proofs:
        return
    held = {(entry.component, entry.version): entry for entry in work.store.inspect().releases}
    for proof in plan.proofs:
        key = proof.component, proof.version, proof.group
        if key in breaker.halted or work.means.stop.is_set():
            continue
        try:
            trouble = _gate(proof, work) if proof.kind == "gate" else _recheck(proof, plan, work, breaker, held, forks)
        except PluginError as error:  # what can't be checked isn't good
            trouble = error.brief
        if trouble:
            breaker.halt(key, trouble)
            tally.server_failed(proof.component, trouble)
    for key in dict.fromkeys((proof.component, proof.version, proof.group) for proof in plan.proofs):
        if key not in breaker.halted and not work.means.stop.is_set():
            breaker.clear(key)


def _gate(proof: Proof, work: Workspace) -> str:
    found = ask_gate(proof, work)
    level: Level = "info" if found.good else "error"
    name = f"gate {proof.number + 1}"
    text = f"{proof.component} {proof.version}: {name} {'passed' if found.good else f'failed: {found.message}'}"
    work.means.emit(CheckFinished(text, level=level, component=proof.component, check=name))
    return "" if found.good else f"{name} of wave {proof.wave} failed: {found.message}"


def _recheck(
    proof: Proof,
    plan: Plan,
    work: Workspace,
    breaker: Breaker,
    held: Mapping[tuple[str, str], Release],
    forks: int,
) -> str:
    """Run the switched checks on all clients of the waves so far; give why the rollout mustn't go on."""
    release = held.get((proof.component, proof.version))
    names = {name for cohort in proof.members for name in plan.members[cohort]}
    if release is None or not names:
        return ""
    key = proof.component, proof.version, proof.group
    failed: list[tuple[str, str]] = []
    unwritten: list[tuple[str, Fared]] = []
    good = 0

    def write() -> None:
        work.state.record_fared(unwritten)
        unwritten.clear()

    def take(client: Client, trouble: str) -> None:
        nonlocal good
        good += not trouble
        if trouble:
            failed.append((client.name, trouble))
            unwritten.append((client.name, Fared(key, trouble)))
            if len(unwritten) >= AT_ONCE:
                write()
        what = trouble or "is good"
        level: Level = "error" if trouble else "info"
        work.means.emit(CheckFinished(f"{client.name}: {proof.component} {what}", level=level, client=client.name))

    try:
        _Rechecker(plan, work, release, take).ask(names, forks)
    finally:
        write()
    step = breaker.step(key)
    share, most = step.max_fail_percentage, step.max_failed
    too_many = (most is not None and len(failed) > most) or (
        share is not None and exceeds(len(failed), good + len(failed), share)
    )
    if not failed or not too_many:
        return ""
    name, message = min(failed)
    bad, asked = number_text(len(failed)), number_text(good + len(failed))
    return f"{bad} of {asked} clients failed at the end of the soak ({name}: {message})"


class _Rechecker:
    """Asks clients whether what they switched to is still good; of one that can't be reached nothing is said."""

    def __init__(self, plan: Plan, work: Workspace, release: Release, take: Callable[[Client, str], None]) -> None:
        self._plan = plan
        self._work = work
        self._release = release
        self._take = take
        self._checks = Checks(work)

    def ask(self, names: Collection[str], forks: int) -> None:
        clients = [client for client in self._work.state.clients() if client.name in names]
        groups = {client.group for client in clients}
        tasks = {group: self._task(group) for group in groups if self._has_checks(group)}

        def make(job: Job[None]) -> Made:
            return Made(task=tasks[job.client.group], target=Target(client=job.client))

        flow = self._work.flow(make, forks=forks)
        asked = (client for client in clients if client.group in tasks)
        for job, answer in flow.answers(*by_site(asked, self._work.spec.site_of)):
            trouble = _trouble(answer)
            if trouble:
                self._take(job.client, trouble)
            elif trouble is not None:
                flow.aside(partial(self._check_here, job.client), partial(self._take_found, job.client))

    def _has_checks(self, group: str) -> bool:
        here = self._checks.wanted(group, self._release.component, where="server", phase="switched")
        return bool(here) or self._asks_clients(group)

    def _asks_clients(self, group: str) -> bool:
        return any(check.phase == "switched" for check in self._checks.of_clients(group, self._release.component))

    def _check_here(self, client: Client) -> str:
        return self._checks.of_client(client.group, self._release.component, self._release.version, client)

    def _take_found(self, client: Client, trouble: object) -> None:
        self._take(client, str(trouble))

    def _task(self, group: str) -> Change:
        """Give the request that runs the checks of a group; where clients have none, they are only connected to."""
        release, work, basis = self._release, self._work, self._plan.basis
        step = Step(
            component=release.component,
            from_version=release.version,
            from_digest=release.digest,
            to_version=release.version,
            to_digest=release.digest,
            files=release.files,
            layout=work.spec.components[release.component].layout,
            held=True,
            checks=self._checks.of_clients(group, release.component),
        )
        return Change(
            lineage=basis.lineage,
            epoch=basis.epoch,
            keep=work.spec.client_keep,
            steps=(step,) if self._asks_clients(group) else (),
            purpose="check",
        )


def _trouble(answer: Answer) -> str | None:
    """Say what a client found; None where that says nothing about the release: it is of the machine, or of its way."""
    if answer.error is not None or answer.not_begun:
        return None
    for done in answer.steps:
        outcome = done.outcome
        if outcome.status != "ok":
            is_bad = outcome.status == "failed" and outcome.fault == RELEASE
            return outcome.message or outcome.status if is_bad else None
    return ""
