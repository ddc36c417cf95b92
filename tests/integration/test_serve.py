"""The console as a process: what it says when it starts, how it is asked, and how it ends."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import pytest

from reconciler.assembly import utc_now
from reconciler.errors import StateError
from reconciler.storage.database import SHARED
from reconciler.storage.state import State
from tests.fleet import Fleet
from tests.pages import examples
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINK = re.compile(r"sign in as \S+, once and within ten minutes: (http\S+)")


@contextmanager
def serving(fleet: Fleet, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Serve a console for the time of the block, once it answers; what it says goes to the file `served`."""
    log = fleet.folder / "served"
    with log.open("a") as said:
        process = fleet.start_telling(said, "serve", "--listen", "127.0.0.1:0", *options)
    try:
        until(lambda: LINK.search(log.read_text()), process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def links(fleet: Fleet) -> list[str]:
    return LINK.findall((fleet.folder / "served").read_text())


def ask(url: str, *, form: dict[str, str] | None = None, cookie: str = "") -> tuple[int, dict[str, str], str]:
    """Ask as a browser does, and give status, headers and text."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    headers = {"Accept": "text/html", **({"Cookie": cookie} if cookie else {})}
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        if form is None:
            connection.request("GET", target, headers=headers)
        else:
            kind = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{parts.netloc}"}
            connection.request("POST", target, urlencode(form), {**headers, **kind})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def test_who_started_it_signs_in_by_the_link_and_sees_the_fleet_until_a_signal_ends_it(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 1)
    assert fleet.run("status").code == 0
    with serving(fleet) as process:
        (link,) = links(fleet)
        url, secret = link.split("/sign-in?link=")
        assert ask(url)[:1] == (303,)
        assert secret in ask(link)[2]
        status, headers, _text = ask(f"{url}/sign-in", form={"link": secret})
        assert status == 303
        cookie = headers["set-cookie"].partition(";")[0]
        status, _headers, text = ask(f"{url}/", cookie=cookie)
        assert (status, "Sign out" in text) == (200, True)
        process.send_signal(signal.SIGHUP)
        until(lambda: len(links(fleet)) == 2, process)
        assert secret not in links(fleet)[1]
        kept = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), PATIENCE)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        with kept:
            assert kept.recv(1) == b""


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to be two users")
def test_the_console_may_be_another_user_than_the_controller_where_both_may_write(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="two-users-"))
    try:
        folder.chmod(0o2770)
        os.chown(folder, 12345, 54321)
        file = folder / "state.db"
        with State.open(f"sqlite:///{file}", clock=utc_now) as state:
            state.ask_controller()
        for path in folder.iterdir():
            os.chown(path, 12345, 54321)
            path.chmod(0o660)
        as_user(12346, 54321, partial(use, file))
        as_user(
            12345, 54321, partial(use, file)
        )  # and what the console made beside it keeps the controller from nothing
        assert as_user(12346, 54322, partial(use, file), good=False)
        with State.open(f"sqlite:///{file}", clock=utc_now) as state:
            assert state.asked() == 3  # once here, and once by each of the two
    finally:
        shutil.rmtree(folder)


def use(file: Path) -> None:
    with State.open_shared(f"sqlite:///{file}", clock=utc_now) as state:
        state.ask_controller()
        state.forget_sessions(timedelta(hours=1))
        with pytest.raises(StateError):
            state.pause_controller(None)


def lead(file: Path) -> None:
    with State.open(f"sqlite:///{file}", clock=utc_now) as state:
        state.ask_controller()
        state.pause_controller(None)


def as_user(user: int, group: int, work: Callable[[], None], *, good: bool = True) -> bool:
    """Do something in a process of another user; say whether that ended as it should."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            work()
            code = 0
        finally:
            os._exit(code)
    _child, status = os.waitpid(child, 0)
    assert (status == 0) == good
    return True


def test_the_rights_of_its_role_in_postgresql_are_those_that_sqlite_holds_it_to() -> None:
    text = next(found.text for found in examples() if found.page.name == "console.md" and found.language == "sql")
    granted = set()
    lines = re.findall(r"^GRANT ([A-Z][A-Za-z, ()]*) ON (?!DATABASE|SCHEMA|ALL)(.+) TO console;$", text, re.MULTILINE)
    for rights, tables in lines:
        for right, column in re.findall(r"([A-Z]+)(?: \((\w+)\))?", rights):
            granted |= {(right.lower(), table.strip(), column or None) for table in tables.split(",")}
    assert granted == SHARED


def test_a_state_that_is_not_there_yet_is_said_and_not_made(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 1)
    done = fleet.run("serve", "--listen", "127.0.0.1:0")
    assert (done.code, "there is no state at" in done.err) == (1, True)
    assert not (tmp_path / "state.db").exists()


def test_it_listens_only_where_nobody_else_can_read_along(tmp_path: Path) -> None:
    done = Fleet(tmp_path, 1).run("serve", "--listen", "0.0.0.0:0")
    assert (done.code, "console.tls" in done.err) == (64, True), done.err


def test_with_a_controller_it_waits_for_the_state_and_ends_it_too(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 1)
    fleet.release("rules", "1", rules_txt=b"one")
    with serving(fleet, "--with-controller", "--", "--forks", "3") as process:
        until(lambda: fleet.current("c1", "rules") == {"rules.txt": b"one"}, process)
        until(lambda: "next look at" in (tmp_path / "served").read_text(), process)
        assert ask(links(fleet)[0])[0] == 200
        assert fleet.run("controller", "check").code == 0
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    said = fleet.run("status", "--no-refresh", "--format", "json").json["controller"]
    assert (said["phase"], said["alive"]) == ("stopped", False)


def test_when_its_controller_ends_by_itself_it_ends_with_its_code(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 1, sources=[{"name": "drop", "type": "nonsense"}])
    done = fleet.run("serve", "--listen", "127.0.0.1:0", "--with-controller")
    assert (done.code, "the controller ended by itself (65)" in done.err) == (65, True), done.err
    done = fleet.run("serve", "--", "--forks", "3")
    assert (done.code, "--forks is for the controller" in done.err) == (64, True)


def test_a_controller_does_not_outlive_a_console_that_is_killed(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 1)
    with serving(fleet, "--with-controller") as process:
        until(lambda: fleet.run("controller", "check").code == 0, process)
        process.kill()
        process.communicate(timeout=PATIENCE)
        until(lambda: not fleet.run("status", "--no-refresh", "--format", "json").json["controller"]["alive"])
