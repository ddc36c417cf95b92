"""One layout for all specs: what `updoser fmt` makes of a file's text. Only spaces and quotes change.

* Maps and lists stand two spaces deeper than what holds them, also a list under its key; one space follows a dash.
* A word in quotes loses them where it reads the same without. What begins with a digit or a sign keeps them, as a
  version or a time would soon be a number, and so does text of several words. Single quotes become double ones.
* No spaces at the ends of lines, at most one empty line in a row, one line end at the end of the file.
* The order of keys, comments and the columns behind values in which they stand, flow maps, line breaks, what stands in
  block texts and all of a template stay as they are.

The scanner's tokens say where everything stands; lines are put together anew from that, and nothing is dumped. Whoever
calls has to see that the result reads as the same values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.specfile.yamltext import as_word

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = 2
_OPENS = {"FlowSequenceStartToken", "FlowMappingStartToken"}
_CLOSES = {"FlowSequenceEndToken", "FlowMappingEndToken"}
_UNSEEN = {
    *("StreamStartToken", "StreamEndToken", "BlockMappingStartToken", "BlockSequenceStartToken", "BlockEndToken"),
    "KeyToken",
}
_TEMPLATE = re.compile(r"\{[{%#]")
_INDICATOR = re.compile(r"[|>][+-]?([1-9])")


def laid_out(text: str) -> str:
    """Give a text of YAML in the layout of all, with line feeds as its line ends.

    Raises:
        yaml.YAMLError: it isn't YAML.
    """
    lines = text.split("\n")
    reader = _Reader(lines)
    for token in _tokens(text):
        reader.take(token)
    return _joined(_Writer(lines, reader.found).lines())


def _tokens(text: str) -> Iterator[Any]:
    import yaml

    return yaml.scan(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@dataclass(slots=True)
class _Container:
    """A block map or list: the column where it stands and where it is to stand; `free` is a list under its key."""

    kind: str
    old: int
    new: int
    free: bool = False


@dataclass(slots=True)
class _Line:
    """What is known of a line: where it is to begin, and what of it changes.

    `shift` is the line whose move it follows, as a part of what begins there, and it may not come before `least`.
    `around` are the containers that are open where its content begins; `edits` are (start, end, text); `end` is where
    its last token ends. A `raw` line is content of a text: it is moved (by `cut` and `indent`) and left alone.
    """

    indent: int | None = None
    shift: int | None = None
    least: int = 0
    around: tuple[_Container, ...] = ()
    edits: list[tuple[int, int, str]] = field(default_factory=list)
    end: int = 0
    raw: bool = False
    cut: int = 0
    kept: bool = False


class _Reader:
    """Takes tokens in their order, and finds out what is to become of each line."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.found = [_Line() for _line in lines]
        self._stack: list[_Container] = []
        self._flow = 0
        self._flow_line = 0
        self._is_key = False
        self._dash: tuple[int, int] | None = None

    def take(self, token: Any) -> None:
        """Take a token."""
        name, start = type(token).__name__, token.start_mark
        if name in {"BlockMappingStartToken", "BlockSequenceStartToken"}:
            self._open("map" if name.startswith("BlockMapping") else "list", start.column)
        elif name == "BlockEndToken":
            self._leave_free()
            self._stack.pop()
        elif name == "KeyToken" and not self._flow:
            self._leave_free()
            self._is_key = True
            if self._lines[start.line][start.column : start.column + 1] == "?":
                self._seen(token, name)
        elif name not in _UNSEEN:
            if name == "BlockEntryToken" and self._stack[-1].kind == "map":
                self._open("list", start.column, free=True)
            self._seen(token, name)
            self._is_key = False

    def _open(self, kind: str, column: int, *, free: bool = False) -> None:
        new = self._stack[-1].new + STEP if self._stack else 0
        self._stack.append(_Container(kind, column, new, free))

    def _leave_free(self) -> None:
        if self._stack[-1].free:
            self._stack.pop()

    def _seen(self, token: Any, name: str) -> None:
        start, end = token.start_mark, token.end_mark
        line = self.found[start.line]
        if not self._lines[start.line][: start.column].strip(" ") and line.indent is None and line.shift is None:
            self._begin(line, name)
        if self._dash is not None and self._dash[0] == start.line:
            line.edits.append((self._dash[1], start.column, " "))
        self._dash = (end.line, end.column) if name == "BlockEntryToken" else None
        if name in _OPENS:
            self._flow_line = self._flow_line if self._flow else start.line
            self._flow += 1
        elif name in _CLOSES:
            self._flow -= 1
        if name == "ScalarToken" and token.style in {"|", ">"}:
            self._block_text(token)
            return
        self._continue(start.line, end.line, quoted=name == "ScalarToken" and bool(token.style))
        last = self.found[end.line]
        last.end = max(last.end, end.column)
        if name == "ScalarToken" and token.style and start.line == end.line:
            self._quotes(token)

    def _begin(self, line: _Line, name: str) -> None:
        """Find where a line is to begin that begins with this token."""
        line.around = tuple(self._stack)
        top = self._stack[-1] if self._stack else None
        if self._flow:
            line.shift, line.least = self._flow_line, (top.new if top is not None else 0)
        elif top is None or name in {"DocumentStartToken", "DocumentEndToken", "DirectiveToken"}:
            line.indent = 0
        elif name in {"BlockEntryToken", "KeyToken", "ValueToken"} or self._is_key:
            line.indent = top.new
        else:
            line.indent = top.new + STEP

    def _continue(self, first: int, last: int, *, quoted: bool) -> None:
        """Take note of the further lines of a text without a block of its own."""
        top = self._stack[-1].new + 1 if self._stack else 0
        for at in range(first + 1, last + 1):
            self.found[at].shift, self.found[at].least = first, top
            self.found[at].around = tuple(self._stack)
        for at in range(first, last):
            self.found[at].kept = True
            self.found[at].raw = at > first and quoted

    def _block_text(self, token: Any) -> None:
        """Take note of the lines of a block text: they stay as they are behind their indentation."""
        start, end = token.start_mark, token.end_mark
        self.found[start.line].end = len(self._lines[start.line].rstrip())
        last = end.line if end.column == 0 else end.line + 1
        numbers = [*range(start.line + 1, min(last, len(self._lines)))]
        header = self._lines[start.line][start.column :]
        if "+" not in header[:3]:  # the empty lines behind it don't belong to it
            while numbers and not self._lines[numbers[-1]].strip(" "):
                numbers.pop()
        given = _INDICATOR.match(header) or re.match(r"[|>]([1-9])", header)
        top = self._stack[-1] if self._stack else _Container("map", -1, 0)
        if given:
            real = next((one for one in reversed(self._stack) if not one.free), top)
            old, new = real.old + int(given[1]), top.new + int(given[1])
        else:
            filled = (self._lines[number] for number in numbers if self._lines[number].strip(" "))
            first = next(filled, "")
            old, new = len(first) - len(first.lstrip(" ")), top.new + STEP
        for number in numbers:
            line = self.found[number]
            line.raw, line.cut, line.indent, line.kept = True, old, new, True

    def _quotes(self, token: Any) -> None:
        start, end = token.start_mark, token.end_mark
        row = self._lines[start.line]
        text = row[start.column : end.column]
        if _TEMPLATE.search(text):
            return
        behind = row[end.column : end.column + 2]
        word = as_word(token.value)
        if row[: start.column].endswith(":"):
            return  # as in JSON; without quotes it would be another text
        if word is not None and not (behind.startswith(":") and behind[1:].strip()):
            self.found[start.line].edits.append((start.column, end.column, word))
        elif token.style == "'" and not set(token.value) & {'"', "\\"} and token.value.isprintable():
            self.found[start.line].edits.append((start.column, end.column, f'"{token.value}"'))


