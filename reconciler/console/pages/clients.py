"""Clients: those that an address asks for, page by page and as a table, and one in full."""

from __future__ import annotations

from difflib import get_close_matches
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse
from starlette.routing import Route

from reconciler.console.asked import BadAddressError, asked_of
from reconciler.console.frame import console_of, shown
from reconciler.console.pages.runs import bad_address, entries_of, entry_filters, pager_of
from reconciler.formats.where import FIELDS, STATES, Condition, address_of, conditions_of
from reconciler.present.client_form import client_entry
from reconciler.present.document import entry_document
from reconciler.present.html import links
from reconciler.present.html.clients_view import count_words, view_of_client, view_of_clients
from reconciler.present.html.filters import Field, Filters, Option, Pager, choice
from reconciler.present.html.runs_view import outcome_of
from reconciler.present.html.summary_view import WITHIN, counted_within
from reconciler.present.listing_form import found_document
from reconciler.present.listing_text import csv_chunks
from reconciler.reasons import REASONS
from reconciler.storage.logbook import Cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from reconciler.console.frame import Console
    from reconciler.storage.found import FoundClients
    from reconciler.storage.state import State

TAB = "/clients"
_A_PAGE = 100
_ENTRIES_A_PAGE = 50
_BACK = 10
"""Pages that one can go back; there is always the way to the first."""
_PLACES = ("after", "from")
_NEAR = 5
_KNOWN = 500
"""Names that a field offers."""
_MORE = ("behind", "label", "platform", "seen", "known", "current", "reason", "error")
_COUNTED = ("updated", "pending", "outdated", "ahead", "unknown")
_WITHIN = (("updated", "<=", ("updated", "outdated")), ("outdated", ">", ("outdated",)))
"""How a list says what counts as updated, or not, where releases behind may (`links.clients_within`)."""
_HINTS = {
    "name": "such as web-*",
    "group": "",
    "component": "",
    "version": "such as <16.679",
    "behind": "releases, such as >=2",
    "label": "",
    "platform": "such as linux*",
    "seen": ">7d, <2h, never",
    "error": "a part of what it said",
}
_EITHER = frozenset(["name", "group", "component", "label", "platform"])
_ENTRIES = ("outcome", "reason", "component", "older", "newer")


def clients(request: Request) -> Response:
    """Show a page of clients."""
    state = console_of(request).state
    try:
        asked = asked_of(request, (*FIELDS, *_PLACES))
        conditions = conditions_of(asked.without(*_PLACES))
        after = asked.one("after")
        found = state.find_clients(conditions, after=after, limit=_A_PAGE)
    except ValueError as error:
        return _wrong(request, str(error))
    pairs = address_of(conditions)
    trail = [*asked.given.get("from", ())][-_BACK:]
    view = view_of_clients(
        _listed(console_of(request), found),
        count=_count(state, conditions, found, after),
        conditions=conditions,
        filters=Filters(action=TAB, fields=_fields(pairs, state), more=_more(pairs), clear=TAB if conditions else ""),
        pager=_pager(pairs, after, found.after, trail),
        judged=found.at is not None,
    )
    return shown(request, "console_clients.html", view, tab=TAB, shown_at=found.at)


def clients_csv(request: Request) -> Response:
    """Give all clients that an address asks for as a table."""
    state = console_of(request).state
    try:
        conditions = conditions_of(asked_of(request, FIELDS).pairs)
        pages = state.client_pages(conditions)
        first = next(pages)
    except ValueError as error:
        return _wrong(request, str(error))
    console = console_of(request)
    documents = (_listed(console, page) for page in _chained(first, pages))
    headers = {"Content-Disposition": 'attachment; filename="clients.csv"'}
    return StreamingResponse(csv_chunks(documents), media_type="text/csv; charset=utf-8", headers=headers)


def client(request: Request) -> Response:
    """Show a client."""
    state, name = console_of(request).state, request.path_params["name"]
    found = state.client_in_full(name) if name.isprintable() else None
    if found is None:
        near = _near(state, name) if name.isprintable() else []
        return shown(request, "console_no_client.html", (name, near), tab=TAB, status=HTTPStatus.NOT_FOUND)
    path = links.client(name)
    try:
        asked = asked_of(request, _ENTRIES)
        wanted = entries_of(asked, client=name)
        cut = Cut(asked.id("older"), asked.id("newer"), _ENTRIES_A_PAGE)
    except BadAddressError as error:
        return bad_address(request, error, TAB, path)
    page = state.find_entries(wanted, cut)
    view = view_of_client(
        client_entry(found),
        [outcome_of({"run_id": noted.run_id, **entry_document(noted.entry)}, of_client=True) for noted in page.entries],
        entry_filters(path, wanted, asked),
        pager_of("the history", path, asked, page, [str(noted.id) for noted in page.entries], "#journal"),
        filtered=bool(asked.pairs),
    )
    judged = state.snapshot("facts")
    return shown(request, "console_client.html", view, tab=TAB, shown_at=judged.at if judged else None)


def _listed(console: Console, found: FoundClients) -> Mapping[str, Any]:
    return found_document(found.clients, found.at or console.clock(), where="", after=found.after)


