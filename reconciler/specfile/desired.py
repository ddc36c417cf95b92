"""What is in force, as documents for those who show it: each value with the file and the line that it came from.

There is a document for each section (`server`), and for each component, group and source its own (`groups.office`), so
that nobody has to read all of a large spec. An index says which there are. What looks like a secret that somebody wrote
out is left out: references say all that there is to know.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reconciler.specfile.effective import values_in_force

if TYPE_CHECKING:
    from reconciler.specfile.load import Loaded

FORMAT_VERSION = "1.0"
_HOLDERS = frozenset(["components", "groups", "sources", "notify"])
"""What holds things that have names."""
_MOST_CLIENTS = 50
"""So many clients of a group are shown: there may be thousands."""
_SECRET = re.compile(r"pass(word|phrase|wd)|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
_REFERENCES = frozenset(["env", "file", "command", "credential", "run", "program"])
_IN_URL = re.compile(r"(://[^:/@\s]*:)[^@/\s]+@")
HIDDEN = "(hidden)"


def mark_of(loaded: Loaded) -> str:
    """Give what changes when the documents would: with the spec, and with each file that it is made from."""
    stamps = []
    for path in loaded.files:
        with suppress(OSError):
            status = path.stat()
            stamps.append((str(path), status.st_mtime_ns, status.st_size))
    said = (loaded.spec.digest, loaded.spec.commit, sorted(loaded.variables.items()), stamps)
    return hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()


def desired_documents(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """Give the documents of what is in force by the names of their sections; that of the index is empty.

    A value is a list: path below the section, value, and where it came from (empty: a default that nobody wrote).
    """
    sections: dict[str, list[list[Any]]] = {}
    left_out: dict[str, int] = {}
    for path, value, origin in values_in_force(loaded, ""):
        at = ".".join(path[:2]) if path[0] in _HOLDERS and len(path) > 1 else path[0]
        rest = path[2:] if at != path[0] else path[1:]
        rows = sections.setdefault(at, [])
        if path[0] == "groups" and rest[:1] == ("clients",) and len(rest) > 1:
            known = {row[0].split(".")[1] for row in rows if row[0].startswith("clients.")}
            if rest[1] not in known and len(known) >= _MOST_CLIENTS:
                left_out[at] = left_out.get(at, 0) + 1
                continue
        rows.append([".".join(rest), _shown(path, value), "" if origin == "default" else origin])
    documents: dict[str, dict[str, Any]] = {
        name: {"format_version": FORMAT_VERSION, "section": name, "values": rows, "left_out": left_out.get(name, 0)}
        for name, rows in sections.items()
    }
    index = [
        {"section": name, "values": len(rows), "written": sum(1 for row in rows if _is_written(row[2]))}
        for name, rows in sections.items()
    ]
    spec = loaded.spec
    return {
        "": {
            "format_version": FORMAT_VERSION,
            "file": str(spec.path.name),
            "mark": mark_of(loaded),
            "digest": spec.digest,
            "commit": spec.commit,
            "signer": spec.signer,
            "sections": index,
        },
        **documents,
    }


def _is_written(origin: str) -> bool:
    return bool(origin) and not origin.startswith("default")


def _shown(path: tuple[str, ...], value: Any) -> Any:
    """Leave out what looks like a secret that was written out."""
    if not isinstance(value, str):
        return value
    named = bool(path) and _SECRET.search(path[-1]) is not None and path[-1] not in _REFERENCES
    return HIDDEN if named and value else _IN_URL.sub(r"\1***@", value)
