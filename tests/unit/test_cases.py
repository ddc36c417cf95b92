"""The planner's cases: data in tests/cases, a spec and what was observed, and exactly the plan that must come of it.

    name: what the case shows
    components: {rules: {scheme: integer, version: latest}}   # catalog and wanted version in one; also scan_methods,
                                                              # to, kind, duplicate, codec, behind, min_age, snapshot,
                                                              # block, `loads` (its engine is asked what it has
                                                              # loaded), and `size` of each release
    out: {rules 2: 2026-11-23T22:00:00Z}                      # when releases came out; it is 2026-11-24T00:00:00Z
    seen: {rules 2: 2026-11-23T22:00:00Z}                     # when versions were first seen
    stands: [rules 2 =b was rules 2 =a]                       # the bytes of versions, and those that they replaced
    got: [rules 2]                                            # versions that somebody got at some time
    duplication: {incrementals: 14}                           # also enabled, keep_fulls, codecs
    groups: {g: conventional}                                 # group -> scan method, or null
    held: [rules 1]                                           # COMPONENT VERSION [PLATFORM] [=CONTENT]
    offers: [rules 2 @vendor]                                 # the same, and which source offers it, or else drop
    unfetched: [rules 2 ~900 @vendor]                         # COMPONENT VERSION [PLATFORM] [~BYTES] [@source]
                                                              # [unsigned]: by a source that can't prove anything
    incrementals: [rules 1..2/zstd 900]                       # held: COMPONENT NAME BYTES [REFUSAL]
    samples: {engine 1..2: 5%}                                # what a quick patch has of the full; from nothing: ..2
    server_memory: 120MiB                                     # what making one incremental may take
    offered: [rules 1..2/zstd 900 @vendor]                    # the same of a source
    withdrawn: [rules 2 INC-1 @vendor]                        # COMPONENT VERSION REASON, and which source says so
    ways: {vendor: via egress}                                # the way to a source, where it isn't direct
    repository: {publish: downloaded, withdraw: [rules 2 INC-1]}   # for other sites; what it has is in
    published: [rules 1, rules 1..2/zstd 900, rules 3 INC-1 withdrawn]   # COMPONENT VERSION, or as above
    renew: the timestamp expires                              # why its signatures should be renewed
    back: {g-0-1: 1h}                                         # when clients came back, or were new: so long ago
    policy: {trigger: schedule, schedule: {at: "01:00", spread: 4h}}   # auto_update; a list of maps with `of: GROUP
                                                              # COMPONENT` says it of single ones; `forced`, `limited`,
                                                              # `expedited`; `rollout` as in the spec, shares in percent
    rollouts: {rules 2: {wave: 1, opened: 2h, passed: 1h}}    # COMPONENT VERSION [GROUP]: remembered, times ago; also
                                                              # status, reason, undo, cleared, first, approved: [WAVE];
                                                              # cut-points are made of the case's clients
    failures: {rules 2: [g-0-1]}                              # the clients that failed in it: GROUP-COHORT-NUMBER
    before: {components: [rules], groups: {g: smart}}         # what was managed when the spec was applied last; without
                                                              # `components`: all there are
    left: {g: [g-0-1]}                                        # clients with files of settings that it has no more
    target: [rules]                                           # makes the plan partial: only these components count
    clients:                                                  # COUNT GROUP [PLATFORM]: what they have
      - 3 g: [rules 1]                                        # COMPONENT VERSION [=CONTENT] [@none]; with ! damaged
      - {2 g: unknown no connection}
      - {1 g: unreachable pure IPv6 server}
      - {1 g: {hold: INC-1, unmanaged: [/x], has: [rules 1], tools: [zstd], memory: 512, route: via bridge}}
      - {1 g: {selected: [label=canary], settings: changed, has: [rules 1 +2]}}   # +2: rules 2 lies there, too
      - {1 g: unknown no connection, since 3h}
      - 1 g: [rules 2 ~1]                                     # ~1: its engine has 1 loaded; ~: it doesn't say
    plan:
      downloads: [rules 1 -> 2 outdated]                      # COMPONENT BEFORE -> TO [PLATFORM] REASON [@source] [way]
                                                              # an incremental: COMPONENT NAME BYTES, REASON
      merges: [rules 1 -> 2 by 1..2/zstd]
      fetches: [rules 1 -> 2 outdated 900]                    # COMPONENT BEFORE -> TO [PLATFORM] REASON BYTES [@source]
                                                              # [way] [unsigned]; ? where the size isn't known
      generates: [rules 1..2/zstd level 9]
      prunes: [rules 1 full]                                  # or: rules 1..2/zstd
      deploys: [3 g rules 1 -> 2 outdated]                    # CLIENTS GROUP COMPONENT FROM -> TO REASON [downgrade]
                                                              # [sends BYTES, or about] [by NAME …] [full: REASON]
                                                              # [via NAME]
      publishes: [rules 2 release]                            # COMPONENT VERSION KIND: REASON
      held, unknown, drift: [1 g rules 2 hold]                # CLIENTS GROUP [COMPONENT VERSION] REASON
      rollouts: [rules 2 > wave 1 of 3 is open, 3 + 7 clients]
                                                              # COMPONENT VERSION [GROUP] MARK SAYS [stuck], SIZES
                                                              # [N at once];
                                                              # only where the policy has a rollout
      proofs: [rules 2 recheck of 3, rules 2 gate 1]
      settings: [2 g changed]
      leaving: [2 g rules not_listed now]                     # CLIENTS GROUP COMPONENT REASON [now], or `settings`
      problems, notes, gone: …                                       # what isn't there must be empty
    leaving_clients: 2                                        # from how many something leaves now
    summary: {download: 1 9, deploy: 1 3 27, held: 1}         # CHANGES BYTES; CHANGES CLIENTS BYTES; clients

A release has one file, named after the component, that holds CONTENT or else its version; `=a+b` makes two files of
which each holds one of the words. `@none` stands for files that were installed without any target. What every plan's
summary must be is worked out from its changes; a case that states `summary` says it in full.
"""

