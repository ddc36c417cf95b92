"""One YAML file becomes a tree that knows where each value stands.

* The C parser's events are read one by one: nothing is constructed from tags, nothing recurses, and the depth, the
  number of values and what aliases expand to are bounded while reading.
* A map has each key once, and keys are text. `<<` merges, as in YAML 1.1; explicit keys win.
* Text and numbers follow YAML 1.1, which is what editors and other tools agree on for the plain cases. Where 1.1
  reads something else than is written, the value is an `Odd` (see `tree`).
* The first thing that isn't YAML ends the reading: what follows it can't be judged. All else is collected, and what
  can't be used stands as `BROKEN` in the tree, so that later checks don't complain a second time.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from reconciler.errors import Problem, SpecError
from reconciler.formats.text import unfit
from reconciler.paths import read_file
from reconciler.specfile.tree import BROKEN, Map, Odd, Place, Seq, Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 50
MAX_VALUES = 5_000_000
MAX_ALIASED = 100_000
MAX_PROBLEMS = 1000

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_MAYBE = frozenset("0123456789+-.~nNyYtTfFoO")
_INT = re.compile(r"[-+]?(?:0b[0-1_]+|0[0-7_]*|[1-9][0-9_]*|0x[0-9a-fA-F_]+)")
_OCTAL_LIKE = re.compile(r"[-+]?0[0-9_]+")
_SEXAGESIMAL = re.compile(r"[-+]?(?:[1-9][0-9_]*(?::[0-5]?[0-9])+|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)"
)
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9:.]+.*)?")
_MAX_DIGITS = 18

_NON_SPECIFIC = frozenset({None, "!"})
_STRING_TAG = "tag:yaml.org,2002:str"


def scalar(raw: str) -> Any:
    """Read a plain scalar: text, int, float, bool, None, or Odd where YAML's reading isn't what is written."""
    if raw and raw[0] not in _MAYBE:
        return raw
    if raw in _NULL:
        return None
    if raw in _TRUE or raw in _FALSE:
        value = raw in _TRUE
        return value if raw in {"true", "false"} else Odd(raw, value, "true" if value else "false")
    if raw[0] in "nNyYtTfFoO":
        return raw
    return _number(raw)


def _number(raw: str) -> Any:
    if _DATE.fullmatch(raw):
        return Odd(raw, None, "a date")
    if _SEXAGESIMAL.fullmatch(raw):
        total = 0.0
        for part in raw.lstrip("+-").split(":"):
            total = total * 60 + float(part.replace("_", "") or 0)
        return Odd(raw, None, f"the number {total:g} (in sixties)")
    if _INT.fullmatch(raw) or _OCTAL_LIKE.fullmatch(raw):
        return _integer(raw)
    if _FLOAT.fullmatch(raw):
        number = float(raw.replace("_", ""))
        if not math.isfinite(number):
            return Odd(raw, None, "an infinite number")
        return number if repr(number) == raw else Odd(raw, number, f"the number {number!r}")
    if _SPECIAL.fullmatch(raw):
        return Odd(raw, None, "a number that is none")
    return raw


def _integer(raw: str) -> Any:
    if len(raw) > _MAX_DIGITS:
        return Odd(raw, None, "a number")
    digits = raw.replace("_", "").lstrip("+-")
    sign = -1 if raw.startswith("-") else 1
    if digits.startswith(("0x", "0b")):
        base = 16 if digits[1] == "x" else 2
        return Odd(raw, None, f"the number {sign * int(digits[2:] or '0', base)}")
    if len(digits) > 1 and digits[0] == "0":
        octal = not set(digits) & {"8", "9"}
        return Odd(raw, None, f"the number {sign * int(digits, 8)} (octal)" if octal else "a number")
    number = sign * int(digits or "0")
    return number if str(number) == raw else Odd(raw, number, f"the number {number}")


def read(path: Path, problems: list[Problem], name: str = "", rank: int = 0) -> Map:
    """Read a YAML file whose top is a map; its faults are added to `problems`. `name` is how messages call it.

    Raises:
        SpecError: the file can't be read, is too large, or isn't UTF-8 or YAML; carries `problems` too.
    """
    name = name or str(path)
    data = read_file(path, MAX_BYTES, lambda why: SpecError([*problems, Problem(f"can't be read: {why}", name)]))
    return parse(data, problems, name, path.absolute().parent, rank)


def parse(data: bytes, problems: list[Problem], name: str, folder: Path, rank: int = 0) -> Map:
    """Read YAML from bytes; see `read`.

    Raises:
        SpecError: as for `read`.
    """
    if len(data) > MAX_BYTES:
        raise SpecError([*problems, Problem(f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB", name)])
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        problem = Problem("the file isn't UTF-8", name, line, column, hint="save it as UTF-8")
        raise SpecError([*problems, problem]) from error
    text = Text(name, folder, re.split(r"\r\n|\r|\n|\x85|\u2028|\u2029", content), rank)
    builder = _Builder(text)
    try:
        for event in _events(content):
            builder.feed(event)
    except _YamlError as error:
        raise SpecError([*problems, *builder.problems, error.problem(text)]) from error
    except _LimitError as error:
        raise SpecError([*problems, *builder.problems, error.found]) from error
    problems += builder.problems
    return builder.root


class _LimitError(Exception):
    """A bound of this reader was passed at a place."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.found = place.problem(message)


