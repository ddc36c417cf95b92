"""What plugins must not be talked out of: of each entry the newest stays, whichever controller comes when."""

from __future__ import annotations

import json
import logging
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from reconciler.contracts import OwnMemory, Remembered
from reconciler.errors import SourceError
from reconciler.plugins.source._agreed import MAX_KEPT, Agreed
from reconciler.storage.memory import StateMemory
from reconciler.storage.state import State
from tests.fakes import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from reconciler.contracts import Memory

LOG = logging.getLogger("tests")


@pytest.fixture(params=["own", "state"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    if request.param == "own":
        yield OwnMemory()
        return
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        yield StateMemory(state, "source vendor")


def test_only_what_is_newer_takes_the_place_of_another(memory: Memory) -> None:
    assert memory.recall() == {}
    assert memory.keep({}) == {}
    assert memory.keep({"timestamp.json": Remembered(5, "five")}) == {"timestamp.json": Remembered(5, "five")}
    for version in (4, 5):
        kept = memory.keep({"timestamp.json": Remembered(version, "other"), "root": Remembered(version, "new")})
        assert kept == {"timestamp.json": Remembered(5, "five"), "root": Remembered(version, "new")}
    memory.keep({"timestamp.json": Remembered(2**40, "six")})
    assert memory.recall() == {"timestamp.json": Remembered(2**40, "six"), "root": Remembered(5, "new")}


def test_each_plugin_remembers_by_itself(any_state: State) -> None:
    one, other = StateMemory(any_state, "source vendor"), StateMemory(any_state, "source drop")
    one.keep({"timestamp.json": Remembered(5, "five")})
    assert other.recall() == {}
    other.keep({"timestamp.json": Remembered(1, "one")})
    assert one.recall() == {"timestamp.json": Remembered(5, "five")}


def test_of_many_that_write_at_once_the_newest_of_each_stays(state_url: str) -> None:
    names = ("root", "snapshot", "timestamp")
    with State.open(state_url, clock=lambda: NOW):
        pass

    def write(seed: int) -> None:
        order = random.Random(seed).sample(range(1, 41), 40)
        with State.open(state_url, clock=lambda: NOW) as state:
            memory = StateMemory(state, "source vendor")
            for version in order[:20]:
                kept = memory.keep({name: Remembered(version, f"{version}") for name in names})
                assert all(entry.version >= version and entry.content == str(entry.version) for entry in kept.values())
            if seed == 3:
                memory.keep({name: Remembered(41, "41") for name in names})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with State.open(state_url, clock=lambda: NOW) as state:
        assert StateMemory(state, "source vendor").recall() == dict.fromkeys(names, Remembered(41, "41"))


# --- what is called the same ------------------------------------------------------------------------------------------


def named(text: str) -> Callable[[Mapping[str, str]], str]:
    return lambda _known: text


def test_what_one_controller_called_something_all_call_it(memory: Memory) -> None:
    one, other = Agreed(memory, "dates", LOG), Agreed(memory, "dates", LOG)
    assert other.of("a:latest") == {}
    assert one.first("a:latest", "x", named("monday")) == "monday"
    assert other.first("a:latest", "x", named("tuesday")) == "monday"
    assert other.first("b:latest", "x", named("tuesday")) == "tuesday"
    assert one.first("a:latest", "y", lambda known: f"after {known['x']}") == "after monday"
    assert Agreed(memory, "others", LOG).of("a:latest") == {}


def test_what_was_known_before_counts_where_nobody_said_otherwise(memory: Memory) -> None:
    Agreed(memory, "dates", LOG).first("a", "x", named("monday"))
    late = Agreed(memory, "dates", LOG)
    late.take_over("a", {"x": "sunday", "w": "saturday"})
    late.take_over("a", {"x": "sunday", "w": "saturday"})
    assert Agreed(memory, "dates", LOG).of("a") == {"x": "monday", "w": "saturday"}


def test_controllers_that_find_many_things_at_once_agree_on_each(state_url: str) -> None:
    keys = [str(number) for number in range(30)]
    with State.open(state_url, clock=lambda: NOW):
        pass

    def find(who: int) -> dict[str, str]:
        with State.open(state_url, clock=lambda: NOW) as state:
            agreed = Agreed(StateMemory(state, "source oci"), "dates", LOG)
            order = random.Random(who).sample(keys, len(keys))
            return {key: agreed.first("a", key, named(f"{who}")) for key in order}

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(find, range(3)))
    assert found[0] == found[1] == found[2]


def test_only_the_last_of_many_are_remembered() -> None:
    memory = OwnMemory()
    agreed = Agreed(memory, "dates", LOG)
    for number in range(MAX_KEPT + 3):
        agreed.first("a", str(number), named("x"))
    assert list(Agreed(memory, "dates", LOG).of("a")) == [str(number) for number in range(3, MAX_KEPT + 3)]


@pytest.mark.parametrize("content", ["", "[]", "5", '{"x"', "null"])
def test_what_was_damaged_is_passed_over_and_written_again(content: str) -> None:
    memory = OwnMemory()
    Agreed(memory, "dates", LOG).first("a", "x", named("monday"))
    (name,) = memory.recall()
    memory.keep({name: Remembered(9, content)})
    agreed = Agreed(memory, "dates", LOG)
    assert agreed.of("a") == {}
    assert agreed.first("a", "x", named("tuesday")) == "tuesday"
    assert json.loads(memory.recall()[name].content) == {"x": "tuesday"}


def test_a_memory_that_never_keeps_anything_is_an_error_of_the_source() -> None:
    class Deaf(OwnMemory):
        def keep(self, entries: Mapping[str, Remembered]) -> Mapping[str, Remembered]:
            return {name: Remembered(entry.version + 1, "{}") for name, entry in entries.items()}

    with pytest.raises(SourceError, match="can't be agreed on"):
        Agreed(Deaf(), "dates", LOG).first("a", "x", named("monday"))
