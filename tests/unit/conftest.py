"""What unit tests share."""

import pytest

from reconciler.storage.state import State
from tests.unit.workbench import Bench


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Give what makes a bench of clients (names, or numbers by group); its state is closed at the end."""
    monkeypatch.setattr("reconciler.client.reach.PAUSE", 0)
    benches = []

    def make(groups=("a", "b", "c")):
        folder = tmp_path / str(len(benches))
        folder.mkdir()
        state = State.open(f"sqlite:///{folder}/state.db", clock=lambda: made.now)
        made = Bench(folder, state, groups)
        benches.append(made)
        return made

    yield make
    for bench in benches:
        bench.state.close()
