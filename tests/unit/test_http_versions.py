"""What places say of versions, whoever wrote it: versions of the scheme come of it, at places that are followed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SourceError
from reconciler.formats.defaults import completed
from reconciler.model.release import file_name_problem
from reconciler.model.version import SCHEMES
from reconciler.plugins.source import http
from reconciler.plugins.source._http import forge, versions
from reconciler.plugins.source._http.documents import Documents
from reconciler.plugins.source._http.found import Found, filled, name_in, notes_in, version_in
from reconciler.plugins.source._http.told import Told
from reconciler.web.web import Answer
from tests.fakes import fake_context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BASE = "https://vendor.example/"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def found(content: bytes, component: Mapping[str, Any], scheme: str = "dotted") -> list[Found]:
    """Give what is found, where each document is this content; no other error than a SourceError is let through."""
    options = completed({"url": BASE, "components": {"rules": component}}, http.OPTIONS)
    told = Told.of("rules", BASE, options, cast("Any", None))
    documents: Any = SimpleNamespace(get=lambda *_args, **_options: SimpleNamespace(body=content))
    try:
        if told.project:
            given_: list[Found] = forge.find(told, SCHEMES[scheme], documents)
        else:
            given_ = versions.find(told, SCHEMES[scheme], documents, cast("Any", None))
    except SourceError:
        return []
    assert 1 <= len(given_) <= told.keep
    order = [SCHEMES[scheme].parse(one.version) for one in given_]
    assert order == sorted(set(order), reverse=True)
    for one in given_:
        parts = urlsplit(one.url)
        assert (parts.scheme, bool(parts.hostname), parts.username) == ("https", True, None)
        assert file_name_problem(one.name) == ""
        assert one.notes.isprintable() or set(one.notes) & {"\n", "\t"}
        assert len(one.notes) <= 10_000
    return given_


TEXT = {"url": "all-{tag}.rules", "version": {"text": "v"}}
JSON = {"url": "{tag}/{version}", "version": {"json": "v", "each": "", "pointer": "/v", "released": "/at"}}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
TAGS = st.sampled_from(["v1.2", "1.3", "v1.10", "1.2/../../x", "v2.0-rc1", "\ud800", "1.4\n", "..", ""]) | st.text(
    max_size=9
)
PLACES = st.sampled_from(
    [
        "https://cdn.example/x",
        "http://cdn.example/x",
        "file:///etc/passwd",
        "https://u:p@h/x",
        "//h/x",
        "x",
        "https://[",
    ]
) | st.text(max_size=20)
ASSETS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["a.zip", "..", "a/b.zip", "-x.zip"]) | JUNK},
        optional={
            "browser_download_url": PLACES | JUNK,
            "direct_asset_url": PLACES | JUNK,
            "url": PLACES | JUNK,
            "size": JUNK,
        },
    )
    | JUNK,
    max_size=3,
)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"tag_name": TAGS | JUNK},
        optional={
            "assets": ASSETS | st.fixed_dictionaries({"links": ASSETS | JUNK}) | JUNK,
            "html_url": PLACES | JUNK,
            "published_at": st.sampled_from(["2026-11-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "soon"]) | JUNK,
            "released_at": JUNK,
            "body": st.text() | JUNK,
            "draft": JUNK,
        },
    )
    | JUNK,
    max_size=4,
)


def well_formed(tag: str, place: str) -> list[Any]:
    """Give what a forge says of its one release, if all but one of its places is as it should be."""
    return [{"tag_name": tag, "html_url": place, "assets": [{"name": "a.zip", "browser_download_url": place}]}]


def well_formed_links(tag: str, place: str) -> list[Any]:
    return [{"tag_name": tag, "assets": {"links": [{"name": "a.zip", "url": place}]}}]


GOOD_TAGS = st.sampled_from(["v1.2", "1.3"])
WELL_FORMED = st.builds(well_formed, GOOD_TAGS, PLACES) | st.builds(well_formed_links, GOOD_TAGS, PLACES)


@given(st.binary(max_size=60) | TAGS.map(lambda tag: tag.encode("utf-8", "surrogatepass")))
def test_any_text_is_a_version_or_an_error(content: bytes) -> None:
    found(content, TEXT)


@given(st.binary(max_size=60) | JUNK.map(lambda data: json.dumps(data).encode()))
def test_any_document_has_versions_or_is_an_error(content: bytes) -> None:
    found(content, JSON)
    found(content, {**JSON, "version": {"json": "v", "pointer": ""}}, "calver")


@given(st.lists(st.fixed_dictionaries({"v": TAGS | JUNK}, optional={"at": JUNK}) | JUNK, max_size=4))
def test_any_list_of_releases_has_versions_or_is_an_error(entries: list[Any]) -> None:
    found(json.dumps(entries).encode(), JSON)


@pytest.mark.parametrize("preset", ["github", "gitlab"])
@pytest.mark.parametrize("kind", [{"asset": "*.zip"}, {"archive": True}])
@given(entries=ENTRIES | JUNK | WELL_FORMED)
def test_whatever_a_forge_says_leads_to_places_that_are_followed(
    preset: str, kind: Mapping[str, Any], entries: Any
) -> None:
    found(json.dumps(entries).encode(), {preset: "group/project", **kind})


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_what_others_wrote_never_leads_to_another_place(version: str, tag: str, match: str) -> None:
    try:
        url = filled("https://h.example/a/{version}/b-{tag}?x={match}", version=version, tag=tag, match=match)
    except UnicodeEncodeError:
        return
    parts = urlsplit(url)
    assert parts.hostname == "h.example"
    assert parts.path.count("/") == 3
    assert parts.query.count("&") <= match.count("&")


@given(st.text(max_size=40))
def test_any_text_is_fit_for_notes(text: str) -> None:
    assert all(char.isprintable() or char in "\n\t" for char in notes_in(text))


@given(st.sampled_from(sorted(SCHEMES)), st.text(max_size=20), st.sampled_from(["", "v", "r-"]))
def test_only_versions_of_the_scheme_are_found_in_tags(scheme: str, tag: str, prefix: str) -> None:
    version = version_in(tag, SCHEMES[scheme], prefix)
    assert version is None or SCHEMES[scheme].accepts(version)


@pytest.mark.parametrize(
    ("tag", "scheme", "prefix", "version"),
    [
        ("v4.1.0", "dotted", "", "4.1.0"),
        ("V7", "integer", "", "7"),
        ("v4.1.0", "dotted", "v", "4.1.0"),
        ("falco-rules-3.0.0", "dotted", "falco-rules-", "3.0.0"),
        ("falco-incubating-rules-3.0.0", "dotted", "falco-rules-", None),
        ("r2026-11-02", "calver", "", "2026.11.02"),
        ("20261102", "calver", "", "2026.11.02"),
        ("2026-11-02.3", "calver", "", "2026.11.02.3"),
        ("2026-13-02", "calver", "", None),
        ("release-20261102", "calver", "release-", "2026.11.02"),
        ("4.1.0-rc1", "dotted", "", None),
        ("very", "dotted", "", None),
    ],
)
def test_tags_are_read_as_people_write_them(tag: str, scheme: str, prefix: str, version: str | None) -> None:
    assert version_in(tag, SCHEMES[scheme], prefix) == version


@pytest.mark.parametrize(
    ("url", "name"),
    [("https://h/a/b%20c.zip?x=1", "b c.zip"), ("https://h/", "download"), ("https://h/%2e%2e", "download")],
)
def test_a_file_is_called_as_in_its_url_if_it_can_be(url: str, name: str) -> None:
    assert name_in(url) == name


def test_damaged_answers_are_asked_for_again_and_old_ones_are_swept(tmp_path: Path) -> None:
    asked: list[str] = []

    class Web:
        def whole(self, url: str) -> str:
            return f"{BASE}{url}"

        def get(self, url: str, **options: Any) -> Answer:
            asked.append(options["etag"])
            return Answer(200, b"body", {"ETag": '"x"'}, url)

    def documents(now: datetime) -> Documents:
        return Documents(cast("Any", Web()), fake_context(tmp_path, now=now))

    def body(now: datetime) -> bytes:
        return bytes(documents(now).get("v", limit=9, interval=timedelta(hours=1)).body)

    assert body(NOW) == body(NOW + timedelta(minutes=59)) == b"body"
    assert asked == [""]
    assert body(NOW + timedelta(hours=1)) == b"body"
    assert body(NOW - timedelta(days=1)) == b"body"  # the clock was ahead
    assert asked == ["", '"x"', '"x"']
    (file,) = (tmp_path / "work/documents").iterdir()
    for damage in (b"", b"{}", b"[1]", b'{"format": 1, "at": "now"}', b'{"format": 1, "at": "2026-11-24T12:00:00"}'):
        file.write_bytes(damage)
        asked.clear()
        assert body(NOW) == b"body"
        assert asked == [""]
    documents(datetime.now(UTC) + timedelta(days=29)).sweep()
    assert file.exists()
    documents(datetime.now(UTC) + timedelta(days=31)).sweep()
    assert not file.exists()
