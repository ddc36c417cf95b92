"""Sites over the command line: a broker, a worker's process at each of two sites, and clients that become current."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.celery_worker import served
from tests.draw import MORE
from tests.fleet import ONE_WAVE, Done, Fleet
from tests.rabbitmq import CONTROLLER, SITES, RabbitMQ
from tests.sshd import SshFleet, sshd_fleet
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import ExitStack
    from pathlib import Path

pytestmark = [
    pytest.mark.needs("rabbitmq-server", "epmd", "openssl"),
    pytest.mark.xdist_group("rabbitmq"),
    pytest.mark.explore,
]

CLIENTS = 20 if MORE else 6
"""How many clients each site has; 20 with `make explore`."""
RULES = {version: version.encode() * 50_000 for version in ("1", "2")}
ENGINE = b"engine" * 1000
_TIMED = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_OWN = {"run_id", "plan_id", "lineage", "spec_digest", "says", "reason", "age", "half", "most", "nearly"}


def sites_fleet(folder: Path, executor: dict[str, Any], **defaults: Any) -> Fleet:
    """Give a fleet of two sites, a group at each, that have clients in folders."""
    folder.mkdir()
    clients = {site: [{"name": name, "install_root": f"clients/{name}"} for name in names(site)] for site in SITES}
    return fleet_of(folder, executor, clients, {"type": "local"}, defaults)


def fleet_of(
    folder: Path,
    executor: dict[str, Any],
    clients: Mapping[str, Any],
    transport: dict[str, Any],
    defaults: dict[str, Any],
) -> Fleet:
    """Give a fleet with two components for all of its clients."""
    groups = {
        site: {"transport": transport, "install_root": str(folder / "clients" / site), "clients": clients[site]}
        for site in SITES
    }
    sites = {site: {"groups": [site], "executor": executor} for site in SITES}
    fleet = Fleet(folder, groups=groups, sites=sites, defaults=defaults)
    fleet.release("rules", "1", rules_db=RULES["1"])
    fleet.release("engine", "1.0", engine_bin=ENGINE)
    return fleet


def at_broker(broker: RabbitMQ) -> dict[str, Any]:
    """Give the executor of a site that has its workers at a broker."""
    return {"type": "celery", **broker.options(CONTROLLER)}


@contextmanager
def worker_at(site: str, broker: RabbitMQ, fleet: Fleet, **more: Any) -> Iterator[Any]:
    """Run a worker of a site for the time of the block, which has the store's content as a share."""
    said = {
        "transport": {"type": "local"},
        "content": [{"type": "folder", "path": str(fleet.folder / "store")}],
        "forks": 6,
        "processes": 2,
        "station": broker.station(site),
    }
    with served(fleet.folder / f"at-{site}", site, said | more, broker) as worker:
        yield worker


def alike(value: Any) -> Any:
    """Give a document without what differs from one run to the next."""
    if isinstance(value, dict):
        return {name: alike(inner) for name, inner in value.items() if name not in _OWN}
    if isinstance(value, list):
        return [alike(inner) for inner in value]
    return _TIMED.sub("a time", value) if isinstance(value, str) else value


def names(*sites: str) -> list[str]:
    """Give the clients of sites."""
    return [f"{site}-{n}" for site in sites for n in range(1, CLIENTS + 1)]


def is_whole(fleet: Fleet, client: str, version: str = "1") -> bool:
    """Say whether a client has all that is declared, byte by byte."""
    wanted = {"rules.db": RULES[version], "engine.bin": ENGINE}
    return fleet.current(client, "rules") | fleet.current(client, "engine") == wanted


