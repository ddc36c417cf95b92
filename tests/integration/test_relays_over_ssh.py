"""A site over real SSH: clients, a relay and one that stands by, each an address of sshd; the run serves by itself."""

from __future__ import annotations

import os
import signal
import subprocess
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


def way(fleet: Fleet, *names: str) -> dict[str, Any]:
    """Give what the doctor says of a client that tried the relay."""
    checks = fleet.run("doctor", "--format", "json", *names).json["checks"]
    (found,) = (check for check in checks if check["what"].startswith("relay ") and " from " in check["what"])
    return dict(found)


def test_the_doctor_has_a_client_fetch_a_part_and_leaves_nothing_of_that(fleet: Fleet, tmp_path: Path) -> None:
    relay(fleet, standby=[])
    first, second = (client["name"] for client in fleet.spec["groups"]["lyon"]["clients"][:2])
    url = f"http://{fleet.spec['relays']['lyon']['host']}:{fleet.spec['relays']['lyon']['serve']['http']}"
    empty = way(fleet)
    assert (empty["level"], empty["finding"]) == ("ok", f"{first} gets to {url}, and no part lies there yet for a try")
    assert not (tmp_path / "relay").exists()
    assert not any((tmp_path / client).exists() for client in (first, second))
    fleet.apply()
    there = sorted(tmp_path.glob("1*/**/*")) + sorted((tmp_path / "relay").rglob("*"))
    tried = way(fleet, second)
    assert (tried["level"], tried["finding"]) == ("ok", f"{second} gets its parts from {url}")
    assert sorted(tmp_path.glob("1*/**/*")) + sorted((tmp_path / "relay").rglob("*")) == there
    assert not answers(fleet)


@pytest.mark.needs("unshare")
def test_the_doctor_names_the_client_that_has_no_way_to_the_port_and_what_to_do(fleet: Fleet) -> None:
    if subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode:
        pytest.skip("only root may take a network away, and not everywhere")
    relay(fleet, standby=[])
    fleet.apply()
    group = fleet.spec["groups"]["lyon"]
    name = group["clients"][0]["name"]
    cut_off = {**fleet.spec["defaults"]["transport"], "shell": "unshare -n sh"}
    fleet.write(groups={"lyon": {**group, "transport": cut_off}})
    check = way(fleet)
    assert (check["level"], check["what"]) == (
        "fail",
        f"relay lyon ({fleet.spec['relays']['lyon']['host']}) from {name}",
    )
    assert check["finding"].startswith(f"{name} gets nothing there, and gets its bytes over SSH: http://127.0.2.11:")
    assert "curl: (7)" in check["finding"]
    assert f"let {name} and the other clients through to http://127.0.2.11:" in check["fix"]
    relay(fleet, then="wait")
    assert f"{name} gets nothing there, and waits until it does" in way(fleet)["finding"]


def test_the_doctor_asks_another_client_where_one_is_off_and_says_when_none_could_be_asked(fleet: Fleet) -> None:
    relay(fleet, standby=[])
    first, second, *_rest = fleet.spec["groups"]["lyon"]["clients"]
    off = {**first, "address": "127.0.99.99"}  # nobody knows its key
    fleet.write(groups={"lyon": {"clients": [off, second]}})
    assert way(fleet)["finding"].startswith(f"{second['name']} gets to http://")
    fleet.write(groups={"lyon": {"clients": [off]}})
    check = way(fleet)
    assert (check["level"], check["finding"][:41]) == ("warn", "none of its clients could be reached, so ")


@pytest.mark.parametrize(
    ("answer", "level", "words"),
    [
        (r"probe no \033[2Jall is well\nend", "fail", "{name} gets nothing there, and gets its bytes over SSH: "),
        (
            r"probe maybe\nend",
            "warn",
            "{name} can't try it: protocol error: the relay's answer has a line that no relay writes",
        ),
        (
            r"has 1 x\nend",
            "warn",
            "{name} can't try it: protocol error: the relay's answer has a line that no relay writes",
        ),
        (r"probe yes", "warn", "{name} can't try it: "),
    ],
)
def test_what_a_client_answers_of_a_relay_is_a_stranger_s_word(
    fleet: Fleet, tmp_path: Path, answer: str, level: str, words: str
) -> None:
    relay(fleet, standby=[])
    evil = tmp_path / "evil-sh"  # it looks at itself as it should, by its copy of the script, and lies of relays
    evil.write_text(
        f"#!/bin/sh\ncase $2 in *.updoser/script*) exec sh \"$@\" ;; esac\nprintf 'updoser 1 relay\\n{answer}\\n'\n"
    )
    evil.chmod(0o755)
    group = fleet.spec["groups"]["lyon"]
    shell = {**fleet.spec["defaults"]["transport"], "shell": str(evil)}
    fleet.write(groups={"lyon": {**group, "transport": shell, "clients": group["clients"][:1]}})
    relays = {**fleet.spec["relays"]["lyon"], "transport": fleet.spec["defaults"]["transport"]}
    fleet.write(relays={"lyon": relays})
    check = way(fleet)
    name = group["clients"][0]["name"]
    assert (check["level"], check["finding"].startswith(words.format(name=name))) == (level, True), check
    assert check["finding"].isprintable()


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
