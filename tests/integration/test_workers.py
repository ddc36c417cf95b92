"""Workers in other processes, and what befalls them: clients stay whole, and each is counted once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import pytest

from reconciler.contracts import Hands
from reconciler.errors import PluginError, StoreError
from reconciler.formats.answer_json import read_report
from reconciler.formats.batch_json import write_batch
from reconciler.formats.frames import PREFACE, Kind, frame, json_frame
from reconciler.model.batch import Answer, Batch, Change, Ended, Look, Order, Target
from reconciler.model.client import Client
from reconciler.model.deploy import Step
from reconciler.model.release import ReleaseFile, content_digest
from reconciler.plugins.executor import processes
from reconciler.worker.setup import SPEAK
from tests.draw import spread
from tests.fakes import fake_context, make_plugin
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reconciler.contracts import Crew
    from reconciler.model.batch import Report

ROOT = Path(__file__).parents[2]
CONTENT = b"what a release has\n" * 50_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILES = (ReleaseFile("data", len(CONTENT), SHA256),)
STEP = Step(
    component="rules", from_version="", from_digest="", to_version="2", to_digest=content_digest(FILES), files=FILES
)
CHANGE = Change(lineage="mine", epoch=1, keep=2, steps=(STEP,), schemes={"rules": "integer"})


@dataclass
class Ground:
    """Clients in folders, and the workers that reach them."""

    folder: Path
    transport: str = "sluice"
    speak: Sequence[str] = SPEAK
    serving: Event = field(default_factory=Event)
    served: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clients = self.folder / "clients"
        for made in (self.clients, self.folder / "plugins/transport"):
            made.mkdir(parents=True)
        shutil.copy(ROOT / "tests/contracts/sluice.py", self.folder / "plugins/transport")
        self.serving.set()

    @property
    def setup(self) -> dict[str, Any]:
        options = {"folder": str(self.clients)} if self.transport == "sluice" else {"shell": "sh"}
        return {
            "base": str(self.folder),
            "home": str(self.folder),
            "tree": None,
            "work": str(self.folder / "work"),
            "plugin_folders": [str(self.folder / "plugins")],
            "hidden": [],
            "groups": {"g": {"plugin": self.transport, "options": options, "proxy": None}},
        }

    @property
    def hands(self) -> Hands:
        return Hands(
            threads=lambda _forks: nullcontext(cast("Crew", None)),
            speak=self.speak,
            setup={"worker": self.setup},
            encode=lambda order: write_batch(order.batch),
            decode=read_report,
            content=self.content,
        )

    def open(self, count: int = 1, forks: int = 4, silence: str = "60s") -> Any:
        context = fake_context(self.folder)
        return make_plugin(processes, {"count": count, "silence": silence}, context).open(self.hands, forks)

    @contextmanager
    def content(self, sha256: str) -> Iterator[BytesIO]:
        self.served.append(sha256)
        assert self.serving.wait(240)
        yield BytesIO(CONTENT)

    def batch(self, *names: str, task: Any = CHANGE, **more: Any) -> Batch:
        targets = tuple(
            Target(client=Client(name, "g", install_root=str(self.clients / f"{name}.root"))) for name in names
        )
        return Batch(id="b1", run_id="r", group="g", task=task, targets=targets, **more)

    def hold(self, *names: str) -> None:
        for name in names:
            (self.clients / f"{name}.held").touch()

    def let_go(self) -> None:
        for held in self.clients.glob("*.held"):
            held.unlink()

    @property
    def begun(self) -> set[str]:
        return {path.stem for path in self.clients.glob("*.begun")}


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.plugins.executor._spoken.crew.PAUSES", (0.0, 0.0, 0.0))


def give(crew: Crew, batch: Batch) -> None:
    crew.give(crew.lane(batch.targets[0].client.name), Order(batch))


def received(crew: Crew) -> tuple[dict[str, Answer], str]:
    """Receive until the batch is over: answers, each once, and why the rest was lost."""
    reports: list[Report] = []

    def over() -> bool:
        reports.extend(crew.receive(0.05))
        return any(isinstance(report, Ended) for report in reports)

    until(over)
    found = [report for report in reports if isinstance(report, Answer)]
    named = {answer.client: answer for answer in found}
    assert len(named) == len(found)
    (end,) = (report for report in reports if isinstance(report, Ended))
    assert reports[-1] == end
    return named, end.lost


def rest(batch: Batch, answered: Sequence[str] | set[str]) -> Batch:
    """Give what is given again of a batch that was lost."""
    targets = tuple(target for target in batch.targets if target.client.name not in answered)
    return replace(batch, targets=targets, attempt=batch.attempt + 1)


def pids(crew: Any) -> list[int]:
    """Give the processes of the workers that there are now."""

    def all_there() -> list[int]:
        wires = [lane.line._wire for lane in crew._lanes.values()]
        return [wire._process.pid for wire in wires if wire is not None] if all(wires) else []

    return until(all_there)


def ready(crew: Any) -> bool:
    return all(lane.line.ready for lane in crew._lanes.values())


MOMENTS: dict[str, Callable[[Ground, Any], Any]] = {
    "before it is ready": lambda _ground, crew: pids(crew),
    "when it is ready": lambda _ground, crew: until(lambda: ready(crew)),
    "while content is on its way": lambda ground, _crew: until(lambda: ground.served),
    "while clients are under way": lambda ground, _crew: until(lambda: len(ground.begun) == 4),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_a_killed_worker_had_is_given_again_and_each_client_is_counted_once(ground: Ground, moment: str) -> None:
    names = [f"c{at}" for at in range(9)]
    if moment == "while content is on its way":
        ground.serving.clear()
    if moment == "while clients are under way":
        ground.hold(*names)
    batch = ground.batch(*names)
    with ground.open() as crew:
        give(crew, batch)
        MOMENTS[moment](ground, crew)
        (pid,) = pids(crew)
        os.kill(pid, signal.SIGKILL)
        answered, lost = received(crew)
        assert lost.startswith("worker process 1 ")
        assert lost.endswith(": it was ended by signal 9")  # who wrote to it may notice that before who reads does
        ground.serving.set()
        ground.let_go()
        assert until(lambda: crew.room(crew.lane("c0"))) > 0
        give(crew, rest(batch, set(answered)))
        again, lost = received(crew)
    assert not lost
    assert sorted([*answered, *again]) == sorted(names)
    assert {(ground.clients / f"{name}.got.rules").read_bytes() for name in names} == {CONTENT}


def test_clients_stay_whole_whenever_their_worker_is_killed(tmp_path: Path) -> None:
    ground = Ground(tmp_path, transport="local")
    names = [f"c{at}" for at in range(8)]
    for at, kills in enumerate(spread([(0,), (1, 2), (3,), (0, 1)], 2)):
        shutil.rmtree(ground.clients)
        ground.clients.mkdir()
        batch, counted = ground.batch(*names), []
        with ground.open(forks=3) as crew:
            for killed_after in (*kills, None):
                give(crew, batch)
                reports: list[Report] = []
                if killed_after is not None:

                    def enough(reports: list[Report] = reports, many: int = killed_after, crew: Crew = crew) -> bool:
                        reports.extend(crew.receive(0.01))
                        return len(reports) >= many and (many > 0 or any(ground.clients.iterdir()))

                    until(enough)
                    os.kill(pids(crew)[0], signal.SIGKILL)
                answered, _lost = received(crew) if not any(isinstance(one, Ended) for one in reports) else ({}, "")
                answered |= {one.client: one for one in reports if isinstance(one, Answer)}
                counted += [name for name, answer in answered.items() if _is_done(answer)]
                batch = rest(batch, {name for name, answer in answered.items() if _is_done(answer)})
                if not batch.targets:
                    break
                until(lambda crew=crew: crew.room(crew.lane("c0")))  # type: ignore[misc]
            assert sorted(counted) == names, at
        assert {(ground.clients / f"{name}.root/rules/current/data").read_bytes() for name in names} == {CONTENT}


def _is_done(answer: Answer) -> bool:
    """Say whether a client has it; one that a killed worker left with its lock held says that it is busy."""
    return bool(answer.steps) and answer.steps[0].outcome.status in {"changed", "ok"}


def test_a_worker_that_hangs_is_ended_and_its_clients_are_given_again(ground: Ground) -> None:
    batch = ground.batch("c0", "c1", task=Look())
    ground.hold("c0")
    with ground.open(silence="59s") as crew:
        give(crew, batch)
        until(lambda: len(ground.begun) == 2)
        (pid,) = pids(crew)
        os.kill(pid, signal.SIGSTOP)
        line = crew._lanes[""].line
        assert line._silence == 59.0
        line._silence = 3.0  # not before: a worker that starts on a busy machine is silent, too
        answered, lost = received(crew)
        assert lost == "worker process 1 was silent for 3 s"
        until(lambda: not Path(f"/proc/{pid}").exists())
        ground.let_go()
        assert until(lambda: crew.room("")) > 0
    assert set(answered) <= {"c1"}


def test_only_the_clients_of_the_worker_that_was_killed_are_given_again(ground: Ground) -> None:
    names = [f"c{at}" for at in range(12)]
    ground.hold(*names)
    with ground.open(count=2, forks=12) as crew:
        lanes = {name: crew.lane(name) for name in names}
        assert set(lanes.values()) == {"0", "1"}
        assert lanes == {name: crew.lane(name) for name in reversed(names)}
        for lane in ("0", "1"):
            mine = [name for name in names if lanes[name] == lane]
            crew.give(lane, Order(replace(ground.batch(*mine, task=Look()), id=lane)))
        until(lambda: len(ground.begun) >= 6)
        until(lambda: ready(crew))
        os.kill(pids(crew)[0], signal.SIGKILL)
        answered, lost = received(crew)
        assert (answered, bool(lost)) == ({}, True)
        ground.let_go()
        found, lost = received(crew)
        assert not lost
    assert set(found) == {name for name in names if lanes[name] == "1"}


SAYS = {
    "a greeting": b"Welcome to this machine!\n",
    "nothing": b"",
    "bytes": bytes(range(256)),
    "another version": PREFACE + json_frame(Kind.HELLO, {"updoser": "9.0", "formats": "9.0"}),
    "orders": PREFACE + json_frame(Kind.HELLO, {"formats": "1.0"}) + json_frame(Kind.HALT, []),
    "an answer for nobody": PREFACE
    + json_frame(Kind.HELLO, {"formats": "1.0"})
    + frame(Kind.REPORT, b'{"format_version":"1.0","kind":"ended","batch":"b9","attempt":1}'),
    "a question for what no batch names": PREFACE
    + json_frame(Kind.HELLO, {"formats": "1.0"})
    + frame(Kind.WANT, bytes(44)),
}
REASONS = {
    "a greeting": "isn't a worker of this protocol; it says: Welcome to this machine!",
    "nothing": "worker process 1 ended",
    "bytes": "isn't a worker of this protocol",
    "another version": "it speaks of batches in the form '9.0', and this version of updoser in 1.x "
    "(its version of updoser is 9.0: install the same there as here)",
    "orders": "it says HALT, which only a controller does",
    "an answer for nobody": "it ends a batch that it hasn't",
    "a question for what no batch names": f"it asks for {'0' * 64}, which no batch of it names",
}


@pytest.mark.parametrize("says", SAYS)
def test_what_isnt_a_worker_is_refused_and_its_lane_is_given_up(tmp_path: Path, says: str) -> None:
    said = tmp_path / "said"
    said.write_bytes(SAYS[says])
    ground = Ground(tmp_path, speak=["/bin/sh", "-c", f"cat {said}; test ! -s {said} || exec sleep 600"])
    with ground.open() as crew:
        assert REASONS[says] in until(lambda: crew.refusal(""))
        assert crew.room("") == 0
        give(crew, ground.batch("c0"))
        assert received(crew) == ({}, crew.refusal(""))


def test_a_worker_that_cant_be_started_says_why(tmp_path: Path) -> None:
    ground = Ground(tmp_path, speak=["/no/such/program"])
    with ground.open() as crew:
        assert "/no/such/program can't be started: No such file" in until(lambda: crew.refusal(""))


def test_a_process_that_knows_no_program_of_a_worker_has_none(ground: Ground) -> None:
    ground.speak = ()
    with pytest.raises(PluginError, match="no worker can be started here"), ground.open():
        pass


def test_a_full_disk_is_trouble_of_the_clients_that_need_what_doesnt_fit(ground: Ground, small_disk: Path) -> None:
    file = ground.folder / "worker.yaml"
    big = os.urandom(3 * 2**20)
    files = (ReleaseFile("data", len(big), hashlib.sha256(big).hexdigest()),)
    too_big = replace(STEP, files=files, to_digest=content_digest(files))
    transport = {"type": "sluice", "folder": str(ground.clients)}
    plugins = [str(ground.folder / "plugins")]
    cache = {"folder": str(small_disk / "cache")}
    file.write_text(json.dumps({"version": 1, "transport": transport, "plugins": plugins, "cache": cache}))
    ground.speak = [*SPEAK, "--config", str(file)]

    @contextmanager
    def content(sha256: str) -> Iterator[BytesIO]:
        yield BytesIO(CONTENT if sha256 == SHA256 else big)

    ground.content = content  # type: ignore[method-assign]
    with ground.open() as crew:
        give(crew, ground.batch("c0", "c1", task=replace(CHANGE, steps=(too_big,))))
        found, lost = received(crew)
        assert not lost
        assert {type(answer.error) for answer in found.values()} == {StoreError}
        assert all("No space left" in answer.error.message for answer in found.values() if answer.error)
        give(crew, replace(ground.batch("c2"), id="b2"))
        found, lost = received(crew)
    assert (ground.clients / "c2.got.rules").read_bytes() == CONTENT


CONTROLLER = """
import sys, time
from pathlib import Path
from tests.integration.test_workers import Ground, give
from reconciler.model.batch import Look
ground = Ground.__new__(Ground)
ground.__dict__.update(folder=Path(sys.argv[1]), clients=Path(sys.argv[1]) / "clients", transport="sluice")
ground.speak, ground.served = sys.argv[2:], []
with ground.open(count=2, forks=4) as crew:
    for lane in ("0", "1"):
        names = [f"c{at}" for at in range(40) if crew.lane(f"c{at}") == lane][:6]
        give(crew, ground.batch(*names, task=Look()))
    while True:
        crew.receive(1)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_controller_and_begins_a_client_after_it(ground: Ground, number: int) -> None:
    ground.hold(*(f"c{at}" for at in range(40)))
    command = [sys.executable, "-c", CONTROLLER, str(ground.folder), *SPEAK]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, start_new_session=True) as controller:
        until(lambda: len(ground.begun) == 4, controller)
        workers = _children(controller.pid)
        assert len(workers) == 2
        threads = {pid: _threads(pid) for pid in workers}
        os.kill(controller.pid, number)
        controller.wait(240)
    until(lambda: all(_threads(pid) < threads[pid] for pid in workers))  # who listens has heard that it is gone
    begun = ground.begun
    ground.let_go()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert ground.begun == begun


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def test_the_terminals_interrupt_reaches_the_controller_only(ground: Ground) -> None:
    with ground.open() as crew:
        until(lambda: ready(crew))
        (pid,) = pids(crew)
        assert os.getpgid(pid) != os.getpgid(0)
        os.kill(pid, signal.SIGINT)
        give(crew, ground.batch("c0"))
        assert received(crew)[1] == ""


