"""What pages show of runs: a list of them, one with what came of it, and outcomes as the journal has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.present.history_text import by_text
from reconciler.present.html import links
from reconciler.present.html.report_view import view_of_report
from reconciler.present.html.shapes import Alert, Fact, Line, Sheet, Sign, bar, status_sign
from reconciler.present.words import count_text, number_text, size_text, span_text
from reconciler.reasons import REASONS, reached

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.controller import RunProgress
    from reconciler.present.html.filters import Filters, Pager
    from reconciler.present.html.report_view import ReportView
    from reconciler.present.html.shapes import Segment

    Entry = Mapping[str, Any]

RUN_SIGNS: Mapping[str, Sign] = {
    "running": Sign("ahead", "play", "under way"),
    "done": Sign("good", "check", "done"),
    "failed": Sign("bad", "cross", "failed"),
    "interrupted": Sign("late", "pause", "interrupted"),
    "broken off": Sign("bad", "alert", "broken off"),
}
_OUTCOMES: Mapping[str, Sign] = {
    "changed": Sign("ahead", "update", "changed"),
    "ok": Sign("good", "check", "ok"),
    "failed": Sign("bad", "cross", "failed"),
    "staged": Sign("ahead", "plus", "sent early"),
    "skipped": Sign("idle", "minus", "skipped"),
    "stale": Sign("late", "warn", "stale"),
    "unpatched": Sign("late", "warn", "unpatched"),
    "unfetched": Sign("late", "warn", "unfetched"),
    "held": Sign("idle", "wait", "held"),
    "accepted": Sign("good", "check", "accepted"),
    "remark": Sign("idle", "dots", "remark"),
}
_COMMIT = 10
"""Characters of a commit that are shown."""
_BROKEN_OFF = (
    "Its process ended without a word: it was killed, or the machine went down. What it did until then is below. "
    "The next `updoser apply` looks at what is really there and goes on from it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run in a list. `href` is the address of its page; `job` and `commit` are where and of what it ran."""

    href: str
    command: str
    sign: Sign
    started: str
    took: str
    by: str
    job: str
    commit: str
    counts: Mapping[str, str]
    sent: str
    saved: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsView:
    """A page of the list of runs."""

    runs: Sequence[RunLine]
    filters: Filters
    pager: Pager
    filtered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An entry of the journal. `href` is the address of its client, or of its run where the page is the client's."""

    time: str
    who: str
    href: str
    component: str
    way: str
    sign: Sign
    message: str
    reason: str
    size: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Clients that failed for a reason; `examples` are some, with their addresses and what they said."""

    title: str
    count: str
    todo: str
    href: str
    all_href: str
    examples: Sequence[tuple[str, str, str]]
    more: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is that is under way."""

    says: str
    step: str
    bar: Sequence[Segment]
    facts: Sequence[Fact]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """All that a page shows of a run. `about` are its facts as terms and what they are, some with addresses."""

    run_id: str
    headline: str
    command: str
    sign: Sign
    started: str
    facts: Sequence[Fact]
    alerts: Sequence[Alert]
    progress: Progress | None
    failures: Sequence[Failure]
    report: ReportView | None
    about: Sequence[tuple[str, str, str]]
    parts: Sheet | None
    journal: Sequence[Outcome]
    filters: Filters
    pager: Pager
    filtered: bool


def view_of_runs(documents: Sequence[Entry], filters: Filters, pager: Pager, *, filtered: bool) -> RunsView:
    """Give what a page shows of a list of runs."""
    return RunsView(runs=list(map(_line, documents)), filters=filters, pager=pager, filtered=filtered)


def view_of_run(
    run: Entry,
    report: Entry,
    *,
    progress: RunProgress | None,
    failing: Sequence[Entry],
    entries: Sequence[Entry],
    shows: tuple[Filters, Pager],
    plan_href: str,
    filtered: bool,
) -> RunView:
    """Give what a page shows of a run.

    `report` is the document with which it ended, empty where it has none or isn't that of an apply. `failing` are its
    clients in trouble by reason, `entries` the part of its journal that is shown. `plan_href` is the address of its
    plan where that is remembered.
    """
    made = view_of_report(report) if "rollouts" in report else None
    done = _progress(progress) if progress is not None and run["status"] == "running" else None
    broken = Alert(tone="bad", icon="alert", title="This run was broken off", why=_BROKEN_OFF)
    return RunView(
        run_id=run["run_id"],
        headline=made.headline if made else _headline(run, done),
        command=run["command"],
        sign=RUN_SIGNS[run["status"]],
        started=run["started"],
        facts=made.facts if made else (),
        alerts=[*([broken] if run["status"] == "broken off" else []), *(made.alerts if made else ())],
        progress=done,
        failures=[_failure(run["run_id"], entry) for entry in failing],
        report=made,
        about=_about(run, plan_href),
        parts=_parts(run),
        journal=[outcome_of(entry) for entry in entries],
        filters=shows[0],
        pager=shows[1],
        filtered=filtered,
    )


def outcome_of(entry: Entry, *, of_client: bool = False) -> Outcome:
    """Give an entry of the journal: in the page of a run with its client, in that of a client with its run."""
    before, after = entry["from"] or "", entry["to"] or ""
    client = entry["client"] or ""
    way = f"{before or 'nothing'} \u2192 {after}" if after and before != after else after or before
    who, href = (entry["run_id"], links.run(entry["run_id"])) if of_client else (client, links.client(client))
    if not of_client and not client:
        who, href = entry["group"] or "", ""
    return Outcome(
        time=entry["time"],
        who=who,
        href=href,
        component=entry["component"] or "",
        way=way,
        sign=outcome_sign(entry),
        message=entry["message"] or "",
        reason=REASONS[entry["reason"]].label if entry.get("reason") in REASONS else "",
        size=size_text(entry["bytes"]) if entry.get("bytes") else "",
    )


