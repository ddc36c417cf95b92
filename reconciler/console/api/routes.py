"""Every address of the API in one table; `schema/openapi.yaml` describes each, and a test holds both to each other.

What a role may see on a page it gets here: who looks must be a viewer. Whatever is wrong is said as JSON.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, get_args
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from reconciler.console.api import documents
from reconciler.console.api.answers import (
    PREFIX,
    ApiError,
    Param,
    answer,
    check_accept,
    count,
    flag,
    parameters,
    person_who_may,
    plain,
    read_parameters,
    words,
)
from reconciler.console.api.wishes import read_body, take_down
from reconciler.console.frame import console_of
from reconciler.model.report import JournalOutcome, RunStatus
from reconciler.model.request import ROLES
from reconciler.present.request_form import request_document
from reconciler.present.schemas import openapi, schema, schema_names
from reconciler.storage.logbook import AskedEntries, AskedRuns

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from reconciler.storage.state import State

    Read = Callable[..., Any]

NUMBER = count(10**9 - 1)
LIMIT = Param("limit", count(1000), 100)
"""How many entries a page has."""


PARAMETERS: dict[str, tuple[Param, ...]] = {
    "/requests": (Param("before", NUMBER), LIMIT),
    "/clients": (Param("after", plain, ""), LIMIT),
}
"""What may stand behind the `?` of an address, where anything may."""


class Paged(NamedTuple):
    """A document with its page's place: the parameters with which the next page is asked for; none: it is the last."""

    document: Any
    following: dict[str, Any]


def _get(path: str, read: Read, *params: Param) -> Route:
    """Make the route of a document, which `read` gives of the state, what stands in the path, and the parameters."""

    def give(request: Request) -> Response:
        person_who_may(request, "viewer")
        check_accept(request)
        asked = parameters(request, params)
        try:
            named = {name: plain(text) for name, text in request.path_params.items()}
        except ValueError as error:
            raise ApiError(HTTPStatus.NOT_FOUND, str(error)) from error
        found = read(console_of(request).state, **named, **asked)
        return _page(request, found) if isinstance(found, Paged) else answer(request, found)

    if params:
        PARAMETERS[path.replace(":path", "")] = params
    return Route(PREFIX + path, give, methods=["GET"], name=path)


def _page(request: Request, page: Paged) -> Response:
    """Give a page, with the address of the next one in it and in a header (RFC 8288)."""
    if not page.following:
        return answer(request, {**page.document, "next": None})
    kept = [(name, text) for name, text in request.query_params.multi_items() if name not in page.following]
    address = f"{request.url.path}?{urlencode([*kept, *page.following.items()], quote_via=quote)}"
    return answer(request, {**page.document, "next": address}, headers={"Link": f'<{address}>; rel="next"'})


def _group(state: State, name: str) -> Any:
    return documents.group(state, name)


def _component(state: State, id: str) -> Any:  # noqa: A002 - it stands in the path by this name
    return documents.component(state, id)


def _rollouts(state: State, *, over: bool, after: str, limit: int) -> Any:
    document, following = documents.rollouts(state, over=over, after=after, limit=limit)
    return Paged(document, {"after": following} if following else {})


def _rollout(state: State, component: str, version: str, group: str) -> Any:
    return documents.rollout(state, (component, version, group))


def _request(request: Request) -> Response:
    """Give a request: who may only ask sees what came of what they asked."""
    person = person_who_may(request, *ROLES)
    try:
        id_ = NUMBER(request.path_params["id"])
    except ValueError as error:
        raise ApiError(HTTPStatus.NOT_FOUND, "a request has a number", f"see {PREFIX}/requests") from error
    parameters(request, ())
    document = documents.request(console_of(request).state, id_)
    if not person.may("viewer") and document["who"] != person.who:
        person_who_may(request, "viewer")
    return answer(request, document)


