"""A spec as it stood at a revision of a git repository, with all that it reads beside it.

All files of the revision are unpacked, as a spec may extend others and read catalogs and templates wherever they lie.
Nothing of the repository changes, and nothing of it runs: files are its objects, byte for byte, without the filters,
attributes, hooks and helpers that it may name, and what it lacks isn't fetched. What isn't committed isn't there.

Links and submodules aren't followed: one that the spec needs is an error that names it.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import Problem, SpecError, UpdoserError, printable
from reconciler.specfile.objects import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.specfile.objects import Entry

_NAMED = 5
_HINT = "give a file: --base FILE, such as one of `git worktree add`"


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
    git = Repository(folder, f"--base {revision}", _HINT)
    git.ask("rev-parse", "--git-dir", failure=f"it is no file, and {folder} is no repository")
    commit = git.ask(
        *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"),
        failure=f"it is no file, and the repository of {folder} has no such revision",
        hint="`git log` lists them; a shallow clone lacks most: `git fetch --unshallow`",
    )
    prefix = git.ask("rev-parse", "--show-prefix", failure=f"{folder} is no folder of files")
    name = f"{prefix}{file.name}"
    entries = git.listed(commit)
    lacks = f"there was no {name} at that revision"
    git.check_file(name, entries, lacks, "give the spec's file at that time: --base FILE")
    with tempfile.TemporaryDirectory(prefix="updoser-") as scratch:
        tree = Path(scratch) / "tree"
        git.unpack([entry for entry in entries if entry.is_file], tree)
        try:
            yield tree / name
        except SpecError as error:
            raise SpecError(as_committed(error.problems, tree, revision, entries)) from None


def as_committed(
    problems: Sequence[Problem], tree: Path, revision: str, entries: Sequence[Entry], hint: str = _HINT
) -> list[Problem]:
    """Give the problems of an unpacked spec by the names that git has for its files, and what may be behind them."""
    named = [replace(problem, file=_named(problem.file, tree, revision)) for problem in problems]
    return [*named, *_left_out([entry for entry in entries if not entry.is_file], named, revision, hint)]


def _left_out(others: Sequence[Entry], problems: Sequence[Problem], revision: str, hint: str) -> list[Problem]:
    """Say which links and submodules aren't there that problems speak of: that is probably why there are any."""
    told = "\n".join(f"{problem.message}\n{problem.excerpt}" for problem in problems)
    meant = [entry for entry in others if entry.path.rpartition("/")[2] in told]
    if not meant:
        return []
    more = f" and {len(meant) - _NAMED} more" if len(meant) > _NAMED else ""
    names = ", ".join(f"{entry.path} ({entry.kind})" for entry in meant[:_NAMED])
    text = f"what the revision {revision} has as a link or a submodule isn't followed: {names}{more}"
    return [Problem(printable(text), hint=hint)]


def _named(file: str, tree: Path, revision: str) -> str:
    """Write a file of the revision as git does."""
    inside = file.startswith(f"{tree}{os.sep}")
    return f"{revision}:{file[len(str(tree)) + 1 :]}" if inside else file
