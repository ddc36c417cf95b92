"""Checks that run here, gates, and what is checked once more at the end of a soak: nothing bad gets further."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.execute.outcome import verdict_error
from reconciler.model.policy import Gate, Limits, Wave
from tests.unit.workbench import Bench, Opened

HOUR = timedelta(hours=1)
CANARY = (Wave(count=1, limits=Limits(min_attempted=1)), Wave(share=1.0))
SOAKED = (Wave(count=2, soak=HOUR, limits=Limits(min_attempted=1)), Wave(share=1.0))
ANY = Limits(max_fail_percentage=100.0)


def lines(bench: Bench, name: str = "ran") -> list[str]:
    """Give what checks wrote into a file in the folder of the spec."""
    file = bench.folder / name
    return file.read_text().splitlines() if file.exists() else []


# --- before anything is sent ------------------------------------------------------------------------------------------


def test_a_staged_check_here_runs_once_for_a_release_and_sees_its_files(opened: Opened) -> None:
    bench = opened({"g": 3, "h": 3})
    bench.policy(waves=CANARY)
    bench.check('echo "$UPDOSER_VERSION $(cat "$UPDOSER_STAGED/data")" >> ran')
    bench.release("2")
    bench.step()
    assert lines(bench) == ["2 content 2"]
    assert len(bench.running("2")) == 1
    bench.apply()
    assert bench.running("2") == set(bench.machines)
    assert set(lines(bench)) == {"2 content 2"}


def test_a_release_that_is_bad_here_halts_and_is_sent_to_nobody(opened: Opened) -> None:
    bench = opened({"g": 3})
    bench.policy(waves=CANARY)
    bench.check("echo false positives; exit 1", name="scan")
    bench.release("2")
    report = bench.apply()
    assert bench.asked == {}
    assert bench.running("1") == set(bench.machines)
    assert bench.record("2").status == "halted"
    assert bench.record("2").reason == "check scan failed here: it exited with 1: false positives"
    assert [(failure.client, failure.component) for failure in report.failed] == [("", "rules")]
    assert verdict_error(report, max_unreachable=1.0).exit_code == 3
    assert bench.counts(report) == {"skipped": 3}
    report = bench.apply()
    assert bench.asked == {}, "a halted release isn't tried again"
    assert verdict_error(report, max_unreachable=1.0).exit_code == 3


def test_the_first_bad_check_of_several_is_enough(opened: Opened) -> None:
    bench = opened(["a"])
    for name, run in (("one", "echo one >> ran"), ("two", "echo two >> ran; false"), ("three", "echo three >> ran")):
        bench.check(run, name=name)
    bench.release("2")
    bench.apply()
    assert lines(bench) == ["one", "two"]
    assert "check two failed here" in bench.record("2").reason


def test_a_check_is_tried_again_as_often_as_it_says(opened: Opened) -> None:
    bench = opened(["a"])
    bench.check("echo x >> ran; test $(wc -l < ran) = 3", retries=5, interval=7.0)
    bench.release("2")
    bench.apply()
    assert bench.running("2") == {"a"}
    assert bench.waits == [7.0, 7.0]


def test_a_check_that_can_not_be_run_is_bad(opened: Opened) -> None:
    bench = opened(["a"])
    bench.check("unused", name="odd")
    group = bench.spec.groups["g"]
    missing = replace(group.checks[0], plugin=replace(group.checks[0].plugin, options={"run": ["./no-such-program"]}))
    bench.spec = replace(bench.spec, groups={"g": replace(group, checks=(missing,))})
    bench.release("2")
    bench.apply()
    assert (bench.asked, bench.record("2").status) == ({}, "halted")


def test_a_release_that_is_bad_here_and_has_no_rollout_keeps_no_run_from_ending(opened: Opened) -> None:
    bench = opened({"g": 4, "h": 2})
    bench.policy("g", scope="group", waves=SOAKED)
    bench.policy("h", scope="group", waves=CANARY)
    bench.release("2")
    bench.apply()
    assert (bench.record("2", "g").status, bench.record("2", "h").status) == ("running", "done")
    bench.machines["h-0"].damage("rules", "data", b"changed by hand")  # what repairs a client goes by no waves
    bench.check("echo x >> ran; false", name="scan")
    report = bench.apply()
    assert lines(bench) == ["x"]
    assert [(failure.client, failure.component) for failure in report.failed] == [("", "rules")]
    assert bench.counts(report) == {"ok": 3, "not_attempted": 1, "skipped": 2}


def test_what_goes_back_is_not_checked_before(opened: Opened) -> None:
    bench = opened({"g": 3})
    bench.policy(waves=SOAKED, on_failure="rollback", rollback_scope="all")
    bench.release("2")
    bench.apply()
    assert len(bench.running("2")) == 2
    bench.state.record_rollout(replace(bench.record("2"), status="halted", reason="INC-1", undo="all"))
    bench.check("false")
    bench.apply()
    assert bench.running("1") == set(bench.machines)


# --- once a client switched -------------------------------------------------------------------------------------------


def test_a_client_that_is_bad_here_after_the_switch_goes_back_to_what_it_kept_and_nothing_is_sent_for_it(
    opened: Opened,
) -> None:
    bench = opened(["a", "b"])
    bench.check('test "$UPDOSER_CLIENT" != a', phase="switched", name="beats")
    bench.policy(waves=(Wave(share=1.0),), limits=ANY)
    bench.release("2")
    report = bench.apply()
    assert bench.versions == {"a": "1", "b": "2"}
    back = bench.machines["a"].requests[-1].steps[0]
    assert (back.from_version, back.to_version, back.held, back.payload) == ("2", "1", True, ())
    assert [(failure.client, failure.message) for failure in report.failed] == [
        ("a", "check beats failed after the switch: it exited with 1; it is back at 1")
    ]
    assert bench.counts(report) == {"changed": 1, "failed": 1}
    kept = {row[0]: row[3] for row in bench.state.rows()}
    assert bench.state.profiles()[kept["a"]].by_component["rules"].version == "1"


def test_a_client_that_kept_nothing_gets_the_version_before_whole(opened: Opened) -> None:
    bench = opened(["a"])
    bench.spec = replace(bench.spec, client_keep=1)
    bench.check("false", phase="switched")
    bench.release("2")
    bench.apply()
    assert bench.versions == {"a": "1"}
    tried, whole = (request.steps[0] for request in bench.machines["a"].requests[-2:])
    assert (tried.held, whole.held) == (True, False)
    assert whole.payload == whole.files


def test_a_client_that_is_bad_goes_back_although_the_run_was_stopped_while_it_was_checked(opened: Opened) -> None:
    bench = opened(["a", "b"])
    bench.check("false", phase="switched", name="beats")
    bench.policy(waves=(Wave(share=1.0),), limits=ANY)
    bench.release("2")
    machine = bench.machines["a"]

    class StopsLater:
        """Has the run stopped in the midst of the client's work."""

        def wait(self) -> None:
            if machine.requests:
                bench.stop.set()

    machine.gate = StopsLater()
    bench.apply()
    assert bench.versions == {"a": "1", "b": "1"}
    assert not bench.asked.get("b")


