"""Differences in files of settings, for people: a unified diff, and for YAML, JSON and INI what DeepDiff finds.

Secrets are in neither. What will be there is shown as it is rendered without them. What is there now may hold one that
was replaced since, and nobody knows that one any more: where a line gives way to one with a secret, only what both have
around it is shown; in a file with secrets a line that goes away is shown up to its value; and a value behind a word
such as `password` is never shown, whatever it is.
"""

from __future__ import annotations

import configparser
import json
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from reconciler.errors import printable
from reconciler.model.settings import HIDDEN
from reconciler.present.words import count_text, page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from reconciler.model.settings import FileView

MASK = "********"
MAX_LINES = 200
_MAX_VALUE = 80
_CONTEXT = 3
_TELLING = r"(?:pass(?:wor[dt]|wd|phrase)?|pwd|secret|token|credential|(?:api|private|access)[-_]?key)"
_TELLING_WORD = re.compile(_TELLING, re.IGNORECASE)
_TELLING_LINE = re.compile(rf"(?i)^(.*{_TELLING}[\w.-]*[\"']?\s*(?:[=:]|\s)\s*)\S.*$")
_KEY = re.compile(r"^(\s*(?:-\s+)?[\"']?[\w.-]+[\"']?\s*(?:[=:]\s*|\s))\S.*$")
_HIDDEN = re.compile(HIDDEN, re.IGNORECASE)


def files_text(shown: tuple[Sequence[FileView], Mapping[str, int]]) -> str:
    """Render files that change, and how many clients of each group aren't shown."""
    views, more = shown
    lines = ["", "Settings"]
    for view in views:
        lines += ["", f"  {view.client} ({view.group}): {view.path}", *(f"    {line}" for line in _lines(view))]
    lines += [f"  {group}: {count_text(count, 'client')} more" for group, count in more.items()]
    return page(lines)


def _lines(view: FileView) -> list[str]:
    if view.trouble:
        return [f"can't be rendered: {view.trouble}"]
    head = [f"what is there isn't known: {view.unknown}"] if view.unknown else []
    found = list(_diff(view))
    if len(found) > MAX_LINES:
        found = [*found[:MAX_LINES], f"… and {len(found) - MAX_LINES} lines more"]
    return [*head, *map(printable, found), *_data_lines(view)]


# --- the unified diff -------------------------------------------------------------------------------------------------


def _diff(view: FileView) -> Iterator[str]:
    """Compare what is really there; show what may be shown."""
    before, after, shadow = _split(view.before or ""), _split(view.after), _split(view.shadow)
    if len(after) != len(shadow):
        yield "not shown: a secret decides how many lines it has"
        return
    hides = after != shadow
    secret = [line != safe for line, safe in zip(after, shadow, strict=True)]
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        first, last = group[0], group[-1]
        yield f"@@ -{first[1] + 1},{last[2] - first[1]} +{first[3] + 1},{last[4] - first[3]} @@"
        for kind, i1, i2, j1, j2 in group:
            new = [_shown(line) for line in shadow[j1:j2]]
            if kind == "equal":
                yield from (f" {line}" for line in new)
                continue
            guarded = [shadow[at] for at in range(j1, j2) if secret[at]]
            yield from (f"-{_old(line, guarded, hides=hides, gone=kind == 'delete')}" for line in before[i1:i2])
            yield from (f"+{line}" for line in new)


def _split(text: str) -> list[str]:
    return [line.expandtabs(4) for line in text.splitlines()]


def _shown(line: str) -> str:
    return _HIDDEN.sub(MASK, line)


def _old(line: str, guarded: Iterable[str], *, hides: bool, gone: bool) -> str:
    """Show a line that gives way; `guarded` are those with a secret that come in its place."""
    guarded = list(guarded)
    for safe in guarded:
        begin, end = _HIDDEN.split(safe)[0], _HIDDEN.split(safe)[-1]
        if begin.strip() and line.startswith(begin) and line.endswith(end) and len(line) > len(begin) + len(end):
            return f"{begin}{MASK}{end}"
    if guarded or (hides and gone):
        return _up_to_value(line)
    return _TELLING_LINE.sub(lambda found: f"{found[1]}{MASK}", line)


def _up_to_value(line: str) -> str:
    found = _KEY.match(line)
    return f"{found[1]}{MASK}" if found else MASK if line.strip() else line


# --- what differs in data ---------------------------------------------------------------------------------------------


def _data_lines(view: FileView) -> list[str]:
    """Say what differs in the data of a file; nothing where it holds none that can be read."""
    read = _READERS.get(view.path.rpartition(".")[2].lower()) if not view.unknown else None
    if read is None or view.before is None:
        return []
    try:
        before, after, shadow = read(view.before), read(view.after), read(view.shadow)
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
    return [*map(printable, lines[:MAX_LINES]), *more]


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
    """Read YAML without aliases: a few of them make a document that never ends.

    Raises:
        ValueError: it isn't.
    """
    import yaml

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("an alias")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error


def _ini(text: str) -> Any:
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
