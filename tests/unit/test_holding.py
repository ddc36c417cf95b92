"""Who holds the lock writes, and nobody else: whoever died, was suspended, is cut off, or was unlocked."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule

from reconciler.errors import LockHeldError, LockLostError, StateError
from reconciler.model.report import JournalEntry
from reconciler.storage import holding
from reconciler.storage import lock as locks
from reconciler.storage.holding import PATIENCE
from reconciler.storage.state import State
from reconciler.storage.tables import LOCK
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
BEGIN = (
    "import os, sys, time; from datetime import datetime, UTC\n"
    "from reconciler.errors import UpdoserError; from reconciler.storage.state import State\n"
    "def opened(): return State.open(sys.argv[1], clock=lambda: datetime.now(UTC))\n"
)
HOLD = BEGIN + (
    "state = opened()\n"
    "try:\n"
    "    with state.lock('apply'):\n"
    "        print('holds', flush=True)\n"
    "        sys.stdin.readline()\n"
    "        state.raise_serial()\n"
    "        print('wrote', flush=True)\n"
    "except UpdoserError as error: print(type(error).__name__, flush=True); sys.exit(error.exit_code)\n"
)


def open_state(url: str) -> State:
    return State.open(url, clock=lambda: NOW)


def started(program: str, url: str, *before: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", program, url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def age(state: State, span: float) -> None:
    """Have the beat of who holds the lock be so old, as if so much time had gone by without one."""
    with state._write(fenced=False) as connection:
        connection.execute(LOCK.update().values(beat_at=LOCK.c.beat_at - span))


def elsewhere(monkeypatch: pytest.MonkeyPatch, boot: str = "") -> None:
    """Have what is taken from now on be of another PID namespace with the same name and boot, or of another boot."""
    host, known = holding.holder_name(1).split(" ")[:2]
    monkeypatch.setattr(locks, "holder_name", lambda _pid: f"{host} {boot or known} pid:[1] 1 2")


def writes(state: State) -> bool:
    try:
        state.raise_serial()
    except LockLostError:
        return False
    return True


def test_a_holder_elsewhere_that_beats_is_left_alone_and_one_that_does_not_is_followed(
    any_state: State, state_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch)
    held = any_state.lock("apply")
    held.__enter__()
    monkeypatch.undo()
    with open_state(state_url) as other:
        with pytest.raises(LockHeldError) as caught, other.lock("apply"):
            pass
        assert caught.value.exit_code == 5
        assert other.busy()
        age(other, PATIENCE - 5)
        with pytest.raises(LockHeldError), other.lock("apply"):
            pass
        assert writes(any_state)
        epoch = other.identity().epoch
        age(other, PATIENCE)
        assert other.busy() == ""
        with other.lock("apply"):
            assert other.identity().epoch == epoch + 1  # its clients refuse who may wake up again
            assert not writes(any_state)
            held.__exit__(None, None, None)  # it ends: the lock isn't its own any more
            assert other.busy()
            assert writes(other)


def test_a_beat_keeps_the_lock_of_a_run(any_state: State, state_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BEAT", 0.01)
    elsewhere(monkeypatch)
    with any_state.lock("apply"), open_state(state_url) as other:
        age(other, 10 * PATIENCE)

        def is_heard() -> str:
            return other.busy()

        assert until(is_heard)


def test_a_run_that_was_unlocked_writes_nothing_more_whatever_it_was_about_to(any_state: State, state_url: str) -> None:
    entry = JournalEntry(client="a", group="g", component="c", outcome="changed", message="", at=NOW)
    writing: dict[str, Callable[[], object]] = {
        "an outcome": lambda: any_state.journal("r", [entry]),
        "the end of the run": lambda: any_state.end_run("r", "done", {}, NOW),
        "a serial": any_state.raise_serial,
        "several at once": lambda: any_state.whole(any_state.raise_serial),
    }
    with any_state.lock("apply") as lock_id, open_state(state_url) as person:
        any_state.begin_run("r", "p", "apply", NOW)
        epoch, fence = person.identity().epoch, any_state.held_fence
        with pytest.raises(LockHeldError, match="is alive"):
            person.unlock(lock_id)
        assert any_state.raise_serial() == 1
        person.unlock(lock_id, force=True)
        assert person.identity().epoch == epoch + 1
        for what, write in writing.items():
            with pytest.raises(LockLostError) as caught:
                write()
            assert caught.value.exit_code == 5, what
        assert (person.journal_of("r"), person.identity().serial) == ([], 1)
        with person.lock("apply"):
            assert person.held_fence > fence + 1  # that of the unlocking lies between
            assert writes(person)
            assert not writes(any_state)
    assert any_state.held_fence == 0
    assert writes(any_state)  # what is no run's isn't fenced


def test_each_lock_has_a_higher_fence(any_state: State) -> None:
    fences = []
    for _each in range(3):
        with any_state.lock("apply"):
            fences.append(any_state.held_fence)
    assert fences == sorted(set(fences))
    assert fences[0] > 0


def test_of_runs_that_begin_at_once_one_holds_the_lock_and_all_others_are_refused(state_url: str) -> None:
    open_state(state_url).close()
    runs = [started(HOLD, state_url) for _each in range(8)]
    said = [run.stdout.readline().strip() for run in runs]
    assert sorted(said) == ["LockHeldError"] * 7 + ["holds"]
    for run, word in zip(runs, said, strict=True):
        out, errors = run.communicate("go on\n")
        assert (out.strip(), errors) == ("wrote" if word == "holds" else "", "")
        assert run.returncode == (0 if word == "holds" else 5)


@pytest.mark.needs("unshare")
@pytest.mark.skipif(os.getuid() != 0, reason="only root may have a PID namespace everywhere")
def test_of_runs_in_containers_with_one_host_name_one_holds_the_lock(state_url: str) -> None:
    open_state(state_url).close()
    container = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    first = started(HOLD, state_url, *container)
    assert first.stdout is not None
    assert first.stdout.readline() == "holds\n", first.communicate()
    second = started(HOLD, state_url, *container)
    out, errors = second.communicate("go on\n")
    assert (out, errors, second.returncode) == ("LockHeldError\n", "", 5)
    out, errors = first.communicate("go on\n")
    assert (out, errors, first.returncode) == ("wrote\n", "", 0)


def test_a_holder_that_is_suspended_is_followed_and_writes_nothing_when_it_wakes_up(state_url: str) -> None:
    run = started(HOLD, state_url)
    assert run.stdout is not None
    assert run.stdout.readline() == "holds\n"
    with open_state(state_url) as other:
        age(other, 10 * PATIENCE)
        with pytest.raises(LockHeldError), other.lock("apply"):
            pass  # it runs, whatever its beat says
        run.send_signal(19)  # SIGSTOP
        until(lambda: holding._is_stopped(holding.holder_name(run.pid)))
        age(other, 10 * PATIENCE)
        with other.lock("apply"):
            run.send_signal(18)  # SIGCONT
            out, errors = run.communicate("go on\n")
            assert (out, errors, run.returncode) == ("LockLostError\n", "", 5)
            assert other.raise_serial() == 1


def test_a_lock_that_was_left_before_the_machine_started_anew_is_taken_over(
    any_state: State, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    elsewhere(monkeypatch, boot="another-boot")
    left = any_state.lock("apply")
    left.__enter__()
    monkeypatch.undo()
    any_state._held = None
    if database == "postgresql":  # it may be on another machine: its beat says
        with pytest.raises(LockHeldError), any_state.lock("apply"):
            pass
        age(any_state, PATIENCE)
    with any_state.lock("apply"):
        pass
    left.__exit__(None, None, None)


def test_a_lock_of_an_earlier_version_is_kept_until_a_person_takes_it_away(any_state: State) -> None:
    row = {"id": 1, "lock_id": "abc", "who": "x", "holder": "far boot ns 1 2", "command": "apply", "since": 0.0}
    with any_state._write() as connection:
        connection.execute(LOCK.insert().values(row))
    with pytest.raises(LockHeldError), any_state.lock("apply"):
        pass
    with pytest.raises(StateError, match="there is no lock x"):
        any_state.unlock("x")
    any_state.unlock("abc")
    with any_state.lock("apply"):
        pass


def test_what_ended_a_run_is_told_and_not_that_its_lock_could_not_be_given_back(
    any_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object) -> None:
        raise StateError("no way")

    monkeypatch.setattr(any_state, "_give_back", refuse)
    with pytest.raises(KeyError), any_state.lock("apply"):
        raise KeyError


# --- in any order ---------------------------------------------------------------------------------------------------


class Holders(RuleBasedStateMachine):
    """Three processes elsewhere, each with the state open, and a person who unlocks. `locked` is who may write."""

    url = ""
    holds = Bundle("holds")

    @initialize()
    def begin(self) -> None:
        self.states = [open_state(self.url) for _each in range(3)]
        self.person = open_state(self.url)
        self.patch = pytest.MonkeyPatch()
        elsewhere(self.patch)
        self.patch.setattr(locks, "keep_beating", lambda *_given: True)
        with self.person._write() as connection:
            connection.execute(LOCK.delete())
        self.open: list[Any] = []
        self.locked: Any = None
        self.stale = False
        self.fence = 0

    @rule(who=st.integers(0, 2), target=holds)
    def take(self, who: int) -> Any:
        state = self.states[who]
        if state.held_fence:
            return (who, None)
        made = state.lock("apply")
        if self.locked is not None and not self.stale:
            with pytest.raises(LockHeldError):
                made.__enter__()
            return (who, None)
        made.__enter__()
        self.open.append(made)
        assert state.held_fence > self.fence
        self.locked, self.stale, self.fence = made, False, state.held_fence
        return (who, made)

    @rule(held=consumes(holds))
    def give_back(self, held: Any) -> None:
        _who, made = held
        if made is None:
            return
        made.__exit__(None, None, None)
        self.open.remove(made)
        if self.locked is made:
            self.locked = None

    @rule(held=holds)
    def beat(self, held: Any) -> None:
        who, made = held
        state = self.states[who]
        if made is None or state._held is None:
            return
        if self.locked is made:
            state._beat(state._held)
            self.stale = False
        else:
            with pytest.raises(LockLostError):
                state._beat(state._held)

    @rule(held=holds)
    def write(self, held: Any) -> None:
        who, made = held
        if made is not None and self.states[who].held_fence:
            assert writes(self.states[who]) == (self.locked is made)

    @rule()
    def time_goes_by(self) -> None:
        if self.locked is not None:
            age(self.person, 2 * PATIENCE)
            self.stale = True

    @rule()
    def unlock(self) -> None:
        with self.person._read() as connection:
            held = connection.execute(LOCK.select()).first()
        assert (held is None) == (self.locked is None)
        if held is not None:
            self.person.unlock(held.lock_id)
            self.locked, self.stale = None, False

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()
            for made in self.open:
                made.__exit__(None, None, None)
            for state in (*self.states, self.person):
                state.close()


def test_whatever_holders_and_people_do_in_whatever_order_only_who_took_the_lock_last_writes(state_url: str) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    open_state(state_url).close()
    machine = type("OnThis", (Holders,), {"url": state_url})
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=20, deadline=None))
