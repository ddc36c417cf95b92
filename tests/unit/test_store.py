"""The store: verified, atomic, deduplicated; the disk is the truth."""

import errno
import fcntl
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.content.arrivals import PART_MIN
from reconciler.errors import StoreError, TransportError
from reconciler.model.delta import Incremental, Kept, Patch
from reconciler.model.release import Release, ReleaseFile, SignedBy
from reconciler.storage.store import Store
from tests.fakes import describe, make_release
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


def put_all(store: Any, release: Any, files: Any) -> None:
    for file in store.lacking(release):
        store.put(file, io.BytesIO(files[file.name]))
    store.add(release)


def content_files(store: Any) -> Any:
    return sorted(path for path in (store.root / "content").rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path: Path) -> Any:
    return Store(tmp_path / "store")


def test_a_store_that_was_never_written_to_is_empty_and_stays_untouched(store: Any) -> None:
    assert store.inspect().releases == ()
    assert store.free() > 0
    assert not store.root.exists()


def test_a_release_comes_back_as_it_went_in(store: Any) -> None:
    files = {"lpt$vpn.679": b"one", "b": b""}
    release = make_release("rules", "1", files, notes="first")
    put_all(store, release, files)
    (held,) = store.inspect(verify=True).releases
    assert (held, held.notes) == (release, "first")
    for file in release.files:
        with store.open(file.sha256) as stream:
            assert stream.read() == files[file.name]


def attached_release(*names: str) -> Any:
    along = tuple(describe(name, name.encode()) for name in names)
    return make_release("rules", "1", {"a": b"one"}, attached=along)


def put_attached(store: Any, release: Any, *but: str) -> None:
    for file in store.lacking_attached(release):
        if file.name not in but:
            store.put(file, io.BytesIO(file.name.encode()))
    put_all(store, release, {"a": b"one"})


def attached_names(store: Any) -> list[str]:
    return [file.name for release in store.inspect().releases for file in release.attached]


def test_what_is_attached_is_kept_with_a_release_and_goes_with_it(store: Any) -> None:
    release = attached_release("a.cdiff", "a.sign")
    put_attached(store, release)
    assert attached_names(store) == ["a.cdiff", "a.sign"]
    assert store.lacking_attached(release) == ()
    other = {"a": b"two", "b": b"a.sign"}
    put_all(store, make_release("rules", "2", other), other)
    store.remove(make_release("rules", "2", other))
    assert attached_names(store) == ["a.cdiff", "a.sign"]
    store.remove(make_release("rules", "1", {"a": b"one"}))
    assert content_files(store) == []


def test_a_release_is_whole_without_what_is_attached_and_takes_it_when_it_comes(store: Any) -> None:
    release = attached_release("a.cdiff", "a.sign")
    put_attached(store, release, "a.sign")
    inspection = store.inspect()
    assert (inspection.problems, attached_names(store)) == ((), ["a.cdiff"])
    put_attached(store, release)
    assert attached_names(store) == ["a.cdiff", "a.sign"]
    with store.local(release.attached[0].sha256) as path:
        path.write_bytes(b"damaged")
    assert store.inspect().problems == ()
    assert attached_names(store) == ["a.sign"]


def test_equal_content_is_kept_once_and_not_fetched_again(store: Any) -> None:
    put_all(store, make_release("rules", "1", {"a": b"same", "b": b"same"}), {"a": b"same", "b": b"same"})
    assert len(content_files(store)) == 1
    assert store.lacking(make_release("engine", "9", {"c": b"same"})) == ()


@pytest.mark.parametrize("data", [b"twp", b"tw", b"two+", b""])
def test_content_that_is_not_what_was_announced_is_refused_and_leaves_nothing(store: Any, data: bytes) -> None:
    (file,) = make_release("rules", "1", {"a": b"two"}).files
    with pytest.raises(StoreError):
        store.put(file, io.BytesIO(data))
    assert content_files(store) == []
    assert list((store.root / "tmp").iterdir()) == []


def test_no_more_is_read_than_was_announced(store: Any) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> Any:
            assert size >= 0
            return b"x" * size

    with pytest.raises(StoreError):
        store.put(ReleaseFile("a", 5, hashlib.sha256(b"xxxxx").hexdigest()), Endless())


def test_a_release_whose_content_is_missing_is_not_added(store: Any) -> None:
    with pytest.raises(StoreError, match="lacks"):
        store.add(make_release("rules", "1", {"a": b"one"}))


