"""What is known of a version before its file is fetched, and which texts are versions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from reconciler.errors import SourceError, printable
from reconciler.formats.text import unfit
from reconciler.model.release import MAX_FILE_NAME, file_name_problem, release_time
from reconciler.web.stream import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from reconciler.model.version import VersionScheme

MAX_TAG = 200
MAX_NOTES = 10_000
_DAY = re.compile(r"([0-9]{4})[-_]?([0-9]{2})[-_]?([0-9]{2})(?:[-_.]([1-9][0-9]{0,8}))?")
_V = re.compile(r"[vV](?=[0-9])")
_SAFE = "!$&'()*+,;=@~-._"


@dataclass(frozen=True, slots=True)
class Found:
    """A version of which a place says that it is there.

    `tag` is how it is written there, `name` what its file is called, `entry` what JSON pointers of options are for, and
    `assets` are URLs of what lies beside the file, by name, asked for with `asset_headers`. `is_mutable`: later that
    URL has another version's file.
    """

    version: str
    tag: str
    url: str
    name: str
    released: datetime | None = None
    notes: str = ""
    size: int | None = None
    entry: Any = None
    assets: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    asset_headers: tuple[tuple[str, str], ...] = ()
    is_mutable: bool = False


def version_in(tag: str, scheme: VersionScheme, prefix: str) -> str | None:
    """Give the version, in its only spelling, that a tag is of; None where it is of none.

    Of a scheme with dates `2026-11-19` and `20261119` are versions, too, as tags often have them.
    """
    if prefix:
        if not tag.startswith(prefix):
            return None
        tag = tag[len(prefix) :]
    texts = [tag] if prefix else [tag, _V.sub("", tag, count=1)]
    if scheme.name == "calver":
        days = [match for text in texts if (match := _DAY.fullmatch(text.lstrip("r") if not prefix else text))]
        texts += [".".join(part for part in day.groups() if part) for day in days]
    return next((text for text in texts if scheme.accepts(text)), None)


def newest(versions: Iterable[tuple[str, Any]], scheme: VersionScheme, most: int) -> list[tuple[str, Any]]:
    """Give the newest of some versions, each once: the first that was named."""
    once: dict[str, Any] = {}
    for version, more in versions:
        once.setdefault(version, more)
    return sorted(once.items(), key=lambda pair: scheme.parse(pair[0]), reverse=True)[:most]


def filled(template: str, *, version: str = "", tag: str = "", match: str = "") -> str:
    """Put a version into a URL; what others wrote can't lead to another place than its own."""
    values = {"version": version, "tag": tag, "match": match}
    return re.sub(r"\{(version|tag|match)\}", lambda found: quote(values[found[1]], safe=_SAFE), template)


def name_in(url: str) -> str:
    """Give what the file at a URL is called; `download` where it has no name that a release could have."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return name if name and not file_name_problem(name) and len(name) <= MAX_FILE_NAME else "download"


def checked_url(base: str, text: Any) -> str:
    """Give the whole URL of what a document names.

    Raises:
        SourceError: it is none, or leads where it mustn't.
    """
    if not isinstance(text, str) or unfit(text) or len(text) > 4000:
        raise SourceError("a document names what is no URL")
    try:
        whole = urljoin(base, text.strip())
        parts = urlsplit(whole)
        _port = parts.port
    except ValueError as error:
        raise SourceError(f"a document names what is no URL: {printable(text[:80])!r}") from error
    own = urlsplit(base).scheme
    if parts.scheme not in ({"file"} if own == "file" else {"https"} if own == "https" else {"http", "https"}):
        raise SourceError(f"a document leads to {shown(whole)}, which isn't followed")
    if parts.username is not None or not (parts.hostname or own == "file"):
        raise SourceError(f"a document leads to {shown(whole)}, which isn't followed")
    return whole


def time_in(value: Any) -> datetime | None:
    """Give when something came out, as a document says it; None where it says no time that can be."""
    try:
        return release_time(value).astimezone(UTC) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def notes_in(value: Any) -> str:
    """Give notes as a release may have them, whoever wrote them."""
    if not isinstance(value, str):
        return ""
    text = value.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode("utf-8", "replace")
    return printable(text, but="\n\t").strip()[:MAX_NOTES]
