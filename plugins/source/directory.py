"""Releases in a folder: `<path>/<component>/<version>/<files>`.

Beside its files a release may have `release.yaml` (platform, release time, notes) and `SHA256SUMS`; neither is part of
it. Releases of one version for several platforms stand in folders named `<version>@<platform>`. Names that begin with a
dot are work in progress and are passed over.

Files that `SHA256SUMS.attached` lists go along with a release for those who take it from here, and are no part of it;
nor are signatures of minisign beside files, and of `SHA256SUMS`. A component's `versions.txt` and `latest` are passed
over: the layout `tree` writes all these.

Incrementals lie in `<path>/<component>/incrementals/<FROM>..<TO>/` (or `…<TO>@<platform>/`): `incremental.json`, and
`<file>.<codec>` for each file that has a delta. One is offered when all its deltas have the sizes and digests that the
document says.

What is offered is whole and settled; all else is held back, with a sentence that names its path:

* With `verify`, a release counts when its SHA256SUMS is signed: by `SHA256SUMS.minisig` or `SHA256SUMS.asc`, say. What
  `release.yaml` says counts then where SHA256SUMS lists that file as well, or `SHA256SUMS.release` lists both and is
  signed, too.
* With a `SHA256SUMS` a release is whole when that lists exactly its files and each matches. Without, it is taken to be
  whole when nothing in it changed for `settle`; `complete_when: SHA256SUMS` doesn't take it at all.
* What changes while it is read is not settled.
* Links that lead out of the folder, folders in a release, special and unreadable files are refused.

schema/release.schema.json has the form of `release.yaml`; `updoser release add` writes all this, atomically.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from reconciler.contracts import Traits
from reconciler.errors import SourceError, UpdoserError, words_of
from reconciler.formats.duration import parse_duration
from reconciler.formats.incremental_json import MAX_BYTES as MAX_INCREMENTAL
from reconciler.formats.incremental_json import parse_incremental
from reconciler.model.offer import SourceReport
from reconciler.model.release import ANY_PLATFORM, COMPONENT_ID, PLATFORM, Release, ReleaseFile, file_name_problem

from ._folder.memory import Memory
from ._folder.release_yaml import MAX_BYTES as MAX_FACTS
from ._folder.release_yaml import ReleaseFacts, parse_release_facts
from ._folder.signed import SUMS, SUMS_OF_FACTS, SignedSums, is_signature, kept
from ._folder.sums import MAX_BYTES as MAX_SUMS
from ._folder.sums import parse_sums
from ._folder.tree import Stamp, Tree, TreeError
from ._verify.material import NotThereError
from ._verify.options import VERIFY, verifying
from ._verify.verification import Verification, signed_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Context, TrustedKey
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.release import Component, SignedBy

FACTS = "release.yaml"
ATTACHED = "SHA256SUMS.attached"
SIGNATURE = ".minisig"
NO_VERSIONS = frozenset({"versions.txt", "latest"})
INCREMENTALS = "incrementals"
INCREMENTAL = "incremental.json"
MAX_COMPONENTS = 10_000
MAX_VERSIONS = 10_000
MAX_FILES = 10_000
MAX_SIZE = 16 * 2**30
"""The size of a release in bytes."""
RACY = 2.0
"""Seconds in which a file could change once more without a new time; digests of younger files aren't remembered."""

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Releases that lie in a folder as `<component>/<version>/<files>`.",
    "properties": {
        "path": {
            "type": "string",
            "minLength": 1,
            "description": "The folder; a relative path starts from the folder of the spec.",
            "examples": ["upstream"],
        },
        "settle": {
            "type": "string",
            "default": "10s",
            "description": "How long nothing in a release may have changed before it is taken to be whole. A release "
            "with a SHA256SUMS that matches is whole at once.",
            "examples": ["10s", "2m"],
        },
        "complete_when": {
            "type": "string",
            "enum": [SUMS, "none"],
            "default": "none",
            "description": "With SHA256SUMS, a release without that file is not there yet.",
        },
        "verify": {
            **VERIFY,
            "description": "How the SHA256SUMS of each release is proven, and by that all that it lists, by what lies "
            "beside it: SHA256SUMS.minisig for `minisign`, SHA256SUMS.asc for `gpg`. A list: in all of these ways.",
        },
    },
    "required": ["path"],
    "additionalProperties": False,
}


