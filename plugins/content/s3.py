"""Content in a bucket of an object store with Amazon's S3 API: of Amazon itself, MinIO, Ceph and their like.

    <prefix>/content/<first two of sha256>/<sha256>
    <prefix>/users/<user>

* Nothing hangs on conditions of writes, which not all servers know: the same key always gets the same bytes.
* What is larger than a part is brought in parts, and there when all of them are. A run that is stopped leaves off
  between two of them.
* Credentials are those of the options, asked for again every quarter of an hour, or what the environment has: the
  variables `AWS_…`, a web identity, the role of a container or a machine.
* Where a proxy is used, the spec names it; those of the environment aren't.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote, urlsplit

from reconciler.contracts import ContentEntry, Context, Traits, WritablePlace
from reconciler.errors import InterruptedRunError, NoContentError, StoreError, UpdoserError
from reconciler.formats.duration import parse_duration
from reconciler.formats.option_schemas import DURATION, SECRET
from reconciler.model.release import SHA256

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from obstore.store import S3Store

    from reconciler.model.network import Proxy

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Content in a bucket of an object store with Amazon's S3 API. It needs the extra `updoser[s3]`.",
    "properties": {
        "bucket": {"type": "string", "minLength": 3, "description": "The bucket.", "examples": ["updoser"]},
        "prefix": {
            "type": "string",
            "pattern": "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
            "x-says": "words with slashes between them, such as updoser/berlin",
            "description": "What the keys begin with, where the bucket is for other things, too.",
            "examples": ["updoser/berlin"],
        },
        "endpoint": {
            "type": "string",
            "pattern": "^https?://[^/\\s@]+$",
            "x-says": "a URL without a path, such as https://s3.example",
            "description": "Where the server is. Left out: that of Amazon in the region.",
            "examples": ["https://s3.example"],
        },
        "region": {
            "type": "string",
            "pattern": "^[a-z0-9-]+$",
            "x-says": "a region such as eu-central-1",
            "default": "us-east-1",
            "description": "The region of the bucket.",
            "examples": ["eu-central-1"],
        },
        "access_key": {**SECRET, "description": "The id of the key. Left out: what the environment has."},
        "secret_key": {**SECRET, "description": "The key."},
        "session_token": {**SECRET, "description": "The token of credentials that last for a while."},
        "ca": {
            "type": "string",
            "minLength": 1,
            "description": "A file of certificates that sign the server's, beside the system's.",
            "examples": ["trust/ca.pem"],
        },
        "connect_timeout": {**DURATION, "default": "10s", "description": "For connecting.", "examples": ["10s"]},
        "read_timeout": {
            **DURATION,
            "default": "30s",
            "description": "How long the server may send nothing.",
            "examples": ["30s"],
        },
        "timeout": {**DURATION, "default": "6h", "description": "For one request as a whole.", "examples": ["6h"]},
    },
    "required": ["bucket"],
    "additionalProperties": False,
    "dependentRequired": {
        "access_key": ["secret_key"],
        "secret_key": ["access_key"],
        "session_token": ["access_key"],
    },
}
PART = 8 * 2**20
AT_ONCE = 4
"""How many parts of one file are on their way at a time."""
RETRIES, RETRY_FOR = 5, timedelta(minutes=3)
_FRESH = timedelta(minutes=15)
_CHUNK = 2**20
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>")
_DEEP = re.compile(r'(?:message|error): "([^"]{1,120})"')
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_STATUS = re.compile(r"non-2xx status code: ([0-9]{3}[ A-Za-z-]{0,40})")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})</Message>")
_NO_PROXY = {"proxy_url": "http://0.0.0.0:9", "proxy_excludes": "*,0.0.0.0/0,::/0"}
"""A proxy that is for nobody, in place of those that the environment names."""
_EXTRA = "install the extra: pip install 'updoser[s3]'"


class Bucket(WritablePlace):
    """The protocol `WritablePlace` of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._options = options
        self._context = context
        self._secrets: set[str] = set()
        self._endpoint = _endpoint(options)
        self._store = self._open()
        self.name = f"the bucket {options['bucket']}"

    def size(self, sha256: str) -> int | None:
        """See `ContentPlace.size`."""
        import obstore

        try:
            with self._mapped(sha256):
                return int(obstore.head(self._store, _key(sha256))["size"])
        except NoContentError:
            return None

    @contextmanager
    def open(self, sha256: str, start: int = 0) -> Iterator[BinaryIO]:
        """See `ContentPlace.open`."""
        import obstore

        with self._mapped(sha256):
            ranged: Any = {"range": {"offset": start}} if start else {}
            found = obstore.get(self._store, _key(sha256), options=ranged)
            pieces = iter(found.stream(min_chunk_size=_CHUNK))
        yield cast("BinaryIO", _Stream(pieces, lambda: self._mapped(sha256)))

    def put(self, sha256: str, file: Path) -> None:
        """See `WritablePlace.put`."""
        import obstore

        key = _key(sha256)
        try:
            with file.open("rb") as content, self._mapped(""):
                if file.stat().st_size <= PART:
                    obstore.put(self._store, key, content.read(), use_multipart=False)
                else:
                    pieces = self._pieces(content)
                    obstore.put(self._store, key, pieces, use_multipart=True, chunk_size=PART, max_concurrency=AT_ONCE)
        except OSError as error:
            raise StoreError(f"{file} can't be read: {error.strerror or error}") from error

    def delete(self, sha256: str) -> None:
        """See `WritablePlace.delete`."""
        import obstore

        try:
            with self._mapped(sha256):
                obstore.delete(self._store, _key(sha256))
        except NoContentError:
            return

    def entries(self) -> Iterator[ContentEntry]:
        """See `WritablePlace.entries`."""
        for meta in self._listed("content"):
            folder, _slash, name = meta["path"].removeprefix("content/").partition("/")
            if SHA256.fullmatch(name) and folder == name[:2]:
                yield ContentEntry(name, int(meta["size"]))

    def join(self, user: str) -> None:
        """See `WritablePlace.join`."""
        import obstore

        with self._mapped(""):
            obstore.put(self._store, f"users/{user}", user.encode(), use_multipart=False)

    def users(self) -> Collection[str]:
        """See `WritablePlace.users`."""
        return {meta["path"].rpartition("/")[2] for meta in self._listed("users")}

    def _listed(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        import obstore

        with self._mapped(""):
            for chunk in obstore.list(self._store, prefix, chunk_size=1000):
                yield from cast("Iterable[Mapping[str, Any]]", chunk)

    def _pieces(self, content: BinaryIO) -> Iterator[bytes]:
        while piece := content.read(_CHUNK):
            if self._context.stop.is_set():
                raise InterruptedRunError("the run is stopped")
            yield piece

    # --- the way there ------------------------------------------------------------------------------------------------

    def _open(self) -> S3Store:
        try:
            from obstore.store import S3Store
        except ImportError as error:
            raise StoreError("content in a bucket needs the package obstore", hint=_EXTRA) from error
        options = self._options
        given: dict[str, Any] = {"credential_provider": self._credentials} if "access_key" in options else {}
        try:
            return S3Store(
                options["bucket"],
                prefix=options.get("prefix"),
                config={"endpoint": self._endpoint, "region": options["region"], "virtual_hosted_style_request": False},
                client_options=self._client(),  # type: ignore[arg-type] # a mapping of its options
                retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR},
                **given,
            )
        except UpdoserError:
            raise
        except Exception as error:  # whatever it finds wrong with what it is given
            raise StoreError(f"the bucket {options['bucket']} can't be opened: {self._said(error)}") from error

    def _client(self) -> dict[str, Any]:
        options = self._options
        client: dict[str, Any] = {
            "user_agent": "updoser",
            "allow_http": self._endpoint.startswith("http://"),
            "connect_timeout": parse_duration(options["connect_timeout"]),
            "read_timeout": parse_duration(options["read_timeout"]),
            "timeout": parse_duration(options["timeout"]),
            **_NO_PROXY,
        }
        if "ca" in options:
            client["root_certificate"] = self._read(options["ca"])
        proxy = self._context.proxy
        if proxy is not None and proxy.is_for(urlsplit(self._endpoint).hostname or ""):
            client |= {"proxy_url": self._proxy(proxy), "proxy_excludes": ""}
            if proxy.ca:
                client["proxy_ca_certificate"] = self._read(proxy.ca).decode("ascii", "replace")
        return client

    def _proxy(self, proxy: Proxy) -> str:
        if proxy.scheme not in {"http", "https"}:
            raise StoreError(
                f"a bucket isn't reached through a {proxy.scheme} proxy such as {proxy.name}",
                hint="name one of http or https in `server.content.proxy`, or read it by the plugin http",
            )
        host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
        if not proxy.username:
            return f"{proxy.scheme}://{host}:{proxy.port}"
        name = proxy.username if isinstance(proxy.username, str) else self._secret(proxy.username)
        password = self._secret(proxy.password) if proxy.password is not None else ""
        return f"{proxy.scheme}://{quote(name, '')}:{quote(password, '')}@{host}:{proxy.port}"

    def _read(self, name: str) -> bytes:
        try:
            return self._context.path(name, StoreError).read_bytes()
        except OSError as error:
            raise StoreError(f"the certificates in {name} can't be used: {error.strerror or error}") from error

    def _credentials(self) -> Any:
        options = self._options
        token = options.get("session_token")
        return {
            "access_key_id": self._secret(options["access_key"]),
            "secret_access_key": self._secret(options["secret_key"]),
            "token": self._secret(token) if token is not None else None,
            "expires_at": self._context.clock() + _FRESH,
        }

    def _secret(self, reference: Any) -> str:
        value = self._context.secret(reference)
        self._secrets |= {value, quote(value, "")} - {""}
        return value

    @contextmanager
    def _mapped(self, sha256: str) -> Iterator[None]:
        """Map what obstore raises; what isn't there is told as that where it is about one content."""
        from obstore.exceptions import BaseError

        try:
            yield
        except UpdoserError:
            raise
        except FileNotFoundError as error:
            absent = sha256 and "NoSuchBucket" not in str(error)
            kind = NoContentError if absent else StoreError
            raise kind(f"{self.name}: {f'it has no {sha256}' if absent else self._said(error)}") from error
        except (BaseError, ValueError) as error:
            raise StoreError(f"{self.name} at {self._endpoint}: {self._said(error)}") from error

    def _said(self, error: Exception) -> str:
        """Say in one line what a server or the library said, without secrets."""
        text = str(error)
        code, message = _CODE.search(text), _MESSAGE.search(text)
        words = f"{code[1]}: {message[1]}" if code and message else _innermost(text)
        for value in sorted(self._secrets, key=len, reverse=True):
            words = words.replace(value, "***")
        return words


