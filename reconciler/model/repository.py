"""The repository that is published for other sites, as it is now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.delta import Incremental
    from reconciler.model.offer import Withdrawal
    from reconciler.model.release import Release


@dataclass(frozen=True, slots=True)
class Published:
    """What the repository offers. `ready`: it has a root that enough keys signed, so that something can be published.

    `renew` says why its signatures should be renewed though nothing else changes; empty: they needn't.
    """

    ready: bool = False
    releases: tuple[Release, ...] = ()
    incrementals: tuple[Incremental, ...] = ()
    withdrawn: tuple[Withdrawal, ...] = ()
    renew: str = ""


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """One role of a repository: the version of its metadata (0: none yet), and when its signatures expire."""

    role: str
    version: int
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class StagedRoot:
    """A root that waits for signatures: where it lies, its version, and whose signatures it has and lacks.

    Keys are named by their id. `needed` is how many more are wanted of `missing`; 0 when it can be taken into use.
    """

    path: str
    version: int
    signed: tuple[str, ...]
    missing: tuple[str, ...]
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorStatus:
    """A repository in another layout, for whoever keeps it. `problem`: why nothing is published in it."""

    name: str
    layout: str
    path: str
    policy: str
    releases: tuple[Release, ...]
    renew: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    """A repository for whoever keeps it."""

    path: str
    policy: str
    roles: tuple[RoleStatus, ...]
    published: Published
    staged: StagedRoot | None = None
    rotate: str = ""
    """Why the root should be rotated; empty: it needn't."""
