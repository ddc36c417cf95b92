"""The file of trusted host keys: read as it is now, and added to by one line at most."""

from __future__ import annotations

import fcntl
import os
from threading import Lock
from typing import TYPE_CHECKING

from reconciler.errors import HostKeyError, own_limit
from reconciler.formats.known_hosts import KnownHosts, fingerprint, hashed_name

if TYPE_CHECKING:
    from pathlib import Path

    import paramiko

    from reconciler.formats.known_hosts import KeyTrust

_UNKNOWN = frozenset(["unknown", "authority"])


class KnownHostsFile:
    """The file of trusted host keys, and where keys are learnt: in that file, or in one apart that outlives it.

    What stands in the file of the spec comes first: a host that is known there isn't known by what was learnt.
    """

    def __init__(self, path: Path, *, accept_new: bool, learnt: Path | None = None) -> None:
        """Read nothing yet; keys are learnt into `learnt`, None: into the file itself."""
        self._file = _File(path)
        self._learnt = _File(learnt) if learnt is not None and learnt != path else None
        self._accept_new = accept_new

    def types_for(self, name: str) -> list[str]:
        """Give the types of the keys that are trusted for a host: what to ask it for.

        Raises:
            HostKeyError: a file is there and can't be read.
        """
        found = self._file.read().types_for(name)
        return found or (self._learnt.read().types_for(name) if self._learnt else [])

    def check(self, name: str, key: paramiko.PKey) -> None:
        """Refuse a host whose key isn't trusted.

        Raises:
            HostKeyError: it is unknown, changed or revoked.
        """
        file, verdict = self._judge(name, key)
        shown = f"{key.get_name()} {fingerprint(key.get_base64())}"
        if verdict.word == "trusted":
            return
        if verdict.word == "revoked":
            raise HostKeyError(f"the key of {name} ({shown}) is revoked by {file.path}:{verdict.line}")
        if verdict.word == "changed":
            raise HostKeyError(
                f"the key of {name} ({shown}) isn't the one in {file.path}:{verdict.line}",
                hint="somebody may be in between; if the host was set up anew, replace that line",
            )
        if self._accept_new:
            (self._learnt or self._file).append(name, key)
            return
        more = "; it is signed by an authority, which isn't supported" if verdict.word == "authority" else ""
        raise HostKeyError(
            f"the key of {name} ({shown}) is unknown to {self._file.path}{more}",
            hint=f"compare the fingerprint with the host's, then: {_scan(name)} >> {self._file.path}",
        )

    def _judge(self, name: str, key: paramiko.PKey) -> tuple[_File, KeyTrust]:
        verdict = self._file.read().judge(name, key.get_name(), key.get_base64())
        if self._learnt is not None and verdict.word in _UNKNOWN:
            learnt = self._learnt.read().judge(name, key.get_name(), key.get_base64())
            if learnt.word not in _UNKNOWN:
                return self._learnt, learnt
        return self._file, verdict


class _File:
    """A file of host keys, read once and again when it changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._stamp: tuple[int, int] | None = None
        self._known = KnownHosts("")

    def read(self) -> KnownHosts:
        """Give what the file says now; a file that isn't there trusts nobody."""
        with self._lock:
            try:
                found = self.path.stat()
                if self._stamp != (found.st_mtime_ns, found.st_size):
                    self._known = KnownHosts(self.path.read_text(encoding="utf-8", errors="replace"))
                    self._stamp = found.st_mtime_ns, found.st_size
            except FileNotFoundError:
                self._known, self._stamp = KnownHosts(""), None
            except OSError as error:
                if own := own_limit(error):
                    raise own from error
                raise HostKeyError(f"{self.path} can't be read: {error.strerror}") from error
            return self._known

    def append(self, name: str, key: paramiko.PKey) -> None:
        """Add one line, unless another thread or process did; nothing else in the file is touched."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                data = file.read()
                known = KnownHosts(data.decode("utf-8", "replace"))
                verdict = known.judge(name, key.get_name(), key.get_base64())
                if verdict.word in _UNKNOWN:
                    shown = hashed_name(name, os.urandom(20)) if known.hashes_names else name
                    start = "" if not data or data.endswith(b"\n") else "\n"
                    file.write(f"{start}{shown} {key.get_name()} {key.get_base64()}\n".encode())
        except OSError as error:
            if own := own_limit(error):
                raise own from error
            raise HostKeyError(f"the key of {name} can't be added to {self.path}: {error.strerror}") from error
        if verdict.word in {"changed", "revoked"}:
            raise HostKeyError(f"the key of {name} isn't the one in {self.path}:{verdict.line}")


def _scan(name: str) -> str:
    host, _, port = name.removeprefix("[").partition("]:")
    return f"ssh-keyscan -p {port} {host}" if port else f"ssh-keyscan {host}"
