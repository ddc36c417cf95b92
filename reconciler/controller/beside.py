"""Does something again and again while a round goes on, by a thread of its own.

It has a workspace of its own, too: connections aren't shared.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from reconciler.errors import InterruptedRunError, LeaseLostError, UpdoserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from reconciler.workspace import Workspace

    Deed = Callable[[Workspace, Event], None]
    Opened = Callable[[], AbstractContextManager[Workspace]]


@contextmanager
def beside(deed: Deed, opened: Opened, every: float, name: str) -> Iterator[None]:
    """Have a deed done each so many seconds within the block, with a workspace and the event of its end."""
    ended = Event()
    thread = Thread(target=_go_on, args=(deed, opened, ended, every), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _go_on(deed: Deed, opened: Opened, ended: Event, every: float) -> None:
    """Do it until the end. What fails is tried again, and fails at the end of the round, too, where it is said."""
    while not ended.wait(every):
        try:
            with opened() as work:
                while not ended.is_set():
                    deed(work, ended)
                    work.state.await_news(ended, every)
        except (LeaseLostError, InterruptedRunError):
            return
        except UpdoserError:
            continue
