"""All that documents, texts and Markdown know of each kind of change, in one table.

An entry says the kind's form in JSON, what one change may not say, and how changes of the kind are shown: under which
title, and in which rows. A row begins with a mark: `+` comes, `-` goes, `~` changes, `<` goes back, `*` is asked. Where
several groups have the same change they share a row, and so do incrementals that are downloaded, made or pruned for the
same reason. In Markdown the rows are the same without their marks, unless an entry gives others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.model.change import (
    KINDS,
    Deploy,
    Download,
    Fetch,
    FleetChange,
    Generate,
    Merge,
    Proof,
    Prune,
    Publish,
    Settings,
)
from reconciler.model.network import DIRECT
from reconciler.model.release import ANY_PLATFORM
from reconciler.present.forms import As, Form
from reconciler.present.provenance_form import with_bare
from reconciler.present.rollout_text import rollout_name, wave_text
from reconciler.present.words import count_text, number_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from reconciler.model.change import Change
    from reconciler.present.rollout_text import Entry, Waves

_VERSIONS_SHOWN = 3
_GROUPS_SHOWN = 3
_ROUTES_SHOWN = 3


class Row(NamedTuple):
    """A row of a text, and the changes that share it.

    `names` are the releases that it stands for, where it doesn't say them; `folded` is how many rows it takes the
    place of.
    """

    cells: tuple[str, ...]
    changes: Sequence[Entry]
    names: tuple[str, ...] = ()
    folded: int = 1


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is known of a kind of change.

    `rows` gives the rows of its changes in a text. With `arrow`
    one stands between the third cell and the fourth. `right` are the columns aligned to the right. `head` are the
    titles of the columns in Markdown; `order` are the cells there, where they aren't all but the mark in their order.
    `name` is what one change is called above its clients. `clause` is what the first line of a plan says before the
    number of its clients; empty: nothing.
    """

    change: type[Change]
    form: Form[Any]
    title: str
    rows: Callable[[Sequence[Entry], Waves], Iterable[Row]]
    right: frozenset[int]
    head: tuple[str, ...]
    order: tuple[int, ...] = ()
    name: Callable[[Entry], str] = lambda change: str(change["action"])
    clause: str = ""
    arrow: bool = False

    @property
    def action(self) -> str:
        """What names the kind in documents."""
        return self.change.action

    def write(self, change: Change) -> dict[str, Any]:
        """Give the entry of a change."""
        return {"action": self.action, **self.form.write(change)}

    def of(self, document: Entry) -> list[Entry]:
        """Give the changes of this kind in a plan's document."""
        return [change for change in document["changes"] if change["action"] == self.action]

    def columns(self, row: Row) -> tuple[str, ...]:
        """Give the cells of a row of a Markdown table."""
        return tuple(row.cells[at] for at in self.order or range(1, len(row.cells)))

    def line(self, row: Row) -> tuple[str, ...]:
        """Give the cells of a row of a text."""
        cells = (f"  {row.cells[0]}", *row.cells[1:])
        if not self.arrow:
            return cells
        return (*cells[:3], "->" if cells[2] or cells[3] else "", *cells[3:])


_FROM = As("from", null=True)


def platform_text(change: Entry) -> str:
    """Give what stands behind a version that is for one platform only."""
    return "" if change["platform"] == ANY_PLATFORM else f" ({change['platform']})"


# --- the store --------------------------------------------------------------------------------------------------------


def _store(
    mark: str, what: Callable[[Entry, int], str], size: Callable[[int], str] = size_text
) -> Callable[[Sequence[Entry], Waves], list[Row]]:
    """Give what makes rows (mark, component, from, to, bytes, what, reason); incrementals share them."""

    def rows(changes: Sequence[Entry], _waves: Waves) -> list[Row]:
        alike: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
        for at, change in enumerate(changes):
            incremental = "codec" in change or change.get("kind", "full") != "full"
            keys = ("component", "to", "platform", "kind", "codec", "source", "reason", "signed")
            alike[-1 if incremental else at, *(change.get(key) for key in keys)].append(change)
        return [row(shared) for shared in alike.values()]

    def row(alike: Sequence[Entry]) -> Row:
        change = alike[0]
        starts = [entry["from"] or "-" for entry in alike]
        more = len(starts) - _VERSIONS_SHOWN
        before = ", ".join(starts[:_VERSIONS_SHOWN]) + (f" and {more} more" if more > 0 else "")
        to, moved = change["to"] + platform_text(change), size(sum(entry["bytes"] for entry in alike))
        reason = with_bare(change["reason"], change)
        return Row((mark, change["component"], before, to, moved, what(change, len(alike)), reason), alike)

    return rows


