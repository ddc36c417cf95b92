"""Settings as clients hold them: each file is a component of its own, with an id that is made of its path.

A client's settings are remembered as one text: `ID:VERSION:DIGEST` for each file, sorted, with a space between them.
The digest is `!` where the file isn't what was put there. What a client should have is written in the same way,
without digests: `ID:VERSION`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.change import SettingsReason
    from reconciler.model.client import Profile


RESERVED = "settings"
_PREFIX = f"{RESERVED}-"
_DAMAGED = "!"
_NO_WORD = re.compile(r"[^a-z0-9]+")
_MAX_WORD = 40


HIDDEN = "updosermaskedvalue"
"""What stands in `FileView.shadow` for a secret: a word that YAML, JSON and INI read as text."""


class Have(NamedTuple):
    """A setting on a client; its content digest is empty where it was changed by somebody else."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class FileView:
    """A file of settings as it is on a client and as it will be.

    `before` is None where there is no file, and where `unknown` says why nobody knows. `shadow` is `after` with HIDDEN
    in place of secrets. `trouble` says why the file can't be rendered.
    """

    client: str
    group: str
    path: str
    before: str | None = None
    after: str = ""
    shadow: str = ""
    unknown: str = ""
    trouble: str = ""


def is_reserved(component: str) -> bool:
    """Say whether a component's id is one that only settings may have."""
    return component == RESERVED or component.startswith(_PREFIX)


def is_setting(component: str) -> bool:
    """Say whether a component of a client is a file of its settings."""
    return component.startswith(_PREFIX)


def setting_id(path: str) -> str:
    """Give the id of the setting at a path: readable, and another one for each path."""
    word = _NO_WORD.sub("-", path.rpartition("/")[2].lower()).strip("-")[:_MAX_WORD]
    return f"{_PREFIX}{word or 'file'}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def split(profile: Profile) -> tuple[Profile, str]:
    """Take the settings out of what a client has: they differ from client to client, and profiles must stay few."""
    found = [entry for entry in profile.installed if is_setting(entry.component)]
    if not found:
        return profile, ""
    rest = tuple(entry for entry in profile.installed if not is_setting(entry.component))
    return replace(profile, installed=rest), pack(
        {entry.component: Have(entry.version, entry.digest) for entry in found}
    )


def pack(has: Mapping[str, Have]) -> str:
    """Write down which settings a client has."""
    return " ".join(f"{id_}:{have.version}:{have.digest or _DAMAGED}" for id_, have in sorted(has.items()))


def unpack(text: str) -> dict[str, Have]:
    """Read what `pack` wrote; what it can't have written counts as nothing that is known."""
    found = {}
    for entry in text.split():
        id_, version, digest = (*entry.split(":"), "", "")[:3]
        if digest:
            found[id_] = Have(version, "" if digest == _DAMAGED else digest)
    return found


def wish(versions: Mapping[str, str]) -> str:
    """Write down which versions of settings a client should have."""
    return " ".join(f"{id_}:{version}" for id_, version in sorted(versions.items()))


@lru_cache(maxsize=10_000)
def to_do(wanted: str, has: str) -> SettingsReason | Literal[""]:
    """Say what is to be done about a client's settings: one of SETTINGS_REASONS, or nothing.

    What a client has beside what is wanted is left alone. `missing` means that it has none of them.
    """
    there = unpack(has)
    due = False
    none = True
    damaged = False
    for entry in wanted.split():
        id_, _, version = entry.partition(":")
        now = there.get(id_)
        none = none and now is None
        damaged = damaged or (now is not None and not now.digest)
        due = due or now is None or now.version != version
    if damaged:
        return "damaged"
    return "" if not due else "missing" if none else "changed"
