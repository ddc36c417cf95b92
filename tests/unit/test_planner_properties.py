"""What holds of every plan, whatever the spec, the catalog, the fleet and how far its rollouts are."""

import json
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Installed, Profile
from reconciler.model.delta import Duplication, Incremental, Kept, Patch
from reconciler.model.deploy import InstallTarget, Layout
from reconciler.model.offer import Offer, OfferedIncremental, Withdrawal
from reconciler.model.plan import Basis, Cohort
from reconciler.model.policy import AutoUpdate, Gate, Limits, Rollout, Wave
from reconciler.model.rollout import STATUSES, UNDER_WAY, UNFIT, Approval, RolloutRecord, position
from reconciler.model.spec import LATEST, ComponentSpec, GroupSpec, Hold, PluginConfig
from reconciler.observe.cohorts import Marks, Selection, gather_cohorts
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.planner import make_plan
from reconciler.planner.waves import Lineup, structure
from reconciler.present.document import plan_document
from reconciler.storage.state import Identity
from tests.fakes import CODECS, NOW, make_component, make_release

IDS = ("rules", "engine", "driver")
PLATFORMS = ("linux-x86_64", "linux-aarch64")
METHODS = ("smart", "conventional")
HOUR = timedelta(hours=1)
YESTERDAY = NOW - timedelta(days=1)
SEEN = {(name, "1"): YESTERDAY for name in IDS}
ROUTES = ["direct", "direct", "via bridge", "unreachable: no way"]
IDENTITY = Identity("mine", 1, 0, frozen=False)
BASIS = Basis("mine", 1, 0, "s", "c")
LAYOUT = Layout((InstallTarget("*", "/opt/scanner"),))
TRAITS = {name: codec.traits for name, codec in CODECS.items()}
AT_ONCE = AutoUpdate(rollout=Rollout(waves=(Wave(share=1.0, limits=Limits(min_attempted=1)),)))
CANARY = "label=canary"
GOVERNED = {"missing", "outdated", "pinned", "blocked", "withdrawn"}
STOPPED = r"halted|aborted|paused|blocked|waits for approval|hold|min_age|auto_update is off"
"""Why a client needn't have what it should have, however long one waits."""

versions = st.integers(1, 4).map(str)
releases = st.builds(
    lambda component, version, platform, odd: make_release(
        component, version, {"data": f"{version}{platform}{odd}".encode() * 5000, "same": b"same"}, platform
    ),
    st.sampled_from(IDS), versions, st.sampled_from(["any", *PLATFORMS]), st.sampled_from(["", "", "odd"]),
)  # fmt: skip
installed = st.builds(
    lambda component, release, damaged, layout, kept: Installed(
        component,
        release.version,
        "" if damaged else release.digest,
        "",
        layout.fingerprint,
        "x" if damaged else "",
        kept=((kept.version, kept.digest),) if kept and kept.version != release.version else (),
    ),
    st.sampled_from(IDS), releases, st.sampled_from([False, False, True]), st.sampled_from([Layout(), LAYOUT]),
    st.none() | releases,
)  # fmt: skip
profiles = st.builds(
    lambda entries, platform, tools, memory: Profile(
        platform, tuple(sorted({entry.component: entry for entry in entries}.values())), tools, memory=memory
    ),
    st.lists(installed, max_size=3), st.sampled_from(PLATFORMS),
    st.sampled_from([(), ("zstd",), ("bspatch",), ("bspatch", "zstd")]), st.sampled_from([0, 16, 2048]),
)  # fmt: skip
some = st.none() | st.integers(0, 2)
percents = st.sampled_from([None, 0.0, 40.0, 100.0])
limits = st.builds(Limits, some, some, percents, percents)
waves = st.lists(
    st.builds(
        lambda who, soak, approve, own, at_once: Wave(
            **who, soak=soak, approve=approve, limits=own, apart="count" in who, at_once=at_once
        ),
        st.sampled_from([{"select": CANARY}, {"share": 0.3}, {"share": 0.6}, {"count": 1}, {"count": 3}]),
        st.sampled_from([timedelta(), HOUR]), st.sampled_from([False, False, False, True]),
        st.just(Limits()) | limits, st.integers(0, 2),
    ),
    max_size=2,
).map(lambda first: (*first, Wave(share=1.0)))  # fmt: skip
rollouts = st.builds(
    Rollout, st.sampled_from(["fleet", "group"]), waves, limits, st.sampled_from([(), (Gate("command", "{}"),)]),
    st.booleans(), st.sampled_from(["queue", "supersede", "finish"]), st.sampled_from(["halt", "rollback"]),
    st.sampled_from(["client", "wave", "all"]),
)  # fmt: skip


