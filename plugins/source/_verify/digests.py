"""`sha256`: the digest that a source says of a file; and sums files that are signed in place of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError, printable

from .._folder.sums import MAX_BYTES, parse_sums
from .material import NotThereError, Proof, beside, filled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.contracts import TrustedKey

    from .material import Material

_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_MAX_DIGEST_FILE = 64 * 2**10
_SHOWN = 80


class Sha256:
    """A `Way`."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._how, self._where = next(iter(options.items()))

    def check(self, material: Material) -> Proof:
        """See `Way.check`."""
        place = filled(self._where, material)
        if self._how == "json":
            wanted = _from_json(material.pointer(self._where), place)
        elif self._how == "sums":
            wanted = listed(beside(material, self._where, MAX_BYTES), material.name, place)
        else:
            wanted = _alone(beside(material, self._where, _MAX_DIGEST_FILE), material.name, place)
        if wanted != material.sha256:
            raise SourceError(f"{material.name} has the sha256 {material.sha256}, and {place} says {wanted}")
        return Proof("sha256")

    def trusted(self) -> tuple[TrustedKey, ...]:
        """See `Way.trusted`."""
        return ()


def listed(content: bytes, name: str, place: str) -> str:
    """Give the digest that a sums file has of a file; a path in it counts by its last part.

    Raises:
        NotThereError: it doesn't list the file.
        SourceError: it is no sums file, or lists the file twice.
    """
    try:
        found = {digest for entry, digest in parse_sums(content) if entry.rpartition("/")[2] == name}
    except ValueError as error:
        raise SourceError(f"{place}: {error}") from error
    if not found:
        raise NotThereError(f"{place} doesn't list {name}")
    if len(found) > 1:
        raise SourceError(f"{place} lists {name} twice, with different digests")
    return found.pop()


def _alone(content: bytes, name: str, place: str) -> str:
    """Read a file of one digest: that alone, or as a line of a sums file."""
    text = content.decode("utf-8", "replace").removeprefix("\ufeff").strip()
    if _DIGEST.fullmatch(text):
        return text.lower()
    try:
        entries = list(parse_sums(content))
    except ValueError as error:
        shown = printable(text[:_SHOWN])
        raise SourceError(f"{place} isn't a sha256, and no line of a sums file: {shown!r}") from error
    if len(entries) == 1 and entries[0][0].rpartition("/")[2] in {name, "-"}:
        return entries[0][1]
    return listed(content, name, place)


def _from_json(value: Any, place: str) -> str:
    """Read a digest of a JSON document, with or without `sha256:`."""
    digest = value.removeprefix("sha256:").strip() if isinstance(value, str) else ""
    if not _DIGEST.fullmatch(digest):
        raise SourceError(f"{place} isn't a sha256: {printable(repr(value)[:_SHOWN])}")
    return digest.lower()
