"""A plan as text for a terminal or a log: plain, aligned, the same at any width.

The first line is the verdict, of one fixed form:

    Plan: 2 downloads (1.4 MiB), 3 changes on 8 of 8 clients (5.6 MiB); drift 0, held 0, deferred 0, unknown 0, ...

Where settings change, `, settings on 4 clients` stands before the semicolon. Where what is declared can't be had, the
line ends with `; not as declared: virus-pattern 16.999.00 can't be had, 2 problems`. Halted rollouts follow at once.

An operation and its reason are two columns of one table; counts stand in the verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.plan import FINDINGS
from reconciler.present.kinds import FIRST_OF_CLIENTS, TABLE
from reconciler.present.outlook_text import run_lines
from reconciler.present.rollout_text import STOPPED, halted_lines, next_step, rollout_rows, waves_of, without_group
from reconciler.present.spec_changes import spec_change_lines
from reconciler.present.words import count_text, name_list, number_text, page, size_text, table, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.present.kinds import Kind
    from reconciler.present.rollout_text import Entry, Waves


def verdict(document: Entry) -> str:
    """Give the first line of a plan; see the module's docstring."""
    summary = document["summary"]
    download, deploy = summary["download"], summary["deploy"]
    counts = ((kind.clause, summary[kind.action]) for kind in TABLE if kind.clause)
    others = "".join(
        f", {clause} {count_text(count['clients'], 'client')}" for clause, count in counts if count["changes"]
    )
    waiting = ", ".join(f"{kind} {number_text(summary[kind])}" for kind in FINDINGS)
    return (
        f"Plan: {count_text(download['changes'], 'download')} ({size_text(download['bytes'])}), "
        f"{count_text(deploy['changes'], 'change')} on {number_text(deploy['clients'])} of "
        f"{count_text(sum(document['clients'].values()), 'client')} ({size_text(deploy['bytes'])}){others}; {waiting}"
        f"{''.join(f'; not as declared: {trouble}' for trouble in [amiss(document)] if trouble)}"
        f"{'; nothing is known of any client' if _is_blind(document) else ''}"
    )


def amiss(document: Entry) -> str:
    """Say what isn't as declared and no change makes so; empty when all is, or will be."""
    unmet, unread = document.get("unmet", ()), document.get("unread", ())
    faults = sum(problem not in document.get("excused", ()) for problem in document["problems"])
    others = faults - len(unmet) - len(unread)
    return ", ".join(
        [
            *([f"{name_list(unmet)} can't be had"] if unmet else []),
            *([f"{name_list([f'source {name}' for name in unread])} can't be read"] if unread else []),
            *([count_text(others, "problem")] if others > 0 else []),
        ]
    )


def _is_blind(document: Entry) -> bool:
    summary = document["summary"]
    clients: int = sum(document["clients"].values())
    return 0 < clients <= int(summary["unknown"] + summary["unreachable"])


def plan_text(document: Entry, *, names: bool = False) -> str:
    """Render a plan; `names` lists the clients of each change."""
    lines = [verdict(document), *run_lines(document), *halted_lines(document["rollouts"])]
    if document["partial"]:
        lines.append("This plan is partial: a limit or target left something out.")
    lines += savings(document)
    lines += _problems(document["problems"])
    if document["notes"]:
        lines += ["", "To note", *(f"  - {note}" for note in document["notes"])]
    lines += spec_change_lines(document, every=names)
    waves = waves_of(document)
    members = document["members"] if names else None
    for kind in TABLE:
        if kind is FIRST_OF_CLIENTS:
            lines += _rollouts(document["rollouts"])
        lines += _section(kind, kind.of(document), waves, members)
    for finding in FINDINGS:
        lines += _findings(finding, document[finding], members)
    if document["gone"]:
        lines += ["", f"Gone from the inventory ({len(document['gone'])}): {name_list(document['gone'], every=names)}"]
        lines.append("  What they have stays there, unmanaged.")
    if not document["changes"]:
        lines += ["", _quiet(document)]
    return page(lines)


