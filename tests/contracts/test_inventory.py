"""What every inventory promises, whatever it reads from."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.contracts import Inventory
from reconciler.errors import InventoryError
from reconciler.model.client import InventoryEntry
from reconciler.plugins.inventory import command, csv
from tests.fakes import FakeInventory, fake_context, make_plugin

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType
EXPECTED = [
    InventoryEntry(
        "pc-1", "192.0.2.1", port=2222, user="admin", labels=(), groups=("all", "web"), vars={"site": "berlin"}
    ),
    InventoryEntry("pc-2", "2001:db8::2", port=None, user=None, labels=(), groups=("all",), vars={}),
]


def a_csv(tmp_path: Path) -> Any:
    lines = [
        "name,address,port,user,groups,site",
        "pc-1,192.0.2.1,2222,admin,all;web,berlin",
        "pc-2,2001:db8::2,,,all,",
    ]
    (tmp_path / "fleet.csv").write_text("\n".join(lines), encoding="utf-8")
    return csv.PLUGIN({"path": "fleet.csv"}, fake_context(tmp_path))


def a_command(tmp_path: Path) -> Any:
    hostvars = {
        "pc-1": {"ansible_host": "192.0.2.1", "ansible_port": 2222, "ansible_user": "admin", "site": "berlin"},
        "pc-2": {"ansible_host": "2001:db8::2"},
    }
    answer = json.dumps({"_meta": {"hostvars": hostvars}, "web": ["pc-1"]})
    return make_plugin(command, {"run": [sys.executable, "-c", f"print({answer!r})"]}, fake_context(tmp_path))


def a_fake(_tmp_path: Path) -> FakeInventory:
    return FakeInventory(EXPECTED)


def a_missing_csv(tmp_path: Path) -> Any:
    return csv.PLUGIN({"path": "gone.csv"}, fake_context(tmp_path))


def a_failing_command(tmp_path: Path) -> Any:
    return make_plugin(command, {"run": ["false"]}, fake_context(tmp_path))


def a_failing_fake(_tmp_path: Path) -> FakeInventory:
    inventory = FakeInventory()
    inventory.error = InventoryError("it can't be read")
    return inventory


@pytest.fixture(params=[a_csv, a_command, a_fake], ids=["csv", "command", "fake"])
def inventory(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return request.param(tmp_path)


@pytest.fixture(params=[a_missing_csv, a_failing_command, a_failing_fake], ids=["csv", "command", "fake"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return request.param(tmp_path)


def test_it_is_an_inventory(inventory: Inventory) -> None:
    assert isinstance(inventory, Inventory)


def test_it_lists_each_client_with_all_that_it_says_of_it(inventory: Inventory) -> None:
    assert list(inventory.clients()) == EXPECTED


def test_it_can_be_asked_again(inventory: Inventory) -> None:
    assert list(inventory.clients()) == list(inventory.clients())


def test_one_that_cannot_be_read_is_an_inventory_error(broken: Inventory) -> None:
    with pytest.raises(InventoryError):
        list(broken.clients())


@pytest.mark.parametrize("plugin", [command, csv], ids=lambda plugin: plugin.__name__)
def test_its_options_are_a_schema_that_describes_every_one_of_them(plugin: ModuleType) -> None:
    Draft202012Validator.check_schema(plugin.OPTIONS)
    assert plugin.OPTIONS["additionalProperties"] is False
    assert all(option["description"] for option in (plugin.OPTIONS, *plugin.OPTIONS["properties"].values()))
