"""JSON pointers, as RFC 6901 has them: `/assets/0/digest` leads to one value in a document."""

from __future__ import annotations

import re
from typing import Any

POINTER_PATTERN = "^(/([^~]|~[01])*)?$"
"""What a pointer looks like; the empty one is the document itself."""
_FORM = re.compile(r"(?:/(?:[^~]|~[01])*)?", re.DOTALL)
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def value_at(document: Any, pointer: str) -> Any:
    """Give what a pointer leads to in a document.

    Raises:
        KeyError: nothing is there; the error has the part of the pointer up to what is missing.
        ValueError: it is no pointer.
    """
    if not _FORM.fullmatch(pointer):
        raise ValueError(f"{pointer!r} is no JSON pointer, such as /tag_name")
    value, way = document, ""
    for part in pointer.split("/")[1:]:
        way += f"/{part}"
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and _INDEX.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            raise KeyError(way)
    return value
