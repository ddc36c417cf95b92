"""Patches are made in parallel processes, proven, and none of them takes the others down."""

import hashlib
import os
import signal
from multiprocessing import active_children
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.execute import patchwork
from reconciler.execute.patchwork import PACKING, Job, Recipe, draft, make_patches
from reconciler.model.delta import Kept
from reconciler.model.pairing import pair_files
from tests.fakes import CODECS, describe

ZSTD = Recipe("zstd", 3)


@pytest.fixture
def job(tmp_path: Path) -> Any:
    """Give what makes a job from contents."""

    def job(name: str, old: Any, new: Any, recipe: Any = ZSTD, **more: Any) -> Any:
        paths = [tmp_path / f"{name}.{part}" for part in ("old", "new", "patch")]
        paths[0].write_bytes(old)
        paths[1].write_bytes(new)
        fields = {"new_sha256": hashlib.sha256(new).hexdigest(), "memory": 2**20, **more}
        return Job(recipe=recipe, old=paths[0] if old else None, new=paths[1], patch=paths[2], **fields)

    return job


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patchwork, "INLINE", 0)


def test_little_work_and_much_work_give_the_same(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old = os.urandom(5000)
    jobs = [job(str(n), old, old[: n * 100] + b"more" + old[n * 100 :]) for n in range(5)]
    here = sorted((made.job.patch.name, made.size, made.sha256) for made in make_patches(jobs, (), Event()))
    monkeypatch.setattr(patchwork, "INLINE", 0)
    there = sorted((made.job.patch.name, made.size, made.sha256) for made in make_patches(jobs, (), Event()))
    assert here == there
    for one in jobs:
        made = b"".join(CODECS["zstd"].apply(old, one.patch.read_bytes(), one.new.stat().st_size))
        assert made == one.new.read_bytes()


@pytest.mark.parametrize("inline", [0, 2**22])
def test_one_that_fails_is_told_and_the_others_are_made(job: Any, monkeypatch: pytest.MonkeyPatch, inline: Any) -> None:
    monkeypatch.setattr(patchwork, "INLINE", inline)
    good = job("good", b"old" * 500, b"new" * 500)
    gone = job("gone", b"old" * 500, b"new" * 500)
    gone.old.unlink()
    wrong = job("wrong", b"old" * 500, b"new" * 500, new_sha256="0" * 64)
    none = job("none", b"old" * 500, b"new" * 500, Recipe("nonsense", 1))
    made = {entry.job.patch.name: entry for entry in make_patches([good, gone, wrong, none], (), Event())}
    assert not made["good.patch"].error
    assert "No such file" in made["gone.patch"].error
    assert "other bytes" in made["wrong.patch"].error
    assert "nonsense" in made["none.patch"].error


@pytest.mark.usefixtures("in_processes")
def test_a_worker_that_is_killed_is_told_as_an_error(job: Any) -> None:
    jobs = [job(str(n), os.urandom(3000), os.urandom(3000)) for n in range(3)]
    jobs[0].old.unlink()
    os.mkfifo(jobs[0].old)  # who reads it waits

    def kill() -> None:
        with jobs[0].old.open("wb"):  # somebody reads it by then
            for child in active_children():
                os.kill(child.pid, signal.SIGKILL)  # type: ignore[arg-type]

    killer = Thread(target=kill)
    killer.start()
    made = list(make_patches(jobs, (), Event()))
    killer.join()
    assert len(made) == 3
    assert any("was killed" in entry.error for entry in made)


@pytest.mark.usefixtures("in_processes")
def test_once_it_is_stopped_nothing_more_comes_and_no_process_stays(job: Any) -> None:
    stop = Event()
    stop.set()
    jobs = [job(str(n), os.urandom(1000), os.urandom(1000)) for n in range(3)]
    assert list(make_patches(jobs, (), stop)) == []


names = st.sampled_from(["a", "b", "lpt.1", "lpt.2", "lpt.10", "x"])
releases = st.dictionaries(names, st.binary(max_size=4) | st.sampled_from([b"s" * 600, b"t" * 700]), max_size=4)


@given(releases, releases.filter(bool))
@settings(max_examples=80, deadline=None)
def test_a_draft_covers_every_file_once_and_keeps_what_is_the_same(before: Any, after: Any) -> None:
    old, new = ([describe(name, content) for name, content in files.items()] for files in (before, after))
    made = draft(
        old, new, ZSTD, Path("/w"), old_at=lambda f: Path("old") / f.name, new_at=lambda f: Path("new") / f.name,
        codec_of=CODECS.__getitem__,
    )  # fmt: skip
    covered = [kept.name for kept in made.kept] + [file.name for file, _base in made.files.values()]
    assert sorted(covered) == sorted(after)
    assert all(before[kept.base] == after[kept.name] for kept in made.kept)
    same = set(before.values())
    assert {kept.name for kept in made.kept} == {name for name, content in after.items() if content in same}
    for one in made.jobs:
        file, base = made.files[one.patch]
        tiny = file.size < 512 or not base or len(before[base]) < 8
        assert (one.recipe == PACKING) == tiny == (one.old is None)
    assert made.full == sum(len(after[file.name]) for file, _base in made.files.values())


def test_files_are_paired_by_bytes_then_name_then_shape_then_as_the_only_ones() -> None:
    def pairs(before: Any, after: Any) -> Any:
        old, new = ([describe(name, content) for name, content in files.items()] for files in (before, after))
        return pair_files(old, new)

    assert pairs({"a": b"1", "b": b"2"}, {"a": b"2", "b": b"3"}) == {"a": ("b", True), "b": ("b", False)}
    assert pairs({"lpt$vpn.679": b"1", "x": b"2"}, {"lpt$vpn.681": b"3", "x": b"2"}) == {
        "lpt$vpn.681": ("lpt$vpn.679", False),
        "x": ("x", True),
    }
    assert pairs({"old": b"1"}, {"new": b"2"}) == {"new": ("old", False)}
    assert pairs({"v1": b"1", "v2": b"2"}, {"v3": b"3", "v4": b"4"}) == {"v3": ("", False), "v4": ("", False)}
    assert Kept("a", "b") < Kept("b", "a")
