"""The schema for editors: it says of a file what `updoser validate` does, and knows the options of plugins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from reconciler import cli
from reconciler.present.terminal import Terminal
from reconciler.specfile.starter import starter
from reconciler.specfile.whole_schema import editor_schema, whole_schema

ROOT = Path(__file__).parents[2]
SCHEMA = editor_schema(whole_schema().schema)
CHECK = {"name": "x", "run": "true"}


def fits(spec: dict[str, Any], schema: dict[str, Any] = SCHEMA) -> bool:
    return not [*Draft202012Validator(schema).iter_errors({"version": 1, **spec})]


def source(**options: Any) -> dict[str, Any]:
    return {"sources": [{"name": "drop", **options}]}


def group(**keys: Any) -> dict[str, Any]:
    return {"groups": {"all": keys}}


def test_it_is_a_schema_and_takes_files_that_are_good(tmp_path: Path) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert fits(yaml.safe_load((ROOT / "updoser.yaml").read_text()))
    assert fits(yaml.safe_load(starter(file=tmp_path / "x.yaml", catalog=None, inventory="list", entries=())))
    assert all(fits(example) for example in SCHEMA["examples"])


@pytest.mark.parametrize(
    "good",
    [
        source(type="directory", path="upstream", settle="10s"),
        source(type="sample", day="{{ day }}"),
        source(type="sample", components=["virus-pattern"]),
        source(type="sample", day=3, stale_after="{{ stale }}"),
        group(transport={"type": "ssh", "user": "x", "port": "{{ port }}"}),
        group(transport={"shell": "dash"}),  # laid over that of `defaults`
        group(checks=[CHECK, {**CHECK, "type": "command", "retries": 2}]),
        group(inventory={"type": "csv", "path": "clients.csv", "min_clients": 3}),
    ],
)
def test_options_of_plugins_are_taken_where_they_belong(good: dict[str, Any]) -> None:
    assert fits(good)


@pytest.mark.parametrize(
    "bad",
    [
        source(type="directory"),
        source(type="directory", path="upstream", url="https://other.example"),
        source(type="http", path="upstream"),
        source(type="sample", day="tomorrow"),
        source(type="sample", components={"virus-pattern": {}}),
        source(path="upstream"),
        group(transport={"type": "local", "user": "x"}),
        group(transport={"usr": "x"}),
        group(checks=[{"name": "x"}]),
        group(checks=[{**CHECK, "expct_exit": 1}]),
        group(inventory={"type": "csv", "run": ["x"]}),
        {"auto_update": {"rollout": {"gate": [{"name": "x", "type": "command"}]}}},
    ],
)
def test_what_no_plugin_takes_is_wrong(bad: dict[str, Any]) -> None:
    assert not fits(bad)


def test_plugins_of_the_specs_folders_are_in_it_and_one_that_is_broken_costs_only_its_own_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own" / "source"
    folder.mkdir(parents=True)
    options = {
        "type": "object",
        "properties": {"shelf": {"$ref": "#/$defs/shelf"}},
        "$defs": {"shelf": {"$ref": "#/$defs/text"}, "text": {"type": "string"}},
        "additionalProperties": False,
    }
    (folder / "shelf.py").write_text(f"OPTIONS = {options!r}\nPLUGIN = print\n")
    (folder / "broken.py").write_text("OPTIONS = {'type': 'nothing'}\nPLUGIN = print\n")
    spec = tmp_path / "updoser.yaml"
    spec.write_text("version: 1\nplugins: [own]\n")
    output = tmp_path / "out.json"
    code = cli.run(["schema", "-f", str(spec), "--output", str(output)], Terminal())
    said = capsys.readouterr()
    assert (code, said.out) == (0, "")
    assert "broken" in said.err
    schema = json.loads(output.read_text())
    assert fits(source(type="shelf", shelf="top"), schema)
    assert not fits(source(type="shelf", shelf=[1]), schema)
    assert not fits(source(type="broken"), schema)
    assert fits(source(type="directory", path="x"), schema)


def test_it_is_made_also_while_the_file_is_no_good_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "updoser.yaml"
    spec.write_text("version: 1\nsoources: []\n")
    assert cli.run(["schema", "-f", str(spec)], Terminal()) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == SCHEMA
    assert f"{spec}:2: unknown key `soources`" in said.err


def test_it_names_no_place_of_the_machine_that_made_it() -> None:
    text = json.dumps(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text
