"""What a page shows of a plan: rows and sentences are those of its text, folded alike.

First the verdict, then what needs somebody, then what changed in the spec, then what this run does and what comes
later, then rollouts and changes, and last what isn't changed. Clients are named where that was asked for only, so that
the size of a page doesn't follow that of the fleet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from reconciler.model.change import FleetChange
from reconciler.model.plan import FINDINGS
from reconciler.present.base_text import BASE_HEAD, base_rows
from reconciler.present.folding import clients_of, findings_of, lines_of, rollout_rows_of, rows_of, scene_of
from reconciler.present.html.pages import page
from reconciler.present.html.shapes import MARKS, WAYS_SHOWN, Alert, Fact, Line, Sheet, bar, halts, shared_way, some
from reconciler.present.kinds import TABLE
from reconciler.present.outlook_text import has_steps, later_lines, run_steps, run_total
from reconciler.present.plan_text import (
    FINDING_MARKS,
    FINDING_TITLES,
    amiss,
    headline,
    is_blind,
    named_clients,
    quiet,
    remarks,
    savings,
)
from reconciler.present.provenance_text import release_items
from reconciler.present.relay_text import RELAYS_HEAD, RELAYS_TITLE, relay_rows
from reconciler.present.settings_text import file_parts
from reconciler.present.site_text import SITES_HEAD, SITES_TITLE, site_rows
from reconciler.present.spec_changes import spec_change_items
from reconciler.present.trouble import EXAMPLES, alike, todo_of_finding
from reconciler.present.way_back_text import way_back_lines
from reconciler.present.words import count_text, name_list, number_text, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.settings import FileView
    from reconciler.present.folding import Scene
    from reconciler.present.html.shapes import Segment, Way
    from reconciler.present.kinds import Kind, Row
    from reconciler.present.rollout_text import Entry

    Files = tuple[Sequence[FileView], Mapping[str, int]]

_GONE_SHOWN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a step of the run does, and its part of the fleet, behind that of the steps before it."""

    says: str
    bar: Sequence[Segment]


class File(NamedTuple):
    """A file of a client that changes: lines, and the tone of each."""

    name: str
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """All that a page shows of a plan."""

    headline: str
    created: str
    facts: Sequence[Fact]
    alerts: Sequence[Alert]
    notes: Sequence[str]
    spec_changes: Sequence[tuple[bool, str]]
    base: Sheet | None
    releases: str
    provenance: Sequence[tuple[str, Sequence[str]]]
    steps: Sequence[Step]
    total: str
    later: Sequence[tuple[str, Sequence[str]]]
    ways: Sequence[Way]
    rollouts: Sheet | None
    sections: Sequence[Sheet]
    findings: Sequence[Sheet]
    reach: Sequence[str]
    gone: Sequence[str]
    gone_count: int
    files: Sequence[File]
    more_files: Sequence[str]
    footer: Sequence[str]


def plan_html(document: Entry, *, names: bool = False, files: Files | None = None) -> str:
    """Render a plan as a page; `names` opens rows that stand for several changes, and names the clients of each.

    `files` are those of settings that change, and how many clients of each group aren't shown.
    """
    return page("plan_report.html", view_of_plan(document, names=names, files=files))


