"""What runs did: a list of all, and one with its failures and its journal, also while it is under way."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, get_args

from starlette.routing import Route

from reconciler.console.asked import BadAddressError, asked_of
from reconciler.console.errors import Wrong, show_wrong
from reconciler.console.frame import console_of, shown
from reconciler.model.report import JournalOutcome, RunStatus
from reconciler.present.document import entry_document, run_document
from reconciler.present.html import links
from reconciler.present.html.filters import Field, Filters, choice, either, pager
from reconciler.present.html.runs_view import RUN_SIGNS, view_of_run, view_of_runs
from reconciler.reasons import REASONS, Reason
from reconciler.storage.logbook import AskedEntries, AskedRuns, Cut

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from reconciler.console.asked import Asked
    from reconciler.present.html.filters import Pager
    from reconciler.storage.logbook import Paged
    from reconciler.storage.state import State

TAB = "/runs"
_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
_OUTCOMES: tuple[JournalOutcome, ...] = get_args(JournalOutcome)
_REASONS: tuple[Reason, ...] = tuple(REASONS)
_CUT = ("older", "newer")
_FILTERS = ("status", "who", "command")
_OF_ENTRIES = ("outcome", "reason", "client", "component")
_RUNS_A_PAGE = 50
_ENTRIES_A_PAGE = 50


def runs(request: Request) -> Response:
    """Show a page of runs."""
    try:
        asked = asked_of(request, (*_FILTERS, *_CUT))
        wanted = AskedRuns(asked.words("status", _STATUSES), asked.one("who"), asked.one("command"))
        cut = Cut(asked.one("older"), asked.one("newer"), _RUNS_A_PAGE)
    except BadAddressError as error:
        return bad_address(request, error, TAB, TAB)
    found = console_of(request).state.find_runs(wanted, cut)
    fields = asked.without(*_CUT)
    view = view_of_runs(
        [run_document(run) for run in found.entries],
        Filters(action="/runs", fields=_run_fields(wanted), clear="/runs" if fields else "", says=_says(wanted)),
        pager_of("runs", "/runs", asked, found, [run.run_id for run in found.entries]),
        filtered=bool(asked.pairs),
    )
    return shown(request, "console_runs.html", view, tab=TAB)


def run(request: Request) -> Response:
    """Show a run."""
    state, run_id = console_of(request).state, request.path_params["run_id"]
    found = state.run(run_id) if run_id.isprintable() else None
    if found is None:
        wrong = Wrong(
            "There is no such run", "It isn't remembered, or its address is mistyped.", "Runs has all of them."
        )
        return show_wrong(request, HTTPStatus.NOT_FOUND, wrong)
    path = links.run(run_id)
    try:
        asked = asked_of(request, (*_OF_ENTRIES, *_CUT))
        wanted = entries_of(asked, run_id=run_id)
        cut = Cut(asked.id("older"), asked.id("newer"), _ENTRIES_A_PAGE)
    except BadAddressError as error:
        return bad_address(request, error, TAB, path)
    page = state.find_entries(wanted, cut)
    progress = state.progress()
    view = view_of_run(
        run_document(found, []),
        state.run_report(run_id),
        progress=progress if progress is not None and progress.run_id == run_id else None,
        failing=[
            {
                "reason": one.reason,
                "clients": one.clients,
                "examples": [entry_document(entry) for entry in one.examples],
            }
            for one in state.failing_in(run_id)
        ],
        entries=[entry_document(noted.entry) for noted in page.entries],
        shows=(
            entry_filters(path, wanted, asked),
            pager_of("the journal", path, asked, page, [str(noted.id) for noted in page.entries], "#journal"),
        ),
        plan_href=_plan_href(state, found.plan_id),
        filtered=bool(asked.pairs),
    )
    return shown(request, "console_run.html", view, tab=TAB)


def bad_address(request: Request, error: BadAddressError, tab: str, instead: str) -> Response:
    """Say what an address asks for that can't be."""
    said = str(error)
    wrong = Wrong("That can't be asked for", f"{said[:1].upper()}{said[1:]}.")
    return shown(request, "console_bad_address.html", (wrong, instead), tab=tab, status=HTTPStatus.BAD_REQUEST)


def entries_of(asked: Asked, *, run_id: str = "", client: str = "") -> AskedEntries:
    """Read which entries of the journal are asked for.

    Raises:
        BadAddressError: that can't be.
    """
    return AskedEntries(
        run_id=run_id,
        client=client or asked.one("client"),
        component=asked.one("component"),
        outcomes=asked.words("outcome", _OUTCOMES),
        reasons=asked.words("reason", _REASONS),
    )


def entry_filters(path: str, wanted: AskedEntries, asked: Asked) -> Filters:
    """Give the form that asks for a part of the journal of a run, or of a client."""
    labels: dict[str, str] = {reason: about.label for reason, about in REASONS.items()}
    fields = [
        choice("outcome", "Outcome", wanted.outcomes, dict(zip(_OUTCOMES, _OUTCOMES, strict=True)), "any"),
        choice("reason", "Reason", wanted.reasons, labels, "any"),
        Field(name="component", label="Component", value=wanted.component),
    ]
    if wanted.run_id:
        fields.append(Field(name="client", label="Client", value=wanted.client))
    clear = f"{path}#journal" if asked.without(*_CUT) else ""
    return Filters(action=f"{path}#journal", fields=fields, clear=clear)


def pager_of(what: str, path: str, asked: Asked, page: Paged[object], ids: list[str], anchor: str = "") -> Pager:
    """Give the links to the pages beside one."""
    return pager(
        what,
        path,
        asked.without(*_CUT),
        older=ids[-1] if page.older and ids else "",
        newer=ids[0] if page.newer and ids else "",
        begun=page.newer or bool(asked.one("newer") or asked.one("older")),
        anchor=anchor,
    )


def _run_fields(wanted: AskedRuns) -> list[Field]:
    words: dict[str, str] = {status: RUN_SIGNS[status].text for status in _STATUSES}
    return [
        choice("status", "Status", wanted.statuses, words, "any"),
        Field(name="who", label="By", value=wanted.who, hint="a name, host or pipeline"),
        Field(name="command", label="Command", value=wanted.command, hint="apply, rollout \u2026"),
    ]


def _says(wanted: AskedRuns) -> str:
    parts = [
        f"that are {either([RUN_SIGNS[status].text for status in wanted.statuses])}" if wanted.statuses else "",
        f"by somebody with \u201c{wanted.who}\u201d in the name" if wanted.who else "",
        f"of commands with \u201c{wanted.command}\u201d in them" if wanted.command else "",
    ]
    said = [part for part in parts if part]
    return f"Runs {', '.join(said)}, the newest first." if said else "What was carried out, the newest first."


def _plan_href(state: State, plan_id: str) -> str:
    """Give the address of a plan, if it is the one that was made last."""
    last = state.snapshot("plan") if plan_id else None
    return "/plan" if last is not None and f'"plan_id":"{plan_id}"' in last.data else ""


ROUTES = (Route("/runs", runs), Route("/runs/{run_id}", run))
