"""`cosign`: a signature of cosign beside an artifact of a registry, verified with a public key.

Anybody may put a signature beside an artifact: one that is good is enough, whatever else is there. Where there are some
and none is good, they are there and wrong.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from reconciler.contracts import TrustedKey
from reconciler.errors import SourceError
from reconciler.formats import cosign

from .material import Cosigned, NotThereError, Proof, trust_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.contracts import Context
    from reconciler.formats.cosign import PublicKey

    from .material import Material


class Cosign:
    """A `Way`."""

    def __init__(self, options: Mapping[str, str], context: Context) -> None:
        self._name = options["key"]
        self._context = context

    def check(self, material: Material) -> Proof:
        """See `Way.check`."""
        key = self._key()
        if not isinstance(material, Cosigned):
            raise SourceError("only artifacts of a registry are signed by cosign", hint="use another way to verify it")
        subject, found = material.cosign()
        first = next(found, None)
        if first is None:
            raise NotThereError("the artifact has no signature of cosign")
        try:
            cosign.verify(subject, chain([first], found), key)
        except ValueError as error:
            raise SourceError(str(error)) from error
        return Proof("cosign", cosign.fingerprint(key))

    def trusted(self) -> tuple[TrustedKey, ...]:
        """See `Way.trusted`."""
        try:
            return (TrustedKey(self._name, "cosign", cosign.fingerprint(self._key())),)
        except SourceError as error:
            return (TrustedKey(self._name, "cosign", problem=error.message),)

    def _key(self) -> PublicKey:
        try:
            return cosign.public_key(trust_file(self._context, self._name, cosign.MAX_KEY))
        except ValueError as error:
            raise SourceError(f"the key {self._name}: {error}") from error
