"""What isn't managed any more, and which clients come and go, in a plan's text and in Markdown.

    Not managed any more
      -  virus-pattern stays on  6 clients  branch, office  the spec doesn't list it any more
    Clients that come and go
      +  group dmz is new     12 clients  d-1, d-2, d-3 and 9 more
      -  gone from office      1 client   pc-9

From ALIKE on, components and groups of which the same is said share a row. What the list of the spec's changes says of
new clients isn't said again; of those that are gone it is, as what they have stays there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.folding import ALIKE
from reconciler.present.kinds import groups_text
from reconciler.present.spec_changes import shown_paths
from reconciler.present.words import count_text, grid, name_list, number_text, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Entry = Mapping[str, Any]
    _Cells = tuple[str, ...]

LEAVING_HEAD = ("not managed any more", "clients", "group", "why")
MOVES_HEAD = ("clients that come and go", "clients", "names")
_NOW, _EARLIER, _MOVES = "Not managed any more", "Not managed", "Clients that come and go"
_SETTINGS = "files of settings"
_WHY = {
    ("not_listed", True): "the spec doesn't list it any more",
    ("not_listed", False): "the spec doesn't list it",
    ("not_for_group", True): "no longer for the group's scan method",
    ("not_for_group", False): "not for the group's scan method",
    ("settings", True): "the group's settings don't have them any more",
    ("settings", False): "the group's settings don't have them",
}
TODO = "It is left as it is: list it again to keep it current, or take it off the clients."
STAYS = "What is gone keeps what it has, unmanaged."
_MARKS = {"group_new": "+", "clients_new": "+", "clients_moved": "~", "group_gone": "-", "clients_gone": "-"}
_MANY = {
    "group_new": "are new",
    "group_gone": "are gone",
    "clients_new": "have new clients",
    "clients_gone": "have fewer clients",
}
_PARTS = {"group_new": "added", "clients_new": "added"}


def leaving_lines(document: Entry, width: int | None = None) -> list[str]:
    """Give the lines of a plan's text that say what stays on clients and isn't managed."""
    lines: list[str] = []
    for title, now in ((_NOW, True), (_EARLIER, False)):
        rows = leaving_rows(document, now=now)
        if rows:
            lines += ["", title]
        cells = [(f"  {mark}", *rest) for (mark, *rest), _components in rows]
        for part, (_cells, components) in zip(grid(cells, right=_CLIENTS, width=width), rows, strict=True):
            lines += [*part, *(wrapped(components, width) if len(components) > 1 else [])]
    return [*lines, f"  {TODO}"] if lines else []


def leaving_rows(document: Entry, *, now: bool) -> list[tuple[_Cells, list[str]]]:
    """Give rows (mark, what stays, clients, groups, why) of what leaves with this plan, or of what left before.

    Beside each stands which components it is about.
    """
    by_component: dict[tuple[str, str], list[Entry]] = {}
    for entry in document.get("leaving", ()):
        if entry["now"] == now:
            by_component.setdefault((entry["component"] or _SETTINGS, entry["reason"]), []).append(entry)
    alike: dict[tuple[str, str], list[str]] = {}
    for (component, reason), entries in by_component.items():
        alike.setdefault((groups_text(entry["group"] for entry in entries), reason), []).append(component)
    rows: list[tuple[_Cells, list[str]]] = []
    for (groups, reason), components in alike.items():
        parts = [components] if len(components) >= ALIKE else [[component] for component in components]
        for part in parts:
            counts = [sum(entry["clients"] for entry in by_component[component, reason]) for component in part]
            what = part[0] if len(part) == 1 else count_text(len(part), "component")
            what += " stays on" if len(part) == 1 and part[0] != _SETTINGS else " stay on"
            clients = f"{'up to ' if len(set(counts)) > 1 else ''}{count_text(max(counts), 'client')}"
            rows.append((("-" if now else "=", what, clients, groups, _WHY[reason, now]), part))
    return rows


def move_lines(document: Entry, *, every: bool = False, width: int | None = None) -> list[str]:
    """Give the lines of a plan's text that say who came, left and moved; `every` names all who are gone."""
    rows = move_rows(document)
    if not rows:
        return []
    cells = [(f"  {mark}", *rest) for mark, *rest in rows]
    lines = ["", _MOVES, *(line for part in grid(cells, right=_CLIENTS, width=width) for line in part)]
    if not document["gone"]:
        return lines
    return [*lines, *(wrapped(document["gone"], width, label="gone:") if every else []), f"  {STAYS}"]


def move_rows(document: Entry) -> list[_Cells]:
    """Give rows (mark, what happened, clients, names)."""
    moves = _moves(document)
    rows: list[_Cells] = []
    for kind, mark in _MARKS.items():
        entries = [entry for entry in moves if entry["kind"] == kind]
        if len(entries) >= ALIKE and kind in _MANY:
            clients = count_text(sum(entry["clients"] for entry in entries), "client")
            groups = name_list([entry["group"] for entry in entries], 3)
            rows.append((mark, f"{count_text(len(entries), 'group')} {_MANY[kind]}", clients, groups))
        else:
            rows += [(mark, _says(entry), count_text(entry["clients"], "client"), _names(entry)) for entry in entries]
    return rows


def _moves(document: Entry) -> Sequence[Entry]:
    """Give the moves that are to be told; who is gone is, where nobody says from which group."""
    told = shown_paths(document)
    moves = [
        entry
        for entry in document.get("fleet_moves", ())
        if entry["kind"] not in _PARTS or not {f"groups.{entry['group']}", f"groups.{entry['group']}.clients"} & told
    ]
    gone = document["gone"]
    if gone and not any(entry["kind"] in {"clients_gone", "group_gone"} for entry in moves):
        moves.append({"kind": "clients_gone", "group": "", "before": None, "clients": len(gone), "names": gone[:3]})
    return moves


def _says(entry: Entry) -> str:
    kind, group = entry["kind"], entry["group"]
    if kind == "clients_moved":
        return f"from {entry['before']} to {group}"
    if kind in {"group_new", "group_gone"}:
        return f"group {group} is {'new' if kind == 'group_new' else 'gone'}"
    return f"new in {group}" if kind == "clients_new" else f"gone from {group or 'the inventory'}"


def _names(entry: Entry) -> str:
    more = entry["clients"] - len(entry["names"])
    return f"{', '.join(entry['names'])}{f' and {number_text(more)} more' if more else ''}"


def removed(document: Entry) -> int:
    """Count the clients that a plan lets go of: those that are gone, and those that something leaves with it."""
    return int(document.get("leaving_clients", 0)) + len(document["gone"])


_CLIENTS = frozenset({2})
