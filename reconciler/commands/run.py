"""Keeps the fleet current by itself: the controller."""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from reconciler.assembly import stop_on_signals
from reconciler.controller.health import Health
from reconciler.controller.loop import Outside, Signals, keep_current
from reconciler.controller.service import Asked, ServiceManager
from reconciler.controller.spec_source import FromFile, FromGit

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from reconciler.controller.mirror import GitOptions
    from reconciler.controller.spec_source import SpecSource
    from reconciler.desk import Desk


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run: `forks` clients at a time, and the spec of a file, or from `git`.

    `listen` is the host and the port at which health and metrics are answered; None: nowhere.
    """

    forks: int = 20
    git: GitOptions | None = None
    listen: tuple[str, int] | None = None


def run(desk: Desk, options: RunOptions) -> int:
    """Look, decide and carry out, again and again, until a signal ends it."""
    wake = Event()
    outside = Outside(ServiceManager.of(os.environ), Health())
    source: SpecSource = FromGit(desk, options.git) if options.git else FromFile(desk)

    def warn(text: str) -> None:
        outside.manager.stopping()
        desk.terminal.note(text, "warning")

    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals(warn, wake, Asked(outside.manager.beat)))
        loaded = source.first(stop)  # one that is no good when it starts is said at once, and nothing begins
        stack.enter_context(_answering(desk, options, outside.health))
        stack.callback(outside.manager.stopping)
        keep_current(source, loaded, outside, Signals(stop, wake), forks=options.forks)
    return 0


def _answering(desk: Desk, options: RunOptions, health: Health) -> AbstractContextManager[object]:
    """Answer about health where that is wanted, and say where."""
    if options.listen is None:
        return nullcontext()
    from reconciler.controller.listening import answering

    return answering(*options.listen, health, desk.terminal.note)
