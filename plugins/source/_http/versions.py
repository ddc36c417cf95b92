"""Which versions a place says that there are: of a text, a JSON document, a listing, or the file's own head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError, printable
from reconciler.formats.pointer import value_at
from reconciler.formats.text import read_json

from .found import MAX_TAG, Found, checked_url, filled, name_in, newest, time_in, version_in
from .matching import matches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from reconciler.contracts import Context
    from reconciler.model.version import VersionScheme

    from .documents import Documents
    from .told import Told

MAX_TEXT = 64 * 2**10
MAX_LISTING = 4 * 2**20
MAX_JSON = 16 * 2**20
MAX_ENTRIES = 5_000
_SHOWN = 60


def find(told: Told, scheme: VersionScheme, documents: Documents, context: Context) -> list[Found]:
    """Give the newest versions that there are of a component, the newest first; at most as many as are kept.

    Raises:
        SourceError: they can't be found out, or there are none.
    """
    version = told.version
    if isinstance(version, str):
        if not scheme.accepts(version):
            raise _no_version(version, scheme)
        pairs: Iterator[tuple[str, str, Any]] = iter([(version, version, None)])
    elif "text" in version:
        pairs = _in_text(told, version, documents, context)
    elif "listing" in version:
        pairs = _in_listing(told, version, documents, context)
    else:
        pairs = _in_json(told, version, documents)
    tags = list(pairs)
    named = [
        (own, (tag, match, entry))
        for tag, match, entry in tags
        if (own := version_in(tag, scheme, told.strip_prefix)) is not None
    ]
    if not named:
        if len(tags) == 1:
            raise _no_version(tags[0][0], scheme)
        raise SourceError(
            f"none of the {len(tags)} versions that are named is one of the scheme {scheme.name}",
            hint=f"such as {scheme.example}; `strip_prefix` takes away what stands before it",
        )
    found = [_found(told, own, *rest) for own, rest in newest(named, scheme, told.keep)]
    return found[:1] if told.is_mutable else found


def _found(told: Told, version: str, tag: str, match: str, entry: Any) -> Found:
    url = checked_url(told.base, filled(told.url, version=version, tag=tag, match=match))
    released = None
    if entry is not None and "released" in told.version:
        released = time_in(value(entry, told.version["released"]))
    return Found(
        version=version,
        tag=tag,
        url=url,
        name=name_in(url),
        released=released,
        entry=entry,
        is_mutable=told.is_mutable,
    )


def _no_version(text: str, scheme: VersionScheme) -> SourceError:
    said = printable(text[:_SHOWN])
    return SourceError(f"{said!r} is no version of the scheme {scheme.name} (such as {scheme.example})")


def _in_text(
    told: Told, version: dict[str, Any], documents: Documents, context: Context
) -> Iterator[tuple[str, str, Any]]:
    body = documents.get(version["text"], limit=MAX_TEXT, interval=told.interval).body
    text = _text(body, version["text"])
    if "pattern" in version:
        found = matches(version["pattern"], text, context.work, context.stop)
        if not found:
            raise SourceError(f"the pattern {version['pattern']!r} finds nothing in {version['text']}")
        yield found[0][1], found[0][0], None
        return
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not line or len(line) > MAX_TAG:
        raise SourceError(f"{version['text']} has no version in its first line: {printable(line[:_SHOWN])!r}")
    yield line, line, None


def _in_listing(
    told: Told, version: dict[str, Any], documents: Documents, context: Context
) -> Iterator[tuple[str, str, Any]]:
    body = documents.get(version["listing"], limit=MAX_LISTING, interval=told.interval).body
    found = matches(version["pattern"], _text(body, version["listing"]), context.work, context.stop)
    if not found:
        raise SourceError(
            f"the pattern {version['pattern']!r} finds nothing in {version['listing']}",
            hint="look at what is there: it may be a page that asks for a login",
        )
    for whole, inner in found:
        yield inner, whole, None


def _in_json(told: Told, version: dict[str, Any], documents: Documents) -> Iterator[tuple[str, str, Any]]:
    document = json_at(documents, version["json"], told.interval)
    entries = [document]
    if "each" in version:
        entries = value(document, version["each"])
        if not isinstance(entries, list):
            raise SourceError(f"{version['json']} has no list of releases at {version['each'] or 'its top'!r}")
    seen = False
    for entry in entries[:MAX_ENTRIES]:
        tag = value(entry, version["pointer"])
        if isinstance(tag, int) and not isinstance(tag, bool):
            tag = str(tag)[:MAX_TAG]
        if isinstance(tag, str) and 0 < len(tag) <= MAX_TAG:
            seen = True
            yield tag, tag, entry
    if not seen:
        raise SourceError(f"{version['json']} has no version at {version['pointer']!r}")


def json_at(documents: Documents, url: str, interval: timedelta, headers: tuple[tuple[str, str], ...] = ()) -> Any:
    """Read a JSON document.

    Raises:
        SourceError: it can't be had, or is none.
    """
    body = documents.get(url, limit=MAX_JSON, interval=interval, headers=headers).body
    try:
        return read_json(body)
    except ValueError as error:
        raise SourceError(f"{url} is no JSON: {error}; it begins with {ascii(body[:40])[1:]}") from error


def value(document: Any, pointer: str) -> Any:
    """Give what a pointer leads to; None where that is nothing."""
    try:
        return value_at(document, pointer)
    except KeyError:
        return None


def _text(body: bytes, name: str) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} isn't UTF-8, but begins with {ascii(body[:40])[1:]}") from error
