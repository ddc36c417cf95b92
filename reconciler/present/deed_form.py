"""What people did as entries of the audit: what they asked in the console, and how they signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.fields import time_text
from reconciler.present.request_form import request_entry

if TYPE_CHECKING:
    from reconciler.model.request import Request
    from reconciler.storage.sessions import Session


def asked_entry(request: Request) -> dict[str, Any]:
    """Give what somebody asked, with what they might do then and where they were."""
    return {**request_entry(request), "roles": list(request.roles), "address": request.address}


def signed_in_entry(session: Session) -> dict[str, Any]:
    """Give how somebody signed in."""
    return {
        "created": time_text(session.created),
        "who": session.who,
        "roles": list(session.roles),
        "way": session.way,
        "address": session.address,
        "ends": time_text(session.ends),
    }
