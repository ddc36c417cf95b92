"""What is for a source's own host only: credentials, and the headers and the query that its options name.

The own host is the scheme, host and port of the source's URL. To another one, which a redirect or a document names,
nothing of this goes along. A value that no header can have is an error that doesn't show it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from reconciler.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.model.secret import SecretRef
    from reconciler.web.connections import HttpOptions

_PORTS = {"http": 80, "https": 443}
_VALUE = re.compile(r"[\x20-\x7e\t]*")
RESERVED = frozenset(
    {
        "accept-encoding", "connection", "content-length", "content-type", "expect", "host", "if-match",
        "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "proxy-authorization",
        "proxy-connection", "range", "trailer", "transfer-encoding", "upgrade", "user-agent",
    }
)  # fmt: skip
"""Headers that say how a request is made, which is nobody else's business."""


def origin(url: str) -> tuple[str, str, int | None]:
    """Give scheme, host and port of a URL; the usual port of a scheme is it also where none is named."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


class Own:
    """Adds to requests what is for the host of `url`."""

    def __init__(self, url: str, options: HttpOptions, secret: Callable[[SecretRef], str]) -> None:
        """Resolve nothing yet.

        Raises:
            SourceError: the options set a header that isn't theirs to set.
        """
        self._origin = origin(url)
        self._options = options
        self._secret = secret
        self._known: dict[SecretRef, str] = {}
        refused = sorted(name for name in options.headers if name.lower() in RESERVED)
        if refused:
            raise SourceError(f"the header {refused[0]} can't be set in `headers`", hint="updoser sets it by itself")

    def is_own(self, url: str) -> bool:
        """Say whether a URL is on that host."""
        return origin(url) == self._origin

    def headers(self, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Give the headers of a request; those that are given outrank those of the options.

        Raises:
            SourceError: a value is none that a header can have.
            SecretError: one can't be resolved.
        """
        if not self.is_own(url):
            return dict(headers)
        added = {name: self._value(name) for name in self._options.headers}
        return _joined(self.credentials(), added, headers)

    def url(self, url: str) -> str:
        """Give a URL with the query of the options."""
        if not self._options.query or not self.is_own(url):
            return url
        parts = urlsplit(self.without(url))
        more = urlencode({name: self._text(value) for name, value in self._options.query.items()}, quote_via=quote)
        return urlunsplit(parts._replace(query=f"{parts.query}&{more}" if parts.query else more))

    def without(self, url: str) -> str:
        """Take out of a URL what a server repeats of the options' query when it says where to go on."""
        parts, query = urlsplit(url), self._options.query
        if not query or not parts.query:
            return url
        own = self.is_own(url)
        kept = [
            part
            for part in parts.query.split("&")
            if not any(name in query and (own or value == self._text(query[name])) for name, value in parse_qsl(part))
        ]
        return urlunsplit(parts._replace(query="&".join(kept)))

    def credentials(self) -> dict[str, str]:
        """Give the header with a token, or with the user's name and password; none where there is neither.

        Raises:
            SourceError: the token is none that a header can have.
            SecretError: one of them can't be resolved.
        """
        options = self._options
        if options.bearer is not None:
            return {"Authorization": f"Bearer {self._sendable(self._text(options.bearer), 'Authorization')}"}
        if not options.username:
            return {}
        password = self._text(options.password) if options.password is not None else ""
        pair = f"{self._text(options.username)}:{password}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}

    def masked(self, text: str) -> str:
        """Give a text of others without what was resolved here."""
        for value in self._known.values():
            for spelling in {value, quote(value), quote(value, safe="")} - {""}:
                text = text.replace(spelling, "***")
        return text

    def _value(self, name: str) -> str:
        return self._sendable(self._text(self._options.headers[name]), name)

    def _sendable(self, text: str, name: str) -> str:
        value = text.strip()
        if not _VALUE.fullmatch(value):
            raise SourceError(
                f"the value of the header {name} can't be sent",
                hint="it has a line break in it, or another character than those of ASCII",
            )
        return value

    def _text(self, value: SecretRef | str) -> str:
        if isinstance(value, str):
            return value
        if value not in self._known:
            self._known[value] = self._secret(value)
        return self._known[value]


def _joined(*parts: Mapping[str, str]) -> dict[str, str]:
    """Give all of some headers, each once however its name is written; the last one of a name counts."""
    found = {name.lower(): (name, value) for part in parts for name, value in part.items()}
    return dict(found.values())