def _clients(request: Request) -> Response:
    """Give clients: what isn't about the page is a field of theirs, each of which may stand there several times."""
    person_who_may(request, "viewer")
    check_accept(request)
    pairs = request.query_params.multi_items()
    known = PARAMETERS["/clients"]
    names = {one.name for one in known}
    page = read_parameters([pair for pair in pairs if pair[0] in names], known)
    try:
        fields = [(name, plain(text)) for name, text in pairs if name not in names]
    except ValueError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from error
    document, following = documents.clients(console_of(request).state, fields, page["after"], page["limit"])
    return _page(request, Paged(document, {"after": following} if following else {}))


def _client(state: State, name: str) -> Any:
    return documents.client(state, name)


def _runs(state: State, *, status: Any, who: str, command: str, before: str, limit: int) -> Any:
    document, following = documents.runs(state, AskedRuns(status, who, command), before, limit)
    return Paged(document, {"before": following} if following else {})


def _run(state: State, id: str) -> Any:  # noqa: A002 - the same
    return documents.run(state, id)


def _entries(
    state: State,
    id: str,  # noqa: A002 - the same
    *,
    client: str,
    component: str,
    outcome: Any,
    before: int | None,
    limit: int,
) -> Any:
    asked = AskedEntries(id, client, component, outcome)
    document, following = documents.entries(state, asked, str(before or ""), limit)
    return Paged(document, {"before": following} if following else {})


async def _requests(request: Request) -> Response:
    """Give what was asked, or take a request down: what comes of that stands at the address that is given back."""
    if request.method != "POST":
        return await run_in_threadpool(_asked, request)
    person_who_may(request, *ROLES)
    check_accept(request)
    parameters(request, ())
    made = await run_in_threadpool(take_down, request, await read_body(request))
    headers = {"Location": f"{PREFIX}/requests/{made.id}"}
    return answer(request, request_document(made), status=HTTPStatus.ACCEPTED, headers=headers)


def _asked(request: Request) -> Response:
    person_who_may(request, "viewer")
    document, following = documents.requests(console_of(request).state, **parameters(request, PARAMETERS["/requests"]))
    return _page(request, Paged(document, {"before": following} if following else {}))


def _openapi(_state: State) -> Any:
    return openapi()


def _schema(request: Request) -> Response:
    """Give a schema that the description refers to."""
    person_who_may(request, *ROLES)
    name = request.path_params["name"]
    if name not in schema_names():
        raise ApiError(
            HTTPStatus.NOT_FOUND, f"there is no schema {name[:60]!r}", f"there is: {', '.join(sorted(schema_names()))}"
        )
    return answer(request, schema(name))


ROUTES = (
    _get("/status", documents.status, Param("groups", flag, default=False)),
    _get("/groups", documents.groups),
    _get("/groups/{name:path}", _group),
    _get("/components", documents.components),
    _get("/components/{id}", _component),
    _get("/plan", documents.plan),
    _get("/rollouts", _rollouts, Param("over", flag, default=False), Param("after", plain, ""), LIMIT),
    _get("/rollouts/{component}/{version:path}", _rollout, Param("group", plain, "")),
    _get("/sources", documents.sources),
    Route(f"{PREFIX}/clients", _clients, methods=["GET"], name="/clients"),
    _get("/clients/{name:path}", _client),
    _get(
        "/runs",
        _runs,
        Param("status", words(get_args(RunStatus)), ()),
        Param("who", plain, ""),
        Param("command", plain, ""),
        Param("before", plain, ""),
        LIMIT,
    ),
    _get("/runs/{id}", _run),
    _get(
        "/runs/{id}/entries",
        _entries,
        Param("client", plain, ""),
        Param("component", plain, ""),
        Param("outcome", words([word for form in get_args(JournalOutcome) for word in get_args(form) or (form,)]), ()),
        Param("before", NUMBER),
        LIMIT,
    ),
    Route(f"{PREFIX}/requests", _requests, methods=["GET", "POST"], name="/requests"),
    Route(f"{PREFIX}/requests/{{id}}", _request, methods=["GET"], name="/requests/{id}"),
    _get("/desired", documents.desired),
    _get("/controller", documents.controller),
    _get("/openapi.json", _openapi),
    Route(f"{PREFIX}/{{name}}.schema.json", _schema, methods=["GET"], name="/{name}.schema.json"),
)
