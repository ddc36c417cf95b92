"""The end of a run in numbers: each client once, under the worst that happened to it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import AuthenticationError, ClientError, ProtocolError, TransportError
from reconciler.execute.deploy import Task
from reconciler.execute.tally import Tally
from reconciler.model.change import Download
from reconciler.model.client import Client
from reconciler.model.deploy import Outcome, Step
from reconciler.model.plan import Basis, Plan
from reconciler.model.report import RECAP
from tests.fakes import NOW, describe
from tests.unit.deploying import result_with

PLAN = Plan("p", NOW, Basis("l", 1, 0, "s", "c"))
FILES = (describe("big", b"x" * 100), describe("small", b"y" * 7))
ANSWERS = ("failed", "stale", "skipped", "changed", "ok")
"""What a client can answer, the worst first."""


def result(*statuses: Any, error: Any = None, kept: Any = (), name: str = "pc", group: str = "g") -> Any:
    """Make the result of a client with a step for each status."""
    steps = tuple(
        Step(
            component=f"part{at}",
            from_version="1",
            from_digest="a",
            to_version="2",
            to_digest="b",
            files=FILES,
            kept={name: name for name in kept},
        )
        for at, _status in enumerate(statuses)
    )
    outcomes = tuple(
        Outcome(step.component, status, "2", "b", "why") for step, status in zip(steps, statuses, strict=True)
    )
    return result_with(Task(Client(name, group), steps, None), *outcomes, bytes_sent=10 * len(steps), error=error)


def report(tally: Any, **more: Any) -> Any:
    return tally.report("r", PLAN, NOW, NOW, **{"interrupted": False, **more})


def counted(made: Any, group: str = "g") -> Any:
    return {name: count for name, count in made.recap[group].items() if count}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3)), max_size=8)
)
def test_each_client_counts_once_under_the_worst_of_all_its_steps(given_: Any) -> None:
    tally, worst = Tally(["g"]), {}  # type: ignore[var-annotated]
    for name, statuses in given_:
        assert tally.add(result(*statuses, name=name)) == min(statuses, key=ANSWERS.index)
        worst[name] = min(*statuses, worst.get(name, "ok"), key=ANSWERS.index)
    made = report(tally)
    assert {name: made.total(name) for name in RECAP} == {name: [*worst.values()].count(name) for name in RECAP}


def test_what_was_tried_in_a_step_is_known_in_the_next() -> None:
    tally = Tally(["g"])
    tally.add(result("failed", "ok"))
    assert tally.was_tried("pc", "part0", "2")
    assert tally.was_tried("pc", "part1", "2")
    assert not tally.was_tried("pc", "part0", "3")
    assert not tally.was_tried("other", "part0", "2")
    assert tally.counted("pc")


def test_a_client_whose_rollout_was_halted_before_its_turn_was_not_attempted() -> None:
    tally = Tally(["g"])
    assert tally.add(result()) == "not_attempted"
    assert not tally.counted("pc")
    assert not tally.was_tried("pc", "part0", "2")
    assert report(tally).recap == {}


def test_a_change_of_the_store_is_tried_once_in_a_run() -> None:
    tally, change = Tally(["g"]), Download("rules", "1", "2", "b", "any", "drop", 5, "outdated")
    assert tally.is_new(change)
    assert not tally.is_new(change)


def test_what_was_sent_before_its_time_is_a_change_that_saved_bytes_too() -> None:
    tally = Tally(["g"])
    assert tally.add(result("staged", kept={"big"})) == "changed"
    made = report(tally)
    assert (counted(made), made.bytes_saved) == ({"changed": 1}, 97)


def test_a_client_that_was_silent_at_a_later_look_is_told_by_what_was_done_with_it() -> None:
    tally = Tally(["g"])
    tally.add(result("changed"))
    tally.unreachable("pc", "g", "no connection: x", "connection")
    tally.failed("pc", "g", "client failed: x", "client")
    made = report(tally)
    assert (counted(made), made.failed, made.unreachable) == ({"changed": 1}, (), ())


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TransportError("no"), "unreachable"),
        (AuthenticationError("no"), "unreachable"),
        (ClientError("no"), "failed"),
        (ProtocolError("no"), "failed"),
    ],
)
def test_an_error_counts_as_what_it_says_of_the_client(error: Any, outcome: str) -> None:
    tally = Tally(["g"])
    assert tally.add(result("changed", error=error)) == outcome
    made = report(tally)
    (failure,) = made.unreachable if outcome == "unreachable" else made.failed
    assert (failure.client, failure.component, failure.message) == ("pc", "", error.brief)
    assert counted(made) == {outcome: 1}


def test_every_component_that_failed_is_named_and_the_client_counts_once() -> None:
    tally = Tally(["g"])
    tally.add(result("failed", "changed", "failed"))
    made = report(tally)
    assert [(failure.component, failure.message) for failure in made.failed] == [("part0", "why"), ("part2", "why")]
    assert counted(made) == {"failed": 1}


def test_bytes_are_saved_only_where_something_was_sent_instead() -> None:
    tally = Tally(["g"])
    for status in ("changed", "ok", "failed", "stale"):
        tally.add(result(status, kept={"big"}, name=status))
    made = report(tally)
    assert (made.bytes_sent, made.bytes_saved) == (40, 97)


def test_downloads_and_silent_clients_are_counted_too() -> None:
    tally = Tally(["g"])
    tally.downloaded(5)
    tally.downloaded(6)
    tally.server_failed("rules", "it is damaged")
    tally.unreachable("a", "g", "no connection: x", "connection")
    tally.failed("b", "h", "client failed: x", "client")
    made = report(tally)
    assert (made.downloaded, made.bytes_received) == (2, 11)
    assert [(failure.client, failure.component) for failure in made.failed] == [("", "rules"), ("b", "")]
    assert [failure.client for failure in made.unreachable] == ["a"]
    assert (counted(made), counted(made, "h")) == ({"unreachable": 1}, {"failed": 1})


def test_groups_in_which_nothing_happened_are_left_out_and_the_run_is_named() -> None:
    tally = Tally(["g", "quiet"])
    tally.count("g", "ok", 3)
    tally.count("quiet", "ok", 0)
    made = report(tally, interrupted=True)
    assert list(made.recap) == ["g"]
    assert set(made.recap["g"]) == set(RECAP)
    assert (made.run_id, made.plan_id, made.interrupted) == ("r", "p", True)
