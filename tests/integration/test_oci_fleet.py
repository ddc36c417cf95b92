"""Falco's rules from registries to a fleet, with the spec as it stands on its page: only hosts and paths are ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cosign_signer import Signer
from tests.fleet import NO_SOAK, Fleet
from tests.oci_registry import Pusher, StandIn, debian_registry, tar_gz
from tests.pages import example, with_catalog

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from tests.fleet import Done

WHERE = "falcosecurity/rules/falco-rules"
RULE = "- rule: Shell in a container\n  condition: spawned_process and shell_procs and container\n"
OURS = Signer()
FALCO = """#!/bin/sh
# Stands in for Falco, which no package of Debian's has: it refuses what has no rule in it.
[ "$1" = --validate ] && grep -q '^- rule: ' "$2"
"""


def fleet_at(folder: Path, host: str, **source: Any) -> Fleet:
    """Make the fleet of the page, fed by a registry of ours."""
    replaced = {"/etc/falco": str(folder / "etc"), "/usr/bin/falco": str(folder / "falco")}
    spec = yaml.safe_load(with_catalog(example("spec:falco").text, folder, replaced))
    spec["sources"][0] |= {"registry": host, "insecure": True, **source}
    spec["auto_update"] = {"rollout": NO_SOAK}
    (folder / "falco").write_text(FALCO)
    (folder / "falco").chmod(0o755)
    (folder / "cosign.pub").write_bytes(OURS.pem)
    (folder / "etc").mkdir()
    (folder / "updoser.yaml").write_text(yaml.safe_dump(spec))
    fleet = Fleet.__new__(Fleet)
    object.__setattr__(fleet, "folder", folder)
    return fleet


def rules(version: str) -> dict[str, bytes]:
    return {"rules.tar.gz": tar_gz({"falco_rules.yaml": f"# {version}\n{RULE}".encode(), "README.md": b"no rules"})}


def converges(fleet: Fleet) -> Done:
    """Apply, and plan again: nothing is left to do."""
    done = fleet.apply()
    assert done.code == 0, done.out + done.err
    again = fleet.run("plan", "--detailed-exitcode")
    assert again.code == 0, again.out
    return done


@pytest.mark.parametrize("whose", ["ours", pytest.param("debian", marks=pytest.mark.needs("docker-registry"))])
def test_rules_of_falco_come_from_a_registry_and_what_falco_refuses_stays_away(
    whose: str, tmp_path: Path, stack: ExitStack
) -> None:
    if whose == "ours":
        host = stack.enter_context(StandIn()).host
    else:
        host = stack.enter_context(debian_registry(tmp_path / "registry"))
    push = Pusher(host)
    push.artifact(WHERE, "3.0.0", rules("3.0.0"))
    push.artifact(WHERE, "latest", rules("3.0.0"))
    fleet = fleet_at(tmp_path, host)
    assert "not signed" in fleet.run("plan").out
    converges(fleet)
    assert (tmp_path / "etc/falco_rules.yaml").read_bytes() == f"# 3.0.0\n{RULE}".encode()
    push.artifact(WHERE, "3.1.0", rules("3.1.0"))
    converges(fleet)
    assert (tmp_path / "etc/falco_rules.yaml").read_bytes() == f"# 3.1.0\n{RULE}".encode()
    assert list(fleet.current("sensor-1", "falco-rules")) == ["falco_rules.yaml"]
    push.artifact(WHERE, "3.2.0", {"rules.tar.gz": tar_gz({"falco_rules.yaml": b"cut o"})})
    broken = fleet.apply()
    assert broken.code == 3, broken.out
    assert "check valid failed before the switch" in broken.out
    assert (tmp_path / "etc/falco_rules.yaml").read_bytes() == f"# 3.1.0\n{RULE}".encode()


def test_a_version_whose_tag_moved_is_refused_and_what_is_signed_is_told_with_its_key(
    tmp_path: Path, stack: ExitStack
) -> None:
    host = stack.enter_context(StandIn()).host
    push = Pusher(host)
    made = push.artifact(WHERE, "3.0.0", rules("3.0.0"))
    push.sign(WHERE, made, OURS)
    fleet = fleet_at(tmp_path, host, verify=[{"cosign": {"key": "cosign.pub"}}])
    planned = fleet.run("plan")
    assert "signed by falco (cosign" in planned.out, planned.out
    converges(fleet)
    moved = push.artifact(WHERE, "3.0.0", rules("3.0.0, once more"))
    push.sign(WHERE, moved, OURS)
    refused = fleet.run("plan").out
    assert "falco-rules 3.0.0: source falco now offers other bytes than those that are out" in refused
    assert (tmp_path / "etc/falco_rules.yaml").read_bytes() == f"# 3.0.0\n{RULE}".encode()


def test_rules_that_are_larger_than_a_plan_may_fetch_take_two_applies(tmp_path: Path, stack: ExitStack) -> None:
    host = stack.enter_context(StandIn()).host
    Pusher(host).artifact(WHERE, "3.0.0", rules("3.0.0"))
    fleet = fleet_at(tmp_path, host, refresh_limit="0B")
    planned = fleet.run("plan").out
    assert "digest unknown until fetched" in planned, planned
    fetched = fleet.apply()
    assert fetched.code == 0, fetched.out + fetched.err
    assert fleet.current("sensor-1", "falco-rules") == {}
    converges(fleet)
    assert list(fleet.current("sensor-1", "falco-rules")) == ["falco_rules.yaml"]
