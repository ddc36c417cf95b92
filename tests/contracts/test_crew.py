"""What a crew promises: each client of a batch answered for once, nothing begun that mustn't be, and a clean end."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import pytest

from reconciler.client.guard import GuardedTransport
from reconciler.client.reach import Reach
from reconciler.contracts import Hands
from reconciler.errors import LimitError, TransportError
from reconciler.formats.answer_json import read_report
from reconciler.formats.batch_json import write_batch
from reconciler.model.batch import Answer, Batch, Change, Ended, Look, Order, Probe, Read, Target
from reconciler.model.client import Client, Same
from reconciler.model.deploy import Step
from reconciler.model.release import ReleaseFile, content_digest
from reconciler.plugins.executor import processes, relay
from reconciler.worker.lending import FEW, Lending
from reconciler.worker.pool import Pool
from reconciler.worker.setup import SPEAK
from tests.contracts.sluice import MARK, Sluice
from tests.fakes import NOW, fake_context, make_plugin
from tests.sshd import SshFleet, sshd_fleet
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from reconciler.contracts import Crew
    from reconciler.model.batch import Report

Opens: TypeAlias = "Callable[..., AbstractContextManager[Crew]]"
HELD = b"what the store has"
PRIVATE = b"what travels beside the batch"


def file_of(name: str, content: bytes) -> ReleaseFile:
    return ReleaseFile(name, len(content), hashlib.sha256(content).hexdigest())


def step(component: str = "rules", version: str = "2", content: bytes = HELD) -> Step:
    files = (file_of("data", content),)
    return Step(
        component=component,
        from_version="",
        from_digest="",
        to_version=version,
        to_digest=content_digest(files),
        files=files,
    )


class Ground:
    """Clients of a sluice, and how a test has its way with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clients"
        self.elsewhere = folder / "elsewhere"
        self.plugins = folder / "plugins"
        for made in (self.folder, self.elsewhere, self.plugins / "transport"):
            made.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("sluice.py"), self.plugins / "transport")
        self.stop = threading.Event()
        self.now: Callable[[], datetime] = lambda: NOW

    def targets(self, *names: str, **own: Any) -> tuple[Target, ...]:
        return tuple(Target(client=Client(name, "g", install_root="/r"), **own) for name in names)

    def hold(self, *names: str) -> None:
        for name in names:
            (self.folder / f"{name}.held").touch()

    def let_go(self, *names: str) -> None:
        for name in names:
            (self.folder / f"{name}.held").unlink()

    def begun(self) -> dict[str, int]:
        """Give how often each client that was begun was worked on."""
        return {path.stem: len(path.read_text().splitlines()) for path in self.folder.glob("*.begun")}

    def got(self, name: str, component: str = "rules") -> bytes:
        return (self.folder / f"{name}.got.{component}").read_bytes()

    @contextmanager
    def content(self, sha256: str) -> Iterator[BytesIO]:
        assert sha256 == hashlib.sha256(HELD).hexdigest()
        yield BytesIO(HELD)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def of_threads(ground: Ground) -> Opens:
    transport = GuardedTransport(Sluice({"folder": str(ground.folder)}))
    reach = Reach(lambda _group: transport, ground.stop)

    def opens(forks: int = 4, lends: int = 1) -> Pool:
        return Pool(
            reach,
            ground.content,
            forks=forks,
            stop=ground.stop,
            clock=lambda: ground.now(),  # noqa: PLW0108 - a test sets it later
            lending=Lending(forks, forks * lends),
        )

    return opens


def hands(ground: Ground, **setup: Any) -> Hands:
    """Give what an executor of other processes gets to work with."""
    return Hands(
        threads=lambda _forks: nullcontext(cast("Crew", None)),
        speak=SPEAK,
        setup=setup,
        encode=lambda order: write_batch(order.batch),
        decode=read_report,
        content=cast("Callable[[str], AbstractContextManager[BinaryIO]]", ground.content),
    )


