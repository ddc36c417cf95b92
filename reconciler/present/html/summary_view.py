"""What the Summary shows: the verdict, what needs somebody, how far each component is, and what goes on.

* Components that all who answered have are tiles; the others are rows, the worst first.
* What needs somebody stands once, with its reason and what may be done; a rollout below doesn't say it again.
* Each figure leads to the list of what it counts, also where so many releases behind still count as updated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.present.html import links
from reconciler.present.html.shapes import (
    WAYS_SHOWN,
    Alert,
    Button,
    Fact,
    Segment,
    Sign,
    Way,
    bar,
    rate_text,
    shared_way,
)
from reconciler.present.html.status_view import headline
from reconciler.present.html.trend_view import trend_of
from reconciler.present.kinds import groups_text
from reconciler.present.rollout_text import STOPPED, halted, is_alarm
from reconciler.present.status_rows import answered_text, is_current, kept_back_lines
from reconciler.present.trouble import told_of_status
from reconciler.present.words import count_text, number_text, size_text, span_text
from reconciler.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.report import Run
    from reconciler.model.request import Role
    from reconciler.present.html.shapes import Tone
    from reconciler.present.html.trend_view import Sampled, Trend
    from reconciler.present.rollout_text import Entry

WITHIN = (0, 1, 2, 3)
"""How many releases behind may still count as updated."""
_COUNTS = ("updated", "outdated", "ahead", "unknown", "pending")
_VERSIONS_SHOWN = 2
_NEEDS_SHOWN = 6
_QUARANTINED_SHOWN = 5
_SOURCES_SHOWN = 8
_TOLD_BY_OTHERS = frozenset(["rollout_halted", "approval_needed", "source_stale", "spec_rejected", "round_failed"])
"""Conditions of which pages say more, elsewhere."""


class Count(NamedTuple):
    """A number of clients, and where their list is; empty where there are none."""

    text: str
    link: str = ""


class Version(NamedTuple):
    """So many clients run a version; `old`: it isn't the one that is held."""

    text: str
    clients: str
    old: bool
    link: str
    share: Sequence[Segment] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """How far one component is. `unknown_told`: as many clients are unknown as in others, which is said at the top."""

    id: str
    name: str
    kind: str
    link: str
    held: str
    offered: str
    counts: Mapping[str, Count]
    rate: str
    share: float
    bar: Sequence[Segment]
    age: str
    seconds: int
    versions: Sequence[Version]
    more: int
    unknown_told: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line of a list: what it is, its sign, when it was, and a sentence about it."""

    name: str
    link: str
    sign: Sign
    at: str | datetime | None
    says: str = ""
    before: str = ""


class Trouble(NamedTuple):
    """Clients that are in trouble for a reason: how many, where their list is, what to do, and what some said."""

    label: str
    clients: Count
    todo: str
    examples: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What of the fleet is shown: a group (empty: all), and how many releases behind still counts as updated."""

    group: str = ""
    within: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All that the Summary shows. `rendered` is for parts of the page in which nothing but this stands."""

    headline: str
    facts: Sequence[Fact]
    seen: str | None
    needs: Sequence[Alert]
    more_needs: Sequence[Alert]
    chosen: Chosen
    groups: Sequence[str]
    behind: Sequence[Component]
    current: Sequence[Component]
    answered: str
    pending: bool
    kept_back: Sequence[str]
    troubles: Sequence[Trouble]
    ways: Sequence[Way]
    more_ways: Sequence[Way]
    runs: Sequence[Item]
    sources: Sequence[Item]
    more_sources: int
    quarantined: Sequence[Item]
    more_quarantined: int
    trend: Trend | None
    withins: Sequence[int] = WITHIN
    rendered: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the Summary is made of: the status without its groups, the names of those, and the one that is chosen."""

    status: Any
    now: datetime
    groups: Sequence[str] = ()
    group: Any = None
    runs: Sequence[Run] = ()
    samples: Sequence[Sampled] = ()
    roles: frozenset[Role] = field(default_factory=frozenset)


