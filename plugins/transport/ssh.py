"""Clients over SSH: strict host keys, one connection, one exec channel for each request.

* A host key must stand in `known_hosts`. Unknown, changed and revoked keys are refused; `accept_new` appends one line.
* Keys are tried in their order, then the password. Without either it is as with ssh: the agent's keys, then those of
  ~/.ssh. Nothing is asked.
* Each step has its time-out: connecting and logging in, silence on the channel, the request as a whole.
"""

from __future__ import annotations

import io
import logging
import os
import socket
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import paramiko

from reconciler.contracts import Become
from reconciler.errors import AuthenticationError, SecretError, TransportError
from reconciler.model.duration import parse_duration
from reconciler.model.known_hosts import fingerprint, host_name

from ._ssh_hosts import KnownHostsFile
from ._ssh_options import OPTIONS
from ._ssh_pipe import WINDOW, SshPipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.contracts import Context, Session
    from reconciler.model.client import Client
    from reconciler.model.spec import SecretRef

_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
_WEAK = {
    "ciphers": ["aes192-ctr", "aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"],
    "macs": ["hmac-md5", "hmac-sha1-96", "hmac-md5-96"],
}
"""What no host of the last fifteen years needs."""
_FAST_KEX = ("curve25519-sha256@libssh.org", "curve25519-sha256")
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
_KEY_CLASSES = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class Ssh:
    """The `Transport` protocol of reconciler/contracts.py; used by several threads at once."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._options = options
        self._context = context
        become = options.get("become")
        self._become = Become(become.get("method", "sudo"), become.get("command", "")) if become is not None else None
        self._connect_timeout = parse_duration(options.get("connect_timeout", "10s")).total_seconds()
        self._known_hosts = KnownHostsFile(
            context.base / Path(options.get("known_hosts", "~/.ssh/known_hosts")).expanduser(),
            accept_new=options.get("accept_new", False),
        )
        self._lock = Lock()
        self._keys: list[tuple[str, paramiko.PKey]] | None = None
        self._log = context.log.getChild("paramiko")
        self._log.setLevel(logging.CRITICAL if not context.log.isEnabledFor(logging.DEBUG) else logging.DEBUG)

    @contextmanager
    def connect(self, client: Client) -> Iterator[Session]:
        """Connect and log in; see `contracts.Transport`."""
        host, port = client.address or client.name, client.port or self._options.get("port", 22)
        user = client.user or self._options.get("user") or os.environ.get("USER", "root")
        transport = self._open(host, port)
        try:
            self._log_in(transport, user)
            pipe = SshPipe(
                transport,
                idle=parse_duration(self._options.get("idle_timeout", "5m")).total_seconds(),
                total=parse_duration(self._options.get("timeout", "1h")).total_seconds(),
            )
            yield self._context.shell(pipe, shell=self._options.get("shell", "sh"), become=self._become)
        finally:
            transport.close()

    def _open(self, host: str, port: int) -> paramiko.Transport:
        """Connect, agree on algorithms, and check the host's key."""
        name = host_name(host, port)
        known = self._known_hosts.read()
        try:
            connection = socket.create_connection((host, port), self._connect_timeout)
        except OSError as error:
            raise TransportError(f"{name} can't be reached: {error.strerror or error}") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = _Connection(connection, default_window_size=WINDOW, disabled_algorithms=_WEAK)
        try:
            transport.set_log_channel(self._log.name)
            transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = self._connect_timeout
            transport.use_compression(self._options.get("compression", False))
            _prefer(transport, known.types_for(name))
            transport.start_client(timeout=self._connect_timeout)
            self._known_hosts.check(name, transport.get_remote_server_key())
        except (paramiko.SSHException, EOFError, OSError) as error:
            transport.close()
            raise TransportError(f"{name} speaks no SSH that we share: {str(error) or 'it hung up'}") from error
        except BaseException:
            transport.close()
            raise
        transport.set_keepalive(int(parse_duration(self._options.get("keep_alive", "15s")).total_seconds()))
        return transport

    def _log_in(self, transport: paramiko.Transport, user: str) -> None:
        """Try all that there is, in order.

        Raises:
            AuthenticationError: nothing was accepted.
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
            password = self._context.secret(options["password"])
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
                yield f"~/.ssh/{name}", _parse_key(path.read_text(encoding="utf-8"), None, str(path))
            except (OSError, UnicodeDecodeError, SecretError):
                continue

    def _private_key(self, reference: SecretRef) -> paramiko.PKey:
        passphrase = self._options.get("passphrase")
        words = self._context.secret(passphrase) if passphrase is not None else None
        return _parse_key(self._context.secret(reference) + "\n", words, str(reference))


class _Connection(paramiko.Transport):
    """Asks for no host certificates: they can't be held against known_hosts."""

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """The kinds of host keys that are asked for."""
        return tuple(kind for kind in super().preferred_keys if "-cert-" not in kind)


def _parse_key(text: str, passphrase: str | None, name: str) -> paramiko.PKey:
    for kind in _KEY_CLASSES:
        try:
            return kind.from_private_key(io.StringIO(text), passphrase)
        except paramiko.PasswordRequiredException as error:
            raise SecretError(f"the key {name} is locked", hint="name its `passphrase` in the transport") from error
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise SecretError(f"the key {name} is no private key that can be used, or its passphrase is wrong")


def _prefer(transport: paramiko.Transport, known_types: list[str]) -> None:
    """Ask for the host keys that we know first, and for the fastest of the good algorithms."""
    security = transport.get_security_options()
    wanted = [kind for known in known_types for kind in (_RSA if known == "ssh-rsa" else (known,))]
    security.key_types = _first(wanted, security.key_types)
    security.ciphers = _first(_FAST_CIPHERS, security.ciphers)
    security.kex = _first(_FAST_KEX, security.kex)


def _first(wanted: Iterable[str], available: Iterable[str]) -> tuple[str, ...]:
    available = tuple(available)
    chosen = [name for name in wanted if name in available]
    return tuple(dict.fromkeys((*chosen, *available)))


__all__ = ["OPTIONS", "PLUGIN"]
PLUGIN = Ssh
