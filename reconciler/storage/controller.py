"""What the state remembers of the controller: what it says of itself, and what people want of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from reconciler.model.controller import ControllerReport, Pause, RunProgress
from reconciler.storage.base import Part, moment, seconds
from reconciler.storage.cells import checked
from reconciler.storage.database import upsert
from reconciler.storage.tables import CONTROLLER

if TYPE_CHECKING:
    from sqlalchemy import Connection

_NOTHING = {"id": 1, "report": "", "pause": "", "asked": 0, "progress": ""}
_TIMES = frozenset(["since", "until", "looked", "next_at", "started", "at", "verified"])


class ControllerRecords(Part):
    """The controller of the state."""

    def report_controller(self, report: ControllerReport) -> None:
        """Write down what the controller says of itself."""
        self._set(report=_written(report, ControllerReport))

    def controller(self) -> ControllerReport | None:
        """Give what the controller said of itself last; None where there never was one."""
        with self._read() as connection:
            return read_report(connection.scalar(select(CONTROLLER.c.report)))

    def pause_controller(self, pause: Pause | None) -> None:
        """Have a controller change nothing from now on; None: let it."""
        with self._write(lasts=True) as connection:
            _insert_row(connection)
            connection.execute(CONTROLLER.update().values(pause="" if pause is None else _written(pause, Pause)))
            self._announce(connection)

    def paused(self) -> Pause | None:
        """Give why a controller changes nothing now; None where it may, also as a pause has come to its end."""
        with self._read() as connection:
            return self._pause_now(connection.scalar(select(CONTROLLER.c.pause)))

    def _pause_now(self, text: str | None) -> Pause | None:
        pause = checked(_read(text, Pause)) if text else None
        over = pause is not None and pause.until is not None and pause.until <= self._clock()
        return None if over else pause

    def ask_controller(self) -> None:
        """Want the controller to look now."""
        with self._write(lasts=True, fenced=False) as connection:
            _insert_row(connection)
            connection.execute(CONTROLLER.update().values(asked=CONTROLLER.c.asked + 1))
            self._announce(connection)

    def asked(self) -> int:
        """Give how often somebody wanted a look: it differs from before once somebody does again."""
        with self._read() as connection:
            return connection.scalar(select(CONTROLLER.c.asked)) or 0

    def report_progress(self, progress: RunProgress | None) -> None:
        """Write down how far the run is that is under way; None: none is."""
        self._set(lasts=False, progress="" if progress is None else _written(progress, RunProgress))

    def progress(self) -> RunProgress | None:
        """Give how far the run is that is under way, as it was said last; None where none is."""
        with self._read() as connection:
            return read_progress(connection.scalar(select(CONTROLLER.c.progress)))

    def _set(self, *, lasts: bool = True, **columns: str) -> None:
        change = CONTROLLER.update().values(**columns)
        with self._write(lasts=lasts) as connection:
            if not connection.execute(change).rowcount:
                _insert_row(connection)
                connection.execute(change)


def read_report(text: str | None) -> ControllerReport | None:
    """Read what the controller said of itself; None where it said nothing."""
    return checked(_read(text, ControllerReport)) if text else None


def read_progress(text: str | None) -> RunProgress | None:
    """Read how far the run under way is; None where none is."""
    return checked(_read(text, RunProgress)) if text else None


def _insert_row(connection: Connection) -> None:
    upsert(connection, CONTROLLER, [_NOTHING], ())


def _written(record: ControllerReport | Pause | RunProgress, form: type[ControllerReport | Pause | RunProgress]) -> str:
    values = {name: getattr(record, name) for name in form.__dataclass_fields__}
    times = {name: seconds(value) for name, value in values.items() if name in _TIMES and value is not None}
    return json.dumps(values | times)


def _read(text: str, form: type[Any]) -> Any:
    values = json.loads(text)
    return form(**{name: moment(value) if name in _TIMES else value for name, value in values.items()})
