"""Sites as rows: which groups are worked on from where, and at which sites nobody works.

Sites
  lyon   40 clients  lyon-office, lyon-plant  down: it had no worker for 40 clients
  paris   9 clients  paris
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.kinds import groups_text
from reconciler.present.words import count_text, grid

if TYPE_CHECKING:
    from collections.abc import Mapping

    Entry = Mapping[str, Any]

SITES_TITLE = "Sites"
SITES_HEAD = ("site", "clients", "groups", "at the last look")
_SHOWN = 20


def site_rows(document: Entry) -> list[tuple[str, ...]]:
    """Give a row for each site of a plan or a status, those that are down first; of many, the first ones."""
    sites = sorted(document.get("sites", ()), key=lambda entry: not entry["no_worker"])
    rows: list[tuple[str, ...]] = [
        (entry["site"], count_text(entry["clients"], "client"), groups_text(entry["groups"]), down_text(entry))
        for entry in sites[:_SHOWN]
    ]
    more = sites[_SHOWN:]
    if more:
        down = sum(entry["no_worker"] > 0 for entry in more)
        rows.append(
            (
                f"{count_text(len(more), 'more site')}",
                count_text(sum(entry["clients"] for entry in more), "client"),
                "",
                f"{down} down" if down else "",
            )
        )
    return rows


def down_text(entry: Entry) -> str:
    """Say that a site is down; empty where it isn't."""
    if not entry["no_worker"]:
        return ""
    return f"down: it had no worker for {count_text(entry['no_worker'], 'client')}"


def site_lines(document: Entry, width: int | None = None) -> list[str]:
    """Give the lines of a text that tell of sites; what to do is said where their clients are told of as trouble."""
    rows = [(f"  {site}", *rest) for site, *rest in site_rows(document)]
    if not rows:
        return []
    shown = [line for lines in grid(rows, right=frozenset({1}), width=width) for line in lines]
    return ["", SITES_TITLE, *shown]
