"""What pages show of rollouts: where each is, what became of it step by step, and what somebody may do with it.

Where a rollout is, and what may be done with it, is from the state, as it is now; what only a plan knows (its counts,
until when it soaks, what it waits for) is from the last look, and left out where the rollout went on since.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.model.deploy import MACHINE
from reconciler.model.plan import RolloutStep
from reconciler.model.request import NEEDED
from reconciler.model.rollout import AT_WORK, FIT, STOPPED, UNSETTLED
from reconciler.present.fields import time_text
from reconciler.present.html import links
from reconciler.present.html.shapes import Fact, Sign, bar, rate_text, status_sign, way_of
from reconciler.present.rollout_form import whole_entry
from reconciler.present.rollout_text import WHOLE_FLEET
from reconciler.present.trouble import alike
from reconciler.present.words import count_text, number_text
from reconciler.reasons import label_of, todo_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.deploy import Fault
    from reconciler.model.request import Role
    from reconciler.model.rollout import Key, Move, RolloutRecord, Verb
    from reconciler.present.html.shapes import Segment, Way
    from reconciler.present.rollout_text import Entry

FILTERS = {
    "": "under way",
    "needs": "that need somebody",
    "running": "that run",
    "stopped": "that are stopped",
    "over": "that are over",
}
"""What may be asked for, and how that is called."""
_CLIENTS_SHOWN = 60
_COMMAND = re.compile(r": updoser rollout approve \S+$")
"""What is to be typed at a terminal; here there is a button."""


class Deed(NamedTuple):
    """Something that may be done, by who has a role; `main` is what is most likely wanted."""

    text: str
    link: str
    role: Role
    main: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class One:
    """A rollout among others."""

    path: str
    way: Way
    says: str
    buttons: Sequence[Deed]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutsView:
    """A list of rollouts.

    `over` are rows of those that never go on: path, entry, sign, and why. `before` leads to those that began earlier.
    `names` are what components are called, by their ids.
    """

    headline: str
    facts: Sequence[Fact]
    asked: Mapping[str, str]
    components: Sequence[str]
    names: Mapping[str, str]
    shown: Sequence[One]
    over: Sequence[tuple[str, Entry, Sign, str]]
    before: str
    nothing: str
    filters: Sequence[tuple[str, str]] = tuple(FILTERS.items())


class Happened(NamedTuple):
    """Something in the life of a rollout."""

    at: str
    sign: Sign
    says: str
    why: str = ""


class Alike(NamedTuple):
    """Clients that failed alike: what they say, some of them as links, how many more, what to do, and all as a list."""

    says: str
    how_many: str
    clients: Sequence[tuple[str, str]]
    more: str
    todo: str
    of_machine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """One rollout, with all that is known of it."""

    name: str
    called: str
    component: str
    version: str
    component_path: str
    clients_path: str
    where: str
    sign: Sign
    lede: str
    way: Way
    facts: Sequence[Fact]
    gate: Sequence[tuple[str, str, str]]
    gate_bar: Sequence[Segment]
    limits: Sequence[str]
    forecast: Sequence[tuple[str, str]]
    never: str
    approvals: Sequence[tuple[str, str, str]]
    happened: Sequence[Happened]
    failures: Sequence[Alike]
    failed: str
    buttons: Sequence[Deed]
    block: Deed


def find_entry(entries: Iterable[Entry], key: Key) -> Entry | None:
    """Give the one of the entries of a document that is about a rollout."""
    return next((one for one in entries if (one["component"], one["version"], one["group"] or "") == key), None)


def entry_of(record: RolloutRecord, known: Entry | None, limits: Entry | None = None) -> dict[str, Any]:
    """Give all that is known of a rollout as it is now; `known` is from the last look, `limits` from the last plan."""
    says = record.stopped if record.status in STOPPED else f"{record.place} is open"
    if record.status not in UNSETTLED:
        says = ": ".join(filter(None, (record.status, record.reason)))
    entry = whole_entry(RolloutStep(record, new=False, says=says))
    entry["started"] = time_text(record.started)
    if known is not None and (known["status"], known["wave"]) == (record.status, record.wave):
        told = ("says", "counts", "next_at", "stuck", "awaits_approval")
        entry.update({name: known[name] for name in told if name in known})
        entry["says"] = _COMMAND.sub("", entry["says"])
        if entry["awaits_approval"] and any(one.wave == record.wave + 1 for one in record.approved):
            entry.update(awaits_approval=False, says="approved; it goes on with the next step", next_at=None)
    if limits is not None:
        entry.update(
            {name: limits[name] for name in ("max_failed", "max_fail_percentage", "at_once") if name in limits}
        )
    return entry


_BUTTONS: tuple[tuple[Verb, str], ...] = (
    ("approve", "Approve\u2026"),
    ("resume", "Resume\u2026"),
    ("pause", "Pause\u2026"),
    ("abort", "Abort\u2026"),
)


def buttons_of(entry: Entry) -> list[Deed]:
    """Give what may be done with a rollout, what is most likely wanted first."""
    subject = entry["component"], entry["version"], entry["group"]
    return [
        Deed(label, links.do(verb, *subject), NEEDED[verb], main=verb == "approve")
        for verb, label in _BUTTONS
        if entry["status"] in FIT[verb] and (verb != "approve" or entry.get("awaits_approval"))
    ]


def needs_somebody(entry: Entry) -> bool:
    """Say whether a rollout goes on only when somebody acts."""
    return entry["status"] in STOPPED or bool(entry.get("stuck") or entry.get("awaits_approval"))


# --- the list ---------------------------------------------------------------------------------------------------------


def view_of_rollouts(
    entries: Sequence[Entry],
    over: Sequence[RolloutRecord],
    asked: Mapping[str, str],
    before: str,
    names: Mapping[str, str] = MappingProxyType({}),
) -> RolloutsView:
    """Give what a page shows of rollouts: `entries` are under way, `over` aren't, and `before` names the next page.

    `names` are what components are called, by their ids.
    """
    components = sorted({one["component"] for one in entries})
    fit = [one for one in entries if _fits(one, asked)]
    fit.sort(key=lambda one: (_turn(one), one["component"], one["started"]))
    need = sum(map(needs_somebody, entries))
    return RolloutsView(
        headline=_headline(len(entries), need),
        facts=_list_facts(entries),
        asked=asked,
        components=components,
        shown=[
            One(
                path=links.rollout(one["component"], one["version"], one["group"]),
                way=replace(way_of(one), component=names.get(one["component"], one["component"])),
                says=_need(one),
                buttons=buttons_of(one),
            )
            for one in fit
        ],
        names=names,
        over=[_row(record) for record in over],
        before=before,
        nothing="None of those that are under way is like that."
        if entries
        else "A new release shows up here with its waves as soon as a source offers it.",
    )


def _headline(count: int, need: int) -> str:
    if not count:
        return "Nothing is on its way."
    way = f"{count_text(count, 'release')} {'is' if count == 1 else 'are'} on {'its' if count == 1 else 'their'} way"
    if not need:
        return f"{way}, and nothing waits for anybody."
    verb = "needs" if need == 1 else "need"
    return f"{way}; {number_text(need)} {verb} somebody." if count > need else f"{way}, and {verb} somebody."


def _list_facts(entries: Sequence[Entry]) -> list[Fact]:
    halted = sum(one["status"] == "halted" or bool(one.get("stuck")) for one in entries)
    waits = sum(bool(one.get("awaits_approval")) for one in entries)
    paused = sum(one["status"] == "paused" for one in entries)
    counts = ((halted, "halted", "bad"), (waits, "waiting for approval", "late"), (paused, "paused", "late"))
    return [Fact(number_text(count), label, tone) for count, label, tone in counts if count]  # type: ignore[arg-type]


def _need(entry: Entry) -> str:
    """Say what somebody has to know who decides; nothing where nobody has to, as the waves tell how far it is."""
    if entry["status"] in STOPPED:
        return entry["reason"] or ""
    if entry.get("awaits_approval") and len(entry["sizes"]) > entry["wave"]:
        size = entry["sizes"][entry["wave"]]
        passed = f"Wave {entry['wave']} is through. " if entry["wave"] else ""
        return f"{passed}Wave {entry['wave'] + 1} has {count_text(size, 'client')}."
    return entry["says"] if entry.get("stuck") else ""


def _fits(entry: Entry, asked: Mapping[str, str]) -> bool:
    status = asked.get("status", "")
    fits = {
        "": True,
        "needs": needs_somebody(entry),
        "running": entry["status"] in AT_WORK,
        "stopped": entry["status"] in STOPPED,
    }.get(status, False)
    return fits and asked.get("component", "") in {"", entry["component"]}


def _turn(entry: Entry) -> int:
    """Give who comes first: what is halted, what waits for somebody, what is paused, all else."""
    if entry["status"] == "halted" or entry.get("stuck"):
        return 0
    return 1 if entry.get("awaits_approval") else 2 if entry["status"] in STOPPED else 3


def _row(record: RolloutRecord) -> tuple[str, Entry, Sign, str]:
    entry = entry_of(record, None)
    return links.rollout(*record.key), entry, status_sign(entry), record.reason


# --- one --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that is known of one rollout: its `entry`, and what the state and the last plan have of it.

    `called` is the name of its component.
    """

    record: RolloutRecord
    entry: Entry
    moves: Sequence[Move]
    failures: Mapping[str, tuple[str, Fault]]
    failed: int
    arrival: Entry | None
    has: int | None
    called: str = ""


