"""`minisign`: a signature beside the file, or beside a sums file that lists it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.contracts import TrustedKey
from reconciler.errors import SourceError
from reconciler.formats.minisign import (
    MAX_BYTES,
    MAX_WHOLE,
    PublicKey,
    Signature,
    WrongSignatureError,
    disagreement,
    prehash,
    read_public_key,
    read_signature,
    verify,
)

from .material import OfComponent, Proof, beside, content_of, filled, trust_file
from .signed import Sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.contracts import Context

    from .material import Material


class Minisign:
    """A `Way`."""

    def __init__(self, options: Mapping[str, str], context: Context) -> None:
        self._key_name = options["key"]
        self._sums = options.get("sums", "")
        self._signature = options.get("signature") or f"{self._sums or '{url}'}.minisig"
        self._context = context

    def check(self, material: Material) -> Proof:
        """See `Way.check`."""
        key = self._key()
        place = filled(self._signature, material)
        content = beside(material, self._signature, MAX_BYTES)
        sums = Sums(material, self._sums) if self._sums else None
        try:
            signature = read_signature(content)
            verify(key, signature, _signed(signature, material, sums))
        except ValueError as error:
            what = "isn't good" if isinstance(error, WrongSignatureError) else "is malformed"
            raise SourceError(f"the signature {place} {what}: {error}") from error
        name = material.name if sums is None else sums.name
        of = material.component if isinstance(material, OfComponent) else ""
        wrong = disagreement(signature.comment, name=name, version=material.version, component=of)
        if wrong:
            raise SourceError(f"the signature {place} is good for something else: {wrong}")
        if sums is not None:
            sums.check()
        return Proof("minisign", key.name)

    def trusted(self) -> tuple[TrustedKey, ...]:
        """See `Way.trusted`."""
        place = "" if _is_key(self._key_name) else self._key_name
        try:
            return (TrustedKey(place, "minisign", self._key().name),)
        except SourceError as error:
            return (TrustedKey(place, "minisign", problem=error.message),)

    def _key(self) -> PublicKey:
        name = self._key_name
        content = name.encode() if _is_key(name) else trust_file(self._context, name, MAX_BYTES)
        try:
            return read_public_key(content)
        except ValueError as error:
            raise SourceError(f"the key {name}: {error}") from error


def _is_key(text: str) -> bool:
    """Say whether a text is a key, and no file of one: `Ed` in base64 is `RW`, and 42 bytes are 56 characters."""
    return len(text) == 56 and text.startswith("RW") and "." not in text


def _signed(signature: Signature, material: Material, sums: Sums | None) -> bytes:
    """Give what a signature is over.

    Raises:
        SourceError: the file is too large for a signature of the old form.
    """
    size = material.size if sums is None else len(sums.content)
    chunks: Iterator[bytes] = content_of(material) if sums is None else iter([sums.content])
    if signature.prehashed:
        return prehash(chunks)
    if size > MAX_WHOLE:
        raise SourceError(
            f"{material.name} has {size} bytes, and its signature is of minisign's old form, which is read for up to "
            f"{MAX_WHOLE}",
            hint="ask the publisher for one that is made without -l",
        )
    return b"".join(chunks)
