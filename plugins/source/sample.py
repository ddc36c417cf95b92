"""Example releases for any catalog, which evolve day by day: to try updoser without a vendor.

All is a function of the seed, the component and the number of the release, so the same options give the same bytes on
every machine, and nothing is kept:

* A pattern has a release each day, an engine every 7, a service every 14 and a driver every 30 days, not all on the
  same day. `day` says which day it is; releases of `history` days before it are offered too.
* The files look like the real ones: a pattern is lines of text of which 2 % change with each release and some are
  added; the others are binary, in blocks of which one in eight changes. A second file never changes.
* Versions are of the component's scheme; pattern numbers rise by 2, as the real ones do, and roll over.
* Where `clamav` says so, there is a small database for ClamAV beside it, which finds the EICAR test file. Where `bad`
  says so, the files of one release end in their middle, as after a broken upload: all digests are right, and the
  release is of no use.
"""

from __future__ import annotations

import hashlib
import io
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

from reconciler.contracts import Traits
from reconciler.errors import SourceError
from reconciler.model.offer import SourceReport
from reconciler.model.release import ANY_PLATFORM, Release, ReleaseFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from reconciler.contracts import Context
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.release import Component

EPOCH = datetime(2026, 1, 1, 6, tzinfo=UTC)
"""When the releases of day 0 came out."""
LINE = 48
"""Bytes of a pattern's line."""
BLOCK = 4096
"""Bytes of a block of the other kinds' files."""
BINARY_FACTOR = 4
NOTICE = "NOTICE.txt"
_NOTICE = b"An example made by updoser. It detects nothing.\n"
CLAMAV = "eicar.hdb"
_EICAR = "44d88612fea8a8f36de82e1278abb02f:68"
"""MD5 and size of the EICAR test file, the form of ClamAV's .hdb files."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the releases of a kind of component come: the ending of their file, and how many days apart."""

    suffix: str
    days_between: int


KINDS: Mapping[str, _Kind] = {
    "pattern": _Kind("ptn", 1),
    "engine": _Kind("eng", 7),
    "service": _Kind("svc", 14),
    "driver": _Kind("drv", 30),
}

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Example releases of every component, which evolve day by day.",
    "properties": {
        "day": {
            "type": "integer",
            "minimum": 1,
            "maximum": 100_000,
            "default": 1,
            "description": "Which day it is for the source: a higher one has newer releases.",
        },
        "history": {
            "type": "integer",
            "minimum": 0,
            "maximum": 100,
            "default": 3,
            "description": "From how many days before `day` releases are offered too.",
        },
        "seed": {
            "type": "string",
            "default": "updoser",
            "description": "Another seed gives other contents and versions.",
        },
        "size": {
            "type": "integer",
            "minimum": 1,
            "maximum": 20_000,
            "default": 200,
            "description": "About the size of a pattern in KiB; the other kinds are four times as large.",
        },
        "clamav": {
            "type": "array",
            "items": {"type": "string", "description": "A component.", "examples": ["virus-pattern"]},
            "default": [],
            "description": "Components whose releases have a database for ClamAV, too, that finds the EICAR test file.",
            "examples": [["virus-pattern"]],
        },
        "bad": {
            "type": "object",
            "default": {},
            "description": "Components of which one release is bad: that of a day, whose files end in the middle.",
            "additionalProperties": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100_000,
                "description": "The day of the bad release.",
                "examples": [3],
            },
            "examples": [{"virus-pattern": 3}],
        },
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class _Line:
    """One component's line of releases, numbered from 0. `start` is drawn from the seed: no two lines are alike."""

    component: str
    kind: _Kind
    start: int

    @property
    def offset(self) -> int:
        """By how many days this line's releases come earlier than those of others of the kind."""
        return self.start % self.kind.days_between

    def number(self, day: int) -> int:
        """Give the number of the release that is current on a day."""
        return (day + self.offset) // self.kind.days_between

    def released(self, number: int) -> datetime:
        """Give the time when a release came out; the first may be from before day 0."""
        return EPOCH + timedelta(days=number * self.kind.days_between - self.offset)


def _pattern_version(line: _Line, number: int) -> str:
    rolls, pattern = divmod(line.start % 900 + 2 * number, 900)
    return f"{10 + line.start % 7 + rolls}.{100 + pattern}.00"


_VERSIONS: Mapping[str, Callable[[_Line, int], str]] = {
    "pattern": _pattern_version,
    "dotted": lambda line, number: f"{1 + line.start % 9}.{line.start % 90 * 10}.{1000 + number}",
    "integer": lambda line, number: str(20_000 + line.start % 10_000 + number),
    "calver": lambda line, number: f"{line.released(number):%Y.%m.%d}",
}
"""By scheme, what writes the version of a release; no text is a version of two of them."""