def summary_of(facts: Facts, chosen: Chosen) -> Summary:
    """Give what the Summary shows of these facts."""
    status = facts.status
    every = facts.group["components"] if facts.group else status["components"]
    entries = [counted_within(entry, chosen.within) for entry in every]
    names = names_of(status)
    behind = sorted((entry for entry in entries if not is_current(entry)), key=lambda entry: entry["rate"])
    current = [entry for entry in entries if is_current(entry)]
    unknown = max((entry["unknown"] for entry in entries), default=0)
    needs = _needs(status, names, facts.roles)
    ways = _ways(status["rollouts"], names)
    quarantined, sources = status["quarantined"], sorted(status["sources"], key=_is_well)
    return Summary(
        headline=headline({**status, "components": entries}, len(current), facts.group and _group_text(facts.group)),
        facts=_facts(status, len(facts.groups)),
        seen=status["as_of"],
        needs=needs[:_NEEDS_SHOWN],
        more_needs=needs[_NEEDS_SHOWN:],
        chosen=chosen,
        groups=facts.groups,
        behind=[component_of(entry, chosen) for entry in behind],
        current=[replace(component_of(entry, chosen), unknown_told=entry["unknown"] == unknown) for entry in current],
        answered=answered_text(current),
        pending=any(entry.get("pending") for entry in entries),
        kept_back=kept_back_lines({"components": entries}),
        troubles=_troubles(status["troubles"]),
        ways=ways[:WAYS_SHOWN],
        more_ways=ways[WAYS_SHOWN:],
        runs=[run_item(run) for run in facts.runs],
        sources=[_source(source) for source in sources[:_SOURCES_SHOWN]],
        more_sources=max(len(sources) - _SOURCES_SHOWN, 0),
        quarantined=[_quarantined(entry) for entry in quarantined[:_QUARANTINED_SHOWN]],
        more_quarantined=max(len(quarantined) - _QUARANTINED_SHOWN, 0),
        trend=trend_of(facts.samples, facts.now),
    )


def _group_text(group: Entry) -> str:
    return f"{group['group']} at {group['site']}" if group.get("site") else str(group["group"])


def names_of(status: Entry) -> dict[str, str]:
    """Give what components are called, by their ids."""
    return {entry["id"]: entry.get("name") or entry["id"] for entry in status["components"]}


# --- components -------------------------------------------------------------------------------------------------------


def counted_within(entry: Entry, within: int) -> Entry:
    """Give how far a component is where so many releases behind still count as updated."""
    late = sum(clients for lag, clients in entry.get("lags", {}).items() if int(lag) <= within)
    if not late:
        return entry
    counts = {**entry, "updated": entry["updated"] + late, "outdated": entry["outdated"] - late}
    return {**counts, "rate": counts["updated"] / sum(counts.get(key, 0) for key in _COUNTS)}


def component_of(entry: Entry, chosen: Chosen, shown: int = _VERSIONS_SHOWN) -> Component:
    """Give how far a component is, with the versions that most clients run."""
    component, group = entry["id"], chosen.group
    held, offered = entry["latest_held"] or "-", entry["latest_offered"] or "-"
    counts = {key: entry.get(key, 0) for key in _COUNTS}
    whole = sum(counts.values())
    return Component(
        id=component,
        name=entry.get("name") or component,
        kind=entry.get("kind", ""),
        link=links.component(component),
        held=held,
        offered="the same" if offered == held else offered,
        counts={
            key: Count(
                number_text(count),
                _list_of(component, key, chosen) if count else "",
            )
            for key, count in counts.items()
        },
        rate=rate_text(counts["updated"], whole),
        share=entry["rate"],
        bar=count_bar(counts),
        age=span_text(entry["age"]),
        seconds=entry["age"] or 0,
        versions=versions_of(entry, group, shown),
        more=max(len(entry["versions"]) - shown, 0),
    )


def _list_of(component: str, key: str, chosen: Chosen) -> str:
    if chosen.within and key in {"updated", "outdated"}:
        return links.clients_within(component, key, chosen.within, chosen.group)
    return links.clients_with(component, key, chosen.group)


def count_bar(counts: Mapping[str, int]) -> Sequence[Segment]:
    """Give the bar of some counts of clients."""
    tones: tuple[tuple[Tone, str], ...] = (
        *(("good", "updated"), ("ahead", "ahead"), ("pending", "pending"), ("late", "outdated"), ("idle", "unknown")),
    )
    return bar((tone, counts.get(key, 0)) for tone, key in tones)


