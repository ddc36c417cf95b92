"""Conditions of `--where`: how they are written, and of which clients they hold."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.formats.filter import Filter
from reconciler.formats.where import FIELDS, STATES, Bound, Condition, address_of, conditions_of, parse_where
from reconciler.model.listing import ListedComponent
from reconciler.model.version import SCHEMES

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KNOWN = {"virus-pattern": SCHEMES["pattern"], "engine": SCHEMES["dotted"], "rules": SCHEMES["integer"]}
HAS = (
    ListedComponent("virus-pattern", "16.677.00", "16.679.00", "outdated", behind=2),
    ListedComponent("engine", "1.9", "1.9", "updated"),
    ListedComponent("rules", "", "7", "missing"),
)


def found(where: str, words: Any = ()) -> list[str]:
    """Give the components of which conditions hold."""
    made = Filter(parse_where(where), KNOWN, ["office", "branch"], NOW)
    return [one.id for one in made.components(HAS, words)]


def takes(where: str, **client: Any) -> bool:
    seen = {"name": "pc-1", "group": "branch", "labels": ("canary",), "platform": "linux-x86_64", "seen": NOW}
    return Filter(parse_where(where), KNOWN, ["office", "branch"], NOW).takes(
        **{**seen, "error": "", "reason": "", "known": True, **client}
    )


@pytest.mark.parametrize(
    ("where", "of"),
    [
        ("component=virus-pattern version<16.679 state=outdated", ["virus-pattern"]),
        ("component=virus-pattern version<16.677", []),
        ("component=virus-pattern version=16.677", ["virus-pattern"]),
        ("component=virus-pattern version>=16", ["virus-pattern"]),
        ("version=1.9", ["engine"]),
        ("version<1.10", ["engine"]),
        ("component=rules version!=7", ["rules"]),
        ("component=rules version=7", []),
        ("version=missing", ["rules"]),
        ("version=missing,1.9", ["engine", "rules"]),
        ("version!=missing", ["virus-pattern", "engine"]),
        ("component=*-pattern,engine", ["virus-pattern", "engine"]),
        ("component!=virus-pattern,engine", ["rules"]),
        ("state=outdated", ["virus-pattern", "rules"]),
        ("state=missing", ["rules"]),
        ("state!=updated", ["virus-pattern", "rules"]),
        ("version=1.9 state=outdated", []),
        ("behind=2", ["virus-pattern"]),
        ("behind=0,2", ["virus-pattern", "engine"]),
        ("behind<2", ["engine"]),
        ("behind<=2 state=updated,outdated", ["virus-pattern", "engine"]),
        ("behind>2", ["rules"]),
        ("behind>=2", ["virus-pattern", "rules"]),
    ],
)
def test_conditions_on_components_hold_of_the_same_component(where: str, of: list[str]) -> None:
    assert found(where) == of


def test_a_state_of_the_client_holds_of_each_of_its_components() -> None:
    assert found("state=held component=engine", {"held"}) == ["engine"]
    assert found("state=held", {"failed"}) == []
    assert found("state!=held", {"held"}) == []


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ("group=branch", True),
        ("group!=branch", False),
        ("group=office,branch name=pc-*", True),
        ("label=can*", True),
        ("label!=canary", False),
        ("platform=windows-*", False),
        ("seen<2d", True),
        ("seen>2d", False),
        ("seen=never", False),
        ('error~"timed out"', False),
        ("error!~timed", True),
        ("reason=disk,silent", True),
        ("reason=busy", False),
        ("reason!=disk", False),
        ("known=yes", True),
        ("known=no", False),
        ("current=no", True),
        ("current=yes", False),
    ],
)
def test_conditions_on_a_client(where: str, holds: bool) -> None:
    assert takes(where, reason="disk") is holds


def test_a_name_that_looks_like_a_glob_is_found_as_it_is_written() -> None:
    assert takes("name=pc[1] label=b?d*", name="pc[1]", labels=("b?d*",))
    assert not takes("name!=pc[1]", name="pc[1]")


def test_who_was_never_seen_was_not_seen_for_any_span() -> None:
    assert takes("seen>9d", seen=None)
    assert not takes("seen<9d", seen=None)
    assert takes("seen=never", seen=None)
    assert takes("seen>1d", seen=NOW - timedelta(hours=25))


def test_an_error_is_found_by_a_part_of_it_in_any_case() -> None:
    assert takes('error~"TIMED OUT"', error="no connection: pc-1 timed out")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "no condition; fields are: behind"),
        ("stat=x", "at character 1: there is no field `stat`; did you mean `state`"),
        ("group=branch stat=x", "at character 14: there is no field"),
        ("branch", "at character 1: `branch` is no condition"),
        ("group<branch", "at character 6: `group` takes =, !=, not <"),
        ("state=old", "at character 7: there is no state `old`; "),
        ("state=", "a value is missing for `state=`"),
        ("behind<two", "at character 8: `behind` takes a number of releases, such as behind>=2, not `two`"),
        ("behind!=1", "`behind` takes =, <, <=, >, >=, not !="),
        ("current=perhaps", "there is no current `perhaps`"),
        ("seen<soon", "'soon' is no duration"),
        ("seen=2d", "`seen` takes < or >"),
        ('name="a"b', "a blank is missing"),
        ("component=virus-patern", "there is no component `virus-patern`; did you mean `virus-pattern`"),
        ("group=ofice", "did you mean `office`"),
        ("version<abc", "is not a version of the scheme"),
        ("component=engine version<1.x", "version<1.x: '1.x' is not a version of the scheme dotted"),
    ],
)
def test_a_bad_condition_is_told_with_its_place_and_what_is_allowed(where: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        Filter(parse_where(where), KNOWN, ["office", "branch"], NOW)
    assert message in str(error.value)


@given(st.text(max_size=60))
def test_whatever_is_written_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        conditions = parse_where(text)
    except ValueError:
        return
    assert conditions
    assert {one.field for one in conditions} <= set(FIELDS)


@given(
    st.sampled_from(["=", "<", "<=", ">", ">="]),
    st.tuples(*[st.integers(0, 30), st.integers(100, 999), st.integers(0, 99)]),
    st.tuples(*[st.integers(0, 30), st.integers(100, 999), st.integers(0, 99)]),
    st.integers(1, 3),
)
def test_versions_compare_by_number_as_far_as_a_beginning_goes(sign: str, mine: Any, other: Any, fields: int) -> None:
    text = ".".join((str(other[0]), f"{other[1]:03}", f"{other[2]:02}")[:fields])
    holds = {"=": "__eq__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}[sign]
    expected = getattr(mine[:fields], holds)(other[:fields])
    assert Bound(sign, text, SCHEMES["pattern"]).holds(mine) is expected


@pytest.mark.parametrize(
    ("address", "where"),
    [
        (
            [("state", "outdated"), ("component", "rules"), ("state", "missing")],
            "state=outdated,missing component=rules",
        ),
        ([("state", "!unknown,held"), ("version", "<16.679")], "state!=unknown,held version<16.679"),
        ([("version", ">=1"), ("version", "< 3"), ("seen", ">7d")], "version>=1 version<3 seen>7d"),
        ([("group", "branch"), ("name", "web-*"), ("label", "!old"), ("seen", "never")], None),
        (
            [("error", "timed out"), ("error", "!proxy"), ("reason", "silent")],
            'error~"timed out" error!~proxy reason=silent',
        ),
        ([("behind", ">1"), ("behind", "<=3"), ("current", "yes")], "behind>1 behind<=3 current=yes"),
        ([("behind", "1"), ("behind", "2")], "behind=1,2"),
        ([("version", ""), ("group", " ")], None),
    ],
)
def test_an_address_says_what_a_command_line_does(address: Any, where: str | None) -> None:
    said = {
        None: {
            Condition("group", "=", ("branch",)),
            Condition("name", "=", ("web-*",)),
            Condition("label", "!=", ("old",)),
            Condition("seen", "=", ("never",)),
        }
    }
    expected = said[None] if where is None else set(parse_where(where))
    assert set(conditions_of(address)) == (expected if any(text.strip() for _field, text in address) else set())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ([("stat", "x")], "there is no field `stat`; did you mean `state`"),
        ([("state", "old")], "state=old: there is no state `old`"),
        ([("seen", "7d")], "seen=7d: `seen` takes < or >"),
        ([("seen", ">soon")], "seen=>soon: 'soon' is no duration"),
        ([("version", "<")], "version=<: a value is missing"),
        ([("reason", "dsik")], "there is no reason `dsik`; did you mean `disk`"),
        ([("name", "a" * 5000)], "more than 4000 characters"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_with_what_is_wrong_in_it(address: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        conditions_of(address)


VALUES = st.one_of(st.sampled_from(["a", "!a", "=a", "<1", ">2", "a,b", " a ", "web-*", "é&b=c"]), st.text(min_size=1))
CONDITIONS = st.one_of(
    st.builds(
        Condition,
        st.sampled_from(["name", "group", "label", "platform", "version"]),
        st.sampled_from(["=", "!="]),
        st.lists(VALUES, min_size=1, max_size=3, unique=True).map(tuple),
    ),
    st.builds(
        Condition, st.just("state"), st.sampled_from(["=", "!="]), st.sampled_from(STATES).map(lambda one: (one,))
    ),
    st.builds(Condition, st.just("error"), st.sampled_from(["~", "!~"]), VALUES.map(lambda one: (one,))),
    st.builds(Condition, st.just("version"), st.sampled_from(["<", ">", "<=", ">="]), st.just(("1.2",))),
    st.builds(Condition, st.just("behind"), st.sampled_from(["<", ">", "<=", ">="]), st.just(("2",))),
    st.builds(Condition, st.just("seen"), st.sampled_from(["<", ">"]), st.just(("7d",))),
)


@given(st.lists(CONDITIONS, max_size=3, unique_by=lambda one: (one.field, one.sign)))
def test_the_address_of_conditions_says_just_these(conditions: Any) -> None:
    said = [one for one in conditions if one.sign in {"=", "~"} or all(value.strip() == value for value in one.values)]
    assert set(conditions_of(address_of(said))) == set(said)