def view_of_rollout(known: Known) -> RolloutView:
    """Give what a page shows of one rollout."""
    record, entry = known.record, known.entry
    counts = entry["counts"]
    return RolloutView(
        name=record.name,
        called=known.called or record.component,
        component=record.component,
        version=record.version,
        component_path=links.component(record.component),
        clients_path=links.clients_running(record.component, record.version, record.group),
        where=record.group or WHOLE_FLEET,
        sign=status_sign(entry),
        lede=f"In {record.place}: {record.reason}" if record.status in STOPPED and record.reason else entry["says"],
        way=way_of(entry),
        facts=_facts(known),
        gate=_gate(counts) if record.status in AT_WORK or counts["planned"] else [],
        gate_bar=bar(
            (
                ("good", counts["passed"]),
                ("bad", counts["failed"]),
                ("late", counts["unreachable"] + counts["hindered"]),
                ("idle", counts["pending"] + counts["unknown"]),
            )
        ),
        limits=_limits(entry, known.failed),
        forecast=_forecast(known.arrival),
        never=known.arrival["never"] if known.arrival else "",
        approvals=[(f"wave {one.wave} of {len(record.cuts)}", one.who, time_text(one.at)) for one in record.approved],
        happened=_happened(record, known.moves),
        failures=_failures(known.failures),
        failed=number_text(known.failed) if known.failed else "",
        buttons=buttons_of(entry),
        block=Deed("Block this version in the file\u2026", links.do("block", *record.key[:2]), NEEDED["block"]),
    )


