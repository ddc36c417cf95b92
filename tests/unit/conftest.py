"""What unit tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree

import pytest

from reconciler.storage.state import State
from tests.fakes import NOW
from tests.unit.workbench import Bench, Groups, Opened


@pytest.fixture
def bench_on() -> str:
    """Say on which kind of database benches are."""
    return "sqlite"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bench_on" in metafunc.fixturenames and hasattr(metafunc.module, "BENCHES_ON"):
        metafunc.parametrize("bench_on", metafunc.module.BENCHES_ON)


@pytest.fixture(scope="session")
def first_benches(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[str, Groups], Bench]:
    """Give what makes the first bench of these clients: others begin as its copies, which takes a tenth of the time."""
    made: dict[tuple[str, str], Bench] = {}

    def first(kind: str, groups: Groups) -> Bench:
        known = kind, repr(groups)
        if known not in made:
            folder = tmp_path_factory.mktemp("bench")
            url = f"sqlite:///{folder}/state.db"
            if kind != "sqlite":
                url = request.getfixturevalue("postgres_of_worker").fresh(f"bench_{len(made)}")
            with State.open(url, clock=lambda: NOW) as state:
                made[known] = Bench(folder, state, groups, url=url)
        return made[known]

    return first


@pytest.fixture
def opened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first_benches: Callable[[str, Groups], Bench],
    bench_on: str,
    request: pytest.FixtureRequest,
) -> Iterator[Opened]:
    """Give what makes a bench of clients (names, or numbers by group); its state is closed at the end."""
    monkeypatch.setattr("reconciler.client.reach.PAUSE", 0)
    if bench_on != "sqlite":
        request.getfixturevalue("postgres")  # which forgets at the end what the test makes
    benches: list[Bench] = []

    def make(groups: Groups = ("a", "b", "c")) -> Bench:
        like = first_benches(bench_on, groups)
        folder = copytree(like.folder, tmp_path / str(len(benches)))
        made: list[Bench] = []
        url = f"sqlite:///{folder}/state.db"
        if bench_on != "sqlite":
            server = request.getfixturevalue("postgres")
            url = server.empty(server.name_of(like.url))
        state = State.open(url, clock=lambda: made[0].now if made else NOW)
        made.append(Bench(folder, state, groups, like, url=url))
        benches.extend(made)
        return made[0]

    yield make
    for bench in benches:
        bench.state.close()
