"""`ansible-inventory --list` of a real ansible-core works as it is."""

import sys
from pathlib import Path

import pytest

from reconciler.model.client import Client
from reconciler.model.spec import GroupSpec, InventorySpec, PluginConfig
from reconciler.observe.inventory import list_clients
from reconciler.plugins.inventory import command
from tests.fakes import fake_context

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


def list_with(folder, arguments, **spec):
    """List the clients of a group whose inventory is ansible's."""
    options = {"run": [str(PROGRAM), *arguments], "env": {"ANSIBLE_LOCAL_TEMP": str(folder / "tmp")}}
    inventory = command.PLUGIN({**options, "timeout": "120s"}, fake_context(folder))
    group = GroupSpec(
        "branch",
        PluginConfig("transport", "ssh"),
        "/var/lib/updoser",
        inventory=InventorySpec(PluginConfig("inventory", "command"), **spec),
    )
    return list_clients(group, inventory)


def test_hosts_addresses_users_groups_and_vars_of_an_ini_inventory_arrive(tmp_path):
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
        2222,
        None,
        ("all", "berlin", "web"),
        "/var/lib/updoser",
        {"site": "berlin", "tier": "front", "raw": "{{ site }}"},
    )
    assert clients["web-1.example"].user == "deploy"
    assert clients["web-1.example"].vars["rack"] == "7"
    assert clients["db-1"].address == "2001:db8::1"
    assert clients["db-1"].vars == {"site": "berlin", "tier": "1"}
    assert clients["lonely"].labels == ("all", "ungrouped")


def test_group_vars_that_ansible_leaves_at_their_groups_arrive_too(tmp_path):
    (tmp_path / "hosts.ini").write_text(HOSTS, encoding="utf-8")
    arguments = ["-i", "hosts.ini", "--list"]
    whole = list_with(tmp_path, arguments)
    assert list_with(tmp_path, [*arguments, "--export"]) == whole
