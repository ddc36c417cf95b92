"""A place that has databases: which versions it says there are, and its files.

The vendor's network is left alone when it asks for that: a day after 403, four hours after 429 unless it says how long.
Of other servers, 403 is what stores of objects answer for a file that isn't there.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from reconciler.errors import SourceError
from reconciler.formats.clamsign import MAX_BYTES as MAX_SIGN
from reconciler.formats.cvd import HEADER, parse_header
from reconciler.web.stream import HttpStatusError
from reconciler.web.web import Web

from .dns import parse_server, system_servers, text_record
from .record import MAX_BYTES, PLACES, STALE, parse_other, parse_record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from reconciler.contracts import Context
    from reconciler.web.connections import HttpOptions
    from reconciler.web.web import Stream

VENDOR = "clamav.net"
COOLDOWNS = {403: timedelta(hours=24), 429: timedelta(hours=4)}
"""Of the vendor's network, as its own clients keep them."""
FORMS = ("cvd", "cld")


class Peek(NamedTuple):
    """A whole file that is there: its name, the version in its header (0: not looked at), and what tells it apart."""

    name: str
    version: int
    size: int | None
    validator: str


class Mirror:
    """The `url` of a source."""

    def __init__(self, url: str, options: Mapping[str, Any], web: HttpOptions, context: Context) -> None:
        host = urlsplit(url).hostname or ""
        self._remote = bool(host)
        self._official = host == VENDOR or host.endswith(f".{VENDOR}")
        self._gone = {404, 410} if self._official else {403, 404, 410}
        self.web = Web(url, web, context, cooldowns=COOLDOWNS if self._official else None)
        self._context = context
        self._how: str = options["discovery"]
        self._record: str = options["record"]
        self._resolver: str = options.get("resolver", "")
        if self._resolver:
            try:
                parse_server(self._resolver)
            except ValueError as error:
                raise SourceError(f"`resolver`: {error}", hint="write it as 192.0.2.53 or 192.0.2.53:53") from error

    # --- versions -----------------------------------------------------------------------------------------------------

    def announced(self, databases: set[str]) -> dict[str, int]:
        """Give the versions that a record announces, of those databases that it knows.

        What isn't announced is looked at itself: see `peek`.

        Raises:
            SourceError: `dns.txt` can't be had; that DNS doesn't answer is no error.
        """
        if self._how == "dns.txt":
            return self._from_file()
        if self._how == "dns":
            if self._remote and self._context.proxy is None:
                return self._from_dns(databases)
            self._context.log.info("DNS isn't asked for what is in a folder, or behind a proxy")
        return {}

    def _from_file(self) -> dict[str, int]:
        answer = self.web.get("dns.txt", limit=MAX_BYTES)
        try:
            return dict(parse_record(answer.body.decode("ascii").strip().strip('"')).versions)
        except ValueError as error:
            raise SourceError(f"dns.txt isn't a record of versions: {error}") from error

    def _from_dns(self, databases: set[str]) -> dict[str, int]:
        servers = [parse_server(self._resolver)] if self._resolver else system_servers()
        now = self._context.clock().timestamp()
        found: dict[str, int] = {}
        names = {self._record: databases & PLACES.keys()}
        beside = self._record.partition(".")[2]
        names |= {f"{database}.{beside}": {database} for database in databases - PLACES.keys()}
        for name, asked in names.items():
            if not asked:
                continue
            try:
                text = text_record(name, servers, self._context.stop)
                record = parse_record(text) if name == self._record else parse_other(min(asked), text)
            except (SourceError, ValueError) as error:
                said = error.message if isinstance(error, SourceError) else f"the TXT record of {name}: {error}"
                self._context.log.info("%s; the databases themselves are looked at", said)
                continue
            if now - record.time > STALE:
                self._context.log.info("the TXT record of %s is older than 12 hours, and isn't believed", name)
                continue
            found |= {database: version for database, version in record.versions.items() if database in asked}
        return found

    def peek(self, database: str, since: int = 0) -> Peek | None:
        """Look at the header of a database; None where it hasn't changed since a time, in seconds.

        Raises:
            SourceError: there is none.
        """
        for form in FORMS:
            name = f"{database}.{form}"
            unless = formatdate(since, usegmt=True) if since else ""
            try:
                answer = self.web.get(quote(name), limit=HEADER, first=HEADER, since=unless)
            except HttpStatusError as error:
                if error.status not in self._gone:
                    raise
                continue
            if answer.status != 200:
                return None
            try:
                return Peek(name, parse_header(answer.body).version, answer.size, answer.validator)
            except ValueError as error:
                raise SourceError(f"{name}: {error}") from error
        raise SourceError(f"neither {database}.cvd nor {database}.cld is there")

    def whole(self, database: str) -> Peek:
        """Find the whole file of a database without looking into it.

        Raises:
            SourceError: there is none.
        """
        for form in FORMS:
            with suppress(HttpStatusError):
                answer = self._head(f"{database}.{form}")
                return Peek(f"{database}.{form}", 0, answer[0], answer[1])
        raise SourceError(f"neither {database}.cvd nor {database}.cld is there")

    def _head(self, name: str) -> tuple[int | None, str]:
        try:
            answer = self.web.head(quote(name))
        except HttpStatusError as error:
            if error.status in self._gone:
                raise
            raise SourceError(error.message, hint=error.hint) from error
        return answer.size, answer.validator

    # --- files --------------------------------------------------------------------------------------------------------

    def open(self, name: str, validator: str = "") -> Stream:
        """Open a file; see `Web.open`."""
        return self.web.open(quote(name), validator=validator)

    def is_gone(self, error: SourceError) -> bool:
        """Say whether an error means that a file isn't there."""
        return isinstance(error, HttpStatusError) and error.status in self._gone

    def sign(self, name: str) -> bytes | None:
        """Get the signature beside a file; None where there is none.

        Raises:
            SourceError: it can't be had.
        """
        try:
            return self.web.get(quote(f"{name}.sign"), limit=MAX_SIGN).body
        except SourceError as error:
            if self.is_gone(error):
                return None
            raise
