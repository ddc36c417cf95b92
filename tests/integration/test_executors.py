"""Whoever works on clients, the same comes of it: threads, processes, and a worker on another machine."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.client.session import client_script
from reconciler.formats.batch_json import read_batch
from reconciler.formats.frames import Frames, Kind
from reconciler.formats.size import size_text
from reconciler.worker.setup import SPEAK
from tests.celery_worker import served
from tests.fleet import Fleet
from tests.integration.test_relays import LARGE, again, remarks, site, whole
from tests.ports import free_port
from tests.rabbitmq import CONTROLLER, RabbitMQ
from tests.relay_server import relay_server
from tests.sshd import SshFleet, sshd_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

OVER_A_BROKER = (pytest.mark.needs("rabbitmq-server", "epmd", "openssl"), pytest.mark.xdist_group("rabbitmq"))
SPEC = Path(__file__).parents[2] / "updoser.yaml"
SECRET = "hunter2-of-the-agents"
DAYS = (1, 0), (3, 3), (4, 0)
"""The days of the demo that are taken, and how an apply on each ends; two releases are bad on the second of them."""
_TIMED = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_OWN = {"site", "sites", "run_id", "plan_id", "lineage", "says", "reason", "age", "half", "most", "nearly"}
"""What two runs of one demo never have alike: ids and times, and who of two clients failed first."""


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    with sshd_fleet(tmp_path_factory.mktemp("sshd"), 3) as fleet:
        yield fleet


def relay(folder: Path, ssh: SshFleet, transport: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Give the executor of a worker at the first host of an sshd, which reaches clients in its own way."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "worker.yaml").write_text(json.dumps({"version": 1, "transport": transport}))
    command = f"{before}{shlex.join(SPEAK)} --config {elsewhere / 'worker.yaml'}"
    way = {key: value for key, value in ssh.transport().items() if key != "type"}
    return {"type": "relay", "host": ssh.addresses[0], "command": command, **way}


def documents(fleet: Fleet, spec: dict[str, Any], days: int | None = None) -> list[Any]:
    """Give what the demo comes to, as far as no time is in it; only its first `days`, where not all of it is wanted.

    That is the document of each day with the files that are in force on clients, and after the last one the status.
    """
    (fleet.folder / "updoser.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    found: list[Any] = []
    for day, code in DAYS[:days]:
        done = fleet.run("apply", "--auto-approve", "--format", "json", "-e", f"day={day}")
        assert done.code == code, done.err
        found.append((alike(done.json), in_force(fleet)))
    if days is None:
        found.append(alike(fleet.run("status", "--no-refresh", "--format", "json", "-e", f"day={DAYS[-1][0]}").json))
    return found


def in_force(fleet: Fleet) -> dict[str, str]:
    """Give the digests of all files that are in force on the clients of a demo."""
    clients = fleet.folder / ".updoser/clients"
    files = [path for current in clients.glob("*/*/current") for path in current.iterdir()]
    assert files
    return {str(path.relative_to(clients)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def alike(value: Any, key: str = "") -> Any:
    """Give a document without what differs from one run to the next."""
    if isinstance(value, dict):
        return {name: alike(inner, name) for name, inner in value.items() if name not in _OWN}
    if isinstance(value, list):
        found = [alike(inner) for inner in value]
        return sorted(found, key=lambda one: json.dumps(one, sort_keys=True)) if key == "failed" else found
    return _TIMED.sub("a time", value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def of_threads(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return cache(lambda: documents(Fleet(tmp_path_factory.mktemp("threads")), the_demo()))


def the_demo() -> dict[str, Any]:
    """Give the demo, with two clients less in each group."""
    return dict(yaml.safe_load(re.sub(r"\n +- {name: (pc-[34]|branch-[34]),.*", "", SPEC.read_text())))


@dataclass(frozen=True)
class Demo:
    """A demo whose clients are reached by nobody but who is meant to work on them: else it would be one of threads."""

    folder: Path
    spec: dict[str, Any]
    request: pytest.FixtureRequest
    stack: ExitStack

    def threads(self) -> None:
        """Have threads of the controller work on clients."""

    def processes(self) -> None:
        """Have processes of this machine work on clients, by a shell that refuses all others."""
        shell = self.folder / "shell"
        shell.write_text(_WORKERS_ONLY.format(worker=shlex.join(SPEAK).partition(" ")[2]))
        shell.chmod(0o755)
        self.spec["defaults"]["transport"] = {"type": "local", "shell": str(shell)}
        self.spec["server"]["executor"] = {"type": "processes", "count": 2}

    def relay(self) -> None:
        """Have a worker on another machine do it, which is the only one to know a shell."""
        self.spec["defaults"]["transport"] = _NO_WAY
        executor = relay(self.folder, self.request.getfixturevalue("ssh"), {"type": "local"})
        self.spec["server"]["executor"] = executor

    def celery(self) -> None:
        """Have the worker of a site do it, which has the content of the store as a share."""
        self.spec["defaults"]["transport"] = _NO_WAY
        broker: RabbitMQ = self.request.getfixturevalue("broker")
        executor = {"type": "celery", **broker.options(CONTROLLER)}
        self.spec["sites"] = {"lyon": {"groups": list(self.spec["groups"]), "executor": executor}}
        said = {
            "transport": {"type": "local"},
            "content": [{"type": "folder", "path": str(self.folder / "demo/.updoser/store")}],
            "processes": 2,
            "station": broker.station("lyon"),
        }
        self.stack.enter_context(served(self.folder / "site", "lyon", said, broker))


_NO_WAY = {"type": "local", "shell": "a-shell-that-is-not-there"}
_WORKERS_ONLY = """\
#!/bin/sh
at=$$
while [ "$at" -gt 1 ]; do
    case "$(tr '\\0' ' ' <"/proc/$at/cmdline")" in *"{worker}"*) exec sh "$@" ;; esac
    at=$(sed 's/.*) . \\([0-9]*\\) .*/\\1/' "/proc/$at/stat")
