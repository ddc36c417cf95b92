"""The folder of a mirror: whole at every moment, written once, and never more than what is ours in it."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import RepositoryError
from reconciler.model.mirror import Placed
from reconciler.model.release import Release
from reconciler.plugins.layout import clamav, tree
from reconciler.plugins.source import directory
from reconciler.repository.mirror import MirrorFolder
from tests.clam_files import database
from tests.fakes import describe, fake_context, make_component, make_plugin, make_release

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
STEPS = ("replace", "unlink", "mkdir", "rmdir", "open", "fsync", "fchmod")
"""What a process asks of the system while it publishes, and can be killed before."""


class Killed(BaseException):
    """Nothing more is done: not even what a process does when it ends."""


class Shelf:
    """Contents by their digest, and releases made of them."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def release(self, component: str, version: str, files: Any, attached: Any = None, **more: Any) -> Release:
        for content in (*files.values(), *(attached or {}).values()):
            self.contents[describe("", content).sha256] = content
        along = tuple(sorted(describe(name, content) for name, content in (attached or {}).items()))
        return make_release(component, version, files, attached=along, **more)

    @contextmanager
    def open(self, file: Any) -> Iterator[Any]:
        yield io.BytesIO(self.contents[file.sha256])


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def text(path: str, content: bytes, turn: int = 0) -> Placed:
    return Placed(path, lambda _open, _now: content, content.decode(), turn)


def write(folder: MirrorFolder, placed: Any, shelf: Any = None, releases: Any = ()) -> int:
    return folder.write(placed, releases, (shelf or Shelf()).open, NOW)


def lying(folder: MirrorFolder) -> dict[str, bytes]:
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_what_is_as_it_should_be_is_not_touched_and_what_is_new_has_the_time_of_its_publication(
    tmp_path: Path, shelf: Shelf
) -> None:
    folder = MirrorFolder(tmp_path / "m")
    release = shelf.release("a", "1", {"f": b"one"})
    placed = [Placed("f", release.files[0]), text("a/b", b"text")]
    assert write(folder, placed, shelf, [release]) == 7
    os.utime(folder.path / "a/b", (1, 1))
    os.utime(folder.path / "f", (1, 1))
    assert folder.differs(placed) == ""
    assert write(folder, placed, shelf, [release]) == 0
    assert (folder.path / "f").stat().st_mtime == 1
    assert folder.releases() == (release,)
    write(folder, [Placed("f", release.files[0]), text("a/b", b"other")], shelf)
    assert (folder.path / "a/b").stat().st_mtime > 1_700_000_000
    assert (folder.path / "f").stat().st_mtime == 1


def test_who_reads_a_file_reads_it_to_its_end_whatever_is_published_meanwhile(tmp_path: Path) -> None:
    folder = MirrorFolder(tmp_path / "m")
    write(folder, [text("f", b"old bytes")])
    with (folder.path / "f").open("rb", buffering=0) as reader:
        assert reader.read(3) == b"old"
        write(folder, [text("f", b"new ones")])
        assert reader.read() == b" bytes"
        write(folder, [])
    assert lying(folder) == {}


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    folder = MirrorFolder(tmp_path / "m")
    write(folder, [text("a/f", b"1")])
    (folder.path / "a/index.html").write_bytes(b"theirs")
    write(folder, [text("b", b"2")])
    assert lying(folder) == {"a/index.html": b"theirs", "b": b"2"}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", ".htaccess", "a//b", "a/.b", "", "a\nb", "x" * 2000])
def test_a_layout_cannot_leave_its_folder(tmp_path: Path, path: str) -> None:
    folder = MirrorFolder(tmp_path / "m")
    with pytest.raises(RepositoryError, match="places a file that can't be"):
        write(folder, [text(path, b"x")])
    assert not folder.path.exists()


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b")])
def test_a_layout_cannot_put_two_things_into_one_place(tmp_path: Path, paths: Any) -> None:
    with pytest.raises(RepositoryError, match="twice|as a file and as a folder"):
        write(MirrorFolder(tmp_path / "m"), [text(path, b"x") for path in paths])


def test_bytes_that_are_not_what_the_store_promised_are_not_published(tmp_path: Path, shelf: Shelf) -> None:
    folder = MirrorFolder(tmp_path / "m")
    release = shelf.release("a", "1", {"f": b"one"})
    shelf.contents[release.files[0].sha256] = b"two"
    with pytest.raises(RepositoryError, match="other bytes than it should"):
        write(folder, [Placed("f", release.files[0])], shelf)
    assert lying(folder) == {}


# --- killed in the midst ----------------------------------------------------------------------------------------------


