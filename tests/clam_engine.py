"""The ClamAV of this machine, made to trust the keys of tests: its libraries copied, and the keys in them replaced.

The keys stand in them as decimal texts; those of tests have no more digits. Programs find the copies by
LD_LIBRARY_PATH, sigtool has one of its own, and all else is what the distribution built.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clam_signer import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.formats.clam_signature import Use

FINGERPRINTS: Mapping[str, Use] = {
    "876d931e4a3467036a3f478e0055dfbb5ba81ded1ccd02376c2e0f6ae43fc10b": "container",
    "e382d6f031ba4d7010ac9ffdf643754a85682e238920b2fe6ac492b592dcf0d3": "cdiff",
    "e3a2e7695e2949fec169816a04541ef70d2204a5b5bc4fa246e3cdd7e0783f82": "info",
}
"""Of the vendor's keys."""
PLACES = (f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib64", "/usr/lib")
LENGTHS = (309, 617)
"""Digits of a modulus."""


def engine_environment(folder: Path) -> dict[str, str]:
    """Give the environment in which ClamAV's programs trust the keys of tests."""
    folder.mkdir(parents=True, exist_ok=True)
    replaced: set[Use] = set()
    tool = shutil.which("sigtool")
    assert tool
    for path in [Path(tool), *(path for place in PLACES for path in Path(place).glob("lib*clam*.so.*"))]:
        data = bytearray(path.read_bytes())
        for digits in re.finditer(rb"[1-9][0-9]{300,}", bytes(data)):
            for length in LENGTHS:
                use = FINGERPRINTS.get(hashlib.sha256(digits[0][:length]).hexdigest())
                if use is not None:
                    begin = digits.start()
                    data[begin : begin + length] = str(_modulus(use)).zfill(length).encode()
                    replaced.add(use)
        (folder / path.name).write_bytes(data)
        (folder / path.name).chmod(0o755)
    if missing := set(FINGERPRINTS.values()) - replaced:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"ClamAV here has no keys for {', '.join(sorted(missing))} where they were looked for")
    for name in ("clamscan", "clamdscan", "clamconf"):  # where nobody says where the copies are
        if found := shutil.which(name):
            wrapper(folder / name, f'LD_LIBRARY_PATH="{folder}" exec {found} "$@"')
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}


def wrapper(path: Path, command: str) -> None:
    """Write a program that is a command of sh."""
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def _modulus(use: Use) -> int:
    key = getattr(KEYS, use)
    assert key is not None
    return int(key.modulus)
