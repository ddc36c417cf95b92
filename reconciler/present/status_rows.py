"""What a status says, as rows for texts, Markdown and pages alike: a screen on an ordinary day.

    component        held -> offered         updated  outdated  unknown   rate
    9 components     others are offered            0       260    3 000  0.0 %
        age 36 h, by version: missing: 200
          common-firewall-pattern 14.656.00, intellitrap-pattern 13.547.00 and 7 more

1. A component is current where no client that answered lacks what it should have, hasn't loaded it, or has more than
   that; where nobody answered, nothing is known. From ALIKE on, current ones are a sentence.
2. From ALIKE on, components of which the same is said share a row: the same counts, and as many clients without any.
3. A group has the figures of the worst of its components, and names only those of which it has something else to say
   than the whole fleet: nobody has what is held where others do, or the group should have another version.
4. Clients that are left alone for the same reason are one row, with EXAMPLES of them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.model.protection import PERCENT
from reconciler.present.folding import ALIKE
from reconciler.present.kinds import groups_text
from reconciler.present.provenance_form import NOT_SIGNED, with_bare
from reconciler.present.trouble import EXAMPLES, likeness
from reconciler.present.words import count_text, name_list, number_text, span_text

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    Entry = Mapping[str, Any]

COLUMNS = (
    *("component", "held -> offered", "updated", "outdated", "unknown", "rate"),
    *("pending", "ahead", "age", "by version"),
)
COUNTS = ("updated", "outdated", "pending", "ahead", "unknown")
IF_ANY = frozenset(["pending", "ahead"])
"""Columns that are there where they say something."""
GROUP_HEAD = ("group", "clients", "current", "outdated", "unknown", "rate")
_NAMES_SHOWN = 6
_VERSIONS_SHOWN = 2
_GROUPS_SHOWN = 20
_QUARANTINED_SHOWN = 20
_MISSING = "missing"


class ComponentRow(NamedTuple):
    """A row of components of which the same is said: cells by COLUMNS, and the names where there are several."""

    entries: Sequence[Entry]
    cells: Mapping[str, str]
    names: tuple[str, ...] = ()


class GroupRow(NamedTuple):
    """A group: cells by GROUP_HEAD, and the components of which it has something else to say than the fleet.

    Its counts are each the highest of any component.
    """

    cells: tuple[str, ...]
    others: Sequence[ComponentRow]


def brief_names(names: Sequence[str]) -> str:
    """Write a list of names, the first of many; one more is named rather than counted."""
    return name_list(names, _NAMES_SHOWN if len(names) > _NAMES_SHOWN + 1 else len(names))


# --- components -------------------------------------------------------------------------------------------------------


def is_current(entry: Entry) -> bool:
    """Say whether all who answered have exactly what they should have; not where nobody did."""
    silent = entry["unknown"] and not entry["updated"]
    return not (entry["outdated"] or pending_of(entry) or entry["ahead"] or silent)


def pending_of(entry: Entry) -> int:
    """Give how many clients have a component installed and not loaded; documents of earlier versions don't say."""
    return int(entry.get("pending", 0))


