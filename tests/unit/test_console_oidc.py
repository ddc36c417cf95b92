"""Signing in at a provider: whoever it vouches for comes in, and no token that doesn't prove it."""

import base64
import hmac
import html
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from reconciler.console.sign_in.fetching import LARGEST, Fetcher, ProviderError
from reconciler.console.sign_in.oidc import BEGUN, MOST_BEGUN, SKEW
from reconciler.console.sign_in.oidc import Provider as Asked
from reconciler.model.console import ConsoleSpec, Oidc
from reconciler.model.network import Proxy
from reconciler.network.dial import Dialer
from reconciler.storage.state import State
from tests.console import NOW, Answer
from tests.door import Browser, Door
from tests.provider import CLIENT, SECRET, Provider, provider

PUBLIC = "https://c.example"
ROLES: dict[Any, tuple[str, ...]] = {"viewer": ("*",), "approver": ("group:security",)}


class Watch:
    """Seconds, which are set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path_factory.mktemp('oidc')}/state.db", clock=lambda: NOW) as state:
        yield state


@pytest.fixture
def there() -> Iterator[Provider]:
    with provider(NOW.timestamp) as made:
        yield made


@pytest.fixture
def watch() -> Watch:
    return Watch()


def no_secret(_reference: object) -> str:
    raise AssertionError


Making = Callable[..., Browser]


@pytest.fixture
def browser(state: State, there: Provider, watch: Watch) -> Making:
    def make(secret: str = SECRET, roles: dict[Any, tuple[str, ...]] = ROLES, **how: Any) -> Browser:
        spec = Oidc(issuer=there.url, client_id=CLIENT, **how)
        asked = Asked(spec, PUBLIC, secret, Dialer(no_secret), lambda: NOW, watch)
        door = Door(state, lambda: NOW, ConsoleSpec(public_url=PUBLIC, oidc=spec, roles=roles), provider=asked)
        made = Browser(door, PUBLIC, scheme="https")
        made.door = door  # type: ignore[attr-defined]
        return made

    return make


def words(answer: Answer) -> str:
    """Give what a page says."""
    return html.unescape(answer.text).replace("\u202f", " ")


def signed_in(browser: Browser, there: Provider) -> Answer:
    begun = browser.get("/sign-in/oidc?next=/plan")
    assert begun.status == 303, begun.text
    return browser.get(there.lead_back(begun.headers["location"]))


def test_whom_the_provider_vouches_for_comes_in_with_the_roles_of_their_groups(
    browser: Making, there: Provider
) -> None:
    ann = browser()
    page = ann.get("/sign-in?next=/plan")
    assert 'href="/sign-in/oidc?next=/plan"' in page.text
    assert "Sign in at 127.0.0.1" in page.text
    done = signed_in(ann, there)
    assert (done.status, done.headers["location"]) == (303, "/plan")
    assert all(name.startswith("__Host-") for name in ann.cookies)
    assert "Secure" in done.headers["set-cookie"]
    assert ann.get("/").status == 200
    assert ann.door.said == ["ann signed in from 127.0.0.1 (oidc): viewer, approver"]  # type: ignore[attr-defined]
    assert there.shared() == (CLIENT, SECRET)
    assert "client_secret" not in there.fields


def test_a_secret_is_shown_as_the_provider_wants_it_and_none_where_there_is_none(
    browser: Making, there: Provider
) -> None:
    there.settings = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert signed_in(browser(), there).status == 303
    assert (there.fields["client_secret"], there.authorization) == (SECRET, "")
    assert signed_in(browser(secret=""), there).status == 303
    assert ("client_secret" in there.fields, there.fields["client_id"]) == (False, CLIENT)


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"aud": "somebody-else"}, "for somebody else"),
        ({"aud": [CLIENT, "other"]}, "for somebody else"),  # and nobody says for whom of the two
        ({"aud": [CLIENT], "azp": "other"}, "for somebody else"),
        ({"aud": None}, "for somebody else"),
        ({"iss": "https://other.example"}, "of another provider"),
        ({"iss": None}, "of another provider"),
        ({"exp": NOW.timestamp() - SKEW}, "has expired"),
        ({"exp": None}, "has expired"),
        ({"exp": "never"}, "has expired"),
        ({"exp": True}, "has expired"),
        ({"nbf": NOW.timestamp() + SKEW + 1}, "isn't in force yet"),
        ({"iat": NOW.timestamp() + SKEW + 1}, "isn't in force yet"),
        ({"nonce": "another"}, "of another sign-in"),
        ({"nonce": None}, "of another sign-in"),
        ({"nonce": 7}, "of another sign-in"),
        ({"sub": None}, "nothing of who it is"),
        ({"preferred_username": 7}, "no claim preferred_username"),
        ({"preferred_username": "group:security"}, "no name of a person"),
        ({"preferred_username": "an\x1b[2Jn"}, "no name of a person"),
    ],
)
def test_a_token_that_is_not_of_this_sign_in_signs_nobody_in(
    browser: Making, there: Provider, claims: dict[str, Any], says: str
) -> None:
    there.claims |= claims
    ann = browser()
    done = signed_in(ann, there)
    assert (done.status, says in words(done)) == (403, True), done.text
    assert ann.get("/").status == 303


def test_clocks_may_differ_by_a_little(browser: Making, there: Provider) -> None:
    now = NOW.timestamp()
    there.claims |= {"exp": now - SKEW + 1, "nbf": now + SKEW - 1, "aud": [CLIENT, "other"], "azp": CLIENT}
    assert signed_in(browser(), there).status == 303


def unsigned(claims: dict[str, Any], alg: str, kid: str = "") -> str:
    return ".".join([*(encoded(json.dumps(part).encode()) for part in ({"alg": alg, "kid": kid}, claims)), ""])


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("how", ["foreign", "none", "None", "hs256", "hs256-of-the-key", "cut", "nothing", "changed"])
def test_a_token_that_the_provider_did_not_sign_signs_nobody_in(browser: Making, there: Provider, how: str) -> None:
    ann = browser()
    back = there.lead_back(ann.get("/sign-in/oidc").headers["location"])
    good = there.signed()
    payload = good.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if how == "foreign":
        stranger = ECKey.generate_key("P-256", {"kid": there.key.kid})
        there.token = jwt.encode({"alg": "ES256", "kid": there.key.kid}, claims, stranger)
    elif how.lower() == "none":
        there.token = unsigned(claims, how)
    elif how.startswith("hs256"):
        known = SECRET.encode() if how == "hs256" else there.key.as_pem(private=False)
        signed = unsigned(claims, "HS256", there.key.kid).rstrip(".")
        there.token = f"{signed}.{encoded(hmac.digest(known, signed.encode(), 'sha256'))}"
    elif how == "changed":
        head, _, signature = good.split(".")
        there.token = f"{head}.{unsigned({**claims, 'preferred_username': 'eve'}, 'x').split('.')[1]}.{signature}"
    else:
        there.token = good[:-20] if how == "cut" else "nothing"
    done = ann.get(back)
    assert (done.status, "isn't signed as it must be" in words(done)) == (403, True), done.text
    assert ann.get("/").status == 303


@pytest.mark.parametrize("alg", ["RS256", "PS384", "ES256"])
def test_a_new_key_of_the_provider_is_looked_for_but_not_often(
    browser: Making, there: Provider, watch: Watch, alg: str
) -> None:
    ann = browser()
    assert signed_in(ann, there).status == 303
    there.alg = alg
    there.key = (
        ECKey.generate_key("P-256", auto_kid=True) if alg == "ES256" else RSAKey.generate_key(2048, auto_kid=True)
    )
    there.keys.append(there.key)
    assert signed_in(ann, there).status == 403  # it looked a moment ago
    watch.seconds += 61
    assert signed_in(ann, there).status == 303
    assert there.asked.count("/keys") == 2
    assert there.asked.count("/.well-known/openid-configuration") == 1


def test_what_a_token_lacks_is_asked_for_and_must_be_of_the_same_person(browser: Making, there: Provider) -> None:
    there.claims = {}
    there.userinfo = {"sub": "1", "preferred_username": "bob", "groups": ["security"]}
    bob = browser()
    assert signed_in(bob, there).status == 303
    assert there.authorization == "Bearer of-ann"
    assert bob.door.said == ["bob signed in from 127.0.0.1 (oidc): viewer, approver"]  # type: ignore[attr-defined]
    there.userinfo["sub"] = "2"
    assert "tells of somebody else" in words(signed_in(browser(), there))


def test_who_has_no_role_and_an_address_that_is_nobodys_stay_out(browser: Making, there: Provider) -> None:
    done = signed_in(browser(roles={"viewer": ("bob",)}), there)
    assert (done.status, "gave ann a role here" in words(done)) == (403, True)
    there.claims = {"email": "ann@example.org", "email_verified": False}
    assert "whether the address" in words(signed_in(browser(name_claim="email", groups_claim=""), there))
    there.claims["email_verified"] = True
    assert signed_in(browser(name_claim="email", groups_claim=""), there).status == 303


def test_only_the_browser_that_was_led_there_comes_back_and_once(
    browser: Making, there: Provider, watch: Watch
) -> None:
    ann, eve = browser(), browser()
    back = there.lead_back(ann.get("/sign-in/oidc").headers["location"])
    eve_here = Browser(ann.door, PUBLIC, scheme="https")  # type: ignore[attr-defined]
    for other in (eve, eve_here):
        assert "wasn't begun here" in words(other.get(back))
    assert "wasn't begun here" in words(ann.get(back))  # whoever took it, it is used up
    assert "wasn't begun here" in words(ann.get("/sign-in/back?code=x&state=guessed"))
    assert signed_in(ann, there).status == 303
    back = there.lead_back(ann.get("/sign-in/oidc").headers["location"])
    watch.seconds += BEGUN + 1
    assert "too long ago" in words(ann.get(back))


def test_what_is_remembered_of_those_under_way_is_bounded(there: Provider) -> None:
    spec = Oidc(issuer=there.url, client_id=CLIENT)
    asked = Asked(spec, PUBLIC, "", Dialer(no_secret), lambda: NOW)
    for _number in range(MOST_BEGUN + 10):
        asked.begin("/")
    assert len(asked._begun) == MOST_BEGUN


def test_what_the_provider_refuses_is_said_as_text(browser: Making, there: Provider) -> None:
    ann = browser()
    state = there.lead_back(ann.get("/sign-in/oidc").headers["location"]).partition("state=")[2]
    done = ann.get(f"/sign-in/back?error=access_denied&error_description=%3Cb%3Eno%3C/b%3E&state={state}")
    assert done.status == 403
    assert "<b>no" not in done.text
    assert "lets nobody in" in words(done)
    state = there.lead_back(ann.get("/sign-in/oidc").headers["location"]).partition("state=")[2]
    assert "Somebody else" in words(ann.get(f"/sign-in/back?code=x&iss=https://evil.example&state={state}"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"issuer": "https://other.example"}, "calls itself https://other.example"),
        ({"authorization_endpoint": None}, "has no authorization_endpoint"),
    ],
)
def test_a_provider_that_is_not_the_one_that_is_named_is_not_gone_to(
    browser: Making, there: Provider, settings: dict[str, Any], says: str
) -> None:
    there.settings = settings
    done = browser().get("/sign-in/oidc")
    assert (done.status, says in words(done)) == (502, True), done.text


def test_a_provider_that_is_down_or_says_nonsense_is_said(
    browser: Making, there: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for document, status, says in (
        (b"<html>", 200, "no document that it should"),
        (b'{"error": "invalid_client"}', 401, "invalid_client"),
        (b"{" + b" " * LARGEST + b"}", 200, "more than 512 KiB"),
        (b"[" * 100_000, 200, "no document that it should"),
    ):
        there.status = status
        monkeypatch.setattr(there, "documents", lambda said=document: {"/.well-known/openid-configuration": said})
        done = browser().get("/sign-in/oidc")
        assert (done.status, says in words(done)) == (502, True), done.text
    there.url = "http://127.0.0.1:1"
    assert "can't be asked" in words(browser().get("/sign-in/oidc"))


def test_a_provider_that_sends_a_byte_now_and_then_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    end = threading.Event()

    def drip() -> None:
        try:
            while not end.wait(0.02):
                theirs.send(b"H")
        except OSError:
            pass

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(ProviderError, match="no answer within"):
            Fetcher(lambda *_both, **_more: ours, None, None, patience=0.3).get("http://127.0.0.1/")
    finally:
        end.set()
        thread.join()
        theirs.close()


@pytest.mark.parametrize(
    "url",
    ["http://evil.example/", "ftp://x/", "https://u@x/", "https:///x", "https://x:y/", "https://x/a b", "file:///x"],
)
def test_nothing_is_asked_where_anybody_could_read_along(url: str) -> None:
    with pytest.raises(ProviderError):
        Fetcher(Dialer(no_secret), None, None).get(url)


def test_it_is_asked_through_the_proxy_that_the_file_names() -> None:
    through: list[Any] = []

    def dial(host: str, port: int, **how: Any) -> socket.socket:
        through.append((host, port, how["proxy"]))
        raise ProviderError("nobody there")

    proxy = Proxy("out", "http", "proxy.example", 3128)
    with pytest.raises(ProviderError):
        Fetcher(dial, None, proxy).get("https://login.example/keys")
    assert through == [("login.example", 443, proxy)]


def test_not_all_threads_wait_for_a_provider_that_takes_its_time(
    there: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(Oidc(issuer=there.url, client_id=CLIENT), PUBLIC, "", Dialer(no_secret), lambda: NOW)
    monkeypatch.setattr(asked, "_room", threading.BoundedSemaphore(1))
    assert asked._room.acquire(blocking=False)
    with pytest.raises(ProviderError, match="others wait"):
        asked.begin("/")
    assert there.asked == []


def test_who_signs_in_without_a_role_is_logged(
    browser: Making, there: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        signed_in(browser(roles={"viewer": ("bob",)}), there)
    assert "ann, who has no role, tried to sign in from 127.0.0.1" in caplog.text
