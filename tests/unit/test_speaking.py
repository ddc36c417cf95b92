"""A worker at its end of the line, told things by hand: what it does, and when it ends."""

from __future__ import annotations

import hashlib
import json
import os
import select
import time
from contextlib import contextmanager
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.client.reach import Reach
from reconciler.content.contents import CachedContents
from reconciler.errors import StoreError
from reconciler.formats.answer_json import error_form, read_report
from reconciler.formats.batch_json import write_batch
from reconciler.formats.frames import Frames, Kind, frame, json_frame, number_frame, private_frame
from reconciler.model.batch import Answer, Batch, Change, Ended, Look, Target
from reconciler.model.client import Client
from reconciler.model.deploy import Step
from reconciler.model.release import ReleaseFile, content_digest
from reconciler.worker.lending import Lending
from reconciler.worker.pool import Pool
from reconciler.worker.speaking import Speaker
from tests.contracts.sluice import Sluice
from tests.fakes import NOW
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reconciler.contracts import Lender
    from reconciler.formats.frames import Frame
    from reconciler.worker.asking import Asking

CONTENT = b"what a release has" * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SETUP = {"format_version": "1.0", "forks": 4}


class Bench:
    """A worker in threads of this process, and the controller's end of its line in the hands of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clients"
        self.folder.mkdir()
        self.cache = folder / "cache"
        self.stop, self.over = Event(), Event()
        self.secret = "none"
        self.now = 0.0
        to_worker, self._to = os.pipe()
        self._from, from_worker = os.pipe()
        self._frames = Frames(greeting=True)
        self.came: list[Frame] = []
        self.status: int | None = None
        self._speaker = Speaker(to_worker, from_worker, self._prepare)
        self._ends = [to_worker, from_worker, self._from]
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        self.status = self._speaker.run(self.stop, self.over)

    def _prepare(self, setup: Mapping[str, Any], asking: Asking) -> Any:
        return _Ready(self, setup, asking)

    def say(self, *messages: bytes) -> None:
        for message in messages:
            waiting = memoryview(message)
            while waiting:
                waiting = waiting[os.write(self._to, waiting) :]

    def listen(self, *kinds: Kind) -> Frame:
        """Wait for the next message of one of these kinds."""
        give_up = time.monotonic() + PATIENCE
        while True:
            for at, said in enumerate(self.came):
                if said.kind in kinds:
                    return self.came.pop(at)
            assert select.select([self._from], [], [], give_up - time.monotonic())[0], f"no {kinds} came"
            data = os.read(self._from, 2**16)
            assert data, f"it ended before {kinds} came"
            self.came += self._frames.feed(data)

    def report(self) -> Any:
        return read_report(self.listen(Kind.REPORT).body)

    def hang_up(self) -> None:
        if self._to >= 0:
            os.close(self._to)
            self._to = -1

    def ended(self) -> int:
        self._thread.join(PATIENCE)
        assert self.status is not None
        return self.status

    def close(self) -> None:
        for held in self.folder.glob("*.held"):
            held.unlink()
        self.hang_up()
        self.ended()
        # A number that is closed is given to the next file, and whoever listens there would read from that.
        until(lambda: not any(thread.name == "listener" for thread in enumerate_threads()))
        for number in self._ends:
            os.close(number)


class _Ready:
    def __init__(self, bench: Bench, setup: Mapping[str, Any], asking: Asking) -> None:
        self._bench = bench
        self._forks = setup["forks"]
        self._contents = CachedContents.at(bench.cache, 2**30, [asking], bench.over)

    @contextmanager
    def crew(self) -> Iterator[Lender]:
        transport, stop = Sluice({"folder": str(self._bench.folder)}), self._bench.stop
        reach = Reach(lambda _group: transport, stop)
        lending = Lending(self._forks, 16 * self._forks, clock=lambda: self._bench.now)
        with Pool(reach, self._contents.open, forks=self._forks, stop=stop, clock=lambda: NOW, lending=lending) as pool:
            yield pool

    def masked(self, text: str) -> str:
        return text.replace(self._bench.secret, "********")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def ready(bench: Bench) -> Bench:
    bench.say(json_frame(Kind.SETUP, SETUP))
    bench.listen(Kind.READY)
    return bench


def step(sha256: str = SHA256, size: int = len(CONTENT), *, private: bool = False) -> Step:
    files = (ReleaseFile("data", size, sha256),)
    digest = content_digest(files)
    return Step(
        component="settings-a" if private else "rules",
        from_version="",
        from_digest="",
        to_version="2",
        to_digest=digest,
        files=files,
        private=private,
    )


def order(*names: str, task: Any = None, id_: str = "b1", steps: tuple[Step, ...] = ()) -> bytes:
    targets = tuple(Target(client=Client(name, "g", install_root="/r"), steps=steps) for name in names)
    return frame(Kind.ORDER, write_batch(Batch(id=id_, run_id="r", group="g", task=task or Look(), targets=targets)))


def change(*steps: Step) -> Change:
    return Change(lineage="mine", epoch=1, keep=2, steps=steps)


def test_it_says_first_what_it_is_and_takes_a_setup(bench: Bench) -> None:
    assert bench.listen(Kind.HELLO).json["formats"] == "1.0"
    bench.say(json_frame(Kind.SETUP, SETUP))
    bench.listen(Kind.READY)
    bench.hang_up()
    assert bench.ended() == 0


def test_it_says_for_how_many_clients_more_it_has_room_as_others_are_silent(bench: Bench) -> None:
    bench.say(json_frame(Kind.SETUP, {**SETUP, "lends": 16}))
    bench.listen(Kind.READY)
    for name in ("a", "b"):
        (bench.folder / f"{name}.held").touch()
    bench.say(order("a", "b"))
    until(lambda: len(list(bench.folder.glob("*.begun"))) == 2)
    bench.now = 1000.0
    said = bench.listen(Kind.LENT).number
    while said < 2:
        said = bench.listen(Kind.LENT).number
    (bench.folder / "a.held").unlink()
    assert bench.listen(Kind.LENT).number == 1


def test_a_controller_that_says_nothing_of_it_isnt_told_what_is_lent(ready: Bench) -> None:
    (ready.folder / "a.held").touch()
    ready.say(order("a", "b"))
    until((ready.folder / "a.begun").exists)
    ready.now = 1000.0
    ready.say(frame(Kind.STOP), order("c", id_="b2"))
    assert [ready.listen(Kind.REPORT, Kind.LENT).kind for _report in range(3)] == [Kind.REPORT] * 3
    (ready.folder / "a.held").unlink()
    assert [ready.listen(Kind.REPORT, Kind.LENT).kind for _report in range(2)] == [Kind.REPORT] * 2


def test_content_is_asked_for_once_however_many_clients_need_it(ready: Bench) -> None:
    ready.say(order("a", "b", "c", task=change(step())))
    number, sha256, start = ready.listen(Kind.WANT).question
    assert (sha256, start) == (SHA256, 0)
    for at in range(0, len(CONTENT), 50_000):
        ready.say(number_frame(Kind.PIECE, number, CONTENT[at : at + 50_000]))
    ready.say(number_frame(Kind.END, number))
    reports = [ready.report() for _ in range(4)]
    assert {report.client for report in reports if isinstance(report, Answer)} == {"a", "b", "c"}
    assert reports[-1] == Ended("b1", 1)
    assert {(ready.folder / f"{name}.got.rules").read_bytes() for name in "abc"} == {CONTENT}
    ready.say(order("d", task=change(step()), id_="b2"))
    assert ready.report().steps[0].outcome.status == "changed"
    assert not [said for said in ready.came if said.kind is Kind.WANT]


def test_what_it_took_of_content_it_says_so_that_more_is_sent(ready: Bench) -> None:
    ready.say(order("a", task=change(step())))
    number, _sha256, _start = ready.listen(Kind.WANT).question
    ready.say(number_frame(Kind.PIECE, number, CONTENT[:1000]))
    assert ready.listen(Kind.GOT).number == 1000
    ready.say(number_frame(Kind.PIECE, 99, b"nobody asked"))
    assert ready.listen(Kind.GOT).number == len(b"nobody asked")


def test_content_that_breaks_off_is_asked_for_from_where_it_broke(ready: Bench) -> None:
    content = os.urandom(3 * 2**20)
    big = step(hashlib.sha256(content).hexdigest(), len(content))
    ready.say(order("a", task=change(big)))
    number, _sha256, _start = ready.listen(Kind.WANT).question
    half = 2 * 2**20
    for at in range(0, half, 2**16):
        ready.say(number_frame(Kind.PIECE, number, content[at : at + 2**16]))
    ready.say(number_frame(Kind.NONE, number, json.dumps(error_form(StoreError("a disk broke"))).encode()))
    number, _sha256, start = ready.listen(Kind.WANT).question
    assert start == half
    for at in range(half, len(content), 2**16):
        ready.say(number_frame(Kind.PIECE, number, content[at : at + 2**16]))
    ready.say(number_frame(Kind.END, number))
    assert ready.report().steps[0].outcome.status == "changed"
    assert (ready.folder / "a.got.rules").read_bytes() == content


def test_wrong_content_never_reaches_a_client(ready: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.content.places.PAUSE", 0)
    ready.say(order("a", task=change(step())))
    for _round in range(2):
        number, _sha256, _start = ready.listen(Kind.WANT).question
        for at in range(0, len(CONTENT), 2**16):
            ready.say(number_frame(Kind.PIECE, number, bytes(len(CONTENT[at : at + 2**16]))))
        ready.say(number_frame(Kind.END, number))
    answer = ready.report()
    assert isinstance(answer.error, StoreError)
    assert not (ready.folder / "a.got.rules").exists()


def test_private_content_is_held_for_the_next_order_only(ready: Bench) -> None:
    secret = b"password = hunter2"
    sha256 = hashlib.sha256(secret).hexdigest()
    own = step(sha256, len(secret), private=True)
    ready.say(private_frame(sha256, secret), order("a", task=change(), steps=(own,)))
    assert ready.report().steps[0].outcome.status == "changed"
    assert (ready.folder / "a.got.settings-a").read_bytes() == secret
    ready.listen(Kind.REPORT)
    ready.say(order("b", task=change(), steps=(own,), id_="b2"))
    assert ready.listen(Kind.WANT, Kind.REPORT).kind is Kind.WANT
    assert not list(ready.cache.rglob(sha256))


def test_no_client_is_begun_when_the_controller_is_gone_and_those_under_way_are_finished(ready: Bench) -> None:
    for name in "abcd":
        (ready.folder / f"{name}.held").touch()
    ready.say(order(*"abcdefg"))
    until(lambda: len(list(ready.folder.glob("*.begun"))) == 4)
    ready.hang_up()
    until(ready.over.is_set)
    for held in ready.folder.glob("*.held"):
        held.unlink()
    assert ready.ended() == 0
    assert {path.stem for path in ready.folder.glob("*.begun")} == set("abcd")


def test_a_controller_that_is_silent_is_gone(bench: Bench) -> None:
    bench.say(json_frame(Kind.SETUP, {**SETUP, "silence": 0.2}))
    bench.listen(Kind.READY)
    assert bench.listen(Kind.FAILED).json["message"] == "the controller was silent for 0.2 s"
    assert bench.ended() == 4


def test_it_says_again_and_again_that_it_is_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.worker.speaking.ALIVE", 0.05)
    bench.say(json_frame(Kind.SETUP, SETUP))
    for _ in range(5):
        bench.listen(Kind.ALIVE)


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\n",
        bytes(100),
        frame(Kind.ORDER, b"{}"),
        frame(Kind.ORDER, b"no json"),
        json_frame(Kind.HALT, {"a": 1}),
        json_frame(Kind.HALT, [["a", 1, "b"]]),
        frame(Kind.SETUP, b"{}"),
        frame(Kind.REPORT, b"{}"),
        private_frame("00" * 32, b"other content"),
    ],
)
def test_garbage_ends_it_with_a_clear_error(ready: Bench, garbage: bytes) -> None:
    ready.say(garbage)
    said = ready.listen(Kind.FAILED).json
    assert said["class"] in {"ProtocolError", "DocumentError"}
    assert len(said["message"]) > 20
    assert ready.ended() in {1, 3}


@pytest.mark.parametrize(
    "first", [frame(Kind.ORDER, b"{}"), json_frame(Kind.SETUP, []), json_frame(Kind.SETUP, {"format_version": "2.0"})]
)
def test_nothing_is_believed_before_a_setup_that_is_one(bench: Bench, first: bytes) -> None:
    bench.say(first)
    assert bench.listen(Kind.FAILED).json["message"]
    assert bench.ended()


def test_a_halt_and_a_stop_are_heard(ready: Bench) -> None:
    ready.say(json_frame(Kind.HALT, [["rules", "2", ""]]), order("a", task=change(step())))
    assert ready.report().not_begun == "halted"
    assert ready.report() == Ended("b1", 1)
    ready.say(frame(Kind.STOP), order("b", id_="b2"))
    assert ready.report().not_begun == "stopped"
    assert ready.stop.is_set()


def test_secrets_of_the_worker_are_taken_out_of_what_it_reports(ready: Bench) -> None:
    ready.secret = "refused"
    (ready.folder / "a.lost").touch()
    ready.say(order("a"))
    error = ready.report().error
    assert error.message == "a can't be reached: connection ********"
