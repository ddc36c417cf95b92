"""Signatures of minisign, and what the program itself says of ours."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.formats.minisign import (
    WrongSignatureError,
    disagreement,
    new_secret_key,
    prehash,
    read_public_key,
    read_secret_key,
    read_signature,
    sign,
    verify,
)

KEY = new_secret_key()
CONTENT = b"alert tcp any any" * 100
SIGNED = sign(KEY, prehash(iter([CONTENT])), trusted="timestamp:1\tfile:all.rules\thashed")


def run(*command: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*map(str, command)], check=False, capture_output=True, stdin=subprocess.DEVNULL)


def check(content: bytes, signed: bytes = CONTENT) -> None:
    signature = read_signature(content)
    verify(KEY.public, signature, prehash(iter([signed])) if signature.prehashed else signed)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "all.rules").write_bytes(CONTENT)
    return tmp_path


@pytest.mark.needs("minisign")
def test_minisign_takes_what_is_signed_here_and_shows_its_comment(files: Path) -> None:
    (files / "key.pub").write_text(KEY.public.text)
    (files / "all.rules.minisig").write_bytes(SIGNED)
    done = run("minisign", "-V", "-p", files / "key.pub", "-m", files / "all.rules")
    assert done.returncode == 0, done.stderr
    assert b"Trusted comment: timestamp:1\tfile:all.rules\thashed" in done.stdout


@pytest.mark.needs("minisign")
@pytest.mark.parametrize("old", [False, True])
def test_what_minisign_signs_in_both_of_its_forms_is_good(files: Path, old: bool) -> None:
    run("minisign", "-G", "-W", "-p", files / "key.pub", "-s", files / "key.sec")
    run("minisign", "-S", *(["-l"] if old else []), "-s", files / "key.sec", "-m", files / "all.rules")
    key = read_public_key((files / "key.pub").read_bytes())
    signature = read_signature((files / "all.rules.minisig").read_bytes())
    assert signature.prehashed is not old
    verify(key, signature, CONTENT if old else prehash(iter([CONTENT])))
    assert disagreement(signature.comment, name="all.rules") == ""
    assert disagreement(signature.comment, name="old.rules") != ""


@pytest.mark.needs("minisign")
def test_a_secret_key_of_minisign_signs_here_and_ours_signs_there(files: Path) -> None:
    run("minisign", "-G", "-W", "-p", files / "key.pub", "-s", files / "key.sec")
    key = read_secret_key((files / "key.sec").read_bytes())
    assert key.public == read_public_key((files / "key.pub").read_bytes())
    (files / "all.rules.minisig").write_bytes(sign(key, prehash(iter([CONTENT])), trusted="ours"))
    assert run("minisign", "-V", "-p", files / "key.pub", "-m", files / "all.rules").returncode == 0
    (files / "our.sec").write_text(KEY.text)
    run("minisign", "-S", "-W", "-s", files / "our.sec", "-m", files / "all.rules")
    check((files / "all.rules.minisig").read_bytes())


def test_a_key_is_read_again_from_what_is_written_of_it() -> None:
    assert read_secret_key(KEY.text.encode()) == KEY
    assert read_public_key(KEY.public.text.encode()) == KEY.public
    assert read_public_key(KEY.public.text.splitlines()[1].encode()) == KEY.public
    assert read_public_key(KEY.public.text.replace("\n", "\r\n").encode()) == KEY.public


@pytest.mark.parametrize(
    ("at", "says"), [(2, "it has a password; `minisign -C -W` takes it off"), (60, "halves|damaged"), (130, "checksum")]
)
def test_a_secret_key_with_a_password_or_a_flipped_byte_is_refused_by_what_is_wrong(at: int, says: str) -> None:
    comment, line = KEY.text.splitlines()
    data = bytearray(base64.b64decode(line))
    data[at] ^= 1
    with pytest.raises(ValueError, match=says):
        read_secret_key(f"{comment}\n{base64.b64encode(data).decode()}\n".encode())


@given(place=st.integers(0, 73), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_signature_is_never_good(place: int, bit: int) -> None:
    lines = SIGNED.decode().splitlines()
    data = bytearray(base64.b64decode(lines[1]))
    data[place] ^= 1 << bit
    lines[1] = base64.b64encode(data).decode()
    with pytest.raises(ValueError):  # noqa: PT011 - any sentence will do
        check("\n".join(lines).encode())


@given(content=st.binary(max_size=300))
def test_whatever_a_signature_or_a_key_is_a_sentence_says_what_is_wrong(content: bytes) -> None:
    for read in (read_signature, read_public_key, read_secret_key):
        with pytest.raises(ValueError, match="it|its"):
            read(content)


def test_a_signature_over_other_content_or_by_another_key_isnt_good() -> None:
    check(SIGNED)
    with pytest.raises(WrongSignatureError, match=f"isn't what the key {KEY.public.name} signed"):
        check(SIGNED, CONTENT + b"\n")
    other = sign(new_secret_key(), prehash(iter([CONTENT])), trusted="x")
    with pytest.raises(WrongSignatureError, match="it is by the key [0-9A-F]{16}, and not by"):
        check(other)


def test_a_trusted_comment_that_was_changed_isnt_good() -> None:
    with pytest.raises(WrongSignatureError, match="trusted comment"):
        check(SIGNED.replace(b"file:all.rules", b"file:new.rules"))


def test_a_signature_of_one_file_doesnt_go_with_the_comment_of_another() -> None:
    other = sign(KEY, prehash(iter([b"other"])), trusted="file:new.rules").decode().splitlines()
    with pytest.raises(WrongSignatureError, match="trusted comment"):
        check("\n".join([*SIGNED.decode().splitlines()[:2], *other[2:]]).encode())


@pytest.mark.parametrize(
    ("comment", "says"),
    [
        ("timestamp:1\tfile:all.rules\thashed", ""),
        ("timestamp:1 file:all.rules version:7", ""),
        ("file:all.rules version: v7", ""),
        ("released by somebody, profile:x", ""),
        ("timestamp:1\tfile:old.rules\thashed", "it was made for the file old.rules, and not for all.rules"),
        ("timestamp:1\tfile:all rules\thashed", "it was made for the file all rules, and not for all.rules"),
        ("version:6", "it was made for the version 6, and not for 7"),
        ("version:7 version:6", "it was made for the version 6, and not for 7"),
    ],
)
def test_what_a_trusted_comment_says_of_file_and_version_must_be_so(comment: str, says: str) -> None:
    assert disagreement(comment, name="all.rules", version="7") == says


@pytest.mark.parametrize("comment", ["two\nlines", "x" * 9000, "\x1b[2J"])
def test_a_comment_that_isnt_one_line_is_never_signed(comment: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        sign(KEY, b"", trusted=comment)
