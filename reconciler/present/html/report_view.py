"""What a page shows of the report of an apply: what was done, what failed and why, by group, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.present.html.pages import page
from reconciler.present.html.shapes import Alert, Fact, Line, Sheet, bar, halts, troubles, ways_of
from reconciler.present.outlook_text import step_lines
from reconciler.present.text import changed_text, failures_of, held_line, made_texts
from reconciler.present.words import count_text, number_text, size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.present.html.shapes import Tone, Way
    from reconciler.present.rollout_text import Entry

_TONES: dict[str, Tone] = {
    "ok": "good",
    "changed": "ahead",
    "failed": "bad",
    "unreachable": "late",
    "stale": "late",
}

_ALWAYS = 4
"""How many outcomes have a column even where nobody ended so: the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """All that a page shows of a report."""

    headline: str
    started: str
    ended: str
    facts: Sequence[Fact]
    alerts: Sequence[Alert]
    failures: Sequence[tuple[str, Sequence[Alert]]]
    held: Sheet | None
    recap: Sheet | None
    steps: Sequence[str]
    made: Sequence[str]
    ways: Sequence[Way]
    rollouts: Sheet | None
    next_step: str
    footer: Sequence[str]


def report_html(document: Entry) -> str:
    """Render a report as a page."""
    return page("apply_report.html", view_of_report(document))


def view_of_report(document: Entry) -> ReportView:
    """Give what a page shows of a report."""
    going = [entry for entry in document["rollouts"] if entry["status"] != "done"]
    ways, more = ways_of(going)
    return ReportView(
        headline=f"{changed_text(document)}.",
        started=document["started"],
        ended=document["ended"],
        facts=_facts(document),
        alerts=halts(going),
        failures=[(title, troubles(told)) for title, told in failures_of(document)],
        held=_held(document),
        recap=_recap(document),
        steps=step_lines(document),
        made=made_texts(document),
        ways=ways,
        rollouts=more,
        next_step=document["next_step_at"] or "",
        footer=[f"run {document['run_id']}", f"plan {document['plan_id']}"],
    )


def _facts(document: Entry) -> list[Fact]:
    sizes = (
        ("bytes_received", "downloaded"),
        ("bytes_not_received", "not downloaded, by incrementals"),
        ("bytes_sent", "sent"),
        ("bytes_saved", "not sent, by incrementals"),
    )
    always = {"bytes_received", "bytes_sent"}
    facts = [Fact(size_text(document[key]), label) for key, label in sizes if document[key] > 0 or key in always]
    fetched = document.get("fetched", 0)
    return [*facts, *([Fact(count_text(fetched, "release"), "fetched for the next plan")] if fetched else [])]


def _held(document: Entry) -> Sheet | None:
    lines = [Line(cells=(held_line(entry),)) for entry in document["held"]]
    return Sheet(title="Held when their turn came", head=("what, and why",), lines=lines) if lines else None


def _recap(document: Entry) -> Sheet | None:
    recap = document["recap"]
    if not recap:
        return None
    counted = list(next(iter(recap.values())))
    outcomes = [
        name for at, name in enumerate(counted) if at < _ALWAYS or any(counts[name] for counts in recap.values())
    ]
    lines = [
        Line(
            cells=(group, *(number_text(counts[name]) for name in outcomes)),
            bar=bar((_TONES.get(name, "idle"), counts[name]) for name in outcomes),
        )
        for group, counts in recap.items()
    ]
    head = ("group", *(name.replace("_", " ") for name in outcomes))
    return Sheet(title="Recap by group", head=head, lines=lines, right=frozenset(range(1, len(head))))
