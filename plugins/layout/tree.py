"""A plain folder of versions, for tools that know nothing of us, and for sources of other servers.

    <path>/<component>/<version>/<files>           or <version>@<platform>, as the source `directory` has it
    <path>/<component>/<version>/SHA256SUMS        of the files and release.yaml, as `sha256sum -c` takes it
    <path>/<component>/<version>/<file>.minisig    and SHA256SUMS.minisig, with `minisign`
    <path>/<component>/<version>/release.yaml      when it came out, and what is new, where that is known
    <path>/<component>/<version>/…                 what the publisher attached to it, listed by SHA256SUMS.attached
    <path>/<component>/versions.txt                all versions, a line each, the newest last
    <path>/<component>/latest                      the newest
    <path>/minisign.pub                            the public half of the key

* SHA256SUMS comes before the files that it lists, and goes after them: a release is whole when all of them are there.
  A version is named by `versions.txt` and `latest` when it is whole, and not any more before it goes.
* A signature's trusted comment says which file of which component and version it is of: an older file in place of a
  newer one shows there. The same content has the same signature.
* A publisher's own `<file>.minisig` is passed on in place of ours.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import RepositoryError
from reconciler.formats.minisign import prehash, read_secret_key, sign
from reconciler.formats.option_schemas import SECRET
from reconciler.model.mirror import LayoutTraits, Placed
from reconciler.model.release import ANY_PLATFORM, ReleaseFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.contracts import Context
    from reconciler.formats.minisign import SecretKey
    from reconciler.model.mirror import OpenFile
    from reconciler.model.release import Release

SUMS = "SHA256SUMS"
ATTACHED = "SHA256SUMS.attached"
FACTS = "release.yaml"
SIGNATURE = ".minisig"
VERSIONS = "versions.txt"
LATEST = "latest"
KEY = "minisign.pub"
MAX_NOTES = 10_000
"""Characters; more, and control characters, aren't read there."""
CHUNK = 2**20
_OURS = frozenset({SUMS, ATTACHED, FACTS, SUMS + SIGNATURE, f"{SUMS}.asc"})
FIRST, THEN, LAST = range(3)

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "A plain folder of versions with SHA256SUMS, for any tool.",
    "properties": {
        "keep": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "description": "How many versions of a component stay. Left out: all that the store holds.",
            "examples": [5],
        },
        "minisign": {
            **SECRET,
            "description": "A secret key of minisign without a password (`minisign -G -W`), which signs each file and "
            "SHA256SUMS. Another key is another file or variable: what is signed stays as it is otherwise.",
            "examples": [{"file": "secrets/minisign.key"}],
        },
    },
    "additionalProperties": False,
}


class Tree:
    """The `Layout` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self.traits = LayoutTraits(keeps=options.get("keep", 0))
        self._reference = options.get("minisign")
        self._secret = context.secret

    def refusal(self, release: Release) -> str:
        """Say why a release can't lie in such a folder; empty when it can."""
        names = {file.name for file in release.files}
        odd = sorted(names & _OURS) or sorted(name for name in names if name.removesuffix(SIGNATURE) in names - {name})
        return f"its file {odd[0]} would stand where the layout has one of its own" if odd else ""

    def place(self, releases: Sequence[Release], others: Sequence[Release], there: Collection[str]) -> Sequence[Placed]:
        """Say what lies where; of each component, releases come lowest first."""
        del others, there
        placed: list[Placed] = []
        versions: dict[str, dict[str, None]] = {}
        for release in releases:
            placed += self._release(release)
            versions.setdefault(release.component, {})[release.version] = None
        for component, names in versions.items():
            listed = [*names]
            placed.append(_text(f"{component}/{VERSIONS}", "".join(f"{name}\n" for name in listed), LAST))
            placed.append(_text(f"{component}/{LATEST}", f"{listed[-1]}\n", LAST))
        if placed and self._reference is not None:
            placed.append(Placed(KEY, lambda _open, _now: self._key().public.text.encode(), str(self._reference)))
        return placed

    def _release(self, release: Release) -> Iterator[Placed]:
        at = "" if release.platform == ANY_PLATFORM else f"@{release.platform}"
        folder = f"{release.component}/{release.version}{at}"
        attached = [file for file in release.attached if _may_lie(file.name, release)]
        facts = _facts(release)
        sums = _sums(release.files) + (f"{_digest(facts)} *{FACTS}\n" if facts else "")
        if facts:
            yield _text(f"{folder}/{FACTS}", facts, FIRST)
        if attached:
            yield _text(f"{folder}/{ATTACHED}", _sums(attached), FIRST)
        yield _text(f"{folder}/{SUMS}", sums, FIRST)
        for file in (*release.files, *attached):
            yield Placed(f"{folder}/{file.name}", file, turn=THEN)
        if self._reference is None:
            return
        yield self._signature(f"{folder}/{SUMS}", release, _digest(sums), lambda _open: [sums.encode()])
        theirs = {file.name for file in attached}
        for file in release.files:
            if file.name + SIGNATURE not in theirs:
                yield self._signature(f"{folder}/{file.name}", release, file.sha256, _reading(file))

    def _signature(
        self, path: str, release: Release, sha256: str, content: Callable[[OpenFile], Iterable[bytes]]
    ) -> Placed:
        name = path.rpartition("/")[2]
        trusted = f"file:{name}\tversion:{release.version}\tcomponent:{release.component}"

        def made(open_file: OpenFile, _now: datetime) -> bytes:
            try:
                return sign(self._key(), prehash(iter(content(open_file))), trusted=trusted)
            except ValueError as error:
                raise RepositoryError(f"{path} can't be signed: {error}") from error

        return Placed(path + SIGNATURE, made, f"{self._reference} {sha256}", turn=FIRST)

    def _key(self) -> SecretKey:
        assert self._reference is not None
        try:
            return read_secret_key(self._secret(self._reference).encode())
        except ValueError as error:
            raise RepositoryError(
                f"minisign {self._reference}: {error}", hint="`minisign -G -W` makes a key without a password"
            ) from error


def _may_lie(name: str, release: Release) -> bool:
    """Say whether what is attached has a name that is free in the folder."""
    return name not in _OURS and name not in {file.name for file in release.files}


def _text(path: str, text: str, turn: int) -> Placed:
    return Placed(path, lambda _open, _now: text.encode(), _digest(text), turn)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sums(files: Iterable[ReleaseFile]) -> str:
    """Give what `sha256sum -b` prints of files; names of releases need no escapes."""
    return "".join(f"{file.sha256} *{file.name}\n" for file in files)


def _facts(release: Release) -> str:
    """Give what `release.yaml` says; JSON is YAML, too."""
    found: dict[str, str] = {}
    if release.released is not None:
        found["released"] = release.released.astimezone(UTC).isoformat().replace("+00:00", "Z")
    fit = len(release.notes) <= MAX_NOTES and all(char.isprintable() or char in "\n\t" for char in release.notes)
    if release.notes and fit:
        found["notes"] = release.notes
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n" if found else ""


def _reading(file: ReleaseFile) -> Callable[[OpenFile], Iterator[bytes]]:
    def read(open_file: OpenFile) -> Iterator[bytes]:
        with open_file(file) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    return read


TRAITS = Traits()
PLUGIN = Tree
