"""Signs as cosign does, with keys of tests: payloads of simple signing, and bundles of Sigstore in both forms."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reconciler.formats import cosign, oci

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATEMENT = "https://in-toto.io/Statement/v1"
SIGN = "https://sigstore.dev/cosign/sign/v1"


class Signer:
    """A key pair of one kind: `ecdsa`, `rsa` or `ed25519`."""

    def __init__(self, kind: str = "ecdsa") -> None:
        made: Mapping[str, Callable[[], Any]] = {
            "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
            "rsa": lambda: rsa.generate_private_key(65537, 2048),
            "ed25519": ed25519.Ed25519PrivateKey.generate,
        }
        self._key = made[kind]()
        self.pem: bytes = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, content: bytes) -> str:
        """Give the signature of bytes, in base64."""
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return b64encode(self._key.sign(content, ec.ECDSA(hashes.SHA256()))).decode()
        if isinstance(self._key, rsa.RSAPrivateKey):
            return b64encode(self._key.sign(content, padding.PKCS1v15(), hashes.SHA256())).decode()
        return b64encode(self._key.sign(content)).decode()

    def message(self, manifest: bytes, **changes: Any) -> bytes:
        """Give the bundle with the signature of a manifest's bytes."""
        digest = b64encode(hashlib.sha256(manifest).digest()).decode()
        message = {
            "messageDigest": {"algorithm": "SHA2_256", "digest": digest},
            "signature": self.sign(manifest),
        }
        return self._bundle({"messageSignature": message, **changes})

    def statement(self, digest: str, *, predicate: str = SIGN, **changes: Any) -> bytes:
        """Give the bundle with a statement of in-toto about a digest, in a DSSE envelope."""
        subject = [{"name": "", "digest": {"sha256": digest.removeprefix("sha256:")}}]
        statement = {"_type": STATEMENT, "subject": subject, "predicateType": predicate, "predicate": {}, **changes}
        return self.envelope(json.dumps(statement).encode())

    def envelope(self, payload: bytes, kind: str = "application/vnd.in-toto+json") -> bytes:
        """Give the bundle with any payload in a DSSE envelope."""
        signature = self.sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload))
        envelope = {
            "payload": b64encode(payload).decode(),
            "payloadType": kind,
            "signatures": [{"sig": signature, "keyid": ""}],
        }
        return self._bundle({"dsseEnvelope": envelope})

    def _bundle(self, content: dict[str, Any]) -> bytes:
        hint = b64encode(bytes.fromhex(cosign.fingerprint(cosign.public_key(self.pem)))).decode()
        material = {"publicKey": {"hint": hint}, "tlogEntries": []}
        return json.dumps({"mediaType": cosign.BUNDLE, "verificationMaterial": material, **content}).encode()


def payload(manifest: bytes, name: str, **critical: Any) -> bytes:
    """Give what cosign signs in its older form: `name` is what it calls the artifact."""
    parts = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": oci.digest_of_bytes(manifest)},
        "type": "cosign container image signature",
        **critical,
    }
    return json.dumps({"critical": parts, "optional": None}).encode()
