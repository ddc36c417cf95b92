"""Relays as rows: in a plan who fetches from which, and what that spares; in a status how their hosts are.

Relays
  lyon  40 clients fetch 11.7 MiB  300.0 KiB over the line, not 11.7 MiB  serves lyon  gone for 15 min: direct
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.words import count_text, grid, size_text, span_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    Entry = Mapping[str, Any]

RELAYS_TITLE = "Relays"
RELAYS_HEAD = ("relay", "clients", "over the line", "to fill it", "serves", "when it is gone")


def relay_rows(document: Entry) -> list[tuple[str, ...]]:
    """Give a row for each relay that a plan makes use of; see RELAYS_HEAD."""
    return [
        (entry["relay"], _clients(entry), _line(entry), _fill(entry), entry["serves"], _gone(entry))
        for entry in document.get("relays", ())
    ]


def relay_lines(document: Entry, width: int | None = None) -> list[str]:
    """Give the lines of a plan's text that tell of relays."""
    rows = [
        (f"  {name}", clients, line, fill, f"serves {serves}", gone)
        for name, clients, line, fill, serves, gone in relay_rows(document)
    ]
    shown = [line for lines in grid(rows, width=width) for line in lines]
    return ["", RELAYS_TITLE, *shown] if shown else []


STATUS_HEAD = ("relay", "host", "has", "disk", "last seen", "how it is")


def status_rows(document: Entry) -> list[tuple[str, ...]]:
    """Give a row for each host of each relay in a status; see STATUS_HEAD."""
    return [
        (
            entry["relay"],
            f"{entry['host']}{', stands by' if entry['standby'] else ''}",
            f"{count_text(entry['parts'], 'part')}, {size_text(entry['filled'])}" if entry["seen"] else "-",
            f"{size_text(entry['free'])} free{_limit(entry)}" if entry["seen"] else "-",
            f"last seen {entry['seen'] or 'never'}",
            entry["error"] or ("fine" if entry["seen"] else "not asked yet"),
        )
        for entry in document.get("relays", ())
    ]


def _limit(entry: Entry) -> str:
    return f", may take {size_text(entry['limit'])}" if entry["limit"] else ""


def _clients(entry: Entry) -> str:
    fetch = f"{count_text(entry['clients'], 'client')} {'fetches' if entry['clients'] == 1 else 'fetch'}"
    others = ", ".join([f"{entry['others']} can't"] if entry["others"] else [])
    return f"{fetch} {_about(entry)}{size_text(entry['site'])}{f', {others}' if others else ''}"


def _line(entry: Entry) -> str:
    return f"{_about(entry)}{size_text(entry['line'])} over the line, not {size_text(entry['without'])}"


def _fill(entry: Entry) -> str:
    if not entry["fill"]:
        return "nothing to fill" if entry["clients"] else "isn't used"
    hosts = f", {entry['hosts']} hosts" if entry["hosts"] > 1 else ""
    return f"{_about(entry)}{size_text(entry['fill'])} to fill it{hosts}"


def _gone(entry: Entry) -> str:
    then = "direct" if entry["then"] == "direct" else "a later run"
    return f"gone for {span_text(entry['wait'])}: {then}" if entry["wait"] else f"gone: {then}"


def _about(entry: Entry) -> str:
    return "about " if entry["estimated"] else ""
