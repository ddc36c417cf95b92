from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.formats.clam_signature import (
    ClamKey,
    keys_from,
    number_of,
    numbers_of,
    signs_md5,
    signs_sha256,
    text_of,
)
from reconciler.formats.clamsign import parse_sign, roots_from, signer_of
from tests.clam_signer import KEYS, NOT_AFTER, Authority, private_key, sign_file, sign_md5, sign_pss

DATA = b"ClamAV-VDB:of a test\n"
DIGEST = hashlib.sha256(DATA).digest()
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def accepted_by_a_library(key: ClamKey, signature: str) -> bool:
    public = rsa.RSAPublicNumbers(key.exponent, key.modulus).public_key()
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    try:
        public.verify(number_of(signature).to_bytes(256, "big"), DATA, pss, hashes.SHA256())
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("name", ["cdiff", "info", "long"])
@pytest.mark.parametrize("full", [True, False])
def test_every_signature_of_the_vendor_is_taken_whichever_bits_its_block_has(name: str, full: bool) -> None:
    key = private_key(name)
    assert signs_sha256(key.public, sign_pss(key, DATA, full=full), DIGEST)


def test_a_library_refuses_blocks_of_the_vendor_that_have_a_bit_more_than_their_key() -> None:
    # what the decoder of our own is for; a key of 2048 bits has no such blocks
    short, long = private_key("info"), private_key("long")
    assert short.public.modulus.bit_length() == 2047
    assert not accepted_by_a_library(short.public, sign_pss(short, DATA, full=True))
    assert accepted_by_a_library(long.public, sign_pss(long, DATA, full=True))
    assert accepted_by_a_library(long.public, sign_pss(long, DATA, full=False))


@pytest.mark.parametrize("full", [True, False])
def test_a_signature_is_of_one_key_and_one_content(full: bool) -> None:
    key = private_key("info")
    signature = sign_pss(key, DATA, full=full)
    assert not signs_sha256(private_key("cdiff").public, signature, DIGEST)
    assert not signs_sha256(key.public, signature, hashlib.sha256(DATA + b"x").digest())
    assert not signs_sha256(key.public, text_of(number_of(signature) + key.public.modulus), DIGEST)
    assert not signs_sha256(key.public, "a", DIGEST)


def test_a_container_is_signed_over_all_of_its_digest_and_nothing_else() -> None:
    key = private_key("container")
    digest = hashlib.md5(DATA, usedforsecurity=False).digest()
    assert signs_md5(key.public, sign_md5(key, DATA), digest)
    assert not signs_md5(key.public, sign_md5(key, DATA + b"x"), digest)
    # a block that merely ends in the digest: whoever looks at the end alone would take it
    longer = key.raise_(int.from_bytes(b"\1" + digest, "big"))
    assert not signs_md5(key.public, text_of(longer), digest)


@given(st.integers(0, 2**2048 - 1))
def test_every_number_is_read_as_it_was_written(number: int) -> None:
    assert number_of(text_of(number)) == number


def test_a_number_begins_with_its_least_digit() -> None:
    assert (number_of("b"), number_of("ab"), number_of("/")) == (1, 64, 63)


