"""Armour and keyrings of OpenPGP."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.formats.openpgp import binary, certificates, packets

HELLO = "-----BEGIN PGP SIGNATURE-----\nVersion: x\n\naGVsbG8=\n=R/WK\n-----END PGP SIGNATURE-----\n"


def test_armour_is_taken_off_whatever_stands_around_it() -> None:
    assert binary(HELLO.encode(), "SIGNATURE") == b"hello"
    assert binary(f"key of the vendor\n{HELLO}\n{HELLO}".replace("\n", "\r\n").encode(), "SIGNATURE") == b"hellohello"
    assert binary(HELLO.replace("=R/WK\n", "").encode(), "SIGNATURE") == b"hello"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("aGVs", "aGVt", "checksum"),
        ("aGVs", "a!Vs", "isn't base64"),
        ("-----END PGP SIGNATURE-----", "", "no end"),
        ("Version: x\n\n", "", "no empty line"),
        ("SIGNATURE", "SIGNED MESSAGE", "another block of PGP"),
        ("-----BEGIN", "BEGIN", "it has no block"),
    ],
)
def test_armour_that_is_damaged_or_of_another_kind_is_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        binary(HELLO.replace(old, new).encode(), "SIGNATURE")


@given(content=st.binary(max_size=200))
def test_whatever_stands_in_a_keyring_that_has_no_key_a_sentence_says_what_is_wrong(content: bytes) -> None:
    with pytest.raises(ValueError, match="^it "):
        certificates(content)
    with suppress(ValueError):
        assert sum(len(body) for _kind, body in packets(content)) <= len(content)