class _RefusedError(Exception):
    """A release is held back; the message is the sentence that says so."""


class _NotYetError(_RefusedError):
    """A release isn't whole yet, as far as can be told."""


class Directory:
    """The `Source` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._name: str = options["path"]
        self._path = context.path(self._name, SourceError)
        self._work = context.work
        self._clock = context.clock
        try:
            self._settle = parse_duration(options["settle"]).total_seconds()
        except ValueError as error:
            raise SourceError(f"settle of the folder {self._name}: {error}") from error
        key = hashlib.sha256(os.fsencode(self._path.absolute())).hexdigest()[:16]
        self._memory = Memory(context.work / f"directory-{key}.json", context.log)
        self._verification = Verification(options.get("verify"), context, self._memory)
        self._sums_needed = options["complete_when"] == SUMS or bool(self._verification)

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """List the whole and settled releases of these components.

        Raises:
            SourceError: the folder isn't there or can't be read.
        """
        tree = self._tree()
        found: list[Release] = []
        incrementals: list[Incremental] = []
        problems: list[str] = []
        waiting: list[str] = []
        for component in (components[id_] for id_ in sorted(components)):
            try:
                for name, is_folder in tree.subfolders(component.id, MAX_VERSIONS):
                    if name.startswith(".") or name == INCREMENTALS or (name in NO_VERSIONS and not is_folder):
                        continue
                    with _held_back(f"{component.id}/{name}", tree, problems, waiting):
                        found.append(self._release(tree, component, name, is_folder=is_folder))
                for name, _is_folder in tree.subfolders(f"{component.id}/{INCREMENTALS}", MAX_VERSIONS):
                    if name.startswith("."):
                        continue
                    with _held_back(f"{component.id}/{INCREMENTALS}/{name}", tree, problems, waiting):
                        incrementals.append(self._incremental(tree, component, name))
            except TreeError as refusal:
                problems.append(str(refusal))
        self._memory.save()
        return SourceReport(
            self._name,
            tuple(found),
            problems=tuple(problems),
            incrementals=tuple(incrementals),
            others=_others(tree, components),
            harmless=tuple(waiting),
        )

    def open(self, release: Release, file: ReleaseFile) -> AbstractContextManager[BinaryIO]:
        """Open one file of a release that `releases` listed, now or in an earlier run.

        Raises:
            SourceError: the file can't be read.
        """
        return self._open(f"{release.component}/{release.version}", release.platform, file.name)

    def open_patch(self, incremental: Incremental, patch: Patch) -> AbstractContextManager[BinaryIO]:
        """Open one patch of an incremental that `releases` listed, now or in an earlier run.

        Raises:
            SourceError: the patch can't be read.
        """
        folder = f"{incremental.component}/{INCREMENTALS}/{incremental.from_version}..{incremental.to_version}"
        return self._open(folder, incremental.platform, f"{patch.name}.{patch.codec}")

    @contextmanager
    def _open(self, folder: str, platform: str, name: str) -> Iterator[BinaryIO]:
        """Open a file of a folder, or of the one beside it that is the platform's own."""
        tree = self._tree()
        own = f"{folder}@{platform}"
        try:
            stream = tree.open(f"{own if tree.has(own) else folder}/{name}")
        except TreeError as error:
            raise SourceError(str(error)) from error
        with stream:
            yield stream

    def _tree(self) -> Tree:
        try:
            return Tree(self._path, self._name)
        except TreeError as error:
            raise SourceError(
                f"the folder of releases can't be read: {error}",
                hint="make the folder, or correct `path` of the source",
            ) from error

    def _release(self, tree: Tree, component: Component, folder: str, *, is_folder: bool) -> Release:
        path = f"{component.id}/{folder}"
        shown = tree.shown(path)
        version, at, platform = folder.partition("@")
        if not is_folder:
            raise _RefusedError(f"{shown}: a file stands where the folder of a version belongs")
        if not component.scheme.accepts(version):
            raise _RefusedError(
                f"{shown}: not a version of the scheme {component.scheme.name} (such as {component.scheme.example})"
            )
        if at and not PLATFORM.fullmatch(platform):
            raise _RefusedError(f"{shown}: what follows @ isn't a platform such as linux-x86_64")
        before = tree.folder(path, MAX_FILES + 2)
        listed = _attached_names(tree, path) if ATTACHED in before else frozenset()
        names = self._file_names(before, shown, listed)
        self._check_settled(before, shown)
        files = tuple(self._file(tree, f"{path}/{name}", before[name]) for name in names if name not in listed)
        attached = tuple(self._file(tree, f"{path}/{name}", before[name]) for name in names if name in listed)
        sums = tree.read(f"{path}/{SUMS}", MAX_SUMS) if SUMS in before else None
        signed = None
        if sums is not None:
            _check_sums(sums, files, shown)
            signed = self._signed(tree, path, sums, before) if self._verification else None
        if ATTACHED in before:
            _check_sums(tree.read(f"{path}/{ATTACHED}", MAX_SUMS), attached, shown, ATTACHED)
        facts = _facts(tree, path) if FACTS in before else ReleaseFacts()
        if self._verification and FACTS in before and not self._proves_facts(tree, path, sums or b"", before):
            facts = _unproven(facts, platform, shown)
        if tree.folder(path, MAX_FILES + 2) != before:
            raise _NotYetError(f"{shown}: not settled yet: it changed while it was read")
        if at and facts.platform not in {None, platform}:
            raise _RefusedError(f"{shown}: {FACTS} says the platform {facts.platform}, and the folder {platform}")
        return Release(
            component=component.id,
            version=version,
            platform=platform or facts.platform or ANY_PLATFORM,
            files=files,
            released=facts.released,
            notes=facts.notes,
            attached=attached,
            signed=signed,
        )

    def _proves_facts(self, tree: Tree, path: str, sums: bytes, stamps: Mapping[str, Stamp]) -> bool:
        """Say whether what is said of a release is verified, too: by its SHA256SUMS, or by a listing of both."""
        if _lists_facts(sums, tree, path):
            return True
        if SUMS_OF_FACTS not in stamps:
            return False
        content = tree.read(f"{path}/{SUMS_OF_FACTS}", MAX_SUMS)
        both = {SUMS: sums, FACTS: tree.read(f"{path}/{FACTS}", MAX_FACTS)}
        try:
            if dict(parse_sums(content)) != {name: hashlib.sha256(data).hexdigest() for name, data in both.items()}:
                return False
            self._signed(tree, path, content, stamps, SUMS_OF_FACTS)
        except (ValueError, _RefusedError):
            return False
        return True

    def _signed(
        self, tree: Tree, path: str, sums: bytes, stamps: Mapping[str, Stamp], name: str = SUMS
    ) -> SignedBy | None:
        """Have a listing of a release verified; give who signed it, None where a digest is all that was asked."""
        component, _, folder = path.partition("/")

        def read(name: str, limit: int) -> bytes:
            try:
                return tree.read(f"{path}/{name}", limit)
            except TreeError as error:
                raise SourceError(str(error)) from error

        try:
            with kept(sums, self._work) as place:
                version = folder.partition("@")[0]
                material = SignedSums(component, version, sums, place, there=stamps, read=read, name=name)
                return signed_by(self._verification.check(material))
        except NotThereError as error:
            young = min(self._age(stamp) for stamp in stamps.values()) < self._settle
            refusal = _NotYetError if young else _RefusedError
            raise refusal(f"{tree.shown(path)}: {error.message}") from error
        except SourceError as error:
            raise _RefusedError(f"{tree.shown(path)}: {error.message}") from error
        except OSError as error:
            raise SourceError(f"{self._work} can't be written: {error.strerror}") from error

    def trusted(self) -> Sequence[TrustedKey]:
        """Give the keys that `verify` trusts."""
        return self._verification.keys()

    def _incremental(self, tree: Tree, component: Component, folder: str) -> Incremental:
        path = f"{component.id}/{INCREMENTALS}/{folder}"
        shown = tree.shown(path)
        versions, at, platform = folder.partition("@")
        before = tree.folder(path, MAX_FILES + 2)
        if INCREMENTAL not in before:
            raise _NotYetError(f"{shown}: not complete yet: it has no {INCREMENTAL}")
        try:
            found = parse_incremental(tree.read(f"{path}/{INCREMENTAL}", MAX_INCREMENTAL))
        except ValueError as error:
            raise _RefusedError(f"{shown}/{INCREMENTAL}: {error}") from error
        named = found.component, f"{found.from_version}..{found.to_version}", found.platform
        if named != (component.id, versions, platform if at else found.platform):
            raise _RefusedError(f"{shown}: {INCREMENTAL} says {named[0]} {named[1]} for {named[2]}")
        for patch in found.patches:
            name = f"{patch.name}.{patch.codec}"
            if name not in before:
                raise _NotYetError(f"{shown}: not complete yet: it has no {name!r}")
            there = self._file(tree, f"{path}/{name}", before[name])
            if (there.size, there.sha256) != (patch.size, patch.sha256):
                raise _NotYetError(f"{shown}: {name} isn't what {INCREMENTAL} says; it may not be whole yet")
        if tree.folder(path, MAX_FILES + 2) != before:
            raise _NotYetError(f"{shown}: not settled yet: it changed while it was read")
        return found

    def _file_names(self, stamps: Mapping[str, Stamp], shown: str, attached: frozenset[str]) -> list[str]:
        """Give the names of the release's own files, and of those that are attached, sorted."""
        if self._sums_needed and SUMS not in stamps:
            raise _NotYetError(f"{shown}: not complete yet: it has no {SUMS}")
        names = [name for name in stamps if name not in {".", FACTS, SUMS} and not is_signature(name)]
        if SUMS in stamps:
            names = [name for name in names if name in attached or not _signs(name, stamps)]
        if attached.issuperset(names):
            raise _RefusedError(f"{shown}: it has no files")
        for name in names:
            problem = file_name_problem(name)
            if problem:
                raise _RefusedError(f"{shown}: {problem}")
        if sum(stamps[name].size for name in names) > MAX_SIZE:
            raise _RefusedError(f"{shown}: its files have more than {MAX_SIZE} bytes")
        return sorted(names)

    def _check_settled(self, stamps: Mapping[str, Stamp], shown: str) -> None:
        if SUMS in stamps or not self._settle:
            return
        if min(self._age(stamp) for stamp in stamps.values()) < self._settle:
            ahead = max(stamp.ctime for stamp in stamps.values()) / 1e9 > self._clock().timestamp()
            why = "the clock that wrote it is ahead, and it was" if ahead else "it"
            how = "first seen so" if ahead else "changed"
            raise _NotYetError(f"{shown}: not settled yet: {why} {how} less than {self._settle:.0f} s ago")

    def _age(self, stamp: Stamp) -> float:
        """Give the seconds since a change; a time of modification in the future was set by hand and says nothing.

        One of change was written by a clock that was wrong, or is that of another machine: it counts from when it was
        first seen here.
        """
        now = self._clock().timestamp()
        mtime, ctime = stamp.mtime / 1e9, stamp.ctime / 1e9
        if ctime > now:
            ctime = self._memory.ahead_since(stamp.ctime, now)
        return now - max(ctime, mtime if mtime <= now else 0)

    def _file(self, tree: Tree, path: str, stamp: Stamp) -> ReleaseFile:
        name = path.rpartition("/")[2]
        sha256 = self._memory.sha256(path, stamp)
        if sha256 is None:
            sha256 = tree.sha256(path, stamp)
            if sha256 is None:
                raise _NotYetError(f"{tree.shown(path)}: not settled yet: it changed while it was read")
            if self._age(stamp) >= RACY:
                self._memory.remember(path, stamp, sha256)
        return ReleaseFile(name, stamp.size, sha256)


