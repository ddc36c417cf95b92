"""What brings a schema of version 11 to version 12: what many machines need that work on one state.

Here, and not with the earlier steps, because it will be read beside them and is longer than most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.storage.migrations import ByDialect

STATEMENTS: tuple[str | ByDialect, ...] = ()
