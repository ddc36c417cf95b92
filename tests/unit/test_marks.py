"""A client that is as it was says so by its mark: what is remembered of that, and what ends it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.client.facts import read_look
from reconciler.contracts import Completed
from reconciler.dispatch.flow import Flow
from reconciler.errors import ProtocolError
from reconciler.model.batch import Answer
from reconciler.model.client import Client, Facts, Same
from reconciler.model.mark import LASTS, SETTLES, WANTED, asked_for, compares, to_remember
from reconciler.model.question import Question
from reconciler.observe.clients import look
from tests.fakes import NOW, FakeSession
from tests.postgres import BOTH

if TYPE_CHECKING:
    from tests.unit.workbench import Bench, Opened

BENCHES_ON = BOTH
MARK, OTHER = "a" * 40, "b" * 40
HAS = ("fingerprint", "settings")


@pytest.fixture
def bench(opened: Opened) -> Bench:
    return opened(["a"])


def looks(bench: Bench, count: int = 1, **options: Any) -> list[str]:
    """Plan some times, half an hour apart, and give which answers of the client these took."""
    machine, found = bench.machines["a"], []
    for _ in range(count):
        before = machine.calls.copy()
        bench.now += timedelta(minutes=30)
        bench.plan(**options)
        found += [
            "same" if name == "same" else "facts" for name in ("same", "facts") if machine.calls[name] > before[name]
        ]
    return found


def test_a_client_is_looked_at_until_it_was_found_the_same_twice_and_then_asked(bench: Bench) -> None:
    assert looks(bench, 6) == ["facts", "facts", "facts", "same", "same", "same"]


def test_a_day_later_it_is_looked_at_once_more_and_then_asked_again(bench: Bench) -> None:
    looks(bench, 3)
    day = looks(bench, 52)
    assert day.count("facts") == 1
    assert day[-1] == "same"


def test_what_changes_on_it_is_seen_at_once(bench: Bench) -> None:
    looks(bench, 4)
    bench.machines["a"].damage("rules", "data", b"other")
    assert looks(bench) == ["facts"]
    (profile,) = bench.state.profiles().values()
    assert profile.installed[0].damage
    assert looks(bench, 2) == ["facts", "same"]
    assert list(bench.state.profiles().values()) == [profile]


def test_who_asks_for_everything_to_be_hashed_gets_that(bench: Bench) -> None:
    looks(bench, 4)
    bench.machines["a"].damage("rules", "data", b"other", hidden=True)
    assert looks(bench) == ["same"]
    assert looks(bench, verify=True) == ["facts"]
    (profile,) = bench.state.profiles().values()
    assert profile.installed[0].damage
    assert looks(bench) == ["facts"], "what was known when the mark was made isn't what is known now"


def test_what_a_run_brings_to_it_ends_its_mark(bench: Bench) -> None:
    looks(bench, 4)
    bench.release("2")
    bench.apply()
    assert looks(bench, 4) == ["facts", "facts", "facts", "same"]
    assert bench.machines["a"].version("rules") == "2"


def test_a_client_that_was_silent_meanwhile_is_asked_when_it_is_back(bench: Bench) -> None:
    looks(bench, 4)
    bench.machines["a"].unreachable = True
    looks(bench)
    assert next(bench.state.rows()).error
    bench.machines["a"].unreachable = False
    assert looks(bench) == ["same"]
    row = next(bench.state.rows())
    assert (row.error, row.failing_since) == ("", None)
    assert bench.state.came_back() == {"a": bench.now}


def test_a_worker_that_says_the_same_of_a_client_that_nobody_compares_is_not_believed(bench: Bench) -> None:
    looks(bench, 4)
    (before,) = bench.state.profiles()
    same = FakeSession("a", bench.machines["a"]).look_again("/r", asked(bench))
    assert isinstance(same, Same)
    said = Answer(batch="b", attempt=1, client="a", same=same)
    for verify, error in ((False, ""), (True, "the same as what nobody compared it with")):
        with bench.work() as work, patch.object(Flow, "answers", lambda _flow, jobs: ((job, said) for job in jobs)):
            (seen,) = look([Client("a", "g")], work, forks=1, verify=verify)
        assert error in seen.error
        assert (bool(seen.error), seen.same) == (bool(error), not error)
    assert list(bench.state.profiles()) == [before]


def asked(bench: Bench) -> str:
    entry = bench.state.marks(["a"])["a"]
    return asked_for(entry.mark, bench.now, entry.fingerprint, entry.settings)


def test_one_whose_engine_is_asked_is_looked_at_each_time(bench: Bench) -> None:
    looks(bench, 4)
    bench.component(loaded=Question("echo 1"))
    assert looks(bench, 3) == ["facts"] * 3


def test_its_room_is_told_with_each_answer(bench: Bench) -> None:
    looks(bench, 4)
    bench.machines["a"].free = 12345
    assert looks(bench) == ["same"]
    with bench.state._read() as connection:
        assert connection.exec_driver_sql("SELECT free FROM clients").scalar() == 12345


@given(st.text(max_size=100), st.datetimes(), st.sampled_from([None, "f"]), st.text(max_size=5))
def test_whatever_is_remembered_asks_for_what_a_client_understands(
    text: str, now: Any, has: Any, settings: str
) -> None:
    now = now.replace(tzinfo=NOW.tzinfo)
    assert not compares(asked_for(text, now, has, settings))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([MARK, OTHER, f"{MARK}+"]), st.integers(-100_000, 200_000), st.sampled_from(["f", "g"])
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_mark_is_believed_only_when_it_was_said_twice_in_time_and_for_the_same(steps: Any) -> None:
    text, now = WANTED, NOW
    said: list[tuple[tuple[str, str], datetime]] = []
    for mark, later, has in steps:
        now += timedelta(seconds=later)
        asked = asked_for(text, now, has, "")
        if compares(asked):
            before = [(entry, at) for entry, at in said if entry == (asked, has)]
            assert said[-1][0] == (asked, has)
            assert any(at - earlier >= SETTLES for _, earlier in before for _, at in before)
            assert timedelta(0) <= now - said[-1][1] + timedelta(seconds=1)
            assert now - said[-1][1] <= LASTS + timedelta(seconds=1)
        if asked != mark:
            text = to_remember(mark, text, now, has, "")
            said.append(((mark, has), now))


def test_marks_said_in_the_same_instant_are_not_believed() -> None:
    first = to_remember(MARK, WANTED, NOW, *HAS)
    again = to_remember(MARK, first, NOW + timedelta(seconds=1), *HAS)
    assert asked_for(again, NOW + timedelta(seconds=1), *HAS) == f"{MARK}?"
    later = to_remember(MARK, again, NOW + SETTLES, *HAS)
    assert asked_for(later, NOW + SETTLES, *HAS) == MARK


def answer(text: str) -> Completed:
    return Completed(status=0, stdout=text.encode(), stderr=b"")


FACTS = "updoser 1 facts\nplatform Linux x86_64\nfree 10\n"


def test_a_client_says_that_it_is_the_same_only_when_it_was_asked() -> None:
    said = answer("updoser 1 same\nfree 10\nend\n")
    assert read_look(said, MARK) == Same(10 * 1024)
    for asked in (WANTED, f"{MARK}?", ""):
        with pytest.raises(ProtocolError):
            read_look(said, asked)


@pytest.mark.parametrize("lines", ["", "free x\n", "free 1\nfree 2\n", "free 99999999999999999999\n", "room 1\n"])
def test_a_malformed_answer_is_refused(lines: str) -> None:
    with pytest.raises(ProtocolError):
        read_look(answer(f"updoser 1 same\n{lines}end\n"), MARK)


@pytest.mark.parametrize("mark", ["abc +", f"{'A' * 64} +", "a" * 64, f"{'a' * 64} x", f"{'a' * 64} + +"])
def test_a_malformed_mark_is_refused(mark: str) -> None:
    with pytest.raises(ProtocolError):
        read_look(answer(f"{FACTS}mark {mark}\nend\n"), WANTED)


def test_the_mark_of_a_client_that_could_list_nothing_is_none() -> None:
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    found = read_look(answer(f"{FACTS}mark {nothing} -\nend\n"), WANTED)
    assert isinstance(found, Facts)
    assert found.mark == ""
