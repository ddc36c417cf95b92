"""What a controller that runs tells of itself: whether it is alive and ready, and its metrics."""

from __future__ import annotations

import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler import cli
from reconciler.controller import listening
from reconciler.controller.health import Health
from reconciler.controller.listening import AT_ONCE, LARGEST, answering
from reconciler.errors import UsageError
from reconciler.model.controller import ControllerReport, ControllerSpec, ControllerStatus, Pause
from reconciler.model.report import Report, Status
from reconciler.present.terminal import Terminal
from tests.fakes import NOW
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.controller import ControllerPhase

SPEC = ControllerSpec(interval=timedelta(minutes=5), jitter=0)


class Watch:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def health(watch: Watch) -> Health:
    return Health(lambda: NOW, watch)


def said(phase: ControllerPhase) -> ControllerReport:
    return ControllerReport(who="ann", phase=phase, mode="apply", since=NOW)


def value(health: Health, series: str) -> float:
    return next(float(line.rpartition(" ")[2]) for line in health.metrics().splitlines() if line.startswith(series))


@pytest.mark.parametrize(("minutes", "patience"), [(5, 15), (1, 5), (60, 180)])
def test_it_is_alive_for_three_intervals_after_a_sign_of_life_and_never_less_than_five_minutes(
    health: Health, watch: Watch, minutes: int, patience: int
) -> None:
    health.say(said("looking"), ControllerSpec(interval=timedelta(minutes=minutes), jitter=0))
    watch.seconds = patience * 60
    assert health.alive().good
    watch.seconds += 1
    assert health.alive() == (False, f"looking, and no sign of life for {patience * 60 + 1} s")


def test_a_change_that_takes_for_ever_is_alive_as_long_as_something_happens(health: Health, watch: Watch) -> None:
    health.say(said("changing"), SPEC)
    for _each in range(10):
        watch.seconds += 800
        assert health.alive().good
        health.beat()


def test_who_leads_is_ready_and_so_is_who_waits_to_lead(health: Health) -> None:
    ready = {}
    for phase in ("starting", "waiting to lead", "looking", "changing", "sleeping", "stopped"):
        health.say(said(phase), SPEC)
        ready[phase] = (health.ready().good, value(health, "updoser_leader"))
    assert ready == {
        "starting": (False, 0),
        "waiting to lead": (True, 0),
        "looking": (True, 1),
        "changing": (True, 1),
        "sleeping": (True, 1),
        "stopped": (False, 0),
    }


def test_rounds_and_what_became_of_clients_in_them_add_up(health: Health) -> None:
    report = Report("r", "p", NOW, NOW, {"office": {"changed": 3, "failed": 1}, "plant": {"changed": 2}})
    for result in ("ok", "ok", "failed"):
        health.end_round(result, report)
    assert value(health, 'updoser_reconcile_total{result="ok"}') == 2
    assert value(health, 'updoser_reconcile_total{result="failed"}') == 1
    assert value(health, 'updoser_run_clients_total{outcome="changed"}') == 15
    assert value(health, 'updoser_run_clients_total{outcome="failed"}') == 3
    assert value(health, 'updoser_last_run_timestamp_seconds{status="failed"}') == NOW.timestamp()


def test_messages_that_were_delivered_and_not_are_counted_for_each_notifier(health: Health) -> None:
    for result in ("delivered", "failed", "delivered"):
        health.count_message("chat", result)
    assert value(health, 'updoser_notifications_total{notifier="chat",result="delivered"}') == 2
    assert value(health, 'updoser_notifications_total{notifier="chat",result="failed"}') == 1


def test_how_long_phases_take_is_counted_in_each_bucket_that_it_fits(health: Health, watch: Watch) -> None:
    for seconds in (3, 50):
        health.say(said("looking"), SPEC)
        watch.seconds += seconds
        health.say(said("sleeping"), SPEC)
        watch.seconds += 1000
    counts = {
        le: value(health, f'updoser_run_duration_seconds_bucket{{phase="looking",le="{le}"}}') for le in (1, 5, 120)
    }
    assert counts == {1: 0, 5: 1, 120: 2}
    assert value(health, 'updoser_run_duration_seconds_sum{phase="looking"}') == 53
    assert value(health, 'updoser_run_duration_seconds_count{phase="changing"}') == 0


