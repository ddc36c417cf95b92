"""Documents as text for a terminal or a log: plain, aligned, the same at any width.

The first line of a plan is its verdict, of one fixed form:

    Plan: 2 downloads (1.4 MiB), 3 changes on 8 of 8 clients (5.6 MiB); drift 0, held 0, deferred 0, unknown 0, ...

An operation and its reason are two columns of one table; counts stand in the verdict. Where several groups have the
same change they share a row.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_WAITING = ("drift", "held", "deferred", "unknown", "unreachable")
_GROUPS_SHOWN = 3
_NAMES_SHOWN = 10


def size_text(size: float) -> str:
    """Write a number of bytes as people read it: `716 B`, `20.5 MiB`."""
    unit = 0
    while size >= 1024 and unit < len(_SIZES) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} {_SIZES[unit]}" if unit == 0 else f"{size:.1f} {_SIZES[unit]}"


def span_text(seconds: float | None) -> str:
    """Write a time span in its largest fitting unit: `47 s`, `3 h`, `12 d`; a dash when it isn't known."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def count_text(number: int, noun: str) -> str:
    """Write a number with its noun: `1 client`, `48 212 clients`."""
    return f"{number_text(number)} {noun}{'' if number == 1 else 's'}"


def number_text(number: int) -> str:
    """Write a number with thin groups of three digits: `48 212`."""
    return f"{number:,}".replace(",", " ")


