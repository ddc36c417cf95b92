"""`release.yaml`: what a vendor says of a release beside its files. Its form stands in schema/release.schema.json.

It comes from outside, so it is a small flat mapping or it is refused: no aliases, tags, lists, or keys twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import yaml

from reconciler.model.release import ANY_PLATFORM, PLATFORM

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
        root = yaml.compose(content.decode(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except UnicodeDecodeError as error:
        raise ValueError("it isn't UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"line {line}: it isn't YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("it isn't YAML") from error
    values: dict[str, str] = {}
    for key, value in _pairs(root):
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.value not in KEYS:
            raise ValueError(f"line {line}: unknown key; there is: {', '.join(KEYS)}")
        if key.value in values:
            raise ValueError(f"line {line}: the key {key.value} stands twice")
        if not isinstance(value, yaml.ScalarNode) or value.tag not in KEYS[key.value]:
            raise ValueError(f"line {line}: {key.value} wants a text; put it in quotes")
        values[key.value] = value.value
    return values


def _pairs(root: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    match root:
        case None:
            return []
        case yaml.MappingNode():
            return list(root.value)
    raise ValueError("it isn't a mapping of keys to values")


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"released: {text!r} isn't a time such as 2026-11-19T06:00:00Z") from error
    if time.tzinfo is None:
        raise ValueError(f"released: {text!r} has no time zone; write it as 2026-11-19T06:00:00Z")
    return time
