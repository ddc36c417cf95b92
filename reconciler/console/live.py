"""What changes while somebody looks: one look at the state each second for all who listen, and none while nobody does.

* Who listens is told which documents changed, not what is in them: the page fetches itself.
* How far a run is goes along, as that changes each second.
* Each event has the digest of what was seen as its id. Who comes back with another one is told at once that it changed.
* Who doesn't read, signs out, or listens when the process ends, is let go.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.concurrency import run_in_threadpool

from reconciler.errors import UpdoserError
from reconciler.present.document import controller_entry, progress_entry
from reconciler.present.fields import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from reconciler.storage.state import State

_LOG = logging.getLogger("updoser.console")
AT_ONCE = 64
"""How many may listen."""
WAITING = 32
"""Events that may wait for somebody who reads slowly."""


class Look(NamedTuple):
    """What a look at the state found: a mark of each part, that changes with it, and how far a run is (null: none)."""

    marks: Mapping[str, str]
    silent: Mapping[str, float]
    progress: str

    @property
    def id(self) -> str:
        """Equal for equal looks, in every process."""
        seen = json.dumps([self.marks, self.silent], sort_keys=True)
        return hashlib.sha256(seen.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def look_at(state: State) -> Look:
    """Look at what a console shows."""
    with state.looking():
        snapshots, asked = state.snapshot_marks(), state.requests_mark()
        said, progress, _waiting = state.standing()
    marks = {
        **{kind: digest for kind, (_at, digest) in snapshots.items()},
        "controller": json.dumps(controller_entry(said) if said else None),
        "requests": asked,
        "run": progress.run_id if progress else "",
    }
    made = {kind: at for kind, (at, _digest) in snapshots.items()}
    return Look(marks, made, json.dumps(progress_entry(progress) if progress else None))


def events_between(before: Look, now: Look) -> Iterator[str]:
    """Give the events that tell what is new."""
    if before.progress != now.progress:
        yield event("progress", now.progress)
    if before.id != now.id:
        names = sorted(before.marks.keys() | now.marks.keys())
        parts = [name for name in names if before.marks.get(name) != now.marks.get(name)]
        yield event("changed", json.dumps({"parts": parts}), now.id)


def event(name: str, data: str, id_: str = "") -> str:
    """Write an event; `data` is JSON in one line."""
    return f"event: {name}\n" + (f"id: {id_}\n" if id_ else "") + f"data: {data}\n\n"


@dataclass(eq=False, slots=True)
class Listener:
    """Somebody who listens: what waits for them, and whether that is over."""

    waiting: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(WAITING))
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, text: str) -> None:
        """Have an event wait; who has too many of them doesn't read, and is let go."""
        try:
            self.waiting.put_nowait(text)
        except asyncio.QueueFull:
            self.over.set()


class Live:
    """Tells all who listen what is new. Its methods belong to the loop that serves, but for `end`."""

    def __init__(
        self, look: Callable[[], Look], clock: Callable[[], datetime], *, every: float = 1.0, at_once: int = AT_ONCE
    ) -> None:
        """Look at nothing yet."""
        self._look = look
        self._clock = clock
        self._every = every
        self._at_once = at_once
        self._listeners: set[Listener] = set()
        self._seen: Look | None = None
        self._looking: asyncio.Task[None] | None = None
        self._joining = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.ended = False

    async def join(self, last: str = "") -> Listener | None:
        """Have somebody listen, who saw the event `last` before; None: too many do, or it is over."""
        if self.ended or len(self._listeners) >= self._at_once:
            return None
        self._loop = asyncio.get_running_loop()
        async with self._joining:
            seen = self._seen if self._seen is not None else await run_in_threadpool(self._look)
            listener = Listener()  # from here on nothing waits: what is new after `seen` is told by who looks
            if self._looking is None:
                self._seen, self._looking = seen, asyncio.create_task(self._go_on_looking())
            self._listeners.add(listener)
        listener.tell(event("hello", json.dumps({"now": time_text(self._clock())}), seen.id))
        listener.tell(event("progress", seen.progress))
        if last and last != seen.id:
            listener.tell(event("changed", json.dumps({"parts": sorted(seen.marks)}), seen.id))
        if self.ended:
            listener.over.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """Have somebody listen no more."""
        self._listeners.discard(listener)
        if not self._listeners and self._looking is not None:
            self._looking.cancel()
            self._looking = self._seen = None

    def end(self) -> None:
        """Let all go who listen, and take nobody in any more; any thread may call it."""
        self.ended = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                self._loop.call_soon_threadsafe(self._let_go)

    def _let_go(self) -> None:
        for listener in self._listeners:
            listener.over.set()

    async def _go_on_looking(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(self._every)
            try:
                now = await run_in_threadpool(self._look)
            except UpdoserError as error:  # the pages say so, too
                if error.message != told:
                    _LOG.warning("events: %s", error.message)
                told = error.message
                continue
            told, before, self._seen = "", self._seen, now
            for text in events_between(before, now) if before else ():
                for listener in self._listeners:
                    listener.tell(text)


def live_of(app: Any) -> Live:
    """Give what tells of changes in an application."""
    found: Live = app.state.live
    return found
