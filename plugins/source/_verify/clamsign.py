"""`clamsign`: a `.sign` file beside a file, as ClamAV has them since 1.5: PKCS#7 that leads to a given certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.formats.clamsign import MAX_BYTES, signer_of

from .._clamav.trust import certificates_trusted, roots_at
from .material import Proof, beside, filled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.contracts import Context, TrustedKey

    from .material import Material


class ClamSign:
    """A `Way`. The key of its proof is the name of the signer's certificate."""

    def __init__(self, options: Mapping[str, str], context: Context) -> None:
        self._certificates = options["certificates"]
        self._signature = options["signature"]
        self._context = context

    def check(self, material: Material) -> Proof:
        """See `Way.check`."""
        roots = roots_at(self._certificates, self._context)
        place = filled(self._signature, material)
        content = beside(material, self._signature, MAX_BYTES)
        try:
            signer = signer_of(content, bytes.fromhex(material.sha256), roots=roots, now=self._context.clock())
        except ValueError as error:
            raise SourceError(f"the signature {place} isn't good: {error}") from error
        if signer is None:
            raise SourceError(f"the signature {place} isn't good: it has none in a form that is known")
        return Proof("clamsign", signer)

    def trusted(self) -> tuple[TrustedKey, ...]:
        """See `Way.trusted`."""
        return tuple(certificates_trusted(self._certificates, self._context))
