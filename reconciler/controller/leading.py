"""Leads, or waits until it may: the lease of the state, and the beat that keeps it."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from reconciler.errors import UpdoserError
from reconciler.model.controller import status_text
from reconciler.storage.holding import BEAT, PATIENCE, keep_beating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from reconciler.storage.lease import Lease
    from reconciler.storage.state import State


def await_lease(
    state: State,
    stop: Event,
    tell: Callable[[Lease], None],
    look: float = BEAT,
    *,
    beat: Callable[[], None] = lambda: None,
) -> Lease | None:
    """Wait until this controller leads; None when it was stopped before. `tell` is given who leads, once for each.

    `beat` is called at each look, as a sign of life.

    A leader is taken for dead when its beat didn't change for `PATIENCE` seconds by the watch of this process.

    Raises:
        StateError: the state can't be read or written.
    """
    watched, since, told = state.lease(), time.monotonic(), 0
    while not stop.is_set():
        beat()
        patient = time.monotonic() - since < PATIENCE
        taken = state.take_lease(None if patient else watched)
        if taken is not None:
            return taken
        now = state.lease()
        if now != watched:
            watched, since = now, time.monotonic()
        if now.generation != told:
            told = now.generation
            tell(now)
        stop.wait(look)
    return None


def why_not_well(
    state: State, interval: timedelta, clock: Callable[[], datetime], stop: Event, look: float = BEAT / 5
) -> str:
    """Say why the controller of a state isn't well; empty where it leads, beats, and looks when it said it would.

    A beat is waited for `PATIENCE` seconds at most. An `interval` later than it said is late.

    Raises:
        StateError: the state can't be read.
    """
    first, said = state.lease(), state.controller()
    last = f"; {said.who} was the last one: {status_text(said)}" if said else ""
    if not state.has_leader():
        return f"no controller runs on this state{last}"
    late = said is not None and said.phase == "sleeping" and said.next_at and clock() > said.next_at + interval
    if said is not None and said.next_at and late:
        return f"the controller was to look at {said.next_at:%Y-%m-%d %H:%M:%S} UTC, and didn't: {said.who}"
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up and not stop.wait(look):
        if state.lease() != first:
            return ""
    return f"the controller gave no sign of life for {PATIENCE:.0f} s: {first.who}"


@contextmanager
def beating(open_state: Callable[[], State], lease: Lease, stop: Event, lost: Event) -> Iterator[None]:
    """Keep a lease for the time of the block, and give it back; once it can't be kept, `stop` and `lost` are set.

    The thread has a state of its own: connections aren't shared.
    """
    ended = Event()
    thread = Thread(target=_beat, args=(open_state, lease, ended, stop, lost), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)


def _beat(open_state: Callable[[], State], lease: Lease, ended: Event, stop: Event, lost: Event) -> None:
    """Beat until the end. A state that can't be written for long may have given the lease to somebody else."""
    kept = False
    with suppress(UpdoserError), open_state() as state:
        kept = keep_beating(lambda: state.beat(lease.generation), ended)
        if kept:
            state.give_back_lease(lease.generation)
    if not (kept or ended.is_set()):
        lost.set()
        stop.set()
