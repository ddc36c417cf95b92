"""Differences in files of settings, for people: a unified diff, and for YAML, JSON and INI what DeepDiff finds.

Secrets are in neither. What will be there is shown as it is rendered without them. What is there now may hold one that
was replaced since, and nobody knows that one any more: where a line gives way to one with a secret, only what both have
around it is shown; in a file with secrets a line that goes away is shown up to its value; and what stands behind a word
such as `password` is never shown, whatever it is.

What is there now is what a client says: any 64 KiB. So all that is done with it is bounded: lines are cut before they
are searched, patterns never look at a character twice, and data is read and compared where it is small.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import re
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

from reconciler.errors import printable
from reconciler.model.settings import HIDDEN
from reconciler.present.line_diff import changes
from reconciler.present.words import count_text, page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from reconciler.model.settings import FileView
    from reconciler.present.line_diff import Opcode

MASK = "********"
MAX_LINES = 200
MAX_WIDTH = 500
MAX_NODES = 2_000
MAX_ITEMS = 100
MAX_DEPTH = 20
"""How much data is compared: values in all, entries of one list, and levels."""
_MAX_SCALAR = 200
_MAX_VALUE = 80
_CONTEXT = 3
_TELLING = r"(?:pass(?:wor[dt]|wd|phrase)?|pwd|secret|token|credential|(?:api|private|access)[-_]?key)"
_TELLING_WORD = re.compile(_TELLING, re.IGNORECASE)
_TO_VALUE = re.compile(r"[\w.-]*+[\"']?+(?:\s*+[=:]\s*+|\s++)(?=\S)")
"""What leads from a telling word to the value behind it."""
_KEY = re.compile(r"\s*+(?:-\s++)?+[\"']?+[\w.-]++[\"']?+(?:\s*+[=:]\s*+|\s++)(?=\S)")
_HIDDEN = re.compile(HIDDEN, re.IGNORECASE)


def files_text(shown: tuple[Sequence[FileView], Mapping[str, int]]) -> str:
    """Render files that change, and how many clients of each group aren't shown; what is the same is shown once."""
    views, more = shown
    lines = ["", "What changes in files of settings"]
    for name, said in file_parts(views):
        lines += ["", f"  {name}", *(f"    {line}" for line in said)]
    lines += [f"  {group}: {count_text(count, 'client')} more" for group, count in more.items()]
    return page(lines)


def file_parts(views: Iterable[FileView]) -> list[tuple[str, list[str]]]:
    """Name files that change, each with the lines that say how; those that change alike share them."""
    alike: dict[tuple[str, ...], list[FileView]] = {}
    for view in views:
        alike.setdefault((view.group, view.path, *_lines(view)), []).append(view)
    return [
        (f"{', '.join(view.client for view in same)} ({group}): {path}", said)
        for (group, path, *said), same in alike.items()
    ]


def _lines(view: FileView) -> list[str]:
    if view.trouble:
        return [f"can't be rendered: {view.trouble}"]
    head = [f"what is there isn't known: {view.unknown}"] if view.unknown else []
    return [*head, *_diff(view), *_data_lines(view)]


def _cut(line: str) -> str:
    return line if len(line) <= MAX_WIDTH else line[: MAX_WIDTH - 1] + "…"


# --- the unified diff -------------------------------------------------------------------------------------------------


def _diff(view: FileView) -> list[str]:
    """Compare what is really there; show what may be shown."""
    before, after, shadow = _split(view.before or ""), _split(view.after), _split(view.shadow)
    if len(after) != len(shadow):
        return ["not shown: a secret decides how many lines it has"]
    groups = changes(before, after, _CONTEXT)
    shown = [printable(_cut(line)) for line in islice(_marked(groups, before, after, shadow), MAX_LINES)]
    count = sum(1 + sum((i2 - i1) * (kind != "equal") + j2 - j1 for kind, i1, i2, j1, j2 in group) for group in groups)
    return [*shown, f"… and {count - MAX_LINES} lines more"] if count > MAX_LINES else shown


def _marked(
    groups: Sequence[Sequence[Opcode]], before: Sequence[str], after: Sequence[str], shadow: Sequence[str]
) -> Iterator[str]:
    hides = after != shadow
    for group in groups:
        first, last = group[0], group[-1]
        yield f"@@ -{first[1] + 1},{last[2] - first[1]} +{first[3] + 1},{last[4] - first[3]} @@"
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                yield from (f" {_shown(line)}" for line in shadow[j1:j2])
                continue
            # Those with a secret that come in place of the old ones, each by what stands around it.
            guarded = {_around(shadow[at]): None for at in range(j1, j2) if after[at] != shadow[at]}
            yield from (f"-{_old(line, guarded, hides=hides, gone=kind == 'delete')}" for line in before[i1:i2])
            yield from (f"+{_shown(line)}" for line in shadow[j1:j2])


def _around(safe: str) -> tuple[str, str]:
    parts = _HIDDEN.split(safe)
    return parts[0], parts[-1]


