"""Signatures of SSH keys, as `ssh-keygen -Y sign` makes them and git puts them into commits and tags.

What is signed is a digest of the message, with the namespace that the signature is for (`git`): one that was made for
another purpose isn't good here. Whose keys count stands in a file of allowed signers:

    release@example.org namespaces="git",valid-before="20271231" ssh-ed25519 AAAA… comment

Keys count that are listed themselves: certificates, and the authorities that sign them, don't. Keys that live in a
security key count when somebody touched it.

Source of the forms: OpenSSH's PROTOCOL.sshsig and PROTOCOL.u2f, and ALLOWED SIGNERS in ssh-keygen(1).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SIGNERS = 10_000
_ARMOUR = re.compile(
    rb"\s*-----BEGIN SSH SIGNATURE-----\r?\n([A-Za-z0-9+/=\r\n]{1,100000})-----END SSH SIGNATURE-----\s*"
)
_MAGIC = b"SSHSIG"
_HASHES = frozenset({"sha256", "sha512"})
_KEY = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+")
_OPTION = re.compile(r'([a-z-]+)(?:="([^"]*)")?(?:,|$)')
_TIME = re.compile(r"(\d{8})(\d{4}(?:\d{2})?)?Z?")
_LEAST_RSA = 2048
_TOUCHED = 1
"""The flag of a security key by which somebody was there."""


class SshSignatureError(ValueError):
    """A signature isn't good; the message says why, and begins in the middle of a sentence."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that may sign, and who has it; `namespaces` are patterns, none for any. Times are those of signing."""

    who: str
    key: bytes
    namespaces: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, as `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.key).digest()).decode().rstrip("=")


def parse_signers(text: str) -> list[Signer]:
    """Read a file of allowed signers; authorities of certificates in it are passed over.

    Raises:
        ValueError: a line of it is malformed; the message has its number.
    """
    signers = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            signer = _signer(line.strip())
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if signer is not None:
            signers.append(signer)
        if len(signers) > MAX_SIGNERS:
            raise ValueError(f"more than {MAX_SIGNERS} signers")
    return signers


def _signer(line: str) -> Signer | None:
    who, *others = line.split(None, 1)
    rest = others[0] if others else ""
    options: dict[str, str] = {}
    if not _KEY.match(rest):
        words, rest = _options_of(rest)
        at = 0
        while at < len(words):
            match = _OPTION.match(words, at)
            if match is None or not match[0]:
                raise ValueError(f"`{words[at:][:40]}` is no option")
            options[match[1].lower()] = match[2] or ""
            at = match.end()
    strange = options.keys() - {"cert-authority", "namespaces", "valid-after", "valid-before"}
    if strange:
        raise ValueError(f"`{min(strange)[:40]}` is no option of a signer")
    kind, _space, encoded = rest.partition(" ")
    try:
        key = base64.b64decode(encoded.split(" ")[0], validate=True)
    except binascii.Error as error:
        raise ValueError("its key is no base 64") from error
    if not who or not _KEY.fullmatch(kind) or _Reader(key).text() != kind.encode():
        raise ValueError("it isn't of the form `who ssh-ed25519 AAAA…`")
    if "cert-authority" in options:
        return None
    spaces = tuple(part.strip() for part in options.get("namespaces", "").split(",") if part.strip())
    since, until = (_time(options.get(name, "")) for name in ("valid-after", "valid-before"))
    return Signer(who, key, namespaces=spaces, since=since, until=until)


def _options_of(text: str) -> tuple[str, str]:
    """Part the options of a line from what follows: spaces within quotes belong to them."""
    quoted = False
    for at, letter in enumerate(text):
        quoted ^= letter == '"'
        if letter in " \t" and not quoted:
            return text[:at], text[at:].strip()
    return text, ""


def _time(text: str) -> datetime | None:
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text[:40]}` isn't a time such as 20271231")
    return datetime.strptime(f"{match[1]}{(match[2] or '').ljust(6, '0')}", "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def verify(
    message: bytes | Iterable[bytes], armoured: bytes, namespace: str, signers: Iterable[Signer], at: datetime
) -> Signer:
    """Give whose good signature a message, or its pieces, has; `at` is when it was signed.

    Raises:
        SshSignatureError: it isn't good, or by nobody who may sign.
    """
    blob = _Reader(_unarmoured(armoured))
    if blob.take(len(_MAGIC)) != _MAGIC or blob.number() != 1:
        raise SshSignatureError("isn't a signature of SSH")
    key, space, reserved, hash_name, signature = (blob.text() for _field in range(5))
    blob.end()
    if space != namespace.encode():
        shown = space.decode("ascii", "replace")
        raise SshSignatureError(f"was made for {shown!r:.40}, and not for {namespace}")
    if hash_name.decode("ascii", "replace") not in _HASHES:
        raise SshSignatureError("goes by a digest that isn't known")
    signer = _allowed(key, namespace, signers, at)
    digest = hashlib.new(hash_name.decode())
    for piece in [message] if isinstance(message, bytes) else message:
        digest.update(piece)
    parts = (space, reserved, hash_name, digest.digest())
    signed = b"".join((_MAGIC, *(len(part).to_bytes(4, "big") + part for part in parts)))
    if not _is_good(key, signature, signed):
        raise SshSignatureError("is of other bytes")
    return signer


