"""Patterns that take nobody are an error on the command line, and told where the spec has them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import UsageError
from reconciler.formats.select import parse
from reconciler.observe.idle import check_limit, notes_of
from reconciler.storage.fleet import ClientRow


def row(name: Any, group: Any = "branch", *labels: Any) -> Any:
    return ClientRow(name, group, json.dumps(labels), None, "", "direct", None, None, "")


FLEET = [row("pc-1", "branch", "eu", "canary"), row("pc-2", "branch", "eu"), row("db-1", "dmz")]


@pytest.mark.parametrize(
    ("limit", "named", "hint"),
    [
        ("pc-1,pc-9", "`pc-9` takes no client", "did you mean `pc-"),
        ("pc-1,pc-9,pc-8*", "`pc-9`, `pc-8*` take no client", "did you mean"),
        ("branch:&canry", "`&canry` takes no client", "did you mean `canary`?"),
        ("branch:!pc-9", "`!pc-9` takes no client", "did you mean"),
        ("group=dmzz", "`group=dmzz` takes no client", "did you mean `dmz`?"),
        ("zzzzzzzz", "`zzzzzzzz` takes no client", "updoser plan --diff"),
        ("@failed", "`@failed` takes no client", ""),
    ],
)
def test_each_part_of_a_limit_that_takes_nobody_is_an_error_with_its_name(limit: Any, named: Any, hint: Any) -> None:
    with pytest.raises(UsageError) as raised:
        check_limit(parse(limit, {"failed": ()}), FLEET)
    assert named in str(raised.value)
    assert hint in str(raised.value)


@pytest.mark.parametrize("limit", ["*", "pc-1,db-*", "branch:&canary:!pc-2", "label=eu", "group=dmz", "!db-1"])
def test_a_limit_of_which_each_part_takes_somebody_is_good(limit: Any) -> None:
    check_limit(parse(limit), FLEET)


@given(st.lists(st.sampled_from(["pc-1", "pc-2", "db-1", "eu", "dmz", "x", "&y", "!z", "&eu", "!pc-*"]), min_size=1))
def test_a_limit_is_refused_exactly_when_it_or_one_of_its_parts_takes_nobody(terms: Any) -> None:
    try:
        check_limit(parse(",".join(terms)), FLEET)
        refused = False
    except UsageError:
        refused = True
    assert refused == (bool({"x", "&y", "!z"} & set(terms)) or not taken(set(terms)))


def taken(terms: set[str]) -> set[str]:
    """Give whom terms take that are all known."""
    members = {"pc-1": {"pc-1"}, "pc-2": {"pc-2"}, "db-1": {"db-1"}, "eu": {"pc-1", "pc-2"}, "dmz": {"db-1"}}
    added = [members[term] for term in terms if term in members]
    left = set().union(*added) if added else {"pc-1", "pc-2", "db-1"}
    left &= members["eu"] if "&eu" in terms else left
    return left - (members["eu"] if "!pc-*" in terms else set())


def test_a_pattern_of_the_spec_that_takes_nobody_is_told_and_one_that_stands_guard_is_not() -> None:
    patterns = {"hold of db-1,db-18,!pc-7": "db-1,db-18,!pc-7", "waves that select label=canary": "label=canary"}
    assert notes_of(patterns, FLEET) == ["hold of db-1,db-18,!pc-7: `db-18` takes no client; did you mean `db-1`?"]
    assert notes_of({}, FLEET) == []