@contextmanager
def _held_back(path: str, tree: Tree, problems: list[str], waiting: list[str]) -> Iterator[None]:
    """Go on with the next release after one that is refused, for a reason that is known here or another one."""
    try:
        yield
    except (_RefusedError, TreeError) as refusal:
        problems.append(str(refusal))
        waiting += [str(refusal)] if isinstance(refusal, _NotYetError) else []
    except UpdoserError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever lies there
        problems.append(f"{tree.shown(path)}: {words_of(error)}")


def _others(tree: Tree, components: Mapping[str, Component]) -> tuple[str, ...]:
    """Give the folders that could be components and weren't asked for; who made one may have mistyped it."""
    try:
        folders = [name for name, is_folder in tree.subfolders(".", MAX_COMPONENTS) if is_folder]
    except TreeError:  # it is too large to be looked through for that
        return ()
    return tuple(name for name in folders if COMPONENT_ID.fullmatch(name.lower()) and name not in components)


def _facts(tree: Tree, path: str) -> ReleaseFacts:
    place = f"{path}/{FACTS}"
    try:
        return parse_release_facts(tree.read(place, MAX_FACTS))
    except ValueError as error:
        raise _RefusedError(f"{tree.shown(place)}: {error}") from error


def _signs(name: str, stamps: Mapping[str, Stamp]) -> bool:
    """Say whether a file is a signature of another one beside it."""
    return name.endswith(SIGNATURE) and name.removesuffix(SIGNATURE) in stamps


