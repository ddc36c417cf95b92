"""A fleet in time: real planning, real gates, and clients that are names with a version and a will of their own.

Nothing is waited for: the clock is set, and each `apply` sees the fleet as it is then, or is killed after some clients.
`gone` is how far the clock went ahead in all: it can't tell time that passes from being set forward. Releases are good,
or bad in one of three ways:

    staged    the check before the switch fails: the client keeps what it has
    switched  the check after the switch fails: the client is back at once
    soak      all seems well, and the switched check fails from an hour after the switch on
"""

from __future__ import annotations

import random
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace
from typing import TYPE_CHECKING

from reconciler.execute.rollouts import Breaker, move_on
from reconciler.model.client import Installed, Profile
from reconciler.model.deploy import MACHINE, RELEASE, Layout
from reconciler.model.plan import Basis
from reconciler.model.rollout import Key, RolloutRecord, position
from reconciler.model.spec import LATEST, ComponentSpec, GroupSpec, PluginConfig
from reconciler.observe.cohorts import Marks, Selection, gather_cohorts
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.planner import make_plan
from reconciler.planner.succession import Succession
from reconciler.storage.fleet import ClientRow
from reconciler.storage.state import Identity
from tests.fakes import make_component, make_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reconciler.model.plan import Plan
    from reconciler.model.policy import AutoUpdate
    from reconciler.model.release import Release
    from reconciler.model.spec import Hold
    from reconciler.storage.outcomes import Fared

START = datetime(2026, 10, 1, tzinfo=UTC)
COMPONENT = "rules"
SPOILS_AFTER = timedelta(hours=1)
_LAYOUT = Layout().fingerprint
_IDENTITY = Identity("lineage", 1, 0, frozen=False)


def _row(
    machine: Machine,
    seen: str | None = None,
    error: str = "",
    since: float | None = None,
    quarantined: datetime | None = None,
) -> ClientRow:
    """Give a client as the state remembers it; `since` when it fails, in seconds."""
    return ClientRow(
        name=machine.name,
        group=machine.group,
        labels=machine.labels,
        fingerprint=seen,
        error=error,
        route="direct",
        failing_since=since,
        quarantined=quarantined.timestamp() if quarantined else None,
        settings="",
    )


@dataclass
class Machine:
    """One client. `got` counts how often each version was switched to, `tried` the versions that it was sent."""

    name: str
    group: str
    labels: str
    version: str = ""
    kept: str = ""
    since: datetime = START
    changed: timedelta = timedelta(days=-999)
    off_since: datetime | None = None
    got: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    tried: set[str] = field(default_factory=set)


class Memory:
    """What rollouts need of the state."""

    def __init__(self) -> None:
        self.records: dict[Key, RolloutRecord] = {}
        self.failures: dict[Key, dict[str, tuple[str, str]]] = {}
        self.log: list[str] = []

    def rollouts(self) -> dict[Key, RolloutRecord]:
        return dict(self.records)

    def rollout_failures(self, fault: str = RELEASE) -> dict[Key, dict[str, str]]:
        return {
            key: {name: message for name, (message, what) in names.items() if what == fault}
            for key, names in self.failures.items()
        }

    @staticmethod
    def together() -> nullcontext[None]:
        return nullcontext()

    @staticmethod
    def whole(do: Callable[[], object]) -> object:
        return do()

    def record_rollout(self, record: RolloutRecord) -> None:
        self.records[record.key] = record

    def record_rollouts(self, records: Iterable[RolloutRecord]) -> None:
        self.records.update({record.key: record for record in records})

    def record_fared(self, found: Iterable[tuple[str, Fared]]) -> None:
        for client, (key, message, fault) in found:
            if message:
                self.failures.setdefault(key, {})[client] = message, fault
            else:
                self.failures.get(key, {}).pop(client, None)

    def forget_failures(self, key: Key) -> None:
        self.failures.pop(key, None)

    def journal(self, _run_id: str, entries: Iterable[object]) -> None:
        self.log += [f"{entry.to_version}: {entry.message}" for entry in entries]  # type: ignore[attr-defined]


