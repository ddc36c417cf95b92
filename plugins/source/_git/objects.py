"""Objects of git, read from their bytes: commits, tags and folders, each held to the form that git writes.

* An object's name is the digest of its kind, its size and its bytes: who reads one compares the two.
* What is signed are the bytes of a commit or a tag without the signature, cut out of them as they are. Nothing is
  written anew for that: whatever a reader would drop or put in order isn't what somebody signed.
* A field that stands twice, or out of its place, is refused: two readers could take it in two ways.

Source of the forms: git's Documentation/gitformat-signature and gitformat-pack, and fsck.c for what must be there.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from reconciler.model.release import release_time_problem

Kind = Literal["commit", "tree", "blob", "tag"]
OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A name: SHA-1, or SHA-256 where the repository is of that kind."""
MAX_ENTRIES = 100_000
FOLDER, FILE, PROGRAM, LINK, SUBMODULE = "40000", "100644", "100755", "120000", "160000"
_OLD_FILE = "100664"
"""A mode of files that git wrote once, and still reads."""
_KINDS: frozenset[str] = frozenset({"commit", "tree", "blob", "tag"})
_PERSON = re.compile(rb"[^<>\n\0]*<[^<>\n\0]*> (\d{1,18}) [+-]\d{4}")
_SIGNATURES = (b"gpgsig", b"gpgsig-sha256")
_BEGINS = re.compile(rb"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----$", re.MULTILINE)
_FIRST = {"commit": (b"tree", b"parent", b"author", b"committer"), "tag": (b"object", b"type", b"tag", b"tagger")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit: its folder, what it comes after, when it was made; `payload` are the bytes that `signature` is of."""

    tree: str
    parents: tuple[str, ...]
    made: datetime
    message: str
    payload: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag with a text of its own: what it is for, its name, and when it was made, where it says so."""

    target: str
    kind: Kind
    name: str
    made: datetime | None
    message: str
    payload: bytes
    signature: bytes


class Entry(NamedTuple):
    """What a folder has under a name: its mode as git writes it, and the object's name."""

    mode: str
    name: str
    id: str

    @property
    def is_file(self) -> bool:
        """Whether it is a file, and not a folder, a link or a submodule."""
        return self.mode in {FILE, PROGRAM, _OLD_FILE}


def object_id(kind: str, content: bytes, length: int) -> str:
    """Give the name of an object, of as many hexadecimal digits as others of its repository have."""
    digest = hashlib.sha256() if length == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(f"{kind} {len(content)}\0".encode())
    digest.update(content)
    return digest.hexdigest()


def parse_commit(content: bytes) -> Commit:
    """Read a commit.

    Raises:
        ValueError: it isn't one that git would write.
    """
    fields, message = _fields(content, "commit")
    if fields["parent"] and len(set(fields["parent"])) != len(fields["parent"]):
        raise ValueError("a commit names a parent twice")
    return Commit(
        tree=_one_id(fields["tree"]),
        parents=tuple(_id(parent) for parent in fields["parent"]),
        made=_time(_one(fields["committer"])),
        message=message.decode("utf-8", "replace"),
        payload=_without_signatures(content),
        signature=b"\n".join(fields.get("gpgsig-sha256" if len(_one(fields["tree"])) == 64 else "gpgsig", ())),
    )


def parse_tag(content: bytes) -> Tag:
    """Read a tag; its signature is what stands at the end of its text, from the last line that begins one.

    Raises:
        ValueError: it isn't one that git would write.
    """
    fields, message = _fields(content, "tag")
    kind = _one(fields["type"]).decode("ascii", "replace")
    if kind not in _KINDS:
        raise ValueError(f"a tag is for a {kind!r:.20}, which isn't a kind of object")
    begins = [match.start() for match in _BEGINS.finditer(message)]
    cut = len(content) - len(message) + begins[-1] if begins else len(content)
    return Tag(
        target=_one_id(fields["object"]),
        kind=kind,  # type: ignore[arg-type] # see above
        name=_one(fields["tag"]).decode("utf-8", "surrogateescape"),
        made=_time(_one(fields["tagger"])) if fields["tagger"] else None,
        message=message[: begins[-1] if begins else None].decode("utf-8", "replace"),
        payload=_without_signatures(content[:cut]),
        signature=content[cut:],
    )


def parse_tree(content: bytes, length: int) -> list[Entry]:
    """Read a folder; `length` is that of a name in hexadecimal digits.

    Raises:
        ValueError: it isn't one, has a name twice, or one that no file may have.
    """
    from dulwich.errors import ObjectFormatException
    from dulwich.objects import parse_tree as parsed

    entries: dict[str, Entry] = {}
    try:
        for raw, mode, id_ in parsed(content, length // 2):
            name = raw.decode("utf-8", "surrogateescape")
            if name in {"", ".", ".."} or "/" in name or name.lower() == ".git":
                raise ValueError(f"a folder of it has {name!r:.80}, which is no name of a file")
            if name in entries:
                raise ValueError(f"a folder of it has the name {name!r:.80} twice")
            entries[name] = Entry(f"{mode:o}", name, id_.decode())
            if len(entries) > MAX_ENTRIES:
                raise ValueError(f"a folder of it has more than {MAX_ENTRIES} files")
    except (ObjectFormatException, OverflowError) as error:
        raise ValueError("a folder of it is damaged") from error
    return list(entries.values())


def _fields(content: bytes, kind: Literal["commit", "tag"]) -> tuple[dict[str, list[bytes]], bytes]:
    """Give the fields of a head, those of `_FIRST` in their order and at the beginning, and the text behind it."""
    head, gap, message = content.partition(b"\n\n")
    if not gap and not content.endswith(b"\n"):
        raise ValueError(f"a {kind} of it has no end of its head")
    if b"\0" in head:
        raise ValueError(f"a {kind} of it has a zero byte in its head")
    found: dict[str, list[bytes]] = {name.decode(): [] for name in _FIRST[kind]}
    turn = 0
    last = ""
    for line in head.rstrip(b"\n").split(b"\n"):
        if line.startswith(b" "):
            if last in found and turn > len(_FIRST[kind]):
                found[last].append(line[1:])
                continue
            raise ValueError(f"a {kind} of it has a line that goes on in the wrong place")
        name, _space, value = line.partition(b" ")
        if name in _FIRST[kind]:
            place = _FIRST[kind].index(name)
            if place < turn and not (name == b"parent" and turn == place + 1):
                raise ValueError(f"a {kind} of it has {name.decode()!r} twice, or in the wrong place")
            turn = place + 1
        else:
            turn = len(_FIRST[kind]) + 1
            if name in _SIGNATURES and name.decode() in found:
                raise ValueError(f"a {kind} of it is signed twice")
        last = name.decode("ascii", "replace")
        found.setdefault(last, []).append(value)
    return found, message


def _without_signatures(content: bytes) -> bytes:
    """Cut the fields of signatures, with the lines that go on with them, out of a head."""
    head, gap, message = content.partition(b"\n\n")
    kept, inside = [], False
    for line in head.split(b"\n"):
        inside = line.partition(b" ")[0] in _SIGNATURES or (inside and line.startswith(b" "))
        if not inside:
            kept.append(line)
    return b"\n".join(kept) + gap + message


def _one(values: list[bytes]) -> bytes:
    if len(values) != 1:
        raise ValueError("a commit or tag of it lacks a field, or has it twice")
    return values[0]


def _one_id(values: list[bytes]) -> str:
    return _id(_one(values))


def _id(value: bytes) -> str:
    text = value.decode("ascii", "replace")
    if not OBJECT_ID.fullmatch(text):
        raise ValueError(f"{text!r:.80} isn't the name of an object")
    return text


def _time(person: bytes) -> datetime:
    match = _PERSON.fullmatch(person)
    if match is None:
        raise ValueError("a commit or tag of it doesn't say when it was made")
    try:
        made = datetime.fromtimestamp(int(match[1]), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError("a commit or tag of it was made at a time that is none") from error
    if release_time_problem(made):
        raise ValueError(f"a commit or tag of it was made {release_time_problem(made)}")
    return made
