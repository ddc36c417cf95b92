"""A vendor's web site on this machine: files with times and ETags, and what a forge's API says of its releases."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.servers import Odd, part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from email.message import Message
    from pathlib import Path
    from typing import Self

Answer = tuple[int, dict[str, str], bytes]


def tarball(files: Mapping[str, bytes]) -> bytes:
    """Make a tar archive, the same of the same files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


class Site:
    """A web server whose files a test changes: `put` sets one, `odd` has answers that stand in the place of others.

    `before` is called with each path that is asked for. `paths` has them, those answered with 304 as `304 <path>`;
    `bytes` were sent as bodies.
    """

    def __init__(self, folder: Path, *, protocol: str = "HTTP/1.1", validators: bool = True) -> None:
        self.files: dict[str, tuple[bytes, datetime | None]] = {}
        self.odd: dict[str, Answer] = {}
        self.paths: list[str] = []
        self.bytes = 0
        self.validators = validators
        self.before: Callable[[str], None] = lambda _path: None
        self.server = Odd(folder, self._answer, protocol=protocol)
        self.url = self.server.url

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *arguments: object) -> None:
        self.server.__exit__(*arguments)

    def put(self, path: str, content: bytes | str, at: datetime | None = None) -> None:
        """Have a file at a path, since a time."""
        self.files[f"/{path}"] = content.encode() if isinstance(content, str) else content, at

    def _answer(self, path: str, asked: Message, _content: bytes | None) -> Answer:
        own = unquote(path.partition("?")[0])
        self.before(own)
        if own in self.odd:
            self.paths.append(own)
            return self.odd[own]
        if own not in self.files:
            self.paths.append(own)
            return 404, {}, b""
        content, at = self.files[own]
        headers = {"Content-Type": "application/octet-stream"}
        if self.validators:
            headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:12]}"'
            headers |= {"Last-Modified": format_datetime(at, usegmt=True)} if at else {}
            if asked.get("If-None-Match") == headers["ETag"]:
                self.paths.append(f"304 {own}")
                return 304, headers, b""
        self.paths.append(own)
        begin, _, end = asked.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        if asked.get("Range") and int(begin) < len(content):
            status, more, body = part(content, int(begin), int(end) + 1 if end else None)
            self.bytes += len(body)
            return status, {**headers, **more}, body
        self.bytes += len(content)
        return 200, headers, content


class GitHub(Site):
    """The part of GitHub that a source asks: releases of repositories, their assets and archives of their tags."""

    def release(self, repository: str, tag: str, files: Mapping[str, bytes], archive: bytes = b"", **more: Any) -> None:
        """Publish a release, newer than those before."""
        assets = []
        for name, content in files.items():
            place = f"{repository}/releases/download/{tag}/{name}"
            self.put(place, content)
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            url = f"{self.url}/{place}"
            assets.append(
                {"name": name, "size": len(content), "digest": digest, "browser_download_url": url, "url": url}
            )
        if archive:
            self.put(f"{repository}/archive/refs/tags/{tag}.tar.gz", archive)
            self.put(f"repos/{repository}/tarball/{tag}", archive)
        page = f"{self.url}/{repository}/releases/tag/{tag}"
        entry = {"tag_name": tag, "html_url": page, "draft": False, "prerelease": False, "assets": assets}
        entry |= {"published_at": "2026-11-20T06:00:00Z", "body": f"What is new in {tag}.", **more}
        place = f"repos/{repository}/releases"
        known = json.loads(self.files.get(f"/{place}", (b"[]", None))[0])
        self.put(place, json.dumps([entry, *known]))


class GitLab(Site):
    """The same of GitLab."""

    def release(self, project: str, tag: str, files: Mapping[str, bytes], archive: bytes = b"", **more: Any) -> None:
        """Publish a release, newer than those before."""
        links = []
        for name, content in files.items():
            self.put(f"{project}/-/releases/{tag}/downloads/{name}", content)
            url = f"{self.url}/{project}/-/releases/{tag}/downloads/{name}"
            links.append({"name": name, "url": "https://elsewhere.example/x", "direct_asset_url": url})
        if archive:
            self.put(f"projects/{project}/repository/archive.tar.gz", archive)
        entry = {"tag_name": tag, "released_at": "2026-11-20T06:00:00Z", "description": f"What is new in {tag}."}
        place = f"projects/{project}/releases"
        known = json.loads(self.files.get(f"/{place}", (b"[]", None))[0])
        self.put(place, json.dumps([{**entry, "assets": {"links": links}, **more}, *known]))
