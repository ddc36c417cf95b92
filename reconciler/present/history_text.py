"""What runs did, for people and spreadsheets: runs, one run with its parts, outcomes that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.protection import PERCENT
from reconciler.present.look import PLAIN
from reconciler.present.words import count_text, number_text, page, size_text, span_text, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.present.look import Look

_RUN = ("run", "started", "command", "took", "result", "changed", "failed", "unreachable", "sent", "saved", "by")
_NARROW = ("run", "started", "command", "result", "")
_OUTCOME = ("time", "run", "client", "component", "from", "to", "outcome", "message")


def history_text(runs: Sequence[Mapping[str, Any]], *, look: Look = PLAIN) -> str:
    """Render a list of runs, the newest first; where the table is too wide, what came of a run is said below it."""
    if not runs:
        return "No runs yet.\n"
    rows = [
        (
            run["run_id"],
            run["started"],
            run["command"],
            span_text(run["seconds"]),
            run["status"],
            *(number_text(run["recap"][key]) for key in ("changed", "failed", "unreachable")),
            size_text(run["traffic"]["sent"]),
            size_text(run["traffic"]["saved"] + run["traffic"]["not_received"]),
            by_text(run.get("origin", {})),
        )
        for run in runs
    ]
    lines = table([_RUN, *rows], right=frozenset(range(5, 10)))
    if look.width is not None and max(map(len, lines)) > look.width:
        lines = table([_NARROW, *map(_narrow, rows)], width=look.width)
    return page(lines, look.width)


def _narrow(row: Sequence[str]) -> tuple[str, ...]:
    """Give the row of a run with all that came of it in its last cell."""
    run, started, command, took, result, changed, failed, unreachable, sent, saved, by = row
    counts = f"{changed} changed, {failed} failed, {unreachable} unreachable"
    return run, started, command, result, f"{counts}; {sent} sent, {saved} saved; took {took}; by {by}"


def history_rows(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Give runs as rows, the head first; numbers are bare, sizes bytes."""
    counts = ("changed", "failed", "unreachable")
    moved = ("sent", "saved", "received", "not_received")
    origin = ("user", "host", "ci", "job", "actor", "commit", "ref", "spec_commit")
    head = ("run", "plan", "command", "started", "ended", "seconds", "status", *counts, *moved, *origin)
    rows = [
        (
            run["run_id"],
            run["plan_id"] or "",
            run["command"],
            run["started"],
            run["ended"] or "",
            "" if run["seconds"] is None else str(run["seconds"]),
            run["status"],
            *(str(run["recap"][key]) for key in counts),
            *(str(run["traffic"][key]) for key in moved),
            *(run.get("origin", {}).get(key, "") for key in origin),
        )
        for run in runs
    ]
    return [head, *rows]


def run_text(run: Mapping[str, Any], *, look: Look = PLAIN) -> str:
    """Render one run: its head, who ran it, how long its parts took, and one line for each outcome."""
    lines = [f"{run['run_id']}  {run['started']}  {run['command']}  {run['status']}  plan {run['plan_id'] or '-'}"]
    origin = run.get("origin", {})
    if origin:
        lines.append(f"  by {by_text(origin)}")
        lines += [f"  {key.replace('_', ' ')} {origin[key]}" for key in _MORE if key in origin]
    if run.get("steps"):
        parts = [(f"  {one['step']}", one["started"], _took(one["seconds"])) for one in run["steps"]]
        lines += ["", "Parts", *table(parts, right=frozenset({2})), ""]
    rows = [
        (
            f"  {entry['client'] or 'store'}",
            entry["component"] or "-",
            f"{entry['from'] or '-'} -> {entry['to'] or '-'}",
            entry["outcome"],
            entry["message"] or "",
        )
        for entry in run["entries"]
    ]
    return page([*lines, *(table(rows, width=look.width) if rows else ["  nothing was changed"])], look.width)


def outcomes_text(document: Mapping[str, Any], *, look: Look = PLAIN) -> str:
    """Render outcomes that were asked for, the newest first."""
    asked = [f"{key} {document[key]}" for key in ("client", "component", "version", "since") if document[key]]
    protection = protection_lines(document.get("protection", ()))
    if not document["entries"]:
        return page([f"Nothing happened yet to {', '.join(asked)}", *protection])
    rows = outcomes_rows(document)
    shown = [(f"  {row[0]}", *(cell or "-" for cell in row[1:-1]), row[-1]) for row in rows]
    lines = table(shown)
    if look.width is not None and max(map(len, lines)) > look.width:
        lines = table(map(_narrow_outcome, shown[1:]), width=look.width)
    title = f"{count_text(len(rows) - 1, 'outcome')} of {', '.join(asked)}, the newest first"
    return page([title, "", *lines, *protection], look.width)


def protection_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how fast most clients had releases, the newest first."""
    rows = [("  version", "offered", *(f"{percent} %" for percent in PERCENT.values()), "counted")]
    for entry in reversed(entries):
        reached = (span_text(entry[milestone]) if entry[milestone] is not None else "-" for milestone in PERCENT)
        how = "once it was loaded" if entry["loads"] else "once it was installed"
        rows.append((f"  {entry['version']}", entry["began"], *reached, how))
    return ["", "Time to protection: until so many of the clients had a release", *table(rows)] if entries else []


def _narrow_outcome(row: Sequence[str]) -> tuple[str, ...]:
    """Give the row of an outcome with what led there in its last cell."""
    time, run, client, component, before, after, outcome, message = row
    return time, client, component, outcome, "; ".join(filter(None, (f"{before} -> {after}", message, f"run {run}")))


def outcomes_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Give outcomes as rows, the head first."""
    keys = ("time", "run_id", "client", "component", "from", "to", "outcome", "message")
    return [_OUTCOME, *(tuple(entry[key] or "" for key in keys) for entry in document["entries"])]


_MORE = ("job", "commit", "ref", "spec_commit")


def by_text(origin: Mapping[str, str]) -> str:
    """Name who ran it: somebody in a pipeline, or a user on a host."""
    if "ci" in origin:
        return " for ".join(filter(None, (origin["ci"], origin.get("actor", ""))))
    return "@".join(filter(None, (origin.get("user", ""), origin.get("host", "")))) or "-"


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else span_text(seconds)
