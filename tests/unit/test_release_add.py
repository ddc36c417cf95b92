"""`updoser release add` puts a release into a folder, whole or not at all, where the `directory` source finds it."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from reconciler.authoring import releases
from reconciler.authoring.releases import add_release
from reconciler.errors import RefusedError, SourceError, UsageError
from reconciler.plugin_loader import schema_folder
from reconciler.plugins.source import directory
from reconciler.plugins.source._folder import release_yaml
from tests.fakes import describe, fake_context, make_component, make_plugin

RULES = make_component("rules", scheme="integer")


@pytest.fixture
def files(tmp_path: Path) -> Any:
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "lpt$vpn.679").write_bytes(b"pattern")
    (folder / "a b é").write_bytes(b"")
    return [folder / "lpt$vpn.679", folder / "a b é"]


@pytest.fixture
def drop(tmp_path: Path) -> Any:
    return tmp_path / "drop"


def look(drop: Any) -> Any:
    """See what the source offers, at once."""
    context = fake_context(drop.parent, now=datetime.now(UTC))
    return make_plugin(directory, {"path": "drop", "settle": "1h"}, context).releases({"rules": RULES})


def everything(drop: Any) -> Any:
    return sorted(str(path.relative_to(drop)) for path in drop.rglob("*"))


def test_what_is_added_is_offered_at_once_with_all_that_was_said_of_it(drop: Any, files: Any) -> None:
    when = datetime(2026, 11, 19, 8, tzinfo=timezone(timedelta(hours=2)))
    notes = 'Says "hello": é\n\t- \\ %'
    path = add_release("rules", "7", files, drop, platform="linux-x86_64", released=when, notes=notes)
    assert path == drop / "rules" / "7@linux-x86_64"
    report = look(drop)
    assert report.problems == ()
    (release,) = report.releases
    assert release.files == (describe("a b é", b""), describe("lpt$vpn.679", b"pattern"))
    assert (release.version, release.platform, release.notes) == ("7", "linux-x86_64", notes)
    assert release.released == when


def test_a_release_for_every_platform_stands_in_the_folder_of_its_version(drop: Any, files: Any) -> None:
    assert add_release("rules", "7", files, drop) == drop / "rules" / "7"
    names = {"SHA256SUMS", "SHA256SUMS.release", "a b é", "lpt$vpn.679", "release.yaml"}
    assert set(everything(drop)) == {"rules", "rules/7", *(f"rules/7/{name}" for name in names)}
    assert look(drop).releases[0].platform == "any"


def test_sha256sum_agrees_and_the_listing_is_what_the_digest_is_made_of(drop: Any, files: Any) -> None:
    path = add_release("rules", "7", files, drop)
    for sums in ("SHA256SUMS", "SHA256SUMS.release"):
        subprocess.run(["sha256sum", "--check", "--strict", sums], cwd=path, check=True, capture_output=True)
    listing = (path / "SHA256SUMS").read_bytes()
    assert hashlib.sha256(listing).hexdigest() == look(drop).releases[0].digest


def test_checksums_may_be_left_out(drop: Any, files: Any) -> None:
    path = add_release("rules", "7", files, drop, checksums=False)
    assert not (path / "SHA256SUMS").exists()


def test_files_are_readable_by_everyone_whatever_they_were_before(drop: Any, files: Any) -> None:
    files[0].chmod(0o600)
    path = add_release("rules", "7", files, drop)
    assert {entry.stat().st_mode & 0o777 for entry in path.iterdir()} == {0o644}
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "said", [{}, {"platform": "linux-x86_64", "notes": "a: b # c\n'", "released": datetime.now(UTC)}]
)
def test_the_release_yaml_that_is_written_is_what_the_schema_says(drop: Any, files: Any, said: Any) -> None:
    path = add_release("rules", "7", files, drop, **said)
    written = yaml.load((path / "release.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    schema = json.loads((schema_folder() / "release.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(written)
    assert written["platform"] == said.get("platform", "any")
    assert set(schema["$defs"]["release"]["properties"]) == set(release_yaml.KEYS)


def test_the_schema_describes_every_key(drop: Any) -> None:
    def undescribed(schema: Any) -> Iterator[Any]:
        for name, key in schema.get("properties", {}).items():
            yield from [] if "description" in key else [name]
            yield from undescribed(key)

    schema = json.loads((schema_folder() / "release.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert [name for part in schema["$defs"].values() for name in undescribed(part)] == []


def test_adding_the_same_again_does_nothing(drop: Any, files: Any) -> None:
    path = add_release("rules", "7", files, drop)
    before = [(entry.name, entry.stat().st_mtime_ns, entry.stat().st_ino) for entry in sorted(path.iterdir())]
    assert add_release("rules", "7", files, drop, notes="other words") == path
    after = [(entry.name, entry.stat().st_mtime_ns, entry.stat().st_ino) for entry in sorted(path.iterdir())]
    assert after == before
    assert list((drop / "rules").iterdir()) == [path]


@pytest.mark.parametrize("change", ["bytes", "more", "fewer", "link"])
def test_a_version_that_stands_there_with_other_bytes_is_never_replaced(drop: Any, files: Any, change: str) -> None:
    path = add_release("rules", "7", files[:1], drop)
    if change == "bytes":
        files[0].write_bytes(b"PATTERN")
    elif change == "more":
        files = files[::-1]
    elif change == "fewer":
        (path / "x").write_bytes(b"")
    else:
        (path / files[0].name).unlink()
        (path / files[0].name).symlink_to(files[0])
    before = everything(drop)
    with pytest.raises(RefusedError, match="is there already, with other bytes"):
        add_release("rules", "7", files[:1] if change != "more" else files, drop)
    assert everything(drop) == before


def test_somebody_who_is_quicker_is_not_replaced(drop: Any, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_and_meet(path: Any, text: str, write: Any = releases.write_text) -> None:
        write(path, text)
        shutil.rmtree(drop / "rules/7", ignore_errors=True)
        (drop / "rules/7").mkdir()
        (drop / "rules/7/theirs").write_bytes(b"")

    monkeypatch.setattr(releases, "write_text", write_and_meet)
    with pytest.raises(RefusedError, match="by somebody else meanwhile"):
        add_release("rules", "7", files, drop)
    assert everything(drop) == ["rules", "rules/7", "rules/7/theirs"]


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("is no component id", {"component": "../rules"}),
        ("is no component id", {"component": "Rules"}),
        ("is a version of no scheme", {"version": "../7"}),
        ("is a version of no scheme", {"version": "v7"}),
        ("is no platform", {"platform": "../x"}),
        ("has no time zone", {"released": datetime(2026, 1, 1)}),  # noqa: DTZ001 - the mistake that is meant
        ("control characters", {"notes": "\x1b[2J"}),
        ("control characters", {"notes": "x" * 10_001}),
        ("at least one file", {"files": []}),
    ],
)
def test_what_could_not_be_offered_is_not_added(drop: Any, files: Any, words: str, arguments: Any) -> None:
    arguments = {"component": "rules", "version": "7", "files": files, "to": drop, **arguments}
    with pytest.raises(UsageError, match=words):
        add_release(**arguments)
    assert not drop.exists()


@pytest.mark.parametrize("name", ["-x", ".x", "current", "release.yaml", "SHA256SUMS", "a\nb"])
def test_a_file_name_that_a_release_may_not_have_is_refused(drop: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UsageError):
        add_release("rules", "7", [tmp_path / name], drop)
    assert not drop.exists()


def test_two_files_of_one_name_are_refused(drop: Any, files: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another file of that name"):
        add_release("rules", "7", [files[0], tmp_path / files[0].name], drop)


def test_links_folders_special_and_missing_files_are_refused_and_nothing_is_left(
    drop: Any, files: Any, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(files[0])
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, words in {
        "link": "symbolic link",
        "folder": "no regular",
        "pipe": "no regular",
        "gone": "no such",
    }.items():
        with pytest.raises(UsageError, match=words):
            add_release("rules", "7", [files[0], tmp_path / name], drop)
        assert not drop.exists()


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(files: Any, tmp_path: Path) -> None:
    (tmp_path / "drop").write_bytes(b"")
    with pytest.raises(SourceError, match="drop/rules/7 can't be written"):
        add_release("rules", "7", files, tmp_path / "drop")


def test_a_write_that_fails_leaves_nothing_behind(drop: Any, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Any, _text: Any) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(releases, "write_text", full)
    with pytest.raises(SourceError, match="no space left on device"):
        add_release("rules", "7", files, drop)
    assert not drop.exists()


def test_a_file_that_changes_while_it_is_copied_is_refused(
    drop: Any, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat = os.fstat

    def fstat_of_a_growing_file(descriptor: Any) -> Any:
        status = fstat(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").resolve() == files[0]:
            with files[0].open("ab") as stream:
                stream.write(b"!")
        return status

    monkeypatch.setattr(releases.os, "fstat", fstat_of_a_growing_file)  # type: ignore[attr-defined]
    with pytest.raises(SourceError, match="changed while it was copied"):
        add_release("rules", "7", files, drop)
    monkeypatch.undo()
    assert not drop.exists()
