"""OpenSSH's known_hosts, read strictly: which keys are trusted for a host, and which are revoked.

A line is `[marker] names type key [comment]`. Names are separated by commas and may be globs (`*`, `?`), negated by
`!`, written `[host]:port`, or one hash `|1|salt|hash` of them. Their case doesn't matter: a hash is one of the name in
lower case. Markers: `@revoked`, and `@cert-authority`, which isn't supported and is told apart from an unknown host.
Lines that are none of this are passed over, as OpenSSH does.

Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from fnmatch import fnmatchcase
from string import ascii_lowercase, ascii_uppercase
from typing import Literal

SSH_PORT = 22
MAX_LINES = 1_000_000
_HASH = "|1|"
_REVOKED = "@revoked"
_AUTHORITY = "@cert-authority"
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


@dataclass(frozen=True, slots=True)
class HostKey:
    """One line: whose key it is, of which type, in base64, and in which line it stands (from 1).

    `names` are in lower case, but for a hash.
    """

    marker: str
    names: tuple[str, ...]
    type: str
    key: str
    line: int

    def is_for(self, name: str) -> bool:
        """Say whether the line is about a host, named as `host_name` does."""
        if self.names[0].startswith("|"):
            return _hash_matches(self.names[0], name)
        name, found = name.translate(_LOWER), False
        for pattern in self.names:
            if fnmatchcase(name, _escaped(pattern.removeprefix("!"))):
                if pattern.startswith("!"):
                    return False
                found = True
        return found


Trust = Literal["trusted", "unknown", "changed", "revoked", "authority"]


@dataclass(frozen=True, slots=True)
class KeyTrust:
    """What is known of a key: `trusted`, `unknown`, `changed`, `revoked`, `authority` (only a CA is known)."""

    word: Trust
    line: int = 0


class KnownHosts:
    """The lines of a known_hosts file."""

    def __init__(self, text: str) -> None:
        """Read the text of a file."""
        self.keys: list[HostKey] = []
        for number, line in enumerate(text.split("\n")[:MAX_LINES], start=1):
            key = _read(line, number)
            if key is not None:
                self.keys.append(key)
        self._revoked = [key for key in self.keys if key.marker == _REVOKED]
        self._exact: dict[str, list[HostKey]] = {}
        self._others: list[HostKey] = []
        for key in self.keys:
            if all(not set(name) & set("*?!|") for name in key.names):
                for name in key.names:
                    self._exact.setdefault(name, []).append(key)
            else:
                self._others.append(key)

    @property
    def hashes_names(self) -> bool:
        """Whether the file hides its names; new lines then do so too."""
        return any(key.names[0].startswith(_HASH) for key in self.keys)

    def lines_for(self, name: str) -> list[HostKey]:
        """Give the lines about a host."""
        found = [*self._exact.get(name.translate(_LOWER), ()), *(key for key in self._others if key.is_for(name))]
        return sorted(found, key=lambda key: key.line)

    def types_for(self, name: str) -> list[str]:
        """Give the types of the keys that are trusted for a host, in file order: what to ask it for."""
        return list(dict.fromkeys(key.type for key in self.lines_for(name) if not key.marker))

    def judge(self, name: str, key_type: str, key: str) -> KeyTrust:
        """Say what is known of the key that a host showed, in base64."""
        lines = self.lines_for(name)
        for line in self._revoked:
            if line.key == key and line.is_for(name):
                return KeyTrust("revoked", line.line)
        for line in lines:
            if not line.marker and (line.type, line.key) == (key_type, key):
                return KeyTrust("trusted", line.line)
        for line in lines:
            if not line.marker:
                return KeyTrust("changed", line.line)
        for line in lines:
            if line.marker == _AUTHORITY:
                return KeyTrust("authority", line.line)
        return KeyTrust("unknown")


def host_name(host: str, port: int) -> str:
    """Name a host as known_hosts does: in lower case, and with its port in brackets when that isn't 22."""
    host = host.translate(_LOWER)
    return host if port == SSH_PORT else f"[{host}]:{port}"


def hashed_name(name: str, salt: bytes) -> str:
    """Hide a name behind a hash; `salt` has 20 bytes."""
    return f"{_HASH}{base64.b64encode(salt).decode()}|{base64.b64encode(_hmac(salt, name)).decode()}"


def fingerprint(key: str) -> str:
    """Give the fingerprint of a key in base64, as ssh-keygen shows it."""
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _read(line: str, number: int) -> HostKey | None:
    fields = line.split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if len(fields) < 3 or marker not in {"", _REVOKED, _AUTHORITY}:
        return None
    try:
        base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return HostKey(marker=marker, names=_names(fields[0]), type=fields[1], key=fields[2], line=number)


def _names(field: str) -> tuple[str, ...]:
    """Split a list of names; what begins with a bar is one hash, whatever follows."""
    if field.startswith("|"):
        return (field,)
    return tuple(dict.fromkeys(filter(None, field.translate(_LOWER).split(",")))) or ("",)


def _escaped(pattern: str) -> str:
    """Take the meaning from brackets: only `*` and `?` are globs here."""
    return pattern.replace("[", "[[]")


def _hash_matches(hidden: str, name: str) -> bool:
    if not hidden.startswith(_HASH):
        return False
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hidden.removeprefix(_HASH).split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(_hmac(salt, name), digest)


def _hmac(salt: bytes, name: str) -> bytes:
    return hmac.new(salt, name.translate(_LOWER).encode(), hashlib.sha1).digest()
