"""Where a controller has its spec from: a file of this machine, or commits of a repository.

A spec that is no good never takes the place of one that was: that stays in force until there is a better one, also
over a new start where it comes from git.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from reconciler.assembly import utc_now
from reconciler.controller.mirror import GitOptions, Mirror
from reconciler.controller.pace import Retry
from reconciler.desk import read_spec
from reconciler.errors import SpecError, UpdoserError
from reconciler.files import write_whole
from reconciler.specfile.revision import as_committed
from reconciler.specfile.unpacked import COMMITS, TREE, Unpacked, note_of, write_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from threading import Event

    from reconciler.desk import Desk
    from reconciler.specfile.load import Loaded

_POLL = 0.2
_SHOWN = 12
_HINT = "put the file itself into the repository"


@dataclass(frozen=True, slots=True)
class Found:
    """A spec that was read, None where the one before stays in force; and what is wrong with what isn't taken.

    `unreachable` says why it can't be known whether there is another one, and `again` when that is tried again.
    """

    loaded: Loaded | None
    problems: tuple[str, ...] = ()
    unreachable: str = ""
    again: datetime | None = None


class SpecSource(Protocol):
    """Gives the spec that is to be in force."""

    @property
    def desk(self) -> Desk:
        """The desk whose file is the spec in force."""

    def first(self, stop: Event) -> Loaded:
        """Give the spec to begin with.

        Raises:
            UpdoserError: there is none that is good.
        """

    def look(self, stop: Event, *, now: bool = False) -> Found:
        """Look whether there is another one. Never fails: what is wrong is told.

        Somebody wants it `now`, however often it failed.
        """


class FromFile:
    """The spec of a file."""

    def __init__(self, desk: Desk) -> None:
        """Take the desk that names the file."""
        self.desk = desk

    def first(self, stop: Event) -> Loaded:  # noqa: ARG002 - a file is read at once
        """Read the file."""
        return read_spec(self.desk)

    def look(self, stop: Event, *, now: bool = False) -> Found:  # noqa: ARG002 - as above
        """Read the file again."""
        try:
            return Found(read_spec(self.desk))
        except UpdoserError as error:
            return Found(None, (f"the spec is no good, and the last good one stays in force: {error.message}",))


@dataclass(frozen=True, slots=True)
class _InForce:
    """What is remembered of the commit in force, and of which branch or tags of which repository it is."""

    url: str
    where: str
    commit: str
    signer: str = ""
    before: str = ""


class FromGit:
    """The spec of the newest commit of a repository that is believed and good.

    The folder has the mirror, the commit in force and the one before, unpacked, and what is remembered over a new
    start. Several processes may share it.
    """

    def __init__(self, desk: Desk, options: GitOptions, clock: Callable[[], datetime] = utc_now) -> None:
        """Touch nothing yet.

        Raises:
            UsageError: the options don't fit together.
        """
        options.check()
        self.desk = desk
        self._options = options
        self._folder = options.folder.absolute()
        self._mirror = Mirror(options)
        self._home = Path.cwd()
        self._clock = clock
        self._retry = Retry()
        self._unreachable = ""

    def first(self, stop: Event) -> Loaded:
        """Fetch, and read the spec; where what is new is no good, the one that was in force last."""
        with self._alone(stop):
            problems, failure = self._take_newest(stop, now=True)
            last = self._in_force()
            if last.commit:
                return self._read(last.commit, last.signer)
        raise failure or UpdoserError(
            f"no commit of {self._mirror.git.label} can be taken: {'; '.join(problems)}",
            hint="the first one must be good; --verify and --allowed-signers say whom to believe",
        )

    def look(self, stop: Event, *, now: bool = False) -> Found:
        """Fetch, and read the spec of the commit that is in force then."""
        problems: tuple[str, ...] = ()
        try:
            with self._alone(stop):
                problems, failure = self._take_newest(stop, now=now)
                if failure and not self._unreachable and not stop.is_set():
                    problems = (*problems, f"the last good spec stays in force: {failure.message}")
                last = self._in_force()
                loaded = self._read(last.commit, last.signer) if last.commit else None
                return Found(loaded, problems, self._unreachable, self._retry.at)
        except UpdoserError as error:
            problems = (*problems, f"the last good spec stays in force: {error.message}")
            return Found(None, problems, self._unreachable, self._retry.at)

    def _fetch(self, stop: Event, *, now: bool) -> None:
        """Bring the mirror to where the repository is; one that can't be reached is asked ever less often.

        Raises:
            UpdoserError: it can't be reached, or couldn't and it is too early to try again.
        """
        if self._retry.waits(self._clock()) and not now:
            raise UpdoserError(self._unreachable)
        try:
            self._mirror.fetch(stop)
        except UpdoserError as error:
            if not stop.is_set():
                self._retry.failed(self._clock())
                self._unreachable = error.message
            raise
        self._retry.went_well()
        self._unreachable = ""

    def _take_newest(self, stop: Event, *, now: bool) -> tuple[tuple[str, ...], UpdoserError | None]:
        """Put the newest commit that is believed and good in force; give what was passed over, and what failed."""
        last = self._in_force()
        try:
            self._fetch(stop, now=now)
            pick = self._mirror.pick(last.commit)
        except UpdoserError as error:
            return (), error
        if not pick.commit:
            return pick.problems, None
        try:
            self._read(pick.commit, pick.signer)
            self._mirror.keep(pick.commit)
            self._remember(replace(last, commit=pick.commit, signer=pick.signer, before=last.commit))
        except UpdoserError as error:
            return pick.problems, error
        finally:
            held = self._in_force()
            self._forget_but({held.commit, held.before, pick.commit})
        return pick.problems, None

    def _forget_but(self, kept: set[str]) -> None:
        """Remove what was unpacked, but some commits."""
        for path in (self._folder / COMMITS).glob("*"):
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
        for path in (self._folder / COMMITS).glob(".new-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _read(self, commit: str, signer: str) -> Loaded:
        """Read the spec of a commit, unpacked where it isn't yet.

        Raises:
            UpdoserError: it can't be unpacked, or lacks the spec. SpecError: that is invalid.
        """
        git = replace(self._mirror.git, label=f"commit {commit[:_SHOWN]}", hint=_HINT)
        folder = self._folder / COMMITS / commit
        note = Unpacked(commit, signer, str(self._home))
        if note_of(folder) != note or not (folder / TREE / self._options.path).is_file():
            entries = git.listed(commit)
            lacks = f"there is no {self._options.path} in it"
            git.check_file(self._options.path, entries, lacks, "--spec-path names the spec in the repository")
            with _mapped(folder):
                folder.parent.mkdir(parents=True, exist_ok=True)
                new = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
                new.chmod(0o755)
                git.unpack([entry for entry in entries if entry.is_file], new / TREE)
                write_note(new, note)
                shutil.rmtree(folder, ignore_errors=True)
                new.rename(folder)
        desk = replace(self.desk, file=folder / TREE / self._options.path)
        try:
            loaded = read_spec(desk)
        except SpecError as error:
            tree = Path(os.path.realpath(folder / TREE))
            raise SpecError(as_committed(error.problems, tree, commit[:_SHOWN], git.listed(commit), _HINT)) from None
        self.desk = desk
        return loaded

    # --- what is remembered -------------------------------------------------------------------------------------------

    def _in_force(self) -> _InForce:
        """Give what was in force last, of this repository and branch: who names another one begins anew."""
        nothing = _InForce(self._options.url, self._options.where, "")
        try:
            found = _InForce(**json.loads((self._folder / "in-force.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return nothing
        return found if (found.url, found.where) == (nothing.url, nothing.where) else nothing

    def _remember(self, now: _InForce) -> None:
        """Put a commit in force, also for whoever reads `current`."""
        with _mapped(self._folder):
            write_whole(self._folder / "in-force.json", json.dumps(asdict(now)).encode())
            link = self._folder / ".current"
            link.unlink(missing_ok=True)
            link.symlink_to(Path(COMMITS) / now.commit / TREE)
            link.replace(self._folder / "current")

    @contextmanager
    def _alone(self, stop: Event) -> Iterator[None]:
        """Work with the folder alone, for the time of the block."""
        with _mapped(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if stop.wait(_POLL):
                        raise UpdoserError(f"{self._folder}: interrupted while another process works there") from None
            yield
        finally:
            os.close(descriptor)


@contextmanager
def _mapped(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UpdoserError(f"{place} can't be written: {error.strerror}", hint="--git-folder names another") from error


def named_in_git(path: Path) -> Path:
    """Give what a spec that was taken from a repository is called there."""
    parts = path.parts
    return Path(*parts[len(parts) - parts[::-1].index(TREE) :]) if TREE in parts else Path(path.name)
