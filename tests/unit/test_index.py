"""The index of a component: what is written is read again, and what doesn't match is refused."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from jsonschema import Draft202012Validator

from reconciler.formats.index import index_document, parse_index
from reconciler.model.delta import Incremental, Kept, Patch
from reconciler.model.offer import Withdrawal
from reconciler.plugin_loader import schema_folder
from tests.fakes import describe, make_release

SCHEMA = json.loads((schema_folder() / "index.schema.json").read_text(encoding="utf-8"))
JUDGE = Draft202012Validator(SCHEMA)
NAMES = st.sampled_from(["lpt$vpn.679", "a b", "ü.dat", "x"])
FILES = st.dictionaries(NAMES, st.binary(max_size=8), min_size=1, max_size=3)
PLATFORMS = st.sampled_from(["any", "linux-x86_64"])


@st.composite
def indexes(draw: Any) -> Any:
    """Give what one component has."""
    found = {}
    for version, platform, files in draw(st.lists(st.tuples(st.integers(1, 5).map(str), PLATFORMS, FILES), max_size=5)):
        along = draw(st.sets(st.sampled_from(["a.sign", "a-2.cdiff"])))
        found[version, platform] = make_release(
            "rules",
            version,
            files,
            platform,
            notes=draw(st.text(max_size=5)),
            attached=tuple(describe(name, b"along") for name in sorted(along)),
        )
    releases = list(found.values())
    incrementals = {}
    for goal in releases:
        if draw(st.booleans()):
            parts = [
                Kept(file.name, draw(NAMES))
                if draw(st.booleans())
                else Patch(file.name, 7, "a" * 64, draw(st.sampled_from(["zstd", "bsdiff"])), draw(NAMES), file.size)
                for file in goal.files
            ]
            patches = tuple(sorted(part for part in parts if isinstance(part, Patch)))
            kept = tuple(sorted(part for part in parts if isinstance(part, Kept)))
            codec = min(
                {patch.codec for patch in patches}, default="kept", key=lambda name: (_count(patches, name), name)
            )
            entry = Incremental(
                component="rules",
                platform=goal.platform,
                from_version="0",
                from_digest="b" * 64,
                to_version=goal.version,
                to_digest=goal.digest,
                codec=codec,
                patches=patches,
                kept=kept,
            )
            incrementals[entry.platform, entry.name] = entry
    versions = {release.version for release in releases}
    taken_back = draw(st.lists(st.integers(1, 9).map(str).filter(lambda version: version not in versions), unique=True))
    return releases, list(incrementals.values()), [Withdrawal("rules", version, "INC-1") for version in taken_back]


def _count(patches: Any, codec: Any) -> Any:
    return -sum(patch.size for patch in patches if patch.codec == codec)


def written(releases: Any, incrementals: Any = (), withdrawn: Any = ()) -> Any:
    return index_document("rules", releases, incrementals, withdrawn)


def read(document: Any) -> Any:
    return parse_index(json.dumps(document).encode(), "rules")


@given(indexes())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_again_and_matches_the_schema(index: Any) -> None:
    document = written(*index)
    JUDGE.validate(document)
    releases, incrementals, withdrawn = read(document)
    assert set(releases) == set(index[0])
    assert {release.notes for release in releases} == {release.notes for release in index[0]}
    assert {(release, release.attached) for release in releases} == {(entry, entry.attached) for entry in index[0]}
    assert set(incrementals) == set(index[1])
    assert set(withdrawn) == set(index[2])


@given(indexes(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_makes_no_difference_to_a_byte(index: Any, random: Random) -> None:
    shuffled = [random.sample(part, len(part)) for part in index]
    assert json.dumps(written(*shuffled)) == json.dumps(written(*index))


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_bytes_break_the_reader(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_index(content, "rules")


@given(indexes(), st.data())
@settings(max_examples=150, deadline=None)
def test_no_change_of_a_document_breaks_the_reader_or_gets_past_the_schema(index: Any, data: DataObject) -> None:
    text = json.dumps(written(*index))
    at = data.draw(st.integers(0, len(text) - 1))
    inserted = data.draw(st.text(alphabet='{}[]:,"-./\\0aA1', max_size=4))
    changed = (text[:at] + inserted + text[at + data.draw(st.integers(0, 6)) :]).encode()
    try:
        parse_index(changed, "rules")
    except ValueError:
        return
    JUDGE.validate(json.loads(changed))


RELEASE = make_release("rules", "1", {"a": b"x"})
WRONG = {
    "twice": (lambda d: d["releases"].append(d["releases"][0]), "lists a release twice"),
    "a file twice": (lambda d: d["releases"][0]["files"].append(d["releases"][0]["files"][0]), "or a file twice"),
    "a file that is attached, too": (
        lambda d: d["releases"][0].update(attached=d["releases"][0]["files"]),
        "or a file twice",
    ),
    "an attached file that leaves its folder": (
        lambda d: d["releases"][0].update(attached=[{**d["releases"][0]["files"][0], "name": "../a"}]),
        "has a slash",
    ),
    "no files": (lambda d: d["releases"][0].update(files=[]), "has no files"),
    "no version": (lambda d: d["releases"][0].update(version="../x"), "is no version"),
    "a platform": (lambda d: d["releases"][0].update(platform="PC"), "neither `any` nor"),
    "a time without a zone": (lambda d: d["releases"][0].update(released="2026-11-19T06:00:00"), "no time zone"),
    "a time before all others": (lambda d: d["releases"][0].update(released="0001-01-01T00:00:00+23:59"), "years 1970"),
    "a time after all others": (lambda d: d["releases"][0].update(released="9999-12-31T23:59:59-23:59"), "years 1970"),
    "a size that is none": (lambda d: d["releases"][0]["files"][0].update(size=True), "isn't a number of bytes"),
    "a negative size": (lambda d: d["releases"][0]["files"][0].update(size=-1), "isn't a number of bytes"),
    "a digest that is none": (lambda d: d["releases"][0]["files"][0].update(sha256="A" * 64), "hexadecimal"),
    "no reason": (lambda d: d.update(withdrawn=[{"version": "2", "reason": " "}]), "no reason that can be shown"),
    "a reason that moves the cursor": (
        lambda d: d.update(withdrawn=[{"version": "2", "reason": "\x1b[2J"}]),
        "no reason that can be shown",
    ),
    "offered and withdrawn": (
        lambda d: d.update(withdrawn=[{"version": "1", "reason": "x"}]),
        "offers a version that it withdraws",
    ),
    "an incremental to nowhere": (
        lambda d: d.update(incrementals=[{"from": {"version": "1", "digest": "a" * 64}, "to": "9", "files": []}]),
        "leads to 9, which it doesn't list",
    ),
    "an incremental that makes too little": (
        lambda d: d.update(incrementals=[{"from": {"version": "0", "digest": "a" * 64}, "to": "1", "files": []}]),
        "it has no files",
    ),
    "an incremental that leaves a file out": (
        lambda d: (
            d["releases"][0]["files"].append({"name": "b", "size": 1, "sha256": "c" * 64}),
            d.update(
                incrementals=[{"from": {"version": "0", "digest": "a" * 64}, "to": "1", "files": [{"name": "b"}]}]
            ),
        ),
        "doesn't make the files of 1",
    ),
    "an incremental of another file": (
        lambda d: d.update(
            incrementals=[{"from": {"version": "0", "digest": "a" * 64}, "to": "1", "files": [{"name": "b"}]}]
        ),
        "which 1 doesn't have",
    ),
    "another major version": (lambda d: d.update(format_version="2.0"), "isn't one that is known"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told(case: Any) -> None:
    change, message = WRONG[case]
    document = written([RELEASE])
    change(document)  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match=message):
        read(document)
