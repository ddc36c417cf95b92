"""What pages show of clients: those that an address asks for, said as a sentence and as a command, and one in full."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.formats.where import NEVER, OF_COMPONENT, STATES, Condition, address_of, parse_where
from reconciler.present.html import links
from reconciler.present.html.filters import TONES, either
from reconciler.present.html.shapes import Alert, Line, Sheet, Sign
from reconciler.present.words import count_text, number_text, size_text
from reconciler.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.present.html.filters import Filters, Pager
    from reconciler.present.html.runs_view import Outcome
    from reconciler.present.html.shapes import Tone
    from reconciler.reasons import ReasonIfAny

    Entry = Mapping[str, Any]

_NAMED = 3
"""Components that are named in a row."""
_ICONS: Mapping[str, str] = {
    "updated": "check",
    "pending": "wait",
    "outdated": "update",
    "missing": "plus",
    "damaged": "alert",
    "ahead": "play",
    "deferred": "wait",
    "unknown": "ask",
    "unreachable": "cross",
    "failed": "cross",
    "held": "pause",
    "quarantined": "pause",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A component of a client in a row: what it has, and what it should have (empty: that)."""

    component: str
    has: str
    wanted: str
    says: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLine:
    """A client in a list; `parts` are components that aren't as wanted or were asked for, `rest` counts the others."""

    name: str
    href: str
    group: str
    group_href: str
    labels: Sequence[tuple[str, str]]
    platform: str
    sign: Sign
    parts: Sequence[Part]
    rest: str
    seen: str
    trouble: str
    why: str
    since: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsView:
    """A page of the list of clients. `command` gives the same; `csv` is the address of all of it as a table."""

    headline: str
    says: str
    command: str
    csv: str
    clients: Sequence[ClientLine]
    filters: Filters
    pager: Pager
    filtered: bool
    judged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentLine:
    """A component of a client: what it has, and what it should have."""

    id: str
    href: str
    has: str
    wanted: str
    sign: Sign
    loaded: str
    previous: str
    kept: str
    damage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientView:
    """All that a page shows of a client. `about` are its facts as terms, what they are, and addresses of some."""

    name: str
    sign: Sign
    lede: str
    alerts: Sequence[Alert]
    components: Sequence[ComponentLine]
    loads: bool
    others: Sequence[str]
    settings: Sheet | None
    about: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    command: str
    history: Sequence[Outcome]
    filters: Filters
    pager: Pager
    filtered: bool


def state_sign(state: str) -> Sign:
    """Give the sign of what a client, or a component on it, is in."""
    return Sign(TONES[state], _ICONS[state], state)


def view_of_clients(
    document: Entry,
    *,
    count: str,
    conditions: Sequence[Condition],
    filters: Filters,
    pager: Pager,
    judged: bool,
) -> ClientsView:
    """Give what a page shows of a list of clients; `document` is a page of `schema/clients.schema.json`."""
    asked = {one.field for one in conditions}
    return ClientsView(
        headline=count,
        says=sentence(conditions),
        command=command_of(conditions),
        csv=links.with_query("/clients.csv", address_of(conditions)),
        clients=[_line(client, every=bool(asked & OF_COMPONENT)) for client in document["clients"]],
        filters=filters,
        pager=pager,
        filtered=bool(conditions),
        judged=judged,
    )


def view_of_client(
    entry: Entry, history: Sequence[Outcome], filters: Filters, pager: Pager, *, filtered: bool
) -> ClientView:
    """Give what a page shows of a client: `entry` is that of `client_entry`."""
    listed = entry["listed"]
    components = [_component(one, entry["installed"].get(one["id"], {})) for one in listed["components"]]
    known = {one["id"] for one in listed["components"]}
    others = [f"{id_} {one['version']}" for id_, one in entry["installed"].items() if id_ not in known]
    settings = [Line(cells=(id_, version)) for id_, version in entry["settings"].items()]
    return ClientView(
        name=listed["name"],
        sign=Sign("idle", "minus", "left") if entry["left"] else state_sign(listed["state"]),
        lede=_lede(listed, entry["left"]),
        alerts=_alerts(listed),
        components=components,
        loads=any(one.loaded for one in components),
        others=[*others, *entry["unmanaged"]],
        settings=Sheet(title="Settings", head=("file", "fingerprint"), lines=settings) if settings else None,
        about=_about(entry),
        command=f"updoser why {shlex.quote(listed['name'])}",
        history=history,
        filters=filters,
        pager=pager,
        filtered=filtered,
    )


# --- what is asked for ------------------------------------------------------------------------------------------------


