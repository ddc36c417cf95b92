"""Releases from a signed repository, as The Update Framework has it (https://theupdateframework.github.io).

    <url>/metadata/      root, timestamp, snapshot, targets and delegated roles, as the specification says
    <url>/targets/       index/<component>.json: what there is of a component (reconciler/formats/index.py)
    <url>/content/       the bytes of files and patches, by their SHA-256

The client of python-tuf verifies metadata and indexes, always from the `trusted_root` that the spec names; files and
patches are verified by whoever stores them, with the size and digest that the index has. An older or a mixed repository
shows: a rollback is told from metadata that was seen before, by this controller or by another one of the state.

A repository that fails as a whole is an error of this source; an index that fails costs its component only. What breaks
a promise is looked at once more from the start, on new connections, before it is believed: behind one URL there may be
mirrors that lag behind each other, and a look that met two of them finds older or mixed states. Expired
metadata is an error, too, unless the spec accepts it for a time: then what was verified before is offered again, and
nothing newer.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from reconciler.contracts import Remembered, Traits
from reconciler.errors import SourceError, StoreError, words_of
from reconciler.files import write_whole
from reconciler.formats.index import MAX_BYTES, content_path, index_path, parse_index
from reconciler.model.offer import SourceReport
from reconciler.web.answer import no_file
from reconciler.web.files import HttpFiles, files_at
from reconciler.web.options import WEB, web_options

from ._fetched.turn import Turn
from ._tuf.client import refreshed, root_keys
from ._tuf.memory import version_of
from ._tuf.ngclient import BrokenPromiseError, ExpiredError, mapped
from ._tuf.signers import Signers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tuf.ngclient.updater import Updater

    from reconciler.contracts import Context, TrustedKey
    from reconciler.formats.index import Index
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.release import Component, Release, ReleaseFile

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "A signed repository (TUF) on a web server or in a folder.",
    "properties": {
        "url": {
            "type": "string",
            "description": "Where the repository is: http, https or file. User and password don't belong here.",
            "pattern": "^(https?://[^/\\s]+|file:///)\\S*$",
            "x-says": "a URL such as https://updates.example/repo",
            "examples": ["https://updates.example/repo", "file:///media/in"],
        },
        "trusted_root": {
            "type": "string",
            "minLength": 1,
            "description": "The file with the first root that is trusted, got from the publisher by a way of its own.",
            "examples": ["trust/root.json"],
        },
        **WEB,
        "accept_expired": {
            "type": "object",
            "description": "Take what was verified before, although the signatures have expired since. Nothing newer.",
            "additionalProperties": False,
            "required": ["until", "reason"],
            "examples": [{"until": "2026-12-15", "reason": "courier strike"}],
            "properties": {
                "until": {
                    "type": "string",
                    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
                    "x-says": 'a day in quotes, such as "2026-12-01"',
                    "description": "The last day on which it is accepted.",
                    "examples": ["2026-12-15"],
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "description": "Why; it stands in every plan and in the history.",
                    "examples": ["courier strike"],
                },
            },
        },
    },
    "required": ["url", "trusted_root"],
    "additionalProperties": False,
}


MAX_SHARED = 2**20
"""Bytes of an index that other controllers are given; a larger one is kept here only."""
_VERIFIED = "verified/"


class Tuf:
    """The `Source` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._url: str = options["url"].rstrip("/")
        self._root_name: str = options["trusted_root"]
        self._context = context
        self._accept: Mapping[str, str] | None = options.get("accept_expired")
        self._files = files_at(self._url, web_options(options), context)
        self._verified = context.work / "verified"
        self._indexes: dict[str, Remembered] = {}
        self._turn = Turn(context.work / "lock", context.stop)  # ngclient isn't made for two at once
        if urlsplit(self._url).scheme == "file" and context.proxy is not None:
            raise SourceError("a folder isn't reached through a proxy", hint="remove `proxy` from the source")

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """Verify the repository as it is now, and list what it has of these components.

        Raises:
            SourceError: it can't be reached, or isn't what it should be; the message says which promise it broke.
        """
        if isinstance(self._files, HttpFiles):
            self._files.check()
        with self._turn.taken():
            try:
                return self._look(components, last=False)
            except BrokenPromiseError as error:
                self._context.log.info("%s is looked at once more: %s", self._url, error.message)
            if isinstance(self._files, HttpFiles):
                self._files.reconnect()
            try:
                return self._look(components, last=True)
            except ExpiredError as error:
                return self._verified_before(components, error)

    def _look(self, components: Mapping[str, Component], *, last: bool) -> SourceReport:
        """Verify the repository and its indexes; in the `last` look an index that fails is a problem, no error."""
        updater = self._updater()
        signers = Signers(self._context.work / "metadata")
        found: list[Index] = []
        problems = []
        for component in sorted(components):
            try:
                content = self._index(updater, component)
                if content is not None:
                    releases, incrementals, withdrawn = self._parsed(content, component)
                    signed = signers.of(index_path(component))
                    releases = tuple(replace(release, signed=signed) for release in releases)
                    found.append((releases, incrementals, withdrawn))
                    self._remember(component, content)
            except SourceError as error:
                if error.cooldown_until is not None or (isinstance(error, BrokenPromiseError) and not last):
                    raise
                problems.append(f"{component}: {error.message}")
        self._tell()
        return replace(_report(self._url, found, problems), expires=signers.expires())

    def open(self, release: Release, file: ReleaseFile) -> AbstractContextManager[BinaryIO]:
        """Open a file of a release by its digest.

        Raises:
            SourceError: it can't be had.
        """
        del release
        return self._content(file.sha256)

    def open_patch(self, incremental: Incremental, patch: Patch) -> AbstractContextManager[BinaryIO]:
        """Open a patch of an incremental by its digest.

        Raises:
            SourceError: it can't be had.
        """
        del incremental
        return self._content(patch.sha256)

    @contextmanager
    def _content(self, sha256: str) -> Iterator[BinaryIO]:
        stream = self._files.open(content_path(sha256))
        try:
            yield cast("BinaryIO", stream)
        except StoreError as error:
            odd = no_file(getattr(stream, "headers", {}))
            if not odd:
                raise
            raise StoreError(f"{error.message}; {odd}", hint=error.hint) from error
        finally:
            stream.close()

    # --- trust --------------------------------------------------------------------------------------------------------

    def trusted(self) -> Sequence[TrustedKey]:
        """Give the keys of the root; of the newest that was verified, as publishers change theirs."""
        return root_keys(self._context, self._root_name, self._context.work / "metadata" / "root.json")

    def _updater(self) -> Updater:
        """Verify the repository's own metadata.

        Raises:
            SourceError: it can't be had, or breaks a rule.
        """
        return refreshed(self._files, self._url, self._context, self._root_name, self._context.work)

    def _index(self, updater: Updater, component: str) -> bytes | None:
        """Give the verified index of a component; None where the repository has none."""
        with mapped("the index"):
            target = updater.get_targetinfo(index_path(component))
            if target is None:
                return None
            if target.length > MAX_BYTES:
                raise SourceError(f"its index has {target.length} bytes; at most {MAX_BYTES} are read")
            path = updater.find_cached_target(target) or updater.download_target(target)
            return Path(path).read_bytes()

    def _parsed(self, content: bytes, component: str) -> Index:
        try:
            return parse_index(content, component)
        except ValueError as error:
            raise SourceError(f"its index is signed, and refused all the same: {error}") from error
        except Exception as error:  # whatever a publisher signs
            raise SourceError(f"its index is signed, and refused all the same: {words_of(error)}") from error

    # --- what was verified before -------------------------------------------------------------------------------------

    def _remember(self, component: str, content: bytes) -> None:
        """Keep an index for the time when signatures have expired, here and where other controllers have it, too."""
        path = self._verified / f"{component}.json"
        try:
            if not path.is_file() or path.read_bytes() != content:
                self._verified.mkdir(exist_ok=True)
                write_whole(path, content)
        except OSError as error:
            self._context.log.warning("%s can't be written: %s", path, error)
        with suppress(UnicodeDecodeError):
            if len(content) <= MAX_SHARED:
                version = version_of(self._context.work / "metadata" / "timestamp.json")
                self._indexes[f"{_VERIFIED}{component}"] = Remembered(version, content.decode())

    def _tell(self) -> None:
        """Give other controllers the indexes that are new to them."""
        known = self._context.memory.recall()
        new = {name: entry for name, entry in self._indexes.items() if entry.content != _content(known.get(name))}
        if new:
            self._context.memory.keep(new)

    def _recall(self, component: str, known: Mapping[str, Remembered]) -> bytes | None:
        """Give the index of a component that was verified last, by whichever controller."""
        shared = known.get(f"{_VERIFIED}{component}")
        if shared is not None:
            return shared.content.encode()
        try:
            return (self._verified / f"{component}.json").read_bytes()
        except FileNotFoundError:
            return None

    def _verified_before(self, components: Mapping[str, Component], error: ExpiredError) -> SourceReport:
        """Give what was verified while the signatures were valid, if the spec accepts that now.

        Raises:
            SourceError: it doesn't.
        """
        accept = self._accept
        if accept is None:
            raise error
        if self._context.clock().date() > date.fromisoformat(accept["until"]):
            raise SourceError(f"{error.message}; it was accepted until {accept['until']}", hint=error.hint) from error
        found = []
        known = self._context.memory.recall()
        for component in sorted(components):
            try:
                content = self._recall(component, known)
                if content is not None:
                    found.append(parse_index(content, component))
            except (OSError, ValueError) as trouble:
                self._context.log.warning("the index of %s is passed over: %s", component, trouble)
        why = f"accepted until {accept['until']}: {accept['reason']}; only what was verified before counts"
        said = f"{error.message}; {why}"
        return _report(self._url, found, [], accepted=said)


def _content(entry: Remembered | None) -> str:
    return "" if entry is None else entry.content


def _report(name: str, found: list[Index], problems: list[str], accepted: str = "") -> SourceReport:
    return SourceReport(
        name,
        releases=tuple(entry for index in found for entry in index[0]),
        problems=tuple(problems),
        incrementals=tuple(entry for index in found for entry in index[1]),
        withdrawn=tuple(entry for index in found for entry in index[2]),
        accepted=accepted,
    )


def _traits(options: Mapping[str, Any]) -> Traits:
    url = str(options["url"])
    return Traits(network=urlsplit(url).scheme != "file", url=url, signed=True)


TRAITS = _traits
PLUGIN = Tuf