def view_of_plan(document: Entry, *, names: bool = False, files: Files | None = None) -> PlanView:
    """Give what a page shows of a plan; see `plan_html`."""
    scene, rollouts, run = scene_of(document), document["rollouts"], document.get("run")
    rows = rollout_rows_of(document, scene, opened=names)
    ways = _ways(rows)
    releases, provenance = release_items(document, every=names)
    return PlanView(
        headline=_headline(document),
        created=document["created"],
        facts=_facts(document),
        alerts=[*halts(rollouts), *_amiss(document), *problem_alerts(document["problems"], every=names)],
        notes=[*remarks(document), *document["notes"]],
        spec_changes=spec_change_items(document, every=names),
        base=_base(document),
        releases=releases,
        provenance=provenance,
        steps=_steps(run, sum(document["clients"].values())) if run and has_steps(run) else [],
        total=f"{run_total(run, sum(document['clients'].values()))}." if run else "",
        later=_later(later_lines(document)) if run else [],
        ways=ways,
        rollouts=_rollouts(rows) if len(ways) < len(rows) else None,
        sections=[
            *_sites(document),
            *_relays(document),
            *(table for kind in _IN_ORDER for table in _section(kind, document, scene, names=names)),
        ],
        findings=[table for kind in FINDINGS for table in _findings(kind, document, scene, names=names)],
        reach=[*way_back_lines(document), *savings(document)],
        gone=some(document["gone"], _GONE_SHOWN if names else EXAMPLES),
        gone_count=len(document["gone"]),
        files=[_file(*part) for part in file_parts(files[0])] if files else [],
        more_files=[f"{group}: {count_text(count, 'client')} more" for group, count in files[1].items()]
        if files
        else [],
        footer=[
            f"plan {document['plan_id']}",
            f"lineage {document['lineage'][:8]}",
            f"spec {document['spec_digest'][:12]}",
        ],
    )


def _headline(document: Entry) -> str:
    if not document["changes"]:
        return quiet(document)
    changed = any(document["summary"][kind.action]["clients"] for kind in _IN_ORDER)
    return f"{headline(document)}." if changed else "No client is changed; what is done is done on the server."


def problem_alerts(problems: Sequence[str], *, every: bool) -> list[Alert]:
    """Give an alert for all problems that are alike, with how many they are and some of them."""
    found = []
    for same in alike(problems):
        if len(same) == 1:
            found.append(Alert(tone="late", icon="warn", title=same[0]))
            continue
        shown = some(same) if every else some(same, EXAMPLES)
        title = f"{count_text(len(same), 'problem')} that are alike"
        found.append(Alert(tone="late", icon="warn", title=title, examples=shown))
    return found


def _amiss(document: Entry) -> list[Alert]:
    trouble = amiss(document)
    found = [Alert(tone="bad", icon="alert", title="Not as declared", why=trouble)] if trouble else []
    if is_blind(document):
        found.append(Alert(tone="late", icon="warn", title="Nothing is known of any client"))
    return found


def _facts(document: Entry) -> list[Fact]:
    """Give the figures below the verdict: those of findings only where there are some."""
    summary = document["summary"]
    about = "about " if any(change.get("estimated") for change in document["changes"]) else ""
    received, sent = summary["download"]["bytes"], summary["deploy"]["bytes"]
    facts = [
        Fact(
            count_text(sum(document["clients"].values()), "client"),
            f"in {count_text(len(document['clients']), 'group')}",
        ),
        *([Fact(size_text(received), "to download")] if received else []),
        *(
            [Fact(count_text(summary["fetch"]["changes"], "release"), "to fetch")]
            if summary["fetch"]["changes"]
            else []
        ),
        *([Fact(f"{about}{size_text(sent)}", "to send")] if sent else []),
    ]
    tones = {"drift": "late", "unknown": "late", "unreachable": "late", "pending": "pending"}
    facts += [
        Fact(number_text(summary[kind]), kind, tones.get(kind, "idle"))  # type: ignore[arg-type]
        for kind in FINDINGS
        if summary.get(kind)
    ]
    return facts


_TONES = {"+": "good", "-": "bad", "~": "ahead", "@": "idle"}


def _file(name: str, lines: Sequence[str]) -> File:
    return File(name, [(_TONES.get(line[:1], ""), line) for line in lines])


def _base(document: Entry) -> Sheet | None:
    rows = base_rows(document)
    lines = [Line(cells=row) for row in rows]
    return Sheet(title="Against the base", head=("why", *BASE_HEAD[1:]), lines=lines) if rows else None


def _sites(document: Entry) -> list[Sheet]:
    lines = [Line(cells=row) for row in site_rows(document)]
    return [Sheet(title=SITES_TITLE, head=SITES_HEAD, lines=lines)] if lines else []


def _relays(document: Entry) -> list[Sheet]:
    lines = [Line(cells=row) for row in relay_rows(document)]
    return [Sheet(title=RELAYS_TITLE, head=RELAYS_HEAD, lines=lines)] if lines else []


