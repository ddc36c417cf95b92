"""Paths that a user gives: a file is replaced whole, a link stays a link, and nothing else is ever replaced."""

import os
import socket
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import RepositoryError, UpdoserError
from reconciler.files import open_to_append, write_whole
from reconciler.repository.signing import make_key
from reconciler.specfile.edit import Edit, write
from reconciler.storage.planfile import write_plan_file

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


def kind(path: Path) -> int:
    return stat.S_IFMT(path.lstat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def device(path: Path, minor: int) -> Path:
    """Make a device of its own that is like /dev/null (3) or /dev/full (7)."""
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
    try:
        path.open("wb").close()
    except OSError:
        pytest.skip("devices have no effect on this file system")
    return path


# --- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["there", "folder/there", "/there"])
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    real = tmp_path / target.strip("/")
    real.write_bytes(b"old and longer")
    hop, link = tmp_path / "folder" / "hop", tmp_path / "link"
    hop.symlink_to(real if target == "/there" else os.path.relpath(real, hop.parent))
    link.symlink_to("folder/hop")
    write_whole(link, b"new")
    assert (link.is_symlink(), hop.is_symlink(), real.is_symlink()) == (True, True, False)
    assert real.read_bytes() == b"new"
    assert not [name for name in names(tmp_path) + names(hop.parent) if name.startswith(".")]


def test_a_link_to_what_is_not_there_yet_gets_its_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link"
    link.symlink_to("folder/plan")
    write_whole(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "folder/plan").read_bytes() == b"new"


@pytest.mark.parametrize("target", ["link", "nowhere/file"])
def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path, target: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(UpdoserError, match="link can't be written: (Too many levels|No such file)"):
        write_plan_file(link, {})
    assert names(tmp_path) == ["link"]
    assert link.is_symlink()


@as_root
def test_the_link_of_somebody_else_where_all_may_write_leads_to_nothing(tmp_path: Path) -> None:
    shared, precious = tmp_path / "tmp", tmp_path / "precious"
    shared.mkdir()
    shared.chmod(0o1777)
    precious.write_bytes(b"mine")
    (shared / "plan").symlink_to(precious)
    os.chown(shared / "plan", 1234, 1234, follow_symlinks=False)
    with pytest.raises(UpdoserError, match="another user's link"):
        write_plan_file(shared / "plan", {})
    with pytest.raises(OSError, match="another user's link"):
        open_to_append(shared / "plan")
    assert precious.read_bytes() == b"mine"


# --- what is no file ------------------------------------------------------------------------------------------------


def test_a_fifo_hands_on_what_is_written_and_stays_a_fifo(fifo: Path) -> None:
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    content = os.urandom(300_000)
    while True:  # until the reader has opened it
        try:
            write_whole(fifo, content)
        except OSError:
            continue
        break
    reader.join()
    assert got == [content]
    assert kind(fifo) == stat.S_IFIFO
    assert names(fifo.parent) == ["fifo"]


def test_a_fifo_that_nobody_reads_is_refused_at_once_and_stays(fifo: Path) -> None:
    with pytest.raises(UpdoserError, match="fifo can't be written: nobody reads from it"):
        write_plan_file(fifo, {})
    with pytest.raises(OSError, match="nobody reads from it"):
        open_to_append(fifo)
    assert kind(fifo) == stat.S_IFIFO


@as_root
@pytest.mark.parametrize("linked", [False, True])
def test_a_device_is_written_into_and_stays_a_device(tmp_path: Path, linked: bool) -> None:
    null = device(tmp_path / "null", 3)
    path = tmp_path / "link" if linked else null
    if linked:
        path.symlink_to("null")
    write_plan_file(path, {"a": 1})
    assert kind(null) == stat.S_IFCHR
    assert stat.S_IMODE(null.stat().st_mode) == 0o666 & ~umask()
    assert names(tmp_path) == (["link", "null"] if linked else ["null"])


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@as_root
def test_a_device_that_is_full_is_told(tmp_path: Path) -> None:
    full = device(tmp_path / "full", 7)
    with pytest.raises(UpdoserError, match="full can't be written: No space left"):
        write_plan_file(full, {"a": 1})
    assert kind(full) == stat.S_IFCHR


def test_folders_and_sockets_are_refused_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, why in (("folder", "it is a folder"), ("socket", "it is a socket")):
            (tmp_path / f"to-{name}").symlink_to(name)
            for path in (tmp_path / name, tmp_path / f"to-{name}"):
                with pytest.raises(UpdoserError, match=f"{path.name} can't be written: {why}"):
                    write_plan_file(path, {})
                with pytest.raises(OSError, match=why):
                    open_to_append(path)
    assert names(tmp_path) == ["folder", "socket", "to-folder", "to-socket"]


PROGRAM = (
    "import sys; from pathlib import Path; from reconciler.files import write_whole\n"
    "print('before', flush=True); write_whole(Path(sys.argv[1]), b'content\\n'); print('after')"
)


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1", "link"])
@pytest.mark.parametrize("to", ["pipe", "file", "socket"])
def test_a_way_to_standard_output_writes_there_wherever_that_leads(tmp_path: Path, path: Any, to: Any) -> None:
    if path == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
    command = [sys.executable, "-c", PROGRAM, path]
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    if to == "pipe":
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True, **options).stdout  # type: ignore[call-overload]
    elif to == "file":
        with (tmp_path / "out").open("wb") as file:
            subprocess.run(command, stdout=file, check=True, **options)  # type: ignore[call-overload]
        out = (tmp_path / "out").read_bytes()
    else:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            subprocess.run(command, stdout=theirs, check=True, **options)  # type: ignore[call-overload]
            out = ours.recv(100)
    assert out == b"before\ncontent\nafter\n"


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [False, True])
def test_a_file_that_is_replaced_passes_on_its_mode_and_owner_where_that_is_wanted(tmp_path: Path, keep: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    write_whole(path, b"new", 0o600, keep=keep)
    after = path.stat()
    assert path.read_bytes() == b"new"
    if keep:
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    else:
        assert (stat.S_IMODE(after.st_mode), after.st_uid) == (0o600, os.geteuid())


def test_what_stood_there_stays_when_the_last_step_before_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def refuse() -> None:
        raise UpdoserError("no")

    with pytest.raises(UpdoserError, match="no"):
        write_whole(tmp_path / "file", b"new", before=refuse)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_edit_never_goes_into_what_took_the_place_of_the_file(fifo: Path) -> None:
    edit = Edit(fifo, "version: 1\n", "version: 2\n")
    with pytest.raises(UpdoserError, match="it isn't a regular file"):
        write(edit)
    assert kind(fifo) == stat.S_IFIFO


@pytest.mark.parametrize("there", ["fifo", "link", "nowhere", "full"])
def test_a_key_takes_the_place_of_nothing(tmp_path: Path, fifo: Path, there: str) -> None:
    path = tmp_path / there
    if there in {"link", "nowhere"}:
        path.symlink_to("file" if there == "link" else "missing")
    elif there == "full":
        path.mkdir()
    with pytest.raises(RepositoryError, match="there already"):
        make_key(path)
    assert names(tmp_path) == sorted({"fifo", there})
