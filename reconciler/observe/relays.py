"""Looks at relays before a plan: what each host has, and which clients are kept from theirs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from reconciler.client.behind import Behind
from reconciler.guards import Caught
from reconciler.model.client import Client
from reconciler.model.relay import HoldOrder, RelaySeen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from reconciler.contracts import RelaySession, Session
    from reconciler.model.relay import Held, RelaySpec
    from reconciler.workspace import Workspace

AT_ONCE = 16


def look_at_relays(work: Workspace, *, refresh: bool) -> Mapping[tuple[str, str], RelaySeen]:
    """Give what is known of each host of each relay; with `refresh` they are asked, and it is remembered.

    Raises:
        StateError: the state can't be read or written.
    """
    known = [(relay, host) for relay in work.spec.relays.values() for host in relay.hosts]
    if not known:
        return {}
    if refresh:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="updoser_relay") as threads:
            asked = list(threads.map(lambda one: _look(work, *one), known))
        work.state.keep_relays([seen for seen in asked if seen is not None])
    places = {(relay.name, host) for relay, host in known}
    return {place: seen for place, seen in work.state.relays().items() if place in places}


def _look(work: Workspace, relay: RelaySpec, host: str) -> RelaySeen | None:
    """Look at a host; None in a run that was stopped."""
    if work.means.stop.is_set():
        return None
    order = HoldOrder(store=relay.store)

    def ask(session: Session) -> Held:
        relaying: RelaySession = session  # type: ignore[assignment]
        return relaying.hold(order, _nothing, lambda _size: None)

    with Caught() as caught:
        held = work.relay_reach.work(Client(host, relay.name, host, install_root=relay.store), ask)
    if caught.error is not None:
        return RelaySeen(relay.name, host, error=caught.error.brief)
    return RelaySeen(relay.name, host, work.means.clock(), held)


def _nothing(_sha256: str) -> AbstractContextManager[BinaryIO]:
    raise AssertionError


def kept_apart(work: Workspace) -> dict[str, str]:
    """Give why clients are kept from the relay that serves them, by their names."""
    if not work.spec.relays:
        return {}
    behind = Behind(work.spec.relays, work.spec.groups)
    places: Iterator[tuple[str, str]] = (
        (client.name, behind.of(client).apart) for client in work.roll.clients(work.spec.groups)
    )
    return {name: apart for name, apart in places if apart}
