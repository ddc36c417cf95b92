"""What every codec promises, and that clients' tools and codecs here read each other's patches."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.contracts import Codec
from reconciler.errors import PatchError
from tests.fakes import CODECS
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.strategies._internal.core import DataObject

BASED = [name for name, codec in CODECS.items() if codec.traits.based]
lines = st.lists(st.sampled_from([b"alert\n", b"block all\n", b"\0\0\0\0", bytes(range(256))]), max_size=30)
contents = st.binary(max_size=3000) | lines.map(b"".join)
quick = settings(max_examples=60, deadline=None)


def applied(name: str, old: bytes, patch: bytes, size: int) -> bytes:
    return b"".join(CODECS[name].apply(old, patch, size))


def levels(name: str) -> list[int]:
    traits = CODECS[name].traits
    return sorted({grade.level for grade in (*traits.grades, *traits.samples)})


@pytest.mark.parametrize("name", CODECS)
def test_it_is_a_codec_that_says_what_it_needs(name: str) -> None:
    codec = CODECS[name]
    assert isinstance(codec, Codec)
    assert (codec.traits.name, bool(codec.traits.tool)) == (name, True)
    assert codec.traits.applying(10**6, 10**6) >= codec.traits.memory
    for kind in ("pattern", "engine", "driver", "service"):
        assert codec.traits.grades_for(kind), kind


@pytest.mark.parametrize("name", CODECS)
@given(old=contents, new=contents)
@quick
def test_every_pair_of_files_comes_back_byte_by_byte(name: str, old: bytes, new: bytes) -> None:
    for level in levels(name)[:1]:
        patch = CODECS[name].make(old, new, level=level)
        CODECS[name].check(patch, len(new))
        assert applied(name, old, patch, len(new)) == new


@pytest.mark.parametrize("name", CODECS)
def test_every_level_and_window_gives_a_patch_that_comes_back(name: str) -> None:
    old, new = os.urandom(50_000), os.urandom(1000)
    new = old[:20_000] + new + old[20_500:]
    for level in levels(name):
        for window in (0, 10, 20, 31):
            assert applied(name, old, CODECS[name].make(old, new, level=level, window=window), len(new)) == new


@pytest.mark.parametrize("name", BASED)
def test_a_small_change_in_content_that_does_not_shrink_is_a_small_patch(name: str) -> None:
    old = os.urandom(200_000)
    new = old[:100_000] + b"a few bytes more" + old[100_000:]
    assert len(CODECS[name].make(old, new, level=levels(name)[0])) < 2_000


TOOLS = {
    "zstd": ["zstd", "-d", "-q", "-f", "--long=31", "--patch-from=old", "patch", "-o", "new"],
    "bsdiff": ["bspatch", "old", "new", "patch"],
    "gzip": ["sh", "-c", "gzip -dc <patch >new"],
}


@pytest.mark.needs("zstd", "bspatch")
@pytest.mark.parametrize("name", CODECS)
@given(old=contents.filter(lambda content: len(content) >= 8), new=contents.filter(bool))
@settings(quick, max_examples=25)
def test_the_tool_of_clients_applies_what_is_made_here(name: str, old: bytes, new: bytes, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "patch").write_bytes(CODECS[name].make(old, new, level=levels(name)[0]))
    subprocess.run(TOOLS[name], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    assert (tmp_path / "new").read_bytes() == new


MAKERS = {
    "zstd": ["zstd", "-q", "-f", "-9", "--long=31", "--patch-from=old", "new", "-o", "patch"],
    "bsdiff": ["bsdiff", "old", "new", "patch"],
    "gzip": ["sh", "-c", "gzip -nc <new >patch"],
}


@pytest.mark.needs("zstd", "bsdiff")
@pytest.mark.parametrize("name", CODECS)
@given(old=contents.filter(lambda content: len(content) >= 8), new=contents.filter(bool))
@settings(quick, max_examples=25)
def test_what_the_tools_of_vendors_make_is_applied_here(name: str, old: bytes, new: bytes, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    subprocess.run(MAKERS[name], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    assert applied(name, old, (tmp_path / "patch").read_bytes(), len(new)) == new


@pytest.mark.needs("bspatch")
def test_bspatch_applies_few_differences_packed_as_a_whole_and_many_packed_in_parts(tmp_path: Path) -> None:
    chance = random.Random(1)
    old = chance.randbytes(1_500_000)
    few, many = bytearray(old), bytearray(old)
    for at in range(0, len(old), 50_000):
        few[at] ^= 1
    for at in range(0, len(old), 12):  # as addresses in code that moved: much the same here, something else there
        many[at] = (many[at] + at // 40_000 + chance.randrange(16)) % 256
    for new, parts in ((bytes(few), b"9"), (bytes(many), b"1")):
        patch = CODECS["bsdiff"].make(old, new, level=1)
        control = int.from_bytes(patch[8:16], "little")
        assert patch[32 + control :].startswith(b"BZh" + parts)
        for name, content in (("old", old), ("patch", patch)):
            (tmp_path / name).write_bytes(content)
        subprocess.run(["bspatch", "old", "new", "patch"], cwd=tmp_path, check=True, timeout=PATIENCE)
        assert (tmp_path / "new").read_bytes() == new == applied("bsdiff", old, patch, len(new))


@pytest.mark.parametrize("name", CODECS)
@given(patch=st.binary(max_size=300), size=st.integers(0, 2000))
@settings(quick, max_examples=120)
def test_bytes_that_are_no_patch_are_refused(name: str, patch: bytes, size: int) -> None:
    with pytest.raises(PatchError):
        applied(name, b"old content", patch, size)


@pytest.mark.parametrize("name", CODECS)
@given(old=contents, new=contents.filter(bool), data=st.data())
@settings(quick, max_examples=80)
def test_a_damaged_patch_is_refused_or_makes_no_more_than_was_promised(
    name: str, old: bytes, new: bytes, data: DataObject
) -> None:
    patch = bytearray(CODECS[name].make(old, new, level=levels(name)[0]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(patch) - 1))
        patch[at] = data.draw(st.integers(0, 255))
    cut = bytes(patch[: data.draw(st.integers(0, len(patch)))])
    for damaged in (bytes(patch), cut):
        try:
            made = applied(name, old, damaged, len(new))
        except PatchError:
            continue
        assert len(made) == len(new)


@pytest.mark.parametrize("name", CODECS)
def test_a_patch_for_another_size_is_refused_by_its_head_and_when_it_is_applied(name: str) -> None:
    old, new = b"one two three" * 100, b"one two four" * 100
    patch = CODECS[name].make(old, new, level=levels(name)[0])
    for size in (0, len(new) - 1, len(new) + 1):
        with pytest.raises(PatchError):
            CODECS[name].check(patch, size)
        with pytest.raises(PatchError):
            applied(name, old, patch, size)


@pytest.mark.parametrize("name", BASED)
def test_a_patch_does_not_fit_another_old_file(name: str) -> None:
    old, other = os.urandom(5000), os.urandom(5000)
    new = old + b"more"
    patch = CODECS[name].make(old, new, level=levels(name)[0])
    with contextlib.suppress(PatchError):
        assert applied(name, other, patch, len(new)) != new
