"""What comes of a look at a repository: releases, and sentences on what isn't one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.model.offer import Unfetched

from .versions import chosen_version, time_versions

if TYPE_CHECKING:
    from reconciler.model.release import Component, Release

    from .history import Point
    from .mirror import OverError


class Told:
    """See above."""

    def __init__(self) -> None:
        self.releases: list[Release] = []
        self.unfetched: list[Unfetched] = []
        self.problems: list[str] = []
        self.harmless: list[str] = []

    def tell(self, subject: str, error: SourceError) -> None:
        """Say of something what is the matter with it, and what to do."""
        hint = f" ({error.hint})" if error.hint else ""
        self.problems.append(f"{subject}: {error.message}{hint}")


def unfetched(component: Component, version: str, error: OverError) -> Unfetched:
    """Give a release that was too much to be fetched."""
    return Unfetched(component.id, version, size=None, released=None, why=error.message)


def dated(point: Point, component: Component) -> str:
    """Give the version of a commit.

    Raises:
        SourceError: the component's versions are no times.
    """
    version = chosen_version(time_versions(point.made), component.scheme)
    if not version:
        raise SourceError(
            f"commits have times for versions, which the scheme {component.scheme.name} can't have",
            hint="give the component the scheme calver, or integer",
        )
    return version
