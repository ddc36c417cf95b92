"""Relays: machines at a site that have the bytes which their clients need, so that a thin line carries them once.

A relay is never believed: it has parts by their SHA-256, and whoever gets one verifies it. It can only delay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - the forms of documents ask for the types of fields
from typing import TYPE_CHECKING, Literal, get_args

from reconciler.model.network import parse_address

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.network import Family, Proxy
    from reconciler.model.spec import PluginConfig

RELAY_URL = re.compile(r"https?://[A-Za-z0-9._:/%@~\[\]-]{1,480}")
"""What a client takes as the URL of a folder with parts: nothing that a shell, or a list of words, minds."""
HOST_MARK = "{host}"
"""What stands in `serve.url` for the host of the relay."""
SMALL = 4 * 1024
"""Bytes below which a part is sent: a request to a relay, and its answer, cost about as much."""
WAIT = 900.0
"""Seconds for which a relay is waited for, where nothing else is said."""
Then = Literal["direct", "wait"]
THENS: tuple[Then, ...] = get_args(Then)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySpec:
    """A relay: the first of `hosts`, or one of those that stand by.

    `serves` is a pattern of clients. Parts lie in the folder `store`, of which `disk` bytes may be used (0: any); no
    more than `clients` fetch from it (0: any), and it is filled with `rate` bytes a second at most (0: any). A web
    server is started on the port `http` while a run lasts, or one that is there gives the folder as `url`. For `wait`
    seconds a relay that gives nothing is asked again. `then` says what becomes of its clients after that.
    """

    name: str
    hosts: tuple[str, ...]
    serves: str
    store: str
    transport: PluginConfig
    http: int = 0
    url: str = ""
    clients: int = 0
    rate: int = 0
    disk: int = 0
    wait: float = WAIT
    then: Then = "direct"
    families: tuple[Family, ...] = ()
    proxy: Proxy | None = None

    def base(self, host: str) -> str:
        """Give the URL below which a host of it has parts."""
        if self.url:
            return self.url.replace(HOST_MARK, _in_url(host)).rstrip("/")
        return f"http://{_in_url(host)}:{self.http}"

    @property
    def spoken(self) -> tuple[Family, ...]:
        """The address families by which clients get to it; empty: not known."""
        if self.families:
            return self.families
        found = [address.family for address in map(parse_address, self.hosts) if address is not None]
        return tuple(dict.fromkeys(found)) if len(found) == len(self.hosts) else ()

    def is_host(self, *names: str) -> bool:
        """Say whether one of some names or addresses is one of its hosts."""
        return any(name in self.hosts for name in names if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What clients of a batch may have from a relay in place of being sent it: `parts`, below each of `urls`.

    `wait` and `patience` are as of `FromRelay`. Without URLs they get nothing there, for the reason that `why` says.
    `then` is what becomes of who got nothing. Nothing in it is secret: whoever reads it learns names of hosts, and
    digests; bytes from there are verified like any others.
    """

    relay: str
    urls: tuple[str, ...] = ()
    parts: frozenset[str] = frozenset()
    wait: float = 0.0
    patience: float = 60.0
    then: Then = "direct"
    why: str = ""


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def speak_alike(one: Collection[Family], other: Collection[Family]) -> bool:
    """Say whether two ends share an address family, as far as that is known."""
    return not one or not other or not set(one).isdisjoint(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOrder:
    """What a relay is to do with the parts in `store`: `drop` some, hash those that it has `held`, `take` others.

    `take` has sizes by digest, and `begun` how much of some is there already. `probe` is a URL that it is to try, by a
    part that it has, or by the one of `size` bytes and `sha256`: so a client can be asked, too, whose own folder is the
    `store` then. With `tools` it says whether it has what a web server needs. With nothing but these it only looks.
    """

    store: str
    drop: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    take: Mapping[str, int] = field(default_factory=dict)
    begun: Mapping[str, int] = field(default_factory=dict)
    probe: str = ""
    size: int = 0
    sha256: str = ""
    tools: bool = False

    @property
    def changes(self) -> bool:
        """True when it may change something there."""
        return bool(self.drop or self.held or self.take)

    @property
    def bytes(self) -> int:
        """What is sent for it."""
        return sum(size - self.begun.get(sha256, 0) for sha256, size in self.take.items())


@dataclass(frozen=True, slots=True)
class ServeOrder:
    """Which folder a relay is to serve by HTTP, and where."""

    store: str
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a host of a relay says that it has: sizes of whole `parts`, and of those that were `begun`, by digest.

    `free` is the room on its disk in bytes. `bad` are parts of other bytes than their digest, which it removed.
    `serving` says whether the parts come out of its web server as they should: `yes`, or `no` and why; empty: it can't
    tell. `server`: one that a run started runs there now. `unserved`: nothing there could be one.
    """

    free: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)
    begun: Mapping[str, int] = field(default_factory=dict)
    bad: frozenset[str] = frozenset()
    serving: str = ""
    server: bool = False
    unserved: bool = False

    @property
    def bytes(self) -> int:
        """What its parts take, whole or not."""
        return sum(self.parts.values()) + sum(self.begun.values())


@dataclass(frozen=True, slots=True)
class RelaySeen:
    """What is remembered of a host of a relay: when it answered last, what it had then, and what went wrong since."""

    relay: str
    host: str
    at: datetime | None = None
    held: Held | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayUse:
    """What a relay does for the deploy changes of a plan, against what would be without it.

    Its `clients` fetch from it, `others` are behind it and can't. Over the line go `line` bytes: `fill` of these to its
    `hosts`, the rest to clients by themselves; without it, that were `without`. Within its site clients fetch `site`.
    They are `estimated` where an incremental isn't made yet. `wait` is in seconds. `cohorts` are those of the plan.
    """

    relay: str
    serves: str
    hosts: int
    clients: int
    others: int
    fill: int
    site: int
    line: int
    without: int
    estimated: bool
    wait: int
    then: Then
    cohorts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatus:
    """How a host of a relay did when it was last asked: `filled` bytes in so many `parts`, and `free` bytes of disk.

    `seen` is when it answered last, `error` why it doesn't since. `limit` are the bytes that it may take; 0: any.
    """

    relay: str
    host: str
    standby: bool
    seen: datetime | None
    parts: int
    filled: int
    free: int
    limit: int
    error: str = ""


def relay_statuses(
    relays: Mapping[str, RelaySpec], seen: Mapping[tuple[str, str], RelaySeen]
) -> tuple[RelayStatus, ...]:
    """Give how each host of each relay did."""
    nothing = Held()
    found = []
    for relay in relays.values():
        for host in relay.hosts:
            one = seen.get((relay.name, host), RelaySeen(relay.name, host))
            held = one.held or nothing
            found.append(
                RelayStatus(
                    relay=relay.name,
                    host=host,
                    standby=host != relay.hosts[0],
                    seen=one.at,
                    parts=len(held.parts),
                    filled=held.bytes,
                    free=held.free,
                    limit=relay.disk,
                    error=one.error,
                )
            )
    return tuple(found)