@dataclass(frozen=True)
class Situation:
    """A spec's wishes, and a fleet as the state's rows and profiles, with what is held, offered and under way."""

    wanted: Wanted
    rows: list
    seen: dict
    holds: tuple
    held: list
    offers: list
    incrementals: list
    offered: list
    withdrawn: dict
    records: dict = field(default_factory=dict)
    failures: dict = field(default_factory=dict)
    limit: str = ""
    now: datetime = NOW

    def gather(self):
        """Give the cohorts that are chosen, and the others."""
        marks, choice = Marks(self.holds, [CANARY]), Selection.parse(self.limit, ())
        return gather_cohorts(self.rows, self.seen, choice=choice, marks=marks, identity=IDENTITY, now=self.now)

    def plan(self, *, freeze="", cohorts=None):
        chosen, others = cohorts or self.gather()
        facts = Observed(
            BASIS,
            self.held,
            self.offers,
            (),
            chosen,
            (),
            freeze,
            self.incrementals,
            self.offered,
            TRAITS,
            withdrawn=self.withdrawn,
            first_seen=SEEN,
            others=others,
            rollouts=self.records,
            failures=self.failures,
        )
        wanted = replace(self.wanted, limited=bool(self.limit), partial=bool(self.limit))
        return make_plan(wanted, facts, plan_id="p", now=self.now)


@st.composite
def wanteds(draw, *, in_waves):
    """Give what a spec wants: components, pinned or not, for some scan methods; one to three groups; policies."""
    components = {}
    for name in draw(st.lists(st.sampled_from(IDS), unique=True, min_size=1)):
        methods = frozenset(draw(st.sets(st.sampled_from(METHODS), min_size=1)))
        component = make_component(name, "pattern" if name == "rules" else "engine", scan_methods=methods)
        version, layout = draw(st.just(LATEST) | versions), draw(st.sampled_from([Layout(), LAYOUT]))
        components[name] = ComponentSpec(
            component,
            version,
            layout,
            duplicate=draw(st.booleans()),
            behind=draw(st.sampled_from([0, 0, 1, 2])),
            blocked=draw(st.dictionaries(versions, st.just("bad"), max_size=1)),
            min_age=draw(st.sampled_from([None, None, timedelta(hours=1)])),
        )
    groups = {
        name: GroupSpec(name, PluginConfig("transport", "local"), "/r", draw(st.none() | st.sampled_from(METHODS)))
        for name in draw(st.lists(st.sampled_from("abc"), unique=True, min_size=1))
    }
    policy = Duplication(
        enabled=draw(st.sampled_from([True, True, False])),
        incrementals=draw(st.integers(0, 4)),
        keep_fulls=draw(st.integers(1, 4)),
    )
    policies = dict.fromkeys(product(groups, components), AT_ONCE)
    expedited = frozenset()
    if in_waves:
        policies = {}
        for name in components:
            rollout = draw(rollouts)
            for group in groups:  # a rollout through the fleet is the same for all groups, but for limits
                own = draw(rollouts) if rollout.scope == "group" else rollout
                own = replace(own, scope=rollout.scope, limits=draw(st.just(own.limits) | limits))
                policies[group, name] = AutoUpdate(draw(st.sampled_from([True, True, True, False])), rollout=own)
        expedited = frozenset(draw(st.sets(st.sampled_from(sorted(components)), max_size=1)))
    return Wanted(components, groups, duplication=policy, policies=policies, expedited=expedited)


def unique(listed):
    """Give each release once, as the store and the merged offers of sources do."""
    return list({(entry.component, entry.version, entry.platform): entry for entry in listed}.values())


