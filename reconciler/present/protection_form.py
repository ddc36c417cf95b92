"""Time to protection in a document: when a release was first offered, and the seconds until most clients had it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from reconciler.model.protection import MILESTONES, Protection
from reconciler.present.fields import flag, number, text, time, time_text, typed
from reconciler.present.forms import Way


def protection_entry(protection: Protection) -> dict[str, Any]:
    """Give how long it took until so many had a release, in seconds; null where they haven't yet."""
    return {
        "version": protection.version,
        "began": time_text(protection.began),
        "loads": protection.loads,
        **{milestone: protection.seconds(milestone) for milestone in MILESTONES},
    }


def _read(found: Any, key: str) -> Protection | None:
    if found is None:
        return None
    entry = typed(found, key, dict)
    began = time(entry["began"], "began")
    reached = {
        milestone: began + timedelta(seconds=number(entry[milestone], milestone))
        for milestone in MILESTONES
        if entry[milestone] is not None
    }
    # Of which component it is stands around it.
    version, loads = text(entry["version"], "version"), flag(entry["loads"], "loads")
    return Protection(component="", version=version, began=began, loads=loads, **reached)


PROTECTION = Way(_read, lambda one: one and protection_entry(one))
