"""A site's worker for tests: `updoser worker --site lyon`, whose clients are those of a sluice."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.rabbitmq import RabbitMQ

HELD = b"what the store has"


@contextmanager
def started(clients: Path, options: Mapping[str, Any], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker of two processes for the time of the block; its folder is `site`, beside that of its clients.

    Each process takes two clients at a time.
    """
    folder = clients.parent / "site"
    plugins, sha256 = folder / "plugins/transport", hashlib.sha256(HELD).hexdigest()
    plugins.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("contracts") / "sluice.py", plugins)
    place = folder / "place/content" / sha256[:2] / sha256
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(HELD)
    said: dict[str, Any] = {
        "plugins": ["plugins"],
        "transport": {"type": "sluice", "folder": str(clients)},
        "content": [{"type": "folder", "path": "place"}],
        "processes": 2,
        "station": {"type": "celery", **options},
    }
    said |= more
    said.setdefault("forks", 2 * said["processes"])
    with served(folder, "lyon", said) as worker:
        yield worker


@contextmanager
def served(
    folder: Path, site: str, said: Mapping[str, Any], broker: RabbitMQ | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the worker of a site, whose file says this, in a folder of its own for the time of the block.

    With the broker, it is at work when the block begins: a command gives a site up where nobody answers for a while.
    """
    folder.mkdir(exist_ok=True)
    file = folder / "worker.yaml"
    file.write_text(json.dumps({"version": 1, "site": site, "cache": {"folder": "cache"}, **said}))
    with (folder / "worker.log").open("ab") as log, broker.hearing(site) if broker else nullcontext(int) as heard:
        worker = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "worker", "--site", site, "--config", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            if broker is not None:
                until(lambda: heard() >= said.get("processes", 1), worker)
        except BaseException:
            _end(worker)
            raise
    try:
        yield worker
    finally:
        _end(worker)


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def log_of(clients: Path) -> Path:
    """Give what the worker of these clients says."""
    return clients.parent / "site/worker.log"
