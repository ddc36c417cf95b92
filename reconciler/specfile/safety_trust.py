"""Rules about who is trusted: what sources have to prove, which programs run, and where clients are worked on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.specfile.judges import ABSENT, Difference, at_path, number


def program(place: Difference) -> str:
    """A program that nobody ran before; what it is doesn't stand in a plan."""
    if place.after is ABSENT or "vars" in place.path:
        return ""
    return f"{place.where}: {'runs a program that is new' if place.before is ABSENT else 'runs another program'}"


def unsigned(place: Difference) -> str:
    """A source whose releases were signed and aren't any more."""
    signed = place.before == "tuf"
    return f"{place.where}: its releases need no signature any more" if signed and place.after is not ABSENT else ""


def unverified(place: Difference) -> str:
    """Less is asked of what a source fetches before it is believed."""
    if place.before is ABSENT:
        return ""
    if place.after is ABSENT:
        return f"{place.where}: what it fetches isn't verified any more"
    (was_every, before), (is_every, after) = _ways_of(place.before), _ways_of(place.after)
    if was_every and not is_every and len(after) > 1:
        return f"{place.where}: one of several ways to verify is enough: {', '.join(after)}"
    lost = [way for way in before if way not in after] if was_every else []
    new = [] if is_every else [way for way in after if way not in before]
    if lost:
        return f"{place.where}: isn't verified any more by: {', '.join(dict.fromkeys(lost))}"
    return f"{place.where}: may be verified by another way instead: {', '.join(new)}" if new else ""


def _ways_of(verify: Any) -> tuple[bool, list[str]]:
    """Give whether all ways to verify count, and the names of those; whoever wrote it may have written anything."""
    every = not (isinstance(verify, Mapping) and "any" in verify)
    listed = next(iter(verify.values()), []) if isinstance(verify, Mapping) else verify
    ways = listed if isinstance(listed, (list, tuple)) else []
    return every, [str(name) for way in ways if isinstance(way, Mapping) for name in way]


def executor(place: Difference) -> str:
    """Another executor, or another way to it: whoever is there gets what clients get, secrets of settings, too."""
    out = _ways_out(place.after)
    if not out or not _known_groups(place):
        return ""
    before = place.before if isinstance(place.before, Mapping) else {}
    had, type_ = _ways_out(before), place.after.get("type")
    if before.get("type") != type_:
        return f"{place.where}: clients are worked on from elsewhere: whoever is there gets secrets of their settings"
    other = [key for key in dict.fromkeys((*had, *out)) if had.get(key) != out.get(key) and key != "seal_key"]
    if not other:
        return ""
    return f"{place.where}: another way to its executor ({', '.join(other)}): whoever is there works on its clients"


def _ways_out(executor: Any) -> dict[str, Any]:
    """Give what of an executor's options says where work goes and to whom: whatever is no number and no time."""
    options = executor if isinstance(executor, Mapping) else {}
    return {key: value for key, value in options.items() if key != "type" and not _is_figure(value)}


def _is_figure(value: Any) -> bool:
    return isinstance(value, bool) or number(value) is not None


def _known_groups(place: Difference) -> list[str]:
    """Name the groups that an executor works on and that were there before; all, where it isn't a site's."""
    named = at_path(place.new, (*place.path[:-1], "groups")) if place.path[0] == "sites" else None
    groups = list(place.old.get("groups") or ())
    return [str(name) for name in named if name in groups] if isinstance(named, (list, tuple)) else groups


def seal(place: Difference) -> str:
    """Another key that secrets are sealed for; without one none are sent, as the file is wrong then."""
    if ABSENT in (place.before, place.after):
        return ""
    return f"{place.where}: secrets of settings are sealed for another key: whoever has it can read them"


def moved_to(place: Difference) -> str:
    """Groups that a site gets, and that were worked on from somewhere else before."""
    before, after = (list(side) if isinstance(side, (list, tuple)) else [] for side in (place.before, place.after))
    known = place.old.get("groups") or ()
    new = [str(name) for name in after if name not in before and name in known]
    if not before or not new or not _ways_out(at_path(place.new, (*place.path[:-1], "executor"))):
        return ""
    return f"{place.where}: works on more groups: {', '.join(new)}"
