"""What sources offer, and what publishers took back, as they say it: nothing of it is believed yet."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime  # noqa: TC003 - what reads the state asks for the types of fields
from typing import TYPE_CHECKING

from reconciler.model.release import ANY_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.delta import Incremental
    from reconciler.model.release import Release, ReleaseKey


@dataclass(frozen=True, slots=True)
class Offer:
    """A release that a source can serve."""

    source: str
    release: Release


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A release that sources offer and that isn't taken from them: `says` tells which it is, and why."""

    component: str
    version: str
    says: str


def about_source(name: str, says: str) -> str:
    """Give a sentence about a source as plans have it among others; `is_about_source` knows it again."""
    return f"source {name}: {says}"


def is_about_source(sentence: str, name: str) -> bool:
    """Say whether a sentence of a plan is about a source: plan files keep sentences only."""
    return sentence.startswith(about_source(name, ""))


@dataclass(frozen=True, slots=True, order=True)
class Withdrawal:
    """A version that its publisher took back, with the reason: nobody should run it."""

    component: str
    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unfetched:
    """A release that a source has, and of which nobody knows the bytes before they are fetched.

    `size` is how many there are, where that is known, and `why` says why it wasn't fetched while the source was read.
    """

    component: str
    version: str
    platform: str = ANY_PLATFORM
    size: int | None = None
    released: datetime | None = None
    why: str = ""

    @property
    def key(self) -> ReleaseKey:
        """What names the release."""
        return self.component, self.version, self.platform


@dataclass(frozen=True, slots=True)
class Fetchable:
    """An unfetched release, and the source that fetches it.

    `signed` says whether that proves what it fetches by signatures; None: of some releases it does.
    """

    source: str
    unfetched: Unfetched
    signed: bool | None = None


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What a source answered when it was asked: its releases and incrementals, and what it held back and why.

    `problems` are sentences that name the release and its path; a bad release never hides the good ones. `harmless` are
    those of them that keep nothing from being as declared: a release that isn't whole yet, a name that no catalog has.
    `accepted` says why a source is believed although it shouldn't be any more. `cooldown_until` is the time before
    which the source doesn't want to be asked again. `others` are names of components that the source has and wasn't
    asked for: who keeps it may have mistyped one. `expires` is when its signatures expire, by the role that they are
    of. `unfetched` are releases that a plan can only have fetched: see `contracts.Fetching`.

    What is remembered of a source beside that: `signed_up_to` is the highest version of each component that it ever
    offered with a good signature, and `signed_until` when it last offered any such.
    """

    source: str
    releases: tuple[Release, ...] = ()
    _: KW_ONLY
    problems: tuple[str, ...] = ()
    error: str = ""
    incrementals: tuple[Incremental, ...] = ()
    withdrawn: tuple[Withdrawal, ...] = ()
    accepted: str = ""
    cooldown_until: datetime | None = None
    others: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    expires: Mapping[str, datetime] = field(default_factory=dict)
    unfetched: tuple[Unfetched, ...] = ()
    signed_up_to: Mapping[str, str] = field(default_factory=dict)
    signed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class OfferedIncremental:
    """An incremental that a source can serve."""

    source: str
    incremental: Incremental
