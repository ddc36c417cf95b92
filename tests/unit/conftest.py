"""What unit tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree

import pytest

from reconciler.storage.state import State
from tests.fakes import NOW
from tests.unit.workbench import Bench, Groups, Opened


@pytest.fixture(scope="session")
def first_benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Groups], Bench]:
    """Give what makes the first bench of these clients: others begin as its copies, which takes a tenth of the time."""
    made: dict[str, Bench] = {}

    def first(groups: Groups) -> Bench:
        if repr(groups) not in made:
            folder = tmp_path_factory.mktemp("bench")
            with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
                made[repr(groups)] = Bench(folder, state, groups)
        return made[repr(groups)]

    return first


@pytest.fixture
def opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_benches: Callable[[Groups], Bench]
) -> Iterator[Opened]:
    """Give what makes a bench of clients (names, or numbers by group); its state is closed at the end."""
    monkeypatch.setattr("reconciler.client.reach.PAUSE", 0)
    benches: list[Bench] = []

    def make(groups: Groups = ("a", "b", "c")) -> Bench:
        like = first_benches(groups)
        folder = copytree(like.folder, tmp_path / str(len(benches)))
        made: list[Bench] = []
        state = State.open(f"sqlite:///{folder}/state.db", clock=lambda: made[0].now if made else NOW)
        made.append(Bench(folder, state, groups, like))
        benches.extend(made)
        return made[0]

    yield make
    for bench in benches:
        bench.state.close()
