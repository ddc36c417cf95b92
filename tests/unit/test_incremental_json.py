"""`incremental.json` and what lies beside it: what vendors' scripts write is read, and anything else is held back."""

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from reconciler.authoring import incrementals, releases
from reconciler.authoring.incrementals import add_incremental, add_with_incrementals
from reconciler.authoring.releases import add_release
from reconciler.errors import SourceError, UsageError
from reconciler.formats.incremental_json import parse_incremental
from reconciler.model.delta import Kept
from reconciler.plugin_loader import schema_folder
from reconciler.plugins.source import directory
from tests.fakes import CODECS, fake_context, make_component, make_plugin

RULES = make_component("rules", scheme="integer")
OLD = b"".join(b"signature %05d\n" % number for number in range(2000))
NEW = OLD + b"one more\n"
FILES = {
    "1": {"lpt.1": OLD, "same": b"s" * 600, "was": b"m" * 700},
    "2": {"lpt.2": NEW, "same": b"s" * 600, "is": b"m" * 700},
}


@pytest.fixture
def drop(tmp_path: Path) -> Any:
    for version, files in FILES.items():
        folder = tmp_path / version
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        add_release("rules", version, list(folder.iterdir()), tmp_path / "drop")
    return tmp_path / "drop"


@pytest.fixture
def made(drop: Any) -> Any:
    return add_incremental("rules", "1", "2", drop, codec="zstd")


def source(drop: Any) -> Any:
    context = fake_context(drop.parent, now=datetime.now(UTC) + timedelta(hours=1))
    return make_plugin(directory, {"path": "drop"}, context)


def look(drop: Any) -> Any:
    return source(drop).releases({"rules": RULES})


def change(folder: Path, path: Any, value: Any) -> None:
    """Change the document at a path of keys; a value of None removes the key."""
    document = json.loads((folder / "incremental.json").read_text())
    node = document
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    (folder / "incremental.json").write_text(json.dumps(document))


def test_what_is_added_is_offered_and_each_file_comes_from_where_it_should(drop: Any, made: Any) -> None:
    report = look(drop)
    assert report.problems == ()
    (entry,) = report.incrementals
    assert (entry.component, entry.name, entry.platform) == ("rules", "1..2/zstd", "any")
    assert set(entry.kept) == {Kept("same", "same"), Kept("is", "was")}
    (patch,) = entry.patches
    assert (patch.name, patch.base, patch.result) == ("lpt.2", "lpt.1", len(NEW))
    with source(drop).open_patch(entry, patch) as stream:
        content = stream.read()
    assert hashlib.sha256(content).hexdigest() == patch.sha256
    assert b"".join(CODECS["zstd"].apply(OLD, content, len(NEW))) == NEW
    assert {release.digest for release in report.releases} == {entry.from_digest, entry.to_digest}
    assert made.name == "1..2"


