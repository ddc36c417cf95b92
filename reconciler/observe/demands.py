"""What inventories say of the way to clients, held against the transport of the group that takes them.

A transport is the same for all clients of a group. Where an inventory says otherwise for one of them, that client would
be another machine than its owner means, or be changed as somebody else; so it is refused, by name.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.client import InventoryEntry
    from reconciler.model.spec import GroupSpec


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a client can't be reached as its inventory says, and what to do about it."""

    why: str
    hint: str


_BECOMES = {True: "becomes root", False: "becomes nobody else", None: "doesn't say whom it becomes"}
_ELSEWHERE = "narrow `select` of the group, or give such clients a group of their own"


def misfit(group: GroupSpec, entry: InventoryEntry) -> Misfit | None:
    """Say why a group can't take a client that it selects; None when it can."""
    demands = entry.demands
    if entry.unfit:
        return Misfit(entry.unfit, f"correct the inventory, or {_ELSEWHERE}")
    if demands.transport and demands.transport not in {group.transport.name, group.speaks}:
        why = f"it is reached by {demands.transport!r}, and the group by {group.transport.name}"
        return Misfit(why, _ELSEWHERE)
    if group.local:
        if entry.address and not _is_here(entry.address):
            return Misfit(f"it is {entry.address}, and the group's transport changes this machine", _ELSEWHERE)
    else:
        lacking = [key for key in demands.keys if key not in group.key_files]
        if lacking:
            why = f"it wants the key {lacking[0]!r}, which the group's transport doesn't name"
            return Misfit(why, f"add `{{file: {lacking[0]}}}` to `keys` of the transport, or {_ELSEWHERE}")
        if demands.jump and demands.jump != group.hops:
            over = _listed(group.hops) or "nothing"
            why = f"the way to it leads over {_listed(demands.jump)}, and the group's over {over}"
            return Misfit(why, f"say `jump: [{{address: …}}]` in the transport, or {_ELSEWHERE}")
    if demands.become is not None and demands.become != group.become:
        wants = "root" if demands.become else "nobody else"
        why = f"it wants to become {wants}, and the group's transport {_BECOMES[group.become]}"
        return Misfit(why, f"correct `become` of the transport, or {_ELSEWHERE}")
    return None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _is_here(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"