def of_processes(ground: Ground) -> Opens:
    way = {"plugin": "sluice", "options": {"folder": str(ground.folder)}, "proxy": None}
    setup = {
        "base": str(ground.folder),
        "home": str(ground.folder),
        "tree": None,
        "work": str(ground.elsewhere / "work"),
        "plugin_folders": [str(ground.plugins)],
        "hidden": [],
        "groups": {"g": way, "h": way},
    }
    executor = make_plugin(processes, {"count": 1}, fake_context(ground.elsewhere))
    return lambda forks=4, lends=1: executor.open(replace(hands(ground, worker=setup), lends=lends), forks)


def of_relay(ground: Ground, fleet: SshFleet) -> Opens:
    file = ground.elsewhere / "worker.yaml"
    transport = {"type": "sluice", "folder": str(ground.folder)}
    kept = {"version": 1, "plugins": [str(ground.plugins)], "transport": transport, "cache": {"folder": "cache"}}
    file.write_text(json.dumps(kept))
    options = {"host": fleet.addresses[0], "command": f"{shlex.join(SPEAK)} --config {file}", **fleet.options()}
    context = fake_context(ground.elsewhere, secrets={"key": fleet.key.read_text()})
    executor = make_plugin(relay, options, context)
    return lambda forks=4, lends=1: executor.open(replace(hands(ground), lends=lends), forks)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    with sshd_fleet(tmp_path_factory.mktemp("sshd"), 1) as fleet:
        yield fleet


@pytest.fixture(params=["threads", "processes", "relay"])
def opens(request: pytest.FixtureRequest, ground: Ground) -> Opens:
    """Give what opens a crew: one for each kind of executor."""
    if request.param == "relay":
        return of_relay(ground, request.getfixturevalue("fleet"))
    return of_threads(ground) if request.param == "threads" else of_processes(ground)


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until(lambda: set(threading.enumerate()) <= before)  # those of a connection end a moment after it


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.client.reach.PAUSE", 0)


def batch(targets: Sequence[Target], task: Any = None, id_: str = "b1", **more: Any) -> Batch:
    return Batch(id=id_, run_id="run", group="g", task=task or Look(), targets=tuple(targets), **more)


def change(*steps: Step, **more: Any) -> Change:
    return Change(lineage="mine", epoch=1, keep=2, steps=steps, **more)


def all_reports(crew: Crew, batches: int = 1) -> list[Report]:
    """Receive until so many batches are over."""
    reports: list[Report] = []

    def over() -> bool:
        reports.extend(crew.receive(0.05))
        return sum(isinstance(report, Ended) for report in reports) >= batches

    until(over)
    return reports


def answers(reports: Sequence[Report]) -> dict[str, Answer]:
    """Give the answers by client; each came once."""
    found = [report for report in reports if isinstance(report, Answer)]
    named = {answer.client: answer for answer in found}
    assert len(named) == len(found)
    return named


def done(crew: Crew, given: Batch, **private: bytes) -> dict[str, Answer]:
    """Have one batch done."""
    crew.give(crew.lane(given.targets[0].client.name), Order(given, private))
    return answers(all_reports(crew))


def wait_until_heard(crew: Crew) -> None:
    """Wait until workers have heard what was said before, wherever they are: a batch of nobody is over at once."""
    crew.give(crew.lane("c0"), Order(batch((), id_="nobody")))
    assert all_reports(crew) == [Ended("nobody", 1)]


# --- what is done -----------------------------------------------------------------------------------------------------


def test_each_client_of_a_batch_is_answered_for_once_and_then_the_batch_is_over(opens: Opens, ground: Ground) -> None:
    names = [f"c{at}" for at in range(9)]
    with opens() as crew:
        crew.give(crew.lane("c0"), Order(batch(ground.targets(*names))))
        reports = all_reports(crew)
        assert not crew.receive(0)
    assert set(answers(reports)) == set(names)
    assert reports[-1] == Ended("b1", 1)
    assert ground.begun() == dict.fromkeys(names, 1)
    assert all(answer.facts is not None and answer.attempt == 1 for answer in answers(reports).values())


def test_a_batch_of_nobody_is_over_at_once(opens: Opens) -> None:
    with opens() as crew:
        crew.give("", Order(batch(())))
        assert all_reports(crew) == [Ended("b1", 1)]