def _facts(known: Known) -> list[Fact]:
    record, entry = known.record, known.entry
    found = [Fact(count_text(sum(record.sizes), "client"), f"in {count_text(len(record.cuts), 'wave')}")]
    if known.has is not None:
        found.append(Fact(number_text(known.has), f"run {record.version}"))
    if known.failed:
        found.append(Fact(number_text(known.failed), "failed", "late"))
    found.append(Fact("began", time_text(record.started)))
    if entry["next_at"]:
        found.append(Fact("next step", entry["next_at"]))
    return found


_COUNTED = (
    ("passed", "have it", "good"),
    ("failed", "failed", "bad"),
    ("pending", "are to get it", "idle"),
    ("unreachable", "became unreachable", "late"),
    ("hindered", "are in trouble of their own", "late"),
    ("unknown", "nobody looked at yet", "idle"),
    ("off", "were off already, and don't count", "idle"),
)


def _gate(counts: Entry) -> list[tuple[str, str, str]]:
    """Give the clients of the open wave: number, what they are, tone; those of which there are none are left out."""
    return [
        (number_text(counts[name]), label, tone)
        for name, label, tone in _COUNTED
        if counts.get(name) or name in {"passed", "failed"}
    ]


def _limits(entry: Entry, failed: int) -> list[str]:
    """Say what the gate lets pass, beside what there is now; of one that stopped, only who `failed` is known."""
    counts, found = entry["counts"], []
    attempted = counts["passed"] + counts["failed"]
    if entry["max_failed"] is not None:
        count = counts["failed"] if counts["planned"] else failed
        found.append(f"At most {number_text(entry['max_failed'])} may fail; {number_text(count)} did.")
    if entry["max_fail_percentage"] is not None:
        did = f"; {rate_text(counts['failed'], attempted)} did" if attempted else ""
        found.append(f"At most {entry['max_fail_percentage']:g} % of those attempted may fail{did}.")
    if entry["at_once"]:
        found.append(f"{count_text(entry['at_once'], 'client')} at a time, with a look at the gate after each.")
    return found


