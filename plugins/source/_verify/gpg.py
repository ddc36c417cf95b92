"""`gpg`: a detached signature of OpenPGP, verified by `gpgv` with a keyring that the operator gave.

gpgv believes each key of the keyring and nothing else: no trust, no network, no configuration of a user. What it says
is read from its status lines alone. A signature is good when a key of the keyring made it over these bytes, and neither
the key nor the signature has expired or was revoked. Of several signatures one must be good and none wrong; those by
keys that aren't in the keyring say nothing.

What gpgv found good isn't asked again for a day, for the same bytes, signature and keyring, where a source remembers
that (`Proven`). It isn't believed for longer, as keys and signatures expire.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from reconciler.contracts import TrustedKey
from reconciler.errors import SourceError
from reconciler.formats import openpgp
from reconciler.programs import Ending, last_lines, read_program

from .material import MAX_KEYRING, OwnSignature, Proof, beside, filled, trust_file
from .signed import Sums

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.contracts import Context

    from .material import Material

PROGRAM = "gpgv"
_INSTALL = "apt-get install gpgv, or dnf install gnupg2"
MAX_SIGNATURE = 256 * 2**10
TIMEOUT = 600.0
"""Seconds that a file may take to be hashed."""
_MAX_OUTPUT = 2**20
_STRONG = {"8": "SHA256", "9": "SHA384", "10": "SHA512", "12": "SHA3-256", "14": "SHA3-512"}
"""Hashes that count, by their numbers in RFC 9580; SHA-1 can be made to collide."""
_BAD = {
    "BADSIG": "it isn't what the key {0} signed",
    "EXPSIG": "the signature of the key {0} has expired",
    "EXPKEYSIG": "the key {0} has expired",
    "REVKEYSIG": "the key {0} was revoked",
}


class Proven(Protocol):
    """What a source remembers of what was proven in an earlier look."""

    def proven(self, key: str, now: float) -> str:
        """Give who was found to have signed what has this key; empty where that isn't known, or was too long ago."""

    def prove(self, key: str, signer: str, now: float) -> None:
        """Remember who signed; `now` is in seconds since the epoch."""


