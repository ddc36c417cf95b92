"""What a worker is set up with: the transports of groups, as the process that made the setup would make them itself.

A worker on the same machine gets its setup from the controller. Secrets in it are references, which the worker resolves
where they stand: in its own environment, in files of this machine. A worker elsewhere has a file of its own
(`worker_file`), and reads nothing of this kind from a wire.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from reconciler import plugin_loader
from reconciler.client.guard import GuardedTransport
from reconciler.client.session import shell_session
from reconciler.contracts import Context
from reconciler.errors import DocumentError, PluginError, UpdoserError
from reconciler.guards import guarded
from reconciler.model.network import FAMILIES, Proxy
from reconciler.model.secret import SecretRef
from reconciler.resolving import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from socket import socket
    from threading import Event

    from reconciler.contracts import ContentPlace, Transport
    from reconciler.model.spec import PluginConfig, PluginKind, Spec

SPEAK = (sys.executable, "-P", "-m", "reconciler", "worker", "--stdio")
"""The program of a worker on this machine that speaks over its standard streams."""
_SECRET = "$secret"  # noqa: S105 # marks a reference
_MASK = "********"
_MIN_MASKED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How clients of a group are reached: the transport plugin, its options, and the proxy that leads there."""

    plugin: str
    options: Mapping[str, Any] = field(default_factory=dict)
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker works with.

    `ways` are by group; `any_way` is for groups that aren't named, if there is one. Relative places start from `base`,
    files of secrets and what isn't there from `home`; `tree` is the folder of the commit that `base` is of, where it is
    of one. `work` is for plugins' own files. `hidden` are variables of the environment that hold secrets.
    """

    base: Path
    home: Path
    work: Path
    ways: Mapping[str, Way] = field(default_factory=dict)
    any_way: Way | None = None
    tree: Path | None = None
    plugin_folders: tuple[Path, ...] = ()
    hidden: frozenset[str] = frozenset()


def place_of(config: PluginConfig, setup: Setup, stop: Event, clock: Callable[[], datetime]) -> ContentPlace:
    """Make a place of content that a worker's file names.

    Raises:
        PluginError: it can't be made.
    """
    return cast("ContentPlace", _Maker(setup, stop, clock).make(config.kind, config.name, config.options))


def setup_of(spec: Spec, work: Path) -> dict[str, Any]:
    """Write the setup of a worker that does on this machine what this process would; see `read_setup`.

    `work` is the folder for plugins' own files.
    """
    return {
        "base": str(spec.base),
        "home": str(spec.home),
        "tree": None if spec.tree is None else str(spec.tree),
        "work": str(work),
        "plugin_folders": [str(folder) for folder in spec.plugin_folders],
        "hidden": sorted(spec.secret_variables),
        "groups": {
            name: {
                "plugin": group.transport.name,
                "options": _plain(group.transport.options),
                "proxy": group.proxy and _proxy_form(group.proxy),
            }
            for name, group in spec.groups.items()
        },
    }


def read_setup(document: Any) -> Setup:
    """Read what `setup_of` wrote.

    Raises:
        DocumentError: it is malformed.
    """
    try:
        return Setup(
            base=Path(document["base"]),
            home=Path(document["home"]),
            tree=None if document["tree"] is None else Path(document["tree"]),
            work=Path(document["work"]),
            plugin_folders=tuple(map(Path, document["plugin_folders"])),
            hidden=frozenset(document["hidden"]),
            ways={
                name: Way(
                    plugin=group["plugin"],
                    options=_with_secrets(group["options"]),
                    proxy=group["proxy"] and _proxy(group["proxy"]),
                )
                for name, group in document["groups"].items()
            },
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DocumentError(f"the worker's setup is malformed: {error!r}") from error


class _Maker:
    """Makes plugins with what a setup says, and knows the secrets that they had resolved."""

    def __init__(self, setup: Setup, stop: Event, clock: Callable[[], datetime]) -> None:
        self._setup = setup
        self._stop = stop
        self._clock = clock
        self.secrets: set[str] = set()

    def make(
        self, kind: PluginKind, name: str, options: Mapping[str, Any], *, owner: str = "", proxy: Proxy | None = None
    ) -> Any:
        """Make one; `owner` tells those of a kind apart."""
        setup = self._setup
        work = setup.work / kind / (owner or name)
        try:
            work.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UpdoserError(f"{work} can't be made: {error.strerror}") from error
        context = Context(
            base=setup.base,
            home=setup.home,
            tree=setup.tree,
            work=work,
            clock=self._clock,
            secret=self._secret,
            log=logging.getLogger(f"updoser.{kind}.{name}"),
            shell=shell_session,
            dial=partial(_dial, self._secret),
            proxy=proxy,
            stop=self._stop,
            environ=self._public(),
        )
        return guarded(kind, name, plugin_loader.load(kind, name, options, context, setup.plugin_folders))

    def _secret(self, reference: SecretRef) -> str:
        base = self._setup.home if reference.kind == "file" else self._setup.base
        found = resolve(reference, base, os.environ, self._public())
        self.secrets = self.secrets | {part for part in (found, *found.splitlines()) if len(part) >= _MIN_MASKED}
        return found

    def _public(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in self._setup.hidden}


class Ways:
    """The transports of a worker, each made when it is first asked for. Safe to use from several threads."""

    def __init__(self, setup: Setup, stop: Event, clock: Callable[[], datetime], *, debug: bool = False) -> None:
        """Take the setup; `stop` is set when the work is to end, `debug` lets through what nobody expected."""
        self._setup = setup
        self._maker = _Maker(setup, stop, clock)
        self._debug = debug
        self._lock = Lock()
        self._made: dict[str, GuardedTransport] = {}

    def transport(self, group: str) -> Transport:
        """Give the transport of a group.

        Raises:
            PluginError: there is none, or it can't be made.
        """
        with self._lock:
            if group not in self._made:
                self._made[group] = GuardedTransport(self._make(group), debug=self._debug)
            return self._made[group]

    def masked(self, text: str) -> str:
        """Take out of a text what secrets were resolved."""
        for secret in sorted(self._maker.secrets, key=len, reverse=True):
            text = text.replace(secret, _MASK)
        return text

    def _make(self, group: str) -> Transport:
        way = self._setup.ways.get(group, self._setup.any_way)
        if way is None:
            raise PluginError(
                f"this worker doesn't know the group {group}",
                hint="name it under `groups` in the worker's file, or leave `only_groups` out",
            )
        made = self._maker.make("transport", way.plugin, way.options, owner=group, proxy=way.proxy)
        return cast("Transport", made)


def _dial(secret: Callable[[SecretRef], str], host: str, port: int, **options: Any) -> socket:
    """Open a connection; imported late, as a transport without a network does without."""
    from reconciler.network.dial import Dialer

    return Dialer(secret)(host, port, **options)


def _plain(value: Any) -> Any:
    """Write options: references are marked, all else is JSON as it stands."""
    if isinstance(value, SecretRef):
        return {_SECRET: [value.kind, value.value if isinstance(value.value, str) else list(value.value)]}
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _with_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_SECRET}:
            kind, where = value[_SECRET]
            return SecretRef(kind, where if isinstance(where, str) else tuple(where))
        return {key: _with_secrets(entry) for key, entry in value.items()}
    return [_with_secrets(entry) for entry in value] if isinstance(value, list) else value


def _proxy_form(proxy: Proxy) -> dict[str, Any]:
    return {
        "name": proxy.name,
        "scheme": proxy.scheme,
        "host": proxy.host,
        "port": proxy.port,
        "username": _plain(proxy.username),
        "password": _plain(proxy.password),
        "families": list(proxy.families),
        "no_proxy": list(proxy.no_proxy),
        "ca": proxy.ca,
    }


def _proxy(form: Mapping[str, Any]) -> Proxy:
    return Proxy(
        name=form["name"],
        scheme=form["scheme"],
        host=form["host"],
        port=form["port"],
        username=_with_secrets(form["username"]),
        password=_with_secrets(form["password"]),
        families=tuple(family for family in FAMILIES if family in form["families"]),
        no_proxy=tuple(form["no_proxy"]),
        ca=form["ca"],
    )
