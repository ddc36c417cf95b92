"""Where a release comes from and what is said of it, for those who review a plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the forms of documents ask for the types of fields

from reconciler.model.release import SignedBy  # noqa: TC001 - the same

MAX_NOTES = 4000
"""Characters of its notes that a plan has of a release."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """A release that a plan brings into the store or to clients, and what is known of it.

    `released` is when its source says that it came out, `notes` what it says is new, cut at MAX_NOTES characters;
    `signed_by` says whose signatures vouch for it. None: nobody does.
    """

    component: str
    version: str
    platform: str
    digest: str
    released: datetime | None = None
    notes: str = ""
    signed_by: SignedBy | None = None
