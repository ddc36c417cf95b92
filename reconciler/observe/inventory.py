"""The fleet: clients written in the spec and clients that inventories list, each name once.

* An inventory's entry becomes a client of the group when `select` matches its name, its inventory groups or its labels.
* Labels of a client are those of its group, its own, and what `labels_from` names: `groups` stands for the inventory's
  groups, any other word for the value of the var of that name.
* A list is believed only when it looks like a list: one that is empty, has fewer than `min_clients` or lost more than
  `max_shrink` of the clients known before is an error, never a small fleet.
* Names, addresses and labels come from outside: they are checked here, and never rendered or run.
* A client that is selected and can't be reached as its inventory says is an error that names it, never another machine.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from reconciler.errors import InventoryError, InventoryShrankError
from reconciler.formats import select
from reconciler.formats.text import unfit
from reconciler.guards import blaming
from reconciler.model.client import Client
from reconciler.model.share import exact
from reconciler.observe.demands import misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.contracts import Inventory
    from reconciler.model.client import InventoryEntry
    from reconciler.model.spec import GroupSpec, InventorySpec
    from reconciler.observe.demands import Misfit

MAX_CLIENTS = 5_000_000
DEFAULT_MAX_SHRINK = 0.1
"""The share of its clients that a list may lose when the spec doesn't say; one client may always go."""
LABELS_FROM_GROUPS = "groups"

_NAME = re.compile(r"[^\s,!&@-][^\s,]{0,252}")
_ADDRESS = re.compile(r"[0-9A-Za-z_:][0-9A-Za-z_.:%-]{0,252}")
_USER = re.compile(r"[^\s:/-][^\s:/]{0,63}")
MAX_LABEL = 255


def list_fleet(
    groups: Iterable[tuple[GroupSpec, Inventory | None]],
    known_count: Callable[[str], int],
    *,
    allow_shrink: bool = False,
) -> dict[str, list[Client]]:
    """List the clients of all groups by group name; `known_count` gives how many a group had before.

    Raises:
        InventoryError: an inventory can't be read or is empty, an entry is malformed, a client can't be reached as it
            says, or a name or a place (an install_root on an address) stands twice.
        InventoryShrankError: a list has fewer than `min_clients`, or lost more than `max_shrink` and `allow_shrink`
            isn't set.
    """
    fleet: dict[str, list[Client]] = {}
    home: dict[str, str] = {}
    there: dict[tuple[object, ...], str] = {}
    for group, inventory in groups:
        clients = list_clients(group, inventory)
        if group.inventory is not None and not allow_shrink:
            _check_shrink(group, group.inventory, known_count(group.name), len(clients))
        for client in clients:
            other = home.setdefault(client.name, group.name)
            if other != group.name:
                raise InventoryError(
                    f"the client {client.name} is in the group {other} and in the group {group.name}",
                    hint="a client belongs to one group: narrow `select` of one of them",
                )
            first = there.setdefault(group.place(client), client.name)
            if first != client.name:
                raise InventoryError(
                    f"the clients {first} and {client.name} are one place: the install_root {client.install_root}"
                    + ("" if group.local else f" on {client.address}"),
                    hint="narrow `select` so that one of them is left, or give each its own address or install_root",
                )
        fleet[group.name] = clients
    return fleet


def list_clients(group: GroupSpec, inventory: Inventory | None) -> list[Client]:
    """List the clients of one group: those of the spec, then those that its inventory lists and `select` takes.

    Raises:
        InventoryError: the inventory can't be read or is empty, an entry is malformed, a client can't be reached as it
            says, or a name stands twice.
        InventoryShrankError: fewer than `min_clients` are left.
    """
    clients = [
        replace(
            client,
            group=group.name,
            address=client.address or client.name,
            labels=_sorted(group.labels, client.labels),
            install_root=client.install_root or group.install_root,
        )
        for client in group.clients
    ]
    if inventory is not None and group.inventory is not None:
        listed = _from_inventory(group, group.inventory, inventory)
        _check_count(group, group.inventory, len(listed))
        clients += listed
    _check_unique(group, clients)
    return clients


def _from_inventory(group: GroupSpec, spec: InventorySpec, inventory: Inventory) -> list[Client]:
    entries = _entries(group, inventory)
    chosen = _chosen(group, spec)
    label_sets: dict[tuple[tuple[str, ...], ...], tuple[str, ...]] = {}
    clients = []
    misfits: list[tuple[str, Misfit]] = []
    for entry in entries:
        _check_entry(group, entry)
        parts = (entry.labels, *(_labels_from(entry, word) for word in spec.labels_from))
        labels = label_sets.get(parts)
        if labels is None:
            labels = label_sets[parts] = _checked_labels(group, entry, _sorted(group.labels, *parts))
        if chosen is not None and not chosen.matches(entry.name, entry.groups, labels):
            continue
        found = misfit(group, entry)
        if found is not None:
            misfits.append((entry.name, found))
        clients.append(
            Client(
                entry.name,
                group.name,
                entry.address or entry.name,
                port=entry.port,
                user=entry.user,
                labels=labels,
                install_root=group.install_root,
                vars=entry.vars,
            )
        )
    if misfits:
        (name, first), more = misfits[0], len(misfits) - 1
        others = f" (and {more} more can't be reached as it says)" if more else ""
        raise InventoryError(
            f"the client {name} in the inventory of the group {group.name} can't be reached as that says: "
            f"{first.why}{others}",
            hint=first.hint,
        )
    return clients


