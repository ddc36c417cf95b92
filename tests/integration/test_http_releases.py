"""Releases of files on a web server: which versions there are, what is fetched of them, and what never changes."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.errors import PluginError, SourceError
from reconciler.formats.minisign import new_secret_key, prehash, sign
from reconciler.model.secret import SecretRef
from reconciler.plugin_loader import traits
from reconciler.plugins.source._http import matching
from reconciler.web import stream
from tests.vendor_site import HOUR, NOW, Desk, GitHub, GitLab, Site, tarball

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


SECRETS = {"TOKEN": "tok-5f3a9c", "KEY": "key-77ab1d"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAUSE", 0.01)
    monkeypatch.setattr(stream, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        yield made


def archive(files: Mapping[str, bytes]) -> bytes:
    return gzip.compress(tarball(files), mtime=0)


# --- where versions are found -----------------------------------------------------------------------------------------


def test_the_version_is_the_first_line_of_a_text_and_the_file_is_at_one_url_for_all(site: Site, tmp_path: Path) -> None:
    desk = Desk(tmp_path, site.url, rules={"url": "all.rules", "version": {"text": "version.txt"}})
    site.put("version.txt", "\n 10512 \nmore\n")
    site.put("all.rules", b"alert")
    assert desk.offered() == {"10512": {"all.rules": b"alert"}}
    site.put("version.txt", "10513\n")
    site.put("all.rules", b"alert more")
    assert desk.offered() == {"10513": {"all.rules": b"alert more"}, "10512": {"all.rules": b"alert"}}


def test_versions_are_found_in_a_json_document_each_with_a_url_of_its_own(site: Site, tmp_path: Path) -> None:
    version = {"json": "api", "each": "/list", "pointer": "/no", "released": "/at"}
    desk = Desk(tmp_path, site.url, rules={"url": "r-{version}.rules", "version": version, "notes": "/says"})
    entries = [{"no": 7, "at": "2026-11-01T00:00:00Z", "says": "Old."}, {"no": "9", "says": "a\x1b[2J"}, {"name": 1}]
    site.put("api", json.dumps({"list": [*entries, {"no": "8"}]}))
    site.put("r-9.rules", b"nine")
    report = desk.look()
    assert (report.error, report.problems) == ("", ())
    assert desk.contents(report) == {"9": {"r-9.rules": b"nine"}}
    assert report.releases[0].notes == "a?[2J"
    assert [(entry.component, entry.version) for entry in report.unfetched] == [("rules", "7"), ("rules", "8")]


def test_versions_are_found_in_a_listing(site: Site, tmp_path: Path) -> None:
    version = {"listing": "pub/", "pattern": 'href="(?:rules-([0-9.]+)-[a-f0-9]+[.]tgz)"'}
    desk = Desk(tmp_path, site.url, engine={"url": "pub/{match}", "version": {**version, "pattern": "e-([0-9.]+)-x"}})
    site.put("pub/", "<a href=e-1.2-x>e-1.2-x</a><a href='e-1.10-x'>" + "<i>e-1.9-x</i>" * 300)
    site.put("pub/e-1.10-x", b"ten")
    report = desk.look()
    assert (report.error, report.problems) == ("", ())
    assert desk.contents(report) == {"1.10": {"e-1.10-x": b"ten"}}
    assert [entry.version for entry in report.unfetched] == ["1.2", "1.9"]


def test_each_change_of_a_file_without_versions_is_a_release_named_by_its_time_and_its_bytes(
    site: Site, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, site.url, feed={"url": "feed.json", "keep": 2})
    digests = [hashlib.sha256(content).hexdigest()[:8] for content in (b"1", b"2", b"3")]
    site.put("feed.json", b"1", NOW)
    assert list(desk.offered()) == [f"2026.11.24T120000+{digests[0]}"]
    site.put("feed.json", b"2", NOW)  # in the same second
    both = [f"2026.11.24T120000+{digests[0]}", f"2026.11.24T120000+{digests[1]}"]
    assert sorted(desk.offered()) == sorted(both)
    site.put("feed.json", b"3", NOW + HOUR)
    found = desk.offered()
    assert next(iter(found)) == f"2026.11.24T130000+{digests[2]}"
    assert len(found) == 2
    site.put("feed.json", b"3", NOW + 2 * HOUR)  # touched, and the same
    assert list(desk.offered()) == list(found)


def test_a_file_without_a_time_is_named_by_when_it_was_first_seen(site: Site, tmp_path: Path) -> None:
    desk = Desk(tmp_path, site.url, feed={"url": "feed.json", "version": {"header": "ETag"}})
    site.put("feed.json", b"1", NOW - 100 * HOUR)
    (version,) = desk.offered()
    assert version.startswith("2026.11.24T130000+")
    assert list(desk.offered()) == [version]
    site.put("feed.json", b"2")
    assert [text[:17] for text in desk.offered()] == ["2026.11.24T150000", "2026.11.24T130000"]
    site.put("feed.json", b"1", NOW)  # an edge of a CDN that lags behind
    assert [text[:17] for text in desk.offered()] == ["2026.11.24T150000", "2026.11.24T130000"]


def test_a_server_that_tells_no_changes_is_asked_for_all_and_the_same_bytes_are_the_same_release(
    tmp_path: Path,
) -> None:
    with Site(tmp_path, validators=False, protocol="HTTP/1.0") as site:
        desk = Desk(tmp_path, site.url, feed={"url": "feed.json"})
        site.put("feed.json", b"1")
        (version,) = desk.offered()
        assert list(desk.offered()) == [version]
        before = len(site.paths)
        assert list(desk.offered(timedelta(minutes=1))) == [version]
        assert len(site.paths) == before


def test_tags_with_dates_and_prefixes_are_versions(site: Site, tmp_path: Path) -> None:
    site.put("days", json.dumps(["r2026-11-02", "latest", "20261103", "2026-11-02-2"]))
    site.put("tags", json.dumps(["v7", "v9-rc1", "rel-8"]))
    each = {"json": "tags", "each": "", "pointer": ""}
    days = {"url": "{tag}.zip", "version": {**each, "json": "days"}}
    desk = Desk(tmp_path, site.url, feed=days, rules={"url": "{tag}", "version": each})
    site.put("20261103.zip", b"zip")
    site.put("v7", b"7")
    report = desk.look()
    assert report.problems == ()
    assert desk.contents(report) == {"7": {"v7": b"7"}, "2026.11.03": {"20261103.zip": b"zip"}}
    assert {entry.version for entry in report.unfetched} == {"2026.11.02", "2026.11.02.2"}
    desk.options["components"] = {"rules": {"url": "{tag}", "version": each, "strip_prefix": "rel-"}}
    site.put("rel-8", b"8")
    assert list(desk.offered()) == ["8"]


def test_a_version_that_is_written_in_the_options_is_fetched_once(site: Site, tmp_path: Path) -> None:
    desk = Desk(tmp_path, site.url, rules={"url": "r-{version}", "version": "7", "file": "all.rules"})
    site.put("r-7", b"seven")
    assert desk.offered() == {"7": {"all.rules": b"seven"}}
    before = list(site.paths)
    assert desk.offered() == {"7": {"all.rules": b"seven"}}
    assert site.paths == before


@pytest.mark.parametrize(
    ("version", "document", "says"),
    [
        ({"text": "v"}, "", "v has no version in its first line: ''"),
        ({"text": "v"}, "<html>", "'<html>' is no version of the scheme integer (such as 27811)"),
        ({"text": "v"}, b"\xff\xfe1", "v isn't UTF-8, but begins with '\\xff\\xfe1'"),
        ({"json": "v", "pointer": "/a"}, "{", "v is no JSON"),
        ({"json": "v", "pointer": "/a"}, "<p>", "it begins with '<p>'"),
        ({"json": "v", "pointer": "/a"}, '{"b": 1}', "v has no version at '/a'"),
        ({"json": "v", "pointer": "/a", "each": "/l"}, '{"l": {}}', "v has no list of releases at '/l'"),
        ({"json": "v", "pointer": "", "each": ""}, '["a", "b"]', "none of the 2 versions that are named is one of"),
        ({"listing": "v", "pattern": "x-([0-9]+)"}, "nothing", "the pattern 'x-([0-9]+)' finds nothing in v"),
    ],
)
def test_a_place_without_versions_says_what_is_there(
    version: dict[str, Any], document: str | bytes, says: str, site: Site, tmp_path: Path
) -> None:
    site.put("v", document)
    report = Desk(tmp_path, site.url, rules={"url": "r-{version}", "version": version}).look()
    assert says in report.error


def test_an_expression_that_would_never_end_is_stopped(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "SECONDS", 0.5)
    site.put("l", "1" * 60 + "x")
    version = {"listing": "l", "pattern": "(1+1*)+$"}
    report = Desk(tmp_path, site.url, rules={"url": "{version}", "version": version}).look()
    assert "the pattern '(1+1*)+$' wasn't through after" in report.error


def sums(files: Mapping[str, bytes]) -> str:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())


TREE: Mapping[str, Any] = {
    "url": "rules/{version}/SHA256SUMS",
    "version": {"listing": "rules/versions.txt", "pattern": "^([0-9]+)$"},
    "listed": True,
}


def test_a_plain_folder_of_versions_is_read_with_its_signatures(site: Site, tmp_path: Path) -> None:
    key = new_secret_key()
    (tmp_path / "vendor.pub").write_text(key.public.text)
    verify = [{"minisign": {"key": "vendor.pub"}}]
    desk = Desk(tmp_path, site.url, rules={**TREE, "verify": verify})

    def publish(version: str, files: Mapping[str, bytes], signed: Mapping[str, bytes]) -> None:
        site.put("rules/versions.txt", "".join(f"{number}\n" for number in range(8, int(version) + 1)))
        for name, content in files.items():
            site.put(f"rules/{version}/{name}", content)
        site.put(f"rules/{version}/SHA256SUMS", sums(signed))
        comment = f"file:SHA256SUMS\tversion:{version}"
        site.put(
            f"rules/{version}/SHA256SUMS.minisig", sign(key, prehash(iter([sums(signed).encode()])), trusted=comment)
        )

    files = {"a b.rules": b"a", "lpt$vpn.679": b"", "c": hashlib.shake_128(b"c").digest(90_000)}
    publish("8", files, files)
    report = desk.look()
    assert (report.error, report.problems) == ("", ())
    assert desk.contents(report) == {"8": files}
    assert "(minisign " in str(report.releases[0].signed and report.releases[0].signed.text)
    publish("9", {**files, "a b.rules": b"other"}, files)
    assert desk.look().problems == ("rules 9: a b.rules isn't what SHA256SUMS says",)
    publish("9", files, files)
    del site.files["/rules/9/c"]
    (problem,) = desk.look().problems
    assert "/rules/9/c: HTTP 404" in problem
    publish("9", files, files)
    assert desk.offered() == {"9": files, "8": files}


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ("", "SHA256SUMS lists 0 files"),
        ("nonsense", "SHA256SUMS: line 1 isn't a digest and a file name"),
        (f"{'0' * 64}  ../x\n", "SHA256SUMS: the file name '../x' has a slash"),
        (f"{'0' * 64}  SHA256SUMS\n", "SHA256SUMS: it lists itself"),
        (f"{'0' * 64}  a\n{'1' * 64}  A\n", "a and A would be one file"),
    ],
)
def test_a_list_that_is_none_is_refused(listed: str, says: str, site: Site, tmp_path: Path) -> None:
    site.put("rules/versions.txt", "7\n")
    site.put("rules/7/SHA256SUMS", listed)
    (problem,) = Desk(tmp_path, site.url, rules=TREE).look().problems
    assert says in problem


# --- what never changes -----------------------------------------------------------------------------------------------


def test_a_file_that_is_older_than_its_version_is_waited_for_and_one_that_is_newer_changes_nothing(
    site: Site, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, site.url, rules={"url": "all.rules", "version": {"text": "version.txt"}})
    site.put("version.txt", "1")
    site.put("all.rules", b"one")
    assert desk.offered() == {"1": {"all.rules": b"one"}}
    site.put("version.txt", "2")  # today's listing with yesterday's file
    got = site.server.seen.count(("/all.rules", ""))
    report = desk.look()
    assert report.problems == report.harmless == ("rules 2: the file is still that of 1",)
    assert [method for method, _headers in site.server.asked[-2:]] == ["GET", "HEAD"]  # of the version, of the file
    assert site.server.seen.count(("/all.rules", "")) == got + 1
    assert list(desk.contents(report)) == ["1"]
    site.put("all.rules", b"two")
    assert list(desk.offered()) == ["2", "1"]
    site.put("all.rules", b"three")  # yesterday's listing with today's file
    assert desk.offered() == {"2": {"all.rules": b"two"}, "1": {"all.rules": b"one"}}
    site.put("version.txt", "1")
    assert list(desk.offered()) == ["2", "1"]


def test_the_same_bytes_under_another_mark_are_told_apart_by_their_digest(tmp_path: Path) -> None:
    with Site(tmp_path, validators=False) as site:
        desk = Desk(tmp_path, site.url, rules={"url": "all.rules", "version": {"text": "version.txt"}})
        site.put("version.txt", "1")
        site.put("all.rules", b"one")
        assert list(desk.offered()) == ["1"]
        site.put("version.txt", "2")
        assert desk.look().problems == ("rules 2: the file is still that of 1",)


def test_a_version_that_changes_while_its_file_is_fetched_is_not_taken(site: Site, tmp_path: Path) -> None:
    desk = Desk(tmp_path, site.url, rules={"url": "all.rules", "version": {"text": "version.txt"}})
    site.put("version.txt", "1")
    site.put("all.rules", b"of one or two")
    site.before = lambda path: site.put("version.txt", "2") if path == "/all.rules" else None
    report = desk.look()
    assert report.problems == ("rules 1: it changed while it was fetched; it is looked at again next time",)
    assert desk.offered() == {"2": {"all.rules": b"of one or two"}}


def test_a_listed_version_whose_file_is_not_there_yet_is_told_and_the_one_before_is_offered(
    site: Site, tmp_path: Path
) -> None:
    version = {"json": "tags", "each": "", "pointer": ""}
    desk = Desk(tmp_path, site.url, rules={"url": "r-{version}", "version": version})
    site.put("tags", json.dumps(["1", "2", "3"]))
    site.put("r-2", b"two")
    report = desk.look()
    assert list(desk.contents(report)) == ["2"]
    assert report.problems == report.harmless == (f"rules 3: {site.url}/r-3: HTTP 404, not there",)
    site.put("r-3", b"three")
    assert list(desk.offered()) == ["3", "2"]


def test_a_version_that_its_vendor_lists_no_more_is_not_offered(site: Site, tmp_path: Path) -> None:
    version = {"json": "tags", "each": "", "pointer": ""}
    desk = Desk(tmp_path, site.url, rules={"url": "r-{version}", "version": version})
    site.put("tags", json.dumps(["1", "2"]))
    for number in "12":
        site.put(f"r-{number}", number)
    assert list(desk.offered()) == ["2"]
    site.put("tags", json.dumps(["1"]))
    assert list(desk.offered()) == ["1"]


def test_what_is_unpacked_otherwise_is_made_anew(site: Site, tmp_path: Path) -> None:
    site.put("r-7.tgz", archive({"x/a.rules": b"a", "x/b.rules": b"b", "x/LICENSE": b"l"}))
    told = {"url": "r-{version}.tgz", "version": "7", "unpack": {"include": ["*.rules"]}}
    desk = Desk(tmp_path, site.url, rules=told)
    assert desk.offered() == {"7": {"a.rules": b"a", "b.rules": b"b"}}
    told["unpack"] = {"exclude": ["LICENSE", "b.*"]}
    assert desk.offered() == {"7": {"a.rules": b"a"}}


def test_a_version_that_is_found_otherwise_or_elsewhere_is_another_file(site: Site, tmp_path: Path) -> None:
    version = {"json": "tags", "each": "", "pointer": ""}
    told = {"url": "{tag}", "version": version, "strip_prefix": "lite-", "file": "x"}
    desk = Desk(tmp_path, site.url, rules=told)
    tags = ("lite-7", "full-7", "sub/full-7")
    for place, content in zip(tags, (b"lite", b"full", b"elsewhere"), strict=True):
        site.put(place, content)
    site.put("tags", json.dumps(tags))
    site.put("sub/tags", json.dumps(tags))
    assert desk.offered() == {"7": {"x": b"lite"}}
    told["strip_prefix"] = "full-"
    assert desk.offered() == {"7": {"x": b"full"}}
    desk.options["url"] = f"{site.url}/sub"
    assert desk.offered() == {"7": {"x": b"elsewhere"}}


def test_what_was_fetched_unproven_is_held_to_what_is_asked_for_later(site: Site, tmp_path: Path) -> None:
    desk = Desk(tmp_path, site.url, rules={"url": "r-{version}", "version": "7"})
    site.put("r-7", b"seven")
    site.put("SUMS", f"{'0' * 64}  r-7\n")
    assert desk.offered() == {"7": {"r-7": b"seven"}}
    desk.options["verify"] = [{"sha256": {"sums": "SUMS"}}]
    report = desk.look()
    assert report.releases == ()
    assert "SUMS says 0000" in report.problems[0]


# --- what is fetched, and what isn't ----------------------------------------------------------------------------------


def test_a_look_without_news_asks_little_and_within_the_interval_nothing(site: Site, tmp_path: Path) -> None:
    big = hashlib.shake_128(b"big").digest(300_000)
    desk = Desk(
        tmp_path,
        site.url,
        rules={"url": "all.rules", "version": {"text": "version.txt"}},
        feed={"url": "feed.json"},
    )
    site.put("version.txt", "1")
    site.put("all.rules", big)
    site.put("feed.json", big[1:], NOW)
    first = desk.offered()
    before = len(site.paths)
    assert desk.offered() == first
    assert sorted(site.paths[before:]) == ["/feed.json", "304 /version.txt"]  # the head of one, and nothing new
    assert [method for method, _headers in site.server.asked[before:]].count("HEAD") == 1
    before = len(site.paths)
    assert desk.offered(timedelta(minutes=14)) == first
    assert site.paths[before:] == []


def test_what_is_too_large_is_fetched_when_it_is_asked_for(site: Site, tmp_path: Path) -> None:
    big = hashlib.shake_128(b"big").digest(200_000)
    desk = Desk(
        tmp_path,
        site.url,
        more={"refresh_limit": "100KB"},
        rules={"url": "r-{version}", "version": {"json": "tags", "each": "", "pointer": ""}},
        feed={"url": "feed"},
    )
    site.put("tags", '["1", "2"]')
    site.put("r-2", big)
    site.put("r-1", b"one")
    site.put("feed", big[1:], NOW)
    report = desk.look()
    assert (report.problems, report.releases) == ((), ())
    left = {(entry.component, entry.version): entry for entry in report.unfetched}
    assert set(left) == {("rules", "2"), ("rules", "1"), ("feed", "2026.11.24T120000")}
    assert left["rules", "2"].size == 200_000
    assert "refresh_limit" in left["rules", "2"].why
    assert desk.source.fetch("rules", "2", "any").version == "2"
    assert desk.source.fetch("rules", "1", "any").version == "1"
    assert desk.source.fetch("feed", "2026.11.24T120000", "any").version == "2026.11.24T120000"
    assert list(desk.offered()) == ["2", "1", "2026.11.24T120000"]
    site.put("feed", big[2:], NOW)  # in the same second
    assert [entry.version for entry in desk.look().unfetched] == ["2026.11.24T120001"]
    with pytest.raises(SourceError, match="rules 4 isn't there any more"):
        desk.source.fetch("rules", "4", "any")
    with pytest.raises(SourceError, match="there is no engine"):
        desk.source.fetch("engine", "4", "any")


def test_components_that_fail_cost_the_others_nothing_and_what_is_held_is_offered(site: Site, tmp_path: Path) -> None:
    desk = Desk(
        tmp_path,
        site.url,
        rules={"url": "all.rules", "version": {"text": "version.txt"}},
        feed={"url": "feed.json"},
    )
    site.put("version.txt", "1")
    site.put("all.rules", b"one")
    site.put("feed.json", b"feed", NOW)
    first = desk.offered()
    del site.files["/version.txt"]
    report = desk.look()
    assert report.error == ""
    assert report.problems == (f"rules: {site.url}/version.txt: HTTP 404, not there",)
    assert desk.contents(report) == first
    del site.files["/feed.json"]
    assert "HTTP 404" in desk.look().error


def test_a_source_that_asks_to_be_left_alone_is_and_what_is_held_is_not_lost(site: Site, tmp_path: Path) -> None:
    desk = Desk(tmp_path, site.url, rules={"url": "all.rules", "version": {"text": "version.txt"}})
    site.put("version.txt", "1")
    site.put("all.rules", b"one")
    assert list(desk.offered()) == ["1"]
    site.odd["/version.txt"] = (429, {"Retry-After": "7200"}, b"")
    report = desk.look()
    assert report.cooldown_until == desk.now + 2 * HOUR
    before = len(site.paths)
    assert "left alone until" in desk.look().error
    assert len(site.paths) == before
    del site.odd["/version.txt"]
    assert list(desk.offered(2 * HOUR)) == ["1"]


# --- forges -----------------------------------------------------------------------------------------------------------


def test_releases_of_github_are_taken_with_their_notes(tmp_path: Path) -> None:
    with GitHub(tmp_path) as hub:
        for tag in ("v4.1.0", "v4.2.0"):
            hub.release("o/r", tag, {f"r-{tag[1:]}.zip": tag.encode(), "r.asc": b""})
        hub.release("o/r", "v5.0.0", {"r-5.0.0.zip": b"5"}, prerelease=True)
        hub.release("o/r", "v6.0.0", {"r-6.0.0.zip": b"6"}, draft=True)
        desk = Desk(tmp_path, hub.url, engine={"github": "o/r", "asset": "r-{version}.zip"})
        report = desk.look()
        assert desk.contents(report) == {"4.2.0": {"r-4.2.0.zip": b"v4.2.0"}}
        assert report.releases[0].notes == "What is new in v4.2.0."
        assert report.releases[0].released == datetime(2026, 11, 20, 6, tzinfo=UTC)
        assert [entry.version for entry in report.unfetched] == ["4.1.0"]
        desk.options["components"]["engine"]["prereleases"] = True
        assert "5.0.0" in desk.contents(desk.look())
        desk.options["components"]["engine"] = {"github": "o/r", "asset": "r*"}
        assert "both r-4.2.0.zip and r.asc match `asset`" in desk.look().error
        desk.options["components"]["engine"] = {"github": "o/r", "asset": "none"}
        assert "o/r v4.2.0 has no file that matches 'none'; there is: r-4.2.0.zip, r.asc" in desk.look().error


def test_archives_of_tags_are_unpacked_and_proven_by_what_the_release_says(tmp_path: Path) -> None:
    tar = archive({"r-4.2.0/rules/a.conf": b"a", "r-4.2.0/README": b""})
    with GitHub(tmp_path) as hub:
        hub.release("o/r", "v4.2.0", {"r-4.2.0.tar.gz.sha256": hashlib.sha256(tar).hexdigest().encode()}, tar)
        told = {"github": "o/r", "archive": True, "unpack": {"strip": 1, "include": ["rules/*.conf"]}}
        told["verify"] = [{"sha256": {"file": "{name}.sha256"}}]
        desk = Desk(tmp_path, hub.url, engine=told)
        assert desk.offered() == {"4.2.0": {"a.conf": b"a"}}
        hub.release("o/r", "v4.3.0", {"r-4.3.0.tar.gz.sha256": b"0" * 64}, tar)
        report = desk.look()
        assert list(desk.contents(report)) == ["4.2.0"]
        (problem,) = report.problems
        assert problem.startswith("engine 4.3.0: r-4.3.0.tar.gz can't be verified: r-4.3.0.tar.gz has the sha256")
        assert report.harmless == ()


def test_with_a_token_assets_come_from_the_api_as_they_do_of_what_is_not_public(tmp_path: Path) -> None:
    with GitHub(tmp_path) as hub:
        hub.release("o/r", "v1.0", {"x.zip": b"x", "SUMS": sums({"x.zip": b"x"}).encode()})
        more = {"token": SecretRef("env", "TOKEN"), "verify": [{"sha256": {"sums": "SUMS"}}]}
        desk = Desk(tmp_path, hub.url, more=more, engine={"github": "o/r", "asset": "x.zip"})
        desk.means = {"secrets": SECRETS}
        assert desk.offered() == {"1.0": {"x.zip": b"x"}}
        assert {path.rpartition("/")[0] for path in hub.paths[1:]} == {"/repos/o/r/releases/assets"}
        (asked,) = {str(headers["Accept"]) for _method, headers in hub.server.asked[1:]}
        assert asked == "application/octet-stream"


def test_what_the_api_says_of_an_asset_proves_it(tmp_path: Path) -> None:
    with GitHub(tmp_path) as hub:
        hub.release("o/r", "v1.0", {"x.zip": b"x", "y.zip": b"y"})
        told = {"github": "o/r", "asset": "y.zip", "verify": [{"sha256": {"json": "/asset/digest"}}]}
        assert list(Desk(tmp_path, hub.url, engine=told).offered()) == ["1.0"]


def test_releases_of_gitlab_are_taken(tmp_path: Path) -> None:
    with GitLab(tmp_path) as lab:
        lab.release("g/p", "1.0", {"p.zip": b"one"}, archive({"p-1.0/a": b"a"}))
        lab.release("g/p", "2.0", {"p.zip": b"two"}, upcoming_release=True)
        desk = Desk(tmp_path, lab.url, engine={"gitlab": "g/p", "asset": "*.zip"})
        assert desk.offered() == {"1.0": {"p.zip": b"one"}}
        desk = Desk(tmp_path, lab.url, engine={"gitlab": "g/p", "archive": True, "unpack": {}})
        assert desk.offered() == {"1.0": {"a": b"a"}}


def test_a_forge_whose_requests_are_used_up_is_left_alone_until_there_are_more(tmp_path: Path) -> None:
    with GitHub(tmp_path) as hub:
        reset = int((NOW + 3 * HOUR).timestamp())
        limits = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
        hub.odd["/repos/o/r/releases"] = (403, limits, b"{}")
        report = Desk(tmp_path, hub.url, engine={"github": "o/r", "asset": "*"}).look()
        assert report.cooldown_until == NOW + 3 * HOUR


def test_a_forge_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    with GitHub(tmp_path) as hub:
        hub.release("o/r", "v1", {"x": b""})
        for place in ("file:///etc/passwd", "gopher://x/", "http://user:word@host/", "http://[", 7):
            (entry,) = json.loads(hub.files["/repos/o/r/releases"][0])
            entry["assets"][0]["browser_download_url"] = place
            hub.put("repos/o/r/releases", json.dumps([entry]))
            report = Desk(tmp_path, hub.url, engine={"github": "o/r", "asset": "x", "interval": "0s"}).look()
            assert "word" not in report.error
            assert "which isn't followed" in report.error or "no URL" in report.error, report


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_secrets_go_to_the_own_host_only_and_are_told_nowhere(
    tmp_path: Path, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with Site(tmp_path) as other:
        other.put("all.rules", b"x")
        site.put("v", "1")
        site.odd["/all.rules"] = (302, {"Location": f"{other.url}/all.rules"}, b"")
        more: dict[str, Any] = {
            "query": {"key": SecretRef("env", "KEY")},
            "headers": {"X-Key": SecretRef("env", "KEY")},
        }
        more["token"] = SecretRef("env", "TOKEN")
        desk = Desk(tmp_path, site.url, more=more, rules={"url": "all.rules", "version": {"text": "v"}})
        desk.means = {"secrets": SECRETS}
        assert list(desk.offered()) == ["1"]
        asked = [str(headers) for _method, headers in site.server.asked]
        assert all("Bearer tok-5f3a9c" in said and "X-Key: key-77ab1d" in said for said in asked)
        assert all("key=key-77ab1d" in path for path, _range in site.server.seen)
        said = [str(headers) for _method, headers in other.server.asked] + [path for path, _ in other.server.seen]
        site.put("v", "2")
        site.odd["/all.rules"] = (500, {}, b"")
        said.append(str(desk.look()))
        del site.files["/v"]
        said.append(str(desk.look()))
        said += [path.read_text("latin-1") for path in (tmp_path / "work").rglob("*") if path.is_file()]
        said.append(caplog.text)
        for secret in SECRETS.values():
            assert all(secret not in text for text in said)


# --- options that don't fit together ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "says"),
    [
        ({}, "`url` says where its file is"),
        ({"url": "x", "archive": True}, "`archive` is for the releases of a forge"),
        ({"url": "x", "asset": "y"}, "`asset` is for the releases of a forge"),
        ({"github": "o/r"}, "one of `asset` and `archive` says what is taken"),
        ({"github": "o/r", "asset": "x", "archive": True}, "one of `asset` and `archive` says what is taken"),
        ({"github": "o/r", "asset": "x", "url": "x"}, "`url` can't stand beside `github`"),
        ({"github": "o/r", "gitlab": "g/p", "asset": "x"}, "are two places"),
        ({"url": "x-{version}"}, "`version` says of no other one"),
        ({"url": "x", "version": {"text": "x", "json": "y"}}, "`version` is found in one way"),
        ({"url": "x", "version": {"json": "y"}}, "`version.json` needs `pointer`"),
        ({"url": "x", "version": {"listing": "y"}}, "`version.listing` needs `pattern`"),
        ({"url": "x", "version": {"text": "y", "each": ""}}, "`version.each` isn't for `text`"),
        ({"url": "x", "version": {"text": "y", "pattern": "("}}, "is no regular expression"),
        ({"url": "{match}", "version": {"text": "y"}}, "there is none"),
        ({"url": "x"}, "`url` is missing"),
        ({"url": "x", "listed": True, "unpack": {}}, "`unpack` is for one file, and `listed` for many"),
        ({"url": "x", "file": "../x"}, "`file`: the file name '../x' has a slash"),
    ],
)
def test_options_that_do_not_fit_together_are_told(component: dict[str, Any], says: str) -> None:
    options = {"components": {"rules": {"archive": False, "listed": False, **component}}}
    with pytest.raises(PluginError, match="(?s).*") as caught:
        traits("source", "http", options, ())
    assert says in caught.value.message


def test_it_is_signed_where_all_that_it_offers_is() -> None:
    def signed(*verify: Any, common: Any = None) -> bool:
        told = [{"url": "https://x.example/y", "archive": False, "listed": False, "verify": one} for one in verify]
        parts = [{key: value for key, value in component.items() if value is not None} for component in told]
        options: dict[str, Any] = {"components": {str(number): part for number, part in enumerate(parts)}}
        found = traits("source", "http", options if common is None else {**options, "verify": common}, ())
        assert found is not None
        assert (found.network, found.url) == (True, "https://x.example")
        return found.signed

    key, sums = [{"minisign": {"key": "RWx"}}], [{"sha256": {"sums": "S"}}]
    assert signed(key, key)
    assert not signed(key, sums)
    assert not signed(key, None)
    assert signed(key, None, common=key)