class _Stream:
    """Content on its way, in pieces of any size."""

    def __init__(self, pieces: Iterator[Any], guard: Callable[[], Any]) -> None:
        self._pieces = pieces
        self._guard = guard
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            with self._guard():
                piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = memoryview(bytes(piece))
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return bytes(taken)


def _innermost(text: str) -> str:
    """Give what the operating system, TLS or the server said, which stands deep in an error; or its first line."""
    certificate = _CERTIFICATE.search(text)
    if certificate:
        return f"its certificate isn't trusted ({certificate[1]})"
    status = _STATUS.search(text)
    if status:
        return f"HTTP {status[1]}"
    deep = _DEEP.findall(text)
    return str(deep[-1]) if deep else " ".join(text.partition("\n")[0].split())[:300]


def _key(sha256: str) -> str:
    if not SHA256.fullmatch(sha256):
        raise StoreError(f"{sha256!r} is no SHA-256")
    return f"content/{sha256[:2]}/{sha256}"


def _endpoint(options: Mapping[str, Any]) -> str:
    return str(options.get("endpoint") or f"https://s3.{options['region']}.amazonaws.com")


def _traits(options: Mapping[str, Any]) -> Traits:
    return Traits(network=True, url=_endpoint(options))


TRAITS = _traits
PLUGIN = Bucket
