"""The doctor's try of relays: each host is asked what it has, and served for a moment where a run would do that.

Nothing that it writes there stays. What clients could fetch is fetched by the host itself, by the URL that they get,
and by one of them (`doctor_ways`).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from reconciler.execute.doctor_ways import LEADS, Ways
from reconciler.execute.filling import Filler
from reconciler.guards import Caught
from reconciler.model.report import Diagnosis
from reconciler.present.words import count_text, size_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager

    from reconciler.model.client import Client
    from reconciler.model.relay import Held, RelaySpec
    from reconciler.workspace import Workspace

LOW_DISK = 256 * 1024**2
_SERVE = "install python3 there, or busybox with httpd, or name a web server of yours: `serve: {url: …}` of the relay"
_LISTEN = "see that `host` of the relay is an address of that machine, and that nothing else has the port"


def examine_relays(
    work: Workspace, relays: Iterable[RelaySpec], clients: Iterable[Client], failed: Collection[str]
) -> Iterator[Diagnosis]:
    """Say of each host of some relays whether it is there, has room, and gives what lies there to one of the clients.

    `failed` are names of clients that can't be reached.
    """
    filler = Filler(work.relay_reach, work.store.open, (work.means.stop,), work.means.clock)
    ways = Ways(work, filler, clients, failed)
    for relay in relays:
        for host in relay.hosts:
            if not work.means.stop.is_set():
                yield from _examine(filler, ways, relay, host)


def _examine(filler: Filler, ways: Ways, relay: RelaySpec, host: str) -> Iterator[Diagnosis]:
    what = f"relay {relay.name} ({host})"
    with Caught() as caught:
        held = filler.look(relay, host)
    if caught.error is not None:
        fix = caught.error.hint or "see that it is on, and that `host` and `transport` of the relay lead there"
        yield Diagnosis(client="", what=what, level="fail", finding=caught.error.brief, fix=" ".join(fix.split()))
        return
    yield _room(relay, held, what)
    yield from _served(filler, ways, relay, host, held)


def _room(relay: RelaySpec, held: Held, what: str) -> Diagnosis:
    has = f"it has {count_text(len(held.parts), 'part')}, {size_text(held.bytes)}"
    if held.free < LOW_DISK:
        fix = f"make room below {relay.store}"
        return Diagnosis(client="", what=what, level="warn", finding=f"{has}, and {size_text(held.free)} free", fix=fix)
    if relay.disk > held.free + held.bytes:
        finding = f"{has}, and may take {size_text(relay.disk)}, for which its disk has no room"
        fix = f"make room below {relay.store}, or lower `limit.disk`"
        return Diagnosis(client="", what=what, level="warn", finding=finding, fix=fix)
    return Diagnosis("", what, "ok", f"{has}, and {size_text(held.free)} free")


def _served(filler: Filler, ways: Ways, relay: RelaySpec, host: str, held: Held) -> Iterator[Diagnosis]:
    what = f"relay {relay.name} at {relay.base(host)}"
    if held.unserved:
        finding = "nothing there can give its parts: neither python3 nor busybox with httpd"
        yield Diagnosis(client="", what=what, level="fail", finding=finding, fix=_SERVE)
        return
    found: list[Diagnosis] = []
    with Caught() as caught, _at_work(filler, relay, host, held) as now:
        found = [_given(relay, host, now, what), ways.examine(relay, host, now)]
    if caught.error is not None and not found:
        fix = caught.error.hint or _LISTEN
        yield Diagnosis(client="", what=what, level="fail", finding=caught.error.brief, fix=" ".join(fix.split()))
    yield from found


def _at_work(filler: Filler, relay: RelaySpec, host: str, held: Held) -> AbstractContextManager[Held]:
    """Have a host be served, by us where nobody does, and give what it says of its parts then."""
    if not relay.http:
        return nullcontext(held)
    if held.server:  # by a run, at this moment
        return nullcontext(filler.probe(relay, host))
    return filler.serving(relay, host)


def _given(relay: RelaySpec, host: str, held: Held, what: str) -> Diagnosis:
    if held.serving.startswith("no"):
        finding = f"its web server doesn't give its parts: {held.serving.removeprefix('no').strip()}"
        fix = LEADS.format(url=relay.base(host), store=relay.store)
        return Diagnosis(client="", what=what, level="fail", finding=finding, fix=fix)
    if not held.parts:
        return Diagnosis("", what, "ok", "nothing lies there yet that could be fetched")
    if not held.serving:
        return Diagnosis(
            "", what, "ok", "whether it gives its parts can't be tried there: it has neither curl nor wget"
        )
    return Diagnosis("", what, "ok", "it gives its parts, as far as the machine itself can tell")
