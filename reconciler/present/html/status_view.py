"""What a page shows of a status: the verdict, what needs somebody, and the updates of clients by component.

Components of which clients lack something are rows, the worst first; those that all have are tiles below, so that the
few that matter aren't lost among the many that don't.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.present.html.pages import page
from reconciler.present.html.shapes import Alert, Fact, Line, Sheet, bar, halts, rate_text, troubles, ways_of
from reconciler.present.relay_text import STATUS_HEAD as RELAYS_HEAD
from reconciler.present.relay_text import status_rows as relay_rows
from reconciler.present.site_text import SITES_HEAD, SITES_TITLE, site_rows
from reconciler.present.status_rows import (
    CONDITIONS_HEAD,
    answered_text,
    condition_rows,
    is_current,
    quarantine_rest,
    quarantine_rows,
    said_lines,
    source_row,
    withdrawn_rows,
)
from reconciler.present.trouble import told_of_status
from reconciler.present.words import count_text, number_text, size_text, span_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.present.html.shapes import Segment, Way
    from reconciler.present.rollout_text import Entry

_VERSIONS_SHOWN = 2
_GROUPS_OPENED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """How far one component is. `versions` has those that most clients run; `more` counts the others."""

    component: str
    held: str
    offered: str
    counts: Mapping[str, str]
    rate: str
    share: float
    bar: Sequence[Segment]
    age: str
    seconds: int
    versions: Sequence[tuple[str, str, bool]]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """How far one group is: so many components are `updated` everywhere in it, and these are `behind`."""

    name: str
    updated: str
    bar: Sequence[Segment]
    behind: Sequence[Updates]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """All that a page shows of a status."""

    headline: str
    created: str
    seen: str
    facts: Sequence[Fact]
    alerts: Sequence[Alert]
    troubles: Sequence[Alert]
    behind: Sequence[Updates]
    current: Sequence[Updates]
    answered: str
    kept_back: Sequence[str]
    groups: Sequence[Group]
    fine_groups: int
    ways: Sequence[Way]
    conditions: Sheet | None
    rollouts: Sheet | None
    quarantined: Sheet | None
    withdrawn: Sheet | None
    sites: Sheet | None
    relays: Sheet | None
    sources: Sheet | None


def status_html(document: Entry) -> str:
    """Render a status as a page."""
    return page("status_report.html", view_of_status(document))


def view_of_status(document: Entry) -> StatusView:
    """Give what a page shows of a status."""
    components, rollouts = document["components"], document["rollouts"]
    behind = sorted((entry for entry in components if not is_current(entry)), key=lambda entry: entry["rate"])
    ways, more = ways_of(rollouts)
    groups = [_group(entry) for entry in document["groups"]] if len(document["groups"]) > 1 else []
    late = sorted((group for group in groups if group.behind), key=lambda group: -len(group.behind))
    return StatusView(
        headline=headline(document, len(components) - len(behind)),
        created=document["created"],
        seen=document["as_of"] or "",
        facts=_facts(document),
        alerts=[*halts(rollouts), *_sources_alerts(document["sources"])],
        troubles=troubles(told_of_status(document["troubles"])),
        behind=[_updates(entry) for entry in behind],
        current=[_updates(entry) for entry in components if is_current(entry)],
        answered=answered_text(entry for entry in components if is_current(entry)),
        kept_back=said_lines(document),
        groups=late[:_GROUPS_OPENED],
        fine_groups=len(groups) - len(late),
        ways=ways,
        conditions=_table("Conditions", CONDITIONS_HEAD, condition_rows(document)),
        rollouts=more,
        quarantined=_quarantined(document["quarantined"]),
        withdrawn=_table(
            "Withdrawn by their publishers",
            ("component", "version", "clients", "who and why"),
            withdrawn_rows(document["withdrawn"]),
        ),
        sites=_table(SITES_TITLE, SITES_HEAD, site_rows(document)),
        relays=_table("Relays", RELAYS_HEAD, relay_rows(document)),
        sources=_table("Sources", ("source", "last read", "how it is"), [_source(e) for e in document["sources"]]),
    )


def headline(document: Entry, current: int, group: str = "") -> str:
    """Give the verdict in a sentence: so many components are current on all who answered, and what was stopped."""
    count = len(document["components"])
    if not document["clients"]:
        return "No client is known yet."
    if document["as_of"] is None:
        return f"{count_text(document['clients'], 'client')} listed, and none was looked at yet."
    if not count:
        return "No component is managed yet."
    who, at_group = answered_text(document["components"]), f" of {group}" if group else ""
    who = f"every client of {group} that answered" if group and "answered" in who else f"{who}{at_group}"
    stopped = sum(1 for _alert in halts(document["rollouts"]))
    also = f"; {count_text(stopped, 'release')} {'was' if stopped == 1 else 'were'} stopped" if stopped else ""
    if current == count:
        verb = "is" if count == 1 else "are"
        return f"All {count_text(count, 'component')} {verb} current on {who}{also}."
    return f"{number_text(current)} of {count_text(count, 'component')} are current on {who}{also}."


def _facts(document: Entry) -> list[Fact]:
    traffic = document["traffic"]
    unknown = max((entry["unknown"] for entry in document["components"]), default=0)
    facts = [Fact(count_text(document["clients"], "client"), f"in {count_text(len(document['groups']), 'group')}")]
    if unknown:
        facts.append(Fact(number_text(unknown), "unknown at most", "late"))
    for key, label in (
        ("received", "downloaded by all runs"),
        ("sent", "sent by all runs"),
        ("saved", "saved by incrementals"),
    ):
        if traffic[key] > 0:
            facts.append(Fact(size_text(traffic[key]), label))
    return facts


def _sources_alerts(sources: Sequence[Entry]) -> list[Alert]:
    return [
        Alert(
            tone="late",
            icon="warn",
            title=f"Source {source['name']} {'is stale' if source['stale'] else 'could not be read'}",
            why=source["error"] or "",
        )
        for source in sources
        if source["stale"] or source["error"]
    ]


def _updates(entry: Entry) -> Updates:
    counts = {key: entry.get(key, 0) for key in ("updated", "outdated", "pending", "ahead", "unknown")}
    versions = sorted(entry["versions"].items(), key=lambda item: -item[1])[:_VERSIONS_SHOWN]
    held, offered = entry["latest_held"] or "-", entry["latest_offered"] or "-"
    return Updates(
        component=entry["id"],
        held=held,
        offered="the same" if offered == held else offered,
        counts={key: number_text(count) for key, count in counts.items()},
        rate=rate_text(entry["updated"], sum(counts.values())),
        share=entry["rate"],
        bar=bar(
            (
                ("good", counts["updated"]),
                ("ahead", counts["ahead"]),
                ("pending", counts["pending"]),
                ("late", counts["outdated"]),
                ("idle", counts["unknown"]),
            )
        ),
        age=span_text(entry["age"]),
        seconds=entry["age"] or 0,
        versions=[(version, number_text(count), version != held) for version, count in versions],
        more=len(entry["versions"]) - len(versions),
    )


def _group(entry: Entry) -> Group:
    behind = [component for component in entry["components"] if component["rate"] < 1]
    count = len(entry["components"])
    fine = count - len(behind)
    return Group(
        name=f"{entry['group']} at {entry['site']}" if entry.get("site") else entry["group"],
        updated=f"{number_text(fine)} of {count_text(count, 'component')} updated",
        bar=bar((("good", fine), ("late", len(behind)))),
        behind=[_updates(component) for component in sorted(behind, key=lambda component: component["rate"])],
    )


def _quarantined(quarantined: Sequence[Entry]) -> Sheet | None:
    rest = quarantine_rest(quarantined)
    head = ("client", "group", "until", "failures", "message")
    made = _table("Quarantined", head, quarantine_rows(quarantined))
    return Sheet(title=made.title, head=head, lines=made.lines, says=rest) if made and rest else made


def _source(source: Entry) -> tuple[str, ...]:
    name, read, state = source_row(source)
    return name, read.removeprefix("last read "), state


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Sheet | None:
    lines = [Line(cells=row) for row in rows]
    return Sheet(title=title, head=head, lines=lines) if lines else None
