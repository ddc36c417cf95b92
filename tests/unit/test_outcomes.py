"""What became of clients is written down for many at once, and counts once."""

from datetime import timedelta
from typing import Any, cast

import pytest

from reconciler.model.client import Client, Installed, Profile
from reconciler.model.deploy import MACHINE, RELEASE
from reconciler.model.report import Asked, JournalEntry
from reconciler.model.spec import Quarantine
from reconciler.storage import runs
from reconciler.storage.observations import Observation
from reconciler.storage.outcomes import ClientOutcome, Fared
from reconciler.storage.state import State
from tests.fakes import NOW

NAMES = [f"client-{number}" for number in range(20)]
KEY, OTHER = ("pattern", "2", ""), ("engine", "9", "all")
QUARANTINE = Quarantine(after_failures=2, span=timedelta(hours=1))
PROFILE = Profile("linux-x86_64", (Installed("pattern", "2", "0" * 64),))


@pytest.fixture
def state(any_state: State) -> State:
    any_state.sync_clients("all", [Client(name=name, group="all") for name in NAMES])
    any_state.begin_run("r-0", "p-0", "apply", NOW)
    any_state.journal("r-0", [entry(NAMES[0], "pattern")])
    any_state.begin_run("r-1", "p-1", "apply", NOW)
    return any_state


def entry(client: str, component: str, outcome: Any = "changed", **fields: Any) -> JournalEntry:
    made = {"from_version": "1", "to_version": "2", "at": NOW, **fields}
    return JournalEntry(client=client, group="all", component=component, outcome=outcome, **made)


def outcome(client: str, *components: str, **fields: Any) -> ClientOutcome:
    return ClientOutcome(client=client, entries=tuple(entry(client, one) for one in components), **fields)


def journal(state: State) -> list[tuple[str, str]]:
    return [(one.client, one.component) for one in state.journal_of("r-1")]


def test_all_of_many_clients_is_in_the_state_at_once(state: State) -> None:
    seen = Observation(client=NAMES[1], profile=PROFILE, free=None, error="", at=NOW)
    some = [
        outcome(NAMES[0], "pattern", "engine", failed=False),
        outcome(NAMES[1], "pattern", observation=seen, failed=False),
        outcome(NAMES[2], "pattern", failed=True, fared=(Fared(KEY, "it's broken"), Fared(OTHER, "no room", MACHINE))),
    ]
    note = JournalEntry(outcome="remark", message="said", at=NOW)
    assert state.record_outcomes("r-1", some, QUARANTINE, others=[note]) == some
    assert journal(state) == [
        ("", ""),
        *((NAMES[0], component) for component in ("pattern", "engine")),
        *((name, "pattern") for name in NAMES[1:3]),
    ]
    assert state.seen()[NAMES[1]].fingerprint == PROFILE.fingerprint
    assert state.rollout_failures() == {KEY: {NAMES[2]: "it's broken"}}
    assert state.rollout_failures(MACHINE) == {OTHER: {NAMES[2]: "no room"}}
    assert state.outcomes(Asked(client=NAMES[1], run_id="r-1"), 9)[0][1] == entry(NAMES[1], "pattern")


def test_what_comes_twice_counts_once(state: State) -> None:
    failed = outcome(NAMES[0], "pattern", failed=True, fared=(Fared(KEY, "broken"),))
    assert state.record_outcomes("r-1", [failed, failed], QUARANTINE) == [failed]
    state.forget_failures(KEY)
    assert state.record_outcomes("r-1", [failed], QUARANTINE) == []
    assert journal(state) == [(NAMES[0], "pattern")]
    assert state.rollout_failures() == {}
    assert state.quarantined(NOW, QUARANTINE.span) == ()
    assert len(state.journal_of("r-0")) == 1


def test_of_what_comes_in_parts_only_what_is_new_counts(state: State) -> None:
    state.record_outcomes("r-1", [outcome(NAMES[0], "pattern", failed=True)], QUARANTINE)
    again = outcome(NAMES[0], "pattern", "engine", failed=True)
    (new,) = state.record_outcomes("r-1", [again], QUARANTINE)
    assert [one.component for one in new.entries] == ["engine"]
    assert journal(state) == [(NAMES[0], "pattern"), (NAMES[0], "engine")]
    assert state.quarantined(NOW, QUARANTINE.span) == ()


