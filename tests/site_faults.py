"""Batches through a broker while everything that can die does: what the suite takes a sample of, and a bench all.

Clients do nothing, at once; one of them kills whoever works on it. On the way a worker is killed with all its
processes, the broker is killed and later restarted, the database is restarted where there is one, an order comes twice,
and another one that nobody signed.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plugins.executor._celery.wire import TASK  # noqa: TID251 - as rooms beside it have it
from reconciler.contracts import Hands
from reconciler.dispatch.crews import CrewMaker, Crews
from reconciler.dispatch.flow import Flow
from reconciler.dispatch.jobs import Job, Made
from reconciler.dispatch.ledger import Ledger
from reconciler.formats.answer_json import read_report
from reconciler.formats.batch_json import write_batch
from reconciler.model.batch import Look, Target
from reconciler.model.client import Client
from reconciler.plugin_loader import load
from reconciler.storage.state import State
from tests.celery_worker import started
from tests.fakes import fake_context
from tests.rabbitmq import CONTROLLER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from plugins.executor._celery.sender import Letter, Sender  # noqa: TID251
    from reconciler.contracts import Crew
    from tests.rabbitmq import RabbitMQ

DEADLY = "deadly"
STILL = """
import os
import signal
from contextlib import contextmanager
from reconciler.contracts import Traits
from reconciler.model.client import Facts, Profile

OPTIONS = {"type": "object", "properties": {}, "additionalProperties": False}
FACTS = Facts(Profile("linux-x86_64", ()), 2**30)


class Still:
    def __init__(self, options, context):
        pass

    @contextmanager
    def connect(self, client):
        if client.name == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        yield self

    def facts(self, install_root, **how):
        return FACTS


TRAITS = Traits(local=True)
PLUGIN = Still
"""


@dataclass
class Outcomes:
    """What came of the clients: how often each was counted, which failed and why, and what was refused."""

    counted: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    refused: int = 0


def carry(
    broker: RabbitMQ,
    folder: Path,
    url: str,
    clients: int,
    *,
    size: int,
    forks: int,
    restart: Callable[[], None] = lambda: None,
) -> Outcomes:
    """Have clients looked at by two workers of a site, with all faults on the way."""
    (folder / "clients").mkdir()
    transport = folder / "site/plugins/transport"
    transport.mkdir(parents=True)
    (transport / "still.py").write_text(STILL)
    options = {**broker.options("site-lyon"), "controllers": [str(broker.certificate(CONTROLLER)[0])]}
    found, never = Outcomes(), threading.Event()
    executor = load("executor", "celery", {**broker.options(CONTROLLER), "batch": size}, fake_context(folder))
    hands = Hands(
        threads=None,  # type: ignore[arg-type]
        content=None,  # type: ignore[arg-type]
        encode=lambda order: write_batch(order.batch),
        decode=read_report,
        site="lyon",
    )
    with ExitStack() as stack:

        def worker() -> Any:
            more = {"transport": {"type": "still"}, "forks": forks}
            return stack.enter_context(started(folder / "clients", options, **more))

        state = stack.enter_context(State.open(url, clock=_now))
        ledger = Ledger("run", _now, state, fence=lambda: 1)
        opened: list[Any] = []

        @contextmanager
        def opens(_site: str, most: int) -> Iterator[Crew]:
            with executor.open(hands, most) as crew:
                opened.append(crew)
                yield crew

        maker = CrewMaker(
            opens=opens,
            site_of=lambda _group: "lyon",
            outlives=lambda _site: True,
        )
        crews = Crews(maker, ledger)
        stack.callback(crews.close)
        crews.ready(forks)
        first, _second = worker(), worker()
        faults: dict[int, Callable[[], object]] = {
            clients // 8: lambda: _forge(broker, opened[0]._sender),
            clients // 4: lambda: os.killpg(first.pid, signal.SIGKILL),
            clients // 3: worker,
            clients // 2: lambda: killed(broker),
            clients * 5 // 8: restart,
            clients * 3 // 4: broker.restart,
        }
        look = Look()
        names = (DEADLY if number == clients // 6 else f"c{number}" for number in range(clients))
        jobs = (Job(Client(name, "g", install_root="/r"), None) for name in names)
        flow: Flow[None] = Flow(crews, lambda job: Made(task=look, target=Target(client=job.client)), stop=never)
        for job, answer in flow.answers(jobs):
            name = job.client.name
            found.counted[name] = found.counted.get(name, 0) + 1
            if answer.error is not None:
                found.failed[name] = answer.error.message
            fault = faults.pop(len(found.counted), None)
            if fault is not None:
                fault()
        found.refused = ledger.refused
    return found


def killed(broker: RabbitMQ) -> None:
    """Kill a broker, and start it again."""
    broker.kill()
    broker.start()


def _forge(broker: RabbitMQ, sender: Sender) -> None:
    """Have the next order sent twice, and put one beside those of the controller that nobody signed."""
    from amqp import Message

    real = sender.send

    def twice(letter: Letter) -> None:
        sender.send = real  # type: ignore[method-assign]
        real(letter)
        real(letter)

    sender.send = twice  # type: ignore[method-assign]
    connection = broker.login()
    headers = {"lang": "py", "task": TASK, "id": "forged", "root_id": "forged", "timelimit": [None, None]}
    message = Message(
        json.dumps([[{"site": "lyon"}], {}, {}]),
        content_type="application/json",
        content_encoding="utf-8",
        application_headers=headers,
    )
    connection.channel().basic_publish(message, "", "site-lyon")
    connection.close()


def _now() -> datetime:
    return datetime.now(UTC)