def _split(text: str) -> list[str]:
    return [line.expandtabs(4) for line in text.splitlines()]


def _shown(line: str) -> str:
    return _HIDDEN.sub(MASK, line)


def _old(line: str, guarded: Mapping[tuple[str, str], None], *, hides: bool, gone: bool) -> str:
    """Show a line that gives way; `guarded` is what stands around the secrets of those that come in its place."""
    for begin, end in guarded:
        if begin.strip() and line.startswith(begin) and line.endswith(end) and len(line) > len(begin) + len(end):
            return f"{begin}{MASK}{end}"
    if guarded or (hides and gone):
        return _up_to_value(_cut(line))
    return _without_told(_cut(line))


def _without_told(line: str) -> str:
    """Show a line up to the value behind its first telling word."""
    for word in _TELLING_WORD.finditer(line):
        found = _TO_VALUE.match(line, word.end())
        if found:
            return f"{line[: found.end()]}{MASK}"
    return line


def _up_to_value(line: str) -> str:
    found = _KEY.match(line)
    return f"{found[0]}{MASK}" if found else MASK if line.strip() else line


# --- what differs in data ---------------------------------------------------------------------------------------------


def _data_lines(view: FileView) -> list[str]:
    """Say what differs in the data of a file; nothing where it holds none that can be read."""
    read = _READERS.get(view.path.rpartition(".")[2].lower()) if not view.unknown else None
    if read is None or view.before is None:
        return []
    try:
        before, after, shadow = (_small(read(text)) for text in (view.before, view.after, view.shadow))
    except (ValueError, RecursionError, configparser.Error):
        return []
    from deepdiff import DeepDiff

    found = DeepDiff(before, after, view="tree")
    lines = [
        _data_line(kind, item, shadow, hides=view.after != view.shadow)
        for kind, items in found.items()
        for item in items
    ]
    lines.sort(key=lambda line: line[2:])
    more = [f"… and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    return [*(printable(_cut(line)) for line in lines[:MAX_LINES]), *more]


def _small(data: Any) -> Any:
    """Give the same data with a digest in place of the end of long texts, which nobody is shown.

    Raises:
        ValueError: it is more than can be compared in a moment.
    """
    count = 0

    def copied(value: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError("too much")
        match value:
            case dict():
                return {key: copied(entry, depth + 1) for key, entry in value.items()}
            case list() if len(value) <= MAX_ITEMS:
                return [copied(entry, depth + 1) for entry in value]
            case str() if len(value) > _MAX_SCALAR:
                return value[:_MAX_SCALAR] + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
            case bool() | float() | str() | None:
                return value
            case int() if abs(value) < 10**_MAX_SCALAR:
                return value
            case date():
                return str(value)
        raise ValueError("nothing that can be compared")

    return copied(data, 0)


def _data_line(kind: str, item: Any, shadow: Any, *, hides: bool) -> str:
    path = item.path(output_format="list")
    name = ".".join(map(str, path)) or "all"
    telling = any(_TELLING_WORD.search(str(part)) for part in path)
    if kind.endswith("_removed"):
        return f"- {name}: {MASK if hides or telling else _value(item.t1)}"
    safe = _at(shadow, path)
    guarded = safe != item.t2
    new = MASK if telling else _value(safe)
    if kind.endswith("_added"):
        return f"+ {name}: {new}"
    return f"~ {name}: {MASK if guarded or telling else _value(item.t1)} -> {new}"


def _at(data: Any, path: Sequence[Any]) -> Any:
    """Give what stands at a path of the file without secrets, which may have another shape."""
    for part in path:
        try:
            data = data[part]
        except (LookupError, TypeError):
            return HIDDEN
    return data


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    if _TELLING_WORD.search(text):
        return MASK
    text = _shown(text)
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"


def _yaml(text: str) -> Any:
    """Read YAML that is small, and has no aliases: a few of them make a document that never ends.

    Raises:
        ValueError: it isn't.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for number, event in enumerate(yaml.parse(text, loader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            long = isinstance(event, yaml.ScalarEvent) and not event.style and len(event.value) > _MAX_SCALAR
            if isinstance(event, yaml.AliasEvent) or long or depth > MAX_DEPTH or number > 3 * MAX_NODES:
                raise ValueError("an alias, or more than can be compared")
        return yaml.load(text, loader)  # noqa: S506 - one of both safe loaders
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error


def _ini(text: str) -> Any:
    if any(len(line) > MAX_WIDTH for line in text.splitlines()):
        raise ValueError("too long")
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    parser.read_string(text)
    sections = {name: dict(parser.items(name)) for name in parser.sections()}
    return {**({"DEFAULT": dict(parser.defaults())} if parser.defaults() else {}), **sections}


_READERS: Mapping[str, Callable[[str], Any]] = {
    "yaml": _yaml,
    "yml": _yaml,
    "json": json.loads,
    "ini": _ini,
    "cfg": _ini,
}
