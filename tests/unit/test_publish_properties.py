"""What holds for every repository, whatever is held, run and taken back: plans converge, and nothing bad gets out."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Installed, Layout, Profile
from reconciler.model.delta import Incremental, Patch
from reconciler.model.plan import Basis, Cohort
from reconciler.model.release import Offer, Withdrawal
from reconciler.model.repository import Published
from reconciler.model.spec import ComponentSpec, GroupSpec, PluginConfig, RepositorySpec, SecretRef
from reconciler.planner.planner import Observed, Wanted, make_plan
from tests.fakes import CODECS, make_component, make_release

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = SecretRef("env", "KEY")
VERSIONS = st.integers(1, 4).map(str)
TRAITS = {name: codec.traits for name, codec in CODECS.items()}


def release(component, version):
    return make_release(component, version, {"data": f"{component} {version}".encode() * 100})


def incremental(before, after):
    patch = Patch("data", 700, "0" * 64, "zstd", "data", after.size)
    ends = before.version, before.digest, after.version, after.digest
    return Incremental(after.component, "any", *ends, "zstd", (patch,))


@st.composite
def sites(draw):
    """Give wishes, and what there is."""
    names = ["rules", "engine"]
    components = {name: ComponentSpec(make_component(name), duplicate=draw(st.booleans())) for name in names}
    both = st.tuples(st.sampled_from(names), VERSIONS)

    def some(size=4):
        return draw(st.lists(both, max_size=size, unique=True))

    held = [release(*entry) for entry in some()]
    offers = [Offer("drop", release(*entry)) for entry in some()]
    published = [release(*entry) for entry in some()]
    own = tuple(Withdrawal(*entry, "INC-1") for entry in some(2))
    passed_on = {"hq": [Withdrawal(*entry, "INC-2") for entry in some(2)]}
    listed = tuple(Withdrawal(*entry, draw(st.sampled_from(["INC-1", "INC-2"]))) for entry in some(2))
    taken = {(entry.component, entry.version) for entry in listed}
    clients = []
    for at, entries in enumerate(draw(st.lists(st.lists(both, max_size=2, unique_by=lambda one: one[0]), max_size=3))):
        installed = tuple(
            sorted(Installed(*entry, release(*entry).digest, layout=Layout().fingerprint) for entry in entries)
        )
        clients.append((f"c{at}", Profile("linux-x86_64", installed)))
    policy = draw(st.sampled_from(["after_rollout", "downloaded", "manual"]))
    spec = RepositorySpec(Path("publish"), policy, (KEY,), 1, KEY, {}, own)
    before = Published(True, tuple(r for r in published if (r.component, r.version) not in taken), (), listed, "")
    groups = {"g": GroupSpec("g", PluginConfig("transport", "local"), "/r")}
    pairs = [
        (one, two)
        for one in held
        for two in held
        if one.component == two.component and int(one.version) < int(two.version) and draw(st.booleans())
    ]
    incrementals = [incremental(*pair) for pair in pairs]
    wanted = Wanted(components, groups, repository=spec)
    return wanted, held, offers, incrementals, passed_on, clients, before


def plan_of(site):
    wanted, held, offers, incrementals, passed_on, clients, published = site
    cohorts = [Cohort("g", (name,), profile) for name, profile in clients]
    observed = Observed(
        Basis("lineage", 1, 0, "s", "c"),
        held,
        offers,
        cohorts=cohorts,
        incrementals=incrementals,
        codecs=TRAITS,
        withdrawn=passed_on,
        published=published,
    )
    return make_plan(wanted, observed, plan_id="p", now=NOW)


def carried_out(site, plan):
    """Give the site after a plan was carried out without a fault."""
    wanted, held, offers, incrementals, passed_on, clients, published = site
    known = {(r.component, r.version, r.digest): r for r in (*held, *(offer.release for offer in offers))}
    held = held + [known[change.component, change.to, change.to_digest] for change in plan.arriving]
    gone = {(prune.component, prune.to) for prune in plan.prunes if prune.kind == "full"}
    held = [entry for entry in held if (entry.component, entry.version) not in gone]
    made = [
        incremental(release(order.component, order.previous), release(order.component, order.to))
        for order in plan.generates
        if order.previous
    ]
    dropped = {(p.component, f"{p.previous}..{p.to}/{p.kind}") for p in plan.prunes if p.kind != "full"}
    incrementals = [entry for entry in (*incrementals, *made) if (entry.component, entry.name) not in dropped]
    after = dict(clients)
    for change in plan.deploys:
        for cohort in change.members:
            for name in plan.members[cohort]:
                entries = {**after[name].by_component}
                entries[change.component] = Installed(
                    change.component, change.to, change.to_digest, change.from_version, Layout().fingerprint
                )
                after[name] = replace(after[name], installed=tuple(sorted(entries.values())))
    taken = {(entry.component, entry.version): entry for entry in published.withdrawn}
    for change in plan.publishes:
        if change.kind == "withdraw":
            taken[change.component, change.to] = Withdrawal(change.component, change.to, change.reason)
        elif change.kind == "restore":
            del taken[change.component, change.to]
    keys = {(entry.component, entry.version): entry.digest for entry in published.releases}
    keys |= {(change.component, change.to): change.to_digest for change in plan.publishes if change.kind == "release"}
    there = {(entry.component, entry.version): entry for entry in held}
    releases = [
        there[key] for key, digest in keys.items() if key in there and there[key].digest == digest and key not in taken
    ]
    if plan.publishes:
        goals = {entry.digest for entry in releases}
        offered = tuple(entry for entry in incrementals if entry.to_digest in goals)
        published = Published(True, tuple(releases), offered, tuple(taken.values()))
    return wanted, held, offers, incrementals, passed_on, list(after.items()), published


@given(sites())
@settings(max_examples=200, deadline=None)
def test_after_an_apply_nothing_is_left_to_publish(site):
    after = carried_out(site, plan_of(site))
    assert plan_of(after).publishes == ()


@given(sites())
@settings(max_examples=150, deadline=None)
def test_what_is_offered_is_held_not_taken_back_and_was_let_through(site):
    wanted, held, offers, _incrementals, passed_on, _clients, before = site
    plan = plan_of(site)
    published = carried_out(site, plan)[6]
    taken = {(entry.component, entry.version) for entry in (*wanted.repository.withdrawn, *passed_on["hq"])}
    assert taken == {(entry.component, entry.version) for entry in published.withdrawn}
    assert not taken & {(entry.component, entry.version) for entry in published.releases}
    known = {entry.digest for entry in held} | {offer.release.digest for offer in offers}
    assert all(entry.digest in known for entry in published.releases)
    new = {entry.digest for entry in published.releases} - {entry.digest for entry in before.releases}
    if wanted.repository.publish == "manual":
        assert not new
    if wanted.repository.publish == "after_rollout":
        runs = {entry.digest for _name, profile in carried_out(site, plan)[5] for entry in profile.installed}
        assert new <= runs


@given(sites())
@settings(max_examples=60, deadline=None)
def test_without_a_root_nothing_is_published(site):
    assert plan_of((*site[:6], Published())).publishes == ()
