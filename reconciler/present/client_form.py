"""A client in full, as the entry of a document: as in a listing, with all else that is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.fields import time_text
from reconciler.present.listing_form import listed_entry

if TYPE_CHECKING:
    from reconciler.model.client import Profile
    from reconciler.storage.full import ClientInFull

_DIRECT = "direct"
CHANGED = "changed by somebody else"


def client_entry(found: ClientInFull) -> dict[str, Any]:
    """Give all that is known of a client."""
    client, profile = found.client, found.profile
    place = f"{client.user}@{client.address}" if client.user else client.address
    return {
        "listed": listed_entry(found.listed) if found.listed and found.left is None else _unlisted(found),
        "left": found.left and time_text(found.left),
        "address": f"{place} port {client.port}" if client.port else place,
        "route": "" if found.route == _DIRECT else found.route,
        "looked_at": found.looked_at and time_text(found.looked_at),
        "free": found.free,
        "install_root": client.install_root,
        "vars": dict(client.vars),
        "same_machine": [name for name in found.same_machine if name != client.name],
        "settings": {id_: have.version if have.digest else CHANGED for id_, have in found.settings.items()},
        "installed": _installed(profile) if profile else {},
        "unmanaged": list(profile.unmanaged) if profile else [],
        "tools": list(profile.tools) if profile else [],
        "memory": profile.memory if profile else 0,
        "lineage": f"{profile.lineage}, epoch {profile.epoch}" if profile and profile.lineage else "",
    }


def _installed(profile: Profile) -> dict[str, Any]:
    return {
        one.component: {
            "version": one.version,
            "previous": one.previous,
            "kept": [version for version, _digest in one.kept],
            "damage": one.damage,
        }
        for one in profile.installed
    }


def _unlisted(found: ClientInFull) -> dict[str, Any]:
    """Give what a listing would say of a client that is in none."""
    return {
        "name": found.client.name,
        "group": found.client.group,
        "labels": list(found.client.labels),
        "platform": found.profile.platform if found.profile else None,
        "state": "unknown",
        "why": None,
        "reason": None,
        "seen": None,
        "failing_since": None,
        "failures": 0,
        "until": None,
        "components": [],
    }
