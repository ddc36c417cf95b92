"""Logging in: which keys and passwords are tried, in which order, at a client or at a host on the way to it.

A key that can't be read or used costs that key only: what is left is tried, and the key is named with its reason.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn

from reconciler.errors import AuthenticationError, SecretError, TransportError, own_limit
from reconciler.formats.known_hosts import fingerprint

from ._paramiko import paramiko
from ._ssh_keys import parse_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from logging import Logger

    from reconciler.model.secret import SecretRef

_AGENT_TIMEOUT = 8.0
"""Seconds for an answer of the agent; it may ask its user."""
_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")


class Credentials:
    """The keys and the password of some options, read once; used by several threads."""

    def __init__(self, options: Mapping[str, Any], secret: Callable[[SecretRef], str], log: Logger) -> None:
        self._options = options
        self._secret = secret
        self._log = log
        self._lock = Lock()
        self._keys: list[tuple[str, paramiko.PKey]] | None = None
        self._unusable: dict[str, str] = {}

    def log_in(self, transport: paramiko.Transport, user: str) -> None:
        """Try all that there is, in order.

        Raises:
            AuthenticationError: nothing was accepted.
            SecretError: the password can't be read, or none of the keys, and there is nothing else.
            TransportError: the connection broke.
        """
        tried: list[str] = []
        allowed: list[str] = []
        attempts = self._attempts(transport, user)
        for what, attempt in attempts:
            tried.append(what)
            try:
                attempt()
            except paramiko.BadAuthenticationType as error:
                allowed = error.allowed_types
            except paramiko.AuthenticationException:
                pass
            except SecretError:
                raise
            except Exception as error:
                if own := own_limit(error):
                    raise own from error
                raise TransportError(f"the connection broke while logging in: {str(error) or 'it hung up'}") from error
            if transport.is_authenticated():
                return
            if not transport.is_active():
                self._hung_up(user, tried, [rest for rest, _attempt in attempts], farewell_of(transport))
        if not tried and self._unusable:
            raise SecretError("; ".join(self._unusable), hint=next(iter(self._unusable.values())))
        wanted = f"; the host accepts {', '.join(allowed)}" if allowed else ""
        raise AuthenticationError(
            f"user {user} isn't let in: tried {', '.join(tried) or 'nothing'}{wanted}{self._left_out()}",
            hint="name `keys` or a `password` in the transport, or add the public key to ~/.ssh/authorized_keys there",
        )

    def _hung_up(self, user: str, tried: list[str], rest: list[str], farewell: str) -> NoReturn:
        """Tell what a host that hung up had seen, and what it never saw.

        Raises:
            AuthenticationError: it had enough of us.
            TransportError: it hung up without a reason, on the first that it was shown.
        """
        if not farewell and len(tried) < 2:
            raise TransportError("the connection broke while logging in: it hung up")
        why = f" ({farewell})" if farewell else ""
        never = f" before {', '.join(rest)} could be tried" if rest else ""
        hint = "put the right one first, name fewer, or raise MaxAuthTries there"
        raise AuthenticationError(
            f"user {user} isn't let in: tried {', '.join(tried)}; then the host hung up{why}{never}{self._left_out()}",
            hint=hint if rest else "name the right one of `keys` first, or add its public key there",
        )

    def _left_out(self) -> str:
        return "".join(f"; {reason}" for reason in list(self._unusable))

    def _attempts(self, transport: paramiko.Transport, user: str) -> Iterator[tuple[str, Callable[[], object]]]:
        """Give what can be tried, in order; the agent comes first where nothing is named, and after `keys`."""
        options = self._options
        bare = "keys" not in options and "password" not in options
        if bare and options.get("agent", True):
            yield from self._agent_attempts(transport, user)
        for name, key in self._private_keys():
            yield name, partial(transport.auth_publickey, user, key)
        if not bare and options.get("agent", False):
            yield from self._agent_attempts(transport, user)
        if "password" in options:
            yield "the password", lambda: transport.auth_password(user, self._secret(options["password"]))

    def _agent_attempts(self, transport: paramiko.Transport, user: str) -> Iterator[tuple[str, Callable[[], object]]]:
        try:
            agent = _Agent()
        except Exception as error:  # whatever listens there
            if own := own_limit(error):
                raise own from error
            self._unusable[f"the SSH agent can't be asked: {error}"] = "start it anew, or unset SSH_AUTH_SOCK"
            return
        try:
            for key in agent.get_keys():
                name = f"the agent's key {fingerprint(key.get_base64())}"
                yield name, partial(transport.auth_publickey, user, _AgentKey(key))
        finally:
            agent.close()

    def _private_keys(self) -> list[tuple[str, paramiko.PKey]]:
        """Read the private keys, once for all clients; what can't be used is remembered with its reason."""
        with self._lock:
            if self._keys is None:
                references = self._options.get("keys")
                if references is not None:
                    self._keys = list(self._named(references))
                elif "password" in self._options:
                    self._keys = []
                else:
                    self._keys = list(self._identities())
            return self._keys

    def _named(self, references: Iterable[SecretRef]) -> Iterator[tuple[str, paramiko.PKey]]:
        passphrase = self._options.get("passphrase")
        words = self._secret(passphrase) if passphrase is not None else None
        for reference in references:
            try:
                yield str(reference), parse_key(self._secret(reference) + "\n", words, str(reference))
            except SecretError as error:
                self._unusable[error.message] = error.hint
                self._log.warning("%s", error.message)

    def _identities(self) -> Iterator[tuple[str, paramiko.PKey]]:
        """Give the keys of ~/.ssh that aren't locked."""
        try:
            folder = Path.home() / ".ssh"
        except RuntimeError:  # this user has no home
            return
        for name in _IDENTITIES:
            try:
                yield f"~/.ssh/{name}", parse_key((folder / name).read_text(encoding="utf-8"), None, f"~/.ssh/{name}")
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                self._unusable[f"the key ~/.ssh/{name} can't be read: {error}"] = ""
            except SecretError as error:
                self._unusable[error.message] = error.hint


class _Agent(paramiko.Agent):
    """The agent, which isn't waited for without end."""

    def _connect(self, connection: Any) -> None:
        connection.settimeout(_AGENT_TIMEOUT)
        super()._connect(connection)  # type: ignore[misc] # its types don't know it


class _AgentKey(paramiko.PKey):
    """A key of an agent. One that the agent doesn't sign with is refused by the host, and the next is tried.

    An exception would end the whole connection: paramiko signs in the thread that serves it.
    """

    def __init__(self, key: paramiko.AgentKey) -> None:
        self._key = key
        self.public_blob = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._key, name)

    def asbytes(self) -> bytes:
        return bytes(self._key.asbytes())

    def get_name(self) -> str:
        return str(self._key.get_name())

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Any:
        try:
            return self._key.sign_ssh_data(data, algorithm)
        except Exception:  # noqa: BLE001 - an agent that is locked, gone, or asked its user
            return b""


def farewell_of(transport: paramiko.Transport) -> str:
    """Give the reason that a host gave when it ended a connection, or nothing."""
    return str(getattr(transport, "farewell", ""))
