"""Content on a web server, to be read only: a published repository, a mirror of one, or a bucket that all may read.

    <url>/content/<first two of sha256>/<sha256>

It is believed for its bytes only, which have the digest that was asked for, or are refused.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from reconciler.contracts import ContentPlace, Context, Traits
from reconciler.errors import NoContentError, SourceError, StoreError
from reconciler.formats.index import content_path
from reconciler.model.release import SHA256
from reconciler.web.options import WEB, web_options
from reconciler.web.stream import HttpStatusError
from reconciler.web.web import Web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.web.web import Stream

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Content on a web server, to be read only: as a published repository or its mirror has it.",
    "properties": {
        "url": {
            "type": "string",
            "description": "What `content/` is below: http or https. User and password don't belong here.",
            "pattern": "^https?://[^/\\s@]+(/\\S*)?$",
            "x-says": "a URL such as https://updates.example/repo",
            "examples": ["https://updates.example/repo"],
        },
        **WEB,
    },
    "required": ["url"],
    "additionalProperties": False,
}
_NOT_THERE = frozenset({404, 410})


class HttpPlace(ContentPlace):
    """The protocol `ContentPlace` of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        with _mapped(""):
            self._web = Web(options["url"], web_options(options), context)

    def size(self, sha256: str) -> int | None:
        """See `ContentPlace.size`."""
        try:
            with _mapped(sha256):
                found = self._web.head(_path(sha256)).size
        except NoContentError:
            return None
        if found is None:
            raise StoreError(f"{self._web.base} doesn't say how large {sha256} is")
        return found

    @contextmanager
    def open(self, sha256: str, start: int = 0) -> Iterator[BinaryIO]:
        """See `ContentPlace.open`."""
        stream = _Mapped(self._web.open(_path(sha256)), sha256, start)
        try:
            yield cast("BinaryIO", stream)
        finally:
            stream.close()


class _Mapped:
    """A stream of the web whose errors are those of content."""

    def __init__(self, stream: Stream, sha256: str, start: int) -> None:
        self._stream = stream
        self._sha256 = sha256
        self._stream.seek(start)

    def read(self, size: int = -1) -> bytes:
        with _mapped(self._sha256):
            return self._stream.read(size)

    def close(self) -> None:
        with _mapped(self._sha256):
            self._stream.close()


def _path(sha256: str) -> str:
    if not SHA256.fullmatch(sha256):
        raise StoreError(f"{sha256!r} is no SHA-256")
    return content_path(sha256)


@contextmanager
def _mapped(sha256: str) -> Iterator[None]:
    try:
        yield
    except HttpStatusError as error:
        kind = NoContentError if sha256 and error.status in _NOT_THERE else StoreError
        raise kind(error.message, hint=error.hint) from error
    except SourceError as error:
        raise StoreError(error.message, hint=error.hint) from error


def _traits(options: Mapping[str, Any]) -> Traits:
    return Traits(network=True, url=str(urlsplit(str(options["url"])).geturl()))


TRAITS = _traits
PLUGIN = HttpPlace
