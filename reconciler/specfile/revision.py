"""A spec as it stood at a revision of a git repository, with all that it reads beside it.

All files of the revision are unpacked, as a spec may extend others and read catalogs and templates wherever they lie.
Nothing of the repository changes, and nothing of it runs: files are its objects, byte for byte, without the filters,
attributes, hooks and helpers that it may name, and what it lacks isn't fetched. What isn't committed isn't there.

Links and submodules aren't followed: one that the spec needs is an error that names it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import Problem, SpecError, UpdoserError, printable
from reconciler.programs import Ending, StartError, read_program, started

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import IO

_TIMEOUT = 120.0
_MAX_ANSWER = 2**16
_MAX_LIST = 2**26
MAX_FILES = 200_000
MAX_BYTES = 2**30
"""How many files a revision may have, and how large they may be together."""
_CHUNK = 2**16
_FILE, _LINK = "100", "120000"
_NAMED = 5
_OWN_SETTINGS = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
"""What of git's environment is kept: whoever runs updoser sets it. The rest leads elsewhere, as in a hook of git."""
_SAFE = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what it lacks, by programs that its settings name
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_HINT = "give a file: --base FILE, such as one of `git worktree add`"


class _Entry(NamedTuple):
    """What a revision has under a path: its mode as git writes it, the object's name, and the size of a file."""

    mode: str
    object: str
    size: int
    path: str


@contextmanager
def at_revision(file: Path, revision: str) -> Iterator[Path]:
    """Give the file as it stood at a revision, for the time of the block; problems of the spec name the revision.

    Raises:
        UpdoserError: the file is in no repository, there is no such revision, or it lacked the file.
        SpecError: the block found it invalid.
    """
    folder = Path(os.path.abspath(file)).parent  # noqa: PTH100 - links stay as they are: git knows them by their names
    if not folder.is_dir():
        raise UpdoserError(f"--base {revision}: the folder {folder} isn't there", hint="-f names the spec")
    _git(folder, "rev-parse", "--git-dir", failure=f"--base {revision}: it is no file, and {folder} is no repository")
    commit = _git(
        folder,
        *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"),
        failure=f"--base {revision}: it is no file, and the repository of {folder} has no such revision",
        hint="`git log` lists them; a shallow clone lacks most: `git fetch --unshallow`",
    )
    prefix = _git(folder, "rev-parse", "--show-prefix", failure=f"--base {revision}: {folder} is no folder of files")
    name = f"{prefix}{file.name}"
    entries = _listed(folder, commit, revision)
    files = [entry for entry in entries if entry.mode.startswith(_FILE)]
    others = [entry for entry in entries if not entry.mode.startswith(_FILE)]
    _check_spec(name, files, others, revision)
    with tempfile.TemporaryDirectory(prefix="updoser-") as scratch:
        tree = Path(scratch) / "tree"
        _unpack(folder, files, tree, revision)
        try:
            yield tree / name
        except SpecError as error:
            named = [replace(entry, file=_named(entry.file, tree, revision)) for entry in error.problems]
            raise SpecError([*named, *_left_out(others, named, revision)]) from None


def _check_spec(name: str, files: Sequence[_Entry], others: Sequence[_Entry], revision: str) -> None:
    """Refuse a revision that hasn't the spec as a file."""
    if any(entry.path == name for entry in files):
        return
    for entry in others:
        if name == entry.path or name.startswith(f"{entry.path}/"):
            raise UpdoserError(
                f"--base {revision}: {entry.path} is {_kind(entry)} there, and isn't followed", hint=_HINT
            )
    raise UpdoserError(
        f"--base {revision}: there was no {name} at that revision",
        hint="give the spec's file at that time: --base FILE",
    )


def _kind(entry: _Entry) -> str:
    return "a link" if entry.mode == _LINK else "a submodule"


def _left_out(others: Sequence[_Entry], problems: Sequence[Problem], revision: str) -> list[Problem]:
    """Say which links and submodules aren't there that problems speak of: that is probably why there are any."""
    told = "\n".join(f"{problem.message}\n{problem.excerpt}" for problem in problems)
    meant = [entry for entry in others if entry.path.rpartition("/")[2] in told]
    if not meant:
        return []
    more = f" and {len(meant) - _NAMED} more" if len(meant) > _NAMED else ""
    names = ", ".join(f"{entry.path} ({_kind(entry)})" for entry in meant[:_NAMED])
    text = f"what the revision {revision} has as a link or a submodule isn't followed: {names}{more}"
    return [Problem(printable(text), hint=_HINT)]


