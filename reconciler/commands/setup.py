"""Starts a spec, checks it, and lists what there is to use in it: nothing that it names is opened."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.desk import Desk, read_spec
from reconciler.errors import SpecError
from reconciler.plugin_loader import KINDS, available
from reconciler.present.declared import PLUGINS, VALID, invalid_document, plugins_document, valid_document
from reconciler.present.render import View, render
from reconciler.specfile.load import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.client import InventoryEntry
    from reconciler.present.terminal import Terminal


def validate(desk: Desk, effective: str | None) -> int:
    """Check the spec; with `effective`, show what is in force at a path, and where each value comes from."""
    try:
        loaded = read_spec(desk)
    except SpecError as error:
        if desk.form == "junit":  # its readers look for what failed there
            desk.terminal.result(render(invalid_document(desk.file, error.problems), desk.form, VALID))
        raise
    for note in loaded.notes:
        desk.terminal.note(note)
    if effective is not None:
        from reconciler.specfile.effective import effective_text, explain

        desk.terminal.show(explain(loaded, effective), desk.form, View(effective_text))
    else:
        desk.terminal.show(valid_document(loaded.spec), desk.form, VALID)
    return 0


def init(terminal: Terminal, file: Path, catalog: str | None, inventory: str | None) -> int:
    """Write a starter spec that is valid as it stands."""
    from reconciler.specfile.starter import schema_beside, starter, written_new
    from reconciler.specfile.whole_schema import SCHEMA_FILE

    entries: Sequence[InventoryEntry] = ()
    if inventory:
        from reconciler.assembly import list_program

        entries = list_program(shlex.split(inventory), Path.cwd())
    with written_new(file, starter(file=file, catalog=catalog, inventory=inventory, entries=entries)):
        load(file, check_secrets=False)
    if schema_beside(file):
        terminal.note(f"{SCHEMA_FILE} beside it lets editors complete and explain its keys")
    terminal.result(f"{file} is written. Edit it, then see what it would do: updoser plan -f {file}\n")
    return 0


def plugins(desk: Desk) -> int:
    """List the plugins that there are, and where they come from."""
    folders = read_spec(desk).spec.plugin_folders if os.path.lexists(desk.file) else ()
    found = [(kind, plugin.name, plugin.origin) for kind in KINDS for plugin in available(kind, folders)]
    desk.terminal.show(plugins_document(found), desk.form, PLUGINS)
    return 0
