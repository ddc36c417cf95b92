"""Which files of an archive, or of a tree, become files of a release, and under which names.

A release is flat, and what clients read is, too: a folder of rules, with the lists that they name beside them. So a
file takes its own name, without its folders. Where two would get one name it is an error that names both: one of them
is left out by `include` and `exclude`, or both keep their folders in their names (`flatten: path`), as `a--b.rules`.

* `strip` takes away so many folders at the beginning; what has no more is passed over.
* A pattern without a slash is about the file's name, one with a slash about its whole path; `*` and `?` stay within a
  folder, `**` goes through any number of them.
* Names that begin with a dot, and what lies in such folders, are passed over: no release has such files.
* A path that leads out of the archive is an error, whether or not it would be taken.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError, printable
from reconciler.model.release import file_name_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

JOINT = "--"
"""What stands between a folder and what is in it, in the name of a file that keeps its folders."""
MAX_DEPTH = 64
_PATTERNS: Mapping[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "string",
        "minLength": 1,
        "maxLength": 200,
        "description": "A pattern for the name of a file, or with a slash for its path: `*` stays within a folder, "
        "`**` goes through any number of them.",
        "examples": ["*.rules", "rules/*.conf"],
    },
}
SELECTION: Mapping[str, Any] = {
    "strip": {
        "type": "integer",
        "minimum": 0,
        "maximum": 20,
        "default": 0,
        "description": "How many folders at the beginning of each path are taken away, before anything is matched.",
        "examples": [1],
    },
    "include": {
        **_PATTERNS,
        "description": "Which files are taken. Left out: all, but those whose names begin with a dot.",
        "examples": [["*.rules", "*.config"]],
    },
    "exclude": {
        **_PATTERNS,
        "description": "Which of them aren't.",
        "examples": [["deleted.rules"]],
    },
    "flatten": {
        "type": "string",
        "enum": ["name", "path"],
        "default": "name",
        "description": "What a file is called that lies in a folder: by its name alone, or with its folders before it, "
        f"as `folder{JOINT}name`. A release has no folders.",
    },
}
"""The properties of a schema of options."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files are taken, and what they are called."""

    strip: int = 0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    flatten: str = "name"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Selection:
        """Read the options, complete with their defaults."""
        return cls(
            options["strip"], tuple(options.get("include", ())), tuple(options.get("exclude", ())), options["flatten"]
        )

    def name_of(self, path: str) -> str | None:
        """Give the name in the release of what lies at a path; None where it isn't taken.

        Raises:
            SourceError: the path leads elsewhere, or it is taken and can't have that name in a release.
        """
        parts = _parts(path)[self.strip :]
        if not parts or any(part.startswith(".") for part in parts):
            return None
        if self.include and not _any(self.include, parts):
            return None
        if _any(self.exclude, parts):
            return None
        name = parts[-1] if self.flatten == "name" else JOINT.join(parts)
        problem = file_name_problem(name)
        if problem:
            raise SourceError(
                f"{shown_path(path)}: {problem}", hint="leave it out with `include` or `exclude`, if it isn't needed"
            )
        return name


class Names:
    """The names that are given so far, and which path each came from: no two may be one on any client's disk."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def take(self, name: str, path: str) -> None:
        """Give a name to what lies at a path.

        Raises:
            SourceError: another file has it, or one that differs only in case or in how its letters are composed.
        """
        key = unicodedata.normalize("NFC", name).casefold()
        other = self._taken.get(key)
        if other is not None:
            both = f"{shown_path(other)} and {shown_path(path)}"
            raise SourceError(
                f"{both} would be one file in a release, which has no folders",
                hint="take one of them with `include` or `exclude`, or keep folders in names with `flatten: path`",
            )
        self._taken[key] = path


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    drive = path[1:2] == ":" and path[:1].isalpha()
    if path.startswith(("/", "\\")) or drive or ".." in path.replace("\\", "/").split("/"):
        raise SourceError(f"{shown_path(path)} leads out of the archive, which is refused as a whole")
    if len(parts) > MAX_DEPTH:
        raise SourceError(f"{shown_path(path)} lies deeper than {MAX_DEPTH} folders")
    return parts


def shown_path(path: str) -> str:
    """Give a path as it may be shown, and not all of a long one."""
    text = printable(path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    return text if len(text) <= 120 else f"{text[:119]}…"


def _any(patterns: tuple[str, ...], parts: list[str]) -> bool:
    return any(_matches(pattern, parts) for pattern in patterns)


def _matches(pattern: str, parts: list[str]) -> bool:
    if "/" not in pattern:
        return fnmatchcase(parts[-1], pattern)
    wanted = [part for part in pattern.split("/") if part]
    reached = {0}  # how many parts of the pattern may be used up, after each part of the path
    for part in parts:
        step = set()
        for at in _closed(reached, wanted):
            if at < len(wanted) and wanted[at] == "**":
                step.add(at)
            elif at < len(wanted) and fnmatchcase(part, wanted[at]):
                step.add(at + 1)
        reached = step
    return len(wanted) in _closed(reached, wanted)


def _closed(reached: set[int], wanted: list[str]) -> set[int]:
    """Add where one gets without another part: past each `**`, which may stand for none."""
    found = set(reached)
    for at in range(len(wanted)):
        if at in found and wanted[at] == "**":
            found.add(at + 1)
    return found
