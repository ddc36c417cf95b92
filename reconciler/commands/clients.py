"""Lists clients: what each has, which are outdated or failed and why, and when each was seen last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.observe.listing import Query, list_page
from reconciler.present.listing_form import listing_document
from reconciler.present.render import FORMATS
from reconciler.present.views import CLIENTS

if TYPE_CHECKING:
    from reconciler.desk import Desk

__all__ = ["Query", "clients"]


def clients(desk: Desk, query: Query) -> int:
    """Show a page of clients, from what the state remembers."""
    with at_work(desk, reads=True) as work:
        document = listing_document(list_page(work, query))
    desk.terminal.show(document, desk.form, CLIENTS)
    if document["next"] and FORMATS[desk.form].tables:
        desk.terminal.note(f"There are more: add --after {document['next']}")
    return 0
