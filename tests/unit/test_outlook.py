"""The whole run stands in the plan: what apply then does is what was said, step by step."""

import json
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.model.outlook import Later, WaveStep
from reconciler.model.policy import AutoUpdate, Blackout, Limits, Rollout, Schedule, Wave, Window
from reconciler.planner.outlook import MAX_STEPS, Imagination, run_of
from reconciler.planning import whole_plan
from reconciler.present.document import plan_document, report_document
from reconciler.present.markdown import plan_markdown
from reconciler.present.outlook_text import run_lines
from reconciler.present.plan_text import plan_text
from reconciler.present.reading import read_plan
from reconciler.present.text import report_text
from tests.simulation import COMPONENT, START, World
from tests.unit.workbench import Bench, Opened

SCHEMA = Path(__file__).parents[2] / "schema" / "plan.schema.json"
HOUR = timedelta(hours=1)
ANY = Limits()


def whole(bench: Bench, **options: Any) -> Any:
    with bench.work() as work:
        return whole_plan(work, bench.options(**options))


def told(steps: tuple[WaveStep, ...]) -> list[Any]:
    return [(step.step, step.clients, step.bytes, step.rollouts) for step in steps]


# --- an apply does what its plan said -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "waves",
    [
        (Wave(share=1.0),),
        (Wave(count=2), Wave(count=5), Wave(share=1.0)),
        (Wave(count=1, apart=True, soak=HOUR), Wave(share=1.0)),
        (Wave(count=2, apart=True), Wave(count=4, approve=True), Wave(share=1.0)),
    ],
)
@pytest.mark.parametrize("scope", ["fleet", "group"])
def test_an_apply_takes_the_steps_that_its_plan_told_with_as_many_clients_and_bytes(
    opened: Opened, waves: Any, scope: Any
) -> None:
    bench = opened({"g": 5, "h": 4})
    bench.policy(waves=waves, scope=scope, limits=ANY)
    bench.release("2")
    made = whole(bench)
    assert not made.run.estimated
    report = bench.apply(plan=made)
    assert told(made.run.steps) == told(report.steps)
    assert (made.run.clients, made.run.bytes) == (report.total("changed"), report.bytes_sent)
    left = whole(bench)
    assert (
        [entry.reason for entry in made.run.later] == [entry.reason for entry in left.run.later] if left.run else True
    )


def test_a_client_of_two_steps_counts_once_in_all(opened: Opened) -> None:
    bench = opened({"g": 6})
    bench.policy(waves=(Wave(count=2), Wave(share=1.0)))
    bench.release("2")
    run = whole(bench).run
    assert [step.clients for step in run.steps] == [2, 4]
    assert run.clients == 6


def test_where_no_release_goes_by_waves_a_plan_has_no_run(opened: Opened) -> None:
    made = whole(opened({"g": 2}))
    assert made.run is None
    assert "run" not in plan_document(made)


# --- it is shown ----------------------------------------------------------------------------------------------------


def test_plan_and_report_name_the_same_steps_in_words(opened: Opened) -> None:
    bench = opened({"g": 8})
    bench.policy(waves=(Wave(count=2), Wave(share=1.0)))
    bench.release("2")
    made = whole(bench)
    line = "This run: now 2 clients (18 B), then 6 if wave 1 passes (54 B); 8 of 8 clients in all (72 B)."
    document = plan_document(made)
    assert run_lines(document) == [line]
    assert plan_text(document).splitlines()[1] == line
    assert line in plan_markdown(document)
    shown = report_text(report_document(bench.apply(plan=made)))
    assert "Step 1: 2 clients changed (18 B sent), wave 1 of 2\n" in shown
    assert "Step 2: 6 clients changed (54 B sent), wave 2 of 2\n" in shown


def test_what_a_run_leaves_stands_there_with_when_and_why(opened: Opened) -> None:
    bench = opened({"g": 8})
    bench.policy(waves=(Wave(count=2, soak=HOUR), Wave(share=1.0)))
    bench.release("2")
    made = whole(bench)
    until = f"{bench.now + HOUR:%Y-%m-%dT%H:%M:%SZ}"
    says = f"wave 1 of 2 soaks until {until}"
    assert made.run.later == (Later(COMPONENT, "2", "g", 6, f"rollout: {says}", bench.now + HOUR),)
    assert run_lines(plan_document(made))[0] == f"Later: rules 2 for 6 clients of g from {until} ({says})."


