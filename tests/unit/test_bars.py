"""The bar on a terminal: clients, bytes and rate, as far as there is room."""

import io
import sys

import pytest

from reconciler.model.events import Event, LookStarted, Trouble
from reconciler.model.work_events import ClientFinished, DeployStarted, DownloadProgress
from reconciler.present.bars import Bar, parts_of

DEPLOY = DeployStarted("changing 2 clients, wave 1 of 2", clients=2, bytes=3072)
ONE = ClientFinished("a: changed", client="a", outcome="changed", bytes=1536)
BAD = ClientFinished("b: failed", level="error", client="b", outcome="failed")


class Tty(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


def drawn(columns: int, *told: tuple[Event, str]) -> str:
    """Give all that is written to a terminal of so many columns while events are told."""
    terminal = Tty()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", str(columns))
        made = Bar(lambda line: print(line, file=terminal), str)
        for event, line in told:
            made.take(event, line)
        made.close()
    return terminal.getvalue()


@pytest.mark.parametrize(("columns", "rate"), [(140, True), (80, False)])
def test_a_bar_of_clients_counts_them_and_the_bytes_and_a_narrow_one_leaves_out_the_rate(
    columns: int, rate: bool
) -> None:
    text = drawn(columns, (DEPLOY, ""), (ONE, ""))
    assert "changing 2 clients, wave 1 of 2" in text
    assert "1/2" in text
    assert "1.5 KiB/3.0 KiB" in text
    assert ("B/s" in text) is rate


def test_trouble_is_counted_in_the_bar_and_what_is_said_stands_above_it() -> None:
    text = drawn(140, (DEPLOY, ""), (BAD, "b: failed"), (Trouble("odd"), "12:00:00 warning: odd"))
    assert "1 in trouble" in text
    assert "12:00:00 warning: odd" in text
    assert "b: failed" not in text


def test_a_bar_of_downloads_shows_bytes_and_rate() -> None:
    text = drawn(100, (DownloadProgress("x", bytes=1024, total=4096, rate=512, seconds_left=6), ""))
    assert "1.0 KiB/4.0 KiB" in text
    assert "512 B/s" in text


def test_where_nobody_is_looked_at_there_is_no_bar() -> None:
    text = drawn(80, (LookStarted("looking at 0 clients", clients=0), ""), (Trouble("odd"), "12:00:00 warning: odd"))
    assert text == "12:00:00 warning: odd\n"


@pytest.mark.parametrize("clients", [True, False])
def test_a_bar_is_no_wider_than_the_terminal_and_leaves_out_the_rate_first(*, clients: bool) -> None:
    before: list[str] = []
    for width in range(40, 200):
        shown, size = parts_of(width, "changing 3 000 clients", 3000, clients=clients)
        assert len(shown) >= len(before), "a wider terminal shows more"
        assert 6 <= size <= 40
        assert ("rate" in shown) <= ("left" in shown) <= ("bar" in shown) <= ("bytes" in shown)
        before = shown
    assert "rate" in before
