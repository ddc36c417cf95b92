"""What is left on clients to go back to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WayBack:
    """How the clients that a release goes to could go back to what they have now.

    Of its `clients` so many `kept` the former version, so that nothing needs to be sent; `first` have none before it.
    """

    component: str
    version: str
    clients: int
    kept: int
    first: int
