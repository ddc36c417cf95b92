"""What a server's answer is, told from its head and its first bytes: which part of a file, or no such file at all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = 40
"""Bytes of an answer that are shown."""
_RANGE = re.compile(r"bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(?:(\d{1,18})|\*)", re.IGNORECASE)
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PK\3\4")


def part_of(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Give where the part in an answer begins, and the size of the whole file, as far as `Content-Range` says so."""
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    return (int(match[1]) if match[1] else None), (int(match[3]) if match[3] else None)


def no_json(headers: Mapping[str, str], first: bytes) -> str:
    """Say what an answer is in place of a JSON object, with its first bytes; empty where it begins like one."""
    start = first.lstrip()
    if start.startswith(b"{"):
        return ""
    if not start:
        return "the answer is empty"
    if start.startswith(_PACKED):
        what = "it is packed" + _stated(headers, "Content-Encoding")
    elif start.startswith(b"<") or _is_page(headers):
        what = "it is a page" + _stated(headers, "Content-Type")
    else:
        what = "it is no JSON" + _stated(headers, "Content-Type")
    return f"{what}, and begins with {ascii(first[:SHOWN])[1:]}"


def no_file(headers: Mapping[str, str]) -> str:
    """Say what a server called its answer in place of a file as it is; empty where it said nothing odd."""
    coding = headers.get("Content-Encoding", "").strip()
    if coding and coding.lower() != "identity":
        return f"the server packed it{_stated(headers, 'Content-Encoding')}, though it was asked not to"
    return f"the server called it a page{_stated(headers, 'Content-Type')}" if _is_page(headers) else ""


def _is_page(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Type", "").strip().lower().startswith(("text/html", "application/xhtml"))


def _stated(headers: Mapping[str, str], name: str) -> str:
    value = printable(headers.get(name, "").strip())
    return f" ({name}: {value[:SHOWN]})" if value else ""
