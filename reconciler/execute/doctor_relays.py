"""The doctor's try of relays: each host is asked what it has, and served for a moment where a run would do that.

It writes nothing there. What clients could fetch is fetched by the host itself, by the URL that they get; whether the
way from a client to its port is open only a client knows, and a run says so of the first one that it isn't for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.execute.filling import Filler
from reconciler.guards import Caught
from reconciler.model.report import Diagnosis
from reconciler.present.words import count_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.relay import Held, RelaySpec
    from reconciler.workspace import Workspace

LOW_DISK = 256 * 1024**2
_SERVE = "install python3 there, or busybox with httpd, or name a web server of yours: `serve: {url: …}` of the relay"
_LISTEN = "see that `host` of the relay is an address of that machine, and that nothing else has the port"


def examine_relays(work: Workspace, relays: Iterable[RelaySpec]) -> Iterator[Diagnosis]:
    """Say of each host of some relays whether it is there, has room, and gives what lies there."""
    filler = Filler(work.relay_reach, work.store.open, (work.means.stop,), work.means.clock)
    for relay in relays:
        for host in relay.hosts:
            if not work.means.stop.is_set():
                yield from _examine(filler, relay, host)


def _examine(filler: Filler, relay: RelaySpec, host: str) -> Iterator[Diagnosis]:
    what = f"relay {relay.name} ({host})"
    with Caught() as caught:
        held = filler.look(relay, host)
    if caught.error is not None:
        fix = caught.error.hint or "see that it is on, and that `host` and `transport` of the relay lead there"
        yield Diagnosis(client="", what=what, level="fail", finding=caught.error.brief, fix=" ".join(fix.split()))
        return
    yield _room(relay, held, what)
    yield _served(filler, relay, host, held)


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


def _served(filler: Filler, relay: RelaySpec, host: str, held: Held) -> Diagnosis:
    what, url = f"relay {relay.name} at {relay.base(host)}", relay.base(host)
    if held.unserved:
        finding = "nothing there can give its parts: neither python3 nor busybox with httpd"
        return Diagnosis(client="", what=what, level="fail", finding=finding, fix=_SERVE)
    if not held.parts:
        return Diagnosis("", what, "ok", "nothing lies there yet that could be fetched")
    with Caught() as caught:
        if relay.http and not held.server:
            with filler.serving(relay, host) as now:
                held = now
        elif relay.http:  # by a run, at this moment
            held = filler.probe(relay, host)
    if caught.error is not None:
        fix = caught.error.hint or _LISTEN
        return Diagnosis(client="", what=what, level="fail", finding=caught.error.brief, fix=" ".join(fix.split()))
    if held.serving.startswith("no"):
        finding = f"its web server doesn't give its parts: {held.serving.removeprefix('no').strip()}"
        fix = f"see that {url} leads to {relay.store} there, and that others may read that"
        return Diagnosis(client="", what=what, level="fail", finding=finding, fix=fix)
    if not held.serving:
        return Diagnosis(
            "", what, "ok", "whether it gives its parts can't be tried there: it has neither curl nor wget"
        )
    return Diagnosis("", what, "ok", "it gives its parts, as far as the machine itself can tell")
