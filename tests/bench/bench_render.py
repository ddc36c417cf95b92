"""What it costs to show a plan of 1,000,000 clients, in each format, beside `json.dumps` of the same document.

The fleet is that of bench_plan.py, as it would be observed: 200 distinct profiles, and 20,000. The plan is made once;
so are the status of the fleet and its document. CPU is measured, in this process: medians of RUNS.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench_plan import NOW, RUNS
from bench_status import make_inputs
from measure import table

from reconciler.model.report import Traffic
from reconciler.planner.planner import make_plan
from reconciler.planner.ruler import Allowance
from reconciler.planner.status import make_status
from reconciler.present.document import plan_document, status_document
from reconciler.present.render import FORMATS, render
from reconciler.present.views import PLAN, STATUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.present.render import View


def cpu_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Do something RUNS times; give the median of the CPU in seconds, and what came of it."""
    taken = []
    for _ in range(RUNS):
        begun = time.process_time()
        made = work()
        taken.append(time.process_time() - begun)
    return median(taken), made


def measured(fleet: str, document: Any, view: View) -> list[tuple[str, ...]]:
    """Render a document in each format that it has, and give rows of the table."""
    floor, text = cpu_of(lambda: json.dumps(document))
    rows: list[tuple[str, ...]] = [
        (fleet, "floor: json.dumps", f"{len(text):,}".replace(",", " "), f"{floor:.3f} s", "1.0")
    ]
    for form, how in FORMATS.items():
        if how.shows(view):
            cost, text = cpu_of(lambda form=form: render(document, form, view))  # type: ignore[misc]
            size = f"{len(text):,}".replace(",", " ")
            rows.append((fleet, form, size, f"{cost:.3f} s", f"{cost / floor:.1f}"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=1_000_000)
    largest = parser.parse_args().largest
    rows: list[tuple[str, ...]] = []
    for profiles in (200, 20_000):
        with tempfile.TemporaryDirectory() as temporary:
            wanted, observed = make_inputs(Path(temporary), largest, profiles)
        fleet = f"{profiles:,} profiles".replace(",", " ")
        plan = make_plan(wanted, observed, plan_id="p", now=NOW)
        cost, document = cpu_of(lambda plan=plan: plan_document(plan))  # type: ignore[misc]
        rows.append((f"{fleet}, plan", "its document", "", f"{cost:.3f} s", ""))
        rows += measured(f"{fleet}, plan", document, PLAN)
        del plan, document
        made = make_status(wanted, observed, Allowance(NOW), as_of=NOW, sources=(), traffic=Traffic())
        rows += measured(f"{fleet}, status", status_document(made), STATUS)
    table(("shown", "format", "characters", "CPU", "of the floor"), rows)


if __name__ == "__main__":
    main()
