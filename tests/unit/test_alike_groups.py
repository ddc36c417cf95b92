"""Groups in which everything is decided alike are decided over once, and nobody can tell that from a plan."""

import json
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Installed, Profile
from reconciler.model.names import Names
from reconciler.model.plan import Cohort
from reconciler.model.policy import AutoUpdate, Limits, Rollout, Schedule, Wave
from reconciler.model.rollout import position
from reconciler.model.roster import clients_of, names_of
from reconciler.model.spec import ComponentSpec, GroupSpec, PluginConfig
from reconciler.observe.cohorts import Marks, Selection, gather_cohorts
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.likes import likes
from reconciler.planner.outlook import Imagination, run_of
from reconciler.planner.planner import make_plan
from reconciler.planner.ruler import Allowance
from reconciler.planner.status import count_fleet
from reconciler.planner.waves import Lineup, first_waves
from reconciler.present.document import plan_document
from tests.fakes import NOW, make_component, make_release
from tests.unit.situations import BASIS, CANARY, HOUR, IDENTITY, SEEN, YESTERDAY, Situation, situations


def alike(situation: Situation) -> Situation:
    """Make all groups like the first one, where rollouts are for all of them."""
    wanted = situation.wanted
    if any(policy.rollout.scope == "group" for policy in wanted.policies.values()):
        return situation
    first = next(iter(wanted.groups))
    method = wanted.groups[first].scan_method
    groups = {name: replace(spec, scan_method=method) for name, spec in wanted.groups.items()}
    policies = {(group, component): wanted.policies[first, component] for group, component in wanted.policies}
    return replace(situation, wanted=replace(wanted, groups=groups, policies=policies))


def likes_of(situation: Situation) -> dict[str, str]:
    wanted, alone = situation.wanted, {group for _component, _version, group in situation.records}
    return likes(wanted.groups, wanted.components, wanted.policies, alone)


def gathered(situation: Situation, like: dict[str, str]) -> Any:
    marks, choice = Marks(situation.holds, [CANARY]), Selection.parse(situation.limit, ())
    how: Any = {"choice": choice, "marks": marks, "identity": IDENTITY, "now": situation.now}
    rows = sorted(situation.rows, key=lambda row: (row.group, row.name))
    return gather_cohorts(rows, situation.seen, likes=like, **how)


@given(situations().map(alike), st.sampled_from(["", "", "adopted"]))
@settings(max_examples=100, deadline=None)
def test_a_plan_is_the_same_whether_groups_are_decided_over_together_or_each_by_itself(
    situation: Situation, freeze: str
) -> None:
    said = []
    for like in (likes_of(situation), {}):
        wanted, facts = situation.facts(freeze=freeze, cohorts=gathered(situation, like))
        plan = make_plan(wanted, facts, plan_id="p", now=situation.now)
        found = run_of(Imagination(wanted, facts), plan, situation.now)
        run = found[1] if found else None
        said.append((json.dumps(plan_document(plan)), run, count_fleet(wanted, facts, Allowance(situation.now))))
    assert said[0] == said[1]


@given(situations().map(alike))
@settings(max_examples=60, deadline=None)
def test_each_client_is_of_its_own_group_and_in_the_situation_that_its_row_tells(situation: Situation) -> None:
    rows = {row.name: row for row in situation.rows}
    chosen, others = gathered(situation, likes_of(situation))
    named = Counter(name for cohort in (*chosen, *others) for name in cohort.members)
    assert named == Counter(list(rows))
    for cohort in (*chosen, *others):
        parts = {group: tuple(names) for group, names in cohort.parts()}
        assert [name for names in parts.values() for name in names] == list(cohort.members)
        assert list(parts) == sorted(parts)
        assert dict(cohort.by_group) == {group: len(names) for group, names in parts.items()}
        for group, names in parts.items():
            assert names == tuple(sorted(names))
            for name in names:
                row = rows[name]
                assert row.group == group
                assert (CANARY in cohort.selected) == ("canary" in row.labels)
                assert (cohort.profile is None) == bool(row.error or row.route.startswith("unreachable"))
                assert cohort.profile is None or cohort.profile == situation.seen[row.fingerprint]
                assert bool(cohort.hold) == (
                    bool(situation.holds) and name in {"pc-1", "pc-3"} and not row.route.startswith("unreachable")
                )


