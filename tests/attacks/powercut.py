"""A client's disk, copied as it is at any moment of a change: what would be found there if the power were cut now.

The file system lies in an image behind a loop device. What a copy of the image has is what the kernel has handed to the
disk: whatever is only in memory isn't in it. A copy counts only if nothing was written while it was made. Each is
mounted where the disk was, which has its journal replayed, and is judged there.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random
SIZES = {"ext4": 32, "xfs": 300}
"""MiB that a file system has at the least."""


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True)


class Disk:
    """A file system of its own, mounted on a folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.place = folder / "disk"
        self.place.mkdir()
        self._folder = folder
        self._image = folder / "image"
        self._number = 0
        with self._image.open("wb") as image:
            image.truncate(SIZES[kind] << 20)
        made = _run(f"mkfs.{kind}", "-q", self._image)
        assert made.returncode == 0, made.stderr

    @contextmanager
    def mounted(self, image: Path | None = None) -> Iterator[Path]:
        """Mount the disk, or a copy of it."""
        found = _run("losetup", "--find", "--show", image or self._image) if not os.getuid() else None
        if found is None or found.returncode:
            pytest.skip("only root may mount, and not everywhere")
        device = found.stdout.strip()
        try:
            if _run("mount", device, self.place).returncode:
                pytest.skip("only root may mount, and not everywhere")
            try:
                yield Path("/sys/block", Path(device).name, "stat")
            finally:
                _run("umount", "-l", self.place)
        finally:
            _run("losetup", "--detach", device)

    def copies(self, change: Callable[[], object], wanted: int, draw: Random) -> list[Path]:
        """Carry a change out; give up to `wanted` copies of the disk, the last of them from when it is done."""
        taken: list[Path] = []
        with self.mounted() as written:
            changing = threading.Thread(target=change)
            changing.start()
            while changing.is_alive() and len(taken) < wanted - 1:
                time.sleep(draw.uniform(0, 0.1))
                taken += self._copy(written)
            changing.join()
            while not (last := self._copy(written)):
                pass
        return taken + last

    def _copy(self, written: Path) -> list[Path]:
        """Give a copy, or none where something was written meanwhile."""
        before = written.read_text().split()
        self._number += 1
        copy = self._folder / f"copy{self._number}"
        subprocess.run(["cp", "--sparse=always", "--reflink=never", self._image, copy], check=True)
        after = written.read_text().split()
        if before[4:7] == after[4:7] and before[8] == after[8] == "0":  # writes, and what is under way
            return [copy]
        copy.unlink()
        return []
