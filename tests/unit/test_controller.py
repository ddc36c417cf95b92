"""A controller: when it looks, what its modes let it do, what it says of itself, and what it forgets."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.controller import leading
from reconciler.controller.leading import await_lease, beating, why_not_well
from reconciler.controller.pace import LAST_RETRY, SHORTEST, next_look, next_retry
from reconciler.controller.round import Sources, allowed
from reconciler.errors import SpecError, StateError
from reconciler.model.controller import PHASES, ControllerReport, ControllerSpec, Pause
from reconciler.model.events import SourceRead, Trouble
from reconciler.model.report import JournalEntry, Traffic
from reconciler.specfile.load import load_spec
from reconciler.storage import holding
from reconciler.storage.holding import BEAT
from reconciler.storage.state import State
from tests.unit.situations import Situation, situations
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from reconciler.storage.lease import Lease

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SPEC = ControllerSpec()
CHANCES = st.floats(0, 1)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path, clock: Clock) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=clock) as opened:
        yield opened


# --- when -----------------------------------------------------------------------------------------------------------


@given(CHANCES, st.none() | st.timedeltas(timedelta(days=-1), timedelta(days=1)))
def test_it_looks_again_after_an_interval_or_when_a_step_is_due_and_never_at_once(
    chance: float, due: timedelta | None
) -> None:
    at = next_look(SPEC, NOW, None if due is None else NOW + due, chance)
    assert NOW + SHORTEST <= at <= NOW + SPEC.interval * 1.1
    if due is not None and SHORTEST <= due < SPEC.interval * 0.9:
        assert at == NOW + due
    if due is None:
        assert at >= NOW + SPEC.interval * 0.9


@given(CHANCES, st.integers(1, 10_000))
def test_after_failures_it_looks_later_and_later_but_always_again(chance: float, failures: int) -> None:
    at = next_retry(SPEC, NOW, failures, chance)
    assert NOW < at <= NOW + LAST_RETRY * 1.1
    assert next_retry(SPEC, NOW, failures + 1, chance) >= at


# --- what -----------------------------------------------------------------------------------------------------------


@given(situations())
def test_who_only_observes_changes_nothing_and_still_tells_what_it_found(situation: Situation) -> None:
    plan = situation.plan()
    nothing = allowed(plan, "observe")
    assert not nothing.due
    assert (nothing.drift, nothing.deferred, nothing.problems) == (plan.drift, plan.deferred, plan.problems)
    assert allowed(plan, "apply") == plan


@given(situations())
def test_who_needs_approval_goes_on_with_what_is_on_its_way_and_begins_nothing(situation: Situation) -> None:
    plan = situation.plan()
    going = {key[:2] for key in situation.records}
    some = allowed(plan, "approve")
    assert {deploy.about for deploy in some.deploys if deploy.reason != "rolled_back"} <= going
    assert {step.record.key[:2] for step in some.rollouts} <= going
    assert (some.settings, some.claims) == ((), ())


# --- the spec -------------------------------------------------------------------------------------------------------


def spec_of(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "updoser.yaml"
    path.write_text(f"version: 1\n{text}\n", encoding="utf-8")
    return load_spec(path).controller


def test_a_spec_says_how_often_and_what(tmp_path: Path) -> None:
    assert spec_of(tmp_path, "") == ControllerSpec()
    found = spec_of(tmp_path, "controller: {mode: observe, interval: 1m, jitter: 20%, look: 1h, retention: {runs: 7d}}")
    assert (found.mode, found.interval, found.jitter) == ("observe", timedelta(minutes=1), 0.2)
    assert (found.look, found.retention.runs) == (timedelta(hours=1), timedelta(days=7))
    assert found.retention.plans == timedelta(days=30)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("controller: {interval: 0s}", "no time at all"),
        ("controller: {mode: sometimes}", "apply"),
        ("controller: {interval: 1h, look: 5m}", "more often than the rest"),
        ("controller: {every: 5m}", "every"),
    ],
)
def test_a_controller_that_cannot_be_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        spec_of(tmp_path, text)
    assert caught.value.problems[0].line == 2


# --- what the state remembers of it ---------------------------------------------------------------------------------


def test_what_it_says_of_itself_and_what_people_want_is_remembered(state: State) -> None:
    assert (state.controller(), state.paused(), state.asked()) == (None, None, 0)
    for phase in PHASES:
        said = ControllerReport(who="ops", phase=phase, mode="apply", since=NOW, next_at=NOW, trouble="no", failures=2)
        state.report_controller(said)
        assert state.controller() == said
    pause = Pause(who="ann", reason="audit", since=NOW)
    state.pause_controller(pause)
    assert state.paused() == pause
    state.ask_controller()
    assert state.asked() == 1
    state.pause_controller(None)
    assert state.paused() is None
    assert state.controller() is not None


def test_a_pause_ends_by_itself(state: State, clock: Clock) -> None:
    state.pause_controller(Pause(who="ann", reason="audit", since=NOW, until=NOW + timedelta(hours=1)))
    assert state.paused() is not None
    clock.now += timedelta(hours=1)
    assert state.paused() is None


def test_what_nobody_wrote_there_is_damage_of_the_state(state: State) -> None:
    state.pause_controller(None)
    for text in ("[]", '{"who": 1}', "{"):
        with state._engine.begin() as connection:
            connection.exec_driver_sql("UPDATE controller SET pause = ?, report = ?", (text, text))
        for read in (state.paused, state.controller):
            with pytest.raises(StateError):
                read()


def run_of(state: State, name: str, at: datetime, sent: int) -> None:
    state.record_plan(f"plan-{name}", "", 1, at)
    state.begin_run(name, f"plan-{name}", "apply", at)
    entry = JournalEntry(
        client="a",
        group="g",
        component="rules",
        from_version="",
        to_version="1",
        outcome="changed",
        message="",
        bytes=sent,
        at=at,
    )
    state.journal(name, [entry])
    state.end_run(name, "done", {"bytes_sent": sent}, at)


@given(st.lists(st.integers(0, 10), max_size=6, unique=True), st.integers(0, 12), st.integers(0, 12))
def test_what_is_forgotten_is_old_and_the_sums_of_all_runs_stay(
    tmp_path_factory: pytest.TempPathFactory, days: list[int], before: int, again: int
) -> None:
    folder = tmp_path_factory.mktemp("state")
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
        for day in days:
            run_of(state, f"r{day}", NOW - timedelta(days=day), 1 + day)
        total = state.traffic()
        for limit in (before, again):
            state.forget_runs(NOW - timedelta(days=limit), NOW - timedelta(days=limit))
            assert state.traffic() == total == Traffic(sent=sum(1 + day for day in days))
        kept = {day for day in days if day <= min(before, again) or day == min(days)}
        assert {run.run_id for run in state.runs(20)} == {f"r{day}" for day in kept}
        for day in days:
            assert bool(state.journal_of(f"r{day}")) == (day in kept)
            assert (state.plan_record(f"plan-r{day}") is None) == (day > min(before, again))


def test_a_plan_that_is_under_way_is_not_forgotten(state: State) -> None:
    state.record_plan("p", "", 1, NOW - timedelta(days=99))
    state.start_plan("p")
    state.forget_runs(NOW, NOW)
    assert state.plan_record("p") is not None


# --- who leads ------------------------------------------------------------------------------------------------------


class Waits(Event):
    """An event that is waited for without waiting: so often, and then it is set."""

    def __init__(self, rounds: int, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._rounds = rounds
        self._meanwhile = meanwhile

    def wait(self, timeout: float | None = None) -> bool:
        self._rounds -= 1
        self._meanwhile()
        if self._rounds <= 0:
            self.set()
        return self.is_set()


def test_a_controller_waits_for_the_one_that_leads_and_says_so_once(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = state.take_lease()
    assert held is not None
    told: list[Lease] = []
    watch = count(step=BEAT)
    monkeypatch.setattr(leading, "time", SimpleNamespace(monotonic=lambda: next(watch)))
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as other:
        assert await_lease(other, Waits(50, lambda: state.beat(held.generation)), told.append) is None
        assert [lease.generation for lease in told] == [held.generation]
        taken = await_lease(other, Waits(50, lambda: None), told.append)  # nobody beats any more
        assert taken is not None
        assert taken.generation == held.generation + 1


def test_who_loses_the_lease_is_stopped(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BEAT", 0.01)
    lease = state.take_lease()
    assert lease is not None
    stop, lost = Event(), Event()

    def opened() -> State:
        return State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW)

    with beating(opened, lease, stop, lost):
        taken = None
        while taken is None:  # it may beat in between
            taken = state.take_lease(state.lease())
        assert stop.wait(PATIENCE)
    assert lost.is_set()
    assert state.lease().generation == taken.generation
    assert state.lease().holder  # it isn't given back by who lost it


def test_who_ends_gives_the_lease_back(tmp_path: Path, state: State) -> None:
    lease = state.take_lease()
    assert lease is not None
    stop, lost = Event(), Event()
    with beating(lambda: State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW), lease, stop, lost):
        pass
    assert (state.lease().holder, lost.is_set()) == ("", False)


# --- whether it is well ---------------------------------------------------------------------------------------------


def not_well(state: State, clock: Clock) -> str:
    return why_not_well(state, timedelta(minutes=5), clock, Event(), look=0.001)


def sleeping(until: datetime) -> ControllerReport:
    return ControllerReport(who="ops", phase="sleeping", mode="apply", since=NOW, next_at=until)


class Beating(Event):
    """An event for which is waited between two looks at the state; the controller beats meanwhile."""

    def __init__(self, state: State, generation: int) -> None:
        super().__init__()
        self._beat = partial(state.beat, generation)

    def wait(self, timeout: float | None = None) -> bool:
        self._beat()
        return super().wait(timeout)


def test_where_none_ever_ran_or_the_last_one_ended_none_is_well(state: State, clock: Clock) -> None:
    assert not_well(state, clock) == "no controller runs on this state"
    lease = state.take_lease()
    assert lease is not None
    state.report_controller(sleeping(NOW))
    state.give_back_lease(lease.generation)
    why = "no controller runs on this state; ops was the last one: sleeping until 2026-11-24 12:00:00 UTC"
    assert not_well(state, clock) == why


def test_who_gives_no_sign_of_life_is_not_well_and_who_beats_is(
    state: State, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leading, "PATIENCE", 0.05)
    lease = state.take_lease()
    assert lease is not None
    assert "no sign of life" in not_well(state, clock)
    monkeypatch.setattr(leading, "PATIENCE", 60.0)
    assert why_not_well(state, timedelta(minutes=5), clock, Beating(state, lease.generation), look=0.001) == ""


def test_who_beats_and_does_not_look_when_it_said_it_would_is_not_well(state: State, clock: Clock) -> None:
    lease = state.take_lease()
    assert lease is not None
    state.report_controller(sleeping(NOW - timedelta(minutes=6)))
    beats = Beating(state, lease.generation)
    says = why_not_well(state, timedelta(minutes=5), clock, beats, look=0.001)
    assert says == "the controller was to look at 2026-11-24 11:54:00 UTC, and didn't: ops"
    state.report_controller(sleeping(NOW - timedelta(minutes=4)))
    assert why_not_well(state, timedelta(minutes=5), clock, beats, look=0.001) == ""


def test_a_source_that_fails_again_as_before_is_told_once_and_again_when_it_fails_otherwise() -> None:
    sources = Sources()

    def level(what: str, level: Any = "warning", source: str = "drop") -> str:
        return sources.heard(SourceRead(f"source {source}: {what}", level=level, source=source)).level

    assert [level("no answer"), level("no answer"), level("no answer")] == ["warning", "info", "info"]
    assert level("no answer", source="other") == "warning"
    assert level("HTTP 500") == "warning"
    assert level("3 releases", "info") == "info"
    assert level("HTTP 500") == "warning"
    said = Trouble("no answer")
    assert [sources.heard(said), sources.heard(said)] == [said, said]
