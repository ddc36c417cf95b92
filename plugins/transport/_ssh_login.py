"""Logging in: which keys and passwords are tried, in which order, at a client or at a host on the way to it."""

from __future__ import annotations

import io
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import paramiko

from reconciler.errors import AuthenticationError, SecretError, TransportError
from reconciler.model.known_hosts import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.model.spec import SecretRef

_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
_KEY_CLASSES = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class Credentials:
    """The keys and the password of some options, read once; used by several threads."""

    def __init__(self, options: Mapping[str, Any], secret: Callable[[SecretRef], str]) -> None:
        self._options = options
        self._secret = secret
        self._lock = Lock()
        self._keys: list[tuple[str, paramiko.PKey]] | None = None

    def log_in(self, transport: paramiko.Transport, user: str) -> None:
        """Try all that there is, in order.

        Raises:
            AuthenticationError: nothing was accepted.
            SecretError: a key or password can't be read.
            TransportError: the connection broke.
        """
        tried: list[str] = []
        allowed: list[str] = []
        for what, attempt in self._attempts(transport, user):
            tried.append(what)
            try:
                attempt()
            except paramiko.BadAuthenticationType as error:
                allowed = error.allowed_types
            except paramiko.AuthenticationException:
                pass
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise TransportError(f"the connection broke while logging in: {str(error) or 'it hung up'}") from error
            if transport.is_authenticated():
                return
            if not transport.is_active():
                break
        wanted = f"; the host accepts {', '.join(allowed)}" if allowed else ""
        raise AuthenticationError(
            f"user {user} isn't let in: tried {', '.join(tried) or 'nothing'}{wanted}",
            hint="name `keys` or a `password` in the transport, or add the public key to ~/.ssh/authorized_keys there",
        )

    def _attempts(self, transport: paramiko.Transport, user: str) -> Iterator[tuple[str, Any]]:
        options = self._options
        for name, key in self._private_keys():
            yield name, lambda key=key: transport.auth_publickey(user, key)
        bare = "keys" not in options and "password" not in options
        if options.get("agent", bare):
            yield from self._agent_attempts(transport, user)
        if "password" in options:
            password = self._secret(options["password"])
            yield "the password", lambda: transport.auth_password(user, password)

    def _agent_attempts(self, transport: paramiko.Transport, user: str) -> Iterator[tuple[str, Any]]:
        agent = paramiko.Agent()
        try:
            for key in agent.get_keys():
                yield (
                    f"the agent's key {fingerprint(key.get_base64())}",
                    lambda key=key: transport.auth_publickey(user, key),
                )
        finally:
            agent.close()

    def _private_keys(self) -> list[tuple[str, paramiko.PKey]]:
        """Read the private keys, once for all clients."""
        with self._lock:
            if self._keys is None:
                references = self._options.get("keys")
                if references is not None:
                    self._keys = [(str(reference), self._private_key(reference)) for reference in references]
                elif "password" in self._options:
                    self._keys = []
                else:
                    self._keys = list(self._identities())
            return self._keys

    def _identities(self) -> Iterator[tuple[str, paramiko.PKey]]:
        """Give the keys of ~/.ssh that aren't locked."""
        for name in _IDENTITIES:
            path = Path.home() / ".ssh" / name
            try:
                yield f"~/.ssh/{name}", parse_key(path.read_text(encoding="utf-8"), None, str(path))
            except (OSError, UnicodeDecodeError, SecretError):
                continue

    def _private_key(self, reference: SecretRef) -> paramiko.PKey:
        passphrase = self._options.get("passphrase")
        words = self._secret(passphrase) if passphrase is not None else None
        return parse_key(self._secret(reference) + "\n", words, str(reference))


def parse_key(text: str, passphrase: str | None, name: str) -> paramiko.PKey:
    """Read a private key.

    Raises:
        SecretError: it is none, or is locked with another passphrase.
    """
    for kind in _KEY_CLASSES:
        try:
            return kind.from_private_key(io.StringIO(text), passphrase)
        except paramiko.PasswordRequiredException as error:
            raise SecretError(f"the key {name} is locked", hint="name its `passphrase` in the transport") from error
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise SecretError(f"the key {name} is no private key that can be used, or its passphrase is wrong")