@pytest.mark.parametrize("more", [[], ["--config", "worker.yaml"]], ids=["near", "elsewhere"])
def test_a_worker_starts_without_a_database_a_spec_and_a_planner(ground: Ground, more: list[str]) -> None:
    (ground.folder / "worker.yaml").write_text("{version: 1, transport: {type: local}, cache: {folder: cache}}")
    counting = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('imported:', *sorted(sys.modules), file=sys.stderr))\n"
        "sys.path.insert(0, sys.argv.pop(1))\n"
        "from reconciler.cli import main; main()"
    )
    setup = json_frame(Kind.SETUP, {"format_version": "1.0", "forks": 2, "worker": ground.setup})
    done = subprocess.run(
        [sys.executable, "-c", counting, str(ROOT), "worker", "--stdio", *more],
        input=setup,
        cwd=ground.folder,
        capture_output=True,
        timeout=240,
        check=True,
    )
    imported = set(done.stderr.decode().rpartition("imported: ")[2].split())
    rooms = {
        f"reconciler.{name}" for name in ("specfile", "planner", "storage", "execute", "observe", "present.document")
    }
    heavy = {"sqlalchemy", "jsonschema", "paramiko", "jinja2", "rich", "tuf", "urllib3", "asyncio", "deepdiff"}
    assert imported & {*rooms, *heavy} == set()
    assert len(imported) <= (290 if more else 280)