class World:
    """A fleet, its policy and its time."""

    def __init__(self, clients: int, policies: dict[str, AutoUpdate], *, canaries: int = 0, off: float = 0.0) -> None:
        """Make clients named in order, dealt to the groups of `policies`; a share of them is `off` at any time."""
        groups = sorted(policies)
        self.machines = [
            Machine(f"pc-{n:05}", groups[n % len(groups)], '["canary"]' if n < canaries else "[]", version="1")
            for n in range(clients)
        ]
        self.by_name = {machine.name: machine for machine in self.machines}
        self.now = START
        self.gone = timedelta()
        self.memory = Memory()
        self.kinds: dict[str, str] = {}
        self.out: dict[str, datetime] = {}
        self.releases: dict[str, Release] = {}
        self.blocked: dict[str, str] = {}
        self.reached: dict[str, datetime] = {}
        self.off: set[str] = set()
        self.holds: Sequence[Hold] = ()
        self.quarantined: dict[str, datetime] = {}
        self.limit = ""
        self.wanted = LATEST
        self._seen: dict[str, ClientRow] = {}
        self._off = off
        self._lots: tuple[int, dict[str, bool]] = 0, {}
        self._random = random.Random(7)
        self._policies = {(group, COMPONENT): policy for group, policy in policies.items()}
        self._groups = {group: GroupSpec(group, PluginConfig("transport", "local"), "/r") for group in groups}
        self._component = make_component(COMPONENT)
        self._profiles: dict[tuple[str, str], Profile] = {}
        self.release("1", "good")
        self.memory.records = {}

    def clock(self, step: timedelta) -> None:
        """Let time pass, or set the clock."""
        self.now += step
        self.gone += max(step, timedelta())

    def release(self, version: str, kind: str) -> None:
        """Bring a release out, now."""
        self.releases[version] = make_release(COMPONENT, version, {"f": version.encode()}, released=self.now)
        self.kinds[version] = kind
        self.out[version] = self.now

    def lose_state(self) -> None:
        """Begin with a new state, which knows no client and no rollout."""
        self.memory, self._seen = Memory(), {}

    def _is_off(self, machine: Machine) -> bool:
        """Say whether a client is off: as a test wants, or half a day at a time, another share of the fleet each."""
        if machine.name in self.off or not self._off:
            return machine.name in self.off
        slot = int(self.now.timestamp() // 43200)
        if self._lots[0] != slot:
            self._lots = slot, {}
        drawn = self._lots[1]
        if machine.name not in drawn:
            drawn[machine.name] = position(f"{machine.name} {slot}") < self._off * 2**32
        return drawn[machine.name]

    def _profile(self, machine: Machine) -> Profile:
        key = machine.version, machine.kept
        if key not in self._profiles:
            kept = ((machine.kept, self.releases[machine.kept].digest),) if machine.kept else ()
            digest = self.releases[machine.version].digest
            entry = Installed(COMPONENT, machine.version, digest, previous=machine.kept, layout=_LAYOUT, kept=kept)
            self._profiles[key] = Profile("linux-x86_64", (entry,), lineage="lineage", epoch=1)
        return self._profiles[key]

    def plan(self, *, limited: bool = False) -> Plan:
        """Make the plan of this moment."""
        return make_plan(*self.facts(limited=limited or bool(self.limit)), plan_id="p", now=self.now)

    def succession(self) -> Succession:
        """Give what commands ask which rollout counts."""
        return Succession(*self.facts(), self.now)

    def facts(self, *, limited: bool = False) -> tuple[Wanted, Observed]:
        """Give what a plan of this moment is made from."""
        choice = Selection.parse(self.limit, ())
        for machine in self.machines:
            if not choice.takes(machine.name, machine.group, ()):
                continue
            if self._is_off(machine):
                machine.off_since = machine.off_since or self.now
            else:
                machine.off_since = None
            off = machine.off_since.timestamp() if machine.off_since else None
            error = "no connection: refused" if off else ""
            print_ = self._profile(machine).fingerprint
            self._seen[machine.name] = _row(machine, print_, error, off, self.quarantined.get(machine.name))
        rows = [self._seen.get(one.name, _row(one)) for one in self.machines]
        profiles = {profile.fingerprint: profile for profile in self._profiles.values()}
        waves = {wave for policy in self._policies.values() for wave in policy.rollout.waves}
        selects = {pattern for wave in waves for pattern in (wave.select, wave.prefer) if pattern}
        marks = Marks(self.holds, sorted(selects))
        cohorts, others = gather_cohorts(rows, profiles, choice=choice, marks=marks, identity=_IDENTITY, now=self.now)
        spec = ComponentSpec(self._component, self.wanted, blocked=dict(self.blocked))
        observed = Observed(
            basis=Basis("lineage", 1, 0, "s", "c"),
            held=list(self.releases.values()),
            cohorts=cohorts,
            others=others,
            rollouts={key: record.cut(self.now) for key, record in self.memory.rollouts().items()},
            failures=self.memory.rollout_failures(),
            troubles=self.memory.rollout_failures(MACHINE),
            first_seen={(COMPONENT, version): at for version, at in self.out.items()},
        )
        wanted = Wanted({COMPONENT: spec}, self._groups, policies=self._policies, limited=limited)
        return wanted, observed

    def apply(self, kill: int | None = None) -> int:
        """Take all steps that are due at this moment; give how many clients were sent something.

        `kill` is after how many the run dies: the last one changed, and nobody wrote that down.
        """
        self.memory.records = {key: record.cut(self.now) for key, record in self.memory.records.items()}
        work = SimpleNamespace(
            state=self.memory,
            means=SimpleNamespace(emit=lambda *_a, **_k: None, clock=lambda: self.now, run_id="r", stop=Event()),
        )
        tried: set[tuple[str, str]] = set()
        sent = 0
        while True:
            plan = self.plan()
            due = [
                (name, deploy)
                for deploy in plan.deploys
                for cohort in deploy.members
                for name in plan.members[cohort]
                if (name, deploy.to) not in tried
            ]
            if not (due or plan.moves or plan.proofs):
                return sent
            move_on(plan, work)  # type: ignore[arg-type]
            breaker = Breaker(plan, work)  # type: ignore[arg-type]
            self._prove(plan, breaker)
            self._random.shuffle(due)
            size = breaker.batch or max(len(due), 1)
            for start in range(0, len(due), size):
                for name, deploy in due[start : start + size]:
                    if not breaker.is_halted(deploy):
                        tried.add((name, deploy.to))
                        sent += 1
                        if sent == kill:
                            breaker.take = lambda *_a: None  # type: ignore[method-assign]
                        self._send(self.by_name[name], deploy, breaker)
                        if sent == kill:
                            return sent
                breaker.look()

    def _send(self, machine: Machine, deploy: object, breaker: Breaker) -> None:
        version = deploy.to  # type: ignore[attr-defined]
        key = breaker.key_of(COMPONENT, version, machine.group)
        machine.tried.add(version)
        kind = self.kinds[version]
        if kind in {"staged", "switched"}:
            self._count(breaker, key, machine, f"check failed ({kind})")
            return
        machine.kept, machine.version = machine.version, version
        machine.got[version] += not deploy.downgrade  # type: ignore[attr-defined]
        machine.since, machine.changed = self.now, self.gone
        self.reached[version] = self.now
        self._count(breaker, key, machine, "")

    def _count(self, breaker: Breaker, key: Key | None, machine: Machine, message: str) -> None:
        fared = breaker.take(key, machine.name, message)
        if fared is not None:
            self.memory.record_fared([(machine.name, fared)])
        breaker.trip()

    def _prove(self, plan: Plan, breaker: Breaker) -> None:
        for proof in plan.proofs:
            key = proof.component, proof.version, proof.group
            names = [name for cohort in proof.members for name in plan.members[cohort]]
            bad = [
                name
                for name in names
                if self.kinds[proof.version] == "soak" and self.now - self.by_name[name].since >= SPOILS_AFTER
            ]
            if bad:
                breaker.halt(key, f"{len(bad)} of {len(names)} failed at the end of the soak")
            else:
                breaker.clear(key)

    def members(self, version: str, waves: int, group: str = "") -> set[str]:
        """Give the clients of the first so many waves of a version's rollout."""
        record = self.memory.records[COMPONENT, version, group]
        found = set()
        for machine in self.machines:
            for cut in record.cuts[:waves]:
                selected = cut.select == "label=canary" and "canary" in machine.labels
                if selected or position(machine.name) <= cut.upto or machine.name in cut.names:
                    found.add(machine.name)
        return found

    def running(self, version: str) -> int:
        """Count the clients that run a version."""
        return sum(machine.version == version for machine in self.machines)

    def on(self) -> list[Machine]:
        """Give the clients that are on now."""
        return [machine for machine in self.machines if not self._is_off(machine)]

    def with_policy(self, **changes: object) -> None:
        """Change the policy of all groups."""
        self._policies = {key: replace(policy, **changes) for key, policy in self._policies.items()}  # type: ignore[arg-type]
