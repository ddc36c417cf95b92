"""What a source asked the web about versions, kept between runs: answers, when they came, and what they are known by.

Nothing is asked again before its interval is over, and then only for what changed: who has nothing new says so in a few
hundred bytes. The files are caches: one that is damaged is asked for again.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from reconciler.files import write_whole
from reconciler.formats.text import read_json
from reconciler.web.web import NOT_MODIFIED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.contracts import Context
    from reconciler.web.web import Answer, Web

MAX_KEPT = 32 * 2**20
FORMAT = 1
SWEPT_AFTER = timedelta(days=30)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Document:
    """An answer: `body` is empty where only the head was asked for. `validator` is what `answer.validator_of` gives."""

    body: bytes
    etag: str
    modified: str
    size: int | None
    validator: str
    at: datetime


class Documents:
    """Answers by URL, in a folder."""

    def __init__(self, web: Web, context: Context) -> None:
        """Ask for nothing yet."""
        self._web = web
        self._context = context
        self._folder = context.work / "documents"
        self._asked: dict[str, Document] = {}

    def begin(self) -> None:
        """Begin a run, in which each URL is asked for at most once."""
        self._asked.clear()

    def get(self, url: str, *, limit: int, interval: timedelta, headers: Iterable[tuple[str, str]] = ()) -> Document:
        """Give a document, from before where that is younger than the interval.

        Raises:
            SourceError: it can't be had.
        """
        key = self._key(url, "GET")
        known = self._known(key)
        if known is not None and self._is_young(key, known, interval):
            return known
        answer = self._web.get(
            url,
            limit=limit,
            headers=headers,
            etag=known.etag if known else "",
            since=known.modified if known and not known.etag else "",
        )
        if answer.status == NOT_MODIFIED and known is not None:
            return self._keep(key, replace(known, at=self._context.clock()))
        return self._keep(key, self._document(answer))

    def head(self, url: str, *, interval: timedelta, headers: Iterable[tuple[str, str]] = ()) -> Document:
        """Give what is said of a file; see `get`.

        Raises:
            SourceError: it can't be had.
        """
        key = self._key(url, "HEAD")
        known = self._known(key)
        if known is not None and self._is_young(key, known, interval):
            return known
        return self._keep(key, self._document(self._web.head(url, headers=headers)))

    def forget(self, url: str) -> None:
        """Have a URL be asked for again, in this run too: what came of its answer is no good, or not yet."""
        for key in (self._key(url, "GET"), self._key(url, "HEAD")):
            known = self._known(key)
            if known is not None:
                self._keep(key, replace(known, at=_LONG_AGO))
                del self._asked[key]

    def sweep(self) -> None:
        """Remove what nobody has asked for in a long time."""
        oldest = self._context.clock().timestamp() - SWEPT_AFTER.total_seconds()
        for path in self._folder.glob("*.json"):
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except OSError as error:
                self._context.log.warning("%s can't be removed: %s", path, error)

    def _key(self, url: str, method: str) -> str:
        whole = f"{method} {self._web.whole(url)}"
        return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _is_young(self, key: str, known: Document, interval: timedelta) -> bool:
        return key in self._asked or timedelta() <= self._context.clock() - known.at < interval

    def _document(self, answer: Answer) -> Document:
        return Document(
            body=answer.body,
            etag=answer.etag,
            modified=answer.modified,
            size=answer.size,
            validator=answer.validator,
            at=self._context.clock(),
        )

    def _keep(self, key: str, found: Document) -> Document:
        self._asked[key] = found
        body = base64.b64encode(found.body).decode()
        kept = {**asdict(found), "format": FORMAT, "body": body, "at": found.at.isoformat()}
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(self._folder / f"{key}.json", json.dumps(kept).encode(), 0o600)
        except OSError as error:
            self._context.log.warning("%s can't be written: %s", self._folder / key, error)
        return found

    def _known(self, key: str) -> Document | None:
        if key in self._asked:
            return self._asked[key]
        try:
            with (self._folder / f"{key}.json").open("rb") as stream:
                data = read_json(stream.read(MAX_KEPT))
            at = datetime.fromisoformat(data["at"])
            if data.pop("format") != FORMAT or at.tzinfo is None:
                return None
            size = None if data["size"] is None else int(data["size"])
            body = base64.b64decode(data["body"], validate=True)
            texts = {name: str(data[name]) for name in ("etag", "modified", "validator")}
            return Document(body=body, size=size, at=at, **texts)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._context.log.warning("%s is damaged and passed over: %s", self._folder / key, error)
            return None
