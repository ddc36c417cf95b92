"""What a signature is over: the file itself, or a sums file that lists it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import SourceError

from .._folder.sums import MAX_BYTES
from .digests import listed
from .material import beside, filled

if TYPE_CHECKING:
    from .material import Material


class Sums:
    """A sums file that is signed in place of a material."""

    def __init__(self, material: Material, reference: str) -> None:
        """Read it.

        Raises:
            NotThereError: it isn't there.
            SourceError: it can't be had.
        """
        self.place = filled(reference, material)
        self.name = self.place.rpartition("/")[2]
        self.content = beside(material, reference, MAX_BYTES)
        self._material = material

    def check(self) -> None:
        """Hold the material to it, once its signature is good.

        Raises:
            SourceError: it doesn't list the file, or with another digest.
        """
        material = self._material
        wanted = listed(self.content, material.name, self.place)
        if wanted != material.sha256:
            raise SourceError(f"{material.name} has the sha256 {material.sha256}, and {self.place} says {wanted}")
