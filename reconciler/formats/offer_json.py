"""What a relay offers to the clients of a batch, as a part of its document.

Nothing in it is secret, so that it may go wherever a batch goes: names of hosts, digests, and how long to wait. Whoever
changes it on its way can send clients to a host that gives them nothing, or bytes that they refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.errors import printable
from reconciler.formats.entries import LINE, filled
from reconciler.model.relay import RELAY_URL, THENS, Offer
from reconciler.model.release import SHA256

if TYPE_CHECKING:
    from reconciler.formats.entries import Entry

MAX_HOSTS = 100
"""Hosts of a relay."""
_NAME = 253


def offer_form(offer: Offer) -> dict[str, Any]:
    """Write an offer."""
    return {
        "name": offer.relay,
        "then": offer.then,
        **filled(
            urls=list(offer.urls),
            parts=sorted(offer.parts),
            wait=offer.wait,
            patience=offer.patience,
            why=printable(offer.why)[:LINE],
        ),
    }


def read_offer(entry: Entry) -> Offer:
    """Read an offer.

    Raises:
        ValueError: it is none.
    """
    parts = entry.texts("parts", longest=64)
    urls = entry.texts("urls", most=MAX_HOSTS, longest=500)
    if not all(map(SHA256.fullmatch, parts)):
        raise ValueError(f"{entry.where}.parts has what is no digest")
    if not all(map(RELAY_URL.fullmatch, urls)):
        raise ValueError(f"{entry.where}.urls has what a client can't fetch from")
    return Offer(
        relay=entry.text("name", most=_NAME),
        urls=urls,
        parts=frozenset(parts),
        wait=entry.seconds("wait", 0.0),
        patience=entry.seconds("patience", 60.0),
        then=entry.word("then", THENS),
        why=entry.text("why", ""),
    )
