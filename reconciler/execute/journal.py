"""Writes down what became of a change of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.report import JournalEntry

if TYPE_CHECKING:
    from reconciler.model.change import Download, Fetch, Generate, Merge, Prune, Publish
    from reconciler.workspace import Workspace


def note(
    change: Download | Fetch | Merge | Generate | Prune | Publish,
    work: Workspace,
    failure: str,
    *,
    done: str = "",
    size: int = 0,
) -> None:
    """Note a change of the store or the repository: why it failed, or what was done; `size` is in bytes.

    Raises:
        StateError: the journal can't be written.
    """
    entry = JournalEntry(
        component=change.component,
        from_version=change.previous,
        to_version=change.to,
        outcome="failed" if failure else "changed",
        message=failure or done,
        bytes=size,
        at=work.means.clock(),
    )
    work.state.journal(work.means.run_id, [entry])
