"""Of several controllers one leads: never two write, whoever died, was paused, or comes back."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import LeaseLostError, LockHeldError
from reconciler.storage import holding
from reconciler.storage import lease as leases
from reconciler.storage import lock as locks
from reconciler.storage.lease import Lease
from reconciler.storage.state import State

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def open_state(url: str) -> State:
    return State.open(url, clock=lambda: NOW)


@pytest.fixture
def state(state_url: str) -> Iterator[State]:
    with open_state(state_url) as opened:
        yield opened


def take(state: State, watched: Lease | None = None) -> Lease:
    taken = state.take_lease(watched)
    assert taken is not None
    return taken


def elsewhere(monkeypatch: pytest.MonkeyPatch, name: str = "") -> None:
    """Have what is taken from now on be of a container beside this one, whose processes aren't seen."""
    name = name or f"elsewhere {holding._boot(holding.holder_name(1))} pid:[1] 1 2"
    monkeypatch.setattr(leases, "holder_name", lambda _pid: name)
    monkeypatch.setattr(locks, "holder_name", lambda _pid: name)


def test_who_leads_is_not_replaced_while_it_beats(state: State) -> None:
    assert state.lease() == Lease(0, 0, "", "")
    first = take(state)
    assert state.take_lease() is None
    state.beat(first.generation)
    assert state.take_lease(first) is None  # what was watched isn't what is there: it lives
    assert state.lease().generation == first.generation


def test_a_leader_whose_beat_does_not_change_is_followed_and_writes_nothing_any_more(
    state_url: str, state: State
) -> None:
    first = take(state)
    state.fence(first.generation)
    state.raise_serial()
    with open_state(state_url) as other:
        second = take(other, watched=first)
        assert second.generation == first.generation + 1
        for write in (state.raise_serial, lambda: state.beat(first.generation)):
            with pytest.raises(LeaseLostError, match="another controller leads"):
                write()
        state.give_back_lease(first.generation)  # it is the other one's by now
        assert other.lease() == second
        other.fence(second.generation)
        assert other.raise_serial() == 2


def test_a_lease_that_was_given_back_is_taken_at_once(state: State) -> None:
    first = take(state)
    state.give_back_lease(first.generation)
    assert take(state).generation == first.generation + 1


def test_a_leader_of_this_machine_whose_process_is_gone_is_followed_at_once(state_url: str) -> None:
    program = (
        "import os, sys; from datetime import datetime, UTC; from reconciler.storage.state import State\n"
        "state = State.open(sys.argv[1], clock=lambda: datetime.now(UTC)); state.take_lease(); os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program, state_url], cwd=ROOT, check=False)
    with open_state(state_url) as state:
        assert take(state).generation == 2


def test_the_lock_of_a_leader_that_was_followed_is_taken_over_wherever_it_ran_and_clients_are_told(
    state_url: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch)
    first = take(state)
    state.fence(first.generation)
    held = state.lock("run")
    held.__enter__()
    epoch = state.identity().epoch
    monkeypatch.undo()
    with open_state(state_url) as other:
        with pytest.raises(LockHeldError), other.lock("apply"):
            pass
        assert other.busy()
        other.fence(take(other, watched=first).generation)
        assert other.busy() == ""
        with other.lock("run"):
            assert other.identity().epoch == epoch + 1
            held.__exit__(None, None, None)  # the old leader wakes up; the lock isn't its own any more
            assert other.busy()
        assert other.busy() == ""


def test_a_lock_that_no_leader_took_stays_although_another_one_leads(
    state_url: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch)
    with state.lock("apply"), open_state(state_url) as other:
        monkeypatch.undo()
        other.fence(take(other).generation)
        with pytest.raises(LockHeldError), other.lock("run"):
            pass


def test_the_lock_of_a_container_beside_this_one_is_not_taken_for_that_of_a_process_that_is_gone(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, pid, started = holding.holder_name(1).rsplit(" ", 2)
    elsewhere(monkeypatch, f"{machine.rsplit(' ', 1)[0]} pid:[1] {pid} {started}")
    with state.lock("apply"):
        monkeypatch.undo()
        with pytest.raises(LockHeldError), state.lock("apply"):
            pass


@given(st.lists(st.tuples(st.sampled_from(["take", "watch", "beat", "write", "back"]), st.integers(0, 2)), max_size=30))
def test_whatever_leaders_do_in_whatever_order_only_the_last_one_that_took_the_lease_writes(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("lease")
    states = [open_state(f"sqlite:///{folder}/state.db") for _each in range(3)]
    held: list[Lease | None] = [None, None, None]
    watched: list[Lease | None] = [None, None, None]
    leader: int | None = None
    try:
        for move, who in moves:
            state, mine = states[who], held[who]
            if move == "watch":
                watched[who] = state.lease()
            elif move == "take":
                taken = state.take_lease(watched[who])
                if taken is not None:
                    held[who], leader = taken, who
                    state.fence(taken.generation)
            elif mine is not None:
                if move == "back":
                    state.give_back_lease(mine.generation)
                    continue
                act = state.raise_serial if move == "write" else lambda s=state, m=mine: s.beat(m.generation)
                if leader == who:
                    act()
                else:
                    with pytest.raises(LeaseLostError):
                        act()
        generations = [lease.generation for lease in held if lease]
        assert len(set(generations)) == len(generations)
    finally:
        for state in states:
            state.close()


def test_the_lock_of_a_process_that_is_not_shown_is_not_taken_for_that_of_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holder = holding.holder_name(os.getppid())
    assert not holding.is_gone(holder)

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(holding, "_started", lambda _pid: "-")  # as with hidepid of /proc, or ProtectProc of systemd
    assert not holding.is_gone(holder)
    monkeypatch.setattr(os, "kill", refuse)
    assert not holding.is_gone(holder)
