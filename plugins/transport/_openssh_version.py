"""Which OpenSSH a program is, and what follows from that: what it can be told, and which keys it can use.

What only newer ones know is put so that older ones pass over it (IgnoreUnknown), but for words that stand behind an
option that all know: these go by the version. A program that names none is taken for a new one.

Source: the release notes of OpenSSH 8.0 to 9.9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.programs import Ending, last_lines, read_program

if TYPE_CHECKING:
    from reconciler.contracts import Context

OLDEST = (8, 0)
"""From this version on ssh understands all that it is told."""
PREFERS = (8, 1)
"""From this one on a list may begin with what is preferred (`^`)."""
HARDWARE = (8, 2)
"""From this one on there are keys on hardware (`sk-`), and authorities that sign with SHA-1 aren't believed."""
SHA1 = "the authority signs with SHA-1, which OpenSSH 8.2 and later don't believe: have it sign anew, with "
SHA1 += "ssh-keygen -t rsa-sha2-512 -s, or by a key that isn't RSA"
_PATIENCE = 10.0
_MAX_SAID = 4096
_VERSION = re.compile(r"OpenSSH_(\d{1,4})\.(\d{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a program says that it is: its words, the number in them if any, and why it can't be started."""

    said: str = ""
    number: tuple[int, int] | None = None
    why: str = ""

    def before(self, number: tuple[int, int]) -> bool:
        """Say whether it is known to be older."""
        return self.number is not None and self.number < number


NEW = Version()
"""One of which nothing is known, and that is taken for new."""


def version_of(program: str, context: Context) -> Version:
    """Ask a program which one it is.

    Raises:
        LimitError: this machine has no room for it.
    """
    ended = read_program(
        [program, "-V"], context.base, context.environment(), timeout=_PATIENCE, limit=_MAX_SAID, stop=context.stop
    )
    if ended.ending is Ending.NOT_STARTED:
        return Version(why=ended.why)
    said = last_lines(ended.errors or ended.output)
    found = _VERSION.search(said)
    return Version(said=said, number=(int(found[1]), int(found[2])) if found else None)
