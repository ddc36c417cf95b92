"""Commands that start at once: forked from a process that has imported all packages, instead of started anew.

Most of the time of a short command goes into its imports, and into taking them apart again. What is forked is a process
of its own, with the arguments, folder, environment and streams that a test gives; left out are the start of Python
itself, the imports, what the first statements cost, and the end of the modules.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
HEAVY = (
    "bcrypt",
    "hdiffpatch",
    "cryptography.hazmat.primitives.serialization",
    "deepdiff",
    "jinja2.sandbox",
    "jsonschema.validators",
    "paramiko",
    "reconciler.plugins",
    "rich.console",
    "rich.table",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tuf.ngclient",
    "urllib3",
    "yaml",
)
"""Packages that commands import where they use them."""
READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ")
"""What Python and the C library read of the environment before a line of ours runs."""
HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
ENCODINGS = ("ascii", "idna", "utf_8_sig")


def fits(environment: Iterable[str]) -> bool:
    """Tell whether a command with these variables can be forked."""
    return not any(name.startswith(READ_AT_START) for name in environment)


def run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float) -> tuple[int, str, str]:
    """Run a command to its end and give its exit code (negative for a signal), stdout and stderr."""
    ours, theirs = socket.socketpair()
    with ours, TemporaryFile() as out, TemporaryFile() as err:
        with theirs:
            request = json.dumps([arguments, str(folder), environment]).encode()
            socket.send_fds(_zygote(), [request], [theirs.fileno(), out.fileno(), err.fileno()])
        ours.settimeout(timeout)
        with ours.makefile() as answer:
            pid = int(answer.readline())
            try:
                code = int(answer.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
        out.seek(0)
        err.seek(0)
        return code, out.read().decode(), err.read().decode()


STANDS_IN = f"""#!{sys.executable} -IS
import json, os, socket, sys
with socket.socket(fileno=int(os.environ["ZYGOTE"])) as channel:
    ours, theirs = socket.socketpair()
    request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(channel, [request], [theirs.fileno(), 1, 2])
    theirs.close()
    answer = ours.makefile().read().split()
sys.exit(int(answer[1]))
"""


def stand_in(folder: Path) -> dict[str, Any]:
    """Put an `updoser` into a folder that is forked likewise; give what a script needs of `Popen` to run it."""
    program = folder / "updoser"
    program.write_text(STANDS_IN)
    program.chmod(0o755)
    channel = _zygote().fileno()
    path = f"{folder}:{os.environ['PATH']}"
    return {"env": {**os.environ, "PATH": path, "ZYGOTE": str(channel)}, "pass_fds": [channel]}


@cache
def _zygote() -> socket.socket:
    """Start the process that forks; it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.zygote", str(theirs.fileno()), gettempdir()],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        ).returncode = 0  # nobody waits for it
    atexit.register(ours.close)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    return ours


def _serve(channel: socket.socket) -> Any:
    """Fork for each request, and say how each child ended; come back in a child, which is to run the request."""
    answers: dict[int, tuple[int, int]] = {}  # where to say how a child ended, and its number, by what tells it
    ready = select.poll()
    ready.register(channel, select.POLLIN)
    while True:
        for handle, _event in ready.poll():
            if handle in answers:
                ready.unregister(handle)
                _tell(handle, *answers.pop(handle))
                continue
            request, handles, _flags, _address = socket.recv_fds(channel, 2**20, 3)
            if not request:
                os._exit(0)
            answer, *streams = handles
            pid = os.fork()
            if pid == 0:
                channel.close()
                for place, stream in enumerate(streams, 1):
                    os.dup2(stream, place)
                for open_here in (*handles, *answers, *(other for other, _pid in answers.values())):
                    os.close(open_here)
                return json.loads(request)
            ended = os.pidfd_open(pid)
            answers[ended] = (answer, pid)
            ready.register(ended, select.POLLIN)
            _say(answer, pid)
            for stream in streams:
                os.close(stream)


def _tell(ended: int, answer: int, pid: int) -> None:
    _pid, status = os.waitpid(pid, 0)
    _say(answer, os.waitstatus_to_exitcode(status))
    os.close(ended)
    os.close(answer)


def _say(answer: int, number: int) -> None:
    with contextlib.suppress(OSError):  # whoever asked has gone
        os.write(answer, f"{number}\n".encode())


def _import_all() -> None:
    import reconciler
    from reconciler.plugin_loader import available

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if module.name != "reconciler.__main__":
            importlib.import_module(module.name)
    for name in (*HEAVY, *(f"encodings.{name}" for name in ENCODINGS)):
        importlib.import_module(name)
    for kind in Path(reconciler.plugins.__path__[0]).iterdir():
        for module in pkgutil.iter_modules([str(kind)], f"reconciler.plugins.{kind.name}."):
            importlib.import_module(module.name)
    available("source", ())  # reads once what is installed


REHEARSED: Sequence[Sequence[str]] = (
    ("validate",),
    ("plan",),
    ("apply", "--auto-approve"),
    ("apply", "--auto-approve"),
    ("status",),
    ("history",),
)


def _rehearse(folder: str) -> None:
    """Run what commands begin with, so that the caches of modules are filled; nothing else of it stays."""
    from click.testing import CliRunner

    from reconciler import cli
    from reconciler.present.terminal import Terminal
    from tests.fleet import Fleet

    _keep_statements()
    before, handlers = _open_files(), [signal.getsignal(number) for number in HEARD]
    with TemporaryDirectory(dir=folder) as place, contextlib.chdir(place):
        fleet = Fleet(Path(place), 1)
        fleet.release("rules", "1", rules_txt=b"one")
        for arguments in REHEARSED:
            with CliRunner().isolation():
                code = cli.run(arguments, Terminal())
            if code:  # the tests of that command say more
                print(f"zygote: updoser {' '.join(arguments)} ended with {code}", file=sys.stderr)  # noqa: T201
    tempfile.tempdir = None  # a command finds its own, by its environment
    gc.collect()
    if threading.active_count() > 1 or _open_files() != before:
        raise SystemExit("zygote: a rehearsal left threads or files open")
    if [signal.getsignal(number) for number in HEARD] != handlers:
        raise SystemExit("zygote: a rehearsal left signal handlers")


def _open_files() -> int:
    return sum(1 for _file in Path("/proc/self/fd").iterdir())


def _keep_statements() -> None:
    """Have all engines share what was compiled: SQLAlchemy keeps it for each dialect, of which each engine has one."""
    from sqlalchemy import create_engine
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as Dialect

    from reconciler.storage import database

    setattr(Dialect, "__eq__", lambda self, other: type(self) is type(other))  # noqa: B010 - mypy wants no assignment
    setattr(Dialect, "__hash__", lambda self: hash(type(self)))  # noqa: B010
    setattr(database, "create_engine", partial(create_engine, execution_options={"compiled_cache": {}}))  # noqa: B010


def _main() -> None:
    _import_all()
    _rehearse(sys.argv[2])
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        arguments, folder, environment = _serve(channel)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    from reconciler import cli

    try:
        cli.main()
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)


if __name__ == "__main__":
    _main()