def versions_of(entry: Entry, group: str, most: int | None = None) -> list[Version]:
    """Give the versions that clients run, those of the most clients first, each with its share of the first one."""
    listed = sorted(entry["versions"].items(), key=lambda item: -item[1])
    highest = listed[0][1] if listed else 0
    held = entry["latest_held"]
    return [
        Version(
            version,
            clients=number_text(count),
            old=version != held,
            link=links.clients_running(entry["id"], version, group),
            share=[Segment("good" if version == held else "late", 0, round(max(count * 100 / highest, 1.0), 2))],
        )
        for version, count in listed[:most]
    ]


# --- the verdict and its facts ----------------------------------------------------------------------------------------


def _facts(status: Entry, groups: int) -> list[Fact]:
    clients, current, saved = status["clients"], status.get("current", 0), status["traffic"]["saved"]
    found = [Fact(count_text(clients, "client"), f"in {count_text(groups, 'group')}", link="/clients")]
    if clients:
        listed = links.clients({"current": "yes"}) if current else ""
        found.append(Fact(number_text(current), "current in everything", link=listed))
    most = max(status["components"], key=lambda entry: entry["unknown"], default=None)
    if most and most["unknown"]:
        found.append(Fact(number_text(most["unknown"]), "unknown", "late", links.clients_with(most["id"], "unknown")))
    if saved > 0:
        found.append(Fact(size_text(saved), "saved by incrementals"))
    return found


# --- what needs somebody ----------------------------------------------------------------------------------------------


def _needs(status: Entry, names: Mapping[str, str], roles: frozenset[Role]) -> list[Alert]:
    rollouts = status["rollouts"]
    found = [_stopped(entry, names, roles) for entry in rollouts if is_alarm(entry)]
    found += [_waiting(entry, names, roles) for entry in rollouts if entry.get("awaits_approval")]
    found += [_down(site) for site in status.get("sites", ()) if site["no_worker"]]
    found += [_bad_source(source) for source in status["sources"] if source["stale"] or source["error"]]
    found += [
        Alert(tone="bad" if one["severity"] == "critical" else "late", icon="warn", title=one["summary"])
        for one in status.get("conditions", ())
        if one["kind"] not in _TOLD_BY_OTHERS
    ]
    return found


def _name(entry: Entry, names: Mapping[str, str]) -> str:
    group = f" ({entry['group']})" if entry["group"] else ""
    return f"{names.get(entry['component'], entry['component'])} {entry['version']}{group}"


def _stopped(entry: Entry, names: Mapping[str, str], roles: frozenset[Role]) -> Alert:
    (stop,) = halted([entry])
    key = entry["component"], entry["version"], entry["group"]
    state = "halted" if entry["status"] == "halted" else "stuck"
    resume = (Button("Resume\u2026", links.do("resume", *key)),) if state == "halted" else ()
    return Alert(
        tone="bad",
        icon="alert",
        title=f"{_name(entry, names)} is {state} in wave {entry['wave']} of {entry['waves']}",
        why=stop.why,
        buttons=(*resume, Button("Abort\u2026", links.do("abort", *key))) if "operator" in roles else (),
        link=links.rollout(*key),
    )


def _waiting(entry: Entry, names: Mapping[str, str], roles: frozenset[Role]) -> Alert:
    key, may = (entry["component"], entry["version"], entry["group"]), "approver" in roles
    wave, sizes = entry["wave"] + 1, entry.get("sizes") or []
    reaches = f" Wave {wave} reaches {count_text(sizes[wave - 1], 'client')}." if wave <= len(sizes) else ""
    before = f"Wave {entry['wave']} of {entry['waves']} went well." if entry["wave"] else "No wave is open yet."
    return Alert(
        tone="late",
        icon="ask",
        title=f"{_name(entry, names)} waits for {'your ' if may else ''}approval",
        why=f"{before}{reaches}",
        buttons=(Button("Approve\u2026", links.do("approve", *key), main=True),) if may else (),
        link=links.rollout(*key),
    )


def _down(site: Entry) -> Alert:
    return Alert(
        tone="late",
        icon="warn",
        title=f"Site {site['site']} is down",
        why=f"It had no worker for {count_text(site['no_worker'], 'client')} of {groups_text(site['groups'])} at the "
        f"last look. To do: {REASONS['worker'].todo}.",
        buttons=(Button("Its clients", links.clients({"reason": "worker"})),),
    )


