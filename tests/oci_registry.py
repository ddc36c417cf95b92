"""Registries for tests: Debian's, one of ours with what that one lacks, and a helper that pushes artifacts to either.

Ours wants tokens, knows referrers, and gives blobs from another host, each only if a test wants it so.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import re
import tarfile
import threading
from base64 import b64decode, b64encode
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import parse_qs, urlencode, urlsplit

import bcrypt

from reconciler.formats import cosign, oci
from tests.cosign_signer import payload
from tests.ports import free_port
from tests.servers import program, running
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.cosign_signer import Signer

Answer: TypeAlias = "tuple[int, dict[str, str], bytes]"
RULES = "application/vnd.cncf.falco.rulesfile.layer.v1+tar.gz"
CONFIG = "application/vnd.cncf.falco.rulesfile.config.v1+json"


def digest_of(content: bytes) -> str:
    """Give the digest of bytes, as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    """Pack files as the layer of an artifact of Falco is."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


class Pusher:
    """Pushes artifacts to a registry, as `oras push` and `cosign sign` do."""

    def __init__(self, host: str, user: str = "", password: str = "") -> None:
        self.host = host
        self._login = {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"} if user else {}

    def artifact(
        self, repository: str, tag: str, files: Mapping[str, bytes], *, media_type: str = RULES, **more: Any
    ) -> bytes:
        """Push files as the layers of an artifact; `more` stands in its manifest. Gives the manifest."""
        layers = [
            {**self.blob(repository, content, media_type), "annotations": {oci.TITLE: name}}
            for name, content in files.items()
        ]
        return self.manifest(repository, tag, layers, **more)

    def manifest(
        self, repository: str, tag: str, layers: list[dict[str, Any]], *, config: str = CONFIG, **more: Any
    ) -> bytes:
        """Push a manifest of layers that are there, under a tag or (empty) its digest; give it."""
        described = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": self.blob(repository, b"{}", config)}
        content = json.dumps({**described, "layers": layers, **more}).encode()
        self.put(repository, tag or digest_of(content), content, oci.MANIFEST)
        return content

    def index(self, repository: str, tag: str, manifests: Mapping[str, bytes], **more: Any) -> bytes:
        """Push an index of manifests by platform, `linux/amd64`; give it."""
        entries = []
        for platform, content in manifests.items():
            system, machine = platform.split("/")
            entry = {"mediaType": oci.MANIFEST, "digest": digest_of(content), "size": len(content)}
            entries.append({**entry, "platform": {"os": system, "architecture": machine}})
        content = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries, **more}).encode()
        self.put(repository, tag, content, oci.INDEX)
        return content

    def sign(self, repository: str, manifest: bytes, signer: Signer, *, name: str = "") -> None:
        """Put a signature beside an artifact, under the tag of signatures: cosign before version 3."""
        signed = payload(manifest, name or f"{self.host}/{repository}")
        layer = self.blob(repository, signed, cosign.PAYLOAD)
        layer["annotations"] = {cosign.SIGNATURE: signer.sign(signed)}
        self.manifest(repository, cosign.signature_tag(digest_of(manifest)), [layer])

    def refer(self, repository: str, manifest: bytes, bundle: bytes, *, tagged: bool = False) -> None:
        """Put a bundle beside an artifact, as what refers to it: cosign 3. `tagged`: where there is no API for that."""
        subject = {"mediaType": oci.MANIFEST, "digest": digest_of(manifest), "size": len(manifest)}
        layer = self.blob(repository, bundle, cosign.BUNDLE)
        made = self.manifest(repository, "", [layer], config=oci.EMPTY, artifactType=cosign.BUNDLE, subject=subject)
        if tagged:
            entry = {"mediaType": oci.MANIFEST, "digest": digest_of(made), "size": len(made)}
            entries = [{**entry, "artifactType": cosign.BUNDLE}]
            index = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}).encode()
            self.put(repository, oci.referrers_tag(digest_of(manifest)), index, oci.INDEX)

    def blob(self, repository: str, content: bytes, media_type: str = RULES) -> dict[str, Any]:
        """Push a blob, and give its descriptor."""
        digest = digest_of(content)
        begun = self._ask("POST", f"/v2/{repository}/blobs/uploads/", b"", {})
        place = urlsplit(begun["Location"])
        query = "&".join(filter(None, (place.query, urlencode({"digest": digest}))))
        self._ask("PUT", f"{place.path}?{query}", content, {"Content-Type": "application/octet-stream"})
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def put(self, repository: str, reference: str, content: bytes, media_type: str) -> None:
        """Push a document under a tag or its digest."""
        self._ask("PUT", f"/v2/{repository}/manifests/{reference}", content, {"Content-Type": media_type})

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {**headers, **self._login})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status in {201, 202}, (method, path, answer.status, said)
            return answer.headers
        finally:
            connection.close()


@contextmanager
def debian_registry(folder: Path, *, user: str = "", password: str = "") -> Iterator[str]:
    """Run Debian's registry for the time of the block; give its `host:port`. With a user it wants to know who asks."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    auth = ""
    if user:
        known = folder / "htpasswd"
        known.write_bytes(b"%s:%s\n" % (user.encode(), bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, b"2a"))))
        auth = f"auth: {{htpasswd: {{realm: test, path: {known}}}}}\n"
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\n{auth}"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'storage'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with running([program("docker-registry"), "serve", str(config)], "127.0.0.1", port, folder / "log"):
        yield f"127.0.0.1:{port}"


