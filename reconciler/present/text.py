"""Documents other than plans as text for a terminal or a log: plain, aligned, the same at any width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.errors import printable
from reconciler.present.look import PLAIN
from reconciler.present.outlook_text import step_lines
from reconciler.present.rollout_text import report_lines
from reconciler.present.trouble import told_lines, told_of_failures
from reconciler.present.words import count_text, grid, moved_text, number_text, page, size_text, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.present.look import Look
    from reconciler.present.trouble import Told


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


def report_end(document: Mapping[str, Any]) -> str:
    """Give the verdict of a report: what was done, and how much was moved."""
    received = moved_text("downloaded", document["bytes_received"], document["bytes_not_received"])
    sent = f"{received}, {moved_text('sent', document['bytes_sent'], document['bytes_saved'])}"
    done, made = f"{changed_text(document)}; {sent}.", made_texts(document)
    done += f" In the store: {', '.join(made)}." if made else ""
    fetched = document.get("fetched", 0)
    return f"{done} Fetched for the next plan: {count_text(fetched, 'release')}." if fetched else done


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
    of = (
        f"{count_text(len(document['sources']), 'source')}"
        if "sources" in document
        else (f"this machine and {count_text(clients, 'client')}")
    )
    counts = ", ".join(f"{number_text(summary[level])} {level}" for level in ("fail", "warn", "ok"))
    more = "; -v shows all" if summary["ok"] and not every else ""
    checks = count_text(len(document["checks"]), "check")
    lines.append(f"{checks} of {of}: {counts}{more}")
    return page(lines, look.width)


def repository_text(document: Mapping[str, Any]) -> str:
    """Render repositories: what the signed one offers, by whose signatures and what is next to do; then all others."""
    mirrors = [line for mirror in document.get("mirrors", ()) for line in _mirror_lines(mirror)]
    if not document["path"]:
        return page(mirrors)
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
    return page([*lines, *([""] if mirrors else []), *mirrors])


def _mirror_lines(mirror: Mapping[str, Any]) -> list[str]:
    """Say what a repository in another layout has."""
    count = count_text(len(mirror["releases"]), "release")
    lines = [f"Repository {mirror['name']} ({mirror['layout']}) {mirror['path']}: {count}"]
    rows = [
        (
            f"  {entry['component']}",
            entry["version"] + ("" if entry["platform"] == "any" else f" ({entry['platform']})"),
            size_text(entry["bytes"]),
            f"{number_text(entry['attached'])} attached" if entry["attached"] else "",
        )
        for entry in mirror["releases"]
    ]
    lines += table(rows, right=frozenset({2})) if rows else []
    if mirror["problem"]:
        lines.append(f"  nothing is published: {printable(mirror['problem'])}")
    elif mirror["renew"]:
        lines.append(f"  the next apply writes anew: {printable(mirror['renew'])}")
    return lines


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
