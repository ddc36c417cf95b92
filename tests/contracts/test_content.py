"""What every place of content promises, and what is made of it whatever the place does."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pytest

from reconciler.content import places
from reconciler.content.contents import CachedContents
from reconciler.contracts import ContentPlace, WritablePlace
from reconciler.errors import DamagedError, NoContentError, StoreError
from reconciler.model.secret import SecretRef
from reconciler.plugins.content import folder, http, s3
from reconciler.web import stream
from tests.bucket import bucket_server
from tests.fakes import fake_context, make_plugin
from tests.servers import Wire, nginx
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from pathlib import Path

BIG = hashlib.shake_128(b"big").digest(5_300_000)
SMALL = b"alert tcp any any\n"
ABSENT = hashlib.sha256(b"absent").hexdigest()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Site:
    """A place, and a way to have content lie there, also such that isn't what its name says."""

    place: Any
    lay: Callable[[str, bytes], None]


def a_folder(path: Path, stack: ExitStack) -> Site:
    del stack
    (path / "share").mkdir()
    place = make_plugin(folder, {"path": "share"}, fake_context(path))
    return Site(place, lambda sha256, content: _lay(path / "share", sha256, content))


def an_http(path: Path, stack: ExitStack) -> Site:
    url = stack.enter_context(nginx(path / "nginx", path / "www"))
    place = make_plugin(http, {"url": url}, fake_context(path))
    return Site(place, lambda sha256, content: _lay(path / "www", sha256, content))


def _lay(root: Path, sha256: str, content: bytes) -> None:
    target = root / "content" / sha256[:2] / sha256
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def an_s3(path: Path, stack: ExitStack) -> Site:
    url = stack.enter_context(bucket_server(path / "moto", "updoser"))
    options = {"bucket": "updoser", "prefix": "some/place", "endpoint": url, **KEYS}
    place = make_plugin(s3, options, fake_context(path, now=datetime.now(UTC), secrets=SECRETS))

    def lay(sha256: str, content: bytes) -> None:
        (path / "laid").write_bytes(content)
        place.put(sha256, path / "laid")

    return Site(place, lay)


KEYS = {"access_key": SecretRef("env", "ID"), "secret_key": SecretRef("env", "KEY")}
SECRETS = {"ID": "the-id-of-it", "KEY": "the+key/of-it"}
READABLE = {"folder": a_folder, "http": an_http, "s3": an_s3}
WRITABLE = ["folder", "s3"]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stream, places):
        monkeypatch.setattr(module, "PAUSE", 0.01)
        monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)


@pytest.fixture(params=["folder", "s3", pytest.param("http", marks=pytest.mark.needs("nginx"))])
def site(request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack) -> Site:
    return READABLE[request.param](tmp_path, stack)


@pytest.fixture(params=WRITABLE)
def writable(request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack) -> WritablePlace:
    return cast("WritablePlace", READABLE[request.param](tmp_path, stack).place)


def cached(tmp_path: Path, *found: ContentPlace, limit: int = 2**30) -> CachedContents:
    return CachedContents.at(tmp_path / "cache", limit, found)


class Cutting:
    """A place whose streams break after some bytes, each time; what was opened from which byte on is written down."""

    def __init__(self, place: ContentPlace, after: int) -> None:
        self._place = place
        self._after = after
        self.opened: list[int] = []

    def size(self, sha256: str) -> int | None:
        return self._place.size(sha256)

    @contextmanager
    def open(self, sha256: str, start: int = 0) -> Iterator[BinaryIO]:
        self.opened.append(start)
        with self._place.open(sha256, start) as file:
            yield cast("BinaryIO", _Cut(file, self._after))


class _Cut:
    def __init__(self, file: BinaryIO, after: int) -> None:
        self._file = file
        self._left = after

    def read(self, size: int) -> bytes:
        if not self._left:
            raise StoreError("the line broke")
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


# --- places -----------------------------------------------------------------------------------------------------------


def test_content_is_read_from_its_start_or_from_any_byte_on(site: Site) -> None:
    site.lay(digest(BIG), BIG)
    site.lay(digest(b""), b"")
    assert isinstance(site.place, ContentPlace)
    assert (site.place.size(digest(BIG)), site.place.size(digest(b""))) == (len(BIG), 0)
    for start in (0, 1, len(BIG) - 1):
        with site.place.open(digest(BIG), start) as file:
            assert b"".join(iter(lambda: file.read(2**16), b"")) == BIG[start:]


def test_what_is_not_there_is_told_from_what_cannot_be_had(site: Site) -> None:
    site.lay(digest(SMALL), SMALL)
    assert site.place.size(ABSENT) is None
    with pytest.raises(NoContentError), site.place.open(ABSENT) as file:
        file.read(1)


def test_only_a_digest_names_content(site: Site) -> None:
    site.lay(digest(SMALL), SMALL)
    for name in ("../../../etc/passwd", "", "a" * 63, digest(SMALL).upper(), f"{digest(SMALL)}\n"):
        with pytest.raises(StoreError, match="is no SHA-256"):
            site.place.size(name)
        with pytest.raises(StoreError, match="is no SHA-256"), site.place.open(name) as file:
            file.read(1)


