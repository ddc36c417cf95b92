"""A bucket as S3 has it, on loopback: moto's server in a process of its own."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from tests.ports import free_port
from tests.servers import running
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def bucket_server(folder: Path, *buckets: str) -> Iterator[str]:
    """Serve some empty buckets, in memory; give the URL. Everybody with any credentials may do everything."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, "127.0.0.1", port, folder / "log"):
        url = f"http://127.0.0.1:{port}"
        for bucket in buckets:
            urlopen(Request(f"{url}/{bucket}", method="PUT"), timeout=PATIENCE).close()
        yield url
