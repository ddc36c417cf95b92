"""Shows a plan file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.present.document import plan_document
from reconciler.present.reading import read_plan
from reconciler.present.render import render
from reconciler.present.views import PLAN
from reconciler.storage.planfile import read_plan_file

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.present.terminal import Terminal


def show(terminal: Terminal, file: Path, form: str, *, names: bool) -> int:
    """Show a plan file."""
    terminal.form = form
    document = plan_document(read_plan(read_plan_file(file).document))
    terminal.result(render(document, form, PLAN, names=names))
    return 0