def test_what_is_brought_to_a_place_is_listed_read_and_removed(writable: WritablePlace, tmp_path: Path) -> None:
    assert isinstance(writable, WritablePlace)
    for content in (BIG, SMALL, b""):
        (tmp_path / "file").write_bytes(content)
        writable.put(digest(content), tmp_path / "file")
        writable.put(digest(content), tmp_path / "file")  # once more is as once
    found = {entry.sha256: entry.size for entry in writable.entries()}
    assert found == {digest(content): len(content) for content in (BIG, SMALL, b"")}
    with writable.open(digest(BIG)) as file:
        assert b"".join(iter(lambda: file.read(2**16), b"")) == BIG
    for _again in range(2):
        writable.delete(digest(BIG))
    assert writable.size(digest(BIG)) is None
    assert {entry.sha256 for entry in writable.entries()} == {digest(SMALL), digest(b"")}


def test_damaged_content_is_written_over(writable: WritablePlace, tmp_path: Path) -> None:
    for content in (b"other bytes", SMALL):
        (tmp_path / "file").write_bytes(content)
        writable.put(digest(SMALL), tmp_path / "file")
    assert cached(tmp_path, writable).bring(digest(SMALL)).read_bytes() == SMALL


def test_who_uses_a_place_is_known_to_all_who_do(writable: WritablePlace) -> None:
    assert set(writable.users()) == set()
    for user in ("a1", "b2", "a1"):
        writable.join(user)
    assert set(writable.users()) == {"a1", "b2"}
    assert list(writable.entries()) == []


def test_a_place_that_has_nothing_yet_lists_nothing(writable: WritablePlace) -> None:
    assert list(writable.entries()) == []
    assert writable.size(digest(SMALL)) is None
    writable.delete(digest(SMALL))


# --- what is made of them ---------------------------------------------------------------------------------------------


def test_content_that_breaks_off_is_read_on_from_there(site: Site, tmp_path: Path) -> None:
    site.lay(digest(BIG), BIG)
    place = Cutting(site.place, 2_000_000)
    with cached(tmp_path, place).open(digest(BIG), len(BIG)) as file:
        assert file.read() == BIG
    assert place.opened == [0, 2_000_000, 4_000_000]


def test_wrong_bytes_are_given_to_nobody_and_not_kept(site: Site, tmp_path: Path) -> None:
    for wrong in (BIG[:-1] + b"?", BIG + b"more", BIG[:-1], b""):
        site.lay(digest(BIG), wrong)
        contents = cached(tmp_path, site.place)
        for size in (len(BIG), None):
            with pytest.raises(StoreError), contents.open(digest(BIG), size):
                pytest.fail("something was given")
    assert not list((tmp_path / "cache/content").rglob("*/*"))
    site.lay(digest(BIG), BIG)
    with cached(tmp_path, site.place).open(digest(BIG)) as file:
        assert file.read() == BIG


def test_what_one_place_has_wrong_is_taken_from_another(site: Site, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    bad = make_plugin(folder, {"path": "bad"}, fake_context(tmp_path))
    _lay(tmp_path / "bad", digest(BIG), BIG[:-1] + b"?")
    site.lay(digest(BIG), BIG)
    with cached(tmp_path, bad, site.place).open(digest(BIG), len(BIG)) as file:
        assert file.read() == BIG


def test_what_one_place_has_not_got_is_taken_from_another(site: Site, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = make_plugin(folder, {"path": "empty"}, fake_context(tmp_path))
    site.lay(digest(SMALL), SMALL)
    with cached(tmp_path, empty, site.place).open(digest(SMALL)) as file:
        assert file.read() == SMALL
    with pytest.raises(NoContentError):
        cached(tmp_path, empty, site.place).bring(ABSENT, 3)


def test_content_is_brought_once_however_many_ask_for_it(site: Site, tmp_path: Path) -> None:
    site.lay(digest(BIG), BIG)
    place = Cutting(site.place, len(BIG) + 1)
    caches = [cached(tmp_path, place) for _each in range(3)]  # as three processes have them
    read: list[bytes] = []

    def ask(contents: CachedContents) -> None:
        with contents.open(digest(BIG), len(BIG)) as file:
            read.append(file.read())

    threads = [threading.Thread(target=ask, args=(caches[each % 3],)) for each in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (place.opened, read) == ([0], [BIG] * 9)


@pytest.mark.needs("nginx")
def test_content_comes_over_a_line_that_is_cut_again_and_again(tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(tmp_path / "nginx", tmp_path / "www"))
    _lay(tmp_path / "www", digest(BIG), BIG)
    wire = Wire(int(url.rpartition(":")[2]), cut_after=1_500_000)
    place = make_plugin(http, {"url": f"http://127.0.0.1:{wire.port}"}, fake_context(tmp_path))
    with cached(tmp_path, place).open(digest(BIG), len(BIG)) as file:
        assert file.read() == BIG
    assert wire.cuts >= 3


def test_a_share_that_is_not_mounted_is_not_one_that_has_nothing(tmp_path: Path) -> None:
    place = make_plugin(folder, {"path": "share"}, fake_context(tmp_path))
    with pytest.raises(StoreError, match="isn't there"):
        place.size(ABSENT)
    with pytest.raises(StoreError, match="isn't there"):
        list(place.entries())


def test_damage_is_told_as_damage(site: Site, tmp_path: Path) -> None:
    site.lay(digest(SMALL), SMALL[:-1] + b"?")
    with pytest.raises(DamagedError, match="has the SHA-256"):
        cached(tmp_path, site.place).bring(digest(SMALL), len(SMALL))
