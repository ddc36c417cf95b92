"""What is talked about where it is decided which release each platform should run; see `desired`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from reconciler.model.change import DeployReason
    from reconciler.model.offer import Unfetched
    from reconciler.model.release import Content, Release
    from reconciler.model.spec import ComponentSpec
    from reconciler.model.version import Version


@dataclass(frozen=True, slots=True)
class Target:
    """The release that clients of a platform should run. `source` is empty when the store holds it already.

    `replaces` is the content that the store holds under this version, where the release takes its place. `unfetched`
    is set where nobody knows its bytes: the release has no files then, and is no target but one to be fetched.
    """

    spec: ComponentSpec
    version: Version
    release: Release
    source: str
    pinned: bool
    replaces: str = ""
    unfetched: Unfetched | None = None
    signed: bool | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a version is wanted by nobody: a word for the reason of changes, and a text for people."""

    word: DeployReason
    text: str


Waits = Literal["held", "deferred"]
"""How something waits: until somebody acts, or for now."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A release that would be wanted, and why it isn't: for now (`deferred`), or until somebody acts (`held`).

    `at` is when it is wanted by the time alone.
    """

    target: Target
    why: str
    kind: Waits = "deferred"
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class First:
    """A version whose rollout comes first, and the platforms of clients that go by a later one already."""

    version: Version
    passed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Halt:
    """A rollout that doesn't go on: why, and whether clients that have its version are to go back."""

    why: str
    undone: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """The time, and when each (component, version) was first seen here."""

    now: datetime
    first_seen: Mapping[tuple[str, str], datetime] = field(default_factory=dict)

    def out_at(self, release: Release) -> datetime:
        """Give when a release came out, as far as is known; what was never seen before is out since now."""
        if self.says_when(release):
            assert release.released is not None
            return release.released
        return min(self.first_seen.get((release.component, release.version), self.now), self.now)

    def says_when(self, release: Release) -> bool:
        """Say whether a release tells when it came out; nothing came out in the future."""
        return release.released is not None and release.released <= self.now


@dataclass(frozen=True, slots=True)
class Past:
    """What is remembered of bytes: what each (component, version, platform) stands for, and what versions somebody got.

    Somebody is a client that has or had the version, or another site that it was published for.
    """

    contents: Mapping[tuple[str, str, str], Content] = field(default_factory=dict)
    got: Collection[tuple[str, str]] = frozenset()
