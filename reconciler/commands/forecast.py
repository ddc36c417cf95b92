"""Tells when each wave opens, and when how many clients have a release, if nothing fails."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.desk import base_spec
from reconciler.observe.observed import Sight, observe
from reconciler.planner.forecast import compare, forecast
from reconciler.planning import PlanOptions, wanted_of
from reconciler.present.forecast_text import forecast_document
from reconciler.present.views import FORECAST

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from reconciler.desk import Desk
    from reconciler.model.forecast import Forecast
    from reconciler.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ForecastOptions:
    """What to tell: of these components only, where any are named; with an apply `every` so long, or when one is due.

    `base`, a file or a git revision, is another spec for the same fleet, with which the forecast is compared.
    """

    sight: Sight
    components: tuple[str, ...] = ()
    every: timedelta | None = None
    base: str = ""


def tell(desk: Desk, options: ForecastOptions) -> int:
    """Look, and tell what becomes of the releases that are on their way."""
    with ExitStack() as stack:
        before = stack.enter_context(base_spec(desk, options.base)) if options.base else None
        work = stack.enter_context(at_work(desk, reads=not options.sight.refresh))
        work.managed(*options.components)
        now = work.means.clock()
        made, sentences, other_made = _made(work, options, now), None, None
        if before is not None:
            other = replace(work, spec=before)
            again = replace(options, sight=replace(options.sight, refresh=False), components=())
            named = set(options.components)
            base = _made(other, again, now)
            chosen = tuple(entry for entry in base.releases if not named or entry.component in named)
            other_made = replace(base, releases=chosen)
            sentences = compare(other_made, made)
    desk.terminal.show(forecast_document(made, sentences, other_made), desk.form, FORECAST)
    return 0


def _made(work: Workspace, options: ForecastOptions, now: datetime) -> Forecast:
    observed = observe(work, replace(options.sight, settings=False))
    wanted = wanted_of(work, PlanOptions(options.sight))
    return forecast(wanted, observed, now, components=options.components, every=options.every)