def test_a_wave_that_needs_somebody_is_later_once_somebody_acts(opened: Opened) -> None:
    bench = opened({"g": 3})
    bench.policy(waves=(Wave(count=1), Wave(share=1.0, approve=True)))
    bench.release("2")
    (later,) = whole(bench).run.later
    assert (later.clients, later.at, later.waits) == (2, None, True)
    line = run_lines(plan_document(whole(bench)))[0]
    assert line.startswith("Later: rules 2 for 2 clients of g once somebody acts (wave 2 of 2 waits for approval:")


def test_settings_and_incrementals_that_are_to_be_made_make_sizes_a_guess() -> None:
    run = {"steps": [{"clients": 1, "bytes": 9, "estimated": True, "rollouts": []}], "clients": 1, "bytes": 9}
    document = {"clients": {"g": 2}, "run": {**run, "estimated": True, "more": True, "later": []}}
    assert run_lines(document) == [
        "This run: now 1 client (about 9 B), and further steps; 1 of 2 clients in all (about 9 B)."
    ]


def later(component: str, at: str | None, reason: str, group: str | None = "g", *, waits: bool = False) -> Any:
    fields = {"component": component, "version": "2", "group": group, "clients": 6, "reason": reason}
    return {**fields, "at": at, "waits": waits}


def later_lines(*entries: Any) -> list[str]:
    step = {"clients": 1, "bytes": 9, "estimated": False, "rollouts": []}
    run = {"steps": [step], "clients": 1, "bytes": 9, "estimated": False, "more": False, "later": list(entries)}
    return run_lines({"clients": {"g": 7}, "run": run})


def test_components_that_come_at_nearly_the_same_time_for_the_same_reason_share_a_line() -> None:
    soaks = [
        later(
            f"rules-{at}", f"2026-12-01T02:00:{at:02}Z", f"rollout: wave 1 of 2 soaks until 2026-12-01T02:00:{at:02}Z"
        )
        for at in range(13)
    ]
    approval = later(
        "engine", None, "rollout: wave 2 of 2 waits for approval: updoser rollout approve engine", waits=True
    )
    first, last = "2026-12-01T02:00:00Z", "2026-12-01T02:00:12Z"
    waits = "wave 2 of 2 waits for approval: updoser rollout approve engine"
    assert later_lines(*soaks, approval) == [
        f"Later: 13 components for up to 6 clients of g from {first} to {last} (wave 1 of 2 soaks).",
        f"Later: engine 2 for 6 clients of g once somebody acts ({waits}).",
    ]


def test_a_few_releases_that_come_at_other_times_have_a_line_each() -> None:
    soaks = (later("rules", f"2026-12-0{at}T02:00:00Z", "rollout: wave 1 of 2 soaks") for at in (3, 1, 2))
    lines = later_lines(*soaks)
    assert [line.split()[9] for line in lines] == [f"2026-12-0{at}T02:00:00Z" for at in (1, 2, 3)]


def test_components_of_other_groups_that_wait_for_the_same_share_a_line() -> None:
    at, reason = "2026-12-01T02:00:00Z", "rollout: wave 1 of 2 soaks"
    groups = [(f"rules-{number}", group) for number, group in enumerate([None, None, "g", "h"])]
    assert later_lines(*(later(name, at, reason, group) for name, group in groups)) == [
        f"Later: 4 components for up to 6 clients from {at} (wave 1 of 2 soaks)."
    ]


def test_groups_that_wait_for_nearly_the_same_share_a_line() -> None:
    open_waves = [later("rules", None, f"rollout: wave 1 of 2 is open: {at} of 9 done", f"g{at}") for at in range(5)]
    assert later_lines(*open_waves) == ["Later: rules 2 for up to 6 clients when that is over (wave 1 of 2 is open)."]


# --- imagined and real are the same ---------------------------------------------------------------------------------

