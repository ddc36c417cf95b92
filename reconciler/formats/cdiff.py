"""How a database of ClamAV becomes its next version: a CDIFF, read and applied.

    ClamAV-Diff:<version>:<size unpacked>:<gzip>:<signature>

What is packed are commands, one a line:

    OPEN name                     the member that the following are about
    ADD line                      goes to its end
    DEL number prefix             the line of that number goes; it begins with prefix
    XCHG number prefix line       another line in its place
    CLOSE                         all of that is done
    MOVE from to n1 start n2 end  lines n1 to n2 of one member go to the end of another
    UNLINK name                   the member goes

Numbers are those of lines before any edit, in whatever order the edits are written. `#` begins a comment. What an
attacker could want (names that lead elsewhere, a size that isn't that, lines that aren't there) is refused; the message
names the line of the script. Whether the outcome is what the vendor meant is proven by `.info` alone (`cvd`).

libclamav_rust/src/cdiff.rs of ClamAV is what these rules are from.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from reconciler.formats.cvd import MAX_MEMBERS, MAX_UNPACKED, is_member_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MARK = b"ClamAV-Diff"
MAX_SIGNATURE = 350
MAX_SCRIPT = 256 * 2**20
"""Bytes of commands unpacked; a year of the daily database has less."""
MAX_COMMANDS = 2**22
"""Of a script: more than the daily database has lines."""
MAX_WRITTEN = 2**34
"""Bytes of members that are written anew, all together: each CLOSE and MOVE writes a whole one."""
_PER_MEMBER = 256
"""Bytes that could be written in the time that looking at one more member takes."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,99}")
_NUMBER = re.compile(rb"[0-9]{1,10}")
_STRIDE = 4096
"""Bytes between two places of which the line is known."""


class Cdiff(NamedTuple):
    """A CDIFF taken apart: `signed` are the bytes that its signature is of."""

    version: int
    size: int
    packed: bytes
    signature: str
    signed: bytes


class Edit(NamedTuple):
    """What becomes of a line that begins with `prefix`: another one, or nothing. `command` is the line that says so."""

    prefix: bytes
    line: bytes | None
    command: int


@dataclass(slots=True)
class _Open:
    name: str
    edits: dict[int, Edit] = field(default_factory=dict)
    added: list[bytes] = field(default_factory=list)


def parse_cdiff(data: bytes) -> Cdiff:
    """Take a CDIFF apart; its signature is for the caller to verify, before `script_of` unpacks anything.

    Raises:
        ValueError: it isn't one.
    """
    head = data[:64].split(b":", 3)
    if head[0] != MARK or len(head) < 4:
        raise ValueError(f"it isn't a cdiff: it doesn't begin with {MARK.decode()}, a version and a size")
    if not _NUMBER.fullmatch(head[1]) or not _NUMBER.fullmatch(head[2]):
        raise ValueError("its version or size is no number")
    size = int(head[2])
    if size > MAX_SCRIPT:
        raise ValueError(f"it says that it has {size} bytes unpacked, and at most {MAX_SCRIPT} are taken")
    end = data.rfind(b":", max(len(data) - MAX_SIGNATURE - 1, 0))
    begin = sum(len(part) + 1 for part in head[:3])
    if end < begin:
        raise ValueError("it has no signature")
    try:
        signature = data[end + 1 :].decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise ValueError("its signature is no text") from error
    return Cdiff(version=int(head[1]), size=size, packed=data[begin:end], signature=signature, signed=data[:end])


