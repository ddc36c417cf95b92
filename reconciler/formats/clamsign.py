"""Signatures beside ClamAV's files (`.sign`, since ClamAV 1.5): lines of text, each with a detached PKCS#7 signature.

    #clamsign-1.0
    <min_flevel>:<max_flevel>:pkcs7-pem:<base64 of DER>

The maximum may be empty. A line for other functionality levels, or in a form that isn't known, is passed over; of the
rest, the first that verifies counts. That none does is an error: one that is there and wrong is worse than none.
The signer's certificate leads over those within the signature to a root that the operator trusts, at a given time.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography.x509 import Certificate

MARK = "#clamsign-1.0"
FORM = "pkcs7-pem"
MAX_BYTES = 256 * 2**10
MAX_LINES = 16
MAX_CHAIN = 6
MAX_CERTIFICATES = 16
_LINE = re.compile(r"([0-9]{1,9}):([0-9]{0,9}):([A-Za-z0-9_-]{1,40}):(\S+)")


class Line(NamedTuple):
    """One signature: for which functionality levels (None: no end), and its DER."""

    least: int
    most: int | None
    der: bytes


def parse_sign(data: bytes) -> tuple[Line, ...]:
    """Read a `.sign` file: its signatures in the form that is known.

    Raises:
        ValueError: it isn't one.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    try:
        first, *lines = data.decode("ascii").splitlines() or [""]
    except UnicodeDecodeError as error:
        raise ValueError("it isn't ASCII") from error
    if first.strip() != MARK:
        raise ValueError(f"it doesn't begin with {MARK}")
    found = []
    for number, line in enumerate(lines, 2):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        parts = _LINE.fullmatch(text)
        if not parts:
            raise ValueError(f"line {number} isn't min:max:format:data")
        if parts[3] != FORM:
            continue
        try:
            der = base64.b64decode(parts[4], validate=True)
        except binascii.Error as error:
            raise ValueError(f"line {number} isn't base64") from error
        found.append(Line(int(parts[1]), int(parts[2]) if parts[2] else None, der))
        if len(found) > MAX_LINES:
            raise ValueError(f"it has more than {MAX_LINES} signatures")
    return tuple(found)


def roots_from(files: Sequence[tuple[str, bytes]]) -> tuple[Certificate, ...]:
    """Read the certificates that are trusted, from PEM files with their names.

    Raises:
        ValueError: one isn't a certificate, or two are of the same common name.
    """
    from cryptography import x509

    found: dict[str, tuple[str, Certificate]] = {}
    for name, data in files:
        try:
            certificates = x509.load_pem_x509_certificates(data)
        except ValueError as error:
            raise ValueError(f"{name} has no certificates in PEM") from error
        for certificate in certificates:
            common = common_name(certificate)
            if common in found:
                raise ValueError(f"{found[common][0]} and {name} both have a certificate of the name {common!r}")
            found[common] = (name, certificate)
    if not found:
        raise ValueError("there is no certificate")
    return tuple(certificate for _name, certificate in found.values())


def common_name(certificate: Certificate) -> str:
    """Give the common name that a certificate is for."""
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def signer_of(
    sign: bytes, sha256: bytes, *, roots: Sequence[Certificate], now: datetime, flevel: int | None = None
) -> str | None:
    """Give the common name of who signed the file with this SHA-256; None where no line is for `flevel`.

    Raises:
        ValueError: it isn't a `.sign` file, or none of its lines for `flevel` verifies; the message has each reason.
    """
    why = []
    for line in parse_sign(sign):
        if flevel is not None and (flevel < line.least or (line.most is not None and flevel > line.most)):
            continue
        try:
            return _verified(line.der, sha256, roots, now)
        except ValueError as error:
            why.append(str(error))
    if why:
        raise ValueError(f"no signature in it is good: {'; '.join(why)}")
    return None


class _RefusedError(ValueError):
    """A signature isn't good, for a reason that is known."""


def _verified(der: bytes, sha256: bytes, roots: Sequence[Certificate], now: datetime) -> str:
    """Verify one detached signature, and give its signer."""
    try:
        signer, others = _opened(der, sha256)
        _check_use(signer)
        _check_chain(signer, others, roots, now)
        return common_name(signer)
    except _RefusedError:
        raise
    except Exception as error:  # two libraries read what a stranger wrote, as late as they can
        raise ValueError("it isn't a well-formed PKCS#7 signature") from error


def _opened(der: bytes, sha256: bytes) -> tuple[Certificate, list[Certificate]]:
    """Give the certificate whose key made a signature of the file, and all that came with it."""
    from asn1crypto import cms

    content = cms.ContentInfo.load(der, strict=True)
    if content["content_type"].native != "signed_data":
        raise _RefusedError("it is no signed data")
    data = content["content"]
    if data["encap_content_info"]["content"].native is not None:
        raise _RefusedError("it has content of its own, and isn't beside a file")
    infos, certificates = list(data["signer_infos"]), _certificates(data["certificates"])
    if len(infos) != 1:
        raise _RefusedError(f"it has {len(infos)} signers, and not one")
    signer = _signer(infos[0]["sid"], certificates)
    _check_signature(infos[0], signer, sha256)
    return signer, certificates


