"""Shows what runs did: the last ones, one of them, or what happened to a client, a component or a version."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.errors import UsageError
from reconciler.hints import did_you_mean
from reconciler.model.report import Asked
from reconciler.present.document import outcomes_document, run_document
from reconciler.present.views import HISTORY, OUTCOMES, RUN

if TYPE_CHECKING:
    from reconciler.desk import Desk
    from reconciler.workspace import Workspace

__all__ = ["Asked", "history"]


def history(desk: Desk, asked: Asked, last: int, since: timedelta | datetime | None = None) -> int:
    """Show the last runs, what one run did, or the last outcomes of those that are asked for."""
    with at_work(desk, reads=True) as work:
        begin = work.means.clock() - since if isinstance(since, timedelta) else since
        asked = replace(asked, since=begin)
        if asked.run_id and work.state.run(asked.run_id) is None:
            raise UsageError(f"there is no run {asked.run_id}", hint="`updoser history` lists them")
        if asked.entries:
            found = work.state.outcomes(asked, last)
            near = _near(work, asked) if not found else ""
            known = [
                one
                for one in work.state.protections().values()
                if one.component == asked.component and asked.version in {"", one.version}
            ]
            desk.terminal.show(outcomes_document(asked, found, known), desk.form, OUTCOMES)
            if near:
                desk.terminal.note(near)
        elif asked.run_id:
            run = work.state.run(asked.run_id)
            assert run is not None
            entries = [entry for entry in work.state.journal_of(asked.run_id) if begin is None or entry.at >= begin]
            desk.terminal.show(run_document(run, entries), desk.form, RUN)
        else:
            documents = [run_document(run) for run in work.state.runs(last, begin)]
            desk.terminal.show(documents, desk.form, HISTORY)
    return 0


def _near(work: Workspace, asked: Asked) -> str:
    """Give what was probably meant, where nothing is found: history also knows clients and components that are gone."""
    names = (name for name, _group in work.state.members())
    for word, known in ((asked.client, names), (asked.component, iter(work.spec.components))):
        found = did_you_mean(word, known) if word else ""
        if found:
            return found
    return ""
