"""What of a plan comes of a change of the spec, and what would have come anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

By = Literal["change", "no longer", "anyway"]
"""It is done for the new spec only, for the base only, or for both."""
BY: tuple[By, ...] = get_args(By)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Changes of one action that a plan has by the same reason: of the spec, or anyway.

    `component`, `version` and `group` are empty where they are about none; `clients` is 0 on the server.
    """

    by: By
    action: str
    component: str
    version: str
    group: str
    clients: int