def _entries(group: GroupSpec, inventory: Inventory) -> list[InventoryEntry]:
    with blaming(f"the inventory of the group {group.name} broke", InventoryError):
        entries = list(islice(inventory.clients(), MAX_CLIENTS + 1))
    if not entries:
        raise InventoryError(
            f"the inventory of the group {group.name} lists no clients",
            hint="an empty list is taken for a mistake: look at what the inventory gives, or remove the group",
        )
    if len(entries) > MAX_CLIENTS:
        raise InventoryError(f"the inventory of the group {group.name} lists more than {MAX_CLIENTS} clients")
    return entries


def _chosen(group: GroupSpec, spec: InventorySpec) -> select.Pattern | None:
    if not spec.select:
        return None
    try:
        return select.parse(spec.select)
    except ValueError as error:
        raise InventoryError(f"select of the group {group.name}: {error}") from error


def _labels_from(entry: InventoryEntry, word: str) -> tuple[str, ...]:
    if word == LABELS_FROM_GROUPS:
        return entry.groups
    value = entry.vars.get(word, "")
    return (value,) if value else ()


def _sorted(*parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({label for part in parts for label in part}))


def _check_entry(group: GroupSpec, entry: InventoryEntry) -> None:
    """Refuse what can't be a client; a message shows the text quoted, so that it can't act on a terminal."""
    problem = ""
    if not (_NAME.fullmatch(entry.name) and entry.name.isprintable()):
        problem = "has a name that is empty, too long, or has spaces, commas or control characters"
    elif entry.address and not _ADDRESS.fullmatch(entry.address):
        problem = f"has an address that is neither a host name nor an IP address: {entry.address!r}"
    elif entry.port is not None and not 1 <= entry.port <= 65535:
        problem = f"has the port {entry.port}; ports go from 1 to 65535"
    elif entry.user is not None and not (_USER.fullmatch(entry.user) and entry.user.isprintable()):
        problem = f"has a user that can't be one: {entry.user!r}"
    elif trouble := next(filter(None, map(unfit, entry.vars.values())), ""):
        problem = f"has a var with {trouble} in it"
    if problem:
        raise InventoryError(f"the client {entry.name[:300]!r} in the inventory of the group {group.name} {problem}")


def _checked_labels(group: GroupSpec, entry: InventoryEntry, labels: tuple[str, ...]) -> tuple[str, ...]:
    for label in labels:
        if not (0 < len(label) <= MAX_LABEL and label.isprintable()):
            raise InventoryError(
                f"the client {entry.name} in the inventory of the group {group.name} has a label that is empty, longer "
                f"than {MAX_LABEL} characters, or has control characters: {label[:60]!r}"
            )
    return labels


def _check_unique(group: GroupSpec, clients: Iterable[Client]) -> None:
    seen: set[str] = set()
    for client in clients:
        if client.name in seen:
            raise InventoryError(
                f"the client {client.name} stands twice in the group {group.name}",
                hint="each name once, in the inventory and under `clients` together",
            )
        seen.add(client.name)


def _check_count(group: GroupSpec, spec: InventorySpec, count: int) -> None:
    if count >= spec.min_clients:
        return
    chosen = f"; {spec.select!r} selects {count} of them" if spec.select else ""
    raise InventoryShrankError(
        f"the group {group.name} has {count} clients from its inventory, and min_clients is {spec.min_clients}{chosen}",
        hint="look at what the inventory gives; if it is right, change select or min_clients",
    )


def _check_shrink(group: GroupSpec, spec: InventorySpec, known: int, count: int) -> None:
    limit = spec.max_shrink
    if limit is None:
        allowed, stated = max(1, _share(known, DEFAULT_MAX_SHRINK)), f"{DEFAULT_MAX_SHRINK:.0%}, the default"
    elif isinstance(limit, float):
        allowed, stated = _share(known, limit), f"{limit:.0%}"
    else:
        allowed, stated = limit, str(limit)
    if known - count > allowed:
        raise InventoryShrankError(
            f"the group {group.name} had {known} clients and its inventory now leaves {count}: "
            f"{known - count} fewer, and max_shrink allows {allowed} ({stated})",
            hint="if these clients are really gone, run again with --allow-shrink, or set max_shrink",
        )


def _share(count: int, share: float) -> int:
    """Give a share in whole clients: 29 % of 100 are 29, whatever binary fractions make of it."""
    return int(exact(share) * count)
