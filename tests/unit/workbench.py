"""A workspace in which everything outside is fake: a source, clients, the time; store, state and checks are real."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from reconciler.client.guard import GuardedTransport
from reconciler.client.reach import Reach
from reconciler.execute.engine import run_plan
from reconciler.model.client import Client
from reconciler.model.policy import AutoUpdate, Rollout, Wave
from reconciler.model.release import Catalog
from reconciler.model.spec import (
    CheckSpec,
    ComponentSpec,
    GroupSpec,
    PluginConfig,
    ServerSpec,
    SourceSpec,
    Spec,
)
from reconciler.observe.observed import Sight
from reconciler.planning import Following, PlanOptions, Turns, new_plan, note_protection
from reconciler.storage.state import State
from reconciler.storage.store import Store
from reconciler.workspace import Means, Plugins, Workspace
from tests.fakes import NOW, FakeClient, FakeSource, FakeTransport, make_component

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.model import events
    from reconciler.model.plan import Plan
    from reconciler.model.report import JournalEntry, Report
    from reconciler.model.rollout import Key, RolloutRecord

COMPONENT = "rules"
Groups: TypeAlias = "Mapping[str, int] | Sequence[str]"


class Opened(Protocol):
    """What makes benches for a test."""

    def __call__(self, groups: Groups = ...) -> Bench: ...


class Time(Event):
    """Waiting that takes no time: it sets the bench's clock, and then something may happen there."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self._bench.pass_(timeout or 0.0)
        return self.is_set()


class _Plugins(Plugins):
    def __init__(self, bench: Bench, means: Means) -> None:
        super().__init__(bench.spec, means)
        self._bench = bench

    def source(self, source: SourceSpec) -> Any:
        return self._bench.source

    def transport(self, group: str) -> Any:
        return self._bench.transport


