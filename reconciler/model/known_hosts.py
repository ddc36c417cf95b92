"""OpenSSH's known_hosts, read strictly: which keys are trusted for a host, and which are revoked.

A line is `[marker] names type key [comment]`. Names are separated by commas and may be globs (`*`, `?`), negated by
`!`, written `[host]:port`, or one hash `|1|salt|hash` of them; capitals don't count. Markers: `@revoked`, and
`@cert-authority`, which isn't supported and is told apart from an unknown host. Lines that are none of this are passed
over, as OpenSSH does.

Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from fnmatch import fnmatchcase

SSH_PORT = 22
MAX_LINES = 1_000_000
_HASH = "|1|"
_REVOKED = "@revoked"
_AUTHORITY = "@cert-authority"
_SPECIAL = frozenset("*?!")


@dataclass(frozen=True, slots=True)
class HostKey:
    """One line: whose key it is, of which type, in base64, and in which line it stands (from 1).

    `hidden` is the salt and the hash of a line that hides its name.
    """

    marker: str
    names: tuple[str, ...]
    type: str
    key: str
    line: int
    hidden: tuple[bytes, bytes] | None = None

    def is_for(self, name: str) -> bool:
        """Say whether the line is about a host, named as `host_name` does."""
        if self.hidden is not None:
            salt, digest = self.hidden
            return hmac.compare_digest(_hmac(salt, name), digest)
        found = False
        for pattern in self.names:
            if fnmatchcase(name, _escaped(pattern.removeprefix("!"))):
                if pattern.startswith("!"):
                    return False
                found = True
        return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a key: `trusted`, `unknown`, `changed`, `revoked`, `authority` (only a CA is known)."""

    word: str
    line: int = 0


class KnownHosts:
    """The lines of a known_hosts file; safe to use from several threads."""

    def __init__(self, text: str) -> None:
        """Read the text of a file."""
        self._exact: dict[str, list[HostKey]] = {}
        self._others: list[HostKey] = []
        self._found: dict[str, list[HostKey]] = {}
        self.hashes_names = False
        """Whether the file hides its names; new lines then do so too."""
        for number, line in enumerate(text.split("\n")[:MAX_LINES], start=1):
            key = _read(line, number)
            if key is not None:
                self._add(key)

    def _add(self, key: HostKey) -> None:
        self.hashes_names = self.hashes_names or key.hidden is not None
        if key.hidden is None and not any(set(name) & _SPECIAL for name in key.names):
            for name in key.names:
                self._exact.setdefault(name, []).append(key)
        else:
            self._others.append(key)

    def lines_for(self, name: str) -> list[HostKey]:
        """Give the lines about a host, named as `host_name` does, in file order."""
        found = self._found.get(name)
        if found is None:  # hashed lines cost a hash each, and every connection asks twice
            matching = [*self._exact.get(name, ()), *(key for key in self._others if key.is_for(name))]
            found = self._found[name] = sorted(matching, key=lambda key: key.line)
        return found

    def types_for(self, name: str) -> list[str]:
        """Give the types of the keys that are trusted for a host, in file order: what to ask it for."""
        return list(dict.fromkeys(key.type for key in self.lines_for(name) if not key.marker))

    def judge(self, name: str, key_type: str, key: str) -> Verdict:
        """Say what is known of the key that a host showed, in base64."""
        lines = self.lines_for(name)
        for line in lines:
            if line.marker == _REVOKED and line.key == key:
                return Verdict("revoked", line.line)
        trusted = [line for line in lines if not line.marker]
        for line in trusted:
            if (line.type, line.key) == (key_type, key):
                return Verdict("trusted", line.line)
        for line in sorted(trusted, key=lambda line: line.type != key_type):
            return Verdict("changed", line.line)
        for line in lines:
            if line.marker == _AUTHORITY:
                return Verdict("authority", line.line)
        return Verdict("unknown")


def host_name(host: str, port: int) -> str:
    """Name a host as known_hosts does: in small letters, and with its port in brackets when that isn't 22."""
    return host.lower() if port == SSH_PORT else f"[{host.lower()}]:{port}"


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
    names = tuple(filter(None, fields[0].split(",")))
    try:
        key = base64.b64encode(base64.b64decode(fields[2], validate=True)).decode()  # one spelling for each key
        hidden = _hidden(names[0]) if len(names) == 1 and names[0].startswith(_HASH) else None
    except (binascii.Error, ValueError):
        return None
    return HostKey(marker, names if hidden else tuple(name.lower() for name in names), fields[1], key, number, hidden)


def _hidden(name: str) -> tuple[bytes, bytes]:
    salt, digest = (base64.b64decode(part, validate=True) for part in name.removeprefix(_HASH).split("|"))
    return salt, digest


def _escaped(pattern: str) -> str:
    """Take the meaning from brackets: only `*` and `?` are globs here."""
    return pattern.replace("[", "[[]")


def _hmac(salt: bytes, name: str) -> bytes:
    return hmac.digest(salt, name.encode(), "sha1")
