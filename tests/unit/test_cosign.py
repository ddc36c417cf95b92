"""Signatures of cosign: what was signed with the key and is of this artifact is good, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.formats import cosign, oci
from reconciler.formats.cosign import Found, Subject, public_key, verify
from tests.cosign_signer import Signer, payload

MANIFEST = b'{"schemaVersion":2,"config":{},"layers":[]}'
NAME = "ghcr.io/falcosecurity/rules/falco-rules"
SUBJECT = Subject(MANIFEST, [NAME])
OURS, THEIRS = Signer(), Signer()
KEY = public_key(OURS.pem)
SIGNED = payload(MANIFEST, NAME)


def found(content: bytes, signature: str = "") -> Found:
    return Found("sha256-….sig", content, signature)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_each_kind_of_key_and_each_form_of_signature_is_verified(kind: str) -> None:
    signer, other = Signer(kind), Signer(kind)
    forms = [
        found(SIGNED, signer.sign(SIGNED)),
        found(signer.message(MANIFEST)),
        found(signer.statement(SUBJECT.digest)),
    ]
    for form in forms:
        assert verify(SUBJECT, [form], public_key(signer.pem)) is form
        with pytest.raises(ValueError, match="isn't signed with this key"):
            verify(SUBJECT, [form], public_key(other.pem))


@pytest.mark.parametrize("name", [NAME, f"{NAME}:1.2.3", f"{NAME}@sha256:{'0' * 64}"])
def test_an_artifact_may_have_been_signed_with_its_tag_or_digest_beside_its_name(name: str) -> None:
    content = payload(MANIFEST, name)
    assert verify(SUBJECT, [found(content, OURS.sign(content))], KEY).content == content


def test_one_good_signature_among_others_is_enough() -> None:
    good = found(SIGNED, OURS.sign(SIGNED))
    others = [found(SIGNED, THEIRS.sign(SIGNED)), found(b"{}"), found(THEIRS.message(MANIFEST)), found(b"\xff", "?")]
    assert verify(SUBJECT, [*others, good], KEY) is good
    with pytest.raises(ValueError, match=r"none of its signatures is good: .*; and 1 more"):
        verify(SUBJECT, others, KEY)


def test_what_has_no_signature_is_not_signed() -> None:
    with pytest.raises(ValueError, match="no signature"):
        verify(SUBJECT, [], KEY)


def test_a_payload_that_was_changed_after_it_was_signed_is_refused() -> None:
    changed = SIGNED.replace(b"null", b"true")
    with pytest.raises(ValueError, match="was changed since"):
        verify(SUBJECT, [found(changed, OURS.sign(SIGNED))], KEY)


OTHER = b'{"another": "manifest"}'
REFUSED = {
    "another artifact": (payload(OTHER, NAME), "of another artifact"),
    "a name that differs": (payload(MANIFEST, "ghcr.io/falcosecurity/rules/other"), "was signed as"),
    "a name that only begins alike": (payload(MANIFEST, f"{NAME}-evil"), "was signed as"),
    "a port for a tag": (payload(MANIFEST, f"{NAME}:1/x"), "was signed as"),
    "no name": (payload(MANIFEST, ""), "was signed as"),
    "another type": (payload(MANIFEST, NAME, type="atomic container signature"), "of the type"),
    "no image": (payload(MANIFEST, NAME, image=None), "no object image"),
    "a digest that is no text": (payload(MANIFEST, NAME, image={"docker-manifest-digest": 5}), "another artifact"),
    "a list": (b"[]", "isn't an object"),
    "no JSON": (b"<html>", "isn't JSON"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_payload_that_was_signed_and_says_something_else_is_refused(what: str) -> None:
    content, said = REFUSED[what]
    with pytest.raises(ValueError, match=said):
        verify(SUBJECT, [found(content, OURS.sign(content))], KEY)


def changed(bundle: bytes, **changes: Any) -> bytes:
    data = {**json.loads(bundle), **changes}
    return json.dumps({key: value for key, value in data.items() if value is not None}).encode()


DIGEST = SUBJECT.digest
BUNDLES = {
    "the message of another manifest": (OURS.message(OTHER), "of another artifact"),
    "the message of another manifest without its digest": (
        changed(OURS.message(OTHER), messageSignature={"signature": OURS.sign(OTHER)}),
        "isn't signed with this key",
    ),
    "a statement about another artifact": (OURS.statement(oci.digest_of_bytes(OTHER)), "of another artifact"),
    "a statement without a subject": (OURS.statement(DIGEST, subject=None), "no list of subjects"),
    "a statement of another type": (OURS.statement(DIGEST, _type="https://example/"), "of the type"),
    "an attestation": (OURS.statement(DIGEST, predicate="https://slsa.dev/provenance/v1"), "an attestation"),
    "an envelope of something else": (OURS.envelope(b"{}", "text/plain"), "of the type 'text/plain'"),
    "an envelope without signatures": (
        changed(OURS.statement(DIGEST), dsseEnvelope={"payloadType": "application/vnd.in-toto+json", "signatures": []}),
        "signatures",
    ),
    "another media type": (changed(OURS.message(MANIFEST), mediaType="application/json"), "isn't known here"),
    "both forms at once": (changed(OURS.message(MANIFEST), dsseEnvelope={}), "not exactly one"),
    "neither form": (changed(OURS.message(MANIFEST), messageSignature=None), "not exactly one"),
    "a signature that is no base64": (
        changed(OURS.message(MANIFEST), messageSignature={"signature": "???"}),
        "isn't base64",
    ),
    "a giant": (b" " * (cosign.MAX_BYTES + 1), "larger than"),
}


@pytest.mark.parametrize("what", BUNDLES)
def test_a_bundle_that_is_of_something_else_is_refused(what: str) -> None:
    content, said = BUNDLES[what]
    with pytest.raises(ValueError, match=said):
        verify(SUBJECT, [found(content)], KEY)


def test_a_payload_of_one_artifact_is_not_taken_for_the_envelope_of_another() -> None:
    # The signature of the one form over the bytes of the other: what is signed says which form it is of.
    inner = json.loads(OURS.statement(DIGEST))["dsseEnvelope"]
    with pytest.raises(ValueError, match="isn't signed with this key"):
        verify(SUBJECT, [found(SIGNED, inner["signatures"][0]["sig"])], KEY)


def test_a_stack_of_signatures_without_end_is_not_worked_through() -> None:
    bad = found(SIGNED, THEIRS.sign(SIGNED))
    asked = []

    def stack() -> Any:
        while True:
            asked.append(1)
            yield bad

    with pytest.raises(ValueError, match="none of its signatures"):
        verify(SUBJECT, stack(), KEY)
    assert len(asked) <= cosign.MAX_SIGNATURES + 1


def pem_of(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_a_key_that_is_none_is_refused_and_says_why() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem, said in [
        (b"", "no public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        (secret, "private key"),
        (pem_of(ec.generate_private_key(ec.SECP521R1())), "neither"),
        (pem_of(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (b"x" * 20_000, "larger"),
    ]:
        with pytest.raises(ValueError, match=said):
            public_key(pem)


@given(st.binary(max_size=60), st.text(max_size=20))
def test_whatever_stands_beside_an_artifact_is_refused_in_words(content: bytes, signature: str) -> None:
    with pytest.raises(ValueError, match="none of its signatures is good"):
        verify(SUBJECT, [found(content, signature)], KEY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["critical", "image", "identity", "type", "docker-reference", "docker-manifest-digest"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=50, deadline=None)
def test_whatever_else_somebody_signs_with_the_key_is_refused_in_words(data: Any) -> None:
    content = json.dumps(data).encode()
    with pytest.raises(ValueError, match="none of its signatures is good"):
        verify(SUBJECT, [found(content, OURS.sign(content)), found(OURS.envelope(content))], KEY)
