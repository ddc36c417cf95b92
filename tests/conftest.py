"""What all tests share: programs that a test needs, and what happens where they are missing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.draw import draw_more, draw_properties, shell_of, shells_left_out
from tests.postgres import any_state, database, postgres, postgres_of_worker, postgres_url, state_url, url_of
from tests.rabbitmq import broker, broker_of_worker
from tests.sshd import SshFleet, sshd_fleet

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from playwright.sync_api import Browser

__all__ = [
    "any_state",
    "broker",
    "broker_of_worker",
    "database",
    "postgres",
    "postgres_of_worker",
    "postgres_url",
    "state_url",
    "url_of",
]

# Programs of Debian's sbin, of its PostgreSQL, and of the environment that the tests run in, are found wherever the
# tests are started.
FOLDERS = (Path(sys.executable).parent, "/usr/sbin", "/sbin", *sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:])
os.environ["PATH"] = ":".join([os.environ.get("PATH", ""), *map(str, FOLDERS)])

# A shell has what it starts in the background ignore Ctrl-C, nohup that a terminal goes; so would all that starts here.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

draw_properties()

MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30


def _use_memory() -> None:
    """Have the folders of tests in memory, where it has room and programs may be run there.

    updoser waits for the disk at each step, and tests make it take thousands.
    """
    if not MEMORY.is_dir() or "TMPDIR" in os.environ:
        return
    disk = os.statvfs(MEMORY)
    if disk.f_bavail * disk.f_frsize >= ROOM and not disk.f_flag & os.ST_NOEXEC:
        tempfile.tempdir = str(MEMORY)


_use_memory()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(*programs): skipped where a program is missing; with CI=true that is a failure"
    )
    config.addinivalue_line("markers", "explore: does more, and at random, with `make explore`")
    config.addinivalue_line("markers", "each_shell: runs on each shell in the suite too, and not only on a sample")
    config.addinivalue_line("markers", "lasting: takes a minute or more, so it is begun first")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    for item in items:
        if "attacks" in item.path.parts or shell_of(item):
            item.add_marker("explore")
    for test in {item.function for item in items if isinstance(item, pytest.Function)}:
        draw_more(test)
    yield
    left_out = shells_left_out(items)
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    # Whatever the order is otherwise: else one worker is at it alone when the others are through.
    items[:] = sorted(
        (item for item in items if item not in left_out), key=lambda item: item.get_closest_marker("lasting") is None
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        missing = [program for program in marker.args if shutil.which(program) is None]
        if missing:
            reason = f"needs {', '.join(missing)}: see .ci/debian-packages.txt"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


@pytest.fixture(scope="session")
def ssh_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    """A fleet of 20 clients over one real sshd, for the whole session of a worker."""
    if shutil.which("sshd") is None:
        pytest.skip("needs sshd: see .ci/debian-packages.txt")
    with sshd_fleet(tmp_path_factory.mktemp("fleet"), 20) as fleet:
        yield fleet


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Give what closes, at the end of the test, all that is put on it."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if (
        os.getuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "none", place], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("only root may mount, and not everywhere")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Give a browser, one for all tests of a worker."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=shutil.which("chromium"), timeout=120_000)
        yield started
        started.close()
