"""Private keys, read as OpenSSH reads them: its own form with any of its ciphers, PKCS #8, and the older PEM forms.

`cryptography` reads all of them but for some ciphers of OpenSSH's form, so that one is opened here. Whatever the form,
the key is handed on to paramiko in the one that it reads best: OpenSSH's, not locked.

Source: OpenSSH's PROTOCOL.key, and PROTOCOL.chacha20poly1305 for what `ssh-keygen -Z chacha20-poly1305` writes.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
from typing import TYPE_CHECKING, Any

import bcrypt
from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.poly1305 import Poly1305

from reconciler.errors import SecretError

from ._paramiko import paramiko

if TYPE_CHECKING:
    from collections.abc import Callable

_ARMOR = re.compile(r"-----BEGIN OPENSSH PRIVATE KEY-----\s(.*?)-----END OPENSSH PRIVATE KEY-----", re.DOTALL)
_MAGIC = b"openssh-key-v1\0"
_LOCKED = "it is locked"
_WRONG = "its passphrase is wrong"
_TAG = 16
MAX_ROUNDS = 2_000
"""Of bcrypt: half a minute or so; ssh-keygen makes 24, and a damaged key may say four thousand million."""
_CLASSES: dict[type, type[paramiko.PKey]] = {
    RSAPrivateKey: paramiko.RSAKey,
    EllipticCurvePrivateKey: paramiko.ECDSAKey,
    Ed25519PrivateKey: paramiko.Ed25519Key,
}


class _UnusableError(Exception):
    """Why a key can't be used, in words."""


def parse_key(text: str, passphrase: str | None, name: str) -> paramiko.PKey:
    """Read a private key.

    Raises:
        SecretError: it is none, is locked, or is of a kind that can't be used; the message says why.
    """
    try:
        return _parse(text, passphrase.encode() if passphrase else None)
    except _UnusableError as error:
        hint = "name its `passphrase` in the transport" if str(error) == _LOCKED else ""
        raise SecretError(f"the key {name} can't be used: {error}", hint=hint) from error
    except Exception as error:  # two libraries read what anybody may have written
        raise SecretError(f"the key {name} can't be used: {str(error) or type(error).__name__}") from error


def _parse(text: str, words: bytes | None) -> paramiko.PKey:
    own = _ARMOR.search(text)
    key = _load(_opened(own[1], words), None) if own else _load(text.encode(), words)
    kind = next((kind for family, kind in _CLASSES.items() if isinstance(key, family)), None)
    if kind is None:
        raise _UnusableError("it is of a kind that isn't used for logging in")
    form = serialization.PrivateFormat.OpenSSH
    plain = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return kind.from_private_key(io.StringIO(plain.decode()))


def _load(data: bytes, words: bytes | None) -> Any:
    """Read a key that isn't in OpenSSH's form, or is in it and not locked."""
    load = serialization.load_ssh_private_key if data.startswith(b"-----BEGIN OPENSSH") else _load_pem
    try:
        return load(data, words)
    except TypeError as error:  # the word for a passphrase that is missing
        raise _UnusableError(_LOCKED) from error
    except UnsupportedAlgorithm as error:
        raise _UnusableError("it is of a kind that isn't supported") from error
    except ValueError as error:
        if b"PRIVATE KEY-----" not in data:
            raise _UnusableError("it is no private key in OpenSSH's or PEM's form") from error
        raise _UnusableError(_WRONG if words else f"it is damaged ({error})") from error


def _load_pem(data: bytes, words: bytes | None) -> Any:
    try:
        return serialization.load_pem_private_key(data, words)
    except TypeError:
        if words is None:
            raise
    return serialization.load_pem_private_key(data, None)  # the passphrase is another key's