from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.formats.duration import parse_duration
from reconciler.formats.size import parse_size
from reconciler.model.change import KINDS, FleetChange
from reconciler.model.client import Installed, Profile
from reconciler.model.delta import Duplication, Incremental, Patch, Sample
from reconciler.model.deploy import InstallTarget, Layout
from reconciler.model.offer import Fetchable, Offer, OfferedIncremental, Unfetched, Withdrawal
from reconciler.model.plan import FINDINGS, Basis, Cohort, Plan, RolloutStep
from reconciler.model.policy import (
    DAYS,
    DEFAULT_LIMITS,
    AutoUpdate,
    Blackout,
    Gate,
    Limits,
    Rollout,
    Schedule,
    Wave,
    Window,
)
from reconciler.model.question import Question
from reconciler.model.release import SCAN_METHODS, Content, Release
from reconciler.model.repository import Published
from reconciler.model.rollout import Approval, RolloutRecord
from reconciler.model.secret import SecretRef
from reconciler.model.spec import ComponentSpec, GroupSpec, PluginConfig, RepositorySpec
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.leaving import Before, leaving
from reconciler.planner.planner import make_plan
from reconciler.planner.targets import Past
from reconciler.planner.waves import Lineup, structure
from reconciler.plugins.codec.bsdiff import Bsdiff
from reconciler.plugins.codec.gzip import Gzip
from reconciler.plugins.codec.zstd import Zstd
from reconciler.present.document import plan_document
from reconciler.present.kinds import TABLE, Kind, Row
from tests.fakes import make_component, make_release

FILES = sorted((Path(__file__).parents[1] / "cases").glob("*.yaml"))
TEXTS = [(file.stem, file.read_text(encoding="utf-8")) for file in FILES]
CASES = [(file, case) for file, text in TEXTS for case in yaml.load_all(text, yaml.CSafeLoader)]
KEYS = {
    *("name", "components", "groups", "held", "offers", "target", "clients", "plan", "summary", "freeze", "gone"),
    *(
        "duplication",
        "incrementals",
        "samples",
        "server_memory",
        "offered",
        "withdrawn",
        "ways",
        "repository",
        "published",
        "renew",
    ),
    *(
        "out",
        "seen",
        "policy",
        "rollouts",
        "failures",
        "troubles",
        "stands",
        "got",
        "before",
        "left",
        "moved",
        "leaving_clients",
        "back",
        "unfetched",
    ),
}


NOW = datetime(2026, 11, 24, tzinfo=UTC)
SIZES: dict[str, Any] = {}
OUT: dict[str, Any] = {}


