"""Programs that a file names, run on the server: of the environment they get no secret but what they are given."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Seen: TypeAlias = "Callable[..., dict[str, str]]"

WORDS = {"WORD": "planted-word-4711", "OTHER": "planted-word-4712", "COMMON": "told-to-all-4713"}
TELL = """
import json, os, sys
with open(f"{sys.argv[1]}.seen", "a") as file:
    print(dict(os.environ), file=file)
listed = {"g": {"hosts": ["c1"]}, "_meta": {"hostvars": {}}}
print(json.dumps(listed) if sys.argv[1] == "inventory" else "said-4714")
"""


def tell(name: str) -> list[str]:
    return [sys.executable, "tell.py", name]


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    """Run a fleet in which each kind of program writes down its environment; `given` are options of two of them."""

    def run(**given: object) -> dict[str, str]:
        (tmp_path / "tell.py").write_text(TELL)
        (tmp_path / "agent.conf").write_text("{{ secret.token }}")
        shell = f"{sys.executable} {tmp_path}/tell.py {tmp_path}/hook"
        group = {
            "transport": {"type": "local"},
            "install_root": "clients",
            "inventory": {"type": "command", "run": tell("inventory"), **given},
            "checks": [{"name": "here", "where": "server", "phase": "staged", "run": tell("check"), **given}],
            "settings": [
                {
                    "template": "agent.conf",
                    "path": str(tmp_path / "agent.put"),
                    "secrets": {"token": {"command": tell("secret")}},
                }
            ],
        }
        proxies = {
            name.lower(): {"url": "http://127.0.0.1:1", "username": "ann", "password": {"env": name}}
            for name in ("WORD", "OTHER")
        }
        hooks = {"rules": {"hooks": {"after": {"run": shell}}}}
        fleet = Fleet(tmp_path, groups={"g": group}, proxies=proxies, components=hooks)
        fleet.release("rules", "1", all_rules=b"one")
        done = fleet.run("apply", "--auto-approve", **WORDS)
        assert done.code == 0, done.out + done.err
        return {path.stem: path.read_text() for path in tmp_path.glob("*.seen")}

    return run


def test_no_program_on_the_server_gets_the_variables_of_secrets(seen: Seen) -> None:
    found = seen()
    assert set(found) == {"inventory", "check", "secret", "hook"}
    for name, text in found.items():
        assert WORDS["WORD"] not in text, name
        assert WORDS["OTHER"] not in text, name
        assert "PATH" in text, name
    assert WORDS["COMMON"] in found["inventory"]


def test_a_program_gets_the_secret_that_the_file_gives_it_by_name_and_no_other(seen: Seen) -> None:
    found = seen(pass_env=["WORD"])
    for name in ("inventory", "check"):
        assert WORDS["WORD"] in found[name], name
        assert WORDS["OTHER"] not in found[name], name
    assert WORDS["WORD"] not in found["secret"] + found["hook"]
