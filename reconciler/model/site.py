"""Sites as plans and statuses tell of them: which groups are worked on from where, and where nobody works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStanding:
    """A site with the groups and clients that it has, as far as they are looked at.

    `no_worker` counts the clients that weren't reached at the last look, as nobody worked at the site then.
    """

    site: str
    groups: tuple[str, ...]
    clients: int
    no_worker: int

    @property
    def down(self) -> bool:
        """True when nobody worked there at the last look, or not all the time."""
        return self.no_worker > 0
