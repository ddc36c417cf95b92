"""How the script comes to a client, in one exec: commands that find it, and what is sent where they don't.

* A client that was changed once keeps a copy. A command compares the digest of that and runs it (`kept`).
* Where there is none, or another one, an `asking` command says so, and whether it can unpack; it is answered with one
  line to run (`taking`), the script behind that, packed if it may be, and the request. What was sent ahead of the
  answer it has read and left: no line of a request begins as an answer does.
* Where a relay has the script it is fetched there first, and run only with the right digest. Whatever comes of that,
  too little, too much, other bytes or nothing in time: the command asks then.
* What comes over the connection is whole when its last line says so.
* A client that is asked for its mark says that all is as it was, before anything looks for the script (`marking`).
"""

from __future__ import annotations

import re
import shlex
import zlib
from functools import cache
from importlib.resources import files
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING

from reconciler.client.protocol import FIRST, NO_FULLBLOCK, NO_SCRIPT, NO_UNPACKING
from reconciler.model.mark import MARK, WANTED, compares
from reconciler.model.relay import RELAY_URL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DIGEST = 40
"""Characters of a digest in a command, which goes with every request: 160 bits are more than anybody can match."""
MARKS = 'IFS= read -r own;eval "$own";'
"""Goes ahead of a text, and runs the line of `marking`: no command, which sudo and others write down, holds that."""
FETCHING = 20
"""Seconds for the script from one host of a relay."""
PATIENCE = 10.0
LONG_PATIENCE = 60.0
"""The same for who waits with a request that isn't sent again, in another exec."""
_ASKS = re.compile(rb"^updoser 1 script (here|gzip|plain)$", re.MULTILINE)
_LOOKED_AT = 64 * 1024
"""Bytes of what a client prints in which the question is looked for: a login shell may be talkative."""
_KEPT = "own_kept=$$;"
"""Tells the script that it was read from its copy, which it need not compare again; no environment can know this."""
_SAME = (
    "set -f;set -- $(LC_ALL=C df -Pk {root} 2>/dev/null);"
    'case ${{11}} in ""|*[!0-9]*);;*)while read -r word&&[ "$word" != end ];do :;done;'
    'printf "updoser 1 same\\nfree %s\\nend\\n" "${{11}}";exit;;esac'
)
"""Reads the request that nobody needs, and answers; where `df` says no number a look says why."""
_GOES_ON = ("then", "do", "in", "{", "&&", ";;")
"""Behind these a line of `mark.sh` goes on in the next one."""
_DOES = "dd bs=1 count=1 iflag=fullblock >/dev/null 2>&1"


@cache
def packed(script: bytes) -> bytes:
    """Give a script in the form of gzip, the same each time."""
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(script) + packer.flush()


def kept(copy: str, digest: str) -> str:
    """Give the text that runs the copy of a script, at a quoted path, if that has this digest."""
    return f'own=$(cat {copy});case {_summed()} in {digest[:DIGEST]}*){_KEPT}eval "$own";;*)exit {NO_SCRIPT};esac'


def asking(copy: str, digest: str, *, ready: bool = False) -> str:
    """Give the same, which asks for the script in place of ending.

    With `ready` it says when it has the script, for who waits with a large request until then.
    """
    says = _says("here") if ready else ""
    return f'own=$(cat {copy});case {_summed()} in {digest[:DIGEST]}*){says}{_KEPT}eval "$own";exit;;esac;{ASKING}'


def marking(install_root: str, asked: str) -> bytes:
    """Give the line that makes a client's mark (`model.mark`), to be sent ahead of a request that looks.

    Where that is the one it is asked for, it answers, and ends. Else the script says it with what it finds.
    """
    root, outer = shlex.quote(install_root), "1" if asked == WANTED or "+" in asked else "''"
    text = f"{_lists()}own_mark=$(updoser_lists {root} {outer} 2>/dev/null|sha256sum);"
    if compares(asked):
        text += f"case $own_mark in {asked[:MARK]}*){_SAME.format(root=root)};;esac;"
    return f"{text}own_mark=$$:$own_mark\n".encode()


