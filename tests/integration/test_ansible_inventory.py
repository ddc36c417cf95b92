"""`ansible-inventory --list` of a real ansible-core works as it is, and means the machines that Ansible means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.client import Client
from reconciler.model.spec import GroupSpec, InventorySpec, PluginConfig
from reconciler.observe.inventory import list_clients
from reconciler.plugins.inventory import command
from tests.fakes import fake_context, make_plugin

PROGRAM = Path(sys.executable).parent / "ansible-inventory"

HOSTS = """\
lonely

[web]
web-[1:3].example ansible_user=deploy rack=7
web-4.example ansible_host=192.0.2.4 ansible_port=2222

[db]
db-1 ansible_host=2001:db8::1 ansible_password=geheim

[decom]
web-3.example

[berlin:children]
web
db

[berlin:vars]
site=berlin
tier=1

[web:vars]
tier=front
raw={{ site }}
"""

pytestmark = pytest.mark.needs("ansible-inventory")


def list_with(
    folder: Path, arguments: list[str], *, select: str = "", labels_from: tuple[str, ...] = ()
) -> list[Client]:
    """List the clients of a group whose inventory is ansible's."""
    options = {"run": [str(PROGRAM), *arguments], "env": {"ANSIBLE_LOCAL_TEMP": str(folder / "tmp")}}
    inventory = make_plugin(command, {**options, "timeout": "120s"}, fake_context(folder))
    group = GroupSpec(
        "branch",
        PluginConfig("transport", "ssh"),
        "/var/lib/updoser",
        inventory=InventorySpec(PluginConfig("inventory", "command"), select, labels_from),
    )
    return list_clients(group, inventory)


def test_hosts_addresses_users_groups_and_vars_of_an_ini_inventory_arrive(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text(HOSTS, encoding="utf-8")
    arguments = ["-i", "hosts.ini", "--list"]
    clients = {
        client.name: client
        for client in list_with(tmp_path, arguments, select="all:!decom", labels_from=("groups", "site"))
    }
    assert set(clients) == {"lonely", "web-1.example", "web-2.example", "web-4.example", "db-1"}
    assert clients["web-4.example"] == Client(
        "web-4.example",
        "branch",
        "192.0.2.4",
        port=2222,
        user=None,
        labels=("all", "berlin", "web"),
        install_root="/var/lib/updoser",
        vars={"site": "berlin", "tier": "front", "raw": "{{ site }}"},
    )
    assert clients["web-1.example"].user == "deploy"
    assert clients["web-1.example"].vars["rack"] == "7"
    assert clients["db-1"].address == "2001:db8::1"
    assert clients["db-1"].vars == {"site": "berlin", "tier": "1"}
    assert clients["lonely"].labels == ("all", "ungrouped")


def test_group_vars_that_ansible_leaves_at_their_groups_arrive_too(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text(HOSTS, encoding="utf-8")
    arguments = ["-i", "hosts.ini", "--list"]
    whole = list_with(tmp_path, arguments)
    assert list_with(tmp_path, [*arguments, "--export"]) == whole


ODD = """\
[web]
plain
gate-1 ansible_host=gate ansible_port=2201
gate-2 ansible_ssh_host=gate ansible_ssh_port=2202
both ansible_host=new ansible_ssh_host=old ansible_port=1 ansible_ssh_port=2 ansible_user=a ansible_ssh_user=b
keyed ansible_private_key_file=/keys/a ansible_ssh_private_key_file=/keys/b
grouped

[a]
grouped
[b]
grouped
[deep]
grouped
[above:children]
deep
[a:vars]
ansible_port=2301
ansible_group_priority=10
[b:vars]
ansible_port=2302
ansible_user=b
[deep:vars]
ansible_user=deep
[above:vars]
ansible_user=above
"""

FAKE_SSH = (
    f"#!{sys.executable}\n"
    """\
import json, os, sys
with open(os.environ["FAKE_SSH_LOG"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
"""
)


def asked_of_ssh(folder: Path) -> set[tuple[str | None, ...]]:
    """Let Ansible run a command on all hosts, and give what it asked ssh for: host, port, user and key of each."""
    script = folder / "bin/ssh"
    script.parent.mkdir()
    script.write_text(FAKE_SSH, encoding="utf-8")
    script.chmod(0o755)
    env = {
        "PATH": f"{script.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "FAKE_SSH_LOG": str(folder / "log"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_SSH_RETRIES": "0",
        "LC_ALL": "C.UTF-8",
    }
    command = [str(PROGRAM.with_name("ansible")), "all", "-i", "hosts.ini", "-m", "raw", "-a", "true", "-f", "1"]
    subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=300, check=False)
    found: set[tuple[str | None, ...]] = set()
    for line in (folder / "log").read_text().splitlines():
        words = json.loads(line)
        options = dict(word.split("=", 1) for word in words if "=" in word)
        found.add((words[-2], options.get("Port"), options.get("User"), options.get("IdentityFile")))
    return found


def test_each_host_is_the_machine_port_user_and_key_that_ansible_asks_ssh_for(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text(ODD, encoding="utf-8")
    asked = asked_of_ssh(tmp_path)
    for arguments in (["--list"], ["--list", "--export"]):
        options: dict[str, Any] = {"run": [str(PROGRAM), "-i", "hosts.ini", *arguments], "timeout": "120s"}
        options["env"] = {"ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp")}
        entries = list(make_plugin(command, options, fake_context(tmp_path)).clients())
        assert {entry.unfit for entry in entries} == {""}
        assert {
            (
                entry.address or entry.name,
                str(entry.port) if entry.port else None,
                f'"{entry.user}"' if entry.user else None,
                f'"{entry.demands.keys[0]}"' if entry.demands.keys else None,
            )
            for entry in entries
        } == asked
