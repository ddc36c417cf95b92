"""Small content is opened once however many clients are sent it; only what its digest says is kept, and not much."""

import hashlib
from collections import Counter
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pytest

from reconciler.content.small import SmallInMemory

DATA = bytes(range(200))


class Pieces(BytesIO):
    """A stream that gives a few bytes at a time, as a line from elsewhere does."""

    def read(self, size: Any = -1, /) -> bytes:
        return super().read(size if size < 0 else min(size, 7))


class Place:
    """A place of content that counts how often each is opened."""

    def __init__(self, *contents: bytes, kind: type[BytesIO] = BytesIO) -> None:
        self.contents = {hashlib.sha256(content).hexdigest(): content for content in contents}
        self.opened = Counter[str]()
        self._kind = kind

    @contextmanager
    def open(self, sha256: str) -> Any:
        self.opened[sha256] += 1
        yield self._kind(self.contents[sha256])


def read(small: Any, sha256: str, size: int = -1) -> bytes:
    with small.open(sha256) as stream:
        return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("kind", [BytesIO, Pieces])
@pytest.mark.parametrize("size", [-1, 1, 64, 1000])
def test_small_content_is_opened_once_and_is_the_same_for_all(kind: Any, size: int) -> None:
    place = Place(DATA, kind=kind)
    small, (sha256,) = SmallInMemory(place.open), place.contents
    assert [read(small, sha256, size) for _ in range(3)] == [DATA] * 3
    assert place.opened[sha256] == 1


@pytest.mark.parametrize("kind", [BytesIO, Pieces])
@pytest.mark.parametrize("size", [-1, 1, 64, 1000])
def test_large_content_is_read_from_its_place_each_time(kind: Any, size: int) -> None:
    place = Place(DATA, kind=kind)
    small, (sha256,) = SmallInMemory(place.open, largest=len(DATA) - 1), place.contents
    assert [read(small, sha256, size) for _ in range(3)] == [DATA] * 3
    assert place.opened[sha256] == 3


def test_large_content_comes_as_it_was_asked_for_and_not_in_the_piece_that_was_looked_at() -> None:
    place = Place(DATA)
    (sha256,) = place.contents
    with SmallInMemory(place.open, largest=50).open(sha256) as stream:
        assert [stream.read(10), stream.read(150), stream.read(150), stream.read(1)] == [
            DATA[:10],
            DATA[10:160],
            DATA[160:],
            b"",
        ]


def test_content_that_isnt_what_its_digest_says_is_given_as_it_is_and_not_kept() -> None:
    place = Place(DATA)
    small, (sha256,) = SmallInMemory(place.open), place.contents
    place.contents[sha256] = b"damaged"
    assert read(small, sha256) == b"damaged"
    place.contents[sha256] = DATA
    assert read(small, sha256) == DATA


def test_what_is_kept_has_a_limit_and_the_oldest_goes_first() -> None:
    place = Place(b"first", b"again", b"third")
    small, (first, second, third) = SmallInMemory(place.open, room=10), place.contents
    for sha256 in (first, second, third, third, second, first):
        read(small, sha256)
    assert place.opened == {first: 2, second: 1, third: 1}
