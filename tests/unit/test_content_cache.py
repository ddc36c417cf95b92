"""The cache of content: bounded, what wasn't used for longest goes first, and what is pinned stays."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.content.contents import CachedContents, FolderContents
from reconciler.errors import InterruptedRunError, StoreError
from reconciler.plugins.content import folder
from tests.fakes import fake_context, make_plugin
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from reconciler.contracts import ContentPlace

ROOT = Path(__file__).parents[2]
FILES = [bytes([number]) * 1000 for number in range(8)]
NAMES = [hashlib.sha256(content).hexdigest() for content in FILES]


@pytest.fixture
def share(tmp_path: Path) -> ContentPlace:
    for name, content in zip(NAMES, FILES, strict=True):
        target = tmp_path / "share/content" / name[:2] / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return make_plugin(folder, {"path": "share"}, fake_context(tmp_path))  # type: ignore[no-any-return]


def here(tmp_path: Path) -> list[int]:
    return [number for number, name in enumerate(NAMES) if (tmp_path / "cache/content" / name[:2] / name).exists()]


def use_at(tmp_path: Path, number: int, second: int) -> None:
    path = tmp_path / "cache/content" / NAMES[number][:2] / NAMES[number]
    os.utime(path, (second, path.stat().st_mtime))


def filled(tmp_path: Path, share: ContentPlace, *numbers: int, limit: int = 3500) -> CachedContents:
    contents = CachedContents.at(tmp_path / "cache", limit, [share])
    for number in numbers:
        contents.bring(NAMES[number])
        use_at(tmp_path, number, 1000 + number)
    return contents


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, share: ContentPlace) -> None:
    contents = filled(tmp_path, share, 0, 1, 2)
    with contents.open(NAMES[0]) as file:  # used again
        assert file.read() == FILES[0]
    contents.bring(NAMES[3])
    assert here(tmp_path) == [0, 2, 3]


def test_what_was_let_go_of_is_brought_again(tmp_path: Path, share: ContentPlace) -> None:
    contents = filled(tmp_path, share, 0, 1, 2, 3, 4)
    assert 0 not in here(tmp_path)
    with contents.open(NAMES[0], 1000) as file:
        assert file.read() == FILES[0]


def test_what_is_pinned_stays_whoever_makes_room(tmp_path: Path, share: ContentPlace) -> None:
    contents = filled(tmp_path, share, 0)
    other = CachedContents.at(tmp_path / "cache", 3500, [share])
    with contents.local(NAMES[0]) as path, contents.pinned(NAMES[1:3]):
        use_at(tmp_path, 0, 1000)
        for number in range(1, 8):
            other.bring(NAMES[number])
        assert path.read_bytes() == FILES[0]
        assert {0, 1, 2, 7} <= set(here(tmp_path))
    use_at(tmp_path, 0, 1000)  # reading it marked it
    other.bring(NAMES[6])
    other.bring(NAMES[5])
    assert 0 not in here(tmp_path)


def test_who_was_killed_pins_nothing(tmp_path: Path, share: ContentPlace) -> None:
    contents = filled(tmp_path, share, 0)
    code = (
        "import sys, pathlib; from reconciler.content.contents import CachedContents\n"
        f"with CachedContents.at(pathlib.Path({str(tmp_path / 'cache')!r}), 3500, []).pinned([{NAMES[0]!r}]):\n"
        "    print('pinned', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"pinned\n"
        use_at(tmp_path, 0, 1000)
        for number in range(1, 6):
            contents.bring(NAMES[number])
        assert 0 in here(tmp_path)
        process.kill()
    use_at(tmp_path, 0, 1000)
    for number in (1, 2, 3, 6, 7):
        contents.bring(NAMES[number])
    assert 0 not in here(tmp_path)
    assert not list((tmp_path / "cache/pins").iterdir())


def test_what_is_larger_than_the_cache_is_here_while_it_is_needed(tmp_path: Path, share: ContentPlace) -> None:
    contents = CachedContents.at(tmp_path / "cache", 100, [share])
    with pytest.raises(StoreError, match="has 1000 bytes, and the cache only 100"):
        contents.bring(NAMES[0])
    with contents.open(NAMES[0], 1000) as file, contents.open(NAMES[1], 1000) as other:
        assert (file.read(), other.read()) == (FILES[0], FILES[1])


def test_bits_that_turned_over_in_the_cache_are_brought_again(tmp_path: Path, share: ContentPlace) -> None:
    filled(tmp_path, share, 0)
    path = tmp_path / "cache/content" / NAMES[0][:2] / NAMES[0]
    path.write_bytes(FILES[1])
    with CachedContents.at(tmp_path / "cache", 3500, [share]).open(NAMES[0]) as file:
        assert file.read() == FILES[0]


def test_one_who_waits_for_content_that_another_brings_stops_when_the_run_does(
    tmp_path: Path, share: ContentPlace
) -> None:
    from threading import Event, Thread

    stop, ended = Event(), Event()
    first = CachedContents.at(tmp_path / "cache", 3500, [share])
    second = CachedContents.at(tmp_path / "cache", 3500, [share], stop)

    def ask() -> None:
        with pytest.raises(InterruptedRunError):
            second.bring(NAMES[0])
        ended.set()

    with first._cache.turn(NAMES[0], Event()):
        thread = Thread(target=ask)
        thread.start()
        stop.set()
        until(ended.is_set)
    thread.join(PATIENCE)


def test_the_content_of_a_folder_is_opened_where_it_lies(tmp_path: Path, share: ContentPlace) -> None:
    del share
    contents = FolderContents(tmp_path / "share")
    with contents.open(NAMES[0]) as file:
        assert file.read() == FILES[0]
    (tmp_path / "share/content" / NAMES[1][:2] / NAMES[1]).write_bytes(b"?")
    with pytest.raises(StoreError, match="other bytes than its name says"), contents.open(NAMES[1]):
        pass
    with pytest.raises(StoreError, match="No such file"), contents.open("a" * 64):
        pass
    assert not (tmp_path / "share/tmp").exists() or not list((tmp_path / "share/tmp").iterdir())
