"""Sizes of incrementals that aren't made yet come of samples of their data, which cost little."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Installed, Profile
from reconciler.model.delta import Duplication, Sample
from reconciler.model.plan import Basis, Cohort
from reconciler.model.spec import ComponentSpec, GroupSpec, PluginConfig
from reconciler.observe import samples
from reconciler.observe.samples import take_samples
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.planner import make_plan
from reconciler.planner.samples import worth_sampling
from reconciler.planner.told import Told, told_of
from reconciler.storage.store import Store
from tests.fakes import CODECS, make_component, make_release

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.release import ComponentKind, Release

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TRAITS = {name: codec.traits for name, codec in CODECS.items()}
KINDS: tuple[ComponentKind, ...] = ("pattern", "engine")


def text(version: int, *, changes: int = 20, lines: int = 4000) -> bytes:
    """Give lines of hexadecimal digits, of which each version has some others than the one before."""
    chance = random.Random(0)
    made = [chance.randbytes(20).hex() for _ in range(lines)]
    for later in range(version):
        changing = random.Random(later + 1)
        for _ in range(changes):
            made[changing.randrange(lines)] = changing.randbytes(20).hex()
    return "\n".join(made).encode()


class Bench:
    """A store with releases of one component, and what a plan is made of with that."""

    def __init__(self, folder: Path, contents: dict[str, bytes], kind: ComponentKind = "pattern") -> None:
        self.store = Store(folder / "store")
        self.releases: list[Release] = []
        for version, content in contents.items():
            made = make_release("rules", version, {"rules": content})
            for file in made.files:
                self.store.put(file, BytesIO(content))
            self.store.add(made)
            self.releases.append(made)
        component = ComponentSpec(make_component("rules", kind), duplicate=True)
        self.wanted = Wanted(
            {"rules": component}, {"g": GroupSpec("g", PluginConfig("transport", "local"), "/r", None)}
        )
        self.stopped = False
        self.made: list[tuple[int, int]] = []

    @property
    def observed(self) -> Observed:
        """What a look gives: all clients have the first release."""
        first = self.releases[0]
        profile = Profile(
            platform="linux-x86_64",
            installed=(Installed("rules", first.version, first.digest),),
            tools=("bspatch", "zstd"),
        )
        return Observed(
            Basis("lineage", 1, 0, "s", "c"),
            held=self.releases,
            cohorts=[Cohort("g", ("c1",), profile)],
            codecs=TRAITS,
        )

    def take(self) -> dict[tuple[str, str], Sample]:
        """Take samples, and count in `made` of what patches are made."""

        def codec(name: str) -> Any:
            def make(old: bytes, new: bytes, **how: int) -> bytes:
                self.made.append((len(old), len(new)))
                return CODECS[name].make(old, new, **how)

            return SimpleNamespace(make=make)

        work: Any = SimpleNamespace(
            store=self.store,
            plugins=SimpleNamespace(codec=codec),
            means=SimpleNamespace(stop=SimpleNamespace(is_set=lambda: self.stopped)),
            spec=SimpleNamespace(server=SimpleNamespace(store=self.store.root)),
        )
        return take_samples(work, self.wanted, self.observed, NOW)

    def plan(self, found: dict[tuple[str, str], Sample]) -> Any:
        return make_plan(self.wanted, replace(self.observed, samples=found), plan_id="p", now=NOW)


def expected(plan: Any) -> dict[str, int]:
    return {change.previous: change.bytes for change in plan.generates}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_plan_says_of_an_incremental_that_isnt_made_is_near_what_it_will_have(
    tmp_path: Path, kind: ComponentKind
) -> None:
    for at, changes in enumerate((1, 40, 1000)):
        contents = {"1": text(0, changes=changes), "2": text(1, changes=changes)}
        (tmp_path / str(at)).mkdir()
        bench = Bench(tmp_path / str(at), contents, kind)
        (change,) = (one for one in bench.plan(bench.take()).generates if one.previous)
        real = len(CODECS[change.codec].make(contents["1"], contents["2"], level=change.level))
        assert real / 1.5 - 2048 < change.bytes < real * 1.5 + 2048
        assert change.bytes < len(contents["2"])


def test_between_the_newest_and_the_oldest_full_nothing_is_sampled_and_estimates_lie_between(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {str(n + 1): text(n, changes=100) for n in range(6)})
    found = bench.take()
    target = bench.releases[-1].digest
    assert set(found) == {
        ("", target),
        (bench.releases[0].digest, target),
        (bench.releases[4].digest, target),
    }
    sizes = expected(bench.plan(found))
    assert sizes["5"] < sizes["4"] < sizes["3"] < sizes["2"] < sizes["1"]


def test_two_contents_are_sampled_once_and_a_lost_memory_is_found_out_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"1": text(0), "2": text(1)})
    first = bench.take()
    count = len(bench.made)
    assert bench.take() == first
    assert len(bench.made) == count
    for damage in ("{", "[[1]]", "null", json.dumps([["a", "b", "zstd", [["x", 1]]]])):
        (bench.store.root / "samples.json").write_text(damage)
        bench.made.clear()
        assert bench.take() == first
        assert len(bench.made) == count


def test_what_isnt_downloaded_or_was_made_already_isnt_sampled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"1": text(0)})
    bench.take()
    assert [one.before for one in worth_sampling(bench.wanted, bench.observed, NOW)] == [None]
    off = replace(bench.wanted, duplication=Duplication(enabled=False))
    assert worth_sampling(off, bench.observed, NOW) == []


def test_a_file_that_isnt_here_or_is_shorter_than_it_was_leaves_the_usual_estimate(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"1": text(0), "2": text(1)})
    usual = expected(bench.plan({}))
    (path,) = bench.store.root.rglob(bench.releases[0].files[0].sha256)
    path.chmod(0o600)
    path.write_bytes(b"short")
    cut = bench.plan(bench.take())
    assert 0 < expected(cut)["1"] <= bench.releases[1].size
    (bench.store.root / "samples.json").unlink()
    path.unlink()
    found = bench.take()
    assert set(found) == {("", bench.releases[1].digest)}
    assert expected(bench.plan(found))["1"] == usual["1"]


def test_a_run_that_is_stopped_samples_no_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"1": text(0), "2": text(1)})
    bench.stopped = True
    assert bench.take() == {}
    assert bench.made == []


def test_large_files_are_sampled_in_part_and_a_plan_reads_no_more_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {str(n + 1): text(n, changes=300, lines=40_000) for n in range(2)}
    whole = sum(part for _old, part in _parts_of(Bench(_folder(tmp_path, "whole"), contents)))
    monkeypatch.setattr(samples, "WHOLE", 2**18)
    monkeypatch.setattr(samples, "PLACE", 2**13)
    monkeypatch.setattr(samples, "PACKED_PLACE", 2**13)
    bench = Bench(_folder(tmp_path, "parts"), contents)
    parts = sum(part for _old, part in _parts_of(bench))
    assert max(old + new for old, new in bench.made) <= 4 * samples.PLACES * 2**13
    assert whole / 2 < parts < whole * 2
    monkeypatch.setattr(samples, "READ", 4 * samples.PLACES * 2**13 - 1)
    assert Bench(_folder(tmp_path, "nothing"), contents).take() == {}


def _folder(path: Path, name: str) -> Path:
    (path / name).mkdir()
    return path / name


def _parts_of(bench: Bench) -> tuple[tuple[int, int], ...]:
    return next(sample.parts for key, sample in bench.take().items() if key[0])


contents = st.binary(max_size=3000) | st.integers(0, 2000).map(lambda n: hashlib.sha256(b"%d" % n).digest() * (n % 90))


@settings(max_examples=60, deadline=None)
@given(contents, contents, st.sampled_from([64, 500, 2**20]))
def test_no_files_make_a_sample_fail_or_exceed_what_they_are(old: bytes, new: bytes, whole: int) -> None:
    files = [*make_release("a", "1", {"f": old}).files, *make_release("a", "1", {"f": new}).files]
    store = SimpleNamespace(glance=lambda sha256: BytesIO(old if sha256 == files[0].sha256 else new))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "WHOLE", whole)
        patch.setattr(samples, "PLACE", 37)
        patch.setattr(samples, "PACKED_PLACE", 11)
        for name, level in (("zstd", 1), ("gzip", 6), ("bsdiff", 1)):
            work: Any = SimpleNamespace(store=store)
            sampler = samples.Sampler(work, CODECS[name], level)
            assert 0 <= sampler.part(files[0], files[1]) <= len(new)
            assert 0 <= sampler.part(None, files[1]) <= len(new)


parts = st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)), max_size=5).map(tuple)
known = st.lists(
    st.tuples(
        st.integers(1, 30), st.builds(Sample, st.sampled_from(["zstd", "bsdiff", "other"]), parts, st.booleans())
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(known, st.integers(1, 40), st.integers(0, 2**33), st.sampled_from(KINDS))
def test_whatever_samples_tell_an_incremental_has_between_nothing_and_the_full(
    known: list[tuple[int, Sample]], distance: int, size: int, kind: ComponentKind
) -> None:
    told = told_of(distance, known)
    assert (told is None) == (not known)
    for traits in TRAITS.values():
        for grade in traits.grades_for(kind):
            share = told.share(size, grade, kind, TRAITS) if told else None
            assert share is None or 0 <= share <= 1


def test_where_all_of_a_file_is_new_no_codec_is_better_than_another() -> None:
    told = Told(((1.0, Sample("zstd", ((1000, 1000), (1000, 0)))),))
    for traits in (TRAITS["zstd"], TRAITS["bsdiff"]):
        for grade in traits.grades_for("engine"):
            assert told.share(2000, grade, "engine", TRAITS) == pytest.approx(0.5)
