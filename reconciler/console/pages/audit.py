"""Who did what: requests of the console with what came of them, commands of people, and who signed in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse
from starlette.routing import Route

from reconciler.console.asked import BadAddressError, asked_of
from reconciler.console.frame import console_of, shown
from reconciler.console.pages.runs import bad_address
from reconciler.model.report import Run
from reconciler.model.request import Request as Wish
from reconciler.present.csv_text import csv_text
from reconciler.present.deed_form import asked_entry, signed_in_entry
from reconciler.present.document import entry_document, run_document
from reconciler.present.html.audit_view import CSV_HEAD, KINDS, audit_row, view_of_audit
from reconciler.present.html.filters import Field, Filters, Option, Pager, either
from reconciler.present.html.links import with_query
from reconciler.storage.audit import BY_PEOPLE, DEEDS, AskedDeeds, Place
from reconciler.storage.logbook import AskedEntries, Cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from reconciler.console.asked import Asked
    from reconciler.storage.audit import Deed
    from reconciler.storage.state import State

TAB = "/audit"
_FILTERS = ("kind", "who", "since", "until")
_A_PAGE = 50
_AT_ONCE = 500
_SAID = 5
"""Outcomes of a command that are told: one about many components has more in its page."""


def audit(request: Request) -> Response:
    """Show a page of who did what."""
    try:
        asked = asked_of(request, (*_FILTERS, "older"))
        wanted, behind = _wanted(asked), _behind(asked)
    except BadAddressError as error:
        return bad_address(request, error, TAB, TAB)
    state = console_of(request).state
    deeds, more = state.find_deeds(wanted, behind, _A_PAGE)
    fields = asked.without("older")
    view = view_of_audit(
        [_document(state, deed) for deed in deeds],
        Filters(action=TAB, fields=_fields(wanted, asked), clear=TAB if fields else "", says=_says(wanted, asked)),
        Pager(
            what="the audit",
            first=with_query(TAB, fields) if behind else "",
            after=with_query(TAB, [*fields, ("older", deeds[-1].place.text)]) if more else "",
        ),
        filtered=bool(asked.pairs),
        csv=with_query("/audit.csv", fields),
    )
    return shown(request, "console_audit.html", view, tab=TAB)


def audit_csv(request: Request) -> Response:
    """Give who did what as a table, all of it."""
    try:
        wanted = _wanted(asked_of(request, _FILTERS))
    except BadAddressError as error:
        return bad_address(request, error, TAB, TAB)
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    rows = _rows(console_of(request).state, wanted)
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=headers)


def _rows(state: State, wanted: AskedDeeds) -> Iterator[str]:
    """Give a table in pieces: whoever reads slowly keeps nothing open."""
    yield csv_text([CSV_HEAD])
    behind, more = None, True
    while more:
        deeds, more = state.find_deeds(wanted, behind, _AT_ONCE)
        yield csv_text(audit_row(_document(state, deed)) for deed in deeds)
        behind = deeds[-1].place if deeds else None


def _wanted(asked: Asked) -> AskedDeeds:
    until = asked.day("until")
    return AskedDeeds(
        kinds=asked.words("kind", DEEDS) or BY_PEOPLE,
        who=asked.one("who"),
        since=asked.day("since"),
        until=until and until + timedelta(days=1),
    )


def _behind(asked: Asked) -> Place | None:
    text = asked.one("older")
    try:
        return Place.parse(text) if text else None
    except ValueError:
        raise BadAddressError(f"`older` is the place of an entry, not `{text[:60]}`") from None


def _document(state: State, deed: Deed) -> dict[str, Any]:
    what = deed.what
    if isinstance(what, Wish):
        return {"deed": deed.kind, **asked_entry(what)}
    if isinstance(what, Run):
        said = (
            state.find_entries(AskedEntries(run_id=what.run_id), Cut(limit=_SAID)) if deed.kind == "command" else None
        )
        entries = [entry_document(noted.entry) for noted in said.entries] if said else []
        return {"deed": deed.kind, **run_document(what), "entries": entries}
    return {"deed": deed.kind, **signed_in_entry(what)}


def _fields(wanted: AskedDeeds, asked: Asked) -> list[Field]:
    kinds = [Option(kind, KINDS[kind], kind in wanted.kinds) for kind in DEEDS]
    return [
        Field(name="kind", label="What", kind="checks", options=kinds),
        Field(name="who", label="Who", value=wanted.who, hint="a name, host or pipeline"),
        Field(name="since", label="From", value=asked.one("since"), kind="day"),
        Field(name="until", label="To", value=asked.one("until"), kind="day"),
    ]


def _says(wanted: AskedDeeds, asked: Asked) -> str:
    parts = [
        either([KINDS[kind] for kind in wanted.kinds]).replace(" or ", " and "),
        f"of somebody with \u201c{wanted.who}\u201d in the name" if wanted.who else "",
        f"from {asked.one('since')}" if wanted.since else "",
        f"to {asked.one('until')}" if wanted.until else "",
    ]
    said = " ".join(part for part in parts if part)
    return f"{said[:1].upper()}{said[1:]}, the newest first."


ROUTES = (Route("/audit", audit), Route("/audit.csv", audit_csv))
