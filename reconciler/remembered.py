"""What a source remembers in a small file of JSON, so that the next run needn't find it out again.

Nothing hangs on it: what can't be written is told and found out again, and so is what is damaged.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.files import write_whole
from reconciler.formats.text import read_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger
    from pathlib import Path

ValueT = TypeVar("ValueT")


def recall(file: Path, limit: int, log: Logger, read: Callable[[Any], ValueT]) -> ValueT | None:
    """Give what `read` makes of a file of at most `limit` bytes; None where there is none that it can read."""
    try:
        with file.open("rb") as stream:
            return read(read_json(stream.read(limit)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        log.warning("%s is damaged and passed over: %s", file, error)
        return None


def remember(file: Path, content: Any, log: Logger) -> None:
    """Write a file in one piece, as far as that can be done."""
    try:
        write_whole(file, json.dumps(content).encode())
    except OSError as error:
        log.warning("%s can't be written: %s", file, error)
