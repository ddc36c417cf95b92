"""What looking and deploying costs a client: processes, and CPU (user and system) of the script and all that it starts.

    fresh         20 components of 50 KB on a client that has nothing
    update        all 20 of them get another version, sent whole
    incremental   2 of the 20 get another version, by incrementals of zstd
    targets       all 20 get another version, which is installed into a folder of its daemon
    look          what the client has is asked for, and nothing is to change
    same          the same, of a client that has the mark which it had
    nothing       a deploy of what is there already

The script is started as over SSH: by its copy on the client where there is one. With `--before DIRECTORY`, another
checkout (`git worktree add`), both are measured by turns, in the same minutes of the same machine; the least and the
median are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from measure import ROOT, table

if TYPE_CHECKING:
    from reconciler.model.release import Release
    from tests.machine import Machine

COMPONENTS, SIZE, CHANGED = 20, 50_000, 2
KINDS = ("fresh", "update", "incremental", "targets", "look", "same", "nothing")
SHELLS = ("dash", "bash", "busybox sh")
RUNS = 15
ONE = "--one"
KEPT = 'own=$(cat {copy});own_kept=$$;case $(printf "%s\\n" "$own"|sha256sum) in *)eval "$own";esac'
SENT = 'own=$(dd bs={size} count=1 iflag=fullblock 2>/dev/null);eval "$own"'
MARKED = 'IFS= read -r own;eval "$own";'
"""How the script is started from its copy on a client, where it is sent, and behind a mark; see client/opening.py."""
FORKED = re.compile(r"^\d+ +(?:(?:clone3?|v?fork)\(|<\.\.\. (?:clone3?|v?fork) resumed).* = [1-9]\d*$", re.MULTILINE)
TRACE = ("strace", "-f", "-qq", "-e", "trace=clone,clone3,fork,vfork", "-e", "signal=none", "-o")


def release(machine: Machine, number: int, version: str, content: bytes | None = None) -> Release:
    name = f"component-{number:02}"
    return machine.release(name, version, {f"{name}.dat": content or os.urandom(SIZE)})


def send(machine: Machine, request: bytes, tracer: tuple[str, ...] = ()) -> float:
    """Send a request to the script, and give the milliseconds of CPU that it took."""
    from reconciler.client.session import client_script

    script, copy = client_script(), machine.root / ".updoser/script"
    kept, look, ahead = copy.exists(), machine.root / ".updoser/look", request.startswith(b"updoser_lists")
    if look.exists() and (ahead or b" facts " in request[:20]):
        copy = look
    command = KEPT.format(copy=copy) if kept else SENT.format(size=len(script))
    command = MARKED + command if ahead else command
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*tracer, *machine.shell.split(), "-c", command],
        input=request if kept else script + request,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not done.stdout.startswith(b"updoser 1 ") or re.search(rb"updoser 1 error| failed ", done.stdout):
        sys.exit(f"the client says {done.stdout.decode()}{done.stderr.decode()}")
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def request_of(machine: Machine, kind: str) -> bytes:
    """Bring the client to where a kind of work begins, and give the request that is measured."""
    from reconciler.client.requests import facts_request
    from reconciler.model.deploy import Layout
    from tests.machine import into, patched, request_bytes, step

    old = [release(machine, number, "1.0.0") for number in range(COMPONENTS)]
    fresh = request_bytes(machine, *[step(None, one) for one in old])
    if kind != "fresh":
        send(machine, fresh)
    if kind in {"fresh", "nothing"}:
        return fresh
    if kind == "same":
        from reconciler.client.opening import marking
        from reconciler.model.client import Facts
        from reconciler.model.mark import WANTED

        looked = machine.session.look_again(str(machine.root), WANTED)
        assert isinstance(looked, Facts)
        return marking(str(machine.root), looked.mark) + facts_request(str(machine.root), verify=False)
    if kind == "look":
        return facts_request(str(machine.root), verify=False)
    if kind == "incremental":
        steps = []
        for number, one in enumerate(old[:CHANGED]):
            name, was = one.files[0].name, machine.content[one.files[0].sha256]
            new = was[:100] + os.urandom(60) + was[100:]
            steps.append(
                patched(one, release(machine, number, "1.0.1", new), name, name, machine.hop("zstd", was, new))
            )
        return request_bytes(machine, *steps)
    layout = Layout()
    if kind == "targets":
        (machine.folder / "daemon").mkdir()
        layout = Layout((into(machine.folder / "daemon"),))
    newer = [release(machine, number, "1.0.1") for number in range(COMPONENTS)]
    return request_bytes(
        machine, *[replace(step(was, one), layout=layout) for was, one in zip(old, newer, strict=True)]
    )


def measure_one(shell: str, kind: str) -> tuple[float, int]:
    """Give the milliseconds of CPU of one run, and the processes of another one where there is a strace."""
    from tests.machine import Machine

    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        machine = Machine(Path(first), shell)
        cpu = send(machine, request_of(machine, kind))
        if shutil.which("strace") is None:
            return cpu, 0
        machine, trace = Machine(Path(second), shell), f"{second}/trace"
        send(machine, request_of(machine, kind), (*TRACE, trace))
        return cpu, len(FORKED.findall(Path(trace).read_text())) + 1


def ask(tree: Path, shell: str, kind: str) -> tuple[float, int]:
    """Measure in a process of its own, with the script of a checkout; one that knows no marks looks in their place."""
    if kind == "same" and not (tree / "reconciler/client/mark.sh").exists():
        kind = "look"
    command = [sys.executable, __file__, ONE, str(tree), shell, kind]
    cpu, count = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return cpu, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout, to be measured beside this one")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--shells", default=",".join(SHELLS))
    options = parser.parse_args()
    trees = [tree for tree in (options.before, ROOT) if tree is not None]
    rows = []
    for shell in filter(None, options.shells.split(",")):
        if shutil.which(shell.split()[0]) is None:
            continue
        for kind in KINDS:
            found: dict[Path, list[tuple[float, int]]] = {tree: [] for tree in trees}
            for _ in range(options.runs):
                for tree in trees:
                    found[tree].append(ask(tree, shell, kind))
            least = [min(cpu for cpu, _count in found[tree]) for tree in trees]
            middle = [statistics.median(cpu for cpu, _count in found[tree]) for tree in trees]
            rows.append(
                (
                    shell,
                    kind,
                    " -> ".join(str(found[tree][0][1]) for tree in trees),
                    " -> ".join(f"{cpu:.0f}" for cpu in least) + " ms",
                    " -> ".join(f"{cpu:.0f}" for cpu in middle) + " ms",
                    f"{least[-1] / least[0]:.2f}",
                )
            )
    table(("shell", "work", "processes", "CPU, least", "CPU, median", "now to before"), rows)


if __name__ == "__main__":
    if sys.argv[1:2] == [ONE]:
        sys.path.insert(0, sys.argv[2])
        print(json.dumps(measure_one(*sys.argv[3:5])))
    else:
        main()
