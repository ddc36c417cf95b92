"""Which changes of a spec take away something that protects the fleet: a table of rules, asked at each place.

A rule names the places that it is about by a pattern of their path (`*`: any one key, `**`: any number of them), and
judges what stood there and what stands there now; either may be ABSENT. It gives the sentence to say, or nothing.
A new rule is a line of RULES and a case in the tests.

A group or a source that goes as a whole loses no protection: nobody is left whom it could harm. What a component or a
notifier that goes had is lost with it, and said once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.formats.duration import parse_duration
from reconciler.formats.select import parse
from reconciler.model.notice import CONDITIONS

Path = tuple[str, ...]
_NAMED = ("name", "id")
_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_COMMANDS = ("run", "command", "validate")


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()
"""What stands where nobody wrote anything."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a rule is asked: the path, what stood and stands there, and the specs as wholes."""

    path: Path
    before: Any
    after: Any
    old: Mapping[str, Any]
    new: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The path of what the key belongs to."""
        return ".".join(self.path[:-1]) or "the spec"


Judge = Callable[[Difference], str]


def keyed(value: Any) -> Any:
    """Turn a list of named entries into a map by name, so that entries are compared with themselves."""
    if isinstance(value, (list, tuple)):
        for name in _NAMED:
            if value and all(isinstance(entry, Mapping) and name in entry for entry in value):
                found = {str(entry[name]): entry for entry in value}
                if len(found) == len(value):
                    return found
        return list(value)
    return {str(key): entry for key, entry in value.items()} if isinstance(value, Mapping) else value


def losses(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Give the path and the sentence of each protection that a change of the spec takes away."""
    yield from _walk((), old, new, old, new)


def _walk(
    path: Path, before: Any, after: Any, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[Path, str]]:
    if before is after or before == after:
        return
    place = Difference(path=path, before=before, after=after, old=old, new=new)
    for pattern, judge in RULES:
        if _matches(pattern, path):
            says = judge(place)
            if says:
                yield path, says
    if len(path) == 2 and path[0] in {"components", "groups", "sources", "notify"} and after is ABSENT:
        return
    left, right = _children(before), _children(after)
    for key in dict.fromkeys((*left, *right)):
        yield from _walk((*path, key), left.get(key, ABSENT), right.get(key, ABSENT), old, new)


def _children(value: Any) -> dict[str, Any]:
    found = keyed(value) if value is not ABSENT else {}
    if isinstance(found, list):
        return {str(at): entry for at, entry in enumerate(found)} if any(isinstance(e, dict) for e in found) else {}
    return found if isinstance(found, dict) else {}


def _matches(pattern: Path, path: Path) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(pattern[1:], path[at:]) for at in range(len(path) + 1))
    return bool(path) and pattern[0] in {"*", path[0]} and _matches(pattern[1:], path[1:])


def _number(value: Any) -> float | None:
    """Read a number, a share or a time span, whichever it is; None when it is none of them."""
    if isinstance(value, bool) or value is ABSENT or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    text = str(value).strip()
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        pass
    try:
        return parse_duration(text).total_seconds()
    except ValueError:
        return None


def _text(value: Any) -> str:
    return "none" if value is ABSENT or value is None else str(value)


def _less(says: str, *, unwritten: float | None = None) -> Judge:
    """Judge a value that protects the more the larger it is; `unwritten` is what counts where nothing is written."""
    return _compared(says, 1, unwritten)


def _more(says: str, *, unwritten: float | None = None) -> Judge:
    """Judge a value that protects the more the smaller it is."""
    return _compared(says, -1, unwritten)


def _compared(says: str, sign: int, unwritten: float | None) -> Judge:
    def judge(place: Difference) -> str:
        sides = [unwritten if side is ABSENT else _number(side) for side in (place.before, place.after)]
        before, after = sides
        if before is None or after is None or (before - after) * sign <= 0:
            return ""
        return f"{place.where}: {says}: {_text(place.before)} -> {_text(place.after)}"

    return judge


def _word(good: Any, says: str, *, bad: Any = None, unwritten: Any = None) -> Judge:
    """Judge a word of which one protects; with `bad` only that one instead of it is a loss."""

    def judge(place: Difference) -> str:
        before, after = (unwritten if side is ABSENT else side for side in (place.before, place.after))
        return f"{place.where}: {says}" if before == good and after != good and bad in {None, after} else ""

    return judge


