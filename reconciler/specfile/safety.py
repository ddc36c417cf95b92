"""Which changes of a spec take away something that protects the fleet: a table of rules, asked at each place.

A rule names the places that it is about by a pattern of their path (`*`: any one key, `**`: any number of them), and
judges what stood there and what stands there now; either may be ABSENT. It gives the sentence to say, or nothing.
A new rule is a line of RULES and a case in the tests; `judges` has what it is made of.

A group or a source that goes as a whole loses no protection: nobody is left whom it could harm. What a component or a
notifier that goes had is lost with it, and said once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.model.notice import CONDITIONS
from reconciler.specfile.judges import (
    ABSENT,
    Difference,
    Judge,
    Path,
    gone,
    less,
    lifted,
    more,
    more_people,
    word,
    written,
)
from reconciler.specfile.safety_trust import executor, moved_to, program, seal, unsigned, unverified
from reconciler.specfile.safety_waves import all_waves, blocks, first_wave, holds, soak, waves, windows

_NAMED = ("name", "id")
_COMMANDS = ("run", "command", "validate")


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


def _check(place: Difference) -> str:
    if place.after is ABSENT and place.before is not ABSENT:
        return f"check {place.path[-1]} is removed from {'.'.join(place.path[:-2])}"
    return ""


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


def _rule(pattern: str, judge: Judge) -> tuple[Path, Judge]:
    return tuple(pattern.split(".")) if pattern else (), judge


RULES: tuple[tuple[Path, Judge], ...] = (
    _rule("components.*", _unmanaged),
    _rule("notify.*", _untold),
    _rule("notify.*.conditions", _fewer_conditions),
    _rule("**.checks.*", _check),
    _rule("**.checks.*.retries", more("the check is tried more often", unwritten=0)),
    _rule("sources.*.type", unsigned),
    _rule("sources.**.verify", unverified),
    _rule("sources.*.accept_expired", written("signatures that have expired are accepted")),
    _rule("sources.*.may_outrank", word(False, "may outrank other sources", unwritten=False)),
    _rule("sources.*.stale_after", more("may be silent for longer")),
    _rule("sources.*.when_absent", word("error", "its absence is no error any more", unwritten="hold")),
    _rule("**.transport.accept_new", word(False, "host keys that nobody knows are trusted", unwritten=False)),
    _rule("**.hold", holds),
    _rule("components.*.block", blocks),
    _rule("components.*.min_age", less("the least age of releases is shorter", unwritten=0)),
    _rule("**.rollout.waves", waves),
    _rule("", all_waves),
    _rule("**.rollout.waves.*.soak", soak),
    _rule("**.rollout.waves.0.share", first_wave),
    _rule("**.rollout.waves.0.count", first_wave),
    _rule("**.rollout.waves.*.approve", word("manual", "goes on without approval", bad="auto", unwritten="auto")),
    _rule("**.rollout.gate", gone("a gate is removed")),
    _rule("**.rollout.recheck", word("end_of_soak", "nothing is checked again at the end of a soak", bad="none")),
    _rule("**.rollout.wait_loaded", lifted("gates don't wait for engines to load releases any more")),
    _rule("**.rollout.wait_loaded", more("engines may take longer to load releases")),
    _rule("components.*.loaded", lifted("engines aren't asked any more what they have loaded")),
    _rule("components.*.loaded.enabled", word(True, "engines aren't asked any more", unwritten=True)),
    _rule("components.*.loaded.within", lifted("switches don't wait for engines to load them any more")),
    _rule("components.*.loaded.within", more("engines may take longer to load what was switched")),
    _rule("**.rollout.on_failure", word("rollback", "what fails is not rolled back", bad="halt")),
    _rule("**.hooks.after.on_failure", word("rollback", "what fails is not rolled back", bad="keep")),
    _rule("**.max_failed", more("more clients may fail")),
    _rule("**.max_fail_percentage", more("more clients may fail")),
    _rule("**.max_unreachable_percentage", more("more clients may be unreachable")),
    _rule("**.min_attempted", less("fewer clients must have been tried")),
    _rule("**.windows", windows),
    _rule("**.blackouts", gone("a blackout is removed")),
    _rule("**.trigger", word("manual", "updates start by themselves")),
    _rule("quarantine", lambda place: "failing clients are not quarantined any more" if place.after is ABSENT else ""),
    _rule("quarantine.after_failures", more("clients are quarantined later")),
    _rule("quarantine.for", less("clients are quarantined for a shorter time")),
    _rule("console.four_eyes", word(True, "one person alone can approve", unwritten=False)),
    _rule("console.roles.approver", more_people("approve")),
    _rule("console.roles.operator", more_people("pause, resume and abort")),
    _rule("controller.mode", word("approve", "the controller begins new releases by itself", bad="apply")),
    _rule("**.inventory.max_shrink", more("an inventory may lose more clients")),
    _rule("**.inventory.min_clients", less("an inventory may have fewer clients", unwritten=1)),
    _rule("client_keep", less("clients keep fewer versions to go back to", unwritten=2)),
    _rule("sites.*.executor", executor),
    _rule("server.executor", executor),
    _rule("sites.*.executor.seal_key", seal),
    _rule("sites.*.groups", moved_to),
    _rule("repository.keys.threshold", less("fewer keys must sign", unwritten=1)),
    *(_rule(f"**.{key}", program) for key in _COMMANDS),
)
"""Where to look, and how to judge what is found there; the first of equal weight is said first."""
