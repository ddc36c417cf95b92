"""Databases of ClamAV, their cdiffs and all of their signatures, made with keys of our own.

The keys are for tests alone and stand here for everyone to see. Those for cdiffs and `.info` have 2047 bits, as the
vendor's have; `LONG` is one of 2048.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from reconciler.formats.clam_signature import BLOCK, SALT, ClamKey, ClamKeys, mask, text_of
from reconciler.formats.cvd import LICENCE, Header, header_block, write_cld

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PRIMES = {
    "container": (
        100001027,
        (
            "b4f24b6542c247bf90e2607ef94af06c04b93ba2d6bdb660d1180b4e87ba5ffd7aad337aa0e932adc261ffeb613c17a0"
            "8b3652d4f17cf167707acc7a9035a6cf"
        ),
        (
            "db17c6738290fa3d9dec509755fa512ccf55a4d8703aea8ed895065e764075d4e2d2ae9a270bec5c363541e9c21d6709"
            "c1a0766ff849423b486e1697cb5f239b"
        ),
    ),
    "cdiff": (
        100002053,
        (
            "86a8a682389be3d67cc9d4d53f2eb0c371a3869bd30159ce0baea80a12afe7eebe60ca2695117c7848fca61041b98e19"
            "0cc94065955e82a11478dbc111c02bbf4451be84eec628baa58635b07e0a71c502b94aa300794a4c47123310e367a788"
            "1bd96bc1a287066594ba01d7e6db6cf966ee6da6932143514082d1c80681319b"
        ),
        (
            "9463485f0cda3aeb0d1feb5cccd993e52f7eeb6b6ee45c75f7f55f9ff2753f9b087d387e6f66f9add05537e667a1733a"
            "fcb16f2b079a2116c3b68741b233838c13b0e996b48c9addae0b4e8ea39a6b3d06c51079f710fc9e4e59b762f1984baa"
            "8f357c5c9dedefb658cac4523857482e1a94a8b5c7c71b81ce2c1676c107e69d"
        ),
    ),
    "info": (
        100002049,
        (
            "c02c70a70b9442522533c5fa8fcfa164c02ca9b3e78f63f89ab3e78715d82d0c5d9d9876ab86d05a610dbab59ee4417f"
            "40a1f6a6d6325f81fe778fd8c592e0d1b9987c0f4a13c4ac93085e3f27a1029ac962ae640999caf4fcaae826283ec186"
            "552cdab27ae823b65e3316fd29f8bd50fb59ca4fc8526fc399e6693b6cdeecc1"
        ),
        (
            "94ddd9015c07c8127ea70d58a3db293540c4286fb66622ccb91494283a614f192902da7e96d098d3de007bdbd2aeba05"
            "42dfdd0736f5bbbaefe1017d06957fa52949539225497e19bf79dec4adb494880efda09eb1dcbffaa34df46aae826303"
            "405087bc4d6e4e11d3435196bf0156aa6074591b147513ff0edcb445ea214885"
        ),
    ),
    "long": (
        100002049,
        (
            "cd754882a6ff9334b797a19092b5775b4eab3aa4741378a68aa23570bdf000e7c409b898df064415e3ee0d8e9acc27ec"
            "ce586e4f59b5b2db3b5ae8b029c7c50593cbd177d7a407dfc1e7099d32c6a1b8a484084756735693faf95e481b352b60"
            "dc0cb943e71534d5b1d22d486154199c6d555424eae9f743551495734f0bcaed"
        ),
        (
            "c355c12f540e9543e124918a220b034013a842698582de521d7b772c984b2ce9b27283278b6e892f4c12bfe6f8c7ace1"
            "7508020e24bd1d87b1aec92ac046d80752c310fa9eff754244980d57e0c07bc756c2429908a2d5f4d1231dc8ecc81821"
            "cc6711319f18a6499d99928e7a2cd6480fab559880db99eb15836d4ff4cf3c1f"
        ),
    ),
}
BUILT = 1_790_000_000
"""When version 0 of each database was built, in seconds; a version later, an hour more."""
FLEVEL = 90
COPYING = b"Made by a test of updoser. No rights reserved.\n"


class PrivateKey(NamedTuple):
    """An RSA key whose private part anyone can work out; `p` and `q` are its primes."""

    public: ClamKey
    p: int
    q: int

    def raise_(self, number: int) -> int:
        """Give a number to the power of the private exponent: by each prime, and then together."""
        exponent, p, q = self.public.exponent, self.p, self.q
        at_p, at_q = (pow(number, pow(exponent, -1, prime - 1), prime) for prime in (p, q))
        return at_q + q * ((at_p - at_q) * pow(q, -1, p) % p)


@cache
def private_key(name: str) -> PrivateKey:
    """Give one of the keys: `container`, `cdiff`, `info`, or `long` of 2048 bits."""
    exponent, p, q = _PRIMES[name][0], int(_PRIMES[name][1], 16), int(_PRIMES[name][2], 16)
    return PrivateKey(ClamKey(p * q, exponent), p, q)


KEYS = ClamKeys(
    container=private_key("container").public, cdiff=private_key("cdiff").public, info=private_key("info").public
)


def sign_md5(key: PrivateKey, data: bytes) -> str:
    return text_of(key.raise_(int.from_bytes(hashlib.md5(data, usedforsecurity=False).digest(), "big")))


def sign_pss(key: PrivateKey, data: bytes, *, full: bool | None = None) -> str:
    """Sign as ClamAV does: a block of 2048 bits, whose first bit alone is cleared.

    `full` asks for a block of which the second bit is set, or isn't. A set one is what a library's check refuses for a
    key of 2047 bits.
    """
    digest = hashlib.sha256(data).digest()
    for turn in range(1000):
        block = pss_block(digest, hashlib.sha256(digest + turn.to_bytes(4, "big")).digest())
        number = int.from_bytes(block, "big")
        if number < key.public.modulus and full in {None, bool(block[0] & 0x40)}:
            return text_of(key.raise_(number))
    raise AssertionError("no salt makes such a block")


def pss_block(digest: bytes, salt: bytes) -> bytes:
    proof = hashlib.sha256(bytes(8) + digest + salt).digest()
    data = bytes(BLOCK - len(proof) - 2 - SALT) + b"\x01" + salt
    masked = bytearray(a ^ b for a, b in zip(data, mask(proof, len(data)), strict=True))
    masked[0] &= 0x7F
    return bytes(masked) + proof + b"\xbc"


@dataclass(frozen=True)
class Made:
    """A version of a database: its members with `.info`, and the file as its vendor publishes it."""

    database: str
    header: Header
    members: Mapping[str, bytes]
    cvd: bytes

    @property
    def cld(self) -> bytes:
        return b"".join(write_cld(self.members, self.database))


def make(
    database: str,
    version: int,
    contents: Mapping[str, bytes],
    *,
    full: bool | None = None,
    info_key: str = "info",
    container_key: str = "container",
    flevel: int = FLEVEL,
) -> Made:
    """Make a version of a database from its members but COPYING and `.info`, signed in both ways."""
    time = BUILT + 3600 * version
    header = Header(
        built=f"{datetime.fromtimestamp(time, UTC):%d %b %Y %H-%M} +0000",
        version=version,
        signatures=sum(content.count(b"\n") for content in contents.values()),
        flevel=flevel,
        md5="X",
        signature="X",
        builder="tests",
        time=time,
    )
    lines = [header.text, *(f"{n}:{len(c)}:{hashlib.sha256(c).hexdigest()}" for n, c in contents.items())]
    signed = "".join(f"{line}\n" for line in lines).encode()
    signature = sign_pss(private_key(info_key), signed, full=full)
    members = {LICENCE: COPYING, f"{database}.info": signed + f"DSIG:{signature}\n".encode(), **contents}
    body = gzip.compress(tar(members.items()), mtime=0)
    outer = replace(
        header,
        md5=hashlib.md5(body, usedforsecurity=False).hexdigest(),
        signature=sign_md5(private_key(container_key), body),
    )
    return Made(database, outer, members, header_block(outer) + body)


def tar(members: Iterable[tuple[str, bytes]], *, kind: bytes = b"0") -> bytes:
    """Write members as they come, whatever their names."""
    parts = []
    for name, content in members:
        head = bytearray(512)
        for at, text in ((0, name.encode()), (100, b"0000644"), (124, b"%011o" % len(content)), (156, kind)):
            head[at : at + len(text)] = text
        parts += [bytes(head), content, bytes(-len(content) % 512)]
    return b"".join(parts) + bytes(1024)


def cdiff(version: int, script: bytes, *, key: str = "cdiff", full: bool | None = None) -> bytes:
    """Pack and sign commands."""
    body = b"ClamAV-Diff:%d:%d:" % (version, len(script)) + gzip.compress(script, mtime=0)
    return body + b":" + sign_pss(private_key(key), body, full=full).encode()


def script(old: Made, new: Made) -> bytes:
    """Write commands that make one version of another: what is equal at the beginning of a member stays."""
    out: list[bytes] = []
    for name in sorted({*old.members, *new.members} - {LICENCE}):
        before, after = (made.members.get(name) for made in (old, new))
        if before == after:
            continue
        if after is None:
            out.append(b"UNLINK " + name.encode())
            continue
        out += [b"OPEN " + name.encode(), *_changes((before or b"").splitlines(), after.splitlines()), b"CLOSE"]
    return b"".join(line + b"\n" for line in out)


def _changes(before: list[bytes], after: list[bytes]) -> list[bytes]:
    same = min(len(before), len(after))
    edits = []
    for number, (old, new) in enumerate(zip(before, after, strict=False), 1):
        if old != new:
            edits.append(b"XCHG %d %s %s" % (number, old.split(b" ")[0][:16], new))
    edits += [b"DEL %d %s" % (number, old[:16]) for number, old in enumerate(before[same:], same + 1)]
    return edits + [b"ADD " + line for line in after[same:]]


# --- beside a file ----------------------------------------------------------------------------------------------------

NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2030, 1, 1, tzinfo=UTC)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Authority:
    """A root, an authority below it and a signer, each with a certificate, for `.sign` files."""

    name: str = "updoser Test Root"
    until: datetime = NOT_AFTER
    key: rsa.RSAPrivateKey = field(default_factory=rsa_key)
    root: x509.Certificate = field(init=False)
    middle: x509.Certificate = field(init=False)
    signer: x509.Certificate = field(init=False)
    others: tuple[x509.Certificate, ...] = ()
    """What goes along in a signature beside the certificates of signer and authority."""
    uses: tuple[x509.ObjectIdentifier, ...] = ()
    """What the signer's certificate says that it is for; nothing where that is left open."""

    def __post_init__(self) -> None:
        self._root_key, self._middle_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = self._certificate(self.name, self._root_key.public_key(), self.name, self._root_key, authority=True)
        middle = f"{self.name} 2"
        self.middle = self._certificate(
            middle, self._middle_key.public_key(), self.name, self._root_key, authority=True
        )
        self.signer = self._certificate(
            "Test_datafiles_release", self.key.public_key(), middle, self._middle_key, authority=False
        )

    def _certificate(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        issuer: str,
        issuer_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        *,
        authority: bool,
    ) -> x509.Certificate:
        subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer))
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOT_BEFORE).not_valid_after(self.until)
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        if self.uses and not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.uses), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def sub_signer(self, other: Authority) -> x509.Certificate:
        """Give a certificate for this authority's key by the signer of another one, which isn't there for that."""
        return self._certificate(
            "Impostor", self.key.public_key(), "Test_datafiles_release", other.key, authority=False
        )

    @property
    def pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)

    def der(self, data: bytes) -> bytes:
        """Give a detached signature."""
        options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
        builder = pkcs7.PKCS7SignatureBuilder().set_data(data).add_signer(self.signer, self.key, hashes.SHA256())
        # what is added before the signer, it forgets
        for certificate in (self.middle, *self.others):
            builder = builder.add_certificate(certificate)
        return builder.sign(serialization.Encoding.DER, options)

    def sign(self, data: bytes, levels: str = "200:") -> bytes:
        """Give a `.sign` file."""
        return sign_file((levels, self.der(data)))


def sign_file(*lines: tuple[str, bytes]) -> bytes:
    text = "".join(f"{levels}:pkcs7-pem:{base64.b64encode(der).decode()}\n" for levels, der in lines)
    return f"#clamsign-1.0\n{text}".encode()
