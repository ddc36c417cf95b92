"""What a server's answer is, told from its head and its first bytes: which part of a file, or no such file at all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = 40
"""Bytes of an answer that are shown."""
_RANGE = re.compile(r"bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(?:(\d{1,18})|\*)", re.IGNORECASE)
MAX_VALIDATOR = 200
_DIGITS = 18
_ENDINGS = {
    "gzip": (".gz", ".tgz"),
    "x-gzip": (".gz", ".tgz"),
    "bzip2": (".bz2",),
    "x-bzip2": (".bz2",),
    "xz": (".xz", ".txz"),
    "x-xz": (".xz", ".txz"),
    "zstd": (".zst",),
    "br": (".br",),
    "compress": (".z",),
    "x-compress": (".z",),
}
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PK\3\4")


def part_of(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Give where the part in an answer begins, and the size of the whole file, as far as `Content-Range` says so."""
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    return (int(match[1]) if match[1] else None), (int(match[3]) if match[3] else None)


def packed(headers: Mapping[str, str], url: str) -> str:
    """Say how a server packed what it should send as it is; empty where it didn't.

    `Content-Encoding: gzip` of a name such as `rules.tar.gz` is the file as it is: web servers tell it by the name.
    """
    for name, plain in (("Content-Encoding", {"identity"}), ("Transfer-Encoding", {"identity", "chunked"})):
        said = headers.get(name, "").strip()
        if not said or said.lower() in plain:
            continue
        if name == "Content-Encoding" and urlsplit(url).path.lower().endswith(_ENDINGS.get(said.lower(), ())):
            continue
        return f"the server packed it{_stated(headers, name)}, though it was asked not to"
    return ""


def validator_of(headers: Mapping[str, str]) -> str:
    """Give what tells a file from others that were or will be at its place; empty where the server says too little.

    It is made of the ETag, the time of the last change and the size of the whole file; the size isn't enough.
    """
    found = identity_of(headers)
    return found if found.strip("|0123456789") else ""


def identity_of(headers: Mapping[str, str]) -> str:
    """Give what a validator is made of, as far as the server says it."""
    _start, size = part_of(headers)
    if size is None and "Content-Range" not in headers:
        length = headers.get("Content-Length", "").strip()
        size = int(length) if length.isdecimal() and len(length) <= _DIGITS else None
    parts = [headers.get("ETag", ""), headers.get("Last-Modified", "")]
    known = [" ".join(part.split())[:MAX_VALIDATOR].replace("|", "") for part in parts]
    return "|".join([*known, "" if size is None else str(size)])


def was_changed(one: str, other: str) -> bool:
    """Say whether two validators are of different files, by what both say."""
    if not one or not other:
        return False
    return any(was and now and was != now for was, now in zip(one.split("|"), other.split("|"), strict=False))


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
