"""Judges what people asked in the console: each request is carried out or refused, and says what came of it.

* The rules are those of the commands (`steering`): what can't be done at a terminal can't be done in the console.
* Who asks must have the role that it takes, and say why where others are going to wonder.
* Who approves, resumes or aborts saw a rollout. Where it isn't as they saw it any more, they have to look again. Only a
  pause holds whatever moved meanwhile: it must work in a hurry, and can be taken back.
* With four eyes, an approval waits until another person approves the same as it was seen. Both stand in the history.
* What is older than `LIFE` is refused: nobody expects any more that it happens.
* A request is settled in the transaction that makes true what it asks: nothing is done twice, whoever dies when.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from reconciler.controller.beside import beside
from reconciler.controller.spec_source import named_in_git
from reconciler.errors import InterruptedRunError, LeaseLostError, StateError, UpdoserError, UsageError, printable
from reconciler.formats.ci import bounded
from reconciler.model.controller import Pause, pause_digest
from reconciler.model.request import NEEDED, REASONED, SEEN
from reconciler.specfile.edit import block_version, pin_version
from reconciler.steering import Asked, Which, prospect, said_of_run, steer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from threading import Event

    from reconciler.controller.beside import Opened
    from reconciler.model.request import Request, RequestKind
    from reconciler.model.rollout import RolloutRecord, Verb
    from reconciler.steering import Steered
    from reconciler.workspace import Workspace

    Judging = Callable[[Workspace], None]

LIFE = timedelta(hours=24)
"""How long a request is good for."""
POLL = 2.0
"""Seconds between two looks at whether somebody asked something, while a round goes on."""
MAX_REASON = 500
MOVED = "it changed since you looked: look at it again, and ask again if you still want that"


class Judge:
    """Judges requests, one after the other in the order in which they were asked; may be asked from several threads."""

    def __init__(self) -> None:
        """Have nobody judge yet."""
        self._lock = Lock()

    def __call__(self, work: Workspace, *, four_eyes: bool) -> None:
        """Judge all that is open. What can't be judged now, as the fleet can't be looked at, stays open.

        Raises:
            StateError: the state can't be read or written.
            LeaseLostError: another controller leads by now.
            InterruptedRunError: it is to stop.
        """
        with self._lock:
            for request in work.state.open_requests():
                try:
                    _judge(work, request, four_eyes=four_eyes)
                except UsageError as error:
                    work.state.settle(request.id, "refused", error.message)
                except (StateError, LeaseLostError, InterruptedRunError):
                    raise
                except UpdoserError:
                    continue


def attending(judge: Judging, opened: Opened) -> AbstractContextManager[None]:
    """Judge what is asked within a block, too: a pause must not wait for the end of a run."""

    def attend(work: Workspace, _ended: Event) -> None:
        if work.state.requests_waiting():
            judge(work)

    return beside(attend, opened, POLL, "requests")


def _judge(work: Workspace, request: Request, *, four_eyes: bool) -> None:
    """Judge a request.

    Raises:
        UsageError: it is refused, and why.
        UpdoserError: the fleet can't be looked at.
    """
    now = work.means.clock()
    if now - request.at > LIFE:
        hours = int(LIFE.total_seconds() // 3600)
        raise UsageError(f"no controller came to it within {hours} hours: ask again if you still want that")
    if request.status == "waiting":
        if NEEDED[request.kind] not in request.roles:
            raise UsageError(f"{request.who} hasn't the role {NEEDED[request.kind]}")
        if request.kind in REASONED and not request.reason.strip():
            raise UsageError("there is no reason, and others are going to ask for it")
        if request.kind in SEEN and not request.seen:
            raise UsageError("it doesn't say what was seen")
    _ACTIONS[request.kind](work, request, four_eyes)


def _steer(work: Workspace, request: Request, _four_eyes: bool) -> None:
    _carry_out(work, request, who=_line(request.who), also=())


def _approve(work: Workspace, request: Request, four_eyes: bool) -> None:
    """Approve, or have it wait for a second person."""
    if not four_eyes:
        _carry_out(work, request, who=_line(request.who), also=())
        return
    same = [
        one
        for one in work.state.open_requests()
        if (one.kind, one.status, one.target, one.seen) == ("approve", "seconded", request.target, request.seen)
    ]
    if request.status == "seconded":  # it waits on; what it was about may be over
        record = work.state.rollouts().get((request.target.component, request.target.version, request.target.group))
        if record is None or record.fingerprint != request.seen:
            raise UsageError(MOVED)
        return
    mine = request.who.casefold()
    if any(one.who.casefold() == mine for one in same):
        raise UsageError(f"{request.who} approved that already; a second person has to")
    if same:
        _carry_out(work, request, who=f"{_line(same[0].who)} and {_line(request.who)}", also=same)
        return
    (one,) = prospect(work, "approve", _which(request, _line(request.who)), check=partial(_check_seen, work, request))
    if not one.told:
        raise UsageError(f"{one.before.name}: {one.says}: nothing was done")
    says = f"{one.before.name}: {_line(request.who)} approves; it waits for a second person who does"
    work.state.settle(request.id, "seconded", says)


def _carry_out(work: Workspace, request: Request, *, who: str, also: Sequence[Request]) -> None:
    """Do something with a rollout; `also` are requests that are done with this one."""

    def settle(done: Sequence[Steered]) -> None:
        (one,) = done
        if not one.told:
            raise UsageError(f"{one.before.name}: {one.says}: nothing was done")
        rest = said_of_run(work) if request.kind in {"pause", "abort"} else _when(work)
        rest += "; clients that have it go back" if request.kind == "abort" and request.target.undo else ""
        says = f"{one.record.name}: {one.says}{rest}"
        for each in (request, *also):
            work.state.settle(each.id, "done", says)

    origin = bounded({**{key: work.means.origin.get(key, "") for key in ("host", "spec_commit")}, "user": who})
    asked = Asked(origin, partial(_check_seen, work, request), settle)
    steer(work, _VERBS[request.kind], _which(request, who), undo=request.target.undo, asked=asked)


def _which(request: Request, who: str) -> Which:
    target = request.target
    return Which(target.component, target.version, target.group, who=who, reason=_line(request.reason))


def _check_seen(work: Workspace, request: Request, record: RolloutRecord) -> None:
    """Refuse what somebody decided on something else than what is there now."""
    if request.seen and request.kind != "pause" and record.fingerprint != request.seen:
        before = _done_before(work, request)
        raise UsageError(f"request {before.id} of {before.who} did that already" if before else MOVED)


def _done_before(work: Workspace, request: Request) -> Request | None:
    """Give the request that did the same, where somebody asked for it twice."""
    recent = work.state.requests(before=request.id, limit=50)
    same = (request.kind, request.target, request.seen, "done")
    return next((one for one in recent if (one.kind, one.target, one.seen, one.status) == same), None)


def _when(work: Workspace) -> str:
    """Say when what was let go on does."""
    pause = work.state.paused()
    if pause is not None:
        return f"; the controller is paused by {pause.who} ({pause.reason}), and goes on with it after that"
    if work.spec.controller.mode == "observe":
        return "; `controller.mode: observe` carries nothing out, the next `updoser apply` does"
    return "; the controller goes on with it"


def _look(work: Workspace, request: Request, _four_eyes: bool) -> None:
    work.state.settle(request.id, "done", "the controller looks now")


def _pause_controller(work: Workspace, request: Request, _four_eyes: bool) -> None:
    until, now = request.target.until, work.means.clock()
    if until is not None and until <= now:
        raise UsageError(f"its end is over already: {until:%Y-%m-%d %H:%M} UTC")
    ends = "until somebody resumes it" if until is None else f"until {until:%Y-%m-%d %H:%M} UTC"
    pause = Pause(who=_line(request.who), reason=_line(request.reason), since=now, until=until)

    def write() -> None:
        work.state.pause_controller(pause)
        work.state.settle(request.id, "done", f"paused {ends}: the controller looks, and changes nothing")

    work.state.whole(write)


def _resume_controller(work: Workspace, request: Request, _four_eyes: bool) -> None:
    def write() -> None:
        pause = work.state.paused()
        if pause is None:
            raise UsageError("the controller isn't paused")
        if request.seen and pause_digest(pause) != request.seen:
            raise UsageError(f"somebody else paused it since: {pause.who}, {pause.reason}")
        work.state.pause_controller(None)
        work.state.settle(request.id, "done", "the controller goes on")

    work.state.whole(write)


def _propose(work: Workspace, request: Request, _four_eyes: bool) -> None:
    """Say how the file would have to be changed: nobody but who keeps it changes it."""
    component, version = request.target.component, request.target.version
    (spec,) = work.managed(component)
    if not spec.component.scheme.accepts(version):
        raise UsageError(f"{version!r} is no version of {component}, such as {spec.component.scheme.example} is one")
    path = work.spec.path
    try:
        if request.kind == "block":
            edit = block_version(path, component, version, _line(request.reason))
        else:
            edit = pin_version(path, component, version)
    except UpdoserError as error:
        hint = f"\n\n{error.hint}" if error.hint else ""
        raise UsageError(f"{error.message.replace(str(path), path.name)}{hint}") from error
    name = named_in_git(path) if work.spec.commit else Path(path.name)
    if edit.before == edit.after:
        raise UsageError(f"{name} says so already")
    verb = "blocks" if request.kind == "block" else "pins"
    says = f"this change of {name} {verb} {component} {version}: nothing is done before it stands there"
    work.state.settle(request.id, "done", f"{says}\n\n{replace(edit, path=name).diff()}")


def _line(text: str) -> str:
    """Give what somebody wrote in one line, with nothing in it that could move a cursor."""
    line = " ".join(printable(text, but="\n\t").split())
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"


_VERBS: Mapping[RequestKind, Verb] = {"approve": "approve", "pause": "pause", "resume": "resume", "abort": "abort"}
_ACTIONS: Mapping[RequestKind, Callable[[Workspace, Request, bool], None]] = {
    "approve": _approve,
    "pause": _steer,
    "resume": _steer,
    "abort": _steer,
    "look": _look,
    "pause_controller": _pause_controller,
    "resume_controller": _resume_controller,
    "block": _propose,
    "pin": _propose,
}
