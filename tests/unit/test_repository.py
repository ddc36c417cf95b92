"""The repository for other sites: whole at every moment, signed by the right keys, and mended when it is damaged."""

import os
import shutil
import stat
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jsonschema import Draft202012Validator

from reconciler.errors import RepositoryError, SourceError
from reconciler.formats.index import content_path, index_document
from reconciler.model.offer import Withdrawal
from reconciler.model.secret import SecretRef
from reconciler.model.spec import RepositorySpec
from reconciler.observe.observed import Sight
from reconciler.planning import status_of
from reconciler.plugins.source import tuf
from reconciler.present.document import status_document
from reconciler.present.fields import time_text
from reconciler.present.prometheus import status_prometheus
from reconciler.repository import folder as room
from reconciler.repository.edition import _bytes
from reconciler.repository.folder import Repository
from reconciler.repository.signing import make_key, new_root, read_private, read_public, sign_root, staged, write_root
from tests.fakes import fake_context, make_component, make_plugin, make_release
from tests.unit.test_documents import schema
from tests.unit.workbench import Opened
from tests.waiting import until

NOW = datetime.now(UTC).replace(microsecond=0)
EXPIRES = {role: timedelta(days=10) for role in ("root", "targets", "snapshot", "timestamp")}


def key() -> str:
    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


ROOT_KEY, ONLINE = key(), key()
SIGNER = read_private(ONLINE, "online")


