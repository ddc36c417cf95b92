"""What the attacks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.draw import draw_of

if TYPE_CHECKING:
    from random import Random


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> Random:
    """Give a `Random` that chooses alike in each run of the suite; a failed exploration prints its seed."""
    random, seed = draw_of(request.node.name)
    request.node.add_report_section("call", "draw", f"again with EXPLORE_SEED={seed}")
    return random
