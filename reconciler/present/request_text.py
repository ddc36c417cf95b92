"""What people asked of the controller, for people: what they want, whether it was done, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.look import PLAIN
from reconciler.present.words import count_text, page, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.present.look import Look

    Entry = Mapping[str, Any]

REQUESTS: Mapping[str, str] = {
    "approve": "Approve",
    "pause": "Pause",
    "resume": "Resume",
    "abort": "Abort",
    "look": "Look now",
    "pause_controller": "Pause the controller",
    "resume_controller": "Resume the controller",
    "block": "Block",
    "pin": "Pin",
}
"""What people ask, in words."""
STATUSES: Mapping[str, str] = {
    "waiting": "waiting",
    "seconded": "waits for a second person",
    "done": "done",
    "refused": "refused",
}
_HEAD = ("id", "asked", "who", "what", "status", "settled", "reason", "says")


def wish_text(entry: Entry) -> str:
    """Say what somebody wants."""
    about = " ".join(filter(None, (entry["component"], entry["version"])))
    where = f"in group {entry['group']}" if entry["group"] else ""
    also = "and take it back" if entry["undo"] else ""
    until = f"until {entry['until']}" if entry["until"] else ""
    return " ".join(filter(None, (REQUESTS.get(entry["kind"], entry["kind"]), about, where, also, until)))


def outcome_text(entry: Entry) -> str:
    """Say in a sentence what came of it; a proposal has its diff behind that."""
    return (entry["says"] or "").partition("\n\n")[0]


def requests_rows(requests: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Give requests as rows, the head first."""
    return [
        _HEAD,
        *(
            (
                str(one["id"]),
                one["at"],
                one["who"],
                wish_text(one),
                one["status"],
                one["done_at"] or "",
                one["reason"] or "",
                outcome_text(one),
            )
            for one in requests
        ),
    ]


def requests_text(requests: Sequence[Entry], *, look: Look = PLAIN) -> str:
    """Render requests, the newest first; what came of each, and why it was asked, stands below it."""
    if not requests:
        return "Nobody asked anything of the controller.\n"
    lines = [f"{count_text(len(requests), 'request')}, the newest first", ""]
    rows = [(f"  {one['id']}", one["at"], one["who"], wish_text(one), STATUSES[one["status"]]) for one in requests]
    for line, one in zip(table(rows), requests, strict=True):
        lines.append(line)
        lines += [f"      because: {one['reason']}"] if one["reason"] else []
        said = outcome_text(one)
        settled = f"{one['done_at']}: " if one["done_at"] else ""
        lines += [f"      {settled}{said}"] if said else []
    return page(lines, look.width)
