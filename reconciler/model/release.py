"""Components, catalogs and releases: what there is to keep current."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from reconciler.model.version import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.question import Question
    from reconciler.model.version import Version, VersionScheme

ComponentKind = Literal["pattern", "engine", "driver", "service"]
KINDS: tuple[ComponentKind, ...] = get_args(ComponentKind)
ScanMethod = Literal["conventional", "smart"]
SCAN_METHODS: tuple[ScanMethod, ...] = get_args(ScanMethod)
ANY_PLATFORM = "any"

COMPONENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
PLATFORM = re.compile(r"any|[a-z0-9]+-[a-z0-9_]+")
VERSION_NAME = re.compile(r"(?!current$)[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
"""What a version of any scheme must look like to name a folder."""
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_FILE_NAME = 255
MAX_ROLE = 100
MAX_KEYS = 8
"""How many keys are named of those that signed a release; in a role there may be more."""
_KEY_SHOWN = 40
"""Characters of a key's fingerprint that stand in a sentence; documents have all of it."""
FIRST_YEAR, LAST_YEAR = 1970, 2999
"""Of release times."""
_RESERVED_NAMES = frozenset({"current"})
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

ReleaseKey = tuple[str, str, str]
"""What names a release: its component, version and platform."""


def release_time(text: str) -> datetime:
    """Read when a release came out, as its source says it.

    Raises:
        ValueError: it is no time with a zone, or one that no release can have.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r:.80} isn't a time such as 2026-11-19T06:00:00Z") from error
    problem = release_time_problem(time)
    if problem:
        raise ValueError(f"{text!r:.80} {problem}")
    return time


def release_time_problem(time: datetime) -> str:
    """Say why no release can have come out at a time; empty when one can. Ages and zones are reckoned from it."""
    if time.tzinfo is None:
        return "has no time zone; write it as 2026-11-19T06:00:00Z"
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        return f"isn't of the years {FIRST_YEAR} to {LAST_YEAR}"
    return ""


def file_name_problem(name: str) -> str:
    """Say why a release may not hold a file of this name; an empty string when it may.

    Odd names are quoted, not banned (`lpt$vpn.679` is real). Refused is what could leave its folder, hide, look like an
    option, or break a line: `/`, backslash, control bytes, a leading `-` or `.`, and the name `current`.
    """
    if not name:
        return "a file name is empty"
    if len(name.encode("utf-8", "surrogateescape")) > MAX_FILE_NAME:
        return f"a file name is longer than {MAX_FILE_NAME} bytes"
    if _UNFIT.search(name):
        return f"the file name {name!r} has control bytes or isn't UTF-8"
    if "/" in name or "\\" in name:
        return f"the file name {name!r} has a slash or a backslash"
    if name[0] in "-.":
        return f"the file name {name!r} begins with {name[0]!r}"
    if name in _RESERVED_NAMES:
        return f"the file name {name!r} is reserved"
    return ""


@dataclass(frozen=True, slots=True)
class Component:
    """A named thing to keep current, as a catalog describes it; `loaded` asks its engine what it runs with."""

    id: str
    name: str
    kind: ComponentKind
    scan_methods: frozenset[str] = frozenset(SCAN_METHODS)
    duplicate: bool = False
    scheme: VersionScheme = SCHEMES["dotted"]
    loaded: Question | None = None

    def version(self, text: str) -> Version:
        """Read a version of this component; ValueError when it isn't one."""
        return self.scheme.parse(text)

    def for_scan_method(self, method: ScanMethod | None) -> bool:
        """Say whether clients of a scan method get this component; without a method they get all."""
        return method is None or method in self.scan_methods


@dataclass(frozen=True, slots=True)
class Catalog:
    """All components that the spec may name, by id, and the digest of the files that they came from."""

    components: Mapping[str, Component]
    digest: str


@dataclass(frozen=True, slots=True, order=True)
class ReleaseFile:
    """One file of a release: name, size in bytes, SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


def content_digest(files: Iterable[ReleaseFile]) -> str:
    """Give the identity of a set of files: the SHA-256 of their `SHA256SUMS` listing, sorted by the bytes of the names.

    Anyone can compute it beside the files: `LC_ALL=C sha256sum -- * | sha256sum`; that is how a client does.
    """
    listing = sorted(files, key=lambda file: file.name.encode())
    return hashlib.sha256("".join(f"{file.sha256}  {file.name}\n" for file in listing).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SignedBy:
    """Whose signatures vouch for a release, as they were verified when its `source` was read.

    `role` is the one of the signed repository that lists it: `signatures` of the `known` keys of that role were good,
    and `threshold` of them are needed; `keys` are the ids of the first of these. Without a role, the source proves what
    it says in a way of its own: `scheme` names it, such as `minisign`, or `minisign+gpg` where both were asked for.
    """

    source: str = ""
    role: str = ""
    signatures: int = 0
    known: int = 0
    threshold: int = 0
    keys: tuple[str, ...] = ()
    scheme: str = ""

    @property
    def text(self) -> str:
        """Who signed: `signed by targets of vendor (2 of 3 keys)`, `signed by vendor (minisign 39DF3D7302CB8A87)`."""
        if not self.role:
            how = " ".join(filter(None, (self.scheme, ", ".join(_short(key) for key in self.keys))))
            return f"signed by {self.source} ({how})" if how else f"signed by {self.source}"
        keys = f"{self.signatures} of {self.known} key{'' if self.known == 1 else 's'}"
        return f"signed by {self.role} of {self.source} ({keys})"


def _short(key: str) -> str:
    return key if len(key) <= _KEY_SHOWN else f"{key[:_KEY_SHOWN]}…"


@dataclass(frozen=True)
class Release:
    """A version of a component for a platform: its files, sorted by name, and what its source says of it.

    `signed` is None where nothing vouches for it. `attached` are files that go along with it for others who take it
    from us (signatures and increments of its publisher): clients don't get them, and they are no part of its content.
    """

    component: str
    version: str
    platform: str
    files: tuple[ReleaseFile, ...]
    released: datetime | None = field(default=None, compare=False)
    notes: str = field(default="", compare=False)
    signed: SignedBy | None = field(default=None, compare=False)
    attached: tuple[ReleaseFile, ...] = field(default=(), compare=False)

    @cached_property
    def digest(self) -> str:
        """The content digest of the release's files."""
        return content_digest(self.files)

    @property
    def size(self) -> int:
        """The size of all files in bytes."""
        return sum(file.size for file in self.files)

    def shared_with(self, later: Release) -> tuple[ReleaseFile, ...]:
        """Give the files of a later release that are in this one too, under the same name and with the same bytes."""
        own = set(self.files)
        return tuple(file for file in later.files if file in own)


@dataclass(frozen=True, slots=True)
class Content:
    """The content digest that a version of a component stands for on a platform, and those that it stood for before."""

    digest: str
    replaced: tuple[str, ...] = ()
