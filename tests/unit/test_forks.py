"""How many clients may be under way, silent ones among them, by the word of people."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.commands.worker import _lends
from reconciler.model.spec import THREADS, SiteSpec
from reconciler.worker_file import read_worker_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from reconciler.contracts import Hands
    from reconciler.workspace import Workspace
    from tests.unit.workbench import Opened

    HandsAt: TypeAlias = Callable[[Workspace, str, int], Hands]


@pytest.fixture
def hands_at(monkeypatch: pytest.MonkeyPatch) -> HandsAt:
    """Give what says what an executor gets to work with."""

    def hands_at(work: Workspace, site: str, forks: int) -> Hands:
        got: list[Hands] = []

        class Nobody:
            def open(self, hands: Hands, _forks: int) -> Any:
                got.append(hands)
                return nullcontext()

        monkeypatch.setattr(work.plugins, "executor_of", lambda _site: Nobody())
        work._crew(site, forks)
        return got[0]

    return hands_at


@pytest.mark.parametrize(
    ("forks", "site", "limit", "most"),
    [(5, "", 0, 80), (1, "", 0, 1), (5, "lyon", 0, 80), (5, "lyon", 7, 7), (5, "lyon", 1, 1)],
)
def test_sixteen_for_each_fork_may_be_under_way_unless_people_said_one_at_a_time_or_how_many_at_a_site(
    opened: Opened, hands_at: HandsAt, forks: int, site: str, limit: int, most: int
) -> None:
    bench = opened({"office": 1})
    bench.spec = replace(bench.spec, sites={"lyon": SiteSpec("lyon", ("office",), THREADS, forks=limit)})
    with bench.work() as work:
        given = hands_at(work, site, forks)
        assert given.lends == (most // (limit or forks))
        with given.threads(limit or forks) as pool:
            assert pool._lending.most == most  # type: ignore[attr-defined]


def test_no_more_are_under_way_than_this_machine_has_room_for(
    opened: Opened, hands_at: HandsAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened({"office": 1}).work() as work:
        monkeypatch.setattr(work.plugins, "most", 30)
        with hands_at(work, "", 20).threads(20) as pool:
            assert pool._lending.most == 30  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("setup", "forks", "lends"),
    [({"lends": 16}, 25, 16), ({"lends": 4}, 25, 4), ({"lends": 10**9}, 25, 16), ({"lends": 16}, 1, 1), ({}, 25, 1)],
)
@pytest.mark.parametrize("odd", [0, -1, "16", True, None, 2.5])
def test_a_worker_lends_what_its_setup_says_and_nothing_where_its_file_has_it_work_on_one_at_a_time(
    tmp_path: Path, setup: dict[str, Any], forks: int, lends: int, odd: Any
) -> None:
    path = tmp_path / "worker.yaml"
    path.write_text(f"version: 1\ntransport: {{type: local}}\nforks: {forks}\n")
    assert _lends(setup, read_worker_file(path)) == lends
    assert _lends({**setup, "lends": odd}, None) == 1
