"""RabbitMQ for tests: one real broker for each worker of the tests, with what updoser says that it needs.

The broker is Debian's, with mutual TLS and nothing else, its own node, ports, cookie and port mapper, and its data in
memory where there is room. It ends with the tests, also where they are killed.

* `broker`: the broker, with empty queues for the sites `lyon` and `paris`. It starts when it is first asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from plugins.executor._celery.definitions import definitions  # noqa: TID251 - as rooms beside it have it
from plugins.executor._celery.wire import RESULTS, Broker, alive_of  # noqa: TID251
from tests.ports import free_port
from tests.servers import Authority
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VHOST = "updoser"
SITES = ("lyon", "paris")
CONTROLLER, ADMIN = "controller", "admin"
_BEAM = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
# The second one ends with whoever holds its standard input, however that ends.
_WATCHED = '"$@" </dev/null & cat >/dev/null; kill -9 0'


@dataclass
class RabbitMQ:
    """A broker that runs on 127.0.0.1."""

    folder: Path
    authority: Authority
    port: int
    ports: tuple[int, int]
    certificates: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    _server: subprocess.Popen[bytes] | None = None
    _mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Give the broker as options have it."""
        return f"amqps://127.0.0.1:{self.port}/{VHOST}"

    def certificate(self, user: str) -> tuple[Path, Path]:
        """Give certificate and key of a user."""
        if user not in self.certificates:
            self.certificates[user] = self.authority.sign(user, "127.0.0.1", kind="rsa")
        return self.certificates[user]

    def options(self, user: str) -> dict[str, Any]:
        """Give what both sides say of the broker, for a user."""
        cert, key = self.certificate(user)
        return {"url": self.url, "ca": str(self.authority.certificate), "cert": str(cert), "key": str(key)}

    def station(self, site: str) -> dict[str, Any]:
        """Give the station of a site's worker, which carries out what the controller of these tests orders."""
        return {
            "type": "celery",
            **self.options(f"site-{site}"),
            "controllers": [str(self.certificate(CONTROLLER)[0])],
        }

    def login(self, user: str = ADMIN) -> Any:
        """Connect as a user."""
        cert, key = self.certificate(user)
        return Broker("127.0.0.1", self.port, VHOST, cert, key, self.authority.certificate).connect()

    def clear(self) -> None:
        """Have all queues be there, empty."""
        wanted = self.definitions()
        connection = self.login()
        channel = connection.channel()
        for queue in wanted["queues"]:
            channel.queue_delete(queue["name"])
            channel.queue_declare(queue["name"], durable=True, auto_delete=False, arguments=queue["arguments"])
        for bind in wanted["bindings"]:
            channel.queue_bind(bind["destination"], bind["source"], bind["routing_key"], arguments=bind["arguments"])
        connection.close()

    @contextmanager
    def hearing(self, site: str) -> Iterator[Callable[[], int]]:
        """Give what tells how many processes of workers at a site said in the block that they live."""
        connection = self.login()
        channel, names = connection.channel(), set[str]()
        queue = channel.queue_declare("", exclusive=True).queue
        channel.queue_bind(queue, RESULTS, alive_of(site))

        def heard() -> int:
            while (message := channel.basic_get(queue, no_ack=True)) is not None:
                names.add(json.loads(message.body)["worker"])
            return len(names)

        try:
            yield heard
        finally:
            connection.close()

    def definitions(self) -> dict[str, Any]:
        """Give what it has for its sites, as `updoser broker` prints it."""
        found: dict[str, Any] = json.loads(definitions(VHOST, CONTROLLER, SITES))
        return found

    # --- the process --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self._server = self._run([str(_program())])

        def serves() -> bool:
            with suppress(Exception):
                self.login().close()
                return True
            return False

        until(serves, self._server)

    @property
    def logs(self) -> Path:
        """Give the file that says which log belongs to which quorum queue; it is synced a while after it changed."""
        return next(self.folder.glob("data/*/quorum/*/names.dets"))

    def kill(self) -> None:
        """End it at once, as by a power cut."""
        _end(self._server)
        self._server = None

    def restart(self) -> None:
        """End it as its administrators do, and start it again."""
        number = int((self.folder / "pid").read_text())
        os.kill(number, signal.SIGTERM)
        until(lambda: not _is_alive(number))
        self.kill()
        self.start()

    def prepare(self) -> None:
        """Write down how it is to run, and start what maps its ports."""
        wanted = self.definitions()
        wanted["users"].append({**wanted["users"][0], "name": ADMIN})
        wanted["permissions"].append({**wanted["permissions"][0], "user": ADMIN} | dict.fromkeys(_RIGHTS, ".*"))
        server = self.certificate("localhost")
        (self.folder / "definitions.json").write_text(json.dumps(wanted))
        (self.folder / "plugins").write_text("[rabbitmq_auth_mechanism_ssl].\n")
        (self.folder / "rabbitmq.conf").write_text(f"""\
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:{self.port}
ssl_options.cacertfile = {self.authority.certificate}
ssl_options.certfile = {server[0]}
ssl_options.keyfile = {server[1]}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
auth_mechanisms.1 = EXTERNAL
ssl_cert_login_from = common_name
load_definitions = {self.folder}/definitions.json
log.console = false
log.file.level = warning
vm_memory_high_watermark.absolute = 1GiB
disk_free_limit.absolute = 1MB
""")
        self._mapper = self._run(["epmd", "-address", "127.0.0.1", "-port", str(self.ports[1])])

    def close(self) -> None:
        """End all of it."""
        _end(self._server)
        _end(self._mapper)

    @contextmanager
    def traced(self) -> Iterator[list[bytes]]:
        """Have the broker copy all that passes it in the block; the bodies are there when the block has ended."""
        self._control("trace_on", "-p", VHOST)
        connection = self.login()
        channel, bodies = connection.channel(), list[bytes]()
        queue = channel.queue_declare("", exclusive=True).queue
        channel.queue_bind(queue, "amq.rabbitmq.trace", "#")
        try:
            yield bodies
            while (message := channel.basic_get(queue, no_ack=True)) is not None:
                bodies.append(message.body if isinstance(message.body, bytes) else message.body.encode())
        finally:
            connection.close()
            self._control("trace_off", "-p", VHOST)

    def _control(self, *arguments: str) -> None:
        program = _program().with_name("rabbitmqctl")
        done = subprocess.run(
            [str(program), *arguments], env=self._environ(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def _environ(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"updoser-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports[0]),
            "ERL_EPMD_PORT": str(self.ports[1]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/none.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _BEAM,
        }

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        folder = self.folder
        with (folder / "output").open("ab") as output:
            return subprocess.Popen(
                ["sh", "-c", _WATCHED, "sh", *command],
                cwd=folder,
                env=self._environ(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


_RIGHTS = ("configure", "write", "read")


def _program() -> Path:
    """Give Debian's server without what would have it run as its own user."""
    return max(Path("/usr/lib/rabbitmq/lib").glob("*/sbin/rabbitmq-server"))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    assert process.stdin is not None
    process.stdin.close()
    process.wait(PATIENCE)


@contextmanager
def rabbitmq_server() -> Iterator[RabbitMQ]:
    """Run a broker for the time of the block."""
    folder = Path(tempfile.mkdtemp(prefix="mq-"))
    server = RabbitMQ(folder, Authority(folder / "tls"), free_port(), (free_port(), free_port()))
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


# --- fixtures: tests/conftest.py offers them to all tests -------------------------------------------------------------


@pytest.fixture(scope="session")
def broker_of_worker() -> Iterator[RabbitMQ]:
    """Give the broker of this worker of the tests."""
    if shutil.which("rabbitmq-server") is None:
        reason = "needs rabbitmq-server: see .ci/debian-packages.txt"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with rabbitmq_server() as server:
        yield server


@pytest.fixture
def broker(broker_of_worker: RabbitMQ) -> RabbitMQ:
    """Give the broker, with empty queues."""
    broker_of_worker.clear()
    return broker_of_worker
