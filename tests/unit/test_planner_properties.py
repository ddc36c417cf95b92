"""What holds of every plan, whatever the spec, the catalog, the fleet and how far its rollouts are."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Installed
from reconciler.model.plan import Cohort
from reconciler.model.rollout import UNDER_WAY, UNFIT, position
from reconciler.observe.cohorts import Selection
from reconciler.present.document import plan_document
from tests.unit.situations import AT_ONCE, Situation, incremental, members, situations

GOVERNED = {"missing", "outdated", "pinned", "blocked", "withdrawn"}
STOPPED = r"halted|aborted|paused|blocked|waits for approval|hold|min_age|auto_update is off|waits for its clients"
"""Why a client needn't have what it should have, however long one waits."""


def key(entry: Any) -> Any:
    return entry.component, entry.platform, entry.name


def full_key(prune: Any) -> Any:
    return prune.component, prune.to_digest, prune.platform


def full_name(offer: Any) -> Any:
    return offer.release.component, offer.release.version, offer.release.platform


# --- carrying out ---------------------------------------------------------------------------------------------------


def carried_out(situation: Situation, plan: Any) -> Any:
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
                change.component, change.to, change.to_digest, previous=change.from_version, layout=layout
            )
            now[name] = replace(now[name], installed=tuple(sorted(entries.values())))
            for group in ("", change.group):
                failures.get((change.component, change.to, group), {}).pop(name, None)
    rows = [row._replace(fingerprint=now[row.name].fingerprint) for row in situation.rows]
    seen = {profile.fingerprint: profile for profile in now.values()}
    fetched = {(change.component, change.to, change.platform) for change in plan.fetches}
    found = [one for one in held.hidden if full_name(one) in fetched]
    assert len(found) == len(plan.fetches)
    hidden = tuple(one for one in held.hidden if one not in found)
    offers = [*held.offers, *found]
    return replace(held, rows=rows, seen=seen, records=records, failures=failures, offers=offers, hidden=hidden)


def carried_into_store(situation: Situation, plan: Any) -> Any:
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


def converged(situation: Situation) -> Any:
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
@settings(max_examples=60, deadline=None)
def test_after_a_plan_was_carried_out_nothing_is_left_to_do(situation: Situation) -> None:
    first = situation.plan()
    after = carried_out(situation, first)
    assert after.plan().empty
    _after, last = converged(after)
    assert [finding.clients for finding in last.unknown] == [finding.clients for finding in first.unknown]
    assert sum(finding.clients for finding in last.held) == sum(finding.clients for finding in first.held)


@given(situations(in_waves=False), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_what_is_fetched_first_goes_where_it_would_go_if_its_bytes_had_been_known(
    situation: Situation, random: Random
) -> None:
    there = {(one.component, one.version, one.platform) for one in situation.held}
    mysterious = [one for one in situation.offers if full_name(one) not in there and random.random() < 0.7]
    known = [one for one in situation.offers if one not in mysterious]
    goals = {one.release.digest for one in known}
    offered = [one for one in situation.offered if one.incremental.to_digest in goals]
    start = replace(situation, limit="", offers=known, offered=offered, hidden=tuple(mysterious))
    first = start.plan()
    names = {(change.component, change.to) for change in first.fetches}
    assert not names & {(change.component, change.to) for change in (*first.deploys, *first.downloads)}
    end, last = converged(start)
    assert last.fetches == ()
    revealed = replace(end, offers=[*end.offers, *end.hidden], hidden=())
    assert revealed.plan().deploys == ()


@given(situations())
@settings(max_examples=80, deadline=None)
def test_in_the_end_everyone_who_answers_has_it_or_is_told_what_stopped_it(situation: Situation) -> None:
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
@settings(max_examples=50, deadline=None)
def test_the_order_of_what_is_known_makes_no_difference_to_a_byte(situation: Situation, random: Random) -> None:
    def mixed(known: Any) -> Any:
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
@settings(max_examples=60, deadline=None)
def test_a_client_gets_each_component_at_most_once_and_every_number_adds_up(situation: Situation, freeze: str) -> None:
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
def test_nobody_gets_a_release_before_the_wave_that_it_is_in(situation: Situation) -> None:
    plan = situation.plan()
    labelled = {row[0] for row in situation.rows if "canary" in row[2]}
    steps = {step.record.key: step.record for step in plan.rollouts}

    def wave_of(name: str, record: Any) -> Any:
        """Give the first wave that takes a client; 99 where none does."""
        for wave, cut in enumerate(record.cuts, 1):
            standing_in = name in cut.names or name in cut.instead
            if (cut.select and name in labelled) or position(name) <= cut.upto or standing_in:
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
        assert record.status in {"running", "stalled"}, "who is in trouble is tried again"
        ahead = change.reason == "missing" and record.passed is not None and record.wave
        for name in members(plan, change):
            assert wave_of(name, record) <= record.wave + bool(ahead), (change, name)


@given(situations())
@settings(max_examples=80, deadline=None)
def test_what_was_halted_goes_to_nobody_and_back_only_from_whom_it_is_taken(situation: Situation) -> None:
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
@settings(max_examples=60, deadline=None)
def test_nothing_goes_down_but_by_a_pin_a_block_or_a_withdrawal_and_nothing_to_what_is_refused(
    situation: Situation,
) -> None:
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
@settings(max_examples=50, deadline=None)
def test_each_deploy_sends_what_is_held_or_downloaded_first_and_fits_the_client(situation: Situation) -> None:
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
@settings(max_examples=30, deadline=None)
def test_while_upgrades_are_frozen_only_first_installs_go_out(situation: Situation) -> None:
    frozen, free = situation.plan(freeze="adopted"), situation.plan()
    assert {change.reason for change in frozen.deploys} <= {"missing"}
    assert [c for c in frozen.deploys if c.reason == "missing"] == [c for c in free.deploys if c.reason == "missing"]
    assert frozen.arriving == free.arriving


@given(situations())
@settings(max_examples=40, deadline=None)
def test_splitting_a_cohort_changes_no_change(situation: Situation) -> None:
    whole = situation.gather()
    split = tuple([replace(cohort, members=(name,)) for cohort in part for name in cohort.members] for part in whole)

    def numbers(cohorts: tuple[list[Cohort], ...]) -> Any:
        made = situation.plan(cohorts=cohorts)
        return [(*_plain(change), sorted(members(made, change))) for change in made.deploys], made.rollouts

    assert numbers(split) == numbers(whole)


def _plain(change: Any) -> Any:
    return change.component, change.group, change.from_version, change.to_digest, change.reason, change.clients
