"""Releases from git repositories that git itself made, over http from git's own server and from folders."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zlib
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.contracts import OwnMemory
from reconciler.errors import PluginError, SourceError
from reconciler.model.network import Proxy
from reconciler.model.secret import SecretRef
from reconciler.plugins.source import git
from tests.fakes import fake_context, make_component, make_plugin
from tests.gitserver import Backend, Repo, git_http
from tests.materials import Gpg
from tests.servers import logged, squid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.model.offer import SourceReport
    from tests.gitserver import Answer

pytestmark = pytest.mark.needs("git")
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RULES = make_component("rules", scheme="dotted")
DAILY = make_component("rules", scheme="calver")
FILES = {"rules/a.conf": b"SecRule 1\n", "rules/b.data": b"x\r\n", "README.md": b"# Rules\n"}
SIGNERS = {"ssh": {"signers": "trust/signers"}}
KEYRING = {"gpg": {"keyring": "trust/vendor.gpg"}}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "srv")


@pytest.fixture
def backend(tmp_path: Path, repo: Repo) -> Iterator[Backend]:
    del repo
    with git_http(tmp_path / "srv") as backend:
        yield backend


def make(tmp_path: Path, where: Backend | str, *, now: datetime = NOW, **options: Any) -> Any:
    url = where if isinstance(where, str) else f"{where.url}/rules.git"
    given = {"url": url, "components": {"rules": "rules"}, **options}
    return make_plugin(git, given, fake_context(tmp_path, now=now, secrets={"TOKEN": "s3cret"}))


def contents(source: Any, report: SourceReport) -> dict[str, dict[str, bytes]]:
    """Give the files of each release, read as whoever stores them does."""
    found: dict[str, dict[str, bytes]] = {}
    for release in report.releases:
        for file in release.files:
            with source.open(release, file) as stream:
                found.setdefault(release.version, {})[file.name] = stream.read()
    return found


def versions(report: SourceReport) -> list[str]:
    return sorted(release.version for release in report.releases)


@contextmanager
def served(folder: Path, how: str) -> Iterator[str]:
    """Give the URL of the repository below a folder, by the way that a test is about."""
    if how in {"bare", "work"}:
        yield (folder / ("rules.git" if how == "bare" else "work")).as_uri()
    else:
        with git_http(folder, protocol=how) as backend:
            yield f"{backend.url}/rules.git"


# --- tags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sha1", "sha256"])
@pytest.mark.parametrize("how", ["version=2", "version=0", "bare", "work"])
def test_the_newest_tags_are_releases_of_the_files_below_a_folder(tmp_path: Path, how: str, kind: str) -> None:
    repo = Repo(tmp_path / "srv", kind=kind)
    for number in range(4):
        repo.commit({**FILES, "rules/a.conf": b"SecRule %d\n" % number}, f"2026-11-2{number}T06:00:00Z")
        repo.tag(f"v1.{number}.0", *(("-m", "What is new") if number == 3 else ()), at="2026-11-25T06:00:00Z")
    repo.tag("nightly")
    repo.git("gc", "--quiet")
    repo.commit({"rules/a.conf": b"later"}, "2026-11-26T06:00:00Z")  # what isn't packed, beside what is
    repo.tag("v1.4.0")
    if how == "work":
        shutil.copytree(repo.bare, repo.work / ".git")
    with served(tmp_path / "srv", how) as url:
        source = make(tmp_path, url, tags="v*", keep=3)
        report = source.releases({"rules": RULES})
        assert contents(source, report) == {
            "1.4.0": {"a.conf": b"later", "b.data": b"x\r\n"},
            "1.3.0": {"a.conf": b"SecRule 3\n", "b.data": b"x\r\n"},
            "1.2.0": {"a.conf": b"SecRule 2\n", "b.data": b"x\r\n"},
        }
        assert report.problems == ()
        said = [(f"{release.released:%F}", release.notes) for release in report.releases]
        assert said == [("2026-11-26", "Rules"), ("2026-11-25", "What is new"), ("2026-11-22", "Rules")]
        assert make(tmp_path, url, tags="v*", keep=3).releases({"rules": RULES}) == report


def test_a_look_without_news_costs_two_small_answers(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit({**FILES, "rules/big.data": os.urandom(200_000)}, "2026-11-20T06:00:00Z")
    repo.tag("v1.0")
    report = make(tmp_path, backend, tags="v*").releases({"rules": RULES})
    backend.asked.clear()
    backend.sent.clear()
    assert make(tmp_path, backend, tags="v*").releases({"rules": RULES}) == report
    assert len(backend.asked) == 2
    assert sum(backend.sent) < 1000


def test_what_is_new_comes_without_what_is_there(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit({**FILES, "rules/big.data": os.urandom(200_000)}, "2026-11-20T06:00:00Z")
    source = make(tmp_path, backend, branch="main")
    assert versions(source.releases({"rules": DAILY})) == ["2026.11.20T060000"]
    assert sum(backend.sent) > 200_000
    backend.sent.clear()
    repo.commit({"rules/a.conf": b"SecRule 2\n"}, "2026-11-21T06:00:00Z")
    report = source.releases({"rules": DAILY})
    assert versions(report) == ["2026.11.20T060000", "2026.11.21T060000"]
    assert sum(backend.sent) < 5_000
    assert contents(source, report)["2026.11.21T060000"]["a.conf"] == b"SecRule 2\n"


def test_a_file_that_is_moved_into_the_folder_comes_though_its_bytes_were_known_outside(
    tmp_path: Path, repo: Repo, backend: Backend
) -> None:
    repo.commit({**FILES, "drafts/c.conf": b"SecRule 3\n"}, "2026-11-20T06:00:00Z")
    source = make(tmp_path, backend, branch="main")
    source.releases({"rules": DAILY})
    for look in (1, 2):  # objects that no release needs aren't kept
        repo.commit({"README.md": b"%d" % look, "rules/a.conf": b"%d" % look}, f"2026-11-2{look}T06:00:00Z")
        source.releases({"rules": DAILY})
    repo.commit({"drafts/c.conf": None, "rules/c.conf": b"SecRule 3\n"}, "2026-11-23T06:00:00Z")
    report = source.releases({"rules": DAILY})
    assert report.problems == ()
    assert contents(source, report)["2026.11.23T060000"]["c.conf"] == b"SecRule 3\n"


def test_tags_that_are_no_versions_are_told_and_keep_nothing_back(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    for name in ("v1.0", "v1.1-rc1", "v1.1-rc2"):
        repo.tag(name)
    report = make(tmp_path, backend, tags="v*").releases({"rules": RULES})
    assert versions(report) == ["1.0"]
    assert report.problems == ("rules: 2 tags are no versions of the scheme dotted, such as v1.1-rc1",)
    assert report.harmless == report.problems


def test_a_tag_that_is_a_day_is_a_version_of_a_component_that_goes_by_days(
    tmp_path: Path, repo: Repo, backend: Backend
) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    repo.tag("r2026-11-20")
    report = make(tmp_path, backend, tags="r*", strip_prefix="r").releases({"rules": DAILY})
    assert versions(report) == ["2026.11.20"]


def test_a_tag_that_moves_is_the_same_version_with_other_bytes(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    repo.tag("v1.0")
    (first,) = make(tmp_path, backend, tags="v*").releases({"rules": RULES}).releases
    repo.commit({"rules/a.conf": b"other"}, "2026-11-21T06:00:00Z")
    repo.tag("v1.0")
    (moved,) = make(tmp_path, backend, tags="v*").releases({"rules": RULES}).releases
    assert (moved.version, moved.digest != first.digest) == (first.version, True)


# --- branches ---------------------------------------------------------------------------------------------------------


def test_commits_of_a_branch_are_releases_by_their_times_and_only_those_that_change_the_folder(
    tmp_path: Path, repo: Repo, backend: Backend
) -> None:
    seen = []
    for at, files in (
        ("2026-11-20T06:00:00Z", FILES),
        ("2026-11-20T07:30:05Z", {"rules/a.conf": b"SecRule 2\n"}),
        ("2026-11-21T06:00:00Z", {"README.md": b"only words"}),
        ("2026-11-22T06:00:00+0200", {"rules/a.conf": b"SecRule 3\n"}),
    ):
        repo.commit(files, at)
        report = make(tmp_path, backend, branch="main", keep=2).releases({"rules": DAILY})
        assert report.problems == ()
        seen.append(versions(report))
    assert seen == [
        ["2026.11.20T060000"],
        ["2026.11.20T060000", "2026.11.20T073005"],
        ["2026.11.20T060000", "2026.11.20T073005"],
        ["2026.11.20T073005", "2026.11.22T040000"],
    ]
    source = make(tmp_path, backend, branch="main", keep=2)
    found = contents(source, source.releases({"rules": DAILY}))
    assert [files["a.conf"] for files in found.values()] == [b"SecRule 2\n", b"SecRule 3\n"]
    numbers = make_component("rules", scheme="integer")
    assert versions(source.releases({"rules": numbers})) == ["20261120073005", "20261122040000"]


def test_a_component_that_the_file_names_later_gets_what_the_branch_has(
    tmp_path: Path, repo: Repo, backend: Backend
) -> None:
    repo.commit({**FILES, "lists/ip.txt": b"1"}, "2026-11-20T06:00:00Z")
    rules = {"rules": "rules"}
    first = make(tmp_path, backend, branch="main", components=rules).releases({"rules": DAILY})
    repo.commit({"README.md": b"2"}, "2026-11-21T06:00:00Z")
    make(tmp_path, backend, branch="main", components=rules).releases({"rules": DAILY})
    lists = make_component("lists", scheme="calver")
    source = make(tmp_path, backend, branch="main", components={**rules, "lists": "lists"})
    report = source.releases({"rules": DAILY, "lists": lists})
    assert report.problems == ()
    assert {release.component: release.version for release in report.releases} == {
        "rules": first.releases[0].version,
        "lists": "2026.11.21T060000",
    }


@pytest.mark.parametrize("how", ["version=2", "version=0"])
def test_a_mirror_of_a_branch_that_is_lost_is_fetched_again(tmp_path: Path, repo: Repo, how: str) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    with served(tmp_path / "srv", how) as url:
        make(tmp_path, url, branch="main").releases({"rules": DAILY})
        repo.commit({"README.md": b"2"}, "2026-11-21T06:00:00Z")
        before = make(tmp_path, url, branch="main").releases({"rules": DAILY})
        shutil.rmtree(tmp_path / "work/mirror.git")
        source = make(tmp_path, url, branch="main")
        report = source.releases({"rules": DAILY})
        assert report.problems == ()
        assert report.releases[-1].digest == before.releases[0].digest
        assert set(contents(source, report).popitem()[1]) == {"a.conf", "b.data"}


def test_a_component_whose_versions_are_no_times_is_told_what_to_do(tmp_path: Path, repo: Repo) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    patterns = make_component("rules", scheme="pattern")
    report = make(tmp_path, repo.bare.as_uri(), branch="main").releases({"rules": patterns})
    (problem,) = report.problems
    assert "the scheme pattern can't have (give the component the scheme calver, or integer)" in problem


@pytest.mark.parametrize("how", ["http", "folder"])
def test_a_branch_that_was_rewound_is_refused_until_that_is_allowed(
    tmp_path: Path, repo: Repo, backend: Backend, how: str
) -> None:
    where = backend if how == "http" else repo.bare.as_uri()
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    taken = repo.commit({"rules/a.conf": b"mended"}, "2026-11-21T06:00:00Z")
    before = make(tmp_path, where, branch="main").releases({"rules": DAILY})
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    other = repo.commit({"rules/a.conf": b"holes again"}, "2026-11-22T06:00:00Z")
    for _look in range(2):  # the second one fetches nothing for that
        report = make(tmp_path, where, branch="main").releases({"rules": DAILY})
        assert report.releases == before.releases
        (problem,) = report.problems
        assert f"it is at {other[:12]}, which doesn't come after {taken[:12]} that was taken" in problem
        assert "`rewinds: allow` takes it" in problem
    report = make(tmp_path, where, branch="main", rewinds="allow").releases({"rules": DAILY})
    assert (versions(report), report.problems) == (["2026.11.22T060000"], ())


def test_a_branch_that_another_controller_took_is_not_taken_where_it_was_before(
    tmp_path: Path, repo: Repo, backend: Backend
) -> None:
    memory = OwnMemory()  # that of the state

    def look(name: str, **options: str) -> SourceReport:
        (tmp_path / name).mkdir(exist_ok=True)
        context = replace(fake_context(tmp_path / name, now=NOW), memory=memory)
        given = {"url": f"{backend.url}/rules.git", "components": {"rules": "rules"}, "branch": "main", **options}
        report: SourceReport = make_plugin(git, given, context).releases({"rules": DAILY})
        return report

    repo.commit(FILES, "2026-11-20T06:00:00Z")
    repo.commit({"rules/a.conf": b"mended"}, "2026-11-21T06:00:00Z")
    assert versions(look("one")) == versions(look("other")) == ["2026.11.21T060000"]
    later = repo.commit({"rules/a.conf": b"mended more"}, "2026-11-22T06:00:00Z")
    assert versions(look("one"))[-1:] == versions(look("third")) == ["2026.11.22T060000"]
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    repo.commit({"rules/a.conf": b"holes again"}, "2026-11-23T06:00:00Z")
    for name in ("other", "fourth"):
        (problem,) = look(name).problems
        assert f"doesn't come after {later[:12]} that another controller took of it" in problem
    assert versions(look("other")) == ["2026.11.21T060000"]
    assert versions(look("fourth", rewinds="allow")) == ["2026.11.23T060000"]
    assert versions(look("other"))[-1:] == ["2026.11.23T060000"]


def test_a_rewind_is_fetched_once_to_be_told(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    repo.commit({"rules/a.conf": b"mended"}, "2026-11-21T06:00:00Z")
    make(tmp_path, backend, branch="main").releases({"rules": DAILY})
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    make(tmp_path, backend, branch="main").releases({"rules": DAILY})
    backend.asked.clear()
    make(tmp_path, backend, branch="main").releases({"rules": DAILY})
    assert len(backend.asked) == 2


def test_a_commit_that_is_dated_before_the_one_it_follows_or_in_the_future_is_passed_over(
    tmp_path: Path, repo: Repo, backend: Backend
) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    source = make(tmp_path, backend, branch="main")
    before = source.releases({"rules": DAILY}).releases
    repo.commit({"rules/a.conf": b"2"}, "2026-11-19T06:00:00Z")
    report = source.releases({"rules": DAILY})
    assert report.releases == before
    assert "is dated 2026-11-19 06:00:00, not after the commit" in report.problems[0]
    repo.commit({"rules/a.conf": b"3"}, "2099-01-01T06:00:00Z")
    report = source.releases({"rules": DAILY})
    assert report.releases == before
    assert any("is dated 2099-01-01, which is yet to come" in problem for problem in report.problems)
    repo.commit({"rules/a.conf": b"4"}, "2026-11-21T06:00:00Z")
    assert versions(source.releases({"rules": DAILY})) == ["2026.11.20T060000", "2026.11.21T060000"]


def test_a_branch_that_is_not_there_is_named(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    with pytest.raises(SourceError, match="has no branch master"):
        make(tmp_path, backend, branch="master").releases({"rules": DAILY})
    report = make(tmp_path, backend, tags="v*").releases({"rules": RULES})
    assert report.problems == (f"{backend.url}/rules.git has no tags like v*",)


# --- signatures -------------------------------------------------------------------------------------------------------


def with_ssh_key(tmp_path: Path, repo: Repo, name: str = "key") -> str:
    """Have git sign with a new SSH key; give its public line."""
    key = tmp_path / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    repo.git("config", "gpg.format", "ssh")
    repo.git("config", "user.signingkey", str(key))
    return key.with_suffix(".pub").read_text()


def trust(tmp_path: Path, *lines: str) -> None:
    (tmp_path / "trust").mkdir(exist_ok=True)
    (tmp_path / "trust/signers").write_text("".join(f"release@example.org {line}" for line in lines))


@pytest.mark.needs("ssh-keygen")
def test_a_tag_counts_when_it_is_signed_by_a_key_that_is_trusted(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    public = with_ssh_key(tmp_path, repo)
    trust(tmp_path, public)
    repo.commit(FILES, "2026-11-20T06:00:00Z", "Rules", "-S")
    repo.tag("v1.0", "-s", "-m", "Signed")
    repo.tag("v1.1", "-m", "Not signed")
    repo.tag("v1.2")
    repo.git("update-ref", "refs/tags/v1.3", "refs/tags/v1.0")
    with_ssh_key(tmp_path, repo, "stranger")
    repo.tag("v1.4", "-s", "-m", "Signed by a stranger")
    source = make(tmp_path, backend, tags="v*", keep=9, verify=[SIGNERS])
    report = source.releases({"rules": RULES})
    (release,) = report.releases
    assert (release.version, release.signed.scheme) == ("1.0", "ssh")
    assert [key.fingerprint for key in source.trusted()] == list(release.signed.keys)
    told = "\n".join(report.problems)
    assert "rules 1.1: the tag v1.1 can't be verified: it isn't signed" in told
    assert "rules 1.2: the tag v1.2 can't be verified: it is only a name for a commit" in told
    assert "rules 1.3: the tag v1.3 was made as v1.0, and renamed" in told
    assert "rules 1.4: the tag v1.4 can't be verified: the signature of the tag v1.4 is by the key SHA256:" in told
    (tmp_path / "trust/signers").write_text("# nobody any more\n")
    assert make(tmp_path, backend, tags="v1.0", verify=[SIGNERS]).releases({"rules": RULES}).releases == ()


@pytest.mark.needs("gpg", "gpgv")
def test_gnupg_signs_tags_and_commits_as_well(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    (tmp_path / "trust").mkdir()
    gpg = Gpg(tmp_path / "gnupg")
    fingerprint = gpg.new("Ada <ada@example.org>")
    (tmp_path / "trust/vendor.gpg").write_bytes(gpg.run("--export", fingerprint))
    repo.git("config", "user.signingkey", fingerprint)
    home = {"GNUPGHOME": str(gpg.home)}
    repo.write(FILES)
    repo.git("add", "-A")
    repo.git("commit", "--quiet", "-S", "-m", "Rules", at="2026-11-20T06:00:00Z", environ=home)
    repo.git("tag", "-s", "-m", "Signed", "v1.0", environ=home)
    gpg.close()
    either = {"any": [SIGNERS, KEYRING]}
    trust(tmp_path)
    (tagged,) = make(tmp_path, backend, tags="v*", verify=either).releases({"rules": RULES}).releases
    assert (tagged.signed.scheme, tagged.signed.keys) == ("gpg", (fingerprint,))
    (made,) = make(tmp_path, backend, branch="main", verify=[KEYRING]).releases({"rules": DAILY}).releases
    assert (made.signed.scheme, made.signed.keys) == ("gpg", (fingerprint,))


@pytest.mark.needs("ssh-keygen")
def test_of_a_branch_the_newest_commit_that_is_signed_well_is_taken(
    tmp_path: Path, repo: Repo, backend: Backend
) -> None:
    trust(tmp_path, with_ssh_key(tmp_path, repo))
    repo.commit(FILES, "2026-11-20T06:00:00Z", "Rules", "-S")
    source = make(tmp_path, backend, branch="main", verify=[SIGNERS])
    assert versions(source.releases({"rules": DAILY})) == ["2026.11.20T060000"]
    repo.commit({"rules/a.conf": b"2"}, "2026-11-21T06:00:00Z", "Rules", "-S")
    unsigned = repo.commit({"rules/a.conf": b"3"}, "2026-11-22T06:00:00Z")
    for _look in range(2):
        report = source.releases({"rules": DAILY})
        assert versions(report) == ["2026.11.20T060000", "2026.11.21T060000"]
        said = f"the branch main: the commit {unsigned[:12]} can't be verified: it isn't signed"
        assert report.problems == (said,)
    repo.commit({"rules/a.conf": b"4"}, "2026-11-23T06:00:00Z", "Rules", "-S")
    report = source.releases({"rules": DAILY})
    assert (versions(report)[-1], report.problems) == ("2026.11.23T060000", ())


# --- what a release can't be made of ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("link", "rules/odd is a link; a release has files only"),
        ("module", "rules/odd is a submodule; a release has files only"),
        ("pointer", "rules/odd is only a pointer of Git LFS"),
        ("twice", "and sub/a.conf would be one file in a release"),
        ("gone", "it has no folder rules (correct `path`)"),
    ],
)
def test_what_is_no_file_is_refused_with_a_sentence_and_can_be_left_out(
    tmp_path: Path, repo: Repo, entry: str, says: str
) -> None:
    commit = repo.commit(FILES, "2026-11-20T06:00:00Z")
    if entry == "link":
        (repo.work / "rules/odd").symlink_to("/etc/passwd")
    elif entry == "module":
        repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},rules/odd")
        repo.git("commit", "--quiet", "-m", "A module")
    elif entry == "pointer":
        repo.write({"rules/odd": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"})
    elif entry == "twice":
        repo.write({"rules/sub/a.conf": b"other"})
    else:
        repo.write(dict.fromkeys(("rules/a.conf", "rules/b.data")))
    if entry != "module":
        repo.git("add", "-A")
        repo.git("commit", "--quiet", "-m", "Odd")
    repo.tag("v1.0")
    report = make(tmp_path, repo.bare.as_uri(), tags="v*").releases({"rules": RULES})
    assert report.releases == ()
    assert says in report.problems[0]
    if entry != "gone":
        chosen = {"rules": {"path": "rules", "exclude": ["odd", "sub/*"]}}
        report = make(tmp_path, repo.bare.as_uri(), tags="v*", components=chosen).releases({"rules": RULES})
        assert [file.name for file in report.releases[0].files] == ["a.conf", "b.data"]


def test_several_components_are_made_of_one_repository(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit({**FILES, "lists/ip.txt": b"1"}, "2026-11-20T06:00:00Z")
    repo.tag("v1.0")
    lists = make_component("lists", scheme="dotted")
    chosen = {"rules": {"path": "rules", "include": ["*.conf"]}, "lists": {"path": ".", "include": ["lists/*"]}}
    source = make(tmp_path, backend, tags="v*", components=chosen)
    report = source.releases({"rules": RULES, "lists": lists})
    assert {release.component: [file.name for file in release.files] for release in report.releases} == {
        "rules": ["a.conf"],
        "lists": ["ip.txt"],
    }
    assert source.releases({"lists": lists}).releases == report.releases[1:]
    assert source.releases({"rules": RULES, "lists": lists}) == report


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", [{"tags": "v*"}, {"branch": "main"}])
def test_what_is_over_the_limit_is_told_with_its_version_and_fetched_when_it_is_asked_for(
    tmp_path: Path, repo: Repo, backend: Backend, ref: dict[str, Any]
) -> None:
    repo.commit({**FILES, "rules/big.data": os.urandom(400_000)}, "2026-11-20T06:00:00Z")
    repo.tag("v1.0", "-m", "Big")
    component, version = (RULES, "1.0") if "tags" in ref else (DAILY, "2026.11.20T060000")
    options = {**ref, "refresh_limit": "100KiB"}
    for looks in (5, 2):  # that it is too much is remembered
        backend.asked.clear()
        report = make(tmp_path, backend, **options).releases({"rules": component})
        assert report.releases == ()
        assert [(entry.component, entry.version, entry.size) for entry in report.unfetched] == [
            ("rules", version, None)
        ]
        assert "`refresh_limit` is less than what would come" in report.unfetched[0].why
        assert len(backend.asked) == looks
    fetched = make(tmp_path, backend, **options).fetch("rules", version, "any")
    report = make(tmp_path, backend, **options).releases({"rules": component})
    assert (report.releases, report.unfetched) == ((fetched,), ())
    with pytest.raises(SourceError, match="rules 9.9 can't be had from"):
        make(tmp_path, backend, **options).fetch("rules", "9.9", "any")


def test_more_than_a_release_may_have_is_refused(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit({**FILES, "rules/big.data": os.urandom(400_000)}, "2026-11-20T06:00:00Z")
    repo.tag("v1.0")
    report = make(tmp_path, backend, tags="v*", max_size="100KiB").releases({"rules": RULES})
    assert (report.releases, report.unfetched) == ((), ())
    assert "has more than 102400 bytes, and isn't fetched" in report.problems[0]


# --- a mirror that was damaged ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["torn", "other", "gone", "all", "notes"])
def test_a_mirror_that_is_damaged_is_fetched_again(tmp_path: Path, repo: Repo, backend: Backend, harm: str) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    repo.tag("v1.0")
    source = make(tmp_path, backend, tags="v*")
    before = source.releases({"rules": RULES})
    mirror = tmp_path / "work/mirror.git"
    for path in sorted(path for path in mirror.glob("objects/??/*")):
        path.chmod(0o600)
        if harm == "torn":
            path.write_bytes(path.read_bytes()[:10])
        elif harm == "other":
            path.write_bytes(min(mirror.glob("objects/??/*")).read_bytes())
        elif harm == "gone":
            path.unlink()
    if harm == "all":
        shutil.rmtree(mirror)
    (tmp_path / "work/git.json").write_text("{" if harm == "notes" else (tmp_path / "work/git.json").read_text())
    (release,) = before.releases
    if harm not in {"notes", "other"}:
        with pytest.raises(SourceError, match="isn't in the mirror any more"), source.open(release, release.files[0]):
            pass
    again = make(tmp_path, backend, tags="v*")
    report = again.releases({"rules": RULES})
    assert report == before
    assert contents(again, report)["1.0"]["a.conf"] == FILES["rules/a.conf"]


# --- ways there -------------------------------------------------------------------------------------------------------


def test_credentials_go_to_the_repositorys_own_host_only(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    repo.tag("v1.0")
    with git_http(tmp_path / "srv") as front:
        front.twist = lambda path, _usual: (
            301,
            {"Location": f"{backend.url.replace('127.0.0.1', 'localhost')}{path}"},
            b"",
        )
        login: dict[str, Any] = {"username": "mirror", "password": SecretRef("env", "TOKEN")}
        report = make(tmp_path, front, tags="v*", **login).releases({"rules": RULES})
    assert (versions(report), report.problems) == (["1.0"], ())
    assert all("Authorization" in head for head in front.heads)
    assert backend.heads
    assert not any("Authorization" in head for head in backend.heads)


@pytest.mark.parametrize("url", ["ssh://git@example.org/rules.git", "git@example.org:rules.git", "git://example.org/r"])
def test_a_url_of_another_protocol_is_refused_with_what_to_do(tmp_path: Path, url: str) -> None:
    with pytest.raises(PluginError, match="over http and https only, and reads folders") as caught:
        make(tmp_path, url, branch="main")
    assert "file:///srv/rules.git" in str(caught.value.hint)


# --- servers that lie -------------------------------------------------------------------------------------------------


def line(content: bytes) -> bytes:
    """Write a line as git's protocol has it."""
    return b"%04x" % (len(content) + 4) + content


