"""Rows of a fleet become cohorts: each client once, with those in the same situation."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import TransportError, UsageError
from reconciler.model.client import Installed, Profile
from reconciler.model.plan import NEVER_SEEN, Cohort
from reconciler.model.spec import Hold
from reconciler.observe.cohorts import MAX_DOUBLES, Marks, Selection, gather_cohorts, say_doubles
from reconciler.storage.fleet import ClientRow
from reconciler.storage.state import Identity
from tests.fakes import NOW

MINE = Identity("mine", 2, 0, frozen=False)
OURS = Profile(lineage="mine", epoch=2)
FOREIGN = Profile(lineage="other", epoch=1)
EMPTY = Profile()
PROFILES = {"ours": OURS, "foreign": FOREIGN, "empty": EMPTY}


LONG_AGO, JUST_NOW = NOW - timedelta(days=9), NOW - timedelta(minutes=1)


def row(
    name: Any,
    group: Any = "g",
    labels: Any = "[]",
    seen: Any = "empty",
    error: Any = "",
    route: Any = "direct",
    *,
    since: Any = None,
    until: Any = None,
    settings: Any = "",
) -> tuple[Any, ...]:
    """Make a row as the state gives it; `since` when it fails and `until` when it is in quarantine are times."""
    stamps = (None if moment is None else moment.timestamp() for moment in (since, until))
    return ClientRow(name, group, labels, seen, error, route, *stamps, settings)  # type: ignore[arg-type, call-arg]


def split(
    rows: Any,
    *,
    limit: Any = "",
    holds: Any = (),
    failed: Any = (),
    **marks: Any,
) -> tuple[list[Cohort], ...]:
    """Give the cohorts that are chosen, and the others."""
    choice, marked = Selection.parse(limit, failed), Marks(holds, **marks)
    return gather_cohorts(rows, PROFILES, choice=choice, marks=marked, identity=MINE, now=NOW)


def gather(rows: list[Any], **how: Any) -> list[Cohort]:
    chosen, _others = split(rows, **how)
    return chosen


def names(cohorts: list[Cohort]) -> list[str]:
    return sorted(name for cohort in cohorts for name in cohort.members)


def situation(cohort: Cohort) -> tuple[Any, ...]:
    """Give what the clients of a cohort have in common."""
    told = cohort.unknown, cohort.hold, cohort.unreachable, cohort.since, cohort.selected, cohort.settings
    return cohort.group, cohort.profile, cohort.route, *told


rows = st.lists(
    st.tuples(
        st.sampled_from("gh"),
        st.sampled_from(["[]", '["x"]']),
        st.sampled_from([None, "lost", *PROFILES]),
        st.sampled_from(["", "", "no connection: 1", "client failed: 2"]),
        st.sampled_from(["direct", "direct", "via bridge", "unreachable: no way"]),
        st.sampled_from([None, LONG_AGO, JUST_NOW]),
        st.sampled_from([None, None, LONG_AGO, NOW + timedelta(hours=1)]),
        st.sampled_from(["", "f:v1:d", "f:v2:d", "f:v1:!"]),
    ),
    max_size=12,
).map(
    lambda drawn: [
        row(f"pc-{at}", *rest, since=since, until=until, settings=has)
        for at, (*rest, since, until, has) in enumerate(drawn)
    ]
)


@given(rows, st.sampled_from(["", "*", "x", "!x", "g"]), st.sampled_from([(), (Hold("label=x", "why"),)]))
@settings(max_examples=100)
def test_each_client_is_in_one_cohort_with_its_like_and_the_limit_says_in_which_list(
    drawn: list[Any], limit: str, holds: tuple[Hold, ...]
) -> None:
    wishes = {"pc-0": "f:v1", "pc-1": "f:v2", "pc-2": "f:v1"}
    chosen, others = split(drawn, limit=limit, holds=holds, selects=["label=x", "pc-1*"], settings=wishes)
    choice = Selection.parse(limit, ())
    labels = {"[]": (), '["x"]': ("x",)}
    wanted = [name for name, group, text, *_rest in drawn if choice.takes(name, group, labels[text])]
    assert names(chosen) == sorted(wanted)
    assert names(others) == sorted({entry[0] for entry in drawn} - set(wanted))
    for cohorts in (chosen, others):
        assert len(cohorts) == len(set(map(situation, cohorts)))
    for cohort in (*chosen, *others):
        assert list(cohort.members) == sorted(cohort.members)
        assert (cohort.profile is None) == bool(cohort.unknown or cohort.unreachable)
        assert {group for name, group, *_ in drawn if name in cohort.members} == {cohort.group}


@given(rows, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_rows_makes_no_difference(drawn: list[Any], random: Random) -> None:
    shuffled = list(drawn)
    random.shuffle(shuffled)
    marks = {"selects": ["label=x"], "settings": {"pc-0": "f:v1"}}
    assert set(gather(shuffled, **marks)) == set(gather(drawn, **marks))


def test_an_error_counts_before_what_was_seen_earlier() -> None:
    (cohort,) = gather([row("a", seen="ours", error=TransportError("timed out: 10 s").brief)])
    assert (cohort.profile, cohort.unknown) == (None, "no connection")


@pytest.mark.parametrize("seen", [None, "lost"])
def test_a_client_of_whom_no_profile_is_known_was_not_looked_at(seen: str | None) -> None:
    (cohort,) = gather([row("a", seen=seen)])
    assert cohort.unknown == NEVER_SEEN


def test_what_another_controller_put_there_is_not_compared() -> None:
    cohorts = {cohort.unknown: cohort.members for cohort in gather([row("a", seen="foreign"), row("b", seen="ours")])}
    assert cohorts == {"other controller": ("a",), "": ("b",)}


def test_a_client_without_a_controller_may_have_files_already() -> None:
    made = Profile(installed=(Installed("rules", "1", "a" * 64),))
    (cohort,), others = gather_cohorts(
        [row("a", seen="made")],  # type: ignore[list-item]
        {"made": made},
        choice=Selection(),
        marks=Marks(),
        identity=MINE,
        now=NOW,
    )
    assert cohort.profile is made
    assert others == []


def test_of_several_holds_the_first_that_selects_a_client_counts() -> None:
    holds = (Hold("a", "one", NOW.date()), Hold("*", "two"))
    assert {c.members: c.hold for c in gather([row("a"), row("b")], holds=holds)} == {
        ("a",): "hold until 2026-11-24: one",
        ("b",): "hold: two",
    }


def test_the_clients_that_failed_last_can_be_chosen() -> None:
    fleet = [row("a"), row("b"), row("c")]
    assert names(gather(fleet, limit="@failed", failed={"b"})) == ["b"]
    assert names(gather(fleet, limit="!@failed", failed={"b"})) == ["a", "c"]
    assert names(gather(fleet, limit="@failed", failed=())) == []


@pytest.mark.parametrize("limit", [",", "a:!", "@nobody"])
def test_a_limit_that_is_no_pattern_is_bad_usage(limit: str) -> None:
    with pytest.raises(UsageError, match="--limit: "):
        Selection.parse(limit, ())


def test_clients_that_waves_select_are_told_apart_by_label_and_by_name() -> None:
    fleet = [row("a", labels='["canary"]'), row("b"), row("c"), row("b2", error="no connection: x")]
    selected = {c.members: c.selected for c in gather(fleet, selects=["label=canary", "b*"])}
    assert selected == {
        ("a",): frozenset(["label=canary"]),
        ("b",): frozenset(["b*"]),
        ("b2",): frozenset(["b*"]),
        ("c",): frozenset(),
    }


def test_a_silent_client_says_since_when_so_that_a_gate_can_tell_who_became_unreachable() -> None:
    fleet = [row("a", error="timed out: x", since=LONG_AGO), row("b", error="timed out: y", since=JUST_NOW)]
    assert {c.members: (c.unknown, c.since) for c in gather(fleet)} == {
        ("a",): ("timed out", LONG_AGO),
        ("b",): ("timed out", JUST_NOW),
    }


def test_a_client_in_quarantine_is_held_until_that_is_over() -> None:
    until = datetime(2026, 11, 24, 18, 30, tzinfo=UTC)
    fleet = [row("a", until=until), row("b", until=NOW), row("c", until=LONG_AGO), row("d", until=until)]
    assert {c.members: c.hold for c in gather(fleet, holds=(Hold("d", "INC-1"),))} == {
        ("a",): "quarantine until 2026-11-24T18:30Z: it failed again and again",
        ("b", "c"): "",
        ("d",): "hold: INC-1",
    }


def test_clients_whose_settings_differ_say_what_is_to_be_done_about_them() -> None:
    fleet = [row("a", settings="f:v1:d"), row("b"), row("c", settings="f:v0:d"), row("d", settings="f:v1:!")]
    fleet.append(row("e", settings="f:v0:d"))
    wishes = dict.fromkeys("abcd", "f:v1")
    assert {c.members: c.settings for c in gather(fleet, settings=wishes)} == {
        ("a", "e"): "",
        ("b",): "missing",
        ("c",): "changed",
        ("d",): "damaged",
    }


def test_clients_of_a_group_may_all_have_one_wish() -> None:
    fleet = [row("a", settings="f:v1:d"), row("b", settings="f:v0:d"), row("c", group="other")]
    found = {c.members: c.settings for c in gather(fleet, group_settings={"g": "f:v1"})}
    assert found == {("a",): "", ("b",): "changed", ("c",): ""}


def test_what_a_limit_leaves_out_is_in_its_own_situation_too() -> None:
    fleet = [row("a", labels='["canary"]'), row("b", error="no connection: x", since=LONG_AGO)]
    chosen, others = split(fleet, limit="nobody", selects=["label=canary"])
    assert chosen == []
    assert {c.members: (c.selected, c.since) for c in others} == {
        ("a",): (frozenset(["label=canary"]), None),
        ("b",): (frozenset(), LONG_AGO),
    }


def test_clients_that_answer_stand_together_whenever_they_failed_before() -> None:
    fleet = [row("a", since=LONG_AGO), row("b"), row("c", since=JUST_NOW), row("d", seen=None, since=LONG_AGO)]
    assert {c.members: (c.unknown, c.since) for c in gather(fleet)} == {
        ("a", "b", "c"): ("", None),
        ("d",): (NEVER_SEEN, None),
    }


def test_what_a_clock_that_was_ahead_wrote_of_clients_is_cut_to_now() -> None:
    ahead = NOW + timedelta(days=4000)
    fleet = [row("a", error="timed out: x", since=ahead), row("b", error="timed out: x", since=ahead + timedelta(1))]
    fleet += [row("c", until=ahead)]
    known = {c.members: (c.since, c.hold) for c in gather(fleet, quarantine=timedelta(hours=2))}
    until = NOW + timedelta(hours=2)
    assert known == {
        ("a", "b"): (NOW, ""),
        ("c",): (None, f"quarantine until {until:%Y-%m-%dT%H:%MZ}: it failed again and again"),
    }


def test_one_machine_is_held_under_each_of_its_names_and_both_are_told() -> None:
    told, sentences = say_doubles([["pc-1", "pc-2"], ["a", "b", "c", "d", "e", "f"]])
    text = "pc-1 is the same machine as pc-2 (one install_root): keep one of the names"
    many = "a is the same machine as b, c, d and 2 more (one install_root): keep one of the names"
    assert (told["pc-1"], told["pc-2"], told["d"]) == (text, text, many)
    assert sentences == [text, many]
    found = gather([row("pc-1"), row("pc-2", "h"), row("pc-3")], doubles=told)
    assert {(cohort.members, cohort.hold) for cohort in found} == {
        (("pc-1",), text),
        (("pc-2",), text),
        (("pc-3",), ""),
    }


def test_a_fleet_that_is_listed_twice_is_in_few_situations_all_the_same() -> None:
    doubles = [[f"a{n}", f"b{n}"] for n in range(1000)]
    told, sentences = say_doubles(doubles)
    found = gather([row(name) for pair in doubles for name in pair], doubles=told)
    assert len(found) == MAX_DOUBLES + 1
    assert names(found) == sorted(name for pair in doubles for name in pair)
    assert all(cohort.hold for cohort in found)
    assert sentences[-1] == "950 more machines have several names"


def test_who_is_on_hold_already_stays_so_for_that_reason() -> None:
    told, _sentences = say_doubles([["pc-1", "pc-2"]])
    (cohort, _other) = sorted(
        gather([row("pc-1"), row("pc-2")], holds=[Hold("pc-1", "why")], doubles=told), key=names_of
    )
    assert cohort.hold == "hold: why"


def names_of(cohort: Cohort) -> tuple[str, ...]:
    return tuple(cohort.members)
