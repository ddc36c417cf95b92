"""Time to protection: when most clients had a release, from when it was first offered."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.model.policy import Limits, Wave
from reconciler.model.protection import MILESTONES, PERCENT, Protection
from reconciler.model.question import Question
from reconciler.model.report import Asked
from reconciler.observe.observed import Sight
from reconciler.planning import status_of
from reconciler.present.document import outcomes_document, status_document
from reconciler.present.history_text import outcomes_text
from reconciler.present.prometheus import status_prometheus
from reconciler.present.status_markdown import status_markdown
from reconciler.present.status_rows import protection_lines
from reconciler.present.status_text import status_text
from tests.fakes import NOW
from tests.postgres import BOTH
from tests.unit.test_documents import schema
from tests.unit.workbench import COMPONENT, Bench, Opened

BENCHES_ON = BOTH

MINUTE = timedelta(minutes=1)


@pytest.fixture
def bench(opened: Opened) -> Bench:
    return opened({"g": 20})


def waves(*shares: float) -> tuple[Wave, ...]:
    return tuple(Wave(share=share, soak=10 * MINUTE, limits=Limits(min_attempted=1)) for share in shares)


def reached(bench: Bench, version: str = "2") -> list[int | None]:
    """Give the minutes until each milestone."""
    known = bench.state.protections().get((COMPONENT, version))
    return [] if known is None else [s if (s := known.seconds(name)) is None else s // 60 for name in MILESTONES]


def test_each_share_of_a_fleet_is_protected_when_so_many_of_it_have_the_release(bench: Bench) -> None:
    bench.policy(waves=waves(0.5, 0.95, 1.0))
    bench.release("2")
    bench.apply()
    assert reached(bench) == [0, None, None]
    bench.now += 15 * MINUTE
    bench.apply()
    assert reached(bench) == [0, 15, None]
    bench.now += 15 * MINUTE
    bench.apply()
    assert reached(bench) == [0, 15, 30]


def test_what_was_reached_stays_so_whatever_clients_lose_later(bench: Bench) -> None:
    bench.release("2")
    bench.apply()
    assert reached(bench) == [0, 0, 0]
    for machine in bench.machines.values():
        machine.components.clear()
    bench.now += 60 * MINUTE
    bench.apply()
    assert reached(bench) == [0, 0, 0]


def test_clients_that_are_off_are_not_protected(bench: Bench) -> None:
    for name in ("g-0", "g-1"):
        bench.machines[name].unreachable = True
    bench.release("2")
    bench.apply()
    assert reached(bench) == [0, None, None]
    bench.machines["g-0"].unreachable = False
    bench.now += 60 * MINUTE
    bench.apply()
    assert reached(bench) == [0, 60, None]


def test_who_has_a_later_release_has_those_before_it_too(bench: Bench) -> None:
    bench.policy(waves=waves(0.5, 1.0), newer="supersede")
    bench.release("2")
    bench.apply()
    bench.release("3")
    bench.now += 60 * MINUTE
    bench.policy(waves=waves(1.0), newer="supersede")
    bench.apply()
    assert reached(bench) == [0, 60, 60]
    assert reached(bench, "3") == [0, 0, 0]


def test_a_release_counts_once_it_is_loaded_where_engines_are_asked(bench: Bench) -> None:
    bench.component(loaded=Question("engine"))
    for machine in bench.machines.values():
        machine.engines = {COMPONENT: "1"}
    bench.release("2")
    bench.apply()
    assert reached(bench) == [None, None, None]
    for name in list(bench.machines)[:19]:
        bench.machines[name].engines = {}
    bench.now += 20 * MINUTE
    bench.apply()
    assert reached(bench) == [20, 20, None]
    assert bench.state.protections()[COMPONENT, "2"].loads


def test_a_release_that_most_had_before_anybody_counted_is_not_followed(bench: Bench) -> None:
    assert reached(bench, "1") == [0, 0, 0]
    bench.state.forget_protections(bench.now + MINUTE)
    bench.now += timedelta(days=3)
    bench.apply()
    assert reached(bench, "1") == []


def test_a_status_and_the_history_of_a_component_say_how_fast_the_fleet_was(bench: Bench) -> None:
    bench.policy(waves=waves(0.5, 1.0))
    bench.release("2")
    bench.now += 5 * MINUTE
    bench.apply()
    with bench.work() as work:
        document = status_document(status_of(work, Sight(refresh=False)))
        history = outcomes_document(
            Asked(component=COMPONENT),
            work.state.outcomes(Asked(component=COMPONENT), 3),
            work.state.protections().values(),
        )
    Draft202012Validator(schema("status")).validate(document)
    Draft202012Validator(schema("history")).validate(history)
    told = document["components"][0]["protection"]
    assert (told["version"], told["half"], told["most"], told["nearly"], told["loads"]) == ("2", 0, None, None, False)
    for text in (status_text(document), status_markdown(document)):
        assert (
            f"time to protection: rules 2: 50 % in 0 s, not yet 95 % of the clients (offered {told['began']})" in text
        )
    lines = [line for line in status_prometheus(document).splitlines() if line.startswith("updoser_time_to")]
    assert lines == ['updoser_time_to_protection_seconds{component="rules",version="2",share="0.5"} 0']
    shown = outcomes_text(history).splitlines()
    at = shown.index("Time to protection: until so many of the clients had a release")
    assert shown[at + 1].split()[:5] == ["version", "offered", "50", "%", "95"]
    assert [line.split()[0] for line in shown[at + 2 :]] == ["2", "1"]


def test_of_many_releases_a_status_tells_how_many_have_how_far_to_go_and_which_took_longest() -> None:
    def entry(number: int, half: int | None, nearly: int | None = None) -> dict[str, Any]:
        began = f"2026-11-24T{23 - number:02}:00:00Z"
        reached = {"version": "2", "began": began, "loads": False, "half": half, "most": nearly, "nearly": nearly}
        return {"id": f"rules-{number}", "protection": reached}

    components = [entry(6, 60, 600), *(entry(at, None) for at in range(3)), entry(3, 60), entry(7, 60, 4800)]
    assert protection_lines({"components": [*components, {"id": "nothing"}]}) == [
        "time to protection: 3 releases not yet at 50 % of the clients, rules-2 2 since 2026-11-24T21:00:00Z",
        "time to protection: 1 release not yet at 95 % of the clients, rules-3 2 since 2026-11-24T20:00:00Z",
        "time to protection: rules-7 2 took 80 min to 99 % of the clients",
    ]
    assert protection_lines({"components": [entry(0, 60, 0)]}) == []


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(-5, 50)), max_size=12))
def test_milestones_are_reached_once_in_their_order_and_never_before_their_share(steps: Any) -> None:
    now, one = NOW, Protection(COMPONENT, "2", NOW)
    for having, clients, minutes in steps:
        now += minutes * MINUTE
        before, one = one, one.reach(min(having, clients), clients, now)
        for milestone, percent in PERCENT.items():
            if before.at(milestone) is not None:
                assert one.at(milestone) == before.at(milestone)
            elif one.at(milestone) is not None:
                assert min(having, clients) / clients >= percent / 100
                assert one.at(milestone) == now
        known = [one.at(milestone) is not None for milestone in MILESTONES]
        assert known == sorted(known, reverse=True)
        assert all((one.seconds(milestone) or 0) >= 0 for milestone in MILESTONES)


def test_the_state_keeps_what_was_reached_whatever_is_said_later(bench: Bench) -> None:
    first = Protection("x", "1", NOW, loads=True, half=NOW + MINUTE)
    bench.state.keep_protections([first])
    later = Protection("x", "1", NOW + MINUTE, half=NOW + 2 * MINUTE, most=NOW)
    bench.now += 9 * MINUTE
    bench.state.keep_protections([later])
    kept = bench.state.protections()["x", "1"]
    assert (kept.began, kept.loads, kept.half, kept.most) == (NOW, True, NOW + MINUTE, NOW)
    bench.state.forget_protections(NOW + MINUTE)
    assert ("x", "1") not in bench.state.protections()
