"""What holds for every repository, whatever is held, run and taken back: plans converge, and nothing bad gets out."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Installed, Profile
from reconciler.model.delta import Incremental, Patch
from reconciler.model.deploy import Layout
from reconciler.model.offer import Offer, Withdrawal
from reconciler.model.plan import Basis, Cohort
from reconciler.model.policy import AutoUpdate, Limits, Rollout, Wave
from reconciler.model.repository import Published
from reconciler.model.rollout import Cut, RolloutRecord
from reconciler.model.secret import SecretRef
from reconciler.model.spec import ComponentSpec, GroupSpec, PluginConfig, RepositorySpec
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.planner import make_plan
from tests.fakes import CODECS, make_component, make_release

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = SecretRef("env", "KEY")
VERSIONS = st.integers(1, 4).map(str)
AT_ONCE = Rollout(waves=(Wave(share=1.0, limits=Limits(min_attempted=1)),))
IN_WAVES = Rollout(waves=(Wave(count=1, apart=True, limits=Limits(min_attempted=1)), Wave(share=1.0)))
TRAITS = {name: codec.traits for name, codec in CODECS.items()}


def release(component: str, version: str) -> Any:
    return make_release(component, version, {"data": f"{component} {version}".encode() * 100})


def incremental(before: Any, after: Any, codec: str = "zstd") -> Any:
    patch = Patch("data", 700, "0" * 64, codec, "data" if before else "", after.size)
    return Incremental(
        component=after.component,
        platform="any",
        from_version=before.version if before else "",
        from_digest=before.digest if before else "",
        to_version=after.version,
        to_digest=after.digest,
        codec=codec,
        patches=(patch,),
    )


@st.composite
def sites(draw: Any) -> Any:
    """Give wishes, and what there is; no rollout has begun yet."""
    names = ["rules", "engine"]
    components = {name: ComponentSpec(make_component(name), duplicate=draw(st.booleans())) for name in names}
    both = st.tuples(st.sampled_from(names), VERSIONS)

    def some(size: int = 4) -> Any:
        return draw(st.lists(both, max_size=size, unique=True))

    held = [release(*entry) for entry in some()]
    offers = [Offer("drop", release(*entry)) for entry in some()]
    published = [release(*entry) for entry in some()]
    own = tuple(Withdrawal(*entry, "INC-1") for entry in some(2))  # type: ignore[call-arg]
    passed_on = {"hq": [Withdrawal(*entry, "INC-2") for entry in some(2)]}  # type: ignore[call-arg]
    listed = tuple(Withdrawal(*entry, draw(st.sampled_from(["INC-1", "INC-2"]))) for entry in some(2))  # type: ignore[call-arg]
    taken = {(entry.component, entry.version) for entry in listed}
    clients = []
    for at, entries in enumerate(draw(st.lists(st.lists(both, max_size=2, unique_by=lambda one: one[0]), max_size=3))):
        installed = tuple(
            sorted(Installed(*entry, release(*entry).digest, layout=Layout().fingerprint) for entry in entries)  # type: ignore[call-arg]
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
    rollout = AutoUpdate(rollout=draw(st.sampled_from([AT_ONCE, IN_WAVES])))
    wanted = Wanted(components, groups, repository=spec, policies=dict.fromkeys(product(groups, names), rollout))
    return wanted, held, offers, incrementals, passed_on, clients, before, {}


def plan_of(site: Any) -> Any:
    wanted, held, offers, incrementals, passed_on, clients, published, rollouts = site
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
        rollouts=rollouts,
    )
    return make_plan(wanted, observed, plan_id="p", now=NOW)


def carried_out(site: Any, plan: Any) -> Any:
    """Give the site after a plan was carried out without a fault."""
    wanted, held, offers, incrementals, passed_on, clients, published, rollouts = site
    known = {(r.component, r.version, r.digest): r for r in (*held, *(offer.release for offer in offers))}
    held = held + [known[change.component, change.to, change.to_digest] for change in plan.arriving]
    gone = {(prune.component, prune.to) for prune in plan.prunes if prune.kind == "full"}
    held = [entry for entry in held if (entry.component, entry.version) not in gone]
    made = [
        incremental(
            release(order.component, order.previous) if order.previous else None,
            release(order.component, order.to),
            order.codec,
        )
        for order in plan.generates
    ]
    dropped = {(p.component, f"{p.previous}..{p.to}/{p.kind}") for p in plan.prunes if p.kind != "full"}
    incrementals = [entry for entry in (*incrementals, *made) if (entry.component, entry.name) not in dropped]
    after = dict(clients)
    for change in plan.deploys:
        for cohort in change.members:
            for name in plan.members[cohort]:
                entries = {**after[name].by_component}
                entries[change.component] = Installed(
                    change.component,
                    change.to,
                    change.to_digest,
                    previous=change.from_version,
                    layout=Layout().fingerprint,
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
        offered = tuple(entry for entry in incrementals if entry.to_digest in goals and entry.from_version)
        published = Published(True, tuple(releases), offered, tuple(taken.values()))
    rollouts = {**rollouts, **{step.record.key: step.record for step in plan.rollouts}}
    return wanted, held, offers, incrementals, passed_on, list(after.items()), published, rollouts


def applied(site: Any) -> Any:
    """Give the site after an apply, which takes all steps that are due, and the plans of them."""
    plans = [plan_of(site)]
    while not plans[-1].empty or plans[-1].moves:
        assert len(plans) < 12, plans[-1]
        site = carried_out(site, plans[-1])
        plans.append(plan_of(site))
    return site, plans


@given(sites())
@settings(max_examples=200, deadline=None)
def test_after_an_apply_nothing_is_left_to_publish_and_nothing_was_published_twice(site: Any) -> None:
    after, plans = applied(site)
    assert plan_of(after).publishes == ()
    changes = [(change.kind, change.component, change.to) for plan in plans for change in plan.publishes]
    once = [change for change in changes if change[0] != "incrementals"]
    assert len(once) == len(set(once))


@given(sites())
@settings(max_examples=150, deadline=None)
def test_what_is_offered_is_held_not_taken_back_and_was_let_through(site: Any) -> None:
    wanted, held, offers, _incrementals, passed_on, _clients, before, _rollouts = site
    after, _plans = applied(site)
    published = after[6]
    taken = {(entry.component, entry.version) for entry in (*wanted.repository.withdrawn, *passed_on["hq"])}
    assert taken == {(entry.component, entry.version) for entry in published.withdrawn}
    assert not taken & {(entry.component, entry.version) for entry in published.releases}
    known = {entry.digest for entry in held} | {offer.release.digest for offer in offers}
    assert all(entry.digest in known for entry in published.releases)
    new = {entry.digest for entry in published.releases} - {entry.digest for entry in before.releases}
    if wanted.repository.publish == "manual":
        assert not new
    if wanted.repository.publish == "after_rollout":
        runs = {entry.digest for _name, profile in after[5] for entry in profile.installed}
        assert new <= runs


@given(sites())
@settings(max_examples=150, deadline=None)
def test_after_rollout_publishes_nothing_that_some_client_still_has_to_go_up_to(site: Any) -> None:
    wanted = replace(site[0], repository=replace(site[0].repository, publish="after_rollout"))
    site, steps = (wanted, *site[1:]), 0
    while not (plan := plan_of(site)).empty or plan.moves:
        new = {(change.component, change.to) for change in plan.publishes if change.kind == "release"}
        waits = {(entry.component, entry.to) for entry in plan.deploys if not entry.downgrade}
        waits |= {(entry.component, entry.version) for entry in (*plan.deferred, *plan.held)}
        assert not new & waits
        site, steps = carried_out(site, plan), steps + 1
        assert steps < 12


@given(sites())
@settings(max_examples=60, deadline=None)
def test_without_a_root_nothing_is_published(site: Any) -> None:
    assert plan_of((*site[:6], Published(), {})).publishes == ()


def rollout_of(status: Any, group: str) -> Any:
    return RolloutRecord(
        component="rules",
        version="2",
        group=group,
        status=status,
        cuts=(Cut(upto=0),),
        sizes=(1,),
        structure="",
        started=NOW,
        opened=NOW,
    )


@pytest.mark.parametrize("others", [["done"], ["done", "superseded"], ["superseded"]])
def test_a_rollout_that_another_took_the_place_of_keeps_nothing_from_being_published(others: list[str]) -> None:
    """As when the spec made one rollout for each group out of that of the fleet, while it was under way."""
    two = release("rules", "2")
    components = {"rules": ComponentSpec(make_component("rules"))}
    groups = {"g": GroupSpec("g", PluginConfig("transport", "local"), "/r")}
    spec = RepositorySpec(Path("publish"), "after_rollout", (KEY,), 1, KEY, {})
    has = Profile("linux-x86_64", (Installed("rules", "2", two.digest, layout=Layout().fingerprint),))
    records = [rollout_of(status, group) for status, group in zip(others, ["g", ""], strict=False)]
    known = {record.key: record for record in records}
    site = Wanted(components, groups, repository=spec), [two], [], [], {}, [("c0", has)], Published(True), known  # type: ignore[var-annotated]
    assert [(change.kind, change.to) for change in plan_of(site).publishes] == [("release", "2")]
    for status in ("halted", "aborted"):
        other = rollout_of(status, "h")
        assert plan_of((*site[:7], {**known, other.key: other})).publishes == ()
