"""Whom a source of ClamAV's databases trusts, and what is held against that.

* `.info` is what proves a database: its signature, and each member by it. A database is never taken without that where
  there are keys.
* What comes as a whole file is held against its container's signature, too, or the one beside it; a signature beside a
  file is looked at where there are certificates, and one that is there and wrong is refused, whatever others say.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.contracts import TrustedKey
from reconciler.errors import SourceError
from reconciler.formats.clam_signature import ClamKeys, keys_from, signs_md5, signs_sha256
from reconciler.formats.clamsign import roots_from, signer_of
from reconciler.formats.cvd import HEADER, check_header, check_members, info_of
from reconciler.model.release import MAX_KEYS, SignedBy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import BufferedReader
    from pathlib import Path

    from cryptography.x509 import Certificate

    from reconciler.contracts import Context
    from reconciler.formats.cdiff import Cdiff
    from reconciler.formats.cvd import Database, Info

MAX_KEYS_FILE = 64 * 2**10
MAX_CERTIFICATES = 64
MAX_CERTIFICATE = 2**20
SCHEME = "clamsign"


class WrongError(SourceError):
    """What came isn't what its vendor signed."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Keys, certificates, and whether a signature beside a file must be there; nothing at all: nothing is verified."""

    keys: ClamKeys
    roots: tuple[Certificate, ...] = ()
    needs_sign: bool = False

    @property
    def mark(self) -> str:
        """What tells this trust from another one: what was proven by another one is proven again."""
        parts = [key.fingerprint if key else "-" for key in (self.keys.container, self.keys.cdiff, self.keys.info)]
        parts += sorted(_fingerprint(root) for root in self.roots)
        return hashlib.sha256(" ".join([*parts, str(self.needs_sign)]).encode()).hexdigest()

    @property
    def signed(self) -> SignedBy | None:
        """Who vouches for what passed."""
        if self.keys.info is None:
            return None
        return SignedBy(scheme=SCHEME, keys=(self.keys.info.fingerprint,)[:MAX_KEYS])


def load_trust(verify: Mapping[str, Any] | None, context: Context) -> Trust:
    """Read what the option `verify` names.

    Raises:
        SourceError: it can't be read, or isn't what it should be.
    """
    if verify is None:
        return Trust(ClamKeys())
    named = verify["clamsign"]
    roots = roots_at(named["certificates"], context) if "certificates" in named else ()
    return Trust(_keys(named["keys"], context), roots, named["require"] == "sign")


def trusted(verify: Mapping[str, Any] | None, context: Context) -> list[TrustedKey]:
    """List keys and certificates, those that can't be read too."""
    if verify is None:
        return []
    named = verify["clamsign"]
    found = []
    try:
        keys = _keys(named["keys"], context)
        for use in ("container", "cdiff", "info"):
            key = getattr(keys, use)
            if key is not None:
                found.append(TrustedKey(named["keys"], SCHEME, key.fingerprint, about=f"for {use}"))
    except SourceError as error:
        found.append(TrustedKey(named["keys"], SCHEME, problem=error.message))
    return [*found, *(certificates_trusted(named["certificates"], context) if "certificates" in named else ())]


def certificates_trusted(place: str, context: Context) -> list[TrustedKey]:
    """List the certificates that signatures beside files must lead to; or what keeps them from being read."""
    try:
        roots = roots_at(place, context)
    except SourceError as error:
        return [TrustedKey(place, SCHEME, problem=error.message)]
    return [TrustedKey(place, SCHEME, _fingerprint(one), about=one.subject.rfc4514_string()) for one in roots]


def _fingerprint(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return certificate.fingerprint(SHA256()).hex()


def _keys(name: str, context: Context) -> ClamKeys:
    import yaml

    hint = "docs/clamav.md says how they are got out of an installed ClamAV"
    data = _read(context.path(name, SourceError), MAX_KEYS_FILE, hint)
    try:
        return keys_from(yaml.safe_load(data))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        says = str(error) if isinstance(error, ValueError) else "it is no YAML"
        raise SourceError(f"the keys {name}: {says}", hint=hint) from error


def roots_at(name: str, context: Context) -> tuple[Certificate, ...]:
    """Read the certificates of a folder, as ClamAV does: `*.pem` and `*.crt`; or those of one file.

    Raises:
        SourceError: they can't be read, or aren't any.
    """
    path = context.path(name, SourceError)
    hint = "get them from an installed ClamAV 1.5: /etc/clamav/certs"
    try:
        files = [path]
        if path.is_dir():
            files = sorted(one for one in path.iterdir() if one.suffix in {".pem", ".crt"})[:MAX_CERTIFICATES]
        return roots_from([(one.name, _read(one, MAX_CERTIFICATE, hint)) for one in files])
    except OSError as error:
        raise SourceError(f"the certificates {name} can't be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise SourceError(f"the certificates {name}: {error}", hint=hint) from error


def _read(path: Path, limit: int, hint: str) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror}", hint=hint) from error
    if len(data) > limit:
        raise SourceError(f"{path} is larger than {limit} bytes", hint=hint)
    return data


# --- what is held against it ------------------------------------------------------------------------------------------


def proven(made: Database, database: str, trust: Trust) -> Info:
    """Prove a database by its `.info`.

    Raises:
        WrongError: it isn't what its vendor signed.
    """
    try:
        info = info_of(made.members, database)
        key = trust.keys.info
        if key is not None and not signs_sha256(key, info.signature, hashlib.sha256(info.signed).digest()):
            raise WrongError("its .info isn't signed with the key that is trusted")
        check_members(made.members, info, database)
        check_header(made.header, info)
    except ValueError as error:
        raise WrongError(str(error)) from error
    return info


def check_container(stream: BufferedReader, made: Database, trust: Trust, *, needed: bool) -> None:
    """Hold a whole file against the signature in its header; `needed` where clients will ask for it.

    Raises:
        WrongError: it isn't signed, or not with the key that is trusted.
    """
    key = trust.keys.container
    if not made.header.is_signed:
        if needed and key is not None:
            raise WrongError("its container isn't signed")
        return
    stream.seek(HEADER)
    digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    try:
        if digest.hexdigest() != made.header.md5.lower():
            raise WrongError("its MD5 isn't the one in its header")
        if key is not None and not signs_md5(key, made.header.signature, digest.digest()):
            raise WrongError("its container isn't signed with the key that is trusted")
    except ValueError as error:
        raise WrongError(str(error)) from error


def check_cdiff(cdiff: Cdiff, trust: Trust) -> None:
    """Hold a cdiff against its signature.

    Raises:
        WrongError: it isn't signed with the key that is trusted.
    """
    key = trust.keys.cdiff
    if key is None:
        return
    try:
        good = signs_sha256(key, cdiff.signature, hashlib.sha256(cdiff.signed).digest())
    except ValueError as error:
        raise WrongError(str(error)) from error
    if not good:
        raise WrongError("it isn't signed with the key that is trusted")


def check_sign(sign: bytes | None, sha256: bytes, trust: Trust, context: Context) -> None:
    """Hold a file against the signature beside it, where there are certificates; `sign` is None where there is none.

    Raises:
        WrongError: it is wrong, or isn't there and must be.
    """
    if not trust.roots:
        return
    signer = None
    if sign is not None:
        try:
            signer = signer_of(sign, sha256, roots=trust.roots, now=context.clock())
        except ValueError as error:
            raise WrongError(f"the signature beside it: {error}") from error
    if signer is None and trust.needs_sign:
        raise WrongError("it has no signature beside it, and `require: sign` wants one")