def table(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Align rows of cells in columns two blanks apart; the columns in `right` are aligned to the right.

    Control characters in cells (a client's message, say) are shown as `?`: they can't move the cursor or add a line.
    """
    lines = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _page(lines: Iterable[str]) -> str:
    """Join lines to a text; what could move the cursor or add a line, wherever it came from, is shown as `?`."""
    return "".join(f"{printable(line)}\n" for line in lines)


def printable(text: str) -> str:
    """Show as `?` what could move the cursor or add a line."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def verdict(document: Mapping[str, Any]) -> str:
    """Give the first line of a plan; see the module's docstring."""
    summary = document["summary"]
    download, deploy = summary["download"], summary["deploy"]
    waiting = ", ".join(f"{kind} {number_text(summary[kind])}" for kind in _WAITING)
    return (
        f"Plan: {count_text(download['changes'], 'download')} ({size_text(download['bytes'])}), "
        f"{count_text(deploy['changes'], 'change')} on {number_text(deploy['clients'])} of "
        f"{count_text(sum(document['clients'].values()), 'client')} ({size_text(deploy['bytes'])}); {waiting}"
    )


def plan_text(document: Mapping[str, Any], *, names: bool = False) -> str:
    """Render a plan; `names` lists the clients of each change."""
    lines = [verdict(document)]
    if document["partial"]:
        lines.append("This plan is partial: a limit or target left something out.")
    lines += _problems(document["problems"])
    lines += _downloads(change for change in document["changes"] if change["action"] == "download")
    deploys = [change for change in document["changes"] if change["action"] == "deploy"]
    lines += _deploys(deploys, document["members"] if names else None)
    for kind in _WAITING:
        lines += _findings(kind, document[kind], document["members"] if names else None)
    if document["gone"]:
        lines += ["", f"Gone from the inventory ({len(document['gone'])}): {name_list(document['gone'], every=names)}"]
    if not document["changes"]:
        lines += ["", "No changes. " + _quiet(document)]
    return _page(lines)


def _quiet(document: Mapping[str, Any]) -> str:
    """Say what an empty plan means; what isn't known is never called fine."""
    summary = document["summary"]
    if not any(document["clients"].values()):
        return "There are no clients."
    if summary["unknown"] or summary["unreachable"]:
        return "What is not known above may differ."
    if summary["held"] or summary["deferred"]:
        return "What differs is held or deferred."
    if document["problems"] or summary["drift"]:
        return "What is known is as declared; see above what else was found."
    return "Every client has what is declared."


def _problems(problems: Sequence[str]) -> list[str]:
    return ["", "Problems", *(f"  ! {problem}" for problem in problems)] if problems else []


def _downloads(changes: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            "  +",
            change["component"],
            change["from"] or "-",
            "->",
            change["to"] + _platform(change),
            size_text(change["bytes"]),
            f"{change['kind']} from {change['source']}",
            change["reason"],
        )
        for change in changes
    ]
    return ["", "Download to the store", *table(rows, right=frozenset({5}))] if rows else []


def _platform(change: Mapping[str, Any]) -> str:
    return "" if change["platform"] == "any" else f" ({change['platform']})"


def _deploys(changes: Sequence[Mapping[str, Any]], members: Mapping[str, Sequence[str]] | None) -> list[str]:
    if not changes:
        return []
    merged: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for at, change in enumerate(changes):
        merged[_same_change(change) if members is None else (at,)].append(change)
    rows = [_deploy_row(alike) for alike in merged.values()]
    names = [
        [name for cohort in alike[0]["members"] for name in (members or {}).get(cohort, ())]
        for alike in merged.values()
    ]
    lines = table(rows, right=frozenset({5, 6}))
    if members is not None:
        lines = [text for line, listed in zip(lines, names, strict=True) for text in (line, *_wrapped(sorted(listed)))]
    return ["", "Deploy to clients", *lines]


def _same_change(change: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(change[key] for key in ("component", "from", "from_digest", "to", "platform", "reason", "wave"))


def _deploy_row(alike: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    change = alike[0]
    groups = sorted({entry["group"] for entry in alike})
    shown = ", ".join(groups) if len(groups) <= _GROUPS_SHOWN else f"{len(groups)} groups"
    clients = sum(entry["clients"] for entry in alike)
    mark = "+" if change["from"] is None else "<" if change["downgrade"] else "~"
    what = f"{size_text(change['bytes'])} each" if change["bytes"] else "nothing sent"
    reason = change["reason"] + (", downgrade" if change["downgrade"] else "")
    return (
        f"  {mark}",
        change["component"],
        change["from"] or "-",
        "->",
        change["to"] + _platform(change),
        count_text(clients, "client"),
        what,
        shown,
        reason,
    )


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
    if not findings:
        return []
    lines = ["", _TITLES[kind]]
    rows = [
        (
            "  ?" if kind in {"unknown", "unreachable"} else "  !" if kind == "drift" else "  =",
            " ".join(filter(None, (entry["component"], entry["version"]))) or "all components",
            count_text(entry["clients"], "client"),
            entry["group"],
            entry["reason"],
        )
        for entry in findings
    ]
    aligned = table(rows, right=frozenset({2}))
    for line, entry in zip(aligned, findings, strict=True):
        lines.append(line)
        if members is not None:
            lines += _wrapped(sorted(name for cohort in entry["members"] for name in members[cohort]))
    return lines


def name_list(names: Sequence[str], *, every: bool = False) -> str:
    """Write the first names of a list and how many more there are; all of them when `every` is set."""
    shown = names if every else names[:_NAMES_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {number_text(more)} more" if more else "")


def _wrapped(names: Sequence[str], width: int = 100) -> list[str]:
    """Break a list of names into indented lines."""
    lines: list[str] = []
    line = ""
    for name in names:
        if line and len(line) + len(name) + 2 > width:
            lines.append(line)
            line = ""
        line = f"{line}, {name}" if line else name
    return [f"        {text}" for text in (*lines, line) if text]


def status_text(document: Mapping[str, Any]) -> str:
    """Render a status: the fleet, the worst components first; of each group what isn't updated; then the sources."""
    lines = [_status_head(document), "", *_component_table(document["components"])]
    if len(document["groups"]) > 1:
        for entry in document["groups"]:
            behind = [component for component in entry["components"] if component["rate"] < 1]
            fine = len(entry["components"]) - len(behind)
            lines += ["", f"Group {entry['group']}: {fine} of {count_text(fine + len(behind), 'component')} updated"]
            lines += _component_table(behind) if behind else []
    if document["sources"]:
        lines += ["", "Sources", *table(_source_row(source) for source in document["sources"])]
    return _page(lines)


def _status_head(document: Mapping[str, Any]) -> str:
    components = document["components"]
    current = sum(1 for component in components if not component["outdated"] and not component["unknown"])
    seen = document["as_of"] or "never"
    return (
        f"Status: {count_text(document['clients'], 'client')}, "
        f"{current} of {count_text(len(components), 'component')} updated everywhere; last looked at {seen}"
    )


def _component_table(components: Sequence[Mapping[str, Any]]) -> list[str]:
    head = (
        "  component",
        "held",
        "offered",
        "updated",
        "outdated",
        "ahead",
        "unknown",
        "rate",
        "age",
        "clients by version",
    )
    rows = [
        (
            f"  {entry['id']}",
            entry["latest_held"] or "-",
            entry["latest_offered"] or "-",
            *(number_text(entry[key]) for key in ("updated", "outdated", "ahead", "unknown")),
            f"{entry['rate'] * 100:.1f} %",
            span_text(entry["age"]),
            _versions(entry["versions"]),
        )
        for entry in components
    ]
    return table([head, *rows], right=frozenset(range(3, 9)))


def _versions(versions: Mapping[str, int], shown: int = 4) -> str:
    listed = [f"{version}: {number_text(count)}" for version, count in list(versions.items())[:shown]]
    more = len(versions) - len(listed)
    return ", ".join(listed) + (f", {more} more" if more else "") or "-"


def _source_row(source: Mapping[str, Any]) -> tuple[str, ...]:
    state = source["error"] or ("stale" if source["stale"] else "fine")
    return f"  {source['name']}", f"last read {source['last_success'] or 'never'}", state


def report_text(document: Mapping[str, Any]) -> str:
    """Render the report of an apply: what failed and why, then a recap by group."""
    lines = []
    for title, key in (("Failed", "failed"), ("Unreachable", "unreachable")):
        if document[key]:
            lines += [f"{title}:", *(f"  {_failure(failure)}" for failure in document[key]), ""]
    if document["recap"]:
        outcomes = list(next(iter(document["recap"].values())))
        head = ("Recap", *(name.replace("_", " ") for name in outcomes))
        rows = [(f"  {group}", *map(number_text, counts.values())) for group, counts in document["recap"].items()]
        lines += [*table([head, *rows], right=frozenset(range(1, len(head)))), ""]
    lines.append(_report_end(document))
    return _page(lines)


def _failure(failure: Mapping[str, Any]) -> str:
    subject = " ".join(filter(None, (failure["client"], failure["component"])))
    return f"{subject}: {failure['message']}"


def _report_end(document: Mapping[str, Any]) -> str:
    sent = f"{size_text(document['bytes_received'])} downloaded, {size_text(document['bytes_sent'])} sent"
    saved = f", {size_text(document['bytes_saved'])} saved" if document["bytes_saved"] else ""
    changed = sum(counts["changed"] for counts in document["recap"].values())
    bad = sum(counts["failed"] for counts in document["recap"].values())
    off = sum(counts["unreachable"] for counts in document["recap"].values())
    word = "Apply interrupted" if document["interrupted"] else "Apply complete"
    return f"{word}: {count_text(changed, 'client')} changed, {bad} failed, {off} unreachable; {sent}{saved}."


def history_text(runs: Sequence[Mapping[str, Any]]) -> str:
    """Render a list of runs, the newest first."""
    if not runs:
        return "No runs yet.\n"
    head = ("run", "started", "command", "took", "result", "changed", "failed", "unreachable")
    rows = [
        (
            run["run_id"],
            run["started"],
            run["command"],
            span_text(run["seconds"]),
            run["status"],
            *(number_text(run["recap"][key]) for key in ("changed", "failed", "unreachable")),
        )
        for run in runs
    ]
    return _page(table([head, *rows], right=frozenset({5, 6, 7})))


def run_text(run: Mapping[str, Any]) -> str:
    """Render one run: its head, and one line for each outcome."""
    head = f"{run['run_id']}  {run['started']}  {run['command']}  {run['status']}  plan {run['plan_id'] or '-'}"
    rows = [
        (
            f"  {entry['client'] or 'store'}",
            entry["component"] or "-",
            entry["from"] or "-",
            "->",
            entry["to"] or "-",
            entry["outcome"],
            entry["message"] or "",
        )
        for entry in run["entries"]
    ]
    return _page([head, *(table(rows) if rows else ["  nothing was changed"])])


def checks_text(document: Mapping[str, Any]) -> str:
    """Render the doctor's findings: one line for each check, and below a bad one what fixes it."""
    rows = [(check["client"], check["what"], check["level"], check["finding"]) for check in document["checks"]]
    lines = []
    for line, check in zip(table(rows), document["checks"], strict=True):
        lines.append(line)
        if check["fix"]:
            lines.append(f"    fix: {printable(check['fix'])}")
    bad = sum(1 for check in document["checks"] if check["level"] != "ok")
    lines.append(f"{count_text(len(rows), 'check')}, {bad} not ok")
    return _page(lines)


def valid_text(document: Mapping[str, Any]) -> str:
    """Render what a valid spec declares."""
    parts = [count_text(document[key], key[:-1]) for key in ("components", "sources", "groups", "clients")]
    listed = document["inventories"]
    more = f" and {listed} {'inventory' if listed == 1 else 'inventories'}" if listed else ""
    return f"{document['file']} is valid: {', '.join(parts)}{more}\n"


def plugins_text(document: Mapping[str, Any]) -> str:
    """Render the plugins that there are."""
    rows = [(plugin["kind"], plugin["name"], plugin["origin"]) for plugin in document["plugins"]]
    return _page(table([("kind", "name", "from"), *rows]))
