r"""Text as roff, the language of man pages: nothing that a text says is taken for a request or an escape.

Code in backticks is bold, what a link leads to is its name. Every hyphen is `\-`, so that what is copied from a page is
what has to be typed.
"""

from __future__ import annotations

import re
import textwrap

_WIDTH = 79  # what mandoc calls long is longer
_MARKS = {"\\": r"\e", "-": r"\-", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
_CODE_MARKS = {**_MARKS, "'": r"\(aq"}
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]+\)")


def escaped(text: str, marks: dict[str, str] = _CODE_MARKS) -> str:
    """Give a text as it is; what isn't ASCII by its number."""
    return "".join(marks.get(sign, sign if sign.isascii() else f"\\[u{ord(sign):04X}]") for sign in text)


def bold(text: str) -> str:
    """Give a text as what has to be typed."""
    return rf"\fB{escaped(text)}\fR" if text else ""


def italic(text: str) -> str:
    """Give a text as what something else has to be put for."""
    return rf"\fI{escaped(text)}\fR" if text else ""


def prose(text: str) -> list[str]:
    """Give the lines of a text with code in backticks and links."""
    parts = re.split(r"`([^`]*)`", _LINK.sub(r"\1", text))
    line = "".join(bold(part) if at % 2 else escaped(part, _MARKS) for at, part in enumerate(parts))
    return wrapped(line)


def wrapped(line: str) -> list[str]:
    """Break what is roff already into lines, none of which can be taken for a request."""
    lines = textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [guarded(part) for part in lines]


def guarded(line: str) -> str:
    """Give a line that isn't taken for a request, whatever it begins with."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


def argument(text: str) -> str:
    r"""Give what stands in quotes behind a request, such as `.SH`."""
    return f'"{escaped(text)}"'


def as_is(lines: list[str]) -> list[str]:
    """Give lines that keep their breaks and spaces."""
    return [".nf", *(guarded(escaped(line)) or r"\&" for line in lines), ".fi"]
