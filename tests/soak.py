"""A week of a controller in a minute: all of it is real but the clients and the time.

`updoser run` is driven by its loop, with the spec from commits of a git repository, a folder as source, the store, the
state in SQLite and a program that is told. Clients are FakeClients, which a transport plugin of the repository reaches;
each change of one takes half a second. While the controller sleeps, the clock goes on by the minute, and what is to
happen in the world does (`Story`).

A controller dies by SIGKILL, in a process of its own, at the n-th call of some function from some time on (`Death`):
what it had in memory is gone, and no block of it ends. The world is written down in that moment, and the next
controller is forked from a process that never was one:

    python -c "from tests import soak; soak.main()" FOLDER
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from threading import Event, RLock, current_thread, main_thread
from typing import TYPE_CHECKING, Any

import yaml
from sqlalchemy import Engine, event

from reconciler.controller.health import Health
from reconciler.controller.loop import Outside, Signals, Time, keep_current
from reconciler.controller.mirror import GitOptions, Mirror
from reconciler.controller.service import ServiceManager
from reconciler.controller.spec_source import FromGit
from reconciler.desk import Desk
from reconciler.plugins.notifier.command import Command
from reconciler.present.terminal import Terminal
from reconciler.specfile.objects import Repository
from tests.fakes import FakeClient, FakeComponent, FakeSession, FakeTransport
from tests.fleet import CATALOG
from tests.zygote import HEAVY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.model.client import Facts
    from reconciler.model.deploy import DeployReport, DeployRequest

START = datetime(2026, 11, 30, tzinfo=UTC)
HOURS = 7 * 24
CLIENTS = 2000
FORKS = 4
BAD = "3"
"""The version of rules whose check fails on each client."""
CHANGE = timedelta(seconds=0.5)
RESTART = timedelta(seconds=30)
PLUGIN = """from reconciler.contracts import Traits
from tests.soak import world

OPTIONS = {"type": "object", "additionalProperties": False}
TRAITS = Traits()


def PLUGIN(options, context):
    return world().transport
"""
_ME = {f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Sites:
    """Where things lie below the folder of a soak."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commits = folder / "fleet"
        self.upstream = folder / "upstream"
        self.state = folder / "state.db"
        self.told = folder / "told"
        self.world = folder / "world"


@dataclass
class Memory:
    """What of the world outlives a controller: the time, what happened, and what clients have and were sent."""

    now: datetime = START
    happened: int = 0
    died: int = 0
    calls: int = 0
    """Calls of the place of the next death, since the last one."""
    sent: dict[str, Counter[str]] = field(default_factory=dict)
    """How often each client was sent a version of a component, by both."""
    clients: dict[str, tuple[str, int, dict[str, FakeComponent], bool]] = field(default_factory=dict)


@dataclass(frozen=True)
class Death:
    """A controller dies at the n-th call of a place, from an hour on."""

    at: float
    place: str
    calls: int


@dataclass(frozen=True)
class Story:
    """What happens when, in hours, and when the story ends. A controller that waits does so by whole steps."""

    hours: float
    events: Sequence[tuple[float, Callable[[World], None]]] = ()
    deaths: Sequence[Death] = ()
    step: timedelta = timedelta(minutes=1)


class World:
    """Clients, sources and people, and the time that passes for them."""

    def __init__(self, sites: Sites, memory: Memory, story: Story) -> None:
        self.sites = sites
        self.memory = memory
        self.story = story
        self.lock = RLock()
        self.machines: dict[str, FakeClient] = {}
        for name in client_names(CLIENTS):
            self.machines[name] = machine = FakeClient()
            machine.fails["works"] = {BAD}
            if name in memory.clients:
                machine.lineage, machine.epoch, machine.components, machine.unreachable = memory.clients[name]
        self.transport = FakeTransport(self.machines)

    @property
    def hours(self) -> float:
        return (self.memory.now - START) / timedelta(hours=1)

    def clock(self) -> datetime:
        return self.memory.now

    def watch(self) -> float:
        return self.memory.now.timestamp()

    def pass_by(self, span: timedelta) -> None:
        """Let time pass."""
        with self.lock:
            self.memory.now += span

    def let_happen(self) -> None:
        """Let what is due by now happen."""
        events = self.story.events
        while self.memory.happened < len(events) and events[self.memory.happened][0] <= self.hours:
            _at, happens = events[self.memory.happened]
            self.memory.happened += 1
            happens(self)

    def save(self) -> None:
        """Write down what a controller can't take with it when it dies."""
        self.memory.clients = {
            name: (one.lineage, one.epoch, one.components, one.unreachable) for name, one in self.machines.items()
        }
        self.sites.world.write_bytes(pickle.dumps(self.memory))

    def pass_place(self, place: str) -> None:
        """Die here, where that is what is to be now."""
        with self.lock:
            if self.memory.died == len(self.story.deaths):
                return
            death = self.story.deaths[self.memory.died]
            if death.place != place or self.hours < death.at:
                return
            self.memory.calls += 1
            if self.memory.calls == death.calls:
                self.memory.died += 1
                self.memory.calls = 0
                self.save()
                os.kill(os.getpid(), signal.SIGKILL)

    # --- what happens -------------------------------------------------------------------------------------------------

    def git(self, *arguments: str) -> None:
        environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, **_ME}
        subprocess.run(["git", *arguments], cwd=self.sites.commits, env=environment, check=True, capture_output=True)

    def commit(self, **changes: Any) -> None:
        """Commit the spec with some keys changed; None takes one away."""
        path = self.sites.commits / "updoser.yaml"
        spec = yaml.safe_load(path.read_text()) if path.exists() else spec_of(self.sites)
        spec = {key: value for key, value in {**spec, **changes}.items() if value is not None}
        path.write_text(yaml.safe_dump(spec, sort_keys=False))
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", f"at {self.hours:.0f} h")

    def release(self, component: str, version: str) -> None:
        """Put a release into the source."""
        folder = self.sites.upstream / component / version
        folder.mkdir(parents=True)
        (folder / "data").write_text(f"{component} {version}")