@given(situations().map(alike))
@settings(max_examples=60, deadline=None)
def test_ids_go_by_group_and_all_that_counts_clients_counts_the_same(situation: Situation) -> None:
    wanted, facts = situation.facts(cohorts=gathered(situation, likes_of(situation)))
    plan = make_plan(wanted, facts, plan_id="p", now=situation.now)
    group_of = {row.name: row.group for row in situation.rows}
    groups = [{group_of[name] for name in names} for names in plan.members.values()]
    assert all(len(inside) == 1 for inside in groups)
    assert list(plan.members) == [f"c{number}" for number in range(1, len(groups) + 1)]
    assert [min(inside) for inside in groups] == sorted(min(inside) for inside in groups)
    bare = {one: tuple(names) for one, names in plan.members.items()}
    for entries in (plan.deploys, plan.held, plan.deferred, (*plan.unknown, *plan.unreachable), plan.proofs):
        listed = [replace(entry, members=tuple(entry.members)) for entry in entries]
        names = list(names_of(plan.members, entries))
        assert clients_of(plan.members, entries) == clients_of(bare, listed) == len(names) == len(set(names))
        assert [group_of[name] for name in names] == sorted(group_of[name] for name in names)
    assert all("c0" != one in plan.members for one in plan.members)
    assert not any(one in plan.members for one in ("c0", "c01", f"c{len(groups) + 1}", "x1", "c", "c²"))


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=5)
shares = st.lists(st.sampled_from([0.01, 0.1, 0.33, 0.5, 0.9]), min_size=1, max_size=3, unique=True).map(sorted)


@given(sizes, sizes, shares, st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_waves_are_cut_where_sorting_all_clients_by_their_places_says(
    first: Any, second: Any, cut_at: Any, named: int
) -> None:
    names = iter([f"host-{number}" for number in range(1000)])
    cohorts = []
    for at, counts in enumerate((first, second)):
        runs = [sorted(next(names) for _ in range(count)) for count in counts]
        groups = tuple(f"{at}{number}" for number in range(len(runs)))
        cohorts.append(Cohort(groups[0], Names(runs), groups=groups, counts=tuple(counts)))
    everybody = sorted((position(name), name) for cohort in cohorts for name in cohort.members)
    waves = [*([Wave(count=named, apart=True)] if named else []), *(Wave(share=share) for share in cut_at)]
    lineup = Lineup(cohorts)
    cuts, taken = lineup.cut([*waves, Wave(share=1.0)], (0, 1))
    inside = set(cuts[0].names)
    for wave in range(1, len(cuts) + 1):
        part = first_waves(cuts, wave)
        wanted = min(sum(taken[:wave]), len(everybody))
        for _place, name in everybody:
            if len(inside) < wanted:
                inside.add(name)
        found: dict[str, set[str]] = defaultdict(set)
        for at, cohort in enumerate(cohorts):
            section = lineup.split(at, (part,)).get((True,))
            assert lineup.count(at, part) == (len(section.names) if section else 0)
            for group in section.groups if section else ():
                assert section is not None
                assert section.count(group) == len(section.of(group))
                found[group].update(section.of(group))
            of_group = {group: set(its) for group, its in cohort.parts()}
            assert all(found[group] <= of_group[group] for group in cohort.groups)
        assert set().union(*found.values()) == inside


class Untold(Names):
    """Names that nobody may look at."""

    def __iter__(self) -> Any:
        raise AssertionError("somebody looked at names")

    def run(self, number: int) -> list[str]:
        raise AssertionError(f"somebody looked at the names of group {number}")


def large() -> tuple[Wanted, Observed]:
    """Give what a plan for 3,000 clients of two groups is made from, whose names must not be looked at."""
    rules = ComponentSpec(make_component("rules", "pattern"))
    old, new = (make_release("rules", version, {"data": version.encode()}) for version in ("1", "2"))
    groups = {name: GroupSpec(name, PluginConfig("transport", "local"), "/r") for name in "ab"}
    schedule = Schedule(spread=HOUR, at=(NOW - HOUR / 2).time())
    waves = Wave(share=0.3, limits=Limits(min_attempted=1)), Wave(share=1.0)
    policy = AutoUpdate(trigger="schedule", schedule=schedule, rollout=Rollout(waves=waves))
    profile = Profile("linux-x86_64", (Installed("rules", "1", old.digest),), lineage="mine", epoch=1)
    names = Untold([[f"{group}-{number:05}" for number in range(1500)] for group in "ab"])
    cohort = Cohort("a", names, profile, groups=("a", "b"), counts=(1500, 1500))
    wanted = Wanted({"rules": rules}, groups, policies={(group, "rules"): policy for group in "ab"})
    return wanted, Observed(BASIS, [old, new], cohorts=[cohort], first_seen=SEEN | {("rules", "2"): YESTERDAY})


def test_a_fleet_is_planned_in_waves_and_at_minutes_of_its_own_without_a_look_at_any_name() -> None:
    plan = make_plan(*large(), plan_id="p", now=NOW)
    due, waiting = (sum(entry.clients for entry in entries) for entries in (plan.deploys, plan.deferred))
    assert due + waiting == 3000
    assert 300 < due < 600, "about half of 900"
    assert plan_document(plan, whole=False)["summary"]["deploy"]["clients"] == due
