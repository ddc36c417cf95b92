"""A forecast is what then happens: when waves open, and when how many clients have a release."""

import json
from dataclasses import replace
from datetime import time, timedelta
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from jsonschema import Draft202012Validator

from reconciler.model.forecast import Point, Reach, WaveForecast
from reconciler.model.offer import Offer
from reconciler.model.policy import AutoUpdate, Blackout, Limits, Rollout, Schedule, Wave, Window
from reconciler.model.spec import Hold
from reconciler.planner.forecast import HORIZON, all_arrive, arrivals, compare, forecast
from reconciler.planner.moments import Moments
from reconciler.planner.outlook import Imagination, run_of
from reconciler.present.forecast_text import forecast_document, forecast_markdown, forecast_text
from tests.fakes import NOW
from tests.simulation import COMPONENT, START, World
from tests.unit.situations import situations
from tests.unit.test_outlook import worlds

SCHEMA = Path(__file__).parents[2] / "schema" / "forecast.schema.json"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SOAKED = (Wave(count=1, soak=4 * HOUR), Wave(count=3, soak=HOUR), Wave(share=1.0))


def world_with(waves: Any = SOAKED, clients: int = 10, **policy: Any) -> World:
    rollout = Rollout(waves=waves, limits=Limits())
    world = World(clients, {"g": AutoUpdate(rollout=rollout, **policy)})
    world.release("2", "good")
    return world


def only(made: Any) -> Any:
    (entry,) = made.releases
    return entry


@given(worlds)
@settings(max_examples=40, deadline=None)
def test_what_a_forecast_says_is_what_happens_when_an_apply_runs_whenever_something_is_due(world: World) -> None:
    world.release("2", "good")
    told = forecast(*world.facts(), world.now)
    opened: dict[str, dict[int, Any]] = {entry.group: {} for entry in told.releases}
    ended: dict[str, dict[int, Any]] = {entry.group: {} for entry in told.releases}
    curves: dict[str, list[Point]] = {entry.group: [] for entry in told.releases}
    while True:
        world.apply()
        for group, curve in curves.items():
            record = world.memory.records[COMPONENT, "2", group]
            for wave in range(1, record.wave + 1):
                opened[group].setdefault(wave, world.now)
                if wave < record.wave or record.passed is not None:
                    ended[group].setdefault(wave, world.now)
            have = sum(machine.version == "2" for machine in world.machines if group in {"", machine.group})
            if not curve or have != curve[-1].clients:
                curve.append(Point(world.now, have))
        moment = Moments(world.facts()[0], world.plan(), world.now).next()
        if moment is None or moment > START + HORIZON:
            break
        world.now = moment
    for entry in told.releases:
        assert [wave.opens for wave in entry.waves] == [opened[entry.group].get(wave.wave) for wave in entry.waves]
        assert [wave.ends for wave in entry.waves] == [ended[entry.group].get(wave.wave) for wave in entry.waves]
        assert list(entry.curve) == curves[entry.group]
        assert bool(entry.never) == (entry.curve[-1].clients < entry.clients)


def test_waves_soaks_and_shares_stand_in_it_with_their_times() -> None:
    made = forecast(*world_with().facts(), START)
    entry = only(made)
    second, third = START + 4 * HOUR, START + 5 * HOUR
    assert entry.waves == (
        WaveForecast(1, 1, 10, START, START),
        WaveForecast(2, 2, 30, second, second),
        WaveForecast(3, 7, 100, third, third),
    )
    assert entry.curve == (Point(START, 1), Point(second, 3), Point(third, 10))
    assert entry.reaches == (Reach(50, third), Reach(95, third), Reach(100, third))
    assert (entry.never, made.cut, made.until) == ("", "", third)


def test_windows_and_blackouts_make_it_wait() -> None:
    night = Window(time(2), time(5))
    fair = Blackout(START.date() + DAY, START.date() + DAY, "fair")
    entry = only(forecast(*world_with(windows=(night,), blackouts=(fair,)).facts(), START))
    first = START + 2 * HOUR
    assert [wave.ends for wave in entry.waves] == [first, first + 2 * DAY, first + 2 * DAY + HOUR]


def test_each_client_has_its_own_moment_of_a_schedule() -> None:
    nightly = Schedule(at=time(1), spread=2 * HOUR)
    world = world_with((Wave(share=1.0),), trigger="schedule", schedule=nightly)
    world.out["2"] = START
    entry = only(forecast(*world.facts(), START))
    assert len(entry.curve) > 5
    moments = [point.at for point in entry.curve[1:]]
    assert all(START + HOUR <= at < START + 3 * HOUR and at.second == 0 for at in moments)


def test_what_waits_for_somebody_is_never_reached_and_says_for_what() -> None:
    world = world_with((Wave(count=1), Wave(share=1.0, approve=True)))
    entry = only(forecast(*world.facts(), START))
    assert [wave.opens for wave in entry.waves] == [START, None]
    assert entry.never.startswith("9 clients: wave 2 of 2 waits for approval")


def test_thousands_of_clients_that_wait_are_written_as_everywhere() -> None:
    world = world_with((Wave(count=1), Wave(share=1.0, approve=True)), clients=1_200)
    assert only(forecast(*world.facts(), START)).never.startswith("1 199 clients: wave 2 of 2 waits for approval")


def test_clients_that_are_off_keep_it_from_all() -> None:
    world = world_with((Wave(share=1.0),))
    world.off = {world.machines[0].name, world.machines[1].name}
    entry = only(forecast(*world.facts(), START))
    assert entry.reaches == (Reach(50, START), Reach(95), Reach(100))
    assert entry.never == "2 clients: no connection"