def script_of(cdiff: Cdiff) -> bytes:
    """Unpack the commands.

    Raises:
        ValueError: they can't be unpacked, or aren't as many bytes as the head says.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        script = unpacker.decompress(cdiff.packed, cdiff.size + 1)
    except zlib.error as error:
        raise ValueError(f"it can't be unpacked: {error}") from error
    if len(script) != cdiff.size or not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"it doesn't have the {cdiff.size} bytes unpacked that it says")
    return script


def apply(members: Mapping[str, bytes], script: bytes, database: str) -> dict[str, bytes]:
    """Give the members of the next version of a database; what they were stays as it is.

    Raises:
        ValueError: a command isn't one, or doesn't fit these members; the message names its line.
    """
    applier = _Applier(dict(members), database)
    number = 0
    begin, size = 0, len(script)
    if script and not script.endswith(b"\n"):
        lines = script.count(b"\n")
        raise ValueError(f"line {lines + 1} has no end")
    while begin < size:
        number += 1
        if number > MAX_COMMANDS:
            raise ValueError(f"it has more than {MAX_COMMANDS} lines")
        end = script.index(b"\n", begin)
        if not script.startswith(b"#", begin):
            try:
                applier.do(script[begin:end], number)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
        begin = end + 1
    if applier.open is not None:
        raise ValueError(f"it ends without a CLOSE of {applier.open.name}")
    return applier.members


class _Applier:
    """The members as the commands until now left them, and the one that is open."""

    def __init__(self, members: dict[str, bytes], database: str) -> None:
        self.members = members
        self.open: _Open | None = None
        self._database = database
        self._left = MAX_WRITTEN
        self._commands: dict[bytes, Callable[[bytes, int], None]] = {
            b"OPEN": self._do_open,
            b"ADD": self._do_add,
            b"DEL": self._do_edit,
            b"XCHG": self._do_exchange,
            b"CLOSE": self._do_close,
            b"MOVE": self._do_move,
            b"UNLINK": self._do_unlink,
        }

    def do(self, line: bytes, number: int) -> None:
        """Carry out one command."""
        command, _, rest = line.partition(b" ")
        known = self._commands.get(command)
        if known is None:
            raise ValueError(f"{_shown(command)} is no command")
        known(rest, number)

    def _do_open(self, rest: bytes, _number: int) -> None:
        self._none_open("OPEN")
        self.open = _Open(self._name(rest))

    def _do_add(self, rest: bytes, _number: int) -> None:
        self._opened("ADD").added.append(rest)

    def _do_edit(self, rest: bytes, number: int) -> None:
        line, _, prefix = rest.partition(b" ")
        self._edit(line, Edit(prefix, None, number), "DEL")

    def _do_exchange(self, rest: bytes, number: int) -> None:
        line, _, texts = rest.partition(b" ")
        prefix, blank, new = texts.partition(b" ")
        if not blank:
            raise ValueError("XCHG without a new line")
        self._edit(line, Edit(prefix, new, number), "XCHG")

    def _edit(self, line: bytes, edit: Edit, command: str) -> None:
        edits = self._opened(command).edits
        at = _line_number(line)
        if not edit.prefix:
            raise ValueError(f"{command} doesn't say what line {at} begins with")
        if at in edits:
            raise ValueError(f"line {at} was to be changed by line {edits[at].command} already")
        edits[at] = edit

    def _do_close(self, _rest: bytes, _number: int) -> None:
        opened = self._opened("CLOSE")
        self.open = None
        old = self.members.get(opened.name)
        if old is None and opened.edits:
            raise ValueError(f"{opened.name} isn't there, and line {_first(opened.edits).command} changes it")
        parts = _edited(old, opened.edits, opened.name) if old and opened.edits else [old or b""]
        if opened.edits and not old:
            raise ValueError(f"{opened.name} is empty, and line {_first(opened.edits).command} changes it")
        if opened.added:
            parts += [b"\n".join(opened.added), b"\n"]
        if old is not None or opened.added:
            self._put(opened.name, b"".join(parts))

    def _do_move(self, rest: bytes, _number: int) -> None:
        self._none_open("MOVE")
        fields = rest.split(b" ")
        if len(fields) < 6:
            raise ValueError("MOVE doesn't say from where to where, and which lines")
        source, target = self._name(fields[0]), self._name(fields[1])
        if source == target:
            raise ValueError(f"MOVE within {source}")
        for name in (source, target):
            if name not in self.members:
                raise ValueError(f"{name} isn't there")
        first, last = _line_number(fields[2]), _line_number(fields[4])
        if last < first:
            raise ValueError(f"MOVE of lines {first} to {last}")
        content = self.members[source]
        lines = _Lines(content)
        begin, end = lines.begin(first), lines.end(last)
        if begin is None or end is None:
            raise ValueError(f"{source} hasn't got lines {first} to {last}")
        for at, where, text in ((first, begin, fields[3]), (last, lines.begin(last), fields[5])):
            if where is None or not content.startswith(text, where):
                raise ValueError(f"line {at} of {source} doesn't begin with {_shown(text)}")
        moved = content[begin:end]
        self._put(source, content[:begin] + content[end:])
        self._put(target, self.members[target] + moved)

    def _do_unlink(self, rest: bytes, _number: int) -> None:
        self._none_open("UNLINK")
        name = self._name(rest)
        if name not in self.members:
            raise ValueError(f"{name} isn't there")
        del self.members[name]

    def _put(self, name: str, content: bytes) -> None:
        self.members[name] = content
        self._left -= len(content) + _PER_MEMBER * len(self.members)
        if self._left < 0:
            raise ValueError(f"it writes more than {MAX_WRITTEN} bytes, member after member")
        if len(self.members) > MAX_MEMBERS or sum(len(one) for one in self.members.values()) > MAX_UNPACKED:
            raise ValueError(f"the database would have more than {MAX_UNPACKED} bytes, or {MAX_MEMBERS} members")

    def _name(self, text: bytes) -> str:
        name = text.decode("ascii", "backslashreplace")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:60]!r} is no name of a member")
        if not is_member_of(name, self._database):
            raise ValueError(f"{name} is no member of the database {self._database}")
        return name

    def _opened(self, command: str) -> _Open:
        if self.open is None:
            raise ValueError(f"{command} where no member is open")
        return self.open

    def _none_open(self, command: str) -> None:
        if self.open is not None:
            raise ValueError(f"{command} while {self.open.name} is open")


def _edited(content: bytes, edits: Mapping[int, Edit], name: str) -> list[bytes | memoryview]:
    """Give a member with some of its lines changed, in pieces: what is between two edits is never looked at."""
    lines, view = _Lines(content), memoryview(content)
    parts: list[bytes | memoryview] = []
    done = 0
    for number in sorted(edits):
        edit = edits[number]
        begin, end = lines.begin(number), lines.end(number)
        if begin is None or end is None:
            raise ValueError(f"{name} has no line {number}, which line {edit.command} changes")
        if not content.startswith(edit.prefix, begin, end - 1):
            raise ValueError(
                f"line {number} of {name} doesn't begin with {_shown(edit.prefix)}, as line {edit.command} says"
            )
        parts.append(view[done:begin])
        if edit.line is not None:
            parts += [edit.line, b"\n"]
        done = end
    parts.append(view[done:])
    return parts


class _Lines:
    """Where the lines of a text begin and end; each ends in LF.

    How many ends there are up to each `_STRIDE` bytes is counted once, which is quick; only the stride that has the
    line is looked through.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._until = [0]
        total = 0
        count = content.count
        for at in range(0, len(content), _STRIDE):
            total += count(b"\n", at, at + _STRIDE)
            self._until.append(total)

    def begin(self, number: int) -> int | None:
        """Give where a line begins, counted from 1; None where there is none."""
        if number == 1:
            return 0 if self._content else None
        before = self._nth_end(number - 1)
        return before if before is not None and before < len(self._content) else None

    def end(self, number: int) -> int | None:
        """Give where the next line begins; None where the line isn't there, or has no end."""
        return self._nth_end(number)

    def _nth_end(self, number: int) -> int | None:
        """Give the place behind the LF of that number."""
        if number > self._until[-1]:
            return None
        stride = bisect_right(self._until, number - 1) - 1
        at = stride * _STRIDE
        for _ in range(number - self._until[stride]):
            at = self._content.index(b"\n", at) + 1
        return at


def _line_number(text: bytes) -> int:
    if not _NUMBER.fullmatch(text) or not int(text):
        raise ValueError(f"{_shown(text)} is no number of a line")
    return int(text)


def _first(edits: Mapping[int, Edit]) -> Edit:
    return next(iter(edits.values()))


def _shown(text: bytes) -> str:
    return repr(text[:40].decode("utf-8", "backslashreplace"))