class Sample:
    """The `Source` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        del context
        self._day: int = options["day"]
        self._history: int = options["history"]
        self._seed: str = options["seed"]
        self._size: int = options["size"] * 1024
        self._clamav: frozenset[str] = frozenset(options["clamav"])
        self._bad: Mapping[str, int] = options["bad"]

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """List the releases of the day and of the days before it.

        Raises:
            SourceError: a component has a kind or version scheme that isn't known here.
        """
        found = []
        for id_ in sorted(components):
            component = components[id_]
            kind, write = KINDS.get(component.kind), _VERSIONS.get(component.scheme.name)
            if kind is None or write is None:
                raise SourceError(
                    f"the sample source has no {component.kind} with versions of the scheme {component.scheme.name}",
                    hint=f"limit `components` of the source so that {id_} isn't among them",
                )
            line = self._line(id_, kind)
            for number in self._numbers(line):
                files = tuple(
                    ReleaseFile(name, len(content), hashlib.sha256(content).hexdigest())
                    for name, content in sorted(self._files(line, number).items())
                )
                version, released = write(line, number), line.released(number)
                found.append(
                    Release(
                        component=id_,
                        version=version,
                        platform=ANY_PLATFORM,
                        files=files,
                        released=released,
                        notes="An example.",
                    )
                )
        return SourceReport("sample", tuple(found))

    @contextmanager
    def open(self, release: Release, file: ReleaseFile) -> Iterator[BinaryIO]:
        """Open one file of a release that `releases` listed, now or in an earlier run.

        Raises:
            SourceError: there is no such release or file.
        """
        content = self._content(release, file.name)
        if content is None:
            raise SourceError(f"the sample source has no {file.name} of {release.component} {release.version} now")
        yield io.BytesIO(content)

    def open_patch(self, incremental: Incremental, patch: Patch) -> AbstractContextManager[BinaryIO]:
        """Offer no incrementals; see `contracts.Source`.

        Raises:
            SourceError: always.
        """
        raise SourceError(
            f"the sample source has no incremental {incremental.name} of {incremental.component}: {patch}"
        )

    def _content(self, release: Release, name: str) -> bytes | None:
        for kind in KINDS.values():
            line = self._line(release.component, kind)
            for number in self._numbers(line):
                if release.version in {write(line, number) for write in _VERSIONS.values()}:
                    files = self._files(line, number)
                    if name in files:
                        return files[name]
        return None

    def _line(self, component: str, kind: _Kind) -> _Line:
        return _Line(component, kind, int.from_bytes(_draw(f"{self._seed}/{component}", 8)))

    def _numbers(self, line: _Line) -> range:
        return range(line.number(max(self._day - self._history, 0)), line.number(self._day) + 1)

    def _files(self, line: _Line, number: int) -> dict[str, bytes]:
        key = f"{self._seed}/{line.component}"
        if line.kind is KINDS["pattern"]:
            content = _text(key, number, self._size)
        else:
            content = _binary(key, number, self._size * BINARY_FACTOR)
        files = {f"{line.component}.{line.kind.suffix}": content}
        if line.component in self._clamav:
            files[CLAMAV] = f"{_EICAR}:Eicar-Example-{number}\n".encode()
        if line.component in self._bad and number == line.number(self._bad[line.component]):
            files = {name: whole[: len(whole) // 2] for name, whole in files.items()}
        return {**files, NOTICE: _NOTICE}


def _text(key: str, number: int, size: int) -> bytes:
    """Make lines of text: a fiftieth of them changes with each release, and half a percent comes on top.

    Vendors weed out: after a hundred releases the file starts again at its first length.
    """
    parts = 50
    lines = max(size // LINE, 1)
    count = lines + number % 100 * max(lines // 200, 1)
    texts = [b""] * count
    for part in range(min(parts, count)):
        share = range(part, count, parts)
        digits = _draw(f"{key}/{part}/{_changed(number, part, parts)}", len(share) * LINE // 2).hex()
        for turn, index in enumerate(share):
            texts[index] = f"{digits[turn * LINE : (turn + 1) * LINE - 9]}:{index:07d}".encode()
    return b"\n".join(texts) + b"\n"


def _binary(key: str, number: int, size: int) -> bytes:
    """Make blocks of any bytes, of which one in eight changes with each release."""
    parts = 8
    count = max(size // BLOCK, 1)
    blocks = [b""] * count
    for part in range(min(parts, count)):
        share = range(part, count, parts)
        data = _draw(f"{key}/{part}/{_changed(number, part, parts)}", len(share) * BLOCK)
        for turn, index in enumerate(share):
            blocks[index] = data[turn * BLOCK : (turn + 1) * BLOCK]
    return b"".join(blocks)


def _changed(number: int, part: int, parts: int) -> int:
    """Give the release in which a part changed last: one part of `parts` changes with each release, in turn."""
    return number - (number + part) % parts


def _draw(key: str, length: int) -> bytes:
    """Draw bytes that look random and are always the same for a key."""
    return hashlib.shake_128(key.encode()).digest(length)


TRAITS = Traits()
PLUGIN = Sample