@st.composite
def situations(draw, *, in_waves=True):
    """Give a situation; without `in_waves` all policies have one wave, and nothing is under way."""
    wanted = draw(wanteds(in_waves=in_waves))
    seen = {profile.fingerprint: profile for profile in draw(st.lists(profiles, min_size=1, max_size=4))}
    groups, prints = st.sampled_from(sorted(wanted.groups)), st.sampled_from(sorted(seen))
    rows = []
    for at, error in enumerate(draw(st.lists(st.sampled_from(["", "", "", "no connection: 1"]), max_size=8))):
        since = draw(st.sampled_from([YESTERDAY, NOW - HOUR / 2])).timestamp() if error else None
        labels = draw(st.sampled_from(["[]", "[]", '["canary"]'])) if in_waves else "[]"
        known = f"pc-{at}", draw(groups), labels, draw(prints), error, draw(st.sampled_from(ROUTES))
        rows.append((*known, since, None, ""))
    holds = (Hold("pc-1,pc-3", "INC-1"),) if draw(st.booleans()) else ()
    held = unique(draw(st.lists(releases, max_size=4)))
    offers = [Offer("drop", release) for release in unique(draw(st.lists(releases, max_size=4)))]
    ends = unique([*held, *(offer.release for offer in offers)])
    kept = draw(st.lists(st.booleans(), min_size=len(ends) ** 2, max_size=len(ends) ** 2))
    incrementals = [
        incremental(before, after)
        for (before, after), there in zip(product(ends, ends), kept, strict=True)
        if there
        and (before.component, before.platform) == (after.component, after.platform)
        and int(before.version) < int(after.version)
    ]
    here = [
        entry for entry in incrementals if int(entry.to_version) % 2 and entry.to_digest in {r.digest for r in held}
    ]
    offered = [OfferedIncremental("drop", entry) for entry in incrementals]
    taken_back = draw(
        st.lists(st.tuples(st.sampled_from(sorted(wanted.components)), versions), max_size=2, unique=True)
    )
    withdrawn = {"drop": [Withdrawal(component, version, "bad") for component, version in taken_back]}
    made = Situation(wanted, rows, seen, holds, held, offers, here, offered, withdrawn)
    if not in_waves:
        return made
    records = draw(records_of(made))
    names = st.sampled_from([row[0] for row in rows]) if rows else st.nothing()
    failures = {
        key: dict.fromkeys(draw(st.lists(names, max_size=2, unique=True)), "it failed")
        for key, record in records.items()
        if rows and record.status in UNDER_WAY | {"halted"}
    }
    return replace(made, records=records, failures=failures, limit=draw(st.sampled_from(["", "", "", "a", "!pc-0"])))


@st.composite
def records_of(draw, situation):
    """Give rollouts that the state might remember: of some versions, in some wave, in some status."""
    chosen, others = situation.gather()
    cohorts, wanted, records = [*chosen, *others], situation.wanted, {}
    for name, version in draw(
        st.lists(st.tuples(st.sampled_from(sorted(wanted.components)), versions), max_size=3, unique=True)
    ):
        by_group = wanted.policy(next(iter(wanted.groups)), name).rollout.scope == "group"
        for group in wanted.groups if by_group else [""]:
            policy = wanted.policy(group or next(iter(wanted.groups)), name).rollout
            other = draw(st.sampled_from([False, False, False, True]))  # as if the spec's waves had been others
            planned = (Wave(share=0.5), Wave(share=1.0)) if other else policy.waves
            among = [at for at, cohort in enumerate(cohorts) if group in {"", cohort.group}]
            cuts, sizes = Lineup(cohorts).cut(planned, among)
            status = draw(st.sampled_from([*STATUSES, "running", "running"]))
            passed = draw(st.sampled_from([None, NOW - HOUR / 2]))
            record = RolloutRecord(
                name,
                version,
                group,
                status,
                cuts,
                sizes,
                structure(planned),
                YESTERDAY,
                draw(st.sampled_from([YESTERDAY, NOW - HOUR])),
                wave=len(cuts) if status == "done" else draw(st.integers(1, len(cuts))),
                passed=passed,
                cleared=passed is not None and draw(st.booleans()),
                first=draw(st.booleans()),
                reason=status,
                undo=draw(st.sampled_from(["", "wave", "all"])) if status in UNFIT else "",
                approved=tuple(Approval(wave, "eva", NOW) for wave in draw(st.sets(st.integers(1, 3)))),
            )
            records[record.key] = record
    return records


def incremental(before, after, codec="zstd", size=700):
    """Make an incremental, as if it were there."""
    patch = Patch("data", size, "0" * 64, codec, "data" if before else "", after.files[0].size)
    start = (before.version, before.digest) if before else ("", "")
    kept = (Kept("same", "same"),) if before else ()
    return Incremental(after.component, after.platform, *start, after.version, after.digest, codec, (patch,), kept)


def members(plan, entry):
    return [name for cohort in entry.members for name in plan.members[cohort]]


