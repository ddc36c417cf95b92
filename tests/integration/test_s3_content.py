"""A bucket as it is reached in earnest: in parts, over TLS, through proxies, over lines that break, by credentials."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.content.contents import CachedContents
from reconciler.errors import InterruptedRunError, StoreError
from reconciler.model.network import Proxy
from reconciler.model.secret import SecretRef
from reconciler.plugins.content import s3
from tests.bucket import bucket_server
from tests.fakes import fake_context, make_plugin
from tests.servers import Authority, Wire, logged, nginx, squid
from tests.waiting import until

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

BIG = hashlib.shake_128(b"big").digest(3 * s3.PART + 5)
NAME = hashlib.sha256(BIG).hexdigest()
SECRETS = {"ID": "the-id-of-it", "KEY": "the+key/of-it", "WORD": "pass/word+of-the-proxy"}
KEYS = {"access_key": SecretRef("env", "ID"), "secret_key": SecretRef("env", "KEY")}


@pytest.fixture(autouse=True)
def few_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "RETRIES", 1)
    monkeypatch.setattr(s3, "RETRY_FOR", timedelta(seconds=10))


@pytest.fixture
def server(tmp_path: Path, stack: ExitStack) -> str:
    return stack.enter_context(bucket_server(tmp_path / "moto", "updoser"))


@pytest.fixture
def big(tmp_path: Path) -> Path:
    (tmp_path / "big").write_bytes(BIG)
    return tmp_path / "big"


def bucket(tmp_path: Path, url: str, *, proxy: Proxy | None = None, **options: Any) -> Any:
    context = fake_context(tmp_path, now=datetime.now(UTC), secrets=SECRETS, proxy=proxy)
    return make_plugin(s3, {"bucket": "updoser", "endpoint": url, **KEYS, **options}, context)


def through(scheme: str, port: int, *, ca: str = "", login: bool = True, no_proxy: tuple[str, ...] = ()) -> Proxy:
    who: dict[str, Any] = {"username": "joe", "password": SecretRef("env", "WORD")} if login else {}
    return Proxy("egress", scheme, "127.0.0.1", port, **who, ca=ca, no_proxy=no_proxy)


def round_trip(place: Any, tmp_path: Path, big: Path) -> None:
    place.put(NAME, big)
    with CachedContents.at(tmp_path / "cache", 2**30, [place]).open(NAME, len(BIG)) as file:
        assert file.read() == BIG


def test_what_is_larger_than_a_part_goes_in_parts(server: str, tmp_path: Path, big: Path) -> None:
    round_trip(bucket(tmp_path, server), tmp_path, big)
    until(lambda: len(set(re.findall(r"partNumber=(\d+)", (tmp_path / "moto/log").read_text()))) == 4)


def test_a_run_that_is_stopped_leaves_nothing_half_there(server: str, tmp_path: Path, big: Path) -> None:
    place = bucket(tmp_path, server)
    place._context.stop.set()
    with pytest.raises(InterruptedRunError):
        place.put(NAME, big)
    assert (place.size(NAME), list(place.entries())) == (None, [])


def test_content_of_a_bucket_survives_cuts(server: str, tmp_path: Path, big: Path) -> None:
    bucket(tmp_path, server).put(NAME, big)
    wire = Wire(int(server.rpartition(":")[2]), cut_after=11_000_000)
    place = bucket(tmp_path, f"http://127.0.0.1:{wire.port}")
    with CachedContents.at(tmp_path / "cache", 2**30, [place]).open(NAME, len(BIG)) as file:
        assert file.read() == BIG
    assert wire.cuts >= 2


def test_a_bucket_that_is_not_there_is_not_an_empty_one(server: str, tmp_path: Path, big: Path) -> None:
    place = bucket(tmp_path, server, bucket="another")
    for attempt in (lambda: list(place.entries()), lambda: place.put(NAME, big), lambda: place.join("a1")):
        with pytest.raises(StoreError, match="the bucket another.*NoSuchBucket: The specified bucket does not exist"):
            attempt()


@pytest.mark.needs("nginx")
def test_no_condition_stands_in_any_write(server: str, tmp_path: Path, big: Path, stack: ExitStack) -> None:
    """Of servers of this API some don't know conditions, and write over what is there all the same."""
    log = tmp_path / "nginx/conditions"
    rules = f"proxy_pass {server}; proxy_set_header Host $http_host; client_max_body_size 0; access_log {log} seen;"
    form = "log_format seen '$request_method $http_if_match$http_if_none_match$http_if_unmodified_since.';"
    url = stack.enter_context(nginx(tmp_path / "nginx", tmp_path, rules=rules, http=form))
    place = bucket(tmp_path, url)
    (tmp_path / "small").write_bytes(b"x")
    for _twice in range(2):
        place.put(hashlib.sha256(b"x").hexdigest(), tmp_path / "small")
        place.put(NAME, big)
        place.join("a1")
    until(lambda: len(log.read_text().splitlines()) >= 2 * (1 + 6 + 1))  # nginx answers before it writes that down
    assert set(log.read_text().splitlines()) == {"PUT ---.", "POST ---."}  # as nginx shows what isn't there


