"""Messages on the wire: they come out as they went in, however the bytes arrive, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import ProtocolError
from reconciler.formats.frames import (
    PIECE,
    PREFACE,
    Frame,
    Frames,
    Kind,
    frame,
    json_frame,
    number_frame,
    private_frame,
    want_frame,
)

DIGEST = "ab" * 32
messages = st.tuples(st.sampled_from([Kind.REPORT, Kind.ORDER, Kind.SETUP, Kind.PIECE]), st.binary(max_size=300))


@given(st.lists(messages, max_size=8), st.lists(st.integers(1, 50), min_size=1, max_size=20), st.booleans())
def test_messages_come_out_as_they_went_in_however_the_bytes_arrive(
    sent: list[tuple[Kind, bytes]], cuts: list[int], greeting: bool
) -> None:
    stream = (PREFACE if greeting else b"") + b"".join(frame(kind, body) for kind, body in sent)
    came: list[Frame] = []
    frames, at = Frames(greeting=greeting), 0
    for turn in range(len(stream)):
        cut = cuts[turn % len(cuts)]
        came += frames.feed(stream[at : at + cut])
        at += cut
    assert came == [Frame(kind, body) for kind, body in sent]


def test_questions_and_pieces_say_what_they_are_about() -> None:
    frames = Frames()
    (want,) = frames.feed(want_frame(7, DIGEST, 4096))
    assert want.question == (7, DIGEST, 4096)
    (piece,) = frames.feed(number_frame(Kind.PIECE, 7, b"data"))
    assert (piece.number, piece.rest) == (7, b"data")
    (private,) = frames.feed(private_frame(DIGEST, b"secret"))
    assert private.private == (DIGEST, b"secret")
    (setup,) = frames.feed(json_frame(Kind.SETUP, {"forks": 3}))
    assert setup.json == {"forks": 3}


@pytest.mark.parametrize(
    "stream",
    [
        b"\x63" + bytes(4),
        b"\x00" * 5,
        bytes([Kind.ALIVE]) + b"\0\0\0\x01",
        bytes([Kind.PIECE]) + (PIECE + 5).to_bytes(4, "big"),
        bytes([Kind.ORDER]) + b"\xff\xff\xff\xff",
    ],
)
def test_what_is_no_message_is_refused_before_its_end_is_waited_for(stream: bytes) -> None:
    with pytest.raises(ProtocolError, match="no message of a worker's protocol came"):
        list(Frames().feed(stream))


@pytest.mark.parametrize("short", [Frame(Kind.WANT, b"abc"), Frame(Kind.PIECE, b"ab"), Frame(Kind.PRIVATE, b"a" * 31)])
def test_a_message_that_is_cut_short_is_refused(short: Frame) -> None:
    with pytest.raises(ProtocolError, match="short|without a digest"):
        _ = short.question if short.kind is Kind.WANT else short.private if short.kind is Kind.PRIVATE else short.number


@pytest.mark.parametrize("body", [b"{", b"\xff", b'"\\ud800"', b"[" * 10**5])
def test_json_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="a message HALT came that isn't JSON"):
        _ = Frame(Kind.HALT, body).json


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"Welcome to relay1!\nupdoser worker 1\n", "Welcome to relay1!"),
        (b"sh: updoser: not found\n", "sh: updoser: not found"),
        (b"updoser worker 2\n", "updoser worker 2"),
        (b"\x1b[2Jbell\a", "bell"),
    ],
)
def test_what_is_no_worker_is_told_by_what_it_says(said: bytes, shown: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        list(Frames(greeting=True).feed(said))
    assert shown in raised.value.message
    assert raised.value.message.isprintable()
    assert "must print nothing" in raised.value.hint


def test_a_message_that_is_too_long_is_the_writers_mistake() -> None:
    with pytest.raises(ProtocolError, match="more than is taken"):
        number_frame(Kind.PIECE, 1, bytes(PIECE + 1))


def test_every_kind_of_message_can_be_written() -> None:
    made: list[Any] = [frame(kind) for kind in Kind]
    assert [next(iter(Frames().feed(one))).kind for one in made] == list(Kind)
