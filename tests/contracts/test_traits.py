"""Every bundled plugin says what it does, and does no more than it says."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.contracts import Traits
from reconciler.model.secret import SecretRef
from reconciler.plugin_loader import KINDS, available, bundled_folder, options_schema, traits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from reconciler.plugin_loader import Found

ROOT = Path(__file__).parents[2]
GPG = [{"gpg": {"keyring": "trust/vendor.gpg"}}]
OPTIONS: dict[str, dict[str, Any]] = {
    "directory": {"path": "drop", "verify": [*GPG, {"tuf": {"url": "https://tuf.example", "trusted_root": "r"}}]},
    "http": {"components": {"rules": {"url": "https://vendor.example/rules", "archive": False, "verify": GPG}}},
    "git": {"url": "https://forge.example/a.git", "tags": "*", "verify": GPG},
    "tuf": {"url": "https://updates.example/repo"},
    "oci": {
        "registry": "ghcr.io",
        "insecure": False,
        "components": {"rules": {"repository": "a/b", "verify": GPG}},
    },
    "clamav": {"url": "https://mirror.example"},
    "ssh": {"port": 22},
    "s3": {"bucket": "updoser", "region": "us-east-1"},
    "content http": {"url": "https://updates.example/repo"},
}
"""With which a plugin does all that it can."""
PROGRAMS = {"subprocess", "pty", "reconciler.programs"}
NETWORK = {
    "reconciler.web.web",
    "reconciler.web.files",
    "obstore",
    "socket",
    "ssl",
    "paramiko",
    "urllib3",
    "http",
    "smtplib",
}
BUNDLED = [found for kind in KINDS for found in available(kind)]


def imported(path: Path, known: Collection[Path] = ()) -> set[str]:
    """Give the packages that a module and the helpers beside it import, wherever in them; `known` lead to it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            room = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            names = [room / alias.name for alias in node.names] if room.is_dir() else [room]
            for beside in {name.with_suffix(".py") for name in names} - {*known}:
                found |= imported(beside, {*known, path})
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            found |= {node.module, node.module.partition(".")[0]}
    return found


@pytest.mark.parametrize("plugin", BUNDLED, ids=lambda plugin: f"{plugin.kind}-{plugin.name}")
def test_a_bundled_plugin_says_when_it_runs_programs_or_connects(plugin: Found) -> None:
    does = traits(plugin.kind, plugin.name, OPTIONS.get(f"{plugin.kind} {plugin.name}", OPTIONS.get(plugin.name, {})))
    assert isinstance(does, Traits)
    packages = imported(bundled_folder() / plugin.kind / f"{plugin.name}.py")
    assert does.programs == bool(packages & PROGRAMS)
    assert does.network == bool(packages & NETWORK)


def defaults(schema: Mapping[str, Any]) -> Iterator[str]:
    """Give the options that have a default, at whatever depth."""
    for name, option in schema.get("properties", {}).items():
        yield from [name] if "default" in option else []
        yield from defaults(option)
    yield from defaults(schema.get("items", {})) if isinstance(schema.get("items"), dict) else ()


@pytest.mark.parametrize("plugin", BUNDLED, ids=lambda plugin: f"{plugin.kind}-{plugin.name}")
def test_a_bundled_plugin_states_a_default_once(plugin: Found) -> None:
    names = set(defaults(options_schema(plugin.kind, plugin.name)))
    tree = ast.parse((bundled_folder() / plugin.kind / f"{plugin.name}.py").read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get")
    assert [ast.unparse(call) for call in calls if call.args and getattr(call.args[0], "value", "") in names] == []


@pytest.mark.parametrize(("url", "network"), [("https://updates.example/repo", True), ("file:///media/in", False)])
def test_a_signed_repository_is_asked_over_the_network_unless_it_is_a_folder(url: str, network: bool) -> None:
    does = traits("source", "tuf", {"url": url, "trusted_root": "root.json"})
    assert does
    assert (does.network, does.signed, does.url) == (network, True, url)


def test_a_registry_is_signed_where_each_of_its_components_must_be() -> None:
    key, sums = [{"cosign": {"key": "trust/cosign.pub"}}], [{"sha256": {"sums": "SHA256SUMS"}}]

    def does(verify: Any, **own: Any) -> Traits:
        components = {name: {"repository": "a/b", **({"verify": own[name]} if own[name] else {})} for name in own}
        options = {"registry": "ghcr.io", "insecure": False, "components": components}
        found = traits("source", "oci", {**options, **({"verify": verify} if verify else {})})
        assert found
        assert found.network
        return found

    assert does(key, a=None, b=None).signed
    assert does(None, a=key, b=key).signed
    assert not does(key, a=None, b=sums).signed
    assert not does(None, a=key, b=None).signed
    assert not does(key, a=None).programs
    assert does(None, a=None).url == "https://ghcr.io"


def test_a_transport_says_how_clients_are_reached_that_do_not_say_it_themselves() -> None:
    jump = [{"address": "bastion.example", "port": 22}, {"address": "192.0.2.1", "port": 2222}]
    does = traits("transport", "ssh", {"port": 2222, "user": "ops", "jump": jump})
    assert does
    assert (does.local, does.jump, does.port, does.user) == (False, "bastion.example", 2222, "ops")
    assert does.hops == ("bastion.example", "[192.0.2.1]:2222")
    local = traits("transport", "local", {})
    assert local
    assert local.local


@pytest.mark.parametrize("name", ["ssh", "local"])
def test_a_transport_says_whether_it_becomes_root(name: str) -> None:
    plain, becoming = (traits("transport", name, {"port": 22, **more}) for more in ({}, {"become": {"method": "sudo"}}))
    assert plain
    assert becoming
    assert (plain.become, becoming.become) == (False, True)


def test_a_transport_says_which_files_of_keys_it_has() -> None:
    keys = [SecretRef("file", "keys/a"), SecretRef("env", "KEY"), SecretRef("file", "~/b")]
    does = traits("transport", "ssh", {"port": 22, "keys": keys})
    assert does
    assert does.keys == ("keys/a", "~/b")


def test_every_bundled_plugin_is_held_against_its_protocol_by_the_type_checker() -> None:
    tree = ast.parse((ROOT / "tests/typing/contracts.py").read_text(encoding="utf-8"))
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    held = {(node.module, alias.name) for node in imports for alias in node.names}
    assert {(f"plugins.{found.kind}", found.name) for found in BUNDLED if found.origin == "bundled"} <= held
