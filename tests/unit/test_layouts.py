"""Layouts of other programs: what lies where, and in which order."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import RepositoryError
from reconciler.formats.minisign import (
    disagreement,
    new_secret_key,
    prehash,
    read_signature,
    verify,
)
from reconciler.model.secret import SecretRef
from reconciler.plugins.layout import clamav, tree
from reconciler.plugins.source import directory
from reconciler.repository.mirror import MirrorFolder
from tests.clam_files import database
from tests.fakes import describe, fake_context, make_component, make_plugin
from tests.unit.test_mirror_folder import Shelf

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
KEY = new_secret_key()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def layout(module: Any, folder: Path, **options: Any) -> Any:
    return make_plugin(module, options, fake_context(folder, secrets={"KEY": KEY.text}))


def publish(module: Any, folder: Path, shelf: Shelf, *releases: Any, others: Any = (), **options: Any) -> Path:
    mirror = MirrorFolder(folder / "m")
    placed = layout(module, folder, **options).place(releases, others, mirror.there())
    mirror.write(placed, releases, shelf.open, NOW)
    assert mirror.differs(layout(module, folder, **options).place(releases, others, mirror.there())) == ""
    return mirror.path


def names(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


# --- ClamAV -----------------------------------------------------------------------------------------------------------


def daily(shelf: Shelf, version: int, form: str = "cvd", flevel: int = 90) -> Any:
    number = [f"daily-{version}.cdiff", f"daily-{version}.cdiff.sign", f"daily-{version}.cvd.sign"]
    files = {f"daily.{form}": database(version, flevel=flevel)}
    return shelf.release("daily", str(version), files, {name: name.encode() for name in number})


def test_freshclam_finds_databases_signatures_increments_and_the_versions_of_all(tmp_path: Path, shelf: Shelf) -> None:
    main = shelf.release("main", "62", {"main-62.cld": database(62, flevel=91)})
    rules = shelf.release("rules", "7", {"own.ndb": b"x", "own.hdb": b"y"})
    path = publish(clamav, tmp_path, shelf, daily(shelf, 27001), main, rules, engine="1.4.3")
    assert names(path) == [
        *("daily-27001.cdiff", "daily-27001.cdiff.sign", "daily-27001.cvd.sign", "daily.cvd", "dns.txt"),
        *("main.cld", "own.hdb", "own.ndb"),
    ]
    assert (path / "dns.txt").read_text() == "1.4.3:62:27001:1795953600:0:91:0:0\n"


def test_increments_stay_as_far_back_as_they_are_wanted_and_old_signatures_go(tmp_path: Path, shelf: Shelf) -> None:
    for version in range(1, 5):
        path = publish(clamav, tmp_path, shelf, daily(shelf, version), cdiffs=3)
    found = names(path)
    assert [name for name in found if name.endswith(".cdiff")] == ["daily-2.cdiff", "daily-3.cdiff", "daily-4.cdiff"]
    assert [name for name in found if name.endswith(".cvd.sign")] == ["daily-4.cvd.sign"]


def test_increments_of_versions_that_were_never_published_are_passed_on_and_those_ahead_are_not(
    tmp_path: Path, shelf: Shelf
) -> None:
    others = [daily(shelf, 1), daily(shelf, 3)]
    path = publish(clamav, tmp_path, shelf, daily(shelf, 2), others=others)
    assert [name for name in names(path) if name.endswith(".cdiff")] == ["daily-1.cdiff", "daily-2.cdiff"]


def test_a_database_in_another_form_takes_the_place_of_the_former_and_of_its_signature(
    tmp_path: Path, shelf: Shelf
) -> None:
    publish(clamav, tmp_path, shelf, daily(shelf, 1))
    path = publish(clamav, tmp_path, shelf, daily(shelf, 2, "cld"))
    assert [name for name in names(path) if "cdiff" not in name] == ["daily.cld", "dns.txt"]


def test_two_releases_with_one_database_are_refused_by_name(tmp_path: Path, shelf: Shelf) -> None:
    other = shelf.release("daily-cld", "1", {"daily.cld": database(1)})
    with pytest.raises(RepositoryError, match=r"daily 2 and daily-cld 1 both have daily"):
        publish(clamav, tmp_path, shelf, daily(shelf, 2), other)


def test_a_database_that_is_none_is_not_announced(tmp_path: Path, shelf: Shelf) -> None:
    odd = shelf.release("daily", "1", {"daily.cvd": b"<html>"})
    with pytest.raises(RepositoryError, match=r"daily\.cvd is no database of ClamAV"):
        publish(clamav, tmp_path, shelf, odd)
    assert not (tmp_path / "m/dns.txt").exists()


@pytest.mark.parametrize(
    ("files", "platform", "says"),
    [
        ({"a.rules": b""}, "any", "a.rules is no file that ClamAV loads"),
        ({"dns.txt": b""}, "any", "dns.txt is no file that ClamAV loads"),
        ({"daily.cvd": b""}, "linux-x86_64", "knows no platforms"),
        ({"daily.cvd": b"", "x.ign2": b"", "a.yara": b""}, "any", ""),
    ],
)
def test_what_freshclam_cannot_have_is_refused(
    tmp_path: Path, shelf: Shelf, files: Any, platform: str, says: str
) -> None:
    refusal = layout(clamav, tmp_path).refusal(shelf.release("x", "1", files, platform=platform))
    assert says in refusal
    assert bool(refusal) == bool(says)


# --- a folder of versions ---------------------------------------------------------------------------------------------


def test_what_is_published_is_read_as_it_was_by_the_source_of_folders(tmp_path: Path, shelf: Shelf) -> None:
    one = shelf.release("rules", "1", {"a": b"1", "lpt$vpn.679": b"x"}, {"a.sign": b"s", "b.cdiff": b"c"})
    two = shelf.release("rules", "2", {"a": b"2"}, platform="linux-x86_64")
    two = replace(two, released=NOW, notes='"new": yes\nand # more')
    path = publish(tree, tmp_path, shelf, one, two, minisign=SecretRef("env", "KEY"))
    source = make_plugin(directory, {"path": str(path), "complete_when": "SHA256SUMS"}, fake_context(tmp_path))
    report = source.releases({"rules": make_component("rules")})
    assert (report.problems, report.others) == ((), ())
    assert [(entry, entry.attached, entry.released, entry.notes) for entry in report.releases] == [
        (entry, entry.attached, entry.released, entry.notes) for entry in (one, two)
    ]
    for release in report.releases:
        for file in (*release.files, *release.attached):
            with source.open(release, file) as stream:
                assert stream.read() == shelf.contents[file.sha256]


def test_who_signed_is_known_to_the_source_of_folders_with_all_that_was_said(tmp_path: Path, shelf: Shelf) -> None:
    release = replace(shelf.release("rules", "1", {"a": b"1"}), notes="new")
    path = publish(tree, tmp_path, shelf, release, minisign=SecretRef("env", "KEY"))
    options = {"path": str(path), "verify": [{"minisign": {"key": str(path / "minisign.pub")}}]}
    source = make_plugin(directory, options, fake_context(tmp_path))
    report = source.releases({"rules": make_component("rules")})
    assert report.problems == ()
    (found,) = report.releases
    assert found.signed is not None
    assert (found.signed.scheme, found.notes) == ("minisign", "new")
    (path / "rules/1/a").write_bytes(b"2")
    (path / "rules/1/SHA256SUMS").write_text(f"{describe('a', b'2').sha256} *a\n")
    (problem,) = source.releases({"rules": make_component("rules")}).problems
    assert "rules/1" in problem


def test_sha256sum_and_signatures_agree_with_what_lies_there(tmp_path: Path, shelf: Shelf) -> None:
    release = shelf.release("rules", "1", {"a b": b"1", "c": b"2"})
    path = publish(tree, tmp_path, shelf, release, minisign=SecretRef("env", "KEY"))
    folder = path / "rules/1"
    subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)
    for name in ("a b", "c", "SHA256SUMS"):
        signature = read_signature((folder / f"{name}.minisig").read_bytes())
        verify(KEY.public, signature, prehash(iter([(folder / name).read_bytes()])))
        assert disagreement(signature.comment, name=name, version="1") == ""
        assert disagreement(signature.comment, name=name, version="2")
    assert (path / "minisign.pub").read_text() == KEY.public.text
    secret = KEY.text.splitlines()[1]
    assert not any(secret in file.read_text() for file in tmp_path.rglob("*") if file.is_file())


def test_a_key_of_another_name_signs_anew(tmp_path: Path, shelf: Shelf) -> None:
    release = shelf.release("rules", "1", {"a": b"1"})
    publish(tree, tmp_path, shelf, release, minisign=SecretRef("env", "KEY"))
    other = layout(tree, tmp_path, minisign=SecretRef("file", "other.key"))
    assert (
        MirrorFolder(tmp_path / "m").differs(other.place([release], (), ()))
        == "rules/1/SHA256SUMS.minisig is another one"
    )


def test_a_key_that_is_none_is_told_and_nothing_is_published(tmp_path: Path, shelf: Shelf) -> None:
    bad = make_plugin(tree, {"minisign": SecretRef("env", "KEY")}, fake_context(tmp_path, secrets={"KEY": "nonsense"}))
    release = shelf.release("rules", "1", {"a": b"1"})
    with pytest.raises(RepositoryError, match="minisign {env: KEY}: its secret key has 6 bytes"):
        MirrorFolder(tmp_path / "m").write(bad.place([release], (), ()), [release], shelf.open, NOW)
    assert not (tmp_path / "m/rules/versions.txt").exists()


def test_a_signature_of_the_publisher_is_passed_on_in_place_of_ours(tmp_path: Path, shelf: Shelf) -> None:
    release = shelf.release("rules", "1", {"a": b"1"}, {"a.minisig": b"theirs", "SHA256SUMS": b"theirs, too"})
    path = publish(tree, tmp_path, shelf, release, minisign=SecretRef("env", "KEY"))
    assert (path / "rules/1/a.minisig").read_bytes() == b"theirs"
    assert b"theirs" not in (path / "rules/1/SHA256SUMS").read_bytes()
    assert (path / "rules/1/SHA256SUMS.attached").read_text().endswith(" *a.minisig\n")


@pytest.mark.parametrize("files", [("SHA256SUMS", "a"), ("release.yaml",), ("a", "a.minisig")])
def test_a_release_with_a_file_where_the_layout_has_its_own_is_refused(
    tmp_path: Path, shelf: Shelf, files: Any
) -> None:
    made = layout(tree, tmp_path)
    assert "would stand where" in made.refusal(shelf.release("rules", "1", dict.fromkeys(files, b"")))
    assert made.refusal(shelf.release("rules", "1", {"x.minisig": b""})) == ""


def test_the_newest_version_is_told_in_a_file_of_its_own(tmp_path: Path, shelf: Shelf) -> None:
    releases = [shelf.release("rules", version, {"a": version.encode()}) for version in ("9", "10")]
    path = publish(tree, tmp_path, shelf, *releases)
    assert (path / "rules/versions.txt").read_text() == "9\n10\n"
    assert (path / "rules/latest").read_text() == "10\n"


def test_files_that_wait_beside_a_release_are_no_part_of_it(tmp_path: Path, shelf: Shelf) -> None:
    release = shelf.release("rules", "1", {"a": b"1"}, {"a.sign": b"s"})
    path = publish(tree, tmp_path, shelf, release)
    (path / "rules/1/a.sign").unlink()
    source = make_plugin(directory, {"path": str(path)}, fake_context(tmp_path))
    report = source.releases({"rules": make_component("rules")})
    assert report.releases == ()
    assert "SHA256SUMS.attached lists 'a.sign', which isn't there" in report.problems[0]
