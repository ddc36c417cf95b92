"""Incrementals: their size and what making them costs, beside other tools, in one run and on real files.

    sizes      one incremental of a pattern and of three engines: bytes, CPU seconds, peak memory, beside goals
    estimates  what a plan says of them before they are made, what it says without samples, and what samples cost
    pattern, synthetic   14 to one target, as the server makes them: wall clock time beside 14 calls of other tools
    choice     what the default takes for 1, 100 and 10,000 clients, and what each alternative would have cost

The pattern is @mdn/browser-compat-data 8.1.6 -> 8.1.7 (20.5 MB). The engines are @esbuild/linux-x64 0.28.1 -> 0.28.2
(Go, 11.4 MB), clang-format 22.1.3 -> 22.1.4 (C++, 4 MB) and @biomejs/cli-linux-x64 2.6.7 -> 2.6.8 (Rust, 95 MB). The
synthetic pattern has 5,000,000 sorted records of 32 bytes (160 MB), of which 1,000 go and 5,000 come with each version.
Every incremental is applied and compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import which
from threading import Event
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeAlias, cast

from measure import ROOT, median, run, table

sys.path.insert(0, str(ROOT))

from reconciler.execute.patchwork import Job, Recipe, load_codec, make_patches
from reconciler.model.delta import Duplication, Sample
from reconciler.model.release import ReleaseFile
from reconciler.observe.samples import Sampler
from reconciler.planner.codecs import UPLINK, Camp, Codecs
from reconciler.planner.stock import LEAST
from reconciler.planner.told import Told
from tests.fakes import make_release
from tests.real.test_real_files import CACHE, ENGINE, PATTERN, fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.release import ComponentKind
    from reconciler.workspace import Workspace
Tool: TypeAlias = "Callable[[object, object, object], list[object]]"
"""Gives the command that makes a patch of an old and a new file."""
TARGETS = 14
RELEASES = [*((0, patch) for patch in range(8, 15)), *((1, patch) for patch in range(8))]
SYNTHETIC = 5_000_000
MIB = 2**20
PARTS = ("sizes", "estimates", "choice", "pattern", "synthetic")
SLOW = 60 * MIB
"""Bytes of files from which on a tool that takes minutes isn't measured."""


@dataclass(frozen=True)
class Subject:
    """Two releases, and what is to be reached: at most so many bytes in so many CPU seconds, by one of the `levels`."""

    name: str
    kind: ComponentKind
    old: Path
    new: Path
    goal: tuple[int, float]
    levels: tuple[int, ...]

    @property
    def title(self) -> str:
        return f"{self.name}: {self.new.stat().st_size:,} bytes"


# --- in processes of their own, so that what they cost can be measured ------------------------------------------------


def make_one(codec: str, level: str, old: str, new: str, patch: str) -> None:
    """Make one patch."""
    made = load_codec(codec).make(Path(old).read_bytes(), Path(new).read_bytes(), level=int(level))
    Path(patch).write_bytes(made)


def make_many(codec: str, level: str, folder: str, *files: str) -> None:
    """Make patches from all files but the last to the last, as the server does; print what it cost."""
    import hashlib

    *olds, new = map(Path, files)
    traits = load_codec(codec).traits
    digest = hashlib.sha256(new.read_bytes()).hexdigest()
    begun = time.perf_counter()
    jobs = [
        Job(
            Recipe(codec, int(level)), old, new, digest, Path(folder) / old.name,
            traits.making_at(int(level), old.stat().st_size, new.stat().st_size),
        )
        for old in olds
    ]  # fmt: skip
    made = list(make_patches(jobs, (), Event()))
    assert not [one.error for one in made if one.error], made
    wall = time.perf_counter() - begun
    own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "bytes": sum(one.size for one in made)}))


# --- measuring --------------------------------------------------------------------------------------------------------


def ours(codec: str, level: int) -> Tool:
    return lambda old, new, patch: [sys.executable, __file__, "--make", codec, str(level), old, new, patch]


def bsdiff4(old: object, new: object, patch: object) -> list[object]:
    return [sys.executable, "-c", f"import bsdiff4; bsdiff4.file_diff({str(old)!r}, {str(new)!r}, {str(patch)!r})"]