def _bad_source(source: Entry) -> Alert:
    read = f"Last read {source['last_success']}." if source["last_success"] else "It was never read."
    said = f" {source['error'].rstrip('.')}." if source["error"] else ""
    return Alert(
        tone="late",
        icon="warn",
        title=f"Source {source['name']} {'is stale' if source['stale'] else 'could not be read'}",
        why=f"{read}{said} What the store holds stays in force.",
        buttons=(Button("Look at it", links.source(source["name"])),),
    )


def _troubles(found: Sequence[Entry]) -> list[Trouble]:
    return [
        Trouble(
            told.label,
            Count(told.how_many, links.clients({"reason": entry["reason"]})),
            told.todo,
            [f"{who}: {said}" if said else who for who, said in told.examples],
        )
        for told, entry in zip(told_of_status(found), found, strict=True)
    ]


# --- what goes on -----------------------------------------------------------------------------------------------------


def _ways(rollouts: Iterable[Entry], names: Mapping[str, str]) -> list[Way]:
    """Give the ways of rollouts: first what stands still, then what waits, then what moves."""

    def turn(entry: Entry) -> tuple[bool, bool, bool]:
        return not is_alarm(entry), not entry.get("awaits_approval"), entry["status"] not in STOPPED

    return [way_with_links(entry, names) for entry in sorted(rollouts, key=turn)]


def way_with_links(entry: Entry, names: Mapping[str, str]) -> Way:
    """Give the way of a rollout, with its page; its open wave has a bar while clients are counted for its gate."""
    if entry.get("awaits_approval"):  # it is the next wave that waits
        nobody = dict.fromkeys(entry["counts"], 0)
        entry = {**entry, "wave": entry["wave"] + 1, "says": "waits for approval", "counts": nobody}
    way, counts = shared_way([entry]), entry["counts"]
    return replace(
        way,
        component=names.get(entry["component"], entry["component"]),
        link=links.rollout(entry["component"], entry["version"], entry["group"]),
        at=entry["started"],
        bar=bar(
            (
                ("good", counts["passed"]),
                ("bad", counts["failed"]),
                ("late", counts["unreachable"] + counts.get("hindered", 0)),
                ("rest", counts["pending"]),
            )
        )
        if counts["planned"]
        else (),
    )


_RUNS: dict[str, Sign] = {
    "running": Sign("ahead", "play", "running"),
    "done": Sign("good", "check", "done"),
    "failed": Sign("bad", "alert", "failed"),
    "interrupted": Sign("late", "pause", "interrupted"),
    "broken off": Sign("bad", "cross", "broken off"),
}


def run_item(run: Run) -> Item:
    """Give the line of a run."""
    totals = {
        outcome: sum(counts.get(outcome, 0) for counts in run.recap.values())
        for outcome in ("changed", "failed", "unreachable")
    }
    counted = [f"{number_text(count)} {outcome}" for outcome, count in totals.items() if count]
    took = f" in {span_text((run.ended - run.started).total_seconds())}" if run.ended else ""
    sent = f"{size_text(run.traffic.sent)} sent{took}" if run.traffic.sent else f"took {took[4:]}" if took else ""
    who = run.origin.get("actor") or run.origin.get("user") or ""
    says = "; ".join(filter(None, [", ".join(counted) or "nothing was changed" * bool(run.ended), sent, who]))
    return Item(name=run.command, link=links.run(run.run_id), sign=_RUNS[run.status], at=run.started, says=says)


def _is_well(source: Entry) -> bool:
    return not (source["stale"] or source["error"])


def source_sign(source: Entry) -> Sign:
    """Give the sign of how a source is."""
    if source["stale"]:
        return Sign("late", "warn", "stale")
    if source.get("cooldown_until"):
        return Sign("late", "wait", "left alone for now")
    if source["error"]:
        return Sign("late", "warn", "not read")
    return Sign("good", "check", "fine") if source["last_success"] else Sign("idle", "dots", "not read yet")


def _source(source: Entry) -> Item:
    until = source.get("cooldown_until")
    return Item(
        name=source["name"],
        link=links.source(source["name"]),
        sign=source_sign(source),
        at=source["last_success"],
        says=" ".join(filter(None, [source["error"] or "", f"Asked again at {until}." if until else ""])),
        before="read ",
    )


def _quarantined(entry: Entry) -> Item:
    return Item(
        name=entry["client"],
        link=links.client(entry["client"]),
        sign=Sign("late", "pause", "left alone"),
        at=entry["until"],
        says=f"{count_text(entry['failures'], 'failure')} in a row: {entry['message']}",
        before="until ",
    )
