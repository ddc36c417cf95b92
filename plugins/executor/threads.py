"""Work spread over threads of this process: a client is mostly waited for, and threads wait cheaply.

* At most `forks` items are under way, and one is taken only when there is room for it: a million never stand in a
  queue.
* A run ends early when `stop` is set, when `work` or `items` raises, and when the caller closes it. Nothing new is
  begun then and what is under way is finished, so that no client is left in the middle of a change; unless the caller
  has gone, it still gets those results.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.contracts import Traits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from threading import Event

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
    done: SimpleQueue[tuple[ItemT, Future[ResultT]]] = SimpleQueue()
    waiting, under_way = _until_stopped(items, stop), 0
    first_error: BaseException | None = None
    with ThreadPoolExecutor(max_workers=forks, thread_name_prefix="updoser") as pool:

        def begin(item: ItemT) -> None:
            pool.submit(work, item).add_done_callback(lambda future: done.put((item, future)))

        while True:
            try:
                for item in islice(waiting, forks - under_way):
                    begin(item)
                    under_way += 1
            except Exception as error:  # noqa: BLE001 - raised below, when nothing is under way any more
                first_error = first_error or error
            if not under_way:
                break
            item, future = done.get()
            under_way -= 1
            failure = future.exception()
            if failure is None:
                yield item, future.result()
            else:
                first_error, waiting = first_error or failure, iter(())
    if first_error is not None:
        raise first_error


def _until_stopped(items: Iterator[ItemT], stop: Event) -> Iterator[ItemT]:
    while not stop.is_set():
        try:
            yield next(items)
        except StopIteration:
            return


TRAITS = Traits()
PLUGIN = Threads