def course(fleet: Fleet) -> list[Any]:
    """Plan and apply, twice, and once more in vain; gives the documents, and those of the status."""
    found: list[Done] = [fleet.run("plan", "--format", "json")]
    found.append(fleet.apply("--format", "json"))
    fleet.release("rules", "2", rules_db=RULES["2"])
    found.append(fleet.run("plan", "--format", "json"))
    found.append(fleet.apply("--format", "json"))
    before = fleet.listing()
    found.append(fleet.apply("--format", "json"))
    assert fleet.listing() == before
    found.append(fleet.run("status", "--format", "json"))
    assert [one.code for one in found] == [0] * len(found), [one.err for one in found]
    return [alike(one.json) for one in found]


@pytest.mark.needs("sshd")
def test_two_sites_become_current_by_workers_that_have_the_keys_with_the_documents_of_one_machine(
    broker: RabbitMQ, tmp_path: Path, stack: ExitStack
) -> None:
    def over_ssh(kind: str, executor: dict[str, Any]) -> tuple[Fleet, SshFleet]:
        ssh = stack.enter_context(sshd_fleet(tmp_path / kind, 2 * CLIENTS))
        clients = [ssh.client(address) for address in ssh.addresses]
        of_sites = dict(zip(SITES, (clients[:CLIENTS], clients[CLIENTS:]), strict=True))
        known = {"type": "ssh", "known_hosts": "none-here"} if kind == "sites" else ssh.transport()
        return fleet_of(tmp_path / kind, executor, of_sites, known, {}), ssh

    fleet, ssh = over_ssh("sites", at_broker(broker))
    printed = fleet.run("broker")
    assert printed.code == 0, printed.err
    assert json.loads(printed.out) == broker.definitions()
    for site in SITES:
        stack.enter_context(worker_at(site, broker, fleet, transport=ssh.transport()))
    documents = course(fleet)
    assert [address for address in ssh.addresses if not is_whole(fleet, address, "2")] == []
    alone, _ = over_ssh("alone", {"type": "threads"})
    assert documents == course(alone)


def test_a_site_without_a_worker_is_unreachable_and_the_other_one_goes_on(broker: RabbitMQ, tmp_path: Path) -> None:
    fleet = sites_fleet(tmp_path / "sites", at_broker(broker))
    sites = fleet.spec["sites"]
    sites["lyon"]["executor"] = {**sites["lyon"]["executor"], "beat": "1s"}  # nobody is there, however long one waits
    fleet.write(auto_update=ONE_WAVE)
    with worker_at("paris", broker, fleet):
        done = fleet.apply("--format", "json")
    assert done.code == 4, done.err
    assert [name for name in names(*SITES) if is_whole(fleet, name)] == names("paris")
    status = fleet.run("status", "--no-refresh").out
    assert f"! no worker: {CLIENTS} clients of lyon" in status
    assert "no worker: site lyon has no worker" in fleet.run("why", "lyon-1").out


def test_a_site_whose_worker_is_killed_in_the_midst_becomes_current_by_the_next_one(
    broker: RabbitMQ, tmp_path: Path, stack: ExitStack
) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    waits = f'case "$UPDOSER_STAGED" in *lyon-*) touch {begun}; while [ ! -e {go} ]; do sleep 0.05; done;; esac'
    checks = [{"name": "waits", "phase": "staged", "run": waits}]
    fleet = sites_fleet(tmp_path / "sites", at_broker(broker), checks=checks)
    fleet.write(auto_update=ONE_WAVE)
    with worker_at("paris", broker, fleet), worker_at("lyon", broker, fleet) as first:
        apply = fleet.start("apply", "--auto-approve", "--format", "json")
        stack.callback(apply.kill)
        until(begun.exists, apply)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        go.touch()
        with worker_at("lyon", broker, fleet):
            _, said = apply.communicate(timeout=PATIENCE)
            assert apply.returncode == 0, said
            done = fleet.apply()
            assert done.code == 0, done.err
            assert [name for name in names(*SITES) if not is_whole(fleet, name)] == []
            before = fleet.listing()
            assert "No changes" in fleet.apply().out
            assert fleet.listing() == before
