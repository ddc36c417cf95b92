"""What holds of every plan, whatever the spec, the catalog and the fleet."""

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Installed, InstallTarget, Layout, Profile
from reconciler.model.plan import Basis, Cohort
from reconciler.model.release import Offer
from reconciler.model.spec import LATEST, ComponentSpec, GroupSpec, Hold, PluginConfig
from reconciler.observe.cohorts import Choice, gather_cohorts
from reconciler.planner.planner import Observed, Wanted, make_plan
from reconciler.present.document import plan_document
from reconciler.storage.state import Identity
from tests.fakes import NOW, make_component, make_release

IDS = ("rules", "engine", "driver")
PLATFORMS = ("linux-x86_64", "linux-aarch64")
METHODS = ("smart", "conventional")
IDENTITY = Identity("mine", 1, 0, frozen=False)
BASIS = Basis("mine", 1, 0, "s", "c")
LAYOUT = Layout((InstallTarget("*", "/opt/scanner"),))

versions = st.integers(1, 4).map(str)
releases = st.builds(
    lambda component, version, platform, odd: make_release(
        component, version, {"data": f"{version}{platform}{odd}".encode(), "same": b"same"}, platform
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
    lambda entries, platform: Profile(platform, tuple(sorted({entry.component: entry for entry in entries}.values()))),
    st.lists(installed, max_size=3), st.sampled_from(PLATFORMS),
)  # fmt: skip


@st.composite
def wanteds(draw):
    """Give what a spec wants: components, pinned or not, for some scan methods; one to three groups."""
    components = {}
    for name in draw(st.lists(st.sampled_from(IDS), unique=True, min_size=1)):
        methods = frozenset(draw(st.sets(st.sampled_from(METHODS), min_size=1)))
        component = make_component(name, scan_methods=methods)
        version = draw(st.just(LATEST) | versions)
        components[name] = ComponentSpec(component, version, draw(st.sampled_from([Layout(), LAYOUT])))
    groups = {
        name: GroupSpec(name, PluginConfig("transport", "local"), "/r", draw(st.none() | st.sampled_from(METHODS)))
        for name in draw(st.lists(st.sampled_from("abc"), unique=True, min_size=1))
    }
    return Wanted(components, groups)


def unique(listed):
    """Give each release once, as the store and the merged offers of sources do."""
    return list({(entry.component, entry.version, entry.platform): entry for entry in listed}.values())


@st.composite
def situations(draw):
    """Give a spec's wishes, and a fleet as the state's rows and profiles, with what is held and offered."""
    wanted = draw(wanteds())
    seen = {profile.fingerprint: profile for profile in draw(st.lists(profiles, min_size=1, max_size=4))}
    rows = [
        (f"pc-{at}", draw(st.sampled_from(sorted(wanted.groups))), "[]", draw(st.sampled_from(sorted(seen))), error)
        for at, error in enumerate(draw(st.lists(st.sampled_from(["", "", "", "no connection: 1"]), max_size=6)))
    ]
    holds = [Hold("pc-1,pc-3", "INC-1")] if draw(st.booleans()) else []
    held = unique(draw(st.lists(releases, max_size=4)))
    offers = [Offer("drop", release) for release in unique(draw(st.lists(releases, max_size=4)))]
    return wanted, rows, seen, holds, held, offers


def gather(rows, seen, holds=()):
    return gather_cohorts(rows, seen, choice=Choice(), holds=holds, identity=IDENTITY, now=NOW)


def plan_of(situation, *, freeze=""):
    wanted, rows, seen, holds, held, offers = situation
    cohorts = gather(rows, seen, holds)
    return make_plan(wanted, Observed(BASIS, held, offers, (), cohorts, (), freeze), plan_id="p", now=NOW)


def members(plan, entry):
    return [name for cohort in entry.members for name in plan.members[cohort]]


def apply_in_memory(situation, plan):
    """Give the situation after a plan was carried out without a fault."""
    wanted, rows, seen, holds, held, offers = situation
    fetched = {(change.component, change.to_digest, change.platform) for change in plan.downloads}
    held = held + [
        offer.release
        for offer in offers
        if (offer.release.component, offer.release.digest, offer.release.platform) in fetched
    ]
    now = {name: seen[fingerprint] for name, _group, _labels, fingerprint, _error in rows}
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
    later = [(name, group, labels, now[name].fingerprint, error) for name, group, labels, _print, error in rows]
    return wanted, later, {profile.fingerprint: profile for profile in now.values()}, holds, held, offers


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
    wanted, rows, seen, holds, held, offers = situation
    rows, held = list(rows), list(held)
    for listed in (rows, held):
        random.shuffle(listed)
    groups, prints = list(wanted.groups.items()), list(seen.items())
    random.shuffle(groups)
    random.shuffle(prints)
    shuffled = replace(wanted, groups=dict(groups)), rows, dict(prints), holds, held, offers
    assert json.dumps(plan_document(plan_of(shuffled))) == json.dumps(plan_document(plan_of(situation)))


@given(situations(), st.sampled_from(["", "adopted"]))
@settings(max_examples=80, deadline=None)
def test_a_client_gets_each_component_at_most_once_and_every_number_adds_up(situation, freeze):
    plan = plan_of(situation, freeze=freeze)
    given_ = [(name, change.component) for change in plan.deploys for name in members(plan, change)]
    assert len(given_) == len(set(given_))
    for entry in (*plan.deploys, *plan.held, *plan.unknown, *plan.drift):
        assert entry.clients == len(members(plan, entry)) > 0
    rows = situation[1]
    assert sum(plan.clients.values()) == len(rows)
    unknown = {name for finding in plan.unknown for name in members(plan, finding)}
    assert unknown == {name for name, _group, _labels, _print, error in rows if error}
    assert not unknown & {name for name, _component in given_}
    used = {cohort for entry in (*plan.deploys, *plan.held, *plan.unknown, *plan.drift) for cohort in entry.members}
    assert used == set(plan.members)
    assert all(0 <= change.bytes <= change.bytes_full for change in plan.deploys)


@given(situations())
@settings(max_examples=80, deadline=None)
def test_nothing_goes_down_without_a_pin(situation):
    wanted = situation[0]
    for change in plan_of(situation).deploys:
        scheme = wanted.components[change.component].component.scheme
        down = bool(change.from_version) and scheme.parse(change.from_version) > scheme.parse(change.to)
        assert change.downgrade == down
        assert not down or wanted.components[change.component].version == change.to


@given(situations())
@settings(max_examples=80, deadline=None)
def test_each_deploy_sends_what_is_held_or_downloaded_first_and_fits_the_client(situation):
    plan = plan_of(situation)
    _wanted, rows, seen, holds, held, _offers = situation
    there = {release.digest for release in held} | {change.to_digest for change in plan.downloads}
    profile_of = {name: seen[fingerprint] for name, _group, _labels, fingerprint, _error in rows}
    on_hold = {"pc-1", "pc-3"} if holds else set()
    for change in plan.deploys:
        assert change.to_digest in there
        for name in members(plan, change):
            assert change.platform in {"any", profile_of[name].platform}
            assert name not in on_hold


@given(situations())
@settings(max_examples=60, deadline=None)
def test_while_upgrades_are_frozen_only_first_installs_go_out(situation):
    frozen, free = plan_of(situation, freeze="adopted"), plan_of(situation)
    assert {change.reason for change in frozen.deploys} <= {"missing"}
    assert [c for c in frozen.deploys if c.reason == "missing"] == [c for c in free.deploys if c.reason == "missing"]
    assert frozen.downloads == free.downloads


@given(situations())
@settings(max_examples=60, deadline=None)
def test_splitting_a_cohort_changes_no_change(situation):
    wanted, rows, seen, holds, held, offers = situation
    whole = gather(rows, seen, holds)
    split = [replace(cohort, members=(name,)) for cohort in whole for name in cohort.members]

    def numbers(cohorts: list[Cohort]):
        made = make_plan(wanted, Observed(BASIS, held, offers, (), cohorts), plan_id="p", now=NOW)
        return [(*_plain(change), sorted(members(made, change))) for change in made.deploys]

    assert numbers(split) == numbers(whole)


def _plain(change):
    return change.component, change.group, change.from_version, change.to_digest, change.reason, change.clients
