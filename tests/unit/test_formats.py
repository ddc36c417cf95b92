"""Formats that programs read, each for the documents that it can show, and a file of JSON beside any of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler import cli
from reconciler.errors import UsageError
from reconciler.model.change import Deploy, Download, Settings
from reconciler.model.plan import Basis, Plan
from reconciler.present.document import plan_document
from reconciler.present.render import FORMATS, View, json_text, render
from reconciler.present.terminal import Terminal
from reconciler.present.views import PLAN
from tests.fakes import NOW
from tests.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path


def deploy(component: str = "rules", before: str = "1", **more: Any) -> Deploy:
    digest = "a" * 64 if before else ""
    fields = {"reason": "outdated", "clients": 2, "members": ("c1",), "bytes": 1536, "bytes_full": 2048, **more}
    return Deploy(component, "office", before, digest, "2", "b" * 64, "any", **fields)


def document(**fields: Any) -> Any:
    return plan_document(
        Plan(
            "p",
            NOW,
            Basis("l", 1, 0, "s", "c"),
            clients={"office": 4},
            members={"c1": ("a", "b"), "c2": ("c",)},
            **fields,
        )
    )


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.part])
def test_a_format_that_a_document_has_no_view_for_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"--format {name}"):
        render({}, name, View(str))


@pytest.mark.parametrize("command", ["status", "history", "plugins"])
def test_a_command_refuses_a_format_that_it_has_not_before_it_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    fleet = Fleet(tmp_path)
    code = cli.run([command, "-f", str(fleet.folder / "updoser.yaml"), "--format", "gitlab-terraform"], Terminal())
    assert (code, "gitlab-terraform" in capsys.readouterr().err) == (64, True)
    assert not (fleet.folder / "state.db").exists()


def test_gitlab_counts_what_is_new_what_changes_and_what_goes_back() -> None:
    made = document(
        downloads=(Download("rules", "", "2", "b" * 64, "any", "drop", 9, "missing"),),
        deploys=(deploy("a"), deploy("b", "", reason="missing"), deploy("c", downgrade=True), deploy("d")),
        settings=(Settings("office", "missing", 2, ("c1",)), Settings("dmz", "changed", 1, ("c2",))),
    )
    assert json.loads(render(made, "gitlab-terraform", PLAN)) == {"create": 2, "update": 3, "delete": 1}


# --- a file of JSON beside what is shown ------------------------------------------------------------------------------


def test_what_is_shown_stands_in_a_file_as_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into, made = tmp_path / "shown.json", document(deploys=(deploy(),))
    terminal = Terminal(lambda text: text.replace("rules", "****"))
    terminal.write_into(into)
    terminal.show(made, "text", PLAN)
    assert capsys.readouterr().out.startswith("Plan: ")
    assert into.read_text() == json_text(made).replace("rules", "****")


def test_any_command_writes_its_result_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, into = Fleet(tmp_path), tmp_path / "valid.json"
    file = str(fleet.folder / "updoser.yaml")
    assert cli.run(["validate", "-f", file, "--json-into", str(into)], Terminal()) == 0
    assert " is valid: " in capsys.readouterr().out
    assert json.loads(into.read_text())["file"] == file


def test_a_file_of_json_that_cannot_be_written_is_refused_before_anything_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(tmp_path)
    spec = (tmp_path / "updoser.yaml").read_bytes()
    for into in (tmp_path, tmp_path / "none" / "plan.json", tmp_path / "updoser.yaml"):
        code = cli.run(["plan", "-f", str(fleet.folder / "updoser.yaml"), "--json-into", str(into)], Terminal())
        assert (code, f"--json-into {into}" in capsys.readouterr().err) == (64, True)
    assert not (fleet.folder / "state.db").exists()
    assert (tmp_path / "updoser.yaml").read_bytes() == spec


def test_a_file_of_json_that_is_lost_at_the_end_is_said_and_undoes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, terminal = tmp_path / "folder", Terminal()
    folder.mkdir()
    terminal.write_into(folder / "plan.json")
    folder.rmdir()
    terminal.show(document(), "text", PLAN)
    shown = capsys.readouterr()
    assert (shown.out[:6], "plan.json can't be written" in shown.err) == ("Plan: ", True)
    assert terminal.settle(0) == 1