def test_an_apply_that_runs_seldom_comes_later() -> None:
    entry = only(forecast(*world_with().facts(), START, every=3 * HOUR))
    assert [wave.opens for wave in entry.waves] == [START, START + 6 * HOUR, START + 9 * HOUR]


def test_one_that_goes_too_far_is_cut_and_says_so() -> None:
    world = world_with((Wave(count=1, soak=HORIZON + DAY), Wave(share=1.0)))
    made = forecast(*world.facts(), START)
    assert made.cut == "60 days are over"
    assert only(made).never == "not looked further: 60 days are over"
    assert forecast(*world_with().facts(), START, most=3).cut == "it has more steps than are looked at"


def test_the_age_of_a_release_that_nobody_dated_counts_from_the_first_look_of_a_forecast() -> None:
    world = world_with((Wave(share=1.0),))
    wanted, observed = world.facts()
    young = replace(wanted.components[COMPONENT], min_age=3 * HOUR)
    first, second = observed.held
    offer = Offer("drop", replace(second, released=None))
    wanted = replace(wanted, components={COMPONENT: young})
    entry = only(forecast(wanted, replace(observed, held=[first], offers=[offer], first_seen={}), world.now))
    assert [reach.at for reach in entry.reaches] == [START + 3 * HOUR] * 3


def test_two_policies_are_compared_in_sentences() -> None:
    slow, fast = (forecast(*world_with(waves).facts(), START) for waves in (SOAKED, SOAKED[1:]))
    assert compare(fast, fast) == []
    assert compare(fast, slow) == [
        "this change brings rules 2 to 50, 95 and 100 % 4 h later, at 2026-10-01T05:00:00Z",
    ]
    (sentence,) = compare(slow, fast)
    assert "4 h earlier" in sentence
    stuck = forecast(*world_with((Wave(count=6), Wave(share=1.0, approve=True))).facts(), START)
    assert compare(slow, stuck)[1].startswith("this change brings rules 2 to 95 and 100 % never: 4 clients: wave 2")


def test_a_forecast_reads_as_a_table_and_fits_its_schema() -> None:
    document = forecast_document(forecast(*world_with().facts(), START), ["it comes <later>"])
    Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(document)
    shown = forecast_text(document)
    assert "rules 2: 10 clients\n  wave  clients  opens                 ends                  share\n" in shown
    assert "  3           7  2026-10-01T05:00:00Z  2026-10-01T05:00:00Z  100 %\n" in shown
    assert "Against the base\n  it comes <later>\n" in shown
    assert "| 3 | 7 | 2026-10-01T05:00:00Z | 2026-10-01T05:00:00Z | 100 % |" in forecast_markdown(document)
    assert "&lt;later&gt;" in forecast_markdown(document)


@given(situations())
@settings(max_examples=25)
def test_what_a_plan_says_of_arrivals_is_what_the_forecast_of_all_components_says(situation: Any) -> None:
    wanted, observed = situation.facts()
    told = arrivals(wanted, observed, situation.plan(), NOW)
    made = forecast(wanted, observed, NOW, most=100)
    assume(not made.cut)  # of one component more steps are looked at than of all
    assert [
        ((entry.component, entry.version, entry.group), [entry.half, entry.most, entry.all], entry.never)
        for entry in told
    ] == [
        ((entry.component, entry.version, entry.group), [reach.at for reach in entry.reaches], entry.never)
        for entry in made.releases
        if entry.reaches[-1].at != NOW
    ]


@given(situations())
@settings(max_examples=60)
def test_a_run_after_which_all_releases_are_everywhere_leaves_no_arrival_to_be_told(situation: Any) -> None:
    wanted, observed = situation.facts()
    plan, imagined = situation.plan(), Imagination(wanted, observed)
    found = run_of(imagined, plan, NOW)
    if found and all_arrive(wanted, imagined.observed, found[0], NOW):
        assert arrivals(wanted, observed, plan, NOW) == ()


def test_all_arrive_in_a_run_without_a_wait_and_not_in_one_that_leaves_a_client() -> None:
    held = (Hold("pc-00002", "for good"),)
    for waves, holds, whole in (
        ((Wave(count=1), Wave(share=1.0)), (), True),
        (SOAKED, (), False),
        ((Wave(share=1.0),), held, False),
    ):
        world = world_with(waves)
        world.holds = holds
        imagined = Imagination(*world.facts())
        found = run_of(imagined, world.plan(), START)
        assert found is not None
        assert all_arrive(imagined.wanted, imagined.observed, found[0], START) is whole


def test_a_client_is_reached_when_its_hold_or_quarantine_is_over() -> None:
    world = world_with((Wave(share=1.0),), clients=4)
    world.holds = (
        Hold("pc-00000", "moving", START.date()),
        Hold("pc-0000[01]", "moving, too", START.date() + 2 * DAY),
        Hold("pc-00002", "for good"),
    )
    world.quarantined = {"pc-00003": START + 90 * timedelta(seconds=1)}
    world.release("2", "good")
    entry = only(forecast(*world.facts(), world.now))
    assert entry.curve == (Point(START, 0), Point(START + timedelta(minutes=2), 1), Point(START + 3 * DAY, 3))
    assert entry.never == "1 client: hold: for good"
    for moment, have in ((START + 91 * timedelta(seconds=1), 1), (START + 3 * DAY, 3)):
        world.now = moment - timedelta(seconds=2)
        world.apply()
        assert world.running("2") < have
        world.now = moment
        world.apply()
        assert world.running("2") == have
