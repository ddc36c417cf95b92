"""Exit codes: each error owns one, and when several things hold the worst decides."""

import inspect
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import errors
from reconciler.errors import ClientError, InterruptedRunError, Problem, SpecError, TransportError, UpdoserError
from reconciler.execute.outcome import is_complete, verdict_error
from reconciler.model.plan import RolloutStep
from reconciler.model.report import RECAP, Failure, Report
from reconciler.model.rollout import STATUSES, RolloutRecord
from reconciler.reasons import REASONS, reason_of
from tests.fakes import NOW

CLASSES: dict[str, Any] = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)
}
ENDS_BADLY = {1, 3, 4, 5, 64, 65, 130}
"""The codes of the design, but for 0 (done) and 2 (changes are due), which are no errors."""
DOWNLOAD = Failure("", "", "rules", "no")


def drawn() -> dict[str, tuple[str, int]]:
    """Give the tree that the docstring draws: name -> (parent, code)."""
    tree: dict[str, tuple[str, int]] = {}
    path: list[str] = []
    for indent, name, code in re.findall(r"^ {4}([│├└─ ]*)(\w+Error) +(\d+) ", errors.__doc__, flags=re.MULTILINE):
        path[len(indent) // 4 :] = [name]
        tree[name] = (path[-2] if len(path) > 1 else "Exception", int(code))
    return tree


def test_classes_and_codes_are_those_of_the_drawn_tree() -> None:
    assert drawn() == {name: (kind.__bases__[0].__name__, kind.exit_code) for name, kind in CLASSES.items()}


def test_errors_end_with_the_codes_of_the_design_and_use_all_of_them() -> None:
    assert {kind.exit_code for kind in CLASSES.values()} == ENDS_BADLY


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_shows_its_message_and_what_to_do(name: Any) -> None:
    kind = CLASSES[name]
    made = kind([Problem("a message", hint="do it")]) if kind is SpecError else kind("a message", hint="do it")
    assert str(made) == "a message\n  do it"
    assert "\n" not in made.brief
    assert made.brief.startswith(f"{REASONS[kind.reason].label}: a message")


def test_errors_that_clients_are_counted_under_can_be_told_apart() -> None:
    per_client = [kind for kind in CLASSES.values() if issubclass(kind, (TransportError, ClientError))]
    reasons = [kind.reason for kind in (*per_client, errors.OtherControllerError)]
    assert len(set(reasons)) == len(reasons)
    assert UpdoserError.reason not in reasons


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - {"SpecError"}))
def test_the_reason_of_an_error_is_found_in_what_was_recorded_of_it(name: Any) -> None:
    assert reason_of(CLASSES[name]("rules: it broke: no").brief) == CLASSES[name].reason


def test_an_error_of_which_more_is_known_is_counted_under_that() -> None:
    assert reason_of(ClientError("rules: it broke: no", reason="sudo").brief) == "sudo"
    assert reason_of(ClientError("no").brief) == "client"


def test_labels_that_decide_what_became_of_a_client_are_those_of_earlier_states() -> None:
    found = {name: REASONS[kind.reason].label for name, kind in CLASSES.items() if kind.reason != UpdoserError.reason}
    assert found == {
        "AuthenticationError": "authentication failed",
        "BusyError": "client busy",
        "ClientError": "client failed",
        "FaultError": "fault of updoser",
        "HostKeyError": "host key not trusted",
        "HungUpError": "hung up before it greeted",
        "LimitError": "limit of this machine",
        "NetworkError": "no connection",
        "NoAddressError": "no way to it",
        "OtherControllerError": "other controller",
        "ProtocolError": "protocol error",
        "SecretError": "secret not found",
        "TransportError": "no connection",
    }


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        (Problem("odd"), "odd"),
        (Problem("odd", "a.yaml", 3, 5, "  k: v", "fix"), "a.yaml:3:5: odd\n  3 |   k: v\n    |     ^\n  fix"),
        (Problem("odd", "a.yaml", 12, 2, "\tk: v"), "a.yaml:12:2: odd\n  12 | \tk: v\n     | \t^"),
        (Problem("odd", "a.yaml"), "a.yaml: odd"),
    ],
)
def test_a_problem_of_a_spec_points_at_its_place(problem: Problem, shown: str) -> None:
    assert str(problem) == shown


