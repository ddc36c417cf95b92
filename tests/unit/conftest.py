"""What unit tests share."""

import pytest

from reconciler.storage.state import State
from tests.fakes import NOW
from tests.unit.workbench import Bench


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Give what makes a bench of clients (names, or numbers by group); its state is closed at the end."""
    monkeypatch.setattr("reconciler.client.reach.PAUSE", 0)
    benches = []

    def make(groups=("a", "b", "c")):
        folder = tmp_path / str(len(benches))
        folder.mkdir()
        made = []
        state = State.open(f"sqlite:///{folder}/state.db", clock=lambda: made[0].now if made else NOW)
        made.append(Bench(folder, state, groups))
        benches.extend(made)
        return made[0]

    yield make
    for bench in benches:
        bench.state.close()
