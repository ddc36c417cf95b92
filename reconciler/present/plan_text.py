"""A plan as text for a terminal or a log: plain, aligned, the same at any width.

The first line is the verdict, of one fixed form:

    Plan: 2 downloads (1.4 MiB), 3 changes on 8 of 8 clients (5.6 MiB); drift 0, held 0, deferred 0, unknown 0, ...

Where settings change, `, settings on 4 clients` stands before the semicolon. Where what is declared can't be had, the
line ends with `; not as declared: virus-pattern 16.999.00 can't be had, 2 problems`. Halted rollouts follow at once.

An operation and its reason are two columns of one table; counts stand in the verdict. Where several groups have the
same change they share a row, and so do incrementals that are downloaded, made or pruned for the same reason.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from reconciler.model.network import DIRECT
from reconciler.present.rollout_text import (
    STOPPED,
    halted_lines,
    next_step,
    of_action,
    proof_rows,
    rollout_rows,
    settings_rows,
    wave_text,
    waves_of,
    without_group,
)
from reconciler.present.words import count_text, name_list, number_text, page, size_text, table, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.present.rollout_text import Waves

_WAITING = ("drift", "held", "deferred", "unknown", "unreachable")
_GROUPS_SHOWN = 3


def verdict(document: Mapping[str, Any]) -> str:
    """Give the first line of a plan; see the module's docstring."""
    summary = document["summary"]
    download, deploy, changed = summary["download"], summary["deploy"], summary["settings"]
    settings = f", settings on {count_text(changed['clients'], 'client')}" if changed["changes"] else ""
    waiting = ", ".join(f"{kind} {number_text(summary[kind])}" for kind in _WAITING)
    return (
        f"Plan: {count_text(download['changes'], 'download')} ({size_text(download['bytes'])}), "
        f"{count_text(deploy['changes'], 'change')} on {number_text(deploy['clients'])} of "
        f"{count_text(sum(document['clients'].values()), 'client')} ({size_text(deploy['bytes'])}){settings}; {waiting}"
        f"{''.join(f'; not as declared: {trouble}' for trouble in [amiss(document)] if trouble)}"
        f"{'; nothing is known of any client' if _is_blind(document) else ''}"
    )


def amiss(document: Mapping[str, Any]) -> str:
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


def _is_blind(document: Mapping[str, Any]) -> bool:
    summary = document["summary"]
    clients: int = sum(document["clients"].values())
    return 0 < clients <= int(summary["unknown"] + summary["unreachable"])


def plan_text(document: Mapping[str, Any], *, names: bool = False) -> str:
    """Render a plan; `names` lists the clients of each change."""
    lines = [verdict(document), *halted_lines(document["rollouts"])]
    if document["partial"]:
        lines.append("This plan is partial: a limit or target left something out.")
    lines += savings(document)
    lines += _problems(document["problems"])
    if document["notes"]:
        lines += ["", "To note", *(f"  - {note}" for note in document["notes"])]
    changes, waves = document["changes"], waves_of(document)
    members = document["members"] if names else None
    for action, title in _SERVER_TITLES.items():
        lines += _server(title, server_rows(of_action(changes, action)))
    lines += _rollouts(document["rollouts"])
    proofs = of_action(changes, "proof")
    lines += _section("Prove again", proof_rows(proofs, waves), proofs, members)
    lines += _deploys(of_action(changes, "deploy"), waves, members)
    settings = of_action(changes, "settings")
    lines += _section("Settings", settings_rows(settings), settings, members, right=frozenset({1}))
    lines += _server("Prune from the store", server_rows(of_action(changes, "prune")))
    lines += _publishing(publish_rows(changes))
    for kind in _WAITING:
        lines += _findings(kind, document[kind], members)
    if document["gone"]:
        lines += ["", f"Gone from the inventory ({len(document['gone'])}): {name_list(document['gone'], every=names)}"]
        lines.append("  What they have stays there, unmanaged.")
    if not document["changes"]:
        lines += ["", _quiet(document)]
    return page(lines)


def savings(document: Mapping[str, Any]) -> list[str]:
    """Say what incrementals save against fulls, where they save anything."""
    saved = document["summary"]["saved"]
    parts = [f"{size_text(saved[key])} to {key}" for key in ("download", "deploy") if saved[key] > 0]
    return [f"Saved against fulls: {', '.join(parts)}."] if parts else []


