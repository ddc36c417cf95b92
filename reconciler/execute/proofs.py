"""Proves a release once more before its rollout goes on: switched checks on clients that have it, and gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import PluginError
from reconciler.execute.checks import Checks, ask_gate
from reconciler.formats.counts import number_text
from reconciler.guards import Caught
from reconciler.model.deploy import RELEASE, DeployRequest, Step
from reconciler.model.events import CheckFinished
from reconciler.model.share import exceeds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.contracts import Session
    from reconciler.execute.rollouts import Breaker
    from reconciler.execute.tally import Tally
    from reconciler.model.change import Proof
    from reconciler.model.client import Client
    from reconciler.model.deploy import ClientCheck
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
    rechecker = _Rechecker(plan, work, release)
    clients = [client for client in work.state.clients() if client.name in names and rechecker.has_checks(client)]
    key = proof.component, proof.version, proof.group
    failed: list[tuple[str, str]] = []
    good = 0
    for client, trouble in work.plugins.executor.run(rechecker, clients, forks=forks, stop=work.means.stop):
        if trouble is None:
            continue
        good += not trouble
        if trouble:
            failed.append((client.name, trouble))
            work.state.record_failure(key, client.name, trouble)
        what = trouble or "is good"
        level: Level = "error" if trouble else "info"
        work.means.emit(CheckFinished(f"{client.name}: {proof.component} {what}", level=level, client=client.name))
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
    """Asks one client whether what it switched to is still good; None when it can't be reached."""

    def __init__(self, plan: Plan, work: Workspace, release: Release) -> None:
        self._basis = plan.basis
        self._work = work
        self._release = release
        self._checks = Checks(work)

    def has_checks(self, client: Client) -> bool:
        component = self._release.component
        here = self._checks.wanted(client.group, component, where="server", phase="switched")
        return bool(here) or any(check.phase == "switched" for check in self._on_client(client.group))

    def _on_client(self, group: str) -> tuple[ClientCheck, ...]:
        return self._checks.of_clients(group, self._release.component)

    def __call__(self, client: Client) -> str | None:
        release = self._release
        with Caught() as caught:
            trouble = self._work.reach.work(client, lambda session: self._ask(client, session))
        if caught.error is not None:  # of the machine, or of its way: it says nothing about the release
            return None
        if trouble is None or trouble:
            return trouble
        return self._checks.of_client(client.group, release.component, release.version, client)

    def _ask(self, client: Client, session: Session) -> str | None:
        release, work = self._release, self._work
        checks = self._checks.of_clients(client.group, release.component)
        if not any(check.phase == "switched" for check in checks):
            return ""
        layout = work.spec.components[release.component].layout
        step = Step(
            component=release.component,
            from_version=release.version,
            from_digest=release.digest,
            to_version=release.version,
            to_digest=release.digest,
            files=release.files,
            layout=layout,
            held=True,
            checks=checks,
        )
        basis, keep = self._basis, work.spec.client_keep
        request = DeployRequest(
            lineage=basis.lineage,
            epoch=basis.epoch,
            install_root=client.install_root,
            keep=keep,
            steps=(step,),
            purpose="check",
            vars=client.vars,
        )
        (outcome,) = session.deploy(request, work.store.open).outcomes
        if outcome.status == "ok":
            return ""
        is_bad = outcome.status == "failed" and outcome.fault == RELEASE
        return outcome.message or outcome.status if is_bad else None