done
echo "only workers may" >&2
exit 1
"""
_NEEDS = {
    "celery": [pytest.mark.needs("rabbitmq-server", "epmd", "openssl"), pytest.mark.xdist_group("rabbitmq")],
    "postgresql": [pytest.mark.needs("initdb")],
}
_WAYS = [
    pytest.param(kind, database, marks=[*_NEEDS.get(kind, []), *_NEEDS.get(database, [])])
    for kind in ("threads", "processes", "relay", "celery")
    for database in ("sqlite", "postgresql")
    if (kind, database) != ("threads", "sqlite")
]
"""Who works on clients and what remembers that: all of them are held to threads with SQLite."""


@pytest.mark.parametrize(("kind", "database"), _WAYS, indirect=["database"])
def test_the_demo_gives_the_same_documents_and_files_whoever_works_on_its_clients_and_whatever_remembers_that(
    kind: str, database: str, of_threads: Any, tmp_path: Path, request: pytest.FixtureRequest, stack: ExitStack
) -> None:
    (tmp_path / "demo").mkdir()
    demo = Demo(tmp_path, the_demo(), request, stack)
    getattr(demo, kind)()
    days = None
    if database == "postgresql":
        demo.spec["server"]["state"] = request.getfixturevalue("postgres_url")
        days = 2  # the bad day is the second
    assert documents(Fleet(tmp_path / "demo"), demo.spec, days) == of_threads()[:days]


def test_what_goes_to_a_relay_has_no_secret_key_or_path_of_the_controller_in_its_batches(
    tmp_path: Path, ssh: SshFleet
) -> None:
    folder = tmp_path / "controller"
    folder.mkdir()
    wire = tmp_path / "wire"
    fleet = Fleet(folder)
    (folder / "agent.conf.j2").write_text("token = {{ secret.token }}\n")
    (folder / "agent-token").write_text(SECRET)
    own_key = folder / "relay-key"
    shutil.copy(ssh.key, own_key)
    transport = ssh.transport()
    executor = relay(tmp_path, ssh, transport, before=f"tee -a {wire} | ")
    executor["keys"] = [{"file": str(own_key)}]
    clients = [ssh.client(address) for address in ssh.addresses[1:]]
    conf = tmp_path / "etc"
    conf.mkdir()
    setting = {
        "template": "agent.conf.j2",
        "path": str(conf / "agent.conf"),
        "secrets": {"token": {"file": "agent-token"}},
    }
    group = {
        "transport": {"type": "ssh", "known_hosts": "none-here"},
        "install_root": "/unused",
        "clients": clients[:1],
    }
    fleet.write(
        groups={"all": {**group, "settings": [setting]}, "more": {**group, "clients": clients[1:]}},
        server={"store": "store", "state": "sqlite:///state.db", "executor": executor},
    )
    fleet.release("rules", "1", rules_db=b"rules" * 1000)
    done = fleet.apply()
    assert done.code == 0, done.err
    assert (conf / "agent.conf").read_text() == f"token = {SECRET}\n"
    came = list(Frames().feed(wire.read_bytes()))
    orders = [said.body for said in came if said.kind is Kind.ORDER]
    assert {target.client.name for body in orders for target in read_batch(body).targets} == set(ssh.addresses[1:])
    others = b"".join(said.body for said in came if said.kind is not Kind.PRIVATE)
    private = [said.private[1] for said in came if said.kind is Kind.PRIVATE]
    assert private == [f"token = {SECRET}\n".encode()]
    forbidden = [SECRET, str(folder), "known_hosts", "none-here", "relay-key", *own_key.read_text().splitlines()[1:-1]]
    assert [text for text in forbidden if text.encode() in others] == []


def test_clients_behind_a_relay_that_is_not_there_are_said_to_have_no_worker(tmp_path: Path, ssh: SshFleet) -> None:
    fleet = Fleet(tmp_path)
    executor = relay(tmp_path, ssh, {"type": "local"})
    executor["command"] = "updoser-that-is-not-there"
    fleet.write(server={"store": "store", "state": "sqlite:///state.db", "executor": executor})
    fleet.release("rules", "1", rules_db=b"rules")
    done = fleet.run("plan", "--format", "json")
    assert done.code == 0, done.err
    assert [(one["reason"], one["clients"]) for one in done.json["unknown"]] == [("no worker", 3)]


@pytest.fixture(params=["processes", "relay", pytest.param("site", marks=OVER_A_BROKER)])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Give what is said in the spec of workers that aren't threads, each kind once; those of a site are started."""
    server = {"store": "store", "state": "sqlite:///state.db"}
    if request.param == "processes":
        yield {"server": {**server, "executor": {"type": "processes", "count": 1}}}
    elif request.param == "relay":
        way = {"type": "local"}
        yield {"server": {**server, "executor": relay(tmp_path, request.getfixturevalue("ssh"), way)}}
    else:
        broker: RabbitMQ = request.getfixturevalue("broker")
        said = {
            "transport": {"type": "local"},
            "content": [{"type": "folder", "path": str(tmp_path / "fleet/store")}],
            "processes": 1,
            "forks": 1,
            "station": broker.station("lyon"),
        }
        executor = {"type": "celery", **broker.options(CONTROLLER)}
        with served(tmp_path / "site", "lyon", said, broker):
            yield {"sites": {"lyon": {"groups": ["all"], "executor": executor}}}


