"""What a registry of OCI artifacts says: references, manifests, indexes, tag lists, read strictly.

Sources of the rules: the OCI image specification 1.1 (manifest, index, descriptor), the OCI distribution specification
1.1 (names, tags, referrers and their fallback), and for docker.io the habits of its own tools.

* Only SHA-256 counts: it is what a release's files are known by. A digest of another kind is refused, not passed over.
* A document is either a manifest or an index. What says both, or another media type than the answer that brought it, is
  refused: two readers could understand it in two ways.
* Data within a descriptor (`data`), and URLs of other hosts (`urls`), aren't followed: bytes come from the registry.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.formats.incremental_json import text_of
from reconciler.formats.text import read_object
from reconciler.model.release import ANY_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_MANIFEST = 4 * 2**20
"""Bytes of a manifest, an index or a page of tags: registries refuse larger manifests themselves."""
MAX_LAYERS = 1000
MAX_ENTRIES = 10_000
MAX_ANNOTATIONS = 1000
MAX_SIZE = 16 * 2**30

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_INDEX)
ACCEPTED = ", ".join((*MANIFESTS, *INDEXES))
"""What a registry is asked for, where a manifest or an index may be."""
EMPTY = "application/vnd.oci.empty.v1+json"
"""The media type of a layer or config that is there because something has to be."""

TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
CREATED = "org.opencontainers.image.created"
DESCRIPTION = "org.opencontainers.image.description"

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
REGISTRY = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)(?::[0-9]{1,5})?"
)
MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_MAX_NAME = 255
_DOCKER = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_ARCHITECTURES = {"amd64": "x86_64", "386": "i686", "arm64": "aarch64"}
_ARM = {"": "armv7l", "v6": "armv6l", "v7": "armv7l", "v8": "armv8l"}
_WORD = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an artifact is: `registry/repository`, and a tag, a digest, or neither."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def host(self) -> str:
        """The host, with its port, that answers for the registry."""
        return "registry-1.docker.io" if self.registry == "docker.io" else self.registry

    @property
    def name(self) -> str:
        """The artifact without tag and digest, as signatures name it; docker.io is `index.docker.io` there."""
        registry = "index.docker.io" if self.registry == "docker.io" else self.registry
        return f"{registry}/{self.repository}"

    def __str__(self) -> str:
        tag, digest = self.tag and f":{self.tag}", self.digest and f"@{self.digest}"
        return f"{self.registry}/{self.repository}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """Read `registry/repository[:tag][@digest]`; the registry must be named.

    Raises:
        ValueError: it isn't one.
    """
    name, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise ValueError(f"`{digest:.80}` isn't a digest such as sha256:… with 64 hexadecimal digits")
    registry, _slash, rest = name.partition("/")
    repository, colon, tag = rest.partition(":")
    if colon and not TAG.fullmatch(tag):
        raise ValueError(f"`{tag:.80}` isn't a tag")
    named = "." in registry or ":" in registry or registry == "localhost"
    if not rest or not named:
        raise ValueError(f"`{name:.80}` names no registry; write it as ghcr.io/owner/name")
    return reference_of(registry, repository, tag, digest)


def reference_of(registry: str, repository: str, tag: str = "", digest: str = "") -> Reference:
    """Give the reference of a repository of a registry.

    Raises:
        ValueError: no registry or repository has such a name.
    """
    problem = registry_problem(registry) or repository_problem(repository)
    if problem:
        raise ValueError(problem)
    if registry in _DOCKER:
        registry = "docker.io"
        repository = repository if "/" in repository else f"library/{repository}"
    return Reference(registry, repository, tag, digest)


def registry_problem(registry: str) -> str:
    """Say why this is no `host[:port]`; empty where it is."""
    if len(registry) > _MAX_NAME or not REGISTRY.fullmatch(registry):
        return f"`{registry:.80}` isn't a registry such as ghcr.io or registry.example:5000"
    _host, colon, port = registry.rpartition(":")
    if colon and port.isdecimal() and not 0 < int(port) < 2**16:
        return f"`{registry:.80}` has a port that is none"
    return ""


def repository_problem(repository: str) -> str:
    """Say why this is no repository; empty where it is one."""
    if len(repository) > _MAX_NAME or not REPOSITORY.fullmatch(repository):
        return f"`{repository:.80}` isn't a repository such as falcosecurity/rules/falco-rules (in small letters)"
    return ""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What one document says of another, or of a blob: media type, digest, size in bytes, annotations.

    `platform` is that of an entry of an index, as clients have it (`linux-x86_64`), `any` where none is said, and empty
    where it can't be one of a client: attestations stand beside images as `unknown/unknown`.
    """

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: str = ANY_PLATFORM
    artifact_type: str = ""

    @property
    def sha256(self) -> str:
        """The digest without its kind."""
        return self.digest.removeprefix("sha256:")

    @property
    def title(self) -> str:
        """The name of the file that a blob is, as whoever pushed it says; empty where nothing says one."""
        return self.annotations.get(TITLE, "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """An artifact: its config, its layers in order, and what it is about, where it is about another one (`subject`)."""

    digest: str
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class ManifestIndex:
    """A list of manifests: one for each platform, or what refers to an artifact."""

    digest: str
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)


def digest_of_bytes(content: bytes) -> str:
    """Give the digest of a document or a blob."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse_document(content: bytes, content_type: str = "", digest: str = "") -> Manifest | ManifestIndex:
    """Read a manifest or an index, which must have the digest, where one is given.

    `content_type` is the header of the answer that brought it: where both name a media type it must be the same.

    Raises:
        ValueError: it is neither; the message says what is wrong with it.
    """
    if len(content) > MAX_MANIFEST:
        raise ValueError(f"the manifest is larger than {MAX_MANIFEST} bytes")
    found = digest_of_bytes(content)
    if digest and digest != found:
        raise ValueError(f"the manifest isn't the one that was asked for: it has the digest {found}, not {digest}")
    data = read_object(content, "the manifest", MAX_MANIFEST)
    if "schemaVersion" not in data or type(data["schemaVersion"]) is not int or data["schemaVersion"] != 2:
        raise ValueError("the manifest has another schemaVersion than 2")
    media_type = _media_type_of(data, content_type)
    if "manifests" in data and ("layers" in data or "config" in data):
        raise ValueError("the manifest has both layers and manifests, and could be understood in two ways")
    if "manifests" in data:
        if media_type and media_type not in INDEXES:
            raise ValueError(f"the manifest has manifests in it, and is called {media_type}")
        entries = _descriptors(data, "manifests", MAX_ENTRIES)
        return ManifestIndex(found, media_type or INDEX, entries, _annotations(data, "the index"))
    if media_type and media_type not in MANIFESTS:
        raise ValueError(f"the media type {media_type} isn't one of a manifest that is known here")
    if "layers" not in data or "config" not in data:
        raise ValueError("the manifest has no config, layers or manifests")
    return Manifest(
        found,
        media_type or MANIFEST,
        config=_descriptor(data["config"], "config"),
        layers=_descriptors(data, "layers", MAX_LAYERS),
        annotations=_annotations(data, "the manifest"),
        artifact_type=_optional_type(data, "artifactType", "the manifest"),
        subject=_descriptor(data["subject"], "subject").digest if data.get("subject") is not None else "",
    )


def _media_type_of(data: Mapping[str, Any], content_type: str) -> str:
    """Give the media type that the document has by its own words and those of the answer; empty where none says one."""
    stated = _optional_type(data, "mediaType", "the manifest")
    answered = content_type.partition(";")[0].strip().lower()
    if stated and answered in {*MANIFESTS, *INDEXES} and answered != stated:
        raise ValueError(f"the manifest calls itself {stated}, and the registry calls it {answered}")
    return stated or (answered if answered in {*MANIFESTS, *INDEXES} else "")


def parse_tags(content: bytes, repository: str) -> tuple[str, ...]:
    """Read one page of a repository's tags: those that can be tags, in the registry's order.

    Raises:
        ValueError: it isn't one, or is that of another repository.
    """
    data = read_object(content, "the list of tags", MAX_MANIFEST)
    name = data.get("name")
    if name is not None and name != repository:
        raise ValueError(f"the list of tags is that of {name!r:.80}")
    tags = data.get("tags")
    if tags is None:  # a registry with no tag left says null
        return ()
    if type(tags) is not list or len(tags) > MAX_ENTRIES:
        raise ValueError(f"tags isn't a list of at most {MAX_ENTRIES} tags")
    return tuple(tag for tag in tags if type(tag) is str and TAG.fullmatch(tag))


def parse_referrers(content: bytes) -> tuple[Descriptor, ...]:
    """Read what refers to an artifact: the answer of the referrers API, or the index of its fallback tag.

    Raises:
        ValueError: it is no index.
    """
    found = parse_document(content)
    if isinstance(found, ManifestIndex):
        return found.manifests
    raise ValueError("the list of referrers is no index")


def referrers_tag(digest: str) -> str:
    """Give the tag under which a registry without a referrers API has what refers to an artifact."""
    return digest.replace(":", "-", 1)


def platform_of(entry: Mapping[str, Any]) -> str:
    """Give the platform of an index's entry as clients have it; `any` without one, empty where it is none of theirs."""
    stated = entry.get("platform")
    if stated is None:
        return ANY_PLATFORM
    if type(stated) is not dict:
        raise ValueError("a platform isn't an object")
    system, machine, variant = (stated.get(key, "") for key in ("os", "architecture", "variant"))
    if not all(type(word) is str for word in (system, machine, variant)):
        raise ValueError("a platform has what is no text")
    machine = _ARM.get(variant, "") if machine == "arm" else _ARCHITECTURES.get(machine, machine)
    if "unknown" in {system, machine} or not (_WORD.fullmatch(system) and _WORD.fullmatch(machine)) or "_" in system:
        return ""
    return f"{system}-{machine}"


def _descriptors(data: Mapping[str, Any], key: str, limit: int) -> tuple[Descriptor, ...]:
    entries = data[key]
    if type(entries) is not list or len(entries) > limit:
        raise ValueError(f"{key} isn't a list of at most {limit} entries")
    return tuple(_descriptor(entry, f"an entry of {key}") for entry in entries)


def _descriptor(entry: Any, what: str) -> Descriptor:
    if type(entry) is not dict or not {"mediaType", "digest", "size"} <= entry.keys():
        raise ValueError(f"{what} isn't an object with mediaType, digest and size")
    digest, size = text_of(entry, "digest"), entry["size"]
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"{what} has the digest {digest!r:.90}; only SHA-256 is taken")
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise ValueError(f"{what} has a size that isn't a number of bytes, at most {MAX_SIZE}")
    return Descriptor(
        _optional_type(entry, "mediaType", what),
        digest,
        size,
        annotations=_annotations(entry, what),
        platform=platform_of(entry),
        artifact_type=_optional_type(entry, "artifactType", what),
    )


def _optional_type(data: Mapping[str, Any], key: str, what: str) -> str:
    value = data.get(key)
    if value is None or value == "":
        return ""
    if type(value) is not str or not MEDIA_TYPE.fullmatch(value):
        raise ValueError(f"{what} has a {key} that is no media type")
    return value


def _annotations(data: Mapping[str, Any], what: str) -> Mapping[str, str]:
    found = data.get("annotations")
    if found is None:
        return {}
    if type(found) is not dict or len(found) > MAX_ANNOTATIONS or not all(type(text) is str for text in found.values()):
        raise ValueError(f"{what} has annotations that aren't at most {MAX_ANNOTATIONS} texts by name")
    return dict(found)


def floating(tags: Sequence[str], fields: Mapping[str, Sequence[int]]) -> frozenset[str]:
    """Give the tags that stand for whatever is newest below them: `1.2` where there is `1.2.7`.

    `fields` has the numbers of each tag that is a version.
    """
    known = {tuple(fields[tag]) for tag in tags if tag in fields}
    shorter = {numbers[:length] for numbers in known for length in range(1, len(numbers))}
    return frozenset(tag for tag in tags if tag in fields and tuple(fields[tag]) in shorter)
