"""Rules about when clients get something, and who first: waves, windows, what is blocked or held back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.formats.select import parse
from reconciler.specfile.judges import ABSENT, Difference, Path, at_path, entries, number, shown

_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60


def blocks(place: Difference) -> str:
    """Versions that were blocked and may go out now."""
    lifted = _no_more(place, "version")
    return f"{place.where}: version {', '.join(lifted)} is not blocked any more" if lifted else ""


def holds(place: Difference) -> str:
    """Clients that were held back and aren't any more."""
    lifted = _no_more(place, "clients")
    return f"the hold of {'; '.join(lifted)} is lifted" if lifted else ""


def _no_more(place: Difference, key: str) -> list[str]:
    """Give what entries of a list named by a key, and none names any more."""
    before, after = (
        [str(entry.get(key, "")) for entry in side if isinstance(entry, Mapping)] for side in entries(place)
    )
    return [name for name in before if name not in after]


def waves(place: Difference) -> str:
    """Fewer waves than there were."""
    before, after = entries(place)
    if before and not after:
        return f"{place.where}: there are no waves any more"
    return f"{place.where}: fewer waves: {len(before)} -> {len(after)}" if len(after) < len(before) else ""


def soak(place: Difference) -> str:
    """Soaks of waves that stay; what goes with its wave is said of the wave."""
    wave = int(place.path[-2]) + 1 if place.path[-2].isdigit() else 0
    before = 0.0 if place.before is ABSENT else number(place.before)
    after = 0.0 if place.after is ABSENT else number(place.after)
    if before is None or after is None or after >= before:
        return ""
    return f"{'.'.join(place.path[:-3])}: soak of wave {wave} shortened: {shown(place.before)} -> {shown(place.after)}"


def first_wave(place: Difference) -> str:
    """A first wave that takes more than it did."""
    before, after = number(place.before), number(place.after)
    if place.after is ABSENT:
        return ""
    if before is None or after is None or after <= before:
        return ""
    return f"{'.'.join(place.path[:-3])}: the first wave takes more: {place.before} -> {place.after}"


def _canary(place: Difference) -> str:
    """A wave whose pattern took clients and takes nobody now; a spec with inventories doesn't know its clients."""
    old, new = (_patterns(at_path(spec, place.path)) for spec in (place.old, place.new))
    if not (old and new) or _listed(place.new) is None or _listed(place.old) is None:
        return ""
    was_empty = {pattern for pattern in old if not _takes(pattern, place.old)}
    emptied = [pattern for pattern in new if pattern not in was_empty and not _takes(pattern, place.new)]
    return f"{place.where}: the wave {', '.join(emptied)} takes nobody" if emptied else ""


def _patterns(waves: Any) -> list[str]:
    return [str(wave["select"]) for wave in waves or () if isinstance(wave, Mapping) and wave.get("select")]


def all_waves(place: Difference) -> str:
    """Ask for emptied waves of all policies: who is in one hangs on the labels of clients, which stand elsewhere."""
    found = []
    for path in _policies(place.new):
        says = _canary(
            Difference(path=(*path, "rollout", "waves"), before=ABSENT, after=ABSENT, old=place.old, new=place.new)
        )
        if says:
            found.append(says)
    return "; ".join(found)


def _policies(spec: Mapping[str, Any]) -> Iterator[Path]:
    yield ("auto_update",)
    for holder in ("components", "groups"):
        entries = spec.get(holder)
        for name in entries if isinstance(entries, Mapping) else ():
            yield (holder, name, "auto_update")


def _listed(spec: Mapping[str, Any]) -> list[tuple[str, str, list[str]]] | None:
    """Give name, group and labels of all clients; None where an inventory has some."""
    found = []
    defaults = at_path(spec, ("defaults", "labels")) or []
    for name, group in (spec.get("groups") or {}).items():
        if not isinstance(group, Mapping) or "inventory" in group:
            return None
        shared = [*defaults, *(group.get("labels") or [])]
        for client in group.get("clients") or []:
            if isinstance(client, Mapping):
                labels = [*shared, *(client.get("labels") or [])]
                found.append((str(client.get("name", "")), str(name), [str(label) for label in labels]))
    return found


def _takes(pattern: str, spec: Mapping[str, Any]) -> bool:
    try:
        select = parse(pattern)
    except ValueError:
        return True
    return any(select.matches(name, [group], labels) for name, group, labels in _listed(spec) or ())


def windows(place: Difference) -> str:
    """More time of a week in which updates may come."""
    had = isinstance(place.before, list) and place.before
    if had and not (isinstance(place.after, list) and place.after):
        return f"{place.where}: updates may come at any time: the windows are removed"
    before, after = _minutes(place.before), _minutes(place.after)
    if had and after > before:
        return f"{place.where}: the windows are wider: {before / 60:.4g} h -> {after / 60:.4g} h a week"
    return ""


def _minutes(windows: Any) -> int:
    """Add up the minutes of a week in which some window is open; no window at all is the whole week."""
    if not isinstance(windows, list) or not windows:
        return 7 * _DAY
    is_open = bytearray(7 * _DAY)
    for window in windows:
        start, end = _clock(window.get("from")), _clock(window.get("to"))
        length = (end - start) % _DAY or _DAY
        for day in window.get("days") or _WEEK:
            begin = _WEEK.index(day) * _DAY + start if day in _WEEK else 0
            for minute in range(begin, begin + length):
                is_open[minute % len(is_open)] = 1
    return sum(is_open)


def _clock(text: Any) -> int:
    hours, _, minutes = str(text or "0:0").partition(":")
    return int(hours) * 60 + int(minutes or 0) if hours.isdigit() and minutes.isdigit() else 0