def command_of(conditions: Sequence[Condition]) -> str:
    """Give the command that lists the same; empty where conditions can't be said on a command line."""
    text = " ".join(map(_condition_text, conditions))
    if not text:
        return "updoser clients"
    try:
        said = {(one.field, one.sign, frozenset(one.values)) for one in parse_where(text)}
    except ValueError:
        return ""
    same = said == {(one.field, one.sign, frozenset(one.values)) for one in conditions}
    return f"updoser clients --where {shlex.quote(text)}" if same else ""


def _condition_text(one: Condition) -> str:
    bare = len(one.values) > 1 or not set(one.values[0]) & set(" \t,<>=!~")
    return one.text if bare else f'{one.field}{one.sign}"{one.values[0]}"'


def sentence(conditions: Sequence[Condition]) -> str:
    """Say what is asked for, in a sentence that begins with whom it is about."""
    said = [_said(one) for one in sorted(conditions, key=lambda one: _ORDER.index(one.field))]
    return f"Clients {', '.join(said)}." if said else "All clients, in the order of their names."


_ORDER = (
    "known", "current", "state", "component", "version", "behind", "group", "label", "platform", "name", "seen",
    "reason", "error",
)  # fmt: skip
_HOW_MANY = {"=": "", "<": "fewer than ", "<=": "at most ", ">": "more than ", ">=": "at least "}
_SIGNS = {"<": "before", "<=": "up to", ">": "after", ">=": "from"}


def _said(one: Condition) -> str:
    no, values = one.sign.startswith("!"), either(one.values)
    if one.field == "state":
        return f"that are {'not ' if no else ''}{values}"
    if one.field == "component":
        return f"{'other than in' if no else 'in'} {values}"
    if one.field == "version":
        return f"{'not ' if no else ''}with version {_SIGNS.get(one.sign, '')} {values}".replace("  ", " ")
    if one.field == "behind":
        return f"that lack {_HOW_MANY[one.sign]}{values} {'release' if one.values == ('1',) else 'releases'}"
    if one.field == "current":
        return f"that are{'' if one.values == ('yes',) else ' not'} current in everything"
    if one.field == "known":
        return f"of which it is{'' if one.values == ('yes',) else ' not'} known what they have now"
    if one.field == "seen":
        never = "that never answered" if one.values == (NEVER,) else ""
        return never or f"that {'answered within' if one.sign == '<' else 'did not answer for'} {values}"
    if one.field == "reason":
        labels = either([REASONS[word].label for word in one.values if word in REASONS])  # type: ignore[index]
        return f"{'without' if no else 'in'} the trouble \u201c{labels}\u201d"
    if one.field == "error":
        return f"that {'did not say' if no else 'said'} \u201c{one.values[0]}\u201d"
    words = {"group": "of group", "label": "with label", "platform": "on platform", "name": "named"}
    return f"{'not ' if no else ''}{words[one.field]} {values}"


# --- a list -----------------------------------------------------------------------------------------------------------


def _with(field: str, value: str) -> str:
    """Give the list of the clients that have a value in a field."""
    return links.with_query("/clients", address_of([Condition(field, "=", (value,))]) if value else ())


def count_words(number: int, *, more: bool, of: int | None) -> str:
    """Say how many clients there are: exactly, or at least; and of how many."""
    said = f"More than {count_text(number, 'client')}" if more else count_text(number, "client")
    if of is None or (not more and number >= of):
        return said
    return f"{said} of {number_text(of)}"


def _line(client: Entry, *, every: bool) -> ClientLine:
    components = client["components"]
    odd = [one for one in components if one["state"] != "updated"]
    blind = bool(components) and all(one["state"] == "unknown" for one in components)
    shown = components[:_NAMED] if every or len(components) <= _NAMED else odd[:_NAMED]
    shown = [] if blind and not every else shown
    reason: ReasonIfAny = client.get("reason") or ""
    label = REASONS[reason].label if reason else ""
    why = client["why"] or ""
    return ClientLine(
        name=client["name"],
        href=links.client(client["name"]),
        group=client["group"],
        group_href=_with("group", client["group"]),
        labels=[(label, _with("label", label)) for label in client["labels"]],
        platform=client["platform"] or "",
        sign=state_sign(client["state"]),
        parts=[_part(one) for one in shown],
        rest=_rest(components, odd, shown, blind=blind),
        seen=client["seen"] or "",
        trouble=label,
        why=why.removeprefix(f"{label}: ") if label else why,
        since=client["failing_since"] or "",
        until=client["until"] or "",
    )


def _part(one: Entry) -> Part:
    state, wanted = one["state"], one["wanted"] or ""
    arrives = state not in {"updated", "deferred", "ahead"} and wanted != one["version"]
    ahead = f"ahead of {wanted}" if state == "ahead" else ""
    return Part(
        component=one["id"],
        has=one["version"] or "nothing",
        wanted=wanted if arrives else "",
        says=_loaded_text(one) or ahead or (state if state in {"damaged", "deferred", "unknown"} else ""),
        tone=TONES[one["state"]],
    )


