"""Takes down what a program asks of the controller: the same that people ask on the pages of the console."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from reconciler.console.api.answers import JSON, ApiError, person_who_may
from reconciler.console.asking import NotAskedError, ask
from reconciler.console.frame import body_of, console_of
from reconciler.formats.text import read_json, unfit
from reconciler.model.request import NEEDED
from reconciler.present.request_form import read_target
from reconciler.present.schemas import schema

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from starlette.requests import Request as Question

    from reconciler.model.request import Request, RequestKind

MOST = 64 * 1024
"""Bytes of what may be sent."""
KEY = "idempotency-key"
MAX_KEY = 200
LONGEST = 200
"""Characters of what is said of a mistake: some repeat all that was sent."""


async def read_body(question: Question) -> bytes:
    """Read what was sent, as far as it may be.

    Raises:
        ApiError: it is too much.
    """
    body = await body_of(question, MOST)
    if body is None:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"that is more than {MOST} bytes")
    return body


def take_down(question: Question, body: bytes) -> Request:
    """Write down what somebody asks, wake the controller, and give what is written down.

    Raises:
        ApiError: it isn't what the schema says, they may not ask it, or they asked something else under the same key.
    """
    asked = _asked(question, body)
    kind: RequestKind = asked["kind"]
    person = person_who_may(question, NEEDED[kind])
    key = question.headers.get(KEY, "")
    if len(key) > MAX_KEY:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the key has more than {MAX_KEY} characters", where="Idempotency-Key")
    try:
        target = read_target(asked)
    except ValueError as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), where="until") from error
    console, state = console_of(question), console_of(question).state
    reason, seen = (asked.get("reason") or "").strip(), asked.get("seen") or ""
    id_ = state.asked_as(person.who, key) if key else None
    if id_ is None:  # what is sent again is what it was, whatever came of it meanwhile
        address = question.client.host if question.client else ""
        try:
            id_ = ask(console, person, kind, target, reason=reason, seen=seen, address=address, key=key)
        except NotAskedError as error:
            raise ApiError(error.status, error.why, error.todo) from error
    made = state.request(id_)
    assert made is not None
    if (made.kind, made.target, made.reason, made.seen) != (kind, target, reason, seen):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"request {id_} was asked under this key, and it is another one",
            "take a new key for each request",
            where="Idempotency-Key",
        )
    return made


def _asked(question: Question, body: bytes) -> dict[str, Any]:
    if question.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "that isn't JSON", f"send it with Content-Type: {JSON}")
    try:
        found = read_json(body)
    except ValueError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"that is no JSON: {error}") from error
    wrong = min(
        _validator().iter_errors(found), key=lambda error: (len(error.absolute_path), error.message), default=None
    )
    if wrong is not None:
        where = ".".join(map(str, wrong.absolute_path))
        rule = f"{wrong.validator} is {wrong.validator_value!r:.100} there"
        hint = "schema/request.schema.json says what may stand there, as `asked`"
        message = wrong.message if len(wrong.message) <= LONGEST else rule
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, message, hint, where=where)
    odd = next((name for name, text in found.items() if isinstance(text, str) and unfit(text)), None)
    if odd:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{odd} has {unfit(found[odd])} in it", where=odd)
    return dict(found)


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    whole = schema("request")
    return Draft202012Validator({"$ref": "#/$defs/asked", "$defs": whole["$defs"]})
