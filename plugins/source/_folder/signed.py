"""What is verified of a release in a folder: its SHA256SUMS, by signatures that lie beside it."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError

from .._verify.material import NotThereError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

SUMS = "SHA256SUMS"
SUMS_OF_FACTS = f"{SUMS}.release"
"""Lists SHA256SUMS and release.yaml, for a signature over what is said of a release; the content digest goes by the
first one alone."""


def is_signature(name: str) -> bool:
    """Say whether a file belongs to a release's SHA256SUMS, as its signatures do, and so is none of the release."""
    return name.startswith(f"{SUMS}.")


@dataclass(frozen=True, slots=True)
class SignedSums:
    """The `Material` of a release in a folder; see `plugins/source/_verify/material.py`. `name` is the listing's.

    `there` are the names in the release's folder, and `read` reads one of them.
    """

    component: str
    version: str
    content: bytes
    path: Path
    there: Collection[str]
    read: Callable[[str, int], bytes]
    name: str = SUMS

    @property
    def url(self) -> str:
        """What stands for its address: its signature is called by its name."""
        return self.name

    @property
    def size(self) -> int:
        """The size of the listing."""
        return len(self.content)

    @property
    def sha256(self) -> str:
        """Its digest."""
        return hashlib.sha256(self.content).hexdigest()

    def beside(self, reference: str, limit: int) -> bytes:
        """Read a file of the release's folder."""
        if reference not in self.there or reference == ".":
            raise NotThereError(f"{reference} isn't there")
        return self.read(reference, limit)

    def pointer(self, text: str) -> Any:
        """Refuse: a folder has no document of versions."""
        raise SourceError(f"a folder has no document that {text!r} could point into")


@contextmanager
def kept(content: bytes, folder: Path) -> Iterator[Path]:
    """Have content in a file of our own for the time of the block: programs read it, and nobody else can change it."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".sums-") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)
