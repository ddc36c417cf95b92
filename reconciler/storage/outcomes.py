"""What became of many clients, written down in one transaction: a transaction costs as much as twenty clients.

An outcome counts once for a run, a client, a component and a step of the run. A worker may answer twice, and a message
come again after it was taken: what is in the journal already isn't written again, and nothing follows from it. So the
journal has each outcome once, and whoever adds outcomes up takes those that `record_outcomes` gives back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, case, delete, null, select

from reconciler.model.deploy import RELEASE
from reconciler.storage.base import Part, seconds
from reconciler.storage.bulk import ForEach, any_of_given, lock_rows
from reconciler.storage.cells import Float, Integer, String
from reconciler.storage.database import insert_many, upsert
from reconciler.storage.observations import write_observations
from reconciler.storage.runs import JOURNAL_COLUMNS, journal_rows
from reconciler.storage.tables import CLIENTS, JOURNAL, ROLLOUT_FAILURES, RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection
    from sqlalchemy.sql.dml import UpdateBase

    from reconciler.model.deploy import Fault
    from reconciler.model.report import JournalEntry
    from reconciler.model.rollout import Key
    from reconciler.model.spec import Quarantine
    from reconciler.storage.bulk import Given
    from reconciler.storage.observations import Observation

_NEVER = 2**31 - 1


class Fared(NamedTuple):
    """How a client fared in a rollout: `message` is what it failed of; empty: it is well, or is again."""

    rollout: Key
    message: str = ""
    fault: Fault = RELEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOutcome:
    """What became of one client in a step of a run; `entries` are all of this client.

    `failed` says whether it failed as a whole, as `count_outcome` counts it (None: it doesn't count). `fared` has a
    rollout only where something is to be remembered, or forgotten.
    """

    client: str
    entries: tuple[JournalEntry, ...]
    observation: Observation | None = None
    failed: bool | None = None
    fared: tuple[Fared, ...] = ()


class Outcomes(Part):
    """Outcomes of runs."""

    repeatable = frozenset({"record_fared"})

    def record_outcomes(
        self,
        run_id: str,
        outcomes: Sequence[ClientOutcome],
        quarantine: Quarantine,
        *,
        step: int = 0,
        others: Sequence[JournalEntry] = (),
    ) -> list[ClientOutcome]:
        """Write down what became of clients; gives those that count, each with the entries that are new.

        Of a client of which the step has something already, only what is new is written; it doesn't count as failed,
        or well, once more. `others` are entries that stand for no client's outcome: they are written as they are.

        Raises:
            StateError: the state can't be written; then nothing of it is.
        """
        with self._write() as connection:
            known = _known(connection, run_id, step, [outcome.client for outcome in outcomes])
            new, fresh = [], set[str]()
            for outcome in outcomes:
                there = known.setdefault(outcome.client, set())
                entries = outcome.entries
                if there:
                    entries = tuple(entry for entry in entries if entry.component not in there)
                if not entries:
                    continue
                if not there:
                    fresh.add(outcome.client)
                there.update([entry.component for entry in entries])
                new.append(
                    outcome
                    if entries is outcome.entries or len(entries) == len(outcome.entries)
                    else replace(outcome, entries=entries)
                )
            written = [*others, *(entry for outcome in new for entry in outcome.entries)]
            insert_many(connection, JOURNAL, JOURNAL_COLUMNS, journal_rows(run_id, written, step))
            lock_rows(connection, CLIENTS.c.name, sorted({outcome.client for outcome in new}))
            write_observations(connection, [one.observation for one in new if one.observation], locked=True)
            self._count_failed(connection, [one for one in new if one.client in fresh], quarantine)
            _remember(connection, [(one.client, fared) for one in new for fared in one.fared])
        return new

    def record_fared(self, fared: Sequence[tuple[str, Fared]]) -> None:
        """Remember how clients fared in rollouts, apart from a run's outcomes; of a client the last word counts.

        Raises:
            StateError: the state can't be written; then nothing of it is.
        """
        with self._write() as connection:
            _remember(connection, fared)

    def _count_failed(self, connection: Connection, outcomes: Sequence[ClientOutcome], quarantine: Quarantine) -> None:
        until = seconds(self._clock() + quarantine.span)
        full = quarantine.after_failures or _NEVER
        _FAILED.run(connection, [(one.client, full, until) for one in outcomes if one.failed])
        _WELL.run(connection, [(one.client,) for one in outcomes if one.failed is False])


def _known(connection: Connection, run_id: str, step: int, names: Sequence[str]) -> dict[str, set[str]]:
    """Give the components of which a step has outcomes already, by client.

    Until the transaction ends nobody else writes outcomes of this run. What was written since the run began is looked
    at by client, and is little.
    """
    began = connection.scalar(_BEGAN, {"run": run_id})
    found: dict[str, set[str]] = {}
    for client, component, run, of_step in connection.execute(_SINCE, {"names": list(names), "began": began or 0}):
        if (run, of_step) == (run_id, step):
            found.setdefault(client, set()).add(component)
    return found


_BEGAN = select(RUNS.c.journal_from).where(RUNS.c.run_id == bindparam("run")).with_for_update()
_SINCE = select(JOURNAL.c.client, JOURNAL.c.component, JOURNAL.c.run_id, JOURNAL.c.step).where(
    any_of_given(JOURNAL.c.client, "names"), JOURNAL.c.id > bindparam("began")
)


def _remember(connection: Connection, found: Sequence[tuple[str, Fared]]) -> None:
    """Remember who failed in which rollout, and forget of whom that isn't true any more."""
    names = ("component", "version", "grp")
    last = {(client, *fared.rollout): fared for client, fared in found}
    rows = [
        {**dict(zip(names, rollout, strict=True)), "client": client, "message": fared.message, "fault": fared.fault}
        for (client, *rollout), fared in last.items()
        if fared.message
    ]
    upsert(connection, ROLLOUT_FAILURES, rows, ("message", "fault"))
    _RECOVERED.run(connection, [key for key, fared in last.items() if not fared.message])


def _failed(given: Given) -> UpdateBase:
    """Count a failure; as many in a row as are `full` put a client into quarantine."""
    entry = CLIENTS.c
    full = case((entry.failures + 1 >= given("full"), given("until")), else_=entry.quarantined)
    return CLIENTS.update().where(entry.name == given("name")).values(failures=entry.failures + 1, quarantined=full)


def _well(given: Given) -> UpdateBase:
    """Forget failures; nearly always there are none, and nothing is written."""
    entry = CLIENTS.c
    ill = (entry.failures != 0) | entry.quarantined.is_not(None)
    return CLIENTS.update().where(entry.name == given("name"), ill).values(failures=0, quarantined=null())


def _recovered(given: Given) -> UpdateBase:
    failure = ROLLOUT_FAILURES.c
    same = (failure[name] == given(f"of_{name}") for name in ("client", "component", "version", "grp"))
    return delete(ROLLOUT_FAILURES).where(*same)


_FAILED = ForEach({"name": String(), "full": Integer(), "until": Float()}, _failed)
_WELL = ForEach({"name": String()}, _well)
_RECOVERED = ForEach({f"of_{name}": String() for name in ("client", "component", "version", "grp")}, _recovered)
