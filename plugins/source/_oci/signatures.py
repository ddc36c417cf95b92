"""What of cosign stands beside an artifact: under the tag of signatures, and among what refers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.formats import cosign
from reconciler.formats.cosign import BUNDLE, PAYLOAD, SIGNATURE, Found, signature_tag
from reconciler.formats.oci import MANIFESTS, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .registry import Registry

ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
"""The type of an artifact that refers to another one and has payloads: cosign 2 with its experiments."""
_TYPES = frozenset({BUNDLE, ARTIFACT, ""})
"""Those that are looked at; some registries don't say the type in their lists."""


def signatures(registry: Registry, repository: str, digest: str) -> Iterator[Found]:
    """Give what may be a signature of an artifact, one after the other: more is asked for only when it is wanted.

    Raises:
        SourceError: that can't be found out.
    """
    tag = signature_tag(digest)
    tagged = registry.resolve(repository, tag)
    if tagged is not None:
        yield from _of(registry, repository, tagged, tag)
    looked_at = 0
    for entry in registry.referrers(repository, digest):
        if entry.media_type in MANIFESTS and entry.artifact_type in _TYPES and looked_at < cosign.MAX_SIGNATURES:
            looked_at += 1
            yield from _of(registry, repository, entry.digest, f"referrer {entry.digest[:19]}…", subject=digest)


def _of(registry: Registry, repository: str, digest: str, place: str, subject: str = "") -> Iterator[Found]:
    """Give the signatures that a manifest has as its layers; none of one that is about something else."""
    try:
        _content, manifest = registry.document(repository, digest)
        if not isinstance(manifest, Manifest) or (subject and manifest.subject != subject):
            return
        layers = [layer for layer in manifest.layers if layer.media_type in {PAYLOAD, BUNDLE}]
        for layer in layers[: cosign.MAX_SIGNATURES]:
            signature = layer.annotations.get(SIGNATURE, "")
            if layer.media_type == BUNDLE or signature:
                content = registry.small_blob(repository, layer, cosign.MAX_BYTES)
                yield Found(place, content, signature if layer.media_type == PAYLOAD else "")
    except SourceError as error:
        if error.cooldown_until is not None:
            raise
        yield Found(f"{place} ({error.message})", b"")
