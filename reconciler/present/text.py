"""Documents other than plans as text for a terminal or a log: plain, aligned, the same at any width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.errors import printable
from reconciler.present.look import PLAIN, hanging
from reconciler.present.outlook_text import step_lines
from reconciler.present.rollout_text import halted_lines, report_lines, standing_table
from reconciler.present.trouble import told_lines, told_of_failures, told_of_status
from reconciler.present.words import BELOW, count_text, grid, number_text, page, size_text, span_text, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.present.look import Look
    from reconciler.present.trouble import Told


def status_text(document: Mapping[str, Any], *, look: Look = PLAIN) -> str:
    """Render a status: the fleet, the worst components first; of each group what isn't updated; then all else."""
    width = look.width
    lines = [_status_head(document), *halted_lines(document["rollouts"])]
    lines += ["", *_component_table(document["components"], width), *map(kept_back_line, kept_back(document))]
    if len(document["groups"]) > 1:
        for entry in document["groups"]:
            behind = [component for component in entry["components"] if component["rate"] < 1]
            fine = len(entry["components"]) - len(behind)
            lines += ["", f"Group {entry['group']}: {fine} of {count_text(fine + len(behind), 'component')} updated"]
            lines += _component_table(behind, width) if behind else []
    if document["rollouts"]:
        lines += ["", "Rollouts under way", *standing_table(document["rollouts"], width)]
    if document["troubles"]:
        lines += ["", "Trouble", *told_lines(told_of_status(document["troubles"]))]
    if document["quarantined"]:
        lines += ["", "Quarantined", *_quarantine(document["quarantined"], width)]
    traffic = document["traffic"]
    if any(traffic.values()):
        received = _moved("downloaded", traffic["received"], traffic["not_received"])
        lines += ["", f"All runs: {received}, {_moved('sent', traffic['sent'], traffic['saved'])}"]
    if document["withdrawn"]:
        lines += ["", "Withdrawn by their publishers", *table(map(withdrawn_row, document["withdrawn"]), width=width)]
    if document["sources"]:
        lines += ["", "Sources", *table(map(source_row, document["sources"]), width=width)]
    return page(lines, width)