def _words(error: Exception) -> str:
    if type(error) is ValueError and "\n" not in str(error):
        return str(error)
    return "it isn't a well-formed PKCS#7 signature"


def _certificates(found: Any) -> list[Certificate]:
    from cryptography import x509

    parts = list(found)[:MAX_CERTIFICATES]
    return [x509.load_der_x509_certificate(part.chosen.dump()) for part in parts if part.name == "certificate"]


def _signer(identity: Any, certificates: Sequence[Certificate]) -> Certificate:
    """Give the certificate that a signature names: by its issuer and number, or by the id of its key."""
    from cryptography import x509

    for certificate in certificates:
        if identity.name == "issuer_and_serial_number":
            issuer, serial = identity.chosen["issuer"].dump(), identity.chosen["serial_number"].native
            if certificate.serial_number == serial and certificate.issuer.public_bytes() == issuer:
                return certificate
        else:
            try:
                key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
            except x509.ExtensionNotFound:
                continue
            if key_id == identity.chosen.native:
                return certificate
    raise _RefusedError("the certificate of its signer isn't in it")


def _check_signature(info: Any, signer: Certificate, sha256: bytes) -> None:
    """Hold what was signed against the file: its digest, in signed attributes or alone."""
    import hashlib

    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    if info["digest_algorithm"]["algorithm"].native != "sha256":
        raise _RefusedError("it is over another digest than SHA-256")
    attributes = info["signed_attrs"]
    if attributes.native:
        if _attribute(attributes, "content_type") != "data":
            raise _RefusedError("it isn't a signature of data")
        if _attribute(attributes, "message_digest") != sha256:
            raise _RefusedError("it is the signature of another file")
        digest = hashlib.sha256(attributes.untag().dump()).digest()  # as a SET, not as it is tagged (RFC 5652, 5.4)
    else:
        digest = sha256
    algorithm = Prehashed(hashes.SHA256())
    key, signature = signer.public_key(), info["signature"].native
    way = info["signature_algorithm"]
    if isinstance(key, rsa.RSAPublicKey) and way.signature_algo != "rsassa_pkcs1v15":
        raise _RefusedError(f"it is signed by a way that isn't known: {way.signature_algo}")
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, padding.PKCS1v15(), algorithm)
            return
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, ec.ECDSA(algorithm))
            return
    except InvalidSignature as error:
        raise _RefusedError("it is the signature of another file, or was changed") from error
    raise _RefusedError("its signer has a key of a kind that isn't known")


def _attribute(attributes: Any, kind: str) -> Any:
    """Give the one value of a signed attribute; that of a digest as bytes."""
    values = [attribute["values"] for attribute in attributes if attribute["type"].native == kind]
    if len(values) != 1 or len(values[0]) != 1:
        raise _RefusedError(f"it has not one {kind}")
    return values[0][0].native


def _check_use(signer: Certificate) -> None:
    """See that a certificate is for signing files: an authority has others, for servers and people who log in."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    signing = {
        ExtendedKeyUsageOID.CODE_SIGNING,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }
    for extension in signer.extensions:
        use = extension.value
        is_wrong = (isinstance(use, x509.KeyUsage) and not (use.digital_signature or use.content_commitment)) or (
            isinstance(use, x509.ExtendedKeyUsage) and signing.isdisjoint(use)
        )
        if is_wrong:
            raise _RefusedError(f"the certificate of {common_name(signer)!r} isn't for signing files")


def _check_chain(
    signer: Certificate, others: Sequence[Certificate], roots: Sequence[Certificate], now: datetime
) -> None:
    """See that a root vouches for the signer, over at most `MAX_CHAIN` certificates that are all valid now."""
    known = {root.public_bytes(_der()) for root in roots}
    current = signer
    for below in range(MAX_CHAIN):
        if not current.not_valid_before_utc <= now <= current.not_valid_after_utc:
            day = f"{current.not_valid_before_utc:%Y-%m-%d} to {current.not_valid_after_utc:%Y-%m-%d}"
            raise _RefusedError(f"the certificate of {common_name(current)!r} is valid from {day} only")
        if current.public_bytes(_der()) in known:
            return
        issuer = next((one for one in (*roots, *others) if one != current and _issued(current, one, below)), None)
        if issuer is None:
            raise _RefusedError(f"no certificate that is trusted vouches for {common_name(current)!r}")
        current = issuer
    raise _RefusedError(f"more than {MAX_CHAIN} certificates lead to its signer")


def _issued(certificate: Certificate, issuer: Certificate, below: int) -> bool:
    """Say whether an authority signed a certificate, below which `below` authorities lead to the signer."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        usage = True
    return limits.ca and usage and (limits.path_length is None or below <= limits.path_length)


def _der() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER
