"""Pages of clients as documents: `schema/clients.schema.json` describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.listing import ListedClient, ListedComponent, Listing
from reconciler.present.fields import FORMAT_VERSION
from reconciler.present.forms import As, Form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_COMPONENT = Form(
    ListedComponent,
    version=As(null=True),
    wanted=As(null=True),
    loaded=As(if_any=True),
    unsaid=As(if_any=True),
    behind=As(if_any=True),
)
_CLIENT = Form(
    ListedClient,
    platform=As(null=True),
    why=As(null=True),
    components=As(of=_COMPONENT),
    reason=As(null=True),
    address=As(null=True),
)
_LISTING = Form(Listing, limit=As(null=True), where=As(null=True), after=As("next", null=True), clients=As(of=_CLIENT))


def found_document(clients: Sequence[ListedClient], created: datetime, *, where: str, after: str) -> Mapping[str, Any]:
    """Give the document of a page of clients that were found; `after` is what the next page begins behind."""
    return listing_document(Listing(created=created, limit="", where=where, clients=tuple(clients), after=after))


def listed_entry(client: ListedClient) -> dict[str, Any]:
    """Give what stands of a client in a document."""
    return dict(_CLIENT.write(client))


def listing_document(listing: Listing) -> Mapping[str, Any]:
    """Give the document of a page of clients."""
    return {"format_version": FORMAT_VERSION, **_LISTING.write(listing)}
