"""Names of clients as the state remembers them, read at once: without SQLAlchemy, without a lock, and without a word.

For completion in shells only, where an answer that takes a second is none.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SQLITE = "sqlite:///"
_LAST_CHARACTER = "\U0010ffff"


def client_names(url: str, base: Path, prefix: str, most: int) -> list[str]:
    """Give clients that aren't gone and begin so; none where the state isn't a file of SQLite that can be read."""
    if not url.startswith(_SQLITE):
        return []
    file = base / url.removeprefix(_SQLITE)
    sql = "SELECT name FROM clients WHERE name >= ? AND name < ? AND gone_at IS NULL ORDER BY name LIMIT ?"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=0.2)) as state:
            return [str(name) for (name,) in state.execute(sql, (prefix, prefix + _LAST_CHARACTER, most))]
    except (sqlite3.Error, ValueError):
        return []