def _opened(armored: str, words: bytes | None) -> bytes:
    """Give a key in OpenSSH's form without its lock."""
    try:
        data = base64.b64decode("".join(armored.split()), validate=True)
        if not data.startswith(_MAGIC):
            raise _UnusableError("it is damaged")
        cipher, kdf, options, rest = _fields(data[len(_MAGIC) :], 3)
        public, locked, tag = _fields(rest[4:], 2)
        if cipher == b"none":
            plain = locked
        elif words is None:
            raise _UnusableError(_LOCKED)
        elif kdf != b"bcrypt" or cipher not in _CIPHERS:
            raise _UnusableError(f"it is locked with {cipher.decode('ascii', 'replace')}, which isn't known")
        else:
            plain = _unlocked(cipher, options, locked, tag, words)
        if plain[:4] != plain[4:8]:
            raise _UnusableError("it is damaged" if cipher == b"none" else _WRONG)
    except (binascii.Error, struct.error) as error:
        raise _UnusableError("it is damaged") from error
    if b"sk-" in public[:8]:
        raise _UnusableError("it needs the hardware that it was made on; an agent can have it")
    parts = b"".join(map(_field, (b"none", b"none", b""))) + struct.pack(">I", 1) + _field(public) + _field(plain)
    body = base64.encodebytes(_MAGIC + parts)
    return b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + body + b"-----END OPENSSH PRIVATE KEY-----\n"


def _fields(data: bytes, count: int) -> tuple[bytes, ...]:
    """Read some fields that say how long they are, and give what follows too."""
    found = []
    for _ in range(count):
        (size,) = struct.unpack_from(">I", data)
        if size > len(data) - 4:
            raise _UnusableError("it is damaged")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return (*found, data)


def _field(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _unlocked(cipher: bytes, options: bytes, locked: bytes, tag: bytes, words: bytes) -> bytes:
    salt, rest = _fields(options, 1)
    (rounds,) = struct.unpack(">I", rest)
    if rounds > MAX_ROUNDS:
        raise _UnusableError(f"its lock wants {rounds} rounds, and {MAX_ROUNDS} are the most")
    key_size, iv_size, decrypt = _CIPHERS[cipher]
    seed = bcrypt.kdf(words, salt, key_size + iv_size, rounds, ignore_few_rounds=True)
    try:
        return decrypt(seed[:key_size], seed[key_size:], locked, tag[:_TAG])
    except (InvalidTag, InvalidSignature) as error:
        raise _UnusableError(_WRONG) from error


def _cbc(key: bytes, iv: bytes, locked: bytes, _tag: bytes) -> bytes:
    return Cipher(AES(key), modes.CBC(iv)).decryptor().update(locked)


def _triple_des(key: bytes, iv: bytes, locked: bytes, _tag: bytes) -> bytes:
    return Cipher(TripleDES(key), modes.CBC(iv)).decryptor().update(locked)


def _ctr(key: bytes, iv: bytes, locked: bytes, _tag: bytes) -> bytes:
    return Cipher(AES(key), modes.CTR(iv)).decryptor().update(locked)


def _gcm(key: bytes, iv: bytes, locked: bytes, tag: bytes) -> bytes:
    return AESGCM(key).decrypt(iv, locked + tag, None)


def _chacha(key: bytes, _iv: bytes, locked: bytes, tag: bytes) -> bytes:
    """Open what OpenSSH's own union of ChaCha20 and Poly1305 locked as packet 0; half of the key isn't used."""

    def stream(block: int, data: bytes) -> bytes:
        return Cipher(ChaCha20(key[:32], struct.pack("<QQ", block, 0)), None).encryptor().update(data)

    Poly1305.verify_tag(stream(0, bytes(32)), locked, tag)
    return stream(1, locked)


_CIPHERS: dict[bytes, tuple[int, int, Callable[[bytes, bytes, bytes, bytes], bytes]]] = {
    b"aes128-cbc": (16, 16, _cbc),
    b"aes192-cbc": (24, 16, _cbc),
    b"aes256-cbc": (32, 16, _cbc),
    b"3des-cbc": (24, 8, _triple_des),
    b"aes128-ctr": (16, 16, _ctr),
    b"aes192-ctr": (24, 16, _ctr),
    b"aes256-ctr": (32, 16, _ctr),
    b"aes128-gcm@openssh.com": (16, 12, _gcm),
    b"aes256-gcm@openssh.com": (32, 12, _gcm),
    b"chacha20-poly1305@openssh.com": (64, 0, _chacha),
}
"""How long key and IV are, in bytes, and what opens what they locked."""
