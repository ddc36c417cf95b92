"""Signatures of minisign, read, verified and written (https://jedisct1.github.io/minisign, "Signature format").

    untrusted comment: anything
    base64(algorithm, 2 bytes | key id, 8 | Ed25519 signature, 64)
    trusted comment: what the signer says of the file
    base64(Ed25519 signature over the 64 bytes above and the trusted comment)

`Ed` signs the content itself, `ED` its BLAKE2b-512, which is what minisign has written since 2021. The same key is for
both. A trusted comment may say `file:NAME`, `version:VERSION` and `component:ID`: that a file is older than it is
called, or another one of the same signer, shows there and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 16 * 2**10
"""Of a signature or a key."""
MAX_WHOLE = 256 * 2**20
"""Bytes of a file that is signed itself, and not by its digest: all of it must be in memory at once."""
MAX_COMMENT = 8192
_UNTRUSTED, _TRUSTED = "untrusted comment: ", "trusted comment: "
_PLAIN, _PREHASHED = b"Ed", b"ED"
_ID, _KEY, _SIGNATURE = 8, 32, 64
_UNLOCKED, _CHECKSUM = b"\0\0", b"B2"
_SECRET = 158
"""Bytes of a secret key: three algorithms, salt and limits of a password, key id, seed and public key, checksum."""
_STATED = re.compile(r"(?:^|\s)(file|version|component):\s*(\S+)")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Who may sign: 8 bytes that name the key, and the 32 of Ed25519."""

    id: bytes
    key: bytes

    @property
    def name(self) -> str:
        """The id as minisign shows it, 16 hexadecimal digits."""
        return _shown(self.id)

    @property
    def text(self) -> str:
        """The key as a file of two lines."""
        return f"{_UNTRUSTED}minisign public key {self.name}\n{_base64(_PLAIN + self.id + self.key)}\n"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """What signs: the seed of Ed25519, 32 bytes, and the public half."""

    seed: bytes
    public: PublicKey

    @property
    def text(self) -> str:
        """The key as a file of two lines, without a password, as `minisign -G -W` writes it."""
        keys = self.public.id + self.seed + self.public.key
        content = _PLAIN + _UNLOCKED + _CHECKSUM + bytes(48) + keys + _checksum(keys)
        return f"{_UNTRUSTED}minisign encrypted secret key\n{_base64(content)}\n"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was read, and nothing believed of it. `prehashed`: it is over the BLAKE2b-512 of the content."""

    prehashed: bool
    key_id: bytes
    signature: bytes
    comment: str
    over_comment: bytes

    @property
    def key_name(self) -> str:
        """The id of the key that it names, as minisign shows it."""
        return _shown(self.key_id)


class WrongSignatureError(ValueError):
    """A signature isn't good for a content; the message says in which way."""


def read_public_key(content: bytes) -> PublicKey:
    """Read a public key: a file of two lines, or the second line alone.

    Raises:
        ValueError: it is none.
    """
    lines = _lines(content)
    if len(lines) == 2 and lines[0].startswith(_UNTRUSTED.rstrip()):
        lines = lines[1:]
    if len(lines) != 1:
        raise ValueError("it isn't a public key of minisign: a comment and a line of base64, or that line alone")
    data = _decoded(lines[0], 2 + _ID + _KEY, "public key")
    if data[:2] != _PLAIN:
        raise ValueError("it is a key of another algorithm than Ed25519")
    return PublicKey(data[2:10], data[10:])


def read_secret_key(content: bytes) -> SecretKey:
    """Read a secret key that has no password, as `minisign -G -W` makes it.

    Raises:
        ValueError: it is none, is damaged, or has a password.
    """
    lines = _lines(content)
    if len(lines) == 2 and lines[0].startswith(_UNTRUSTED.rstrip()):
        lines = lines[1:]
    if len(lines) != 1:
        raise ValueError("it isn't a secret key of minisign: a comment and a line of base64")
    data = _decoded(lines[0], _SECRET, "secret key")
    if data[:2] != _PLAIN or data[4:6] != _CHECKSUM:
        raise ValueError("it is a key of another algorithm than Ed25519")
    if data[2:4] != _UNLOCKED:
        raise ValueError("it has a password; `minisign -C -W` takes it off")
    keys, checksum = data[54:126], data[126:]
    if any(checksum) and checksum != _checksum(keys):  # older versions leave it empty where there is no password
        raise ValueError("its checksum is wrong: it is damaged")
    found = _secret(keys[:_ID], keys[_ID : _ID + _KEY])
    if found.public.key != keys[_ID + _KEY :]:
        raise ValueError("its two halves don't belong together: it is damaged")
    return found


