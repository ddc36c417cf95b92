"""One component, looked at once: which versions there are, what of them is held, and what is fetched."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler.errors import SourceError
from reconciler.files import is_sound
from reconciler.model.offer import Unfetched
from reconciler.model.release import ANY_PLATFORM, Release, ReleaseFile
from reconciler.model.version import dated_version
from reconciler.web.stream import HttpStatusError, shown

from .._fetched.quarantine import OverLimitError
from .._fetched.unpack import unpack
from .._verify.material import Proof
from .._verify.verification import signed_by
from . import forge, versions
from .found import Found, checked_url, filled, name_in, notes_in, time_in
from .listed import listed_in
from .material import Downloaded
from .versions import value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from reconciler.contracts import Context
    from reconciler.model.version import VersionScheme
    from reconciler.web.web import Answer, Web

    from .._fetched.kept import Fetched
    from .._fetched.quarantine import Quarantine
    from .documents import Document, Documents
    from .told import Told

MAX_NOTES = 64 * 2**10
_AHEAD = timedelta(days=1)
_NOT_THERE = frozenset({404, 410})


class NotYetError(SourceError):
    """A version is named, and its file isn't there yet."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a look is done with; `max_size` is that of a file in bytes."""

    web: Web
    documents: Documents
    quarantine: Quarantine
    context: Context
    max_size: int


