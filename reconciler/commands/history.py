"""Shows what runs did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.errors import UsageError
from reconciler.present.document import run_document
from reconciler.present.render import render
from reconciler.present.views import HISTORY, RUN

if TYPE_CHECKING:
    from reconciler.desk import Desk


def history(desk: Desk, run_id: str, last: int) -> int:
    """Show the last runs, or what one run did."""
    with at_work(desk) as work:
        if not run_id:
            desk.terminal.result(render([run_document(run) for run in work.state.runs(last)], desk.form, HISTORY))
            return 0
        run = work.state.run(run_id)
        if run is None:
            raise UsageError(f"there is no run {run_id}", hint="`updoser history` lists them")
        desk.terminal.result(render(run_document(run, work.state.journal_of(run_id)), desk.form, RUN))
    return 0
