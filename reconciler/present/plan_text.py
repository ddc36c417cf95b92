"""A plan as text for a terminal or a log: a page, whatever the size of the fleet; see `folding` for what shares a row.

The first line is the verdict, of one fixed form:

    Plan: 2 downloads (1.4 MiB), 3 changes on 8 of 8 clients (5.6 MiB); drift 0, held 0, deferred 0, unknown 0, ...

Where settings change, `, settings on 4 clients` stands before the semicolon, and where releases have to be fetched
before they can be deployed, `, 1 release to fetch (58.0 MiB)`. Where what is declared can't be had, the
line ends with `; not as declared: virus-pattern 16.999.00 can't be had, 2 problems`. Halted rollouts follow at once.

A change is one release that goes to clients for one reason: the verdict counts what the rows stand for. Where a size is
a guess, as an incremental isn't made yet, `about` stands before it.

An operation and its reason are two columns of one table. What may be a reason to say no comes first: halts, problems,
and changes of the file that take away a protection; then where the whole run leads, what is done, and what isn't.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.plan import FINDINGS
from reconciler.present.base_text import base_lines
from reconciler.present.fleet_text import leaving_lines, move_lines
from reconciler.present.folding import (
    changes_of,
    clients_of,
    findings_of,
    lines_of,
    rollout_rows_of,
    rows_of,
    scene_of,
)
from reconciler.present.kinds import FIRST_OF_CLIENTS, TABLE, way_text
from reconciler.present.look import PLAIN
from reconciler.present.outlook_text import run_lines
from reconciler.present.provenance_text import release_lines
from reconciler.present.relay_text import relay_lines
from reconciler.present.rollout_text import STOPPED, halted_lines, next_step, without_group
from reconciler.present.site_text import site_lines
from reconciler.present.spec_changes import spec_change_lines, takes_away
from reconciler.present.trouble import EXAMPLES, brief_list, todo_of_finding
from reconciler.present.way_back_text import way_back_lines
from reconciler.present.words import commit_text, count_text, grid, name_list, number_text, page, size_text, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.present.folding import Scene
    from reconciler.present.kinds import Kind, Row
    from reconciler.present.look import Look
    from reconciler.present.rollout_text import Entry


def verdict(document: Entry) -> str:
    """Give the first line of a plan; see the module's docstring."""
    summary = document["summary"]
    waiting = ", ".join(f"{kind} {number_text(summary[kind])}" for kind in FINDINGS if kind in summary)
    return (
        f"Plan: {headline(document)}; "
        f"{waiting}{''.join(f'; not as declared: {trouble}' for trouble in [amiss(document)] if trouble)}"
        f"{'; nothing is known of any client' if is_blind(document) else ''}"
    )


def headline(document: Entry) -> str:
    """Say what a plan does, in numbers."""
    summary = document["summary"]
    download, deploy = summary["download"], summary["deploy"]
    counts = ((kind.clause, summary[kind.action]) for kind in TABLE if kind.clause)
    others = "".join(
        f", {clause} {count_text(count['clients'], 'client')}" for clause, count in counts if count["changes"]
    )
    about = "about " if any(change.get("estimated") for change in document["changes"]) else ""
    others += _to_fetch(document)
    return (
        f"{count_text(download['changes'], 'download')} ({size_text(download['bytes'])}), "
        f"{count_text(changes_of(document), 'change')} on {number_text(deploy['clients'])} of "
        f"{count_text(sum(document['clients'].values()), 'client')} ({about}{size_text(deploy['bytes'])}){others}"
    )


def _to_fetch(document: Entry) -> str:
    """Say how many releases have to be fetched before they can be deployed; empty where there are none."""
    sizes = [change["bytes"] for change in document["changes"] if change["action"] == "fetch"]
    if not sizes:
        return ""
    known = [size for size in sizes if size is not None]
    total = size_text(sum(known)) if known else "of unknown size"
    more = " and more" if 0 < len(known) < len(sizes) else ""
    return f", {count_text(len(sizes), 'release')} to fetch ({total}{more})"


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


def remarks(document: Entry) -> list[str]:
    """Say what a plan is of: a part of the fleet, a commit."""
    commit = document.get("spec_commit")
    of = commit_text(commit, document.get("signer", "")) if commit else ""
    return [
        *(["This plan is partial: a limit or target left something out."] if document["partial"] else []),
        *([f"{of[0].upper()}{of[1:]}."] if of else []),
    ]


def is_blind(document: Entry) -> bool:
    """Say whether nothing is known of any client, where there are some."""
    summary = document["summary"]
    clients: int = sum(document["clients"].values())
    return 0 < clients <= int(summary["unknown"] + summary["unreachable"])


def plan_text(document: Entry, *, names: bool = False, look: Look = PLAIN) -> str:
    """Render a plan; `names` opens rows that stand for several changes, and lists the clients of each."""
    scene = scene_of(document)
    lines = [verdict(document), *halted_lines(document["rollouts"])]
    lines += remarks(document)
    urgent = _problems(document["problems"], every=names)
    changed = spec_change_lines(document, every=names)
    if takes_away(document):
        urgent, changed = [*urgent, *changed], []
    ahead = [*run_lines(document), *savings(document), *way_back_lines(document)]
    lines += [*urgent, *([""] if urgent and ahead else []), *ahead]
    if document["notes"]:
        lines += ["", "To note", *(f"  - {note}" for note in document["notes"])]
    lines += changed
    lines += leaving_lines(document, look.width)
    lines += move_lines(document, every=names, width=look.width)
    lines += base_lines(document)
    lines += release_lines(document, every=names, width=look.width)
    lines += site_lines(document, look.width)
    lines += relay_lines(document, look.width)
    opened = document["members"] if names else None
    for kind in TABLE:
        if kind is FIRST_OF_CLIENTS:
            lines += _rollouts(document, scene, opened, look.width)
        lines += _section(kind, kind.of(document), scene, opened, look.width)
    for finding in FINDINGS:
        lines += _findings(finding, document, scene, opened, look.width)
    if not document["changes"]:
        lines += ["", quiet(document)]
    return page(lines, look.width)


