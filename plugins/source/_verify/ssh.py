"""`ssh`: a signature of an SSH key: the own one of a tag or commit of git, or one that lies beside a file.

Whose keys count is a file of the operator's, as ssh-keygen and git have it; no program is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.contracts import TrustedKey
from reconciler.errors import SourceError
from reconciler.formats.sshsig import SshSignatureError, parse_signers, verify

from .material import OwnSignature, Proof, beside, content_of, filled, trust_file
from .signed import Sums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.contracts import Context
    from reconciler.formats.sshsig import Signer

    from .material import Material

MAX_SIGNERS = 2**20
MAX_SIGNATURE = 64 * 2**10


class Ssh:
    """A `Way`."""

    def __init__(self, options: Mapping[str, str], context: Context) -> None:
        self._signers_name = options["signers"]
        self._signature = options.get("signature", "")
        self._namespace = options.get("namespace", "file")
        self._sums = options.get("sums", "")
        self._context = context

    def check(self, material: Material) -> Proof:
        """See `Way.check`."""
        signers = self._signers()
        try:
            if not self._signature and not self._sums and isinstance(material, OwnSignature):
                place = f"the signature of {material.name}"
                own = material.own_signature("SSH")
                return Proof("ssh", verify(own.content, own.signature, "git", signers, own.at).fingerprint)
            reference = self._signature or f"{self._sums or '{url}'}.sig"
            place = f"the signature {filled(reference, material)}"
            signature = beside(material, reference, MAX_SIGNATURE)
            sums = Sums(material, self._sums) if self._sums else None
            content = content_of(material) if sums is None else sums.content
            signer = verify(content, signature, self._namespace, signers, self._context.clock())
        except SshSignatureError as error:
            raise SourceError(f"{place} {error}") from error
        if sums is not None:
            sums.check()
        return Proof("ssh", signer.fingerprint)

    def trusted(self) -> tuple[TrustedKey, ...]:
        """See `Way.trusted`."""
        try:
            signers = self._signers()
        except SourceError as error:
            return (TrustedKey(self._signers_name, "ssh", problem=error.message),)
        return tuple(TrustedKey(self._signers_name, "ssh", key.fingerprint, about=key.who) for key in signers)

    def _signers(self) -> list[Signer]:
        name = self._signers_name
        content = trust_file(self._context, name, MAX_SIGNERS)
        try:
            return parse_signers(content.decode())
        except ValueError as error:  # what isn't UTF-8, too
            raise SourceError(f"the signers {name}: {error}") from error
