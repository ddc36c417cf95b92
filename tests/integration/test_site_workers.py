"""Workers at a site, over a real broker: what they do, what they must not, and what becomes of it when things die."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from plugins.executor._celery.orders import order_letter  # noqa: TID251 - as rooms beside it have it
from plugins.executor._celery.signing import Signer  # noqa: TID251
from plugins.executor._celery.wire import Broker, packed  # noqa: TID251
from reconciler.client.session import shell_session
from reconciler.contracts import Context, Hands
from reconciler.errors import NetworkError, PluginError
from reconciler.formats.answer_json import read_report, write_report
from reconciler.formats.batch_json import write_batch
from reconciler.formats.sealed import new_key, public_of, seal, unseal
from reconciler.model.batch import Answer, Ended, Order, Read
from reconciler.plugin_loader import load
from tests.celery_worker import HELD, log_of, started
from tests.contracts.test_crew import Ground, all_reports, answers, batch, change, step
from tests.fakes import NOW
from tests.rabbitmq import CONTROLLER, VHOST, RabbitMQ
from tests.servers import Authority
from tests.site_faults import DEADLY, carry
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


pytestmark = [pytest.mark.needs("rabbitmq-server", "epmd", "openssl"), pytest.mark.xdist_group("rabbitmq")]
IMPATIENT: Mapping[str, Any] = {"beat": "1s"}
"""For a crew of a site where nobody is yet: it need not wait to be sure of that."""


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def worker_options(broker: RabbitMQ, site: str = "lyon", **more: Any) -> dict[str, Any]:
    return {**broker.options(f"site-{site}"), "controllers": [str(broker.certificate(CONTROLLER)[0])], **more}


@contextmanager
def crew_of(broker: RabbitMQ, folder: Path, site: str = "lyon", *, limit: int = 0, **more: Any) -> Iterator[Any]:
    context = Context(
        base=folder,
        work=folder,
        clock=lambda: NOW,
        secret=lambda reference: str(reference.value),
        log=logging.getLogger("updoser.executor"),
        shell=shell_session,
        stop=threading.Event(),
    )
    executor = load("executor", "celery", {**broker.options(CONTROLLER), **more}, context)
    hands = Hands(
        threads=None,  # type: ignore[arg-type]
        content=None,  # type: ignore[arg-type]
        encode=lambda order: write_batch(order.batch),
        decode=read_report,
        site=site,
        limit=limit,
    )
    with executor.open(hands, 5) as crew:
        yield crew


def test_a_site_looks_at_clients_changes_them_and_reads_their_files(broker: RabbitMQ, ground: Ground) -> None:
    names = [f"c{at}" for at in range(9)]
    with started(ground.folder, worker_options(broker)), crew_of(broker, ground.folder) as crew:
        until(lambda: crew.room("") == 2 * 2 * 2)
        assert (crew.refusal(""), crew.size) == ("", 50)
        crew.give("", Order(batch(ground.targets(*names), id_="look")))
        crew.give("", Order(batch(ground.targets("c1"), change(step()), "change")))
        crew.give("", Order(batch(ground.targets("c2", paths=("/etc/name", "/etc/none")), Read(), "read")))
        reports = all_reports(crew, 3)
        assert not crew.receive(0)
    found = {(one.batch, one.client): one for one in reports if isinstance(one, Answer)}
    assert {client for name, client in found if name == "look"} == set(names)
    assert all(one.facts is not None for (name, _client), one in found.items() if name == "look")
    assert found["change", "c1"].steps[0].sent == len(HELD)
    assert ground.got("c1") == HELD
    assert found["read", "c2"].files == {"/etc/name": b"c2", "/etc/none": None}
    assert {one.batch: one.lost for one in reports if isinstance(one, Ended)} == dict.fromkeys(
        ["look", "change", "read"], ""
    )


def heard(crew: Any) -> None:
    """Wait until the workers have heard all that they were told: they answer the question who is there after it."""
    asked = dict(crew._workers)
    crew._sender.control("who")
    until(lambda: all(crew._workers[name].at > worker.at for name, worker in asked.items()))


def pids(crew: Any) -> list[int]:
    """Give the processes that carry batches out, by what they say of themselves."""
    return [int(name.split("/")[1]) for name in crew._workers]


def begun_of(ground: Ground, count: int) -> set[str]:
    """Wait until so many clients are begun."""
    until(lambda: len(ground.begun()) == count)
    return set(ground.begun())


def received(crew: Any, found: list[Any]) -> int:
    """Receive more, and say how much came by now."""
    found.extend(crew.receive(0.05))
    return len(found)


def busy(crew: Any) -> int:
    """Give a process that has a batch; 0 while nobody is known to."""
    return next((int(name.split("/")[1]) for name, worker in crew._workers.items() if worker.batches), 0)


# --- how many at a time -----------------------------------------------------------------------------------------------


def test_a_worker_divides_the_clients_that_it_takes_at_a_time_among_its_processes(
    broker: RabbitMQ, ground: Ground
) -> None:
    names = [f"c{at}" for at in range(9)]
    ground.hold(*names)
    options = worker_options(broker)
    with started(ground.folder, options, forks=5), crew_of(broker, ground.folder) as crew:
        until(lambda: crew.room("") == 2 * 2 * 2)
        for at in range(3):
            crew.give("", Order(batch(ground.targets(*names[at * 3 : at * 3 + 3]), id_=f"b{at}")))
        begun_of(ground, 4)
        ground.let_go(*names)
        assert set(answers(all_reports(crew, 3))) == set(names)
    with started(ground.folder, options, forks=1), crew_of(broker, ground.folder) as crew:
        until(lambda: crew.room("") == 2)


def test_a_site_that_is_limited_is_given_no_more_clients_than_that(broker: RabbitMQ, ground: Ground) -> None:
    with started(ground.folder, worker_options(broker)), crew_of(broker, ground.folder, limit=3) as crew:
        until(lambda: crew.room("") == 3)
        assert crew.size == 3
        ground.hold("c1")
        crew.give("", Order(batch(ground.targets("c1", "c2"))))
        found: list[Any] = []
        until(lambda: received(crew, found) == 1)
        assert crew.room("") == 2
        ground.let_go("c1")
        all_reports(crew)
    with crew_of(broker, ground.folder, limit=100) as crew:
        assert crew.size == 50


# --- what isn't begun -------------------------------------------------------------------------------------------------


def test_a_halt_reaches_batches_that_are_under_way_at_a_site(broker: RabbitMQ, ground: Ground) -> None:
    names = [f"c{at}" for at in range(6)]
    ground.hold(*names)
    with started(ground.folder, worker_options(broker), processes=1), crew_of(broker, ground.folder) as crew:
        crew.give("", Order(batch(ground.targets(*names), change(step()))))
        first = begun_of(ground, 2)
        crew.halt([("rules", "2", "")])
        heard(crew)
        ground.let_go(*names)
        found = answers(all_reports(crew))
        crew.give("", Order(batch(ground.targets("late"), change(step()), "b2")))
        assert answers(all_reports(crew))["late"].not_begun == "halted"
    assert {name for name, answer in found.items() if answer.steps} == first
    assert {answer.not_begun for name, answer in found.items() if name not in first} == {"halted"}


def test_a_halt_of_one_controller_is_none_of_another_one(broker: RabbitMQ, ground: Ground) -> None:
    with (
        started(ground.folder, worker_options(broker)),
        crew_of(broker, ground.folder) as one,
        crew_of(broker, ground.folder) as other,
    ):
        one.halt([("rules", "2", "")])
        heard(one)
        for crew, name in ((one, "c1"), (other, "c2")):
            crew.give("", Order(batch(ground.targets(name), change(step()), name)))
        assert answers(all_reports(one))["c1"].not_begun == "halted"
        assert answers(all_reports(other))["c2"].steps


def test_a_crew_that_stops_has_what_is_under_way_at_the_site_finished_and_nothing_begun(
    broker: RabbitMQ, ground: Ground
) -> None:
    names = [f"c{at}" for at in range(6)]
    ground.hold(*names)
    with started(ground.folder, worker_options(broker), processes=1), crew_of(broker, ground.folder) as crew:
        crew.give("", Order(batch(ground.targets(*names))))
        first = begun_of(ground, 2)
        crew.stop()
        heard(crew)
        ground.let_go(*names)
        found = answers(all_reports(crew))
        crew.give("", Order(batch(ground.targets("late"), id_="b2")))
        assert answers(all_reports(crew))["late"].not_begun == "stopped"
    assert {name for name, answer in found.items() if answer.facts} == first
    assert set(ground.begun()) == first


def test_a_worker_that_is_told_to_end_finishes_what_it_began_and_gives_the_rest_back(
    broker: RabbitMQ, ground: Ground
) -> None:
    names = [f"c{at}" for at in range(6)]
    ground.hold(*names)
    with crew_of(broker, ground.folder) as crew:
        with started(ground.folder, worker_options(broker), processes=1) as worker:
            crew.give("", Order(batch(ground.targets(*names))))
            first = begun_of(ground, 2)
            worker.terminate()
            until(lambda: "goes back: a worker at the site lyon ends" in log_of(ground.folder).read_text())
            ground.let_go(*names)
            reports = all_reports(crew)
            assert worker.wait(PATIENCE) == 0
        assert set(answers(reports)) == first
        assert reports[-1] == Ended("b1", 1, "a worker at the site lyon ends")
        # the next worker gets what is given again
        with started(ground.folder, worker_options(broker), processes=1):
            rest = [name for name in names if name not in first]
            crew.give("", Order(batch(ground.targets(*rest), attempt=2)))
            assert set(answers(all_reports(crew))) == set(rest)
    assert ground.begun() == dict.fromkeys(names, 1)


def test_nothing_more_is_begun_for_a_controller_that_has_gone(broker: RabbitMQ, ground: Ground) -> None:
    with crew_of(broker, ground.folder) as crew:
        crew.give("", Order(batch(ground.targets("c1"))))
        until(lambda: not crew._sender._line.qsize() and not crew._sender.trouble)
        crew._given.clear()  # as if this process had died before it was answered
    with started(ground.folder, worker_options(broker)), crew_of(broker, ground.folder) as crew:
        crew.give("", Order(batch(ground.targets("c2"))))
        assert set(answers(all_reports(crew))) == {"c2"}
        until(lambda: crew._receiver.waiting == 0)
    assert set(ground.begun()) == {"c2"}


# --- what dies --------------------------------------------------------------------------------------------------------


def test_a_batch_whose_worker_is_killed_comes_to_another_one(broker: RabbitMQ, ground: Ground) -> None:
    names = [f"c{at}" for at in range(4)]
    ground.hold("c3")
    with started(ground.folder, worker_options(broker)), crew_of(broker, ground.folder) as crew:
        until(lambda: len(pids(crew)) == 2)
        crew.give("", Order(batch(ground.targets(*names))))
        until(lambda: len(ground.begun()) == 4)
        found: list[Any] = []
        until(lambda: received(crew, found) == 3)
        os.kill(until(lambda: busy(crew)), signal.SIGKILL)
        until(lambda: ground.begun()["c3"] == 2)
        ground.let_go("c3")
        found += all_reports(crew)
    assert sorted(answers(found)) == names
    assert found[-1] == Ended("b1", 1)


def test_a_batch_that_kills_its_workers_is_said_to_be_lost(broker: RabbitMQ, ground: Ground) -> None:
    (ground.folder / "c1.deadly").touch()
    with started(ground.folder, worker_options(broker)), crew_of(broker, ground.folder) as crew:
        crew.give("", Order(batch(ground.targets("c1"))))
        assert all_reports(crew) == [Ended("b1", 1, "it ended its worker at the site lyon again and again")]
        crew.give("", Order(batch(ground.targets("c2"), id_="b2")))
        assert set(answers(all_reports(crew))) == {"c2"}
    assert len((ground.folder / "c1.begun").read_text().splitlines()) == 6


def test_a_broker_that_is_killed_and_comes_back_loses_nothing(broker: RabbitMQ, ground: Ground) -> None:
    ground.hold("c1")
    with started(ground.folder, worker_options(broker)), crew_of(broker, ground.folder) as crew:
        crew.give("", Order(batch(ground.targets("c1", "c2"))))
        until(lambda: len(ground.begun()) == 2 and crew._reply.encode() in broker.logs.read_bytes())
        broker.kill()
        until(lambda: crew._receiver.trouble and crew._sender.trouble)
        crew.give("", Order(batch(ground.targets("c3"), id_="b2")))
        ground.let_go("c1")
        broker.start()
        reports = all_reports(crew, 2)
        assert crew.refusal("") == ""
    assert set(answers(reports)) == {"c1", "c2", "c3"}


def test_answers_come_again_until_they_were_dealt_with(broker: RabbitMQ, ground: Ground) -> None:
    with started(ground.folder, worker_options(broker)), crew_of(broker, ground.folder) as crew:
        crew.give("", Order(batch(ground.targets("c1"))))
        mail = until(lambda: list(crew._receiver.take(0.1)))
        queue = f"answers.{crew._reply}"
        connection = broker.login()
        assert connection.channel().queue_declare(queue, passive=True).consumer_count == 1
        connection.close()
        broker.restart()  # the connection is gone, and what wasn't acknowledged comes over the next one
        again = until(lambda: list(crew._receiver.take(0.1)))
        assert {one.body for one in mail} <= {one.body for one in again}
        crew._given.clear()


def test_a_queue_whose_log_the_broker_lost_is_followed_by_another(
    broker: RabbitMQ, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.restart()
    before = broker.logs.read_bytes()
    with crew_of(broker, ground.folder) as crew:
        with started(ground.folder, worker_options(broker)):
            crew.give("", Order(batch(ground.targets("c1"))))
            assert set(answers(all_reports(crew))) == {"c1"}
        broker.kill()
        broker.logs.write_bytes(before)  # as where it was cut off before that was synced
        queue = crew._receiver._queue
        monkeypatch.setattr("plugins.executor._celery.receiver.SERVES", 5.0)
        broker.start()
        until(lambda: crew._receiver._queue > queue and not crew._receiver.trouble)
        with started(ground.folder, worker_options(broker)):
            crew.give("", Order(batch(ground.targets("c2"), id_="b2")))
            assert set(answers(all_reports(crew))) == {"c2"}


# --- a site that is down ----------------------------------------------------------------------------------------------


def test_a_site_without_a_worker_says_so(broker: RabbitMQ, ground: Ground) -> None:
    with crew_of(broker, ground.folder, **IMPATIENT) as crew:
        assert crew.room("") == 0
        assert until(lambda: crew.refusal("")) == "site lyon has no worker"
        with started(ground.folder, worker_options(broker)):
            until(lambda: not crew.refusal("") and crew.room("") == 8)
        until(lambda: crew.room("") == 0)  # they say that they leave


def test_a_site_whose_broker_is_away_says_so(broker: RabbitMQ, ground: Ground) -> None:
    with crew_of(broker, ground.folder, **IMPATIENT, url="amqps://127.0.0.1:9/updoser") as crew:
        assert until(lambda: crew.refusal("")) == "site lyon: 127.0.0.1:9: Connection refused"


def test_what_a_site_that_went_down_has_is_given_up_and_not_done_when_it_comes_back(
    broker: RabbitMQ, ground: Ground
) -> None:
    with crew_of(broker, ground.folder, **IMPATIENT) as crew:
        crew.give("", Order(batch(ground.targets("c1"))))
        assert all_reports(crew) == [Ended("b1", 1, "site lyon has no worker")]
        with started(ground.folder, worker_options(broker)), crew_of(broker, ground.folder) as other:
            other.give("", Order(batch(ground.targets("c2"), id_="b2")))
            assert set(answers(all_reports(other))) == {"c2"}
            until(lambda: other._receiver.waiting == 0)
    assert set(ground.begun()) == {"c2"}


def test_a_crew_asks_who_is_there_when_it_hears_the_answers(broker: RabbitMQ, ground: Ground) -> None:
    connection = broker.login("site-lyon")  # stands in for a worker that says only once that it lives
    channel, told = connection.channel(), threading.Event()

    def answers_once(message: Any) -> None:
        channel.basic_ack(message.delivery_tag)
        if json.loads(message.body)["kind"] == "who" and not told.is_set():
            told.set()
            body = json.dumps({"worker": "w", "slots": 4})
            channel.basic_publish(_message(body.encode(), user_id="site-lyon"), "results", "alive.lyon")

    channel.basic_qos(0, 10, a_global=False)
    channel.basic_consume("control-lyon", callback=answers_once, arguments={"x-stream-offset": "first"})
    with crew_of(broker, ground.folder) as crew:
        while not told.is_set():
            connection.drain_events(timeout=60)
        until(lambda: crew.room("") == 8)
    connection.close()


# --- who may what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "does",
    [
        lambda channel: channel.basic_get("site-paris"),
        lambda channel: channel.basic_get("control-paris"),
        lambda channel: channel.queue_declare("own"),
        lambda channel: channel.queue_purge("site-paris"),
        lambda channel: channel.queue_delete("site-lyon"),
        lambda channel: channel.basic_publish(_message(), "", "site-lyon"),
        lambda channel: channel.basic_publish(_message(), "control", "lyon"),
        lambda channel: channel.queue_bind("site-lyon", "results", "#"),
    ],
)
def test_the_user_of_a_site_may_read_its_orders_and_write_results_and_nothing_else(broker: RabbitMQ, does: Any) -> None:
    connection = broker.login("site-lyon")
    with pytest.raises(Exception, match="403"):
        does(connection.channel())
    connection.collect()


def test_the_user_of_a_site_can_not_say_that_it_is_another_one(broker: RabbitMQ) -> None:
    connection = broker.login("site-lyon")
    with pytest.raises(Exception, match="406"):
        connection.channel().basic_publish(_message(user_id="site-paris"), "results", "alive.paris")
    connection.collect()


def test_nobody_gets_in_without_a_certificate_that_the_broker_trusts(broker: RabbitMQ, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    cert, key = other.sign("site-lyon", kind="rsa")
    stranger = Broker("127.0.0.1", broker.port, VHOST, cert, key, broker.authority.certificate)
    with pytest.raises(NetworkError):
        stranger.connect()
    cert, key = broker.certificate("site-lyon")
    with pytest.raises(NetworkError, match="TLS fails: .*certificate"):  # nor is any broker believed
        Broker("127.0.0.1", broker.port, VHOST, cert, key, other.certificate).connect()


def test_what_another_site_answers_does_not_count(broker: RabbitMQ, ground: Ground) -> None:
    with crew_of(broker, ground.folder) as crew:
        until(crew._receiver.ready.is_set)
        crew.give("", Order(batch(ground.targets("c1"))))
        evil = broker.login("site-paris")
        body = packed(write_report(Ended("b1", 1)))
        channel = evil.channel()
        for user in ({"user_id": "site-paris"}, {}):
            channel.basic_publish(_message(body, **user), "results", f"answers.{crew._reply}")
        channel.basic_publish(_message(b'{"worker": "x", "slots": 9}', user_id="site-paris"), "results", "alive.lyon")
        until(lambda: crew.receive(0.1) or crew._dealt)
        assert crew.room("") == -1
        with started(ground.folder, worker_options(broker)):
            assert set(answers(all_reports(crew))) == {"c1"}
        evil.close()


def test_an_order_that_no_controller_signed_is_not_carried_out_and_the_worker_goes_on(
    broker: RabbitMQ, ground: Ground
) -> None:
    evil = broker.login()
    signer = Signer.of(*broker.certificate("site-paris"))
    order = Order(batch(ground.targets("evil")))
    letter = order_letter(
        order,
        write_batch(order.batch),
        site="lyon",
        reply="x",
        signer=signer,
        seal_key="",
        budget=60.0,
        halted=(),
    )
    unsigned = json.dumps([[{"site": "lyon"}], {}, {}])
    channel = evil.channel()
    channel.basic_publish(_message(letter.body, **letter.properties), "", "site-lyon")
    properties = {**letter.properties, "content_type": "application/json"}
    channel.basic_publish(_message(unsigned, **properties), "", "site-lyon")
    evil.close()
    with started(ground.folder, worker_options(broker)), crew_of(broker, ground.folder) as crew:
        crew.give("", Order(batch(ground.targets("c1"))))
        assert set(answers(all_reports(crew))) == {"c1"}
        until(lambda: crew._receiver.waiting == 0)
    assert set(ground.begun()) == {"c1"}


def test_an_order_for_one_site_is_not_carried_out_at_another_one(broker: RabbitMQ, ground: Ground) -> None:
    with crew_of(broker, ground.folder, "paris") as paris, crew_of(broker, ground.folder) as lyon:
        paris.give("", Order(batch(ground.targets("c1"))))
        admin = broker.login()
        channel = admin.channel()
        taken = until(lambda: channel.basic_get("site-paris", no_ack=True))
        channel.basic_publish(taken, "", "site-lyon")
        with started(ground.folder, worker_options(broker)):
            lyon.give("", Order(batch(ground.targets("c2"))))
            assert set(answers(all_reports(lyon))) == {"c2"}
            until(lambda: "an order for the site paris came to lyon" in log_of(ground.folder).read_text())
        paris._given.clear()
        admin.close()
    assert set(ground.begun()) == {"c2"}


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_secrets_of_settings_are_sealed_on_their_way(broker: RabbitMQ, ground: Ground) -> None:
    secret = b"the word is swordfish"
    setting = step("settings-a", "v", secret)
    private = {setting.files[0].sha256: secret}
    given = Order(batch(ground.targets("c0", steps=(setting,)), change(step())), private)
    key, public = new_key()
    (ground.folder / "seal").write_text(key)
    with crew_of(broker, ground.folder, seal_key=public) as crew:
        crew.give("", given)
        admin = broker.login()
        channel = admin.channel()
        message = until(lambda: channel.basic_get("site-lyon", no_ack=True))
        seen = base64.b64decode(message.body)
        assert b"swordfish" not in seen
        assert base64.b64encode(secret) not in seen
        channel.basic_publish(message, "", "site-lyon")
        options = worker_options(broker, seal_key={"file": str(ground.folder / "seal")})
        with started(ground.folder, options):
            assert [one.sent for one in answers(all_reports(crew))["c0"].steps] == [len(HELD), len(secret)]
        admin.close()
    assert ground.got("c0", "settings-a") == secret


def test_secrets_are_not_sent_where_nothing_seals_them(broker: RabbitMQ, ground: Ground) -> None:
    with crew_of(broker, ground.folder) as crew:
        crew.give("", Order(batch(ground.targets("c0")), {"0" * 64: b"secret"}))
        (ended,) = all_reports(crew)
        assert isinstance(ended, Ended)
        assert ended.lost == "settings have secrets, and nothing seals them for the site lyon"


@pytest.mark.parametrize("has", ["another key", "none"])
def test_secrets_that_a_worker_can_not_open_go_back_with_the_reason_and_it_goes_on(
    broker: RabbitMQ, ground: Ground, has: str
) -> None:
    (ground.folder / "seal").write_text(new_key()[0])
    keys: dict[str, dict[str, Any]] = {"another key": {"seal_key": {"file": str(ground.folder / "seal")}}, "none": {}}
    reasons = {
        "another key": "can't be opened with its `seal_key`: it isn't sealed for this worker and this batch",
        "none": "came, and this worker has no `seal_key`",
    }
    with (
        started(ground.folder, worker_options(broker, **keys[has])),
        crew_of(broker, ground.folder, seal_key=new_key()[1]) as crew,
    ):
        crew.give("", Order(batch(ground.targets("c0"), attempt=2), {"0" * 64: b"swordfish"}))
        why = f"a worker at the site lyon can't read it: secrets of settings {reasons[has]}"
        assert all_reports(crew) == [Ended("b1", 2, why)]
        crew.give("", Order(batch(ground.targets("c2"), id_="b2")))
        assert set(answers(all_reports(crew))) == {"c2"}
    assert set(ground.begun()) == {"c2"}
    assert b"swordfish" not in log_of(ground.folder).read_bytes()


def test_what_is_sealed_opens_for_its_order_only() -> None:
    key, public = new_key()
    sealed = seal(public, {"a": b"secret"}, "this")
    assert unseal(key, sealed, "this") == {"a": b"secret"}
    assert public_of(key) == public
    for tried in (
        (new_key()[0], sealed, "this"),
        (key, sealed, "that"),
        (key, sealed[:-1] + b"x", "this"),
        (key, b"", ""),
    ):
        with pytest.raises(ValueError, match="sealed|cut off"):
            unseal(*tried)


def test_a_certificate_that_can_not_sign_is_said(broker: RabbitMQ, tmp_path: Path) -> None:
    cert, key = broker.authority.sign("elliptic")
    with (
        pytest.raises(PluginError, match="can't sign orders"),
        crew_of(broker, tmp_path, sign_cert=str(cert), sign_key=str(key)),
    ):
        pass


def _message(body: Any = b"x", **properties: Any) -> Any:
    from amqp import Message

    return Message(body, **properties)


# --- all of it at once ------------------------------------------------------------------------------------------------


def test_whatever_dies_on_the_way_each_client_is_counted_once(broker: RabbitMQ, tmp_path: Path) -> None:
    clients, size = 1000, 5  # 200 batches; `tests/bench/bench_sites.py` has 20,000
    found = carry(broker, tmp_path, f"sqlite:///{tmp_path}/state.db", clients, size=size, forks=10)
    assert (found.counted, found.twice, found.faults) == (clients, 0, 6)
    assert f"{DEADLY}0" in found.failed
    assert len(found.failed) <= size
    assert all("it ended its worker at the site lyon again and again" in why for why in found.failed.values())
