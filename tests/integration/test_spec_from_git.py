"""A spec that comes from a git repository: which commit is taken, whom that believes, and what a hostile one can do."""

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest
import yaml

from reconciler.assembly import utc_now
from reconciler.controller import mirror
from reconciler.controller.mirror import GitOptions
from reconciler.controller.spec_source import Found, FromGit
from reconciler.desk import Desk
from reconciler.errors import SpecError, UpdoserError, UsageError
from tests.fleet import CATALOG, Fleet
from tests.integration.test_controller import OFTEN, has, running, said, standing
from tests.waiting import until

SPEC = "version: 1\nserver: {store: store, state: 'sqlite:///state.db'}\nvars: {at: %s}\n"


class Site:
    """A repository, keys of people who sign its commits, and a folder in which a controller runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.signers = folder / "signers"
        self.work.mkdir()
        self.git("init", "-q", "-b", "main")
        allowed = []
        for name in ("ann", "mallory"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
            subprocess.run(command, check=True, capture_output=True)
            if name == "ann":
                allowed.append(f'ann@example.org namespaces="git" {(folder / f"{name}.pub").read_text()}')
        self.signers.write_text("".join(allowed))
        self.options = GitOptions(url=str(self.work), branch="main", folder=folder / "git")

    def git(self, *arguments: str, by: str = "", given: str = "") -> str:
        """Run git in the repository, as somebody whose key signs."""
        names = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _ME.items()}
        key = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={self.folder / by}"] if by else []
        done = subprocess.run(
            ["git", *key, *arguments],
            cwd=self.work,
            env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", **names},
            check=True,
            capture_output=True,
            text=True,
            input=given,
        )
        return done.stdout.strip()

    def commit(self, at: object = "", *, by: str = "", text: str = "", **files: str) -> str:
        """Commit a spec, and give the commit."""
        for name, content in {"updoser.yaml": text or SPEC % at, **files}.items():
            (self.work / name).write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", f"at {at}", *(["-S"] if by else []), by=by)
        return self.git("rev-parse", "HEAD")

    def source(self, clock: Callable[[], datetime] = utc_now, **changes: Any) -> FromGit:
        if changes.get("verify", "none") != "none" and "gpg_home" not in changes:
            changes = {"signers": self.signers, **changes}
        return FromGit(
            Desk(terminal=cast("Any", None), file=Path("updoser.yaml")), replace(self.options, **changes), clock
        )


_ME = {"NAME": "a", "EMAIL": "a@example.org"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Site(tmp_path)


def first(source: FromGit) -> tuple[str, str]:
    spec = source.first(Event()).spec
    return spec.commit, spec.signer


def look(source: FromGit) -> Found:
    return source.look(Event())


def taken(found: Found) -> str:
    assert found.loaded is not None
    return found.loaded.spec.commit


# --- a repository that can't be reached -------------------------------------------------------------------------------


def test_a_repository_that_cannot_be_reached_is_tried_ever_less_often_and_at_once_when_somebody_wants_it(
    site: Site,
) -> None:
    now = [datetime(2026, 11, 24, 12, tzinfo=UTC)]
    source, commits = site.source(clock=lambda: now[0]), [site.commit(0)]
    first(source)
    site.work.rename(site.folder / "away")
    for minutes in (1, 2, 4):
        found = look(source)
        assert (taken(found), found.problems) == (commits[0], ())
        assert "can't be fetched" in found.unreachable
        assert found.again == now[0] + timedelta(minutes=minutes)
        (site.folder / "away").rename(site.work)
        now[0] += timedelta(minutes=minutes) - timedelta(seconds=1)
        assert look(source) == found  # it isn't asked, though it is there again
        site.work.rename(site.folder / "away")
        now[0] += timedelta(seconds=1)
    (site.folder / "away").rename(site.work)
    commits.append(site.commit(1))
    look(source)
    found = source.look(Event(), now=True)
    assert (taken(found), found.unreachable, found.again) == (commits[1], "", None)


# --- which commit is taken --------------------------------------------------------------------------------------------


def test_a_new_commit_takes_the_place_of_the_one_before_and_older_ones_are_removed(site: Site) -> None:
    source, commits = site.source(), [site.commit(0)]
    assert first(source) == (commits[0], "")
    for at in range(1, 4):
        commits.append(site.commit(at))
        found = look(source)
        assert (taken(found), found.problems) == (commits[-1], ())
    assert {path.name for path in (site.folder / "git/commits").iterdir()} == set(commits[-2:])
    assert (site.folder / "git/current/updoser.yaml").read_text() == SPEC % 3


def test_what_is_written_and_keys_lie_where_the_controller_was_started_and_the_rest_in_the_commit(site: Site) -> None:
    (site.folder / "here/key").write_text("secret")
    (site.folder / "here/only-here.pem").write_text("x")
    parts = {
        "version": 1,
        "catalogs": ["catalog.yaml"],
        "server": {"store": "store", "state": "sqlite:///state.db"},
        "proxies": {
            "one": {"url": "http://p.example:3128", "password": {"file": "key"}, "username": "u", "ca": "ca.pem"},
            "two": {"url": "https://p.example:3128", "ca": "only-here.pem"},
        },
        "groups": {"g": {"transport": {"type": "local"}, "install_root": "clients", "clients": [{"name": "c1"}]}},
    }
    commit = site.commit(text=yaml.safe_dump(parts), **{"catalog.yaml": yaml.safe_dump(CATALOG), "ca.pem": "x"})
    spec = site.source().first(Event()).spec
    here = site.folder / "here"
    assert spec.server.store == here / "store"
    assert spec.server.state == f"sqlite:///{here}/state.db"
    assert spec.groups["g"].install_root == f"{here}/clients"
    assert (spec.base, spec.home) == (site.folder / f"git/commits/{commit}/tree", here)


def test_a_spec_that_is_no_good_is_told_with_its_commit_and_the_last_good_one_stays_also_after_a_start(
    site: Site,
) -> None:
    good, source = site.commit(1), site.source()
    first(source)
    bad = site.commit(text="version: 1\nnonsense: 1\n")
    for _ in range(2):
        found = look(source)
        assert taken(found) == good
        assert f"{bad[:12]}:updoser.yaml:2:1" in found.problems[0]
    assert first(site.source())[0] == good
    assert taken(look(source)) == good
    assert taken(look(site.source())) == good
    better = site.commit(2)
    assert (taken(look(source)), look(source).problems) == (better, ())


def test_the_first_spec_must_be_good(site: Site) -> None:
    with pytest.raises(UpdoserError, match="couldn't find remote ref"):
        first(site.source())
    site.commit(text="nonsense: 1\n")
    with pytest.raises(SpecError, match=r"[0-9a-f]{12}:updoser.yaml"):
        first(site.source())
    with pytest.raises(UpdoserError, match="there is no other.yaml in it"):
        first(site.source(path="other.yaml"))


def test_while_the_repository_cannot_be_reached_the_last_good_spec_stays_in_force_also_after_a_start(
    site: Site,
) -> None:
    commit, source = site.commit(1), site.source()
    first(source)
    site.work.rename(site.folder / "gone")
    found = look(source)
    assert taken(found) == commit
    assert "can't be fetched" in found.unreachable
    assert first(site.source())[0] == commit
    (site.folder / "gone").rename(site.work)
    assert source.look(Event(), now=True).unreachable == ""


def test_what_does_not_come_after_the_commit_in_force_is_refused_unless_that_is_wanted(site: Site) -> None:
    old = site.commit(1)
    new, source = site.commit(2), site.source()
    first(source)
    site.git("checkout", "-q", "--orphan", "other")
    orphan = site.commit(3)
    for target in (old, orphan):
        site.git("branch", "-f", "main", target)
        found = look(source)
        assert taken(found) == new
        assert "doesn't come after" in found.problems[0]
        assert first(site.source())[0] == new
    assert first(site.source(allow_rewind=True))[0] == orphan


def test_a_mirror_that_is_lost_does_not_let_a_rewind_through(site: Site) -> None:
    site.commit(1)
    new, source = site.commit(2), site.source()
    first(source)
    site.git("reset", "-q", "--hard", "HEAD~")
    site.git("reflog", "expire", "--expire=now", "--all")
    site.git("gc", "-q", "--prune=now")
    subprocess.run(["rm", "-rf", site.folder / "git/mirror"], check=True)
    found = look(source)
    assert "no more: nothing else is taken" in found.problems[0]
    assert taken(found) == new


def test_the_highest_tag_is_taken_and_a_release_counts_above_its_candidates(site: Site) -> None:
    commits = {}
    for name in ("v1.9", "v1.10-rc1", "v1.10", "other"):
        commits[name] = site.commit(name)
        site.git("tag", name)
    source = site.source(branch="", tag="v*")
    assert first(source)[0] == commits["v1.10"]
    site.git("tag", "-d", "v1.10")
    assert (taken(look(source)), look(source).problems) == (commits["v1.10"], ())
    commits["v2"] = site.commit("v2")
    site.git("tag", "v2")
    assert taken(look(source)) == commits["v2"]


# --- whom it believes -------------------------------------------------------------------------------------------------


def test_only_a_commit_that_is_signed_by_an_allowed_key_is_taken(site: Site) -> None:
    good, source = site.commit(1, by="ann"), site.source(verify="head")
    assert first(source) == (good, "ann@example.org")
    for by, says in (("mallory", "isn't signed by a key that is allowed"), ("", "isn't signed")):
        bad = site.commit(2, by=by)
        found = look(source)
        assert taken(found) == good
        assert says in found.problems[0]
        assert bad[:12] in found.problems[0]
    better = site.commit(3, by="ann")
    found = look(source)
    assert (taken(found), found.problems) == (better, ())
    site.commit(4, by="ann")
    site.commit(5, by="mallory")
    assert taken(look(source)) == site.git("rev-parse", "HEAD~")


def test_where_all_must_be_signed_it_goes_as_far_as_they_are(site: Site) -> None:
    site.commit(0)
    good, source = site.commit(1, by="ann"), site.source(verify="all")
    assert first(source) == (good, "ann@example.org")
    second = site.commit(2, by="ann")
    site.commit(3)
    site.commit(4, by="ann")
    found = look(source)
    assert taken(found) == second
    assert "isn't signed" in found.problems[0]
    site.git("reset", "-q", "--hard", second)
    site.git("checkout", "-q", "-b", "side")
    site.commit(5)
    site.git("checkout", "-q", "main")
    site.git("merge", "-q", "--no-ff", "-S", "-m", "merged", "side", by="ann")
    assert taken(look(source)) == second
    site.git("reset", "-q", "--hard", second)
    last = site.commit(6, by="ann")
    assert taken(look(source)) == last


def test_a_tag_counts_by_its_signature_and_its_own_name(site: Site) -> None:
    one, source = site.commit(1), site.source(branch="", tag="v*", verify="tag")
    site.git("tag", "-s", "-m", "x", "v1", by="ann")
    assert first(source) == (one, "ann@example.org")
    site.commit(2)
    site.git("tag", "v4")
    site.git("tag", "-a", "-m", "x", "v5")
    site.git("tag", "-s", "-m", "x", "v6", by="mallory")
    site.git("tag", "-s", "-m", "x", "old", by="ann")
    site.git("update-ref", "refs/tags/v7", site.git("rev-parse", "refs/tags/old"))
    found = look(source)
    assert taken(found) == one
    said = " ".join(found.problems)
    assert all(name in said for name in ("v4", "v5", "v6", "the tag v7", "was signed as old, and renamed"))
    two = site.git("rev-parse", "HEAD")
    site.git("tag", "-s", "-m", "x", "v8", by="ann")
    found = look(source)
    assert (taken(found), found.problems) == (two, ())


def test_without_the_list_of_allowed_signers_nothing_is_believed(site: Site) -> None:
    good, source = site.commit(1, by="ann"), site.source(verify="head")
    with pytest.raises(UpdoserError, match="can't be read, so no signature is believed"):
        first(site.source(verify="head", signers=site.folder / "none"))
    first(source)
    site.signers.rename(site.folder / "moved")
    site.commit(2, by="ann")
    found = look(source)
    assert taken(found) == good
    assert "no signature is believed" in found.problems[0]
    (site.folder / "signers").write_text("")
    assert taken(look(source)) == good


def test_a_gpg_key_counts_where_its_folder_trusts_it_and_not_without(site: Site, tmp_path_factory: Any) -> None:
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    made = [*gpg, "--passphrase", "", "--quick-gen-key", "Ann <ann@example.org>", "ed25519", "sign", "never"]
    subprocess.run(made, check=True, capture_output=True)
    wrapper = site.folder / "gpg.sh"
    wrapper.write_text(f'#!/bin/sh\nexec gpg --homedir {home} --batch "$@"\n')
    wrapper.chmod(0o755)
    site.git("config", "gpg.program", str(wrapper))
    site.git("config", "user.signingkey", "ann@example.org")
    site.commit(1)
    site.git("commit", "-q", "--allow-empty", "-S", "-m", "signed")
    commit = site.git("rev-parse", "HEAD")
    assert first(site.source(verify="head", gpg_home=home)) == (commit, "Ann <ann@example.org>")
    subprocess.run([*gpg, "--import-ownertrust"], input=_trust_nobody(gpg), check=True, capture_output=True)
    with pytest.raises(UpdoserError, match="isn't signed by a key that is allowed"):
        first(site.source(verify="head", gpg_home=home, folder=site.folder / "other"))
    with pytest.raises(UpdoserError, match="not in a way that is allowed"):
        first(
            site.source(verify="head", folder=site.folder / "third")
        )  # SSH keys only, whatever the user's keyring has


def _trust_nobody(gpg: list[str]) -> bytes:
    trusted = subprocess.run([*gpg, "--export-ownertrust"], check=True, capture_output=True).stdout
    return trusted.replace(b":6:", b":2:")


# --- repositories of others -------------------------------------------------------------------------------------------


def test_nothing_that_a_repository_names_is_run_or_followed(site: Site) -> None:
    program, ran = site.folder / "evil.sh", site.folder / "ran"
    program.write_text(f"#!/bin/sh\necho $0 >> {ran}\ncat\n")
    program.chmod(0o755)
    head = site.commit(1)
    (site.work / "link").symlink_to("/etc")
    attributes = "* filter=evil diff=evil export-subst ident\n*.yaml export-ignore\n"
    (site.work / ".gitattributes").write_text(attributes)
    (site.work / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = m\n\turl = ext::{program}\n')
    (site.work / "program").write_text("#!/bin/sh\n")
    (site.work / "program").chmod(0o755)
    (site.work / "odd.txt").write_text("$Id$ $Format:%H$\n")
    site.git("add", "-A")
    site.git("update-index", "--add", "--cacheinfo", f"160000,{head},m")
    site.git("commit", "-q", "-m", "evil")
    commit = site.commit(2)
    site.git("reset", "-q", "--soft", "HEAD~")
    for name in ("filter.evil.smudge", "core.fsmonitor", "core.sshCommand", "gpg.ssh.program", "gpg.program"):
        site.git("config", name, str(program))
    source = site.source()
    first(source)
    for name in ("post-checkout", "reference-transaction", "post-merge", "pre-auto-gc", "post-index-change"):
        (site.folder / "git/mirror/hooks").mkdir(exist_ok=True)
        (site.folder / "git/mirror/hooks" / name).symlink_to(program)
    site.git("update-ref", "refs/heads/main", commit)
    assert taken(look(source)) == commit
    tree = site.folder / "git/current"
    assert {path.name for path in tree.iterdir()} == {
        *(".gitattributes", ".gitmodules", "updoser.yaml", "program", "odd.txt")
    }
    assert (tree / "odd.txt").read_text() == "$Id$ $Format:%H$\n"
    assert os.access(tree / "program", os.X_OK)
    assert not ran.exists(), ran.read_text()


def test_a_note_that_is_committed_does_not_pass_for_one_of_ours(site: Site) -> None:
    (site.work / "tree").mkdir()
    (site.work / "tree/updoser.yaml").write_text(SPEC % 1)
    (site.work / "commit.json").write_text('{"commit": "x", "signer": "root", "home": "/"}')
    commit = site.commit(1)
    spec = site.source(path="tree/updoser.yaml").first(Event()).spec
    assert (spec.commit, spec.home) == (commit, site.folder / "here")


def test_a_repository_that_sends_too_much_is_cut_off_and_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, source = site.commit(1), site.source()
    first(source)
    (site.work / "large").write_bytes(os.urandom(2**18))
    site.commit(2)
    monkeypatch.setattr(mirror, "MAX_FETCHED", 2**16)
    found = look(source)
    assert taken(found) == commit
    assert "can't be fetched" in found.unreachable
    assert not list((site.folder / "git/mirror/objects/pack").glob("tmp_*"))


def test_a_git_that_was_killed_is_not_in_the_way_of_the_next(site: Site) -> None:
    site.commit(1)
    source = site.source()
    first(source)
    (site.folder / "git/mirror/refs/updoser/branch.lock").touch()
    (site.folder / "git/commits/.new-left").mkdir()
    commit = site.commit(2)
    assert taken(look(source)) == commit
    assert not (site.folder / "git/commits/.new-left").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "ext::sh -c id"}, "no URL"),
        ({"url": "--upload-pack=id"}, "no URL"),
        ({"url": "ftp://host/x"}, "no URL"),
        ({"url": "http://host/x"}, "anybody on the way"),
        ({"url": "https://u:p@host/x"}, "a password in the URL"),
        ({"branch": ""}, "needs one of"),
        ({"tag": "v*"}, "needs one of"),
        ({"branch": "a..b"}, "can have that name"),
        ({"branch": "-x"}, "can have that name"),
        ({"branch": "a:b"}, "can have that name"),
        ({"path": "../x"}, "no path in a repository"),
        ({"path": "/x"}, "no path in a repository"),
        ({"verify": "tag"}, "needs --tag"),
        ({"verify": "head"}, "whom to believe"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_asked(changes: Any, says: str, tmp_path: Path) -> None:
    options = GitOptions(**{"url": "https://h/x", "branch": "main", "folder": tmp_path / "git", **changes})
    with pytest.raises(UsageError, match=says):
        FromGit(Desk(terminal=cast("Any", None), file=Path("updoser.yaml")), options)
    assert not (tmp_path / "git").exists()


# --- a controller -----------------------------------------------------------------------------------------------------


def test_a_commit_changes_what_is_deployed_and_stands_in_runs_and_status(site: Site) -> None:
    fleet = Fleet(site.folder / "here", 2, controller=OFTEN, components={"rules": {"version": "1"}})
    for version, content in (("1", b"one"), ("2", b"two")):
        fleet.release("rules", version, rules_txt=content)
    before = _moved(fleet, site)
    options = ("--from-git", str(site.work), "--branch", "main", "--verify", "all", "--allowed-signers", "../signers")
    with running(fleet, *options) as process:
        until(has(fleet, b"one"), process)
        fleet.write(components={"rules": {"version": "2"}})
        after = _moved(fleet, site)
        process.send_signal(signal.SIGHUP)
        until(has(fleet, b"two"), process)
        assert _standing(fleet) == (after, "ann@example.org")
        bad = site.commit(text="nonsense: 1\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: f"{bad[:12]} isn't signed" in said(fleet), process)
    file = ("-f", ".updoser/git/current/updoser.yaml")
    runs = fleet.run("history", "--format", "json", *file).json
    assert [run["origin"]["spec_commit"] for run in runs] == [after, before]
    assert f"  desired state of commit {after[:12]}, signed by ann@example.org\n" in fleet.run("status", *file).out
    assert not (site.folder / "here/.updoser/git/current/store").exists()


def _standing(fleet: Fleet) -> tuple[str, str]:
    found = standing(fleet, "-f", ".updoser/git/current/updoser.yaml")
    return found["commit"], found["signer"]


def _moved(fleet: Fleet, site: Site) -> str:
    """Take the files of a fleet's spec into a commit."""
    for name in ("updoser.yaml", "catalog.yaml"):
        (fleet.folder / name).replace(site.work / name)
    site.git("add", "-A")
    site.git("commit", "-q", "-S", "-m", "as wanted", by="ann")
    (fleet.folder / "catalog.yaml").write_bytes((site.work / "catalog.yaml").read_bytes())
    return site.git("rev-parse", "HEAD")