def outcome_sign(entry: Entry) -> Sign:
    """Give the sign of an entry of the journal; a client that failed before anything was tried wasn't reached."""
    outcome = entry["outcome"]
    if outcome == "failed" and not entry["component"] and not reached(entry["message"] or ""):
        return Sign("late", "ask", "unreachable")
    return _OUTCOMES.get(outcome) or status_sign({"status": outcome})


def _line(run: Entry) -> RunLine:
    origin = run.get("origin", {})
    saved = run["traffic"]["saved"] + run["traffic"]["not_received"]
    return RunLine(
        href=links.run(run["run_id"]),
        command=run["command"],
        sign=RUN_SIGNS[run["status"]],
        started=run["started"],
        took=span_text(run["seconds"]),
        by=by_text(origin),
        job=web_address(origin.get("job", "")),
        commit=commit_of(origin)[:_COMMIT],
        counts={key: _count(run, key) for key in ("changed", "failed", "unreachable")},
        sent=size_text(run["traffic"]["sent"]) if run["traffic"]["sent"] else _count(run, ""),
        saved=size_text(saved) if saved > 0 else "",
    )


def _count(run: Entry, key: str) -> str:
    """Give how many clients ended so; a dash where that isn't known, nothing where the run was about no clients."""
    if run["status"] in {"running", "broken off"}:
        return "-"
    if not any(run["recap"].values()):
        return ""
    return number_text(run["recap"][key]) if key else size_text(0)


def commit_of(origin: Mapping[str, str]) -> str:
    """Give the commit that a run was of: that of the spec, or else that of its pipeline."""
    return origin.get("spec_commit", "") or origin.get("commit", "")


def web_address(text: str) -> str:
    """Give an address that a link may have; empty where a text is none."""
    return text if text.startswith(("https://", "http://")) else ""


def _headline(run: Entry, done: Progress | None) -> str:
    if done:
        return done.says
    if run["status"] == "running":
        return f"{run['command']} is under way."
    how = {"done": "done", "failed": "failed", "interrupted": "interrupted", "broken off": "broken off"}[run["status"]]
    return f"{run['command']}: {how}."


def _progress(said: RunProgress) -> Progress:
    fine = max(said.finished - said.failed - said.unreachable, 0)
    left = max(said.clients - said.finished, 0)
    counts: tuple[tuple[Any, int, str], ...] = (
        ("good", fine, "done"),
        ("bad", said.failed, "failed"),
        ("late", said.unreachable, "unreachable"),
        ("idle", left, "to come"),
    )
    facts = [Fact(number_text(count), label, tone) for tone, count, label in counts if count]
    return Progress(
        says=f"{said.command}: {number_text(said.finished)} of {count_text(said.clients, 'client')} so far.",
        step=said.step,
        bar=bar((tone, count) for tone, count, _label in counts),
        facts=[*facts, Fact(size_text(said.sent), "sent")],
    )


def _failure(run_id: str, entry: Entry) -> Failure:
    reason = entry["reason"]
    about = REASONS[reason]
    examples = []
    for one in entry["examples"]:
        client = one["client"] or ""
        said = (one["message"] or "").removeprefix(f"{about.label}: ")
        what = f"{one['component']}: " if one["component"] else ""
        examples.append(
            (client, links.client(client) if client else "", f"{what}{said}" if said != about.label else "")
        )
    more = entry["clients"] - len({one["client"] for one in entry["examples"]})
    return Failure(
        title=about.label,
        count=count_text(entry["clients"], "change" if reason == "server" else "client"),
        todo=about.todo,
        href=links.with_query(links.run(run_id), [("reason", reason)]) + "#journal",
        all_href=links.clients({"reason": reason}),
        examples=examples,
        more=f"and {number_text(more)} more" if more > 0 else "",
    )


def _about(run: Entry, plan_href: str) -> list[tuple[str, str, str]]:
    origin = run.get("origin", {})
    ended = run["ended"] or ("still under way" if run["status"] == "running" else "not known")
    found = [
        ("Began", run["started"], ""),
        ("Ended", f"{ended} (took {span_text(run['seconds'])})" if run["seconds"] is not None else ended, ""),
        ("By", by_text(origin), ""),
        ("On", origin.get("host", ""), ""),
        (
            "Pipeline",
            " \u00b7 ".join(filter(None, (origin.get("ci", ""), origin.get("job", "")))),
            web_address(origin.get("job", "")),
        ),
        ("Branch or tag", origin.get("ref", ""), ""),
        ("Commit", origin.get("commit", ""), ""),
        ("Commit of the spec", origin.get("spec_commit", ""), ""),
        ("Plan", run["plan_id"] or "", plan_href),
        ("Run", run["run_id"], ""),
    ]
    return [entry for entry in found if entry[1]]


def _parts(run: Entry) -> Sheet | None:
    lines = [Line(cells=(step["step"], step["started"], _took(step["seconds"]))) for step in run.get("steps", ())]
    head = ("part", "began", "took")
    return Sheet(title="Parts", head=head, lines=lines, right=frozenset({2})) if lines else None


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else span_text(seconds)