def test_the_document_fits_the_schema(made: Any) -> None:
    document = json.loads((made / "incremental.json").read_text())
    schema = json.loads((schema_folder() / "release.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)


def test_platforms_have_folders_of_their_own(tmp_path: Path, drop: Any) -> None:
    for version in ("1", "2"):
        files = list((tmp_path / version).iterdir())
        add_release("rules", version, files, drop, platform="linux-x86_64")
    folder = add_incremental("rules", "1", "2", drop, codec="bsdiff", platform="linux-x86_64")
    assert folder.name == "1..2@linux-x86_64"
    (entry,) = look(drop).incrementals
    assert (entry.platform, entry.name) == ("linux-x86_64", "1..2/bsdiff")
    with source(drop).open_patch(entry, entry.patches[0]) as stream:
        assert len(stream.read()) == entry.patches[0].size


def everything(drop: Any) -> Any:
    return sorted(str(path.relative_to(drop)) for path in drop.rglob("*"))


def add(tmp_path: Path, drop: Any, *before: Any, version: str = "3", codec: str = "zstd") -> Any:
    (tmp_path / "3").mkdir(exist_ok=True)
    (tmp_path / "3" / "lpt.3").write_bytes(NEW + OLD[:99])
    return add_with_incrementals("rules", version, [tmp_path / "3" / "lpt.3"], drop, before=before, codec=codec)


def test_a_release_and_the_incrementals_to_it_are_added_together(tmp_path: Path, drop: Any) -> None:
    release, incrementals = add(tmp_path, drop, "1", "2", "2")
    assert release.name == "3"
    assert {before: folder.name for before, folder in incrementals.items()} == {"1": "1..3", "2": "2..3"}
    report = look(drop)
    assert report.problems == ()
    assert {entry.name for entry in report.incrementals} == {"1..3/zstd", "2..3/zstd"}
    assert add(tmp_path, drop, "1", "2") == (release, incrementals)


@pytest.mark.parametrize(
    ("before", "how", "message"),
    [
        (("1", "9"), {}, "rules/9 isn't there"),
        (("1", "../1"), {}, "is a version of no scheme"),
        (("1", "3"), {}, "can't be made from itself"),
        (("1",), {"codec": "gzip"}, "makes no incrementals"),
        (("1",), {"codec": "nothing"}, "there is no codec"),
        (("1",), {"version": "../3"}, "is a version of no scheme"),
    ],
)
def test_a_release_whose_incrementals_cannot_be_made_is_not_added(
    tmp_path: Path, drop: Any, before: tuple[str, ...], how: Any, message: str
) -> None:
    there = everything(drop)
    with pytest.raises(UsageError, match=message):
        add(tmp_path, drop, *before, **how)
    assert everything(drop) == there


@pytest.mark.parametrize(
    ("broken", "nth"), [*(("rename_new", n) for n in (1, 2, 3)), *(("make_patches", n) for n in (1, 2))]
)
def test_whatever_fails_on_the_way_takes_everything_back(
    tmp_path: Path, drop: Any, monkeypatch: pytest.MonkeyPatch, broken: Any, nth: Any
) -> None:
    # Nothing of two incrementals and a release may stay where the first, the second or the third step fails.
    there, calls = everything(drop), []

    def fails(module: Any) -> None:
        work = getattr(module, broken)

        def step(*arguments: Any) -> Any:
            calls.append(broken)
            if len(calls) == nth:
                raise OSError(28, "No space left on device")
            return work(*arguments)

        monkeypatch.setattr(module, broken, step)

    for module in (incrementals, releases):
        if hasattr(module, broken):
            fails(module)
    with pytest.raises(SourceError, match="no space left"):
        add(tmp_path, drop, "1", "2")
    assert everything(drop) == there


HELD_BACK = {
    "no document": (lambda folder: (folder / "incremental.json").unlink(), "it has no incremental.json"),
    "no patch": (lambda folder: (folder / "lpt.2.zstd").unlink(), "not complete yet: it has no 'lpt.2.zstd'"),
    "a patch that isn't whole": (lambda folder: (folder / "lpt.2.zstd").write_bytes(b"x"), "isn't what"),
    "no JSON": (lambda folder: (folder / "incremental.json").write_text("{"), "it isn't JSON"),
    "deep JSON": (lambda folder: (folder / "incremental.json").write_text("[" * 10**6), "it isn't JSON"),
    "large JSON": (lambda folder: (folder / "incremental.json").write_text(" " * 5_000_000), "larger than"),
    "another component": (lambda folder: change(folder, ["component"], "engine"), "says engine 1..2"),
    "another version": (lambda folder: change(folder, ["from", "version"], "7"), "says rules 7..2"),
    "another platform": (lambda folder: change(folder, ["platform"], "linux-x86_64"), ""),
    "an odd platform": (lambda folder: change(folder, ["platform"], "../x"), "names no component"),
    "a later format": (lambda folder: change(folder, ["format_version"], "2.0"), "format_version"),
    "an unknown key": (lambda folder: change(folder, ["run"], "rm"), "unknown key 'run'"),
    "a missing key": (lambda folder: change(folder, ["to"], None), "no key 'to'"),
    "another digest than the files have": (lambda folder: change(folder, ["to", "digest"], "0" * 64), "digest of `to`"),
    "a file that leads out": (lambda folder: change(folder, ["files", 0, "name"], "../x"), "rules/incrementals/1..2"),
    "a base that leads out": (lambda folder: change(folder, ["files", 0, "base"], "../x"), "rules/incrementals/1..2"),
    "no size": (lambda folder: change(folder, ["files", 0, "size"], True), "size isn't"),
    "no files": (lambda folder: change(folder, ["files"], []), "files isn't a list"),
    "a codec that is none": (lambda folder: change(folder, ["files", 1, "delta", "codec"], "../zstd"), "is no codec"),
}  # fmt: skip


@pytest.mark.parametrize("case", HELD_BACK)
def test_what_is_not_whole_or_not_right_is_held_back_with_a_sentence(drop: Any, made: Any, case: Any) -> None:
    damage, words = HELD_BACK[case]
    damage(made)  # type: ignore[no-untyped-call]
    report = look(drop)
    if words:
        assert report.incrementals == ()
        assert len(report.problems) == 1
        assert words in report.problems[0]
        assert report.problems[0].startswith("drop/rules/incrementals/1..2")
    assert {release.version for release in report.releases} == {"1", "2"}


def test_a_patch_that_is_a_link_out_of_the_folder_is_refused(drop: Any, made: Any) -> None:
    (made / "lpt.2.zstd").unlink()
    (made / "lpt.2.zstd").symlink_to("/etc/passwd")
    assert "leads out" in look(drop).problems[0]


def test_a_patch_that_went_away_meanwhile_is_a_source_error(drop: Any, made: Any) -> None:
    (entry,) = look(drop).incrementals
    (made / "lpt.2.zstd").unlink()
    with pytest.raises(SourceError), source(drop).open_patch(entry, entry.patches[0]):
        pass


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_the_reader(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong
        parse_incremental(content)


DELTA = {"codec": "zstd", "size": 1, "sha256": "0" * 64}
SEED = {
    "format_version": "1.0", "component": "rules", "platform": "any",
    "from": {"version": "1", "digest": "0" * 64}, "to": {"version": "2", "digest": "0" * 64},
    "files": [{"name": "a", "size": 1, "sha256": "0" * 64, "base": "b", "delta": DELTA}],
}  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_change_of_a_document_breaks_the_reader(data: DataObject) -> None:
    document = json.loads(json.dumps(SEED))
    node = document
    for _ in range(4):
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        if not isinstance(node[key], (dict, list)) or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(anything)
    with pytest.raises(ValueError):  # noqa: PT011 - the digests of the seed are wrong in any case
        parse_incremental(json.dumps(document).encode())


def test_a_killed_writer_leaves_nothing_that_is_offered(drop: Any) -> None:
    folder = drop / "rules/incrementals/.1..2.abc"
    folder.mkdir(parents=True)
    (folder / "lpt.2.zstd").write_bytes(os.urandom(10))
    report = look(drop)
    assert (report.incrementals, report.problems) == ((), ())
