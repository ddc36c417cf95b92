"""The commands on a state in PostgreSQL: each apply runs twice, and what people do with rollouts and locks."""

from __future__ import annotations

import signal
import socketserver
import stat
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from reconciler.assembly import utc_now
from reconciler.errors import StateError
from reconciler.storage.state import State
from tests.fleet import ONE_WAVE, Fleet
from tests.integration.test_serve import ask, links, serving
from tests.pages import examples
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import Postgres

pytestmark = pytest.mark.needs("initdb")
NOTHING = "Plan: 0 downloads (0 B), 0 changes on 0 of 3 clients (0 B)"


@pytest.fixture
def fleet(tmp_path: Path, postgres_url: str) -> Fleet:
    made = Fleet(tmp_path, server={"store": "store", "state": postgres_url})
    made.release("rules", "1", rules_txt=b"one\n")
    return made


def test_an_apply_converges_and_what_it_did_is_told(fleet: Fleet) -> None:
    assert fleet.run("plan", "--out", "p.plan").code == 0
    done = fleet.run("apply", "p.plan")
    assert (done.code, fleet.current("c1", "rules")) == (0, {"rules.txt": b"one\n"}), done.err
    before = fleet.listing()
    again = fleet.apply()
    assert (again.code, NOTHING in again.out, fleet.listing()) == (0, True, before)
    assert fleet.run("plan", "--detailed-exitcode").code == 0
    assert "rules" in fleet.run("status").out
    runs = fleet.run("history", "--format", "json").json
    assert [run["status"] for run in runs] == ["done"]
    assert fleet.run("doctor").code == 0
    assert not (fleet.folder / "state.db").exists()


def test_a_rollout_waits_for_its_approval_goes_on_with_it_and_is_aborted(fleet: Fleet) -> None:
    assert fleet.apply().code == 0
    fleet.write(auto_update={"rollout": {"waves": [{"count": 1}, {"share": "100%", "approve": "manual"}]}})
    fleet.release("rules", "2", rules_txt=b"two\n")
    assert fleet.apply().code == 0
    assert sum(fleet.current(f"c{n}", "rules") == {"rules.txt": b"two\n"} for n in (1, 2, 3)) == 1
    assert "waits for approval" in fleet.run("rollout", "list").out
    assert fleet.run("rollout", "approve", "rules").code == 0
    assert fleet.apply().code == 0
    assert fleet.current("c3", "rules") == {"rules.txt": b"two\n"}
    fleet.release("rules", "3", rules_txt=b"three\n")
    assert fleet.apply().code == 0
    assert fleet.run("rollout", "abort", "rules", "--undo").code == 0
    assert fleet.apply().code == 0
    assert {fleet.current(f"c{n}", "rules")["rules.txt"] for n in (1, 2, 3)} == {b"two\n"}
    before = fleet.listing()
    assert fleet.apply().code == 0
    assert fleet.listing() == before


def grant(postgres: Postgres, url: str, page: str) -> None:
    """Make the roles of a page in a database."""
    name = postgres.name_of(url)
    (text,) = [found.text for found in examples() if found.page.name == page and found.language == "sql"]
    for statement in text.replace("ON DATABASE updoser", f"ON DATABASE {name}").split(";"):
        if statement.strip():
            made = statement.strip().startswith("CREATE ROLE")
            with suppress(*((psycopg.errors.DuplicateObject,) if made else ())):
                postgres.ask(statement, name)


def test_each_role_may_do_what_the_page_about_the_state_says(
    fleet: Fleet, postgres: Postgres, postgres_url: str
) -> None:
    assert fleet.apply().code == 0
    grant(postgres, postgres_url, "state.md")
    grant(postgres, postgres_url, "console.md")
    name = postgres.name_of(postgres_url)
    fleet.release("rules", "2", rules_txt=b"two\n")
    fleet.write(server={"store": "store", "state": postgres.url(name, "updoser_controller")})
    assert fleet.apply().code == 0
    assert fleet.current("c1", "rules") == {"rules.txt": b"two\n"}
    fleet.write(server={"store": "store", "state": postgres.url(name, "updoser_reader")})
    assert fleet.run("history").code == 0
    assert "rules" in fleet.run("status", "--no-refresh").out
    refused = fleet.apply()
    assert (refused.code, "permission denied" in refused.err, "docs/state.md" in refused.err) == (1, True, True)
    with State.open_shared(postgres.url(name, "console"), clock=utc_now) as console:
        console.ask_controller()
        console.forget_sessions(timedelta(hours=1))
        assert console.runs(5)
        with pytest.raises(StateError, match="permission denied"):
            console.pause_controller(None)
    with State.open_shared(postgres.url(name, "updoser_reader"), clock=utc_now) as reader:
        assert reader.runs(5)
        with pytest.raises(StateError, match="permission denied"):
            reader.ask_controller()