def _lifted(says: str) -> Judge:
    """Judge what protects by standing there at all."""

    def judge(place: Difference) -> str:
        return f"{place.where}: {says}" if place.before is not ABSENT and place.after is ABSENT else ""

    return judge


def _check(place: Difference) -> str:
    if place.after is ABSENT and place.before is not ABSENT:
        return f"check {place.path[-1]} is removed from {'.'.join(place.path[:-2])}"
    return ""


def _gone(says: str) -> Judge:
    """Judge entries of a list of maps: whatever was in it and isn't any more."""

    def judge(place: Difference) -> str:
        before, after = (side if isinstance(side, list) else [] for side in (place.before, place.after))
        gone = [entry for entry in before if entry not in after]
        less = len(before) - len(after)
        if not gone or less <= 0:
            return ""
        return f"{place.where}: {says} ({len(before)} -> {len(after)})"

    return judge


def _blocks(place: Difference) -> str:
    before, after = (
        [str(entry.get("version", "")) for entry in side if isinstance(entry, Mapping)]
        if isinstance(side, list)
        else []
        for side in (place.before, place.after)
    )
    lifted = [version for version in before if version not in after]
    return f"{place.where}: version {', '.join(lifted)} is not blocked any more" if lifted else ""


def _holds(place: Difference) -> str:
    before, after = (
        [str(entry.get("clients", "")) for entry in side if isinstance(entry, Mapping)]
        if isinstance(side, list)
        else []
        for side in (place.before, place.after)
    )
    lifted = [clients for clients in before if clients not in after]
    return f"the hold of {'; '.join(lifted)} is lifted" if lifted else ""


def _waves(place: Difference) -> str:
    before, after = (side if isinstance(side, list) else [] for side in (place.before, place.after))
    if before and not after:
        return f"{place.where}: there are no waves any more"
    return f"{place.where}: fewer waves: {len(before)} -> {len(after)}" if len(after) < len(before) else ""


def _soak(place: Difference) -> str:
    """Soaks of waves that stay; what goes with its wave is said of the wave."""
    wave = int(place.path[-2]) + 1 if place.path[-2].isdigit() else 0
    before = 0.0 if place.before is ABSENT else _number(place.before)
    after = 0.0 if place.after is ABSENT else _number(place.after)
    if before is None or after is None or after >= before:
        return ""
    return f"{'.'.join(place.path[:-3])}: soak of wave {wave} shortened: {_text(place.before)} -> {_text(place.after)}"


def _first_wave(place: Difference) -> str:
    """A first wave that takes more than it did."""
    before, after = _number(place.before), _number(place.after)
    if place.after is ABSENT:
        return ""
    if before is None or after is None or after <= before:
        return ""
    return f"{'.'.join(place.path[:-3])}: the first wave takes more: {place.before} -> {place.after}"


def _canary(place: Difference) -> str:
    """A wave whose pattern took clients and takes nobody now; a spec with inventories doesn't know its clients."""
    old, new = (_patterns(_at(spec, place.path)) for spec in (place.old, place.new))
    if not (old and new) or _listed(place.new) is None or _listed(place.old) is None:
        return ""
    was_empty = {pattern for pattern in old if not _takes(pattern, place.old)}
    emptied = [pattern for pattern in new if pattern not in was_empty and not _takes(pattern, place.new)]
    return f"{place.where}: the wave {', '.join(emptied)} takes nobody" if emptied else ""


def _patterns(waves: Any) -> list[str]:
    return [str(wave["select"]) for wave in waves or () if isinstance(wave, Mapping) and wave.get("select")]


def _all_waves(place: Difference) -> str:
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


def _at(spec: Mapping[str, Any], path: Path) -> Any:
    value: Any = spec
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _listed(spec: Mapping[str, Any]) -> list[tuple[str, str, list[str]]] | None:
    """Give name, group and labels of all clients; None where an inventory has some."""
    found = []
    defaults = _at(spec, ("defaults", "labels")) or []
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


def _windows(place: Difference) -> str:
    had = isinstance(place.before, list) and place.before
    if had and not (isinstance(place.after, list) and place.after):
        return f"{place.where}: updates may come at any time: the windows are removed"
    before, after = _minutes(place.before), _minutes(place.after)
    if had and after > before:
        return f"{place.where}: the windows are wider: {before / 60:.4g} h -> {after / 60:.4g} h a week"
    return ""


