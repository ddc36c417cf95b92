"""Whether a client has just what it was to get: only then is it taken to have what its likes have."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import ClientError
from reconciler.execute.deploy import Task
from reconciler.model.client import Client
from reconciler.model.deploy import Outcome, Step
from tests.fakes import describe
from tests.unit.deploying import result_with

STEPS = tuple(
    Step(component=name, from_version="", from_digest="", to_version="2", to_digest="b", files=(describe("f", b"x"),))
    for name in ("engine", "rules")
)
WANTED = (Outcome("engine", "changed", "2", "b"), Outcome("rules", "ok", "2", "b"))
OTHERS: list[dict[str, Any]] = [{"status": "failed"}, {"status": "staged"}, {"loaded": "1"}, {"unsaid": "it is late"}]


def result(*outcomes: Outcome, error: Any = None) -> Any:
    return result_with(Task(Client("pc", "g"), STEPS, None), *outcomes, error=error)


def test_a_client_that_changed_or_had_it_has_what_it_was_to_get() -> None:
    assert result(*WANTED).all_as_wanted


@pytest.mark.parametrize(
    "made",
    [
        result(),
        result(WANTED[0]),
        result(*WANTED[::-1]),
        result(*WANTED, error=ClientError("no room")),
        *(result(WANTED[0], replace(WANTED[1], **other)) for other in OTHERS),
    ],
)
def test_a_client_that_said_anything_else_is_looked_at_by_itself(made: Any) -> None:
    assert not made.all_as_wanted
