"""docs/examples-of-plans.md: changes of a fleet, made and planned again."""

import pytest

from docs.make import examples


def test_the_plans_of_six_changes_are_what_updoser_prints_of_them() -> None:
    page = examples.PAGE.read_text(encoding="utf-8")
    assert page == examples.page(page), "the outputs are out of date: `python -m docs.make` makes them anew"


def test_a_diff_that_fits_nowhere_or_at_several_places_is_a_mistake_of_the_page() -> None:
    text = "a: 1\nb: 1\na: 1\n"
    assert examples.edited(text, " b: 1\n-a: 1\n+a: 2\n") == "a: 1\nb: 1\na: 2\n"
    for diff in ("-a: 1\n+a: 2\n", "-c: 1\n"):
        with pytest.raises(ValueError, match="the diff fits"):
            examples.edited(text, diff)
