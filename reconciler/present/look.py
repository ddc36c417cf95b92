"""How a text looks where it is read: as wide as a terminal is, and in colours that mean something.

What goes into a file or through a pipe is as wide as its longest row, and without colours: who greps for a row finds
the whole of it. On a terminal no line is wider than that, and no word is broken: of a table the last columns go below
their row, the last first, and what still doesn't fit goes on in the next line. A mark at the beginning of a row decides
on its colour: green comes, yellow changes, red goes (or goes back, or is in the way), blue is left alone.

NO_COLOR takes the colours away, and so does TERM=dumb; FORCE_COLOR gives them to logs that can show them.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

_WHOLE = re.compile(
    r"(?<=\d) (?=\d{3}(?!\d)|%|(?:s|min|h|d|B|KiB|MiB|GiB|TiB|PiB)\b)"
    r"|(?<=%) (?=of )|(?<=% of) |(?<=\babout) (?=\d)|(?<=\bwave) (?=\d)|(?<=\d) (?=of \d)|(?<=\d of) (?=\d)"
    r"|(?<=[a-z]) (?=\d{1,3}(?: \d{3})*(?:[,;]|$))"
)
"""Blanks within numbers, and between them and their units or what they count: no line ends there."""
_STYLES = (
    (re.compile(r"  [+>]  "), "32"),
    (re.compile(r"  [~*]  "), "33"),
    (re.compile(r"  [-<!?]  |  ! |(?:Halted|Stuck): "), "31"),
    (re.compile(r"  =  "), "34"),
    (re.compile(r"(?:Plan|Status|Apply \w+): "), "1"),
    (re.compile(r"Next: "), "2"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """How wide the lines of a text may be (None: as wide as they are), and whether it is coloured."""

    width: int | None = None
    colour: bool = False


PLAIN = Look()


def hanging(text: str, width: int, indent: int, first: int | None = None) -> list[str]:
    """Break a text into lines at its blanks; all begin with `indent` blanks, the first one with `first` if given."""
    lead = " " * (indent if first is None else first)
    kept = _WHOLE.sub("\0", text.strip())
    lines = textwrap.wrap(
        kept,
        width,
        initial_indent=lead,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines]


def fitted(line: str, width: int | None) -> list[str]:
    """Break a line that is too wide; what goes on stands two blanks further in."""
    if width is None or len(line) <= width:
        return [line]
    lead = len(line) - len(line.lstrip())
    return hanging(line, width, lead + 2, lead)


def painted(text: str) -> str:
    """Colour a text, row by row: each is told by how it begins, which nobody else has a say in.

    What a sentence goes on with in the next lines, further in, has its colour, too.
    """
    lines, going = [], ""
    for line in text.split("\n"):
        style = next((style for pattern, style in _STYLES if pattern.match(line)), "")
        if style or not line.startswith("  "):
            going = "" if line.startswith(" ") else style
        lines.append(f"\x1b[{style or going}m{line}\x1b[0m" if style or going else line)
    return "\n".join(lines)
