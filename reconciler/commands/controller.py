"""What people want of the controller: that it changes nothing for a while, looks now, lives, or tells a test."""

from __future__ import annotations

from dataclasses import dataclass
from socket import gethostname
from typing import TYPE_CHECKING

from reconciler.assembly import at_work, new_id
from reconciler.controller.leading import why_not_well
from reconciler.desk import user_name
from reconciler.errors import NotifierError, OutcomeError, UsageError
from reconciler.hints import suggestion
from reconciler.model.controller import Pause, status_text
from reconciler.model.notice import Condition, Message, Notice
from reconciler.model.report import JournalEntry
from reconciler.present.request_form import request_document
from reconciler.present.views import REQUESTS

if TYPE_CHECKING:
    from datetime import timedelta

    from reconciler.desk import Desk
    from reconciler.workspace import Workspace

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
        paused = Pause(who=options.who or user_name(), reason=options.reason[:_MOST], since=now, until=until)
        work.state.pause_controller(paused)
        work.state.ask_controller()
        _remember(work, "controller pause", f"paused by {paused.who}: {paused.reason}")
    ends = "until `updoser controller resume`" if until is None else f"until {until:%Y-%m-%d %H:%M} UTC"
    desk.terminal.note(f"paused {ends}: the controller looks, and changes nothing")
    return 0


def resume(desk: Desk) -> int:
    """Let the controller change clients again."""
    with at_work(desk) as work:
        paused = work.state.paused()
        work.state.pause_controller(None)
        work.state.ask_controller()
        if paused:
            _remember(work, "controller resume", f"the pause of {paused.who} was ended: {paused.reason}")
    desk.terminal.note("the controller goes on" if paused else "the controller wasn't paused")
    return 0


def _remember(work: Workspace, command: str, says: str) -> None:
    """Write down who did something, and what."""
    entry = JournalEntry(outcome="remark", message=says, at=work.means.clock())
    work.state.record_command(work.means.run_id, command, work.means.origin, [entry])


def look(desk: Desk) -> int:
    """Have the controller look now."""
    with at_work(desk) as work:
        work.state.ask_controller()
        runs = work.state.has_leader()
    desk.terminal.note("asked: the controller looks within seconds" if runs else "asked; no controller runs now")
    return 0


def requests(desk: Desk, last: int, *, waiting: bool = False) -> int:
    """List what people asked of the controller, the newest first; `waiting`: only what nothing came of yet."""
    with at_work(desk, reads=True) as work:
        found = work.state.requests(limit=last, waiting=waiting)
    desk.terminal.show([request_document(one) for one in found], desk.form, REQUESTS)
    return 0


def check(desk: Desk) -> int:
    """Say whether the controller of the state lives and keeps its times.

    Raises:
        OutcomeError: it doesn't.
    """
    with at_work(desk) as work:
        said, stop = work.state.controller(), work.means.stop
        if why := why_not_well(work.state, work.spec.controller.interval, work.means.clock, stop):
            raise OutcomeError(why, hint="look at what it said last, and start it: `updoser run`")
    desk.terminal.note(f"{said.who} leads: {status_text(said)}" if said else "a controller leads, and begins")
    return 0


def test_notify(desk: Desk, name: str) -> int:
    """Send a test message by a notifier; nothing of it is remembered."""
    with at_work(desk, reads=True) as work:
        notifiers = {notifier.name: notifier for notifier in work.spec.notify}
        if name not in notifiers:
            hint = suggestion(name, notifiers) or "`notify` of the file lists none"
            raise UsageError(f"there is no notifier {name}", hint=hint)
        spec, now = notifiers[name], work.means.clock()
        condition = Condition("rollout_halted", "test", "info", "messages of this server arrive here")
        message = Message(new_id(now), now, gethostname(), (Notice("test", condition, now),))
        try:
            work.plugins.notifier(spec).send(message, timeout=spec.timeout.total_seconds())
        except NotifierError as error:
            raise NotifierError(f"notifier {name}: {error.message}", hint=error.hint) from error
    desk.terminal.note(f"notifier {name} took a test message")
    return 0