def test_a_version_never_changes_its_bytes(store: Any) -> None:
    put_all(store, make_release("rules", "1", {"a": b"one"}), {"a": b"one"})
    other = make_release("rules", "1", {"a": b"uno"})
    store.put(other.files[0], io.BytesIO(b"uno"))
    with pytest.raises(StoreError, match="held with other bytes"):
        store.add(other)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("damage", ["gone", "shorter", "changed", "a folder"])
def test_damage_is_noticed_named_and_mended_by_fetching_again(store: Any, damage: str, verify: bool) -> None:
    release = make_release("rules", "1", {"a": b"one", "b": b"two"})
    put_all(store, release, {"a": b"one", "b": b"two"})
    store.inspect()
    path = next(path for path in content_files(store) if path.read_bytes() == b"one")
    if damage == "changed":
        path.write_bytes(b"uno")
    elif damage == "shorter":
        path.write_bytes(b"o")
    else:
        path.unlink()
    if damage == "a folder":
        path.mkdir()
    inspection = store.inspect(verify=verify)
    assert inspection.releases == ()
    assert str(path) in inspection.problems[0]
    assert [file.name for file in store.lacking(release)] == ["a"]
    if damage != "a folder":
        put_all(store, release, {"a": b"one"})
        assert store.inspect(verify=True).releases == (release,)


def test_a_change_that_keeps_size_and_time_is_noticed_when_everything_is_hashed(store: Any) -> None:
    release = make_release("rules", "1", {"a": b"one"})
    put_all(store, release, {"a": b"one"})
    store.inspect()
    (path,) = content_files(store)
    info = path.stat()
    with path.open("r+b") as file:
        file.write(b"uno")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert store.inspect().releases == (release,)
    assert store.inspect(verify=True).releases == ()


def test_removing_a_release_keeps_what_others_share(store: Any) -> None:
    one, two = make_release("rules", "1", {"a": b"x", "b": b"y"}), make_release("rules", "2", {"a": b"x", "b": b"z"})
    put_all(store, one, {"a": b"x", "b": b"y"})
    put_all(store, two, {"a": b"x", "b": b"z"})
    store.remove(one)
    assert store.inspect(verify=True).releases == (two,)
    assert len(content_files(store)) == 2


@given(st.binary(max_size=300) | st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5))
@settings(max_examples=60, deadline=None)
def test_a_malformed_manifest_is_a_problem_that_hides_no_other_release(store: Any, data: Any) -> None:
    good = make_release("rules", "1", {"a": b"one"})
    put_all(store, good, {"a": b"one"})
    bad = store.root / "releases/engine/1/any.json"
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    inspection = store.inspect()
    assert inspection.releases == (good,)
    assert any(str(bad) in problem for problem in inspection.problems)


def test_who_signed_a_release_and_what_was_said_of_it_is_remembered(store: Any) -> None:
    signed = SignedBy("vendor", "targets", 2, 3, 2, ("k" * 64, "l" * 64))
    release = make_release("rules", "1", {"a": b"one"}, notes="new", signed=signed)
    put_all(store, release, {"a": b"one"})
    (held,) = store.inspect().releases
    assert (held.signed, held.notes) == (signed, "new")


@pytest.mark.parametrize("odd", [[], {}, {"keys": 7}, {"keys": [7]}, {"keys": [], "signatures": "2"}, {"x": 1}])
def test_a_manifest_that_says_nonsense_of_signatures_is_refused(store: Any, odd: Any) -> None:
    put_all(store, make_release("rules", "1", {"a": b"one"}), {"a": b"one"})
    manifest = store.root / "releases/rules/1/any.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "signed": odd}))
    assert store.inspect().releases == ()


def test_a_manifest_cannot_lead_out_of_the_store(store: Any) -> None:
    put_all(store, make_release("rules", "1", {"a": b"one"}), {"a": b"one"})
    manifest = store.root / "releases/rules/1/any.json"
    document = json.loads(manifest.read_text())
    for change in (
        {"version": "../1"},
        {"component": ".."},
        {"files": [{"name": "../a", "size": 1, "sha256": "0" * 64}]},
    ):
        manifest.write_text(json.dumps({**document, **change}))
        assert store.inspect().releases == ()


