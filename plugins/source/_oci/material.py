"""A layer as it is verified: fetched only for what looks at its bytes, as its digest stands in a manifest anyhow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import SourceError
from reconciler.formats.cosign import Subject

from .._verify.material import NotThereError
from .signatures import signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reconciler.formats.cosign import Found
    from reconciler.formats.oci import Descriptor

    from .registry import Registry


class Signed:
    """An artifact and the signatures beside it, which are looked for once; `seen` are those that were looked at."""

    def __init__(self, registry: Registry, repository: str, manifest: bytes, names: Sequence[str]) -> None:
        """Ask for nothing yet."""
        self.subject = Subject(manifest, names)
        self.seen: list[Found] = []
        self._more = signatures(registry, repository, self.subject.digest)

    def found(self) -> Iterator[Found]:
        """Give the signatures, each time all of them; what wasn't wanted before is asked for only now.

        Raises:
            SourceError: that can't be found out.
        """
        yield from list(self.seen)
        for signature in self._more:
            self.seen.append(signature)
            yield signature


class LayerMaterial:
    """A `Material` of `_verify`: one layer of an artifact."""

    def __init__(
        self,
        name: str,
        layer: Descriptor,
        *,
        version: str,
        url: str,
        signed: Signed,
        fetch: Callable[[], Path],
        neighbour: Callable[[str, int], bytes | None],
    ) -> None:
        """Take `fetch`, which brings the layer's bytes, and `neighbour`, which reads a layer by its title."""
        self.name = name
        self.size = layer.size
        self.sha256 = layer.sha256
        self.version = version
        self.url = url
        self._signed = signed
        self._fetch = fetch
        self._neighbour = neighbour

    @property
    def path(self) -> Path:
        """Where its bytes are: they are fetched when this is asked for.

        Raises:
            SourceError: they can't be had; OverLimitError: not now.
        """
        return self._fetch()

    def beside(self, reference: str, limit: int) -> bytes:
        """Read another layer of the artifact, by its title, or by what is behind this one's name.

        Raises:
            NotThereError: there is no such layer.
            SourceError: it can't be had, or is larger.
        """
        title = reference
        if reference.startswith(self.url):
            title = f"{self.name}{reference[len(self.url) :]}"
        elif urlsplit(reference).scheme:
            raise SourceError(f"{reference} isn't in the artifact", hint="name the title of one of its layers")
        content = self._neighbour(title, limit)
        if content is None:
            raise NotThereError(f"the artifact has no layer {title!r:.120}")
        return content

    def pointer(self, text: str) -> Any:
        """See `Material`: versions of artifacts come from no document.

        Raises:
            SourceError: always.
        """
        raise SourceError(f"there is no document for {text}: the digests of an artifact stand in its manifest")

    def cosign(self) -> tuple[Subject, Iterator[Found]]:
        """Give what signatures of cosign must be of, and those that there are.

        Raises, when they are read:
            SourceError: that can't be found out.
        """
        return self._signed.subject, self._signed.found()
