"""Patches are made as many at a time as memory is there for, none is forgotten, and what is too large runs alone."""

from __future__ import annotations

import hashlib
import os
from threading import Event
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.execute import patchwork
from reconciler.execute.memory_budget import MemoryBudget
from reconciler.execute.patchwork import Job, Recipe, make_patches
from reconciler.machine import UNKNOWN, all_memory, free_memory

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MIB = 2**20


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 500), max_size=12),
    st.integers(0, 600),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_what_runs_at_a_time_fits_or_runs_alone_and_all_gets_its_turn(
    needs: list[int], memory: int, cores: int, chance: object
) -> None:
    budget, waiting, running, done = MemoryBudget(memory, cores), list(needs), list[int](), list[int]()
    while waiting or running:
        while (at := budget.next(waiting, running)) is not None:
            running.append(waiting.pop(at))
        assert 0 < len(running) <= cores
        assert sum(running) <= memory or len(running) == 1
        fits = [need for need in waiting if need <= memory - sum(running)]
        assert not fits or len(running) == cores  # no core idles that something fits beside
        done.append(running.pop(chance.randrange(len(running))))  # type: ignore[attr-defined]
    assert sorted(done) == sorted(needs)


def test_that_patches_wait_for_memory_is_said_only_where_they_do() -> None:
    assert MemoryBudget(1000 * MIB, 4).says([250 * MIB] * 14) == ""
    assert MemoryBudget(100 * MIB, 4).says([]) == ""
    said = MemoryBudget(1000 * MIB, 4).says([400 * MIB] * 14)
    assert said == "fewer than 4 patches are made at a time, as 1000.0 MiB of memory may be used"
    said = MemoryBudget(300 * MIB, 4).says([400 * MIB, 200 * MIB])
    assert said == ("one patch takes 400.0 MiB of memory, and 300.0 MiB may be used: nothing else is made beside that")
    assert MemoryBudget(300 * MIB, 4).says([400 * MIB, 500 * MIB]).startswith("2 patches take up to 500.0 MiB of")


def test_patches_are_made_where_there_is_room_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patchwork, "INLINE", 0)
    jobs = []
    for number in range(3):
        old, new = (tmp_path / f"{number}.{part}" for part in ("old", "new"))
        old.write_bytes(os.urandom(2000))
        new.write_bytes(old.read_bytes() + b"more")
        digest = hashlib.sha256(new.read_bytes()).hexdigest()
        patch = tmp_path / f"{number}.patch"
        jobs.append(Job(recipe=Recipe("zstd", 3), old=old, new=new, new_sha256=digest, patch=patch, memory=2**30))
    made = list(make_patches(jobs, (), Event(), MemoryBudget(0, 4)))
    assert sorted(one.job.patch.name for one in made) == ["0.patch", "1.patch", "2.patch"]
    assert not any(one.error for one in made)


def _machine(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


MEMINFO = "MemTotal:        8192 kB\nMemFree:          100 kB\nMemAvailable:    4096 kB\n"


def test_a_machine_and_the_limits_of_a_container_tell_what_memory_there_is(tmp_path: Path) -> None:
    assert (all_memory(tmp_path), free_memory(tmp_path)) == (0, UNKNOWN)
    _machine(tmp_path, proc__meminfo=MEMINFO)
    assert (all_memory(tmp_path), free_memory(tmp_path)) == (8 * MIB, 4 * MIB)
    limited = {"sys__fs__cgroup__memory_dot_max": f"{3 * MIB}\n", "sys__fs__cgroup__memory_dot_current": f"{2 * MIB}\n"}
    _machine(tmp_path, **limited)
    assert (all_memory(tmp_path), free_memory(tmp_path)) == (3 * MIB, MIB)
    _machine(tmp_path, sys__fs__cgroup__memory_dot_stat=f"anon 5\ninactive_file {MIB // 2}\n")
    assert free_memory(tmp_path) == MIB + MIB // 2
    _machine(tmp_path, sys__fs__cgroup__memory_dot_max="max\n")
    assert (all_memory(tmp_path), free_memory(tmp_path)) == (8 * MIB, 4 * MIB)


def test_the_older_kind_of_control_groups_tells_too_and_what_is_no_limit_isnt_one(tmp_path: Path) -> None:
    folder = "sys__fs__cgroup__memory__"
    _machine(
        tmp_path,
        proc__meminfo=MEMINFO,
        **{f"{folder}memory_dot_limit_in_bytes": f"{2 * MIB}\n", f"{folder}memory_dot_usage_in_bytes": f"{3 * MIB}\n"},
    )
    assert (all_memory(tmp_path), free_memory(tmp_path)) == (2 * MIB, 0)
    _machine(tmp_path, **{f"{folder}memory_dot_limit_in_bytes": "9223372036854771712\n"})
    assert (all_memory(tmp_path), free_memory(tmp_path)) == (8 * MIB, 4 * MIB)
