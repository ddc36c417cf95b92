"""One client over the system's ssh: the way to it, the login, and the pipe for requests; `openssh` has the rules."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Become
from reconciler.errors import HostKeyError, NetworkError, SecretError, TransportError
from reconciler.formats.duration import parse_duration
from reconciler.formats.known_hosts import SSH_PORT, host_name
from reconciler.model.network import ANY_FAMILY, FAMILIES

from ._openssh_config import arguments, seconds_of, written
from ._openssh_doctor import examined
from ._openssh_folder import PrivateFolder
from ._openssh_jump import Hop, Hops
from ._openssh_master import Master, Start
from ._openssh_pipe import OpensshPipe
from ._openssh_plain import plain
from ._openssh_said import Asked
from ._openssh_version import NEW, version_of
from ._ssh_options import LOGINS

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.contracts import Context, Finding, Session
    from reconciler.model.client import Client
    from reconciler.model.network import AnyFamily

_ASKING = ("SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY")
"""Variables by which ssh finds a window to ask in."""
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Openssh:
    """The `Transport` protocol of reconciler/contracts.py; used by several threads at once."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._options = options
        self._context = context
        become = options.get("become")
        self._become = Become(become["method"], become["command"]) if become is not None else None
        self._connect_timeout = parse_duration(options["connect_timeout"]).total_seconds()
        written(options, self._path)  # what can't be told is refused now
        self._known_hosts = str(self._path(options["known_hosts"]))
        self._config = str(self._path(options["config"])) if "config" in options else ""
        self._lock = Lock()
        self._folder: PrivateFolder | None = None
        self._version = NEW
        self._env: Mapping[str, str] | None = None
        self._jump = self._jump_over(options["jump"]) if options.get("jump") else None

    @contextmanager
    def connect(self, client: Client) -> Iterator[Session]:
        """Connect and log in; see `contracts.Transport`."""
        pipe = OpensshPipe(
            lambda stack: self._connect(client, stack),
            self._context.stop,
            idle=parse_duration(self._options["idle_timeout"]).total_seconds(),
            total=parse_duration(self._options["timeout"]).total_seconds(),
        )
        with pipe:
            yield self._context.shell(pipe, shell=self._options["shell"], become=self._become)

    def examine(self) -> Sequence[Finding]:
        """Say what this needs of this machine, and whether it is there; see `contracts.Examined`."""
        return examined(self._options, self._path, self._context)

    def _connect(self, client: Client, stack: ExitStack) -> Master:
        """Have an ssh log in at a client; what is opened on the way is closed with the stack."""
        host, user = client.address or client.name, client.user or self._options.get("user", "")
        port = client.port or self._options.get("port")
        proxy = self._context.proxy
        direct = self._jump is None and (proxy is None or not proxy.is_for(host))
        only = client.families if direct else ()
        family: AnyFamily = next((one for one in FAMILIES if only == (one,)), ANY_FAMILY)
        own_way = direct and bool(self._config)
        if not own_way:  # whoever makes the way knows the port
            port = port or SSH_PORT
        given = arguments(host, port=port, user=user, family=family)
        self._look_at_files()
        way = None if own_way else self._way_to(host, port or SSH_PORT, family, stack)
        master = self._start(host, port or SSH_PORT, given, way)
        stack.callback(master.close)
        return master

    def _way_to(self, host: str, port: int, family: AnyFamily, stack: ExitStack) -> socket.socket:
        if self._jump is not None:
            return stack.enter_context(self._jump.to(host, port))
        return self._dial(host, port, family)

    def _dial(self, host: str, port: int, family: AnyFamily = ANY_FAMILY) -> socket.socket:
        """Connect, through the group's proxy where there is one."""
        try:
            way = self._context.dial(
                host, port, proxy=self._context.proxy, family=family, timeout=self._connect_timeout
            )
        except NetworkError as error:
            raise TransportError(error.message, hint=error.hint, reason=error.reason) from error
        return plain(way)

    def _jump_over(self, jumps: Sequence[Mapping[str, Any]]) -> Hops:
        user = self._options.get("user", "")
        hops = [
            Hop(
                address=jump["address"],
                port=jump["port"],
                user=jump.get("user") or user,
                keys=tuple(str(self._path(key["file"])) for key in jump.get("keys", ())),
            )
            for jump in jumps
        ]
        return Hops(hops, self._dial, self._log_in_at, self._connect_timeout)

    def _log_in_at(self, hop: Hop, way: socket.socket) -> Master:
        """Have an ssh log in at a jump host over a connection that is open."""
        keys = [part for key in hop.keys for part in ("-i", key)]
        more = ["-o", "IdentitiesOnly=yes", *keys] if keys else []
        given = arguments(hop.address, port=hop.port, user=hop.user)
        return self._start(hop.address, hop.port, [*more, *given], way)

    def _start(self, host: str, port: int, given: Sequence[str], way: socket.socket | None) -> Master:
        """Have an ssh log in, over a connection that is its own from then on: ours is closed whatever comes of it."""
        with way or nullcontext():
            return self._logged_in(host, port, given, way)

    def _logged_in(self, host: str, port: int, given: Sequence[str], way: socket.socket | None) -> Master:
        folder = self._private()
        at = f"-p {port} {host}" if port != SSH_PORT else host
        start = Start(
            program=self._options["program"],
            arguments=["-F", str(folder.config), *given],
            asked=Asked(
                name=host_name(host, port),
                known_hosts=self._known_hosts,
                scan=f"ssh-keyscan {at}",
                config=self._config,
                own_way=way is None,
                timeout=seconds_of(self._options, "connect_timeout"),
                ticket=bool(self._options.get("gssapi")),
                keys="keys" in self._options,
                made=str(folder.config),
                ssh=self._version.said,
            ),
            env=self._environment(),
            timeout=self._connect_timeout * LOGINS,
            stop=self._context.stop,
            way=way,
        )
        return Master(start, folder.place())

    def _private(self) -> PrivateFolder:
        with self._lock:
            if self._folder is None or not self._folder.usable:
                self._version = version_of(self._options["program"], self._context)
                self._folder = PrivateFolder(written(self._options, self._path, self._version))
            return self._folder

    def _environment(self) -> Mapping[str, str]:
        """Give the environment of ssh: nothing in it can make it ask somebody."""
        if self._env is None:
            found = {name: value for name, value in self._context.environment().items() if name not in _ASKING}
            self._env = {**found, "SSH_ASKPASS_REQUIRE": "never", "SHELL": "/bin/sh"}
        return self._env

    def _path(self, text: str) -> Path:
        return Path(os.path.abspath(self._context.path(text, HostKeyError)))  # noqa: PTH100 - links are followed by ssh

    def _look_at_files(self) -> None:
        """Refuse files that ssh would pass over without a word, or that it would believe though others wrote them."""
        named = [(key["file"], "key") for key in self._options.get("keys", ())]
        named += [(entry["file"], "certificate") for entry in self._options.get("certificates", ())]
        for text, what in named:
            if not os.access(self._path(text), os.R_OK):
                hint = "name the file of a private key; or, where an agent has it, that of its public key"
                raise SecretError(f"the {what} {self._path(text)} isn't there, or can't be read", hint=hint)
        if self._config:
            try:
                found = Path(self._config).stat()
            except OSError as error:
                raise TransportError(f"{self._config} can't be read: {error.strerror}", reason="other") from error
            if found.st_mode & _OTHERS:
                said = f"{self._config} may be written to by others, and says which programs ssh runs"
                raise TransportError(said, hint=f"chmod go-w {self._config}", reason="other")
