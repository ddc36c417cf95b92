"""Words about rollouts, for texts and Markdown alike: rows of tables, and lines that must not be missed.

A rollout's row begins with a mark: `>` it moves on, `=` it waits, `!` it is halted, stalled, aborted, paused or stuck.
One that is halted, or stuck as too few clients are left that it could be tried on, is explained once in everything that
shows it, with what can be done; wherever else it is named, it is only marked (`halted in wave 1 of 3`):

    Halted: virus-pattern 16.679.00 in wave 1 of 3: 1 of 3 clients failed, and max_failed is 0 (pc-1: not enough disk)
      go on or give it up: updoser rollout resume|abort virus-pattern; or block 16.679.00 in the file
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.present.look import PLAIN
from reconciler.present.words import count_text, number_text, page, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.present.look import Look

    Entry = Mapping[str, Any]
    Waves = Mapping[tuple[str, str, str | None], int]

STOPPED = frozenset(["halted", "stalled", "aborted", "paused"])
WHOLE_FLEET = "whole fleet"
_ALIKE = 4
"""From how many rollouts on of which a report says the same they share a line."""
_TROUBLES = ("failed", "unreachable", "hindered")


def rollout_name(entry: Entry) -> str:
    """Name a rollout: `virus-pattern 16.679.00`, with its group where it isn't for the whole fleet."""
    return f"{entry['component']} {entry['version']}" + (f" ({entry['group']})" if entry["group"] else "")


def is_alarm(entry: Entry) -> bool:
    """Say whether a rollout stands still until somebody acts, which nobody should overlook."""
    return entry["status"] == "halted" or bool(entry.get("stuck"))


def marked_text(entry: Entry) -> str:
    """Say where a rollout stands still, and not why: that is said elsewhere."""
    word = "halted" if entry["status"] == "halted" else "stuck"
    return f"{word} in wave {entry['wave']} of {entry['waves']}"


def told_once(text: str, rollouts: Iterable[Entry]) -> str:
    """Leave out of a text why rollouts stand still, which is said at the top already."""
    for entry in rollouts:
        if is_alarm(entry) and entry["says"]:
            text = text.replace(entry["says"], marked_text(entry))
            if entry.get("reason"):  # clients that wait for it are held by that alone
                text = text.replace(f"{entry['status']}: {entry['reason']}", marked_text(entry))
    return text


def where_text(entry: Entry) -> str:
    """Say where a rollout is, and what went wrong in its open wave so far."""
    if is_alarm(entry):
        return marked_text(entry)
    counts = entry["counts"]
    troubles = [f"{number_text(counts[name])} {name}" for name in _TROUBLES if counts[name]]
    if counts["pending"] and counts["off"]:
        troubles.append(f"{number_text(counts['off'])} off")
    shown = f" ({', '.join(troubles)})" if troubles and entry["status"] not in STOPPED else ""
    return f"{entry['says']}{shown}"


class Stop(NamedTuple):
    """A rollout that is halted or stuck: a line that names it, why it stands still, and what can be done about it."""

    title: str
    why: str
    todo: str
    says: str


def halted(rollouts: Iterable[Entry]) -> list[Stop]:
    """Give what is to be said of each halted or stuck rollout; `says` is title and reason in one line."""
    found = []
    for entry in rollouts:
        name = rollout_name(entry)
        if entry["status"] == "halted":
            where = f"in wave {entry['wave']} of {entry['waves']}"
            why = entry.get("reason") or entry["says"].removeprefix(f"halted {where}: ")  # of earlier versions
            todo = f"go on or give it up: updoser rollout resume|abort {entry['component']}"
            todo = f"{todo}; or block {entry['version']} in the file"
            found.append(Stop(f"Halted: {name} {where}", why, todo, f"Halted: {name} {where}: {why}"))
        elif entry.get("stuck"):
            todo = f"mend its waves in the file, or give it up: updoser rollout abort {entry['component']}"
            found.append(Stop(f"Stuck: {name}", entry["says"], todo, f"Stuck: {name} {entry['says']}"))
    return found


def halted_lines(rollouts: Iterable[Entry]) -> list[str]:
    """Give the lines of a text that nobody should overlook."""
    return [line for stop in halted(rollouts) for line in (stop.says, f"  {stop.todo}")]


def next_step(rollouts: Iterable[Entry]) -> str | None:
    """Give when the next step of some rollouts is due; None when time alone brings none."""
    return min((entry["next_at"] for entry in rollouts if entry["next_at"]), default=None)