class _YamlError(Exception):
    """The text isn't YAML at a place (counted from 0), and what the parser says of it."""

    def __init__(self, message: str, line: int, column: int, context: str = "") -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.context = message, line, column, context

    def problem(self, text: Text) -> Problem:
        line = min(self.line, len(text.lines) - 1)
        row = text.lines[line]
        # The parser notices some faults a line late; a template without quotes is the likely one when it stands there.
        before = text.lines[line - 1] if line else ""
        place = Place(text, line + 1, min(self.column, len(row)) + 1)
        if "\t" in row[: len(row) - len(row.lstrip())]:
            at = Place(text, line + 1, row.index("\t") + 1)
            return at.problem("a tab can't indent YAML", "use spaces")
        for number, candidate in ((line, row), (line - 1, before)):
            match = re.search(r"""(?:^|[:\-,\[{]\s+)(\{\{|\{%)""", candidate)
            if match:
                at = Place(text, number + 1, match.start(1) + 1)
                return at.problem(*_UNQUOTED)
        if row[self.column : self.column + 1] in {"@", "`", "%", "*", "&", "!"}:
            return place.problem(f"text can't begin with {row[self.column]!r} without quotes", "put it in quotes")
        if self.message.startswith("mapping values are not allowed"):
            return place.problem("`: ` inside text needs quotes", "put the text in quotes")
        context = f" ({self.context})" if self.context else ""
        return place.problem(f"this isn't YAML: {self.message}{context}")


_UNQUOTED = ("a template needs quotes", 'write "{{ name }}" with the quotes')


def _events(content: str) -> Iterator[Any]:
    """Give the parser's events; foreign errors are mapped here."""
    import yaml

    parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(content, Loader=parser)
    except yaml.reader.ReaderError as error:
        before = content[: error.position]
        line = before.count("\n")
        column = len(before) - (before.rfind("\n") + 1)
        raise _YamlError(f"the character {error.character:#x} isn't allowed", line, column) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        raise _YamlError(error.problem or "malformed", line, column, error.context or "") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise _YamlError(str(error), 0, 0) from error


class _Frame:
    """A map or list under construction; `key` waits for its value."""

    __slots__ = ("anchor", "broken", "key", "key_at", "merges", "node", "place")

    def __init__(self, node: Map | Seq, place: Place, anchor: str | None) -> None:
        self.node, self.place, self.anchor = node, place, anchor
        self.key: Any = _NO_KEY
        self.key_at = place
        self.merges: list[tuple[Any, Place]] = []
        self.broken = False


_NO_KEY = object()
_SKIPPED = object()  # stands for a key that can't be one; its value is dropped with it


