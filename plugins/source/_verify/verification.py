"""All ways to verify of one source, together.

* `all`: each must pass.
* `any`: the first for which there is something to go by decides. What isn't there is passed over; what is there and
  wrong is refused, whatever another way would say, and so is what can't be had at the moment: whoever keeps a signature
  back mustn't gain by that.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError
from reconciler.model.release import MAX_KEYS, SignedBy

from .material import MAX_KEYRING, NotThereError, trust_file
from .options import signed_by_options, ways_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.contracts import Context, TrustedKey

    from .gpg import Proven
    from .material import Material, Proof, Way


_FILES = ("key", "keyring", "signers", "trusted_root")
"""Options that name a file of keys; certificates are wholly in what `keys` tells."""


class Verification:
    """What the option `verify` asks for."""

    def __init__(self, verify: Any, context: Context, proven: Proven | None = None) -> None:
        """Take the option as it stands in complete options, None where there is none; no key is read yet.

        `proven` remembers what programs found out in earlier looks, for a source that asks for the same again.
        """
        self.options = verify
        """The option as it stands."""
        self._every, ways = ways_of(verify)
        self._ways = [_made(name, options, context, proven) for name, options in ways]
        self._files = [options[word] for _name, options in ways for word in _FILES if word in options]
        self._context = context
        self.signed = signed_by_options({"verify": verify})
        """Whether all that passes is signed."""

    def __bool__(self) -> bool:
        """Say whether anything is verified."""
        return bool(self._ways)

    def check(self, material: Material) -> tuple[Proof, ...]:
        """Verify a material; nothing is proven where nothing is asked for.

        Raises:
            SourceError: it isn't what it should be; the message says in which way, and why.
        """
        if self._every:
            return tuple(_told(way, material) for way in self._ways)
        missing = []
        for way in self._ways:
            try:
                return (_told(way, material),)
            except NotThereError as error:
                missing.append(error.message)
        raise NotThereError("; ".join(missing))

    def keys(self) -> tuple[TrustedKey, ...]:
        """Give all keys that are trusted, each once."""
        return tuple(dict.fromkeys(key for way in self._ways for key in way.trusted()))

    @property
    def mark(self) -> str:
        """What tells what is trusted now from what was before, whatever the options are.

        The files of the keys belong to it as they are: that a key was revoked, or is good for less, doesn't show in its
        fingerprint.
        """
        said = sorted(repr(key) for key in self.keys())
        return hashlib.sha256("\n".join([*said, *map(self._digest, self._files)]).encode()).hexdigest()

    def _digest(self, name: str) -> str:
        try:
            return hashlib.sha256(trust_file(self._context, name, MAX_KEYRING)).hexdigest()
        except SourceError:
            return ""  # it is a key itself; or can't be read, as `keys` tells


def _made(name: str, options: Mapping[str, str], context: Context, proven: Proven | None) -> Way:
    """Make a way by its name: most specs name one or none, and each brings the formats that it reads."""
    match name:
        case "sha256":
            from .digests import Sha256

            return Sha256(options)
        case "minisign":
            from .minisign import Minisign

            return Minisign(options, context)
        case "gpg":
            from .gpg import Gpg

            return Gpg(options, context, proven=proven)
        case "ssh":
            from .ssh import Ssh

            return Ssh(options, context)
        case "cosign":
            from .cosign import Cosign

            return Cosign(options, context)
        case "clamsign":
            from .clamsign import ClamSign

            return ClamSign(options, context)
        case "tuf":
            from .tuf import TufTarget

            return TufTarget(options, context)
    raise KeyError(name)


def _told(way: Way, material: Material) -> Proof:
    """Have a way say what is the matter in a sentence that names the file.

    Raises:
        SourceError: as `Way.check`.
    """
    try:
        return way.check(material)
    except SourceError as error:
        kind = NotThereError if isinstance(error, NotThereError) else SourceError
        said = f"{material.name} can't be verified: {error.message}"
        raise kind(said, hint=error.hint, cooldown_until=error.cooldown_until) from error


def signed_by(proofs: Iterable[Proof]) -> SignedBy | None:
    """Give who signed, as a release has it; None where no proof says so."""
    found = [proof for proof in proofs if proof.key]
    if not found:
        return None
    return SignedBy(
        scheme="+".join(dict.fromkeys(proof.scheme for proof in found)),
        keys=tuple(dict.fromkeys(proof.key for proof in found))[:MAX_KEYS],
    )