class Look:
    """What is found out of a component: `releases`, what isn't fetched, and what is in the way of others."""

    def __init__(self, means: Means, told: Told, scheme: VersionScheme, kept: Iterable[Fetched]) -> None:
        """Take what lies in quarantine; what was made by other options isn't offered."""
        self._means = means
        self._told = told
        self._scheme = scheme
        self.releases: list[Release] = []
        self.unfetched: list[Unfetched] = []
        self.problems: list[str] = []
        self.waiting: list[str] = []
        self.keys: set[str] = set()
        print_ = told.fingerprint
        held = [
            fetched
            for fetched in kept
            if (fetched.facts.get("component"), fetched.facts.get("fingerprint")) == (told.id, print_)
            and scheme.accepts(str(fetched.facts.get("version")))
        ]
        self._held = sorted(held, key=lambda fetched: scheme.parse(fetched.facts["version"]), reverse=True)

    def run(self) -> None:
        """Look.

        Raises:
            SourceError: which versions there are can't be found out.
        """
        if self._told.is_dated:
            self._changes()
        elif self._told.is_mutable:
            self._one_place()
        else:
            self._many_places()

    def fail(self, error: SourceError) -> None:
        """Offer what is held, as what there is now can't be found out."""
        self.problems.append(f"{self._told.id}: {error.message}")
        self._offer(self._held[: self._told.keep])

    def fetch(self, version: str) -> Release | None:
        """Fetch a version, and give its release; None where there is no such version any more.

        Raises:
            SourceError: it can't be had.
        """
        fetched = self._with(version)
        if fetched is not None:
            return _release(fetched)
        dated = self._dated() if self._told.is_dated else None
        there = [dated[0]] if dated else self._found()
        found = next((found for found in there if found.version == version), None)
        if found is None:
            return None
        if dated:
            return _release(self._obtain_change(*dated, exact=True))
        return _release(self._obtain_at_once(found) if found.is_mutable else self._obtain(found))

    # --- the three kinds of places ------------------------------------------------------------------------------------

    def _many_places(self) -> None:
        """Each version has a URL of its own."""
        offered: list[Fetched] = []
        for found in self._found():
            fetched = self._with(found.version)
            if fetched is None and (offered or self.unfetched):
                self._leave(found, "it is older than what is fetched by itself")
                continue
            try:
                offered.append(fetched or self._obtain(found))
            except OverLimitError as error:
                self._leave(found, error.message, error.needed)
            except SourceError as error:
                self._trouble(found.version, error)
        self._offer(offered)

    def _one_place(self) -> None:
        """All versions are found at one URL, one after the other."""
        (found, *_others) = self._found()
        latest = self._held[0].facts["version"] if self._held else ""
        if self._with(found.version) is None:
            try:
                if latest and self._scheme.parse(found.version) < self._scheme.parse(latest):
                    raise NotYetError(f"it is named now, which is older than {latest}: what is there isn't fetched")
                self._held.insert(0, self._obtain_at_once(found))
            except OverLimitError as error:
                self._leave(found, error.message, error.needed)
            except SourceError as error:
                self._trouble(found.version, error)
        self._offer(self._held[: self._told.keep])

    def _changes(self) -> None:
        """There are no versions but what the file is, and since when."""
        found, head = self._dated()
        if not any(fetched.facts["validator"] == _mark(head) for fetched in self._held):
            try:
                self._obtain_change(found, head)
            except OverLimitError as error:
                self._leave(found, error.message, error.needed)
        self._offer(self._held[: self._told.keep])

    # --- what is fetched ----------------------------------------------------------------------------------------------

    def _found(self) -> list[Found]:
        means = self._means
        if self._told.project:
            return forge.find(self._told, self._scheme, means.documents)
        return versions.find(self._told, self._scheme, means.documents, means.context)

    def _dated(self) -> tuple[Found, Document]:
        """Give what the file is now, under the version of its time, and what the server says of it."""
        if not self._scheme.accepts("2026.11.19T061500+4f2a9c31"):
            raise SourceError(
                f"its versions are of the scheme {self._scheme.name}, and what is named by its changes needs calver",
                hint="say in `version` where its versions are found, or in the catalog `version_scheme: calver`",
            )
        url = checked_url(self._told.base, self._told.url)
        head = self._means.documents.head(url, interval=self._told.interval)
        changed = self._moment(head.modified) if self._told.version["header"] == "Last-Modified" else None
        moment = changed or head.at
        while self._with(dated_version(moment)) is not None:  # the bytes of that second are known, and others
            moment += timedelta(seconds=1)
        return Found(dated_version(moment), "", url, name_in(url), released=changed), head

    def _obtain_change(self, found: Found, head: Document, *, exact: bool = False) -> Fetched:
        """Fetch what the file is now; what it was before under another mark is forgotten, if it is the same.

        Its version has its digest in it, unless it was announced without, and is to be `exact` that.
        """
        mark = _mark(head)
        key = f"{self._told.id}@{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
        fetched = self._obtain(found, key=key, mark=mark, exact=exact)
        same = [other for other in self._held if other.facts["version"] == fetched.facts["version"]]
        for other in same:
            self._held.remove(other)
            if other.key != fetched.key:
                self._means.quarantine.drop(other.key)
        self._held.append(fetched)
        self._held.sort(key=lambda one: self._scheme.parse(one.facts["version"]), reverse=True)
        return fetched

    def _obtain_at_once(self, found: Found) -> Fetched:
        """Fetch what is at the URL of all versions, if it is the version that is named: both may change any time."""
        told, means = self._told, self._means
        head = means.documents.head(found.url, interval=timedelta())
        for fetched in self._held:
            if head.validator and fetched.facts["validator"] == head.validator:
                raise self._still(found, fetched)
        fetched = self._obtain(found)
        if not isinstance(told.version, str):
            place = next(told.version[kind] for kind in ("text", "json", "listing") if kind in told.version)
            means.documents.forget(place)
            if found.version not in {other.version for other in self._found()}:
                means.quarantine.drop(fetched.key)
                raise NotYetError("it changed while it was fetched; it is looked at again next time")
        return fetched

    def _still(self, found: Found, fetched: Fetched) -> NotYetError:
        self._means.documents.forget(found.url)
        return NotYetError(f"the file is still that of {fetched.facts['version']}")

    def _obtain(self, found: Found, *, key: str = "", mark: str = "", exact: bool = False) -> Fetched:
        """Fetch, prove and unpack a file.

        Raises:
            OverLimitError: it may not be fetched now.
            SourceError: it can't be had, isn't what it should be, or is what another version is.
        """
        told, means = self._told, self._means
        key = key or f"{told.id}@{found.version}"
        with means.quarantine.alone():
            answer = means.web.head(found.url, headers=found.headers)
            name = found.name if told.unpacking or not told.file else told.file
            path = means.quarantine.fetch(
                key,
                name,
                lambda: means.web.open(found.url, headers=found.headers, validator=answer.validator),
                size=answer.size or None,
                validator=answer.validator,
                limit=means.max_size,
            )
            with path.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            found = found if exact else self._told_apart(found, sha256, key)
            material = Downloaded(web=means.web, found=found, path=path, size=path.stat().st_size, sha256=sha256)
            proofs = told.verification.check(material)
            facts = self._facts(found, answer, proofs, mark)
            if told.is_list:
                self._bring_listed(path, found, key)
            else:
                _clear(path, {path.name})
            if told.unpacking:
                self._unpack(path, found.name)
            return means.quarantine.keep(key, {**facts, "sha256": sha256})

    def _told_apart(self, found: Found, sha256: str, key: str) -> Found:
        """Give what was found its version, where that hangs on its bytes.

        Raises:
            NotYetError: the bytes are those of another version.
        """
        same = next((fetched for fetched in self._held if fetched.facts.get("sha256") == sha256), None)
        if self._told.is_dated:
            moment = datetime.strptime(found.version, "%Y.%m.%dT%H%M%S").replace(tzinfo=UTC)
            version = same.facts["version"] if same else dated_version(moment, sha256)
            return replace(found, version=version)
        if found.is_mutable and same is not None and same.facts["version"] != found.version:
            self._means.quarantine.drop(key)
            raise self._still(found, same)
        return found

    def _unpack(self, path: Path, name: str) -> None:
        assert self._told.unpacking is not None
        folder = self._means.context.work / "unpacking"
        shutil.rmtree(folder, ignore_errors=True)
        files = unpack(path, self._told.unpacking, folder, name=name)
        path.unlink()
        for file in files:
            (folder / file.name).rename(path.parent / file.name)
        folder.rmdir()

    def _bring_listed(self, path: Path, found: Found, key: str) -> None:
        """Fetch what a list names, each held to its digest there; the list itself is no part of a release."""
        means = self._means
        listed = listed_in(path, found.name)
        _clear(path, {path.name, *listed})
        for name, sha256 in listed.items():
            url = checked_url(found.url, quote(name))
            own = means.quarantine.fetch(
                key,
                name,
                partial(means.web.open, url),
                size=None,
                validator=sha256,
                limit=means.max_size,
            )
            if not is_sound(own, sha256):
                own.unlink()
                raise SourceError(f"{name} isn't what {found.name} says")
        path.unlink()

    def _facts(self, found: Found, answer: Answer, proofs: Iterable[Proof], mark: str) -> dict[str, Any]:
        released = found.released or self._moment(answer.modified)
        return {
            "component": self._told.id,
            "fingerprint": self._told.fingerprint,
            "version": found.version,
            "url": shown(found.url),
            "validator": mark or answer.validator,
            "proofs": [[proof.scheme, proof.key] for proof in proofs],
            "released": released.isoformat() if released else None,
            "notes": self._notes(found),
        }

    def _notes(self, found: Found) -> str:
        """Give what is new in a version; nothing where that can't be had, as nothing hangs on it."""
        told = self._told
        if told.notes.startswith("/") and found.entry is not None:
            return notes_in(value(found.entry, told.notes))
        if not told.notes:
            return found.notes
        try:
            url = checked_url(told.base, filled(told.notes, version=found.version, tag=found.tag))
            return notes_in(self._means.web.get(url, limit=MAX_NOTES).body.decode("utf-8", "replace"))
        except SourceError as error:
            self._means.context.log.info("%s %s has no notes: %s", told.id, found.version, error.message)
            return ""

    def _moment(self, text: str) -> datetime | None:
        """Read the time of a header; None where it is none, or lies ahead."""
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        ahead = moment > self._means.context.clock() + _AHEAD
        return None if ahead else time_in(moment.isoformat())

    # --- what is told -------------------------------------------------------------------------------------------------

    def _with(self, version: str) -> Fetched | None:
        return next((fetched for fetched in self._held if fetched.facts["version"] == version), None)

    def _offer(self, kept: Iterable[Fetched]) -> None:
        for fetched in kept:
            self.keys.add(fetched.key)
            self.releases.append(_release(fetched))

    def _leave(self, found: Found, why: str, size: int | None = None) -> None:
        self.keys.add(f"{self._told.id}@{found.version}")
        self.unfetched.append(
            Unfetched(
                component=self._told.id,
                version=found.version,
                size=size or found.size,
                released=found.released,
                why=why,
            )
        )

    def _trouble(self, version: str, error: SourceError) -> None:
        """Tell why a version isn't offered; that its file isn't there yet keeps nothing from being as declared.

        Raises:
            SourceError: the source is to be left alone as a whole.
        """
        if error.cooldown_until is not None:
            raise error
        said = f"{self._told.id} {version}: {error.message}"
        self.problems.append(said)
        if isinstance(error, NotYetError) or (isinstance(error, HttpStatusError) and error.status in _NOT_THERE):
            self.waiting.append(said)


def _mark(head: Document) -> str:
    """Give what tells a file from others at its place; when it was asked for, where the server says nothing of that."""
    return head.validator or f"asked at {head.at.isoformat()}"


def _clear(path: Path, names: Collection[str]) -> None:
    """Remove what a run that was killed left beside a file, but for some names."""
    for other in path.parent.iterdir():
        if other.name not in names:
            other.unlink()


def _release(fetched: Fetched) -> Release:
    facts: Mapping[str, Any] = fetched.facts
    return Release(
        component=facts["component"],
        version=facts["version"],
        platform=ANY_PLATFORM,
        files=tuple(sorted(ReleaseFile(file.name, file.size, file.sha256) for file in fetched.files.values())),
        released=time_in(facts["released"]),
        notes=facts["notes"],
        signed=signed_by(Proof(scheme, key) for scheme, key in facts["proofs"]),
    )
