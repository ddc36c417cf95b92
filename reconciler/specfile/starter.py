"""The file that `updoser init` writes: commented, valid as it stands, filled for the user's fleet where it is known.

Its first line tells editors of a schema beside it, which is written too: a path into this machine's packages would be
wrong for everybody else who has the file.
"""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reconciler.errors import SpecError, UpdoserError, UsageError
from reconciler.files import write_whole
from reconciler.hints import suggestion
from reconciler.paths import is_file
from reconciler.specfile.catalogs import bundled_catalogs, catalog_path, component_list, read_catalog
from reconciler.specfile.whole_schema import SCHEMA_FILE, editor_schema, whole_schema
from reconciler.specfile.yamltext import written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.model.client import InventoryEntry

DEFAULT_CATALOG = "officescan"
_SHOWN_GROUPS = 12


def starter(*, file: Path, catalog: str | None, inventory: str | None, entries: Sequence[InventoryEntry]) -> str:
    """Give the text of a starter file for `file`; `entries` are what the `inventory` program lists.

    Raises:
        UsageError: there is no such catalog.
        SpecError: the catalog is invalid.
    """
    name = catalog or DEFAULT_CATALOG
    return "\n".join(
        [
            f"# yaml-language-server: $schema={SCHEMA_FILE}",
            "#",
            "# What the fleet should run. See what an apply would do: updoser plan; and do it: updoser apply.",
            "version: 1",
            f"catalogs: [{written(name)}]",
            "",
            "server:",
            "  store: .updoser/store                  # the server's own copy of releases",
            "  state: sqlite:///.updoser/state.db     # what the fleet has, and what runs did",
            "",
            "sources:                                 # where releases come from: updoser release add … --to upstream",
            "  - {name: drop, type: directory, path: upstream}",
            "",
            *_components(name, file.absolute().parent),
            "",
            "# duplication: {incrementals: 14, keep_fulls: 7}   # how far back incrementals reach; fulls that stay",
            "",
            "defaults:",
            "  install_root: /var/lib/updoser         # on clients; it and all above it belong to root or to the user",
            "  transport:",
            "    type: ssh",
            "    user: updoser",
            "    known_hosts: known_hosts             # ssh-keyscan HOST >> known_hosts, and compare the fingerprints",
            "    # keys: [{file: keys/updoser}]       # left out: those of the agent and of ~/.ssh, as ssh does",
            "    # become: {method: sudo}             # the quickstart shows the line for sudoers",
            "",
            "groups:",
            *_group(inventory, entries),
            "",
            "# hold:",
            '#   - {clients: "db-*", until: "2027-01-31", reason: "year-end freeze"}',
            "",
        ]
    )


def schema_beside(file: Path) -> bool:
    """Write the schema that the file's first line names, where it isn't there yet; say whether it was written.

    Raises:
        UpdoserError: it can't be written.
    """
    path = file.absolute().parent / SCHEMA_FILE
    if os.path.lexists(path):
        return False
    write_schema(path, whole_schema().schema)
    return True


def write_schema(path: Path, schema: Mapping[str, Any]) -> None:
    """Write a schema for editors.

    Raises:
        UpdoserError: it can't be written.
    """
    try:
        write_whole(path, schema_text(schema).encode())
    except (OSError, ValueError) as error:
        raise UpdoserError(f"{path} can't be written: {getattr(error, 'strerror', None) or error}") from error


def schema_text(schema: Mapping[str, Any]) -> str:
    """Give a schema as the text of its file."""
    return json.dumps(editor_schema(schema), indent=2, ensure_ascii=False) + "\n"


@contextmanager
def written_new(file: Path, text: str) -> Iterator[None]:
    """Write a file that isn't there yet; when the block fails, it is taken away again.

    Raises:
        UsageError: there is one already.
        UpdoserError: it can't be written.
    """
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise UsageError(f"{file} is there already", hint="name another with -f, or move it away") from None
    except OSError as error:
        raise UpdoserError(f"{file} can't be written: {error.strerror}") from error
    try:
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise UpdoserError(f"{file} can't be written: {error.strerror}") from error
        yield
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _components(catalog: str, base: Path) -> list[str]:
    path = catalog_path(catalog, base)
    if not is_file(path):
        raise UsageError(f"there is no catalog {catalog}", hint=suggestion(catalog, bundled_catalogs(), "bundled are"))
    problems: list[Problem] = []
    components = component_list(read_catalog(path, problems), problems)
    if problems:
        raise SpecError(problems)
    lines = [
        "components:                              # what isn't listed isn't managed",
        '  "*": {version: latest}                 # all of the catalog; pin one by its version:',
    ]
    return lines + [
        f'  # {component.id}: {{version: "{component.scheme.example}"}}    # {component.name}'
        for component in components
    ]


def _group(inventory: str | None, entries: Sequence[InventoryEntry]) -> list[str]:
    if inventory is None:
        return [
            "  office:",
            "    # scan_method: conventional          # or smart: which components of the catalog clients get",
            "    clients:",
            "      - {name: pc-1, address: 192.0.2.11, labels: [canary]}",
            "      # - {name: pc-2, address: 192.0.2.12}",
        ]
    run = f"[{', '.join(map(written, shlex.split(inventory)))}]"
    counts = Counter(group for entry in entries for group in entry.groups)
    found = [
        f"    # {count} of {len(entries)} clients are in {group}" for group, count in counts.most_common(_SHOWN_GROUPS)
    ]
    return [
        "  fleet:",
        f"    # the program lists {len(entries)} clients; `select` narrows them, groups are its words:",
        *found,
        "    inventory:",
        "      type: command",
        f"      run: {run}",
        '      # select: "all:!decom"',
        "      labels_from: [groups]",
        f"      min_clients: {max(1, len(entries) // 2)}",
        '      max_shrink: "10%"',
    ]
