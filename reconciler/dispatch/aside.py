"""What is found out beside the flow, such as a check that runs here: a few threads, and results for its one thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ResultT = TypeVar("ResultT")

THREADS = 16


class Aside:
    """Does things in threads, and tells what came of it in the thread that asks."""

    def __init__(self) -> None:
        """Begin with no thread."""
        self._threads: ThreadPoolExecutor | None = None
        self._done: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.pending = 0
        """What was begun, and isn't told yet."""

    def do(self, work: Callable[[], ResultT], then: Callable[[ResultT], None]) -> None:
        """Have `work` done; `settle` calls `then` with its result."""
        self.pending += 1

        def begin() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - raised where it is settled
                raised = error
                self._done.put(lambda: _raise(raised))
            else:
                self._done.put(lambda: then(result))

        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="updoser_aside")
        try:
            self._threads.submit(begin)
        except RuntimeError:  # this machine gives no more threads: so it is done here
            begin()

    def settle(self, timeout: float) -> None:
        """Tell what is done by now; wait up to `timeout` seconds where that is nothing.

        Raises:
            BaseException: what a piece of work raised, or who is told.
        """
        while self.pending:
            try:
                done = self._done.get(timeout=timeout) if timeout > 0 else self._done.get_nowait()
            except Empty:
                return
            self.pending -= 1
            timeout = 0.0
            done()

    def close(self) -> None:
        """Wait for what is under way; nobody is told of it."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None
        self.pending = 0


def _raise(error: BaseException) -> Any:
    raise error
