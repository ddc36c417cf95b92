"""Names in little room are the names that were put there."""

from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.names import Names, Picked, Run, ends_of, in_parts, places_of, run_of
from reconciler.model.rollout import position

names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=5)
runs = st.lists(st.lists(names, min_size=1, max_size=5), max_size=5)


def flat(listed: Any) -> tuple[str, ...]:
    return tuple(name for run in listed for name in run)


@given(runs)
def test_names_are_what_was_packed_by_group_and_altogether(listed: Any) -> None:
    packed = Names(listed)
    assert tuple(packed) == packed == flat(listed)
    assert (len(packed), hash(packed)) == (len(flat(listed)), hash(flat(listed)))
    assert [packed.run(number) for number in range(len(listed))] == listed
    assert [tuple(Run(packed, number)) for number in range(len(listed))] == [tuple(run) for run in listed]
    assert [len(Run(packed, number)) for number in range(len(listed))] == [len(run) for run in listed]
    assert packed.first == (flat(listed) or ("",))[0]
    assert packed[1:3] == flat(listed)[1:3]


@given(runs)
def test_places_are_those_of_the_names(listed: Any) -> None:
    packed = Names(listed)
    wanted = [position(name) for name in flat(listed)]
    assert list(packed.places) == list(places_of(packed)) == list(places_of(flat(listed))) == wanted
    found = [place for number in range(len(listed)) for place in places_of(Run(packed, number))]
    assert found == wanted


@given(runs, st.integers(0, 2**25 - 1))
def test_some_names_are_picked_by_their_numbers_with_the_groups_that_they_are_of(listed: Any, chosen: int) -> None:
    packed = Names(listed)
    numbers = array("I", [number for number in range(len(packed)) if chosen >> number & 1])
    some = Picked(packed, numbers)
    assert some == tuple(flat(listed)[number] for number in numbers)
    assert list(some.places) == [position(name) for name in some]
    by_group = {}
    for run, (start, end) in enumerate(zip(ends_of(packed), ends_of(packed)[1:], strict=False)):
        inside = [flat(listed)[number] for number in numbers if start <= number < end]
        if inside:
            by_group[run] = inside
    assert list(some.runs) == list(by_group)
    assert [list(run_of(some, at)) for at in range(len(some.runs))] == list(by_group.values())
    assert [list(Run(some, at)) for at in range(len(some.runs))] == list(by_group.values())
    assert [place for at in range(len(some.runs)) for place in Run(some, at).places] == list(some.places)


@given(st.lists(names), st.integers(1, 4))
def test_parts_have_all_names_in_their_order_and_no_more_than_wanted(listed: Any, most: int) -> None:
    parts = list(in_parts(listed, most))
    assert [name for part in parts for name in part] == listed
    assert all(0 < len(part) <= most for part in parts)
