"""A regular expression of the operator's, held against text of others, within a time.

Some expressions take for ever on some texts, and who writes the text chooses it so. Nothing in this process could end
that: the interpreter waits for the end of a match. So it runs in an interpreter of its own, which reads a file, writes
what it found, and is ended when its time is over.
"""

from __future__ import annotations

import re
import sys
import tempfile
from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.formats.text import read_json
from reconciler.programs import Ending, read_program

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

SECONDS = 10.0
MAX_LINE = 2000
"""Characters of a line; a longer one is cut where tags of HTML begin, or there."""
MAX_FOUND = 10_000
_MAX_PRINTED = 8 * 2**20
_MEMORY = 2**29
_CODE = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[4]), int(sys.argv[4])))
found, most = {}, int(sys.argv[3])
with open(sys.argv[2], encoding="utf-8", newline="\\n") as lines:
    expression = re.compile(sys.argv[1])
    for line in lines:
        for match in expression.finditer(line.rstrip("\\n")):
            version = match[1] if expression.groups else match[0]
            if version and len(found) < most:
                found.setdefault((match[0][:1000], version[:200]))
print(json.dumps(list(found)))
"""


def matches(pattern: str, text: str, folder: Path, stop: Event) -> list[tuple[str, str]]:
    """Give what an expression matches in the lines of a text, each once: all of it, and its first group.

    Raises:
        SourceError: it takes too long, or can't be tried.
    """
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="\n", dir=folder, prefix="match-") as file:
        file.writelines(f"{line}\n" for line in _lines(text))
        file.flush()
        command = [sys.executable, "-I", "-S", "-c", _CODE, pattern, file.name, str(MAX_FOUND), str(_MEMORY)]
        ended = read_program(command, folder, {"PATH": ""}, timeout=SECONDS, limit=_MAX_PRINTED, stop=stop)
    if ended.ending is Ending.LATE:
        raise SourceError(
            f"the pattern {pattern!r} wasn't through after {SECONDS:.0f} s",
            hint="write it so that there is one way only in which it can match: `[^/]*` for `.*`, no `(a+)+`",
        )
    if ended.ending is not Ending.EXITED or ended.status:
        why = ended.why or ended.errors.decode("utf-8", "replace").strip().rpartition("\n")[2] or "it was ended"
        raise SourceError(f"the pattern {pattern!r} can't be tried: {why}")
    return [(whole, version) for whole, version in read_json(ended.output)]


def _lines(text: str) -> list[str]:
    lines = re.split(r"[\r\n]", text.replace("\0", ""))
    parts = (part for line in lines for part in ([line] if len(line) <= MAX_LINE else re.split("(?=<)", line)))
    return [part[:MAX_LINE] for part in parts]
