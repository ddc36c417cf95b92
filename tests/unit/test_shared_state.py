"""What the console reads and writes of a state that belongs to another process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.errors import StateError
from reconciler.model.controller import RunProgress
from reconciler.model.request import Request, Target
from reconciler.model.rollout import Cut, Move, RolloutRecord
from reconciler.storage.samples import Sample
from reconciler.storage.sessions import Session
from reconciler.storage.state import State

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RECORD = RolloutRecord(
    component="rules",
    version="2",
    group="",
    status="running",
    cuts=(Cut("label=canary"), Cut("", 2**32 - 1)),
    sizes=(1, 7),
    structure="5" * 16,
    started=NOW,
    opened=NOW,
    wave=1,
)
SESSION = Session(
    who="ann", roles=("viewer", "approver"), way="link", address="::1", created=NOW, used=NOW, ends=NOW + 12 * HOUR
)
WISH = Request(
    at=NOW,
    who="ann",
    roles=("operator",),
    kind="pause_controller",
    target=Target(until=NOW + HOUR),
    reason="change freeze",
    seen="d1",
)


def own(url: str, now: datetime = NOW) -> State:
    return State.open(url, clock=lambda: now)


def shared(url: str, now: datetime = NOW) -> State:
    return State.open_shared(url, clock=lambda: now)


def test_what_somebody_asks_in_the_console_is_judged_by_the_controller_and_kept(state_url: str) -> None:
    with own(state_url) as state, shared(state_url) as console:
        asked = state.asked()
        made = console.ask(WISH)
        console.ask_controller()
        assert state.asked() == asked + 1
        (found,) = state.open_requests()
        assert (found.id, found.kind, found.target, found.roles) == (made, WISH.kind, WISH.target, WISH.roles)
        state.settle(made, "done", "the controller is paused")
        state.settle(made, "refused", "too late")
        assert state.open_requests() == []
        assert state.requests_waiting() == 0
        kept = console.request(made)
        assert kept is not None
        assert (kept.status, kept.says, kept.done_at) == ("done", "the controller is paused", NOW)
        second = console.ask(WISH)
        assert [one.id for one in console.requests()] == [second, made]
        assert [one.id for one in console.requests(before=second)] == [made]


def test_what_a_program_asks_again_under_the_same_key_is_asked_once(state_url: str) -> None:
    with own(state_url), shared(state_url) as console:
        first = console.ask(WISH, "k")
        assert console.ask(WISH, "k") == first
        assert console.ask(replace(WISH, who="bob"), "k") != first
        assert len({first, console.ask(WISH, "other"), console.ask(WISH), console.ask(WISH)}) == 4


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.record_rollout(RECORD),
        lambda state: state.settle(1, "done", "I say so"),
        lambda state: state.pause_controller(None),
        lambda state: state.keep_snapshots("plan", {"": {}}),
        lambda state: state.raise_serial(),
        lambda state: state.adopt("f" * 32, 9),
    ],
)
def test_the_console_can_write_nothing_of_the_state_but_wishes_and_sessions(
    state_url: str, change: Callable[[State], object]
) -> None:
    with own(state_url) as state, shared(state_url) as console:
        state.ask(WISH)
        before = (state.identity(), state.requests(), state.rollouts())
        with pytest.raises(StateError, match=r"not authorized|prohibited"):
            change(console)
        assert (state.identity(), state.requests(), state.rollouts()) == before


def test_a_console_says_that_there_is_no_state_yet_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no state at"):
        shared(f"sqlite:///{tmp_path}/state.db")
    assert list(tmp_path.iterdir()) == []


def test_a_session_is_over_at_its_end_or_when_nobody_was_here(state_url: str) -> None:
    with own(state_url):
        pass
    with shared(state_url) as console:
        console.begin_session("s3cret", SESSION)
        assert console.session("s3cret", HOUR) == SESSION
        assert console.session("guess", HOUR) is None
    with shared(state_url, NOW + HOUR) as console:
        console.touch_session("s3cret")
    with shared(state_url, NOW + 2 * HOUR) as console:
        assert console.session("s3cret", HOUR) is not None
    with shared(state_url, NOW + 3 * HOUR) as console:
        assert console.session("s3cret", HOUR) is None
        assert console.session("s3cret", 3 * HOUR) is not None
        console.forget_sessions(HOUR)
        assert console.session("s3cret", 3 * HOUR) is None
    with shared(state_url) as console:
        console.begin_session("s3cret", SESSION)
        console.end_session("s3cret")
        assert console.session("s3cret", HOUR) is None


def test_the_secret_of_a_session_is_not_in_the_state(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    with own(url), shared(url) as console:
        console.begin_session("s3cret", SESSION)
    assert b"s3cret" not in (tmp_path / "state.db").read_bytes()


def test_snapshots_of_a_kind_are_replaced_together_and_have_the_digest_of_what_they_say(state_url: str) -> None:
    with own(state_url) as state, shared(state_url) as console:
        assert console.snapshot("status") is None
        state.keep_snapshots("group", {"a": {"n": 1}, "b": {"n": 2}})
        first = console.snapshot("group", "a")
        assert first is not None
        assert (first.at, first.document) == (NOW, {"n": 1})
        state.keep_snapshots("group", {"a": {"n": 1}, "c": {"n": "ü"}})
        again = console.snapshot("group", "a")
        assert again == first
        assert console.snapshot_names("group") == ["a", "c"]


def test_each_move_of_a_rollout_is_written_down_once(state_url: str) -> None:
    with own(state_url) as state:
        state.record_rollout(RECORD)
        state.record_rollout(replace(RECORD, passed=NOW))
        state.record_rollout(replace(RECORD, wave=2))
        state.record_rollout(replace(RECORD, wave=2, status="halted", reason="1 of 1 failed"))
        assert state.rollout_moves(RECORD.key) == [
            Move(status="running", wave=1, at=NOW, reason=""),
            Move(status="running", wave=2, at=NOW, reason=""),
            Move(status="halted", wave=2, at=NOW, reason="1 of 1 failed"),
        ]
        state.forget_rollouts("rules", "2")
        assert state.rollout_moves(RECORD.key) == []


def test_samples_are_given_by_component_and_time_and_forgotten_with_age(state_url: str) -> None:
    with own(state_url) as state:
        assert state.last_sample() is None
        taken = [Sample(at=NOW + n * HOUR, updated=n, outdated=0, ahead=0, unknown=1) for n in range(3)]
        for one in taken:
            state.keep_samples({"": one, "rules": one})
        assert state.samples("rules", NOW + HOUR) == taken[1:]
        assert state.last_sample() == NOW + 2 * HOUR
        state.forget_samples(NOW + 2 * HOUR)
        assert state.samples("", NOW) == taken[2:]


def test_progress_is_what_was_said_last(state_url: str) -> None:
    with own(state_url) as state, shared(state_url) as console:
        assert console.progress() is None
        said = RunProgress(run_id="r1", command="apply", started=NOW, step="wave 1 of 2", clients=8, finished=3)
        state.report_progress(said)
        assert console.progress() == said
        state.report_progress(None)
        assert console.progress() is None


def test_what_a_page_reads_is_of_one_moment_whatever_is_written_meanwhile(state_url: str) -> None:
    with own(state_url) as state, shared(state_url) as console:
        state.keep_snapshots("plan", {"": {"n": 1}})
        with console.looking():
            first = console.snapshot("plan")
            state.keep_snapshots("plan", {"": {"n": 2}})
            console.ask(WISH)
            assert console.snapshot("plan") == first
            assert console.requests_waiting() == 0
            elsewhere = ThreadPoolExecutor(1).submit(console.requests_waiting).result()
            assert elsewhere == 1
        again = console.snapshot("plan")
        assert again is not None
        assert again.document == {"n": 2}
        assert console.requests_waiting() == 1


def test_a_state_is_of_another_version_once_anybody_wrote_and_of_the_same_until_then(state_url: str) -> None:
    with own(state_url) as state, shared(state_url) as console:
        seen = [console.version(), console.version()]
        console.snapshot("plan")
        assert console.version() == seen[0] == seen[1]
        for write in (lambda: state.keep_snapshots("plan", {"": 1}), lambda: console.ask(WISH), state.ask_controller):
            write()
            assert console.version() not in seen
            seen.append(ThreadPoolExecutor(1).submit(console.version).result())
            assert console.version() == seen[-1]