def held_text(change: Entry, count: int) -> str:
    """Say what is held: a full, or how many incrementals of which codec."""
    codec = change["codec"] if "codec" in change else change["kind"]
    packed = codec != "full" and change["from"] is None
    if codec == "full":
        return "full" if count == 1 else f"{count} fulls"
    if packed:
        return f"full packed with {codec}" if count == 1 else f"{count} fulls packed with {codec}"
    return f"{codec} incremental" if count == 1 else f"{count} {codec} incrementals"


def fetched_text(change: Entry, count: int) -> str:
    """Say what is downloaded, and from where."""
    route = "" if change["route"] == DIRECT else f" {change['route']}"
    return f"{held_text(change, count)} from {change['source']}{route}"


def _merged(change: Entry, _count: int) -> str:
    full = f"{size_text(change['bytes'])} from {change['source']}" if change["source"] else "nothing"
    return f"by {count_text(len(change['path']), 'incremental')}; if that fails, the full: {full}"


def _fetches(changes: Sequence[Entry], _waves: Waves) -> Iterator[Row]:
    """Give rows (mark, component, from, to, bytes, what, reason)."""
    for change in changes:
        route = "" if change["route"] == DIRECT else f" {change['route']}"
        cells = (
            "+",
            change["component"],
            change["from"] or "-",
            change["to"] + platform_text(change),
            "?" if change["bytes"] is None else size_text(change["bytes"]),
            f"from {change['source']}{route}, digest unknown until fetched",
            with_bare(change["reason"], change),
        )
        yield Row(cells, [change])


# --- the repository for other sites -----------------------------------------------------------------------------------

_PUBLISH_MARKS = {
    "release": "+",
    "incrementals": "~",
    "attached": "~",
    "withdraw": "-",
    "restore": "+",
    "let go": "-",
    "signatures": "~",
    "files": "~",
}


def _published(changes: Sequence[Entry], _waves: Waves) -> Iterator[Row]:
    """Give rows (mark, component, version, bytes, what, reason)."""
    for change in changes:
        cells = (
            _PUBLISH_MARKS[change["kind"]],
            change["component"] or "all components",
            (change["to"] or "-") + platform_text(change),
            size_text(change["bytes"]) if change["bytes"] else "",
            change["kind"] + (f" in {change['repository']}" if change["repository"] else ""),
            with_bare(change["reason"], change),
        )
        yield Row(cells, [change])


# --- clients ----------------------------------------------------------------------------------------------------------


def _check_deploy(deploy: Deploy) -> None:
    if deploy.held and (deploy.early or deploy.bytes or deploy.path):
        raise ValueError("a release that clients hold isn't sent to them")


def _deploys(changes: Sequence[Entry], waves: Waves) -> list[Row]:
    """Give rows (mark, component, from, to, clients, what is sent, groups, reason)."""
    alike: dict[Hashable, list[Entry]] = defaultdict(list)
    for change in changes:
        alike[same_deploy(change, waves)].append(change)
    return [_deploy_row(same, waves) for same in alike.values()]


def same_deploy(change: Entry, waves: Waves) -> Hashable:
    """Give what is equal for all clients of one change."""
    keys = ("component", "to", "platform", "reason", "downgrade", "early", "held")
    return (*(change[key] for key in keys), change["from"] is None, wave_text(change, waves))


def _deploy_row(same: Sequence[Entry], waves: Waves) -> Row:
    change = same[0]
    before = sorted({entry["from"] or "-" for entry in same})
    ways = sorted({way_text(entry) for entry in same})
    cells = (
        mark_of(change),
        change["component"],
        before[0] if len(before) == 1 else count_text(len(before), "version"),
        change["to"] + platform_text(change),
        count_text(sum(entry["clients"] for entry in same), "client"),
        ways[0] if len(ways) == 1 else mixed_text(same, _by_clients(same)),
        groups_text(entry["group"] for entry in same),
        reason_text(change, waves),
    )
    return Row(cells, same)