def _attached_names(tree: Tree, path: str) -> frozenset[str]:
    try:
        return frozenset(name for name, _sha256 in parse_sums(tree.read(f"{path}/{ATTACHED}", MAX_SUMS)))
    except ValueError as error:
        raise _RefusedError(f"{tree.shown(path)}/{ATTACHED}: {error}") from error


def _lists_facts(sums: bytes, tree: Tree, path: str) -> bool:
    """Say whether a SHA256SUMS that was read before lists what is said of the release, too."""
    listed = {sha256 for name, sha256 in parse_sums(sums) if name == FACTS}
    if listed and listed != {hashlib.sha256(tree.read(f"{path}/{FACTS}", MAX_FACTS)).hexdigest()}:
        raise _NotYetError(f"{tree.shown(path)}: {FACTS} isn't what {SUMS} says; it may not be whole yet")
    return bool(listed)


def _unproven(facts: ReleaseFacts, platform: str, shown: str) -> ReleaseFacts:
    """Believe nothing of what is said of a release where that isn't proven; its platform must be that of the folder."""
    if facts.platform not in {None, platform or ANY_PLATFORM}:
        raise _RefusedError(
            f"{shown}: {FACTS} says the platform {facts.platform}, and {SUMS}, which is verified, doesn't list it"
        )
    return ReleaseFacts()


def _check_sums(content: bytes, files: tuple[ReleaseFile, ...], shown: str, sums: str = SUMS) -> None:
    """Hold files of a release against its SHA256SUMS: each file listed, each listed file there."""
    known = {file.name: file.sha256 for file in files}
    listed = set()
    try:
        for name, sha256 in parse_sums(content):
            if name in {SUMS, FACTS} or is_signature(name):
                continue
            if known.get(name, sha256) != sha256:
                raise _NotYetError(f"{shown}: {name} isn't what {sums} says; it may not be whole yet")
            listed.add(name)
    except ValueError as error:
        raise _RefusedError(f"{shown}/{sums}: {error}") from error
    for file in files:
        if file.name not in listed:
            raise _RefusedError(f"{shown}: {sums} doesn't list {file.name}")
    missing = listed - known.keys()
    if missing:
        raise _NotYetError(f"{shown}: not complete yet: {sums} lists {min(missing)!r}, which isn't there")


def _traits(options: Mapping[str, Any]) -> Traits:
    return verifying(Traits(), options.get("verify"))


TRAITS = _traits
PLUGIN = Directory
