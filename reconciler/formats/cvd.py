"""Databases of ClamAV: a header of 512 bytes, and behind it a tar, gzip'd (CVD) or plain (CLD).

* Nothing in a container says of which database it is: the name of its file does, and those of its members.
* The member `<database>.info` lists all others but `COPYING` with size and SHA-256, and is signed. It proves each of
  them, however they came together: `proven` holds a database against it (`clam_signature` has the signatures).
* Members are flat files. What is unpacked is bounded, whatever the headers say.
* A CLD is written the same by everyone: `COPYING`, `.info`, `.cfg`, and the others by name, of one time and owner.

ClamAV's libclamav/cvd.c and readdb.c are what these files are read by.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

HEADER = 512
"""Bytes before the tar, in its own blocks and in the container."""
MARK = "ClamAV-VDB"
LICENCE = "COPYING"
"""The first member of each database; a body that begins with it is a plain tar."""
BYTECODE = "bytecode"
"""The database whose members have names of their own, `<number>.cbc`."""
MAX_UNPACKED = 2**30
"""Bytes of all members together: several times the largest database that there is."""
MAX_MEMBERS = 10_000
MAX_INFO = 2**20
MAX_NUMBER = 2**31 - 1
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
"""Of a member."""
DATABASE = re.compile(r"[A-Za-z0-9_]{1,64}")
"""Of a database: what stands before the first `-` or `.` of its file's name."""
SIGNED_BY = b"DSIG:"
"""What the last line of `.info` begins with."""
_DIGITS = re.compile(r" *([0-9]{1,10}) *")
_OCTAL = re.compile(rb" *([0-7]{1,12})[ \0]*")
_FIELDS, _OLD_FIELDS = 9, 8
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What stands before the members: times as text and in seconds (0: an old form without), MD5 of all behind it.

    `md5` and `signature` are texts: `X`, `x` or empty where only `.info`, or a signature beside the file, is signed.
    """

    built: str
    version: int
    signatures: int
    flevel: int
    md5: str
    signature: str
    builder: str
    time: int

    @property
    def is_signed(self) -> bool:
        """True when the container says that it is signed."""
        return re.fullmatch(r"[0-9a-fA-F]{32}", self.md5) is not None and self.signature.lower() not in {"", "x"}

    @property
    def text(self) -> str:
        """The header as it is written, without what fills it up."""
        numbers = f"{self.version}:{self.signatures}:{self.flevel}"
        return f"{MARK}:{self.built}:{numbers}:{self.md5}:{self.signature}:{self.builder}:{self.time}"


class Listed(NamedTuple):
    """A member as `.info` has it."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Info:
    """What `.info` says: the header, each member, its signature, and the bytes that this is of."""

    header: Header
    members: Mapping[str, Listed]
    signature: str
    signed: bytes


@dataclass(frozen=True, slots=True)
class Database:
    """A database in memory: its header, and its members by name."""

    header: Header
    members: Mapping[str, bytes]


def parse_header(data: bytes) -> Header:
    """Read the header, from the first 512 bytes of a file or the first line of `.info`.

    Raises:
        ValueError: it isn't one.
    """
    line = re.split(rb"[\r\n]", data[:HEADER], maxsplit=1)[0].rstrip(b" \0")
    try:
        mark, *fields = line.decode("ascii").split(":")
    except UnicodeDecodeError as error:
        raise ValueError("its header isn't ASCII") from error
    if mark != MARK:
        raise ValueError(f"it doesn't begin with {MARK}")
    # ClamAV writes times as "16 Sep 2021 08-32 -0400", with other signs for the colons
    if not _OLD_FIELDS <= len(fields) + 1 <= _FIELDS:
        raise ValueError(f"its header has {len(fields) + 1} fields, and not {_OLD_FIELDS} or {_FIELDS}")
    if any(not character.isprintable() for character in line.decode("ascii")):
        raise ValueError("its header has characters that can't be shown")
    built, version, signatures, flevel, md5, signature, builder = fields[:7]
    return Header(
        built=built,
        version=_number(version, "version"),
        signatures=_number(signatures, "number of signatures"),
        flevel=_number(flevel, "functionality level"),
        md5=md5,
        signature=signature,
        builder=builder,
        time=_number(fields[7], "time") if len(fields) == _FIELDS - 1 else 0,
    )