def test_figures_stay_between_rounds_and_a_pause_ends_by_itself(health: Health) -> None:
    health.say(said("sleeping"), SPEC)
    for ends, paused in ((NOW + timedelta(hours=1), 1), (NOW, 0), (None, 1)):
        pause = Pause(who="ann", reason="audit", since=NOW, until=ends)
        controller = ControllerStatus(report=said("looking"), alive=True, pause=pause)
        health.keep_status(Status(NOW, NOW, 7, (), {}, controller=controller))
        assert value(health, "updoser_paused") == paused
    assert value(health, "updoser_fleet_clients") == 7
    assert value(health, 'updoser_controller_phase{phase="sleeping"}') == 1


@pytest.mark.needs("promtool")
def test_promtool_finds_nothing_wrong_with_what_a_controller_gives(health: Health) -> None:
    promtool = shutil.which("promtool")
    assert promtool
    health.say(said("changing"), SPEC)
    health.end_round("ok", Report("r", "p", NOW, NOW, {}))
    health.keep_status(Status(NOW, NOW, 7, (), {}))
    text = health.metrics()
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# --- over HTTP --------------------------------------------------------------------------------------------------------


@contextmanager
def listener(health: Health, host: str = "127.0.0.1") -> Iterator[str]:
    told: list[str] = []
    with answering(host, 0, health, lambda text, _level: told.append(text)):
        yield told[0].removeprefix("health and metrics: ").removesuffix("/metrics")


@pytest.fixture
def address(health: Health) -> Iterator[str]:
    with listener(health) as found:
        yield found


def asked(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(address + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def connected(address: str) -> socket.socket:
    host, _colon, port = address.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def test_who_asks_is_told_health_and_metrics_and_nothing_else(address: str, health: Health, watch: Watch) -> None:
    health.say(said("sleeping"), SPEC)
    assert asked(address, "/livez") == (200, "ok: sleeping\n")
    assert asked(address, "/readyz?verbose") == (200, "ok: sleeping\n")
    assert asked(address, "/metrics") == (200, health.metrics())
    assert asked(address, "/metrics", "HEAD") == (200, "")
    assert asked(address, "/etc/passwd")[0] == 404
    assert asked(address, "/metrics", "POST") == (405, "GET and HEAD only\n")
    watch.seconds = 10_000
    assert asked(address, "/livez")[0] == 503
    health.say(said("stopped"), SPEC)
    assert asked(address, "/readyz") == (503, "not ok: stopped\n")


def test_a_question_that_is_too_large_or_none_is_hung_up_on_and_the_next_one_is_answered(address: str) -> None:
    for sent in (b"GET /" + b"a" * 4 * LARGEST, b"\x00\xff\r\n\r\n", b"GET / HTTP/9.9.9\r\n\r\n", b"\r\n\r\n"):
        with connected(address) as connection:
            connection.sendall(sent)
            try:
                while connection.recv(1 << 16):
                    pass
            except ConnectionResetError:
                pass
    assert asked(address, "/livez")[0] == 200


def test_who_asks_slowly_is_hung_up_on(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PATIENCE", 0.05)
    with connected(address) as connection:
        connection.sendall(b"GET /livez HT")
        with suppress(ConnectionResetError):  # it hung up before that was sent
            assert connection.recv(100) == b""


def test_of_many_who_ask_at_once_some_are_hung_up_on_and_later_ones_are_answered(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "PATIENCE", 2 * PATIENCE)
    silent = [connected(address) for _each in range(AT_ONCE)]
    with connected(address) as one_too_many:
        assert one_too_many.recv(100) == b""
    for connection in silent:
        connection.close()

    def answered() -> bool:
        try:
            return asked(address, "/livez")[0] == 200
        except OSError:
            return False

    until(answered)


def test_where_it_cannot_listen_is_said_before_anything_begins(address: str, health: Health) -> None:
    port = int(address.rpartition(":")[2])
    with (
        pytest.raises(UsageError, match=f"--listen 127.0.0.1:{port}: it can't be listened there: "),
        answering("127.0.0.1", port, health, lambda _text, _level: None),
    ):
        pass


def test_listening_where_others_can_ask_is_warned_of(health: Health) -> None:
    told: list[tuple[str, str]] = []
    with answering("0.0.0.0", 0, health, lambda text, level: told.append((level, text))):
        pass
    assert [level for level, _text in told] == ["info", "warning"]


@pytest.mark.parametrize("wrong", ["8485", ":8485", "127.0.0.1:", "127.0.0.1:99999", "::1:80", "[h]:80", "h:\u0661"])
def test_what_is_no_address_to_listen_at_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["run", "--listen", wrong], Terminal()) == 64
    assert "is no address to listen at: such as 127.0.0.1:8485" in capsys.readouterr().err
