"""Signatures of SSH keys."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.formats.sshsig import SshSignatureError, parse_signers, verify

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 29, tzinfo=UTC)
MESSAGE = b"tree 1\n\nrules\n"


def keygen(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, input=stdin).stdout


def make_key(folder: Path, *kind: str) -> tuple[str, str]:
    """Make a key; give its file and its public line."""
    path = folder / "key"
    keygen("-q", "-N", "", "-C", "", "-f", str(path), "-t", *kind)
    return str(path), path.with_suffix(".pub").read_text().strip()


def sign(key: str, message: bytes = MESSAGE, namespace: str = "git") -> bytes:
    return keygen("-q", "-Y", "sign", "-n", namespace, "-f", key, stdin=message)


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize("kind", [("ed25519",), ("ecdsa", "-b", "256"), ("ecdsa", "-b", "521"), ("rsa", "-b", "2048")])
def test_what_ssh_keygen_signs_is_good_for_those_bytes_that_purpose_and_that_key(
    tmp_path: Path, kind: tuple[str, ...]
) -> None:
    key, public = make_key(tmp_path, *kind)
    signers = parse_signers(f"# who signs\nrelease@example.org {public}\n")
    signature = sign(key)
    found = verify(MESSAGE, signature, "git", signers, NOW)
    assert found.who == "release@example.org"
    assert found.fingerprint in keygen("-l", "-f", key).decode()
    with pytest.raises(SshSignatureError, match="is of other bytes"):
        verify(MESSAGE + b"!", signature, "git", signers, NOW)
    with pytest.raises(SshSignatureError, match="was made for 'file', and not for git"):
        verify(MESSAGE, sign(key, namespace="file"), "git", signers, NOW)
    with pytest.raises(SshSignatureError, match="which isn't one that may sign"):
        verify(MESSAGE, signature, "git", [], NOW)


@pytest.mark.needs("ssh-keygen")
@pytest.mark.parametrize(
    ("options", "good"),
    [
        ('namespaces="git"', True),
        ('namespaces="file,g*"', True),
        ('namespaces="file"', False),
        ('valid-after="20261101",valid-before="20261201Z"', True),
        ('valid-after="20261130"', False),
        ('valid-before="202611280000"', False),
        ("cert-authority", False),
    ],
)
def test_a_key_counts_for_what_and_when_its_line_allows_it(tmp_path: Path, options: str, *, good: bool) -> None:
    key, public = make_key(tmp_path, "ed25519")
    signers = parse_signers(f"release@example.org {options} {public}")
    if good:
        assert verify(MESSAGE, sign(key), "git", signers, NOW).who == "release@example.org"
    else:
        with pytest.raises(SshSignatureError, match="may not sign this|may sign"):
            verify(MESSAGE, sign(key), "git", signers, NOW)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("release@example.org", "it isn't of the form"),
        ("release@example.org ssh-ed25519 !!!!", "no base 64"),
        ("release@example.org ssh-ed25519 AAAAB3NzaC1yc2E=", "it isn't of the form"),
        ("release@example.org sudo ssh-ed25519 AAAAB3NzaC1yc2E=", "`sudo` is no option of a signer"),
        ('release@example.org valid-after="soon" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5', "`soon` isn't a time"),
    ],
)
def test_a_line_of_signers_that_is_none_is_named_by_its_number(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^line 2: .*{says}"):
        parse_signers(f"\n{line}\n")


@given(st.binary(max_size=400))
def test_no_bytes_are_a_good_signature_of_nobody(data: bytes) -> None:
    with pytest.raises(SshSignatureError):
        verify(MESSAGE, data, "git", [], NOW)