def test_a_client_that_can_not_go_back_says_so_and_counts_as_failed(opened: Opened) -> None:
    bench = opened(["a"])
    bench.check("false", phase="switched", name="beats")
    bench.release("2")
    machine, connect = bench.machines["a"], bench.transport.connect

    @contextmanager
    def full_after_the_switch(client: Any) -> Iterator[Any]:
        with connect(client) as session:
            deploy = session.deploy

            def watched(request: Any, content: Any) -> Any:
                machine.broken = {"rules"} if request.steps[0].to_version == "1" else set()
                return deploy(request, content)

            session.deploy = watched
            yield session

    bench.transport.connect = full_after_the_switch
    report = bench.apply()
    assert bench.versions == {"a": "2"}
    assert bench.record("2").status == "halted"
    (failure,) = report.failed
    assert failure.message.startswith("check beats failed after the switch: it exited with 1; going back failed: ")
    assert bench.plan().rollouts[0].record.status == "halted", "the next look finds what it really has"


def test_a_first_install_that_is_bad_here_stays_and_says_why(opened: Opened) -> None:
    bench = opened(["a", "b"])
    bench.machines["a"].components.clear()
    bench.check("false", phase="switched", name="beats")
    report = bench.apply()
    assert bench.versions == {"a": "1", "b": "1"}
    (failure,) = (failure for failure in report.failed if failure.client == "a")
    assert "isn't known here, so it has this one" in failure.message


# --- gates ------------------------------------------------------------------------------------------------------------


def gates(*runs: Any) -> Any:
    return tuple(Gate("command", f'{{"run": "{run}"}}', 60.0) for run in runs)


def test_a_gate_is_asked_between_two_waves_and_lets_the_next_one_open(opened: Opened) -> None:
    bench = opened({"g": 3})
    bench.policy(waves=CANARY, gates=gates("echo $UPDOSER_COMPONENT $UPDOSER_VERSION >> ran"))
    bench.release("2")
    bench.apply()
    assert bench.running("2") == set(bench.machines)
    assert lines(bench) == ["rules 2"], "not after the last wave"


@pytest.mark.parametrize("bad", ["echo dropping packets; exit 3", "exec nowhere-to-be-found"])
def test_a_gate_that_is_not_good_halts_and_the_other_waves_get_nothing(opened: Opened, bad: str) -> None:
    bench = opened({"g": 3})
    bench.policy(waves=CANARY, gates=gates("true", bad))
    bench.release("2")
    report = bench.apply()
    assert len(bench.running("2")) == 1
    assert bench.record("2").status == "halted"
    assert bench.record("2").reason.startswith("gate 2 of wave 1 failed: it exited with")
    assert verdict_error(report, max_unreachable=1.0).exit_code == 3


