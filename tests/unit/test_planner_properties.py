"""What holds of every plan, whatever the spec, the catalog and the fleet."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Installed, InstallTarget, Layout, Profile
from reconciler.model.delta import Duplication, Incremental, Kept, Patch
from reconciler.model.plan import Basis, Cohort
from reconciler.model.release import Offer, Withdrawal
from reconciler.model.spec import LATEST, ComponentSpec, GroupSpec, Hold, PluginConfig
from reconciler.observe.cohorts import Choice, gather_cohorts
from reconciler.planner.planner import Observed, Wanted, make_plan
from reconciler.planner.stock import OfferedIncremental
from reconciler.present.document import plan_document
from reconciler.storage.state import Identity
from tests.fakes import CODECS, NOW, make_component, make_release

IDS = ("rules", "engine", "driver")
PLATFORMS = ("linux-x86_64", "linux-aarch64")
METHODS = ("smart", "conventional")
SEEN = {(name, "1"): NOW - timedelta(days=1) for name in ("rules", "engine", "driver")}
ROUTES = ["direct", "direct", "via bridge", "unreachable: no way"]
IDENTITY = Identity("mine", 1, 0, frozen=False)
BASIS = Basis("mine", 1, 0, "s", "c")
LAYOUT = Layout((InstallTarget("*", "/opt/scanner"),))
TRAITS = {name: codec.traits for name, codec in CODECS.items()}

versions = st.integers(1, 4).map(str)
releases = st.builds(
    lambda component, version, platform, odd: make_release(
        component, version, {"data": f"{version}{platform}{odd}".encode() * 5000, "same": b"same"}, platform
    ),
    st.sampled_from(IDS), versions, st.sampled_from(["any", *PLATFORMS]), st.sampled_from(["", "", "odd"]),
)  # fmt: skip
installed = st.builds(
    lambda component, release, damaged, layout: Installed(
        component, release.version, "" if damaged else release.digest, "", layout.fingerprint, "x" if damaged else ""
    ),
    st.sampled_from(IDS), releases, st.sampled_from([False, False, True]), st.sampled_from([Layout(), LAYOUT]),
)  # fmt: skip
profiles = st.builds(
    lambda entries, platform, tools, memory: Profile(
        platform, tuple(sorted({entry.component: entry for entry in entries}.values())), tools, memory=memory
    ),
    st.lists(installed, max_size=3), st.sampled_from(PLATFORMS),
    st.sampled_from([(), ("zstd",), ("bspatch",), ("bspatch", "zstd")]), st.sampled_from([0, 16, 2048]),
)  # fmt: skip


@st.composite
def wanteds(draw):
    """Give what a spec wants: components, pinned or not, for some scan methods; one to three groups."""
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
    return Wanted(components, groups, duplication=policy)


def unique(listed):
    """Give each release once, as the store and the merged offers of sources do."""
    return list({(entry.component, entry.version, entry.platform): entry for entry in listed}.values())


@st.composite
def situations(draw):
    """Give a spec's wishes, and a fleet as the state's rows and profiles, with what is held and offered."""
    wanted = draw(wanteds())
    seen = {profile.fingerprint: profile for profile in draw(st.lists(profiles, min_size=1, max_size=4))}
    groups, prints = st.sampled_from(sorted(wanted.groups)), st.sampled_from(sorted(seen))
    rows = [
        (f"pc-{at}", draw(groups), "[]", draw(prints), error, draw(st.sampled_from(ROUTES)))
        for at, error in enumerate(draw(st.lists(st.sampled_from(["", "", "", "no connection: 1"]), max_size=6)))
    ]
    holds = [Hold("pc-1,pc-3", "INC-1")] if draw(st.booleans()) else []
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
    return wanted, rows, seen, holds, held, offers, here, offered, withdrawn


def incremental(before, after, codec="zstd", size=700):
    """Make an incremental, as if it were there."""
    patch = Patch("data", size, "0" * 64, codec, "data" if before else "", after.files[0].size)
    start = (before.version, before.digest) if before else ("", "")
    kept = (Kept("same", "same"),) if before else ()
    return Incremental(after.component, after.platform, *start, after.version, after.digest, codec, (patch,), kept)


def gather(rows, seen, holds=()):
    return gather_cohorts(rows, seen, choice=Choice(), holds=holds, identity=IDENTITY, now=NOW)


def plan_of(situation, *, freeze=""):
    wanted, rows, seen, holds, held, offers, incrementals, offered, withdrawn = situation
    cohorts = gather(rows, seen, holds)
    facts = Observed(
        BASIS,
        held,
        offers,
        (),
        cohorts,
        (),
        freeze,
        incrementals,
        offered,
        TRAITS,
        withdrawn=withdrawn,
        first_seen=SEEN,
    )
    return make_plan(wanted, facts, plan_id="p", now=NOW)


def members(plan, entry):
    return [name for cohort in entry.members for name in plan.members[cohort]]


def apply_in_memory(situation, plan):
    """Give the situation after a plan was carried out without a fault; what is made gets sizes that weren't guessed."""
    wanted, rows, seen, holds, held, offers, incrementals, offered, withdrawn = situation
    fetched = {(change.component, change.to_digest, change.platform) for change in plan.arriving}
    held = held + [
        offer.release
        for offer in offers
        if (offer.release.component, offer.release.digest, offer.release.platform) in fetched
    ]
    names = {(c.component, c.platform, f"{c.previous}..{c.to}/{c.kind}") for c in plan.downloads}
    taken = [entry.incremental for entry in offered if key(entry.incremental) in names]
    assert len(taken) == sum(1 for change in plan.downloads if change.kind != "full")
    known = {key(entry): entry for entry in (*incrementals, *taken)}
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
    now = {name: seen[fingerprint] for name, _group, _labels, fingerprint, *_rest in rows}
    for change in plan.deploys:
        layout = wanted.components[change.component].layout.fingerprint
        for name in members(plan, change):
            entries = {**now[name].by_component}
            before = entries.get(change.component)
            there = (before.version, before.digest) if before else ("", "")
            assert there == (change.from_version, change.from_digest)
            entries[change.component] = Installed(
                change.component, change.to, change.to_digest, change.from_version, layout
            )
            now[name] = replace(now[name], installed=tuple(sorted(entries.values())))
    later = [(name, group, labels, now[name].fingerprint, *rest) for name, group, labels, _print, *rest in rows]
    seen = {profile.fingerprint: profile for profile in now.values()}
    return wanted, later, seen, holds, held, offers, list(known.values()), offered, withdrawn


