"""Versions of a repository's releases: in the names of its tags, or the times of its commits.

A commit's time is a version of the schemes `calver` (`2026.11.29T153012`) and `integer` (`20261129153012`), in UTC. So
several commits of a day are several versions, and each server that looks at the repository calls a commit the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.model.version import dated_version

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.version import VersionScheme

_DAY = re.compile(r"(\d{4})[-._]?(\d{2})[-._]?(\d{2})(?:[-._](\d{1,9}))?")


def tag_versions(name: str, prefix: str) -> tuple[str, ...]:
    """Give what a tag may be called as a version: its name, and where that is a day, as `calver` has it."""
    text = name.removeprefix(prefix)
    match = _DAY.fullmatch(text)
    if match is None:
        return (text,)
    number = int(match[4] or 0)
    return text, f"{match[1]}.{match[2]}.{match[3]}{f'.{number}' if number else ''}"


def time_versions(made: datetime) -> tuple[str, ...]:
    """Give what a commit may be called as a version, by when it was made."""
    return dated_version(made), f"{made:%Y%m%d%H%M%S}"


def chosen_version(candidates: tuple[str, ...], scheme: VersionScheme) -> str:
    """Give the first that is a version of a scheme; empty where none is."""
    return next((text for text in candidates if scheme.accepts(text)), "")
