"""Releases from a git repository: of its tags, or of the commits of a branch. Git itself isn't needed.

    work/mirror.git/     the objects that releases are made of (`_git/depot.py`)
    work/git.json        what is remembered (`_git/notes.py`)

* A look asks for the names of branches and tags only; objects are fetched where a name is new, without their history
  where that isn't needed.
* A release is the files below a folder of a commit, byte for byte. A tag's version is in its name, a commit's is the
  time at which it was made.
* What comes after the commit of a branch that was taken last is taken. Whatever doesn't is a rewind, which somebody who
  may push could use to bring back what was mended. A tag that moves is a version whose bytes change: an error, as ever.
* A signature is that of the tag, or of the commit where it is a branch's. Of a branch the newest commit that is signed
  well is taken. It is verified anew with each look: a key that isn't trusted any more makes no more releases.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from datetime import timedelta
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO

from reconciler.contracts import Remembered, Traits
from reconciler.errors import SourceError, printable
from reconciler.model.offer import SourceReport
from reconciler.model.release import ANY_PLATFORM, Component, Release
from reconciler.model.version import VersionScheme

from ._fetched.turn import Turn
from ._git.depot import Depot, LacksError
from ._git.guard import Limits
from ._git.history import SHOWN, PointMaterial, comes_after, line, of_branch, of_tag, read_commit
from ._git.mirror import ALL_HISTORY, Mirror, OverError, remote_at
from ._git.notes import read_notes, write_notes
from ._git.objects import OBJECT_ID, parse_commit
from ._git.options import OPTIONS, check, served, sizes
from ._git.told import Told, dated, unfetched
from ._git.tree import files_of
from ._git.versions import chosen_version, tag_versions, time_versions
from ._verify.options import signed_by_options, some_signed_by_options, ways_of
from ._verify.verification import Verification, signed_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Context, TrustedKey
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.release import ReleaseFile, SignedBy

    from ._git.history import Point
    from ._git.notes import Notes
    from ._git.options import Served
    from ._git.tree import Found

__all__ = ["OPTIONS", "PLUGIN", "TRAITS"]
MAX_OBJECT = 2**29
"""Bytes of one object, which is held in memory."""
MAX_NOTES = 20_000
ROOM = 4
"""How many times as much as a release may come of a pack: what came between two releases, too."""
AHEAD = timedelta(days=1)
"""How far in the future a commit may have been made: what is dated later would outrank all that follows."""
_SHOWN = 100


class Git:
    """The `Source` and `Fetching` protocols of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        check(options)
        self._url: str = options["url"].rstrip("/")
        self._tags: str = options.get("tags", "")
        self._branch: str = options.get("branch", "")
        self._prefix: str = options["strip_prefix"]
        self._keep: int = options["keep"]
        self._rewinds: bool = options["rewinds"] == "allow"
        self._served = served(options)
        self._verification = Verification(options.get("verify"), context)
        self._context = context
        limit, most = sizes(options)
        self._max_size = most
        limits = Limits(min(most, MAX_OBJECT), ROOM * most)
        depot = Depot(context.work / "mirror.git", limits)
        pack = context.work / "incoming.pack"
        remote = remote_at(self._url, options, context, limits)
        count, stop = context.count, context.stop
        self._mirror = Mirror(remote, depot, pack, limit=limit, most=most, count=count, stop=stop)
        self._depot = depot
        self._blobs: dict[ReleaseFile, str] = {}
        self._known: Mapping[str, Found] = {}
        about = sha256(f"{self._url}\n{self._branch}".encode()).hexdigest()
        self._tip_name = f"git-tip/{about[:32]}"
        self._notes_file = context.work / "git.json"
        self._turn = Turn(context.work / "git.lock", context.stop)

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """List what the tags, or the commits of the branch, are for these components.

        Raises:
            SourceError: the repository can't be reached, or isn't one.
        """
        wanted = {id_: component for id_, component in components.items() if id_ in self._served}
        told = self._look(wanted, free=False) if wanted else Told()
        return SourceReport(
            self._url,
            tuple(told.releases),
            problems=tuple(told.problems),
            harmless=tuple(told.harmless),
            unfetched=tuple(told.unfetched),
        )

    def fetch(self, component: str, version: str, platform: str) -> Release:
        """Fetch what was too much while a plan was made; see `Fetching`.

        Raises:
            SourceError: it can't be had, isn't what it should be, or isn't there any more.
        """
        alone = VersionScheme("of that version", version, lambda text: (0,) if text == version else None)
        told = self._look({component: Component(component, component, "pattern", scheme=alone)}, free=True)
        for release in told.releases:
            if (release.version, release.platform) == (version, platform):
                return release
        why = "; ".join(told.problems) or "it isn't there any more"
        raise SourceError(f"{component} {version} can't be had from {self._url}: {why}", hint="plan again")

    @contextmanager
    def open(self, release: Release, file: ReleaseFile) -> Iterator[BinaryIO]:
        """Open a file of a release that `releases` listed, now or in an earlier run.

        Raises:
            SourceError: it can't be had.
        """
        if file not in self._blobs:
            self._learn(self._notes())
        try:
            content = self._depot.read(self._blobs[file], "blob")
        except KeyError:
            shown = f"{release.component} {release.version}: {printable(file.name)[:_SHOWN]}"
            raise SourceError(f"{shown} isn't known any more", hint="plan again") from None
        except LacksError as error:
            self._forget(file)
            raise SourceError(
                f"{printable(file.name)[:_SHOWN]} isn't in the mirror any more", hint="plan again"
            ) from error
        yield io.BytesIO(content)

    def _learn(self, notes: Notes) -> None:
        """Note by which objects files of releases are had."""
        self._blobs = {**self._blobs, **{file: id_ for found in notes.files.values() for file, id_ in found.files}}

    def _forget(self, file: ReleaseFile) -> None:
        """Have the next look fetch a file again."""
        with self._turn.taken():
            notes = self._notes()
            notes.files = {
                key: found for key, found in notes.files.items() if all(own != file for own, _id in found.files)
            }
            write_notes(self._notes_file, notes, self._context.log)

    def open_patch(self, incremental: Incremental, patch: Patch) -> AbstractContextManager[BinaryIO]:
        """Open a patch: there are none.

        Raises:
            SourceError: always.
        """
        raise SourceError(f"{self._url} has no {patch.name} for {incremental.name}: git has no incrementals")

    def trusted(self) -> Sequence[TrustedKey]:
        """List the keys that are trusted; see `Trusting`."""
        return self._verification.keys()

    # --- a look -------------------------------------------------------------------------------------------------------

    def _notes(self) -> Notes:
        about = f"{self._url} {self._branch or self._tags}"
        return read_notes(self._notes_file, about, self._context.log)

    def _look(self, components: Mapping[str, Component], *, free: bool) -> Told:
        told = Told()
        with self._turn.taken():
            notes = self._notes()
            self._known, notes.files = notes.files, {}
            self._mirror.begin(notes, free=free)
            try:
                (self._of_branch if self._branch else self._of_tags)(components, notes, told)
                if self._mirror.fetched and not told.problems and len(components) == len(self._served):
                    files = [entry for found in notes.files.values() for entry in found.files]
                    folders = [folder for found in notes.files.values() for folder in found.folders]
                    self._depot.sweep({*self._depot.seen, *folders, *(id_ for _file, id_ in files)})
            finally:
                self._mirror.end()
                if told.problems or len(components) < len(self._served):
                    notes.files = {**self._known, **notes.files}
                self._learn(notes)
                write_notes(self._notes_file, notes, self._context.log)
        return told

    def _of_tags(self, components: Mapping[str, Component], notes: Notes, told: Told) -> None:
        literal = self._tags.translate(_WILD).partition("*")[0]
        found = self._mirror.refs(
            f"refs/tags/{literal}",
            lambda name: name.startswith("refs/tags/") and fnmatchcase(name[len("refs/tags/") :], self._tags),
        )
        tags = {name.removeprefix("refs/tags/"): id_ for name, id_ in found.items()}
        if not tags:
            told.problems.append(f"{self._url} has no tags like {self._tags}")
        haves: list[str] = []
        for component in components.values():
            named, odd = self._named(component, tags)
            if odd:
                scheme = component.scheme
                says = f"{component.id}: {len(odd)} tags are no versions of the scheme {scheme.name}, such as {odd[0]}"
                told.problems.append(says)
                if named:
                    told.harmless.append(says)
            for version in sorted(named, key=component.version, reverse=True)[: self._keep]:
                name = named[version]
                subject = f"{component.id} {version}"
                try:
                    point, files = self._mirror.made(
                        tags[name],
                        haves,
                        lambda name=name, id_=component.id: self._tagged(name, tags[name], id_, notes),  # type: ignore[misc]
                    )
                    haves = [*dict.fromkeys((*haves, point.id))]
                    told.releases.append(self._release(component, version, point, files))
                except OverError as error:
                    told.unfetched.append(unfetched(component, version, error))
                except SourceError as error:
                    if error.cooldown_until is not None:
                        raise
                    told.tell(subject, error)

    def _named(self, component: Component, tags: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
        """Give the tags by the versions that they are, and those that are none."""
        named: dict[str, str] = {}
        odd = []
        for name in sorted(tags, key=lambda name: (name.startswith(self._prefix), name)):  # the last one counts
            version = chosen_version(tag_versions(name, self._prefix), component.scheme)
            if version:
                named[version] = name
            else:
                odd.append(printable(name)[:_SHOWN])
        return named, odd

    def _tagged(self, name: str, id_: str, component: str, notes: Notes) -> tuple[Point, Found]:
        point = of_tag(self._depot, name, id_)
        return point, self._files(point.tree, self._served[component], notes)

    def _of_branch(self, components: Mapping[str, Component], notes: Notes, told: Told) -> None:
        ref = f"refs/heads/{self._branch}"
        tip = self._mirror.refs(ref, lambda name: name == ref).get(ref, "")
        if not tip:
            raise SourceError(f"{self._url} has no branch {self._branch}", hint="correct `branch`")
        self._mend(notes)
        try:
            self._take(tip, notes, told)
        except OverError as error:
            for component in components.values():
                try:
                    version = chosen_version(time_versions(parse_commit(error.first).made), component.scheme)
                except ValueError:
                    version = ""
                if version:
                    told.unfetched.append(unfetched(component, version, error))
                else:
                    told.tell(component.id, error)
        except SourceError as error:
            if error.cooldown_until is not None:
                raise
            told.tell(f"the branch {self._branch}", error)
        for component in components.values():
            self._given(component, notes, told)

    def _take(self, tip: str, notes: Notes, told: Told) -> None:
        """Take the newest commit of the branch that comes after the one that was taken last, and is signed well.

        Raises:
            SourceError: there is none, or it can't be had.
        """
        before = notes.tip
        self._hold_to_others(tip, before)
        if tip == before:
            if all(notes.given.get(_named_by(*served)) for served in self._served.items()):
                return
            before = ""  # a component is new, or all that it had is lost: it gets what there is
        rewound = (
            f"it is at {tip[:SHOWN]}, which doesn't come after {before[:SHOWN]} that was taken of it: it was rewound"
        )
        hint = "`rewinds: allow` takes it"
        if notes.refused == tip and not self._rewinds:
            raise SourceError(rewound, hint=hint)
        follows = not before or self._has_followed(tip, before)
        if not follows and not self._rewinds:
            notes.refused = tip
            raise SourceError(rewound, hint=hint)
        if not follows:
            before, notes.given = "", {}
        self._mirror.made(tip, [before] if before else [], lambda: self._all_files(tip, notes))
        for commit in line(self._depot, tip, before):
            try:
                point = of_branch(self._depot, commit)
                self._check_time(point)
                self._proven(point, "")
            except SourceError as error:
                told.tell(f"the branch {self._branch}", error)
                continue
            self._add(commit, point, notes, told)
            return

    def _hold_to_others(self, tip: str, before: str) -> None:
        """Refuse a commit that doesn't come after what another controller took; what this one took is told to all.

        Raises:
            SourceError: the branch was rewound.
            StateError: what controllers remember can't be read or written.
        """
        taken = self._taken()
        if taken is None:
            if before:
                self._tell_taken(before)
            return
        if taken.content in {before, tip} or self._rewinds or self._has_followed(tip, taken.content):
            return
        if before and self._has_followed(before, taken.content):
            return  # what is remembered was taken before this one's own
        raise SourceError(
            f"it is at {tip[:SHOWN]}, which doesn't come after {taken.content[:SHOWN]} that another controller took of "
            "it: it was rewound, or lags behind",
            hint="`rewinds: allow` takes it",
        )

    def _taken(self) -> Remembered | None:
        """Give the commit of the branch that any controller took last."""
        found = self._context.memory.recall().get(self._tip_name)
        return found if found is not None and OBJECT_ID.fullmatch(found.content) else None

    def _tell_taken(self, commit: str) -> None:
        known = self._context.memory.recall().get(self._tip_name)
        if known is None or known.content != commit:
            version = known.version + 1 if known is not None else 1
            self._context.memory.keep({self._tip_name: Remembered(version, commit)})

    def _check_time(self, point: Point) -> None:
        """Refuse a commit that would outrank all that follow.

        Raises:
            SourceError: it is dated in the future.
        """
        if point.made > self._context.clock() + AHEAD:
            raise SourceError(f"{point.name} is dated {point.made:%Y-%m-%d}, which is yet to come")

    def _has_followed(self, tip: str, before: str) -> bool:
        def follows() -> bool:
            read_commit(self._depot, tip)
            return comes_after(self._depot, tip, before)

        try:
            return self._mirror.made(tip, [before], follows, ALL_HISTORY)
        except OverError:
            if self._rewinds:
                return False
            raise

    def _all_files(self, commit: str, notes: Notes) -> None:
        """Read the files of all components, so that the mirror has them."""
        tree = read_commit(self._depot, commit).tree
        for own in self._served.values():
            try:
                self._files(tree, own, notes)
            except LacksError:
                raise
            except SourceError:
                continue  # said where it is given

    def _add(self, commit: str, point: Point, notes: Notes, told: Told) -> None:
        """Have a commit be a release of each component whose files it changes."""
        for component, own in self._served.items():
            key = _named_by(component, own)
            given = notes.given.setdefault(key, [])
            if given:
                last = of_branch(self._depot, given[-1])
                try:
                    if self._files(point.tree, own, notes).files == self._files(last.tree, own, notes).files:
                        continue
                except SourceError as error:
                    self._context.log.info("%s: %s", component, error.message)
                if last.made >= point.made and last.name != point.name:
                    told.problems.append(
                        f"{component}: {point.name} is dated {point.made:%Y-%m-%d %H:%M:%S}, not after {last.name} "
                        "that it follows, so no version of it can be newer: it is passed over until a later commit"
                    )
                    continue
            notes.given[key] = [*(old for old in given if old != commit), commit][-self._keep :]
        notes.tip, notes.refused = commit, ""
        self._tell_taken(commit)

    def _given(self, component: Component, notes: Notes, told: Told) -> None:
        """Give the releases of a branch that were made of it so far."""
        for commit in notes.given.get(_named_by(component.id, self._served[component.id]), ()):
            try:
                point = of_branch(self._depot, commit)
                version = dated(point, component)
                files = self._files(point.tree, self._served[component.id], notes)
                told.releases.append(self._release(component, version, point, files))
            except SourceError as error:
                told.tell(f"{component.id} {commit[:SHOWN]}", error)

    def _mend(self, notes: Notes) -> None:
        """Fetch again what the mirror lacks of releases that were given; forget those of which that can't be had."""
        wanted = {_named_by(component, own): own for component, own in self._served.items()}
        given = {key: commits for key, commits in notes.given.items() if key in wanted}
        notes.given = {key: [id_ for id_ in given[key] if self._is_there(id_, wanted[key], notes)] for key in given}

    def _is_there(self, commit: str, own: Served, notes: Notes) -> bool:
        def build() -> Found:
            return self._files(of_branch(self._depot, commit).tree, own, notes)

        try:
            build()
        except LacksError:
            try:
                self._mirror.made(commit, [], build)
            except SourceError as error:
                self._context.log.warning("%s can't be had any more: %s", commit[:SHOWN], error.message)
                return False
        except SourceError:
            pass  # said where it is given
        return True

    # --- what a release is made of ------------------------------------------------------------------------------------

    def _files(self, tree: str, own: Served, notes: Notes) -> Found:
        key = f"{tree} {own.key}"
        if key not in notes.files:
            known = self._known.get(key)
            notes.files[key] = known or files_of(self._depot, tree, own.path, own.selection, self._max_size)
        return notes.files[key]

    def _proven(self, point: Point, version: str) -> SignedBy | None:
        """Verify a tag or commit.

        Raises:
            SourceError: it isn't signed as it should be.
        """
        return signed_by(self._verification.check(PointMaterial(point, version, self._url)))

    def _release(self, component: Component, version: str, point: Point, files: Found) -> Release:
        return Release(
            component.id,
            version,
            ANY_PLATFORM,
            tuple(file for file, _id in files.files),
            released=point.made,
            notes=point.message.strip()[:MAX_NOTES],
            signed=self._proven(point, version),
        )


def _named_by(component: str, own: Served) -> str:
    """Give what releases of a branch are noted under: those of another folder are others."""
    return f"{component} {own.key}"


_WILD = str.maketrans("?[", "**")


def _traits(options: Mapping[str, Any]) -> Traits:
    """Say what it does, once it is certain that the options fit together."""
    check(options)
    url = str(options["url"])
    _every, ways = ways_of(options.get("verify"))
    return Traits(
        programs=any(name == "gpg" for name, _options in ways),
        network=not url.startswith("file:"),
        url=url,
        signed=signed_by_options(options),
        vouches=some_signed_by_options(options),
    )


TRAITS = _traits
PLUGIN = Git