def with_pack(usual: Callable[[], Answer], content: bytes, before: bytes = b"") -> Answer:
    """Give an answer with another pack than was asked for."""
    status, headers, _content = usual()
    pieces = [content[at : at + 60_000] for at in range(0, len(content), 60_000)]
    packed = b"".join(line(b"\x01" + piece) for piece in pieces)
    body = before + line(b"packfile\n") + packed + b"0000"
    return status, {"Content-Type": headers["Content-Type"]}, body


def a_bomb() -> bytes:
    """Give a pack of some kilobytes that says of itself that it is 8 MiB, and is."""
    head = b"PACK" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"\xb0\x80\x80\x20"
    content = head + zlib.compress(bytes(2**23), 9)
    return content + hashlib.sha1(content, usedforsecurity=False).digest()


ELSEWHERE = line(b"packfile-uris\n") + line(b"https://127.0.0.1:9/x sha1 %s\n" % (b"0" * 40)) + b"0001"


def lies(repo: Repo, before: str) -> dict[str, tuple[Callable[[Callable[[], Answer]], Answer], str]]:
    """Give answers in place of a pack, by what they are, and what is said of them."""
    wrong = "doesn't speak git's protocol as it should"

    def body(content: bytes) -> Callable[[Callable[[], Answer]], Answer]:
        return lambda usual: (200, {"Content-Type": usual()[1]["Content-Type"]}, content)

    return {
        "bomb": (lambda usual: with_pack(usual, a_bomb()), "has an object of 8388608 bytes; at most 1048576 are read"),
        "cut": (lambda usual: with_pack(usual, pack_of(repo, "main")[:-40]), "breaks off"),
        "other": (lambda usual: with_pack(usual, pack_of(repo, before)), "can't be had"),
        "nothing": (lambda usual: with_pack(usual, b""), "can't be had"),
        "elsewhere": (lambda usual: with_pack(usual, b"", ELSEWHERE), "leads to files elsewhere, which isn't followed"),
        "error": (body(line(b"ERR no such thing\n") + b"0000"), "can't be had"),
        "noise": (body(bytes(range(256)) * 2), wrong),
        "long": (body(b"fff0" + b"x" * 2**21), "has more than 1048576 bytes|" + wrong),
        "page": (
            lambda _usual: (200, {"Content-Type": "text/html"}, b"<h1>"),
            "speaks no protocol of git \\(text/html",
        ),
        "packed": (lambda usual: (200, {**usual()[1], "Content-Encoding": "gzip"}, b""), "the server packed it"),
    }