def savings(document: Entry) -> list[str]:
    """Say what incrementals save against fulls, where they save anything."""
    saved = document["summary"]["saved"]
    parts = [f"{size_text(saved[key])} to {key}" for key in ("download", "deploy") if saved[key] > 0]
    return [f"Saved against fulls: {', '.join(parts)}."] if parts else []


def _quiet(document: Entry) -> str:
    """Say what an empty plan means, and what goes on all the same."""
    rollouts = document["rollouts"]
    moving = sum(1 for entry in rollouts if entry["new"])
    but = f", but {count_text(moving, 'rollout')} {'moves' if moving == 1 else 'move'} on" if moving else ""
    following = next_step(rollouts)
    then = f" Next step at {following}." if following else ""
    return f"No changes{but}. {_meaning(document)}{then}"


def _meaning(document: Entry) -> str:
    """Say how things stand where nothing is to be done; what isn't known is never called fine."""
    summary, trouble = document["summary"], amiss(document)
    if trouble:
        unknown = " What is not known above may differ." if summary["unknown"] or summary["unreachable"] else ""
        return f"Not as declared: {trouble}.{unknown}"
    if not any(document["clients"].values()):
        return "There are no clients."
    if any(entry.get("stuck") for entry in document["rollouts"]):
        return "A rollout is stuck: see above."
    if summary["unknown"] or summary["unreachable"]:
        return "What is not known above may differ."
    if summary["held"] or summary["deferred"]:
        return "What differs is held or deferred."
    if document["problems"] or summary["drift"] or any(entry["status"] in STOPPED for entry in document["rollouts"]):
        return "What is known is as declared; see above what else was found."
    return "Every client has what is declared."


def _problems(problems: Sequence[str]) -> list[str]:
    return ["", "Problems", *(f"  ! {problem}" for problem in problems)] if problems else []


def _rollouts(rollouts: Sequence[Entry]) -> list[str]:
    if not rollouts:
        return []
    return ["", "Rollouts", *table((f"  {row[0]}", *row[1:]) for row in without_group(rollout_rows(rollouts)))]


def _section(
    kind: Kind, changes: Sequence[Entry], waves: Waves, members: Mapping[str, Sequence[str]] | None
) -> list[str]:
    """Give what a plan does of one kind; below each line its clients, where `members` are given."""
    rows = list(kind.rows(changes, waves, members is not None))
    shown = _listed(map(kind.line, rows), kind.right, [row.changes for row in rows], members)
    return ["", kind.title, *shown] if rows else []


def _listed(
    lines: Iterable[Sequence[str]],
    right: frozenset[int],
    entries: Iterable[Sequence[Entry]],
    members: Mapping[str, Sequence[str]] | None,
) -> list[str]:
    """Give a table, and below each line the clients of its entries, where `members` are given."""
    shown = []
    for line, alike in zip(table(lines, right=right), entries, strict=True):
        shown.append(line)
        if members is not None:
            cohorts = (cohort for entry in alike for cohort in entry.get("members", ()))
            shown += wrapped(name for cohort in cohorts for name in members[cohort])
    return shown


_TITLES = {
    "drift": "Drift (changed on clients by someone else)",
    "held": "Held (not changed)",
    "deferred": "Deferred (not due yet)",
    "unknown": "Unknown (did not answer)",
    "unreachable": "Unreachable (no way from server to client)",
}


def _findings(kind: str, findings: Sequence[Entry], members: Mapping[str, Sequence[str]] | None) -> list[str]:
    mark = "?" if kind in {"unknown", "unreachable"} else "!" if kind == "drift" else "="
    lines = (
        (
            f"  {mark}",
            " ".join(filter(None, (entry["component"], entry["version"]))) or "all components",
            count_text(entry["clients"], "client"),
            entry["group"],
            entry["reason"],
        )
        for entry in findings
    )
    shown = _listed(lines, frozenset({2}), [[entry] for entry in findings], members)
    return ["", _TITLES[kind], *shown] if findings else []
