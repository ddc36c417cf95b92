"""Work spread over threads of this process: a client is mostly waited for, and threads wait cheaply.

* At most `forks` items are under way, and one is taken only when there is room for it: a million never stand in a
  queue.
* Where this machine gives no more threads, those that there are do it.
* A run ends early when `stop` is set, when `work` or `items` raises, and when the caller closes it. Nothing new is
  begun then and what is under way is finished, so that no client is left in the middle of a change; unless the caller
  has gone, it still gets those results.
"""

from __future__ import annotations

from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from reconciler.contracts import Traits
from reconciler.errors import own_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from threading import Event
    from typing import Self

    from reconciler.contracts import Context

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Works on clients with threads of this process. There is nothing to set.",
    "properties": {},
    "additionalProperties": False,
}


class Threads:
    """The `Executor` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        del options, context

    def run(
        self, work: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, forks: int, stop: Event
    ) -> Iterator[tuple[ItemT, ResultT]]:
        """Call `work` for each item, at most `forks` at a time, and give results as they come.

        Raises:
            ValueError: `forks` is below 1.
            BaseException: the first thing that `work` or `items` raised, after the results of what was under way.
        """
        if forks < 1:
            raise ValueError(f"forks must be at least 1, not {forks}")
        return _run(work, iter(items), forks, stop)


def _run(
    work: Callable[[ItemT], ResultT], items: Iterator[ItemT], forks: int, stop: Event
) -> Iterator[tuple[ItemT, ResultT]]:
    waiting, under_way = _until_stopped(items, stop), 0
    first_error: BaseException | None = None
    with _Crew(work, forks) as crew:
        while True:
            try:
                for item in islice(waiting, max(crew.most - under_way, 0)):
                    crew.begin(item, under_way)
                    under_way += 1
                    if under_way >= crew.most:
                        break
            except Exception as error:  # noqa: BLE001 - raised below, when nothing is under way any more
                first_error, waiting = first_error or error, iter(())
            if not under_way:
                break
            item, result, failure = crew.done.get()
            under_way -= 1
            if failure is None:
                yield item, cast("ResultT", result)
            else:
                first_error, waiting = first_error or failure, iter(())
    if first_error is not None:
        raise first_error


class _Crew(Generic[ItemT, ResultT]):
    """Threads that work on items, started as they are needed; a machine that gives no more of them makes it smaller."""

    def __init__(self, work: Callable[[ItemT], ResultT], most: int) -> None:
        self.most = most
        self.done: SimpleQueue[tuple[ItemT, ResultT | None, BaseException | None]] = SimpleQueue()
        self._work = work
        self._orders: SimpleQueue[ItemT | _End] = SimpleQueue()
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for what is under way."""
        for _thread in self._threads:
            self._orders.put(_END)
        for thread in self._threads:
            thread.join()

    def begin(self, item: ItemT, busy: int) -> None:
        """Have an item worked on; so many threads are `busy`.

        Raises:
            LimitError: this machine gives no thread at all.
        """
        if busy >= len(self._threads):
            thread = Thread(target=self._serve, name=f"updoser_{len(self._threads)}")
            try:
                thread.start()
                self._threads.append(thread)
            except (RuntimeError, MemoryError) as error:
                if not self._threads:
                    raise own_limit(error) or error from error
                self.most = len(self._threads)
        self._orders.put(item)

    def _serve(self) -> None:
        while not isinstance(item := self._orders.get(), _End):
            try:
                self.done.put((item, self._work(item), None))
            except BaseException as error:  # noqa: BLE001 - the caller raises it
                self.done.put((item, None, error))


class _End:
    """The order that ends a thread."""


_END = _End()


def _until_stopped(items: Iterator[ItemT], stop: Event) -> Iterator[ItemT]:
    while not stop.is_set():
        try:
            yield next(items)
        except StopIteration:
            return


TRAITS = Traits()
PLUGIN = Threads
