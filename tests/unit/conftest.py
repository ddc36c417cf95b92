"""What unit tests share."""

from shutil import copytree

import pytest

from reconciler.storage.state import State
from tests.fakes import NOW
from tests.unit.workbench import Bench


@pytest.fixture(scope="session")
def first_benches(tmp_path_factory):
    """Give what makes the first bench of these clients: others begin as its copies, which takes a tenth of the time."""
    made = {}

    def first(groups):
        if repr(groups) not in made:
            folder = tmp_path_factory.mktemp("bench")
            with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
                made[repr(groups)] = Bench(folder, state, groups)
        return made[repr(groups)]

    return first


@pytest.fixture
def opened(tmp_path, monkeypatch, first_benches):
    """Give what makes a bench of clients (names, or numbers by group); its state is closed at the end."""
    monkeypatch.setattr("reconciler.client.reach.PAUSE", 0)
    benches = []

    def make(groups=("a", "b", "c")):
        like = first_benches(groups)
        folder = copytree(like.folder, tmp_path / str(len(benches)))
        made = []
        state = State.open(f"sqlite:///{folder}/state.db", clock=lambda: made[0].now if made else NOW)
        made.append(Bench(folder, state, groups, like))
        benches.extend(made)
        return made[0]

    yield make
    for bench in benches:
        bench.state.close()
