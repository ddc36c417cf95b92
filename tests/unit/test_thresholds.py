"""The conditions of `status --fail-on`: what they mean at their edges, and that no text breaks their reader."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.report import ComponentStatus
from reconciler.planner.thresholds import EXAMPLE, breaches, parse_conditions

MEASURES = ("updated", "outdated", "ahead", "unknown")


def status(id_: Any = "rules", *, age: Any = None, **counts: Any) -> Any:
    return ComponentStatus(id_, "2", "2", **{**dict.fromkeys(MEASURES, 0), **counts}, age=age)


def met(text: str, *components: Any) -> Any:
    return breaches(parse_conditions(text), components)


@pytest.mark.parametrize("text", ["outdated>5", "outdated>50%", "updated<5", "updated<50%", "age>48h", "age<48h"])
def test_a_limit_that_is_just_reached_is_not_passed(text: str) -> None:
    assert not met(text, status(outdated=5, updated=5, age=48 * 3600))


@pytest.mark.parametrize("measure", MEASURES)
def test_shares_are_of_all_clients_that_should_have_the_component(measure: Any) -> None:
    component = status(**{**dict.fromkeys(MEASURES, 1), measure: 7})
    assert met(f"{measure}>69.9%", component)
    assert not met(f"{measure}>70%", component)


def test_a_share_is_compared_as_it_is_written() -> None:
    assert not met("outdated>2.3%,outdated<2.3%", status(outdated=69, updated=2931))
    assert met("outdated>2.3%", status(outdated=70, updated=2930))


def test_an_age_that_is_not_known_and_a_component_without_clients_pass_no_limit() -> None:
    assert not met("age>1s,age<99d,outdated>0%", status())
    assert met("updated<1%", status())


def test_what_is_passed_is_named_with_its_component_in_the_words_of_the_user() -> None:
    bad, good = status("rules", outdated=3), status("engine", updated=3)
    assert met(" outdated > 2 , unknown>0", bad, good) == ["rules: outdated > 2"]
    assert met(EXAMPLE, status(outdated=1, updated=1, age=3 * 86400)) == ["rules: age>48h", "rules: outdated>5%"]


@pytest.mark.parametrize(
    "text",
    [
        "outdated>",
        ">5",
        "outdated>=5",
        "outdated>-1",
        "age>5%",
        "age>ten",
        "rate<1",
        "outdated>5%%",
        "outdated>1" + 400 * "0",
        "a\nage>1s",
    ],
)
def test_what_is_no_condition_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="condition|number|duration"):
        parse_conditions(text)


@given(st.text(alphabet="agedout ><%,.0159sh\n٣", max_size=20))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        conditions = parse_conditions(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017  (whether it raises depends on the text)
    else:
        breaches(conditions, [status(age=1, updated=1)])