_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<rest>.+)")


class StandIn:
    """A registry of ours. What it holds: `blobs` by digest, `types` of documents, and `tags` by repository.

    `user` and `password` are wanted by the place for tokens (empty: anybody gets one), which is at `realm_host`;
    `referrers` says whether there is an API for them, `cdn` is the URL of another host that has the blobs. A page of
    tags has `page` of them. `seen` has each request: method, path, and headers. `twist(method, path, headers)` may give
    another answer in place of the usual one.
    """

    def __init__(
        self, *, user: str = "", password: str = "", referrers: bool = True, page: int = 2, realm_host: str = ""
    ) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.types: dict[str, str] = {}
        self.seen: list[tuple[str, str, Any]] = []
        self.twist: Callable[[str, str, Any], Answer | None] | None = None
        self.referrers, self.page, self.cdn = referrers, page, ""
        self._given = 0
        self._user = f"{user}:{password}" if user else ""
        self._good: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.host = f"127.0.0.1:{self.port}"
        self._realm = f"http://{realm_host or '127.0.0.1'}:{self.port}/token"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forget_tokens(self) -> None:
        """Have all tokens that were given run out."""
        self._good.clear()

    def asked(self, method: str, words: str) -> int:
        """Count the requests of a method whose path has these words."""
        return sum(1 for entry in self.seen if entry[0] == method and words in entry[1])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.command in {"GET", "HEAD"}:
                    registry.seen.append((self.command, self.path, self.headers))
                status, headers, content = registry.answer(self.command, self.path, self.headers, body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    with suppress(OSError):
                        self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815 - names of the standard library

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        return Handler

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        """Give status, headers and body of an answer."""
        if self.twist is not None and (twisted := self.twist(method, path, headers)) is not None:
            return twisted
        place = urlsplit(path)
        if place.path == "/token":
            return self._token(parse_qs(place.query), headers)
        if method in {"POST", "PUT"}:
            return self._pushed(method, path, headers, body)
        found = _PATH.fullmatch(place.path)
        if found is None:
            return 404, {}, b""
        name, kind, rest = found["name"], found["kind"], found["rest"]
        if headers.get("Authorization", "").removeprefix("Bearer ") not in self._good:
            scope = f"repository:{name}:pull"
            return 401, {"WWW-Authenticate": f'Bearer realm="{self._realm}",service="stand-in",scope="{scope}"'}, b"{}"
        if kind == "tags":
            return self._listed(name, parse_qs(place.query))
        if kind == "referrers":
            return self._referrers(rest) if self.referrers else (404, {}, b"")
        return self._content(kind, name, rest, headers)

    def _token(self, asked: Mapping[str, list[str]], headers: Mapping[str, str]) -> Answer:
        login = b64decode(headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if (self._user and login != self._user) or "pull" not in "".join(asked.get("scope", [])):
            return 401, {}, b"{}"
        self._given += 1
        token = f"token-{self._given}"
        self._good.add(token)
        return 200, {}, json.dumps({"token": token, "expires_in": 300}).encode()

    def _pushed(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        if method == "POST":
            return 202, {"Location": f"{path}1"}, b""
        digest = digest_of(body)
        found = _PATH.fullmatch(urlsplit(path).path)
        assert found is not None, path
        self.blobs[digest] = body
        if found["kind"] == "manifests":
            self.types[digest] = headers["Content-Type"]
            self.tags.setdefault(found["name"], {})[found["rest"]] = digest
        return 201, {"Docker-Content-Digest": digest}, b""

    def _listed(self, name: str, asked: Mapping[str, list[str]]) -> Answer:
        tags = sorted(tag for tag in self.tags.get(name, {}) if not tag.startswith("sha256:"))
        last = asked.get("last", [""])[0]
        rest = [tag for tag in tags if tag > last]
        content = json.dumps({"name": name, "tags": rest[: self.page]}).encode()
        if len(rest) <= self.page:
            return 200, {}, content
        after = urlencode({"n": self.page, "last": rest[self.page - 1]})
        return 200, {"Link": f'</v2/{name}/tags/list?{after}>; rel="next"'}, content

    def _referrers(self, digest: str) -> Answer:
        entries = []
        for one, kind in self.types.items():
            data = json.loads(self.blobs[one])
            if (data.get("subject") or {}).get("digest") == digest:
                entry = {"mediaType": kind, "digest": one, "size": len(self.blobs[one])}
                entries.append({**entry, "artifactType": data.get("artifactType", "")})
        content = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}).encode()
        return 200, {"Content-Type": oci.INDEX}, content

    def _content(self, kind: str, name: str, rest: str, headers: Mapping[str, str]) -> Answer:
        digest = self.tags.get(name, {}).get(rest, rest) if kind == "manifests" else rest
        content = self.blobs.get(digest)
        if content is None:
            return 404, {}, b"{}"
        if kind == "manifests":
            return 200, {"Docker-Content-Digest": digest, "Content-Type": self.types[digest]}, content
        if self.cdn:
            return 307, {"Location": f"{self.cdn}/{digest}?signature=abc"}, b""
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        if asked is None:
            return 200, {}, content
        begin = int(asked[1])
        if begin >= len(content):
            return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
        return 206, {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}, content[begin:]
