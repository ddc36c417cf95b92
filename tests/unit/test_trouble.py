"""Trouble of clients: told by its reason, with a number, a few examples and what to do, however many there are."""

import errno
import socket
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.client.facts import read_facts
from reconciler.contracts import Completed
from reconciler.errors import AuthenticationError, ClientError, NetworkError, TransportError
from reconciler.model.deploy import FAULTS, reason_by_code
from reconciler.model.network import Proxy
from reconciler.model.plan import Basis, Finding, Plan
from reconciler.model.report import Failure, Report, Status, Troubled
from reconciler.network.dial import Dialer, connect
from reconciler.observe.observed import Sight, observe
from reconciler.observe.troubles import find_troubles, left_alone
from reconciler.present.document import plan_document, report_document, status_document
from reconciler.present.markdown import plan_markdown
from reconciler.present.plan_text import plan_text
from reconciler.present.report_markdown import report_markdown
from reconciler.present.status_markdown import status_markdown
from reconciler.present.status_text import status_text
from reconciler.present.text import report_text
from reconciler.reasons import REASONS, label_of, reached, reason_of
from tests.fakes import NOW
from tests.unit.test_documents import schema
from tests.unit.test_limits import Fault
from tests.unit.workbench import Bench, Opened

MANY = 3000
OFF = tuple(
    Failure(
        f"pc-{at}",
        "branch",
        "",
        f"did not answer: 192.0.2.{at % 250}:22 didn't answer within 10 s",
        "machine",
        "silent",
    )
    for at in range(MANY)
)
FIX = REASONS["silent"].todo


def report(*unreachable: Failure, failed: tuple[Failure, ...] = ()) -> Any:
    recap: Any = {"branch": {"unreachable": len(unreachable), "failed": len(failed)}}
    return report_document(Report("r", "p", NOW, NOW, recap, unreachable=unreachable, failed=failed))


# --- thousands are a few lines --------------------------------------------------------------------------------------


def test_thousands_of_clients_that_do_not_answer_are_ten_lines_of_a_report() -> None:
    lines = report_text(report(*OFF)).splitlines()
    assert lines[:7] == [
        "Unreachable",
        "  ! did not answer: 3 000 clients of branch",
        "      pc-0: 192.0.2.0:22 didn't answer within 10 s",
        "      pc-1: 192.0.2.1:22 didn't answer within 10 s",
        "      pc-2: 192.0.2.2:22 didn't answer within 10 s",
        "      and 2 997 more",
        f"      fix: {FIX}",
    ]
    assert len(lines) <= 12


def test_thousands_of_clients_that_do_not_answer_are_a_row_of_a_report_in_markdown() -> None:
    shown = report_markdown(report(*OFF))
    (row,) = [line for line in shown.splitlines() if "3 000 clients" in line]
    assert row.startswith("| did not answer | 3 000 clients | branch | pc-0: 192.0.2.0:22 didn't answer within 10 s; ")
    assert row.endswith(f"; and 2 997 more | {FIX} |")
    assert shown.startswith("### Apply complete: 0 clients changed, 0 failed, 3 000 unreachable")


def test_thousands_of_clients_that_do_not_answer_are_three_lines_of_a_plan() -> None:
    members = {"c1": tuple(f"pc-{at}" for at in range(MANY))}
    unknown = (Finding("branch", MANY, ("c1",), "did not answer"),)
    document = plan_document(
        Plan("p", NOW, Basis("l", 1, 0, "s", "c"), unknown=unknown, members=members, clients={"branch": MANY})
    )
    lines = plan_text(document).splitlines()
    at = lines.index("  ?  all components  3 000 clients  branch  did not answer")
    assert lines[at + 1 :][:2] == ["        pc-0, pc-1, pc-10 and 2 997 more", f"        fix: {FIX}"]
    assert len(lines) < 10
    assert f"\n- did not answer (pc-0, pc-1, pc-10 and 2 997 more): {FIX}\n" in plan_markdown(document)


