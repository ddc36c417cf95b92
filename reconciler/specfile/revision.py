"""A spec as it stood at a revision of a git repository, with all that it reads beside it.

All files of the revision are unpacked, as a spec may extend others and read catalogs and templates wherever they lie.
Nothing of the repository changes. What isn't committed isn't there.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import SpecError, UpdoserError, printable
from reconciler.programs import Ending, read_program

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT = 120.0
_MAX_ANSWER = 2**16
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""What would lead git to another repository than that of the file, as in a hook of git."""


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
    _git(
        folder,
        *("cat-file", "-e", f"{commit}:{name}"),
        failure=f"--base {revision}: there was no {name} at that revision",
        hint="give the spec's file at that time: --base FILE",
    )
    with tempfile.TemporaryDirectory(prefix="updoser-") as scratch:
        packed, tree = Path(scratch) / "tree.tar", Path(scratch) / "tree"
        top = _git(folder, "rev-parse", "--show-toplevel", failure=f"--base {revision}: {folder} is no folder of files")
        _git(Path(top), "archive", "-o", str(packed), commit, failure=f"--base {revision}: it can't be unpacked")
        try:
            with tarfile.open(packed) as archive:
                archive.extractall(tree, filter="data")
        except (OSError, ValueError, tarfile.TarError) as error:
            raise UpdoserError(f"--base {revision}: it can't be unpacked: {printable(str(error))}") from error
        try:
            yield tree / name
        except SpecError as error:
            named = (replace(entry, file=_named(entry.file, tree, revision)) for entry in error.problems)
            raise SpecError(list(named)) from None


def _named(file: str, tree: Path, revision: str) -> str:
    """Write a file of the revision as git does."""
    inside = file.startswith(f"{tree}{os.sep}")
    return f"{revision}:{file[len(str(tree)) + 1 :]}" if inside else file


def _git(folder: Path, *arguments: str, failure: str, hint: str = "") -> str:
    env = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    command = ("git", "-c", "core.fsmonitor=false", *arguments)
    ended = read_program(command, folder, {**env, "LC_ALL": "C"}, timeout=_TIMEOUT, limit=_MAX_ANSWER)
    if ended.ending is Ending.NOT_STARTED:
        raise UpdoserError(f"git can't be run: {ended.why}", hint="install it, or give a file: --base FILE")
    if ended.ending is not Ending.EXITED:
        raise UpdoserError(f"{failure}: git didn't end within {_TIMEOUT:.0f} s")
    if ended.status:
        said = " ".join(ended.errors.decode(errors="replace").split())
        raise UpdoserError(f"{failure}{f': {said}' if said else ''}", hint=hint)
    return ended.output.decode(errors="surrogateescape").strip("\n")
