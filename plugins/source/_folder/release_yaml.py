"""`release.yaml`: what a vendor says of a release beside its files. Its form stands in schema/release.schema.json.

It comes from outside, so it is a small flat mapping or it is refused: no aliases, tags, lists, or keys twice. The
parser's events are read one by one and no further than the first that doesn't fit: to compose what is nested, a parser
goes as deep as that is, and tens of thousands of brackets end the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from reconciler.model.release import ANY_PLATFORM, PLATFORM, release_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

MAX_BYTES = 64 * 1024
MAX_NOTES = 10_000
MAJOR = "1"
_STRING = "tag:yaml.org,2002:str"
KEYS = {
    "format_version": {_STRING},
    "platform": {_STRING},
    "released": {_STRING, "tag:yaml.org,2002:timestamp"},
    "notes": {_STRING},
}
"""The keys, and the YAML types of their values that are meant as the text that is written there."""


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What `release.yaml` may say. `platform` is None when it doesn't say."""

    platform: str | None = None
    released: datetime | None = None
    notes: str = ""


def parse_release_facts(content: bytes) -> ReleaseFacts:
    """Read the content of a `release.yaml`.

    Raises:
        ValueError: it isn't one; the message says why, with the line where there is one.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    values = _mapping(content)
    major = values.get("format_version", MAJOR).partition(".")[0]
    if major != MAJOR:
        raise ValueError(f"its format_version is {major!r}, and only {MAJOR} is known")
    platform, notes = values.get("platform"), values.get("notes", "")
    if platform is not None and not PLATFORM.fullmatch(platform):
        raise ValueError(
            f"platform: {platform!r} is neither `any` nor `os-arch`, such as {ANY_PLATFORM} or linux-x86_64"
        )
    if len(notes) > MAX_NOTES:
        raise ValueError(f"notes: it is longer than {MAX_NOTES} characters")
    if any(not (char.isprintable() or char in "\n\t") for char in notes):
        raise ValueError("notes: it has control characters")
    return ReleaseFacts(platform, _time(values.get("released")), notes.strip())


def _mapping(content: bytes) -> dict[str, str]:
    try:
        return _values(_events(content.decode()))
    except UnicodeDecodeError as error:
        raise ValueError("it isn't UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"line {line}: it isn't YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("it isn't YAML") from error


def _events(text: str) -> Iterator[yaml.Event]:
    """Give what stands between the marks of the stream and of its one document."""
    marks = (yaml.StreamStartEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent, yaml.StreamEndEvent)
    documents = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            raise ValueError(f"line {_line(event)}: a second document begins")
        if not isinstance(event, marks):
            yield event


def _values(events: Iterator[yaml.Event]) -> dict[str, str]:
    values: dict[str, str] = {}
    first = next(events, None)
    if first is None or (isinstance(first, yaml.ScalarEvent) and not first.value and first.tag is None):
        return values
    if not isinstance(first, yaml.MappingStartEvent) or first.tag not in {None, "tag:yaml.org,2002:map"}:
        raise ValueError("it isn't a mapping of keys to values")
    while not isinstance(key := next(events), yaml.MappingEndEvent):
        line = _line(key)
        if not isinstance(key, yaml.ScalarEvent) or key.value not in KEYS:
            raise ValueError(f"line {line}: unknown key; there is: {', '.join(KEYS)}")
        if key.value in values:
            raise ValueError(f"line {line}: the key {key.value} stands twice")
        value = next(events)
        if not isinstance(value, yaml.ScalarEvent) or _tag(value) not in KEYS[key.value]:
            raise ValueError(f"line {line}: {key.value} wants a text; put it in quotes")
        values[key.value] = value.value
    for _event in events:
        pass  # to the end: what follows must be none
    return values


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _tag(event: yaml.ScalarEvent) -> str:
    """Give the type that YAML sees in a value."""
    if event.tag is not None and event.tag != "!":
        return str(event.tag)
    plain, quoted = event.implicit
    resolver: Any = yaml.resolver.Resolver()
    return str(resolver.resolve(yaml.ScalarNode, event.value, (plain, quoted)))


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return release_time(text)
    except ValueError as error:
        raise ValueError(f"released: {error}") from error
