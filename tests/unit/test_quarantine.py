"""What sources fetch to learn what it is: kept apart, never other bytes than those that were kept, and bounded."""

from __future__ import annotations

import fcntl
import io
import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import InterruptedRunError, SourceError
from reconciler.formats.size import parse_size
from reconciler.plugins.source._fetched import quarantine as module
from reconciler.plugins.source._fetched import turn
from reconciler.plugins.source._fetched.quarantine import OverLimitError, Quarantine
from reconciler.web.stream import ChangedError
from tests.fakes import fake_context

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MAX = 10**6
BYTES = bytes(range(256)) * 4


class KilledError(BaseException):
    """The process dies here."""


class Source(io.BytesIO):
    """A stream that dies, or says that there is another file, after some bytes."""

    def __init__(self, content: bytes, *, dies_at: int | None = None, error: type[BaseException] = KilledError) -> None:
        super().__init__(content)
        self.dies_at = dies_at
        self.error = error
        self.began = 0
        self.given = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self.began = offset
        return super().seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        if self.dies_at is not None and self.tell() >= self.dies_at:
            raise self.error("it died")
        data = super().read(100)
        self.given += len(data)
        return data

    def close(self) -> None:
        """Stay open: it is looked at afterwards, and opened once more."""
        super().seek(0)


def make(folder: Path, limit: int = MAX, now: datetime = NOW) -> Quarantine:
    return Quarantine(folder / "quarantine", fake_context(folder, now=now), limit)


def fetch(here: Quarantine, key: str, stream: Source, **options: Any) -> Path:
    options = {"size": len(stream.getvalue()), "limit": MAX, **options}
    path: Path = here.fetch(key, "data", lambda: stream, **options)
    return path


def kept(here: Quarantine, key: str, content: bytes = BYTES) -> None:
    fetch(here, key, Source(content))
    here.keep(key, {"version": key})


def read(here: Quarantine, key: str) -> bytes | None:
    found = here.held(key)
    if found is None:
        return None
    with found.open("data") as stream:
        content: bytes = stream.read()
    return content


def test_what_was_proven_is_there_in_the_next_run_with_what_was_noted_of_it(tmp_path: Path) -> None:
    here = make(tmp_path)
    assert here.held("rules/7") is None
    assert here.all() == []
    path = fetch(here, "rules/7", Source(BYTES))
    assert path.read_bytes() == BYTES
    here.place("rules/7", "made.txt").write_bytes(b"made of it")
    assert here.held("rules/7") is None  # nobody has said yet that it is good
    here.keep("rules/7", {"version": "7"})
    found = make(tmp_path).held("rules/7")
    assert found is not None
    assert {name: file.size for name, file in found.files.items()} == {"data": 1024, "made.txt": 10}
    assert (found.facts, found.kept) == ({"version": "7"}, NOW)
    assert [entry.key for entry in make(tmp_path).all()] == ["rules/7"]
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "quarantine").rglob("*") if path.is_file()}
    assert modes == {0o600}


def test_a_fetch_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        fetch(make(tmp_path), "7", Source(BYTES, dies_at=500), validator='"a"')
    rest = Source(BYTES)
    assert fetch(make(tmp_path), "7", rest, validator='"a"').read_bytes() == BYTES
    assert rest.began == 500
    done = Source(BYTES)
    fetch(make(tmp_path), "7", done, validator='"a"')
    assert done.given == 0  # all of it is there: nothing is asked for


@pytest.mark.parametrize("change", [{"validator": '"b"'}, {"validator": ""}, {"size": None}])
def test_what_may_be_another_file_is_fetched_from_its_start(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(KilledError):
        fetch(make(tmp_path), "7", Source(BYTES, dies_at=500), validator='"a"')
    other = Source(BYTES[::-1])
    assert fetch(make(tmp_path), "7", other, **{"validator": '"a"', **change}).read_bytes() == BYTES[::-1]
    assert other.began == 0


def test_what_came_before_the_machine_was_started_anew_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KilledError):
        fetch(make(tmp_path), "7", Source(BYTES, dies_at=500), validator='"a"')
    monkeypatch.setattr(module, "_boot", lambda: "another")
    rest = Source(BYTES)
    fetch(make(tmp_path), "7", rest, validator='"a"')
    assert rest.began == 0


