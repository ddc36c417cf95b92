"""How the API answers: JSON that isn't sent again to who has it, and what is wrong as a problem (RFC 9457)."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import Response

from reconciler.console.frame import person_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from starlette.requests import Request

    from reconciler.console.frame import Person
    from reconciler.model.request import Role

PREFIX = "/api/v1"
JSON = "application/json"
PROBLEM = "application/problem+json"
_FRESH = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization, Cookie"}


class ApiError(Exception):
    """What is wrong with a question: `error` says what, `hint` what to do."""

    def __init__(
        self, status: int, error: str, hint: str = "", *, where: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """`where` is the parameter, or the place in what was sent, that it is about."""
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint
        self.where = where
        self.headers = headers


class Param(NamedTuple):
    """A parameter of an address: what may stand there, as a schema of OpenAPI says it."""

    name: str
    read: Callable[[str], Any]
    default: Any = None


def problem(
    request: Request,
    status: int,
    error: str,
    hint: str = "",
    *,
    where: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Say what is wrong."""
    said = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "error": error,
        **({"hint": hint} if hint else {}),
        **({"where": where} if where else {}),
    }
    return _sent(request, said, status, PROBLEM, {**(headers or {}), "Cache-Control": "no-store"})


def answer(
    request: Request, document: Any, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Give a document; who has it already is told so, and doesn't get it again."""
    check_accept(request)
    return _sent(request, document, status, JSON, {**_FRESH, **(headers or {})})


def _sent(request: Request, document: Any, status: int, kind: str, headers: Mapping[str, str]) -> Response:
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    tagged = dict(headers)
    if status == HTTPStatus.OK and request.method in {"GET", "HEAD"}:
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        tagged["ETag"] = tag
        if _has(request.headers.get("if-none-match", ""), tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=tagged)
    response = Response(body, status, headers=tagged, media_type=kind)
    if request.method == "HEAD":
        response.body = b""  # the length that it would have stays in the headers
    return response


def _has(known: str, tag: str) -> bool:
    tags = [one.strip().removeprefix("W/") for one in known.split(",")]
    return "*" in tags or tag in tags


def check_accept(request: Request) -> None:
    """Refuse who can't take JSON.

    Raises:
        ApiError: they said so.
    """
    kinds = []
    for one in request.headers.get("accept", "*/*").split(","):
        kind, *parts = [part.strip().lower() for part in one.split(";")]
        if "q=0" not in parts:
            kinds.append(kind)
    if not {"*/*", "application/*", JSON, ""}.intersection(kinds):
        raise ApiError(HTTPStatus.NOT_ACCEPTABLE, "only JSON is given here", f"ask with Accept: {JSON}")


def person_who_may(request: Request, *roles: Role) -> Person:
    """Give who asks.

    Raises:
        ApiError: nobody is signed in, or they have none of these roles.
    """
    if "updoser.person" not in request.scope:
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "nobody is signed in",
            "send a token: Authorization: Bearer …",
            headers={"WWW-Authenticate": 'Bearer realm="updoser"'},
        )
    person = person_of(request)
    if not any(person.may(role) for role in roles):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            f"{person.who} doesn't have the role {' or '.join(roles)}",
            "`console.roles` of the spec gives it",
        )
    return person


def parameters(request: Request, known: Iterable[Param]) -> dict[str, Any]:
    """Read the parameters of an address, each at most once.

    Raises:
        ApiError: one isn't known, stands there twice, or is no good.
    """
    return read_parameters(request.query_params.multi_items(), known)


def read_parameters(given: Sequence[tuple[str, str]], known: Iterable[Param]) -> dict[str, Any]:
    """Read parameters; raises what `parameters` raises."""
    known = tuple(known)
    found = {one.name: one.default for one in known}
    readers = {one.name: one.read for one in known}
    for name, text in given:
        if name not in readers:
            told = f"there is: {', '.join(readers)}" if readers else "there are none here"
            raise ApiError(HTTPStatus.BAD_REQUEST, f"there is no parameter {name[:60]!r}", told, where=name[:60])
        if sum(other == name for other, _text in given) > 1:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"{name} is given twice", where=name)
        try:
            found[name] = readers[name](text)
        except ValueError as error:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"{name}: {error}", where=name) from error
    return found


def flag(text: str) -> bool:
    """Read yes or no."""
    if text not in {"true", "false"}:
        raise ValueError(f"{text[:40]!r} is neither true nor false")
    return text == "true"


def count(most: int) -> Callable[[str], int]:
    """Give what reads a number from 1 up to another one."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
            raise ValueError(f"{text[:40]!r} is no number from 1 to {most}")
        return int(text)

    return read


def words(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Give what reads words between commas, each one of some."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
        for word in found:
            if word not in known:
                raise ValueError(f"{word[:40]!r} isn't one of {', '.join(known)}")
        return found

    return read


def plain(text: str) -> str:
    """Read a text that a state can be asked for."""
    if "\0" in text or len(text) > 1000:
        raise ValueError("that is nothing that there could be")
    return text