def key(entry):
    return entry.component, entry.platform, entry.name


def full_key(prune):
    return prune.component, prune.to_digest, prune.platform


# --- carrying out ---------------------------------------------------------------------------------------------------


def carried_out(situation, plan):
    """Give the situation after a plan was carried out without a fault; what is made gets sizes that weren't guessed."""
    held = carried_into_store(situation, plan)
    now = {row[0]: situation.seen[row[3]] for row in situation.rows}
    failures = {key_: dict(names) for key_, names in situation.failures.items()}
    records = dict(situation.records)
    for step in plan.rollouts:
        records[step.record.key] = step.record
        if step.record.status not in UNDER_WAY | {"halted"}:
            failures.pop(step.record.key, None)
    for proof in plan.proofs:
        key_ = proof.component, proof.version, proof.group
        records[key_] = replace(records[key_], cleared=True)
    for change in plan.deploys:
        layout = situation.wanted.components[change.component].layout.fingerprint
        for name in members(plan, change):
            entries = {**now[name].by_component}
            before = entries.get(change.component)
            there = (before.version, before.digest) if before else ("", "")
            assert there == (change.from_version, change.from_digest)
            entries[change.component] = Installed(
                change.component, change.to, change.to_digest, change.from_version, layout
            )
            now[name] = replace(now[name], installed=tuple(sorted(entries.values())))
            for group in ("", change.group):
                failures.get((change.component, change.to, group), {}).pop(name, None)
    rows = [
        (name, group, labels, now[name].fingerprint, *rest) for name, group, labels, _print, *rest in situation.rows
    ]
    seen = {profile.fingerprint: profile for profile in now.values()}
    return replace(held, rows=rows, seen=seen, records=records, failures=failures)


def carried_into_store(situation, plan):
    """Give the situation once the store has all that a plan brings, makes and lets go of."""
    fetched = {(change.component, change.to_digest, change.platform) for change in plan.arriving}
    arrived = [
        offer.release
        for offer in situation.offers
        if (offer.release.component, offer.release.digest, offer.release.platform) in fetched
    ]
    of_versions = {(release.component, release.version, release.platform) for release in arrived}
    held = [
        release
        for release in situation.held
        if (release.component, release.version, release.platform) not in of_versions  # other bytes than nobody got
    ] + arrived
    names = {(c.component, c.platform, f"{c.previous}..{c.to}/{c.kind}") for c in plan.downloads}
    taken = [entry.incremental for entry in situation.offered if key(entry.incremental) in names]
    assert len(taken) == sum(1 for change in plan.downloads if change.kind != "full")
    known = {key(entry): entry for entry in (*situation.incrementals, *taken)}
    for merge in plan.merges:
        path = [known[merge.component, merge.platform, name] for name in merge.path]
        assert merge.from_digest in {release.digest for release in held}
        assert (path[0].from_digest, path[-1].to_digest) == (merge.from_digest, merge.to_digest)
        assert all(one.to_digest == two.from_digest for one, two in pairwise(path))
    for at, order in enumerate(plan.generates):
        found = [
            [r for r in held if (r.component, r.digest, r.platform) == (order.component, digest, order.platform)]
            for digest in (order.from_digest, order.to_digest)
        ]
        assert found[1]
        assert found[0] or not order.from_digest
        made = incremental(found[0][0] if found[0] else None, found[1][0], order.codec, 100 + at * 3000)
        known[key(made)] = made
    for prune in plan.prunes:
        if prune.kind == "full":
            (gone,) = [r for r in held if (r.component, r.digest, r.platform) == full_key(prune)]
            held = [release for release in held if release is not gone]
        else:
            del known[prune.component, prune.platform, f"{prune.previous}..{prune.to}/{prune.kind}"]
    return replace(situation, held=held, incrementals=list(known.values()))


def converged(situation):
    """Take all steps, and let time pass where only that is waited for; give the end and the plan there."""
    for _ in range(80):
        plan = situation.plan()
        if plan.empty and not plan.moves:
            if plan.next_step_at is None:
                return situation, plan
            assert plan.next_step_at > situation.now
            situation = replace(situation, now=plan.next_step_at)
            continue
        situation = carried_out(situation, plan)
    raise AssertionError(f"it never ends: {plan}")


