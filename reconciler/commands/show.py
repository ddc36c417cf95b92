"""Shows a plan file, or what differs between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.document import plan_document
from reconciler.present.plan_diff import plan_difference, plan_difference_text
from reconciler.present.policy import check_policy
from reconciler.present.reading import read_plan
from reconciler.present.render import View
from reconciler.present.views import PLAN
from reconciler.storage.planfile import read_plan_file

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.present.policy import Condition
    from reconciler.present.terminal import Terminal


def show(terminal: Terminal, file: Path, form: str, *, names: bool, policy: tuple[Condition, ...] = ()) -> int:
    """Show a plan file; a condition of the policy that it meets makes the command fail."""
    terminal.form = form
    document = _read(file)
    terminal.show(document, form, PLAN, names=names)
    check_policy(policy, document)
    return 0


def show_difference(terminal: Terminal, old: Path, new: Path, form: str) -> int:
    """Show what differs between two plan files."""
    terminal.form = form
    terminal.show(plan_difference(_read(old), _read(new)), form, View(plan_difference_text, fits=True))
    return 0


def _read(file: Path) -> dict[str, Any]:
    return plan_document(read_plan(read_plan_file(file).document))