@contextmanager
def behind_a_relay(folder: Path, said: dict[str, Any], **changes: Any) -> Iterator[Fleet]:
    (folder / "fleet").mkdir()
    with site(folder / "fleet", **changes) as fleet:
        for number, client in enumerate(fleet.spec["groups"]["all"]["clients"], 1):
            client["install_root"] = str(folder / f"fleet/clients/c{number}")
        fleet.write(**said)
        yield fleet


def test_clients_fetch_from_their_relay_whoever_works_on_them(elsewhere: dict[str, Any], tmp_path: Path) -> None:
    with behind_a_relay(tmp_path, elsewhere) as fleet:
        done = fleet.apply("--format", "json")
        assert (done.code, done.json["recap"]["all"]["changed"]) == (0, 5), done.err
        assert done.json["bytes_sent"] == 5 * len(b"small")
        assert whole(fleet)
        filled = size_text(len(LARGE) + len(client_script()))
        assert remarks(fleet) == [f"relay lyon: 5 clients fetched 976.6 KiB, and {filled} were sent to fill it"]
        again(fleet)


def test_bytes_that_a_relay_does_not_give_come_from_whoever_works_on_a_client(
    elsewhere: dict[str, Any], tmp_path: Path
) -> None:
    with relay_server() as server, behind_a_relay(tmp_path, elsewhere, serve={"url": server.url("turning")}) as fleet:
        server.give(LARGE, client_script())
        done = fleet.apply("--format", "json", "--forks", "1")
        assert done.code == 0, done.err
        assert whole(fleet)
        assert len(server.asked) == 1 + 3, "the relay itself, and three clients; it isn't asked any more then"
        assert done.json["bytes_sent"] == 5 * len(LARGE) + 3 * len(b"small") + 5 * len(b"small")
        assert "relay lyon isn't asked any more" in done.err
        assert "5 clients got theirs directly" in remarks(fleet)[0]


def test_clients_that_are_to_wait_are_left_whoever_works_on_them(elsewhere: dict[str, Any], tmp_path: Path) -> None:
    nobody = {"url": f"http://127.0.0.1:{free_port()}"}
    with behind_a_relay(tmp_path, elsewhere, serve=nobody, then="wait") as fleet:
        done = fleet.apply("--format", "json")
        assert (done.code, done.json["bytes_sent"]) == (3, 0)
        assert {entry["message"].partition(":")[0] for entry in done.json["failed"]} == {"relay lyon doesn't give it"}
