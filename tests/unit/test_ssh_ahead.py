"""No line waits for a confirmation, and a host next door has no more in its memory than it is quick with."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.plugins.transport import _ssh_pipe
from reconciler.plugins.transport._ssh_ahead import FASTEST, NEAR, POLL, ahead

if TYPE_CHECKING:
    import pytest

SSHD = 2 * 1024 * 1024
windows = st.integers(0, 2**32 - 1)
times = st.floats(0.0, 100.0) | st.just(float("inf"))


@given(windows, times)
def test_a_line_is_full_as_far_as_its_host_grants_it(window: int, round_trip: float) -> None:
    found = ahead(window, round_trip)
    assert 0 <= found <= window
    assert found == window or found + 1 >= FASTEST * (round_trip + POLL)


@given(windows, times, times)
def test_a_host_that_is_farther_away_never_gets_less(window: int, one: float, other: float) -> None:
    near, far = sorted((one, other))
    assert ahead(window, near) <= ahead(window, far)


def test_a_host_next_door_gets_half_of_what_sshd_grants_and_one_far_away_all_of_it() -> None:
    assert ahead(SSHD, 0.0005) == NEAR == SSHD // 2
    assert ahead(SSHD, 0.1) == ahead(SSHD, float("inf")) == SSHD
    assert ahead(32_768, 0.0) == 32_768


def test_a_connection_knows_its_line_by_the_fastest_channel_that_it_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    now, took = 0.0, iter([0.2, 0.0005, 0.2])
    monkeypatch.setattr(_ssh_pipe, "time", SimpleNamespace(monotonic=lambda: now))

    def open_session(**_options: Any) -> Any:
        nonlocal now
        now += next(took)
        return SimpleNamespace(out_window_size=SSHD)

    def expect(*_seconds: float) -> None:
        return None

    connection: Any = SimpleNamespace(open_session=open_session, wire=SimpleNamespace(expect=expect), close=nullcontext)
    with _ssh_pipe.SshPipe(lambda _stack: connection, idle=1, total=1) as pipe:
        granted = [pipe._opened()[0].out_window_size for _ in range(3)]
    assert granted == [SSHD, NEAR, NEAR]
