"""The metrics of the console: what the controller counted last, and what it does as the state has it now.

They are those of `updoser run` but for what only a process counts that runs: who scrapes both sees each fact twice, by
`instance`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.present.document import controller_entry
from reconciler.present.fields import time_text
from reconciler.present.prometheus import Sample, controller_samples, exposition, fleet_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.console.frame import Console


def metrics_of(console: Console) -> str:
    """Give all metrics.

    Raises:
        StateError: the state can't be read.
    """
    return exposition(_samples(console))


def _samples(console: Console) -> Iterator[Sample]:
    yield Sample("updoser_build_info", 1, {"version": __version__})
    found, (said, progress, _waiting) = console.state.snapshot("status"), console.state.standing()
    if found is not None:
        yield from fleet_samples({"groups": (), **found.document})
    if said is not None:
        yield from controller_samples(controller_entry(said), time_text(console.clock()))
    if progress is not None and console.state.busy():  # somebody's command, too
        yield Sample("updoser_run_in_progress_since_timestamp_seconds", int(progress.started.timestamp()))
