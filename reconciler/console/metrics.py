"""The metrics of the console: what is counted of the fleet, as the state has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.present.prometheus import Sample, exposition

if TYPE_CHECKING:
    from reconciler.console.frame import Console


def metrics_of(_console: Console) -> str:
    """Give all metrics."""
    return exposition([Sample("updoser_build_info", 1, {"version": __version__})])