def test_a_file_that_changes_while_it_comes_is_begun_once_more(tmp_path: Path) -> None:
    streams = [Source(BYTES, dies_at=300, error=ChangedError), Source(BYTES[::-1])]
    here = make(tmp_path)
    path = here.fetch("7", "data", lambda: streams.pop(0), size=None, validator='"a"', limit=MAX)
    assert path.read_bytes() == BYTES[::-1]
    with pytest.raises(ChangedError):
        fetch(here, "8", Source(BYTES, dies_at=300, error=ChangedError), validator='"a"')


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 2 * MAX}, "has 2000000 bytes; at most 1000000 may be fetched"),
        ({"size": None, "limit": 999}, "has more than 900 bytes; at most 999 may be fetched"),
        ({"size": 999}, "it was to have 999"),
        ({"size": 1025}, "was to have 1025 bytes, and has 1024"),
    ],
)
def test_a_file_of_another_size_than_it_may_have_is_refused_and_nothing_of_it_is_left(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(SourceError, match=words):
        fetch(make(tmp_path), "7", Source(BYTES), validator='"a"', **options)
    assert not list((tmp_path / "quarantine").rglob("data"))


def test_what_is_over_the_limit_of_a_refresh_is_not_begun_where_its_size_is_known(tmp_path: Path) -> None:
    here = make(tmp_path, limit=1500)
    kept(here, "6")
    stream = Source(BYTES)
    with pytest.raises(OverLimitError) as caught:
        fetch(here, "7", stream)
    assert (caught.value.needed, stream.given) == (1024, 0)
    with here.unlimited():
        fetch(here, "7", stream)
    assert stream.given == 1024
    assert fetch(make(tmp_path, limit=1500), "8", Source(BYTES)).exists()  # the next run has its own limit


def test_a_file_of_unknown_size_ends_at_the_limit_and_is_not_begun_again_with_every_plan(tmp_path: Path) -> None:
    with pytest.raises(OverLimitError) as caught:
        fetch(make(tmp_path, limit=500), "7", Source(BYTES), size=None)
    assert caught.value.needed is None
    again = Source(BYTES)
    with pytest.raises(OverLimitError):
        fetch(make(tmp_path, limit=500), "7", again, size=None)
    assert again.given == 0
    assert fetch(make(tmp_path, limit=2000), "7", again, size=None).read_bytes() == BYTES
    here = make(tmp_path, limit=500)
    with here.unlimited():
        assert fetch(here, "7", Source(BYTES), size=None).read_bytes() == BYTES


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "files/data").unlink(),
        lambda folder: (folder / "files/data").write_bytes(b"x" + BYTES[1:]),
        lambda folder: (folder / "facts.json").write_bytes(b"{"),
        lambda folder: (folder / "facts.json").write_bytes(b'{"key": 1}'),
        lambda folder: (folder / "facts.json").write_bytes((folder / "facts.json").read_bytes().replace(b"7", b"8")),
        lambda folder: (folder / "facts.json").write_bytes(
            (folder / "facts.json").read_bytes().replace(b'"data"', b'"../files/data"')
        ),
        lambda folder: (folder / "facts.json").unlink(),
    ],
)
def test_what_is_damaged_is_not_there_and_can_be_fetched_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    here = make(tmp_path)
    kept(here, "7")
    damage(tmp_path / "quarantine/7")
    assert here.held("7") is None
    assert here.all() == []
    kept(here, "7")
    assert read(here, "7") == BYTES


def test_bytes_that_were_only_copied_elsewhere_and_back_are_still_those(tmp_path: Path) -> None:
    here = make(tmp_path)
    kept(here, "7")
    data = tmp_path / "quarantine/7/files/data"
    data.rename(tmp_path / "moved")
    data.write_bytes(BYTES)
    assert read(here, "7") == BYTES


def test_what_nobody_wants_any_more_is_swept_when_it_is_old(tmp_path: Path) -> None:
    kept(make(tmp_path), "old")
    kept(make(tmp_path), "wanted")
    kept(make(tmp_path, now=NOW + 30 * DAY), "ahead")
    with pytest.raises(KilledError):
        fetch(make(tmp_path), "begun", Source(BYTES, dies_at=500))
    kept(make(tmp_path, now=NOW + DAY), "new")
    (tmp_path / "quarantine/strange").mkdir()
    make(tmp_path, now=NOW + DAY).sweep({"wanted"}, timedelta(hours=12))
    left = sorted(path.name for path in (tmp_path / "quarantine").iterdir())
    assert left == ["lock", "new", "wanted"]
    make(tmp_path).drop("wanted")
    assert make(tmp_path).held("wanted") is None


def test_sweeping_where_nothing_was_ever_fetched_makes_nothing(tmp_path: Path) -> None:
    make(tmp_path).sweep((), DAY)
    assert not (tmp_path / "quarantine").exists()


