"""What of a repository is taken: which tags are versions, which layers are files, and what those are called.

* A tag is a version when, without `strip_prefix`, it is one of the component's scheme. One that stands for whatever is
  newest below it (`1.2` where there is `1.2.7`) moves, as `latest` does: neither is taken unless `floating` names it.
* A layer's file has the name that its title says, without folders: a release has none. One without a title is called as
  the repository is, with an ending that its media type tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from reconciler.formats.oci import EMPTY, INDEXES, MANIFESTS, ManifestIndex, floating
from reconciler.model.release import ANY_PLATFORM, file_name_problem

from .._fetched.unpack import Unpacking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.formats.oci import Descriptor, Manifest
    from reconciler.model.release import Component

MAX_PLATFORMS = 64
_ENDINGS = {
    "tar+gzip": ".tar.gz",
    "tar.gzip": ".tar.gz",
    "tar+gz": ".tar.gz",
    "tar.gz": ".tar.gz",
    "tar+zstd": ".tar.zst",
    "tar.zst": ".tar.zst",
    "tar": ".tar",
    "zip": ".zip",
    "gzip": ".gz",
    "json": ".json",
    "yaml": ".yaml",
}
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options say of one component."""

    repository: str
    tags: tuple[str, ...] = ()
    strip_prefix: str = ""
    floating: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    keep: int = 3
    platforms: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    file: str = ""
    unpacking: Unpacking | None = None
    verify: Any = None
    signed_as: str = ""

    @classmethod
    def of(cls, options: Mapping[str, Any], verify: Any = None) -> Wanted:
        """Read the options of a component, complete with their defaults; `verify` is that of the source."""
        tags, layers = options.get("tags", []), options.get("layer", [])
        return cls(
            repository=options["repository"],
            tags=(tags,) if isinstance(tags, str) else tuple(tags),
            strip_prefix=options["strip_prefix"],
            floating=tuple(options.get("floating", ())),
            digests=options.get("digests", {}),
            keep=options["keep"],
            platforms=tuple(options.get("platforms", ())),
            layers=(layers,) if isinstance(layers, str) else tuple(layers),
            file=options.get("file", ""),
            unpacking=Unpacking.of(options["unpack"]) if "unpack" in options else None,
            verify=options.get("verify", verify),
            signed_as=options.get("signed_as", ""),
        )

    @property
    def by_tag(self) -> bool:
        """True where tags are looked through: not where the options say which digests the releases are."""
        return not self.digests or bool(self.tags)


def version_of(text: str, wanted: Wanted, component: Component) -> str | None:
    """Give the version that a tag or an annotation is; None where it is none of the component's scheme."""
    version = text.removeprefix(wanted.strip_prefix)
    return version if component.scheme.accepts(version) else None


def tagged(tags: Sequence[str], wanted: Wanted, component: Component) -> list[tuple[str, str]]:
    """Give the versions that tags are, the newest first and at most as many as are kept, each with its tag."""
    fields = {}
    for tag in tags:
        version = version_of(tag, wanted, component)
        if version is not None and (not wanted.strip_prefix or tag.startswith(wanted.strip_prefix)):
            fields[tag] = component.version(version).key
    moving = floating(tags, fields)
    fixed = [tag for tag in fields if tag not in moving and tag not in wanted.floating and _is_taken(tag, wanted)]
    newest = sorted(fixed, key=lambda tag: fields[tag], reverse=True)[: wanted.keep]
    return [(tag.removeprefix(wanted.strip_prefix), tag) for tag in newest]


def _is_taken(tag: str, wanted: Wanted) -> bool:
    return not wanted.tags or any(fnmatchcase(tag, pattern) for pattern in wanted.tags)


def manifests_of(digest: str, document: Manifest | ManifestIndex, wanted: Wanted) -> list[tuple[str, str]]:
    """Give the platforms that an artifact is for, each with the digest of its manifest.

    Raises:
        ValueError: there is none that is wanted, or too many, or a platform twice.
    """
    if not isinstance(document, ManifestIndex):
        return [(ANY_PLATFORM, digest)]
    entries = [entry for entry in document.manifests if entry.platform and entry.media_type in MANIFESTS]
    nested = [entry for entry in document.manifests if entry.media_type in INDEXES]
    chosen = [entry for entry in entries if not wanted.platforms or entry.platform in wanted.platforms]
    if len(chosen) > MAX_PLATFORMS:
        raise ValueError(f"it is for more than {MAX_PLATFORMS} platforms; choose some with `platforms`")
    if not chosen:
        there = ", ".join(sorted({entry.platform for entry in entries})[:_SHOWN]) or "none"
        what = "only indexes within an index" if nested and not entries else f"the platforms {there}"
        raise ValueError(f"it has nothing for the platforms that are wanted; it has {what}")
    platforms = [entry.platform for entry in chosen]
    if len(set(platforms)) < len(platforms):
        twice = next(platform for platform in platforms if platforms.count(platform) > 1)
        raise ValueError(f"it has {twice} twice")
    return [(entry.platform, entry.digest) for entry in chosen]


def layers_of(manifest: Manifest, wanted: Wanted) -> list[tuple[str, Descriptor]]:
    """Give the layers that are taken, each with the name of its file.

    Raises:
        ValueError: none is, or one can't have its name.
    """
    there = [layer for layer in manifest.layers if layer.media_type != EMPTY]
    layers = [layer for layer in there if not wanted.layers or _matches(layer, wanted.layers)]
    if not layers:
        shown = ", ".join(layer.title or layer.media_type for layer in there[:_SHOWN]) or "nothing"
        raise ValueError(f"it has no layer that is wanted; it has {shown}")
    if wanted.file and len(layers) > 1 and wanted.unpacking is None:
        raise ValueError(f"it has {len(layers)} layers, and `file` names one: choose one with `layer`")
    found: dict[str, Descriptor] = {}
    for layer in layers:
        name = wanted.file or name_of(layer, wanted.repository)
        if wanted.file and len(layers) > 1:
            name = f"{len(found) + 1}-{name}"
        problem = file_name_problem(name)
        if problem:
            raise ValueError(f"{problem}; give it another one with `file`")
        if name in found:
            raise ValueError(f"it has two layers that would be {name!r}; choose one with `layer`")
        found[name] = layer
    return list(found.items())


def _matches(layer: Descriptor, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(layer.title, pattern) or fnmatchcase(layer.media_type, pattern) for pattern in patterns)


def name_of(layer: Descriptor, repository: str) -> str:
    """Give the name of the file that a layer is.

    Raises:
        ValueError: its title leads elsewhere.
    """
    if not layer.title:
        kind = layer.media_type.rpartition("/")[2]
        ending = next(
            (end for word, end in _ENDINGS.items() if kind.endswith((f".{word}", f"+{word}", f"-{word}"))), ""
        )
        return f"{repository.rpartition('/')[2]}{ending}"
    parts = [part for part in layer.title.split("/") if part not in {"", "."}]
    if layer.title.startswith("/") or ".." in parts or not parts:
        raise ValueError(f"the title {layer.title!r:.120} of a layer leads elsewhere; give it another name with `file`")
    return parts[-1]