def used_columns(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Give the columns that the cells of some rows have use for."""
    listed = list(rows)
    return [key for key in COLUMNS if key not in IF_ANY or any(row[key] != "0" for row in listed)]


def pending_lines(document: Entry) -> list[str]:
    """Say of which components clients have the files and haven't loaded them."""
    entries = [entry for entry in document["components"] if pending_of(entry)]
    if len(entries) >= ALIKE:
        most = count_text(max(map(pending_of, entries)), "client")
        names = brief_names([entry["id"] for entry in entries])
        return [f"pending: up to {most} have installed {names}, and not loaded it"]
    return [
        f"pending: {count_text(pending_of(entry), 'client')} {'has' if pending_of(entry) == 1 else 'have'} installed "
        f"{entry['id']}, and not loaded it"
        for entry in entries
    ]


def said_lines(document: Entry) -> list[str]:
    """Give what is said below the components: what isn't loaded, what goes to nobody, and how fast releases came."""
    return [*pending_lines(document), *kept_back_lines(document), *protection_lines(document)]


def protection_lines(document: Entry) -> list[str]:
    """Say how fast most clients got releases: each that is on its way, or many by what they haven't reached yet."""
    followed = [(entry["id"], entry["protection"]) for entry in document["components"] if entry.get("protection")]
    slow = sorted((one for one in followed if one[1]["nearly"] is None), key=lambda one: one[1]["began"])
    if len(slow) < ALIKE:
        told = [f"{component} {reached_text(reached)}" for component, reached in slow]
    else:
        alike: dict[int, list[tuple[str, Entry]]] = defaultdict(list)
        for component, reached in slow:
            alike[_missing(reached)].append((component, reached))
        told = [
            f"{count_text(len(some), 'release')} not yet at {percent} % of the clients, {some[0][0]} "
            f"{some[0][1]['version']} since {some[0][1]['began']}"
            for percent, some in sorted(alike.items())
        ]
    over = [(reached["nearly"], f"{component} {reached['version']}") for component, reached in followed]
    took, slowest = max((one for one in over if one[0]), default=(0, ""))
    told += [f"{slowest} took {span_text(took)} to {max(PERCENT.values())} % of the clients"] if took else []
    return [f"time to protection: {one}" for one in told]


def reached_text(reached: Entry) -> str:
    """Say of a release in how much time most clients had it, from when it was first offered."""
    parts = [
        f"{percent} % in {span_text(reached[key])}" for key, percent in PERCENT.items() if reached[key] is not None
    ]
    parts += [f"not yet {_missing(reached)} %"] if reached["nearly"] is None else []
    return f"{reached['version']}: {', '.join(parts)} of the clients (offered {reached['began']})"


def _missing(reached: Entry) -> int:
    return next((percent for milestone, percent in PERCENT.items() if reached[milestone] is None), 0)


def answered_text(components: Iterable[Entry]) -> str:
    """Say for whom components are current: somebody is always off in a large fleet."""
    return "every client that answered" if any(entry["unknown"] for entry in components) else "every client"


def current_of(components: Sequence[Entry]) -> list[Entry]:
    """Give the current components that a sentence names; so few that they are rows are none."""
    current = [entry for entry in components if is_current(entry)]
    return current if len(current) >= ALIKE else []


def current_text(components: Sequence[Entry]) -> str:
    """Say how many components are current; empty where `current_of` gives none."""
    current = current_of(components)
    if not current:
        return ""
    every = len(current) == len(components)
    head = "All" if every else f"{number_text(len(current))} of"
    unknown = max(entry["unknown"] for entry in current)
    who = f"{answered_text(current)}{f' ({number_text(unknown)} unknown)' if unknown else ''}"
    return f"{head} {count_text(len(components), 'component')} are current on {who}"


def names_of(components: Iterable[Entry]) -> tuple[str, ...]:
    """Name the releases of components that are held."""
    return tuple(sorted(" ".join(filter(None, (entry["id"], entry["latest_held"]))) for entry in components))


def component_rows(components: Sequence[Entry]) -> list[ComponentRow]:
    """Give the rows of components but for those that `current_text` names, in the order of the document."""
    named = {entry["id"] for entry in current_of(components)}
    return _folded([entry for entry in components if entry["id"] not in named])


def _folded(entries: Iterable[Entry]) -> list[ComponentRow]:
    alike: dict[Hashable, list[Entry]] = defaultdict(list)
    for entry in entries:
        alike[_key(entry)].append(entry)
    parts: list[Sequence[Entry]] = []
    for same in alike.values():
        parts += [same] if len(same) >= ALIKE else [[entry] for entry in same]
    parts.sort(key=lambda part: part[0]["rate"])
    return [_row(part) for part in parts]


def _key(entry: Entry) -> Hashable:
    return (*(entry.get(key, 0) for key in COUNTS), entry["versions"].get(_MISSING, 0), _differs(entry), entry["rate"])


def _row(entries: Sequence[Entry]) -> ComponentRow:
    entry, many = entries[0], len(entries) > 1
    held = ("others are offered" if _differs(entry) else "") if many else _held(entry)
    cells = {
        "component": count_text(len(entries), "component") if many else entry["id"],
        "held -> offered": held,
        **{key: number_text(entry.get(key, 0)) for key in COUNTS},
        "rate": rate_of(entry),
        "age": _ages(entries),
        "by version": _shared_version(entry) if many else _versions(entry),
    }
    return ComponentRow(entries, cells, names_of(entries) if many else ())


def rate_of(entry: Entry) -> str:
    """Write the share of clients that are updated."""
    return f"{entry['rate'] * 100:.1f} %"


def _differs(entry: Entry) -> bool:
    return bool(entry["latest_offered"]) and entry["latest_offered"] != entry["latest_held"]


def _held(entry: Entry) -> str:
    held = entry["latest_held"] or "-"
    return f"{held} -> {entry['latest_offered']}" if _differs(entry) else held


def _ages(entries: Sequence[Entry]) -> str:
    ages = sorted(entry["age"] for entry in entries if entry["age"] is not None)
    shown = dict.fromkeys(map(span_text, ages)) or {"-": None}
    return " to ".join(dict.fromkeys((next(iter(shown)), next(reversed(shown)))))


def _versions(entry: Entry) -> str:
    """Say what clients run, but for what the columns say already; what most of them run first."""
    versions = {
        version: count
        for version, count in entry["versions"].items()
        if (version, count) != (entry["latest_held"], entry["updated"])
    }
    listed = sorted(versions.items(), key=lambda item: -item[1])[:_VERSIONS_SHOWN]
    more = len(versions) - len(listed)
    return ", ".join(
        [f"{version}: {number_text(count)}" for version, count in listed] + ([f"{more} more"] * bool(more))
    )


def _shared_version(entry: Entry) -> str:
    missing = entry["versions"].get(_MISSING, 0)
    return f"{_MISSING}: {number_text(missing)}" if missing else ""


def component_text(row: ComponentRow) -> str:
    """Say the figures of a row as a sentence."""
    counts = [f"{row.cells[key]} {key}" for key in COUNTS if key in {"updated", "outdated"} or row.cells[key] != "0"]
    what = " ".join(filter(None, (row.cells["component"], "" if row.names else row.cells["held -> offered"])))
    versions = row.cells["by version"]
    return f"{what}: {', '.join([*counts, *([versions] if versions else [])])}"


def kept_back_lines(document: Entry) -> list[str]:
    """Say of which components something is offered that goes to nobody, why, and how many count as updated."""
    alike: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in document["components"]:
        if entry.get("kept_back"):
            alike[entry["kept_back"].partition(" ")[2], _deferred(entry)].append(entry)
    lines = []
    for (why, deferred), entries in alike.items():
        if len(entries) < ALIKE:
            lines += [f"kept back: {entry['id']} {entry['kept_back']}{deferred}" for entry in entries]
        else:
            names = brief_names([f"{entry['id']} {entry['kept_back'].partition(' ')[0]}" for entry in entries])
            lines.append(f"kept back: {count_text(len(entries), 'component')}, {why}{deferred}: {names}")
    return lines


def _deferred(entry: Entry) -> str:
    waiting = entry.get("deferred", 0)
    return f"; {count_text(waiting, 'client')} deferred, counted as updated" if waiting else ""


# --- groups -----------------------------------------------------------------------------------------------------------


def group_rows(document: Entry) -> tuple[list[GroupRow], list[str]]:
    """Give a row for each group, the worst first, and sentences about those that have none; none of a single group."""
    groups = document["groups"]
    if len(groups) < 2:
        return [], []
    fine = [entry["group"] for entry in groups if entry["components"] and all(map(is_current, entry["components"]))]
    fine = fine if len(fine) >= ALIKE else []
    shown = sorted((entry for entry in groups if entry["group"] not in set(fine)), key=_worst)
    fleet = {entry["id"]: entry for entry in document["components"]}
    more = len(shown) - _GROUPS_SHOWN
    says = [f"and {count_text(more, 'more group')} that are not fully current"] if more > 0 else []
    if fine:
        head = "All" if len(fine) == len(groups) else f"{number_text(len(fine))} of"
        says.append(f"{head} {count_text(len(groups), 'group')} are current in all components: {brief_names(fine)}")
    return [_group_row(entry, fleet) for entry in shown[:_GROUPS_SHOWN]], says


def _worst(entry: Entry) -> float:
    return min((component["rate"] for component in entry["components"]), default=1.0)


def _group_row(entry: Entry, fleet: Mapping[str, Entry]) -> GroupRow:
    components = entry["components"]

    def most(*keys: str) -> str:
        return number_text(max((sum(component.get(key, 0) for key in keys) for component in components), default=0))

    current = f"{number_text(sum(map(is_current, components)))} of {number_text(len(components))}"
    rate = f"{_worst(entry) * 100:.1f} %"
    cells = (entry["group"], most(*COUNTS), current, most("outdated"), most("unknown"), rate)
    others = [component for component in components if _says_else(component, fleet.get(component["id"]))]
    return GroupRow(cells, _folded(others))


def _says_else(entry: Entry, fleet: Entry | None) -> bool:
    if fleet is None or entry["latest_held"] != fleet["latest_held"]:
        return True
    nobody = entry["outdated"] and not entry["updated"]
    return bool(nobody and fleet["updated"])


# --- clients left alone, versions and sources -------------------------------------------------------------------------


def quarantine_rows(quarantined: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Give rows (clients, groups, until when, failures, message); those that say the same share one."""
    return [cells for cells, _clients in _quarantine(quarantined)[:_QUARANTINED_SHOWN]]


def quarantine_rest(quarantined: Sequence[Entry]) -> str:
    """Say how many clients in quarantine aren't shown; nothing when all are."""
    more = sum(clients for _cells, clients in _quarantine(quarantined)[_QUARANTINED_SHOWN:])
    return f"and {number_text(more)} more" if more else ""


def _quarantine(quarantined: Sequence[Entry]) -> list[tuple[tuple[str, ...], int]]:
    alike: dict[str, list[Entry]] = defaultdict(list)
    for entry in quarantined:
        alike[likeness(entry["message"].replace(entry["client"], "#"))].append(entry)
    found: list[tuple[tuple[str, ...], int]] = []
    for same in sorted(alike.values(), key=lambda entries: -len(entries)):
        for part in [same] if len(same) >= ALIKE else [[entry] for entry in same]:
            names = name_list([entry["client"] for entry in part], EXAMPLES)
            failures = [entry["failures"] for entry in part]
            most = f"{'up to ' if len(set(failures)) > 1 else ''}{count_text(max(failures), 'failure')}"
            until = " to ".join(dict.fromkeys(pick(entry["until"] for entry in part) for pick in (min, max)))
            cells = (names, groups_text(entry["group"] for entry in part), f"until {until}", most, part[0]["message"])
            found.append((cells, len(part)))
    return found


def source_row(source: Entry) -> tuple[str, ...]:
    """Give the row (source, when it was read, how it is) of a source."""
    state = source["error"] or "fine"
    if source["stale"]:
        state = f"stale: {source['error']}" if source["error"] else "stale"
    state = with_bare(state, source)
    return source["name"], f"last read {source['last_success'] or 'never'}", state


def is_fine(source: Entry) -> bool:
    """Say whether a source was read, and nothing is to be told of it."""
    return bool(source["last_success"]) and not source["stale"] and not source["error"]


def fine_sources_text(sources: Sequence[Entry]) -> str:
    """Name the sources that are fine, and when they were read; empty where none is."""
    fine = [source for source in sources if is_fine(source)]
    if not fine:
        return ""
    read = " to ".join(dict.fromkeys(pick(source["last_success"] for source in fine) for pick in (min, max)))
    bare = [source["name"] for source in fine if not source.get("signed", True)]
    which = f": {brief_names(bare)}" if len(bare) < len(fine) else ""
    return f"fine: {brief_names([source['name'] for source in fine])}; last read {read}" + (
        f"; {NOT_SIGNED}{which}" if bare else ""
    )


def withdrawn_rows(withdrawn: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Give rows (component, version, who has it, who withdrew it and why); many that nobody has share one."""
    unused = [entry for entry in withdrawn if not entry["clients"]]
    unused = unused if len(unused) >= ALIKE else []
    rows: list[tuple[str, ...]] = [
        (
            entry["component"],
            entry["version"],
            f"{count_text(entry['clients'], 'client')} with it",
            f"by {entry['source']}: {entry['reason']}",
        )
        for entry in withdrawn
        if entry["clients"] or not unused
    ]
    if unused:
        names = brief_names([f"{entry['component']} {entry['version']}" for entry in unused])
        rows.append((count_text(len(unused), "version"), "", "0 clients with them", names))
    return rows


CONDITIONS_HEAD = ("severity", "since", "condition")


def condition_rows(document: Entry) -> list[tuple[str, str, str]]:
    """Give a row for each condition that the controller knows to be so."""
    return [(one["severity"], one["since"], one["summary"]) for one in document.get("conditions", ())]
