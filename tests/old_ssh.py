"""An ssh as old as somebody says: it refuses what that didn't know yet, in the words of ssh, and is ssh otherwise.

`NEWER` has the options of ssh_config that came after OpenSSH 8.0, with the version that brought each.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NEWER = {
    "knownhostscommand": (8, 5),
    "logverbose": (8, 5),
    "permitremoteopen": (8, 5),
    "pubkeyacceptedalgorithms": (8, 5),
    "forkafterauthentication": (8, 7),
    "sessiontype": (8, 7),
    "stdinnull": (8, 7),
    "requiredrsasize": (9, 1),
    "enableescapecommandline": (9, 2),
    "channeltimeout": (9, 4),
    "tag": (9, 4),
    "obscurekeystroketiming": (9, 5),
}
LISTS_BEGIN = (8, 1)
"""The version from which on a list may begin with `^`."""
_PROGRAM = """\
#!{python}
import fnmatch, os, shlex, sys
SAID, NUMBER, NEWER, LISTS_BEGIN = {said!r}, {number!r}, {newer!r}, {lists_begin!r}
given = sys.argv[1:]
if given == ["-V"]:
    sys.exit(print(SAID, file=sys.stderr))
of = {{}}
lines = []
for option, value in zip(given, given[1:]):
    if option in ("-F", "-E"):
        of[option] = value
    elif option == "-o":
        lines.append(("command-line", 0, value.replace("=", " ", 1)))
if of["-F"] != "none":
    lines += [(of["-F"], at, line) for at, line in enumerate(open(of["-F"]).read().splitlines(), 1)]
ignored, bad = [], []
for place, at, line in lines:
    word, _, value = line.strip().partition(" ")
    if word.lower() == "ignoreunknown":
        ignored += value.split(",")
    elif any(fnmatch.fnmatch(word.lower(), one.lower()) for one in ignored):
        continue
    elif NEWER.get(word.lower(), NUMBER) > NUMBER:
        bad.append(f"{{place}}: line {{at}}: Bad configuration option: {{word.lower()}}")
    elif value.startswith("^") and NUMBER < LISTS_BEGIN:
        bad.append(f"{{place}} line {{at}}: Bad SSH2 cipher spec '{{value}}'.")
if bad:
    out = open(of["-E"], "a") if "-E" in of else sys.stderr
    print(*bad, f"{{of['-F']}}: terminating, {{len(bad)}} bad configuration options", sep="\\r\\n", file=out)
    sys.exit(255)
os.execvp("ssh", ["ssh", *given])
"""


def old_ssh(folder: Path, *number: int, said: str = "") -> Path:
    """Make one of a version, such as 8, 0; `said` is what it says that it is, if that isn't so."""
    path = folder / f"ssh-{'.'.join(map(str, number))}"
    said = said or f"OpenSSH_{'.'.join(map(str, number))}p1, OpenSSL 1.1.1k  FIPS 25 Mar 2021"
    text = _PROGRAM.format(python=sys.executable, said=said, number=number, newer=NEWER, lists_begin=LISTS_BEGIN)
    path.write_text(text)
    path.chmod(0o755)
    return path
