"""When a source doesn't want to be asked: kept on disk, for each source by itself, so that the next run knows it too.

A 429 counts whichever file it answers, and so does a 403 that says that an API's requests are used up. Another 403
counts only for the metadata that everybody may read: object stores answer 403 for single files that aren't there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError
from reconciler.remembered import recall, remember

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from logging import Logger
    from pathlib import Path

TOO_MANY, FORBIDDEN, UNAVAILABLE = 429, 403, 503
DEFAULTS = {TOO_MANY: timedelta(hours=4), FORBIDDEN: timedelta(hours=24), UNAVAILABLE: timedelta(minutes=15)}
"""How long to leave a source alone that doesn't say (ClamAV's rule for its mirrors)."""
LONGEST = timedelta(days=7)
_MAX_BYTES = 4096


class Cooldown:
    """The time before which a source is left alone."""

    def __init__(
        self,
        file: Path,
        clock: Callable[[], datetime],
        log: Logger,
        lengths: Mapping[int, timedelta] | None = None,
    ) -> None:
        """Take the file that remembers it, and how long it is for a status where that isn't the usual time."""
        self._file = file
        self._clock = clock
        self._log = log
        self._lengths = {**DEFAULTS, **(lengths or {})}

    def check(self) -> None:
        """Go on, unless the source is to be left alone.

        Raises:
            SourceError: it is; the error says until when, and why.
        """
        found = self._read()
        now = self._clock()
        if found is None or found[1] <= now:
            return
        since, until, why = found
        if since > now:  # the clock was ahead when it began: it lasts as long as it was to, from now on
            self._log.warning("the time until %s to leave the source alone was set by a clock that was ahead", until)
            until = now + min(until - since, LONGEST)
            self._write(now, until, why)
        raise SourceError(f"it is left alone until {until:%Y-%m-%dT%H:%M:%SZ}: it answered {why}", cooldown_until=until)

    def start(self, status: int, retry_after: str | None) -> None:
        """Remember an answer that asks to be left alone.

        Raises:
            SourceError: always; see `check`.
        """
        now = self._clock()
        until = now + min(waiting_time(retry_after, now) or self._lengths[status], LONGEST)
        self._write(now, until, f"HTTP {status}")
        raise SourceError(
            f"it is left alone until {until:%Y-%m-%dT%H:%M:%SZ}: it answered HTTP {status}", cooldown_until=until
        )

    def _write(self, since: datetime, until: datetime, why: str) -> None:
        times = {"since": since.astimezone(UTC).isoformat(), "until": until.astimezone(UTC).isoformat()}
        remember(self._file, {**times, "why": why}, self._log)

    def _read(self) -> tuple[datetime, datetime, str] | None:
        """Give from when, until when and why the source is left alone; none lasts longer than LONGEST."""

        def times(data: Any) -> tuple[datetime, datetime, str] | None:
            until = datetime.fromisoformat(data["until"])
            since = datetime.fromisoformat(data["since"]) if "since" in data else until - LONGEST
            return (max(since, until - LONGEST), until, str(data["why"])) if until.tzinfo and since.tzinfo else None

        return recall(self._file, _MAX_BYTES, self._log, times)


def waiting_time(retry_after: str | None, now: datetime) -> timedelta | None:
    """Read a `Retry-After` header (RFC 9110, 10.2.3): seconds or a date; None where there is none that makes sense."""
    text = (retry_after or "").strip()
    if text.isdecimal() and len(text) < 10:
        return timedelta(seconds=int(text))
    try:
        when = parsedate_to_datetime(text)
        return max((when if when.tzinfo else when.replace(tzinfo=UTC)) - now, timedelta())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def spent_until(headers: Mapping[str, str]) -> str:
    """Give, in the form of `Retry-After`, until when all requests are used up that an API allows; empty if they aren't.

    GitHub says that with 403 or 429, GitLab with 429: how many are left, and in seconds since 1970 when there are more.
    """
    for prefix in ("X-RateLimit", "RateLimit"):
        reset = headers.get(f"{prefix}-Reset", "").strip()
        if headers.get(f"{prefix}-Remaining", "").strip() == "0" and reset.isdecimal() and len(reset) < 12:
            return formatdate(int(reset), usegmt=True)
    return ""