def _steps(run: Entry, clients: int) -> list[Step]:
    """Give the steps of a run; a bar has what changed before, what changes in the step, and what is left."""
    found, before = [], 0
    for says, step in zip(run_steps(run), [*run["steps"], None], strict=False):
        now = step["clients"] if step else 0
        rest = max(clients - before - now, 0)
        found.append(Step(says=says, bar=bar((("good", before), ("ahead", now), ("idle", rest))) if step else []))
        before = min(before + now, clients)
    return found


def _later(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Put sentences together that begin with the same word: `Later: ...`."""
    said: dict[str, list[str]] = {}
    for line in lines:
        word, _colon, says = line.partition(": ")
        said.setdefault(word, []).append(says)
    return list(said.items())


def _ways(rows: Sequence[Row]) -> list[Way]:
    """Give the ways of rollouts, where they are few; else of those that stand still."""
    stopped = [row for row in rows if row.cells[0] == "!"]
    return [_way(row) for row in (rows if len(rows) <= WAYS_SHOWN else stopped[:WAYS_SHOWN])]


def _way(row: Row) -> Way:
    """Give the way of a row of rollouts; for several it says how many clients have their turn now, and later."""
    way, entry = shared_way(row.changes), row.changes[0]
    if len(row.changes) == 1:
        return way
    turns, where = row.cells[4:6]
    where = where.removeprefix(f"wave {entry['wave']} of {entry['waves']} ").removeprefix("is ")
    waves = [replace(wave, says=f"{where}: {turns}") if wave.state == "open" else wave for wave in way.waves]
    return replace(way, waves=waves)


def _rollouts(rows: Sequence[Row]) -> Sheet:
    lines = [Line(cells=row.cells[1:], sign=MARKS[row.cells[0]], names=some(row.names)) for row in rows]
    return Sheet(title="All rollouts", head=("component", "version", "group", "waves", "where it is"), lines=lines)


_IN_ORDER = sorted(TABLE, key=lambda kind: not issubclass(kind.change, FleetChange))
"""What is done with clients stands first: the work in the store serves that."""
_NUMBERS = frozenset(["clients", "size"])
_FIRST = {"settings": "clients", "proof": "rollout"}


def _section(kind: Kind, document: Entry, scene: Scene, *, names: bool) -> list[Sheet]:
    """Give what a plan does of one kind, as a table; signs stand there only where its rows differ in that."""
    changes = kind.of(document)
    if not changes:
        return []
    rows = lines_of(kind, changes, scene) if names else rows_of(kind, changes, scene)
    differ = len({row.cells[0] for row in rows}) > 1 or kind.action in {"deploy", "settings"}
    members: Mapping[str, Sequence[str]] = document["members"] if names else {}
    lines = [
        Line(
            cells=kind.columns(row),
            sign=MARKS[row.cells[0]] if differ else None,
            names=some(row.names),
            clients=[(label, some(sorted(found))) for label, found in named_clients(row, members) if found]
            if names
            else (),
        )
        for row in rows
    ]
    head = (_FIRST.get(kind.action, "component"), *kind.head[1:])
    right = frozenset(at for at, title in enumerate(head) if at and title in _NUMBERS)
    return [Sheet(title=kind.title, head=head, lines=lines, right=right)]


def _findings(kind: str, document: Entry, scene: Scene, *, names: bool) -> list[Sheet]:
    rows = findings_of(kind, document.get(kind, ()), document, scene)
    if not rows:
        return []
    lines = []
    for row in rows:
        clients = clients_of(row.findings, document)
        if names:
            shown = [("", some(clients))] if clients else []
        else:
            shown = [(name_list(clients, EXAMPLES), [])] if kind in FINDING_MARKS and clients else []
        fix = todo_of_finding(kind, row.findings[0])
        lines.append(Line(cells=(*row.cells, fix), names=some(row.names), clients=shown))
    title, _bracket, says = FINDING_TITLES[kind].partition(" (")
    head = ("component", "clients", "group", "reason", "what to do")
    return [Sheet(title=title, head=head, lines=lines, right=frozenset({1}), says=says.removesuffix(")"))]
