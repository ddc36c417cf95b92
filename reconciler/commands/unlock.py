"""Takes away a lock that was left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.assembly import at_work

if TYPE_CHECKING:
    from reconciler.desk import Desk


def unlock(desk: Desk, lock_id: str, *, force: bool) -> int:
    """Take away the lock of a run that is gone, or with `force` of any."""
    with at_work(desk) as work:
        work.state.unlock(lock_id, force=force)
    desk.terminal.note(f"unlocked: {lock_id}")
    return 0
