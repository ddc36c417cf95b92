"""Writes down what became of clients, many at a time: a transaction costs as much as twenty clients.

A result is written AT_ONCE others later at the latest, or SPAN seconds, and always before the recap; only then is it
told. Where answers are acknowledged to workers that outlive this process, they are written down before that.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from reconciler.execute.results import profile_after, words
from reconciler.execute.settings import has_after
from reconciler.model.deploy import WELL
from reconciler.model.report import LOST, JournalEntry
from reconciler.model.settings import is_setting
from reconciler.model.work_events import ClientFinished
from reconciler.storage.outcomes import ClientOutcome as Written
from reconciler.storage.state import Observation

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.execute.deploy import Task
    from reconciler.execute.results import Result
    from reconciler.model.client import Profile
    from reconciler.model.events import Level
    from reconciler.model.plan import Basis, Plan
    from reconciler.model.report import ClientOutcome
    from reconciler.storage.outcomes import Fared
    from reconciler.workspace import Workspace

AT_ONCE = 20
SPAN = 0.2
Answered = tuple[str, int, str]
_REMEMBERED = 1000


class _Finished(NamedTuple):
    result: Result
    outcome: ClientOutcome
    answered: Answered | None
    fared: tuple[Fared, ...]


class Collector:
    """Collects what is to be written down. Used from one thread."""

    def __init__(self, plan: Plan, work: Workspace, step: int) -> None:
        """Begin with nothing; `step` is the number of this step of the run."""
        self._step = step
        self._work = work
        self._basis: Basis = plan.basis
        self._profiles: dict[tuple[object, ...], tuple[Profile | None, Task]] = {}
        self._entries: list[JournalEntry] = []
        self._finished: list[_Finished] = []
        self._since = 0.0

    def note(self, entry: JournalEntry) -> None:
        """Have an entry of the journal written down."""
        self._begin()
        self._entries.append(entry)

    def add(
        self, result: Result, outcome: ClientOutcome, answered: Answered | None = None, fared: tuple[Fared, ...] = ()
    ) -> None:
        """Have what became of a client written down, and then told.

        `answered` is its batch, attempt and name, where the batch stands in the state; `fared` is what rollouts
        remember of it.
        """
        self._begin()
        self._finished.append(_Finished(result, outcome, answered, fared))

    def _begin(self) -> None:
        if not (self._entries or self._finished):
            self._since = monotonic()

    def settle(self, now: bool) -> None:
        """Write down what is due, or with `now` all there is.

        Raises:
            StateError: the state can't be written.
        """
        if not (self._entries or self._finished):
            return
        waiting = max(len(self._finished), len(self._entries) // AT_ONCE)
        if now or waiting >= AT_ONCE or monotonic() - self._since >= SPAN:
            self._write()

    def _write(self) -> None:
        finished, entries = self._finished, self._entries
        self._finished, self._entries = [], []
        work = self._work
        now = work.means.clock()

        counted: dict[int, _Finished] = {}

        def write() -> None:
            # once it counted it does: who asks again may be told of what was written in a transaction without an answer
            counted.update((id(entry), entry) for entry in self._counted(finished))
            work.state.record_outcomes(
                work.means.run_id,
                [self._written(entry, now) for entry in counted.values()],
                work.spec.quarantine,
                step=self._step,
                others=entries,
            )

        work.state.whole(write, lasts=False, repeatable=not entries)
        for entry in counted.values():
            self._tell(entry.result, entry.outcome)

    def _counted(self, finished: list[_Finished]) -> list[_Finished]:
        """Leave out what is written down already, or is of a batch that isn't in force there any more."""
        answered = {entry.answered for entry in finished if entry.answered is not None}
        if not answered:
            return finished
        counts = self._work.state.record_answered(self._work.means.run_id, answered)
        return [
            entry for entry in finished if entry.answered is None or (entry.answered[0], entry.answered[2]) in counts
        ]

    def _written(self, finished: _Finished, now: datetime) -> Written:
        """Give what is to be written of a client: what became of it, and what it has now."""
        result, outcome = finished.result, finished.outcome
        client, steps = result.task.client, result.steps
        entries = [
            JournalEntry(
                client=client.name,
                group=client.group,
                component=done.outcome.component,
                from_version=done.from_version,
                to_version=steps[done.outcome.component].to_version,
                outcome=done.outcome.status,
                message=done.outcome.message,
                bytes=done.sent,
                at=now,
                reason=done.outcome.reason if done.outcome.status == "failed" else "",
            )
            for done in result.done
        ]
        if result.error is not None:
            entries.append(
                JournalEntry(
                    client=client.name,
                    group=client.group,
                    outcome="failed",
                    message=result.error.brief,
                    at=now,
                    reason=result.error.reason,
                )
            )
        counts = outcome == "failed" or outcome in WELL
        return Written(
            client=client.name,
            entries=tuple(entries),
            observation=self._seen(result, now),
            failed=outcome == "failed" if counts and self._work.spec.quarantine.after_failures else None,
            fared=finished.fared,
        )

    def _seen(self, result: Result, now: datetime) -> Observation | None:
        """Give what is known of a client now; None where nothing was known before."""
        task, error = result.task, result.error.brief if result.error else ""
        profile = None if error else self._profile_after(result)
        if profile is None and not error:
            return None
        settings = None if task.settings is None else has_after(task.settings, result.outcomes, result.steps)
        return Observation(client=task.client.name, profile=profile, free=None, error=error, at=now, settings=settings)

    def _profile_after(self, result: Result) -> Profile | None:
        """Give what a client has after its task: that of one which had the same, and fared alike, is the same."""
        task = result.task
        if task.profile is None:
            return None
        told = None if result.all_as_wanted else tuple(one for one in result.outcomes if not is_setting(one.component))
        key = (task.profile.fingerprint, id(task.steps), id(task.early), told)
        known = self._profiles.get(key)
        if known is None:
            profile = profile_after(result, self._basis, self._work.spec.client_keep)
            if len(self._profiles) >= _REMEMBERED:
                self._profiles.clear()
            known = self._profiles[key] = (profile, task)  # the task holds the steps, so that no others have their id
        return known[0]

    def _tell(self, result: Result, outcome: ClientOutcome) -> None:
        level: Level = "error" if outcome in LOST else "info"
        name = result.task.client.name
        self._work.means.emit(
            ClientFinished(
                f"{name}: {words(result, outcome)}",
                level=level,
                client=name,
                outcome=outcome,
                bytes=result.bytes_sent,
            )
        )
