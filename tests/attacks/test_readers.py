"""No reader of what others wrote raises anything but its errors, whatever it reads, nor needs long for it."""

from __future__ import annotations

import base64
import shutil
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from reconciler.errors import RepositoryError
from reconciler.repository.signing import read_private, read_public
from tests.attacks.readers import NAMES, mutated, readers
from tests.draw import rounds
from tests.tufrepo import Vendor

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from tests.attacks.readers import Reader

FEW = 200
LONG = 20.0
"""CPU seconds for one input: a thousand times what any needs."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the keys and metadata that readers start from."""
    folder = tmp_path_factory.mktemp("readers")
    vendor = Vendor(folder / "web", datetime.now(UTC))
    vendor.add("rules", "1", {"all.rules": b"one"})
    vendor.sign()
    shutil.copy(vendor.metadata / "1.root.json", folder)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    openssh, pkcs8 = serialization.PrivateFormat.OpenSSH, serialization.PrivateFormat.PKCS8
    locked = openssh.encryption_builder().kdf_rounds(1).build(b"words")
    made: tuple[ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, ...] = (
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(65537, 1024),
    )
    for number, key in enumerate(made):
        (folder / f"key-{number}").write_bytes(key.private_bytes(pem, openssh, plain))
        (folder / f"key-{number}-locked").write_bytes(key.private_bytes(pem, openssh, locked))
        (folder / f"key-{number}-pem").write_bytes(key.private_bytes(pem, pkcs8, plain))
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"key-{number}.pub").write_bytes(public)
    return folder


@pytest.fixture(scope="module")
def all_readers(inputs: Path) -> dict[str, Reader]:
    return readers(inputs)


def test_every_reader_takes_one_of_its_inputs_as_it_is(all_readers: dict[str, Reader]) -> None:
    assert set(all_readers) == set(NAMES)
    for name, reader in all_readers.items():
        assert reader.samples, name
        taken = 0
        for sample in reader.samples:
            try:
                reader.read(sample)
                taken += 1
            except reader.errors:
                continue
        assert taken or name == "cooldowns", name


@pytest.mark.parametrize("at", [3, -1])
def test_a_key_of_a_kind_that_nobody_knows_is_no_key_of_a_repository(at: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    curve = bytes.fromhex("2a8648ce3d030107")
    other = bytearray(curve)
    other[at] ^= 1
    der = serialization.Encoding.DER
    private = key.private_bytes(der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo)
    for read, kind, data in ((read_private, "PRIVATE", private), (read_public, "PUBLIC", public)):
        body = base64.encodebytes(data.replace(curve, bytes(other))).decode()
        with pytest.raises(RepositoryError):
            read(f"-----BEGIN {kind} KEY-----\n{body}-----END {kind} KEY-----\n", "key")


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_read_is_a_value_or_an_error_and_soon(
    name: str, all_readers: dict[str, Reader], draw: Random
) -> None:
    reader = all_readers[name]
    for _ in range(rounds(FEW)):
        data = mutated(reader.samples, draw)
        began = time.process_time()
        try:
            reader.read(data)
        except reader.errors:
            pass
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}: {data[:2000]!r}") from error
        assert time.process_time() - began < LONG, data[:2000]