def client_names(count: int) -> list[str]:
    return [f"pc-{number:04}" for number in range(count)]


def spec_of(sites: Sites) -> dict[str, Any]:
    """Give the spec of the first commit."""
    groups = {
        name: {"transport": {"type": "made"}, "install_root": "/r", "inventory": {"type": "csv", "path": f"{name}.csv"}}
        for name in ("north", "south", "labs")
    }
    waves = [{"count": 3, "soak": "1h", "max_failed": 0}, {"share": "20%", "soak": "1h"}, {"share": "100%"}]
    check = {"name": "works", "for": "rules", "phase": "switched", "where": "client", "run": "works"}
    return {
        "version": 1,
        "catalogs": ["catalog.yaml"],
        "plugins": ["plugins"],
        "server": {"store": str(sites.folder / "store"), "state": f"sqlite:///{sites.state}"},
        "sources": [
            {"name": "drop", "type": "directory", "path": str(sites.upstream), "settle": "0s", "stale_after": "7h"}
        ],
        "controller": {"interval": "3h", "jitter": "0%", "look": "12h", "retention": {"plans": "1d", "runs": "2d"}},
        "auto_update": {"rollout": {"waves": waves, "on_failure": "rollback"}},
        "defaults": {"checks": [check]},
        "groups": groups,
        "notify": [{"name": "log", "type": "command", "run": f"cat >> {sites.told}", "repeat": "never"}],
    }


def begin(sites: Sites) -> None:
    """Make the world as it is before the first controller starts."""
    for folder in (sites.commits / "plugins/transport", sites.upstream):
        folder.mkdir(parents=True)
    (sites.commits / "plugins/transport/made.py").write_text(PLUGIN)
    (sites.commits / "catalog.yaml").write_text(yaml.safe_dump(CATALOG))
    world = World(sites, Memory(), WEEK)
    world.git("init", "-q", "-b", "main")
    names = client_names(CLIENTS)
    for group, members in (("north", names[:900]), ("south", names[900:1800]), ("labs", names[1800:1900])):
        enlist(world, group, members)
    world.release("rules", "1")
    world.release("engine", "1.0")
    world.commit()
    world.save()


def enlist(world: World, group: str, names: list[str]) -> None:
    (world.sites.commits / f"{group}.csv").write_text("\n".join(["name", *names, ""]))


def off(world: World, first: int, last: int, *, is_off: bool) -> None:
    for name in client_names(CLIENTS)[first:last]:
        world.machines[name].unreachable = is_off


def lose_source(world: World) -> None:
    world.sites.upstream.rename(world.sites.folder / "away")


def find_source(world: World) -> None:
    (world.sites.folder / "away").rename(world.sites.upstream)


def new_clients(world: World) -> None:
    enlist(world, "labs", client_names(CLIENTS)[1800:])
    world.commit()


