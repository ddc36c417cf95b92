"""A look with `--no-exec` sees what the state remembers, and changes nothing that lasts."""

from pathlib import Path

import pytest

from reconciler.errors import StateError
from reconciler.storage.scratch import scratch_state
from reconciler.storage.state import State
from tests.fakes import NOW


def test_a_copy_remembers_what_the_state_does_and_is_changed_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    with State.open(url, clock=lambda: NOW) as state:
        state.record_plan("p-1", "digest", 0, NOW)
    with scratch_state(url, lambda: NOW) as copy:
        assert copy.plan_record("p-1") is not None
        copy.record_plan("p-2", "digest", 0, NOW)
    with State.open(url, clock=lambda: NOW) as state:
        assert state.plan_record("p-2") is None


@pytest.mark.parametrize("url", ["sqlite:///{}/none.db", "postgresql://localhost/updoser"])
def test_where_no_file_is_the_copy_is_empty_and_nothing_is_made(tmp_path: Path, url: str) -> None:
    with scratch_state(url.format(tmp_path), lambda: NOW) as copy:
        assert not copy.rollouts()
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database" * 400)
    with (
        pytest.raises(StateError, match="can't be read: file is not a database"),
        scratch_state(f"sqlite:///{tmp_path}/state.db", lambda: NOW),
    ):
        pass