def savings(document: Entry) -> list[str]:
    """Say what incrementals save against fulls, where they save anything."""
    saved = document["summary"]["saved"]
    about = {"deploy": "about " if any(change.get("estimated") for change in document["changes"]) else ""}
    parts = [
        f"{about.get(key, '')}{size_text(saved[key])} to {key}" for key in ("download", "deploy") if saved[key] > 0
    ]
    return [f"Saved against fulls: {', '.join(parts)}."] if parts else []


def quiet(document: Entry) -> str:
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
    if summary.get("pending"):
        return "What is declared is installed everywhere; see above where it isn't loaded."
    if document["problems"] or summary["drift"] or any(entry["status"] in STOPPED for entry in document["rollouts"]):
        return "What is known is as declared; see above what else was found."
    return "Every client has what is declared."


def _problems(problems: Sequence[str], *, every: bool) -> list[str]:
    shown = [f"  ! {line}" for line in (problems if every else brief_list(problems))]
    return ["", "Problems", *shown] if shown else []


def _rollouts(
    document: Entry, scene: Scene, members: Mapping[str, Sequence[str]] | None, width: int | None
) -> list[str]:
    rows = rollout_rows_of(document, scene, opened=members is not None)
    lines = without_group([(f"  {row.cells[0]}", *row.cells[1:]) for row in rows])
    shown = [
        line
        for lines, row in zip(grid(lines, width=width), rows, strict=True)
        for line in (*lines, *_releases(row.names, width))
    ]
    return ["", "Rollouts", *shown] if shown else []


def _section(
    kind: Kind,
    changes: Sequence[Entry],
    scene: Scene,
    members: Mapping[str, Sequence[str]] | None,
    width: int | None,
) -> list[str]:
    """Give what a plan does of one kind; below each line its clients, where `members` are given."""
    if not changes:
        return []
    rows = rows_of(kind, changes, scene) if members is None else lines_of(kind, changes, scene)
    shown = []
    for lines, row in zip(grid(map(kind.line, rows), right=kind.right, width=width), rows, strict=True):
        shown += [*lines, *_releases(row.names, width)]
        if members is not None:
            shown += _opened(row, members, width)
    return ["", kind.title, *shown]


def _opened(row: Row, members: Mapping[str, Sequence[str]], width: int | None) -> list[str]:
    """Give the lines that name the clients of a row."""
    return [line for label, names in named_clients(row, members) for line in wrapped(names, width, label=label)]


def named_clients(row: Row, members: Mapping[str, Sequence[str]]) -> list[tuple[str, list[str]]]:
    """Give the clients of a row; where its changes differ, those of each, behind what is its own."""
    own = [_own(change, row.changes) for change in row.changes]
    apart = len(set(own)) > 1
    parts = (
        [([change], label) for change, label in zip(row.changes, own, strict=True)] if apart else [(row.changes, "")]
    )
    return [
        (label, [name for entry in entries for cohort in entry.get("members", ()) for name in members[cohort]])
        for entries, label in parts
    ]


def _own(change: Entry, alike: Sequence[Entry]) -> str:
    """Say for whom a change is among those of a row, and how each gets it, where that isn't the same for all."""
    if change["action"] != "deploy":
        return ""
    parts = [change["group"]]
    if len({other["from"] for other in alike}) > 1:
        parts.append(f"from {change['from'] or 'nothing'}")
    if len({way_text(other) for other in alike}) > 1:
        parts.append(way_text(change))
    return f"{', '.join(parts)}:"


def _releases(names: Sequence[str], width: int | None) -> list[str]:
    """Name the releases that a row stands for, up to a number of them."""
    more = len(names) - _RELEASES_SHOWN
    rest = [f"        and {number_text(more)} more"] if more > 0 else []
    return [*wrapped(names[:_RELEASES_SHOWN], width), *rest]


_RELEASES_SHOWN = 25
FINDING_TITLES = {
    "drift": "Drift (changed on clients by someone else)",
    "held": "Held (not changed)",
    "deferred": "Deferred (not due yet)",
    "unknown": "Unknown (nothing is known of them, so nothing is changed)",
    "unreachable": "Unreachable (no way from server to client)",
    "pending": "Pending (installed as declared, and not loaded by the engine)",
}
FINDING_MARKS = {"drift": "!", "unknown": "?", "unreachable": "?", "pending": "!"}


def _findings(
    kind: str, document: Entry, scene: Scene, members: Mapping[str, Sequence[str]] | None, width: int | None
) -> list[str]:
    rows = findings_of(kind, document.get(kind, ()), document, scene)
    lines = [(f"  {FINDING_MARKS.get(kind, '=')}", *row.cells) for row in rows]
    shown = []
    for line, row in zip(grid(lines, right=frozenset({2}), width=width), rows, strict=True):
        shown += [*line, *_releases(row.names, width)]
        clients = clients_of(row.findings, document)
        if members is not None:
            shown += wrapped(clients, width)
        elif kind in FINDING_MARKS:
            shown.append(f"        {name_list(clients, EXAMPLES)}")
        fix = todo_of_finding(kind, row.findings[0])
        shown += [f"        fix: {fix}"] if fix else []
    return ["", FINDING_TITLES[kind], *shown] if shown else []
