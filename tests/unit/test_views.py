from __future__ import annotations

import pytest

from reconciler.present import views
from reconciler.present.render import View

VIEWS = {name: view for name, view in vars(views).items() if isinstance(view, View)}


@pytest.mark.parametrize("name", VIEWS)
def test_each_part_of_a_view_is_there_when_a_document_is_to_be_shown(name: str) -> None:
    view = VIEWS[name]
    parts = [view.text, view.markdown, view.rows, view.gitlab, view.junit, view.html, view.prometheus]
    late = [part for part in parts if isinstance(part, views.Late)]
    assert late
    assert all(callable(part.found()) for part in late)