def test_another_step_and_another_run_count_again(state: State) -> None:
    same = outcome(NAMES[0], "", failed=True)
    assert state.record_outcomes("r-1", [same], QUARANTINE, step=1)
    assert state.record_outcomes("r-1", [same], QUARANTINE, step=2)
    state.begin_run("r-2", "p-2", "apply", NOW)
    assert state.record_outcomes("r-2", [same], QUARANTINE, step=1)
    (left_alone,) = state.quarantined(NOW, QUARANTINE.span)
    assert (left_alone.client, left_alone.failures) == (NAMES[0], 3)
    assert left_alone.until == NOW + QUARANTINE.span


def test_who_is_well_again_has_no_failures_and_no_quarantine(state: State) -> None:
    for step in (1, 2):
        many = [outcome(name, "pattern", failed=True, fared=(Fared(KEY, "broken"),)) for name in NAMES]
        state.record_outcomes("r-1", many, QUARANTINE, step=step)
    assert len(state.quarantined(NOW, QUARANTINE.span)) == len(NAMES)
    well = [outcome(name, "pattern", failed=False, fared=(Fared(KEY),)) for name in NAMES[1:]]
    state.record_outcomes("r-1", well, QUARANTINE, step=3)
    assert [one.client for one in state.quarantined(NOW, QUARANTINE.span)] == NAMES[:1]
    assert state.rollout_failures(RELEASE) == {KEY: {NAMES[0]: "broken"}}


def test_nobody_is_left_alone_where_that_isnt_asked_for(state: State) -> None:
    for step in range(5):
        state.record_outcomes("r-1", [outcome(NAMES[0], "pattern", failed=True)], Quarantine(), step=step)
    assert state.quarantined(NOW, QUARANTINE.span) == ()
    assert state.lines_of(NAMES[:1])[NAMES[0]].failures == 5


def test_what_doesnt_count_as_failed_or_well_leaves_the_count(state: State) -> None:
    state.record_outcomes("r-1", [outcome(NAMES[0], "pattern", failed=True)], QUARANTINE, step=1)
    state.record_outcomes("r-1", [outcome(NAMES[0], "pattern")], QUARANTINE, step=2)
    assert state.lines_of(NAMES[:1])[NAMES[0]].failures == 1


def test_either_all_of_it_is_written_or_nothing(state: State) -> None:
    broken = Observation(client=NAMES[1], profile=None, free=None, error="x", at=cast("Any", None))
    some = [outcome(NAMES[0], "pattern"), outcome(NAMES[1], "pattern", observation=broken)]
    with pytest.raises(AttributeError):
        state.record_outcomes("r-1", some, QUARANTINE)
    assert journal(state) == []


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_old_runs_are_forgotten_in_pieces_and_their_sums_stay(
    any_state: State, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(runs, "FORGOTTEN_AT_ONCE", at_once)
    for number in range(4):
        at = NOW - timedelta(days=9 - number)
        any_state.begin_run(f"r-{number}", "p", "apply", at)
        any_state.journal(f"r-{number}", [entry(name, "pattern") for name in NAMES[: 2 * number]])
        any_state.end_run(f"r-{number}", "done", {"bytes_sent": 10**number}, at)
    assert any_state.forget_runs(NOW - timedelta(days=6), NOW) == 3
    assert [run.run_id for run in any_state.runs(9)] == ["r-3"]
    assert [len(any_state.journal_of(f"r-{number}")) for number in range(4)] == [0, 0, 0, 6]
    assert any_state.traffic().sent == 1111


def test_what_was_forgotten_in_part_goes_on_to_be(any_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        any_state.begin_run(f"r-{number}", "p", "apply", NOW - timedelta(days=9 - number))
        any_state.journal(f"r-{number}", [entry(name, "pattern") for name in NAMES])
    monkeypatch.setattr(runs, "FORGOTTEN_AT_ONCE", 7)
    assert any_state._forget_some(NOW) == (0, True)
    assert len(any_state.journal_of("r-0")) == len(NAMES) - 7
    assert any_state.forget_runs(NOW, NOW) == 1
    assert any_state.journal_of("r-0") == []
