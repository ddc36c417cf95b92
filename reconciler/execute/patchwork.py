"""Makes patches in parallel processes: files in, files out, and nothing shared but their paths.

A process is one core and the memory that its codec says; how many run at once says `memory_budget`. Each patch is
applied again and the result hashed before anybody sees it. Little work isn't worth a process and is done here.
"""

from __future__ import annotations

import hashlib
import logging
import signal
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from reconciler import plugin_loader
from reconciler.contracts import Context
from reconciler.errors import PatchError, SecretError, UpdoserError, words_of
from reconciler.execute.memory_budget import MemoryBudget
from reconciler.guards import guarded
from reconciler.model.delta import MIN_NEW, MIN_OLD, PACKER, Kept, Patch
from reconciler.model.pairing import pair_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from threading import Event

    from reconciler.contracts import Codec, Session
    from reconciler.model.release import ReleaseFile
    from reconciler.model.secret import SecretRef

INLINE = 4 * 2**20
"""Bytes of new files up to which no process is started."""
SILENCE = 1800.0
"""Seconds without any patch being finished after which the rest is given up."""
_POLL = 0.2


@dataclass(frozen=True, slots=True)
class Recipe:
    """How patches are to be made: the codec, its level, its window (0: what covers both files)."""

    codec: str
    level: int
    window: int = 0


PACKING = Recipe(PACKER, 6)


@dataclass(frozen=True, slots=True)
class Job:
    """One patch to make: from the file `old` (None: from nothing) to `new`, whose SHA-256 is given, into `patch`.

    `memory` is what making takes in bytes.
    """

    recipe: Recipe
    old: Path | None
    new: Path
    new_sha256: str
    patch: Path
    memory: int


@dataclass(frozen=True, slots=True)
class Made:
    """A patch that was made: the job, its size and digest; or why it wasn't, and whether its process was `killed`."""

    job: Job
    size: int = 0
    sha256: str = ""
    error: str = ""
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """An incremental before its patches are made: files that are kept, and the job of each other one.

    `files` gives for the path of each patch the file that it makes and the base that it is made from. `full` is the
    size of the files that aren't kept: what the patches must be clearly smaller than.
    """

    kept: tuple[Kept, ...]
    jobs: tuple[Job, ...]
    files: Mapping[Path, tuple[ReleaseFile, str]]
    full: int

    def patch(self, made: Made) -> Patch:
        """Give the patch that a finished job made."""
        file, base = self.files[made.job.patch]
        return Patch(
            name=file.name, size=made.size, sha256=made.sha256, codec=made.job.recipe.codec, base=base, result=file.size
        )


def draft(
    before: Sequence[ReleaseFile],
    after: Sequence[ReleaseFile],
    recipe: Recipe,
    folder: Path,
    *,
    old_at: Callable[[ReleaseFile], Path],
    new_at: Callable[[ReleaseFile], Path],
    codec_of: Callable[[str], Codec],
) -> Draft:
    """Decide for each file of a release how it comes of the one before; patches go into `folder`.

    `old_at` and `new_at` give the places of their files. What is tiny, or has nothing to be made from, is packed.
    """
    pairs = pair_files(before, after)
    old = {file.name: file for file in before}
    kept = tuple(Kept(name, base) for name, (base, same) in pairs.items() if same)
    changed = [file for file in after if not pairs[file.name][1]]
    files: dict[Path, tuple[ReleaseFile, str]] = {}
    jobs = []
    for number, file in enumerate(changed):
        base = old.get(pairs[file.name][0])
        if file.size < MIN_NEW or base is None or base.size < MIN_OLD:
            base = None
        used = recipe if base else PACKING
        patch = folder / str(number)
        files[patch] = file, base.name if base else ""
        traits = codec_of(used.codec).traits
        memory = traits.making_at(used.level, base.size if base else 0, file.size)
        start = old_at(base) if base else None
        jobs.append(Job(recipe=used, old=start, new=new_at(file), new_sha256=file.sha256, patch=patch, memory=memory))
    return Draft(kept, tuple(jobs), files, sum(file.size for file in changed))


def make_patches(
    jobs: Sequence[Job], folders: Sequence[Path], stop: Event, budget: MemoryBudget | None = None
) -> Iterator[Made]:
    """Make patches and give them as they are finished; once `stop` is set the rest is dropped."""
    if sum(job.new.stat().st_size for job in jobs) <= INLINE:
        for job in jobs:
            if stop.is_set():
                return
            yield _make(job, tuple(folders))
    elif jobs:
        yield from _in_processes(jobs, tuple(folders), stop, budget or MemoryBudget.of(0))