def _quiet(document: Mapping[str, Any]) -> str:
    """Say what an empty plan means, and what goes on all the same."""
    rollouts = document["rollouts"]
    moving = sum(1 for entry in rollouts if entry["new"])
    but = f", but {count_text(moving, 'rollout')} {'moves' if moving == 1 else 'move'} on" if moving else ""
    following = next_step(rollouts)
    then = f" Next step at {following}." if following else ""
    return f"No changes{but}. {_meaning(document)}{then}"


def _meaning(document: Mapping[str, Any]) -> str:
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


_SERVER_TITLES = {
    "download": "Download to the store",
    "merge": "Merge in the store",
    "generate": "Make incrementals in the store",
}
_MARKS = {"download": "+", "merge": "+", "generate": "+", "prune": "-"}
_VERSIONS_SHOWN = 3


def server_rows(changes: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Give rows (mark, component, from, to, bytes, what, reason) for changes of the store; alike ones share a row."""
    alike: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for at, change in enumerate(changes):
        single = change["action"] == "merge" or change.get("kind") == "full"
        keys = ("action", "component", "to", "platform", "kind", "codec", "source", "reason")
        alike[at if single else -1, *(change.get(key) for key in keys)].append(change)
    return [_server_row(entries) for entries in alike.values()]


def _server_row(alike: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    change = alike[0]
    action = change["action"]
    starts = [entry["from"] or "-" for entry in alike]
    more = len(starts) - _VERSIONS_SHOWN
    before = ", ".join(starts[:_VERSIONS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    size = size_text(sum(entry["bytes"] for entry in alike))
    return (
        _MARKS[action],
        change["component"],
        before,
        change["to"] + _platform(change),
        {"generate": f"about {size}", "merge": ""}.get(action, size),
        _server_what(change, len(alike)),
        change["reason"],
    )


def _server_what(change: Mapping[str, Any], count: int) -> str:
    """Say what a change of the store is about: a full, or how many incrementals of which codec, and their source."""
    action = change["action"]
    if action == "merge":
        full = f"{size_text(change['bytes'])} from {change['source']}" if change["source"] else "nothing"
        return f"by {count_text(len(change['path']), 'incremental')}; if that fails, the full: {full}"
    codec = change["codec"] if action == "generate" else change["kind"]
    packed = codec != "full" and change["from"] is None
    what = "full" if codec == "full" else f"full packed with {codec}" if packed else f"{codec} incremental"
    noun = what if count == 1 else f"{count} {what}s"
    if action != "download":
        return noun
    route = "" if change["route"] == DIRECT else f" {change['route']}"
    return f"{noun} from {change['source']}{route}"


def _server(title: str, rows: Sequence[Sequence[str]]) -> list[str]:
    lines = table([(f"  {row[0]}", row[1], row[2], "->", *row[3:]) for row in rows], right=frozenset({5}))
    return ["", title, *lines] if rows else []


def publish_rows(changes: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Give rows (mark, component, version, bytes, what, reason) for changes of the repository for other sites."""
    return [
        (
            _PUBLISH_MARKS[change["kind"]],
            change["component"] or "all components",
            (change["to"] or "-") + _platform(change),
            size_text(change["bytes"]) if change["bytes"] else "",
            change["kind"],
            change["reason"],
        )
        for change in changes
        if change["action"] == "publish"
    ]


_PUBLISH_MARKS = {
    "release": "+",
    "incrementals": "~",
    "withdraw": "-",
    "restore": "+",
    "let go": "-",
    "signatures": "~",
}


def _publishing(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = table([(f"  {row[0]}", *row[1:]) for row in rows], right=frozenset({3}))
    return ["", "Publish for other sites", *lines] if rows else []


def _platform(change: Mapping[str, Any]) -> str:
    return "" if change["platform"] == "any" else f" ({change['platform']})"


def _rollouts(rollouts: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rollouts:
        return []
    return ["", "Rollouts", *table((f"  {row[0]}", *row[1:]) for row in without_group(rollout_rows(rollouts)))]


def _section(
    title: str,
    rows: Iterable[Sequence[str]],
    entries: Sequence[Mapping[str, Any]],
    members: Mapping[str, Sequence[str]] | None,
    right: frozenset[int] = frozenset(),
) -> list[str]:
    """Give a table with a title, and below each line its clients, where `members` are given."""
    if not entries:
        return []
    lines = ["", title]
    for line, entry in zip(table([(f"  {row[0]}", *row[1:]) for row in rows], right=right), entries, strict=True):
        lines.append(line)
        if members is not None:
            lines += wrapped(name for cohort in entry["members"] for name in members[cohort])
    return lines


def _deploys(
    changes: Sequence[Mapping[str, Any]],
    waves: Waves,
    members: Mapping[str, Sequence[str]] | None,
) -> list[str]:
    if not changes:
        return []
    merged: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for at, change in enumerate(changes):
        merged[_same_change(change, waves) if members is None else (at,)].append(change)
    rows = [_deploy_row(alike, waves) for alike in merged.values()]
    names = [
        [name for cohort in alike[0]["members"] for name in (members or {}).get(cohort, ())]
        for alike in merged.values()
    ]
    lines = table(rows, right=frozenset({5}))
    if members is not None:
        lines = [text for line, listed in zip(lines, names, strict=True) for text in (line, *wrapped(listed))]
    return ["", "Deploy to clients", *lines]


def _same_change(change: Mapping[str, Any], waves: Waves) -> tuple[Any, ...]:
    keys = ("component", "from", "from_digest", "to", "platform", "reason", "why_full", "route", "held", "early")
    return *(change[key] for key in keys), tuple(change["path"]), wave_text(change, waves)


def _deploy_row(alike: Sequence[Mapping[str, Any]], waves: Waves) -> tuple[str, ...]:
    change = alike[0]
    groups = sorted({entry["group"] for entry in alike})
    shown = ", ".join(groups) if len(groups) <= _GROUPS_SHOWN else f"{len(groups)} groups"
    clients = sum(entry["clients"] for entry in alike)
    mark = "+" if change["from"] is None else "<" if change["downgrade"] else "~"
    return (
        f"  {mark}",
        change["component"],
        change["from"] or "-",
        "->",
        change["to"] + _platform(change),
        count_text(clients, "client"),
        way_text(change),
        shown,
        reason_text(change, waves),
    )


def reason_text(change: Mapping[str, Any], waves: Waves) -> str:
    """Say why clients get a release, and in which wave: `outdated, wave 2 of 3`."""
    down = "downgrade" if change["downgrade"] else ""
    return ", ".join(filter(None, (change["reason"], down, wave_text(change, waves))))


def way_text(change: Mapping[str, Any]) -> str:
    """Say what each client of a deploy change is sent: `incremental 1 -> 2, 412.0 KiB instead of 21.0 MiB`."""
    early = "sent early, switched to in time" if change["early"] else ""
    return ", ".join(filter(None, (_sent_text(change), "" if change["route"] == DIRECT else change["route"], early)))


def _sent_text(change: Mapping[str, Any]) -> str:
    if change["held"]:
        return "from what it kept, nothing sent"
    if not change["bytes"]:
        return "nothing sent"
    about = "about " if change["estimated"] else ""
    size, why = f"{about}{size_text(change['bytes'])}", f" ({change['why_full']})" if change["why_full"] else ""
    instead = f"{size} instead of {size_text(change['bytes_full'])}"
    steps = [name.rpartition("/")[0].partition("..") for name in change["path"]]
    if not steps:
        return f"full: {change['why_full']}, {size}" if why else f"{size} each"
    if not steps[0][0]:
        return f"packed full, {instead}{why}"
    versions = [steps[0][0], *(after for _before, _dots, after in steps)]
    return f"incremental{'s' if len(steps) > 1 else ''} {' -> '.join(versions)}, {instead}"


_TITLES = {
    "drift": "Drift (changed on clients by someone else)",
    "held": "Held (not changed)",
    "deferred": "Deferred (not due yet)",
    "unknown": "Unknown (did not answer)",
    "unreachable": "Unreachable (no way from server to client)",
}


def _findings(
    kind: str, findings: Sequence[Mapping[str, Any]], members: Mapping[str, Sequence[str]] | None
) -> list[str]:
    rows = (
        (
            "?" if kind in {"unknown", "unreachable"} else "!" if kind == "drift" else "=",
            " ".join(filter(None, (entry["component"], entry["version"]))) or "all components",
            count_text(entry["clients"], "client"),
            entry["group"],
            entry["reason"],
        )
        for entry in findings
    )
    return _section(_TITLES[kind], rows, findings, members, right=frozenset({2}))
