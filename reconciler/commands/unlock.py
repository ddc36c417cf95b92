"""Takes away a lock that was left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.model.report import JournalEntry

if TYPE_CHECKING:
    from reconciler.desk import Desk


def unlock(desk: Desk, lock_id: str, *, force: bool) -> int:
    """Take away the lock of a run that is gone, or with `force` of any."""
    with at_work(desk) as work:
        work.state.unlock(lock_id, force=force)
        said = f"the lock {lock_id} was taken away{' by force' if force else ''}"
        entry = JournalEntry(outcome="remark", message=said, at=work.means.clock())
        work.state.record_command(work.means.run_id, "unlock", work.means.origin, [entry])
    desk.terminal.note(f"unlocked: {lock_id}")
    return 0