class Site:
    """A repository with a store of contents beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contents = folder / "store"
        self.contents.mkdir()
        self.repository = Repository(folder / "publish")
        root = new_root([read_private(ROOT_KEY, "root").public_key], 1, SIGNER.public_key, NOW + timedelta(days=99))
        write_root(root, self.repository.staged_root)
        sign_root(self.repository.staged_root, ROOT_KEY, "root")
        with self.repository.take_root(NOW):
            pass

    def release(self, version: str, content: Any, component: str = "rules") -> Any:
        release = make_release(component, version, {"a": content})
        (self.contents / release.files[0].sha256).write_bytes(content)
        return release

    def write(self, *releases: Any, withdrawn: Any = (), now: Any = NOW, signer: Any = SIGNER) -> None:
        components = {release.component for release in releases} | {entry.component for entry in withdrawn}
        indexes = {
            component: _bytes(
                index_document(
                    component,
                    [release for release in releases if release.component == component],
                    (),
                    [entry for entry in withdrawn if entry.component == component],
                )
            )
            for component in components
        }
        files = [file for release in releases for file in (*release.files, *release.attached)]
        self.repository.write(indexes, files, lambda sha256: nullcontext(self.contents / sha256), signer, EXPIRES, now)

    def published(self, now: Any = NOW) -> Any:
        return self.repository.published(now, EXPIRES)

    def reads(self) -> Any:
        """Read it as another server does; give the versions."""
        place = self.folder / "reader"
        place.mkdir(exist_ok=True)
        shutil.copy(self.repository.path / "metadata/1.root.json", place / "root.json")
        options = {"url": self.repository.path.as_uri(), "trusted_root": "root.json"}
        source = make_plugin(tuf, options, fake_context(place, now=NOW))
        report = source.releases({"rules": make_component("rules")})
        assert report.problems == ()
        for release in report.releases:
            for file in (*release.files, *release.attached):
                with source.open(release, file) as stream:
                    assert len(stream.read()) == file.size
        return sorted(release.version for release in report.releases)


@pytest.fixture
def site(tmp_path: Path) -> Any:
    return Site(tmp_path)


def test_a_status_and_its_metrics_say_when_the_signatures_expire(site: Any, opened: Opened) -> None:
    site.write(site.release("1", b"one"))
    bench, key = opened(), SecretRef("env", "KEY")
    bench.plan()
    of_folder = partial(RepositorySpec, publish="manual", root_keys=(key,), threshold=1, online_key=key)
    for path, expected in {
        site.folder / "publish": {"root": NOW + timedelta(days=99), "targets": NOW + timedelta(days=10)},
        site.folder / "nowhere": {},
    }.items():
        bench.spec = replace(bench.spec, repository=of_folder(path=path, expires=EXPIRES))
        with bench.work() as work:
            document = status_document(status_of(work, Sight(refresh=False)))
        Draft202012Validator(schema("status")).validate(document)
        told = document.get("repository", {"expires": {}})["expires"]
        assert {role: told[role] for role in expected} == {role: time_text(at) for role, at in expected.items()}
        metrics = status_prometheus(document)
        for role, at in expected.items():
            name = f'updoser_repository_signature_expires_timestamp_seconds{{role="{role}"}}'
            assert f"{name} {int(at.timestamp())}\n" in metrics
        assert ("updoser_repository_signature" in metrics) is bool(expected)


def test_what_is_written_is_published_and_read_by_others(site: Any) -> None:
    assert site.published().ready
    assert site.published().renew == "nothing is signed yet"
    one = site.release("1", b"one")
    site.write(one, withdrawn=[Withdrawal("engine", "9", "INC-1")])
    found = site.published()
    assert found.releases == (one,)
    assert found.withdrawn == (Withdrawal("engine", "9", "INC-1"),)
    assert found.renew == ""
    assert site.reads() == ["1"]
    assert [role.version for role in site.repository.roles()][:3] == [1, 1, 1]


def test_what_is_attached_to_a_release_goes_along_to_other_sites(site: Any) -> None:
    release = replace(site.release("1", b"one"), attached=(site.release("0", b"signature").files[0],))
    release = replace(release, attached=(replace(release.attached[0], name="a.sign"),))
    site.write(release)
    assert site.published().releases[0].attached == release.attached
    assert site.reads() == ["1"]
    (site.repository.path / content_path(release.attached[0].sha256)).unlink()
    assert "isn't as it was published" in site.published().renew


def test_whoever_reads_while_it_is_written_sees_one_state_or_the_next(site: Any) -> None:
    """Each state has one release of a length of its own; a reader finds one that is whole, whenever it comes."""
    site.write(site.release("1", b"1"))
    stop, trouble, seen = Event(), [], set()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.update(site.reads())
            except (SourceError, AssertionError, OSError) as error:
                trouble.append(error)
                return

    reader = Thread(target=read)
    reader.start()
    for number in range(2, 40):
        site.write(site.release(str(number), b"x" * number))
        if number % 10 == 0:  # however busy the machine is, the reader comes by now and then
            until(lambda number=number: trouble or str(number) in seen)  # type: ignore[misc]
    stop.set()
    reader.join()
    assert trouble == []
    assert len(seen) > 3


def test_a_web_server_can_read_all_of_it(site: Any) -> None:
    site.write(site.release("1", b"one"))
    for path in site.repository.path.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o444 == 0o444, path


def test_a_run_that_dies_leaves_what_was_published(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = site.release("1", b"one"), site.release("2", b"two")
    site.write(one)
    known = Repository._write

    def dies(self: Any, metadata: Any, name: str, signer: Any) -> None:
        if name == "timestamp.json":
            raise KeyboardInterrupt
        known(self, metadata, name, signer)

    monkeypatch.setattr(Repository, "_write", dies)
    with pytest.raises(KeyboardInterrupt):
        site.write(one, two)
    monkeypatch.undo()
    assert site.reads() == ["1"]
    site.write(one, two)
    assert site.reads() == ["1", "2"]


def test_a_disk_that_is_full_leaves_what_was_published(site: Any, small_disk: Any, tmp_path: Path) -> None:
    site.repository = Repository(small_disk / "publish")
    shutil.copytree(tmp_path / "publish", small_disk / "publish")
    one, large = site.release("1", b"one"), site.release("2", os.urandom(4 * 2**20))
    site.write(one)
    with pytest.raises(RepositoryError, match="No space left on device; nothing new is published"):
        site.write(one, large)
    assert site.reads() == ["1"]
    assert not list(site.repository.path.rglob(".new-*"))


@pytest.mark.parametrize("part", ["content", "index", "targets", "snapshot", "timestamp", "no timestamp"])
def test_what_was_damaged_is_noticed_and_mended_and_readers_go_on(site: Any, part: str) -> None:
    one = site.release("1", b"one")
    site.write(one)
    assert site.reads() == ["1"]
    folder = site.repository.path
    (index,) = folder.glob("targets/index/*")
    place = {
        "content": folder / content_path(one.files[0].sha256),
        "index": index,
        "targets": folder / "metadata/1.targets.json",
        "snapshot": folder / "metadata/1.snapshot.json",
        "timestamp": folder / "metadata/timestamp.json",
        "no timestamp": folder / "metadata/timestamp.json",
    }[part]
    place.unlink()
    if part != "no timestamp":
        place.write_text("damaged")
    assert site.published().renew
    site.write(one)
    assert site.published().renew == ""
    assert site.reads() == ["1"]


def test_signatures_that_a_clock_ahead_made_are_renewed(site: Any) -> None:
    site.write(site.release("1", b"one"))
    assert site.published(NOW - timedelta(hours=1)).renew == ""
    assert site.published(NOW - timedelta(days=4000)).renew.endswith("later than it should")


def test_signatures_are_renewed_when_half_of_their_time_is_over(site: Any) -> None:
    site.write(site.release("1", b"one"))
    assert site.published(NOW + timedelta(days=4)).renew == ""
    assert site.published(NOW + timedelta(days=6)).renew.startswith("the timestamp expires on")


def test_what_nothing_names_any_more_goes_when_it_is_old_enough(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(room.STATES_KEPT + 2):
        site.write(site.release(str(number), f"{number}".encode()))
    contents = site.repository.path / "content"
    assert sum(path.is_file() for path in contents.rglob("*")) == room.STATES_KEPT + 2
    monkeypatch.setattr(room, "AGE_KEPT", -1)
    site.write(site.release("last", b"last"))
    assert sum(path.is_file() for path in contents.rglob("*")) == room.STATES_KEPT
    assert len(list(site.repository.path.glob("metadata/*.targets.json"))) == room.STATES_KEPT
    assert site.reads() == ["last"]


def test_a_key_that_the_root_does_not_know_signs_nothing(site: Any) -> None:
    with pytest.raises(RepositoryError, match="doesn't know the online key") as caught:
        site.write(site.release("1", b"one"), signer=read_private(key(), "other"))
    assert "publish rotate" in caught.value.hint


def test_a_root_wants_the_signatures_of_the_old_keys_and_of_the_new(site: Any, tmp_path: Path) -> None:
    other = key()
    root = site.repository.root()
    replacement = new_root(
        [read_private(other, "other").public_key], 1, SIGNER.public_key, NOW + timedelta(days=99), root
    )
    place = site.repository.staged_root
    write_root(replacement, place)
    assert staged(place, root).needed == 1
    sign_root(place, other, "other", root)
    with pytest.raises(RepositoryError, match="isn't signed by enough keys"), site.repository.take_root(NOW):
        pass
    assert sign_root(place, ROOT_KEY, "root", root).needed == 0
    with site.repository.take_root(NOW) as taken:
        assert taken.version == 2


def test_a_root_whose_first_state_cannot_be_signed_waits_again_and_the_one_before_stays_in_use(site: Any) -> None:
    root, place = site.repository.root(), site.repository.staged_root
    write_root(
        new_root([read_private(ROOT_KEY, "r").public_key], 1, SIGNER.public_key, NOW + timedelta(days=9), root), place
    )
    sign_root(place, ROOT_KEY, "r", root)
    with pytest.raises(RepositoryError, match="the disk is full"), site.repository.take_root(NOW):
        raise RepositoryError("the disk is full")
    assert site.repository.root() == root
    assert staged(place, root).needed == 0
    with site.repository.take_root(NOW):
        pass
    assert site.repository.root().version == 2
    assert not place.exists()


def test_a_root_that_a_run_took_which_died_is_taken_once_more(site: Any) -> None:
    root, place = site.repository.root(), site.repository.staged_root
    write_root(
        new_root([read_private(ROOT_KEY, "r").public_key], 1, SIGNER.public_key, NOW + timedelta(days=9), root), place
    )
    sign_root(place, ROOT_KEY, "r", root)
    waiting = place.read_bytes()
    with site.repository.take_root(NOW):
        pass
    place.write_bytes(waiting)
    with site.repository.take_root(NOW) as taken:
        assert taken.version == 2
    assert not place.exists()


def test_a_root_that_was_staged_long_ago_is_not_taken(site: Any) -> None:
    root = site.repository.root()
    write_root(
        new_root([read_private(ROOT_KEY, "r").public_key], 1, SIGNER.public_key, NOW, root), site.repository.staged_root
    )
    sign_root(site.repository.staged_root, ROOT_KEY, "r", root)
    with pytest.raises(RepositoryError, match="has expired"), site.repository.take_root(NOW + timedelta(days=1)):
        pass


def test_keys_are_for_their_owner_and_never_overwritten(tmp_path: Path) -> None:
    public = make_key(tmp_path / "root-a")
    assert stat.S_IMODE((tmp_path / "root-a").stat().st_mode) == 0o600
    assert (
        read_public(public.read_text(), "x").keyid
        == read_private((tmp_path / "root-a").read_text(), "x").public_key.keyid
    )
    before = (tmp_path / "root-a").read_bytes()
    with pytest.raises(RepositoryError, match="is there already"):
        make_key(tmp_path / "root-a")
    assert (tmp_path / "root-a").read_bytes() == before
    with pytest.raises(RepositoryError, match="can't be written"):
        make_key(tmp_path / "gone/root-a")
    (tmp_path / "root-b.pub").write_text("of somebody")
    with pytest.raises(RepositoryError, match="root-b.pub is there already"):
        make_key(tmp_path / "root-b")
    assert not (tmp_path / "root-b").exists()
    assert (tmp_path / "root-b.pub").read_text() == "of somebody"


def test_what_is_no_key_or_another_kind_of_key_is_told() -> None:
    rsa = generate_private_key(65537, 2048)
    private = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for read, good, word in ((read_private, private, "private"), (read_public, public, "public")):
        with pytest.raises(RepositoryError, match="is no ed25519 key"):
            read(good, "keys.online")
        with pytest.raises(RepositoryError, match=f"is no {word} key in PEM"):
            read("hello", "keys.online")


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"signed": {"_type": "timestamp"}}'])
def test_what_is_no_root_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "root.json").write_text(content)
    with pytest.raises(RepositoryError, match="is no root of a repository"):
        sign_root(tmp_path / "root.json", ROOT_KEY, "x")
    with pytest.raises(RepositoryError, match="can't be read"):
        sign_root(tmp_path / "gone.json", ROOT_KEY, "x")


@pytest.mark.parametrize("linked", [True, False])
def test_published_content_that_rotted_is_replaced_when_the_store_has_it_again(site: Any, linked: bool) -> None:
    release = site.release("1", b"one")
    sha256 = release.files[0].sha256
    place = site.repository.path / content_path(sha256)
    site.write(release)
    if not linked:
        place.unlink()
        place.write_bytes(b"one")
    with place.open("r+b") as rotten:
        rotten.write(b"0ne")
    (site.contents / sha256).unlink()
    (site.contents / sha256).write_bytes(b"one")
    site.repository.mend(release.files, lambda sha256: nullcontext(site.contents / sha256))
    assert place.read_bytes() == b"one"