@pytest.mark.parametrize("key", ["", ".", "..", "../../up", "a/b", "lock", "x.part", "é" * 300, "a" * 300])
def test_a_key_can_be_any_text(tmp_path: Path, key: str) -> None:
    here = make(tmp_path)
    kept(here, key)
    assert read(here, key) == BYTES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quarantine", "work"]
    assert len(here.all()) == 1
    here.sweep((), timedelta())
    assert here.held(key) is None


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "-x", "a\nb"])
def test_a_file_has_a_name_that_a_release_may_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="7 can't be fetched: "):
        make(tmp_path).fetch("7", name, lambda: Source(BYTES), size=None, limit=MAX)


def test_a_run_that_is_stopped_ends_soon_and_the_next_one_goes_on(tmp_path: Path) -> None:
    stop = Event()
    context = replace(fake_context(tmp_path), stop=stop)
    here = Quarantine(tmp_path / "quarantine", context, MAX)

    class Slow(Source):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 300:
                stop.set()
            return super().read(size)

    with pytest.raises(InterruptedRunError):
        fetch(here, "7", Slow(BYTES), validator='"a"')
    rest = Source(BYTES)
    fetch(make(tmp_path), "7", rest, validator='"a"')
    assert rest.began == 300


def test_two_processes_do_not_write_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "LOCK_WAIT", 0.1)
    here = make(tmp_path)
    kept(here, "7")
    with (tmp_path / "quarantine/lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SourceError, match="another process has been reading this source"):
            kept(here, "8")
        assert read(here, "7") == BYTES


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROOM", 2**60)
    stream = Source(BYTES)
    with pytest.raises(SourceError, match="data needs 1024 bytes, and .* has 0 free"):
        fetch(make(tmp_path), "7", stream)
    assert stream.given == 0


KEYS = st.sampled_from(["a", "b"])
CONTENTS = st.sampled_from([BYTES, BYTES[::-1], BYTES[:300], b""])
STEPS = st.one_of(
    st.tuples(st.just("fetch"), KEYS, CONTENTS, st.sampled_from(["", '"1"', '"2"']), st.sampled_from([None, 200, 500])),
    st.tuples(st.just("keep"), KEYS),
    st.tuples(st.just("drop"), KEYS),
    st.tuples(st.just("sweep"), KEYS, st.integers(0, 2)),
    st.tuples(st.just("day")),
    st.tuples(st.just("change"), KEYS, st.integers(0, 400)),
)


class Play:
    """Quarantine and what is known of it, step by step; each step is another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.kept: dict[str, bytes] = {}
        self.came: dict[str, bytes] = {}

    @property
    def here(self) -> Quarantine:
        return make(self.folder, now=self.now)

    def fetch(self, key: str, content: bytes, validator: str, dies_at: int | None) -> None:
        self.came.pop(key, None)
        validator = validator and f"{validator}{hash(content)}"  # it is of one content: that is what it says
        with suppress(KilledError):
            path = fetch(self.here, key, Source(content, dies_at=dies_at), validator=validator)
            self.came[key] = path.read_bytes()
            assert self.came[key] == content

    def keep(self, key: str) -> None:
        if key in self.came:
            self.here.keep(key, {})
            self.kept[key] = self.came.pop(key)

    def drop(self, key: str) -> None:
        self.here.drop(key)
        self.came.pop(key, None)
        self.kept.pop(key, None)

    def sweep(self, key: str, days: int) -> None:
        self.here.sweep({key}, days * DAY)
        self.came = {name: content for name, content in self.came.items() if name == key}

    def day(self) -> None:
        self.now += DAY

    def change(self, key: str, at: int) -> None:
        """Have a byte turn over, which no time of a file shows but one."""
        data = self.folder / "quarantine" / key / "files/data"
        if data.exists() and data.stat().st_size > at:
            times = data.stat()
            data.write_bytes(data.read_bytes()[:at] + b"\xfe" + data.read_bytes()[at + 1 :])
            os.utime(data, ns=(times.st_atime_ns, times.st_mtime_ns))


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=14))
def test_whatever_happens_only_what_was_kept_is_held(steps: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        play = Play(Path(name))
        for step, *arguments in steps:
            getattr(play, step)(*arguments)
            for key in ("a", "b"):
                assert read(play.here, key) in {None, play.kept.get(key)}


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 64 * 2**20), ("2GB", 2 * 10**9), ("1.5KiB", 1536), ("0B", 0), ("7 B", 7), ("1TiB", 2**40)],
)
def test_amounts_of_bytes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64", "64mb", "-1B", "1e3B", "9999999B", "1.B", "٣B"])
def test_what_is_no_amount_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)
