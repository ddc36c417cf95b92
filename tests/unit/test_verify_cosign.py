"""A block `verify` with a key of cosign: what passes, and what is missing told apart from what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.errors import SourceError
from reconciler.formats import cosign
from reconciler.formats.cosign import Found, Subject
from reconciler.plugins.source._verify.material import NotThereError
from reconciler.plugins.source._verify.verification import Verification
from tests.cosign_signer import Signer, payload
from tests.fakes import fake_context
from tests.materials import FolderMaterial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST = b"{}"
NAME = "ghcr.io/a/b"
OURS, THEIRS = Signer(), Signer()
COSIGN = {"cosign": {"key": "ours.pub"}}


class Artifact(FolderMaterial):
    """A material with signatures beside it."""

    signatures: tuple[Found, ...] = ()

    def cosign(self) -> tuple[Subject, Iterator[Found]]:
        return Subject(MANIFEST, [NAME]), iter(self.signatures)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    (tmp_path / "ours.pub").write_bytes(OURS.pem)
    (tmp_path / "all.rules").write_bytes(b"alert")
    (tmp_path / "all.rules.sha256").write_text(f"{'0' * 64}\n")
    return Artifact(tmp_path)


def check(artifact: FolderMaterial, verify: Any) -> Any:
    return Verification(verify, fake_context(artifact.folder)).check(artifact)


def signed(signer: Signer) -> Found:
    content = payload(MANIFEST, NAME)
    return Found("tag", content, signer.sign(content))


def test_an_artifact_that_is_signed_with_the_key_is_proven_by_it(artifact: Artifact) -> None:
    artifact.signatures = (signed(THEIRS), signed(OURS))
    (proof,) = check(artifact, [COSIGN])
    assert (proof.scheme, proof.key) == ("cosign", cosign.fingerprint(cosign.public_key(OURS.pem)))


def test_a_signature_that_is_missing_may_be_passed_over_and_one_that_is_wrong_may_not(artifact: Artifact) -> None:
    other = {"any": [COSIGN, {"sha256": {"file": "{url}.sha256"}}]}
    with pytest.raises(NotThereError, match="has no signature of cosign"):
        check(artifact, [COSIGN])
    with pytest.raises(SourceError, match="says 0000"):
        check(artifact, other)
    artifact.signatures = (signed(THEIRS),)
    with pytest.raises(SourceError, match="isn't signed with this key"):
        check(artifact, other)


def test_what_is_no_artifact_of_a_registry_has_no_signature_of_cosign(artifact: Artifact) -> None:
    with pytest.raises(SourceError, match="only artifacts of a registry"):
        check(FolderMaterial(artifact.folder), [COSIGN])


def test_the_keys_that_are_trusted_are_listed_and_those_that_can_not_be_used(artifact: Artifact) -> None:
    (artifact.folder / "no.pub").write_bytes(b"no key")
    context = fake_context(artifact.folder)
    ways = [COSIGN, {"cosign": {"key": "no.pub"}}, {"cosign": {"key": "gone.pub"}}]
    good, bad, gone = Verification(ways, context).keys()
    assert good.fingerprint == cosign.fingerprint(cosign.public_key(OURS.pem))
    assert "no public key" in bad.problem
    assert "can't be read" in gone.problem
