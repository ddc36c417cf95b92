"""What is to be fetched before it can be deployed: as plans tell it, and as policies and controllers take it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.controller.pace import SHORTEST, Fetched
from reconciler.model.change import Fetch
from reconciler.model.plan import Basis, Plan
from reconciler.model.report import Report
from reconciler.present.document import plan_document, report_document
from reconciler.present.gitlab import terraform_report
from reconciler.present.html.plan_view import plan_html
from reconciler.present.html.report_view import report_html
from reconciler.present.junit import plan_junit
from reconciler.present.markdown import plan_markdown
from reconciler.present.plan_text import plan_text
from reconciler.present.policy import MEASURES
from reconciler.present.reading import read_plan
from reconciler.present.text import report_text

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RULES = Fetch(
    component="rules", previous="1", to="2", platform="any", source="vendor", bytes=58 * 2**20, reason="outdated"
)


def document(*fetches: Fetch) -> Any:
    return plan_document(Plan("p", NOW, Basis("l", 1, 0, "a" * 64, "b" * 64), clients={"g": 7}, fetches=fetches))


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([58 * 2**20], "1 release to fetch (58.0 MiB)"),
        ([None], "1 release to fetch (of unknown size)"),
        ([2**20, None, 2**20], "3 releases to fetch (2.0 MiB and more)"),
    ],
)
def test_the_first_line_says_how_much_is_to_be_fetched(sizes: list[int | None], words: str) -> None:
    fetches = [replace(RULES, component=f"rules-{at}", bytes=size) for at, size in enumerate(sizes)]
    first = plan_text(document(*fetches)).split("\n")[0]
    assert f"of 7 clients (0 B), {words}; drift 0" in first


def test_a_plan_without_any_says_nothing_of_that() -> None:
    assert "fetch" not in plan_text(document())


def test_a_row_says_from_where_and_that_nobody_knows_the_digest() -> None:
    text = plan_text(document(replace(RULES, route="via egress", bytes=None)))
    (row,) = (line for line in text.split("\n") if "rules" in line)
    words = "+ rules 1 -> 2 ? from vendor via egress, digest unknown until fetched outdated"
    assert " ".join(row.split()) == words


def test_many_share_a_row_for_each_source() -> None:
    fetches = [replace(RULES, component=f"rules-{at}", source="a" if at % 2 else "b") for at in range(40)]
    rows = [line for line in plan_text(document(*fetches)).split("\n") if "digest unknown" in line]
    assert [row.split()[1:3] for row in rows] == [["20", "components"], ["20", "components"]]
    assert "1.1 GiB" in rows[0]


@pytest.mark.parametrize("render", [plan_markdown, plan_html, plan_junit])
def test_each_form_of_a_plan_names_what_is_fetched(render: Any) -> None:
    hostile = replace(RULES, source="<b>|vendor")
    shown = render(document(hostile))
    assert "digest unknown until fetched" in shown or "rules" in shown
    assert "<b>|vendor" not in shown


@pytest.mark.parametrize("render", [plan_text, plan_markdown, plan_html, plan_junit])
def test_what_a_source_fetches_that_can_prove_nothing_is_not_signed(render: Any) -> None:
    for signed, says in ((False, True), (True, False), (None, False)):
        written = document(replace(RULES, signed=signed))
        assert ("outdated, not signed" in render(written)) is says
        assert written["changes"][0].get("signed") is signed
        assert read_plan(written).fetches == (replace(RULES, signed=signed),)
        assert MEASURES["unsigned"].of(written) == says
    many = [replace(RULES, component=f"rules-{at}", signed=at % 2 == 0) for at in range(40)]
    assert plan_text(document(*many)).count("not signed") == 1


def test_a_plan_file_has_it_and_a_merge_request_counts_no_client_for_it() -> None:
    written = document(RULES)
    assert read_plan(written).fetches == (RULES,)
    assert '"create": 0' in terraform_report(written)


def test_a_policy_can_refuse_it() -> None:
    assert MEASURES["unfetched"].of(document(RULES, replace(RULES, component="other"))) == 2


def test_a_controller_goes_on_soon_after_something_new_was_fetched_and_not_again_and_again() -> None:
    fetched = Fetched()
    soon = NOW + SHORTEST
    assert fetched.due(NOW, ()) is None
    assert fetched.due(NOW, (RULES,)) == soon
    assert fetched.due(NOW, (RULES,)) is None  # its source doesn't offer it
    assert fetched.due(NOW, (RULES, replace(RULES, to="3"))) == soon
    assert fetched.due(NOW + timedelta(days=1), ()) is None
    assert fetched.due(NOW, (RULES,)) == soon


def test_a_report_says_what_the_next_plan_can_deploy() -> None:
    report = Report(run_id="r", plan_id="p", started=NOW, ended=NOW, recap={}, fetched=2)
    written = report_document(report)
    assert report_text(written).rstrip().endswith("Fetched for the next plan: 2 releases.")
    assert "fetched for the next plan" in report_html(written)
    assert "fetched" not in report_document(replace(report, fetched=0))