def _in_processes(jobs: Sequence[Job], folders: tuple[Path, ...], stop: Event, budget: MemoryBudget) -> Iterator[Made]:
    workers = min(budget.cores, len(jobs))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts)
    waiting, begun = list(jobs), dict[Future[Made], Job]()
    whole = True
    try:
        last = time.monotonic()
        while (waiting or begun) and not stop.is_set():
            lost = _begin(pool, waiting, begun, folders, budget)
            whole = whole and not lost
            yield from (Made(job, error=_KILLED, killed=True) for job in lost)
            done, _pending = wait(begun, timeout=_POLL, return_when=FIRST_COMPLETED)
            for future in done:
                made = _result(future, begun.pop(future))
                whole = whole and not made.killed
                yield made
                last = time.monotonic()
            if time.monotonic() - last > SILENCE:
                given_up = f"no patch was finished for {SILENCE:.0f} s"
                yield from (Made(job, error=given_up) for job in (*begun.values(), *waiting))
                return
    finally:
        done_well = whole and not begun  # a pool that lost a worker isn't waited for: it may never end
        pool.shutdown(wait=done_well, cancel_futures=True)
        if not done_well:
            for process in active_children():
                process.terminate()


def _begin(
    pool: ProcessPoolExecutor,
    waiting: list[Job],
    begun: dict[Future[Made], Job],
    folders: tuple[Path, ...],
    budget: MemoryBudget,
) -> list[Job]:
    """Hand over the jobs that there is room for; give those that can't be, as a worker was killed."""
    with _interrupts_blocked():
        while True:
            at = budget.next([job.memory for job in waiting], (job.memory for job in begun.values()))
            if at is None:
                return []
            try:
                begun[pool.submit(_make, waiting[at], folders)] = waiting[at]
            except BrokenProcessPool:
                lost = list(waiting)
                waiting.clear()
                return lost
            del waiting[at]


_KILLED = "the process that made it was killed, by the system for want of memory perhaps"


def _result(future: Future[Made], job: Job) -> Made:
    try:
        return future.result()
    except BrokenProcessPool:
        return Made(job, error=_KILLED, killed=True)
    except Exception as error:  # noqa: BLE001 - what came back can't be read, say
        return Made(job, error=words_of(error))


def _make(job: Job, folders: tuple[Path, ...]) -> Made:
    """Make one patch and apply it; what goes wrong is part of the result."""
    try:
        recipe = job.recipe
        codec = load_codec(recipe.codec, folders)
        old = job.old.read_bytes() if job.old else b""
        new = job.new.read_bytes()
        patch = codec.make(old, new, level=recipe.level, window=recipe.window)
        if digest_of_patched(codec, old, patch, len(new)) != job.new_sha256:
            return Made(job, error="applied again, it gives other bytes")
        job.patch.write_bytes(patch)
        return Made(job, len(patch), hashlib.sha256(patch).hexdigest())
    except OSError as error:
        return Made(job, error=f"{error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - one patch must not stop the rest
        return Made(job, error=error.message if isinstance(error, UpdoserError) else words_of(error))


def digest_of_patched(codec: Codec, old: bytes, patch: bytes, size: int) -> str:
    """Apply a patch and give the SHA-256 of what it makes.

    Raises:
        PatchError: it can't be applied.
    """
    digest = hashlib.sha256()
    for piece in codec.apply(old, patch, size):
        digest.update(piece)
    return digest.hexdigest()


def load_codec(name: str, folders: Sequence[Path] = ()) -> Codec:
    """Give a codec in whatever process this is.

    Raises:
        PluginError: there is none of that name.
    """
    here = Path()
    context = Context(
        base=here,
        work=here,
        clock=lambda: datetime.now(UTC),
        secret=_no_secret,
        log=logging.getLogger("updoser.codec"),
        shell=_no_shell,
    )
    return cast("Codec", guarded("codec", name, plugin_loader.load("codec", name, {}, context, tuple(folders))))


def _no_secret(reference: SecretRef) -> NoReturn:
    raise SecretError(f"{reference} isn't resolved for a codec")


def _no_shell(*_args: object, **_options: object) -> Session:
    raise PatchError("a codec reaches no client")


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes with Ctrl-C held back until they ignore it; here it comes through afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