def test_each_reason_stands_once_with_what_to_do_and_the_most_frequent_first() -> None:
    others = (
        Failure("a", "office", "", "host key not trusted: the key of a is unknown", "machine", "host_key"),
        Failure("b", "office", "", "host key not trusted: the key of b is unknown", "machine", "host_key"),
        Failure("c", "office", "", "sudo refused: sudo refuses: a password is required", "machine", "sudo"),
    )
    text = report_text(report(*OFF[:5], *others))
    rows = [line.strip() for line in text.splitlines() if line.startswith("  ! ")]
    assert rows == [
        "! did not answer: 5 clients of branch",
        "! host key not trusted: 2 clients of office",
        "! sudo refused: 1 client of office",
    ]
    for reason in ("silent", "host_key", "sudo"):
        assert text.count(REASONS[reason].todo) == 1


def test_a_client_that_failed_with_many_components_is_one_client() -> None:
    failed = tuple(Failure("pc-1", "g", f"rules-{at}", "full", "machine", "disk") for at in range(13))
    text = report_text(report(failed=failed))
    assert "  ! disk full: 1 client of g\n      pc-1 rules-0 (and 12 others): full\n" in text


def test_a_report_of_an_earlier_version_is_told_by_the_label_in_its_messages() -> None:
    document = report(OFF[0])
    del document["unreachable"][0]["reason"]
    assert "  ! did not answer: 1 client of branch\n" in report_text(document)
    document["unreachable"][0]["message"] = "it is gone"
    assert "  ! error: 1 client of branch\n      pc-0: it is gone\n" in report_text(document)


# --- reasons are known where it goes wrong --------------------------------------------------------------------------


def test_reasons_can_be_told_apart_by_their_labels_and_each_says_what_to_do() -> None:
    labels = [about.label for about in REASONS.values()]
    assert len(set(labels)) == len(labels)
    assert [label for label in labels if ":" in label] == []
    assert [reason for reason, about in REASONS.items() if not about.todo or about.todo.endswith(".")] == []
    assert {reason: reason_of(f"{about.label}: it said: no") for reason, about in REASONS.items()} == {
        reason: reason for reason in REASONS
    }


def test_a_client_that_was_there_failed_and_one_that_was_not_is_unreachable() -> None:
    assert all(
        reached(REASONS[reason].label) for reason in ("sudo", "disk", "busy", "protocol", "controller", "client")
    )
    assert not any(
        reached(REASONS[reason].label) for reason in ("silent", "refused", "name", "login", "host_key", "jump")
    )


def test_each_code_of_a_client_has_a_reason() -> None:
    assert [code for code in FAULTS if reason_by_code(code) == "client"] == []
    assert reason_by_code("of a later script") == "client"


def test_a_port_on_which_nobody_listens_is_told_from_a_host_that_does_not_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert reason_from(lambda: connect("127.0.0.1", port, timeout=20)) == "refused"
        proxy = Proxy("egress", "http", "127.0.0.1", port)
        assert reason_from(lambda: Dialer(str)("192.0.2.1", 22, proxy=proxy, timeout=20)) == "proxy"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EHOSTUNREACH, "silent"),
        (errno.ENETUNREACH, "silent"),
        (errno.ETIMEDOUT, "silent"),
        (errno.ECONNREFUSED, "refused"),
        (errno.ECONNRESET, "connection"),
    ],
)
def test_what_the_system_says_of_a_connection_is_its_reason(
    number: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_found: Any, _timeout: float) -> socket.socket:
        raise OSError(number, "no")

    monkeypatch.setattr("reconciler.network.dial._race", refuse)
    assert reason_from(lambda: connect("192.0.2.1", 22, timeout=20)) == reason


def reason_from(do: Any) -> str:
    with pytest.raises(NetworkError) as caught:
        do()
    assert label_of(caught.value.brief) == REASONS[caught.value.reason].label
    return caught.value.reason


