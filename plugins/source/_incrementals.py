"""Reads `incremental.json`, which strangers write: how the files of release TO come from those of release FROM.

schema/release.schema.json has its form. Each file of TO has its size and digest, the file of FROM that it comes from
(`base`; left out: of the same name), and the `delta` that turns that into it (left out: it is the same).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from reconciler.model.delta import CODEC_NAME, Incremental, Kept, Patch, incremental_problem
from reconciler.model.release import ANY_PLATFORM, SHA256, ReleaseFile, content_digest, file_name_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_MAJOR = "1"
UNPATCHED = "kept"
"""What stands for the codec where no file has a delta."""
MAX_BYTES = 4 * 2**20
MAX_FILES = 10_000
MAX_SIZE = 16 * 2**30
_HEAD = {"format_version", "component", "from", "to", "files"}
_FILE = {"name", "size", "sha256"}
_DELTA = {"codec", "size", "sha256"}
_END = {"version", "digest"}


def parse_incremental(content: bytes) -> Incremental:
    """Read the document; sizes and digests are promises that the caller holds against what is there.

    Raises:
        ValueError: it isn't such a document; the message says what is wrong with it.
    """
    try:
        data: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("it isn't JSON") from error
    head = _object(data, "it", _HEAD, {"platform"})
    major, dot, minor = _text(head, "format_version").partition(".")
    if not (dot and major.isdigit() and minor.isdigit()) or major != FORMAT_MAJOR:
        raise ValueError(f"format_version {head['format_version']!r} isn't one that is known: {FORMAT_MAJOR}.x")
    start, goal = _object(head["from"], "from", _END), _object(head["to"], "to", _END)
    listed = head["files"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_FILES:
        raise ValueError(f"files isn't a list of 1 to {MAX_FILES} files")
    parts = [_file(entry) for entry in listed]
    patches = sorted(part for _file, part in parts if isinstance(part, Patch))
    incremental = Incremental(
        component=_text(head, "component"),
        platform=_text(head, "platform") if "platform" in head else ANY_PLATFORM,
        from_version=_text(start, "version"),
        from_digest=_text(start, "digest"),
        to_version=_text(goal, "version"),
        to_digest=_text(goal, "digest"),
        codec=_main_codec(patches),
        patches=tuple(patches),
        kept=tuple(sorted(part for _file, part in parts if isinstance(part, Kept))),
    )
    problem = incremental_problem(incremental)
    if problem:
        raise ValueError(problem)
    if not incremental.from_version:
        raise ValueError("it comes from no release")
    if content_digest(file for file, _part in parts) != incremental.to_digest:
        raise ValueError("the digest of `to` isn't that of the files")
    return incremental


def _main_codec(patches: list[Patch]) -> str:
    """Name the codec of most bytes."""
    sizes: Counter[str] = Counter()
    for patch in patches:
        sizes[patch.codec] += patch.size
    return min(sizes, key=lambda codec: (-sizes[codec], codec), default=UNPATCHED)


def _file(entry: Any) -> tuple[ReleaseFile, Patch | Kept]:
    data = _object(entry, "a file", _FILE, {"base", "delta"})
    name = _text(data, "name")
    problem = file_name_problem(name)
    if problem:
        raise ValueError(problem)
    file = ReleaseFile(name, _size(data), _digest(data))
    base = _text(data, "base") if "base" in data else name
    if "delta" not in data:
        return file, Kept(name, base)
    delta = _object(data["delta"], "delta", _DELTA)
    codec = _text(delta, "codec")
    if not CODEC_NAME.fullmatch(codec):
        raise ValueError(f"{codec!r} is no codec")
    return file, Patch(name, _size(delta), _digest(delta), codec, base, file.size)


def _object(data: Any, what: str, needed: set[str], others: frozenset[str] | set[str] = frozenset()) -> Any:
    if type(data) is not dict:
        raise ValueError(f"{what} isn't an object")
    unknown, missing = set(data) - needed - others, needed - set(data)
    if unknown or missing:
        word, key = ("an unknown", min(unknown)) if unknown else ("no", min(missing))
        raise ValueError(f"{what} has {word} key {key!r}")
    return data


def _text(data: Mapping[str, Any], key: str) -> str:
    if type(data[key]) is not str:
        raise ValueError(f"{key} wants a text")
    return str(data[key])


def _size(data: Mapping[str, Any]) -> int:
    value = data["size"]
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        raise ValueError(f"size isn't a number of bytes, at most {MAX_SIZE}")
    return value


def _digest(data: Mapping[str, Any]) -> str:
    digest = _text(data, "sha256")
    if not SHA256.fullmatch(digest):
        raise ValueError("sha256 isn't 64 hexadecimal digits")
    return digest