class _Builder:
    """Puts events together to a tree and collects what is wrong."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.problems: list[Problem] = []
        self.root = Map(Place(text, 1, 1))
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0
        self._aliased = 0
        self._documents = 0

    def feed(self, event: Any) -> None:
        """Take one event of the parser."""
        handler = getattr(self, "_on_" + type(event).__name__, None)
        if handler is not None:
            handler(event)

    def _complain(self, place: Place, message: str, hint: str = "") -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(place.problem(message, hint))

    def _place(self, event: Any, raw: str = "") -> Place:
        mark = event.start_mark
        return Place(self.text, mark.line + 1, mark.column + 1, raw)

    def _on_DocumentStartEvent(self, event: Any) -> None:  # noqa: N802  (named after the event)
        self._documents += 1
        if self._documents > 1:
            raise _LimitError("the file holds a second document (`---`)", self._place(event))

    def _on_MappingStartEvent(self, event: Any) -> None:  # noqa: N802
        place = self._place(event)
        self._open(Map(place), place, event)

    def _on_SequenceStartEvent(self, event: Any) -> None:  # noqa: N802
        place = self._place(event)
        self._open(Seq(place), place, event)

    def _open(self, node: Map | Seq, place: Place, event: Any) -> None:
        self._tag(event, place)
        if len(self._stack) >= MAX_DEPTH:
            raise _LimitError(f"nested deeper than {MAX_DEPTH} levels", place)
        self._stack.append(_Frame(node, place, event.anchor))

    def _on_MappingEndEvent(self, _event: Any) -> None:  # noqa: N802
        frame = self._stack.pop()
        for source, place in frame.merges:
            self._merge(frame.node, source, place)
        self._close(frame)

    def _on_SequenceEndEvent(self, _event: Any) -> None:  # noqa: N802
        self._close(self._stack.pop())

    def _close(self, frame: _Frame) -> None:
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.node, _count(frame.node))
        self._add(BROKEN if frame.broken else frame.node, frame.place)

    def _on_ScalarEvent(self, event: Any) -> None:  # noqa: N802
        place = self._place(event)
        value: Any = event.value
        if not event.style and event.tag in _NON_SPECIFIC:
            value = scalar(event.value) if event.tag is None else event.value
            if value is not event.value or value == "<<":
                place = self._place(event, event.value)
        else:
            self._tag(event, place)
        if isinstance(value, str) and (trouble := unfit(value)):
            self._complain(place, f"this text has {trouble} in it")
            value = BROKEN
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, place)

    def _on_AliasEvent(self, event: Any) -> None:  # noqa: N802
        place = self._place(event)
        if event.anchor not in self._anchors:
            unfinished = any(frame.anchor == event.anchor for frame in self._stack)
            reason = "stands inside what it names" if unfinished else "names an anchor that isn't there"
            self._complain(place, f"the alias `*{event.anchor}` {reason}")
            self._add(BROKEN, place)
            return
        value, size = self._anchors[event.anchor]
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise _LimitError(f"aliases expand to more than {MAX_ALIASED:,} values", place)
        self._add(_fresh(value), place)

    def _tag(self, event: Any, place: Place) -> None:
        tag = getattr(event, "tag", None)
        if tag not in _NON_SPECIFIC and tag != _STRING_TAG:
            self._complain(place, f"the tag `{str(tag)[:80]}` isn't allowed", "remove it; values need no tags here")

    def _add(self, value: Any, place: Place) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise _LimitError(f"more than {MAX_VALUES:,} values", place)
        if not self._stack:
            self._top(value, place)
            return
        frame = self._stack[-1]
        if isinstance(frame.node, Seq):
            frame.node.put(value, place)
        elif frame.key is _NO_KEY:
            frame.key, frame.key_at = self._key(value, place), place
        else:
            key, frame.key = frame.key, _NO_KEY
            if key == "<<" and frame.key_at.raw:
                frame.merges.append((value, place))
            elif key is not _SKIPPED:
                frame.node.put(key, value, frame.key_at, place)

    def _top(self, value: Any, place: Place) -> None:
        if isinstance(value, Map):
            self.root = value
        elif value is not None and value is not BROKEN:
            self._complain(place, "the top of the file must be a map: `key: value`")

    def _key(self, value: Any, place: Place) -> Any:
        """Check a key; what can't be one is reported and skipped together with its value."""
        frame = self._stack[-1]
        if value is BROKEN:
            return _SKIPPED
        if isinstance(value, Map) and self.text.lines[frame.place.line - 1].startswith("{{", frame.place.column - 1):
            frame.broken = True
            self._complain(frame.place, *_UNQUOTED)
            return _SKIPPED
        if isinstance(value, str):
            if value in frame.node:
                first = frame.node.keys_at[value] if isinstance(frame.node, Map) else place
                self._complain(place, f"the key `{value}` stands here twice", f"the first one is in line {first.line}")
                return _SKIPPED
            return value
        becomes = value.becomes if isinstance(value, Odd) else "something else than text"
        if place.raw and value is not None:
            self._complain(place, f"the key `{place.raw}` is read by YAML as {becomes}", f'quote it: "{place.raw}"')
        else:
            self._complain(place, "a key must be text")
        return _SKIPPED

    def _merge(self, target: Any, source: Any, place: Place) -> None:
        for part in source if isinstance(source, Seq) else [source]:
            if not isinstance(part, Map):
                if part is not BROKEN:
                    self._complain(place, "`<<` takes a map or a list of maps")
                continue
            for key in part:
                if key not in target:
                    target.take(key, part)


def _count(node: Any) -> int:
    if isinstance(node, dict):
        return 1 + sum(map(_count, node.values()))
    return 1 + sum(map(_count, node)) if isinstance(node, list) else 1


def _fresh(node: Any) -> Any:
    """Copy what an alias names, so that rendering one use doesn't render the other."""
    if isinstance(node, Map):
        copy = node.copy()
        copy.update({key: _fresh(value) for key, value in node.items()})
        return copy
    if isinstance(node, Seq):
        items = Seq(node.place)
        for value, place in zip(node, node.items_at, strict=True):
            items.put(_fresh(value), place)
        return items
    return node