@pytest.mark.parametrize("text", ["", "a b", "ä", "=", "a" * 401])
def test_what_is_no_number_is_no_signature(text: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        number_of(text)


@given(st.text(st.sampled_from("aZ09+/"), min_size=300, max_size=342))
@settings(max_examples=30)
def test_no_made_up_number_is_a_signature(text: str) -> None:
    assert not signs_sha256(private_key("info").public, text, DIGEST)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_are_read_as_they_were_written_and_known_by_the_digest_of_their_modulus() -> None:
    assert keys_from(numbers_of(KEYS)) == KEYS
    assert KEYS.info is not None
    assert KEYS.info.fingerprint == hashlib.sha256(str(KEYS.info.modulus).encode()).hexdigest()
    assert keys_from({"info": numbers_of(KEYS)["info"]}).cdiff is None


def key(**fields: Any) -> dict[str, Any]:
    return {"info": {**numbers_of(KEYS)["info"], **fields}}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "isn't a mapping of container, cdiff, info"),
        ([], "isn't a mapping"),
        ({"other": {}}, "isn't a mapping"),
        ({"cdiff": numbers_of(KEYS)["cdiff"]}, "no key for info"),
        ({"info": 5}, "the key for info isn't a mapping of modulus and exponent"),
        (key(modulus="0x17"), "the modulus of the key for info is no number"),
        (key(modulus=True), "the modulus of the key for info is no number"),
        (key(modulus="15"), "has 4 bits"),
        (key(modulus=str(2**2047)), "has 2048 bits"),
        (key(exponent=1), "the exponent of the key for info is none"),
        (key(exponent=2**40 + 1), "the exponent of the key for info is none"),
        (key(exponent="x"), "the exponent of the key for info is no number"),
    ],
)
def test_what_are_no_keys_are_refused_by_name(data: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        keys_from(data)


# --- beside a file ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vendor() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def signed(vendor: Authority) -> tuple[Authority, bytes]:
    return vendor, vendor.der(DATA)


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return Authority("A stranger's root")


def signer(sign: bytes, *trusted: Authority, digest: bytes = DIGEST, now: datetime = NOW, **more: Any) -> str | None:
    roots = roots_from([(f"{number}.pem", one.pem) for number, one in enumerate(trusted)])
    return signer_of(sign, digest, roots=roots, now=now, **more)


def test_a_file_is_signed_by_whom_a_trusted_root_vouches_for(vendor: Authority, stranger: Authority) -> None:
    assert signer(vendor.sign(DATA), stranger, vendor) == "Test_datafiles_release"


def test_what_is_signed_otherwise_is_refused(vendor: Authority, stranger: Authority) -> None:
    for sign, says in [
        (vendor.sign(DATA + b"x"), "the signature of another file"),
        (stranger.sign(DATA), "no certificate that is trusted vouches for"),
        (b"#clamsign-1.0\n200::pkcs7-pem:AAAA\n", "isn't a well-formed PKCS#7 signature|no signature in it is good"),
    ]:
        with pytest.raises(ValueError, match=says):
            signer(sign, vendor)


@pytest.mark.parametrize("now", [datetime(2025, 12, 31, tzinfo=UTC), NOT_AFTER + timedelta(seconds=1)])
def test_a_certificate_counts_from_its_first_day_to_its_last(vendor: Authority, now: datetime) -> None:
    with pytest.raises(ValueError, match="is valid from 2026-01-01 to 2030-01-01 only"):
        signer(vendor.sign(DATA), vendor, now=now)


def test_of_several_signatures_the_first_counts_that_verifies(vendor: Authority, stranger: Authority) -> None:
    both = sign_file(("200:", stranger.der(DATA)), ("200:", vendor.der(DATA)))
    assert signer(both, vendor) == "Test_datafiles_release"
    assert signer(both, stranger) == "Test_datafiles_release"


def test_a_signature_for_other_levels_is_passed_over(vendor: Authority, stranger: Authority) -> None:
    lines = sign_file(("200:210", stranger.der(DATA)), ("211:", vendor.der(DATA)))
    assert signer(lines, vendor, flevel=220) == "Test_datafiles_release"
    assert signer(lines, vendor, flevel=100) is None
    with pytest.raises(ValueError, match="no certificate that is trusted"):
        signer(lines, vendor, flevel=205)


def test_comments_blank_lines_and_forms_of_tomorrow_say_nothing(vendor: Authority) -> None:
    mark, line = vendor.sign(DATA).splitlines()
    text = b"\n".join([mark, b"", b"# signed today", b"300::other-form:x", line, b""])
    assert signer(text, vendor) == "Test_datafiles_release"
    assert signer(b"#clamsign-1.0\n300::other-form:x\n", vendor) is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "doesn't begin with #clamsign-1.0"),
        (b"#clamsign-2.0\n", "doesn't begin with"),
        (b"\xff", "isn't ASCII"),
        (b"#clamsign-1.0\nnonsense\n", "line 2 isn't min:max:format:data"),
        (b"#clamsign-1.0\n1::pkcs7-pem:====\n", "line 2 isn't base64"),
        (b"#clamsign-1.0\n" + b"1::pkcs7-pem:AAAA\n" * 17, "more than 16 signatures"),
        (b"x" * 2**19, "more than 262144 bytes"),
    ],
)
def test_what_is_no_file_of_signatures_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_sign(data)


def test_two_certificates_of_one_name_are_refused_with_both_files(vendor: Authority) -> None:
    with pytest.raises(ValueError, match="0.pem and 1.pem both have a certificate of the name 'updoser Test Root'"):
        signer(vendor.sign(DATA), vendor, vendor)
    with pytest.raises(ValueError, match="a.pem has no certificates"):
        roots_from([("a.pem", b"nothing")])
    with pytest.raises(ValueError, match="there is no certificate"):
        roots_from([])


def test_a_certificate_for_something_else_than_files_signs_none() -> None:
    for use, is_good in [
        (ExtendedKeyUsageOID.CODE_SIGNING, True),
        (ExtendedKeyUsageOID.EMAIL_PROTECTION, True),
        (ExtendedKeyUsageOID.SERVER_AUTH, False),
    ]:
        authority = Authority(uses=(use,))
        if is_good:
            assert signer(authority.sign(DATA), authority) == "Test_datafiles_release"
            continue
        with pytest.raises(ValueError, match="the certificate of 'Test_datafiles_release' isn't for signing files"):
            signer(authority.sign(DATA), authority)


def test_a_signer_is_no_authority(vendor: Authority) -> None:
    # somebody to whom the vendor's authority gave a certificate of no right to give others
    impostor = Authority("impostor")
    impostor.signer, impostor.others = impostor.sub_signer(vendor), (vendor.signer, vendor.middle)
    with pytest.raises(ValueError, match="no certificate that is trusted vouches for"):
        signer(impostor.sign(DATA), vendor)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 4), st.binary(max_size=6)), min_size=1, max_size=3))
@settings(max_examples=150)
def test_no_damaged_signature_is_taken_for_another_signer_or_raises_anything_but_a_sentence(
    signed: tuple[Authority, bytes], damage: list[tuple[int, int, bytes]]
) -> None:
    authority, der = signed[0], bytearray(signed[1])
    for at, length, content in damage:
        der[at % len(der) : at % len(der) + length] = content
    says, found = "", None
    try:
        found = signer(sign_file(("1:", bytes(der))), authority)
    except ValueError as error:
        says = str(error)
    assert says.isprintable()
    assert found in {None, "Test_datafiles_release"}  # what was changed may be no part of what is proven
