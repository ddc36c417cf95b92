"""Numbers of a plan: those of the first line, of the rows and of the document are the same, for every plan."""

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.change import Deploy
from reconciler.model.plan import FINDINGS, Basis, Finding, Plan
from reconciler.present.document import plan_document
from reconciler.present.folding import changes_of, findings_of, lines_of, rollout_rows_of, rows_of, scene_of, waiting_of
from reconciler.present.kinds import TABLE
from reconciler.present.markdown import plan_markdown
from reconciler.present.plan_text import plan_text
from tests.fakes import NOW
from tests.unit.situations import Situation, situations

NUMBER = r"\d{1,3}(?: \d{3})*"
VERDICT = re.compile(
    rf"Plan: (?P<download>{NUMBER}) downloads? .*?, (?P<changes>{NUMBER}) changes? on (?P<deploy>{NUMBER}) of "
    rf"(?P<all>{NUMBER}) clients? .*?; "
    + ", ".join(rf"{kind} (?P<{kind}>{NUMBER})" for kind in FINDINGS if kind != "pending")
    + rf"(?:, pending (?P<pending>{NUMBER}))?"
)
CLIENTS = re.compile(rf"(?<!\S)({NUMBER}) clients?(?!\S)")
ROW = re.compile(r"  \S  ")


def number(text: str) -> int:
    return int(text.replace(" ", ""))


def names_of(document: Any, entries: Any) -> set[str]:
    return {name for entry in entries for cohort in entry.get("members", ()) for name in document["members"][cohort]}


def section(text: str, title: str) -> list[str]:
    """Give the rows below a title."""
    lines = text.splitlines()
    if not title or title not in lines:
        return []
    at = lines.index(title) + 1
    end = next(at for at in range(at, len(lines) + 1) if at == len(lines) or not lines[at])
    return [line for line in lines[at:end] if ROW.match(line)]


def shown_clients(rows: list[str]) -> list[int]:
    """Give how many clients each row says it is about."""
    return [number(found[1]) for row in rows if (found := CLIENTS.search(row))]


COHORTS = {"c1": ("a", "b"), "c2": ("c",), "c3": ("d", "e", "f")}
GROUPS = {"c1": "office", "c2": "plant", "c3": "office"}


@st.composite
def alike(draw: Any) -> Plan:
    """Plans of many components that differ in little, so that rows share one."""
    names = [f"rules-{at}" for at in range(draw(st.integers(1, 9)))]
    places = st.sets(st.sampled_from([(name, cohort) for name in names for cohort in COHORTS]), max_size=12)
    reasons = st.sampled_from(["outdated", "outdated", "pinned"])
    deploys = tuple(
        Deploy(
            name, GROUPS[cohort], "1", "a" * 64, "2", "b" * 64, clients=len(COHORTS[cohort]), members=(cohort,),
            reason=draw(reasons), bytes=1, bytes_full=2, platform="any",
        )
        for name, cohort in sorted(draw(places))
    )  # fmt: skip
    findings: dict[str, Any] = {
        kind: tuple(
            Finding(GROUPS[cohort], len(COHORTS[cohort]), (cohort,), draw(st.sampled_from(["x", "y"])), name, "2")
            for name, cohort in sorted(draw(places))
        )
        for kind in ("drift", "held", "deferred", "pending")
    }
    dark: dict[str, Any] = (
        {"unknown": (Finding("office", 3, ("c3",), "did not answer"),)} if draw(st.booleans()) else {}
    )
    clients = {"office": 5, "plant": 1}
    basis = Basis("l", 1, 0, "s", "c")
    return Plan("p", NOW, basis, deploys=deploys, members=COHORTS, clients=clients, **findings, **dark)


plans = st.one_of(alike(), situations().map(Situation.plan))


@given(plans)
@settings(max_examples=30, deadline=None)
def test_the_first_line_of_a_plan_counts_what_the_document_has_and_what_the_rows_stand_for(
    made: Plan,
) -> None:
    document = plan_document(made)
    scene, text = scene_of(document), plan_text(document)
    said = VERDICT.match(text)
    assert said is not None
    deploys = [change for change in document["changes"] if change["action"] == "deploy"]
    rows = {kind.action: rows_of(kind, kind.of(document), scene) for kind in TABLE}
    assert number(said["all"]) == sum(document["clients"].values())
    assert number(said["download"]) == sum(len(row.changes) for row in rows["download"])
    assert number(said["changes"]) == changes_of(document) == sum(row.folded for row in rows["deploy"])
    assert number(said["deploy"]) == document["summary"]["deploy"]["clients"] == len(names_of(document, deploys))
    for kind in FINDINGS:
        listed = document.get(kind, ())
        assert number(said[kind] or "0") == document["summary"].get(kind, 0) == len(names_of(document, listed)), kind


@given(plans)
@settings(max_examples=30, deadline=None)
def test_each_row_of_a_plan_says_how_many_clients_it_is_about_and_none_is_left_out(made: Plan) -> None:
    document = plan_document(made)
    scene, text = scene_of(document), plan_text(document)
    for kind in TABLE:
        changes = kind.of(document)
        for rows in (rows_of(kind, changes, scene), lines_of(kind, changes, scene)):
            assert sorted(id(change) for row in rows for change in row.changes) == sorted(map(id, changes))
        rows = rows_of(kind, changes, scene)
        printed = section(text, kind.title)
        assert len(printed) == len(rows)
        if kind.action in {"deploy", "settings"}:
            assert shown_clients(printed) == [len(names_of(document, row.changes)) for row in rows]
    later = {id(finding) for each in waiting_of(document) for finding in each}
    for name in FINDINGS:
        found = findings_of(name, document.get(name, ()), document, scene)
        told = {id(finding) for row in found for finding in row.findings}
        assert {id(finding) for finding in document.get(name, ())} - told <= (later if name == "deferred" else set())
        title = next((line for line in text.splitlines() if line.startswith(f"{name.capitalize()} (")), "")
        assert shown_clients(section(text, title)) == [len(names_of(document, row.findings)) for row in found]


@given(plans)
@settings(max_examples=20, deadline=None)
def test_who_waits_for_a_wave_is_counted_in_its_row_and_opened_or_not_in_markdown_or_text_the_numbers_are_the_same(
    made: Plan,
) -> None:
    document = plan_document(made)
    scene = scene_of(document)
    rows = rollout_rows_of(document, scene, opened=True)
    for row, waiting in zip(rows, waiting_of(document), strict=True):
        said = re.search(rf"; ({NUMBER}) clients? later$", row.cells[-1])
        assert (number(said[1]) if said else 0) == len(names_of(document, waiting))
    text, shown = plan_text(document), plan_markdown(document)
    assert VERDICT.search(shown) is not None
    assert VERDICT.search(shown)[0] == VERDICT.search(text)[0] == VERDICT.search(plan_text(document, names=True))[0]
