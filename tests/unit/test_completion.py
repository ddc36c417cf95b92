"""A shell completes what the file and the state know, and nothing is said about what goes wrong meanwhile."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler import cli
from reconciler.cli.root import cli as command
from reconciler.model.client import Client
from reconciler.present.terminal import Terminal
from reconciler.storage.state import State
from tests.fakes import NOW
from tests.fleet import Fleet

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    clients = [{"name": "c1", "labels": ["canary"]}, {"name": "pc-written"}]
    fleet = Fleet(tmp_path, groups={"branch": {"clients": clients, "install_root": "/x"}}, components={"*": {}})
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        state.sync_clients("branch", [Client(f"pc-{n}", "branch", f"192.0.2.{n}") for n in (1, 2)])
    return fleet


def completed(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> tuple[str, ...]:
    """Ask as bash does; the last word is being typed."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("_UPDOSER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"updoser {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) + words.endswith(" ")))
    with pytest.raises(SystemExit) as ended:
        cli.run([], Terminal())
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert not said.err
    return tuple(line.partition(",")[2] for line in said.out.splitlines() if line)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("plan --target r", {"rules"}),
        ("plan --expedite ", {"rules", "engine"}),
        ("rollback e", {"engine"}),
        ("rollout pause ", {"rules", "engine"}),
        ("plan --limit b", {"branch"}),
        ("plan --limit @", {"@failed"}),
        ("plan --limit c", {"canary", "c1"}),
        ("plan --limit branch,pc-", {"branch,pc-written", "branch,pc-1", "branch,pc-2"}),
        ("plan --limit branch,!can", {"branch,!canary"}),
        ("doctor pc-", {"pc-written", "pc-1", "pc-2"}),
        ("explai", {"explain"}),
    ],
)
def test_names_of_the_file_and_of_the_state_are_completed(
    fleet: Fleet, words: str, found: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(completed(words, monkeypatch, capsys, fleet.folder)) == found


def test_another_file_is_asked_where_it_is_named(
    tmp_path: Path, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.yaml").write_text("components: {own: {}}\n")
    assert completed("plan -f other.yaml --target ", monkeypatch, capsys, tmp_path) == ("own",)


@pytest.mark.parametrize(
    "text", [None, "a: {{ x }}\n", "components: [1]\ngroups: 3\nserver: {state: 'sqlite:///none'}\n"]
)
def test_a_file_that_is_not_there_or_no_good_completes_nothing_and_says_nothing(
    tmp_path: Path, text: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "updoser.yaml").write_text(text)
    assert completed("plan --limit pc", monkeypatch, capsys, tmp_path) == ()
    completed("plan --target x", monkeypatch, capsys, tmp_path)


def test_completing_brings_in_neither_what_talks_to_clients_nor_what_opens_states(fleet: Fleet) -> None:
    code = """
import sys
from reconciler.cli import run
from reconciler.present.terminal import Terminal
try:
    run([], Terminal())
except SystemExit:
    print(*sorted({"paramiko", "sqlalchemy", "jinja2", "jsonschema", "rich"} & set(sys.modules)))
"""
    words = {"_UPDOSER_COMPLETE": "bash_complete", "COMP_WORDS": "updoser plan --limit pc-1", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=fleet.folder,
        env={"PYTHONPATH": str(ROOT), **words},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["plain,pc-1", ""]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_one_that_it_can_read(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell], Terminal()) == 0
    script = capsys.readouterr().out
    assert "_UPDOSER_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_each_component_and_limit_of_the_command_line_is_completed() -> None:
    def parameters(group: Any) -> list[Any]:
        below = [parameters(entry) if hasattr(entry, "commands") else entry.params for entry in group.commands.values()]
        return [parameter for found in below for parameter in found]

    named = [one for one in parameters(command) if one.name in {"component", "targets", "expedited", "limit"}]
    assert len(named) > 10
    assert not [one.name for one in named if one._custom_shell_complete is None]
