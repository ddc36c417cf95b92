"""What people want of the controller: that it changes nothing for a while, or looks now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.desk import user_name
from reconciler.model.controller import Pause

if TYPE_CHECKING:
    from datetime import timedelta

    from reconciler.desk import Desk

_MOST = 500


@dataclass(frozen=True, slots=True)
class PauseOptions:
    """Why a controller is to change nothing, for how long (None: until it is resumed), and who says so."""

    reason: str
    span: timedelta | None = None
    who: str = ""


def pause(desk: Desk, options: PauseOptions) -> int:
    """Have the controller change nothing; clients under way are finished."""
    with at_work(desk) as work:
        now = work.means.clock()
        until = None if options.span is None else now + options.span
        work.state.pause_controller(
            Pause(who=options.who or user_name(), reason=options.reason[:_MOST], since=now, until=until)
        )
        work.state.ask_controller()
    ends = "until `updoser controller resume`" if until is None else f"until {until:%Y-%m-%d %H:%M} UTC"
    desk.terminal.note(f"paused {ends}: the controller looks, and changes nothing")
    return 0


def resume(desk: Desk) -> int:
    """Let the controller change clients again."""
    with at_work(desk) as work:
        paused = work.state.paused()
        work.state.pause_controller(None)
        work.state.ask_controller()
    desk.terminal.note("the controller goes on" if paused else "the controller wasn't paused")
    return 0


def look(desk: Desk) -> int:
    """Have the controller look now."""
    with at_work(desk) as work:
        work.state.ask_controller()
        runs = work.state.has_leader()
    desk.terminal.note("asked: the controller looks within seconds" if runs else "asked; no controller runs now")
    return 0
