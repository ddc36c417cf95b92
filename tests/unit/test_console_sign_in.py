"""Who gets into the console, by what, for how long, and what they may do there."""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from reconciler.console.guard.caller import Caller
from reconciler.console.sign_in.access import IDLE, LASTS, SignInError, name_of
from reconciler.console.sign_in.link import LASTS as LINK_LASTS
from reconciler.console.sign_in.link import Link
from reconciler.console.sign_in.pages import local
from reconciler.console.sign_in.tries import ALTOGETHER, BY_ADDRESS, MOST, SPAN, Tries
from reconciler.model.console import ConsoleSpec, ProxyHeader
from reconciler.storage.state import State
from tests.console import NOW
from tests.door import TOKEN, Browser, Door

PEER = "10.1.2.3"
PROXY = ConsoleSpec(
    public_url="https://c.example",
    header=ProxyHeader(header="x-user", groups_header="x-groups", peers=(ip_network(f"{PEER}/32"),)),
    roles={"viewer": ("ann", "group:all"), "approver": ("group:security",)},
)
BY_PROXY = {"peer": PEER, "headers": {"host": "c.example", "x-forwarded-proto": "https"}}


class Time:
    """A clock, and a watch, that are set."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return self.now

    def watch(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "state.db"
    State.open(f"sqlite:///{path}", clock=lambda: NOW).close()
    return path


@pytest.fixture
def state(tmp_path: Path, made: Path, time: Time) -> Iterator[State]:
    shutil.copy(made, tmp_path)
    with State.open_shared(f"sqlite:///{tmp_path}/state.db", clock=time) as state:
        yield state


@pytest.fixture
def door(state: State, time: Time) -> Door:
    return Door(state, time)


def test_who_is_not_signed_in_is_led_to_where_they_sign_in_and_back(door: Door) -> None:
    answer = Browser(door).get("/clients?label=canary")
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in?next=/clients%3Flabel%3Dcanary")
    answer = door.ask("/api/v1/status")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_the_link_signs_in_once_who_started_the_server(door: Door) -> None:
    link = door.access.link.renew()
    first, second = Browser(door), Browser(door)
    page = first.get(f"/sign-in?link={link}&next=/plan")
    assert (page.status, f'value="{link}"' in page.text, first.cookies) == (200, True, {})
    done = first.post("/sign-in", {"link": link, "next": "/plan"})
    assert (done.status, done.headers["location"]) == (303, "/plan")
    assert "HttpOnly" in done.headers["set-cookie"]
    assert "SameSite=lax" in done.headers["set-cookie"]
    assert first.get("/").status == 200
    assert door.said == ["root signed in from 127.0.0.1 (link): viewer, operator, approver"]
    assert second.post("/sign-in", {"link": link}).status == 403
    assert second.get(f"/sign-in?link={link}").status == 403
    assert second.get("/").status == 303


def test_a_link_is_good_for_ten_minutes_until_there_is_another_one(time: Time) -> None:
    link = Link(time.watch)
    assert not link.use("")
    first = link.renew()
    time.seconds = LINK_LASTS - 1
    assert link.is_good(first)
    second = link.renew()
    assert not link.use(first)
    time.seconds += LINK_LASTS
    assert not link.use(second)


def test_the_link_is_for_this_machine_only(door: Door) -> None:
    link = door.access.link.renew()
    through_proxy = Browser(door)
    assert through_proxy.post("/sign-in", {"link": link}, **{"x-forwarded-for": "127.0.0.1"}).status == 403
    assert Browser(door, peer="10.0.0.9").post("/sign-in", {"link": link}).status == 403
    assert Browser(door).post("/sign-in", {"link": link}).status == 303


def test_a_session_ends_after_hours_or_when_nobody_was_there_for_long(door: Door, time: Time) -> None:
    browser = Browser(door)
    browser.by_link()
    for _step in range(int(LASTS / IDLE) * 2 - 1):
        time.now += IDLE / 2
        assert browser.get("/").status == 200
    time.now += IDLE / 2
    assert browser.get("/").status == 303
    browser.by_link()
    time.now += IDLE + timedelta(seconds=1)
    assert browser.get("/").status == 303


def test_a_page_that_only_stays_open_keeps_nobody_signed_in(door: Door, time: Time) -> None:
    browser = Browser(door)
    browser.by_link()
    (secret,) = browser.cookies.values()
    time.now += IDLE / 2
    assert door.access.lasts(secret)
    time.now += IDLE / 2 + timedelta(seconds=1)
    assert not door.access.lasts(secret)
    assert browser.get("/").status == 303


def test_who_signs_out_is_out(door: Door) -> None:
    browser = Browser(door)
    browser.by_link()
    kept = dict(browser.cookies)
    assert browser.post("/sign-out", {"csrf": browser.form()}).status == 200
    assert browser.cookies == {}
    browser.cookies = kept
    assert browser.get("/").status == 303


def test_a_secret_that_somebody_planted_in_a_browser_is_never_signed_in(door: Door) -> None:
    attacker, victim = Browser(door), Browser(door)
    attacker.by_link()
    planted = dict(attacker.cookies)
    victim.cookies = dict(planted)
    victim.by_link()
    assert victim.cookies != planted
    assert victim.get("/").status == 200
    attacker.cookies = planted
    assert attacker.get("/").status == 303  # what a browser brought when it signed in is over


def test_a_session_is_over_where_the_file_says_something_else_about_roles(door: Door, state: State, time: Time) -> None:
    browser = Browser(door)
    browser.by_link()
    other = Browser(Door(state, time, ConsoleSpec(roles={"viewer": ("ann",)})))
    other.cookies = dict(browser.cookies)
    assert (browser.get("/").status, other.get("/").status) == (200, 303)


def test_the_state_does_not_hold_what_a_browser_shows(door: Door, tmp_path: Path) -> None:
    browser = Browser(door)
    browser.by_link()
    (secret,) = browser.cookies.values()
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"root" in data
    assert secret.encode() not in data


def test_a_proxy_says_who_asks_and_in_which_groups(state: State, time: Time) -> None:
    door = Door(state, time, PROXY)
    names = {**BY_PROXY["headers"], "x-user": "bob", "x-groups": "all, security"}  # type: ignore[dict-item]
    answer = door.ask("/", peer=PEER, headers=names)
    assert answer.status == 200
    assert ">bob" in answer.text
    assert "strict-transport-security" in answer.headers
    person = door.access.by_header(
        {"headers": [(b"x-user", b"bob"), (b"x-groups", b"all, security")]}, Caller(PEER, PEER)
    )
    assert person is not None
    assert person.roles == {"viewer", "approver"}


@pytest.mark.parametrize(
    ("headers", "peer", "status"),
    [
        ({"x-user": "ann"}, PEER, 200),
        ({"x-user": "ann"}, "10.1.2.4", 403),  # not the proxy, and not by https
        ({"x-user": "ann"}, "127.0.0.1", 403),  # this machine is none of its addresses
        ({"x-groups": "security"}, "127.0.0.1", 403),
        ({"x-user": "mallory"}, PEER, 403),  # no role
        ({"x-user": ""}, PEER, 403),
        ({"x-user": "group:security"}, PEER, 403),
        ({"x-user": "token:ci"}, PEER, 403),
        ({"x-user": "*"}, PEER, 403),
        ({"x-user": "an\x1bn"}, PEER, 403),
        ({}, PEER, 303),
    ],
)
def test_nobody_but_the_proxy_may_say_who_asks(
    state: State, time: Time, headers: dict[str, str], peer: str, status: int
) -> None:
    host = {"host": "c.example", "x-forwarded-proto": "https"}
    assert Door(state, time, PROXY).ask("/", peer=peer, headers={**host, **headers}).status == status


def test_a_token_is_for_programs_and_their_roles(door: Door) -> None:
    shown = {"authorization": f"Bearer {TOKEN}"}
    assert door.ask("/api/v1/nothing-there", headers=shown).status == 404
    assert door.ask("/api/v1/nothing-there", method="POST", headers=shown).status == 404  # no form is needed
    assert door.ask("/metrics", headers={**shown, "host": "10.0.0.5"}).status == 200
    assert door.ask("/", headers=shown).status == 303  # pages are for people
    assert door.ask("/api/v1/nothing-there", headers={"authorization": f"Bearer {TOKEN}x"}).status == 401
    assert door.ask("/api/v1/nothing-there", headers={"authorization": TOKEN}).status == 401
    person = door.access.by_token(TOKEN)
    assert person is not None
    assert (person.who, sorted(person.roles), person.csrf) == ("token:ci", ["operator", "viewer"], "")


def test_who_guesses_has_to_wait_and_nobody_else(door: Door) -> None:
    for number in range(BY_ADDRESS):
        wrong = {"authorization": f"Bearer {number}"}
        assert door.ask("/api/v1/status", headers=wrong, peer="10.0.0.9").status == 401
    answer = door.ask("/api/v1/status", headers={"authorization": f"Bearer {TOKEN}"}, peer="10.0.0.9")
    assert answer.status == 429
    assert 0 < int(answer.headers["retry-after"]) <= SPAN / BY_ADDRESS + 1
    assert door.ask("/api/v1/status", headers={"authorization": f"Bearer {TOKEN}"}).status == 404


def test_tries_are_forgotten_one_by_one_and_remembered_of_few(time: Time) -> None:
    tries = Tries(time.watch)
    for _number in range(BY_ADDRESS):
        tries.fail("10.0.0.1")
    assert tries.wait("10.0.0.1")
    assert not tries.wait("10.0.0.2")
    time.seconds += tries.wait("10.0.0.1")
    assert not tries.wait("10.0.0.1")
    for number in range(BY_ADDRESS):
        tries.fail(f"2001:db8::{number}")
    assert tries.wait("2001:db8::ffff")  # a network of 64 bits is one party
    assert not tries.wait("2001:db8:0:1::1")
    for number in range(ALTOGETHER):
        tries.fail(f"10.1.{number // 256}.{number % 256}")
    assert tries.wait("10.200.0.1")
    for number in range(3 * MOST):
        tries.fail(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert len(tries._failed) <= MOST


def test_roles_come_by_name_by_group_or_for_everybody(state: State, time: Time) -> None:
    roles = {"viewer": ("*",), "operator": ("group:ops",), "approver": ("ann",)}
    access = Door(state, time, ConsoleSpec(roles=roles)).access  # type: ignore[arg-type]
    assert access.roles_of("eve") == {"viewer"}
    assert access.roles_of("ops") == {"viewer"}  # a person is no group
    assert access.roles_of("bob", ["ops"]) == {"viewer", "operator"}
    assert access.roles_of("ann", ["ann"]) == {"viewer", "approver"}
    assert Door(state, time, PROXY).access.roles_of("eve", ["other"]) == frozenset()


@pytest.mark.parametrize("said", ["", " ", "a\nb", "*", "group:x", "token:x", "x" * 201, "\u202eann"])
def test_what_is_no_name_signs_nobody_in(said: str) -> None:
    with pytest.raises(SignInError):
        name_of(said)


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil",
        "javascript:x",
        "/a\r\nb",
        "/\t/evil",
        "",
    ],
)
def test_nobody_is_led_elsewhere_when_they_have_signed_in(target: str) -> None:
    assert local(target) == "/"


def test_a_page_of_the_console_is_led_to() -> None:
    assert local("/clients?label=a&group=b") == "/clients?label=a&group=b"
