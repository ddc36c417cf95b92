"""Clients in a CSV file with a header line, as spreadsheets and asset databases write it.

The columns `name` (needed), `address`, `port`, `user`, `labels` and `groups` have their meaning, in any order; labels
and groups are separated by `;`. Every other column becomes a var, with `_` for what isn't a letter, digit or `_` in its
name. Empty cells say nothing, nor do rows and columns that have no others. UTF-8, with or without a byte order mark.

* Cells are separated by what `delimiter` says; else by what a line `sep=;` before the header says, as Excel has it;
  else by commas, or by semicolons or tabs where the header has only those.
* A column that would say which machine a client is, or as whom it is changed, is refused where nothing else in the file
  says so: as a var it would be passed over in silence. `columns` gives it its meaning.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import InventoryError
from reconciler.model.client import InventoryEntry
from reconciler.paths import read_file

from ._ansible import DECIDING, REACH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.contracts import Context

COLUMNS = ("name", "address", "port", "user", "labels", "groups")
MAX_BYTES = 512 * 2**20
_DELIMITERS = ",;\t"
_ALIASES = {
    "address": ("host", "hostname", "host_name", "fqdn", "ip", "ip_address", "ipaddress", "ipv4", "ipv6", "ssh_host"),
    "port": ("ssh_port",),
    "user": ("ssh_user", "login_user", "remote_user"),
}
"""Other names, in small letters, of the columns that say how a client is reached; those of Ansible come on top."""
MAX_HEADER = 2**16
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")
_SEPARATOR = re.compile(r"sep=([,;\t|])", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')

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
            "description": "What separates the cells of a line. Left out: what the first line tells.",
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
        self._path: Path = context.path(self._name, InventoryError)
        self._delimiter: str = options.get("delimiter", "")
        names: Mapping[str, str] = options.get("columns", {})
        self._meaning = {names.get(column, column): column for column in COLUMNS}

    def clients(self) -> Iterator[InventoryEntry]:
        """List the clients of the file, in its order.

        Raises:
            InventoryError: the file can't be read, or a line is malformed; the message says `file:line`.
        """
        text = self._text()
        first, _end, rest = text.partition("\n")
        says = _SEPARATOR.fullmatch(first.rstrip("\r"))
        skipped = 1 if says else 0
        delimiter = self._delimiter or (says[1] if says else _delimiter(text))
        rows = csv.reader(io.StringIO(rest if says else text, newline=""), delimiter=delimiter, strict=True)
        try:
            yield from self._entries(_Rows(rows, skipped), delimiter)
        except csv.Error as error:
            raise InventoryError(f"{self._name}:{rows.line_num + skipped}: {error}") from error

    def _entries(self, rows: _Rows, delimiter: str) -> Iterator[InventoryEntry]:
        header = next(rows, None)
        if not header:
            raise InventoryError(f"{self._name}:1: there is no header line", hint="the first line names the columns")
        places, others = self._places(header, rows.line)
        unnamed = [place for place, title in enumerate(header) if not title.strip()]
        lines: dict[str, int] = {}
        for row in rows:
            beyond = [cell for cell in row[len(header) :] if cell.strip()]
            if len(row) < len(header) or beyond:
                raise InventoryError(
                    f"{self._name}:{rows.line}: {len(row)} cells, and the header names {len(header)} columns",
                    hint=f"cells that hold {delimiter!r} belong in double quotes",
                )
            for place in unnamed:
                if row[place].strip():
                    raise InventoryError(f"{self._name}:{rows.line}: column {place + 1} has no name in the header")
            name = row[places["name"]].strip()
            if not name:
                raise InventoryError(f"{self._name}:{rows.line}: the client has no name")
            first = lines.setdefault(name, rows.line)
            if first != rows.line:
                raise InventoryError(f"{self._name}:{rows.line}: the client {name!r} stands in line {first} already")
            yield self._entry(name, row, places, others, rows.line)

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
            port=int(port) if port else None,
            user=cell("user") or None,
            labels=_words(cell("labels")),
            groups=_words(cell("groups")),
            vars={var: row[place] for var, place in others if row[place]},
        )

    def _places(self, header: Sequence[str], line: int) -> tuple[dict[str, int], list[tuple[str, int]]]:
        """Give where each known column stands, and the vars that the others become."""
        titles = [title.strip() for title in header]
        for title, count in Counter(titles).items():
            if title and count > 1:
                raise InventoryError(f"{self._name}:{line}: the column {title!r} stands twice")
        places = {self._meaning[title]: place for place, title in enumerate(titles) if title in self._meaning}
        missing = [title for title, column in self._meaning.items() if column not in places and _needed(title, column)]
        if missing:
            raise InventoryError(
                f"{self._name}:{line}: there is no column {missing[0]!r} (there is: {', '.join(titles)[:200]})",
                hint="`columns` of the inventory says what the columns are called; `delimiter` what separates them",
            )
        others = [
            (_NOT_IN_NAMES.sub("_", title), place)
            for place, title in enumerate(titles)
            if title and title not in self._meaning
        ]
        twins = [var for var, count in Counter(var for var, _ in others).items() if count > 1]
        if twins:
            raise InventoryError(f"{self._name}:{line}: several columns would become the var {twins[0]!r}; rename one")
        for var, place in others:
            self._check_unread(var, titles[place], places, line)
        return places, others

    def _check_unread(self, var: str, title: str, places: Mapping[str, int], line: int) -> None:
        """Refuse a column that would say how clients are reached, and would be a var."""
        word = var.lower()
        meaning = next((column for column in _ALIASES if word in (column, *_ALIASES[column], *REACH[column])), "")
        if meaning and meaning not in places:
            raise InventoryError(
                f"{self._name}:{line}: the column {title!r} would only be a var, and reads as the {meaning} of clients",
                hint=f"say so with `columns: {{{meaning}: {title}}}`, or rename the column",
            )
        if word in DECIDING and not meaning:
            raise InventoryError(
                f"{self._name}:{line}: the column {title!r} says in Ansible how a client is reached, and nothing here",
                hint="say it in the group's `transport`, and remove the column",
            )

    def _text(self) -> str:
        content = read_file(
            self._path, MAX_BYTES, lambda why: InventoryError(f"{self._name} can't be read: {why.lower()}")
        )
        if len(content) > MAX_BYTES:
            raise InventoryError(f"{self._name} is larger than {MAX_BYTES} bytes")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise InventoryError(f"{self._name}:{line}: it isn't UTF-8", hint="save the file as UTF-8") from error


class _Rows:
    """The rows of a file that say something, and the line in which the last one ended."""

    def __init__(self, rows: Any, skipped: int) -> None:
        self._rows = rows
        self._skipped = skipped

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> list[str]:
        while True:
            row: list[str] = next(self._rows)
            if any(cell.strip() for cell in row):
                return row

    @property
    def line(self) -> int:
        return int(self._rows.line_num) + self._skipped


def _delimiter(text: str) -> str:
    """Give what separates cells, by the first line that says something: a comma where it has one."""
    line = next((line for line in text[:MAX_HEADER].splitlines() if line.strip(f"{_DELIMITERS} ")), "")
    bare = _QUOTED.sub("", line)
    return next((char for char in _DELIMITERS if char in bare), ",")


def _needed(title: str, column: str) -> bool:
    """Say whether a column must be there: `name`, and those that `columns` gave a name."""
    return column == "name" or title != column


def _words(cell: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in cell.split(";") if word.strip())


TRAITS = Traits()
PLUGIN = Csv
