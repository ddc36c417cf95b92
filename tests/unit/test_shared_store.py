"""A store whose content several machines share: one has what another brought, and nothing goes that somebody needs."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.content import shared
from reconciler.errors import StoreError
from reconciler.model.delta import Incremental, Kept, Patch
from reconciler.plugins.content import folder
from reconciler.storage.sharing import shared_store
from reconciler.storage.state import State
from reconciler.storage.store import Store
from tests.fakes import NOW, describe, fake_context, make_plugin, make_release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.contracts import ContentPlace

GRACE = timedelta(days=2)
FILES = {"all.rules": b"alert" * 200, "b": b""}


class Site:
    """One state and one place, used by stores of several servers; the clock is set."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.now = NOW
        self.state = State.open(url, clock=lambda: self.now)
        (path / "share").mkdir()
        self.place: Any = make_plugin(folder, {"path": "share"}, fake_context(path))

    def store(self, name: str, *, cache: int = 2**30, place: ContentPlace | None = None) -> Store:
        found = place or self.place
        return shared_store(self.path / name, self.state, lambda: found, cache=cache, grace=GRACE)

    def there(self) -> set[str]:
        return {entry.sha256 for entry in self.place.entries()}


@pytest.fixture
def site(tmp_path: Path, state_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(shared, "FRESH", 0.0)
    made = Site(tmp_path, state_url)
    yield made
    made.state.close()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def add(store: Store, version: str, files: dict[str, bytes], **more: Any) -> Any:
    release = make_release("rules", version, files, **more)
    for file in store.lacking(release):
        store.put(file, io.BytesIO(files[file.name]))
    store.add(release)
    return release


def read(store: Store, content: bytes) -> bytes:
    with store.open(digest(content)) as file:
        return file.read()


def test_what_one_server_brought_another_has(site: Site) -> None:
    one, other = site.store("one"), site.store("other")
    release = add(one, "1", FILES, notes="first")
    (held,) = other.inspect().releases
    assert (held, held.notes) == (release, "first")
    assert other.lacking(release) == ()
    assert other.has_content(digest(FILES["all.rules"]))
    assert not other.has_content(digest(b"something else"))
    assert read(other, FILES["all.rules"]) == FILES["all.rules"]
    with other.local(digest(FILES["b"])) as path:
        assert path.read_bytes() == b""
    assert not (site.path / "one/releases").exists()


def test_what_another_server_brought_a_moment_ago_is_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "FRESH", 1000.0)
    monkeypatch.setattr(shared, "JUST_NOW", 0.0)
    one, other = site.store("one"), site.store("other")
    assert other.inspect().releases == ()
    release = add(one, "1", FILES)
    assert other.inspect().releases == (release,)
    assert (other.inspect().problems, other.lacking(release)) == ((), ())


def test_an_incremental_of_one_server_is_one_of_another(site: Site) -> None:
    one, other = site.store("one"), site.store("other")
    before, after = add(one, "1", FILES), add(one, "2", {**FILES, "b": b"new"})
    patch = Patch("b", 5, digest(b"patch"), "zstd", "b", 3)
    entry = Incremental(
        component="rules",
        platform="any",
        from_version="1",
        from_digest=before.digest,
        to_version="2",
        to_digest=after.digest,
        codec="zstd",
        patches=(patch,),
        kept=(Kept("all.rules", "all.rules"),),
    )
    with pytest.raises(StoreError, match="lacks the patch of 'b'"):
        one.add_incremental(entry)
    one.put(patch, io.BytesIO(b"patch"))
    one.add_incremental(entry)
    assert other.inspect().incrementals == (entry,)
    assert other.has(patch)
    other.remove_incremental(entry)
    assert one.inspect().incrementals == ()


def test_a_version_is_not_held_with_other_bytes_by_another_server(site: Site) -> None:
    add(site.store("one"), "1", FILES)
    with pytest.raises(StoreError, match="is held with other bytes"):
        add(site.store("other"), "1", {"all.rules": b"others"})


def test_a_small_cache_lets_go_of_nothing_but_what_can_be_had_again(site: Site) -> None:
    store = site.store("one", cache=3000)
    files = {str(number): bytes([number]) * 1000 for number in range(6)}
    add(store, "1", files)
    here = sum(path.stat().st_size for path in (site.path / "one/content").glob("*/*"))
    assert here <= 3000
    for content in files.values():
        assert read(store, content) == content
    assert store.inspect(verify=True).problems == ()
    missing = digest(files["3"])
    (site.path / "share/content" / missing[:2] / missing).unlink()
    read(store, files["0"])
    with store.pinned([]):
        assert site.store("other").inspect().releases == ()


def test_damage_is_told_to_all_and_ends_when_somebody_brings_it_again(site: Site) -> None:
    one, other = site.store("one"), site.store("other")
    release = add(one, "1", FILES)
    rotten = digest(FILES["all.rules"])
    (site.path / "share/content" / rotten[:2] / rotten).write_bytes(b"other" * 200)
    with pytest.raises(StoreError, match="has the SHA-256"):
        read(other, FILES["all.rules"])
    assert "is damaged where the content is" in other.inspect().problems[0]
    third = site.store("third")
    assert third.inspect().releases == ()
    assert [file.name for file in third.lacking(release)] == ["all.rules"]
    add(third, "1", FILES)
    assert site.store("fourth").inspect().releases == (release,)
    assert read(other, FILES["all.rules"]) == FILES["all.rules"]


