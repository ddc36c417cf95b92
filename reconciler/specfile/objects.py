"""Commits of a git repository: what they have, and their files unpacked.

Files are git's objects, byte for byte, without the filters, attributes, hooks and helpers that a repository may name:
nothing of it runs, nothing of it changes, and what it lacks isn't fetched. Links and submodules aren't followed.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from threading import Timer
from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import UpdoserError, printable
from reconciler.programs import Ending, StartError, read_program, started

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from threading import Event
    from typing import IO

TIMEOUT = 120.0
MAX_ANSWER = 2**16
MAX_LIST = 2**26
MAX_FILES = 200_000
MAX_BYTES = 2**30
"""How many files a commit may have, and how large they may be together."""
_CHUNK = 2**16
_FILE, _LINK, _PROGRAM = "100", "120000", "100755"
_OWN_SETTINGS = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
"""What of git's environment is kept: whoever runs updoser sets it. The rest leads elsewhere, as in a hook of git."""
SAFE = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what it lacks, by programs that its settings name
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


class Entry(NamedTuple):
    """What a commit has under a path: its mode as git writes it, the object's name, and the size of a file."""

    mode: str
    object: str
    size: int
    path: str

    @property
    def is_file(self) -> bool:
        """Whether it is a file, and not a link or a submodule."""
        return self.mode.startswith(_FILE)

    @property
    def kind(self) -> str:
        """What it is where it isn't a file, in words."""
        return "a link" if self.mode == _LINK else "a submodule"


def environment(kept: tuple[str, ...] = _OWN_SETTINGS) -> Mapping[str, str]:
    """Give the environment for git: of its own variables those that begin with one of `kept`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith(kept)}
    return {**ours, **SAFE}


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository that is asked about its objects; `label` begins each message, `hint` says what else can be done.

    `options` stand before each of git's commands, and `program` before them: git, or what runs it.
    """

    folder: Path
    label: str
    hint: str = ""
    environ: Mapping[str, str] = field(default_factory=environment)
    options: tuple[str, ...] = ()
    program: tuple[str, ...] = ("git",)

    def ask(
        self,
        *arguments: str,
        failure: str,
        hint: str = "",
        limit: int = MAX_ANSWER,
        timeout: float = TIMEOUT,
        stop: Event | None = None,
        errors: bool = False,
    ) -> str:
        """Have git say something; `failure` tells what can't be had where it doesn't. `errors` are what it says there.

        Raises:
            UpdoserError: git can't be run, fails, isn't done in time, or says more than `limit` bytes.
        """
        command = (*self.program, *self.options, *arguments)
        ended = read_program(command, self.folder, self.environ, timeout=timeout, limit=limit, stop=stop)
        failure = f"{self.label}: {failure}"
        if ended.ending is Ending.NOT_STARTED:
            raise self._no_git(ended.why)
        if ended.ending is Ending.ENDLESS:
            raise UpdoserError(f"{failure}: git says more than {limit} bytes", hint=self.hint)
        if ended.ending is Ending.STOPPED:
            raise UpdoserError(f"{failure}: it was interrupted")
        if ended.ending is not Ending.EXITED:
            raise UpdoserError(f"{failure}: git didn't end within {timeout:.0f} s")
        if ended.status:
            why = " ".join(ended.errors.decode(errors="replace").split())
            raise UpdoserError(f"{failure}{f': {why}' if why else ''}", hint=hint)
        said = ended.errors if errors else ended.output
        return said.decode(errors="surrogateescape").strip("\n")

    def listed(self, commit: str) -> list[Entry]:
        """Give all that a commit has but folders.

        Raises:
            UpdoserError: it can't be listed, is too large, or has paths that lead elsewhere.
        """
        listing = ("ls-tree", "-r", "-z", "-l", "--full-tree", commit)
        listed = self.ask(*listing, failure="its files can't be listed", limit=MAX_LIST)
        entries = []
        for line in filter(None, listed.split("\0")):
            facts, _tab, path = line.partition("\t")
            mode, _type, name, size = facts.split()
            entries.append(Entry(mode, name, int(size) if size.isdecimal() else 0, path))
            if set(path.split("/")) & {"", ".", ".."}:
                raise UpdoserError(f"{self.label}: {printable(path)} is no path that a file may have", hint=self.hint)
        size_of_all = sum(entry.size for entry in entries)
        if len(entries) > MAX_FILES or size_of_all > MAX_BYTES:
            text = f"it has {len(entries)} files of {size_of_all // 2**20} MiB"
            raise UpdoserError(f"{self.label}: {text}, too many to unpack them all", hint=self.hint)
        return entries

    def check_file(self, name: str, entries: Sequence[Entry], lacks: str, hint: str) -> None:
        """Refuse a commit that hasn't a file of that name; `lacks` says so where it has nothing there.

        Raises:
            UpdoserError: it hasn't.
        """
        for entry in entries:
            if entry.path == name and entry.is_file:
                return
            if not entry.is_file and (name == entry.path or name.startswith(f"{entry.path}/")):
                text = f"{self.label}: {entry.path} is {entry.kind} there, and isn't followed"
                raise UpdoserError(text, hint=self.hint)
        raise UpdoserError(f"{self.label}: {lacks}", hint=hint)

    def unpack(self, files: Sequence[Entry], tree: Path) -> None:
        """Write files as git has them.

        Raises:
            UpdoserError: git hasn't one of them, or it can't be written.
        """
        try:
            command = ("git", *self.options, "cat-file", "--batch")
            with started(command, self.folder, self.environ, stdin=subprocess.PIPE) as git:
                late = Timer(TIMEOUT, git.kill)
                late.start()
                try:
                    for entry in files:
                        place = tree / entry.path
                        place.parent.mkdir(parents=True, exist_ok=True)
                        _copy(git, entry, place)
                finally:
                    late.cancel()
        except StartError as error:
            raise self._no_git(error) from error
        except (OSError, ValueError) as error:
            why = printable(getattr(error, "strerror", None) or str(error))
            raise UpdoserError(f"{self.label}: it can't be unpacked: {why}", hint=self.hint) from error

    def _no_git(self, why: object) -> UpdoserError:
        return UpdoserError(f"git can't be run: {why}", hint=f"install it{f', or {self.hint}' if self.hint else ''}")


def _copy(git: subprocess.Popen[bytes], entry: Entry, place: Path) -> None:
    """Have git give an object, and write it down.

    Raises:
        OSError, ValueError: git hasn't it, gives something else, or it can't be written.
    """
    if git.stdin is None or git.stdout is None:
        raise ValueError("git doesn't listen")
    git.stdin.write(f"{entry.object}\n".encode())
    git.stdin.flush()
    head = git.stdout.readline(MAX_ANSWER).split()
    if head[1:] != [b"blob", str(entry.size).encode()]:
        raise ValueError(
            f"git doesn't give {entry.path}; a partial clone lacks files: `git fetch --refetch` brings them"
        )
    with place.open("xb") as target:
        _take(git.stdout, entry.size, target)
    if entry.mode == _PROGRAM:
        mode = place.stat().st_mode
        place.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may run it
    if git.stdout.read(1) != b"\n":
        raise ValueError(f"git gives more than {entry.path}")


def _take(source: IO[bytes], size: int, target: IO[bytes]) -> None:
    while size:
        chunk = source.read(min(size, _CHUNK))
        if not chunk:
            raise ValueError("git ended before all was unpacked")
        size -= target.write(chunk)
