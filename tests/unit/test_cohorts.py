"""Rows of a fleet become cohorts: each client once, with those in the same situation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import OtherControllerError, TransportError, UsageError
from reconciler.model.client import Installed, Profile
from reconciler.model.spec import Hold
from reconciler.observe.cohorts import NEVER_SEEN, Choice, gather_cohorts
from reconciler.storage.state import Identity
from tests.fakes import NOW

MINE = Identity("mine", 2, 0, frozen=False)
OURS = Profile(lineage="mine", epoch=2)
FOREIGN = Profile(lineage="other", epoch=1)
EMPTY = Profile()
PROFILES = {"ours": OURS, "foreign": FOREIGN, "empty": EMPTY}


def row(name, group="g", labels="[]", seen="empty", error="", route="direct"):
    return name, group, labels, seen, error, route


def gather(rows, *, limit="", holds=(), failed=()):
    choice = Choice.parse(limit, failed)
    return gather_cohorts(rows, PROFILES, choice=choice, holds=holds, identity=MINE, now=NOW)


def names(cohorts):
    return sorted(name for cohort in cohorts for name in cohort.members)


rows = st.lists(
    st.tuples(
        st.sampled_from("gh"),
        st.sampled_from(["[]", '["x"]']),
        st.sampled_from([None, "lost", *PROFILES]),
        st.sampled_from(["", "", "no connection: 1", "client failed: 2"]),
        st.sampled_from(["direct", "direct", "via bridge", "unreachable: no way"]),
    ),
    max_size=12,
).map(lambda drawn: [(f"pc-{at}", *rest) for at, rest in enumerate(drawn)])


@given(rows, st.sampled_from(["", "*", "x", "!x", "g"]), st.sampled_from([(), (Hold("label=x", "why"),)]))
@settings(max_examples=100)
def test_each_chosen_client_is_in_one_cohort_with_its_like(drawn, limit, holds):
    cohorts = gather(drawn, limit=limit, holds=holds)
    chosen = Choice.parse(limit, ())
    labels = {"[]": (), '["x"]': ("x",)}
    wanted = [name for name, group, text, *_rest in drawn if chosen.takes(name, group, labels[text])]
    assert names(cohorts) == sorted(wanted)
    situations = [(one.group, one.profile, one.unknown, one.hold, one.route, one.unreachable) for one in cohorts]
    assert len(situations) == len(set(situations))
    for cohort in cohorts:
        assert list(cohort.members) == sorted(cohort.members)
        assert (cohort.profile is None) == bool(cohort.unknown or cohort.unreachable)
        assert {group for name, group, *_ in drawn if name in cohort.members} == {cohort.group}


@given(rows, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_rows_makes_no_difference(drawn, random):
    shuffled = list(drawn)
    random.shuffle(shuffled)
    assert set(gather(shuffled)) == set(gather(drawn))


def test_an_error_counts_before_what_was_seen_earlier():
    (cohort,) = gather([row("a", seen="ours", error=TransportError("timed out: 10 s").brief)])
    assert (cohort.profile, cohort.unknown) == (None, "no connection")


@pytest.mark.parametrize("seen", [None, "lost"])
def test_a_client_of_whom_no_profile_is_known_was_not_looked_at(seen):
    (cohort,) = gather([row("a", seen=seen)])
    assert cohort.unknown == NEVER_SEEN


def test_what_another_controller_put_there_is_not_compared():
    cohorts = {cohort.unknown: cohort.members for cohort in gather([row("a", seen="foreign"), row("b", seen="ours")])}
    assert cohorts == {OtherControllerError.label: ("a",), "": ("b",)}


def test_a_client_without_a_controller_may_have_files_already():
    made = Profile(installed=(Installed("rules", "1", "a" * 64),))
    (cohort,) = gather_cohorts(
        [row("a", seen="made")], {"made": made}, choice=Choice(), holds=(), identity=MINE, now=NOW
    )
    assert cohort.profile is made


def test_of_several_holds_the_first_that_selects_a_client_counts():
    holds = (Hold("a", "one", NOW.date()), Hold("*", "two"))
    assert {c.members: c.hold for c in gather([row("a"), row("b")], holds=holds)} == {
        ("a",): "hold until 2026-11-24: one",
        ("b",): "hold: two",
    }


def test_the_clients_that_failed_last_can_be_chosen():
    fleet = [row("a"), row("b"), row("c")]
    assert names(gather(fleet, limit="@failed", failed={"b"})) == ["b"]
    assert names(gather(fleet, limit="!@failed", failed={"b"})) == ["a", "c"]
    assert names(gather(fleet, limit="@failed", failed=())) == []


@pytest.mark.parametrize("limit", [",", "a:!", "@nobody"])
def test_a_limit_that_is_no_pattern_is_bad_usage(limit):
    with pytest.raises(UsageError, match="--limit: "):
        Choice.parse(limit, ())
