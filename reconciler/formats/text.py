r"""Text from outside. Not every `str` is one that can be stored, sent and shown: half a character can't.

JSON writes half a character as `\ud800`, and Python lets it pass; it breaks whatever encodes it later: the database, a
file, the terminal. NUL ends a path, an argument and a line of the protocol before its end. Readers refuse both at once.
"""

from __future__ import annotations

import json
import re
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")
_UNFIT = re.compile("[\0\ud800-\udfff]")
_MAYBE = (b"\\ud", b"\\uD")
"""What stands in each JSON with half a character in it."""


def unfit(text: str) -> str:
    """Say what a text has in it that no path, argument or file can have; empty where it has nothing of that kind."""
    found = _UNFIT.search(text)
    if not found:
        return ""
    return "a NUL character" if found[0] == "\0" else f"half a character (\\u{ord(found[0]):04x})"


def read_json(data: bytes) -> Any:
    """Read JSON that others wrote, in UTF-8 (RFC 8259), with or without a byte order mark.

    Raises:
        ValueError: it isn't JSON (then a JSONDecodeError) or no UTF-8, is nested too deeply, or has half a character in
            a text.
    """
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if any(mark in data for mark in _MAYBE):
        for text in _texts(found):
            half = _HALF.search(text)
            if half:
                raise ValueError(f"a text has half a character in it (\\u{ord(half[0]):04x})")
    return found


def read_object(content: bytes, what: str, limit: int) -> dict[str, Any]:
    """Read a JSON object that others wrote; `what` is what it is called.

    Raises:
        ValueError: it has more than `limit` bytes, or isn't one.
    """
    if len(content) > limit:
        raise ValueError(f"{what} is larger than {limit} bytes")
    try:
        data: Any = read_json(content)
    except ValueError as error:
        raise ValueError(f"{what} isn't JSON") from error
    if type(data) is not dict:
        raise ValueError(f"{what} isn't an object")
    return data


def _texts(data: Any) -> list[str]:
    waiting, found = [data], []
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            found += value
    return found
