"""One client over SSH: the way to it, the host key, the login, and the pipe for requests. The rules stand in `ssh`."""

from __future__ import annotations

import logging
import os
import pwd
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Become
from reconciler.errors import (
    AuthenticationError,
    HostKeyError,
    HungUpError,
    LimitError,
    NetworkError,
    TransportError,
    UpdoserError,
    own_limit,
)
from reconciler.formats.duration import parse_duration
from reconciler.formats.known_hosts import host_name
from reconciler.model.network import ANY_FAMILY, FAMILIES

from ._ssh_hosts import KnownHostsFile
from ._ssh_jump import JumpHost, JumpPath, close_quietly
from ._ssh_login import Credentials
from ._ssh_options import LOGINS
from ._ssh_pipe import SshPipe
from ._ssh_wire import Connection

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator, Mapping

    import paramiko

    from reconciler.contracts import Context, Session
    from reconciler.model.client import Client
    from reconciler.model.network import AnyFamily

_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
_FAST_KEX = ("curve25519-sha256@libssh.org", "curve25519-sha256")
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_LATER = 1.0
"""Seconds after a time-out in which paramiko should have noticed it by itself, and says better what it was."""


class Ssh:
    """The `Transport` protocol of reconciler/contracts.py; used by several threads at once."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._options = options
        self._context = context
        become = options.get("become")
        self._become = Become(become["method"], become["command"]) if become is not None else None
        self._connect_timeout = parse_duration(options["connect_timeout"]).total_seconds()
        known_hosts = context.path(options["known_hosts"], HostKeyError)
        self._known_hosts = KnownHostsFile(
            known_hosts, accept_new=options["accept_new"], learnt=context.lasting(known_hosts)
        )
        self._credentials = Credentials(options, context.secret, context.log)
        self._way = self._way_over(options["jump"]) if options.get("jump") else None
        self._log = context.log.getChild("paramiko")
        self._log.setLevel(logging.CRITICAL if not context.log.isEnabledFor(logging.DEBUG) else logging.DEBUG)

    @contextmanager
    def connect(self, client: Client) -> Iterator[Session]:
        """Connect and log in; see `contracts.Transport`."""
        pipe = SshPipe(
            lambda stack: self._connect(client, stack),
            idle=parse_duration(self._options["idle_timeout"]).total_seconds(),
            total=parse_duration(self._options["timeout"]).total_seconds(),
        )
        with pipe:
            yield self._context.shell(pipe, shell=self._options["shell"], become=self._become)

    @contextmanager
    def carrying(self, client: Client) -> Iterator[Connection]:
        """Connect and log in, for channels that bring more than the answer of a command: who opens one looks after it.

        Raises:
            TransportError: it can't be reached; AuthenticationError and HostKeyError say more.
        """
        with ExitStack() as stack:
            connection = self._connect(client, stack)
            connection.wire.carry()
            yield connection

    def _connect(self, client: Client, stack: ExitStack) -> Connection:
        """Open a connection to a client and log in; what is opened on the way is closed with the stack."""
        host, port = client.address or client.name, client.port or self._options["port"]
        user = client.user or self._user
        if self._way is None:
            proxy = self._context.proxy
            direct = proxy is None or not proxy.is_for(host)
            only = client.families if direct else ()
            family: AnyFamily = next((one for one in FAMILIES if only == (one,)), ANY_FAMILY)
            connection = self._dial(host, port, family)
        else:
            connection = stack.enter_context(self._way.to(host, port))
        transport = self._open(host_name(host, port), connection)
        stack.callback(close_quietly, transport)
        self._log_in(transport, self._credentials, user)
        return transport

    def _log_in(self, transport: Connection, credentials: Credentials, user: str) -> None:
        transport.wire.expect(self._connect_timeout * LOGINS)
        try:
            credentials.log_in(transport, user)
        except TransportError as error:
            raise transport.wire.trouble or error from error.__cause__
        transport.wire.rest()

    @property
    def _user(self) -> str:
        named = self._options.get("user") or os.environ.get("USER")
        if named:
            return str(named)
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            number = os.getuid()
            raise AuthenticationError(
                f"nobody knows the name of user {number}", hint="name `user` in the transport, or set USER"
            ) from None

    def _dial(self, host: str, port: int, family: AnyFamily = ANY_FAMILY) -> socket.socket:
        """Connect, through the group's proxy where there is one."""
        try:
            return self._context.dial(
                host, port, proxy=self._context.proxy, family=family, timeout=self._connect_timeout
            )
        except NetworkError as error:
            raise TransportError(error.message, hint=error.hint, reason=error.reason) from error

    def _way_over(self, jumps: Iterable[Mapping[str, Any]]) -> JumpPath:
        hops = []
        for jump in jumps:
            own = {key: jump[key] for key in ("keys", "password") if key in jump}
            credentials = Credentials(own, self._context.secret, self._context.log) if own else self._credentials
            hops.append(JumpHost(jump["address"], jump["port"], jump.get("user") or self._user, credentials))
        return JumpPath(hops, self._dial, self._log_in_at, self._connect_timeout)

    def _log_in_at(self, hop: JumpHost, connection: Any) -> Connection:
        """Make an SSH connection to a jump host of one that is open."""
        transport = self._open(hop.name, connection)
        try:
            self._log_in(transport, hop.credentials, hop.user)
        except BaseException:
            close_quietly(transport)
            raise
        transport.wire.carry()
        return transport

    def _open(self, name: str, connection: Any) -> Connection:
        """Agree on algorithms, and check the host's key."""
        types = self._known_hosts.types_for(name)
        transport = Connection(connection, self._context.stop)
        transport.wire.expect(self._connect_timeout + _LATER)
        try:
            transport.set_log_channel(self._log.name)
            transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = self._connect_timeout
            transport.use_compression(self._options["compression"])
            _prefer(transport, types)
            transport.start_client(timeout=self._connect_timeout)
            self._known_hosts.check(name, transport.get_remote_server_key())
        except UpdoserError:
            close_quietly(transport)
            raise
        except Exception as error:  # whatever a host sends
            close_quietly(transport)
            raise self._no_greeting(name, transport, error) from error
        except BaseException:
            close_quietly(transport)
            raise
        transport.set_keepalive(int(parse_duration(self._options["keep_alive"]).total_seconds()))
        return transport

    def _no_greeting(self, name: str, transport: Connection, error: Exception) -> TransportError | LimitError:
        """Say why a connection became none of SSH."""
        if transport.wire.trouble is not None:
            return transport.wire.trouble
        cause = error.__context__ or error  # paramiko's own exception hides which it was
        if own := own_limit(error) or own_limit(cause):
            return own
        if not transport.remote_version and isinstance(cause, (EOFError, ConnectionError)):
            return HungUpError(
                f"{name} hung up before it greeted",
                hint="its server has too many logins under way (MaxStartups), or refuses this machine for a while "
                "(PerSourcePenalties): work on fewer clients at a time with --forks, or raise that there",
            )
        if isinstance(cause, TimeoutError):
            said = f"{name} didn't greet as SSH does within {self._connect_timeout:g} s"
            return TransportError(said, reason="silent")
        return TransportError(f"{name} speaks no SSH that we share: {str(error) or 'it hung up'}")


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