class Gpg:
    """A `Way`; see the module for `proven`."""

    def __init__(self, options: Mapping[str, str], context: Context, proven: Proven | None = None) -> None:
        self._proven = proven
        self._keyring_name = options["keyring"]
        self._signature = options.get("signature", "")
        self._sums = options.get("sums", "")
        self._context = context

    def check(self, material: Material) -> Proof:
        """See `Way.check`."""
        keyring = self._keyring()
        if not self._signature and not self._sums and isinstance(material, OwnSignature):
            content, own, _at = material.own_signature("PGP")
            return Proof("gpg", self._verified(keyring, own, f"the signature of {material.name}", content))
        reference = self._signature or f"{self._sums or '{url}'}.asc"
        place = f"the signature {filled(reference, material)}"
        signature = beside(material, reference, MAX_SIGNATURE)
        if not self._sums:
            return Proof("gpg", self._verified(keyring, signature, place, material))
        sums = Sums(material, self._sums)
        proof = Proof("gpg", self._verified(keyring, signature, place, sums.content))
        sums.check()
        return proof

    def trusted(self) -> tuple[TrustedKey, ...]:
        """See `Way.trusted`."""
        try:
            found = _certificates(self._keyring(), self._keyring_name)
        except SourceError as error:
            return (TrustedKey(self._keyring_name, "gpg", problem=error.message),)
        keys = [TrustedKey(self._keyring_name, "gpg", key.fingerprint, about=key.user) for key in found]
        if shutil.which(PROGRAM, path=self._context.environ.get("PATH")) is None:
            missing = f"signatures can't be verified: the program {PROGRAM} isn't here ({_INSTALL})"
            keys.append(TrustedKey(self._keyring_name, "gpg", problem=missing))
        return tuple(keys)

    def _keyring(self) -> bytes:
        """Read the keyring, and take its armour off."""
        name = self._keyring_name
        try:
            keyring = openpgp.binary(trust_file(self._context, name, MAX_KEYRING), "PUBLIC KEY BLOCK")
        except ValueError as error:
            raise SourceError(f"the keyring {name}: {error}") from error
        _certificates(keyring, name)
        return keyring

    def _verified(self, keyring: bytes, signature: bytes, place: str, signed: Material | bytes) -> str:
        """Have gpgv verify a signature over a file, or over some content; give the fingerprint of who signed.

        Raises:
            SourceError: it isn't good, or there is no gpgv.
        """
        try:
            detached = openpgp.binary(signature, "SIGNATURE")
            odd = {kind for kind, _body in openpgp.packets(detached)} - {openpgp.SIGNATURE}
        except ValueError as error:
            raise SourceError(f"{place} is malformed: {error}") from error
        if odd or not detached:
            raise SourceError(f"{place} is malformed: it isn't a detached signature")
        of = _digest(signed) if isinstance(signed, bytes) else signed.sha256
        key = _digest(f"{_digest(keyring)} {_digest(detached)} {of}".encode())
        now = self._context.clock().timestamp()
        known = self._proven.proven(key, now) if self._proven is not None else ""
        if known:
            return known
        with tempfile.TemporaryDirectory(dir=self._context.work, prefix=".gpgv-") as folder:
            home = Path(folder)
            content = signed if isinstance(signed, bytes) else b""
            for name, data in (("keyring", keyring), ("signature", detached), ("content", content)):
                (home / name).write_bytes(data)
            path = home / "content" if isinstance(signed, bytes) else signed.path
            signer = self._asked(home, path, place)
        if self._proven is not None:
            self._proven.prove(key, signer, now)
        return signer

    def _asked(self, home: Path, signed: Path, place: str) -> str:
        command = [PROGRAM, "--homedir", str(home), "--keyring", str(home / "keyring"), "--status-fd", "1"]
        command += ["--", str(home / "signature"), str(signed.absolute())]
        env = {**self._context.environment(), "LC_ALL": "C"}
        ended = read_program(command, home, env, timeout=TIMEOUT, limit=_MAX_OUTPUT, stop=self._context.stop)
        if ended.ending is Ending.NOT_STARTED:
            raise SourceError(
                f"{place} can't be verified: the program {PROGRAM} can't be run ({ended.why})",
                hint=f"install it: {_INSTALL}",
            )
        if ended.ending is not Ending.EXITED:
            raise SourceError(f"{place} can't be verified: {PROGRAM} wasn't done ({ended.ending.name.lower()})")
        return _judged(_status(ended.output), place, last_lines(ended.errors))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _status(output: bytes) -> list[dict[str, Sequence[str]]]:
    """Give what gpgv says of each signature: the words behind each kind of line."""
    found: list[dict[str, Sequence[str]]] = []
    for line in output.decode("utf-8", "replace").split("\n"):
        mark, _, rest = line.partition(" ")
        kind, *words = rest.split(" ")
        if mark == "[GNUPG:]" and kind == "NEWSIG":
            found.append({})
        elif mark == "[GNUPG:]" and found:
            found[-1][kind] = words
    return found


def _judged(status: list[dict[str, Sequence[str]]], place: str, said: str) -> str:
    """Give the fingerprint of the primary key of the first signature that is good.

    Raises:
        SourceError: none is, or one is wrong.
    """
    found = [(_problem(about), about) for about in status]
    good = [about["VALIDSIG"][9] for problem, about in found if not problem]
    bad = [problem for problem, about in found if "BADSIG" in about]
    if bad or not good:
        why = bad or [problem for problem, _about in found] or [said or "gpgv says nothing of it"]
        raise SourceError(f"{place} isn't good: {'; '.join(why)}")
    return good[0]


def _problem(about: Mapping[str, Sequence[str]]) -> str:
    """Say why a signature doesn't count; empty where it is good."""
    for kind, says in _BAD.items():
        if kind in about:
            return says.format((about[kind] or ["?"])[0])
    if "ERRSIG" in about:
        words = about["ERRSIG"]
        unknown = len(words) > 5 and words[5] == "9"
        return f"it is by the key {words[0]}, which " + ("the keyring hasn't" if unknown else "gpgv can't use")
    if "GOODSIG" in about and "VALIDSIG" in about:
        return _weakness(about["VALIDSIG"])
    return "gpgv doesn't say that it is good"


def _weakness(words: Sequence[str]) -> str:
    """Say why a valid signature doesn't count; the words of VALIDSIG are those of GnuPG's doc/DETAILS."""
    if len(words) < 10:
        return "gpgv is too old to say how it was made"
    if words[7] not in _STRONG:
        return f"the key {words[9]} signed with a hash that is too weak (number {words[7]} of OpenPGP)"
    if words[8] != "00":
        return f"the key {words[9]} signed it as text, and not as these bytes"
    return ""


def _certificates(keyring: bytes, name: str) -> list[openpgp.Certificate]:
    try:
        return openpgp.certificates(keyring)
    except ValueError as error:
        raise SourceError(f"the keyring {name}: {error}") from error