@given(situations(in_waves=False))
@settings(max_examples=120, deadline=None)
def test_after_a_plan_was_carried_out_nothing_is_left_to_do(situation):
    first = situation.plan()
    after = carried_out(situation, first)
    assert after.plan().empty
    _after, last = converged(after)
    assert [finding.clients for finding in last.unknown] == [finding.clients for finding in first.unknown]
    assert sum(finding.clients for finding in last.held) == sum(finding.clients for finding in first.held)


@given(situations())
@settings(max_examples=150, deadline=None)
def test_in_the_end_everyone_who_answers_has_it_or_is_told_what_stopped_it(situation):
    whole = replace(situation, limit="")
    end, last = converged(whole)
    wanted = replace(end.wanted, policies=dict.fromkeys(end.wanted.policies, AT_ONCE))
    lacking = replace(end, wanted=wanted, records={}, failures={}).plan()
    stops = {
        (name, finding.component): finding.reason
        for finding in (*last.held, *last.deferred)
        for name in members(last, finding)
        if re.search(STOPPED, finding.reason)
    }
    unfit = {key_[:2] for key_, record in end.records.items() if record.status in UNFIT}
    for change in lacking.deploys:
        if change.reason not in GOVERNED and (change.component, change.to) in unfit:
            continue  # nobody is given a halted release, not even to repair it
        for name in members(lacking, change):
            assert (name, change.component) in stops, (change, name)
    for record in end.records.values():
        if record.status == "running" and record.wave == len(record.cuts) and record.passed is not None:
            raise AssertionError(f"{record} is through, and not done")


# --- one plan -------------------------------------------------------------------------------------------------------


