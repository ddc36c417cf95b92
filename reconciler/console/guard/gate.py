"""Who is let in: people who are signed in, programs with a token, and nobody by a form of somebody else's page.

* Everything takes somebody who is signed in, but for signing in, the look of pages, and what says whether it lives.
* What changes something comes from a page of ours: the browser says so (`Origin`), and the form has what only our pages
  know. Programs show a token, which no browser adds by itself.
"""

from __future__ import annotations

from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from anyio import to_thread

from reconciler.console.door import is_for_programs, refuse
from reconciler.console.guard.caller import header
from reconciler.console.guard.hosts import PROBES
from reconciler.console.sign_in.access import SignInError
from reconciler.errors import StateError

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from reconciler.console.frame import Person
    from reconciler.console.guard.caller import Caller
    from reconciler.console.sign_in.access import Access

API = "/api/"
METRICS = "/metrics"
HOOKS = "/hooks/"
SIGN_IN = "/sign-in"
FORM_HEADER = "x-updoser-form"
"""Where scripts of our pages bring what forms bring as `csrf`."""
_READS = frozenset(["GET", "HEAD"])
_MOST_FIELDS = 100


class Gate:
    """Lets people and programs in, and says in the scope who they are."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        refusal = None if scope["path"] in PROBES or scope["path"].startswith("/static/") else await self._look(scope)
        await (refusal or self._app)(scope, receive, send)

    async def _look(self, scope: Scope) -> Response | None:
        """Find out who asks; gives what is answered instead of what they asked for, if anything."""
        caller: Caller = scope["updoser.caller"]
        if wait := self._access.tries.wait(caller.address) if _tries(scope) else 0:
            return too_many(scope, wait)
        try:
            person = await self._person(scope, caller)
        except SignInError as error:
            self._access.tries.fail(caller.address)
            return refuse(scope, HTTPStatus.FORBIDDEN, error.message, error.hint)
        except StateError as error:
            return refuse(scope, HTTPStatus.SERVICE_UNAVAILABLE, error.message, error.hint)
        if person is not None:
            scope["updoser.person"] = person
            if secret := "" if person.way in {"token", "proxy"} else session_secret(scope):
                scope["updoser.still"] = partial(self._access.lasts, secret)
        elif not _is_open(scope, caller):
            return self._sign_in_first(scope, caller)
        if person is not None and not person.may("viewer"):
            why = f"nobody gave {person.who} a role here"
            return refuse(scope, HTTPStatus.FORBIDDEN, why, "`console.roles` in the file of the fleet says who may")
        if scope["method"] not in _READS and not scope["path"].startswith(HOOKS):
            return _forged(scope, person, caller)
        return None

    async def _person(self, scope: Scope, caller: Caller) -> Person | None:
        if (token := token_of(scope)) and scope["path"].startswith((API, METRICS)):
            return self._access.by_token(token)
        if said := self._access.by_header(scope, caller):
            return said
        secret = session_secret(scope)
        return await to_thread.run_sync(self._access.by_session, secret) if secret else None

    def _sign_in_first(self, scope: Scope, caller: Caller) -> Response:
        if token_of(scope):
            self._access.tries.fail(caller.address)
        if is_for_programs(scope["path"]):
            why = {"WWW-Authenticate": "Bearer"}
            return refuse(scope, HTTPStatus.UNAUTHORIZED, "nobody is signed in", "show a token", headers=why)
        target = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
        back = f"?next={quote(target)}" if scope["method"] == "GET" and target != "/" else ""
        return refuse(scope, HTTPStatus.SEE_OTHER, "sign in first", headers={"Location": f"{SIGN_IN}{back}"})


def too_many(scope: Scope, wait: int) -> Response:
    """Say that somebody tried too often."""
    why = f"too many tries; the next one in {wait} s"
    return refuse(scope, HTTPStatus.TOO_MANY_REQUESTS, why, headers={"Retry-After": str(wait)})


def _tries(scope: Scope) -> bool:
    """Say whether somebody shows something that has to be guessed; a session is none: there is too much to guess."""
    return scope["path"].startswith(SIGN_IN) or bool(token_of(scope))


def _is_open(scope: Scope, caller: Caller) -> bool:
    """Say whether an address is open to all: signing in, and what has a way of its own to know who asks."""
    path = scope["path"]
    return (
        path == SIGN_IN
        or path.startswith((f"{SIGN_IN}/", HOOKS))
        or (path == METRICS and caller.here and not token_of(scope))
    )


def _forged(scope: Scope, person: Person | None, caller: Caller) -> Response | None:
    """Refuse what doesn't come from a page of ours."""
    if person is not None and person.way == "token":
        return None
    if not _is_ours(scope, caller):
        why = "this form doesn't come from a page of the console"
        return refuse(scope, HTTPStatus.FORBIDDEN, why, "open the page in the console, and send it from there")
    if person is None or scope["path"] == SIGN_IN:  # whoever was signed in before, it is about who comes now
        return None
    shown = header(scope, FORM_HEADER) or _field(scope, "csrf")
    if not person.csrf or not compare_digest(shown.encode("utf-8", "replace"), person.csrf.encode()):
        why = "this form is of another sign-in, or was opened before the console started again"
        return refuse(scope, HTTPStatus.FORBIDDEN, why, "load the page anew, and send it again")
    return None


def _is_ours(scope: Scope, caller: Caller) -> bool:
    """Say whether the browser says that a page of ours asks."""
    origin = header(scope, "origin")
    if not origin:
        return header(scope, "sec-fetch-site") == "same-origin"
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    scheme = "https" if caller.secure else scope["scheme"]
    return parts.scheme == scheme and parts.netloc.lower() == header(scope, "host").lower()


def token_of(scope: Scope) -> str:
    """Give the token that a program shows; empty where none does."""
    kind, _, token = header(scope, "authorization").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _field(scope: Scope, name: str) -> str:
    """Give a field of a form; empty where it isn't there once."""
    if header(scope, "content-type").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return ""
    return field_of(scope["updoser.body"], name)


def field_of(body: bytes, name: str) -> str:
    """Give a field of a form; empty where it isn't there once."""
    try:
        found = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS).get(name, [])
    except ValueError:
        return ""
    return found[0] if len(found) == 1 else ""


def cookie_name(scope: Scope, what: str = "session") -> str:
    """Give the name of a cookie: over TLS one that only this very host can set."""
    port = (scope.get("server") or ("", 0))[1]
    return f"__Host-updoser-{what}" if scope["updoser.caller"].secure else f"updoser-{what}-{port}"


def session_secret(scope: Scope) -> str:
    """Give the secret of a session that the browser shows; empty where it shows none."""
    return cookie_of(scope, cookie_name(scope))


def cookie_of(scope: Scope, name: str) -> str:
    """Give a cookie; empty where there is none, or several that differ."""
    found = set()
    for key, value in scope["headers"]:
        if key == b"cookie":
            for part in value.decode("latin-1").split(";"):
                cookie, _, text = part.strip().partition("=")
                if cookie == name:
                    found.add(text)
    return found.pop() if len(found) == 1 else ""
