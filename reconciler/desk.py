"""What all commands share before anything is opened: the spec's file, variables, where to answer, and who asks."""

from __future__ import annotations

import getpass
import os
import re
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import SPEC_FILE
from reconciler.errors import UsageError
from reconciler.files import is_same_file
from reconciler.formats.ci import bounded, ci_origin
from reconciler.specfile.load import Loaded, load
from reconciler.specfile.variables import parse_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.spec import Spec
    from reconciler.present.terminal import Terminal


DEFAULT_FILE = Path(SPEC_FILE)


@dataclass(frozen=True, slots=True)
class Desk:
    """What all commands share: the spec's file, `-e` variables, and where and in which format to answer.

    `no_exec` runs nothing that the spec names, resolves no secret and reaches no client. `events` is a file that gets
    the run's events as JSON lines. `written` are all files that the command writes, by the option that names each.
    """

    terminal: Terminal
    file: Path
    variables: tuple[str, ...] = ()
    form: str = "text"
    events: Path | None = None
    no_exec: bool = False
    written: Mapping[str, Path] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """The options that name the same spec to another command."""
        file = [] if self.file == DEFAULT_FILE else ["-f", str(self.file)]
        return [*file, *(word for text in self.variables for word in ("-e", text))]


def user_name() -> str:
    """Give who runs this, for the history: the user that sudo was called by, or the one of the process."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def origin_of(folder: Path, environ: Mapping[str, str], commit: str = "") -> dict[str, str]:
    """Give who runs this and where, for the history: `user`, `host`, what a pipeline says, the `spec_commit`.

    That is `commit` where the spec is of one, and else the one that is checked out in the folder.
    """
    found = {"user": user_name(), "host": socket.gethostname(), "spec_commit": commit or _head_of(folder)}
    return {**bounded(found), **ci_origin(environ)}


def _head_of(folder: Path) -> str:
    """Give the commit that is checked out where a folder is; empty where that isn't a repository.

    Its files are read, and no program runs: what a repository says in its settings could make git run another one.
    """
    for parent in (folder, *folder.parents):
        place = parent / ".git"
        try:
            if place.is_file():  # a worktree, or a submodule
                place = parent / _read(place).removeprefix("gitdir:").strip()
            if not place.is_dir():
                continue
            head = _read(place / "HEAD")
            if not head.startswith("ref:"):
                return head if _COMMIT.fullmatch(head) else ""
            common = place / _read(place / "commondir") if (place / "commondir").is_file() else place
            return _commit_of(head.removeprefix("ref:").strip(), common)
        except (OSError, ValueError):
            return ""
    return ""


def _commit_of(name: str, repository: Path) -> str:
    loose = repository / name
    if not _REF.fullmatch(name) or ".." in name:
        return ""
    if loose.is_file():
        commit = _read(loose)
        return commit if _COMMIT.fullmatch(commit) else ""
    packed = (repository / "packed-refs").read_text(encoding="utf-8") if (repository / "packed-refs").is_file() else ""
    lines = (line.split() for line in packed.splitlines())
    found = next((line[0] for line in lines if len(line) == 2 and line[1] == name), "")
    return found if _COMMIT.fullmatch(found) else ""


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as handle:
        return handle.read(_MAX_LINE).strip()


_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"refs/[\w./+@-]{1,300}")
_MAX_LINE = 4096
_SQLITE = "sqlite:///"


def read_spec(desk: Desk) -> Loaded:
    """Read the spec that a desk names.

    Raises:
        SpecError: it is invalid; all problems are told at once.
        UsageError: a `-e` is malformed, or the command would write what the spec reads, or over the state.
    """
    loaded = load(desk.file, variables=parse_variables(desk.variables), no_exec=desk.no_exec)
    for option, path in desk.written.items():
        for what, file in _files_of(loaded):
            if is_same_file(path, file):
                raise UsageError(f"{option} {path}: that is {what}", hint="name another file")
    return loaded


def _files_of(loaded: Loaded) -> Iterator[tuple[str, Path]]:
    """Give the files that a spec is read from, and those of its state."""
    yield from (("a file that the spec is made from", file) for file in loaded.files)
    state = loaded.spec.server.state
    if state.startswith(_SQLITE):
        file = state.removeprefix(_SQLITE)
        yield from (("the state", Path(f"{file}{more}")) for more in ("", "-wal", "-shm", "-journal"))


@contextmanager
def base_spec(desk: Desk, base: str) -> Iterator[Spec]:
    """Give the spec to compare with, for the time of the block: a file, or a git revision of the desk's file.

    A name that is both is the file. What templates and secrets of a revision read is there within the block only.

    Raises:
        UpdoserError: there is no such file and no such revision, or the spec wasn't there then.
        SpecError: it is invalid; all problems are told at once.
    """
    if os.path.lexists(base):
        yield read_spec(replace(desk, file=Path(base))).spec
        return
    from reconciler.specfile.revision import at_revision

    with at_revision(desk.file, base) as file:
        yield read_spec(replace(desk, file=file)).spec
