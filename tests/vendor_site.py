"""A vendor's web site on this machine: files with times and ETags, and what a forge's API says of its releases."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from reconciler.model.spec import PluginConfig, SourceSpec
from reconciler.observe.upstream import read_sources
from reconciler.plugins.source import http
from tests.fakes import fake_context, make_component, make_plugin
from tests.servers import Odd, part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from email.message import Message
    from pathlib import Path
    from typing import Self

    from reconciler.model.offer import SourceReport

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMES = {"rules": "integer", "engine": "dotted", "feed": "calver"}
COMPONENTS = {id_: make_component(id_, scheme=scheme) for id_, scheme in SCHEMES.items()}
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

    `before` is called with each path that is asked for. `paths` has them, those answered with 304 as `304 <path>`.
    """

    def __init__(self, folder: Path, *, protocol: str = "HTTP/1.1", validators: bool = True) -> None:
        self.files: dict[str, tuple[bytes, datetime | None]] = {}
        self.odd: dict[str, Answer] = {}
        self.paths: list[str] = []
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
            return status, {**headers, **more}, body
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
            own = f"repos/{repository}/releases/assets/{tag}-{name}"
            self.put(own, content)
            places = {"browser_download_url": f"{self.url}/{place}", "url": f"{self.url}/{own}"}
            assets.append({"name": name, "size": len(content), "digest": digest, **places})
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


class Desk:
    """A source as runs have it, one after the other, each a minute later unless told otherwise."""

    def __init__(self, folder: Path, url: str, *, more: Mapping[str, Any] | None = None, **components: Any) -> None:
        self.folder = folder
        self.now = NOW
        self.options = {"url": url, "components": components, **(more or {})}
        self.source: Any = None
        self.means: dict[str, Any] = {}

    def look(self, after: timedelta = HOUR, **asked: Any) -> SourceReport:
        self.now += after
        context = fake_context(self.folder, now=self.now, **self.means)
        self.source = make_plugin(http, self.options, context)
        spec = SourceSpec("vendor", PluginConfig("source", "http"), signed=True)
        components = {id_: COMPONENTS[id_] for id_ in asked or self.options["components"]}
        (report,) = read_sources([(spec, self.source)], components)
        return report

    def offered(self, after: timedelta = HOUR) -> dict[str, dict[str, bytes]]:
        """Look, and give the files of each release, from the newest to the oldest, by version."""
        report = self.look(after)
        assert (report.error, report.problems) == ("", ())
        return self.contents(report)

    def contents(self, report: SourceReport) -> dict[str, dict[str, bytes]]:
        found: dict[str, dict[str, bytes]] = {}
        for release in reversed(report.releases):
            found[release.version] = files = {}
            for file in release.files:
                with self.source.open(release, file) as content:
                    files[file.name] = content.read()
                assert hashlib.sha256(files[file.name]).hexdigest() == file.sha256
        return found
