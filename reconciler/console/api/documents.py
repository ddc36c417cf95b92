"""The documents that the API gives: those of the controller's snapshots, and what tables say of the rest.

Each function takes the state, and what was asked for as it came in: whatever isn't there is an ApiError that says so.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, get_args

from reconciler.console.api.answers import ApiError
from reconciler.formats.where import Condition, conditions_of
from reconciler.hints import did_you_mean
from reconciler.model.controller import pause_digest
from reconciler.model.deploy import Fault
from reconciler.model.listing import Listing
from reconciler.present.document import (
    OVER,
    controller_entry,
    entry_document,
    progress_entry,
    rollouts_document,
    run_document,
)
from reconciler.present.fields import FORMAT_VERSION, exact_time_text, time_text
from reconciler.present.listing_form import listing_document
from reconciler.present.request_form import request_document, request_entry
from reconciler.storage.logbook import AskedEntries, Cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.rollout import Key, RolloutRecord
    from reconciler.storage.logbook import AskedRuns
    from reconciler.storage.snapshots import Snapshot, SnapshotKind
    from reconciler.storage.state import State

Document = dict[str, Any]
_NEVER = ("the controller hasn't looked at the fleet yet", "start it: `updoser run`")
_LAST = 50
"""Of what happened to a client, so much is given with it."""


def _snapshot(state: State, kind: SnapshotKind, name: str = "") -> Snapshot:
    found = state.snapshot(kind, name)
    if found is None:
        if name:
            raise _missing(kind, name, state.snapshot_names(kind))
        raise ApiError(HTTPStatus.NOT_FOUND, *_NEVER)
    return found


def _missing(what: str, name: str, known: Iterable[str]) -> ApiError:
    return ApiError(HTTPStatus.NOT_FOUND, f"there is no {what} {name[:100]!r}", did_you_mean(name, known))


def status(state: State, *, groups: bool) -> Document:
    """Give the status; its groups only where they are asked for, as they may be many."""
    document = _snapshot(state, "status").document
    names = state.snapshot_names("group") if groups else ()
    found = [state.snapshot("group", name) for name in names]
    return {**document, "groups": [one.document for one in found if one is not None]}


def group(state: State, name: str) -> Document:
    """Give how far a group is."""
    found = _snapshot(state, "group", name)
    return {"format_version": FORMAT_VERSION, "created": time_text(found.at), **found.document}


def groups(state: State) -> Document:
    """Name the groups."""
    return {"format_version": FORMAT_VERSION, "groups": state.snapshot_names("group")}


def components(state: State) -> Document:
    """Give how far the fleet is with each component."""
    document = _snapshot(state, "status").document
    return {key: document[key] for key in ("format_version", "created", "as_of", "components")}


def component(state: State, name: str) -> Document:
    """Give how far the fleet and each group is with a component."""
    document = _snapshot(state, "status").document
    entry = _of(name, document["components"])
    if entry is None:
        raise _missing("component", name, (one["id"] for one in document["components"]))
    by_group = []
    for group_name in state.snapshot_names("group"):
        found = state.snapshot("group", group_name)
        theirs = _of(name, found.document["components"]) if found else None
        if theirs is not None:
            by_group.append({"group": group_name, **theirs})
    return {
        **{key: document[key] for key in ("format_version", "created", "as_of")},
        "component": entry,
        "groups": by_group,
        "rollouts": [one for one in document["rollouts"] if one["component"] == name],
    }


def _of(name: str, entries: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((entry for entry in entries if entry["id"] == name), None)


def plan(state: State) -> Document:
    """Give the plan that the controller made last, and the digest by which an approval names it."""
    found = _snapshot(state, "plan")
    return {**found.document, "digest": found.digest}


def sources(state: State) -> Document:
    """Give how sources did, and what they took back."""
    document = _snapshot(state, "status").document
    return {key: document[key] for key in ("format_version", "created", "sources", "withdrawn")}


def desired(state: State) -> Document:
    """Give what is wanted, as the controller read it."""
    return dict(_snapshot(state, "desired").document)


def rollouts(state: State, *, over: bool, after: str, limit: int) -> tuple[Document, str]:
    """Give the rollouts that are under way, or those that are over, the newest first, and what the next page is after.

    `after` is the id of a rollout, as `_id` gives it; empty where there are no more.
    """
    if not over:
        document = _snapshot(state, "status").document
        return {key: document[key] for key in ("format_version", "rollouts")}, ""
    ended = sorted(
        (record for record in state.rollouts().values() if record.status in OVER),
        key=lambda record: (record.started, record.key),
        reverse=True,
    )
    if after:
        places = [at for at, record in enumerate(ended, 1) if _id(record) == after]
        if not places:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"after: there is no rollout {after[:100]!r}", where="after")
        ended = ended[places[0] :]
    page = ended[:limit]
    return rollouts_document((), page), _id(page[-1]) if len(ended) > limit else ""


def _id(record: RolloutRecord) -> str:
    return f"{record.component} {record.version} {record.group}".rstrip()


def rollout(state: State, key: Key) -> Document:
    """Give a rollout, how it came to where it is, and who failed in it."""
    record = state.rollouts().get(key)
    if record is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"there is no rollout of {' '.join(key)[:200]}", "see /api/v1/rollouts")
    known = state.snapshot("status")
    under_way = known.document["rollouts"] if known else ()
    entry = next((one for one in under_way if (one["component"], one["version"], one["group"] or "") == key), None)
    return {
        "format_version": FORMAT_VERSION,
        "digest": record.fingerprint,
        "rollout": entry or rollouts_document((), [record])["rollouts"][0],
        "opened": exact_time_text(record.opened),
        "passed": record.passed and exact_time_text(record.passed),
        "approved": [{"wave": one.wave, "who": one.who, "at": exact_time_text(one.at)} for one in record.approved],
        "moves": [
            {"status": one.status, "wave": one.wave, "at": time_text(one.at), "reason": one.reason or None}
            for one in state.rollout_moves(key)
        ],
        "failures": [
            {"client": client, "fault": fault, "message": message}
            for fault in get_args(Fault)
            for client, message in sorted(state.rollout_failures(fault).get(key, {}).items())
        ],
    }


def clients(state: State, pairs: Iterable[tuple[str, str]], after: str, limit: int) -> tuple[Document, str]:
    """Give the clients of whom the conditions of an address hold, by name, and what the next page begins behind."""
    try:
        conditions = conditions_of(pairs)
        found = state.find_clients(conditions, after=after, limit=limit)
    except ValueError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from error
    if found.at is None:
        raise ApiError(HTTPStatus.NOT_FOUND, *_NEVER)
    listing = listing_document(Listing(found.at, "", " ".join(one.text for one in conditions), found.clients))
    return {key: listing[key] for key in ("format_version", "created", "where", "clients")}, found.after


def client(state: State, name: str) -> Document:
    """Give how a client stands with all that it should have, and what happened to it last."""
    found = state.find_clients([Condition("name", "=", (_literal(name),))], limit=1)
    if found.at is None:
        raise ApiError(HTTPStatus.NOT_FOUND, *_NEVER)
    if not found.clients:
        raise ApiError(HTTPStatus.NOT_FOUND, f"there is no client {name[:100]!r}", "see /api/v1/clients")
    listing = listing_document(Listing(found.at, "", "", found.clients))
    happened = state.find_entries(AskedEntries(client=name), Cut(limit=_LAST)).entries
    return {
        **{key: listing[key] for key in ("format_version", "created")},
        "client": listing["clients"][0],
        "happened": [{"id": one.id, "run_id": one.run_id, **entry_document(one.entry)} for one in happened],
    }


def _literal(name: str) -> str:
    """Give the pattern that only a name fits."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def runs(state: State, asked: AskedRuns, before: str, limit: int) -> tuple[Document, str]:
    """Give runs, the newest first, and before which one the next page is; empty: that was the last one."""
    page = state.find_runs(asked, Cut(older=before, limit=limit))
    document = {"format_version": FORMAT_VERSION, "runs": [run_document(one) for one in page.entries]}
    return document, page.entries[-1].run_id if page.older else ""


