"""An error of one part is taken, so that the others go on; what ends them all passes."""

from typing import Any

import pytest

from reconciler.errors import BusyError, LimitError, SourceError
from reconciler.guards import Caught, blaming


@pytest.mark.parametrize("error", [SourceError("it is away"), BusyError("somebody changes it")])
def test_an_error_of_one_part_is_taken_and_can_be_told(error: Any) -> None:
    with Caught() as caught:
        raise error
    assert caught.error is error
    assert caught.brief == error.brief


def test_what_nobody_expected_is_taken_once_it_is_blamed_on_the_part() -> None:
    with Caught() as caught, blaming("reading rules"):
        raise ValueError("odd")
    assert caught.brief == "fault of updoser: reading rules: ValueError: odd"


@pytest.mark.parametrize(
    "error", [LimitError("no more descriptors"), ValueError("odd"), KeyboardInterrupt(), SystemExit()]
)
def test_a_limit_of_this_machine_and_what_is_no_error_of_ours_pass(error: Any) -> None:
    with pytest.raises(type(error)), Caught():
        raise error


def test_good_work_leaves_nothing_to_tell() -> None:
    with Caught() as caught:
        pass
    assert (caught.error, caught.brief) == (None, "")