@pytest.mark.parametrize(
    "lie", ["bomb", "cut", "other", "nothing", "elsewhere", "error", "noise", "long", "page", "packed"]
)
def test_a_server_that_lies_is_told_and_what_was_there_stays(
    tmp_path: Path, repo: Repo, backend: Backend, lie: str
) -> None:
    old = repo.commit(FILES, "2026-11-20T06:00:00Z")
    repo.tag("v1.0")
    before = make(tmp_path, backend, tags="v*", max_size="1MiB").releases({"rules": RULES})
    repo.commit({"rules/a.conf": b"2"}, "2026-11-21T06:00:00Z")
    repo.tag("v1.1")
    twisted, says = lies(repo, old)[lie]

    def twist(_path: str, usual: Callable[[], Answer]) -> Answer:
        answer = usual()
        return twisted(lambda: answer) if b"packfile\n" in answer[2] else answer

    backend.twist = twist
    report = make(tmp_path, backend, tags="v*", max_size="1MiB").releases({"rules": RULES})
    assert report.releases == before.releases
    assert re.search(says, report.problems[0]), report.problems
    backend.twist = lambda _path, usual: usual()
    report = make(tmp_path, backend, tags="v*", max_size="1MiB").releases({"rules": RULES})
    assert (versions(report), report.problems) == (["1.0", "1.1"], ())


