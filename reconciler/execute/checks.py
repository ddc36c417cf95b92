"""Checks: which ones clients run, those that run here, and what is proved once more before a wave opens."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.client.loading import loading_check
from reconciler.contracts import CheckResult, Subject
from reconciler.errors import LimitError, UpdoserError
from reconciler.guards import Caught, blaming
from reconciler.model.deploy import PHASES, ClientCheck
from reconciler.model.spec import PluginConfig
from reconciler.model.work_events import CheckFinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.execute.rollouts import Breaker
    from reconciler.execute.tally import Tally
    from reconciler.model.change import Deploy, Proof
    from reconciler.model.client import Client
    from reconciler.model.deploy import CheckPhase
    from reconciler.model.events import Level
    from reconciler.model.plan import Plan
    from reconciler.model.policy import Gate
    from reconciler.model.release import Release
    from reconciler.model.spec import CheckPlace, CheckSpec
    from reconciler.workspace import Workspace

_CHUNK = 2**20
ROOM_PAUSE = 1.0
"""Seconds before a check is tried again for which this machine had no room; a stopped run doesn't wait."""


class Checks:
    """The checks of a spec, by group and component."""

    def __init__(self, work: Workspace) -> None:
        self._work = work

    def wanted(self, group: str, component: str, *, where: CheckPlace, phase: CheckPhase) -> list[CheckSpec]:
        """Give the checks that hold for a component of a group."""
        return [
            check
            for check in self._work.spec.groups[group].checks
            if check.component in {"", component} and (check.where, check.phase) == (where, phase)
        ]

    def of_clients(self, group: str, component: str) -> tuple[ClientCheck, ...]:
        """Give what clients of a group run for a component, those before the switch first.

        Where an engine has to load a version in time, the others after the switch come once it has.

        Raises:
            PluginError: a check can't run on clients.
        """
        staged, switched = (
            [self._of_client(check) for check in self.wanted(group, component, where="client", phase=phase)]
            for phase in PHASES
        )
        wanted = self._work.spec.components.get(component)
        waits = loading_check(wanted.loaded) if wanted is not None and wanted.loaded is not None else None
        return (*staged, *([waits] if waits is not None else []), *switched)

    def _of_client(self, check: CheckSpec) -> ClientCheck:
        run, expect = self._work.plugins.check(check.plugin).on_client()
        return ClientCheck(
            check.name,
            check.phase,
            run,
            expect=expect,
            timeout=check.timeout,
            retries=check.retries,
            interval=check.interval,
        )

    def on_server(self, check: CheckSpec, subject: Subject) -> CheckResult:
        """Run a check here, and again as often as it says until it is good.

        Raises:
            LimitError: this machine has no room for its program; that says nothing about what is checked.
        """
        stop = self._work.means.stop
        found = CheckResult(good=False)
        for at in range(check.retries + 1):
            if at and stop.wait(check.interval):
                break
            with Caught() as caught:
                found = self._ask(check, subject)
            if caught.error is not None:
                found = CheckResult(good=False, message=caught.error.message)
            if found.good:
                break
        return found

    def _ask(self, check: CheckSpec, subject: Subject) -> CheckResult:
        """Ask as soon as there is room for the program: it is waited for as long as the check may take."""
        stop, ask = self._work.means.stop, self._work.plugins.check(check.plugin).on_server
        for _ in range(int(check.timeout / ROOM_PAUSE)):
            try:
                return ask(subject, timeout=check.timeout, stop=stop)
            except LimitError:
                if stop.wait(ROOM_PAUSE):
                    raise
        return ask(subject, timeout=check.timeout, stop=stop)

    def of_client(self, group: str, component: str, version: str, client: Client) -> str:
        """Run what is checked here after a client switched; give what was bad, or nothing."""
        for check in self.wanted(group, component, where="server", phase="switched"):
            subject = Subject(component, version, client=client.name, address=client.address, vars=client.vars)
            try:
                found = self.on_server(check, subject)
            except LimitError as error:  # what nobody could check doesn't stay
                found = CheckResult(good=False, message=error.message)
            if not found.good:
                return f"check {check.name} failed after the switch: {found.message}"
        return ""


