"""A source that wants to be left alone is, for its time; and bytes come neither too fast nor too slowly."""

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SourceError
from reconciler.web.cooldown import LONGEST, Cooldown, spent_until, waiting_time
from reconciler.web.pace import Floor, parse_rate

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LOG = logging.getLogger("tests")


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta()),
        ("Tue, 24 Nov 2026 13:00:00 GMT", timedelta(hours=1)),
        ("Tue, 24 Nov 2026 11:00:00 GMT", timedelta()),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
        ("9" * 30, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, span: timedelta | None) -> None:
    assert waiting_time(text, NOW) == span


@pytest.mark.parametrize(
    ("headers", "span"),
    [
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)}, timedelta(seconds=90)),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": str(int(NOW.timestamp()) - 5)}, timedelta()),
        ({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 30}, None),
        ({}, None),
    ],
)
def test_an_api_whose_requests_are_used_up_says_until_when(headers: dict[str, str], span: timedelta | None) -> None:
    assert waiting_time(spent_until(headers), NOW) == span


@given(st.text(max_size=30))
def test_no_header_breaks_the_reader(text: str) -> None:
    span = waiting_time(text, NOW)
    assert span is None or span >= timedelta()


def test_each_source_remembers_its_own_time_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    one, other = (Cooldown(tmp_path / name, lambda: NOW, LOG) for name in "ab")
    with pytest.raises(SourceError) as caught:
        one.start(429, "999999999")
    assert caught.value.cooldown_until == NOW + LONGEST
    other.check()
    with pytest.raises(SourceError, match="left alone until 2026-12-01T12:00:00Z: it answered HTTP 429"):
        Cooldown(tmp_path / "a", lambda: NOW, LOG).check()
    Cooldown(tmp_path / "a", lambda: NOW + LONGEST, LOG).check()


def test_a_source_is_left_alone_no_longer_than_it_asked_for_though_the_clock_was_ahead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SourceError):
        Cooldown(tmp_path / "a", lambda: NOW + timedelta(days=4000), LOG).start(429, "3600")
    for minutes in (0, 59):  # what was cut is written down, or it would begin with each look
        with pytest.raises(SourceError) as caught:
            Cooldown(tmp_path / "a", partial(datetime.__add__, NOW, timedelta(minutes=minutes)), LOG).check()
        assert caught.value.cooldown_until == NOW + timedelta(hours=1)
    assert "set by a clock that was ahead" in caplog.text
    Cooldown(tmp_path / "a", lambda: NOW + timedelta(hours=1), LOG).check()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"until": 1}', '{"until": "2026-11-25T00:00:00", "why": "x"}'])
def test_a_memory_that_is_damaged_is_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "a").write_text(content)
    Cooldown(tmp_path / "a", lambda: NOW, LOG).check()


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10MiB/s", 10 * 2**20), ("500 kB/s", None), ("500 KB/s", 500_000), ("1.5GB/s", 1.5e9), ("7B/s", 7)],
)
def test_a_rate_is_bytes_a_second(text: str, rate: float | None) -> None:
    if rate is None:
        with pytest.raises(ValueError, match="isn't a rate"):
            parse_rate(text)
    else:
        assert parse_rate(text) == rate


def test_bytes_that_trickle_are_noticed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("reconciler.web.pace.time.monotonic", lambda: now[0])
    floor = Floor()
    for second in range(1, 30):
        now[0] = float(second)
        assert not floor.count(10)
    now[0] = 30.0
    assert floor.count(10)
    now[0] = 60.0
    assert not floor.count(1_000_000)