def rollout_rows(rollouts: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Give rows (mark, component, version, group, waves, where it is) for the rollouts of a plan."""
    return [
        (_mark(entry, moves=entry["new"]), *_subject(entry), _sizes(entry), where_text(entry)) for entry in rollouts
    ]


def standing_rows(rollouts: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Give rows (mark, component, version, group, since when, where it is) for the rollouts of a status."""
    return [
        (
            _mark(entry, moves=entry["counts"]["pending"] > 0),
            *_subject(entry),
            entry["started"],
            where_text(entry),
        )
        for entry in rollouts
    ]


def standing_rows_of(rollouts: Sequence[Entry]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Give the rows of `standing_rows`, and the releases of those that share one as they are equally far.

    One that stands still shares no row, and comes first.
    """
    alike: dict[tuple[Any, ...], list[int]] = {}
    cells = standing_rows(rollouts)
    for at, (entry, row) in enumerate(zip(rollouts, cells, strict=True)):
        own = at if row[0] == "!" else -1
        alike.setdefault((own, row[0], row[3], entry["wave"], entry["waves"], head_of(row[-1])), []).append(at)
    found: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for (*_key, head), places in alike.items():
        if len(places) < _ALIKE:
            found += [(cells[at], ()) for at in places]
            continue
        mark, _component, _version, group, _since, _where = cells[places[0]]
        entries = [rollouts[at] for at in places]
        since = " to ".join(dict.fromkeys(pick(entry["started"] for entry in entries) for pick in (min, max)))
        says = {cells[at][-1] for at in places}
        where = says.pop() if len(says) == 1 else head
        names = tuple(f"{entry['component']} {entry['version']}" for entry in entries)
        found.append(((mark, count_text(len(places), "rollout"), "", group, since, where), names))
    return sorted(found, key=lambda row: row[0][0] != "!")


def head_of(where: str) -> str:
    """Give what is said of where rollouts are without moments and numbers of their own: `wave 1 of 2 is open`."""
    return re.split(r": |; | \(", where)[0]


def without_group(rows: Sequence[Sequence[str]], at: int = 3) -> list[Sequence[str]]:
    """Leave the column of groups out where all rollouts are for the whole fleet."""
    if any(row[at] != WHOLE_FLEET for row in rows):
        return list(rows)
    return [(*row[:at], *row[at + 1 :]) for row in rows]


def _mark(entry: Entry, *, moves: bool) -> str:
    return "!" if entry["status"] in STOPPED or entry.get("stuck") else ">" if moves else "="


def _subject(entry: Entry) -> tuple[str, str, str]:
    return entry["component"], entry["version"], entry["group"] or WHOLE_FLEET


def _sizes(entry: Entry) -> str:
    """Write the waves by their sizes: `3 + 97 + 900 clients`."""
    *first, last = entry["sizes"] or [0]
    return " + ".join([*map(number_text, first), count_text(last, "client")])


def waves_of(document: Entry) -> dict[tuple[str, str, str | None], int]:
    """Give how many waves each rollout of a plan has, by component, version and group."""
    return {(entry["component"], entry["version"], entry["group"]): entry["waves"] for entry in document["rollouts"]}


def wave_text(change: Entry, waves: Waves) -> str:
    """Say in which wave clients get a release: `wave 2 of 3`; nothing where there is no more than one."""
    component, to = change["component"], change["to"]
    count = waves.get((component, to, change["group"])) or waves.get((component, to, None), 0)
    return f"wave {change['wave']} of {count}" if change["wave"] and count > 1 else ""


# --- reports and lists ------------------------------------------------------------------------------------------------


def report_lines(document: Entry) -> list[str]:
    """Say where rollouts are after an apply, and when their next step is due; first what somebody must look at."""
    going = [entry for entry in document["rollouts"] if entry["status"] != "done" and not is_alarm(entry)]
    lines = halted_lines(document["rollouts"])
    alike: dict[str, list[str]] = {}
    for entry in going:
        alike.setdefault(where_text(entry), []).append(rollout_name(entry))
    for where, names in alike.items():
        whose = [count_text(len(names), "rollout")] if len(names) >= _ALIKE else names
        lines += [f"{name}: {where}" for name in whose]
    if document["next_step_at"]:
        lines.append(f"Next step at {document['next_step_at']}: run updoser apply then, or keep it running with --wait")
    return lines


def rollouts_text(document: Entry, *, look: Look = PLAIN) -> str:
    """Render a list of rollouts."""
    rollouts = document["rollouts"]
    if not rollouts:
        return "No rollouts.\n"
    return page([*halted_lines(rollouts), *standing_table(rollouts, look.width)], look.width)


def standing_table(rollouts: Sequence[Entry], width: int | None = None) -> list[str]:
    """Give the lines of a table that says where rollouts are."""
    return table(without_group([(f"  {row[0]}", *with_since(row)[1:]) for row in standing_rows(rollouts)]), width=width)


def with_since(row: Sequence[str]) -> tuple[str, ...]:
    """Give a row of `standing_rows` for texts, whose columns have no titles."""
    return (*row[:4], f"since {row[4]}", *row[5:])