def _loaded_text(one: Entry) -> str:
    """Say what the engine of a component has loaded, where that isn't what is installed."""
    loaded, unsaid = one.get("loaded") or "", one.get("unsaid") or ""
    if loaded and loaded != one["version"]:
        return f"loaded is {loaded}"
    return f"what is loaded isn't known: {unsaid}" if unsaid else ""


def _rest(components: Sequence[Entry], odd: Sequence[Entry], shown: Sequence[Entry], *, blind: bool) -> str:
    if blind and not shown:
        seen = sum(1 for one in components if one["version"])
        return f"{number_text(seen)} seen before, unknown now" if seen else "nothing known"
    left = [one for one in components if one not in shown]
    more = sum(1 for one in left if one in odd)
    fine = len(left) - more
    said = [f"{number_text(more)} more" if more else "", f"{number_text(fine)} updated" if fine else ""]
    return ", ".join(part for part in said if part)


# --- one --------------------------------------------------------------------------------------------------------------


def _lede(listed: Entry, left: str) -> str:
    if left:
        return f"It left the fleet at {left}. What was known of it then is below."
    odd = [one for one in listed["components"] if one["state"] in {"outdated", "missing", "damaged"}]
    if listed["state"] in {"updated", "deferred", "ahead"}:
        return "It has what it should have."
    if odd:
        named = [f"{one['id']} {one['version'] or 'nothing'} \u2192 {one['wanted']}" for one in odd[:_NAMED]]
        more = len(odd) - len(named)
        return f"To come: {', '.join(named)}{f' and {number_text(more)} more' if more else ''}."
    return "It isn't known what it has now." if listed["state"] in {"unknown", "unreachable"} else ""


def _alerts(listed: Entry) -> list[Alert]:
    reason: ReasonIfAny = listed.get("reason") or ""
    why = listed["why"] or ""
    since = f" since {listed['failing_since']}" if listed["failing_since"] else ""
    failures = count_text(listed["failures"], "time") if listed["failures"] else ""
    found = []
    if listed["until"]:
        title = f"In quarantine until {listed['until']}"
        found.append(
            Alert(tone="bad", icon="pause", title=title, why=f"It failed {failures} in a row." if failures else "")
        )
    if reason:
        about = REASONS[reason]
        said = why.removeprefix(f"{about.label}: ")
        title = f"{about.label[:1].upper()}{about.label[1:]}{since}"
        found.append(
            Alert(tone="late", icon="warn", title=title, why="" if said == about.label else said, todo=about.todo)
        )
    elif listed["state"] == "held":
        found.append(Alert(tone="idle", icon="pause", title="Held", why=why))
    elif why:
        found.append(Alert(tone="late", icon="warn", title=f"In its way{since}", why=why))
    return found


def _component(one: Entry, installed: Entry) -> ComponentLine:
    return ComponentLine(
        id=one["id"],
        href=links.component(one["id"]),
        has=one["version"] or "nothing",
        wanted=one["wanted"] or "",
        sign=state_sign(one["state"]),
        loaded=one.get("loaded") or one.get("unsaid") or "",
        previous=installed.get("previous", ""),
        kept=", ".join(installed.get("kept", ())),
        damage=installed.get("damage", ""),
    )


def _about(entry: Entry) -> list[tuple[str, Sequence[tuple[str, str]]]]:
    listed = entry["listed"]

    def one(text: str | None, href: str = "") -> list[tuple[str, str]]:
        return [(text, href)] if text else []

    found: Iterable[tuple[str, Sequence[tuple[str, str]]]] = (
        ("Group", one(listed["group"], _with("group", listed["group"]))),
        ("Labels", [(label, _with("label", label)) for label in listed["labels"]]),
        ("Platform", one(listed["platform"], _with("platform", listed["platform"] or ""))),
        ("Address", one(entry["address"])),
        ("Way there", one(entry["route"])),
        ("Last seen", one(listed["seen"] or "never")),
        ("Last looked at", one(entry["looked_at"])),
        ("Failing since", one(listed["failing_since"])),
        ("Failures in a row", one(number_text(listed["failures"]) if listed["failures"] else "")),
        ("In quarantine until", one(listed["until"])),
        ("Free room", one("" if entry["free"] is None else size_text(entry["free"]))),
        ("Memory", one(f"{number_text(entry['memory'])} MiB" if entry["memory"] else "")),
        ("Install root", one(entry["install_root"])),
        ("Tools", one(", ".join(entry["tools"]))),
        ("Same machine as", [(name, links.client(name)) for name in entry["same_machine"]]),
        ("Controller", one(entry["lineage"])),
    )
    return [(term, what) for term, what in found if what]


assert set(TONES) == set(STATES) == set(_ICONS)