def release(text: str) -> Release:
    """Make a release; a component that has a size gives it to the only file of each."""
    words = text.split()
    content = next((word[1:] for word in words if word.startswith("=")), words[1]).split("+")
    platform = next((word for word in words[2:] if word[0] not in "=@"), "any")
    names = [words[0], *(f"{words[0]}-{number}" for number in range(2, len(content) + 1))]
    files = {name: part.encode() for name, part in zip(names, content, strict=True)}
    made = make_release(words[0], words[1], files, platform)
    made = replace(made, released=OUT.get(f"{words[0]} {words[1]}"))
    size = SIZES.get(words[0])
    return replace(made, files=(replace(made.files[0], size=size),)) if size else made


def past(case: dict[str, Any]) -> Past:
    """Make what is remembered of bytes: `stands` has releases and, behind `was`, those that they took the place of."""
    contents = {}
    for text in case.get("stands", ()):
        now, *before = map(release, text.split(" was "))
        contents[now.component, now.version, now.platform] = Content(now.digest, tuple(one.digest for one in before))
    return Past(contents, {tuple(name.split()) for name in case.get("got", ())})


def incremental(text: str) -> Incremental:
    """Make an incremental of one patch; what follows its size says why it was refused."""
    plain, _, _source = text.partition(" @")
    id_, name, size, *refused = plain.split(None, 3)
    versions, _, codec = name.partition("/")
    before, _, after = versions.partition("..")
    goal = release(f"{id_} {after}")
    start = release(f"{id_} {before}").digest if before else ""
    patch = Patch(id_, int(size), "0" * 64, codec, id_ if before else "", goal.size)
    return Incremental(
        component=id_,
        platform=goal.platform,
        from_version=before,
        from_digest=start,
        to_version=after,
        to_digest=goal.digest,
        codec=codec,
        patches=(patch,),
        refused=" ".join(refused),
    )


