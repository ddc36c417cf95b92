"""What the pages of components show: all of them, and one with its releases, who runs what, and what happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.present.html import links
from reconciler.present.html.shapes import MARKS, STATUS_SIGNS, Fact, Sign
from reconciler.present.html.summary_view import Chosen, Component, Count, Version, component_of, versions_of
from reconciler.present.html.trend_view import trend_of
from reconciler.present.site_text import down_text
from reconciler.present.status_rows import is_current
from reconciler.present.words import count_text, number_text, size_text, span_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reconciler.present.html.trend_view import Sampled, Trend
    from reconciler.present.rollout_text import Entry

BARS = 9
"""How many versions a histogram has; all others are one."""
_SHARES = (("half", "50 %"), ("most", "95 %"), ("nearly", "99 %"))
_STATES: dict[str, Sign] = {
    "withdrawn": Sign("bad", "cross", "withdrawn"),
    "blocked": Sign("bad", "cross", "blocked"),
    "halted": Sign("bad", "alert", "halted"),
    "aborted": Sign("bad", "cross", "aborted"),
    "stalled": Sign("late", "alert", "stalled"),
    "paused": Sign("late", "pause", "paused"),
    "soaking": Sign("ahead", "wait", "soaking"),
    "running": Sign("ahead", "play", "on its way"),
    "everywhere": Sign("good", "check", "everywhere"),
    "wanted": Sign("good", "check", "wanted"),
    "new": Sign("ahead", "plus", "new"),
    "held": Sign("idle", "minus", "in the store"),
    "offered": Sign("idle", "minus", "offered"),
    "in use": Sign("idle", "ask", "in use only"),
}
_MOVED = {**STATUS_SIGNS, "running": MARKS[">"]}


class Column(NamedTuple):
    """A bar of a histogram, in percent of its room."""

    start: float
    height: float
    old: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A component among all: `columns` is the histogram of the versions in use, which `says` tells in words."""

    of: Component
    wanted: str
    why: str
    columns: Sequence[Column]
    says: str
    protection: Sequence[tuple[str, str]]
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release of a component."""

    version: str
    sign: Sign
    says: str
    released: str | None
    seen: str | None
    sources: str
    size: str
    bytes: int
    files: str
    signed: Sequence[str]
    digests: Sequence[tuple[str, str]]
    clients: Count
    notes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InGroup:
    """How far the component is in a group, and at which site that is, if it is of one."""

    name: str
    link: str
    held: str
    of: Component
    site: str


class Delta(NamedTuple):
    """An incremental: of which version it makes which, with what, and how large it is beside the full."""

    before: str
    to: str
    platform: str
    codec: str
    size: str
    bytes: int
    share: str


class Moved(NamedTuple):
    """A step of a rollout."""

    version: str
    link: str
    sign: Sign
    says: str
    at: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OneComponent:
    """All that the page of a component shows."""

    of: Component
    facts: Sequence[Fact]
    wanted: str
    why: Sequence[str]
    protection: Sequence[tuple[str, str]]
    loads: bool
    versions: Sequence[Version]
    others: str
    releases: Sequence[Release]
    more_releases: int
    groups: Sequence[InGroup]
    more_groups: int
    deltas: Sequence[Delta]
    moves: Sequence[Moved]
    trend: Trend | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentKnown:
    """What the page of a component is made of: its entry of the status, and its document; None where none was made.

    `sites` are those of the status.
    """

    entry: Any
    document: Any
    now: datetime
    sites: Sequence[Entry] = ()
    samples: Sequence[Sampled] = field(default_factory=tuple)


def components_of(status: Entry) -> list[Listed]:
    """Give all components, those first that need somebody."""
    entries = sorted(status["components"], key=lambda entry: (is_current(entry), entry["rate"], entry["id"]))
    return [_listed(entry) for entry in entries]


def _listed(entry: Entry) -> Listed:
    found = component_of(entry, Chosen(), 2)
    bars = sorted(entry["versions"].items(), key=lambda item: -item[1])
    shown, rest = bars[:BARS], sum(count for _version, count in bars[BARS:])
    counts = [*shown, *([("others", rest)] if rest else [])]
    highest = max((count for _version, count in counts), default=1) or 1
    return Listed(
        of=found,
        wanted=entry.get("wanted") or "-",
        why=entry.get("target_reason", ""),
        columns=[
            Column(at * 10.0, round(max(count * 100 / highest, 3), 1), version != entry["latest_held"])
            for at, (version, count) in enumerate(counts)
        ],
        says=", ".join(f"{version}: {count_text(count, 'client')}" for version, count in counts) or "nobody runs it",
        protection=protection_of(entry),
        current=is_current(entry),
    )


def protection_of(entry: Entry) -> list[tuple[str, str]]:
    """Give in which time how many of the clients had what is wanted, as far as they have."""
    reached = entry.get("protection") or {}
    return [(share, span_text(reached[key])) for key, share in _SHARES if reached.get(key) is not None]


def component_view(known: ComponentKnown) -> OneComponent:
    """Give what the page of a component shows."""
    entry, document = known.entry, known.document or {}
    versions = versions_of(entry, "")
    sites = {group: _site(site) for site in known.sites for group in site["groups"]}
    rest = sum(sorted(entry["versions"].values(), reverse=True)[BARS:])
    return OneComponent(
        of=component_of(entry, Chosen()),
        facts=_facts(entry),
        wanted=entry.get("wanted") or "",
        why=_why(entry, document),
        protection=protection_of(entry),
        loads=bool((entry.get("protection") or {}).get("loads")),
        versions=versions[:BARS],
        others=f"{count_text(len(versions) - BARS, 'other')}: {count_text(rest, 'client')}" if rest else "",
        releases=[_release(entry["id"], release) for release in document.get("releases", ())],
        more_releases=document.get("more_releases", 0),
        groups=[_in_group(entry, group, sites.get(group["group"], "")) for group in document.get("groups", ())],
        more_groups=document.get("more_groups", 0),
        deltas=[_delta(one) for one in document.get("incrementals", ()) if not one["refused"]],
        moves=[_moved(entry["id"], move) for move in document.get("moves", ())],
        trend=trend_of(known.samples, known.now),
    )


def _facts(entry: Entry) -> list[Fact]:
    found = component_of(entry, Chosen())
    tones: Mapping[str, Any] = {"updated": "good", "outdated": "late", "unknown": "late", "ahead": "ahead"}
    words = {"pending": "installed, not loaded"}
    return [
        Fact(found.counts[key].text, words.get(key, key), tones.get(key, "idle"), found.counts[key].link)
        for key in ("updated", "pending", "outdated", "ahead", "unknown")
        if key == "updated" or found.counts[key].link
    ]


def _why(entry: Entry, document: Any) -> list[str]:
    """Say why what is wanted is wanted, and what keeps anything newer back."""
    wanted, reason, offered = entry.get("wanted"), entry.get("target_reason", ""), entry["latest_offered"]
    if not wanted:
        return ["Nothing is wanted of it: no release is held or offered that clients may get."]
    pinned = reason.startswith("pin ")
    rule = f"the file pins it ({reason})" if pinned else f"the file wants {reason or 'the latest'}"
    found = [f"{wanted} is what clients should run: {rule}."]
    if entry.get("kept_back"):
        found.append(f"{entry['kept_back']}.")
    elif offered and offered != entry["latest_held"]:
        held = entry["latest_held"] or "nothing"
        found.append(f"{offered} is offered, and {held} is in the store: a release is downloaded by the next apply.")
    if entry.get("deferred"):
        found.append(f"{count_text(entry['deferred'], 'client')} wait for something newer, and count as updated.")
    blocked = document.get("blocked", {})
    found += [f"{version} is blocked: {why}." for version, why in list(blocked.items())[:5]]
    return found


def _release(component: str, entry: Entry) -> Release:
    platforms = entry["platforms"]
    sizes = [one["bytes"] for one in platforms]
    files = sum(one["files"] for one in platforms)
    return Release(
        version=entry["version"],
        sign=_STATES[entry["state"]],
        says=entry["says"],
        released=entry["released"],
        seen=entry["first_seen"],
        sources=", ".join([*(["the store"] if entry["held"] else []), *entry["sources"]]) or "nowhere any more",
        size=size_text(sum(sizes)) if sizes else "",
        bytes=sum(sizes),
        files=count_text(files, "file") if sizes else "",
        signed=entry["signed"],
        digests=[(one["platform"], one["digest"]) for one in platforms],
        clients=Count(
            number_text(entry["clients"]),
            links.clients_running(component, entry["version"]) if entry["clients"] else "",
        ),
        notes=entry["notes"],
    )


def _site(site: Entry) -> str:
    down = down_text(site)
    return f"at the site {site['site']}{f', {down}' if down else ''}"


def _in_group(entry: Entry, group: Entry, site: str) -> InGroup:
    counts = {key: group.get(key, 0) for key in ("updated", "outdated", "ahead", "unknown", "pending")}
    whole = sum(counts.values())
    rate = counts["updated"] / whole if whole else 1.0
    of = component_of({**entry, **group, "rate": rate, "lags": {}}, Chosen(group=group["group"]), 3)
    link = links.with_query("/", [("group", group["group"])])
    return InGroup(name=group["group"], link=link, held=group["latest_held"] or "-", of=of, site=site)


def _delta(entry: Entry) -> Delta:
    full = entry["bytes_full"]
    share = f"{entry['bytes'] * 100 / full:.1f} % of the full" if full else ""
    codec, size = entry["codec"], size_text(entry["bytes"])
    return Delta(
        before=entry["from"],
        to=entry["to"],
        platform=entry["platform"],
        codec=codec,
        size=size,
        bytes=entry["bytes"],
        share=share,
    )


def _moved(component: str, move: Entry) -> Moved:
    where = f" of {move['group']}" if move["group"] else ""
    wave = f"wave {move['wave']}{where}" if move["wave"] else f"begins{where}"
    sign, status = _MOVED[move["status"]], move["status"]
    says = wave if status == "running" else f"in {wave}" if move["wave"] else ""
    reason = "" if status in {"running", "done"} else move["reason"] or ""
    link = links.rollout(component, move["version"], move["group"])
    return Moved(version=move["version"], link=link, sign=sign, says=says, at=move["at"], reason=reason)