def _named(file: str, tree: Path, revision: str) -> str:
    """Write a file of the revision as git does."""
    inside = file.startswith(f"{tree}{os.sep}")
    return f"{revision}:{file[len(str(tree)) + 1 :]}" if inside else file


# --- objects ----------------------------------------------------------------------------------------------------------


def _listed(folder: Path, commit: str, revision: str) -> list[_Entry]:
    """Give all that a revision has but folders."""
    failure = f"--base {revision}: its files can't be listed"
    listed = _git(folder, *("ls-tree", "-r", "-z", "-l", "--full-tree", commit), failure=failure, limit=_MAX_LIST)
    entries = []
    for line in filter(None, listed.split("\0")):
        facts, _tab, path = line.partition("\t")
        mode, _type, name, size = facts.split()
        entries.append(_Entry(mode, name, int(size) if size.isdecimal() else 0, path))
        if set(path.split("/")) & {"", ".", ".."}:
            raise UpdoserError(f"--base {revision}: {printable(path)} is no path that a file may have", hint=_HINT)
    size_of_all = sum(entry.size for entry in entries)
    if len(entries) > MAX_FILES or size_of_all > MAX_BYTES:
        text = f"it has {len(entries)} files of {size_of_all // 2**20} MiB"
        raise UpdoserError(f"--base {revision}: {text}, too many to unpack them all", hint=_HINT)
    return entries


def _unpack(folder: Path, files: Sequence[_Entry], tree: Path, revision: str) -> None:
    """Write files as git has them."""
    failure = f"--base {revision}: it can't be unpacked"
    try:
        with started(("git", "cat-file", "--batch"), folder, _environment(), stdin=subprocess.PIPE) as git:
            late = Timer(_TIMEOUT, git.kill)
            late.start()
            try:
                for entry in files:
                    place = tree / entry.path
                    place.parent.mkdir(parents=True, exist_ok=True)
                    _copy(git, entry, place)
            finally:
                late.cancel()
    except StartError as error:
        raise _no_git(error) from error
    except (OSError, ValueError) as error:
        raise UpdoserError(
            f"{failure}: {printable(getattr(error, 'strerror', None) or str(error))}", hint=_HINT
        ) from error


def _copy(git: subprocess.Popen[bytes], entry: _Entry, place: Path) -> None:
    """Have git give an object, and write it down.

    Raises:
        OSError, ValueError: git hasn't it, gives something else, or it can't be written.
    """
    if git.stdin is None or git.stdout is None:
        raise ValueError("git doesn't listen")
    git.stdin.write(f"{entry.object}\n".encode())
    git.stdin.flush()
    head = git.stdout.readline(_MAX_ANSWER).split()
    if head[1:] != [b"blob", str(entry.size).encode()]:
        raise ValueError(
            f"git doesn't give {entry.path}; a partial clone lacks files: `git fetch --refetch` brings them"
        )
    with place.open("xb") as target:
        _take(git.stdout, entry.size, target)
    if git.stdout.read(1) != b"\n":
        raise ValueError(f"git gives more than {entry.path}")


def _take(source: IO[bytes], size: int, target: IO[bytes]) -> None:
    while size:
        chunk = source.read(min(size, _CHUNK))
        if not chunk:
            raise ValueError("git ended before all was unpacked")
        size -= target.write(chunk)


# --- git --------------------------------------------------------------------------------------------------------------


def _environment() -> Mapping[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(_OWN_SETTINGS)
    }
    return {**kept, **_SAFE}


def _no_git(why: object) -> UpdoserError:
    return UpdoserError(f"git can't be run: {why}", hint="install it, or give a file: --base FILE")


def _git(folder: Path, *arguments: str, failure: str, hint: str = "", limit: int = _MAX_ANSWER) -> str:
    """Have git say something; only what asks it about its objects and places, which runs nothing of a repository."""
    ended = read_program(("git", *arguments), folder, _environment(), timeout=_TIMEOUT, limit=limit)
    if ended.ending is Ending.NOT_STARTED:
        raise _no_git(ended.why)
    if ended.ending is Ending.ENDLESS:
        raise UpdoserError(f"{failure}: git says more than {limit} bytes", hint=_HINT)
    if ended.ending is not Ending.EXITED:
        raise UpdoserError(f"{failure}: git didn't end within {_TIMEOUT:.0f} s")
    if ended.status:
        said = " ".join(ended.errors.decode(errors="replace").split())
        raise UpdoserError(f"{failure}{f': {said}' if said else ''}", hint=hint)
    return ended.output.decode(errors="surrogateescape").strip("\n")
