"""Text of others in a page: it can be no markup, it moves and hides nothing, and it stands there in ASCII.

So a page is the same in every encoding, and a secret is spelled in known ways, which masking looks for.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape

from reconciler.errors import printable
from reconciler.present.words import span_text

_NARROW = "\u202f"
_JUST_NOW = 10
"""Seconds."""
_NUMBER = re.compile(r"(?<=\d) (?=\d{3}(?!\d)|(?:B|KiB|MiB|GiB|TiB|PiB)\b)")
"""Blanks within numbers, and before their units."""
_MOMENT = re.compile(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z")

_COMMAND = re.compile(r"`?(\bupdoser (?:rollout [a-z|]+ [\w.-]*[\w-]|forecast|apply|plan|status)\b)`?")

_TYPED = re.compile(r"`([^`<>]+)`")


def spelled(text: str) -> str:
    """Spell a text for a page. No line ends within a number, or between it and its unit."""
    return in_ascii(escape(_NUMBER.sub(_NARROW, printable(text))))


def prose(text: str) -> str:
    """Spell a sentence, with the moments in it as people read them, and commands as such."""
    return _COMMAND.sub(r"<code>\1</code>", _MOMENT.sub(_moment, spelled(text)))


def ago(now: datetime, at: datetime | str | None) -> str:
    """Spell how long ago something was, or in which time it will be, with the moment itself."""
    if at is None:
        return "never"
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    seconds = (now - moment).total_seconds()
    text = f"{span_text(seconds)} ago" if seconds > 0 else f"in {span_text(-seconds)}"
    says = "just now" if abs(seconds) < _JUST_NOW else text
    exact = moment.astimezone(UTC)
    return (
        f'<time datetime="{exact:%Y-%m-%dT%H:%M:%SZ}" title="{exact:%Y-%m-%d %H:%M:%S} UTC">'
        f"{in_ascii(says.replace(' ', _NARROW, 1))}</time>"
    )


def remedy(text: str) -> str:
    """Spell a sentence of ours that says what to do: what stands between backticks is to be typed, or a key."""
    return _TYPED.sub(r"<code>\1</code>", prose(text))


def in_ascii(text: str) -> str:
    """Write what isn't ASCII by its number."""
    return text.encode("ascii", "xmlcharrefreplace").decode()


def spellings(shown: str) -> set[str]:
    """Give the ways in which a text may be spelled in a page."""
    return {spelled(shown), prose(shown), in_ascii(escape(printable(shown)))}


def _moment(found: re.Match[str]) -> str:
    return f'<time datetime="{found[0]}">{found[1]} {found[2]}&#8239;UTC</time>'
