"""By which names the console is called, and over which ways: a page of somebody else's can't reach it by its own name.

Where TLS ends at a proxy, only that is answered. Who asks whether the process lives, or shows a token, is a program
that calls the machine by whatever name it has.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.console.door import is_for_programs, refuse
from reconciler.console.guard.caller import caller_of, header
from reconciler.model.network import is_this_machine

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from reconciler.model.console import ConsoleSpec

PROBES = frozenset(["/livez", "/readyz"])
_SETS = "set `console.public_url` or `console.hosts` to the names that browsers call it by"


class Hosts:
    """Answers to the names that the console has, and leaves in the scope where a request comes from.

    `loopback`: it listens on this machine only.
    """

    def __init__(self, app: ASGIApp, spec: ConsoleSpec, *, loopback: bool) -> None:
        self._app = app
        self._spec = spec
        self._loopback = loopback
        self._names = {*spec.hosts, urlsplit(spec.public_url).hostname or ""} - {""}
        self._proxies = (*spec.tls.proxies, *(spec.header.peers if spec.header else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        caller = scope["updoser.caller"] = caller_of(scope, self._proxies)
        scope["client"] = (caller.address, 0)  # for all who write down who asked
        name = host_of(header(scope, "host"))
        by_token = is_for_programs(scope["path"]) and header(scope, "authorization").lower().startswith("bearer ")
        if scope["path"] not in PROBES:
            if not (self._loopback or caller.secure or caller.here):
                why = "what is said here would be open to all on the way: open it by https, at the proxy before it"
                return await refuse(scope, HTTPStatus.FORBIDDEN, why)(scope, receive, send)
            if not (name and (is_this_machine(name) or name in self._names)) and not by_token:
                why = f"this console isn't called {name or 'by no name'}"
                return await refuse(scope, HTTPStatus.MISDIRECTED_REQUEST, why, _SETS)(scope, receive, send)
        return await self._app(scope, receive, send)


def host_of(text: str) -> str:
    """Give the host in a `Host` header, without its port; empty where it is none."""
    try:
        parts = urlsplit(f"//{text}")
        _ = parts.port
        return (parts.hostname or "").rstrip(".") if parts.netloc == text and "@" not in text else ""
    except ValueError:
        return ""
