"""What stands before all pages: names, sizes, headers, forms of other pages, and what happens at a fault."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reconciler.console import app as application
from reconciler.console.guard.bounds import LARGEST, LARGEST_HOOK
from reconciler.console.guard.caller import caller_of
from reconciler.console.guard.hosts import host_of
from reconciler.console.serving import check_exposure
from reconciler.errors import UsageError
from reconciler.model.console import ApiToken, ConsoleSpec, Tls
from reconciler.storage.state import State
from tests.console import NOW
from tests.door import HERE, TOKEN, Browser, Door

PROXIES = (ip_network("10.0.0.0/24"), ip_network("::1/128"))
FORM = {"content-type": "application/x-www-form-urlencoded"}


def changed(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("changed")


def broken(_request: Any) -> PlainTextResponse:
    raise ZeroDivisionError("\x1b[2Jboom")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path_factory.mktemp('guard')}/state.db", clock=lambda: NOW) as state:
        yield state


@pytest.fixture
def door(state: State, monkeypatch: pytest.MonkeyPatch) -> Door:
    more = (
        Route("/do/thing", changed, methods=["GET", "POST", "PUT", "DELETE"]),
        Route("/api/v1/thing", changed, methods=["POST"]),
        Route("/hooks/git", changed, methods=["POST"]),
        Route("/broken", broken),
    )
    monkeypatch.setattr(application, "ROUTES", (*more, *application.ROUTES))
    return Door(state, lambda: NOW, ConsoleSpec(hosts=("updoser.internal",)))


@pytest.fixture
def browser(door: Door) -> Browser:
    made = Browser(door)
    made.by_link()
    return made


# --- forms ----------------------------------------------------------------------------------------------------------


def test_a_form_of_our_page_is_taken(browser: Browser) -> None:
    assert browser.post("/do/thing", {"csrf": browser.form()}).text == "changed"
    by_script = {"x-updoser-form": browser.form(), "content-type": "application/json"}
    assert browser.post("/do/thing", {}, **by_script).text == "changed"
    by_site = {"origin": "", "sec-fetch-site": "same-origin"}
    assert browser.post("/do/thing", {"csrf": browser.form()}, **by_site).text == "changed"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},  # none at all
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1:8484"},
        {"origin": "http://[nonsense"},
        {"origin": "", "sec-fetch-site": "cross-site"},
        {"origin": "", "sec-fetch-site": "same-site"},
    ],
)
def test_a_form_of_another_page_changes_nothing_even_with_the_right_word(
    browser: Browser, headers: dict[str, str]
) -> None:
    answer = browser.post("/do/thing", {"csrf": browser.form()}, **headers)
    assert answer.status == 403
    assert "doesn't come from a page of the console" in answer.text


@pytest.mark.parametrize("fields", [{}, {"csrf": ""}, {"csrf": "guessed"}, {"CSRF": "x"}])
def test_a_form_without_the_word_of_the_session_changes_nothing(browser: Browser, fields: dict[str, str]) -> None:
    assert browser.post("/do/thing", fields).status == 403


def test_the_word_is_of_one_session_and_stands_once_in_a_form(door: Door, browser: Browser) -> None:
    other = Browser(door)
    other.by_link()
    assert browser.post("/do/thing", {"csrf": other.form()}).status == 403
    answer = browser.post("/do/thing", {"csrf": browser.form()}, **{"content-type": "multipart/form-data"})
    assert answer.status == 403
    twice = f"csrf={browser.form()}&csrf=x".encode()
    assert browser._ask("/do/thing", {**FORM, "origin": HERE}, method="POST", body=twice).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "WHATEVER"])
def test_no_method_but_those_that_read_goes_without(browser: Browser, method: str) -> None:
    assert browser._ask("/do/thing", {"origin": HERE}, method=method).status == 403


def test_what_has_a_way_of_its_own_to_know_who_asks_needs_none(door: Door) -> None:
    assert door.ask("/hooks/git", method="POST").text == "changed"
    token = {"authorization": f"Bearer {TOKEN}", "origin": "https://evil.example"}
    assert door.ask("/api/v1/thing", method="POST", headers=token).text == "changed"
    assert door.ask("/api/v1/thing", method="POST").status == 401


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8484", 303),
        ("localhost", 303),
        ("LOCALHOST:1", 303),
        ("[::1]:8484", 303),
        ("updoser.internal", 303),
        ("updoser.internal.:8484", 303),
        ("evil.example", 421),
        ("evil.example:8484", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("evil.example#localhost", 421),
        ("", 421),
        ("[::1", 421),
        ("127.0.0.1:x", 421),
        ("10.0.0.1", 421),
    ],
)
def test_it_answers_to_its_own_names(door: Door, host: str, status: int) -> None:
    assert door.ask("/", headers={"host": host}).status == status


def test_a_name_that_is_not_its_own_says_what_to_set(door: Door) -> None:
    assert "console.hosts" in door.ask("/", headers={"host": "evil.example"}).text
    assert "<b>" not in door.ask("/", headers={"host": "<b>x", "accept": "text/html"}).text


def test_probes_call_it_by_whatever_name(door: Door) -> None:
    assert door.ask("/livez", headers={"host": "10.0.0.5:8484"}).text == "ok\n"
    assert door.ask("/readyz", headers={"host": "10.0.0.5:8484"}).text == "ok\n"


def test_metrics_are_for_this_machine_and_for_tokens(door: Door) -> None:
    assert "updoser_build_info" in door.ask("/metrics").text
    assert door.ask("/metrics", headers={"host": "evil.example"}).status == 421
    assert door.ask("/", headers={"host": "evil.example", "authorization": f"Bearer {TOKEN}"}).status == 421
    assert door.ask("/metrics", headers={"x-forwarded-for": "10.0.0.1"}).status == 401
    assert door.ask("/metrics", peer="10.0.0.1").status == 401


@given(st.text(max_size=40))
def test_no_host_breaks_what_reads_it(text: str) -> None:
    found = host_of(text)
    assert "@" not in found
    assert "/" not in found


# --- where it comes from ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded", "proto", "address", "secure"),
    [
        ("10.0.0.1", "192.0.2.7", "https", "192.0.2.7", True),
        (
            "10.0.0.1",
            "1.1.1.1, 192.0.2.7, 10.0.0.2",
            "https",
            "192.0.2.7",
            True,
        ),  # what stands first, anybody may write
        ("10.0.0.1", "192.0.2.7", "http", "192.0.2.7", False),
        ("10.0.0.1", "nonsense", "https", "10.0.0.1", True),
        ("10.0.0.1", "", "", "10.0.0.1", False),
        ("10.0.1.1", "192.0.2.7", "https", "10.0.1.1", False),  # no proxy of ours
        ("::ffff:10.0.0.1", "192.0.2.7", "https", "192.0.2.7", True),
        ("127.0.0.1", "192.0.2.7", "https", "127.0.0.1", False),  # loopback isn't listed
    ],
)
def test_only_listed_proxies_are_believed_where_a_request_comes_from(
    peer: str, forwarded: str, proto: str, address: str, secure: bool
) -> None:
    said = {"x-forwarded-for": forwarded, "x-forwarded-proto": proto}
    headers = [(name.encode(), value.encode()) for name, value in said.items() if value]
    caller = caller_of({"client": (peer, 1), "scheme": "http", "headers": headers}, PROXIES)
    assert (caller.address, caller.secure) == (address, secure)
    assert not caller.here or not headers


def test_what_is_open_on_the_way_is_refused_where_others_reach_it() -> None:
    tls = Tls(certificate=Path("c"), key=Path("k"))
    token = (ApiToken(name="ci", roles=("viewer",), sha256="0" * 64),)
    check_exposure("127.0.0.1", ConsoleSpec())
    check_exposure("::1", ConsoleSpec())
    check_exposure("0.0.0.0", ConsoleSpec(tls=tls, tokens=token, hosts=("c.example",)))
    check_exposure("::", ConsoleSpec(tls=Tls(proxies=PROXIES), tokens=token, public_url="https://c.example"))
    for spec, says in (
        (ConsoleSpec(), "console.tls"),
        (ConsoleSpec(tls=tls), "console.sign_in"),
        (ConsoleSpec(tls=tls, tokens=token), "console.public_url"),
    ):
        with pytest.raises(UsageError) as caught:
            check_exposure("0.0.0.0", spec)
        assert says in caught.value.hint


# --- sizes, headers, faults -------------------------------------------------------------------------------------------


def test_more_than_is_taken_is_refused_before_it_is_read(door: Door, browser: Browser) -> None:
    answer = browser._ask("/do/thing", {**FORM, "origin": HERE}, method="POST", body=b"x" * (LARGEST + 1))
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    declared = {"content-length": str(LARGEST + 1)}
    assert door.ask("/sign-in", method="POST", headers=declared).status == 413
    assert door.ask("/hooks/git", method="POST", body=b"x" * (LARGEST + 1)).text == "changed"
    assert door.ask("/hooks/git", method="POST", body=b"x" * (LARGEST_HOOK + 1)).status == 413


@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/nonsense", "/broken", "/static/updoser.css", "/livez", "/api/v1/x"]
)
@pytest.mark.parametrize("signed_in", [True, False])
def test_every_answer_tells_browsers_to_load_nothing_from_elsewhere(
    door: Door, browser: Browser, path: str, signed_in: bool
) -> None:
    headers = (browser if signed_in else Browser(door)).get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers
    kept = headers["cache-control"]
    assert kept == "no-store" or "private" in kept or path.startswith("/static/")


def test_a_fault_is_told_in_a_line_and_moves_no_cursor(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    answer = browser.get("/broken")
    assert answer.status == 500
    assert "Traceback" not in answer.text
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "GET /broken: this is a fault of updoser: ZeroDivisionError" in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../summary.py", "/static/%2e%2e/console.html", "/static//etc/passwd", "/static/console.html"),
        *("//evil.example/", "/sign-in/../", "/livez/", "/sign-inx", "/api", "/hooks"),
    ],
)
def test_no_trick_with_a_path_leads_past_the_door(door: Door, path: str) -> None:
    answer = door.ask(path.replace("//evil", "/.//evil") if path.startswith("//") else path)
    assert answer.status in {303, 401, 404}, path
    assert "evil" not in answer.headers.get("location", "")[:7]
