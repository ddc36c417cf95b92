"""`SHA256SUMS`, in all the forms that `sha256sum -c` takes: its own, its `--tag`, and those of BSD and OpenSSL.

Two things are other than there. A line of another form is refused, where that tool only warns: it may be the half of
one whose file hasn't come yet. And a byte order mark before the first line, as editors on Windows leave it, is passed.
Source of the forms: `split_3` in coreutils' src/digest.c.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 4 * 2**20
_PLAIN = re.compile(r"([0-9A-Fa-f]{64})[ \t](.+)")
_TAGGED = re.compile(r"SHA256 ?\((.+)\)[ \t]*=[ \t]*([0-9A-Fa-f]{64})")
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "\\": "\\"}


def parse_sums(content: bytes) -> Iterator[tuple[str, str]]:
    """Give the name and the digest of each line, the digest in lower case and the name without a leading `./`.

    Raises:
        ValueError: a line has another form; the message says which.
    """
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    reverse: bool | None = None
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.removesuffix("\r").lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        escaped = line.startswith("\\")
        line = line.removeprefix("\\")
        if tagged := _TAGGED.fullmatch(line):
            name, digest = tagged[1], tagged[2]
        elif plain := _PLAIN.fullmatch(line):
            digest, name = plain[1], plain[2]
            # `digest name`, with one blank, is the form of `sha256 -r`; which of the two it is holds for the whole file
            if reverse is None:
                reverse = name[0] not in " *" or len(name) == 1
            if not reverse:
                if name[0] not in " *" or len(name) == 1:
                    raise _malformed(number)
                name = name[1:]
        else:
            raise _malformed(number)
        yield (_unescaped(name, number) if escaped else name).removeprefix("./"), digest.lower()


def _malformed(number: int) -> ValueError:
    return ValueError(f"line {number} isn't a digest and a file name, as sha256sum writes them")


def _unescaped(name: str, number: int) -> str:
    """Give a name that was written with escapes; only those that sha256sum knows are any."""

    def put_back(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPED:
            raise _malformed(number)
        return _ESCAPED[match[1]]

    return _ESCAPE.sub(put_back, name)
