"""Signatures that cosign makes of artifacts of a registry, verified with a public key.

Two forms are known: the *payload* of a simple signing, whose signature stands in an annotation of the layer that it is
(all versions before 3), and the *bundle* of Sigstore (version 0.3), with the signature of the manifest's bytes, or of
a statement (in-toto, in a DSSE envelope) that names its digest.

* What was signed must be about this artifact: the payload has its digest and one of its names, the statement has its
  digest among its subjects and is a signature (of the `sign` predicate), no attestation of something else.
* Anybody may put a signature beside an artifact, so that one that is good is enough, and others don't matter.
* Keys are those that are given: certificates and the transparency log of keyless signatures aren't looked at.

Sources of the rules: cosign's SIGNATURE_SPEC and BUNDLE_SPEC, sigstore_bundle.proto 0.3, the DSSE protocol 1.0.2,
in-toto's Statement v1, and containers/image's simple signing.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.formats.oci import DIGEST, digest_of_bytes
from reconciler.formats.text import read_object

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    PublicKey = EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""Media types: of a layer that is a payload, and of one that is a bundle (also as the type of its artifact)."""
SIGNATURE = "dev.cosignproject.cosign/signature"
"""The annotation of a payload's layer with the signature, in base64."""
MAX_BYTES = 2**20
"""Of a payload or a bundle; cosign itself makes some hundred, or some thousand."""
MAX_SIGNATURES = 100
"""How many are looked at of an artifact."""
MAX_KEY = 16_384
RSA_BITS = range(2048, 8193)
_TYPE = "cosign container image signature"
_TYPES = frozenset({_TYPE, "https://sigstore.dev/cosign/sign/v1"})
_STATEMENTS = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_IN_TOTO = "application/vnd.in-toto+json"
_SIGN = "https://sigstore.dev/cosign/sign/v1"
_SHOWN = 3
_MAX_LIST = 1000


@dataclass(frozen=True, slots=True)
class Subject:
    """What signatures must be of: the manifest's bytes, and the names that they may call the artifact by."""

    manifest: bytes
    names: Collection[str]

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of_bytes(self.manifest)


@dataclass(frozen=True, slots=True)
class Found:
    """What stands beside an artifact: a bundle, or a payload with its `signature` (base64), and the `place` of it."""

    place: str
    content: bytes
    signature: str = ""

    @property
    def is_bundle(self) -> bool:
        """True for a bundle, which has its signature in it."""
        return not self.signature


def signature_tag(digest: str) -> str:
    """Give the tag under which a registry has the payloads that are about a digest."""
    return f"{digest.replace(':', '-', 1)}.sig"


def public_key(pem: bytes) -> PublicKey:
    """Read a public key, as `cosign generate-key-pair` writes it: ECDSA on P-256, RSA or Ed25519.

    Raises:
        ValueError: it isn't one.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if len(pem) > MAX_KEY:
        raise ValueError(f"it is larger than {MAX_KEY} bytes")
    if b"PRIVATE KEY" in pem:
        raise ValueError("it is a private key, which belongs to whoever signs; the public one is wanted")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("it is no public key in PEM form (-----BEGIN PUBLIC KEY-----)") from error
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size in RSA_BITS:
            return key
        raise ValueError(f"an RSA key of {key.key_size} bits isn't taken")
    raise ValueError("it is neither an ECDSA key on P-256, nor an RSA or Ed25519 one")


def fingerprint(key: PublicKey) -> str:
    """Give the SHA-256 of a key's DER form (SubjectPublicKeyInfo) in hexadecimal; bundles name keys by it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def verify(subject: Subject, found: Iterable[Found], key: PublicKey) -> Found:
    """Give the first signature that is good: made with the key, and of this artifact.

    Raises:
        ValueError: none is; the message says what is wrong with the first of them.
    """
    wrong: list[str] = []
    for number, signature in enumerate(found):
        if number >= MAX_SIGNATURES:
            wrong.append(f"more than {MAX_SIGNATURES} signatures aren't looked at")
            break
        try:
            if signature.is_bundle:
                _check_bundle(signature.content, subject, key)
            else:
                _check_payload(signature, subject, key)
        except ValueError as error:
            wrong.append(f"{signature.place}: {error}")
            continue
        return signature
    if not wrong:
        raise ValueError("it has no signature of cosign")
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    raise ValueError(f"none of its signatures is good: {'; '.join(wrong[:_SHOWN])}{more}")