def test_gates_of_a_rollout_of_a_group_are_those_of_the_group(opened: Opened) -> None:
    bench = opened({"g": 2, "h": 2})
    for group in "gh":
        bench.policy(group, scope="group", waves=CANARY, gates=gates(f"echo {group} >> ran"))
    bench.release("2")
    bench.apply()
    assert sorted(lines(bench)) == ["g", "h"]
    assert bench.running("2") == set(bench.machines)


def test_a_group_with_rollouts_of_its_own_does_not_lend_its_gates_to_that_of_the_fleet(opened: Opened) -> None:
    bench = opened({"g": 2, "h": 2})
    bench.policy("g", scope="group", waves=CANARY, gates=gates("echo own >> ran"))
    bench.policy("h", waves=CANARY, gates=gates("echo fleet >> ran"))
    bench.release("2")
    bench.apply()
    assert sorted(lines(bench)) == ["fleet", "own"]


# --- at the end of a soak ---------------------------------------------------------------------------------------------


def soaked(opened: Opened, **rollout: Any) -> Any:
    """Give a bench whose canary of two has soaked, with a check that clients run."""
    bench = opened({"g": 6})
    bench.policy(waves=SOAKED, recheck=True, **rollout)
    bench.check("systemctl is-active scanner", phase="switched", where="client", name="alive")
    bench.release("2")
    bench.apply()
    bench.later(HOUR)
    for machine in bench.machines.values():
        machine.ran.clear()
    return bench, sorted(bench.running("2"))


def test_at_the_end_of_a_soak_the_canary_is_checked_again_and_nobody_else(opened: Opened) -> None:
    bench, canary = soaked(opened)
    for name in canary:
        bench.machines[name].calls.clear()
    plan = bench.plan()
    assert [(proof.kind, proof.clients) for proof in plan.proofs] == [("recheck", 2)]
    assert plan.deploys == ()
    bench.step()
    again = {name: [ran.version for ran in machine.ran] for name, machine in bench.machines.items() if machine.ran}
    assert again == {name: ["2"] for name in canary}
    assert sorted(bench.running("2")) == canary
    assert all(bench.machines[name].calls["changed"] == 0 for name in canary)
    assert bench.record("2").cleared
    bench.apply()
    assert bench.running("2") == set(bench.machines)


def test_a_canary_that_went_bad_while_it_soaked_halts_the_rollout(opened: Opened) -> None:
    bench, canary = soaked(opened, on_failure="rollback")
    bench.machines[canary[0]].fails["alive"] = True
    report = bench.apply()
    assert bench.record("2").reason.startswith("1 of 2 clients failed at the end of the soak (")
    assert (bench.record("2").status, bench.record("2").undo) == ("halted", "wave")
    assert list(bench.failures("2")) == [canary[0]]
    assert set(bench.asked) <= {*canary}
    assert verdict_error(report, max_unreachable=1.0).exit_code == 3
    bench.machines[canary[0]].fails.clear()
    bench.apply()
    assert bench.running("1") == set(bench.machines), "the canary goes back"


def test_as_many_may_be_bad_at_the_end_of_a_soak_as_in_the_wave(opened: Opened) -> None:
    bench, canary = soaked(opened, limits=Limits(max_failed=1))
    bench.machines[canary[0]].fails["alive"] = True
    bench.apply()
    assert bench.record("2").status == "done"


@pytest.mark.parametrize(("strict", "lax"), ["gh", "hg"])
def test_what_may_be_bad_at_the_end_of_a_soak_is_added_up_over_groups_with_limits_of_their_own(
    opened: Opened, strict: Any, lax: Any
) -> None:
    bench = opened({"g": 2, "h": 2})
    waves = (Wave(count=2, apart=True, soak=HOUR, limits=Limits(min_attempted=1)), Wave(share=1.0))
    bench.policy(strict, waves=waves, recheck=True, limits=Limits(max_failed=0))
    bench.policy(lax, waves=waves, recheck=True, limits=Limits(max_failed=1))
    bench.check("systemctl is-active scanner", phase="switched", where="client", name="alive")
    bench.release("2")
    bench.apply()
    bench.later(HOUR)
    (one,) = (name for name in bench.running("2") if name.startswith(lax))
    bench.machines[one].fails["alive"] = True
    bench.step()
    assert bench.record("2").cleared


def test_who_can_not_be_reached_at_the_end_of_a_soak_says_nothing(opened: Opened) -> None:
    bench, canary = soaked(opened)
    plan = bench.plan()
    bench.machines[canary[0]].unreachable = True
    bench.apply(plan=plan, refresh=False)
    assert bench.record("2").status in {"running", "done"}
    assert len(bench.running("2")) == 6


def test_a_run_that_is_stopped_while_it_proves_opens_nothing(opened: Opened) -> None:
    bench, canary = soaked(opened)
    plan = bench.plan()
    bench.stop.set()
    bench.apply(plan=plan, refresh=False)
    assert not bench.record("2").cleared
    assert sorted(bench.running("2")) == canary