def _number(text: str, what: str) -> int:
    found = _DIGITS.fullmatch(text)
    if not found or int(found[1]) > MAX_NUMBER:
        raise ValueError(f"the {what} in its header is no number: {text[:20]!r}")
    return int(found[1])


def database_of(name: str) -> str:
    """Give the database that a file is of, by its name: `daily.cvd`, `daily-27811.cdiff`.

    Raises:
        ValueError: it names none.
    """
    database = re.split("[-.]", name, maxsplit=1)[0]
    if not DATABASE.fullmatch(database):
        raise ValueError(f"{name!r:.60} names no database")
    return database


def is_member_of(name: str, database: str) -> bool:
    """Say whether a member has a name as those of a database have it."""
    own = name.startswith(f"{database}.") or name == LICENCE
    return own or (database == BYTECODE and name.endswith(".cbc"))


# --- reading ----------------------------------------------------------------------------------------------------------


def read_database(stream: BinaryIO, *, limit: int = MAX_UNPACKED) -> Database:
    """Read a database from the beginning of its file: CVD, CLD or CUD.

    Raises:
        ValueError: it isn't one, or has more than `limit` bytes unpacked, or than MAX_UNPACKED: all are in memory.
        OSError: the stream can't be read.
    """
    limit = min(limit, MAX_UNPACKED)
    head = stream.read(HEADER)
    if len(head) < HEADER:
        raise ValueError(f"it has {len(head)} bytes only, and its header {HEADER}")
    header = parse_header(head)
    begins = stream.read(len(LICENCE))
    stream.seek(HEADER)
    if begins == LICENCE.encode():
        return Database(header, dict(_members(stream, limit)))
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
            return Database(header, dict(_members(unpacked, limit)))  # type: ignore[arg-type]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"what is behind its header can't be unpacked: {error}") from error


def _members(stream: BinaryIO, limit: int) -> Iterator[tuple[str, bytes]]:
    """Give the members of a tar, each once."""
    seen: set[str] = set()
    left = limit
    while (block := stream.read(HEADER)) and block[0]:
        if len(block) < HEADER:
            raise ValueError("it is cut off within the head of a member")
        name, size = _member_head(block)
        if name in seen:
            raise ValueError(f"it has the member {name} twice")
        seen.add(name)
        left -= size
        if left < 0:
            raise ValueError(f"its members have more than {limit} bytes")
        if len(seen) > MAX_MEMBERS:
            raise ValueError(f"it has more than {MAX_MEMBERS} members")
        content = stream.read(size)
        if len(content) < size:
            raise ValueError(f"it is cut off within {name}")
        stream.read(-size % HEADER)
        yield name, content


def _member_head(block: bytes) -> tuple[str, int]:
    name = block[:100].split(b"\0", 1)[0].decode("ascii", "backslashreplace")
    if not NAME.fullmatch(name):
        raise ValueError(f"it has a member with the name {name[:60]!r}")
    if block[156:157] not in b"0\0":
        raise ValueError(f"its member {name} is no plain file")
    size = _OCTAL.fullmatch(block[124:136])
    if not size:
        raise ValueError(f"its member {name} has no size")
    return name, int(size[1], 8)


def parse_info(data: bytes) -> Info:
    """Read `.info`; its signature is for the caller to verify.

    Raises:
        ValueError: it isn't one, or isn't signed.
    """
    if len(data) > MAX_INFO:
        raise ValueError(f".info has more than {MAX_INFO} bytes")
    signed, mark, rest = data.partition(b"\n" + SIGNED_BY)
    if not mark:
        raise ValueError(".info isn't signed")
    signature, _end, more = rest.partition(b"\n")
    if more.strip():
        raise ValueError(".info goes on behind its signature")
    try:
        head, *lines = signed.decode("ascii").split("\n")
        header = parse_header(head.encode())
        text = signature.decode("ascii").strip()
    except ValueError as error:
        raise ValueError(f"the first line of .info: {error}") from error
    members: dict[str, Listed] = {}
    for number, line in enumerate(lines, 2):
        name, _, listed = line.partition(":")
        size, _, sha256 = listed.partition(":")
        if not NAME.fullmatch(name) or not _DIGITS.fullmatch(size) or not _SHA256.fullmatch(sha256) or name in members:
            raise ValueError(f"line {number} of .info isn't the name, size and SHA-256 of one more member")
        members[name] = Listed(int(size), sha256.lower())
    return Info(header, members, text, signed + b"\n")