def test_a_change_sends_what_the_store_has_and_what_travels_beside_the_batch(opens: Opens, ground: Ground) -> None:
    setting = step("settings-a", "v", PRIVATE)
    private = {setting.files[0].sha256: PRIVATE}
    given = batch(ground.targets("c0", steps=(setting,)), change(step()))
    with opens() as crew:
        answer = done(crew, given, **private)["c0"]
    assert [(one.outcome.component, one.outcome.status, one.sent) for one in answer.steps] == [
        ("rules", "changed", len(HELD)),
        ("settings-a", "changed", len(PRIVATE)),
    ]
    assert (ground.got("c0"), ground.got("c0", "settings-a")) == (HELD, PRIVATE)
    assert answer.bytes_sent == len(HELD) + len(PRIVATE)


def test_what_is_sent_early_is_not_switched_to(opens: Opens, ground: Ground) -> None:
    with opens() as crew:
        answer = done(crew, batch(ground.targets("c0"), change(step(), early=(step("engine"),))))["c0"]
    assert [(one.outcome.component, one.outcome.status) for one in answer.steps] == [
        ("rules", "changed"),
        ("engine", "staged"),
    ]


def test_clients_that_have_the_mark_that_they_are_asked_for_say_so_and_others_are_looked_at(
    opens: Opens, ground: Ground
) -> None:
    asked = {"c0": MARK, "c1": f"{MARK}?", "c2": "?", "c3": "b" * 40, "c4": ""}
    targets = [target for name, mark in asked.items() for target in ground.targets(name, mark=mark)]
    with opens() as crew:
        found = done(crew, batch(targets))
        assert found["c0"].same == Same(7)
        assert found["c0"].facts is None
        said = {name: answer.facts.mark for name, answer in found.items() if answer.facts and not answer.same}
        assert said == {"c1": MARK, "c2": MARK, "c3": MARK, "c4": ""}
        hashed = done(crew, batch(targets, Look(verify=True), "b2"))
        assert all(answer.same is None and answer.facts for answer in hashed.values())


def test_files_are_read_however_many_there_are(opens: Opens, ground: Ground) -> None:
    paths = tuple(f"/etc/{at}/name" for at in range(120))
    with opens() as crew:
        answer = done(crew, batch(ground.targets("c0", paths=(*paths, "/etc/none")), Read()))["c0"]
    assert answer.files == {**dict.fromkeys(paths, b"c0"), "/etc/none": None}


def test_clients_try_whether_they_get_a_part_of_a_relay(opens: Opens, ground: Ground) -> None:
    (ground.folder / "c1.dry").touch()
    probe = Probe(url="http://relay1:8080", size=7, sha256="0" * 64)
    with opens() as crew:
        found = done(crew, batch(ground.targets("c0", "c1"), probe))
    assert (found["c0"].fetched, found["c0"].unfetched) == (7, "")
    assert (found["c1"].fetched, found["c1"].unfetched) == (0, f"http://relay1:8080/{'0' * 64}: 7 bytes of nothing")


def test_an_error_of_one_client_is_its_own(opens: Opens, ground: Ground) -> None:
    (ground.folder / "c1.lost").touch()
    with opens() as crew:
        found = done(crew, batch(ground.targets("c0", "c1", "c2")))
    assert isinstance(found["c1"].error, TransportError)
    assert "c1 can't be reached" in found["c1"].error.message
    assert [found[name].error for name in ("c0", "c2")] == [None, None]


def test_an_answer_names_the_attempt_that_it_is_of(opens: Opens, ground: Ground) -> None:
    with opens() as crew:
        crew.give(crew.lane("c0"), Order(batch(ground.targets("c0"), attempt=3)))
        reports = all_reports(crew)
    assert [report.attempt for report in reports] == [3, 3]


# --- how many ---------------------------------------------------------------------------------------------------------


def test_as_many_clients_as_forks_are_under_way_at_a_time_and_no_more(opens: Opens, ground: Ground) -> None:
    names = [f"c{at}" for at in range(6)]
    ground.hold(*names)
    with opens(forks=2) as crew:
        assert crew.room(crew.lane("c0")) > 0
        crew.give(crew.lane("c0"), Order(batch(ground.targets(*names))))
        until(lambda: len(ground.begun()) >= 2)
        assert len(ground.begun()) == 2
        assert crew.room(crew.lane("c0")) <= 0
        ground.let_go(*names)
        assert set(answers(all_reports(crew))) == set(names)


