"""What a broker is told to have for the sites of a file."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.pages import example
from tests.servers import Authority

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "{transport: {type: local}, install_root: c, clients: [{name: a}]}"


def broker(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reconciler", *words, "-f", str(folder / "updoser.yaml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.needs("openssl")
def test_the_broker_of_the_page_has_a_user_for_each_site_that_may_read_its_own_queues_only(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    cert, _key = authority.sign("controller", kind="rsa")
    assert cert.name == "controller.pem"
    sites = example("sites:spec").text
    for name, label in (("lyon-office", "office"), ("lyon-plant", "plant")):
        group = GROUP.replace("name: a", f"name: {name}").replace("root: c", f"root: {name}")
        sites = sites.replace(f"{name}: {{labels: [{label}]}}", f"{name}: {group}")
    (tmp_path / "updoser.yaml").write_text(f"version: 1\n{sites}")
    (command,) = example("sites:broker").commands
    done = broker(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert [(one["user"], one["configure"], one["write"], one["read"]) for one in found["permissions"]] == [
        ("controller", r"^answers\.", r"^(answers\..*|control|amq\.default)$", r"^(answers\..*|results|dead)$"),
        ("site-lyon", "^$", "^results$", "^(site-lyon|control-lyon)$"),
    ]
    assert {one["password_hash"] for one in found["users"]} == {""}
    assert {one["name"]: one["arguments"]["x-queue-type"] for one in found["queues"]} == {
        "dead": "quorum",
        "site-lyon": "quorum",
        "control-lyon": "stream",
    }


def test_a_fleet_whose_sites_need_no_broker_is_told_so(tmp_path: Path) -> None:
    sites = "sites: {lyon: {groups: [g], executor: {type: threads}}}"
    (tmp_path / "updoser.yaml").write_text(f"version: 1\ngroups: {{g: {GROUP}}}\n{sites}\n")
    done = broker(tmp_path, "broker")
    assert (done.returncode, "nothing has to be set up for any site" in done.stderr) == (64, True)