def mark_of(change: Entry) -> str:
    """Give the mark of a deploy change: it is the first, goes back, or takes the place of another."""
    return "+" if change["from"] is None else "<" if change["downgrade"] else "~"


def groups_text(names: Iterable[str]) -> str:
    """Name some groups, or say how many they are."""
    groups = sorted(set(names))
    return ", ".join(groups) if len(groups) <= _GROUPS_SHOWN else f"{number_text(len(groups))} groups"


def reason_text(change: Entry, waves: Waves) -> str:
    """Say why clients get a release, in which wave, and that nobody signed it: `outdated, wave 2 of 3, not signed`."""
    down = "downgrade" if change["downgrade"] else ""
    return with_bare(", ".join(filter(None, (change["reason"], down, wave_text(change, waves)))), change)


def way_text(change: Entry) -> str:
    """Say what each client of a deploy change is sent: `incremental 1 -> 2, 412.0 KiB instead of 21.0 MiB`."""
    early = "sent early, switched to in time" if change["early"] else ""
    return ", ".join(filter(None, (_sent_text(change), "" if change["route"] == DIRECT else change["route"], early)))


def _sent_text(change: Entry) -> str:
    if change["held"]:
        return "from what it kept, nothing sent"
    if not change["bytes"]:
        return "nothing sent"
    about = "about " if change["estimated"] else ""
    size, why = f"{about}{size_text(change['bytes'])}", f" ({change['why_full']})" if change["why_full"] else ""
    instead = f"{size} instead of {size_text(change['bytes_full'])}"
    steps = [name.rpartition("/")[0].partition("..") for name in change["path"]]
    if not steps:
        return f"full: {change['why_full']}, {size}" if why else f"{size} each"
    if not steps[0][0]:
        return f"packed full, {instead}{why}"
    versions = [steps[0][0], *(after for _before, _dots, after in steps)]
    return f"incremental{'s' if len(steps) > 1 else ''} {' -> '.join(versions)}, {instead}"


WAYS = ("by incrementals", "packed", "in full", "from what they kept", "with nothing sent", "by several ways")


def way_of(change: Entry) -> str:
    """Say in which form a release goes to clients, one of WAYS."""
    if change["held"]:
        return WAYS[3]
    if not change["bytes"]:
        return WAYS[4]
    if not change["path"]:
        return WAYS[2]
    return WAYS[1] if change["path"][0].startswith("..") else WAYS[0]


def _by_clients(same: Sequence[Entry]) -> Counter[str]:
    count: Counter[str] = Counter()
    for change in same:
        count[way_of(change)] += change["clients"]
    return count


def mixed_text(changes: Sequence[Entry], count: Counter[str]) -> str:
    """Say what is sent in all, and in which forms: `about 3.9 MiB in all: 6 by incrementals, 7 in full`."""
    about = "about " if any(change["estimated"] for change in changes) else ""
    total = sum(change["bytes"] * change["clients"] for change in changes)
    forms = [(way, count[way]) for way in WAYS if count[way]]
    listed = forms[0][0] if len(forms) == 1 else ", ".join(f"{number_text(number)} {way}" for way, number in forms)
    size = f"{about}{size_text(total)} in all" + (", " if len(forms) == 1 else ": ") if total else ""
    return f"{size}{listed}{_routes_text(changes)}{', sent early, switched to in time' if changes[0]['early'] else ''}"


def _routes_text(changes: Sequence[Entry]) -> str:
    """Say over which ways, and where they differ for how many of the clients: `, 8 direct, 1 via bridge`."""
    count: Counter[str] = Counter()
    for change in changes:
        count[change["route"]] += change["clients"]
    if set(count) == {DIRECT}:
        return ""
    if len(count) == 1:
        return f", {changes[0]['route']}"
    if len(count) > _ROUTES_SHOWN or len({change["component"] for change in changes}) > 1:
        return f", over {len(count)} routes"
    return "".join(f", {number_text(number)} {way}" for way, number in sorted(count.items()))


def _settings(changes: Sequence[Entry], _waves: Waves) -> Iterator[Row]:
    """Give rows (mark, clients, group, reason)."""
    for change in changes:
        mark = "+" if change["reason"] == "missing" else "~"
        yield Row((mark, count_text(change["clients"], "client"), change["group"], change["reason"]), [change])


