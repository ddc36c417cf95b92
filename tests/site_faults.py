"""Batches through a broker while everything that can die does: what the suite takes a sample of, and a bench all.

Clients do nothing, at once; one of them kills whoever works on it. On the way a worker is killed with all its
processes, the broker is killed and later restarted, the database is restarted where there is one, an order comes twice,
and another one that nobody signed. A long run has all of that several times.

What was counted is what the state has at the end: answers are written down there as a run does it.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

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
from reconciler.storage.database import open_engine
from reconciler.storage.state import State
from reconciler.storage.tables import ANSWERED
from tests.celery_worker import started
from tests.fakes import fake_context
from tests.rabbitmq import CONTROLLER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from plugins.executor._celery.sender import Letter, Sender  # noqa: TID251
    from reconciler.contracts import Crew
    from reconciler.model.batch import Answer
    from tests.rabbitmq import RabbitMQ

DEADLY = "deadly"
RUN = "run"
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
        if client.name.startswith("deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield self

    def facts(self, install_root, **how):
        return FACTS


TRAITS = Traits(local=True)
PLUGIN = Still
"""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of the clients: how many were counted, how many of them more than once, which failed and why.

    `refused` answers didn't count, and `faults` happened.
    """

    counted: int
    twice: int
    failed: dict[str, str]
    refused: int
    faults: int


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens on the way: all of it in each round, and how a database is restarted, where there is one."""

    rounds: int = 1
    restart: Callable[[], None] | None = None


def carry(
    broker: RabbitMQ, folder: Path, url: str, clients: int, *, size: int, forks: int, faults: Faults | None = None
) -> Outcomes:
    """Have clients looked at by two workers of a site, with all faults on the way."""
    faults = faults or Faults()
    (folder / "clients").mkdir()
    transport = folder / "site/plugins/transport"
    transport.mkdir(parents=True)
    (transport / "still.py").write_text(STILL)
    options = {**broker.options("site-lyon"), "controllers": [str(broker.certificate(CONTROLLER)[0])]}
    never, failed = threading.Event(), dict[str, str]()
    with ExitStack() as stack:

        def worker() -> Any:
            more = {"transport": {"type": "still"}, "forks": 2 * forks}
            return stack.enter_context(started(folder / "clients", options, **more))

        state = stack.enter_context(State.open(url, clock=_now))
        ledger = Ledger(RUN, _now, state, fence=lambda: 1)
        opened: list[Any] = []
        crews = Crews(_maker(broker, folder, size, opened), ledger)
        stack.callback(crews.close)
        crews.ready(forks)
        course = _Course(broker, opened, worker, faults)
        waits = course.waits(clients)
        book = _Book(state)
        every = clients // faults.rounds
        names = (f"{DEADLY}{n // every}" if n % every == every // 6 else f"c{n}" for n in range(clients))
        look = Look()
        jobs = (Job(Client(name, "g", install_root="/r"), None) for name in names)
        flow: Flow[None] = Flow(
            crews, lambda job: Made(task=look, target=Target(client=job.client)), stop=never, settle=book.settle
        )
        for number, (_job, answer) in enumerate(flow.answers(jobs), 1):
            book.add(answer)
            if answer.error is not None:
                failed[answer.client] = answer.error.message
            fault = waits.pop(number, None)
            if fault is not None:
                fault()
        book.settle(True)
        course.end()
        counted, twice = _counted(url)
        return Outcomes(counted, twice, failed, ledger.refused, course.happened)


def _maker(broker: RabbitMQ, folder: Path, size: int, opened: list[Any]) -> CrewMaker:
    """Give what makes the crew of the site, and notes it."""
    executor = load("executor", "celery", {**broker.options(CONTROLLER), "batch": size}, fake_context(folder))
    hands = Hands(
        threads=None,  # type: ignore[arg-type]
        content=None,  # type: ignore[arg-type]
        encode=lambda order: write_batch(order.batch),
        decode=read_report,
        site="lyon",
    )

    @contextmanager
    def opens(_site: str, most: int) -> Iterator[Crew]:
        with executor.open(hands, most) as crew:
            opened.append(crew)
            yield crew

    return CrewMaker(opens=opens, site_of=lambda _group: "lyon", outlives=lambda _site: True)


class _Book:
    """Writes down who was answered for, as a run does it: before the broker may forget it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: list[tuple[str, int, str]] = []

    def add(self, answer: Answer) -> None:
        self._waiting.append((answer.batch, answer.attempt, answer.client))

    def settle(self, now: bool) -> None:
        if now and self._waiting:
            waiting, self._waiting = self._waiting, []
            self._state.whole(lambda: self._state.record_answered(RUN, waiting), lasts=False, repeatable=True)


def _counted(url: str) -> tuple[int, int]:
    """Give for how many clients the state has an answer, and for how many of them several."""
    times = select(ANSWERED.c.client, func.count().label("times")).where(ANSWERED.c.run_id == RUN)
    each = times.group_by(ANSWERED.c.client).subquery()
    engine = open_engine(url)
    with engine.connect() as connection:
        counted = connection.scalar(select(func.count()).select_from(each)) or 0
        twice = connection.scalar(select(func.count()).select_from(each).where(each.c.times > 1)) or 0
    engine.dispose()
    return counted, twice


class _Course:
    """The faults of a run: at which answer which one happens."""

    def __init__(self, broker: RabbitMQ, opened: list[Any], worker: Callable[[], Any], faults: Faults) -> None:
        self._broker = broker
        self._opened = opened
        self._worker = worker
        self._faults = faults
        self._workers = [worker(), worker()]
        self._threads: list[threading.Thread] = []
        self.happened = 0

    def waits(self, clients: int) -> dict[int, Callable[[], None]]:
        """Give what happens once so many clients were answered for."""
        part = clients // self._faults.rounds
        plan = {
            part // 8: self._forge,
            part // 4: self._kill_a_worker,
            part // 3: lambda: self._workers.append(self._worker()),
            part // 2: lambda: killed(self._broker),
            part * 5 // 8: self._restart_the_database,
            part * 3 // 4: self._broker.restart,
        }

        def counted(fault: Callable[[], None]) -> None:
            fault()
            self.happened += 1

        rounds = range(self._faults.rounds)
        return {begin * part + at: partial(counted, fault) for begin in rounds for at, fault in plan.items()}

    def end(self) -> None:
        """Wait until all that happens beside the run is over."""
        for thread in self._threads:
            thread.join()

    def _kill_a_worker(self) -> None:
        os.killpg(self._workers.pop(0).pid, signal.SIGKILL)

    def _restart_the_database(self) -> None:
        """Have it away while the run writes."""
        if self._faults.restart is not None:
            self._threads.append(threading.Thread(target=self._faults.restart))
            self._threads[-1].start()

    def _forge(self) -> None:
        _forge(self._broker, self._opened[0]._sender)


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