def _forecast(arrival: Entry | None) -> list[tuple[str, str]]:
    if arrival is None:
        return []
    shares = (("half", "50 % of its clients"), ("most", "95 %"), ("all", "all of them"))
    return [(label, arrival[name]) for name, label in shares if arrival[name]]


def _happened(record: RolloutRecord, moves: Sequence[Move]) -> list[Happened]:
    """Give what became of a rollout, the last first."""
    found: list[tuple[Any, Happened]] = []
    wave, status = 0, ""
    for move in moves:
        says = _moved(move, wave, status, len(record.cuts))
        found.append((move.at, Happened(time_text(move.at), status_sign(_like(move)), says, move.reason)))
        wave, status = move.wave, move.status
    for one in record.approved:
        sign = Sign("good", "check", "approved")
        found.append((one.at, Happened(time_text(one.at), sign, f"wave {one.wave} was approved by {one.who}")))
    if not moves:
        sign = Sign("ahead", "play", "began")
        found.append((record.started, Happened(time_text(record.started), sign, "it began")))
    return [what for _at, what in sorted(found, key=lambda each: each[0], reverse=True)]


def _like(move: Move) -> Entry:
    return {"status": move.status}


def _moved(move: Move, wave: int, status: str, waves: int) -> str:
    if not status:
        return f"it began with wave {move.wave} of {waves}" if move.wave else "it began"
    if move.status == "running":
        anew = "it went on" if status != "running" else ""
        if move.wave != wave:
            return f"{anew + ': ' if anew else ''}wave {move.wave} of {waves} opened"
        return anew or f"wave {move.wave} of {waves} is open"
    if move.status == "done":
        return "all of its waves are through"
    return f"{move.status} in wave {move.wave} of {waves}"


def _failures(failures: Mapping[str, tuple[str, Fault]]) -> list[Alike]:
    """Put clients together that say the same but for what is particular; what is the release's fault leads."""
    found = []
    for fault in dict.fromkeys(fault for _says, fault in failures.values()):
        named = {client: says for client, (says, of) in failures.items() if of == fault}
        by_text: dict[str, list[str]] = {}
        for client, says in named.items():
            by_text.setdefault(says, []).append(client)
        for texts in alike(list(by_text)):
            clients = sorted(client for text in texts for client in by_text[text])
            more = len(clients) - _CLIENTS_SHOWN
            found.append(
                Alike(
                    says=texts[0],
                    how_many=count_text(len(clients), "client"),
                    clients=[(one, links.client(one)) for one in clients[:_CLIENTS_SHOWN]],
                    more=f"and {number_text(more)} more" if more > 0 else "",
                    todo=todo_of(label_of(texts[0])),
                    of_machine=fault == MACHINE,
                )
            )
    return sorted(found, key=lambda one: (one.of_machine, -len(one.clients)))
