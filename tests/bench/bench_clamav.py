"""ClamAV's databases: what a day costs on the way from the vendor and to each client, and what applying it costs here.

    apply      7,000 edits to a database of 2,000,000 lines: CPU, and that of a way that reads line by line
    refresh    a look at three databases with nothing new: bytes and requests, by each way to find versions
    day        a database of 60 MB, packed, and its next version: bytes from the vendor and to each client, beside
               freshclam with cdiffs, a mirror of whole files (cvdupdate, freshclam), and rsync of them

The databases are made here and signed with keys of tests; freshclam and rsync run where they are installed, the first
with libraries in which the vendor's keys are replaced.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import ROOT, table

sys.path.insert(0, str(ROOT))

from reconciler.formats.cdiff import apply
from reconciler.plugins.codec import zstd
from reconciler.plugins.source import clamav
from tests.clam_mirror import ClamVendor, write_keys
from tests.clam_signer import Made, cdiff, make
from tests.fakes import fake_context, make_component, make_plugin
from tests.servers import nginx

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLIENTS = 100
COMPONENTS = {
    name: make_component(name, scheme="integer") for name in ("clamav-main", "clamav-daily", "clamav-bytecode")
}


def lines(count: int, seed: int) -> list[bytes]:
    """Give lines as a database of hashes has them: they pack to a little more than half."""
    draw = random.Random(seed)
    return [
        b"%032x:%d:Win.Trojan.Agent-%d:73" % (draw.getrandbits(128), draw.randrange(10**6), n) for n in range(count)
    ]


def text(rows: Sequence[bytes]) -> bytes:
    return b"\n".join(rows) + b"\n"


def changed(before: list[bytes], edits: int, additions: int) -> tuple[list[bytes], bytes]:
    """Give the next version of some lines, and the commands that lead to it."""
    draw = random.Random(5)
    where = sorted(draw.sample(range(len(before)), edits))
    after, commands, last = [], [b"OPEN daily.hsb"], 0
    for at in where:
        after += before[last:at]
        prefix = before[at][:16]
        if at % 2:
            commands.append(b"DEL %d %s" % (at + 1, prefix))
        else:
            commands.append(b"XCHG %d %s %s9" % (at + 1, prefix, before[at]))
            after.append(before[at] + b"9")
        last = at + 1
    after += before[last:]
    new = lines(additions, 6)
    return after + new, b"\n".join([*commands, *(b"ADD " + line for line in new), b"CLOSE", b""])


def by_line(content: bytes, script: bytes) -> bytes:
    """Apply commands as a program does that reads each line of a database."""
    edits: dict[int, tuple[bytes, bytes]] = {}
    added = []
    for command in script.split(b"\n"):
        word, _, rest = command.partition(b" ")
        if word == b"ADD":
            added.append(rest + b"\n")
        elif word in {b"DEL", b"XCHG"}:
            at, prefix, *new = rest.split(b" ", 2)
            edits[int(at)] = (prefix, new[0] + b"\n" if new else b"")
    out = []
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        edit = edits.get(number)
        assert edit is None or line.startswith(edit[0])
        out.append(line if edit is None else edit[1])
    return b"".join(out + added)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def bench_apply(count: int) -> None:
    before = lines(count, 1)
    after, script = changed(before, 3000, 4000)
    content = text(before)
    times: dict[str, list[float]] = {"updoser": [], "line by line": []}
    for _ in range(3):
        begin = cpu()
        found = apply({"daily.hsb": content}, script, "daily")["daily.hsb"]
        times["updoser"].append(cpu() - begin)
        begin = cpu()
        assert by_line(content, script) == found == text(after)
        times["line by line"].append(cpu() - begin)
    begin = cpu()
    hashlib.sha256(content)
    times["its SHA-256 alone"] = [cpu() - begin]
    rows = [[name, f"{sorted(found)[len(found) // 2]:.2f} s"] for name, found in times.items()]
    table([f"7,000 edits to {count:,} lines, {len(content) / 2**20:.0f} MiB", "CPU"], rows)


class Log:
    """What an nginx sent since it was asked last."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "bytes.log"
        self._at = 0

    def sent(self) -> tuple[int, int]:
        """Give requests and bytes, heads included."""
        time.sleep(0.2)
        rows = self._file.read_text().splitlines() if self._file.exists() else []
        new, self._at = rows[self._at :], len(rows)
        return len(new), sum(map(int, new))


def served(folder: Path, root: Path, stack: Any) -> tuple[str, Log]:
    http = f"log_format sent '$bytes_sent'; access_log {folder}/bytes.log sent;"
    return stack.enter_context(nginx(folder, root, http=http)), Log(folder)


def source(folder: Path, url: str, **options: Any) -> Any:
    folder.mkdir(exist_ok=True)
    write_keys(folder / "trust" / "keys.yaml")
    options = {"url": url, "verify": [{"clamsign": {"keys": "trust/keys.yaml"}}], "refresh_limit": "1GiB", **options}
    return make_plugin(clamav, options, fake_context(folder))


def bench_refresh(folder: Path, stack: Any) -> None:
    vendor = ClamVendor(folder / "mirror")
    for database in ("main", "daily", "bytecode"):
        vendor.publish(database, 7, {f"{database}.ndb": text(lines(1000, 2))})
    url, log = served(folder / "nginx", vendor.folder, stack)
    rows = []
    for discovery in ("http", "dns.txt"):
        here = source(folder / discovery, url, discovery=discovery)
        here.releases(COMPONENTS)
        log.sent()
        begin = time.perf_counter()
        here.releases(COMPONENTS)
        took = time.perf_counter() - begin
        asked, sent = log.sent()
        rows.append([discovery, str(asked), f"{sent} B", f"{took * 1000:.0f} ms"])
    rows.append(["dns", "one packet of DNS", "0 B", ""])
    table(["three databases, nothing new: versions by", "requests", "received", "time"], rows)