def quarantine_rows(quarantined: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Give rows (client, group, until when, failures, message)."""
    return [
        (
            entry["client"],
            entry["group"],
            f"until {entry['until']}",
            count_text(entry["failures"], "failure"),
            entry["message"],
        )
        for entry in quarantined[:_QUARANTINED_SHOWN]
    ]


def quarantine_rest(quarantined: Sequence[Mapping[str, Any]]) -> str:
    """Say how many clients in quarantine aren't shown; nothing when all are."""
    more = len(quarantined) - _QUARANTINED_SHOWN
    return f"and {number_text(more)} more" if more > 0 else ""


_QUARANTINED_SHOWN = 20


def _quarantine(quarantined: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    rest = quarantine_rest(quarantined)
    lines = table(
        [(f"  {row[0]}", *row[1:]) for row in quarantine_rows(quarantined)], right=frozenset({3}), width=width
    )
    return [*lines, *([f"  {rest}"] if rest else [])]


def _status_head(document: Mapping[str, Any]) -> str:
    components = document["components"]
    current = sum(1 for component in components if not component["outdated"] and not component["unknown"])
    seen = document["as_of"] or "never"
    return (
        f"Status: {count_text(document['clients'], 'client')}, "
        f"{current} of {count_text(len(components), 'component')} updated everywhere; last looked at {seen}"
    )


def _component_table(components: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """Give the rows of components; of columns for which there is no room, what they say stands below each row."""
    cells = [[("", f"  {entry['id']}"), *_cells(entry)] for entry in components]
    shown = list(range(len(_COLUMNS)))
    for column in _SPARE_COLUMNS:
        rows = [_COLUMNS, *([text for _label, text in row] for row in cells)]
        if width is None or sum(max(len(row[at]) for row in rows) + 2 for at in shown) - 2 <= width:
            break
        shown.remove(column)
    rows = [[_COLUMNS[at] for at in shown], *([row[at][1] for at in shown] for row in cells)]
    head, *lines = table(rows, right=frozenset(place for place, at in enumerate(shown) if 3 <= at <= 8))
    found = [head]
    for line, row, entry in zip(lines, cells, components, strict=True):
        found += [line, *_below([cell for at, cell in enumerate(row) if at not in shown], entry, width)]
    return found


def _below(cells: Sequence[tuple[str, str]], entry: Mapping[str, Any], width: int | None) -> list[str]:
    """Give what stands below a row: of the columns that it lacks, what isn't clear from the others."""
    clear = {"offered": entry["latest_offered"] == entry["latest_held"], "by version:": entry["rate"] == 1}
    said = [(label, text) for label, text in cells if not clear.get(label) and text not in {"0", "-"}]
    if width is None or all(label == "age" for label, _text in said):
        return []
    return hanging(", ".join(f"{label} {text}" for label, text in said), width, BELOW)


_COLUMNS = (
    "  component", "held", "offered", "updated", "outdated", "ahead", "unknown", "rate", "age", "clients by version",
)  # fmt: skip
_SPARE_COLUMNS = (9, 8, 5, 6, 2)
"""Columns in the order in which they go where there is no room."""


def _cells(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give what stands in the columns behind the component, each with the word for it where it stands elsewhere."""
    counts = [(key, number_text(entry[key])) for key in ("updated", "outdated", "ahead", "unknown")]
    return [
        ("held", entry["latest_held"] or "-"),
        ("offered", entry["latest_offered"] or "-"),
        *counts,
        ("rate", f"{entry['rate'] * 100:.1f} %"),
        ("age", span_text(entry["age"])),
        ("by version:", _versions(entry["versions"])),
    ]


def kept_back(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the components of a status of which something is offered that goes to nobody."""
    return [entry for entry in document["components"] if entry.get("kept_back")]


def kept_back_line(entry: Mapping[str, Any]) -> str:
    """Say what of a component is kept back, why, and from how many clients that count as updated."""
    waiting = entry.get("deferred", 0)
    of = f"; {count_text(waiting, 'client')} deferred, counted as updated" if waiting else ""
    return f"  kept back: {entry['id']} {entry['kept_back']}{of}"


def _versions(versions: Mapping[str, int], shown: int = 4) -> str:
    listed = [f"{version}: {number_text(count)}" for version, count in list(versions.items())[:shown]]
    more = len(versions) - len(listed)
    return ", ".join(listed) + (f", {more} more" if more else "") or "-"


def source_row(source: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the row (source, when it was read, how it is) of a source."""
    state = source["error"] or "fine"
    if source["stale"]:
        state = f"stale: {source['error']}" if source["error"] else "stale"
    return f"  {source['name']}", f"last read {source['last_success'] or 'never'}", state


def withdrawn_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the row (component, version, who has it, who withdrew it and why) of a version."""
    still = count_text(entry["clients"], "client")
    return f"  {entry['component']}", entry["version"], f"{still} with it", f"by {entry['source']}: {entry['reason']}"


def failures_of(document: Mapping[str, Any]) -> list[tuple[str, list[Told]]]:
    """Give what is told of the failures of a report, under titles."""
    parts: dict[str, list[Mapping[str, Any]]] = {"release": [], "machine": []}
    for failure in document["failed"]:
        parts["machine" if failure.get("fault") == "machine" else "release"].append(failure)
    titled = (
        ("Failed", parts["release"]),
        ("Failed because of the machine, which says nothing about a release", parts["machine"]),
        ("Unreachable", document["unreachable"]),
    )
    return [(title, told_of_failures(failures)) for title, failures in titled if failures]


def report_text(document: Mapping[str, Any], *, look: Look = PLAIN) -> str:
    """Render the report of an apply: what failed and why, then a recap by group, and where rollouts are."""
    lines = []
    for title, told in failures_of(document):
        lines += [title, *told_lines(told), ""]
    if document["held"]:
        lines += ["Held when their turn came:", *(f"  {held_line(entry)}" for entry in document["held"]), ""]
    if document["recap"]:
        outcomes = list(next(iter(document["recap"].values())))
        head = ("Recap", *(name.replace("_", " ") for name in outcomes))
        rows = [(f"  {group}", *map(number_text, counts.values())) for group, counts in document["recap"].items()]
        lines += [*table([head, *rows], right=frozenset(range(1, len(head))), width=look.width), ""]
    steps = step_lines(document)
    lines += [*steps, ""] if steps else []
    rollouts = report_lines(document)
    lines += [*rollouts, ""] if rollouts else []
    lines.append(report_end(document))
    return page(lines, look.width)


def held_line(entry: Mapping[str, Any]) -> str:
    """Say which clients weren't changed, and why."""
    what = f"{entry['component']} {entry['version']}" if entry["component"] else "settings"
    return f"{what}, {count_text(entry['clients'], 'client')} of {entry['group']}: {entry['reason']}"


def _moved(word: str, size: int, saved: int) -> str:
    return f"{size_text(size)} {word}{f' ({size_text(saved)} saved)' if saved > 0 else ''}"


def report_end(document: Mapping[str, Any]) -> str:
    """Give the verdict of a report: what was done, and how much was moved."""
    received = _moved("downloaded", document["bytes_received"], document["bytes_not_received"])
    sent = f"{received}, {_moved('sent', document['bytes_sent'], document['bytes_saved'])}"
    done, made = f"{changed_text(document)}; {sent}.", made_texts(document)
    return f"{done} In the store: {', '.join(made)}." if made else done


def changed_text(document: Mapping[str, Any]) -> str:
    """Say whether an apply came to its end, and how many clients changed, failed or weren't reached."""
    changed = sum(counts["changed"] for counts in document["recap"].values())
    bad, off = (
        number_text(sum(counts[key] for counts in document["recap"].values())) for key in ("failed", "unreachable")
    )
    word = "Apply interrupted" if document["interrupted"] else "Apply complete"
    return f"{word}: {count_text(changed, 'client')} changed, {bad} failed, {off} unreachable"


def made_texts(document: Mapping[str, Any]) -> list[str]:
    """Say what an apply did in the store and the repository."""
    return [f"{count_text(document[key], noun)} {what}" for key, noun, what in _MADE if document[key]]


_MADE = (
    ("merged", "full", "merged"),
    ("generated", "incremental", "made"),
    ("pruned", "file", "pruned"),
    ("published", "change", "published"),
    ("fallbacks", "full", "in place of incrementals that failed"),
)


def checks_text(document: Mapping[str, Any], *, every: bool = False, look: Look = PLAIN) -> str:
    """Render the doctor's findings: a line for what is in trouble, below it what fixes that; with `every` all else."""
    shown = [check for check in document["checks"] if every or check["level"] != "ok"]
    rows = [(check["client"] or "this machine", check["what"], check["level"], check["finding"]) for check in shown]
    lines = []
    for row, check in zip(grid(rows, width=look.width, empty=True), shown, strict=True):
        lines += row
        if check["fix"]:
            lines.append(f"    fix: {printable(check['fix'])}")
    summary = document["summary"]
    clients = len({check["client"] for check in document["checks"] if check["client"]})
    counts = ", ".join(f"{number_text(summary[level])} {level}" for level in ("fail", "warn", "ok"))
    more = "; -v shows all" if summary["ok"] and not every else ""
    checks = count_text(len(document["checks"]), "check")
    lines.append(f"{checks} of this machine and {count_text(clients, 'client')}: {counts}{more}")
    return page(lines, look.width)


def repository_text(document: Mapping[str, Any]) -> str:
    """Render the repository for other sites: what it offers, by whose signatures, and what is next to do."""
    lines = [_repository_head(document)]
    roles = [
        (f"  {entry['role']}", f"version {entry['version']}", f"expires {entry['expires']}")
        for entry in document["roles"]
        if entry["version"]
    ]
    if roles:
        lines += ["", "Signatures", *table(roles)]
    if document["releases"]:
        rows = [
            (
                f"  {entry['component']}",
                entry["version"] + ("" if entry["platform"] == "any" else f" ({entry['platform']})"),
                size_text(entry["bytes"]),
                count_text(entry["incrementals"], "incremental"),
            )
            for entry in document["releases"]
        ]
        lines += ["", "Published", *table(rows, right=frozenset({2}))]
    if document["withdrawn"]:
        taken = [(f"  {entry['component']}", entry["version"], entry["reason"]) for entry in document["withdrawn"]]
        lines += ["", "Withdrawn", *table(taken)]
    for key, word in (("renew", "The next apply signs anew"), ("rotate", "The root should be rotated")):
        if document[key] and document["ready"]:
            lines += ["", f"{word}: {document[key]}"]
    if document["staged"]:
        lines += ["", *_staged_lines(document["staged"], first=not document["ready"])]
    return page(lines)


def staged_text(document: Mapping[str, Any]) -> str:
    """Render a root that waits for signatures."""
    return page(_staged_lines(document, first=document["version"] == 1))


def _repository_head(document: Mapping[str, Any]) -> str:
    if not document["ready"]:
        return f"Repository {document['path']}: not ready, it has no root yet"
    releases, withdrawn = len(document["releases"]), len(document["withdrawn"])
    trusted = f"{document['path']}/metadata/1.root.json"
    taken = f", {withdrawn} withdrawn" if withdrawn else ""
    return f"Repository {document['path']}: {count_text(releases, 'release')}{taken}; others trust it by {trusted}"


def _staged_lines(staged: Mapping[str, Any], *, first: bool) -> list[str]:
    command = f"updoser publish {'init' if first else 'rotate'}"
    head = (
        f"The root {staged['path']} (version {staged['version']}) has {count_text(len(staged['signed']), 'signature')}"
    )
    if not staged["needed"]:
        return [f"{head}, which are enough. On the server, take it into use: {command}"]
    return [
        f"{head} and needs {staged['needed']} more, of these keys:",
        *(f"  {key}" for key in staged["missing"]),
        f"Where such a key is: updoser publish sign {staged['path']} --key KEYFILE",
    ]