def test_clients_that_say_nothing_lend_their_places_to_others_wherever_they_are_worked_on(
    opens: Opens, ground: Ground
) -> None:
    known, silent = [f"known{at}" for at in range(FEW)], [f"silent{at}" for at in range(7)]
    quick = [f"quick{at}" for at in range(5)]
    ground.hold(*silent)
    reports: list[Report] = []
    with opens(forks=2, lends=8) as crew:

        def worked_on(names: list[str], answered: int) -> None:
            """Have clients worked on as there is room for them, until so many were answered for in all."""

            def through() -> bool:
                while names and crew.room(crew.lane(names[0])) > 0:
                    crew.give(crew.lane(names[0]), Order(batch(ground.targets(names[0]), id_=names.pop(0))))
                reports.extend(crew.receive(0.05))
                return not names and len(answers(reports)) >= answered

            until(through)

        worked_on(list(known), len(known))
        worked_on([*silent, *quick], len(known) + len(quick))
        assert set(answers(reports)) == {*known, *quick}
        ground.let_go(*silent)
        worked_on([], len(known) + len(quick) + len(silent))
    assert ground.begun() == dict.fromkeys([*known, *quick, *silent], 1)


def test_answers_come_while_other_clients_of_the_batch_are_still_worked_on(opens: Opens, ground: Ground) -> None:
    ground.hold("slow")
    with opens(forks=2) as crew:
        crew.give(crew.lane("slow"), Order(batch(ground.targets("slow", "quick"))))
        reports: list[Report] = []

        def received() -> bool:
            reports.extend(crew.receive(0.05))
            return bool(reports)

        until(received)
        assert [report.client for report in reports if isinstance(report, Answer)] == ["quick"]
        ground.let_go("slow")
        assert set(answers(all_reports(crew))) == {"slow"}


# --- what isn't begun -------------------------------------------------------------------------------------------------


def test_steps_of_a_halted_rollout_are_left_out_and_a_client_without_others_is_not_begun(
    opens: Opens, ground: Ground
) -> None:
    with opens() as crew:
        crew.halt([("rules", "2", "")])
        both = change(step(), step("engine"))
        found = done(crew, batch(ground.targets("c0"), both))["c0"]
        assert [one.outcome.component for one in found.steps] == ["engine"]
        assert found.halted == ("rules",)
        found = done(crew, batch(ground.targets("c1"), change(step()), "b2"))["c1"]
        assert (found.not_begun, found.halted) == ("halted", ("rules",))
        found = done(crew, batch(ground.targets("c2"), change(step(version="3")), "b3"))["c2"]
        assert found.steps[0].outcome.status == "changed"
    assert set(ground.begun()) == {"c0", "c2"}


def test_a_rollout_that_is_halted_in_one_group_goes_on_in_others(opens: Opens, ground: Ground) -> None:
    with opens() as crew:
        crew.halt([("rules", "2", "g")])
        others = replace(batch(ground.targets("c0"), change(step())), group="h")
        assert done(crew, others)["c0"].steps
        assert done(crew, batch(ground.targets("c1"), change(step()), "b2"))["c1"].not_begun == "halted"


def test_a_halt_spares_the_clients_of_a_batch_that_were_not_begun(opens: Opens, ground: Ground) -> None:
    names = [f"c{at}" for at in range(5)]
    ground.hold(*names)
    with opens(forks=1) as crew:
        crew.give(crew.lane("c0"), Order(batch(ground.targets(*names), change(step()))))
        (first,) = until(ground.begun)
        crew.halt([("rules", "2", "")])
        wait_until_heard(crew)
        ground.let_go(*names)
        found = answers(all_reports(crew))
    assert found.pop(first).steps
    assert {answer.not_begun for answer in found.values()} == {"halted"}
    assert set(ground.begun()) == {first}


def test_no_client_is_begun_when_the_time_of_its_batch_is_over(opens: Opens, ground: Ground) -> None:
    with opens() as crew:
        late = batch(ground.targets("c0"), until=NOW - timedelta(seconds=1))
        assert done(crew, late)["c0"].not_begun == "late"
        early = batch(ground.targets("c1"), id_="b2", until=NOW + timedelta(days=36500))
        assert done(crew, early)["c1"].facts is not None
    assert set(ground.begun()) == {"c1"}


