"""A status as text: how far the fleet is, the worst first; see `status_rows` for what shares a row.

What needs somebody comes first: halts, components that clients lack, trouble. Then groups, rollouts and the rest.

On a narrow terminal a table keeps its figures: a component whose name is too long for its column stands above them, and
what has no column stands below.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.errors import printable
from reconciler.present.look import PLAIN, hanging
from reconciler.present.relay_text import status_rows as relay_rows
from reconciler.present.rollout_text import halted_lines, standing_rows_of, with_since, without_group
from reconciler.present.site_text import site_lines
from reconciler.present.status_rows import (
    GROUP_HEAD,
    brief_names,
    component_rows,
    component_text,
    condition_rows,
    current_of,
    current_text,
    fine_sources_text,
    group_rows,
    is_fine,
    names_of,
    pending_of,
    quarantine_rest,
    quarantine_rows,
    said_lines,
    source_row,
    used_columns,
    withdrawn_rows,
)
from reconciler.present.trouble import told_lines, told_of_status
from reconciler.present.words import BELOW, commit_text, count_text, grid, moved_text, name_list, page, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.present.look import Look
    from reconciler.present.status_rows import ComponentRow

    Entry = Mapping[str, Any]

_SPARE_COLUMNS = ("by version", "age", "ahead")
"""Columns in the order in which they go where there is no room."""
_LAST_RESORT = ("held -> offered", "unknown", "updated")
_LEAST = 16
"""How many characters the column of components has, at least."""
_NAMES = BELOW + 2
_GREPPED = 25


def status_text(document: Mapping[str, Any], *, look: Look = PLAIN) -> str:
    """Render a status."""
    width = look.width
    components = document["components"]
    lines = [status_head(document), *controller_lines(document), *halted_lines(document["rollouts"])]
    rows, current = component_rows(components), current_of(components)
    lines += ["", *_component_lines(rows, width)] if rows else []
    lines += ["", f"{current_text(components)}:", *_named(names_of(current), width)] if current else []
    lines += [f"  {line}" for line in said_lines(document)]
    if document["troubles"]:
        lines += ["", "Trouble", *told_lines(told_of_status(document["troubles"]))]
    known = _indented(condition_rows(document))
    lines += ["", "Conditions", *table(known, width=width)] if known else []
    lines += _groups(document, width)
    lines += _rollouts(document["rollouts"], width)
    if document["quarantined"]:
        rest = quarantine_rest(document["quarantined"])
        alone = _indented(quarantine_rows(document["quarantined"]))
        lines += ["", "Quarantined", *table(alone, right=frozenset({3}), width=width), *([f"  {rest}"] if rest else [])]
    if document["withdrawn"]:
        taken = _indented(withdrawn_rows(document["withdrawn"]))
        lines += ["", "Withdrawn by their publishers", *table(taken, width=width)]
    lines += site_lines(document, width)
    relays = table(_indented(relay_rows(document)), width=width)
    lines += ["", "Relays", *relays] if relays else []
    return page([*lines, *_sources(document["sources"], width), *_traffic(document["traffic"])], width)


def controller_lines(document: Mapping[str, Any]) -> list[str]:
    """Say in a line each what the controller does, what keeps it from that, and what went wrong; none without one."""
    said = document.get("controller")
    if not said:
        return []
    if said["phase"] == "stopped":
        head = f"Controller: stopped since {said['since']}"
    elif not said["alive"]:
        head = f"Controller: gone: {said['who']} ended without a word, after {said['since']}; start it again"
    else:
        then = f", looks again at {said['next_at']}" if said["next_at"] else ""
        head = f"Controller: {said['phase']} since {said['since']}{then} (mode {said['mode']})"
    lines = [head]
    if said.get("commit"):
        lines.append(f"  {commit_text(said['commit'], said.get('signer', ''))}")
    if said["pause"]:
        until = said["pause"]["until"] or "`updoser controller resume`"
        lines.append(f"  paused by {said['pause']['who']} until {until}: {said['pause']['reason']}")
    if said["trouble"]:
        lines.append(f"  {count_text(said['failures'], 'round')} failed in a row: {said['trouble']}")
    return lines


def status_head(document: Entry) -> str:
    """Give the first line of a status."""
    components = document["components"]
    lacking = (component["outdated"] or component["unknown"] or pending_of(component) for component in components)
    current = sum(not some for some in lacking)
    seen = document["as_of"] or "never"
    return (
        f"Status: {count_text(document['clients'], 'client')}, "
        f"{current} of {count_text(len(components), 'component')} updated everywhere; last looked at {seen}"
    )


def _indented(rows: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    return [(f"  {first}", *rest) for first, *rest in rows]


def _wrapped(text: str, width: int | None, indent: int) -> list[str]:
    return [" " * indent + text.replace("\0", " ")] if width is None else hanging(text, width, indent)


def _named(names: Sequence[str], width: int | None) -> list[str]:
    """Give the lines of a list of releases below a row; none is broken between its name and its version.

    What goes into a file or through a pipe has more of them, as somebody may grep for one.
    """
    if not names:
        return []
    if width is None:
        return _wrapped(name_list([*map(printable, names)], _GREPPED), width, _NAMES)
    *whole, rest = brief_names([name.replace(" ", "\0") for name in map(printable, names)]).split(", ")
    return _wrapped(", ".join([*whole, re.sub(r" and (.+) more$", _unbroken, rest)]), width, _NAMES)


def _unbroken(found: re.Match[str]) -> str:
    return f" {found[0][1:].replace(' ', chr(0))}"


def _component_lines(rows: Sequence[ComponentRow], width: int | None) -> list[str]:
    """Give the lines of a table of components."""
    cells = [{key: printable(text) for key, text in row.cells.items()} for row in rows]
    used = used_columns(cells)
    sizes = {key: max(len(key), *(len(row[key]) for row in cells)) for key in used}
    shown, room = _columns(used, sizes, width)
    lead = max((len(row["component"]) for row in cells if len(row["component"]) <= room), default=0)
    lead = max(lead, len("component"))
    lines = [_aligned("component", {key: key for key in shown}, shown, sizes, lead)]
    for row, shared in zip(cells, rows, strict=True):
        name = row["component"]
        lines += [f"  {name}"] if len(name) > lead else []
        lines.append(_aligned(name if len(name) <= lead else "", row, shown, sizes, lead))
        said = _below(row, [key for key in used[1:] if key not in shown])
        lines += _wrapped(said, width, BELOW) if said else []
        lines += _named(shared.names, width)
    return lines


def _columns(used: Sequence[str], sizes: Mapping[str, int], width: int | None) -> tuple[list[str], int]:
    """Give the columns that there is room for behind that of the components, and how much is left for that."""
    shown = [key for key in used if key != "component"]
    if width is None:
        return shown, sizes["component"]

    def left() -> int:
        return width - 2 - sum(sizes[key] + 2 for key in shown)

    for key in _SPARE_COLUMNS:
        if left() >= sizes["component"]:
            break
        if key in shown:
            shown.remove(key)
    for key in _LAST_RESORT:
        if left() >= min(_LEAST, sizes["component"]):
            break
        shown.remove(key)
    return shown, min(left(), sizes["component"])


def _aligned(name: str, cells: Mapping[str, str], shown: Sequence[str], sizes: Mapping[str, int], lead: int) -> str:
    texts = [cells[key].ljust(sizes[key]) if key in _TO_THE_LEFT else cells[key].rjust(sizes[key]) for key in shown]
    return f"  {'  '.join([name.ljust(lead), *texts])}".rstrip()


_TO_THE_LEFT = {"held -> offered", "by version"}


def _below(cells: Mapping[str, str], left_out: Iterable[str]) -> str:
    """Say what a row has no column for, but for what tells nothing; its age alone tells nothing, either."""
    said = [(key, cells[key]) for key in left_out if cells[key] not in {"", "-", "0"}]
    if all(key == "age" for key, _text in said):
        return ""
    labels = {"by version": "by version:", "held -> offered": ""}
    return ", ".join(f"{labels.get(key, key)} {text}".strip() for key, text in said)


def _groups(document: Entry, width: int | None) -> list[str]:
    rows, says = group_rows(document)
    if not rows and not says:
        return []
    lines = ["", "Groups, by the worst of their components"]
    if rows:
        cells = _indented([GROUP_HEAD, *(row.cells for row in rows)])
        head, *parts = grid(cells, right=frozenset(range(1, len(GROUP_HEAD))), width=width, empty=True)
        lines += head
        for part, row in zip(parts, rows, strict=True):
            lines += part
            for other in row.others:
                lines += _wrapped(printable(component_text(other)), width, BELOW)
                lines += _named(other.names, width)
    return [*lines, *(f"  {line}" for line in says)]


def _rollouts(rollouts: Sequence[Entry], width: int | None) -> list[str]:
    rows = standing_rows_of(rollouts)
    if not rows:
        return []
    lines = ["", "Rollouts under way"]
    cells = without_group(_indented(with_since(row) for row, _names in rows))
    for part, (_row, names) in zip(grid(cells, width=width), rows, strict=True):
        lines += [*part, *_named(names, width)]
    return lines


def _sources(sources: Sequence[Entry], width: int | None) -> list[str]:
    fine = fine_sources_text(sources)
    rows = _indented(source_row(source) for source in sources if not is_fine(source))
    if not rows:
        return ["", f"Sources {fine}"] if fine else []
    return ["", "Sources", *table(rows, width=width), *([f"  {fine}"] if fine else [])]


def _traffic(traffic: Mapping[str, int]) -> list[str]:
    if not any(traffic.values()):
        return []
    received = moved_text("downloaded", traffic["received"], traffic["not_received"])
    return ["", f"All runs: {received}, {moved_text('sent', traffic['sent'], traffic['saved'])}"]
