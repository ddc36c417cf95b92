"""Rows that say the same as one row, so that a plan is a page, whatever the size of its fleet.

    ~  13 components  2 clients  about 3.9 MiB in all: 6 by incrementals, 7 in full  office  outdated, wave 1 of 2
         behavior-monitoring-detection-pattern 13.882.00, common-firewall-pattern 13.890.00, ...

1. A change of clients is one release that goes to some of them for one reason, in whatever form each gets it and
   whatever each had before. That is what the first line of a plan counts; opened, it says what each gets.
2. From ALIKE changes on that differ in nothing but their component, there is one row, and their releases below it.
   What is no routine (a downgrade, a pin, what was withdrawn, rolled back or found to be other bytes) is a row of its
   own, up to ODD of a kind, and shares none with anything else. First installs share none with updates.
3. Work in the store stands for releases: those that clients get in the plan aren't named twice.
4. Who waits for a wave is counted in the row of that rollout. One that stands still shares no row.
5. Clients of which nothing is known are counted by reason, with EXAMPLES of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.model.roster import count_clients
from reconciler.present.kinds import (
    WAYS,
    Row,
    fetched_text,
    groups_text,
    held_text,
    mixed_text,
    platform_text,
    reason_text,
    same_deploy,
    way_of,
)
from reconciler.present.provenance_form import with_bare
from reconciler.present.rollout_text import WHOLE_FLEET, head_of, is_alarm, rollout_rows, told_once, waves_of
from reconciler.present.words import count_text, number_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

    from reconciler.present.kinds import Kind
    from reconciler.present.rollout_text import Entry, Waves

ALIKE = 4
ODD = 11
_ODD_REASONS = frozenset(["pinned", "blocked", "withdrawn", "rolled_back", "digest_mismatch", "other bytes"])
_ODD_KINDS = frozenset(["withdraw", "restore", "let go"])


class Scene(NamedTuple):
    """What rows are made by, apart from their own changes.

    `waves` are those of the rollouts, `members` the clients of cohorts, `going` the releases that clients get; `alarms`
    are the rollouts that stand still, which the top explains.
    """

    waves: Waves
    members: Mapping[str, Sequence[str]]
    going: Collection[tuple[str, str]]
    alarms: Sequence[Entry] = ()

    def clients(self, entries: Iterable[Entry]) -> int:
        """Count the clients of some entries, each once."""
        return count_clients(self.members, (entry.get("members", ()) for entry in entries))


def scene_of(document: Entry) -> Scene:
    """Give the scene of a plan."""
    going = {(change["component"], change["to"]) for change in document["changes"] if change["action"] == "deploy"}
    return Scene(
        waves_of(document), document["members"], going, [entry for entry in document["rollouts"] if is_alarm(entry)]
    )


def lines_of(kind: Kind, changes: Sequence[Entry], scene: Scene) -> list[Row]:
    """Give a row for each change of a kind, folded no further; a row of clients says how many they are."""
    return list(kind.rows(changes, scene.waves))


def rows_of(kind: Kind, changes: Sequence[Entry], scene: Scene) -> list[Row]:
    """Give the rows of a kind; those that say the same are one."""
    lines, fold = lines_of(kind, changes, scene), _FOLDS.get(kind.action)
    return lines if fold is None else _folded(lines, fold, scene)


def changes_of(document: Entry) -> int:
    """Count the changes of a plan for which releases go to clients; see the first rule."""
    waves = waves_of(document)
    return len({same_deploy(change, waves) for change in document["changes"] if change["action"] == "deploy"})


@dataclass(frozen=True, slots=True)
class _Fold:
    """How rows of a kind share one: `key` is what must be equal, `cells` gives the row, from `least` rows on."""

    key: Callable[[Row, Scene], Hashable]
    cells: Callable[[Sequence[Row], Scene], tuple[str, ...]]
    names: Callable[[Sequence[Row], Scene], tuple[str, ...]] = lambda _rows, _scene: ()
    least: Callable[[Entry], int] = lambda change: ODD if is_odd(change) else ALIKE


def _folded(lines: Sequence[Row], fold: _Fold, scene: Scene) -> list[Row]:
    alike: dict[Hashable, list[Row]] = defaultdict(list)
    for line in lines:
        alike[fold.key(line, scene)].append(line)
    found = []
    for rows in alike.values():
        if len(rows) < fold.least(rows[0].changes[0]):
            found += rows
            continue
        changes = [change for row in rows for change in row.changes]
        found.append(
            Row(fold.cells(rows, scene), changes, fold.names(rows, scene), folded=sum(row.folded for row in rows))
        )
    return found


def is_odd(change: Entry) -> bool:
    """Say whether a change is no routine: somebody will want to see it by itself."""
    return bool(change.get("downgrade")) or change["reason"] in _ODD_REASONS or change.get("kind") in _ODD_KINDS


def _releases(rows: Sequence[Row]) -> str:
    components = {row.changes[0]["component"] for row in rows}
    return count_text(len(rows), "component" if len(components) == len(rows) else "release")


def _names(rows: Sequence[Row], _scene: Scene) -> tuple[str, ...]:
    changes = [row.changes[0] for row in rows]
    return tuple(sorted({f"{change['component']} {change['to']}{platform_text(change)}" for change in changes}))


# --- what goes to clients ---------------------------------------------------------------------------------------------


def _by_rows(rows: Sequence[Row]) -> Counter[str]:
    """Count components by how their release goes to clients."""
    count: Counter[str] = Counter()
    for row in rows:
        ways = {way_of(change) for change in row.changes}
        count[ways.pop() if len(ways) == 1 else WAYS[5]] += 1
    return count


def _deploy_key(row: Row, scene: Scene) -> Hashable:
    change = row.changes[0]
    return row.cells[0], change["early"], change["held"], reason_text(change, scene.waves)


def _deploy_cells(rows: Sequence[Row], scene: Scene) -> tuple[str, ...]:
    changes = [change for row in rows for change in row.changes]
    return (
        rows[0].cells[0],
        _releases(rows),
        "",
        "",
        count_text(scene.clients(changes), "client"),
        mixed_text(changes, _by_rows(rows)),
        groups_text(change["group"] for change in changes),
        rows[0].cells[-1],
    )


def _settings_cells(rows: Sequence[Row], scene: Scene) -> tuple[str, ...]:
    changes = [change for row in rows for change in row.changes]
    groups = groups_text(change["group"] for change in changes)
    return rows[0].cells[0], count_text(scene.clients(changes), "client"), groups, rows[0].cells[-1]


def _proof_cells(rows: Sequence[Row], scene: Scene) -> tuple[str, ...]:
    mark, _rollout, wave, what, clients = rows[0].cells
    asked = scene.clients(change for row in rows for change in row.changes)
    return mark, count_text(len(rows), "rollout"), wave, what, count_text(asked, "client") if clients else ""


# --- the store --------------------------------------------------------------------------------------------------------


def _store_key(row: Row, scene: Scene) -> Hashable:
    change = row.changes[0]
    keys = ("action", "kind", "codec", "source", "route", "reason", "signed")
    packed = change["from"] is None
    follows = (change["component"], change["to"]) in scene.going
    return packed, follows, *(change.get(key) for key in keys)


def _store_cells(rows: Sequence[Row], _scene: Scene) -> tuple[str, ...]:
    changes = [change for row in rows for change in row.changes]
    change, total = changes[0], sum(change["bytes"] for change in changes)
    if change["action"] == "merge":
        moved, full = "", f"{size_text(total)} from {change['source']}" if change["source"] else "nothing"
        what = f"by {count_text(sum(len(each['path']) for each in changes), 'incremental')}"
        what += f"; for those that fail, the full: {full}"
    else:
        moved = f"{'about ' if change['action'] == 'generate' else ''}{size_text(total)}"
        what = (fetched_text if change["action"] == "download" else held_text)(change, len(changes))
    return rows[0].cells[0], _releases(rows), "", "", moved, what, with_bare(change["reason"], change)


def _fetch_cells(rows: Sequence[Row], _scene: Scene) -> tuple[str, ...]:
    sizes = [change["bytes"] for row in rows for change in row.changes]
    size = "?" if None in sizes else size_text(sum(sizes))
    return rows[0].cells[0], _releases(rows), "", "", size, *rows[0].cells[-2:]


def _store_names(rows: Sequence[Row], scene: Scene) -> tuple[str, ...]:
    change = rows[0].changes[0]
    follows = change["action"] in {"generate", "prune"} or (change["component"], change["to"]) in scene.going
    return () if follows else _names(rows, scene)


def _publish_key(row: Row, _scene: Scene) -> Hashable:
    change = row.changes[0]
    return change["kind"], change["repository"], change["reason"], change.get("signed"), bool(change["component"])


def _publish_cells(rows: Sequence[Row], _scene: Scene) -> tuple[str, ...]:
    total = sum(change["bytes"] for row in rows for change in row.changes)
    return rows[0].cells[0], _releases(rows), "", size_text(total) if total else "", *rows[0].cells[-2:]


_STORE = _Fold(_store_key, _store_cells, _store_names)
_FOLDS: Mapping[str, _Fold] = {
    "download": _STORE,
    "merge": _STORE,
    "generate": _STORE,
    "prune": _STORE,
    "fetch": _Fold(lambda row, _scene: row.cells[-2:], _fetch_cells, _names),
    "proof": _Fold(lambda row, _scene: row.cells[2:4], _proof_cells, least=lambda _change: ALIKE),
    "deploy": _Fold(_deploy_key, _deploy_cells, _names),
    "settings": _Fold(lambda row, _scene: (row.cells[0], row.cells[-1]), _settings_cells, least=lambda _change: 2),
    "publish": _Fold(_publish_key, _publish_cells, _names),
}


# --- rollouts ---------------------------------------------------------------------------------------------------------


def waiting_of(document: Entry) -> list[list[Entry]]:
    """Give the findings of those who wait for a wave of each rollout of a plan, and of nothing else."""
    waiting: dict[tuple[str, str, str, str], list[Entry]] = defaultdict(list)
    for finding in document["deferred"]:
        waiting[finding["component"], finding["version"], finding["reason"], finding["group"]].append(finding)
    by_rollout: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for (component, version, reason, _group), findings in waiting.items():
        by_rollout[component, version, reason] += findings

    def of(entry: Entry) -> list[Entry]:
        key = (entry["component"], entry["version"], f"rollout: {entry['says']}")
        return waiting.get((*key, entry["group"]), []) if entry["group"] else by_rollout.get(key, [])

    return [of(entry) for entry in document["rollouts"]]


def rollout_rows_of(document: Entry, scene: Scene, *, opened: bool = False) -> list[Row]:
    """Give rows (mark, component, version, group, waves, where it is) for the rollouts of a plan."""
    rollouts, waiting = document["rollouts"], waiting_of(document)
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    cells = rollout_rows(rollouts)
    for at, (entry, row) in enumerate(zip(rollouts, cells, strict=True)):
        own = at if opened or row[0] == "!" else -1
        head = head_of(row[-1])
        alike[own, row[0], row[3], entry["wave"], entry["waves"], head].append(at)
    now = _now(document)
    found = []
    for (*_key, head), places in alike.items():
        if len(places) < ALIKE:
            found += [_rollout_row(rollouts[at], cells[at], waiting[at], scene) for at in places]
            continue
        mark, _component, _version, group, _waves, _where = cells[places[0]]
        entries = [rollouts[at] for at in places]
        at_once = scene.clients(change for entry in entries for change in now.get(_key_of(entry), ()))
        later = scene.clients(finding for at in places for finding in waiting[at])
        turns = ", ".join(
            filter(None, (f"{count_text(at_once, 'client')} now", f"{number_text(later)} later" if later else ""))
        )
        says = {row[-1] for row in (cells[at] for at in places)}
        where = says.pop() if len(says) == 1 else head
        names = tuple(
            f"{entry['component']} {entry['version']}"
            for entry in entries
            if (entry["component"], entry["version"]) not in scene.going
        )
        whole = (mark, count_text(len(places), "rollout"), "", group, turns, where)
        found.append(Row(whole, entries, names, folded=len(places)))
    return found


def _rollout_row(entry: Entry, cells: tuple[str, ...], waiting: Sequence[Entry], scene: Scene) -> Row:
    later = scene.clients(waiting)
    where = f"{cells[-1]}; {count_text(later, 'client')} later" if later else cells[-1]
    return Row((*cells[:-1], where), [entry])


def _key_of(entry: Entry) -> tuple[str, str, str]:
    return entry["component"], entry["version"], entry["group"] or WHOLE_FLEET


def _now(document: Entry) -> Mapping[tuple[str, str, str], list[Entry]]:
    """Give the changes of clients by the rollouts that they may belong to."""
    found: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for change in document["changes"]:
        if change["action"] == "deploy" and not change["early"]:
            for group in (WHOLE_FLEET, change["group"]):
                found[change["component"], change["to"], group].append(change)
    return found


# --- what isn't changed -----------------------------------------------------------------------------------------------


class Trouble(NamedTuple):
    """A row (what, clients, groups, reason) of findings, and all of them; `names` are the releases it stands for."""

    cells: tuple[str, str, str, str]
    findings: Sequence[Entry]
    names: tuple[str, ...] = ()


def findings_of(kind: str, findings: Sequence[Entry], document: Entry, scene: Scene) -> list[Trouble]:
    """Give the rows of findings: groups share one, and so do components for which the same holds."""
    told = {id(finding) for each in waiting_of(document) for finding in each} if kind == "deferred" else set()
    alike: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for finding in findings:
        if id(finding) not in told:
            alike[finding["component"] or "", finding["version"] or "", finding["reason"]].append(finding)
    by_reason: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for key in alike:
        by_reason[key[2]].append(key)
    found = []
    for reason, keys in by_reason.items():
        if len(keys) < (ODD if kind == "drift" else ALIKE):
            for component, version, _reason in keys:
                what = " ".join(filter(None, (component, version))) or "all components"
                found.append(_trouble(what, reason, alike[component, version, reason], scene))
            continue
        names = tuple(sorted(" ".join(filter(None, key[:2])) for key in keys))
        components = {key[0] for key in keys}
        what = count_text(len(keys), "component" if len(components) == len(keys) else "release")
        every = [finding for key in keys for finding in alike[key]]
        found.append(_trouble(what, reason, every, scene)._replace(names=names))
    return found


def clients_of(findings: Iterable[Entry], document: Entry) -> list[str]:
    """Name the clients of findings."""
    return sorted(name for finding in findings for cohort in finding["members"] for name in document["members"][cohort])


def _trouble(what: str, reason: str, findings: Sequence[Entry], scene: Scene) -> Trouble:
    reason = told_once(reason, scene.alarms)
    clients = scene.clients(findings) or sum(finding["clients"] for finding in findings)
    groups = groups_text(finding["group"] for finding in findings)
    return Trouble((what, count_text(clients, "client"), groups, reason), findings)