class Site:
    """A mirror in a layout, with what it is brought to, and how others read it."""

    def __init__(self, folder: Path, layout: Any, shelf: Shelf) -> None:
        self.folder = MirrorFolder(folder / "m")
        self.layout = layout
        self.shelf = shelf

    def placed(self, releases: Any) -> Any:
        return self.layout.place(releases, (), self.folder.there())

    def publish(self, *releases: Any) -> None:
        self.folder.write(self.placed(releases), releases, self.shelf.open, NOW)

    def is_at(self, *releases: Any) -> bool:
        return not self.folder.differs(self.placed(releases))


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, publish: Callable[[], object]) -> bool:
    """Publish, and be killed before that step; say whether it got so far."""
    steps = count()

    def stopping(real: Any) -> Any:
        def called(*args: Any, **more: Any) -> Any:
            if next(steps) >= step:
                raise Killed
            return real(*args, **more)

        return called

    with monkeypatch.context() as patched:
        for name in STEPS:
            patched.setattr(os, name, stopping(getattr(os, name)))
        try:
            publish()
        except Killed:
            return True
    return False


def survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Callable[[Path], Site], states: Any, check: Any
) -> None:
    """Kill what publishes one state after the other at each of its steps: readers find no fault, and it goes on."""
    for step in count():
        here = site(tmp_path / str(step))
        here.folder.path.parent.mkdir()
        reached = False
        for state in states:
            got_so_far = killed_at(step, monkeypatch, partial(here.publish, *state))
            reached = reached or got_so_far
            check(here.folder.path)
            if got_so_far:
                here.publish(*state)
            assert here.is_at(*state)
            assert not [name for name in lying(here.folder) if ".new-" in name]
        if not reached:
            assert step > 20
            return


def test_a_folder_of_versions_is_whole_wherever_publishing_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shelf: Shelf
) -> None:
    one = shelf.release("rules", "1", {"a": b"one"})
    two = shelf.release("rules", "2", {"a": b"two", "b": b"same"}, {"a.sign": b"signature"})
    known = {"1": one, "2": two}

    def check(path: Path) -> None:
        source = make_plugin(directory, {"path": str(path), "settle": "0s"}, fake_context(tmp_path))
        report = source.releases({"rules": make_component("rules")}) if path.is_dir() else None
        found = {release.version: release for release in report.releases} if report else {}
        assert all(release.digest == known[version].digest for version, release in found.items())
        versions = path / "rules/versions.txt"
        assert {*(versions.read_text().split() if versions.exists() else ())} <= found.keys()

    layout = make_plugin(tree, {}, fake_context(tmp_path))
    survives(tmp_path, monkeypatch, lambda place: Site(place, layout, shelf), [[one], [one, two], [two]], check)


def test_what_freshclam_reads_is_whole_wherever_publishing_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shelf: Shelf
) -> None:
    def daily(version: int) -> Release:
        along = {f"daily-{version}.cdiff": b"increment", f"daily-{version}.cvd.sign": b"signature"}
        return shelf.release("daily", str(version), {"daily.cvd": database(version)}, along)

    def check(path: Path) -> None:
        if not (path / "daily.cvd").exists():
            assert not (path / "dns.txt").exists()
            return
        version = int((path / "daily.cvd").read_bytes().split(b":")[2])
        assert (path / "daily.cvd").read_bytes() == database(version)
        assert (path / f"daily-{version}.cvd.sign").exists()
        assert (path / f"daily-{version}.cdiff").exists()
        if (path / "dns.txt").exists():
            assert int((path / "dns.txt").read_text().split(":")[2]) <= version

    layout = make_plugin(clamav, {}, fake_context(tmp_path))
    survives(tmp_path, monkeypatch, lambda place: Site(place, layout, shelf), [[daily(1)], [daily(2)], []], check)


def test_what_a_killed_run_brought_goes_when_it_is_not_wanted_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in count():
        folder = MirrorFolder(tmp_path / str(step))
        write(folder, [text("a", b"1")])
        got_so_far = killed_at(step, monkeypatch, partial(write, folder, [text("a", b"2"), text("b/c", b"3")]))
        write(folder, [text("a", b"1")])
        assert lying(folder) == {"a": b"1"}
        if not got_so_far:
            return


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "d/a", "d/e/b"]), st.binary(max_size=3)), max_size=4))
@settings(max_examples=30, deadline=None)
def test_whatever_was_there_before_a_folder_is_what_it_was_brought_to(states: Any) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        folder = MirrorFolder(Path(place) / "m")
        for state in states:
            write(folder, [Placed(path, lambda _o, _n, c=c: c, c.hex()) for path, c in state.items()])  # type: ignore[misc]
            assert lying(folder) == state