def _check_payload(found: Found, subject: Subject, key: PublicKey) -> None:
    """Hold a payload, which is believed once its signature is good, against the artifact."""
    _check_signature(key, _bytes(found.signature, "the signature"), found.content)
    data = read_object(found.content, "the payload", MAX_BYTES)
    critical = _member(data, "critical", "the payload")
    digest = _member(critical, "image", "the payload").get("docker-manifest-digest")
    name = _member(critical, "identity", "the payload").get("docker-reference")
    if critical.get("type") not in _TYPES:
        raise ValueError(f"the payload is of the type {critical.get('type')!r:.80}")
    if digest != subject.digest:
        raise ValueError(f"it is the signature of another artifact ({_shown_digest(digest)})")
    if type(name) is not str or _without_tag(name) not in subject.names:
        raise ValueError(f"it was signed as {name!r:.120}, not as {' or '.join(sorted(subject.names))}")


def _check_bundle(content: bytes, subject: Subject, key: PublicKey) -> None:
    """Hold a bundle against the artifact."""
    data = read_object(content, "the bundle", MAX_BYTES)
    if data.get("mediaType") != BUNDLE:
        raise ValueError(f"the bundle is of the media type {data.get('mediaType')!r:.80}, which isn't known here")
    if ("messageSignature" in data) == ("dsseEnvelope" in data):
        raise ValueError("the bundle has not exactly one of messageSignature and dsseEnvelope")
    if "messageSignature" in data:
        _check_message(_member(data, "messageSignature", "the bundle"), subject, key)
    else:
        _check_envelope(_member(data, "dsseEnvelope", "the bundle"), subject, key)


def _check_message(message: dict[str, Any], subject: Subject, key: PublicKey) -> None:
    if "messageDigest" in message:  # a hint, says the specification: the signature is what counts
        stated = _member(message, "messageDigest", "the bundle")
        digest = _bytes(stated.get("digest"), "the digest")
        if stated.get("algorithm") != "SHA2_256" or f"sha256:{digest.hex()}" != subject.digest:
            raise ValueError("it is the signature of another artifact")
    _check_signature(key, _bytes(message.get("signature"), "the signature"), subject.manifest)


def _check_envelope(envelope: dict[str, Any], subject: Subject, key: PublicKey) -> None:
    kind, signatures = envelope.get("payloadType"), envelope.get("signatures")
    payload = _bytes(envelope.get("payload"), "the payload")
    if kind != _IN_TOTO:
        raise ValueError(f"the envelope's payload is of the type {kind!r:.80}")
    if type(signatures) is not list or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise ValueError(f"the envelope hasn't 1 to {MAX_SIGNATURES} signatures")
    encoded = b"DSSEv1 %d %s %d %s" % (len(_IN_TOTO), _IN_TOTO.encode(), len(payload), payload)
    _check_any(key, signatures, encoded)
    statement = read_object(payload, "the statement", MAX_BYTES)
    if statement.get("_type") not in _STATEMENTS:
        raise ValueError(f"the statement is of the type {statement.get('_type')!r:.80}")
    if statement.get("predicateType") != _SIGN:
        raise ValueError(f"it is no signature but an attestation ({statement.get('predicateType')!r:.80})")
    subjects = statement.get("subject")
    if type(subjects) is not list or len(subjects) > _MAX_LIST:
        raise ValueError("the statement has no list of subjects")
    digests = [entry.get("digest") for entry in subjects if type(entry) is dict]
    wanted = subject.digest.removeprefix("sha256:")
    if not any(type(digest) is dict and digest.get("sha256") == wanted for digest in digests):
        raise ValueError("it is the signature of another artifact")


def _check_any(key: PublicKey, signatures: list[Any], signed: bytes) -> None:
    for entry in signatures:
        text = entry.get("sig") if type(entry) is dict else None
        try:
            _check_signature(key, _bytes(text, "the signature"), signed)
        except ValueError as error:
            problem = error
            continue
        return
    raise problem


def _check_signature(key: PublicKey, signature: bytes, signed: bytes) -> None:
    """Verify a signature over bytes, by the rules of the key's kind."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        else:
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise ValueError("it isn't signed with this key, or was changed since") from error


def _bytes(text: Any, what: str) -> bytes:
    try:
        return b64decode(text if type(text) is str else "", validate=True) if text else b""
    except ValueError as error:
        raise ValueError(f"{what} isn't base64") from error


def _member(data: dict[str, Any], key: str, what: str) -> dict[str, Any]:
    value = data.get(key)
    if type(value) is not dict:
        raise ValueError(f"{what} has no object {key}")
    return value


def _without_tag(name: str) -> str:
    """Give a reference without tag and digest: a colon before the last slash is that of a port."""
    name = name.partition("@")[0]
    path, colon, tag = name.rpartition(":")
    return path if colon and "/" not in tag else name


def _shown_digest(digest: Any) -> str:
    return digest if type(digest) is str and DIGEST.fullmatch(digest) else f"{digest!r:.80}"
