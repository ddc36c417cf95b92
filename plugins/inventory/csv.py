"""Clients in a CSV file with a header line, as spreadsheets and asset databases write it.

The columns `name` (needed), `address`, `port`, `user`, `labels` and `groups` have their meaning, in any order; labels
and groups are separated by `;`. Every other column becomes a var, with `_` for what isn't a letter, digit or `_` in its
name. Empty cells say nothing. UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import InventoryError
from reconciler.model.client import InventoryEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.contracts import Context

COLUMNS = ("name", "address", "port", "user", "labels", "groups")
MAX_BYTES = 512 * 2**20
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Clients in a CSV file with a header line.",
    "properties": {
        "path": {
            "type": "string",
            "minLength": 1,
            "description": "The file; a relative path starts from the folder of the spec.",
            "examples": ["clients/branch.csv"],
        },
        "delimiter": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1,
            "default": ",",
            "description": "What separates the cells of a line.",
            "examples": [";"],
        },
        "columns": {
            "type": "object",
            "description": "What the columns are called in this file, where they have other names.",
            "properties": {
                column: {"type": "string", "minLength": 1, "description": f"The name of the column for `{column}`."}
                for column in COLUMNS
            },
            "additionalProperties": False,
            "examples": [{"name": "Hostname", "address": "IP Address"}],
        },
    },
    "required": ["path"],
    "additionalProperties": False,
}


class Csv:
    """The `Inventory` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._name: str = options["path"]
        self._path: Path = context.base / self._name
        self._delimiter: str = options.get("delimiter", ",")
        names: Mapping[str, str] = options.get("columns", {})
        self._meaning = {names.get(column, column): column for column in COLUMNS}

    def clients(self) -> Iterator[InventoryEntry]:
        """List the clients of the file, in its order.

        Raises:
            InventoryError: the file can't be read, or a line is malformed; the message says `file:line`.
        """
        rows = csv.reader(io.StringIO(self._text(), newline=""), delimiter=self._delimiter, strict=True)
        try:
            yield from self._entries(rows)
        except csv.Error as error:
            raise InventoryError(f"{self._name}:{rows.line_num}: {error}") from error

    def _entries(self, rows: Any) -> Iterator[InventoryEntry]:
        header = next(rows, None)
        if not header:
            raise InventoryError(f"{self._name}:1: there is no header line", hint="the first line names the columns")
        places, others = self._places(header)
        name_at = places["name"]
        lines: dict[str, int] = {}
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise InventoryError(
                    f"{self._name}:{rows.line_num}: {len(row)} cells, and the header names {len(header)} columns",
                    hint=f"cells that hold {self._delimiter!r} belong in double quotes",
                )
            name = row[name_at].strip()
            if not name:
                raise InventoryError(f"{self._name}:{rows.line_num}: the client has no name")
            first = lines.setdefault(name, rows.line_num)
            if first != rows.line_num:
                raise InventoryError(
                    f"{self._name}:{rows.line_num}: the client {name!r} stands in line {first} already"
                )
            yield self._entry(name, row, places, others, rows.line_num)

    def _entry(
        self, name: str, row: Sequence[str], places: Mapping[str, int], others: Sequence[tuple[str, int]], line: int
    ) -> InventoryEntry:
        def cell(column: str) -> str:
            place = places.get(column)
            return "" if place is None else row[place].strip()

        port = cell("port")
        if port and not (port.isascii() and port.isdigit() and len(port) <= 5):
            raise InventoryError(f"{self._name}:{line}: the port {port!r} isn't a number")
        return InventoryEntry(
            name,
            cell("address"),
            int(port) if port else None,
            cell("user") or None,
            _words(cell("labels")),
            _words(cell("groups")),
            {var: row[place] for var, place in others if row[place]},
        )

    def _places(self, header: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, int]]]:
        """Give where each known column stands, and the vars that the others become."""
        titles = [title.strip() for title in header]
        for title in titles:
            if not title or titles.count(title) > 1:
                what = f"the column {title!r} stands twice" if title else "a column has no name"
                raise InventoryError(f"{self._name}:1: {what}")
        places = {self._meaning[title]: place for place, title in enumerate(titles) if title in self._meaning}
        missing = [title for title, column in self._meaning.items() if column not in places and _needed(title, column)]
        if missing:
            raise InventoryError(
                f"{self._name}:1: there is no column {missing[0]!r} (there is: {', '.join(titles)[:200]})",
                hint="`columns` of the inventory says what the columns are called; `delimiter` what separates them",
            )
        others = [
            (_NOT_IN_NAMES.sub("_", title), place) for place, title in enumerate(titles) if title not in self._meaning
        ]
        vars_ = [var for var, _ in others]
        twins = [var for var in vars_ if vars_.count(var) > 1]
        if twins:
            raise InventoryError(f"{self._name}:1: several columns would become the var {twins[0]!r}; rename one")
        return places, others

    def _text(self) -> str:
        try:
            with self._path.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise InventoryError(f"{self._name} can't be read: {(error.strerror or str(error)).lower()}") from error
        if len(content) > MAX_BYTES:
            raise InventoryError(f"{self._name} is larger than {MAX_BYTES} bytes")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise InventoryError(f"{self._name}:{line}: it isn't UTF-8", hint="save the file as UTF-8") from error


def _needed(title: str, column: str) -> bool:
    """Say whether a column must be there: `name`, and those that `columns` gave a name."""
    return column == "name" or title != column


def _words(cell: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in cell.split(";") if word.strip())


TRAITS = Traits()
PLUGIN = Csv
