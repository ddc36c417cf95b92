"""Writing to paths: files whole or not at all, and nothing else in place of what isn't a file.

* A symbolic link stays one: what it leads to is written, also where that isn't there yet. The link of somebody else in
  a folder that all may write (`/tmp`) is refused, as Linux does where it is set up to.
* A FIFO, a terminal, `/dev/null` and their like are written into. A FIFO that nobody reads is refused, as waiting for
  a reader might last for ever. Folders, sockets and block devices are refused.
* A way to an open descriptor of this process (`/dev/stdout`, what a shell makes of `>(…)`) means that descriptor.

What is refused is an OSError as well, whose `strerror` says why.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

_MAX_LINKS = 40
_DESCRIPTORS = re.compile(r"/proc/(\d+)(?:/task/\d+)?/fd")
_REFUSED = ((stat.S_ISDIR, "it is a folder"), (stat.S_ISSOCK, "it is a socket"), (stat.S_ISBLK, "it is a disk"))


def write_whole(
    path: Path,
    content: bytes,
    mode: int = 0o644,
    *,
    keep: bool = False,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Bring content to the disk and to its name in one step; what is no regular file is written into.

    With `keep`, a file that is replaced passes on its owner, mode and extended attributes (ACLs, labels). `before` runs
    last before the name is taken: where it raises, what stood there stays.

    Raises:
        OSError: it can't be written.
    """
    place = _follow(path)
    if isinstance(place, int) or not _is_file(place):
        before()
        with os.fdopen(_open_special(place), "wb") as handle:
            handle.write(content)
        return
    with _temporary(place.parent) as (handle, temporary):
        handle.write(content)
        handle.flush()
        if keep and place.exists():
            _take_after(place, handle.fileno())
        else:
            os.fchmod(handle.fileno(), mode)
        os.fsync(handle.fileno())
        before()
        temporary.replace(place)
    with suppress(PermissionError):  # a folder that may be written, and not be read
        sync_folder(place.parent)


def check_writable(path: Path) -> None:
    """Find out now whether a file could be written at the end of long work; what stands there stays as it is.

    Raises:
        OSError: it can't be written.
    """
    place = _follow(path)
    if isinstance(place, int):
        return
    if _is_file(place):
        with suppress(_Tried), _temporary(place.parent):  # only the attempt tells of disks, shares and other rules
            raise _Tried
    elif not os.access(place, os.W_OK):  # opening it would be noticed by who reads from it
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


class _Tried(Exception):  # noqa: N818 - it is no error: it ends an attempt, which leaves nothing behind then
    """A file could be made."""


def is_same_file(one: Path, other: Path) -> bool:
    """Say whether two paths lead to one regular file, or to where there will be one; false for devices and pipes."""
    try:
        here, there = _follow(one), _follow(other)
        if isinstance(here, int) or isinstance(there, int) or not (_is_file(here) and _is_file(there)):
            return False
        return here == there or here.samefile(there)
    except (OSError, ValueError):  # one that isn't there is no other that is
        return False


def open_to_append(path: Path) -> int:
    """Open what is to get more at its end, made when it isn't there; give the descriptor, which may not block.

    Raises:
        OSError: it can't be opened.
    """
    place = _follow(path)
    if isinstance(place, int) or not _is_file(place):
        return _open_special(place, blocks=False)
    return os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)


def is_sound(path: Path, sha256: str) -> bool:
    """Say whether the bytes of a file are those of a digest.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == sha256


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk.

    Raises:
        OSError: it can't be done.
    """
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _follow(path: Path) -> Path | int:
    """Give what is meant: a place that is no link, or the number of an open descriptor of this process."""
    for _link in range(_MAX_LINKS):
        folder = Path(os.path.realpath(path.absolute().parent))
        found = _DESCRIPTORS.fullmatch(str(folder))
        if found and int(found[1]) == os.getpid() and path.name.isdecimal():
            return int(path.name)
        place = folder / path.name
        try:
            status = place.lstat()
        except FileNotFoundError:
            return place
        if not stat.S_ISLNK(status.st_mode):
            return place
        around = folder.stat()
        everybody = stat.S_ISVTX | stat.S_IWOTH
        if around.st_mode & everybody == everybody and status.st_uid not in {os.geteuid(), around.st_uid}:
            raise OSError(errno.EACCES, "it is another user's link, in a folder that all may write")
        path = folder / place.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _is_file(place: Path) -> bool:
    """Say whether a regular file is there, or nothing yet; refuse what must not be written into."""
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return True
    for judge, why in _REFUSED:
        if judge(mode):
            raise OSError(errno.EINVAL, why)
    return stat.S_ISREG(mode)


def _open_special(place: Path | int, *, blocks: bool = True) -> int:
    if isinstance(place, int):
        return os.dup(place)
    try:
        number = os.open(place, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads from it; start its reader first") from error
        raise
    os.set_blocking(number, blocks)
    return number


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    number, name = tempfile.mkstemp(prefix=".new-", dir=folder)
    temporary = Path(name)
    try:
        with os.fdopen(number, "wb") as handle:
            yield handle, temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _take_after(model: Path, number: int) -> None:
    """Give an open file the owner, the mode and the extended attributes of another."""
    status, own = model.stat(), os.fstat(number)
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(number, status.st_uid, status.st_gid)
    os.fchmod(number, stat.S_IMODE(status.st_mode))
    with suppress(OSError):  # a file system without them
        for name in os.listxattr(model):
            with suppress(OSError):  # the label of a file is the system's to give
                os.setxattr(number, name, os.getxattr(model, name))