def at_work(fleet: Fleet, folder: Path) -> subprocess.Popen[str]:
    """Give a run that is about to give its clients a release, and waits with it as long as there is a file `hold`."""
    shell = folder / "waiting-sh"
    shell.write_text(
        f'#!/bin/sh\necho >>{folder}/asked\nwhile [ -e {folder}/hold ]; do sleep 0.05; done\nexec sh "$@"\n'
    )
    shell.chmod(stat.S_IRWXU)
    fleet.spec["groups"]["all"]["transport"] = {"type": "local", "shell": str(shell)}
    fleet.write(auto_update=ONE_WAVE)
    assert fleet.apply().code == 0
    fleet.release("rules", "2", rules_txt=b"two\n")
    assert fleet.run("plan", "--out", "p.plan").code == 0
    (folder / "hold").touch()
    (folder / "asked").unlink()
    process = fleet.start("apply", "p.plan")
    until((folder / "asked").exists, process)
    return process


def test_a_server_that_restarts_in_the_midst_of_an_apply_costs_nothing_but_a_retry(
    fleet: Fleet, postgres: Postgres, tmp_path: Path
) -> None:
    process = at_work(fleet, tmp_path)
    postgres.restart("immediate")
    (tmp_path / "hold").unlink()
    until(lambda: fleet.current("c1", "rules") == {"rules.txt": b"two\n"})
    postgres.restart("immediate")
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "3 clients changed, 0 failed" in out) == (0, True), out + errors
    before = fleet.listing()
    again = fleet.apply()
    assert (again.code, NOTHING in again.out, fleet.listing()) == (0, True, before)


def test_a_server_that_restarts_while_outcomes_are_written_down_has_each_of_them_once(
    fleet: Fleet, postgres: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    process = at_work(fleet, tmp_path)
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE '%journal%'"
    with suppress(psycopg.OperationalError), postgres.connected(postgres.name_of(postgres_url)) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE journal IN EXCLUSIVE MODE")
        (tmp_path / "hold").unlink()
        until(lambda: postgres.ask(waits), process)
        postgres.restart("immediate")
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "3 clients changed, 0 failed" in out) == (0, True), out + errors
    (newest, *_) = fleet.run("history", "--format", "json").json
    with State.open(postgres_url, clock=utc_now) as state:
        assert sorted(one.client for one in state.journal_of(newest["run_id"]) if one.client) == ["c1", "c2", "c3"]


def test_a_run_that_is_unlocked_while_it_works_ends_with_5_and_a_sentence_and_the_next_one_converges(
    fleet: Fleet, tmp_path: Path
) -> None:
    process = at_work(fleet, tmp_path)
    refused = fleet.apply()
    assert (refused.code, "the state is locked by" in refused.err) == (5, True)
    lock_id = refused.err.rpartition("updoser unlock ")[2].split()[0]
    assert fleet.run("unlock", lock_id).code == 5
    assert fleet.run("unlock", lock_id, "--force").code == 0
    (tmp_path / "hold").unlink()
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in errors) == (5, False), out + errors
    assert "the lock of this run was taken away" in errors
    assert fleet.apply().code == 0
    assert {fleet.current(f"c{n}", "rules")["rules.txt"] for n in (1, 2, 3)} == {b"two\n"}


def test_a_run_that_was_killed_is_followed(fleet: Fleet, tmp_path: Path) -> None:
    process = at_work(fleet, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    (tmp_path / "hold").unlink()
    assert fleet.apply().code == 0
    assert fleet.current("c3", "rules") == {"rules.txt": b"two\n"}


def test_a_controller_with_the_console_keeps_the_fleet_current(fleet: Fleet) -> None:
    with serving(fleet, "--with-controller") as process:
        until(lambda: fleet.current("c1", "rules") == {"rules.txt": b"one\n"}, process)
        until(lambda: "next look at" in (fleet.folder / "served").read_text(), process)
        link = links(fleet)[0]
        assert ask(link)[0] == 200
        url, secret = link.split("/sign-in?link=")
        status, headers, _text = ask(f"{url}/sign-in", form={"link": secret})
        assert status == 303
        cookie = headers["set-cookie"].partition(";")[0]
        for page in ("/", "/clients", "/rollouts", "/runs"):
            assert ask(f"{url}{page}", cookie=cookie)[0] == 200, page
        assert fleet.run("controller", "check").code == 0
    said = fleet.run("status", "--no-refresh", "--format", "json").json["controller"]
    assert (said["phase"], said["alive"]) == ("stopped", False)


class _Evil(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"SSH-\0-evil\xff\r\n")
        self.request.recv(1000)


@pytest.fixture
def evil() -> Iterator[int]:
    """Give the port of a host that greets with what no text may hold."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Evil) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_host_whose_greeting_no_database_can_hold_is_unknown_and_ends_nothing(
    tmp_path: Path, state_url: str, evil: int
) -> None:
    made = Fleet(tmp_path, 2, server={"store": "store", "state": state_url})
    made.release("rules", "1", rules_txt=b"one\n")
    (tmp_path / "known_hosts").touch()
    ssh: dict[str, Any] = {"type": "ssh", "port": evil, "user": "u", "known_hosts": "known_hosts"}
    made.spec["groups"]["odd"] = {
        "transport": ssh,
        "install_root": "/r",
        "clients": [{"name": "evil", "address": "127.0.0.1"}],
    }
    made.write()
    done = made.run("plan")
    assert done.code == 0, done.out + done.err
    assert "unknown 1" in done.out
    assert made.apply("--max-unreachable", "50%").code in {0, 4}
    assert made.current("c2", "rules") == {"rules.txt": b"one\n"}
