"""The store whose content several machines share: in a place elsewhere, with the manifests in the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.content.local import LocalContent
from reconciler.content.shared import SharedContent
from reconciler.storage.manifests import FolderManifests, StateManifests
from reconciler.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta
    from pathlib import Path
    from threading import Event

    from reconciler.contracts import ContentPlace
    from reconciler.storage.state import State


def shared_store(
    root: Path,
    state: State,
    place: Callable[[], ContentPlace | None],
    *,
    cache: int,
    grace: timedelta,
    stop: Event | None = None,
) -> Store:
    """Give the store of a folder whose content lies in a place, which is asked for when it is first needed."""
    local = LocalContent(root)
    content = SharedContent(place, local, cache, records=ShelfRecords(state, grace), stop=stop)
    before = FolderManifests(root, local.arrivals)
    return Store(root, content=content, manifests=StateManifests(state, root, before))


class ShelfRecords:
    """The `Records` of shared content, in the state. Who uses a place is known by its lineage there."""

    def __init__(self, state: State, grace: timedelta) -> None:
        """Take the state, and how long content stays that nobody needs any more."""
        self._state = state
        self._grace = grace

    def user(self) -> str:
        """See `Records.user`."""
        return self._state.identity().lineage

    def damaged(self, found: Collection[str], mended: Collection[str]) -> Collection[str]:
        """See `Records.damaged`."""
        self._state.mark_damaged(found)
        known = self._state.damaged_content()
        self._state.unmark("damaged", known & set(mended))
        return known - set(mended)

    def leave(self, digests: Collection[str]) -> None:
        """See `Records.leave`."""
        self._state.leave_content(digests)

    def left(self) -> Collection[str]:
        """See `Records.left`."""
        return self._state.left_content(self._grace)

    def gone(self, digests: Collection[str]) -> None:
        """See `Records.gone`."""
        self._state.unmark("left", digests)