def sample(text: str, share: str) -> tuple[tuple[str, str], Sample]:
    """Make a sample of zstd, or of gzip for a full that is to be packed."""
    made = incremental(f"{text}/{'gzip' if ' ..' in text else 'zstd'} 0")
    size = made.patches[0].result
    return (made.from_digest, made.to_digest), Sample(made.codec, ((size, size * int(share.rstrip("%")) // 100),))


def offered(text: str) -> OfferedIncremental:
    return OfferedIncremental(text.partition(" @")[2] or "drop", incremental(text))


def offer(text: str) -> Offer:
    source = next((word[1:] for word in text.split() if word.startswith("@")), "drop")
    return Offer(source, release(text))


def fetchable(text: str) -> Fetchable:
    component, version, *words = text.split()
    signed = False if "unsigned" in words else None
    platform = next((word for word in words if word[0] not in "~@" and word != "unsigned"), "any")
    size = next((int(word[1:]) for word in words if word[0] == "~"), None)
    source = next((word[1:] for word in words if word[0] == "@"), "drop")
    return Fetchable(source, Unfetched(component, version, platform, size, OUT.get(f"{component} {version}")), signed)


def component(name: str, options: dict[str, Any]) -> ComponentSpec:
    options = options or {}
    methods = frozenset(options.get("scan_methods", SCAN_METHODS))
    made = make_component(name, options.get("kind", "pattern"), options.get("scheme", "integer"), scan_methods=methods)
    layout = Layout((InstallTarget("*", options["to"]),)) if "to" in options else Layout()
    version, duplicate = str(options.get("version", "latest")), options.get("duplicate", False)
    min_age = parse_duration(options["min_age"]) if "min_age" in options else None
    return ComponentSpec(
        made,
        version,
        layout=layout,
        duplicate=duplicate,
        codec=options.get("codec", ""),
        behind=options.get("behind", 0),
        min_age=min_age,
        snapshot=options.get("snapshot"),
        blocked=options.get("block", {}),
        loaded=Question("engine --version") if options.get("loads") else None,
    )


def installed(text: str, components: dict[str, ComponentSpec]) -> Installed:
    words = text.lstrip("!").split()
    if text.startswith("!"):
        return Installed(words[0], words[1], "", damage=f"{words[0]} was changed")
    known = components.get(words[0]) or component(words[0], {})
    layout = Layout().fingerprint if "@none" in words else known.layout.fingerprint
    plain = " ".join(word for word in words if word[0] not in "@+~")
    says = next((word[1:] or "exit 1" for word in words if word[0] == "~"), "")
    loaded, unsaid = ("", says) if says == "exit 1" else (says, "")
    kept = tuple((word[1:], release(f"{words[0]} {word[1:]}").digest) for word in words if word.startswith("+"))
    return Installed(words[0], words[1], release(plain).digest, layout=layout, kept=kept, loaded=loaded, unsaid=unsaid)


def cohort(number: Any, entry: Any, components: Any) -> Cohort:
    ((head, has),) = entry.items()
    count, group, *platform = head.split()
    members = tuple(f"{group}-{number}-{n}" for n in range(int(count)))
    if isinstance(has, str):
        word, _, reason = has.partition(" ")
        assert word in {"unknown", "unreachable"}, has
        reason, _, since = reason.partition(", since ")
        return Cohort(group, members, **{word: reason}, since=NOW - parse_duration(since) if since else None)  # type: ignore[arg-type]
    about = has if isinstance(has, dict) else {"has": has}
    assert set(about) <= {"has", "hold", "unmanaged", "tools", "memory", "route", "selected", "settings"}, about
    entries = tuple(sorted(installed(text, components) for text in about["has"]))
    profile = Profile(
        platform[0] if platform else "linux-x86_64",
        entries,
        tools=tuple(about.get("tools", ())),
        unmanaged=tuple(about.get("unmanaged", ())),
        memory=about.get("memory", 0),
    )
    return Cohort(
        group,
        members,
        profile,
        hold=about.get("hold", ""),
        route=about.get("route", "direct"),
        selected=frozenset(about.get("selected", ())),
        settings=about.get("settings", ""),
    )


def withdrawal(text: str) -> Withdrawal:
    component, version, reason = text.partition(" @")[0].split(None, 2)
    return Withdrawal(component, version, reason)


def withdrawals(texts: list[str] | tuple[Any, ...]) -> dict[str, list[Withdrawal]]:
    """Give what sources took back, by source."""
    found: dict[str, Any] = {}
    for text in texts:
        found.setdefault(text.partition(" @")[2] or "vendor", []).append(withdrawal(text))
    return found


def policies(
    case: dict[str, Any], groups: dict[str, GroupSpec], components: dict[str, ComponentSpec]
) -> tuple[dict[tuple[str, ...], AutoUpdate], dict[str, bool | frozenset[str]]]:
    """Give the policy of each group and component."""
    given = case.get("policy", {})
    entries = given if isinstance(given, list) else [given]
    found: dict[str, Any] = {}
    for entry in entries:
        group, _, name = entry.get("of", "* *").partition(" ")
        policy = auto_update(entry)
        found |= {(g, c): policy for g in groups for c in components if group in {g, "*"} and name in {c, "*"}}
    words = {word: any(entry.get(word) for entry in entries) for word in ("forced", "limited")}
    expedited = frozenset(name for entry in entries for name in entry.get("expedited", ()))
    return found, {**words, "expedited": expedited}  # type: ignore[return-value]


def auto_update(entry: dict[str, Any]) -> AutoUpdate:
    def days(part: dict[str, Any]) -> frozenset[int]:
        return frozenset(DAYS.index(day) for day in part.get("days", DAYS))

    schedule = entry.get("schedule")
    if schedule:
        interval = parse_duration(schedule["every"]) if "every" in schedule else None
        spread = parse_duration(schedule["spread"])
        schedule = Schedule(interval, days(schedule), time.fromisoformat(schedule.get("at", "00:00")), spread)
    return AutoUpdate(
        rollout=rollout(entry),
        enabled=entry.get("enabled", True),
        trigger=entry.get("trigger", "download"),
        schedule=schedule,
        windows=tuple(
            Window(time.fromisoformat(part["from"]), time.fromisoformat(part["to"]), days(part))
            for part in entry.get("windows", ())
        ),
        blackouts=tuple(
            Blackout(part["from"], part["to"], part["reason"], spares=frozenset(part.get("except", ())))
            for part in entry.get("blackouts", ())
        ),
        early=entry.get("stage") == "early",
    )


def rollout(entry: dict[str, Any]) -> Rollout:
    """Give the rollout of a policy: one wave of all, unless it says more."""
    given = entry.get("rollout")
    if given is None:
        return Rollout(waves=(Wave(share=1.0, limits=Limits(min_attempted=1)),))
    if given == "default":
        return Rollout()

    def limits(part: dict[str, Any]) -> Limits:
        return Limits(*(part.get(name) for name in Limits.__slots__))

    waves = tuple(
        Wave(
            select=part.get("select", ""),
            share=part["share"] / 100 if "share" in part else None,
            count=part.get("count"),
            soak=parse_duration(part.get("soak", "0s")),
            at_once=part.get("at_once", 0),
            approve=part.get("approve", False),
            limits=limits(part),
        )
        for part in given["waves"]
    )
    more = {
        name: given[name] for name in ("scope", "newer", "on_failure", "rollback_scope", "recheck") if name in given
    }
    if "wait_loaded" in given:
        more["wait_loaded"] = parse_duration(given["wait_loaded"])
    gates = tuple(Gate("command", f'{{"run": "{run}"}}') for run in given.get("gates", ()))
    return Rollout(waves=waves, limits=limits(given).over(DEFAULT_LIMITS), gates=gates, **more)


def rollouts(case: Any, cohorts: Any, found: Any) -> Any:
    """Give the rollouts that the state remembers, cut for the clients of the case."""
    records = {}
    for name, given in case.get("rollouts", {}).items():
        component, version, *group = name.split()
        policy = next(p for (g, c), p in found.items() if c == component and (not group or g == group[0]))
        waves = policy.rollout.waves
        among = [at for at, entry in enumerate(cohorts) if not group or entry.group == group[0]]
        cuts, sizes = Lineup(cohorts).cut(waves, among)
        times = {word: NOW - parse_duration(given[word]) for word in ("opened", "passed") if word in given}
        fields = {
            word: given[word] for word in ("status", "reason", "undo", "cleared", "first", "wave") if word in given
        }
        approved = tuple(Approval(wave, "alice", NOW) for wave in given.get("approved", ()))
        opened = times.pop("opened", NOW)
        record = RolloutRecord(
            component=component, version=version, group="".join(group),
            status=fields.pop("status", "running"), cuts=cuts, sizes=sizes,
            structure=structure(waves), started=opened, opened=opened, approved=approved, **times, **fields,  # type: ignore[arg-type]
        )  # fmt: skip
        records[record.key] = record
    return records


def failures(
    case: Any,
    records: Any,
    key: Any = "failures",
    message: Any = "check detects failed",
) -> Any:
    found = {}
    for name, clients in case.get(key, {}).items():
        component, version, *group = name.split()
        found[component, version, "".join(group)] = dict.fromkeys(clients, message)
    assert set(found) <= set(records)
    return found


def published(case: dict[str, Any]) -> Published | None:
    """Give what the repository has; None where there is none."""
    if "repository" not in case:
        return None
    texts = case.get("published", ())
    return Published(
        ready=True,
        releases=tuple(release(text) for text in texts if ".." not in text and not text.endswith(" withdrawn")),
        incrementals=tuple(incremental(text) for text in texts if ".." in text),
        withdrawn=tuple(withdrawal(text.removesuffix(" withdrawn")) for text in texts if text.endswith(" withdrawn")),
        renew=case.get("renew", ""),
    )


def before(case: dict[str, Any]) -> Before | None:
    """Give what was managed when the spec was applied last; None where it never was."""
    if "before" not in case:
        return None
    given = case["before"]
    listed = frozenset(given["components"]) if "components" in given else None
    return Before(listed, given["groups"])


def repository(case: dict[str, Any]) -> RepositorySpec | None:
    """Give what the spec says of the repository."""
    if "repository" not in case:
        return None
    given = case["repository"]
    withdrawn = tuple(map(withdrawal, given.get("withdraw", ())))
    key = SecretRef("env", "KEY")
    return RepositorySpec(Path("publish"), given["publish"], (key,), 1, key, {}, withdrawn)


def where(step: RolloutStep) -> str:
    record = step.record
    mark = ">" if step.new else "="
    name = " ".join(filter(None, (record.component, record.version, record.group)))
    sizes = " + ".join(map(str, record.sizes))
    batch = f", {step.at_once} at once" if step.at_once else ""
    stuck = ", stuck" if step.stuck else ""
    return f"{name} {mark} {step.says}{stuck}, {sizes} clients{batch}"


def rows_of_each(kind: Kind, plan: Plan) -> list[Row]:
    """Give the rows of a kind; changes of clients one by one, which share rows otherwise."""
    changes = kind.of(plan_document(plan))
    apart = [[change] for change in changes] if issubclass(kind.change, FleetChange) else [changes]
    return [row for some in apart for row in kind.rows(some, {})]


def shown(plan: Plan, *, waves: bool = False) -> dict[str, list[str]]:
    """Give a plan in the words of a case, or of its rows for a kind that has none here; `waves` adds its rollouts."""
    findings = {
        kind: [
            " ".join(filter(None, (str(f.clients), f.group, f.component, f.version, f.reason)))
            for f in getattr(plan, kind)
        ]
        for kind in FINDINGS
    }
    platform = {"any": ""}
    listed = {
        "downloads": [
            f"{d.component} {d.previous or '-'} -> {d.to}{platform.get(d.platform, ' ' + d.platform)} {d.reason}"
            + (f" @{d.source}" if d.source != "drop" else "")
            + (f" {d.route}" if d.route != "direct" else "")
            if d.kind == "full"
            else f"{d.component} {d.previous}..{d.to}/{d.kind} {d.bytes}, {d.reason}"
            + (f" @{d.source}" if d.source != "drop" else "")
            for d in plan.downloads
        ],
        "fetches": [
            f"{f.component} {f.previous or '-'} -> {f.to}{platform.get(f.platform, ' ' + f.platform)} {f.reason}"
            f" {'?' if f.bytes is None else f.bytes}"
            + (f" @{f.source}" if f.source != "drop" else "")
            + (f" {f.route}" if f.route != "direct" else "")
            + (" unsigned" if f.signed is False else "")
            for f in plan.fetches
        ],
        "merges": [f"{m.component} {m.previous} -> {m.to} by {' '.join(m.path)}" for m in plan.merges],
        "generates": [f"{g.component} {g.previous}..{g.to}/{g.codec} level {g.level}" for g in plan.generates],
        "prunes": [
            f"{p.component} {p.to} full" if p.kind == "full" else f"{p.component} {p.previous}..{p.to}/{p.kind}"
            for p in plan.prunes
        ],
        "deploys": [
            f"{d.clients} {d.group} {d.component} {d.from_version or '-'} -> {d.to}"
            f"{platform.get(d.platform, ' ' + d.platform)} {d.reason}{' downgrade' if d.downgrade else ''}"
            + (f" sends {'about' if d.estimated else d.bytes}" if d.bytes != d.bytes_full else "")
            + (f" by {' '.join(d.path)}" if d.path else "")
            + (f" full: {d.why_full}" if d.why_full else "")
            + (f" {d.route}" if d.route != "direct" else "")
            + (" early" if d.early else "")
            + (" held" if d.held else "")
            for d in plan.deploys
        ],
        "publishes": [
            f"{' '.join(filter(None, (p.component, p.to, p.kind)))}: {p.reason}".strip() for p in plan.publishes
        ],
        **findings,
        "rollouts": [where(step) for step in plan.rollouts] if waves else [],
        "proofs": [
            f"{p.component} {p.version} {p.kind} {f'of {p.clients}' if p.kind == 'recheck' else p.number + 1}"
            for p in plan.proofs
        ],
        "settings": [f"{s.clients} {s.group} {s.reason}" for s in plan.settings],
        "problems": list(plan.problems),
        "notes": list(plan.notes),
        "gone": list(plan.gone),
        "leaving": [
            f"{one.clients} {one.group} {one.component or '-'} {one.reason}{' now' if one.now else ''}"
            for one in plan.leaving
        ],
    }
    rows = {
        kind.change.place: [" ".join(row.cells[1:]) for row in rows_of_each(kind, plan)]
        for kind in TABLE
        if kind.change.place not in listed
    }
    return {key: value for key, value in (listed | rows).items() if value}


def summary(plan: Plan) -> dict[str, Any]:
    """Give a plan's summary in the words of a case, from its document; actions without changes are left out."""
    numbers = plan_document(plan)["summary"]
    counts = {action: numbers[action] for action in numbers if action not in {*FINDINGS, "saved"}}
    listed = {
        action: " ".join(str(count[key]) for key in ("changes", "clients", "bytes") if key != "clients" or count[key])
        for action, count in counts.items()
        if count["changes"]
    }
    return listed | {kind: numbers[kind] for kind in FINDINGS if numbers.get(kind)}


def recounted(plan: Any) -> dict[str, Any]:
    """Give the same from the plan's changes and members alone."""
    listed = {}
    for kind in KINDS:
        changes = plan.of(kind)
        names = {name for change in changes for cohort in cohorts_of(change) for name in plan.members[cohort]}
        sent = sum((getattr(change, "bytes", 0) or 0) * getattr(change, "clients", 1) for change in changes)
        if changes:
            listed[kind.action] = " ".join(map(str, (len(changes), *([len(names)] if names else []), sent)))
    for kind in FINDINGS:  # type: ignore[assignment]
        names = {name for entry in getattr(plan, kind) for cohort in entry.members for name in plan.members[cohort]}  # type: ignore[call-overload]
        if names:
            listed[kind] = len(names)  # type: ignore[assignment]
    return listed


def cohorts_of(change: Any) -> tuple[str, ...]:
    return getattr(change, "members", ())


@pytest.mark.parametrize(
    "case", [case for _file, case in CASES], ids=[f"{file}: {case['name']}" for file, case in CASES]
)
def test_case(case: Any) -> None:
    assert set(case) <= KEYS, set(case) - KEYS
    SIZES.clear()
    SIZES.update({id_: options["size"] for id_, options in case["components"].items() if options and "size" in options})
    OUT.clear()
    OUT.update(case.get("out", {}))
    components = {name: component(name, options) for name, options in case["components"].items()}
    groups = {
        name: GroupSpec(name, PluginConfig("transport", "local"), "/r", method)
        for name, method in case.get("groups", {"g": None}).items()
    }
    policy, words = policies(case, groups, components)
    cohorts = [cohort(at, entry, components) for at, entry in enumerate(case.get("clients", ()))]
    records = rollouts(case, cohorts, policy)
    observed = Observed(
        rollouts=records,
        failures=failures(case, records),
        troubles=failures(case, records, "troubles", "not enough disk"),
        basis=Basis("lineage", 1, 0, "s", "c"),
        held=[release(text) for text in case.get("held", ())],
        offers=[offer(text) for text in case.get("offers", ())],
        cohorts=cohorts,
        gone=case.get("gone", ()),
        freeze=case.get("freeze", ""),
        incrementals=[incremental(text) for text in case.get("incrementals", ())],
        samples=dict(sample(text, share) for text, share in case.get("samples", {}).items()),
        memory=parse_size(case.get("server_memory", "0B")),
        offered=[offered(text) for text in case.get("offered", ())],
        codecs={traits.name: traits for traits in (Zstd.traits, Bsdiff.traits, Gzip.traits)},
        withdrawn=withdrawals(case.get("withdrawn", ())),
        source_routes=case.get("ways", {}),
        published=published(case),
        first_seen={tuple(name.split()): at for name, at in case.get("seen", {}).items()},
        past=past(case),
        back={name: NOW - parse_duration(ago) for name, ago in case.get("back", {}).items()},
        unfetched=[fetchable(text) for text in case.get("unfetched", ())],
    )
    managed = {name: wanted for name, wanted in components.items() if name in case.get("target", components)}
    given = case.get("duplication", {})
    duplication = Duplication(**{**given, "codecs": tuple(given.get("codecs", Duplication().codecs))})
    wanted = Wanted(
        managed,
        groups,
        partial="target" in case,
        duplication=duplication,
        repository=repository(case),
        policies=policy,  # type: ignore[arg-type]
        **words,  # type: ignore[arg-type]
    )
    plan = make_plan(wanted, observed, plan_id="p", now=NOW)
    left, count = leaving(wanted, observed, before(case), case.get("left"), case.get("moved"))
    plan = replace(plan, leaving=left, leaving_clients=count)
    given = case.get("policy", {})
    waves = any("rollout" in entry for entry in (given if isinstance(given, list) else [given]))
    assert shown(plan, waves=waves) == case["plan"]
    assert summary(plan) == recounted(plan)
    assert summary(plan) == case.get("summary", recounted(plan))
    assert plan.partial == ("target" in case)
    assert plan.leaving_clients == case.get("leaving_clients", 0)
    assert plan.empty == (not any(case["plan"].get(kind.place) for kind in KINDS))
