"""A site over real SSH: clients, a relay and one that stands by, each an address of sshd; the run serves by itself."""

from __future__ import annotations

import os
import signal
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.client.session import client_script
from tests.fleet import ONE_WAVE, Fleet
from tests.ports import free_port
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sshd import SshFleet

pytestmark = pytest.mark.needs("sshd", "ssh-keygen", "curl")

LARGE = os.urandom(400_000)


@pytest.fixture
def fleet(ssh_fleet: SshFleet, tmp_path: Path) -> Fleet:
    """Give a fleet of ten clients whose relay is the eleventh address, and the twelfth stands by."""
    *clients, first, second = ssh_fleet.addresses[:12]
    made = Fleet(
        tmp_path,
        defaults={"transport": ssh_fleet.transport(), "install_root": "/nonexistent"},
        groups={"lyon": {"clients": [{**ssh_fleet.client(at), "install_root": f"{tmp_path}/{at}"} for at in clients]}},
        relays={
            "lyon": {
                "host": first,
                "standby": [second],
                "serves": "lyon",
                "store": f"{tmp_path}/relay",
                "serve": {"http": free_port()},
                "wait": "0s",
            }
        },
        auto_update=ONE_WAVE,
    )
    made.release("rules", "1", rules_txt=LARGE)
    return made


def relay(fleet: Fleet, **changes: Any) -> None:
    fleet.write(relays={"lyon": {**fleet.spec["relays"]["lyon"], **changes}})


def clients(fleet: Fleet) -> list[str]:
    return [client["install_root"] for client in fleet.spec["groups"]["lyon"]["clients"]]


def whole(fleet: Fleet) -> bool:
    from pathlib import Path

    return all(Path(root, "rules/current/rules.txt").read_bytes() == LARGE for root in clients(fleet))


def answers(fleet: Fleet) -> bool:
    said = fleet.spec["relays"]["lyon"]
    url = f"http://{said['host']}:{said['serve']['http']}/"
    with suppress(OSError), urllib.request.urlopen(url, timeout=PATIENCE):
        return True
    return False


def test_a_site_is_served_by_its_relay_and_the_second_run_sends_nothing(fleet: Fleet) -> None:
    relay(fleet, standby=[])
    planned = fleet.run("plan", "--format", "json").json
    (use,) = planned["relays"]
    assert (use["clients"], use["fill"], use["site"], use["line"]) == (10, 400_000, 4_000_000, 400_000)
    done = fleet.apply("--format", "json")
    assert (done.json["recap"]["lyon"]["changed"], done.json["bytes_sent"]) == (10, 0), done.err
    assert whole(fleet)
    assert not answers(fleet)
    again = fleet.apply("--format", "json")
    assert (again.code, again.json["recap"]["lyon"]["ok"], again.json["bytes_sent"]) == (0, 10, 0)
    (seen,) = fleet.run("status", "--format", "json").json["relays"]
    assert (seen["relay"], seen["parts"], seen["error"]) == ("lyon", 2, None)
    assert seen["filled"] == 400_000 + len(client_script())


def test_the_one_that_stands_by_serves_while_the_relay_is_off(fleet: Fleet) -> None:
    off = fleet.spec["relays"]["lyon"]["standby"]
    relay(fleet, host="127.0.99.99", standby=off)  # nobody knows its key
    done = fleet.apply("--format", "json")
    assert (done.json["recap"]["lyon"]["changed"], done.json["bytes_sent"]) == (10, 0), done.err
    assert "relay lyon isn't filled: 127.0.99.99" in done.err
    assert whole(fleet)
    first, second = fleet.run("status", "--format", "json").json["relays"]
    assert (first["standby"], first["seen"], first["error"] is not None) == (False, None, True)
    assert (second["standby"], second["parts"], second["error"]) == (True, 2, None)


def test_clients_get_their_bytes_directly_where_neither_can_be_reached(fleet: Fleet) -> None:
    relay(fleet, host="127.0.99.98", standby=["127.0.99.99"])
    done = fleet.apply("--format", "json")
    assert (done.code, done.json["bytes_sent"]) == (0, 4_000_000), done.err
    assert whole(fleet)


def test_a_controller_that_is_killed_leaves_no_web_server(fleet: Fleet) -> None:
    check = {"name": "slow", "for": "rules", "phase": "staged", "where": "client", "run": "sleep 60", "timeout": "2m"}
    fleet.spec["groups"]["lyon"]["checks"] = [check]
    relay(fleet, standby=[])
    process = fleet.start("apply", "--auto-approve")
    try:
        until(lambda: answers(fleet), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    until(lambda: not answers(fleet))
