"""A file that was fetched, as it is verified: what it is, and what lies beside it or is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from reconciler.formats.pointer import value_at

from .._verify.material import NotThereError
from .found import checked_url

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.web.web import Web

    from .found import Found


@dataclass(frozen=True)
class Downloaded:
    """The protocol `Material` of `_verify`."""

    web: Web
    found: Found
    path: Path
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """See `Material`."""
        return self.found.name

    @property
    def version(self) -> str:
        """See `Material`."""
        return self.found.version

    @property
    def url(self) -> str:
        """See `Material`."""
        return self.found.url

    def beside(self, reference: str, limit: int) -> bytes:
        """Read what lies beside it; see `Material`. A name is one of the forge's release first, if it is from one.

        Raises:
            SourceError: it can't be had.
        """
        listed = self.found.assets.get(reference.rpartition("/")[2])
        place, headers = urljoin(self.url, reference), self.found.headers
        if listed is not None and ("://" not in reference or place.rpartition("/")[0] == self.url.rpartition("/")[0]):
            place, headers = listed, self.found.asset_headers
        return self.web.get(checked_url(self.web.base, place), limit=limit, headers=headers).body

    def pointer(self, text: str) -> Any:
        """Give what the document that the version came from says; see `Material`.

        Raises:
            NotThereError: it says nothing there, or there is none.
        """
        if self.found.entry is None:
            raise NotThereError(f"nothing is said at {text!r}: the version isn't from a JSON document")
        try:
            return value_at(self.found.entry, text)
        except KeyError as error:
            raise NotThereError(f"nothing is said at {text!r}") from error