def test_a_verifying_look_reads_all_that_is_elsewhere(site: Site) -> None:
    add(site.store("one"), "1", FILES)
    other = site.store("other")
    assert other.inspect(verify=True).problems == ()
    rotten = digest(FILES["all.rules"])
    place = site.path / "share/content" / rotten[:2] / rotten
    place.write_bytes(b"other" * 200)
    assert other.inspect().problems == ()
    assert "has other bytes than its name says" in other.inspect(verify=True).problems[0]
    assert "is damaged" in site.store("third").inspect().problems[0]
    place.write_bytes(FILES["all.rules"])
    assert other.inspect(verify=True).problems == ()
    other.inspect()
    assert site.store("fourth").inspect().problems == ()


def test_what_nobody_needs_goes_after_its_time_and_not_before(site: Site) -> None:
    one = site.store("one")
    first, second = add(one, "1", FILES), add(one, "2", {**FILES, "b": b"new"})
    one.remove(first)
    assert one.sweep() == ""
    assert digest(FILES["b"]) in site.there()
    site.now += GRACE - timedelta(seconds=1)
    one.sweep()
    assert digest(FILES["b"]) in site.there()
    site.now += timedelta(seconds=1)
    assert site.store("other").sweep() == ""
    assert site.there() == {file.sha256 for file in second.files}


def test_what_is_needed_again_stays(site: Site) -> None:
    one, other = site.store("one"), site.store("other")
    one.remove(add(one, "1", FILES))
    site.now += GRACE * 2
    add(other, "7", FILES)  # the same bytes under another version, by another server
    assert one.sweep() == ""
    assert site.there() == {digest(content) for content in FILES.values()}
    assert read(one, FILES["all.rules"]) == FILES["all.rules"]


def test_content_that_others_may_need_is_never_removed(site: Site) -> None:
    one = site.store("one")
    one.remove(add(one, "1", FILES))
    site.place.join("somebodyelse")
    site.now += GRACE
    assert "others use the place, too (somebodyelse)" in one.sweep()
    assert len(site.there()) == 2


def test_content_that_vanished_before_a_release_is_held_is_brought_again(site: Site) -> None:
    one, other = site.store("one"), site.store("other")
    release = make_release("rules", "1", FILES)
    for file in other.lacking(release):
        other.put(file, io.BytesIO(FILES[file.name]))
    assert one.lacking(release) == ()  # it is there by now
    for file in release.files:
        site.place.delete(file.sha256)
    with pytest.raises(StoreError):
        one.add(release)
    for file in one.lacking(release):
        one.put(file, io.BytesIO(FILES[file.name]))
    one.add(release)
    assert read(site.store("third"), FILES["all.rules"]) == FILES["all.rules"]


def test_what_a_store_held_before_its_content_was_shared_moves_in(site: Site) -> None:
    release = add(Store(site.path / "one"), "1", FILES)
    one, other = site.store("one"), site.store("other")
    assert one.inspect().releases == (release,)
    assert other.inspect().releases == ()
    assert read(one, FILES["all.rules"]) == FILES["all.rules"]
    assert (one.move_in(), one.move_in()) == (1, 0)
    assert site.store("one").inspect().releases == other.inspect().releases == (release,)
    assert read(other, FILES["all.rules"]) == FILES["all.rules"]
    assert not list((site.path / "one/releases").rglob("*.json"))


def test_a_place_that_cannot_be_asked_is_not_one_that_has_nothing(site: Site) -> None:
    one = site.store("one")
    add(one, "1", FILES)
    (site.path / "share").rename(site.path / "away")
    with pytest.raises(StoreError, match="isn't there"):
        site.store("one").inspect()
    with pytest.raises(StoreError, match="isn't there"):
        one.put(describe("x", b"x"), io.BytesIO(b"x"))


def test_a_place_that_may_not_be_connected_to_is_believed(site: Site) -> None:
    release = add(site.store("one"), "1", FILES)
    confined = shared_store(site.path / "two", site.state, lambda: None, cache=1000, grace=GRACE)
    assert confined.inspect().releases == (release,)


class ReadOnly:
    """A place that can only be read."""

    def __init__(self, place: Any) -> None:
        self.size = place.size
        self.open = place.open


def test_a_place_that_can_only_be_read_completes_what_is_here(site: Site) -> None:
    add(site.store("one"), "1", FILES)
    other = site.store("other", place=ReadOnly(site.place), cache=100)
    assert [release.version for release in other.inspect().releases] == ["1"]
    assert read(other, FILES["all.rules"]) == FILES["all.rules"]
    own = {"all.rules": b"own" * 500}
    release = add(other, "2", own)
    assert digest(own["all.rules"]) not in site.there()
    read(other, FILES["all.rules"])  # more than the cache has room for
    again = site.store("other", place=ReadOnly(site.place), cache=100)
    assert read(again, own["all.rules"]) == own["all.rules"]
    again.remove(release)
    assert not again.has_content(digest(own["all.rules"]))
