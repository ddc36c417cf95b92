"""Reads `incremental.json`, which strangers write: how the files of release TO come from those of release FROM.

schema/release.schema.json has its form. Each file of TO has its size and digest, the file of FROM that it comes from
(`base`; left out: of the same name), and the `delta` that turns that into it (left out: it is the same).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from reconciler.formats.text import read_json
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
        data: Any = read_json(content)
    except ValueError as error:
        raise ValueError("it isn't JSON") from error
    head = object_of(data, "it", _HEAD, {"platform"})
    check_format(head)
    start, goal = object_of(head["from"], "from", _END), object_of(head["to"], "to", _END)
    listed = head["files"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_FILES:
        raise ValueError(f"files isn't a list of 1 to {MAX_FILES} files")
    parts = [_file(entry) for entry in listed]
    patches = sorted(part for _file, part in parts if isinstance(part, Patch))
    incremental = Incremental(
        component=text_of(head, "component"),
        platform=text_of(head, "platform") if "platform" in head else ANY_PLATFORM,
        from_version=text_of(start, "version"),
        from_digest=text_of(start, "digest"),
        to_version=text_of(goal, "version"),
        to_digest=text_of(goal, "digest"),
        codec=main_codec(patches),
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


def check_format(head: Mapping[str, Any]) -> int:
    """Refuse a document of another major version; give the minor one.

    Raises:
        ValueError: it is one, or names no version.
    """
    major, dot, minor = text_of(head, "format_version").partition(".")
    if not (dot and major.isdigit() and minor.isdigit()) or major != FORMAT_MAJOR:
        raise ValueError(f"format_version {head['format_version']!r} isn't one that is known: {FORMAT_MAJOR}.x")
    return int(minor)


def main_codec(patches: list[Patch]) -> str:
    """Name the codec of most bytes."""
    sizes: Counter[str] = Counter()
    for patch in patches:
        sizes[patch.codec] += patch.size
    return min(sizes, key=lambda codec: (-sizes[codec], codec), default=UNPATCHED)


def _file(entry: Any) -> tuple[ReleaseFile, Patch | Kept]:
    data = object_of(entry, "a file", _FILE, {"base", "delta"})
    name = text_of(data, "name")
    problem = file_name_problem(name)
    if problem:
        raise ValueError(problem)
    file = ReleaseFile(name, size_of(data), digest_of(data))
    base = text_of(data, "base") if "base" in data else name
    if "delta" not in data:
        return file, Kept(name, base)
    return file, patch_of(data["delta"], name, base, file.size)


def patch_of(data: Any, name: str, base: str, result: int) -> Patch:
    """Read the `delta` of a file: `result` is the size in bytes of what it makes.

    Raises:
        ValueError: it isn't one.
    """
    delta = object_of(data, "delta", _DELTA)
    codec = text_of(delta, "codec")
    if not CODEC_NAME.fullmatch(codec):
        raise ValueError(f"{codec!r} is no codec")
    return Patch(name=name, size=size_of(delta), sha256=digest_of(delta), codec=codec, base=base, result=result)


def object_of(
    data: Any,
    what: str,
    needed: set[str],
    others: frozenset[str] | set[str] = frozenset(),
    *,
    lenient: bool = False,
) -> Any:
    """Give an object that has all the `needed` keys and, unless it is read leniently, no others but `others`.

    Raises:
        ValueError: it isn't one.
    """
    if type(data) is not dict:
        raise ValueError(f"{what} isn't an object")
    unknown, missing = set(data) - needed - others, needed - set(data)
    if missing or (unknown and not lenient):
        word, key = ("no", min(missing)) if missing else ("an unknown", min(unknown))
        raise ValueError(f"{what} has {word} key {key!r}")
    return data


def text_of(data: Mapping[str, Any], key: str) -> str:
    """Give the text at a key; ValueError for anything else."""
    if type(data[key]) is not str:
        raise ValueError(f"{key} wants a text")
    return str(data[key])


def size_of(data: Mapping[str, Any]) -> int:
    """Give the number of bytes at `size`; ValueError for anything else."""
    value = data["size"]
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        raise ValueError(f"size isn't a number of bytes, at most {MAX_SIZE}")
    return value


def digest_of(data: Mapping[str, Any]) -> str:
    """Give the digest at `sha256`; ValueError for anything else."""
    digest = text_of(data, "sha256")
    if not SHA256.fullmatch(digest):
        raise ValueError("sha256 isn't 64 hexadecimal digits")
    return digest
