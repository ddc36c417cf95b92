"""A registry of OCI artifacts, asked over our own connections: its time-outs, proxy, pace and cool-down hold.

Source of the rules: the OCI distribution specification 1.1. Nothing is believed of an answer but its bytes, once they
have the digest that was asked for; a tag's digest is what the registry says it is, until a signature says more.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from reconciler.errors import SourceError
from reconciler.formats.http_fields import next_link
from reconciler.formats.oci import (
    ACCEPTED,
    DIGEST,
    INDEX,
    MAX_MANIFEST,
    digest_of_bytes,
    parse_document,
    parse_referrers,
    parse_tags,
    referrers_tag,
)
from reconciler.web.own import Own, origin
from reconciler.web.stream import ForwardStream, HttpStatusError, shown
from reconciler.web.web import Web

from .tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.contracts import Context
    from reconciler.formats.oci import Descriptor, Manifest, ManifestIndex
    from reconciler.web.connections import HttpOptions
    from reconciler.web.web import Stream

    from .documents import Documents

    T = TypeVar("T")

PAGE = 1000
MAX_PAGES = 100
MAX_TAGS = 20_000
_ACCEPT = {"Accept": ACCEPTED}
_NOT_THERE = frozenset({404, 410})
_NO_API = frozenset({400, 404, 405, 501})
"""What registries answer that have no referrers API."""


class Registry:
    """One registry; used by several threads at once. `documents` keeps what was read by its digest."""

    def __init__(
        self,
        host: str,
        options: HttpOptions,
        context: Context,
        documents: Documents,
        *,
        insecure: bool = False,
        realm: str = "",
    ) -> None:
        """Connect to nothing yet."""
        self.base = f"http{'' if insecure else 's'}://{host}"
        self._documents = documents
        without_login = replace(options, username="", password=None)
        self._web = Web(self.base, without_login, context)
        bare = replace(without_login, certificate="", key=None, headers={}, query={})
        own = Own(self.base, options, context.secret)

        def web_at(url: str) -> Web:
            return self._web if self._web.is_own(url) else Web("{}://{}".format(*urlsplit(url)[:2]), bare, context)

        self._tokens = Tokens(self.base, web_at, own.credentials, realm)

    def check(self) -> None:
        """Go on unless the registry is to be left alone; see `Cooldown.check`."""
        self._web.check()

    def tags(self, repository: str) -> list[str]:
        """List the tags of a repository.

        Raises:
            SourceError: they can't be had, or there are too many.
        """
        found: dict[str, None] = {}
        for content in self._pages(repository, f"tags/list?{urlencode({'n': PAGE})}"):
            found |= dict.fromkeys(self._read(repository, partial(parse_tags, content, repository)))
            if len(found) > MAX_TAGS:
                raise SourceError(f"{self._shown(repository)} has more than {MAX_TAGS} tags")
        return list(found)

    def resolve(self, repository: str, tag: str) -> str | None:
        """Give the digest that a tag stands for now; None where there is no such tag.

        Raises:
            SourceError: that can't be found out.
        """
        try:
            url = self._url(repository, f"manifests/{tag}")
            answer = self._ask(repository, lambda headers: self._web.head(url, headers=headers.items()), _ACCEPT)
        except HttpStatusError as error:
            if error.status in _NOT_THERE:
                return None
            raise
        digest = answer.headers.get("Docker-Content-Digest", "")
        return digest if DIGEST.fullmatch(digest) else self._fetched(repository, tag)

    def document(self, repository: str, digest: str) -> tuple[bytes, Manifest | ManifestIndex]:
        """Give a manifest or an index by its digest: its bytes, and what they say.

        Raises:
            SourceError: it can't be had, or isn't one.
        """
        content, kind = self._documents.get(digest), ""
        if content is None:
            answer = self._get(repository, f"manifests/{digest}", _ACCEPT)
            content, kind = answer.body, answer.headers.get("Content-Type", "")
        document = self._read(repository, partial(parse_document, content, kind, digest))
        self._documents.put(content)
        return content, document

    def blob(self, repository: str, digest: str) -> Stream:
        """Open a blob; it is asked for at the first read, and may be sought in before. Its reader verifies it.

        Raises:
            SourceError, when it is read: it can't be had.
        """
        return _Blob(self, repository, self._url(repository, f"blobs/{digest}"))

    def small_blob(self, repository: str, wanted: Descriptor, limit: int) -> bytes:
        """Give a blob of at most `limit` bytes, which is what was asked for.

        Raises:
            SourceError: it can't be had, is larger, or is something else.
        """
        if wanted.size > limit:
            raise SourceError(f"{self._shown(repository)}: {wanted.digest} has more than {limit} bytes")
        content = self._documents.get(wanted.digest)
        if content is None:
            content = self._get(repository, f"blobs/{wanted.digest}", {}, limit).body
        if digest_of_bytes(content) != wanted.digest or len(content) != wanted.size:
            raise SourceError(f"{self._shown(repository)}: the registry gives something else for {wanted.digest}")
        self._documents.put(content)
        return content

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """List what refers to an artifact: by the referrers API, or the tag that stands in for it.

        Raises:
            SourceError: that can't be found out.
        """
        found: list[Descriptor] = []
        try:
            for content in self._pages(repository, f"referrers/{digest}", {"Accept": INDEX}):
                found += self._read(repository, partial(parse_referrers, content))
        except HttpStatusError as error:
            if error.status not in _NO_API:
                raise
        else:
            return found
        tagged = self.resolve(repository, referrers_tag(digest))
        if tagged is None:
            return []
        content, _document = self.document(repository, tagged)
        return list(self._read(repository, partial(parse_referrers, content)))

    # --- how ----------------------------------------------------------------------------------------------------------

    def _fetched(self, repository: str, tag: str) -> str:
        """Read what a tag stands for, where the registry doesn't tell its digest by itself."""
        answer = self._get(repository, f"manifests/{tag}", _ACCEPT)
        self._documents.put(answer.body)
        return digest_of_bytes(answer.body)

    def _pages(self, repository: str, path: str, headers: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Give a list page by page."""
        seen: set[str] = set()
        url = self._url(repository, path)
        while url and url not in seen:
            if len(seen) == MAX_PAGES:
                raise SourceError(f"{shown(url)} has more than {MAX_PAGES} pages")
            seen.add(url)
            answer = self._get(repository, url, headers or {})
            yield answer.body
            link = next_link(answer.headers.get("Link", ""))
            url = self._next(url, link) if link else ""

    def _next(self, url: str, link: str) -> str:
        """Give where a next page is.

        Raises:
            SourceError: elsewhere than where the first one was.
        """
        try:
            found = urljoin(url, link)
            same = origin(found) == origin(url) and urlsplit(found).path == urlsplit(url).path
        except ValueError:
            same = False
        if not same:
            raise SourceError(f"{shown(url)} says that its next page is elsewhere, which isn't followed")
        return found

    def _get(self, repository: str, path: str, headers: Mapping[str, str], limit: int = MAX_MANIFEST) -> Any:
        url = path if path.startswith(self.base) else self._url(repository, path)
        return self._ask(repository, lambda own: self._web.get(url, limit=limit, headers=own.items()), headers)

    def _ask(self, repository: str, ask: Callable[[Mapping[str, str]], T], headers: Mapping[str, str]) -> T:
        """Ask with what is known of who we are, and once more when that isn't enough."""
        try:
            return ask({**headers, **self._tokens.headers(repository)})
        except HttpStatusError as error:
            if error.status != 401:
                raise
            self._tokens.renew(repository, error)
        try:
            return ask({**headers, **self._tokens.headers(repository)})
        except HttpStatusError as error:
            raise (self._tokens.refused(repository) if error.status == 401 else error) from error

    def _url(self, repository: str, path: str) -> str:
        return f"{self.base}/v2/{quote(repository)}/{path}"

    def _read(self, repository: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except ValueError as error:
            raise SourceError(f"{self._shown(repository)}: {error}") from error

    def _shown(self, repository: str) -> str:
        return f"{urlsplit(self.base).netloc}/{repository}"

    # --- what a blob needs --------------------------------------------------------------------------------------------

    def open_blob(self, repository: str, url: str) -> Stream:
        """Open a blob with what is known of who we are."""
        return self._web.open(url, headers=self._tokens.headers(repository).items())

    def renew(self, repository: str, refusal: HttpStatusError) -> None:
        """Get what the registry asks for; see `Tokens.renew`."""
        self._tokens.renew(repository, refusal)

    def refused(self, repository: str) -> SourceError:
        """Give the error of a registry that doesn't take what it asked for; see `Tokens.refused`."""
        return self._tokens.refused(repository)


class _Blob(ForwardStream):
    """A blob on its way: a token that isn't there, or runs out in the midst of it, is got and costs nothing.

    `headers` are those of the last answer.
    """

    def __init__(self, registry: Registry, repository: str, url: str) -> None:
        super().__init__()
        self._registry = registry
        self._repository = repository
        self._url = url
        self._stream: Stream | None = None
        self._renewed_at = -1
        self.headers: Mapping[str, str] = {}

    @property
    def _begun(self) -> bool:
        return self._stream is not None

    def read(self, size: int = -1) -> bytes:
        """Read some bytes, at most `size`; none at the end. Without a size: all that is left.

        Raises:
            SourceError: it can't be had.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(2**20), b""))
        while True:
            try:
                if self._stream is None:
                    self._stream = self._registry.open_blob(self._repository, self._url)
                    self._stream.seek(self._position)
                data = self._stream.read(size)
            except HttpStatusError as error:
                if error.status != 401:
                    raise
                if self._renewed_at == self._position:
                    raise self._registry.refused(self._repository) from error
                self._renewed_at = self._position  # without a byte in between it isn't asked for again
                self._drop()
                self._registry.renew(self._repository, error)
                continue
            self._position += len(data)
            self.headers = self._stream.headers
            return data

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
