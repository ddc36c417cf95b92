"""What engines have loaded, asked on real shells: in a look, after a switch, and until it is what was switched to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.client.loading import loading_check
from reconciler.model.question import Asked, Question
from tests.machine import SHELLS, Machine, slow_clock, step

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.client import Installed
    from reconciler.model.deploy import Outcome


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    made = Machine(tmp_path, request.param)
    made.install("rules", "1", {"a": b"one"})
    return made


def looked(machine: Machine, run: str, **more: float) -> Installed:
    """Look at a client, and ask the engine of its rules."""
    (found,) = machine.facts(asked=Asked({"rules": Question(run, **more), "other": Question("echo 9")})).installed
    return found


def switched(machine: Machine, run: str, within: float = 0.0) -> Outcome:
    """Switch from 1 to 2, and ask the engine."""
    question = Question(run, within=within)
    old, new = (machine.release("rules", version, {"a": version.encode()}) for version in ("1", "2"))
    old = replace(old, files=machine.release("rules", "1", {"a": b"one"}).files)
    check = loading_check(question)
    way = replace(step(old, new), question=question, checks=(check,) if check else ())
    (outcome,) = machine.deploy(way)
    return outcome


@pytest.mark.parametrize(
    ("run", "loaded", "unsaid"),
    [
        ("echo 1", "1", ""),
        (r"printf 'ClamAV\n\n 27811 \r\n\n  \n'; echo warning >&2", "27811", ""),
        ('echo "$UPDOSER_COMPONENT-$UPDOSER_VERSION"', "rules-1", ""),
        ("exit 3", "", "exit 3"),
        ("echo no such socket; exit 3", "", "exit 3: no such socket"),
        ("no-such-engine --version", "", "the command isn't there (exit 127)"),
        ("true", "", "the answer is empty"),
        ("echo ClamAV 1.4.6", "", "the answer is no version: ClamAV 1.4.6"),
        (r"printf 'a\033[2Jb\007\n'", "", "the answer is no text"),
        (r"printf '1\nupdoser 1 facts\nend'", "end", ""),
        ("head -c 3000 /dev/zero | tr '\\0' x", "", f"the answer is no version: {'x' * 59}\u2026"),
    ],
    ids=lambda value: "".join(filter(str.isalnum, str(value)))[:20],
)
def test_a_look_says_what_an_engine_has_loaded_or_why_that_is_not_known(
    run: str, loaded: str, unsaid: str, machine: Machine
) -> None:
    before = machine.listing()
    found = looked(machine, run)
    assert (found.loaded, found.unsaid) == (loaded, unsaid)
    assert (found.version, found.damage) == ("1", "")
    assert machine.listing() == before


def test_an_engine_that_does_not_answer_is_not_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = machine.folder / "begun"
    slow_clock(machine, monkeypatch, begun)
    found = looked(machine, f"echo 1; : >{begun}; sleep 600 & sleep 600", timeout=1)
    assert found.unsaid == "no answer came in time: 1"
    assert machine.leftovers() == []


def test_an_engine_gets_the_vars_of_its_client_as_text(machine: Machine) -> None:
    asked = Asked({"rules": Question('echo "$UPDOSER_VAR_SOCKET" | tail -c 2')}, {"socket": "$(reboot) `x` 7"})
    assert machine.facts(asked=asked).installed[0].loaded == "7"


def test_a_client_that_has_nothing_is_asked_for_nothing(tmp_path: Path) -> None:
    bare = Machine(tmp_path)
    mark = tmp_path / "asked"
    assert bare.facts(asked=Asked({"rules": Question(f"touch {mark}; echo 1")})).installed == ()
    assert not mark.exists()


def test_a_switch_ends_with_what_the_engine_has_loaded_by_then(machine: Machine) -> None:
    outcome = switched(machine, "echo 1")
    assert (outcome.status, outcome.version, outcome.loaded) == ("changed", "2", "1")
    assert machine.leftovers() == []


def test_a_switch_that_waits_for_its_engine_is_good_as_soon_as_that_has_loaded_the_version(machine: Machine) -> None:
    count = machine.folder / "count"
    run = f"echo >>{count}; [ $(wc -l <{count}) -lt 2 ] && echo 1 || printf '\\n 2 \\r\\n'"
    outcome = switched(machine, run, within=60)
    assert (outcome.status, outcome.loaded) == ("changed", "2")


def test_a_switch_whose_engine_does_not_load_the_version_in_time_is_taken_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_clock(machine, monkeypatch, machine.folder / "begun", begins=2)  # as who waits for the engine to say more
    outcome = switched(machine, "echo 'it''s 1'; echo 1; echo noise >&2", within=1)
    assert (outcome.status, outcome.version) == ("failed", "1")
    assert (
        outcome.message
        == "check loaded failed after the switch: no end within 1 s: the engine says: 1; it is back at 1"
    )
    assert machine.current("rules") == {"a": b"one"}
    assert machine.leftovers() == []