def test_a_crew_that_stops_finishes_what_is_under_way_and_begins_nothing(opens: Opens, ground: Ground) -> None:
    names = [f"c{at}" for at in range(5)]
    ground.hold(*names)
    with opens(forks=2) as crew:
        crew.give(crew.lane("c0"), Order(batch(ground.targets(*names))))
        until(lambda: len(ground.begun()) == 2)
        crew.stop()
        wait_until_heard(crew)
        first = set(ground.begun())
        ground.let_go(*names)
        found = answers(all_reports(crew))
        crew.give(crew.lane("c0"), Order(batch(ground.targets("more"), id_="b2")))
        assert answers(all_reports(crew))["more"].not_begun == "stopped"
    assert {name for name, answer in found.items() if answer.facts} == first
    assert {answer.not_begun for name, answer in found.items() if name not in first} == {"stopped"}
    assert set(ground.begun()) == first


def test_leaving_a_crew_waits_for_what_is_under_way_and_begins_nothing(
    opens: Opens, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"c{at}" for at in range(5)]
    ground.hold(*names)
    with opens(forks=1) as crew:
        crew.give(crew.lane("c0"), Order(batch(ground.targets(*names), change(step()))))
        (first,) = until(ground.begun)
        stop = crew.stop

        def stopped() -> None:
            stop()
            wait_until_heard(crew)
            ground.let_go(*names)

        monkeypatch.setattr(crew, "stop", stopped)
    assert set(ground.begun()) == {first}
    assert ground.got(first) == HELD


# --- threads ----------------------------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_from_outside_begins_nothing(ground: Ground) -> None:
    with of_threads(ground)() as crew:
        ground.stop.set()
        assert done(crew, batch(ground.targets("c0")))["c0"].not_begun == "stopped"
    assert not ground.begun()


def test_the_time_of_a_batch_is_asked_again_when_a_client_is_connected(ground: Ground) -> None:
    moments = iter([NOW, NOW + timedelta(minutes=2)])
    ground.now = lambda: next(moments, NOW)
    with of_threads(ground)() as crew:
        answer = done(crew, batch(ground.targets("c0"), until=NOW + timedelta(minutes=1)))["c0"]
    assert answer.not_begun == "late"
    assert not ground.begun()


def test_a_machine_that_gives_few_threads_does_all_the_work_with_those(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Thread.start
    started: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    names = [f"c{at}" for at in range(30)]
    with of_threads(ground)(forks=8) as crew:
        assert set(done(crew, batch(ground.targets(*names)))) == set(names)
        assert crew.room("") == 2
    assert len(started) == 2


def test_a_machine_that_gives_no_thread_at_all_is_told_and_nothing_is_done(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with of_threads(ground)() as crew:
        crew.give("", Order(batch(ground.targets("c0", "c1"))))
        found = answers(crew.receive(PATIENCE))
        assert {answer.not_begun for answer in found.values()} == {"stopped"}
        with pytest.raises(LimitError, match="this machine has no room for more: can't start new thread"):
            crew.receive(PATIENCE)
    assert not ground.begun()


def test_a_limit_of_the_machine_ends_the_work_after_what_was_under_way(ground: Ground) -> None:
    ground.hold("slow")
    (ground.folder / "poor.limit").touch()
    with of_threads(ground)(forks=2) as crew:
        crew.give("", Order(batch(ground.targets("slow"), id_="b1")))
        until(ground.begun)
        crew.give("", Order(batch(ground.targets("poor"), id_="b2")))
        crew.give("", Order(batch(ground.targets("more"), id_="b3")))
        ground.let_go("slow")
        reports: list[Report] = []

        def receive() -> bool:
            reports.extend(crew.receive(0.05))
            return False

        with pytest.raises(LimitError, match="too many open files"):
            until(receive)
    found = answers(reports)
    assert found["slow"].facts is not None
    assert found["more"].not_begun == "stopped"
    assert {report.batch for report in reports if isinstance(report, Ended)} == {"b1", "b3"}


def test_fewer_than_one_client_at_a_time_is_refused(ground: Ground) -> None:
    with pytest.raises(ValueError, match="forks"):
        of_threads(ground)(forks=0)
