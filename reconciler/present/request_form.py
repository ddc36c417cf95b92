"""What people asked of the controller, as documents: `schema/request.schema.json` describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.request import Request, Target
from reconciler.present import fields
from reconciler.present.fields import FORMAT_VERSION, time_text

if TYPE_CHECKING:
    from collections.abc import Mapping


def request_entry(request: Request) -> dict[str, Any]:
    """Give what stands of a request in a document."""
    target = request.target
    return {
        "id": request.id,
        "at": time_text(request.at),
        "who": request.who,
        "kind": request.kind,
        "component": target.component or None,
        "version": target.version or None,
        "group": target.group or None,
        "undo": target.undo,
        "until": target.until and time_text(target.until),
        "reason": request.reason or None,
        "status": request.status,
        "done_at": request.done_at and time_text(request.done_at),
        "says": request.says or None,
    }


def request_document(request: Request) -> dict[str, Any]:
    """Give the document of a request."""
    return {"format_version": FORMAT_VERSION, **request_entry(request)}


def read_target(asked: Mapping[str, Any]) -> Target:
    """Read what a request is about, of a document that fits its schema.

    Raises:
        ValueError: a time in it is none.
    """
    until = asked.get("until")
    return Target(
        component=asked.get("component") or "",
        version=asked.get("version") or "",
        group=asked.get("group") or "",
        undo=asked.get("undo", False),
        until=None if until is None else fields.time(until, "until"),
    )