@cache
def _lists() -> str:
    text = ""
    for line in files("reconciler.client").joinpath("mark.sh").read_text("utf-8").splitlines():
        short = line.strip()
        if short and not short.startswith("#"):
            text += short + (" " if short.endswith(_GOES_ON) else ";")
    return text


def fetching(copy: str, digest: str, size: int, urls: Sequence[str]) -> str:
    """Give the text that looks for a copy, then fetches the script from hosts of a relay, and then asks for it."""
    found = f'case {_summed()} in {digest[:DIGEST]}*){_says("here")}eval "$own";exit;;esac'
    places = " ".join(f'"{url}/{digest}"' for url in urls if RELAY_URL.fullmatch(url))
    curl = f'curl -qgfsS --noproxy "*" --proto =http,https --max-redirs 0 --connect-timeout 5 -m {FETCHING} "$url"'
    wget = f'timeout {FETCHING} wget -qO- "$url"'
    got = f"own=$(unset http_proxy https_proxy all_proxy;{{ {curl}||{wget};}} 2>/dev/null|{_read(size)})"
    return f"own=$(cat {copy});{found};for url in {places};do {got};{found};done;{ASKING}"


def direct(script: bytes, *, pack: bool = False) -> str:
    """Give the text that reads a script of that length, packed or not, and runs it: whole, as its last line says."""
    read = f"{_read(len(packed(script)))}|gzip -dc 2>/dev/null" if pack else _read(len(script))
    rest = f"echo|{_DOES}||exit {NO_FULLBLOCK};exit {NO_UNPACKING if pack else 1}"
    return f'own=$({read});case ${{own##*#}} in " end")eval "$own";exit;;esac;{rest}'


def taking(script: bytes, *, pack: bool) -> bytes:
    """Give the line that answers one who asks, and the script behind it."""
    return f"@{direct(script, pack=pack)}\n".encode() + (packed(script) if pack else script)


class Reply:
    """Answers a command that may ask for its script; the `reply` of `contracts.TalkingPipe`.

    One that says nothing for `patience` seconds may be another program, which waits for the end of its input: it gets
    that, and a client that was only slow asks in vain, and gets its script in another exec.
    """

    def __init__(self, script: bytes, request: Iterable[bytes], patience: float = PATIENCE) -> None:
        """Take what is sent where it is asked for, and the request behind that."""
        self._until = monotonic() + patience
        self._script = script
        self._request = request
        self.wanted = False
        """Whether the script was asked for."""
        self.unpacks = False
        """Whether whoever asked for it has gzip."""

    def __call__(self, printed: bytes) -> Iterable[bytes] | None:
        """Give what is to be sent for what was printed; None as long as that says nothing."""
        said = _ASKS.search(printed, 0, _LOOKED_AT)
        if said is None:
            over = len(printed) >= _LOOKED_AT or monotonic() > self._until or FIRST.search(printed)
            return () if over else None
        if said[1] == b"here":
            return self._request
        self.wanted, self.unpacks = True, said[1] == b"gzip"
        return chain([taking(self._script, pack=self.unpacks)], self._request)


def _says(what: str) -> str:
    return f'printf "\\nupdoser 1 script %s\\n" {what};'


ASKING = (
    "command -v gzip >/dev/null&&own=gzip||own=plain;"
    + _says('"$own"')
    + f'while IFS= read -r own;do case $own in @*)eval "${{own#@}}";;esac;done;exit {NO_SCRIPT}'
)


def _summed() -> str:
    return '$(printf "%s\\n" "$own"|sha256sum)'


def _read(size: int) -> str:
    return f"dd bs={size} count=1 iflag=fullblock 2>/dev/null"