# --- questions --------------------------------------------------------------------------------------------------------


def _check_proof(proof: Proof) -> None:
    if proof.number and proof.kind != "gate":
        raise ValueError("number is out of bounds")


def _proofs(changes: Sequence[Entry], waves: Waves) -> Iterator[Row]:
    """Give rows (mark, rollout, wave, what is asked, clients)."""
    for change in changes:
        again = change["kind"] == "recheck"
        count = waves.get((change["component"], change["version"], change["group"]), change["wave"])
        cells = (
            "*",
            rollout_name(change),
            f"wave {change['wave']} of {count}",
            "switched checks once more" if again else f"gate {change['number'] + 1}",
            count_text(change["clients"], "client") if again else "",
        )
        yield Row(cells, [change])


# --- the table --------------------------------------------------------------------------------------------------------

_STORE_HEAD = ("from", "to", "size", "what", "reason")

_TABLE = (
    Kind(
        change=Download,
        form=Form(Download, previous=_FROM),
        title="Download to the store",
        rows=_store("+", fetched_text),
        right=frozenset({5}),
        arrow=True,
        head=("download", *_STORE_HEAD),
    ),
    Kind(
        change=Merge,
        form=Form(Merge, previous=As("from")),
        title="Merge in the store",
        rows=_store("+", _merged, lambda _bytes: ""),
        right=frozenset({5}),
        arrow=True,
        head=("merge", *_STORE_HEAD),
    ),
    Kind(
        change=Generate,
        form=Form(Generate, previous=_FROM),
        title="Make incrementals in the store",
        rows=_store("+", held_text, lambda size: f"about {size_text(size)}"),
        right=frozenset({5}),
        arrow=True,
        head=("generate", *_STORE_HEAD),
    ),
    Kind(
        change=Proof,
        form=Form(Proof, check=_check_proof, group=As(null=True)),
        title="Prove again",
        rows=_proofs,
        right=frozenset(),
        head=("prove again", "wave", "what", "clients"),
        name=lambda change: f"{rollout_name(change)} again",
    ),
    Kind(
        change=Deploy,
        form=Form(Deploy, check=_check_deploy, from_version=_FROM, from_digest=As(null=True)),
        title="Deploy to clients",
        rows=_deploys,
        right=frozenset({5}),
        arrow=True,
        head=("deploy", "group", "from", "to", "clients", "each", "reason"),
        order=(1, 6, 2, 3, 4, 5, 7),
        name=lambda change: f"{change['component']} {change['to']} ({change['group']})",
    ),
    Kind(
        change=Settings,
        form=Form(Settings),
        title="Settings",
        rows=_settings,
        right=frozenset({1}),
        head=("settings", "group", "reason"),
        name=lambda change: f"settings ({change['group']})",
        clause="settings on",
    ),
    Kind(
        change=Fetch,
        form=Form(Fetch, previous=_FROM, signed=As(later=True)),
        title="Fetch and verify, for the next plan to deploy",
        rows=_fetches,
        right=frozenset({5}),
        arrow=True,
        head=("fetch", *_STORE_HEAD),
    ),
    Kind(
        change=Prune,
        form=Form(Prune, previous=_FROM),
        title="Prune from the store",
        rows=_store("-", held_text),
        right=frozenset({5}),
        arrow=True,
        head=("prune", *_STORE_HEAD),
    ),
    Kind(
        change=Publish,
        form=Form(Publish, previous=_FROM),
        title="Publish for other sites",
        rows=_published,
        right=frozenset({3}),
        head=("publish", "version", "size", "what", "reason"),
    ),
)
BY_CHANGE: Mapping[type[Change], Kind] = {kind.change: kind for kind in _TABLE}
TABLE: tuple[Kind, ...] = tuple(BY_CHANGE[change] for change in KINDS)
"""All kinds, in the order in which they are carried out and shown."""
BY_ACTION: Mapping[str, Kind] = {kind.action: kind for kind in TABLE}
FIRST_OF_CLIENTS = next(kind for kind in TABLE if issubclass(kind.change, FleetChange))
"""Rollouts are shown before what is done with clients."""