def step(status: Any) -> RolloutStep:
    """Make a rollout that is in a status at the end of a run."""
    record = RolloutRecord(
        component="rules",
        version="2",
        group="",
        status=status,
        cuts=(),
        sizes=(),
        structure="",
        started=NOW,
        opened=NOW,
        reason="INC-1",
    )
    return RolloutStep(record, new=True, says=status)


counts = st.integers(0, 5)
reports = st.builds(
    lambda recap, downloads, interrupted, statuses: Report(
        "r", "p", NOW, NOW, {"g": recap}, failed=(DOWNLOAD,) * downloads, interrupted=interrupted,
        rollouts=tuple(map(step, statuses)),
    ),
    st.fixed_dictionaries(dict.fromkeys(RECAP, counts)), st.integers(0, 2), st.booleans(),
    st.lists(st.sampled_from(STATUSES), max_size=2),
)  # fmt: skip


@given(reports, st.sampled_from([0.0, 0.25, 1.0]))
def test_interrupted_counts_before_failed_or_halted_and_those_before_unreachable(
    report: Report, tolerated: float
) -> None:
    recap = report.recap["g"]
    lost, clients = recap["unreachable"], sum(recap.values())
    if report.interrupted:
        code = 130
    elif recap["failed"] or any(step.record.status in {"halted", "stalled"} for step in report.rollouts):
        code = 3
    elif lost > tolerated * clients:
        code = 4
    else:
        code = 1 if report.failed else 0
    error = verdict_error(report, max_unreachable=tolerated)
    assert (error.exit_code if error else 0) == code
    stopped = any(step.record.status in {"halted", "stalled"} for step in report.rollouts)
    assert not is_complete(report) or error is None or stopped


@pytest.mark.parametrize(
    ("counts", "more", "complete"),
    [
        ({}, {}, True),
        ({"changed": 2, "skipped": 1}, {}, True),
        *(({left: 1}, {}, False) for left in ("failed", "unreachable", "not_attempted", "stale")),
        ({}, {"interrupted": True}, False),
        ({}, {"failed": (DOWNLOAD,)}, False),
    ],
)
def test_a_run_is_complete_when_nothing_of_its_plan_is_left(counts: Any, more: Any, complete: Any) -> None:
    assert is_complete(Report("r", "p", NOW, NOW, {"g": {"ok": 1, **counts}}, **more)) == complete


def test_an_interruption_says_how_to_go_on() -> None:
    error = verdict_error(Report("r", "p", NOW, NOW, {}, interrupted=True), max_unreachable=0)
    assert isinstance(error, InterruptedRunError)
    assert "apply again" in error.hint


@pytest.mark.parametrize("status", ["halted", "stalled"])
def test_a_stopped_rollout_ends_an_apply_with_3_though_no_client_failed(status: str) -> None:
    report = Report("r", "p", NOW, NOW, {"g": {"ok": 3, "skipped": 97}}, rollouts=(step("done"), step(status)))
    error = verdict_error(report, max_unreachable=1.0)
    assert error.exit_code == 3
    assert error.message == f"{status}: rules 2"
    assert "updoser rollout list" in error.hint


@pytest.mark.parametrize("status", sorted({*STATUSES} - {"halted", "stalled"}))
def test_a_rollout_that_waits_or_is_over_ends_an_apply_well(status: Any) -> None:
    report = Report("r", "p", NOW, NOW, {"g": {"ok": 3, "skipped": 97}}, rollouts=(step(status),))
    assert verdict_error(report, max_unreachable=0.0) is None
