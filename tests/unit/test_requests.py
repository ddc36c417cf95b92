"""What people ask in the console: who may, what is done, and that nothing is done twice, late or unseen."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.controller.requests import LIFE, Judge, attending
from reconciler.controller.round import Round, go_round
from reconciler.errors import UsageError
from reconciler.model.controller import ControllerSpec, Pause, pause_digest
from reconciler.model.policy import Wave
from reconciler.model.request import REQUEST_KINDS, ROLES, Request, Target
from reconciler.steering import Which, steer
from tests.postgres import BOTH
from tests.unit.workbench import COMPONENT, Bench, Opened
from tests.waiting import until

BENCHES_ON = BOTH

WAVES = (Wave(share=0.4), Wave(share=0.7, approve=True), Wave(share=1.0, approve=True))
HOUR = timedelta(hours=1)


@pytest.fixture
def bench(opened: Opened) -> Bench:
    """Give a fleet with release 2 in the first of three waves; the second waits for approval."""
    return begun(opened)


def begun(opened: Opened) -> Bench:
    made = opened()
    made.policy(waves=WAVES)
    made.release("2")
    made.apply()
    return made


def ask(bench: Bench, kind: Any, *, who: str = "ann", seen: str | None = None, **more: Any) -> int:
    """Ask for something, having seen the rollout as it is; gives the id of the request."""
    target = more.pop("target", Target(component=COMPONENT, version="2"))
    shown = bench.record("2").fingerprint if seen is None else seen
    values = {"roles": ROLES, "reason": "because", "at": bench.now, **more}
    return bench.state.ask(Request(who=who, kind=kind, target=target, seen=shown, **values))


def judge(bench: Bench, *, four_eyes: bool = False) -> None:
    with bench.work() as work:
        Judge()(work, four_eyes=four_eyes)


def became(bench: Bench, id_: int) -> tuple[str, str]:
    found = bench.state.request(id_)
    assert found is not None
    return found.status, found.says


def history(bench: Bench) -> list[tuple[str, str, str]]:
    """Give what people did to rollouts: who, the command and what stands in the journal."""
    runs = [run for run in reversed(bench.state.runs(1000)) if run.command.startswith("rollout")]
    return [
        (run.origin.get("user", ""), run.command, entry.message)
        for run in runs
        for entry in bench.state.journal_of(run.run_id)
    ]


def test_an_approval_lets_the_next_wave_open_and_the_history_says_who(bench: Bench) -> None:
    asked = ask(bench, "approve")
    judge(bench)
    assert became(bench, asked) == ("done", "rules 2: wave 2 of 3 may open; the controller goes on with it")
    assert [(one.wave, one.who) for one in bench.record("2").approved] == [(2, "ann")]
    assert history(bench) == [("ann", "rollout approve rules", "wave 2 of 3 approved by ann")]
    before = bench.running("2")
    bench.apply()
    assert bench.running("2") > before


def test_a_pause_a_resume_and_an_abort_do_what_the_commands_do(bench: Bench) -> None:
    paused = ask(bench, "pause", reason="change\nfreeze")
    judge(bench)
    assert became(bench, paused) == ("done", "rules 2: is paused in wave 1 of 3")
    assert bench.record("2").reason == "by ann: change freeze"
    resumed = ask(bench, "resume", who="bob")
    judge(bench)
    assert became(bench, resumed)[0] == "done"
    aborted = ask(bench, "abort", target=Target(component=COMPONENT, version="2", undo=True))
    judge(bench)
    assert became(bench, aborted) == ("done", "rules 2: goes to nobody any more; clients that have it go back")
    assert (bench.record("2").status, bench.record("2").undo) == ("aborted", "all")
    bench.apply()
    assert bench.running("2") == set()


def test_a_run_that_goes_on_is_not_called_broken_off_because_somebody_steers_meanwhile(bench: Bench) -> None:
    bench.later(HOUR)
    with bench.state.lock("run"):
        bench.state.begin_run("under-way", "", "apply", bench.now)
        bench.later(HOUR)
        asked = ask(bench, "pause")
        judge(bench)
        assert "begins no further client with it" in became(bench, asked)[1]
        assert {run.run_id: run.status for run in bench.state.runs(2)}["under-way"] == "running"


def test_what_moved_since_somebody_looked_is_not_decided_for_them_but_a_pause_holds(bench: Bench) -> None:
    seen = bench.record("2").fingerprint
    with bench.work() as work:
        steer(work, "approve", Which(COMPONENT, who="cli"))
    bench.apply()
    late = [ask(bench, kind, seen=seen) for kind in ("approve", "abort", "resume")]
    judge(bench)
    for id_ in late[:2]:
        assert became(bench, id_)[0] == "refused"
        assert "changed since you looked" in became(bench, id_)[1]
    assert "nothing to resume" in became(bench, late[2])[1]
    paused = ask(bench, "pause", seen=seen)
    judge(bench)
    assert became(bench, paused)[0] == "done"


def test_what_somebody_asks_twice_is_done_once_and_they_are_told(bench: Bench) -> None:
    first, second = ask(bench, "approve"), ask(bench, "approve", who="bob")
    judge(bench)
    judge(bench)
    assert became(bench, first)[0] == "done"
    assert became(bench, second) == ("refused", f"request {first} of ann did that already")
    assert len(history(bench)) == 1


@pytest.mark.parametrize(
    ("kind", "more", "says"),
    [
        ("approve", {"roles": ("viewer", "operator")}, "ann hasn't the role approver"),
        ("abort", {"roles": ("approver",)}, "ann hasn't the role operator"),
        ("pause", {"reason": " "}, "no reason"),
        ("pause_controller", {"reason": ""}, "no reason"),
        ("approve", {"seen": ""}, "doesn't say what was seen"),
        ("pause", {"target": Target(component="nonsense")}, "no managed component is called nonsense"),
        ("pause", {"target": Target(component=COMPONENT, group="nowhere")}, "there is no group nowhere"),
        ("abort", {"target": Target(component=COMPONENT, version="9")}, "rules has nothing to abort"),
        ("resume_controller", {}, "the controller isn't paused"),
    ],
)
def test_what_must_not_be_is_refused_with_the_reason_and_changes_nothing(
    bench: Bench, kind: str, more: Any, says: str
) -> None:
    before = bench.state.rollouts()
    asked = ask(bench, kind, **more)
    judge(bench)
    assert became(bench, asked)[0] == "refused"
    assert says in became(bench, asked)[1]
    assert (bench.state.rollouts(), bench.state.paused(), history(bench)) == (before, None, [])


def test_nobody_expects_that_a_request_of_last_week_is_carried_out(bench: Bench) -> None:
    asked = ask(bench, "pause")
    bench.later(LIFE + HOUR)
    judge(bench)
    assert became(bench, asked)[0] == "refused"
    assert "no controller came to it within 24 hours" in became(bench, asked)[1]
    assert bench.record("2").status == "running"


def test_with_four_eyes_a_second_person_has_to_approve_the_same(bench: Bench) -> None:
    first = ask(bench, "approve")
    judge(bench, four_eyes=True)
    assert became(bench, first) == ("seconded", "rules 2: ann approves; it waits for a second person who does")
    again = ask(bench, "approve", who="Ann")
    judge(bench, four_eyes=True)
    assert became(bench, again) == ("refused", "Ann approved that already; a second person has to")
    assert bench.record("2").approved == ()
    second = ask(bench, "approve", who="bob")
    judge(bench, four_eyes=True)
    assert became(bench, first)[0] == became(bench, second)[0] == "done"
    assert [one.who for one in bench.record("2").approved] == ["ann and bob"]
    assert history(bench) == [("ann and bob", "rollout approve rules", "wave 2 of 3 approved by ann and bob")]


def test_an_approval_that_waits_for_a_second_person_ends_with_what_it_was_about(bench: Bench) -> None:
    first = ask(bench, "approve")
    judge(bench, four_eyes=True)
    with bench.work() as work:
        steer(work, "pause", Which(COMPONENT, who="cli"))
    judge(bench, four_eyes=True)
    assert became(bench, first)[0] == "refused"


def test_nobody_is_asked_to_second_what_needs_no_approval(bench: Bench) -> None:
    bench.policy(waves=tuple(replace(wave, approve=False) for wave in WAVES))
    asked = ask(bench, "approve")
    judge(bench, four_eyes=True)
    assert became(bench, asked)[0] == "refused"
    assert "needs no approval: nothing was done" in became(bench, asked)[1]


def test_a_pause_of_the_controller_ends_only_by_who_saw_it(bench: Bench) -> None:
    asked = ask(bench, "pause_controller", target=Target(until=bench.now + HOUR), seen="")
    judge(bench)
    assert became(bench, asked)[1].startswith("paused until ")
    paused = bench.state.paused()
    assert paused is not None
    assert (paused.who, paused.reason) == ("ann", "because")
    bench.state.pause_controller(Pause(who="eve", reason="audit", since=bench.now))
    stale = ask(bench, "resume_controller", seen=pause_digest(paused))
    judge(bench)
    assert became(bench, stale) == ("refused", "somebody else paused it since: eve, audit")
    now = bench.state.paused()
    assert now is not None
    fresh = ask(bench, "resume_controller", seen=pause_digest(now))
    judge(bench)
    assert became(bench, fresh)[0] == "done"
    assert bench.state.paused() is None


def test_who_approves_hears_when_nothing_goes_on_yet(bench: Bench) -> None:
    bench.state.pause_controller(Pause(who="eve", reason="audit", since=bench.now))
    asked = ask(bench, "approve")
    judge(bench)
    assert became(bench, asked)[1].endswith("; the controller is paused by eve (audit), and goes on with it after that")
    bench.state.pause_controller(None)
    bench.spec = replace(bench.spec, controller=ControllerSpec(mode="observe"))
    aborted = ask(bench, "resume", seen=bench.record("2").fingerprint)
    judge(bench)
    assert became(bench, aborted)[0] == "refused"  # it runs


def test_a_pause_is_heard_while_a_round_goes_on(bench: Bench) -> None:
    with attending(lambda work: Judge()(work, four_eyes=False), bench.own_work):
        asked = ask(bench, "pause")
        until(lambda: became(bench, asked)[0] == "done")
    assert bench.record("2").status == "paused"


@pytest.mark.parametrize(("kind", "says"), [("block", "+    block:"), ("pin", "+    version:")])
def test_a_block_or_a_pin_is_proposed_as_a_change_of_the_file_that_nobody_makes(
    bench: Bench, kind: str, says: str
) -> None:
    bench.spec.path.write_text("version: 1\ncomponents:\n  rules:\n    hold: none  # mine\n")
    before = bench.spec.path.read_bytes()
    asked = ask(bench, kind, seen="", reason="slow\nscans")
    odd = ask(bench, kind, seen="", target=Target(component=COMPONENT, version="not one"))
    judge(bench)
    status, told = became(bench, asked)
    sentence, _blank, diff = told.partition("\n\n")
    assert (status, "updoser.yaml" in sentence) == ("done", True)
    assert diff.startswith("--- updoser.yaml\n+++ updoser.yaml\n@@")
    assert says in diff
    assert became(bench, odd)[0] == "refused"
    assert bench.spec.path.read_bytes() == before
    assert bench.state.rollouts().keys() == {(COMPONENT, "1", ""), (COMPONENT, "2", "")}


def test_a_round_begins_with_no_further_client_once_the_controller_is_paused(bench: Bench) -> None:
    bench.policy(waves=(Wave(share=1.0),))
    before = bench.running("2")

    def pause(_made: Round) -> None:
        bench.state.pause_controller(Pause(who="eve", reason="audit", since=bench.now))

    with bench.work() as work:
        made = go_round(work, bench.spec.path, lambda: (), forks=1, changing=pause)
    assert bench.running("2") == before
    assert made.report is not None
    assert {entry.message for entry in bench.journal() if entry.outcome == "held"} == {
        "the controller is paused by eve: audit"
    }
    bench.state.pause_controller(None)
    with bench.work() as work:
        go_round(work, bench.spec.path, lambda: (), forks=1, changing=lambda _made: None)
    assert bench.running("2") == {"a", "b", "c"}


kinds = st.sampled_from(REQUEST_KINDS)
people = st.sampled_from(["ann", "bob", "eve"])
given_roles = st.sampled_from([("viewer",), ("operator",), ("approver",), ("operator", "approver"), ROLES])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), kinds, people, given_roles, st.booleans(), st.booleans()),
        st.sampled_from([("judge",), ("judge",), ("apply",), ("pause",), ("resume",), ("later",), ("look",)]),
    ),
    max_size=10,
)


@given(steps, st.booleans())
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_by_whom_and_when_each_is_judged_once_and_only_those_who_may_change_anything(
    opened: Opened, steps: Any, four_eyes: bool
) -> None:
    bench = begun(opened)
    there = bench.record("2").fingerprint
    for step, *what in steps:
        if step == "ask":
            kind, who, roles, stale, reasoned = what
            of_rollout = "controller" not in kind
            seen = (there if stale else bench.record("2").fingerprint) if of_rollout else ""
            about = Target(component=COMPONENT, version="2") if of_rollout else Target()
            ask(bench, kind, who=who, roles=roles, seen=seen, target=about, reason="why" if reasoned else "")
        elif step == "judge":
            check_judged(bench, four_eyes=four_eyes)
        elif step == "look":
            there = bench.record("2").fingerprint
        else:
            do(bench, step)
    check_judged(bench, four_eyes=four_eyes)
    acted = [one.kind for one in bench.state.requests() if one.status == "done" and one.kind in STEERS]
    pairs = acted.count("approve") // 2 if four_eyes else 0
    assert sum(1 for who, *_rest in history(bench) if who) == len(acted) - pairs
    for approval in bench.record("2").approved:
        first, _and, second = approval.who.partition(" and ")
        assert not four_eyes or (second and first != second)


STEERS = {"approve", "pause", "resume", "abort"}


def check_judged(bench: Bench, *, four_eyes: bool) -> None:
    """Judge, and see that each has an end or waits for somebody, and that only those who may changed anything."""
    before, told = bench.state.rollouts(), len(history(bench))
    waiting = {one.id for one in bench.state.open_requests()}
    judge(bench, four_eyes=four_eyes)
    judged = [one for one in bench.state.requests() if one.id in waiting]
    done = [one for one in judged if one.status == "done"]
    assert all(one.status in {"done", "refused", "seconded"} and one.says for one in judged)
    assert all(("approver" if one.kind == "approve" else "operator") in one.roles for one in done)
    if not any(one.kind in STEERS for one in done):
        assert (bench.state.rollouts(), len(history(bench))) == (before, told)


def do(bench: Bench, step: Any) -> None:
    """Do what others do beside the console, where it can be done."""
    if step == "apply":
        bench.apply()
    elif step == "later":
        bench.later(9 * HOUR)
    else:
        with bench.work() as work, suppress(UsageError):
            steer(work, step, Which(COMPONENT, "2", who="cli"))