def _allowed(key: bytes, namespace: str, signers: Iterable[Signer], at: datetime) -> Signer:
    own = [signer for signer in signers if signer.key == key]
    if not own:
        raise SshSignatureError(f"is by the key {Signer('', key).fingerprint}, which isn't one that may sign")
    for signer in own:
        spaces = signer.namespaces
        if spaces and not any(fnmatchcase(namespace, pattern) for pattern in spaces):
            continue
        if (signer.since is None or signer.since <= at) and (signer.until is None or at < signer.until):
            return signer
    raise SshSignatureError(f"is by the key {own[0].fingerprint}, which may not sign this, or not at that time")


def _unarmoured(armoured: bytes) -> bytes:
    match = _ARMOUR.fullmatch(armoured)
    if match is None:
        raise SshSignatureError("isn't a signature of SSH")
    try:
        return base64.b64decode(b"".join(match[1].split()), validate=True)
    except binascii.Error as error:
        raise SshSignatureError("is damaged") from error


def _is_good(key: bytes, signature: bytes, signed: bytes) -> bool:
    """Verify a signature of bytes by a key; both are as SSH has them."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    kind, parts = _Reader(key).text(), _Reader(signature)
    scheme, raw = parts.text(), parts.text()
    if kind.startswith(b"sk-"):
        flags, counter = parts.take(1), parts.take(4)
        if not flags[0] & _TOUCHED:
            raise SshSignatureError("was made by a security key that nobody touched")
        application = hashlib.sha256(_last_of(key)).digest()
        signed = application + flags + counter + hashlib.sha256(signed).digest()
    parts.end()
    try:
        public = load_ssh_public_key(kind + b" " + base64.b64encode(key))
        _check(public, kind, scheme, raw, signed)
    except InvalidSignature:
        return False
    except SshSignatureError:
        raise
    except (ValueError, KeyError, TypeError, UnsupportedAlgorithm) as error:
        raise SshSignatureError("is by a key that can't be used") from error
    return True


def _check(public: object, kind: bytes, scheme: bytes, raw: bytes, signed: bytes) -> None:
    """Have `cryptography` verify a signature.

    Raises:
        InvalidSignature: it is of other bytes.
        SshSignatureError: it is of a kind that isn't known, or too weak.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

    if isinstance(public, rsa.RSAPublicKey) and scheme in {b"rsa-sha2-256", b"rsa-sha2-512"}:
        if public.key_size < _LEAST_RSA:
            raise SshSignatureError(f"is by an RSA key of fewer than {_LEAST_RSA} bits")
        digest = hashes.SHA256() if scheme.endswith(b"256") else hashes.SHA512()
        public.verify(raw, signed, padding.PKCS1v15(), digest)
    elif isinstance(public, ed25519.Ed25519PublicKey) and scheme == kind:
        public.verify(raw, signed)
    elif isinstance(public, ec.EllipticCurvePublicKey) and scheme == kind:
        numbers = _Reader(raw)
        first, second = (int.from_bytes(numbers.text(), "big") for _number in range(2))
        by_curve = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
        public.verify(utils.encode_dss_signature(first, second), signed, ec.ECDSA(by_curve[public.curve.key_size]))
    else:
        raise SshSignatureError("is of a kind of key that isn't known")


def _last_of(key: bytes) -> bytes:
    """Give the last field of a key: of one in a security key, whose it is there."""
    reader, field = _Reader(key), b""
    while not reader.at_end:
        field = reader.text()
    return field


class _Reader:
    """Reads the fields of SSH's binary forms."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise SshSignatureError("is damaged")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def text(self) -> bytes:
        return self.take(self.number())

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)

    def end(self) -> None:
        if self._at != len(self._data):
            raise SshSignatureError("is damaged")