def run(state: State, id_: str) -> Document:
    """Give a run with its parts, and the report with which it ended."""
    found = state.run(id_)
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"there is no run {id_[:100]!r}", "see /api/v1/runs")
    whole = run_document(found, ())
    del whole["entries"]
    return {**whole, "report": state.run_report(id_) or None}


def entries(state: State, asked: AskedEntries, before: str, limit: int) -> tuple[Document, str]:
    """Give what happened in a run, the newest first, and before which entry the next page is."""
    if state.run(asked.run_id) is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"there is no run {asked.run_id[:100]!r}", "see /api/v1/runs")
    page = state.find_entries(asked, Cut(older=before, limit=limit))
    found = [{"id": one.id, "run_id": one.run_id, **entry_document(one.entry)} for one in page.entries]
    return {"format_version": FORMAT_VERSION, "entries": found}, str(page.entries[-1].id) if page.older else ""


def controller(state: State) -> Document:
    """Give what the controller says of itself, what people want of it, and how far a run is that is under way."""
    said, progress, waiting = state.standing()
    return {
        "format_version": FORMAT_VERSION,
        "controller": controller_entry(said) if said else None,
        "pause_digest": pause_digest(said.pause) if said and said.pause else None,
        "progress": progress_entry(progress) if progress else None,
        "requests_waiting": waiting,
    }


def requests(state: State, *, before: int | None, limit: int) -> tuple[Document, int | None]:
    """Give what was asked, the newest first, and before which id the next page is; None: that was the last one."""
    found = state.requests(before, limit + 1)
    page = found[:limit]
    document = {"format_version": FORMAT_VERSION, "requests": [request_entry(one) for one in page]}
    return document, page[-1].id if len(found) > limit else None


def request(state: State, id_: int) -> Document:
    """Give what was asked, and what came of it."""
    found = state.request(id_)
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"there is no request {id_}", "see /api/v1/requests")
    return request_document(found)