def pack_of(repo: Repo, commit: str) -> bytes:
    """Have git pack a commit and what is below it."""
    environ = {**os.environ, "GIT_DIR": str(repo.bare)}
    command = ["git", "pack-objects", "--quiet", "--stdout", "--revs"]
    return subprocess.run(command, input=commit.encode(), env=environ, check=True, capture_output=True).stdout


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((404, {}, b""), "HTTP 404, not there"),
        ((401, {}, b""), "HTTP 401, it wants other credentials"),
        ((200, {"Content-Type": "text/plain"}, b"a" * 40 + b"\trefs/tags/v1\n"), "serves git's files as they are"),
        ((200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b"000eversion 2\n0000"), "protocol"),
        ((200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b""), "doesn't speak git's protocol"),
    ],
)
def test_a_server_that_has_no_repository_is_an_error_with_what_to_do(
    tmp_path: Path, backend: Backend, answer: Answer, says: str
) -> None:
    backend.twist = lambda _path, _usual: answer
    with pytest.raises(SourceError, match=says) as caught:
        make(tmp_path, backend, tags="v*").releases({"rules": RULES})
    assert "s3cret" not in str(caught.value)


def test_a_server_that_wants_rest_is_left_alone(tmp_path: Path, backend: Backend) -> None:
    backend.twist = lambda _path, _usual: (429, {"Retry-After": "3600"}, b"")
    for _look in range(2):
        with pytest.raises(SourceError, match="it is left alone until 2026-11-29T13:00:00Z"):
            make(tmp_path, backend, tags="v*").releases({"rules": RULES})
    assert len(backend.asked) == 1


