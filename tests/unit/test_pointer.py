"""JSON pointers: the examples of RFC 6901, and what none is."""

from typing import Any

import pytest

from reconciler.formats.pointer import value_at

DOCUMENT: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_a_pointer_leads_to_what_the_standard_says(pointer: str, value: object) -> None:
    assert value_at(DOCUMENT, pointer) == value


@pytest.mark.parametrize("pointer", ["/none", "/foo/2", "/foo/00", "/foo/-1", "/foo/-", "/foo/bar", "/foo/0/0"])
def test_a_pointer_to_nothing_says_so(pointer: str) -> None:
    with pytest.raises(KeyError):
        value_at(DOCUMENT, pointer)


@pytest.mark.parametrize("pointer", ["foo", "/~2", "/~"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match="is no JSON pointer"):
        value_at(DOCUMENT, pointer)
