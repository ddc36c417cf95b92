"""What a page shows of who did what: what people asked in the console, the commands that they gave, who signed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.model.request import OPEN
from reconciler.present.history_text import by_text
from reconciler.present.html import links
from reconciler.present.html.runs_view import RUN_SIGNS, web_address
from reconciler.present.html.shapes import Sign
from reconciler.present.request_text import STATUSES, outcome_text, wish_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.present.html.filters import Filters, Pager

    Entry = Mapping[str, Any]

KINDS: Mapping[str, str] = {
    "request": "asked in the console",
    "command": "commands",
    "sign-in": "sign-ins",
    "apply": "applies",
}
"""The kinds of deeds, and what a form calls them."""
REQUEST_SIGNS: Mapping[str, Sign] = {
    "waiting": Sign("late", "wait", STATUSES["waiting"]),
    "seconded": Sign("late", "ask", STATUSES["seconded"]),
    "done": Sign("good", "check", STATUSES["done"]),
    "refused": Sign("bad", "cross", STATUSES["refused"]),
}
_WAYS: Mapping[str, str] = {
    "link": "by the link of `updoser serve`",
    "oidc": "by the provider",
    "proxy": "by the proxy",
    "token": "by a token",
}
_SIGNED_IN = Sign("idle", "check", "signed in")
CSV_HEAD = ("time", "kind", "who", "what", "reason", "result", "says", "ended", "from", "roles", "commit", "id")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeedLine:
    """What somebody did: `href` has more about it, `says` is what came of it, `origin` where it came from."""

    time: str
    who: str
    what: str
    href: str
    kind: str
    sign: Sign
    reason: str
    says: str
    ended: str
    origin: str
    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """A page of the list of what people did. `csv` is the address of all of it as a table."""

    deeds: Sequence[DeedLine]
    filters: Filters
    pager: Pager
    filtered: bool
    csv: str


def view_of_audit(documents: Sequence[Entry], filters: Filters, pager: Pager, *, filtered: bool, csv: str) -> AuditView:
    """Give what a page shows of what people did."""
    return AuditView(deeds=list(map(_line, documents)), filters=filters, pager=pager, filtered=filtered, csv=csv)


def audit_row(entry: Entry) -> tuple[str, ...]:
    """Give the row of a table for what somebody did, under `CSV_HEAD`."""
    line = _line(entry)
    return (
        line.time,
        line.kind,
        line.who,
        line.what,
        line.reason,
        line.sign.text,
        line.says,
        line.ended,
        line.origin,
        " ".join(entry.get("roles", ())),
        entry.get("origin", {}).get("spec_commit", "") or entry.get("origin", {}).get("commit", ""),
        str(entry.get("id") or entry.get("run_id") or ""),
    )


def _line(entry: Entry) -> DeedLine:
    kind = entry["deed"]
    return {"request": _request, "sign-in": _sign_in}.get(kind, _command)(entry)


def _request(entry: Entry) -> DeedLine:
    return DeedLine(
        time=entry["at"],
        who=entry["who"],
        what=wish_text(entry),
        href=links.path("requests", str(entry["id"])),
        kind="request",
        sign=REQUEST_SIGNS[entry["status"]],
        reason=entry["reason"] or "",
        says=outcome_text(entry),
        ended="" if entry["status"] in OPEN else entry["done_at"] or "",
        origin=entry["address"],
        job="",
    )


def _command(entry: Entry) -> DeedLine:
    origin = entry.get("origin", {})
    where = " \u00b7 ".join(filter(None, (origin.get("host", ""), origin.get("ref", ""))))
    said = [one["message"] for one in entry.get("entries", ()) if one["message"]]
    return DeedLine(
        time=entry["started"],
        who=by_text(origin),
        what=f"updoser {entry['command']}",
        href=links.run(entry["run_id"]),
        kind=entry["deed"],
        sign=RUN_SIGNS[entry["status"]],
        reason="",
        says="; ".join(said),
        ended=entry["ended"] or "",
        origin=where,
        job=web_address(origin.get("job", "")),
    )


def _sign_in(entry: Entry) -> DeedLine:
    return DeedLine(
        time=entry["created"],
        who=entry["who"],
        what=f"Sign in {_WAYS.get(entry['way'], '')}".strip(),
        href="",
        kind="sign-in",
        sign=_SIGNED_IN,
        reason="",
        says=f"as {', '.join(entry['roles'])}" if entry["roles"] else "",
        ended=entry["ends"],
        origin=entry["address"],
        job="",
    )