def test_names_that_a_server_makes_up_lead_nowhere(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")

    def twist(_path: str, usual: Callable[[], Answer]) -> Answer:
        status, headers, content = usual()
        if b"refs/heads/main" in content:
            content = line(b"../../../../../../etc/passwd refs/heads/main\n") + b"0000"
            headers.pop("Content-Length", None)
        return status, headers, content

    backend.twist = twist
    with pytest.raises(SourceError, match="has no branch main"):
        make(tmp_path, backend, branch="main").releases({"rules": DAILY})


@pytest.mark.needs("squid")
def test_a_repository_is_fetched_through_a_proxy_with_a_password(tmp_path: Path, repo: Repo, backend: Backend) -> None:
    repo.commit(FILES, "2026-11-20T06:00:00Z")
    repo.tag("v1.0")
    with squid(tmp_path / "squid", user="ada", password="s3cret") as port:
        proxy = Proxy("office", "http", "127.0.0.1", port, username="ada", password=SecretRef("env", "TOKEN"))
        context = fake_context(tmp_path, now=NOW, secrets={"TOKEN": "s3cret"}, proxy=proxy)
        options = {"url": f"{backend.url}/rules.git", "tags": "v*", "components": {"rules": "rules"}}
        report = make_plugin(git, options, context).releases({"rules": RULES})
        assert (versions(report), report.problems) == (["1.0"], ())
        assert logged(tmp_path / "squid", "git-upload-pack")


def test_options_that_do_not_fit_together_are_told(tmp_path: Path) -> None:
    for options, says in (
        ({}, "needs one of `tags` and `branch`"),
        ({"tags": "v*", "branch": "main"}, "needs one of `tags` and `branch`"),
        ({"branch": "a..b"}, "no branch can have that name"),
        ({"branch": "main", "components": {"rules": "../.."}}, "leads out of the repository"),
    ):
        with pytest.raises(PluginError, match=says):
            make(tmp_path, "https://example.org/r.git", **options)
    with pytest.raises(PluginError, match="don't belong into `url`"):
        make(tmp_path, "https://ada:s3cret@example.org/r.git", branch="main")