def info_of(members: Mapping[str, bytes], database: str) -> Info:
    """Give what the `.info` of a database says.

    Raises:
        ValueError: it has none, one of another database, or one that isn't well-formed.
    """
    names = [name for name in members if name.endswith(".info")]
    if names != [f"{database}.info"]:
        raise ValueError(f"it isn't the database {database}: it has {', '.join(sorted(names)[:3]) or 'no .info'}")
    return parse_info(members[names[0]])


def check_members(members: Mapping[str, bytes], info: Info, database: str) -> None:
    """Hold each member against `.info`: all that it lists are there, no other is, and their bytes are those.

    Raises:
        ValueError: one isn't so; the message names it.
    """
    for name in info.members:
        if not is_member_of(name, database):
            raise ValueError(f"it isn't the database {database}: it has the member {name}")
        if name not in members:
            raise ValueError(f"{name} isn't there, and .info lists it")
    for name, content in members.items():
        if name in {LICENCE, f"{database}.info"}:
            continue
        listed = info.members.get(name)
        if listed is None:
            raise ValueError(f"{name} isn't listed in .info")
        if len(content) != listed.size or hashlib.sha256(content).hexdigest() != listed.sha256:
            raise ValueError(f"{name} isn't what .info says: its size or SHA-256 is another one")


def check_header(header: Header, info: Info) -> None:
    """Hold the header of a container against the one that `.info` has.

    Raises:
        ValueError: they don't agree.
    """
    for what in ("version", "signatures", "flevel", "time"):
        own, signed = getattr(header, what), getattr(info.header, what)
        if own != signed:
            raise ValueError(f"its header says {what} {own}, and .info {signed}")


# --- writing ----------------------------------------------------------------------------------------------------------


def write_cld(members: Mapping[str, bytes], database: str) -> Iterator[bytes]:
    """Give the bytes of the CLD of these members, in pieces; the same for the same members, wherever they come from.

    Raises:
        ValueError: there is no `.info`, or a member can't be in a tar.
    """
    header = info_of(members, database).header
    return write_plain(Database(replace(header, md5="X", signature="X"), members), database)


def write_plain(made: Database, database: str) -> Iterator[bytes]:
    """Give the bytes of a database with a header as it is, and a plain tar of its members.

    Raises:
        ValueError: a member can't be in a tar, or the header is too long.
    """
    names = _ordered(made.members, database)
    yield header_block(made.header)
    for name in names:
        content = made.members[name]
        yield _tar_head(name, len(content))
        yield content
        yield bytes(-len(content) % HEADER)
    yield bytes(2 * HEADER)


def header_block(header: Header) -> bytes:
    """Give the header as it stands in a file.

    Raises:
        ValueError: it is too long.
    """
    block = header.text.encode("ascii").ljust(HEADER)
    if len(block) > HEADER:
        raise ValueError(f"its header has more than {HEADER} bytes")
    return block


def _ordered(members: Mapping[str, bytes], database: str) -> list[str]:
    first = (LICENCE, f"{database}.info", f"{database}.cfg")
    if LICENCE not in members:
        raise ValueError(f"it has no {LICENCE}, by which a plain tar is told")
    return [*(name for name in first if name in members), *sorted(members.keys() - set(first))]


def _tar_head(name: str, size: int) -> bytes:
    """Give the head of a member as ustar has it: owner root, mode 0644, time 0."""
    if not NAME.fullmatch(name):
        raise ValueError(f"no member can have the name {name[:60]!r}")
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0" % size,
        b"%011o\0" % 0,
        b" " * 8,
        b"0".ljust(101, b"\0"),
        b"ustar\x0000",
    )
    block = b"".join(fields).ljust(HEADER, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
