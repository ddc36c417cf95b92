"""What brings a schema of version 11 to version 12: what many machines need that work on one state.

Here, and not with the earlier steps, because it will be read beside them and is longer than most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.storage.migrations import ByDialect

STATEMENTS: tuple[str | ByDialect, ...] = (
    "ALTER TABLE identity ADD COLUMN fence BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE lock ADD COLUMN beat BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE lock ADD COLUMN beat_at FLOAT",
    "ALTER TABLE lock ADD COLUMN fence BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE lease ADD COLUMN beat_at FLOAT",
)