class _Writer:
    """Puts lines together anew."""

    def __init__(self, lines: list[str], found: list[_Line]) -> None:
        self._lines, self._found = lines, found
        self._moved: dict[int, int] = {}

    def lines(self) -> list[tuple[str, bool]]:
        """Give each line, and whether it belongs to a text, where empty lines count."""
        made = []
        for number, (row, line) in enumerate(zip(self._lines, self._found, strict=True)):
            if line.raw and line.shift is None:
                made.append((self._text_line(row, line), True))
            elif not row.strip():
                made.append((row if line.raw else "", line.kept))
            elif line.indent is None and line.shift is None:
                made.append((self._comment(number, row), False))
            else:
                made.append((self._line(number, row, line), line.kept))
        return made

    def _line(self, number: int, row: str, line: _Line) -> str:
        body = row.lstrip(" ")
        old = len(row) - len(body)
        new = line.indent
        if new is None:
            new = max(old + self._moved.get(line.shift or 0, 0), line.least)
        self._moved[number] = new - old
        if line.raw:
            return " " * new + body
        comment = row[line.end :].lstrip()
        has = comment.startswith("#") and line.end < len(row) and row[line.end].isspace()
        column = len(row) - len(comment)
        content = row[: line.end] if has else row
        for start, end, text in sorted(line.edits, reverse=True):
            content = content[:start] + text + content[end:]
        content = " " * new + content[old:]
        if line.kept:
            return content
        content = content.rstrip()
        return f"{content}{' ' * max(column - len(content), 1)}{comment.rstrip()}" if has else content

    @staticmethod
    def _text_line(row: str, line: _Line) -> str:
        if len(row) <= line.cut and not row.strip(" "):
            return ""
        return " " * (line.indent or 0) + row[line.cut :]

    def _comment(self, number: int, row: str) -> str:
        """Move a line that is a comment with what stands in its column before or behind it."""
        body = row.strip()
        column = len(row) - len(row.lstrip())
        near = [*self._around(number, -1), *self._around(number, 1)]
        fitting = [one for one in near if one.old <= column]
        return " " * (max(fitting, key=lambda one: one.old).new if fitting else 0) + body

    def _around(self, number: int, step: int) -> tuple[_Container, ...]:
        at = number + step
        while 0 <= at < len(self._found):
            if self._found[at].around:
                return self._found[at].around
            at += step
        return ()


def _joined(lines: list[tuple[str, bool]]) -> str:
    made: list[str] = []
    for row, kept in lines:
        if row or kept or (made and made[-1]):
            made.append(row)
    while made and not made[-1] and not lines[-1][1]:
        made.pop()
    return "\n".join(made) + ("\n" if made else "")
