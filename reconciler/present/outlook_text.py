"""The run of a plan, and what a run did, in words: lines for texts and Markdown alike.

This run: now 2 clients (880.0 KiB), then 6 if wave 1 passes (2.6 MiB); 8 of 8 clients in all.
Later: virus-pattern 16.679.00 for 6 clients at 2026-12-01T02:00:00Z (wave 1 of 2 soaks until 2026-12-01T02:00:00Z).
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from reconciler.present.rollout_text import told_once
from reconciler.present.words import count_text, number_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    Entry = Mapping[str, Any]

_STEPS_SHOWN = 4
_LATER_SHOWN = 3
_DETAIL = re.compile(r": |; | \(| until ")
"""What divides a reason from its moments, numbers and names."""


def run_lines(document: Entry) -> list[str]:
    """Give the lines of a plan that say what its whole run does, and what comes later; none without rollouts."""
    run = document.get("run")
    if not run:
        return []
    clients = sum(document["clients"].values())
    lines = [f"This run: {', '.join(run_steps(run))}; {run_total(run, clients)}."] if has_steps(run) else []
    return [*lines, *later_lines(document)]


def later_lines(document: Entry) -> list[str]:
    """Give the lines of a plan that say what its run leaves for later, and when that arrives."""
    run = document["run"]
    lines = [*_later_lines(run["later"]), *_arrival_lines(run.get("arrivals", ()))]
    return [told_once(line, document.get("rollouts", ())) for line in lines]


def has_steps(run: Entry) -> bool:
    """Say whether there is more to tell of a run than what its first step does."""
    return len(run["steps"]) > 1 or bool(run["more"])


def run_steps(run: Entry) -> list[str]:
    """Say what each step of a run does; of many, those at the end are one."""
    steps = run["steps"]
    shown = [
        _first(steps[0]),
        *(_next(before, step) for before, step in pairwise(steps[:_STEPS_SHOWN])),
    ]
    rest = steps[_STEPS_SHOWN:]
    if rest:
        size = _size(sum(step["bytes"] for step in rest), any(step["estimated"] for step in rest))
        changed = count_text(sum(step["clients"] for step in rest), "client")
        shown.append(f"then {changed} in {count_text(len(rest), 'more step')} ({size})")
    if run["more"]:
        shown.append("and further steps")
    return shown


def run_total(run: Entry, clients: int) -> str:
    """Say how many of so many clients a run changes in all."""
    total = f"{number_text(run['clients'])} of {count_text(clients, 'client')} in all"
    return f"{total} ({_size(run['bytes'], run['estimated'])})"


def _first(step: Entry) -> str:
    return f"now {count_text(step['clients'], 'client')} ({_size(step['bytes'], step['estimated'])})"


def _next(before: Entry, step: Entry) -> str:
    waves = {entry["wave"] for entry in before["rollouts"]}
    passes = f"wave {waves.pop()} passes" if len(waves) == 1 else "their waves pass" if waves else "that goes well"
    return f"then {number_text(step['clients'])} if {passes} ({_size(step['bytes'], step['estimated'])})"


def _size(size: int, estimated: bool) -> str:
    return f"{'about ' if estimated else ''}{size_text(size)}"


def _later_lines(later: Sequence[Entry]) -> list[str]:
    """Say what is left, what comes first first; releases of which the same is said share a line.

    Where that are many lines, so do those of which nearly the same is said: other moments, numbers or groups.
    """
    kept = _alike(later, lambda entry: (entry["at"], entry["reason"], entry["group"], entry["waits"]))
    if len(kept) >= _LATER_SHOWN:
        kept = _alike(later, lambda entry: (entry["at"], entry["reason"], entry["waits"]))
    if len(kept) > _LATER_SHOWN:
        kept = _alike(later, lambda entry: (_head(entry["reason"]), entry["waits"]))
    lines = [_later_line(entries) for entries in kept]
    rest = len(lines) - _LATER_SHOWN
    return [*lines[:_LATER_SHOWN], *([f"Later: {count_text(rest, 'more reason')} below."] if rest > 0 else [])]


def _alike(later: Sequence[Entry], key: Callable[[Entry], Hashable]) -> list[list[Entry]]:
    alike: dict[Hashable, list[Entry]] = {}
    for entry in sorted(later, key=_turn):
        alike.setdefault(key(entry), []).append(entry)
    return list(alike.values())


def _turn(entry: Entry) -> tuple[str, str, str, bool]:
    return entry["at"] or "~", entry["reason"], entry["group"] or "", entry["waits"]


def _head(reason: str) -> str:
    """Give what a reason begins with, without moments and numbers of its own: `wave 1 of 2 soaks`."""
    return _DETAIL.split(reason.removeprefix("rollout: "))[0]


def _later_line(entries: Sequence[Entry]) -> str:
    names = {f"{entry['component']} {entry['version']}" for entry in entries}
    components = {entry["component"] for entry in entries}
    many = count_text(len(names), "component" if len(components) == len(names) else "release")
    clients = max(entry["clients"] for entry in entries)
    groups = {entry["group"] or "" for entry in entries}
    group = groups.pop() if len(groups) == 1 else ""
    who = f"{'up to ' if len(entries) > 1 else ''}{count_text(clients, 'client')}{f' of {group}' if group else ''}"
    moments = sorted({entry["at"] for entry in entries if entry["at"]})
    last = f" to {moments[-1]}" if len(moments) > 1 else ""
    untimed = "once somebody acts" if entries[0]["waits"] else "when that is over"
    reasons = {entry["reason"].removeprefix("rollout: ") for entry in entries}
    reason = reasons.pop() if len(reasons) == 1 else _head(reasons.pop())
    what = names.pop() if len(names) == 1 else many
    return f"Later: {what} for {who} {f'from {moments[0]}{last}' if moments else untimed} ({reason})."


def _arrival_lines(arrivals: Sequence[Entry]) -> list[str]:
    """Say when releases arrive; those of which the same is said share a line."""
    alike: dict[str, list[str]] = {}
    for entry in arrivals:
        moments = ((50, entry["half"]), (95, entry["most"]), (100, entry["all"]))
        shares = {at: share for share, at in moments if at}  # of those that are reached at once, the last says all
        shown = [f"{share} % at {at}" for at, share in shares.items()]
        says = ", ".join([*shown, *([f"the rest never ({entry['never']})"] if entry["never"] else [])])
        if says:
            alike.setdefault(says, []).append(f"{entry['component']} {entry['version']}")
    lines = []
    for says, names in alike.items():
        what = names[0] if len(names) == 1 else count_text(len(names), "release")
        lines.append(f"Forecast: {what}: {says}.")
    more = len(lines) - _LATER_SHOWN
    return [*lines[:_LATER_SHOWN], *(["Forecast: see `updoser forecast` for the others."] if more > 0 else [])]


def step_lines(report: Entry) -> list[str]:
    """Say what each step of a run did, where it had several."""
    steps = report.get("steps", ())
    if len(steps) < 2:
        return []
    return [
        f"Step {step['step']}: {count_text(step['clients'], 'client')} changed ({size_text(step['bytes'])} sent)"
        f"{_waves(step['rollouts'])}"
        for step in steps
    ]


def _waves(rollouts: Sequence[Entry]) -> str:
    waves = {(entry["wave"], entry["waves"]) for entry in rollouts}
    return "".join(f", wave {wave} of {count}" for wave, count in waves if count > 1) if len(waves) == 1 else ""
