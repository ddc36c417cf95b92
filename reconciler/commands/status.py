"""Shows how far the fleet is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.errors import OutcomeError
from reconciler.planner.thresholds import Condition, breaches
from reconciler.planning import status_of
from reconciler.present.closing import after_status
from reconciler.present.document import status_document
from reconciler.present.render import render
from reconciler.present.views import STATUS

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from reconciler.desk import Desk
    from reconciler.observe.observed import Sight


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """What counts as updated in a status, and `fail_on`, the conditions that make it fail.

    `metrics_into` is a file that gets the status as metrics, beside what is shown; with `groups` also by group.
    """

    sight: Sight
    within: int = 0
    max_age: timedelta | None = None
    fail_on: tuple[Condition, ...] = ()
    metrics_into: Path | None = None
    groups: bool = False


def status(desk: Desk, options: StatusOptions) -> int:
    """Show how far the fleet is; a condition that is met makes the command fail."""
    with at_work(desk, reads=not options.sight.refresh) as work:
        made = status_of(work, options.sight, within=options.within, max_age=options.max_age)
    document = status_document(made)
    how = {"groups": True} if desk.form == "prometheus" and options.groups else {}
    desk.terminal.show(document, desk.form, STATUS, **how)
    if options.metrics_into is not None:
        text = render(document, "prometheus", STATUS, groups=options.groups)
        desk.terminal.write_whole("--metrics-into", options.metrics_into, text)
    met = breaches(options.fail_on, made.components)
    if met:
        raise OutcomeError(f"--fail-on: {'; '.join(met)}")
    desk.terminal.hint(after_status(document, spec=desk.options))
    return 0