def test_two_processes_can_bring_the_same_release_at_once(store: Any) -> None:
    program = (
        "import io,sys; from pathlib import Path\n"
        "from reconciler.storage.store import Store; from tests.fakes import make_release\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for n in range(40):\n"
        "    data = b'%d' % n * 1000\n"
        "    release = make_release('rules', str(n), {'a': data})\n"
        "    for file in store.lacking(release): store.put(file, io.BytesIO(data))\n"
        "    store.add(release)\n"
    )
    command = [sys.executable, "-c", program, str(store.root)]
    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    for process in running:
        assert process.communicate(timeout=PATIENCE)[1] == b""
    assert len(store.inspect(verify=True).releases) == 40
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("when", ["replace", "fsync"])
def test_a_killed_writer_leaves_nothing_that_counts(store: Any, when: str) -> None:
    program = (
        "import io,os,sys; from pathlib import Path\n"
        "from reconciler.storage.store import Store; from tests.fakes import make_release\n"
        f"os.{when} = lambda *_: os.kill(os.getpid(), 9)\n"
        "release, store = make_release('rules', '1', {'a': b'one'}), Store(Path(sys.argv[1]))\n"
        "store.put(release.files[0], io.BytesIO(b'one'))\n"
        "store.add(release)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(store.root)], cwd=ROOT, check=False, capture_output=True)
    assert store.inspect().releases == ()
    if when == "fsync":  # what it didn't say that it holds is there, and verified
        assert len(content_files(store)) == 1
        return
    assert content_files(store) == []
    (left,) = (store.root / "tmp").iterdir()
    os.utime(left, (0, 0))
    put_all(store, make_release("rules", "1", {"a": b"one"}), {"a": b"one"})
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", place], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        store = Store(place / "store")
        data = os.urandom(1_000_000)
        release = make_release("rules", "1", {"a": data})
        with pytest.raises(StoreError, match="No space left"):
            store.put(release.files[0], io.BytesIO(data))
        assert content_files(store) == []
        put_all(store, make_release("rules", "2", {"a": b"small"}), {"a": b"small"})
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_what_a_release_says_that_it_holds_is_on_the_disk_before_it_says_so(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    sync = os.fsync

    def note(number: int) -> None:
        sync(number)
        synced.append(Path(f"/proc/self/fd/{number}").readlink())

    monkeypatch.setattr(os, "fsync", note)
    files = {f"{at}.rules": bytes([at]) * 10 for at in range(40)}
    put_all(store, make_release("rules", "1", files), files)
    content = content_files(store)
    folders = {path.parent for path in content}
    first, then, last = len(content), len(content) + len(folders), synced[len(content) + len(folders) :]
    assert set(synced[:first]) == set(content)
    assert set(synced[first:then]) == folders
    assert [path.relative_to(store.root).parts[0] for path in last] == ["tmp", "releases"]


def test_a_disk_that_fails_while_content_is_brought_to_it_is_told_and_nothing_is_held(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"a": b"one", "b": b"two", "c": b"three"}
    release = make_release("rules", "1", files)
    for file in release.files:
        store.put(file, io.BytesIO(files[file.name]))

    def broken(_number: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(StoreError, match="Input/output error"):
            store.add(release)
    assert store.inspect().releases == ()
    store.add(release)
    assert store.inspect().releases == (release,)


def test_releases_for_two_platforms_stand_side_by_side(store: Any) -> None:
    files = {"a": b"one"}
    for platform in ("any", "linux-x86_64"):
        put_all(store, make_release("rules", "1", files, platform), files)
    assert {release.platform for release in store.inspect().releases} == {"any", "linux-x86_64"}
    assert isinstance(store.inspect().releases[0], Release)


# --- incrementals ---------------------------------------------------------------------------------------------------


def incremental(store: Any, before: str = "1", to: str = "2", content: bytes = b"patch", **more: Any) -> Any:
    """Put an incremental into a store."""
    described = describe("a", content)
    patch = Patch("a", described.size, described.sha256, "zstd", "a", 3)
    store.put(patch, io.BytesIO(content))
    entry = Incremental(
        component="rules",
        platform="any",
        from_version=before,
        from_digest="1" * 64,
        to_version=to,
        to_digest="2" * 64,
        codec="zstd",
        patches=(patch,),
        kept=(Kept("b", "b"),),
        **more,
    )
    store.add_incremental(entry)
    return entry


def test_an_incremental_is_held_as_it_was_added_and_goes_with_its_content(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    entry = incremental(store)
    assert store.inspect().incrementals == (entry,)
    assert store.inspect(verify=True).incrementals == (entry,)
    assert store.has(entry.patches[0])
    store.remove_incremental(entry)
    assert store.inspect().incrementals == ()
    assert not store.has(entry.patches[0])


def test_content_that_another_incremental_has_too_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = incremental(store), incremental(store, before="0")
    store.remove_incremental(first)
    assert store.inspect(verify=True).incrementals == (second,)


def test_why_an_incremental_was_given_up_is_remembered(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.add_incremental(
        Incremental(
            component="rules",
            platform="any",
            from_version="1",
            from_digest="1" * 64,
            to_version="2",
            to_digest="2" * 64,
            codec="zstd",
            refused="delta not smaller",
        )
    )
    assert [entry.refused for entry in store.inspect().incrementals] == ["delta not smaller"]


@pytest.mark.parametrize("how", ["gone", "changed", "cut short"])
def test_an_incremental_that_lost_its_content_is_not_offered_and_is_no_problem(tmp_path: Path, how: str) -> None:
    store = Store(tmp_path / "store")
    entry = incremental(store)
    with store.local(entry.patches[0].sha256) as path:
        pass
    path.chmod(0o644)
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(b"patcH" if how == "changed" else b"pa")
    seen = store.inspect(verify=True)
    assert (seen.incrementals, seen.problems, seen.broken) == ((), (), (entry,))


def test_an_incremental_without_its_patches_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    patch = Patch("a", 3, "0" * 64, "zstd", "a", 3)
    with pytest.raises(StoreError, match="lacks the patch of 'a'"):
        store.add_incremental(
            Incremental(
                component="rules",
                platform="any",
                from_version="1",
                from_digest="1" * 64,
                to_version="2",
                to_digest="2" * 64,
                codec="zstd",
                patches=(patch,),
            )
        )


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_no_bytes_in_place_of_an_incremental_break_the_store(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path / "store")
    incremental(store)
    (path,) = (tmp_path / "store/incrementals").rglob("*.json")
    path.chmod(0o644)
    path.write_bytes(content)
    assert store.inspect().incrementals == ()


class Breaks:
    """A stream that gives some bytes, and breaks then."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def read(self, size: Any) -> Any:
        if not self._content:
            raise TransportError("the connection broke")
        part, self._content = self._content[:size], self._content[size:]
        return part

    def seekable(self) -> Any:
        return False


def test_of_a_large_file_what_came_stays_and_of_a_small_one_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    large, small = b"x" * (PART_MIN + 1), b"x" * (PART_MIN - 1)
    for content in (small, large):
        with pytest.raises(TransportError):
            store.put(describe("a", content + b"more"), Breaks(content))  # type: ignore[arg-type]
    assert [path.stat().st_size for path in (tmp_path / "tmp").iterdir()] == [len(large)]
    whole = describe("a", large + b"more")
    assert store.put(whole, io.BytesIO(large + b"more")) == len(large) + 4
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_stream_that_cannot_be_sought_in_begins_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    content = b"y" * (2 * PART_MIN)
    (tmp_path / "tmp").mkdir()
    (tmp_path / f"tmp/{describe('a', content).sha256}.part").write_bytes(b"?" * PART_MIN)

    class Once(io.BytesIO):
        def seekable(self) -> Any:
            return False

    assert store.put(describe("a", content), Once(content)) == len(content)


def test_two_processes_that_take_one_file_at_the_same_moment_spoil_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Store(tmp_path), Store(tmp_path)
    content = b"z" * (2 * PART_MIN)
    file = describe("a", content)
    known = fcntl.flock

    def late(handle: Any, how: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", known)
        one.put(file, io.BytesIO(content))  # the other is done between our opening the part and our lock on it
        known(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(TransportError):
        two.put(file, Breaks(content[:PART_MIN]))  # type: ignore[arg-type]
    with one.open(file.sha256) as stream:
        assert stream.read() == content


def test_files_arrive_though_somebody_removes_the_folder_in_which_they_are_on_their_way(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for content in (b"one", b"two"):
        file = describe("a", content)
        store.put(file, io.BytesIO(content))
        with store.open(file.sha256) as stream:
            assert stream.read() == content
        (tmp_path / "tmp").rmdir()


def test_a_small_file_that_cannot_get_its_name_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file = describe("a", b"one")
    (tmp_path / "content" / file.sha256[:2] / file.sha256).mkdir(parents=True)
    with pytest.raises(StoreError):
        store.put(file, io.BytesIO(b"one"))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_processes_that_were_forked_from_one_write_no_file_of_each_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(describe("a", b"first"), io.BytesIO(b"first"))
    files = {content: describe("a", content) for content in (b"one", b"two", b"three")}
    names: list[str] = []
    replace = Path.replace

    def noted(path: Path, target: Any) -> Any:
        names.append(path.name)
        return replace(path, target)

    reader, writer = os.pipe()
    for content, file in files.items():
        child = os.fork()
        if not child:  # pragma: no cover - it is another process
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Path, "replace", noted)
                store.put(file, io.BytesIO(content))
            os.write(writer, f"{names[0]}\n".encode())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    os.close(writer)
    with os.fdopen(reader) as said:
        assert len(set(said.read().splitlines())) == len(files)
