"""The PostgreSQL that tests run on is like one out there, and each test has its own."""

from collections.abc import Callable
from pathlib import Path

from reconciler.storage.state import State
from tests.fakes import NOW
from tests.postgres import Postgres


def test_two_states_of_a_test_are_two(url_of: Callable[[Path], str], tmp_path: Path) -> None:
    urls = [url_of(tmp_path / name) for name in "ab"]
    for name in "ab":
        (tmp_path / name).mkdir()
    lineages = set()
    for url in urls:
        with State.open(url, clock=lambda: NOW) as state:
            lineages.add(state.identity().lineage)
    assert len(lineages) == 2
    assert url_of(tmp_path / "a") == urls[0]


def test_a_server_orders_texts_as_people_do(postgres: Postgres) -> None:
    assert postgres.ask("SELECT 'b' < 'A', 'b' COLLATE \"C\" < 'A'") == [(False, False)]
    assert postgres.ask("SELECT 'a' < 'B', 'a' COLLATE \"C\" < 'B'") == [(True, False)]