EVENTS: Sequence[tuple[float, Callable[[World], None]]] = sorted(
    [
        # Twenty commits, most of which change little.
        *((at, lambda world: world.commit(vars={"at": round(world.hours)})) for at in range(4, 124, 8)),
        (19, new_clients),
        (50, lambda world: world.commit(nonsense=1)),
        (55, lambda world: world.commit(nonsense=None)),
        (70, lambda world: world.commit(hold=[{"clients": "group=labs", "reason": "an exam", "until": "2026-12-31"}])),
        (118, lambda world: world.commit(hold=None)),
        # Releases, one of which is bad.
        (14, lambda world: world.release("rules", "2")),
        (76, lambda world: world.release("rules", BAD)),
        (100, lambda world: world.release("rules", "4")),
        (100, lambda world: world.release("engine", "1.1")),
        # What goes wrong by itself: few clients for days, many for hours, the source for most of a day.
        (24, lambda world: off(world, 0, 60, is_off=True)),
        (80, lambda world: off(world, 900, 1500, is_off=True)),
        (108, lambda world: off(world, 900, 1500, is_off=False)),
        (120, lambda world: off(world, 0, 60, is_off=False)),
        (138, lose_source),
        (156, find_source),
    ],
    key=lambda one: one[0],
)


DEATHS = (
    Death(0.0, "deploy: nothing was done", 2),
    Death(0.1, "deploy: it was done, and nobody knows", 300),
    Death(10.0, "fetched", 1),
    Death(16.0, "unpacked", 1),
    Death(30.0, "commit", 40),
    Death(52.0, "sent", 1),
    Death(77.0, "deploy: it was done, and nobody knows", 1),
    Death(101.0, "look", 500),
    Death(101.0, "deploy: it was done, and nobody knows", 600),
    Death(140.0, "sleep", 30),
)
WEEK = Story(HOURS, EVENTS, DEATHS)


def _mark(owner: type, name: str, place: str) -> None:
    """Have each call of a method pass a place once it is done."""
    method = getattr(owner, name)

    @wraps(method)
    def marked(*arguments: Any, **named: Any) -> Any:
        result = method(*arguments, **named)
        world().pass_place(place)
        return result

    setattr(owner, name, marked)


def _mark_clients() -> None:
    """Have one client work at a time: none is halfway when a controller dies, as a real one wouldn't be for long."""
    deploy, facts = FakeSession.deploy, FakeSession.facts

    def deploy_alone(session: FakeSession, request: DeployRequest, *more: Any) -> DeployReport:
        here = world()
        with here.lock:
            here.pass_place("deploy: nothing was done")
            here.pass_by(CHANGE)
            for step in request.steps:
                here.memory.sent.setdefault(f"{step.component} {step.to_version}", Counter())[session.name] += 1
            report = deploy(session, request, *more)
            here.pass_place("deploy: it was done, and nobody knows")
        return report

    def facts_alone(session: FakeSession, *which: Any, **more: Any) -> Facts:
        with world().lock:
            world().pass_place("look")
            return facts(session, *which, **more)

    FakeSession.deploy = deploy_alone  # type: ignore[assignment, method-assign]
    FakeSession.facts = facts_alone  # type: ignore[assignment, method-assign]


def _pass_commit(_connection: object) -> None:
    if current_thread() is main_thread():  # the beat of the lease comes when it comes
        world().pass_place("commit")


class Clockwork(Event):
    """What a controller waits for: time passes by that, and the week has an end."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def wait(self, timeout: float | None = None) -> bool:
        if current_thread() is main_thread() and not self.is_set():
            self._world.pass_by(max(timedelta(seconds=timeout or 0.0), self._world.story.step))
            self._world.let_happen()
            self._world.pass_place("sleep")
            if self._world.hours >= self._world.story.hours:
                self.set()
        return self.is_set()


_worlds: list[World] = []


def world() -> World:
    """Give the world of this process."""
    return _worlds[0]


def enter(world: World) -> None:
    """Have a world be that of this process: the transport of its spec reaches its clients."""
    _worlds[:] = [world]


def live(sites: Sites) -> None:
    """Be a controller until the week is over, or death."""
    memory: Memory = pickle.loads(sites.world.read_bytes())
    memory.now += RESTART
    here = World(sites, memory, WEEK)
    enter(here)
    _mark_clients()
    _mark(Mirror, "fetch", "fetched")
    _mark(Repository, "unpack", "unpacked")
    _mark(Command, "send", "sent")
    event.listen(Engine, "commit", _pass_commit)
    stop = Clockwork(here)
    options = GitOptions(url=str(sites.commits), branch="main", folder=sites.folder / "git")
    source = FromGit(Desk(Terminal(), Path("updoser.yaml")), options, here.clock)
    outside = Outside(ServiceManager(), Health(here.clock, here.watch))
    time = Time(here.clock, here.watch)
    keep_current(source, source.first(stop), outside, Signals(stop, Event()), forks=FORKS, time=time)
    here.save()


def main() -> None:
    """Let one controller after the other live."""
    sites = Sites(Path(sys.argv[1]))
    for package in HEAVY:
        importlib.import_module(package)
    os.chdir(sites.folder)
    begin(sites)
    while True:
        child = os.fork()
        if not child:
            live(sites)
            return
        _pid, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != -signal.SIGKILL:
            sys.exit(code)