class Bench:
    """A fleet of fakes in groups, with the releases 1 and later of one component, and a state that remembers."""

    def __init__(
        self,
        folder: Path,
        state: State,
        groups: Groups = ("a", "b", "c"),
        like: Bench | None = None,
        *,
        url: str,
    ) -> None:
        """Make clients: by their names in the group g, or so many in each group, named g-0, g-1, ….

        All have release 1. `url` is that of the state. With `like`, folder and state are a copy of a bench that
        did nothing since.
        """
        sizes = groups if isinstance(groups, dict) else {}
        names = {group: [f"{group}-{at}" for at in range(size)] for group, size in sizes.items()} or {"g": [*groups]}
        self.folder = folder
        self.state = state
        self.url = url
        state.await_news = lambda stop, span: stop.wait(span)  # type: ignore[method-assign]
        self.now = NOW
        self.machines = {name: FakeClient() for members in names.values() for name in members}
        self.transport: Any = FakeTransport(self.machines)
        self.source = FakeSource("drop")
        self.told: list[events.Event] = []
        self.waits: list[float] = []
        self.happens: dict[int, Any] = {}
        self._runs = 0
        self.stop = Time(self)
        self.spec = Spec(
            folder / "updoser.yaml",
            folder,
            folder,
            "digest",
            ServerSpec(folder / "store", "sqlite://", families=("ipv4",)),
            Catalog({}, "catalog"),
            (SourceSpec("drop", PluginConfig("source", "directory", {})),),
            {COMPONENT: ComponentSpec(make_component(COMPONENT))},
            {
                group: GroupSpec(
                    group,
                    PluginConfig("transport", "local"),
                    "/r",
                    clients=tuple(Client(name, group, install_root=f"/r/{name}") for name in members),
                    local=True,
                )
                for group, members in names.items()
            },
        )
        self.release("1")
        self.policy(waves=(Wave(share=1.0),))
        if like is None:
            self.apply()
        else:
            self._take_over(like)
        for machine in self.machines.values():
            machine.calls.clear()
            machine.requests.clear()
            machine.ran.clear()
        self.told.clear()

    def _take_over(self, like: Bench) -> None:
        self._runs = like._runs
        self.source.calls.update(like.source.calls)
        for name, machine in self.machines.items():
            its = like.machines[name]
            machine.lineage, machine.epoch = its.lineage, its.epoch
            machine.components = {id_: there.copy() for id_, there in its.components.items()}
        Store(self.folder / "store").inspect()  # believes its files by their stamps, as the other does

    # --- what is wished for -------------------------------------------------------------------------------------------

    def policy(self, group: str = "", **rollout: Any) -> None:
        """Set the rollout of all groups, or of one."""
        made = AutoUpdate(rollout=Rollout(**rollout))
        groups = [group] if group else list(self.spec.groups)
        policies = {**self.spec.policies, **{(name, COMPONENT): made for name in groups}}
        self.spec = replace(self.spec, policies=policies)

    def check(self, run: Any, *, phase: Any = "staged", where: Any = "server", name: Any = "", **more: Any) -> None:
        """Add a check by a command to all groups."""
        check = CheckSpec(name or run, PluginConfig("check", "command", {"run": run}), "", phase, where, **more)
        groups = {name: replace(spec, checks=(*spec.checks, check)) for name, spec in self.spec.groups.items()}
        self.spec = replace(self.spec, groups=groups)

    def component(self, **changes: Any) -> None:
        """Change what is wanted of the component."""
        wanted = replace(self.spec.components[COMPONENT], **changes)
        self.spec = replace(self.spec, components={COMPONENT: wanted})

    def release(self, version: str) -> None:
        """Offer a release."""
        self.source.add(COMPONENT, version, {"data": f"content {version}".encode(), "same": b"same"})

    # --- commands -----------------------------------------------------------------------------------------------------

    @contextmanager
    def work(self) -> Iterator[Workspace]:
        """Give the workspace of a command."""
        self._runs += 1
        means = Means(
            run_id=f"run-{self._runs}",
            clock=lambda: self.now,
            secret=str,
            emit=self._tell,
            stop=self.stop,
            public=str,
            work=self.folder / "work",
        )
        plugins = self.plugins(means)
        plugins.remember_in(self.state)
        reach = Reach(lambda group: GuardedTransport(plugins.transport(group)), means.stop)
        work = Workspace(
            spec=self.spec,
            store=Store(self.spec.server.store),
            state=self.state,
            plugins=plugins,
            reach=reach,
            means=means,
        )
        try:
            yield work
        finally:
            work.close()

    @contextmanager
    def own_work(self) -> Iterator[Workspace]:
        """Give a workspace with a state of its own, as another thread has to have one."""
        with self.work() as work, State.open(self.url, clock=lambda: self.now) as state:
            yield replace(work, state=state)

    def plugins(self, means: Means) -> Plugins:
        """Give the plugins of a command."""
        return _Plugins(self, means)

    def plan(self, **options: Any) -> Plan:
        """Make a plan, with sight options `limit` and `refresh`, and those of planning."""
        with self.work() as work:
            return new_plan(work, self.options(**options))

    @staticmethod
    def options(*, limit: str = "", refresh: bool = True, verify: bool = False, **options: Any) -> PlanOptions:
        return PlanOptions(Sight(limit=limit, refresh=refresh, verify=verify, forks=1), **options)

    def apply(self, *, wait: bool = False, plan: Plan | None = None, **options: Any) -> Report:
        """Carry a new plan out, or this one, and what follows from it."""
        with self.work() as work:
            chosen = self.options(**options)
            made = plan or new_plan(work, chosen)
            work.state.record_plan(made.plan_id, "", made.basis.serial, made.created)
            turns = Turns(work, self.spec.path, lambda: self.spec.holds)
            following = Following(made, work, chosen, wait=wait)
            report = run_plan(made, work, forks=1, following=following, turns=turns)
            note_protection(work, following.observed, made)
            return report

    def step(self, **options: Any) -> Report:
        """Carry a new plan out, and nothing that follows from it."""
        with self.work() as work:
            made = new_plan(work, self.options(**options))
            work.state.record_plan(made.plan_id, "", made.basis.serial, made.created)
            return run_plan(made, work, forks=1)

    # --- what became of it --------------------------------------------------------------------------------------------

    @property
    def versions(self) -> dict[str, str]:
        """The version that each client runs."""
        return {name: machine.version(COMPONENT) for name, machine in self.machines.items()}

    def running(self, version: str) -> set[str]:
        """Give the clients that run a version."""
        return {name for name, has in self.versions.items() if has == version}

    @property
    def asked(self) -> dict[str, int]:
        """How often each client was sent a request, those that weren't left out."""
        return {name: machine.calls["deploy"] for name, machine in self.machines.items() if machine.calls["deploy"]}

    def record(self, version: str, group: str = "") -> RolloutRecord:
        """Give the rollout of a version."""
        return self.state.rollouts()[COMPONENT, version, group]

    def failures(self, version: str, group: str = "") -> dict[str, str]:
        """Give who failed in a rollout."""
        return self.state.rollout_failures().get(self.key(version, group), {})

    @staticmethod
    def key(version: str, group: str = "") -> Key:
        return COMPONENT, version, group

    def journal(self) -> list[JournalEntry]:
        """Give what the last run wrote down."""
        return self.state.journal_of(f"run-{self._runs}")

    def events(self, kind: str) -> list[str]:
        """Give the messages of a kind of event."""
        return [entry.message for entry in self.told if entry.type == kind]

    def counts(self, report: Report) -> dict[str, int]:
        """Give the recap of all groups, without what is zero."""
        found: dict[str, int] = defaultdict(int)
        for counts in report.recap.values():
            for name, count in counts.items():
                found[name] += count
        return {name: count for name, count in found.items() if count}

    # --- time ---------------------------------------------------------------------------------------------------------

    def later(self, span: timedelta) -> None:
        """Let time pass between two commands."""
        self.now += span

    def pass_(self, seconds: float) -> None:
        """Let time pass within a command; what was to happen at this wait does."""
        self.now += timedelta(seconds=seconds)
        self.waits.append(seconds)
        assert len(self.waits) < 1000, "it waits for ever"
        event = self.happens.get(len(self.waits))
        if event is not None:
            event()

    def _tell(self, event: Any) -> None:
        self.told.append(event)