def _program(place: Difference) -> str:
    """A program that nobody ran before; what it is doesn't stand in a plan."""
    if place.after is ABSENT or "vars" in place.path:
        return ""
    return f"{place.where}: {'runs a program that is new' if place.before is ABSENT else 'runs another program'}"


def _unmanaged(place: Difference) -> str:
    """A component that nobody keeps current any more; without a list of components all are managed."""
    listed, name = place.new.get("components"), place.path[-1]
    if place.after is not ABSENT or not isinstance(listed, Mapping) or "*" in listed:
        return ""
    return (
        f"component {name} is not managed any more"
        if name != "*"
        else "only components that the spec names are managed now"
    )


def _untold(place: Difference) -> str:
    """A notifier that goes: whoever it told hears no more of it. One that goes under another name is new."""
    return f"the notifier {place.path[-1]} is removed" if place.after is ABSENT else ""


def _fewer_conditions(place: Difference) -> str:
    """A notifier that tells of fewer kinds of conditions; where none is named it tells of all."""
    after = list(place.after) if isinstance(place.after, list) else None
    before = list(place.before) if isinstance(place.before, list) else list(CONDITIONS)
    gone = [] if after is None else [str(kind) for kind in before if kind not in after]
    return f"{place.where}: nobody is told any more of: {', '.join(gone)}" if gone else ""


def _unsigned(place: Difference) -> str:
    """A source whose releases were signed and aren't any more."""
    signed = place.before == "tuf"
    return f"{place.where}: its releases need no signature any more" if signed and place.after is not ABSENT else ""


def _ways_of(verify: Any) -> tuple[bool, list[str]]:
    """Give whether all ways to verify count, and the names of those; whoever wrote it may have written anything."""
    every = not (isinstance(verify, Mapping) and "any" in verify)
    listed = next(iter(verify.values()), []) if isinstance(verify, Mapping) else verify
    ways = listed if isinstance(listed, (list, tuple)) else []
    return every, [str(name) for way in ways if isinstance(way, Mapping) for name in way]


def _unverified(place: Difference) -> str:
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


def _written(says: str) -> Judge:
    """Judge what loosens by standing there at all."""

    def judge(place: Difference) -> str:
        return f"{place.where}: {says}" if place.before is ABSENT and place.after is not ABSENT else ""

    return judge


def _more_people(does: str) -> Judge:
    """Judge a list of people by those who weren't in it."""

    def judge(place: Difference) -> str:
        before, after = (side if isinstance(side, list) else [] for side in (place.before, place.after))
        new = [str(name) for name in after if name not in before]
        return f"{place.where}: more people may {does}: {', '.join(new)}" if new else ""

    return judge


def _ways_out(executor: Any) -> dict[str, Any]:
    """Give what of an executor's options says where work goes and to whom: whatever is no number and no time."""
    options = executor if isinstance(executor, Mapping) else {}
    return {key: value for key, value in options.items() if key != "type" and not _is_figure(value)}


def _is_figure(value: Any) -> bool:
    return isinstance(value, bool) or _number(value) is not None


def _known_groups(place: Difference) -> list[str]:
    """Name the groups that an executor works on and that were there before; all, where it isn't a site's."""
    named = _at(place.new, (*place.path[:-1], "groups")) if place.path[0] == "sites" else None
    groups = list(place.old.get("groups") or ())
    return [str(name) for name in named if name in groups] if isinstance(named, (list, tuple)) else groups


def _executor(place: Difference) -> str:
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


def _seal(place: Difference) -> str:
    """Another key that secrets are sealed for; without one none are sent, as the file is wrong then."""
    if ABSENT in (place.before, place.after):
        return ""
    return f"{place.where}: secrets of settings are sealed for another key: whoever has it can read them"


def _moved_to(place: Difference) -> str:
    """Groups that a site gets, and that were worked on from somewhere else before."""
    before, after = (list(side) if isinstance(side, (list, tuple)) else [] for side in (place.before, place.after))
    known = place.old.get("groups") or ()
    new = [str(name) for name in after if name not in before and name in known]
    if not before or not new or not _ways_out(_at(place.new, (*place.path[:-1], "executor"))):
        return ""
    return f"{place.where}: works on more groups: {', '.join(new)}"


