"""`updoser release add`: files become a release in the folder of a `directory` source, whole or not at all.

A temporary folder whose name begins with a dot, which sources pass over, gets copies of the files, `SHA256SUMS` and
`release.yaml`; all is synced, and one rename makes it the release. `<version>@<platform>` names the folder of a release
that isn't for every platform. What stands there already is never replaced: adding the same bytes again does nothing,
and other bytes are refused. A folder that was made for a release that wasn't added is taken away again.

`SHA256SUMS` is what the content digest is made of, so `release.yaml` isn't in it. `SHA256SUMS.release` lists both, for
those who sign what is said of a release as well.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import RefusedError, SourceError, UsageError
from reconciler.files import sync_folder
from reconciler.model.release import (
    ANY_PLATFORM,
    COMPONENT_ID,
    PLATFORM,
    ReleaseFile,
    file_name_problem,
    release_time_problem,
)
from reconciler.model.version import SCHEMES
from reconciler.paths import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import BinaryIO

FACTS = "release.yaml"
SUMS = "SHA256SUMS"
SUMS_OF_FACTS = f"{SUMS}.release"
FORMAT_VERSION = "1.0"
MAX_NOTES = 10_000
_UTF8 = 4
"""Bytes that a character has at most."""
_CHUNK = 2**20


def add_release(
    component: str,
    version: str,
    files: Sequence[Path],
    to: Path,
    *,
    platform: str = ANY_PLATFORM,
    released: datetime | None = None,
    notes: str = "",
    checksums: bool = True,
    beside: Callable[[Path], AbstractContextManager[None]] = lambda _folder: nullcontext(),
) -> Path:
    """Put files as a release into the folder `to` of a `directory` source, and give the release's folder.

    `released` has a time zone. Without `checksums` no SHA256SUMS is written. `beside` gets a folder of the release's
    files, and adds what belongs to the release before that is in place; where it can't be, all is taken away again.

    Raises:
        UsageError: a name, version, platform or file can't be part of a release.
        RefusedError: the version stands there already, with other bytes.
        SourceError: a file can't be read, or the folder can't be written.
    """
    check_words(component, version, platform, released, notes)
    _check_files(files)
    target = release_folder(to, component, version, platform)
    with writing(target), making(target.parent), temporary_folder(target) as folder:
        listing = sorted((_copy(file, folder / file.name) for file in files), key=lambda file: file.name.encode())
        if _is_there(target, listing):
            with beside(folder):
                return target
        facts = _facts(platform, released, notes)
        if checksums:
            sums = "".join(f"{file.sha256}  {file.name}\n" for file in listing)
            write_text(folder / SUMS, sums)
            write_text(folder / SUMS_OF_FACTS, f"{_sha256(sums)}  {SUMS}\n{_sha256(facts)}  {FACTS}\n")
        write_text(folder / FACTS, facts)
        sync_folder(folder)
        with beside(folder):
            rename_new(folder, target)
        sync_folder(target.parent)
    return target


def release_folder(to: Path, component: str, version: str, platform: str) -> Path:
    """Give the folder of a release."""
    return to / component / (version if platform == ANY_PLATFORM else f"{version}@{platform}")


def check_words(component: str, version: str, platform: str, released: datetime | None = None, notes: str = "") -> None:
    """Refuse what can't name a release, or be said of it.

    Raises:
        UsageError: the message says which word is no good.
    """
    if not COMPONENT_ID.fullmatch(component):
        raise UsageError(f"{component!r} is no component id", hint="such as virus-pattern: a-z, 0-9, - and _")
    if not any(scheme.accepts(version) for scheme in SCHEMES.values()):
        examples = ", ".join(scheme.example for scheme in SCHEMES.values())
        raise UsageError(f"{version!r} is a version of no scheme", hint=f"versions look like {examples}")
    if not PLATFORM.fullmatch(platform):
        raise UsageError(f"{platform!r} is no platform", hint="`any`, or os-arch such as linux-x86_64")
    problem = release_time_problem(released) if released is not None else ""
    if problem:
        raise UsageError(f"the release time {released} {problem}")
    check_notes(notes)


def check_notes(notes: str) -> None:
    """Refuse notes that no release can have.

    Raises:
        UsageError: they are too long, or have characters that no text has.
    """
    if len(notes) > MAX_NOTES or any(not (char.isprintable() or char in "\n\t") for char in notes):
        raise UsageError(f"the notes have control characters, or are longer than {MAX_NOTES} characters")


def notes_from(given: str) -> str:
    """Give notes as a command takes them: a text, or `@` and the file that has it.

    Raises:
        UsageError: the file can't be read or isn't text, or no release can have these notes.
    """
    if not given.startswith("@"):
        check_notes(given)
        return given
    name = given.removeprefix("@")

    def wrong(why: str) -> UsageError:
        return UsageError(
            f"--notes: {name or 'the file'} can't be read: {why}", hint="name a file of text behind the @"
        )

    content = read_file(Path(name), MAX_NOTES * _UTF8, wrong)
    try:
        notes = content.decode().replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        raise wrong("it is longer than notes may be, or isn't UTF-8") from error
    check_notes(notes)
    return notes


def _check_files(files: Sequence[Path]) -> None:
    if not files:
        raise UsageError("a release needs at least one file")
    seen: set[str] = set()
    for file in files:
        problem = file_name_problem(file.name)
        if problem:
            raise UsageError(f"{file}: {problem}")
        if file.name in {FACTS, SUMS} or file.name.startswith(f"{SUMS}."):
            raise UsageError(f"{file}: a release can't have a file named {file.name}; updoser writes that itself")
        if file.name in seen:
            raise UsageError(f"{file}: another file of that name is given too")
        seen.add(file.name)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that names the target."""
    try:
        yield
    except OSError as error:
        raise SourceError(f"{target} can't be written: {_why(error)}") from error


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it that aren't there; when the block fails they are taken away again."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # somebody else put something there meanwhile
            for one in new:
                one.rmdir()
        raise


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Give a new folder beside `target`; what is left of it at the end is removed."""
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, destination: Path) -> ReleaseFile:
    """Copy a file, synced, and give what was copied; a file that changes meanwhile is refused."""
    digest, size = hashlib.sha256(), 0
    with _open_source(source) as reader, destination.open("xb") as writer:
        before = os.fstat(reader.fileno())
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        writer.flush()
        os.fsync(writer.fileno())
        after = os.fstat(reader.fileno())
    if (size, after.st_mtime_ns, after.st_ctime_ns) != (before.st_size, before.st_mtime_ns, before.st_ctime_ns):
        raise SourceError(f"{source} changed while it was copied", hint="add it again when it is finished")
    destination.chmod(0o644)
    return ReleaseFile(source.name, size, digest.hexdigest())


@contextmanager
def _open_source(source: Path) -> Iterator[BinaryIO]:
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else _why(error)
        raise UsageError(f"{source} can't be added: {why}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{source} can't be added: it is no regular file", hint="name the files one by one")
    with os.fdopen(descriptor, "rb") as reader:
        yield reader


def _is_there(target: Path, listing: Sequence[ReleaseFile]) -> bool:
    """Say whether a release stands there already with the same files and bytes; refuse anything else."""
    if not target.exists():
        return False
    there = {
        path.name: path
        for path in target.iterdir()
        if path.name not in {FACTS, SUMS} and not path.name.startswith(f"{SUMS}.")
    }
    if there.keys() == {file.name for file in listing} and all(_same_bytes(there[file.name], file) for file in listing):
        return True
    raise RefusedError(f"{target} is there already, with other bytes", hint="changed content needs a new version")


def _same_bytes(path: Path, file: ReleaseFile) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _facts(platform: str, released: datetime | None, notes: str) -> str:
    """Write `release.yaml`; a JSON string is a YAML string too, whatever stands in it."""
    values = {
        "format_version": FORMAT_VERSION,
        "platform": platform,
        "released": released.isoformat() if released else "",
        "notes": notes,
    }
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items() if value)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a new file, synced, that everybody may read."""
    with path.open("x", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    path.chmod(0o644)


def rename_new(folder: Path, target: Path) -> None:
    """Rename a folder to where nothing, or an empty folder, is: what others put there meanwhile is never replaced."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise RefusedError(f"{target} was added by somebody else meanwhile", hint="look at what it is") from error
        raise


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