TOOLS: dict[str, Tool] = {
    **{f"updoser, zstd {level}": ours("zstd", level) for level in (9, 12, 17, 19)},
    "updoser, bsdiff": ours("bsdiff", 1),
    "zstd CLI -12": lambda old, new, patch: [
        "zstd",
        "-qf",
        "-12",
        "--long=31",
        f"--patch-from={old}",
        new,
        "-o",
        patch,
    ],
    "xdelta3 -9": lambda old, new, patch: ["xdelta3", "-9", "-f", "-e", "-B", "2147483648", "-s", old, new, patch],
    "bsdiff4": bsdiff4,
}
APPLY: dict[str, Callable[[str, str, str], list[str]]] = {
    "zstd": lambda old, patch, new: ["zstd", "-dqf", "--long=31", f"--patch-from={old}", patch, "-o", new],
    "bsdiff": lambda old, patch, new: ["bspatch", old, new, patch],
    "xdelta3": lambda old, patch, new: ["xdelta3", "-f", "-d", "-B", "2147483648", "-s", old, patch, new],
}


def check(name: str, old: Path, new: Path, patch: Path) -> None:
    """Apply a patch with the tool of clients and compare."""
    tool = "xdelta3" if "xdelta3" in name else "bsdiff" if "bsdiff" in name else "zstd"
    made = Path(f"{patch}.made")
    run(APPLY[tool](str(old), str(patch), str(made)))
    assert made.read_bytes() == Path(new).read_bytes(), name
    made.unlink()


def sizes(subject: Subject, folder: Path, runs: int) -> None:
    """Show one incremental by each tool."""
    old, new = subject.old, subject.new
    size, (goal, seconds) = new.stat().st_size, subject.goal
    tiny = folder / "tiny"
    tiny.write_bytes(bytes(1000))
    starts = [run(list(map(str, ours("bsdiff", 1)(tiny, tiny, folder / "patch")))) for _ in range(3)]
    idle, rows = median(starts).cpu, []
    for name, command in TOOLS.items():
        patch = folder / "patch"
        call = list(map(str, command(old, new, patch)))
        if (name.startswith("updoser, zstd") and int(name.split()[-1]) not in subject.levels) or not which(call[0]):
            continue
        if size > SLOW and name in {"bsdiff4", "updoser, zstd 19"}:
            rows.append((name, "not measured: it takes minutes", "", "", "", ""))
            continue
        costs = [run(call) for _ in range(1 if name == "bsdiff4" or size > SLOW else runs)]
        cost, made = median(costs), patch.stat().st_size
        check(name, old, new, patch)
        cpu = cost.cpu - (idle if "updoser" in name else 0)
        reached = "updoser" in name and made <= goal and cpu <= seconds
        figures = f"{made:,}", f"{100 * made / size:.2f} %", f"{cpu:.2f} s", f"{cost.memory:.0f} MiB"
        rows.append((name, *figures, "reached" if reached else ""))
        patch.unlink()
    print(f"{subject.title}; CPU of updoser without the start of Python ({idle:.2f} s)\n")
    what = f"goal: {goal:,} bytes in {seconds} s"
    table(("one incremental", "bytes", "of the full", "CPU", "peak memory", what), rows)


def estimates(subjects: list[Subject], folder: Path) -> None:
    """Show what a plan says of incrementals before they are made, beside what they have then."""
    codecs = {name: load_codec(name) for name in ("zstd", "bsdiff")}
    traits = {name: codec.traits for name, codec in codecs.items()}
    rows = []
    for subject in subjects:
        sampling = traits["zstd"].sample_for(subject.kind)
        assert sampling is not None
        before, after = (ReleaseFile(path.name, path.stat().st_size, str(path)) for path in (subject.old, subject.new))
        store = SimpleNamespace(glance=partial(open, mode="rb"))
        begun = time.process_time()
        part = Sampler(cast("Workspace", SimpleNamespace(store=store)), codecs["zstd"], sampling.level).part(
            before, after
        )
        cost = time.process_time() - begun
        told = Told(((1.0, Sample("zstd", ((after.size, part),))),))
        for name, level in [("bsdiff", 1), *(("zstd", level) for level in subject.levels if level < 19)]:
            grade = next((one for one in traits[name].grades_for(subject.kind) if one.level == level), None)
            if grade is None:
                continue
            patch = folder / "patch"
            run(list(map(str, ours(name, level)(subject.old, subject.new, patch))))
            made, share = patch.stat().st_size, told.share(after.size, grade, subject.kind, traits)
            assert share is not None
            said, usual = max(share * after.size, LEAST), grade.ratio * after.size + LEAST
            figures = f"{made:,}", f"{said:,.0f}", f"{said / made:.2f}", f"{usual / made:.2f}", f"{cost:.2f} s"
            rows.append((subject.name, f"{name} {level}", *figures))
    print("What a plan says of what isn't made yet\n")
    table(("releases", "made with", "bytes", "said", "of that", "said without a sample", "CPU of the sample"), rows)


