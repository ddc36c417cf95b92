"""What a SHA256SUMS lists as the files of a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.model.release import file_name_problem

from .._fetched.selection import Names
from .._folder.sums import MAX_BYTES, parse_sums

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILES = 10_000


def listed_in(path: Path, name: str) -> dict[str, str]:
    """Give the digests that a list has, by names that files of a release may have.

    Raises:
        SourceError: it is no list, is empty or too long, or names what no release can have.
    """
    found: dict[str, str] = {}
    names = Names()
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SourceError(f"{name} has more than {MAX_BYTES} bytes")
        for own, sha256 in parse_sums(content):
            problem = file_name_problem(own) or ("it lists itself" if own == path.name else "")
            if problem:
                raise SourceError(f"{name}: {problem}")
            names.take(own, own)
            found[own] = sha256
    except ValueError as error:
        raise SourceError(f"{name}: {error}") from error
    except OSError as error:
        raise SourceError(f"{name} can't be read: {error.strerror}") from error
    if not 1 <= len(found) <= MAX_FILES:
        raise SourceError(f"{name} lists {len(found)} files; a release has 1 to {MAX_FILES}")
    return found