@given(situations(), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_the_order_of_what_is_known_makes_no_difference_to_a_byte(situation, random):
    def mixed(known):
        listed = list(known.items() if isinstance(known, dict) else known)
        random.shuffle(listed)
        return dict(listed) if isinstance(known, dict) else listed

    wanted, names = situation.wanted, ("rows", "seen", "held", "incrementals", "offered", "records", "failures")
    shuffled = replace(
        situation,
        wanted=replace(wanted, groups=mixed(wanted.groups), policies=mixed(wanted.policies)),
        **{name: mixed(getattr(situation, name)) for name in names},
    )
    assert json.dumps(plan_document(shuffled.plan())) == json.dumps(plan_document(situation.plan()))


@given(situations(), st.sampled_from(["", "adopted"]))
@settings(max_examples=100, deadline=None)
def test_a_client_gets_each_component_at_most_once_and_every_number_adds_up(situation, freeze):
    plan = situation.plan(freeze=freeze)
    given_ = [(name, change.component) for change in plan.deploys for name in members(plan, change)]
    assert len(given_) == len(set(given_))
    findings = (*plan.held, *plan.unknown, *plan.drift, *plan.unreachable, *plan.deferred)
    for entry in (*plan.deploys, *findings):
        assert entry.clients == len(members(plan, entry)) > 0
    choice = Selection.parse(situation.limit, ())
    rows = [row for row in situation.rows if choice.takes(row[0], row[1], json.loads(row[2]))]
    assert sum(plan.clients.values()) == len(rows)
    unknown = {name for finding in plan.unknown for name in members(plan, finding)}
    cut_off = {name for finding in plan.unreachable for name in members(plan, finding)}
    assert cut_off == {row[0] for row in rows if row[5].startswith("unreachable")}
    assert unknown == {row[0] for row in rows if row[4]} - cut_off
    assert not (unknown | cut_off) & {name for name, _component in given_}
    ways = {row[0]: row[5] for row in rows}
    assert all(ways[name] == change.route for change in plan.deploys for name in members(plan, change))
    used = {cohort for entry in (*plan.deploys, *findings, *plan.proofs) for cohort in entry.members}
    assert used == set(plan.members)
    assert all(0 <= change.bytes <= change.bytes_full for change in plan.deploys)
    assert all(proof.clients == len(set(members(plan, proof))) for proof in plan.proofs)


@given(situations())
@settings(max_examples=150, deadline=None)
def test_nobody_gets_a_release_before_the_wave_that_it_is_in(situation):
    plan = situation.plan()
    labelled = {row[0] for row in situation.rows if "canary" in row[2]}
    steps = {step.record.key: step.record for step in plan.rollouts}

    def wave_of(name, record):
        """Give the first wave that takes a client; 99 where none does."""
        for wave, cut in enumerate(record.cuts, 1):
            if (cut.select and name in labelled) or position(name) <= cut.upto or name in cut.names:
                return wave
        return 99

    for change in plan.deploys:
        scope = situation.wanted.policy(change.group, change.component).rollout.scope
        key_ = change.component, change.to, change.group if scope == "group" else ""
        away = change.downgrade and change.reason in {"blocked", "withdrawn"}
        if change.reason not in GOVERNED or away:
            continue
        known = situation.records.get(key_)
        record = steps.get(key_, known)
        assert record is not None, change
        if record.status == "done":
            continue
        assert record.status == "running"
        ahead = change.reason == "missing" and record.passed is not None and record.wave
        for name in members(plan, change):
            assert wave_of(name, record) <= record.wave + bool(ahead), (change, name)


@given(situations())
@settings(max_examples=150, deadline=None)
def test_what_was_halted_goes_to_nobody_and_back_only_from_whom_it_is_taken(situation):
    plan = situation.plan()
    stopped = {key_[:2] for key_, record in situation.records.items() if record.status in UNFIT}
    undone = {key_[:2] for key_, record in situation.records.items() if record.status in UNFIT and record.undo}
    paused = {key_ for key_, record in situation.records.items() if record.status == "paused"}
    for change in plan.deploys:
        assert (change.component, change.to) not in stopped
        if change.reason == "rolled_back":
            assert (change.component, change.from_version) in undone
    for step in plan.rollouts:
        goes_on = step.record.status == "running" and step.new and step.record.wave
        assert not (goes_on and step.record.key in paused and step.record.key[:2] not in stopped)


@given(situations())
@settings(max_examples=80, deadline=None)
def test_nothing_goes_down_but_by_a_pin_a_block_or_a_withdrawal_and_nothing_to_what_is_refused(situation):
    wanted = situation.wanted
    undone = {key_[:2] for key_, record in situation.records.items() if record.undo}
    for change in situation.plan().deploys:
        scheme = wanted.components[change.component].component.scheme
        down = bool(change.from_version) and scheme.parse(change.from_version) > scheme.parse(change.to)
        assert change.downgrade == down
        taken_back = {(entry.component, entry.version) for entry in situation.withdrawn["drop"]}
        taken_back |= {(name, version) for name, spec in wanted.components.items() for version in spec.blocked}
        pinned = wanted.components[change.component].version == change.to
        assert not down or pinned or (change.component, change.from_version) in taken_back | undone
        assert (change.component, change.to) not in taken_back


@given(situations())
@settings(max_examples=80, deadline=None)
def test_each_deploy_sends_what_is_held_or_downloaded_first_and_fits_the_client(situation):
    plan = situation.plan()
    there = {release.digest for release in situation.held} | {change.to_digest for change in plan.arriving}
    made = {
        (order.component, order.platform, f"{order.previous}..{order.to}/{order.codec}") for order in plan.generates
    }
    made |= {(c.component, c.platform, f"{c.previous}..{c.to}/{c.kind}") for c in plan.downloads}
    made |= {key(entry) for entry in situation.incrementals}
    profile_of = {row[0]: situation.seen[row[3]] for row in situation.rows}
    on_hold = {"pc-1", "pc-3"} if situation.holds else set()
    for change in plan.deploys:
        assert change.to_digest in there
        assert all((change.component, change.platform, name) in made for name in change.path)
        for name in members(plan, change):
            assert change.platform in {"any", profile_of[name].platform}
            assert name not in on_hold
            assert (
                not change.held or (change.to, change.to_digest) in profile_of[name].by_component[change.component].kept
            )


@given(situations())
@settings(max_examples=60, deadline=None)
def test_while_upgrades_are_frozen_only_first_installs_go_out(situation):
    frozen, free = situation.plan(freeze="adopted"), situation.plan()
    assert {change.reason for change in frozen.deploys} <= {"missing"}
    assert [c for c in frozen.deploys if c.reason == "missing"] == [c for c in free.deploys if c.reason == "missing"]
    assert frozen.arriving == free.arriving


@given(situations())
@settings(max_examples=80, deadline=None)
def test_splitting_a_cohort_changes_no_change(situation):
    whole = situation.gather()
    split = tuple([replace(cohort, members=(name,)) for cohort in part for name in cohort.members] for part in whole)

    def numbers(cohorts: tuple[list[Cohort], ...]):
        made = situation.plan(cohorts=cohorts)
        return [(*_plain(change), sorted(members(made, change))) for change in made.deploys], made.rollouts

    assert numbers(split) == numbers(whole)


def _plain(change):
    return change.component, change.group, change.from_version, change.to_digest, change.reason, change.clients