def watch_memory(command: list[str]) -> tuple[str, float]:
    """Run a command and give what it printed, and the most memory that it and its children had together, in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    most = 0
    while process.poll() is None:
        most = max(most, _memory(process.pid))
        time.sleep(0.02)
    out = process.stdout.read()
    process.stdout.close()
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}")
    return out, most / MIB


def _memory(root: int) -> int:
    """Add up the memory of a process and all below it; pages that they share count once for each."""
    parents, held = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
                held[int(entry.name)] = int((entry / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            except (OSError, IndexError, ValueError):
                continue
    total = 0
    for pid, size in held.items():
        at = pid
        while at not in {0, root} and at in parents:
            at = parents[at]
        total += size if at == root else 0
    return total


def calls(command: Tool, olds: list[Path], new: Path, folder: Path, at_once: int = 1) -> float:
    """Call a tool for each old file, so many at once; give the wall clock time."""
    todo = [list(map(str, command(old, new, folder / old.name))) for old in olds]
    begun, running = time.perf_counter(), list[subprocess.Popen[bytes]]()
    while todo or running:
        while todo and len(running) < at_once:
            running.append(subprocess.Popen(todo.pop(0)))
        assert running.pop(0).wait() == 0
    return time.perf_counter() - begun


def incrementals(what: str, files: list[Path], folder: Path, runs: int, bsdiff_calls: int) -> None:
    """Show the time to make 14 incrementals to the last of some files."""
    *olds, new = files
    folder.mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--many", "zstd", "9", folder, *files]
    results = [watch_memory(list(map(str, command))) for _ in range(runs)]
    figures = [json.loads(out) for out, _memory in results]
    own = statistics.median(entry["wall"] for entry in figures)
    for old in olds:
        check("zstd", old, new, folder / old.name)
    walls = {
        f"{TARGETS} calls of zstd -12": statistics.median(
            calls(TOOLS["zstd CLI -12"], olds, new, folder) for _ in range(runs)
        ),
    }
    if which("xdelta3"):
        seconds = calls(TOOLS["xdelta3 -9"], olds, new, folder, at_once=2)
        walls[f"{TARGETS} calls of xdelta3 -9, two at a time"] = seconds
    if bsdiff_calls:
        seconds = calls(bsdiff4, olds[-bsdiff_calls:], new, folder) * len(olds) / bsdiff_calls
        walls[f"{TARGETS} calls of bsdiff4 ({bsdiff_calls} measured)"] = seconds
    memory = max(most for _out, most in results)
    cpu = statistics.median(entry["cpu"] for entry in figures)
    rows = [("updoser", f"{own:.1f} s", "1", f"{figures[0]['bytes']:,}", f"{cpu:.1f} s", f"{memory:.0f} MiB")]
    rows += [(name, f"{wall:.1f} s", f"{own / wall:.2f}", "", "", "") for name, wall in walls.items()]
    print(f"{what}, {len(olds)} incrementals to one target on {os.cpu_count()} cores\n")
    table(("made by", "time", "updoser's share of it", "bytes", "CPU", "peak memory, all processes"), rows)


def choice(files: dict[ComponentKind, Path]) -> None:
    """Show what the planner chooses by the number of clients, from what it assumes of codecs."""
    names = ("zstd", "bsdiff", "gzip")
    codecs = Codecs({name: load_codec(name).traits for name in names}, Duplication())
    rows = []
    for kind, path in files.items():
        size = path.stat().st_size
        release = make_release("x", "1", {"f": b""})
        release = type(release)("x", "1", "any", (ReleaseFile("f", size, "0" * 64),))
        for tools in (("bspatch", "zstd"), ("zstd",)):
            for clients in (1, 100, 10_000):
                best = codecs.best(release, kind, Camp(frozenset(tools)), clients)
                assert best
                sent = best.ratio * size
                rows.append(
                    (
                        kind, ", ".join(tools), f"{clients:,}", f"{best.codec} {best.level}", f"{best.seconds:.1f} s",
                        f"{sent / 1000:,.0f} kB", f"{sent * clients / UPLINK:,.1f} s",
                    )
                )  # fmt: skip
    print(f"What the default chooses: CPU once against bytes times clients at {UPLINK / MIB:.0f} MiB/s\n")
    table(("kind", "clients have", "clients", "chosen", "CPU once", "each", "all are sent in"), rows)


def synthetic(folder: Path, versions: int) -> list[Path]:
    """Write versions of a pattern of sorted records."""
    chance = random.Random(1)
    records = [chance.randbytes(32) for _ in range(SYNTHETIC)]
    paths = []
    for version in range(versions):
        if version:
            gone = set(chance.sample(range(len(records)), 1_000))
            records = [record for at, record in enumerate(records) if at not in gone]
            records += [chance.randbytes(32) for _ in range(5_000)]
        records.sort()
        path = folder / f"synthetic-{version:02}"
        path.write_bytes(b"".join(records))
        paths.append(path)
    return paths


def subjects(patterns: list[Path], engines: list[Path]) -> list[Subject]:
    """Give what single incrementals are made of, with the goals."""
    rust = list(fetch("@biomejs/cli-linux-x64", ["2.6.7", "2.6.8"], "biome").values())
    cpp = [wheel("clang-format", version, "clang_format/data/bin/clang-format") for version in ("22.1.3", "22.1.4")]
    binary = (9, 12, 19)
    return [
        Subject("pattern, 20.5 MB", "pattern", patterns[-2], patterns[-1], (11_100, 2.0), (9, 17, 19)),
        Subject("C++ ELF, 4 MB", "engine", cpp[0], cpp[1], (38_000, 0.5), binary),
        Subject("Go ELF, 11.4 MB", "engine", engines[0], engines[1], (470_000, 2.5), binary),
        Subject("Rust ELF, 95 MB", "engine", rust[0], rust[1], (10_500_000, 35.0), binary),
    ]


def wheel(package: str, version: str, member: str) -> Path:
    """Give one file of a version of a package of Python; what was fetched before isn't fetched again."""
    folder = CACHE / package
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / version
    if not path.exists():
        place = [*("--only-binary=:all:", "--platform", "manylinux_2_28_x86_64"), "--dest", str(folder)]
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *place, f"{package}=={version}"])
        for archive in folder.glob("*.whl"):
            with zipfile.ZipFile(archive) as opened:
                path.write_bytes(opened.read(member))
            archive.unlink()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of what is quick; the medians are shown")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--make", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--many", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        return make_one(*options.make)
    if options.many:
        return make_many(*options.many)
    parts = options.part or PARTS
    patterns = list(fetch(PATTERN, [f"8.{minor}.{patch}" for minor, patch in RELEASES], "data.json").values())
    engines = list(fetch(ENGINE, ["0.28.1", "0.28.2"], "bin/esbuild").values())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if {"sizes", "estimates"} & set(parts):
            found = subjects(patterns, engines)
            for subject in found if "sizes" in parts else ():
                sizes(subject, folder, options.runs)
            if "estimates" in parts:
                estimates(found, folder)
        if "choice" in parts:
            choice({"pattern": patterns[-1], "engine": engines[-1]})
        if "pattern" in parts:
            incrementals("The pattern", patterns[-TARGETS - 1 :], folder, options.runs, 2)
        if "synthetic" in parts:
            files = synthetic(folder, TARGETS + 1)
            incrementals("The synthetic pattern of 160 MB", files, folder / "patches", 1, 1)
    return None


if __name__ == "__main__":
    main()
