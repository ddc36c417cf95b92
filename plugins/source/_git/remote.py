"""A repository on a web server, by git's smart protocol. dulwich speaks it, over the source's own connections.

What comes is counted as it comes, in time or not at all. A server can't lead to files elsewhere (`packfile-uris`), and
it packs nothing that needs other objects than it sends (thin packs).
"""

from __future__ import annotations

import logging
import random
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError, UpdoserError, printable
from reconciler.web.answer import no_file
from reconciler.web.pace import Floor
from reconciler.web.stream import LONGEST_PAUSE, PAUSE, BrokenError, HttpStatusError, SlowError, shown, words_of

from .objects import OBJECT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import urllib3

    from reconciler.web.files import HttpFiles

MAX_REFS = 2**24
"""Bytes of all names of branches and tags."""
TRIES = 3
_CHUNK = 2**16
_SHOWN = 200
_DUMB = (
    "it serves git's files as they are, and speaks no protocol of git",
    "serve it with git http-backend, or carry it in a folder: `url: file:///…`",
)


class TooMuchError(SourceError):
    """More comes than may; what came before that lies where it was to go."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted of a server: an object, with no more than `depth` commits of its history where that isn't 0.

    `haves` are commits that are there, without what they come after.
    """

    want: str
    haves: Sequence[str] = ()
    depth: int = 0


class Remote:
    """The repository at a URL."""

    def __init__(self, url: str, files: HttpFiles) -> None:
        """Connect to nothing yet."""
        self._url = url
        self._files = files

    def refs(self, prefix: str, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Give the objects of branches and tags whose full names are wanted; all of these begin with `prefix`.

        Raises:
            SourceError: it can't be reached, or isn't a repository.
        """

        def look(client: Any) -> dict[str, str]:
            found = client.get_refs("", ref_prefix=[prefix.encode()]).refs
            told = {name.decode("utf-8", "surrogateescape"): id_.decode() for name, id_ in found.items() if id_}
            named = {name: id_ for name, id_ in told.items() if not name.endswith("^{}") and wanted(name)}
            return {name: id_ for name, id_ in named.items() if OBJECT_ID.fullmatch(id_)}

        found: dict[str, str] = self._trying(look, MAX_REFS)
        return found

    def fetch(self, ask: Ask, write: Callable[[bytes], Any], start: Callable[[], None], limit: int) -> None:
        """Have a pack of objects written; `start` is called before each try.

        Raises:
            TooMuchError: it is larger than `limit` bytes.
            SourceError: it can't be had.
        """
        wants = [ask.want.encode()]

        def look(client: Any) -> None:
            start()
            client.fetch_pack(
                "",
                lambda _refs, depth=None: wants,  # noqa: ARG005 - dulwich names it
                _Walker(ask),
                write,
                depth=ask.depth or None,
                ref_prefix=[b"refs/updoser/none"],
            )

        self._trying(look, limit)

    def _trying(self, look: Callable[[Any], Any], limit: int) -> Any:
        for turn in range(1, TRIES + 1):
            try:
                with _mapped(self._url), ExitStack() as answers:
                    return look(_client(self._url, self._files, limit, answers))
            except BrokenError as trouble:
                if turn == TRIES:
                    raise SourceError(f"{trouble} ({turn} tries)") from trouble
                pause = min(PAUSE * 2 ** (turn - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
                time.sleep(trouble.wait if trouble.wait is not None else pause)
        raise AssertionError


class _Walker:
    """What dulwich asks for the commits that are there."""

    def __init__(self, ask: Ask) -> None:
        self._left = [id_.encode() for id_ in ask.haves]
        self.shallow = set(self._left)

    def __next__(self) -> bytes | None:
        return self._left.pop(0) if self._left else None

    def ack(self, _id: bytes) -> None:
        """Go on: there are few."""

    def nak(self) -> None:
        """Go on."""


class _Body:
    """An answer as dulwich reads it: each read gives as much as was asked for, or all that is left."""

    def __init__(self, files: HttpFiles, response: urllib3.BaseHTTPResponse, url: str, place: str, limit: int) -> None:
        self._files, self._response, self._url, self._left = files, response, url, limit
        self._floor = Floor()
        self._deadline = time.monotonic() + files.options.total
        self.status = response.status
        self.content_type = response.headers.get("Content-Type")
        self.redirect_location = place if place != url else ""

    def close(self) -> None:
        self._response.close()

    def read(self, size: int) -> bytes:
        parts, left = [], size
        while left:
            data = self._some(left)
            if not data:
                break
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def _some(self, size: int) -> bytes:
        limit = self._files.limit
        try:
            data = self._response.read(min(size, limit.piece or _CHUNK), decode_content=False)
        except Exception as error:  # whatever a server sends
            raise BrokenError(f"{shown(self._url)}: {words_of(error)}") from error
        limit.spend(len(data))
        self._left -= len(data)
        if self._left < 0:
            raise TooMuchError(f"{shown(self._url)} sends more than may come")
        if time.monotonic() > self._deadline:
            raise SlowError(f"{shown(self._url)} wasn't complete after {self._files.options.total:.0f} s")
        if self._floor.count(len(data)) and data:
            raise SlowError(f"{shown(self._url)} comes at less than {Floor.LEAST} bytes a second")
        return data


def _client(url: str, files: HttpFiles, limit: int, answers: ExitStack) -> Any:
    """Give dulwich's client over our connections; what it leaves open is closed with `answers`.

    It is made here, so that dulwich isn't loaded before it is needed.
    """
    from dulwich.client import AbstractHttpGitClient

    logging.getLogger("dulwich").setLevel(logging.CRITICAL)  # it warns of odd answers on stderr

    class Client(AbstractHttpGitClient):
        def _http_request(
            self, url: str, headers: dict[str, str] | None = None, data: Any = None, raise_for_status: bool = True
        ) -> Any:
            del raise_for_status  # an answer that isn't one is an error of `request`
            post = data is not None
            if not post and not url.partition("?")[0].endswith("/info/refs"):
                raise SourceError(f"{shown(self._base_url)} leads to files elsewhere, which isn't followed")
            response, place = files.request(url, headers or {}, "POST" if post else "GET", data if post else None)
            body = _Body(files, response, url, place, limit + _CHUNK)
            answers.callback(body.close)
            odd = no_file(response.headers) if response.headers.get("Content-Encoding") else ""
            kind = body.content_type or ""
            if odd or response.status != 200 or not kind.startswith("application/x-git-"):
                if odd:
                    raise SourceError(f"{shown(url)}: {odd}")
                said = f" ({printable(kind[:_SHOWN])})" if kind else ""
                raise SourceError(f"{shown(url)}: {_DUMB[0]}{said}", hint=_DUMB[1])
            return body, body.read

    client = Client(url, thin_packs=False, quiet=True)
    client._fetch_capabilities = {name for name in client._fetch_capabilities if b"packfile-uris" not in name}  # noqa: SLF001
    return client


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    """Say what a server or dulwich is at odds with as an error of the source."""
    try:
        yield
    except (UpdoserError, BrokenError) as error:
        if isinstance(error, HttpStatusError) and error.status in {401, 403, 404} and not error.hint:
            hint = "`url` is what `git clone` takes; a private one needs `username` and `password` (a token)"
            raise SourceError(error.message, hint=hint) from error
        raise
    except Exception as error:  # whatever a server sends
        said = printable(str(error) or type(error).__name__)[:_SHOWN]
        raise SourceError(f"{shown(url)} doesn't speak git's protocol as it should: {said}") from error
