"""A signed repository as a vendor would have it, made by hand, so that tests can break any rule of it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from reconciler.formats.index import content_path, index_document, index_path
from tests.fakes import make_release

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from securesystemslib.signer import Key

    from reconciler.model.delta import Incremental
    from reconciler.model.offer import Withdrawal
    from reconciler.model.release import Release

ROLES = ("root", "targets", "snapshot", "timestamp")


class Vendor:
    """A repository in a folder. `now` is when it signs; `keys` holds the signers of each role."""

    def __init__(self, folder: Path, now: datetime, *, threshold: int = 1, delegate: bool = False) -> None:
        self.folder = folder
        self.now = now.astimezone(UTC).replace(microsecond=0)
        self.lifetime = dict.fromkeys(ROLES, timedelta(days=30))
        self.keys = {role: [CryptoSigner.generate_ed25519()] for role in ROLES}
        self.keys["root"] = [CryptoSigner.generate_ed25519() for _ in range(threshold)]
        self.threshold = threshold
        self.version = dict.fromkeys(ROLES, 0)
        self.delegate = delegate
        self.delegated: dict[str, CryptoSigner] = {}
        self.indexes: dict[str, bytes] = {}
        self.others: dict[str, TargetFile] = {}
        self.releases: dict[str, list[Release]] = {}
        self.metadata.mkdir(parents=True)
        self.sign_root()

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    # --- what is offered ----------------------------------------------------------------------------------------------

    def add(self, component: str, version: str, files: Mapping[str, bytes], **fields: Any) -> Release:
        """Add a release; it counts once it is signed."""
        release = make_release(component, version, files, **fields)
        for content in files.values():
            self.put(content)
        self.releases.setdefault(component, []).append(release)
        self.set_index(component, self.document(component))
        return release

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        place = self.folder / content_path(digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return digest

    def document(
        self, component: str, incrementals: Iterable[Incremental] = (), withdrawn: Iterable[Withdrawal] = ()
    ) -> dict[str, Any]:
        return index_document(component, self.releases.get(component, ()), incrementals, withdrawn)

    def set_index(self, component: str, document: dict[str, Any] | bytes) -> None:
        self.indexes[component] = document if isinstance(document, bytes) else json.dumps(document).encode()

    def set_target(self, path: str, content: bytes) -> None:
        """List a file that somebody else serves."""
        self.others[path] = TargetFile.from_data(path, content, ["sha256"])

    # --- signing ------------------------------------------------------------------------------------------------------

    def sign(self) -> None:
        """Publish what was added: a new state, whole."""
        for component, content in self.indexes.items():
            target = self.folder / "targets" / index_path(component)
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(content).hexdigest()
            target.with_name(f"{digest}.{component}.json").write_bytes(content)
        self.sign_targets()
        self.sign_snapshot()
        self.sign_timestamp()

    def sign_root(self, *, before: Sequence[CryptoSigner] = ()) -> None:
        """Sign the next root with the keys as they are now, and with those `before`."""
        root = Root(self._next("root"), expires=self._until("root"), consistent_snapshot=True)
        for role, signers in self.keys.items():
            for signer in signers:
                root.add_key(signer.public_key, role)
        root.roles["root"].threshold = self.threshold
        metadata = Metadata(root)
        for signer in {id(signer): signer for signer in (*self.keys["root"], *before)}.values():
            metadata.sign(signer, append=True)
        self._write(metadata, f"{root.version}.root.json")

    def sign_targets(self) -> None:
        targets = Targets(self._next("targets"), expires=self._until("targets"))
        if self.delegate:
            self._delegate(targets)
        else:
            targets.targets = {index_path(name): _target(name, content) for name, content in self.indexes.items()}
        targets.targets |= self.others
        self._sign(targets, f"{targets.version}.targets.json", "targets")

    def _delegate(self, targets: Targets) -> None:
        roles = {}
        for name, content in self.indexes.items():
            signer = self.delegated.setdefault(name, CryptoSigner.generate_ed25519())
            roles[name] = DelegatedRole(name, [signer.public_key.keyid], 1, False, paths=[index_path(name)])
            part = Targets(targets.version, expires=self._until("targets"))
            part.targets = {index_path(name): _target(name, content)}
            metadata = Metadata(part)
            metadata.sign(signer)
            self._write(metadata, f"{targets.version}.{name}.json")
        keys: dict[str, Key] = {signer.public_key.keyid: signer.public_key for signer in self.delegated.values()}
        targets.delegations = Delegations(keys, roles)

    def rename_role(self, component: str, name: str) -> None:
        """Delegate a component to a role of another name, which isn't there."""
        self.version["targets"] += 1
        number = self.version["targets"]
        signer = self.delegated[component]
        targets = Targets(number, expires=self._until("targets"))
        role = DelegatedRole(name, [signer.public_key.keyid], 1, False, paths=[index_path(component)])
        targets.delegations = Delegations({signer.public_key.keyid: signer.public_key}, {name: role})
        self._sign(targets, f"{number}.targets.json", "targets")
        meta = {"targets.json": MetaFile(number), f"{name}.json": MetaFile(number)}
        snapshot = Snapshot(self._next("snapshot"), expires=self._until("snapshot"), meta=meta)
        self._sign(snapshot, f"{snapshot.version}.snapshot.json", "snapshot")
        self.sign_timestamp()

    def sign_snapshot(self) -> None:
        number = self.version["targets"]
        names = ["targets", *(self.indexes if self.delegate else ())]
        meta = {f"{name}.json": MetaFile(number) for name in names}
        snapshot = Snapshot(self._next("snapshot"), expires=self._until("snapshot"), meta=meta)
        self._sign(snapshot, f"{snapshot.version}.snapshot.json", "snapshot")

    def sign_timestamp(self) -> None:
        meta = MetaFile(self.version["snapshot"])
        timestamp = Timestamp(self._next("timestamp"), expires=self._until("timestamp"), snapshot_meta=meta)
        self._sign(timestamp, "timestamp.json", "timestamp")

    def _sign(self, signed: Root | Targets | Snapshot | Timestamp, name: str, role: str) -> None:
        metadata: Metadata[Any] = Metadata(signed)
        for signer in self.keys[role]:
            metadata.sign(signer, append=True)
        self._write(metadata, name)

    def _write(self, metadata: Metadata[Any], name: str) -> None:
        (self.metadata / name).write_bytes(metadata.to_bytes())

    def _next(self, role: str) -> int:
        self.version[role] += 1
        return self.version[role]

    def _until(self, role: str) -> datetime:
        return self.now + self.lifetime[role]


def _target(name: str, content: bytes) -> TargetFile:
    return TargetFile.from_data(index_path(name), content, ["sha256"])
