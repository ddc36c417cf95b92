"""Tells people what a round found: it goes to the outbox at once, and is sent while nobody waits for it.

The workspace is given with each call: while a round goes on, messages are sent by a thread with one of its own.

* A message of a notifier is sent when the one before it was. One that fails is tried again, ever later.
* What can't be delivered for `GIVEN_UP` is given up, which is told where the controller tells its trouble.
* A crash between a delivery and its being written down sends a message once more, under the same id.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.assembly import new_id
from reconciler.controller.pace import LAST_RETRY, retry_pause
from reconciler.controller.round import Told
from reconciler.errors import UpdoserError
from reconciler.model.events import Trouble
from reconciler.model.notice import RECORDED, NotifierSpec
from reconciler.model.spec import PluginConfig
from reconciler.planner.telling import messages, tell
from reconciler.workspace import Plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime
    from threading import Event

    from reconciler.contracts import Notifier
    from reconciler.model.notice import Condition, ConditionKind, Delivery
    from reconciler.model.spec import Spec
    from reconciler.storage.outbox import Waiting
    from reconciler.workspace import Workspace

GIVEN_UP = timedelta(hours=24)
MIN_ATTEMPTS = 5
"""A message that is old because nobody was here to send it is tried so often all the same."""
AT_A_TIME = 60.0
"""Seconds after which the rest waits for the next turn: a controller has more to do."""
RECORD = NotifierSpec(name=RECORDED, plugin=PluginConfig("notifier", ""), repeat=None)
"""Who knows all that there is to know, and tells nobody: `updoser status` shows it, also where nobody is told."""


class Post:
    """The notifiers of a controller; `made` gives one, and is for tests: the plugins of the spec, else.

    `count` hears of each try to deliver a message.
    """

    def __init__(
        self,
        host: str,
        made: Callable[[NotifierSpec], Notifier] | None = None,
        count: Callable[[str, Delivery], None] = lambda _notifier, _result: None,
    ) -> None:
        """Send nothing yet."""
        self._count = count
        self._host = host
        self._made = made
        self._told = Told()
        self._problems: dict[str, str] = {}
        self.due: datetime | None = None
        """When the next message may be sent; None: there is none."""

    def note(
        self, work: Workspace, spec: Spec, conditions: Iterable[Condition], judged: Collection[ConditionKind]
    ) -> None:
        """Put what is to be told of these conditions into the outbox, all of it or nothing, and remember them all.

        Raises:
            StateError: it can't be written.
        """
        state, now, found = work.state, work.means.clock(), tuple(conditions)

        def put() -> object:
            for notifier in (RECORD, *spec.notify):
                before = state.known(notifier.name)
                after, notices = tell(notifier, before, found, judged, now)
                if notices or after != before:
                    said = [] if notifier is RECORD else messages(notifier, notices, new_id(now), self._host, now)
                    state.tell(notifier.name, after, said, now)
            return state.forget_notifiers([RECORD.name, *(notifier.name for notifier in spec.notify)])

        lost = state.whole(put)
        if lost:
            work.means.emit(Trouble(f"messages of notifiers that aren't in the spec any more are dropped: {lost}"))
        self._look(work)

    def deliver(self, work: Workspace, spec: Spec, stop: Event | None = None) -> None:
        """Send what is due, for about a minute at most; none once `stop` is set.

        Raises:
            StateError: the state can't be read or written.
        """
        means = work.means
        now, until = means.clock(), time.monotonic() + AT_A_TIME
        stops = [means.stop, *([stop] if stop else [])]
        notifiers = {notifier.name: notifier for notifier in spec.notify}
        made = self._made or Plugins(spec, means).notifier
        self._problems = {name: problem for name, problem in self._problems.items() if name in notifiers}
        open_ones = set(notifiers)
        while turns := [
            one for one in work.state.first_waiting() if one.notifier in open_ones and self._is_due(one, now)
        ]:
            for waiting in turns:
                if any(one.is_set() for one in stops) or time.monotonic() > until:
                    self._look(work)
                    return
                trouble = self._send(work, notifiers[waiting.notifier], waiting, made)
                self._problems.pop(waiting.notifier, None)
                self._count(waiting.notifier, "failed" if trouble else "delivered")
                if trouble:
                    self._problems[waiting.notifier] = f"notifier {waiting.notifier}: {trouble}"
                    open_ones.discard(waiting.notifier)
        self._told.tell(work, self._problems.values())
        self._look(work)

    @staticmethod
    def _send(
        work: Workspace, notifier: NotifierSpec, waiting: Waiting, made: Callable[[NotifierSpec], Notifier]
    ) -> str:
        """Send a message; gives why it wasn't delivered."""
        state, clock = work.state, work.means.clock
        try:
            made(notifier).send(waiting.message, timeout=notifier.timeout.total_seconds())
        except UpdoserError as error:
            now, attempts = clock(), waiting.attempts + 1
            if now - waiting.message.at >= GIVEN_UP and attempts >= MIN_ATTEMPTS:
                says = f"notifier {notifier.name}: a message is given up: {waiting.message.title}"
                work.means.emit(Trouble(says, level="error"))
                state.take_out(waiting)
            else:
                state.postpone(waiting, now + retry_pause(attempts))
            return error.message
        state.take_out(waiting)
        return ""

    @staticmethod
    def _is_due(waiting: Waiting, now: datetime) -> bool:
        """Say whether a message may be sent; one that lies too far ahead was put off by a clock that was wrong."""
        return not now < waiting.due <= now + LAST_RETRY

    def _look(self, work: Workspace) -> None:
        now = work.means.clock()
        found = (now if self._is_due(one, now) else one.due for one in work.state.first_waiting())
        self.due = min(found, default=None)
