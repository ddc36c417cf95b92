"""The line behind a result: the one thing to do next, for people only."""

from pathlib import Path
from typing import Any

import pytest

from reconciler.desk import Desk
from reconciler.model.change import Deploy
from reconciler.model.plan import Basis, Finding, Plan, RolloutStep
from reconciler.model.report import ComponentStatus, Failure, Report, Status, Troubled
from reconciler.model.rollout import Cut, RolloutRecord
from reconciler.present.closing import after_apply, after_plan, after_status
from reconciler.present.document import plan_document, report_document, status_document
from reconciler.present.terminal import LogStyle, Terminal
from tests.fakes import NOW

MEMBERS = {"c1": ("pc-1",)}
DEPLOY = Deploy(
    "rules", "g", "1", "a" * 64, "2", "b" * 64, clients=1, members=("c1",), reason="outdated", bytes=1, bytes_full=2,
    platform="any",
)  # fmt: skip


def plan(**fields: Any) -> Any:
    return plan_document(Plan("p", NOW, Basis("l", 1, 0, "s", "c"), members=MEMBERS, clients={"g": 1}, **fields))


def step(status: Any = "running", says: str = "here", **more: Any) -> RolloutStep:
    cuts = (Cut("label=canary"), Cut(upto=2**32 - 1))
    record = RolloutRecord(
        component="rules", version="2", group="", status=status, cuts=cuts, sizes=(1, 1), structure="s", started=NOW,
        opened=NOW, wave=1, passed=NOW, cleared=True, reason="why",
    )  # fmt: skip
    return RolloutStep(record, **{"new": False, **more}, says=says)


OFF = (Finding("g", 1, ("c1",), "did not answer"),)


@pytest.mark.parametrize(
    ("fields", "how", "next_"),
    [
        ({"deploys": (DEPLOY,)}, {}, "updoser apply"),
        ({"deploys": (DEPLOY,)}, {"out": "my plan.json"}, "updoser apply 'my plan.json'"),
        ({"deploys": (DEPLOY,), "unknown": OFF}, {"out": "plan.json"}, "updoser apply plan.json"),
        ({"deploys": (DEPLOY,)}, {"options": ["--limit", "pc-*"], "spec": ["-f", "b.yaml"]},
         "updoser apply --limit 'pc-*' -f b.yaml"),
        ({"rollouts": (step(new=True),)}, {}, "updoser apply"),
        ({"rollouts": (step(awaits_approval=True),)}, {}, "updoser rollout approve rules"),
        ({"rollouts": (step(next_at=NOW), step())}, {}, ""),
        ({"rollouts": (step("halted"),), "deploys": (DEPLOY,)}, {}, ""),
        ({"unknown": OFF}, {}, "updoser clients --where state=unreachable"),
        ({"unreachable": OFF}, {}, "updoser clients --where state=unreachable"),
        ({}, {"out": "plan.json"}, ""),
    ],
)  # fmt: skip
def test_behind_a_plan_stands_what_to_do_about_it(fields: Any, how: Any, next_: str) -> None:
    assert after_plan(plan(**fields), **how) == next_


def test_behind_a_report_stands_where_the_trouble_is_that_was_tolerated() -> None:
    off = (Failure("pc-1", "g", "", "did not answer: x", reason="silent"),)
    assert after_apply(report_document(Report("r", "p", NOW, NOW, {}))) == ""
    found = after_apply(report_document(Report("r", "p", NOW, NOW, {}, unreachable=off)))
    assert found == "updoser clients --where state=unreachable"


@pytest.mark.parametrize(
    ("fields", "next_"),
    [
        ({}, ""),
        ({"troubles": (Troubled("silent", 2, ("g",)), Troubled("disk", 1, ("g",)))},
         "updoser clients --where state=unreachable"),
        ({"troubles": (Troubled("disk", 1, ("g",)),)}, "updoser clients --where state=failed"),
        ({"rollouts": (step("halted"),), "troubles": (Troubled("disk", 1, ("g",)),)}, ""),
        ({"components": (ComponentStatus("rules", "2", "2", 0, 1, 0, 0),)}, "updoser plan"),
        ({"components": (ComponentStatus("rules", "2", "2", 1, 0, 0, 0),)}, ""),
    ],
)  # fmt: skip
def test_behind_a_status_stands_what_to_look_at(fields: Any, next_: str) -> None:
    made = {"components": (), **fields}
    assert after_status(status_document(Status(NOW, NOW, 1, groups={}, **made))) == next_


def test_the_next_command_names_the_same_file_and_variables() -> None:
    assert Desk(Terminal(), Path("updoser.yaml")).options == []
    desk = Desk(Terminal(), Path("sites/b.yaml"), ("site=b",))
    assert after_plan(plan(deploys=(DEPLOY,)), spec=desk.options) == "updoser apply -f sites/b.yaml -e site=b"


@pytest.mark.parametrize(
    ("form", "log", "told"),
    [
        ("text", LogStyle(), True),
        ("text", LogStyle(quiet=True), False),
        ("text", LogStyle("json"), False),
        ("json", LogStyle(), False),
        ("markdown", LogStyle(), False),
    ],
)
def test_only_people_are_told_what_is_next(
    form: str, log: LogStyle, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    terminal.form, terminal.log = form, log
    terminal.hint("updoser apply")
    terminal.hint("")
    assert capsys.readouterr() == ("", "\nNext: updoser apply\n" if told else "")
