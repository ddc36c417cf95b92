"""An artifact made a release: its layers are files, proven before anything believes them.

A layer's size and digest stand in the manifest, whose own digest is known: nothing is fetched to say exactly what would
be deployed. What has to look at bytes fetches them into quarantine: a layer that is unpacked, and a signature of a
layer itself. What was proven there counts for as long as the artifact, the options and the keys are the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.files import is_sound
from reconciler.formats.oci import CREATED, Manifest, ManifestIndex, reference_of
from reconciler.model.release import Release, ReleaseFile, release_time

from .._fetched.quarantine import OverLimitError
from .._fetched.unpack import unpack
from .._verify.material import Proof
from .._verify.verification import Verification, signed_by
from .choice import layers_of
from .material import LayerMaterial, Signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from reconciler.contracts import Context, TrustedKey
    from reconciler.formats.cosign import Found
    from reconciler.formats.oci import Descriptor

    from .._fetched.kept import Fetched
    from .._fetched.quarantine import Quarantine
    from .choice import Wanted
    from .documents import Documents
    from .offered import Offered
    from .registry import Registry

MAX_ATTACHED = 20
"""How many signatures of an artifact go along with a release."""


class TooLargeError(SourceError):
    """An artifact has to be fetched before it is known what it is, and may not be fetched now.

    `size` is that of its layers in bytes.
    """

    def __init__(self, message: str, size: int, released: datetime | None) -> None:
        super().__init__(message)
        self.size = size
        self.released = released


@dataclass(frozen=True, slots=True)
class _Read:
    """What the registry says of an artifact (`top`), and of the manifest of one platform of it; bytes as they came."""

    top: bytes
    content: bytes
    manifest: Manifest
    released: datetime | None
    layers: Mapping[str, Descriptor]

    @property
    def size(self) -> int:
        """The bytes of the layers that are taken."""
        return sum(layer.size for layer in self.layers.values())


@dataclass(frozen=True, slots=True)
class _Proven:
    """How layers are proven, what was fetched for that (or None), and which documents go along, by their names."""

    proofs: tuple[Proof, ...]
    held: Fetched | None
    attached: dict[str, str]


class Artifacts:
    """Makes releases of artifacts; used by several threads at once."""

    def __init__(
        self,
        registry: Registry,
        host: str,
        *,
        documents: Documents,
        quarantine: Quarantine,
        max_size: int,
        context: Context,
    ) -> None:
        """Take the parts; `host` is the registry's name, `max_size` how many bytes a layer that is fetched may have."""
        self._registry = registry
        self._host = host
        self._documents = documents
        self._quarantine = quarantine
        self._max_size = max_size
        self._context = context

    def keys(self, wanted: Iterable[Wanted]) -> tuple[TrustedKey, ...]:
        """Give the keys that are trusted, each once."""
        found = (Verification(entry.verify, self._context).keys() for entry in wanted)
        return tuple(dict.fromkeys(key for keys in found for key in keys))

    def release(self, offered: Offered, wanted: Wanted, *, unlimited: bool = False) -> tuple[Release, Offered]:
        """Verify an artifact and give the release that it is, and what is to be remembered of it.

        Raises:
            TooLargeError: what has to be fetched for that may not be fetched now.
            SourceError: it can't be had, isn't what it should be, or isn't signed as it should be.
        """
        read = self._read(offered, wanted)
        verification = Verification(wanted.verify, self._context)
        key = self._key(offered, wanted, verification)
        held = self._quarantine.held(key)
        if held is not None:
            proven = _Proven(tuple(Proof(*words) for words in held.facts["proofs"]), held, held.facts["attached"])
        else:
            try:
                with self._quarantine.unlimited() if unlimited else nullcontext():
                    proven = self._proven(offered, wanted, read, verification, key)
            except OverLimitError as error:
                raise TooLargeError(error.message, read.size, read.released) from error
        files = [ReleaseFile(name, layer.size, layer.sha256) for name, layer in read.layers.items()]
        if proven.held is not None:
            files = [ReleaseFile(file.name, file.size, file.sha256) for file in proven.held.files.values()]
        release = Release(
            component=offered.component,
            version=offered.version,
            platform=offered.platform,
            files=tuple(sorted(files)),
            released=read.released,
            signed=signed_by(proven.proofs),
            attached=tuple(sorted(self._attached(proven.attached))),
        )
        return release, replace(offered, key=key if proven.held is not None else "", attached=proven.attached)

    def held(self, offered: Offered) -> Fetched | None:
        """Give what of a release lies in quarantine."""
        return self._quarantine.held(offered.key) if offered.key else None

    def layers(self, offered: Offered, wanted: Wanted) -> Mapping[str, Descriptor]:
        """Give the layers of a release that are its files, by their names.

        Raises:
            SourceError: its manifest can't be had any more, or has others.
        """
        return self._read(offered, wanted).layers

    # --- how ----------------------------------------------------------------------------------------------------------

    def _read(self, offered: Offered, wanted: Wanted) -> _Read:
        top, document = self._registry.document(wanted.repository, offered.top)
        content, manifest = top, document
        if offered.manifest != offered.top:
            content, manifest = self._registry.document(wanted.repository, offered.manifest)
        if isinstance(manifest, ManifestIndex):
            raise SourceError(f"{offered.manifest} is an index within an index")
        try:
            layers = dict(layers_of(manifest, wanted))
        except ValueError as error:
            raise SourceError(str(error)) from error
        said = {**document.annotations, **manifest.annotations}
        return _Read(top, content, manifest, time_of(said.get(CREATED, "")), layers=layers)

    def _proven(self, offered: Offered, wanted: Wanted, read: _Read, verification: Verification, key: str) -> _Proven:
        """Verify the layers that are taken, and unpack them where that is wanted.

        Raises:
            OverLimitError: something has to be fetched that may not be.
            SourceError: they aren't what they should be.
        """
        signed = Signed(self._registry, wanted.repository, read.top, self._names(wanted))
        fetched: dict[str, Path] = {}
        refused: list[OverLimitError] = []

        def bring(name: str) -> Path:
            if name not in fetched:
                try:
                    fetched[name] = self._fetch(key, name, wanted.repository, read.layers[name])
                except OverLimitError as error:
                    refused.append(error)
                    raise
            return fetched[name]

        def neighbour(title: str, limit: int) -> bytes | None:
            named = (layer for layer in read.manifest.layers if layer.title.rpartition("/")[2] == title)
            layer = next(named, None)
            return None if layer is None else self._registry.small_blob(wanted.repository, layer, limit)

        proofs: list[tuple[Proof, ...]] = []
        for name, layer in read.layers.items():
            material = LayerMaterial(
                name,
                layer,
                version=offered.version,
                url=f"{self._registry.base}/v2/{wanted.repository}/blobs/{layer.digest}",
                signed=signed,
                fetch=partial(bring, name),
                neighbour=neighbour,
            )
            try:
                proofs.append(verification.check(material))
            except SourceError as error:
                raise (refused[0] if refused else error) from error  # that it may not be fetched now refutes nothing
        common = tuple(proof for proof in proofs[0] if all(proof in others for others in proofs))
        attached = self._documented(read, signed.seen)
        if wanted.unpacking is None and not fetched:
            return _Proven(common, None, attached)
        with self._quarantine.alone():
            for name in read.layers:
                bring(name)
            if wanted.unpacking is not None:
                self._unpack(key, fetched, wanted)
            facts = {"proofs": [[proof.scheme, proof.key] for proof in common], "attached": attached}
            return _Proven(common, self._quarantine.keep(key, facts), attached)

    def _fetch(self, key: str, name: str, repository: str, layer: Descriptor) -> Path:
        """Bring a layer into quarantine.

        Raises:
            SourceError: it can't be had, or the registry has other bytes for it.
        """
        path = self._quarantine.fetch(
            key,
            name,
            lambda: self._registry.blob(repository, layer.digest),
            size=layer.size,
            validator=layer.digest,
            limit=self._max_size,
        )
        if not is_sound(path, layer.sha256):
            path.unlink(missing_ok=True)
            raise SourceError(f"{name}: the registry gives something else for {layer.digest}")
        return path

    def _unpack(self, key: str, archives: Mapping[str, Path], wanted: Wanted) -> None:
        """Put what is in archives in their place.

        Raises:
            SourceError: they can't be unpacked, or have a file of one name.
        """
        assert wanted.unpacking is not None
        folder = self._quarantine.place(key, "x").parent.parent / "unpacked"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        taken: dict[str, str] = {}
        for number, (name, path) in enumerate(archives.items()):
            for file in unpack(path, wanted.unpacking, folder / str(number), name=name):
                if file.name in taken:
                    raise SourceError(
                        f"{file.name} is in {taken[file.name]} and in {name}", hint="choose one of them with `layer`"
                    )
                taken[file.name] = name
        for path in archives.values():
            path.unlink()
        for number in range(len(archives)):
            for path in (folder / str(number)).iterdir():
                path.rename(self._quarantine.place(key, path.name))
        shutil.rmtree(folder)

    def _key(self, offered: Offered, wanted: Wanted, verification: Verification) -> str:
        """Give what an artifact stands under in quarantine: another one where anything counts otherwise."""
        options = replace(wanted, tags=(), floating=(), keep=0, digests={})
        digest = hashlib.sha256(json.dumps([offered.top, offered.manifest, repr(options), verification.mark]).encode())
        return f"{offered.component}-{offered.version}-{offered.platform}-{digest.hexdigest()[:32]}"

    def _names(self, wanted: Wanted) -> tuple[str, ...]:
        """Give what signatures may call the artifact."""
        if wanted.signed_as:
            return (wanted.signed_as,)
        reference = reference_of(self._host, wanted.repository)
        return tuple(dict.fromkeys((reference.name, f"{reference.registry}/{reference.repository}")))

    def _documented(self, read: _Read, seen: Iterable[Found]) -> dict[str, str]:
        """Keep what whoever takes the release from us needs to verify it; give its digests by name."""
        found: dict[str, str] = {}
        for number, signature in enumerate([one for one in seen if one.content][-MAX_ATTACHED:], start=1):
            if signature.is_bundle:
                found[f"cosign-{number}.bundle.json"] = self._documents.put(signature.content)
            else:
                found[f"cosign-{number}.json"] = self._documents.put(signature.content)
                found[f"cosign-{number}.sig"] = self._documents.put(signature.signature.encode())
        if found:
            found["oci-manifest.json"] = self._documents.put(read.content)
            if read.content != read.top:
                found["oci-index.json"] = self._documents.put(read.top)
        return found

    def _attached(self, attached: Mapping[str, str]) -> Iterator[ReleaseFile]:
        for name, digest in attached.items():
            content = self._documents.get(digest)
            if content is not None:
                yield ReleaseFile(name, len(content), digest.removeprefix("sha256:"))


def time_of(text: str) -> datetime | None:
    """Give when an artifact was made, as its annotation says; None where it says nothing that makes sense."""
    try:
        return release_time(text)
    except ValueError:
        return None