NIGHT = Window(start=time(2), end=time(5))
moments = st.sampled_from([
    {},
    {"windows": (NIGHT,)},
    {"trigger": "schedule", "schedule": Schedule(at=time(1), spread=3 * HOUR)},
    {"trigger": "schedule", "schedule": Schedule(interval=2 * HOUR, spread=HOUR)},
    {"blackouts": (Blackout(START.date(), START.date() + timedelta(days=1), "fair"),)},
])  # fmt: skip
waves = st.lists(
    st.sampled_from([
        Wave(select="label=canary", soak=HOUR),
        Wave(count=2, apart=True),
        Wave(count=3, soak=2 * HOUR, limits=Limits(min_attempted=1)),
        Wave(share=0.4, soak=HOUR / 2),
        Wave(share=0.7, approve=True),
    ]),
    max_size=3,
).map(lambda first: (*first, Wave(share=1.0)))  # fmt: skip


def world_of(
    clients: int, canaries: int, off: set[int], when: dict[str, Any], waves: Any, scope: Any, newer: Any, recheck: bool
) -> World:
    rollout = Rollout(waves=waves, scope=scope, newer=newer, recheck=recheck, limits=ANY)
    policy = AutoUpdate(rollout=rollout, **when)
    world = World(clients, {"g": policy, "h": AutoUpdate(rollout=rollout)}, canaries=canaries)
    world.off = {machine.name for at, machine in enumerate(world.machines) if at in off}
    return world


worlds = st.builds(
    world_of,
    st.integers(2, 14),
    st.integers(0, 3),
    st.sets(st.integers(0, 13), max_size=4),
    moments,
    waves,
    st.sampled_from(["fleet", "group"]),
    st.sampled_from(["queue", "supersede", "finish"]),
    st.booleans(),
)


def shape(plan: Any) -> Any:
    """Give all of a plan but how it numbers cohorts."""
    names = {
        kind: sorted(
            (entry.component, entry.group, sorted(name for one in entry.members for name in plan.members[one]))
            for entry in getattr(plan, kind)
        )
        for kind in ("deploys", "deferred", "held", "unknown")
    }
    return names, plan.rollouts, [(proof.key, proof.kind) for proof in plan.proofs], plan.clients


@given(worlds, st.lists(st.sampled_from([0, 1, 2, 25]), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_what_is_imagined_of_an_apply_is_what_is_there_after_it(world: World, hours: Any) -> None:
    for version, gap in enumerate(hours, 2):
        world.release(str(version), "good")
        wanted, observed = world.facts()
        imagined = Imagination(wanted, observed)
        for _apply in range(5):  # what one run isn't for is the next one's
            imagined.run(imagined.plan(world.now), world.now)
        world.apply()
        assert shape(imagined.plan(world.now)) == shape(world.plan())
        world.now += gap * HOUR


def test_a_run_of_very_many_steps_is_cut_and_says_so() -> None:
    waves = (*(Wave(count=count) for count in range(1, MAX_STEPS + 2)), Wave(share=1.0))
    world = World(MAX_STEPS + 5, {"g": AutoUpdate(rollout=Rollout(waves=waves, limits=ANY))})
    world.release("2", "good")
    found = run_of(Imagination(*world.facts()), world.plan(), world.now)
    assert found is not None
    _done, run = found
    assert run.more
    assert len(run.steps) == MAX_STEPS
    assert run.later == ()


def test_a_plan_says_when_a_release_arrives_that_takes_longer_than_its_run(opened: Opened) -> None:
    bench = opened({"g": 8})
    bench.policy(waves=(Wave(count=2, soak=HOUR), Wave(count=4, soak=HOUR), Wave(share=1.0, approve=True)))
    bench.release("2")
    made = whole(bench)
    (arrival,) = made.run.arrivals
    assert (arrival.half, arrival.most, arrival.all) == (bench.now + HOUR, None, None)
    line = run_lines(plan_document(made))[-1]
    assert line.startswith(
        f"Forecast: rules 2: 50 % at {bench.now + HOUR:%Y-%m-%dT%H:%M:%SZ}, the rest never (4 clients: "
    )
    form = json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"]["run"]
    Draft202012Validator(form).validate(plan_document(made)["run"])
    assert plan_document(read_plan(plan_document(made))) == plan_document(made)
