"""docs/policy/plan.rego on plans of ours, by an interpreter of Rego."""

from typing import Any

import regopy

from reconciler.model.change import Deploy
from reconciler.model.plan import Basis, Finding, Plan, RolloutStep, WaveCounts
from reconciler.model.rollout import Cut, RolloutRecord
from reconciler.present.document import plan_document
from tests.fakes import NOW
from tests.pages import ROOT

RULES = (ROOT / "docs/policy/plan.rego").read_text(encoding="utf-8")


def denied(**fields: Any) -> list[str]:
    """Give why the policy refuses a plan."""
    fields = {"clients": {"office": 20}, "members": {"c1": ("a", "b")}, **fields}
    interpreter = regopy.Interpreter()
    interpreter.add_module("plan", RULES)
    interpreter.set_input(plan_document(Plan("p", NOW, Basis("l", 1, 0, "s", "c"), **fields)))
    return sorted(interpreter.query("data.main.deny").results[0].expressions[0])


def deploy(**more: Any) -> Deploy:
    fields = {"reason": "outdated", "clients": 2, "members": ("c1",), "bytes": 9, "bytes_full": 9, **more}
    return Deploy("rules", "office", "2", "a" * 64, "1", "b" * 64, "any", **fields)


def halted() -> RolloutStep:
    record = RolloutRecord(
        component="rules",
        version="2",
        group="",
        status="halted",
        cuts=(Cut(upto=2**32 - 1),),
        sizes=(20,),
        structure="s",
        started=NOW,
        opened=NOW,
        reason="1 of 2 clients failed",
    )
    return RolloutStep(record, new=False, says="halted", counts=WaveCounts(20))


def test_a_plan_of_routine_passes() -> None:
    one = Finding("office", 1, ("c2",), "no connection")
    assert denied(deploys=(deploy(),), unknown=(one,), members={"c1": ("a", "b"), "c2": ("c",)}) == []


def test_each_rule_refuses_what_it_is_about_and_says_so() -> None:
    assert denied(deploys=(deploy(downgrade=True),)) == ["rules goes back from 2 to 1 on 2 clients"]
    assert denied(unknown=(Finding("office", 2, ("c1",), "no connection"),)) == ["2 of 20 clients did not answer"]
    assert denied(deploys=(deploy(bytes=6 * 2**30),)) == ["12 GiB are sent to clients"]
    assert denied(unmet=("rules 9",)) == ["rules 9 can't be had as declared"]
    assert denied(rollouts=(halted(),)) == ["the rollout of rules 2 is halted"]