def key(entry):
    return entry.component, entry.platform, entry.name


def full_key(prune):
    return prune.component, prune.to_digest, prune.platform


@given(situations())
@settings(max_examples=120, deadline=None)
def test_after_a_plan_was_carried_out_nothing_is_left_to_do(situation):
    first = plan_of(situation)
    second = plan_of(apply_in_memory(situation, first))
    assert second.empty
    assert [finding.clients for finding in second.unknown] == [finding.clients for finding in first.unknown]
    assert sum(finding.clients for finding in second.held) == sum(finding.clients for finding in first.held)


@given(situations(), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_the_order_of_what_is_known_makes_no_difference_to_a_byte(situation, random):
    wanted, rows, seen, holds, held, offers, incrementals, offered, withdrawn = situation
    rows, held, incrementals, offered = list(rows), list(held), list(incrementals), list(offered)
    for listed in (rows, held, incrementals, offered):
        random.shuffle(listed)
    groups, prints = list(wanted.groups.items()), list(seen.items())
    random.shuffle(groups)
    random.shuffle(prints)
    known = dict(prints), holds, held, offers, incrementals, offered, withdrawn
    shuffled = replace(wanted, groups=dict(groups)), rows, *known
    assert json.dumps(plan_document(plan_of(shuffled))) == json.dumps(plan_document(plan_of(situation)))


@given(situations(), st.sampled_from(["", "adopted"]))
@settings(max_examples=80, deadline=None)
def test_a_client_gets_each_component_at_most_once_and_every_number_adds_up(situation, freeze):
    plan = plan_of(situation, freeze=freeze)
    given_ = [(name, change.component) for change in plan.deploys for name in members(plan, change)]
    assert len(given_) == len(set(given_))
    findings = (*plan.held, *plan.unknown, *plan.drift, *plan.unreachable, *plan.deferred)
    for entry in (*plan.deploys, *findings):
        assert entry.clients == len(members(plan, entry)) > 0
    rows = situation[1]
    assert sum(plan.clients.values()) == len(rows)
    unknown = {name for finding in plan.unknown for name in members(plan, finding)}
    cut_off = {name for finding in plan.unreachable for name in members(plan, finding)}
    assert cut_off == {row[0] for row in rows if row[5].startswith("unreachable")}
    assert unknown == {row[0] for row in rows if row[4]} - cut_off
    assert not (unknown | cut_off) & {name for name, _component in given_}
    ways = {row[0]: row[5] for row in rows}
    assert all(ways[name] == change.route for change in plan.deploys for name in members(plan, change))
    used = {cohort for entry in (*plan.deploys, *findings) for cohort in entry.members}
    assert used == set(plan.members)
    assert all(0 <= change.bytes <= change.bytes_full for change in plan.deploys)


@given(situations())
@settings(max_examples=80, deadline=None)
def test_nothing_goes_down_but_by_a_pin_a_block_or_a_withdrawal_and_nothing_to_what_is_refused(situation):
    wanted = situation[0]
    for change in plan_of(situation).deploys:
        scheme = wanted.components[change.component].component.scheme
        down = bool(change.from_version) and scheme.parse(change.from_version) > scheme.parse(change.to)
        assert change.downgrade == down
        taken_back = {(entry.component, entry.version) for entry in situation[8]["drop"]}
        taken_back |= {(name, version) for name, spec in wanted.components.items() for version in spec.blocked}
        pinned = wanted.components[change.component].version == change.to
        assert not down or pinned or (change.component, change.from_version) in taken_back
        assert (change.component, change.to) not in taken_back


@given(situations())
@settings(max_examples=80, deadline=None)
def test_each_deploy_sends_what_is_held_or_downloaded_first_and_fits_the_client(situation):
    plan = plan_of(situation)
    _wanted, rows, seen, holds, held, _offers, incrementals, *_rest = situation
    there = {release.digest for release in held} | {change.to_digest for change in plan.arriving}
    made = {
        (order.component, order.platform, f"{order.previous}..{order.to}/{order.codec}") for order in plan.generates
    }
    made |= {(c.component, c.platform, f"{c.previous}..{c.to}/{c.kind}") for c in plan.downloads}
    made |= {key(entry) for entry in incrementals}
    profile_of = {name: seen[fingerprint] for name, _group, _labels, fingerprint, *_rest in rows}
    on_hold = {"pc-1", "pc-3"} if holds else set()
    for change in plan.deploys:
        assert change.to_digest in there
        assert all((change.component, change.platform, name) in made for name in change.path)
        for name in members(plan, change):
            assert change.platform in {"any", profile_of[name].platform}
            assert name not in on_hold


@given(situations())
@settings(max_examples=60, deadline=None)
def test_while_upgrades_are_frozen_only_first_installs_go_out(situation):
    frozen, free = plan_of(situation, freeze="adopted"), plan_of(situation)
    assert {change.reason for change in frozen.deploys} <= {"missing"}
    assert [c for c in frozen.deploys if c.reason == "missing"] == [c for c in free.deploys if c.reason == "missing"]
    assert frozen.arriving == free.arriving


@given(situations())
@settings(max_examples=60, deadline=None)
def test_splitting_a_cohort_changes_no_change(situation):
    wanted, rows, seen, holds, held, offers, incrementals, offered, withdrawn = situation
    whole = gather(rows, seen, holds)
    split = [replace(cohort, members=(name,)) for cohort in whole for name in cohort.members]

    def facts(cohorts: list[Cohort]):
        return Observed(
            BASIS,
            held,
            offers,
            (),
            cohorts,
            (),
            "",
            incrementals,
            offered,
            TRAITS,
            withdrawn=withdrawn,
            first_seen=SEEN,
        )

    def numbers(cohorts: list[Cohort]):
        made = make_plan(wanted, facts(cohorts), plan_id="p", now=NOW)
        return [(*_plain(change), sorted(members(made, change))) for change in made.deploys]

    assert numbers(split) == numbers(whole)


def _plain(change):
    return change.component, change.group, change.from_version, change.to_digest, change.reason, change.clients
