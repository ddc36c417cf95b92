"""What a page shows of sources, and of the places where releases lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from reconciler.present.html import links
from reconciler.present.html.shapes import Fact, Sign, some
from reconciler.present.provenance_form import NOT_SIGNED
from reconciler.present.words import count_text, number_text, size_text, span_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.offer import SourceReport
    from reconciler.present.rollout_text import Entry

_VERSIONS = 8
_PROBLEMS = 20
_SOON = timedelta(days=7)
"""From when on it is said that signatures expire soon."""


class Offered(NamedTuple):
    """What a source has of a component: its versions, as it lists them, and how many more."""

    component: str
    link: str
    versions: Sequence[str]
    more: str


class Expiry(NamedTuple):
    """When the signatures of a role expire; `sign` is how that is."""

    role: str
    at: str
    sign: Sign
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source. `read` is when it answered last, and `ago` how long ago."""

    anchor: str
    name: str
    sign: Sign
    why: str
    facts: Sequence[tuple[str, str]]
    expiries: Sequence[Expiry]
    problems: Sequence[str]
    withdrawn: Sequence[tuple[str, str, str]]
    offered: Sequence[Offered]
    offers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesView:
    """All sources, the store, the signed repository for other sites where there is one, and those in other layouts."""

    headline: str
    sources: Sequence[Source]
    store: Sequence[Fact]
    store_path: str
    store_problems: Sequence[str]
    repository: Repository | None
    mirrors: Sequence[Mirror]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A repository in another layout."""

    name: str
    layout: str
    path: str
    releases: str
    renew: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """The repository that other sites take from."""

    path: str
    releases: str
    renew: str
    error: str
    roles: Sequence[Expiry]


def view_of_sources(
    known: Sequence[Entry],
    reports: Sequence[tuple[SourceReport, datetime | None]],
    places: Mapping[str, Any],
    now: datetime,
) -> SourcesView:
    """Give what a page shows; `known` are the sources of the status, `reports` what they said last."""
    said = {report.source: report for report, _last in reports}
    sources = [_source(entry, said.get(entry["name"]), now) for entry in known]
    sources.sort(key=lambda one: _TURN[one.sign.tone])
    store = places.get("store")
    return SourcesView(
        headline=_headline(known),
        sources=sources,
        store=_store(store) if store else [],
        store_path=store["path"] if store else "",
        store_problems=some(store["problems"], _PROBLEMS) if store else [],
        repository=_repository(places["repository"], now) if places.get("repository") else None,
        mirrors=[_mirror(found) for found in places.get("mirrors", ())],
    )


_TURN = {"bad": 0, "late": 1, "ahead": 2, "idle": 3, "good": 4}


def _headline(known: Sequence[Entry]) -> str:
    if not known:
        return "No source is listed yet."
    bad = sum(bool(one["stale"] or one["error"]) for one in known)
    if not bad:
        return "All sources answer." if len(known) > 1 else "The source answers."
    if len(known) == 1:
        return "The source needs a look."
    return f"{number_text(bad)} of {count_text(len(known), 'source')} need{'s' if bad == 1 else ''} a look."


def _source(entry: Entry, report: SourceReport | None, now: datetime) -> Source:
    last = datetime.fromisoformat(entry["last_success"]) if entry["last_success"] else None
    read = f"{entry['last_success']}, {span_text((now - last).total_seconds())} ago" if last else "never"
    facts = [("last read", read), ("signatures", "verified" if entry.get("signed", True) else NOT_SIGNED)]
    if entry["cooldown_until"]:
        facts.append(("not asked before", entry["cooldown_until"]))
    if report is not None and report.incrementals:
        facts.append(("incrementals", number_text(len(report.incrementals))))
    offered = _offered(report) if report else []
    releases = len(report.releases) if report else 0
    return Source(
        anchor=f"source-{quote(entry['name'], safe='')}",
        name=entry["name"],
        sign=_sign(entry),
        why=entry["error"] or "",
        facts=facts,
        expiries=_expiries(entry.get("expires"), now),
        problems=some([*report.problems, *report.harmless], _PROBLEMS) if report else [],
        withdrawn=[(one.component, one.version, one.reason) for one in report.withdrawn] if report else [],
        offered=offered,
        offers=f"{count_text(releases, 'release')} of {count_text(len(offered), 'component')}",
    )


def _sign(entry: Entry) -> Sign:
    if entry["stale"]:
        return Sign("bad", "alert", "stale")
    if entry["error"]:
        return Sign("late", "warn", "not read")
    if entry["cooldown_until"]:
        return Sign("late", "wait", "left alone for now")
    return Sign("good", "check", "fine") if entry["last_success"] else Sign("idle", "ask", "not read yet")


def _offered(report: SourceReport) -> list[Offered]:
    versions: dict[str, dict[str, None]] = {}
    for release in report.releases:
        versions.setdefault(release.component, {})[release.version] = None
    return [
        Offered(
            component,
            links.component(component),
            list(found)[:_VERSIONS],
            f"and {number_text(len(found) - _VERSIONS)} more" if len(found) > _VERSIONS else "",
        )
        for component, found in sorted(versions.items())
    ]


def _expiries(expires: Any, now: datetime) -> list[Expiry]:
    """Give when the signatures of a source expire: a time, or times by role."""
    by_role = {"signatures": expires} if isinstance(expires, str) else expires if isinstance(expires, dict) else {}
    return [_expiry(role, at, now) for role, at in by_role.items() if at]


def _expiry(role: str, at: str, now: datetime, version: int = 0) -> Expiry:
    left = datetime.fromisoformat(at) - now
    if left <= timedelta():
        sign = Sign("bad", "alert", "expired")
    elif left < _SOON:
        sign = Sign("late", "wait", f"{span_text(left.total_seconds())} left")
    else:
        sign = Sign("good", "check", f"{span_text(left.total_seconds())} left")
    return Expiry(role, at, sign, f"version {version}" if version else "")


def _store(store: Mapping[str, Any]) -> list[Fact]:
    return [
        Fact(count_text(store["releases"], "release"), f"of {count_text(store['components'], 'component')}"),
        Fact(count_text(store["incrementals"], "incremental"), size_text(store["incremental_bytes"])),
        Fact(size_text(store["bytes"]), "of releases, each content once"),
    ]


def _mirror(found: Mapping[str, Any]) -> Mirror:
    return Mirror(
        name=found["name"],
        layout=found["layout"],
        path=found["path"],
        releases=count_text(found["releases"], "release"),
        renew=found["renew"],
        error=found["error"],
    )


def _repository(found: Mapping[str, Any], now: datetime) -> Repository:
    return Repository(
        path=found["path"],
        releases=count_text(found["releases"], "release"),
        renew=found["renew"],
        error=found["error"],
        roles=[
            _expiry(role["role"], role["expires"], now, role["version"])
            if role["expires"]
            else Expiry(role["role"], "", Sign("late", "ask", "not signed yet"))
            for role in found["roles"]
        ],
    )