def _rule(pattern: str, judge: Judge) -> tuple[Path, Judge]:
    return tuple(pattern.split(".")) if pattern else (), judge


RULES: tuple[tuple[Path, Judge], ...] = (
    _rule("components.*", _unmanaged),
    _rule("notify.*", _untold),
    _rule("notify.*.conditions", _fewer_conditions),
    _rule("**.checks.*", _check),
    _rule("**.checks.*.retries", _more("the check is tried more often", unwritten=0)),
    _rule("sources.*.type", _unsigned),
    _rule("sources.**.verify", _unverified),
    _rule("sources.*.accept_expired", _written("signatures that have expired are accepted")),
    _rule("sources.*.may_outrank", _word(False, "may outrank other sources", unwritten=False)),
    _rule("sources.*.stale_after", _more("may be silent for longer")),
    _rule("sources.*.when_absent", _word("error", "its absence is no error any more", unwritten="hold")),
    _rule("**.transport.accept_new", _word(False, "host keys that nobody knows are trusted", unwritten=False)),
    _rule("**.hold", _holds),
    _rule("components.*.block", _blocks),
    _rule("components.*.min_age", _less("the least age of releases is shorter", unwritten=0)),
    _rule("**.rollout.waves", _waves),
    _rule("", _all_waves),
    _rule("**.rollout.waves.*.soak", _soak),
    _rule("**.rollout.waves.0.share", _first_wave),
    _rule("**.rollout.waves.0.count", _first_wave),
    _rule("**.rollout.waves.*.approve", _word("manual", "goes on without approval", bad="auto", unwritten="auto")),
    _rule("**.rollout.gate", _gone("a gate is removed")),
    _rule("**.rollout.recheck", _word("end_of_soak", "nothing is checked again at the end of a soak", bad="none")),
    _rule("**.rollout.wait_loaded", _lifted("gates don't wait for engines to load releases any more")),
    _rule("**.rollout.wait_loaded", _more("engines may take longer to load releases")),
    _rule("components.*.loaded", _lifted("engines aren't asked any more what they have loaded")),
    _rule("components.*.loaded.enabled", _word(True, "engines aren't asked any more", unwritten=True)),
    _rule("components.*.loaded.within", _lifted("switches don't wait for engines to load them any more")),
    _rule("components.*.loaded.within", _more("engines may take longer to load what was switched")),
    _rule("**.rollout.on_failure", _word("rollback", "what fails is not rolled back", bad="halt")),
    _rule("**.hooks.after.on_failure", _word("rollback", "what fails is not rolled back", bad="keep")),
    _rule("**.max_failed", _more("more clients may fail")),
    _rule("**.max_fail_percentage", _more("more clients may fail")),
    _rule("**.max_unreachable_percentage", _more("more clients may be unreachable")),
    _rule("**.min_attempted", _less("fewer clients must have been tried")),
    _rule("**.windows", _windows),
    _rule("**.blackouts", _gone("a blackout is removed")),
    _rule("**.trigger", _word("manual", "updates start by themselves")),
    _rule("quarantine", lambda place: "failing clients are not quarantined any more" if place.after is ABSENT else ""),
    _rule("quarantine.after_failures", _more("clients are quarantined later")),
    _rule("quarantine.for", _less("clients are quarantined for a shorter time")),
    _rule("console.four_eyes", _word(True, "one person alone can approve", unwritten=False)),
    _rule("console.roles.approver", _more_people("approve")),
    _rule("console.roles.operator", _more_people("pause, resume and abort")),
    _rule("controller.mode", _word("approve", "the controller begins new releases by itself", bad="apply")),
    _rule("**.inventory.max_shrink", _more("an inventory may lose more clients")),
    _rule("**.inventory.min_clients", _less("an inventory may have fewer clients", unwritten=1)),
    _rule("client_keep", _less("clients keep fewer versions to go back to", unwritten=2)),
    _rule("sites.*.executor", _executor),
    _rule("server.executor", _executor),
    _rule("sites.*.executor.seal_key", _seal),
    _rule("sites.*.groups", _moved_to),
    _rule("repository.keys.threshold", _less("fewer keys must sign", unwritten=1)),
    *(_rule(f"**.{key}", _program) for key in _COMMANDS),
)
"""Where to look, and how to judge what is found there; the first of equal weight is said first."""
