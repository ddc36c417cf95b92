"""Makes the outputs on docs/examples-of-plans.md: the page says the fleet, the changes and the commands.

Blocks marked `fleet: FILE` are the files of a made fleet. A section changes them by its blocks marked `edit: FILE`, and
runs the commands of its consoles. Before each section the fleet is as it was, on its first day, or on the second where
the section says so by the comment `on the second day, at 10:30`.

    first day     everybody has the latest of three components
    second day    a new virus-pattern is out since eight o'clock, and the canaries have it; they soak for four hours
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from docs.make.facts import ROOT
from docs.make.made_fleet import MadeFleet

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs/examples-of-plans.md"
_BEGIN = datetime(2026, 11, 30, 8, tzinfo=UTC)
_SECOND = _BEGIN + timedelta(days=2)
_GROUPS = {"office": 12, "branch": 8, "dmz": 4, "plant": 6}
_FLEET = re.compile(r"^<!-- fleet: (\S+) -->\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_EDIT = re.compile(r"^<!-- edit: (\S+) -->\n```diff\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CONSOLE = re.compile(r"^```console\n\$ updoser (\S.*?)\n.*?^```$", re.DOTALL | re.MULTILINE)
_LATER = re.compile(r"^<!-- on the second day, at (\d\d):(\d\d) -->$", re.MULTILINE)


def page(text: str) -> str:
    """Give the page with what its commands print now."""
    with TemporaryDirectory() as name:
        fleet = MadeFleet(Path(name), _BEGIN)
        head, *sections = re.split(r"(?m)^(?=## )", text)
        _found(fleet, head)
        made = {at: section for at, section in enumerate(sections) if not _LATER.search(section)}
        for at, section in made.items():
            made[at] = _with_outputs(fleet, section, _BEGIN.replace(hour=10) + timedelta(days=1))
        if len(made) < len(sections):
            _second_day(fleet)
        for at, section in enumerate(sections):
            if at not in made:
                [(hour, minute)] = _LATER.findall(section)
                made[at] = _with_outputs(fleet, section, _SECOND.replace(hour=int(hour), minute=int(minute)))
        return "".join([head, *(made[at] for at in range(len(sections)))])


def _found(fleet: MadeFleet, head: str) -> None:
    """Bring the fleet to its first day: the engine was updated lately, so that clients keep the one before."""
    for name, text in _FLEET.findall(head):
        fleet.write(name, text)
    fleet.write("known_hosts", "")
    for network, (group, count) in enumerate(_GROUPS.items(), 1):
        fleet.group(group, count, network)
    fleet.release("virus-pattern/16.677.00/lpt$vpn.677", 90_000, 1)
    fleet.release("spyware-pattern/2.931.00/ssapiptn.931", 30_000, 2)
    fleet.release("virus-scan-engine/9.850.1008/vsapi.so", 50_000, 3)
    fleet.run("apply", "--auto-approve", "--forks", "1")
    fleet.release("virus-scan-engine/9.862.1002/vsapi.so", 50_000, 4)
    fleet.run("apply", "--auto-approve", "--forks", "1", "--expedite", "virus-scan-engine")
    fleet.commit()


def _second_day(fleet: MadeFleet) -> None:
    fleet.now = _SECOND
    fleet.release("virus-pattern/16.679.00/lpt$vpn.679", 90_000, 1, more=3_000)
    fleet.run("apply", "--auto-approve", "--forks", "1")


def _with_outputs(fleet: MadeFleet, section: str, now: datetime) -> str:
    """Make the changes of a section, run its commands, and leave the fleet as it was."""
    fleet.now = now
    with _kept(fleet.folder, ["state.db", *(name for name, _diff in _EDIT.findall(section))]):
        for name, diff in _EDIT.findall(section):
            path = fleet.folder / name
            path.write_text(edited(path.read_text(encoding="utf-8"), diff), encoding="utf-8")
        return _CONSOLE.sub(lambda found: _console(fleet, found[1]), section)


def _console(fleet: MadeFleet, command: str) -> str:
    return f"```console\n$ updoser {command}\n{fleet.run(*command.split())}```"


@contextmanager
def _kept(folder: Path, names: list[str]) -> Iterator[None]:
    before = {name: (folder / name).read_bytes() for name in names}
    yield
    for name, content in before.items():
        (folder / name).write_bytes(content)


def edited(text: str, diff: str) -> str:
    """Change a text by a diff without numbers: what stands around a change says where it is, and must be there once."""
    for part in re.split(r"(?m)^@@.*\n", diff):
        lines = part.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if not line.startswith("+"))
        after = "".join(line[1:] for line in lines if not line.startswith("-"))
        if text.count(before) != 1:
            raise ValueError(f"the diff fits {text.count(before)} times:\n{diff}")
        text = text.replace(before, after)
    return text
