"""A key of the spec is explained as its schema says it, however its path is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler import cli
from reconciler.errors import UsageError
from reconciler.plugin_loader import available
from reconciler.present.explained_text import explained_text
from reconciler.present.terminal import Terminal
from reconciler.specfile.explained import NAME, explain
from reconciler.specfile.whole_schema import whole_schema

SCHEMA = whole_schema().schema
SOURCES = sorted(found.name for found in available("source"))


def explained(path: str) -> dict[str, Any]:
    return explain(SCHEMA, path)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("groups.auto_update.rollout", "groups.NAME.auto_update.rollout"),
        ("groups.dmz.auto_update.rollout", "groups.NAME.auto_update.rollout"),
        ("groups.dmz", "groups.NAME"),
        ("groups.clients.address", "groups.NAME.clients[].address"),
        ("groups.dmz.clients[0].address", "groups.NAME.clients[].address"),
        ("groups.dmz.clients.0", "groups.NAME.clients[]"),
        ('components."*".version', "components.NAME.version"),
        ("sources.tuf.url", "sources[].tuf.url"),
        ("sources.url", "sources[].url"),
        ("sources.name", "sources[].name"),
        ("defaults.transport.ssh.keys", "defaults.transport.ssh.keys"),
        ("auto_update.rollout.waves.soak", "auto_update.rollout.waves[].soak"),
    ],
)
def test_names_and_numbers_of_entries_may_be_left_out_of_a_path(path: str, meant: str) -> None:
    found = explained(path)
    assert found["path"] == meant
    assert found["description"]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("groupss", "did you mean `groups`?"),
        ("groups.auto_updat", "did you mean `auto_update`?"),
        ("sources.nothing.url", f"plugins are: {', '.join(SOURCES)}"),
        ("rollout", "groups.NAME.auto_update.rollout"),
        ("groups.dmz.zzzz", "there is: auto_update"),
        ("version.x", ""),
        ("]]", "such as groups"),
    ],
)
def test_a_path_that_leads_nowhere_is_bad_usage_with_what_was_meant(path: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        explained(path)
    assert hint in raised.value.hint


def test_each_key_that_is_listed_can_be_explained_by_its_own_path() -> None:
    waiting, seen = [""], set[str]()
    while waiting:
        path = waiting.pop()
        document = explained(path)
        assert document["path"] == path
        assert explained_text(document)
        plugins = [row for plugin in document.get("plugins", ()) for row in plugin["keys"]]
        below = {row["path"] for row in [*document["keys"], *plugins]} - seen
        seen |= below
        waiting += below
    assert len(seen) > 100
    assert "groups.NAME.transport.user" in seen
    assert f"groups.{NAME}.auto_update.rollout.waves[].soak" in seen


def test_text_says_type_default_what_is_possible_and_gives_an_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert cli.run(["explain", "groups.checks.phase", "-f", "none.yaml"], Terminal()) == 0
    assert capsys.readouterr().out.splitlines()[:8] == [
        "groups.NAME.checks[].phase",
        "",
        "  type      text",
        "  possible  staged, switched",
        "  default   staged",
        "",
        "  `staged`: before a client switches to a version, with its folder as UPDOSER_STAGED. `switched`:",
        "  after that; when it isn't good the client goes back.",
    ]


def test_no_line_is_wider_than_it_may_be_but_for_examples() -> None:
    for path in ("", "sources", "groups.auto_update.rollout"):
        text = explained_text(explained(path), width=80).partition("\nExample\n")[0]
        assert max(map(len, text.splitlines())) <= 80


def test_json_has_all_that_the_text_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", "sources", "--format", "json", "-f", "none.yaml"], Terminal()) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["type"] == "list of maps"
    assert {"name": "name", "required": True}.items() <= document["keys"][0].items()
    assert [plugin["name"] for plugin in document["plugins"]] == SOURCES


def test_what_a_plugin_says_cannot_move_the_cursor() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    hostile = {"type": "object", "properties": {"key": {"type": "string", "description": "x\x1b[2Jy"}}}
    assert "\x1b" not in explained_text(explain(hostile, "key"))