def _wrong(request: Request, why: str) -> Response:
    """Say what is wrong with what is asked for, above the form with all that was said right."""
    given = [(name, value) for name, value in request.query_params.multi_items() if name in FIELDS]
    pairs = [(name, value) for name, value in given if value.isprintable()]
    state = console_of(request).state
    form = Filters(
        action=TAB,
        fields=_fields(pairs, state),
        more=_more(pairs),
        clear=TAB,
        wrong=f"{why}.",
    )
    return shown(request, "console_clients_wrong.html", (form, tuple(FIELDS)), tab=TAB, status=HTTPStatus.BAD_REQUEST)


def _chained(first: FoundClients, rest: Iterator[FoundClients]) -> Iterator[FoundClients]:
    yield first
    yield from rest


def _pager(pairs: Sequence[tuple[str, str]], after: str, following: str, trail: Sequence[str]) -> Pager:
    """Give the links beside a page; those before it are in its address, as names are read in one direction only."""
    back = [("from", one) for one in trail]
    before = ""
    if after and trail:
        before = links.with_query(TAB, [*pairs, ("after", trail[-1].removeprefix(".")), *back[:-1]])
    here = [*back, ("from", after or ".")][-_BACK:]
    return Pager(
        what="clients",
        first=links.with_query(TAB, pairs) if after else "",
        before=before,
        after=links.with_query(TAB, [*pairs, ("after", following), *here]) if following else "",
        words=("First", "Previous", "Next"),
    )


def _fields(pairs: Sequence[tuple[str, str]], state: State) -> list[Field]:
    chosen = [value for name, value in pairs if name == "state"]
    options = [Option(word, word, word in chosen) for word in STATES]
    options += [Option(value, value.replace("!", "not "), chosen=True) for value in chosen if value not in STATES]
    known = {"group": state.snapshot_names("group")[:_KNOWN], "component": _components(state)[:_KNOWN]}
    return [
        Field(name="state", label="State", kind="checks", options=options),
        *(_text(name, pairs, known.get(name, ())) for name in ("name", "group", "component", "version")),
    ]


def _more(pairs: Sequence[tuple[str, str]]) -> list[Field]:
    words: dict[str, dict[str, str]] = {
        "reason": {reason: about.label for reason, about in REASONS.items()},
        "known": {"yes": "yes", "no": "no"},
        "current": {"yes": "yes", "no": "no"},
    }
    labels = {"reason": "Trouble", "known": "Known now", "current": "Current in everything"}
    return [
        choice(name, labels[name], [value for field, value in pairs if field == name], words[name], "any")
        if name in words
        else _text(name, pairs, ())
        for name in _MORE
    ]


_LABELS = {"seen": "Last seen", "error": "What it said"}


def _text(name: str, pairs: Sequence[tuple[str, str]], known: Sequence[str]) -> Field:
    values = [value for field, value in pairs if field == name]
    return Field(
        name=name,
        label=_LABELS.get(name, name.capitalize()),
        values=values,
        either=name in _EITHER,
        hint=_HINTS[name],
        options=[Option(one, one) for one in known],
    )


def _components(state: State) -> list[str]:
    status = state.snapshot("status")
    return [entry["id"] for entry in status.document["components"]] if status else []


def _count(state: State, conditions: Sequence[Condition], found: FoundClients, after: str) -> str:
    """Say how many clients there are: as the controller counted them in the same look, where it did."""
    if found.at is None:
        return "Nothing to show yet"
    status = state.snapshot("status")
    whole = int(status.document["clients"]) if status else None
    if not after and not found.after:
        return count_words(len(found.clients), more=False, of=whole)
    number = _counted(state, conditions) if conditions else whole
    if number is None:
        counted = state.count_clients(conditions)
        return count_words(counted.number, more=counted.more, of=whole)
    return count_words(number, more=False, of=whole)


def _counted(state: State, conditions: Sequence[Condition]) -> int | None:
    """Give how many clients the controller counted, where conditions say what it counts."""
    said = {one.field: one for one in conditions}
    exact = {one.field: one.values[0] for one in conditions if one.sign == "=" and len(one.values) == 1}
    if len(said) != len(conditions):
        return None
    if exact == {"current": "yes"} == {field: one.values[0] for field, one in said.items()}:
        status = state.snapshot("status")
        return int(status.document["current"]) if status else None
    wanted, within = exact.get("state", ""), 0
    if "behind" in said:
        behind, wanted = said.pop("behind"), ""
        number = int(behind.values[0])
        for key, sign, words in _WITHIN:
            if behind.sign == sign and number in WITHIN and said.get("state") == Condition("state", "=", words):
                wanted, within = key, number
    if not {"component", "state"} <= set(said) <= {"component", "state", "group"} or wanted not in _COUNTED:
        return None
    if not set(said) - {"state"} <= set(exact):
        return None
    kept = state.snapshot("group", exact["group"]) if "group" in exact else state.snapshot("status")
    for entry in kept.document["components"] if kept else ():
        if entry["id"] == exact["component"]:
            return int(counted_within(entry, within)[wanted])
    return None


def _near(state: State, name: str) -> list[tuple[str, str]]:
    """Give clients whose names are near one that isn't there, with their addresses."""
    names = get_close_matches(name[:100], state.neighbours(name), n=_NEAR, cutoff=0.6)
    return [(one, links.client(one)) for one in names]


ROUTES = (
    Route("/clients", clients),
    Route("/clients.csv", clients_csv),
    Route("/clients/{name:path}", client),
)