def day(count: int) -> tuple[Made, Made, bytes]:
    """Give a database of about 60 MB packed, the next version, and the increment."""
    before = lines(count, 3)
    after, script = changed(before, 3000, 4000)
    one, two = (make("daily", n, {"daily.hsb": text(rows)}) for n, rows in ((1, before), (2, after)))
    old, new = (made.members["daily.info"].splitlines() for made in (one, two))
    info = [b"XCHG %d %s %s" % (n, a.split(b" ")[0][:16], b) for n, (a, b) in enumerate(zip(old, new, strict=True), 1)]
    script += b"\n".join([b"OPEN daily.info", *info, b"CLOSE", b""])
    return one, two, cdiff(2, script)


def rsynced(folder: Path, one: bytes, two: bytes) -> int | None:
    if not shutil.which("rsync"):
        return None
    for name, data in (("new", two), ("old", one)):
        (folder / name).mkdir()
        (folder / name / "daily.cvd").write_bytes(data)
    command = ["rsync", "--no-whole-file", "--ignore-times", "--stats", "new/daily.cvd", "old/daily.cvd"]
    said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    found = {line.partition(":")[0]: line.partition(":")[2] for line in said.splitlines()}
    return sum(int(found[key].replace(",", "").split()[0]) for key in ("Total bytes sent", "Total bytes received"))


def freshclammed(folder: Path, url: str, log: Log, one: Made) -> tuple[int, int] | None:
    """Have freshclam follow with cdiffs: give its bytes."""
    from tests.clam_engine import engine_environment

    if not shutil.which("freshclam"):
        return None
    databases = folder / "databases"
    databases.mkdir()
    (databases / "daily.cvd").write_bytes(one.cvd)
    config = folder / "freshclam.conf"
    config.write_text(
        f"DatabaseMirror {url}\nDatabaseDirectory {databases}\nDatabaseOwner root\nTestDatabases no\n"
        "ScriptedUpdates yes\nDNSDatabaseInfo disabled\nMaxAttempts 1\n"
    )
    log.sent()
    command = ["freshclam", f"--config-file={config}", "--update-db=daily", "--stdout", "--no-dns"]
    done = subprocess.run(
        command, env=engine_environment(folder / "engine"), check=False, capture_output=True, text=True
    )
    if done.returncode:
        print(done.stdout[-600:], done.stderr[-300:], file=sys.stderr)
        return None
    return log.sent()


def bench_day(folder: Path, count: int, stack: Any) -> None:
    one, two, increment = day(count)
    mirror = folder / "mirror"
    mirror.mkdir()
    (mirror / "daily.cvd").write_bytes(one.cvd)
    url, log = served(folder / "nginx", mirror, stack)
    here = source(folder / "here", url)
    daily = {"clamav-daily": COMPONENTS["clamav-daily"]}
    here.releases(daily)
    (mirror / "daily.cvd").write_bytes(two.cvd)
    (mirror / "daily-2.cdiff").write_bytes(increment)
    log.sent()
    begin, wall = cpu(), time.perf_counter()
    report = here.releases(daily)
    took, wall = cpu() - begin, time.perf_counter() - wall
    assert [one.version for one in report.releases] == ["2", "1"], report
    vendor = log.sent()[1]
    codec = make_plugin(zstd, {}, fake_context(folder / "here"))
    patch = len(codec.make(one.cld, two.cld, level=9))
    rows = [["updoser: the increment, and a patch of its own", *shown(vendor, patch)]]
    fresh = freshclammed(folder, url, log, one)
    if fresh:
        rows.append(["freshclam of each client, with cdiffs", *shown(fresh[1] * CLIENTS, fresh[1])])
        rows.append(["cvdupdate, and freshclam with cdiffs", *shown(len(two.cvd) + len(increment), fresh[1])])
    mirrored = len(two.cvd) + len(increment)
    rows.append(["cvdupdate, and freshclam with `PrivateMirror`: whole files", *shown(mirrored, len(two.cvd))])
    synced = rsynced(folder, one.cvd, two.cvd)
    if synced:
        rows.append(["rsync of the published file", *shown(len(two.cvd), synced)])
    title = f"{len(two.cvd) / 1e6:.0f} MB packed, {len(two.cld) / 1e6:.0f} MB unpacked, a day later; {CLIENTS} clients"
    table([title, "from the vendor", "to each client", "to all"], rows)
    print(f"\nThe refresh took {took:.1f} s of CPU, {wall:.1f} s: fetched, verified, applied, proven, written.")


def shown(vendor: int, client: int) -> Iterator[str]:
    yield from (_amount(vendor), _amount(client), _amount(client * CLIENTS))


def _amount(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 10**5 else f"{size / 1e3:.1f} KB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--only", choices=["apply", "refresh", "day"])
    arguments = parser.parse_args()
    from contextlib import ExitStack

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-clamav-")))
        folder.chmod(0o755)
        for name in ("refresh", "day"):
            (folder / name).mkdir()
        if arguments.only in {None, "apply"}:
            bench_apply(arguments.lines)
        if arguments.only in {None, "refresh"}:
            bench_refresh(folder / "refresh", stack)
        if arguments.only in {None, "day"}:
            bench_day(folder / "day", arguments.lines, stack)


if __name__ == "__main__":
    main()