def new_secret_key() -> SecretKey:
    """Make a key; its id comes of the public half, so that nothing else needs to be random."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    name = hashlib.blake2b(private.public_key().public_bytes_raw(), digest_size=_ID).digest()
    return _secret(name, private.private_bytes_raw())


def read_signature(content: bytes) -> Signature:
    """Read a signature file; nothing is verified.

    Raises:
        ValueError: it is none.
    """
    lines = _lines(content)
    if len(lines) != 4 or not lines[0].startswith(_UNTRUSTED.rstrip()) or not lines[2].startswith(_TRUSTED):
        raise ValueError("it isn't a signature of minisign: two comments, each with a line of base64 below")
    data = _decoded(lines[1], 2 + _ID + _SIGNATURE, "signature")
    if data[:2] not in {_PLAIN, _PREHASHED}:
        raise ValueError("it has another algorithm than Ed25519")
    comment = lines[2].removeprefix(_TRUSTED)
    over = _decoded(lines[3], _SIGNATURE, "signature over the trusted comment")
    return Signature(
        prehashed=data[:2] == _PREHASHED, key_id=data[2:10], signature=data[10:], comment=comment, over_comment=over
    )


def prehash(chunks: Iterator[bytes]) -> bytes:
    """Give what is signed of a content: its BLAKE2b-512."""
    digest = hashlib.blake2b()
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


def verify(key: PublicKey, signature: Signature, signed: bytes) -> None:
    """Verify both signatures: over the content (`signed`: its prehash, where the signature is `prehashed`) and comment.

    Raises:
        WrongSignatureError: one isn't good.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if signature.key_id != key.id:
        raise WrongSignatureError(f"it is by the key {signature.key_name}, and not by {key.name}")
    try:
        public = Ed25519PublicKey.from_public_bytes(key.key)
        public.verify(signature.signature, signed)
    except (InvalidSignature, ValueError) as error:
        raise WrongSignatureError(f"it isn't what the key {key.name} signed") from error
    try:
        public.verify(signature.over_comment, signature.signature + signature.comment.encode())
    except InvalidSignature as error:
        raise WrongSignatureError(f"its trusted comment isn't what the key {key.name} signed") from error


def disagreement(comment: str, *, name: str, version: str = "", component: str = "") -> str:
    """Say in what a trusted comment speaks of another file; empty where it agrees, or doesn't say.

    `name` is the file's, `version` and `component` (where they are known) are the release's; a leading `v` of a version
    doesn't count.
    """
    for key, value in _stated(comment):
        if key == "file" and value != name:
            return f"it was made for the file {value}, and not for {name}"
        if key == "version" and version and value.removeprefix("v") != version.removeprefix("v"):
            return f"it was made for the version {value}, and not for {version}"
        if key == "component" and component and value != component:
            return f"it was made for the component {value}, and not for {component}"
    return ""


def sign(key: SecretKey, prehashed: bytes, *, trusted: str) -> bytes:
    """Give the signature file of a content by its `prehash`; `trusted` is what is said of it.

    Raises:
        ValueError: the comment isn't one line, or is too long.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not trusted.replace("\t", " ").isprintable() or len(trusted.encode()) > MAX_COMMENT:
        raise ValueError(f"a trusted comment is one line of up to {MAX_COMMENT} bytes")
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    signature = private.sign(prehashed)
    over = private.sign(signature + trusted.encode())
    first = _base64(_PREHASHED + key.public.id + signature)
    lines = f"{_UNTRUSTED}signature of key {key.public.name}", first, f"{_TRUSTED}{trusted}", _base64(over)
    return "".join(f"{line}\n" for line in lines).encode()


def _stated(comment: str) -> Iterator[tuple[str, str]]:
    """Give what a trusted comment states; minisign parts its own with tabs, people what they write with blanks."""
    if "\t" not in comment:
        yield from _STATED.findall(comment)
        return
    for part in comment.split("\t"):
        key, colon, value = part.partition(":")
        if colon and key.strip() in {"file", "version", "component"}:
            yield key.strip(), value.strip()


def _secret(name: bytes, seed: bytes) -> SecretKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return SecretKey(seed, PublicKey(name, public))


def _checksum(keys: bytes) -> bytes:
    return hashlib.blake2b(_PLAIN + keys, digest_size=32).digest()


def _lines(content: bytes) -> list[str]:
    """Give the lines of a small text, without their ends and empty ones at the end.

    Raises:
        ValueError: it is too large, or no UTF-8.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError("it is no text") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _decoded(line: str, size: int, what: str) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"its {what} isn't base64") from error
    if len(data) != size:
        raise ValueError(f"its {what} has {len(data)} bytes, and not {size}")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _shown(name: bytes) -> str:
    return name[::-1].hex().upper()
