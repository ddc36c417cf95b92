"""What the spec may say: as a JSON Schema for editors, and a key at a time for people."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from reconciler.desk import Desk, read_spec
from reconciler.errors import SpecError
from reconciler.present.explained_text import explained_text
from reconciler.present.render import View
from reconciler.specfile.explained import explain
from reconciler.specfile.starter import schema_text, write_schema
from reconciler.specfile.whole_schema import Whole, whole_schema

if TYPE_CHECKING:
    from pathlib import Path

_WIDEST = 100
"""Columns: longer lines are tiring to read."""


def schema(desk: Desk, output: Path | None) -> int:
    """Give the schema of the spec with the options of all plugins, on stdout or in a file."""
    whole = _whole(desk)
    if output is None:
        desk.terminal.result(schema_text(whole.schema))
    else:
        write_schema(output, whole.schema)
        desk.terminal.note(f"{output} is written; the first line of the spec leads editors to it:")
        desk.terminal.note(f"# yaml-language-server: $schema={output}")
    return 0


def explain_key(desk: Desk, path: str) -> int:
    """Say what a key of the spec means; without one, list those of the top."""
    document = explain(_whole(desk).schema, path)
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    desk.terminal.show(document, desk.form, View(explained_text), width=width)
    return 0


def _whole(desk: Desk) -> Whole:
    """Give the schema, with plugins of the spec's folders; a spec that is being written needn't be valid for that."""
    folders: tuple[Path, ...] = ()
    if os.path.lexists(desk.file):
        try:
            folders = read_spec(desk).spec.plugin_folders
        except SpecError as error:
            place = error.problems[0]
            desk.terminal.note(
                f"{place.file}:{place.line}: {place.message}; plugins of its folders are left out", "warning"
            )
    whole = whole_schema(folders)
    for note in whole.notes:
        desk.terminal.note(f"warning: {note}", "warning")
    return whole