@pytest.mark.parametrize(
    ("status", "stdout", "stderr", "reason"),
    [
        (1, b"", b"sudo: a password is required", "sudo"),
        (1, b"", b"sudo: sorry, you must have a tty to run sudo", "sudo"),
        (1, b"updoser 1 error\ndisk not enough disk\nend\n", b"", "disk"),
        (1, b"updoser 1 error\nlocked process 7 is changing this client now\nend\n", b"", "busy"),
        (1, b"updoser 1 error\ninsecure /var is writable by all\nend\n", b"", "folder"),
        (1, b"nonsense", b"", "protocol"),
    ],
)
def test_what_a_client_answers_is_its_reason(status: int, stdout: bytes, stderr: bytes, reason: str) -> None:
    with pytest.raises(ClientError) as caught:
        read_facts(Completed(status, stdout, stderr))
    assert caught.value.reason == reason


# --- through a run, the state and the status ------------------------------------------------------------------------


def troubles(bench: Bench) -> dict[str, tuple[int, list[str]]]:
    with bench.work() as work:
        found = find_troubles(work, observe(work, Sight(refresh=False)).cohorts)
    document = status_document(Status(NOW, NOW, 4, (), {}, troubles=found))
    Draft202012Validator(schema("status")).validate(document)
    return {
        entry["reason"]: (entry["clients"], [f"{one['client']}: {one['message']}" for one in entry["examples"]])
        for entry in document["troubles"]
    }


def test_a_status_counts_clients_that_are_off_and_that_failed_by_their_reasons(opened: Opened) -> None:
    bench = opened({"g": 9})
    bench.release("2")
    silent = TransportError("it didn't answer within 10 s", reason="silent")
    bench.transport = Fault(bench.transport, silent, {f"g-{at}" for at in range(5)}, "facts")
    bench.transport = Fault(bench.transport, AuthenticationError("no key fits"), {"g-5"}, "facts")
    bench.transport = Fault(bench.transport, ClientError("no room", reason="disk"), {"g-6"})
    bench.apply()
    silent_ones = [f"g-{at}: did not answer: it didn't answer within 10 s" for at in range(3)]
    assert troubles(bench) == {
        "silent": (5, silent_ones),
        "login": (1, ["g-5: authentication failed: no key fits"]),
        "disk": (1, ["g-6: disk full: no room"]),
    }


def test_a_check_that_failed_stays_known_as_one_until_the_client_is_well(opened: Opened) -> None:
    bench = opened({"g": 2})
    bench.release("2")
    unchecked = bench.spec
    bench.check("false", phase="switched", where="server", name="detects")
    made = bench.apply()
    assert {failure.reason for failure in made.failed} == {"check"}
    assert [entry.reason for entry in bench.journal() if entry.outcome == "failed"] == ["check"] * len(made.failed)
    ((reason, (clients, _said)),) = troubles(bench).items()
    assert (reason, clients) == ("check", len({failure.client for failure in made.failed}))
    bench.spec = unchecked
    bench.release("3")
    bench.apply()
    assert troubles(bench) == {}


def test_a_client_in_quarantine_says_what_it_failed_of(opened: Opened) -> None:
    bench = opened({"g": 2})
    bench.machines["g-0"].sick = True
    for version in "234":
        bench.release(version)
        bench.apply()
    with bench.work() as work:
        assert all(entry.message for entry in left_alone(work, bench.now))


def test_a_status_tells_trouble_as_a_report_does() -> None:
    status = Status(NOW, NOW, MANY, (), {}, troubles=(Troubled("silent", MANY, ("branch",), OFF[:3]),))
    document = status_document(status)
    trouble = report_text(report(*OFF)).splitlines()[1:7]
    lines = status_text(document).splitlines()
    assert lines[lines.index("Trouble") + 1 :][:6] == trouble
    assert "| did not answer | 3 000 clients | branch | pc-0: " in status_markdown(document)
