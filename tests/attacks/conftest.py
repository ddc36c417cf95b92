"""What the attacks share."""

import pytest

from tests.draw import draw_of


@pytest.fixture
def draw(request):
    """Give a `Random` that chooses alike in each run of the suite; a failed exploration prints its seed."""
    random, seed = draw_of(request.node.name)
    request.node.add_report_section("call", "draw", f"again with EXPLORE_SEED={seed}")
    return random