def check_releases_here(
    plan: Plan, held: Mapping[str, Release], work: Workspace, breaker: Breaker, tally: Tally
) -> set[str]:
    """Run the checks of releases that are to run here, once for each; give the digests of releases that nobody gets.

    Those are releases that are bad, and others that couldn't be checked, which says nothing about them. `held` are
    releases of the store, by digest.
    """
    checks, bad = Checks(work), set[str]()
    for digest, deploys in _by_release(plan.deploys).items():
        if digest not in held:
            continue
        wanted = {
            check.name: check
            for deploy in deploys
            for check in checks.wanted(deploy.group, deploy.component, where="server", phase="staged")
        }
        with Caught() as caught, blaming(f"checking {held[digest].component} {held[digest].version}"):
            trouble = _first_trouble(wanted.values(), held[digest], checks, work) if wanted else ""
        if caught.error is not None:
            bad.add(digest)
            tally.server_failed(held[digest].component, caught.brief)
            continue
        if trouble:
            bad.add(digest)
            _condemn(deploys, trouble, breaker, tally)
    return bad


def _by_release(deploys: Iterable[Deploy]) -> dict[str, list[Deploy]]:
    found: dict[str, list[Deploy]] = {}
    for deploy in deploys:
        if deploy.reason != "rolled_back":
            found.setdefault(deploy.to_digest, []).append(deploy)
    return found


def _first_trouble(wanted: Iterable[CheckSpec], release: Release, checks: Checks, work: Workspace) -> str:
    with _laid_out(release, work) as folder:
        for check in wanted:
            found = checks.on_server(check, Subject(release.component, release.version, folder=str(folder)))
            level: Level = "info" if found.good else "error"
            what = "passed" if found.good else f"failed: {found.message}"
            text = f"{release.component} {release.version}: check {check.name} {what}"
            work.means.emit(CheckFinished(text, level=level, component=release.component, check=check.name))
            if not found.good:
                return f"check {check.name} failed here: {found.message}"
    return ""


@contextmanager
def _laid_out(release: Release, work: Workspace) -> Iterator[Path]:
    """Give a folder that has the files of a release under their names, for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="updoser-") as made:
        folder = Path(made)
        try:
            for file in release.files:
                with work.store.open(file.sha256) as source, (folder / file.name).open("wb") as target:
                    while chunk := source.read(_CHUNK):
                        target.write(chunk)
        except OSError as error:
            raise UpdoserError(f"{folder} can't be written: {error.strerror}", hint="TMPDIR names another") from error
        yield folder


def _condemn(deploys: Iterable[Deploy], trouble: str, breaker: Breaker, tally: Tally) -> None:
    """Halt the rollouts of a bad release; where there is none, tell that it isn't sent."""
    for deploy in deploys:
        key = breaker.key_of(deploy.component, deploy.to, deploy.group)
        if key is not None:
            breaker.halt(key, trouble)
    tally.server_failed(next(iter(deploys)).component, trouble)


def ask_gate(proof: Proof, work: Workspace) -> CheckResult:
    """Ask a program whether a rollout may go on."""
    gate = _gate(proof, work)
    subject = Subject(proof.component, proof.version)
    config = PluginConfig("check", gate.type, json.loads(gate.options))
    found = CheckResult(good=False)
    with Caught() as caught:
        found = work.plugins.check(config).on_server(subject, timeout=gate.timeout, stop=work.means.stop)
    return found if caught.error is None else CheckResult(good=False, message=caught.error.message)


def _gate(proof: Proof, work: Workspace) -> Gate:
    groups = [proof.group] if proof.group else list(work.spec.groups)
    gates = next(
        policy.rollout.gates
        for group in groups
        if (policy := work.spec.policies.get((group, proof.component))) is not None
        and (policy.rollout.scope == "group") == bool(proof.group)
    )
    return gates[proof.number]
