"""Plans against a base: what a change of the spec does, apart from what would happen anyway."""

import subprocess
from pathlib import Path

import pytest

from reconciler.errors import SpecError, UpdoserError
from reconciler.specfile import objects
from reconciler.specfile.load import load
from reconciler.specfile.revision import at_revision
from tests.fleet import Fleet

ENV = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
}


def _git(folder: Path, *arguments: str, given: str = "", check: bool = True) -> str:
    """Run git, and give what it says."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, env=ENV, check=check, capture_output=True, text=True, input=given)
    return done.stdout.strip()


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path, clients=3)
    fleet.release("rules", "1", rules_txt=b"one\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "updoser.yaml", "catalog.yaml")
    _git(tmp_path, "commit", "-q", "-m", "one")
    return fleet


def test_a_plan_tells_what_comes_of_a_change_from_what_would_happen_anyway(fleet: Fleet, tmp_path: Path) -> None:
    fleet.release("rules", "2", rules_txt=b"two\n")
    (tmp_path / "same.yaml").write_bytes((tmp_path / "updoser.yaml").read_bytes())
    fleet.write(components={"rules": {"version": "1"}})
    for base in ("HEAD", "same.yaml"):
        shown = fleet.run("plan", "--base", base, "--out", "a.plan", "--format", "json")
        found = shown.json["against_base"]
        deploys = [entry for entry in found if entry["action"] == "deploy"]
        assert [(entry["by"], entry["version"], entry["clients"]) for entry in deploys] == [
            ("change", "1", 3),
            ("no longer", "2", 3),
        ]
    assert "  no longer       deploy" in fleet.run("show", "a.plan").out
    assert "| no longer | deploy | rules 2 | 3 clients |" in fleet.run("show", "a.plan", "--format", "markdown").out
    fleet.write(client_keep=3)
    _git(tmp_path, "commit", "-q", "-a", "-m", "two")
    anyway = fleet.run("plan", "--base", "HEAD", "--limit", "c1,c2", "--target", "rules", "--format", "json").json
    assert {entry["by"] for entry in anyway["against_base"]} == {"anyway"}


def test_a_base_that_cannot_be_had_is_an_error_that_says_where_and_what(fleet: Fleet, tmp_path: Path) -> None:
    assert "has no such revision" in fleet.run("plan", "--base", "nonsense").err
    assert "has no such revision" in fleet.run("plan", "--base=--output=x").err
    _git(tmp_path, "mv", "updoser.yaml", "other.yaml")
    _git(tmp_path, "commit", "-q", "-m", "moved")
    (tmp_path / "updoser.yaml").write_bytes((tmp_path / "other.yaml").read_bytes())
    assert "there was no updoser.yaml at that revision" in fleet.run("plan", "--base", "HEAD").err
    (tmp_path / "updoser.yaml").write_text("version: 1\nnonsense: 1\n")
    _git(tmp_path, "add", "updoser.yaml")
    _git(tmp_path, "commit", "-q", "-m", "invalid")
    (tmp_path / "updoser.yaml").write_bytes((tmp_path / "other.yaml").read_bytes())
    invalid = fleet.run("plan", "--base", "HEAD")
    assert invalid.code == 65
    assert "HEAD:updoser.yaml:2:1" in invalid.err
    (tmp_path / ".git").rename(tmp_path / "git")
    assert "is no repository" in fleet.run("plan", "--base", "HEAD", GIT_CEILING_DIRECTORIES=str(tmp_path)).err


# --- repositories of others -------------------------------------------------------------------------------------------

ATTRIBUTES = "* filter=evil diff=evil ident export-subst\n*.txt working-tree-encoding=UTF-16\n*.yaml export-ignore\n"
PROGRAMS = (
    *("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass", "core.alternateRefsCommand"),
    *("filter.evil.smudge", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv", "diff.evil.command"),
    *("diff.external", "pager.cat-file", "pager.ls-tree", "tar.tar.command", "credential.helper", "gpg.program"),
)
HOOKS = ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman")
VARIABLES = (
    *(
        "GIT_EXTERNAL_DIFF",
        "GIT_SSH_COMMAND",
        "GIT_PAGER",
        "GIT_ASKPASS",
        "GIT_PROXY_COMMAND",
        "GIT_EDITOR",
        "GIT_TRACE",
    ),
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_EXEC_PATH"),
)


def _program(folder: Path) -> tuple[Path, Path]:
    """Make a program, and name the file that is there once it ran."""
    program, ran = folder / "evil.sh", folder / "ran"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {ran}\ncat\n')
    program.chmod(0o755)
    return program, ran


def test_nothing_that_a_repository_names_is_run_or_changes_its_files(
    fleet: Fleet, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program, ran = _program(tmp_path_factory.mktemp("evil"))
    (tmp_path / "odd $name\n.txt").write_text("$Id$ $Format:%H$\n")
    _git(tmp_path, "add", "odd $name\n.txt")
    (tmp_path / ".gitattributes").write_text(ATTRIBUTES)
    _git(tmp_path, "add", ".gitattributes")
    _git(tmp_path, "commit", "-q", "-m", "two")
    for name in PROGRAMS:
        _git(tmp_path, "config", name, str(program))
    for name in HOOKS:
        (tmp_path / ".git/hooks" / name).symlink_to(program)
    committed = (tmp_path / "updoser.yaml").read_bytes()
    fleet.write(components={"rules": {"version": "1"}})
    elsewhere = dict.fromkeys(VARIABLES, str(program))
    shown = fleet.run("plan", "--no-exec", "--base", "HEAD", "--format", "json", **elsewhere)
    assert shown.code == 0, shown.err
    with at_revision(tmp_path / "updoser.yaml", "HEAD") as file:
        assert file.read_bytes() == committed
        assert (file.parent / "odd $name\n.txt").read_text() == "$Id$ $Format:%H$\n"
        assert not (file.parent / "upstream").exists()
    assert not ran.exists(), ran.read_text()


def test_what_a_partial_clone_lacks_is_not_fetched_and_said(
    fleet: Fleet, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program, ran = _program(tmp_path_factory.mktemp("evil"))
    for name, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", f"ext::{program}"),
        ("protocol.ext.allow", "always"),
        ("protocol.allow", "always"),
    ):
        _git(tmp_path, "config", name, value)
    for path in (tmp_path / ".git/objects").glob("??/*"):
        if _git(tmp_path, "cat-file", "-t", path.parent.name + path.name, check=False) == "blob":
            path.unlink()
    with (
        pytest.raises(UpdoserError, match="a partial clone lacks files"),
        at_revision(fleet.folder / "updoser.yaml", "HEAD"),
    ):
        pass
    assert not ran.exists(), ran.read_text()


def test_links_and_submodules_are_not_followed_and_named_where_the_spec_needs_them(
    fleet: Fleet, tmp_path: Path
) -> None:
    file = tmp_path / "updoser.yaml"
    (tmp_path / "unrelated").symlink_to("/etc")
    (tmp_path / "linked.yaml").symlink_to("catalog.yaml")
    fleet.write(catalogs=["linked.yaml"])
    (tmp_path / "module").mkdir()
    head = _git(tmp_path, "rev-parse", "HEAD")
    _git(tmp_path, "add", "unrelated", "linked.yaml", "updoser.yaml")
    _git(tmp_path, "update-index", "--add", "--cacheinfo", f"160000,{head},module")
    _git(tmp_path, "commit", "-q", "-m", "links")
    with (
        pytest.raises(SpecError, match=r"(?s)no catalog `linked.yaml`.*isn't followed: linked.yaml \(a link\)\n"),
        at_revision(file, "HEAD") as then,
    ):
        load(then)
    fleet.write(catalogs=["catalog.yaml"])
    _git(tmp_path, "commit", "-q", "-a", "-m", "unrelated links only")
    with at_revision(file, "HEAD") as then:
        load(then)
        assert {path.name for path in then.parent.iterdir()} == {"catalog.yaml", "updoser.yaml"}
    for path, kind in (("linked.yaml", "linked.yaml is a link"), ("module/updoser.yaml", "module is a submodule")):
        with (
            pytest.raises(UpdoserError, match=f"{kind} there, and isn't followed"),
            at_revision(tmp_path / path, "HEAD"),
        ):
            pass


@pytest.mark.parametrize("limit", ["MAX_FILES", "MAX_BYTES"])
def test_a_revision_that_is_too_large_is_refused_before_it_is_unpacked(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(objects, limit, 1)
    with pytest.raises(UpdoserError, match="too many to unpack"), at_revision(fleet.folder / "updoser.yaml", "HEAD"):
        pass


@pytest.mark.parametrize("name", ["..", "."])
def test_a_path_that_leads_elsewhere_is_refused(fleet: Fleet, tmp_path: Path, name: str) -> None:
    blob = _git(tmp_path, "rev-parse", "HEAD:updoser.yaml")
    inner = _git(tmp_path, "mktree", given=f"100644 blob {blob}\tevil\n")
    listed = f"100644 blob {blob}\tupdoser.yaml\n040000 tree {inner}\t{name}\n"
    commit = _git(tmp_path, "commit-tree", "-m", "evil", _git(tmp_path, "mktree", given=listed))
    with (
        pytest.raises(UpdoserError, match="is no path that a file may have"),
        at_revision(fleet.folder / "updoser.yaml", commit),
    ):
        pass
    assert not (tmp_path.parent / "evil").exists()