@pytest.mark.needs("nginx", "openssl")
def test_a_bucket_is_reached_over_tls_that_is_checked(server: str, tmp_path: Path, big: Path, stack: ExitStack) -> None:
    certificate, key = Authority(tmp_path / "ca").sign("localhost", "127.0.0.1")
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    rules = f"proxy_pass {server}; proxy_set_header Host $http_host; client_max_body_size 0;"
    url = stack.enter_context(nginx(tmp_path / "nginx", tmp_path, tls=tls, rules=rules))
    round_trip(bucket(tmp_path, url, ca="ca/ca.pem"), tmp_path, big)
    with pytest.raises(StoreError, match="its certificate isn't trusted"):
        bucket(tmp_path, url).size(NAME)
    with pytest.raises(StoreError, match="certificates in nothing.pem can't be used: No such file"):
        bucket(tmp_path, url, ca="nothing.pem")


@pytest.mark.needs("squid")
def test_a_bucket_is_reached_through_the_proxy_that_the_spec_names(
    server: str, tmp_path: Path, big: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody there
    round_trip(bucket(tmp_path, server), tmp_path, big)
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password=SECRETS["WORD"]))
    round_trip(bucket(tmp_path, server, proxy=through("http", port)), tmp_path, big)
    assert logged(tmp_path / "squid", "PUT http://127.0.0.1")
    with pytest.raises(StoreError, match="407"):
        bucket(tmp_path, server, proxy=through("http", port, login=False)).put(NAME, big)
    round_trip(bucket(tmp_path, server, proxy=through("http", 9, no_proxy=("127.0.0.1",))), tmp_path, big)


def test_a_bucket_is_not_reached_through_a_socks_proxy_which_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="isn't reached through a socks5 proxy such as egress"):
        bucket(tmp_path, "http://127.0.0.1:9", proxy=through("socks5", 9))


def test_no_secret_is_in_any_error(tmp_path: Path, big: Path) -> None:
    for url in ("http://127.0.0.1:9", "https://127.0.0.1:9", "http://nowhere.invalid"):
        for proxy in (None, through("http", 9), through("https", 9)):
            place = bucket(tmp_path, url, proxy=proxy)
            with pytest.raises(StoreError) as caught:
                place.put(NAME, big)
            assert caught.value.message
            seen: BaseException | None = caught.value
            while seen is not None:
                assert not [value for value in SECRETS.values() if value in str(seen)]
                seen = seen.__cause__


def test_credentials_are_asked_for_again_after_a_while(server: str, tmp_path: Path, big: Path) -> None:
    asked: list[SecretRef] = []

    def secret(reference: SecretRef) -> str:
        asked.append(reference)
        return SECRETS[str(reference.value)]

    context = fake_context(tmp_path, now=datetime.now(UTC) - timedelta(days=1))  # they are old at once
    options = {"bucket": "updoser", "endpoint": server, **KEYS}
    place = make_plugin(s3, options, replace(context, secret=secret))
    place.put(NAME, big)
    first = len(asked)
    assert place.size(NAME) == len(BIG)
    assert len(asked) > first >= 2


def test_a_machine_without_the_extra_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(StoreError, match="needs the package obstore") as caught:
        bucket(tmp_path, "http://127.0.0.1:9")
    assert "updoser[s3]" in caught.value.hint
