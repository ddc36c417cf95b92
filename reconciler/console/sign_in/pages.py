"""The addresses of signing in and out."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

from starlette.responses import RedirectResponse
from starlette.routing import Route

from reconciler.console.door import Door, door, refuse
from reconciler.console.guard.gate import cookie_name, cookie_of, field_of, session_secret
from reconciler.console.sign_in.access import LASTS, SignInError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from reconciler.console.guard.caller import Caller
    from reconciler.console.sign_in.access import Access

_BEGUN = 600
"""Seconds in which somebody is to come back from a provider."""


def sign_in(request: Request) -> Response:
    """Show the ways in."""
    access, caller = _access(request), _caller(request)
    target = local(request.query_params.get("next", ""))
    link = request.query_params.get("link", "")
    if link and access.has_link and caller.here:
        if access.link.is_good(link):
            why = f"You will be {access.owner}, who started this console, with all roles."
            return door(Door("Sign in", why, link=link, next=target))
        access.tries.fail(caller.address)
        return door(Door("Sign in", "This link was used already, or is over.", _NEW_LINK), HTTPStatus.FORBIDDEN)
    if "updoser.person" in request.scope:
        return _to(target)
    if access.provider is not None:
        ways = ((f"/sign-in/oidc?next={quote(target)}", f"Sign in at {access.provider.host}"),)
        return door(Door("Sign in", "This console shows and steers what a fleet gets.", ways=ways, next=target))
    if access.spec.header is not None:
        why = "The proxy before this console signs people in, and this didn't come through it."
        return door(Door("Sign in", why, _open(access)), HTTPStatus.FORBIDDEN)
    if not caller.here:
        return door(Door("Sign in", "People sign in on the machine itself only.", _NO_WAY), HTTPStatus.FORBIDDEN)
    return door(Door("Sign in", "Open the link that `updoser serve` shows where it was started.", _NEW_LINK))


_NEW_LINK = "`kill -HUP` its process, and it shows a new one"
_NO_WAY = "`console.sign_in` in the file of the fleet says how others do"


def _open(access: Access) -> str:
    return f"open {access.spec.public_url}" if access.spec.public_url else "open the proxy's address"


def use_link(request: Request) -> Response:
    """Sign in whoever started the server, by the link that it showed."""
    access, caller, body = _access(request), _caller(request), request.scope["updoser.body"]
    target = local(field_of(body, "next"))
    if not (access.has_link and caller.here and access.link.use(field_of(body, "link"))):
        access.tries.fail(caller.address)
        return door(Door("Sign in", "This link was used already, or is over.", _NEW_LINK), HTTPStatus.FORBIDDEN)
    return _signed_in(request, access.sign_in(access.owner, (), "link", caller.address), target)


def begin_oidc(request: Request) -> Response:
    """Lead somebody to the provider."""
    access, caller = _access(request), _caller(request)
    if access.provider is None:
        return _to("/sign-in")
    try:
        url, browser = access.provider.begin(local(request.query_params.get("next", "")))
    except SignInError as error:
        return _failed(request, error, HTTPStatus.BAD_GATEWAY)
    response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
    name, secure = cookie_name(request.scope, "begun"), caller.secure
    response.set_cookie(name, browser, max_age=_BEGUN, secure=secure, httponly=True, samesite="lax")
    return response


def end_oidc(request: Request) -> Response:
    """Sign in somebody who comes back from the provider."""
    access, caller = _access(request), _caller(request)
    if access.provider is None:
        return _to("/sign-in")
    name = cookie_name(request.scope, "begun")
    try:
        found = access.provider.end(dict(request.query_params), cookie_of(request.scope, name))
        secret = access.sign_in(found.who, found.groups, "oidc", caller.address)
    except SignInError as error:
        access.tries.fail(caller.address)
        return _failed(request, error, HTTPStatus.FORBIDDEN)
    response = _signed_in(request, secret, found.next)
    response.delete_cookie(name, secure=caller.secure, httponly=True, samesite="lax")
    return response


def _failed(request: Request, error: SignInError, status: HTTPStatus) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return refuse(request.scope, status, error.message, error.hint)
    why, again = f"{error.message[:1].upper()}{error.message[1:]}.", (("/sign-in", "Sign in anew"),)
    return door(Door("That didn't work", why, error.hint, ways=again), status)


def sign_out(request: Request) -> Response:
    """Sign somebody out; what their browser kept of pages goes, too."""
    access, scope = _access(request), request.scope
    if secret := session_secret(scope):
        access.sign_out(secret)
    response = door(Door("Signed out", ways=(("/sign-in", "Sign in"),)))
    response.headers["Clear-Site-Data"] = '"cache"'
    response.delete_cookie(cookie_name(scope), secure=_caller(request).secure, httponly=True, samesite="lax")
    return response


def _signed_in(request: Request, secret: str, target: str) -> Response:
    """Give a browser the secret of a new session; one that it had before is over."""
    access, caller = _access(request), _caller(request)
    if before := session_secret(request.scope):
        access.sign_out(before)
    response = _to(target)
    name, age = cookie_name(request.scope), int(LASTS.total_seconds())
    response.set_cookie(name, secret, max_age=age, secure=caller.secure, httponly=True, samesite="lax")
    return response


def _to(target: str) -> Response:
    return RedirectResponse(target, HTTPStatus.SEE_OTHER)


def local(target: str) -> str:
    """Give an address of this console that somebody names; the first page for what may be elsewhere."""
    if not target.startswith("/") or target.startswith("//") or not target.isascii() or not target.isprintable():
        return "/"
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or "\\" in target else target


def _access(request: Request) -> Access:
    return cast("Access", request.app.state.access)


def _caller(request: Request) -> Caller:
    return cast("Caller", request.scope["updoser.caller"])


ROUTES = (
    Route("/sign-in", sign_in),
    Route("/sign-in", use_link, methods=["POST"]),
    Route("/sign-in/oidc", begin_oidc),
    Route("/sign-in/back", end_oidc),
    Route("/sign-out", sign_out, methods=["POST"]),
)
