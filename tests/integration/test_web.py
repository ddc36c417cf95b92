"""Documents and files of the web for sources that find out by themselves where things are: over real connections."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.errors import InterruptedRunError, SourceError
from reconciler.model.network import Proxy
from reconciler.model.secret import SecretRef
from reconciler.plugins.source._fetched.quarantine import Quarantine
from reconciler.web import pace, stream, timed
from reconciler.web.connections import HttpOptions
from reconciler.web.stream import ChangedError, HttpStatusError
from reconciler.web.web import Web
from tests.fakes import fake_context
from tests.servers import Odd, Wire, part

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
OPTIONS = HttpOptions(family="any", connect=30, read=30, total=600)
KEY = "the-key-of-the-feed"
OWN = replace(
    OPTIONS,
    username="joe",
    password=SecretRef("env", "WORD"),
    headers={"X-Key": SecretRef("env", "KEY"), "X-Site": "north"},
    query={"code": SecretRef("env", "KEY")},
)
SECRETS = {"WORD": "hunter2-word", "KEY": KEY}
BIG = hashlib.shake_128(b"big").digest(600_000)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAUSE", 0.01)
    monkeypatch.setattr(stream, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "version.txt").write_text("7\n")
    (folder / "big").write_bytes(BIG)
    return folder


def web(tmp_path: Path, url: str, options: HttpOptions = OPTIONS, *, now: datetime = NOW, **more: Any) -> Web:
    proxy = more.pop("proxy", None)
    return Web(url, options, fake_context(tmp_path, now=now, secrets=SECRETS, proxy=proxy), **more)


def test_a_document_that_did_not_change_does_not_come_again(tmp_path: Path, site: Path, stack: ExitStack) -> None:
    changed = "Sun, 29 Nov 2026 10:00:00 GMT"

    def twist(_path: str, asked: Any, _content: bytes | None) -> Any:
        if asked["If-None-Match"] == '"7"' or asked["If-Modified-Since"] == changed:
            return 304, {"ETag": '"7"'}, b""
        return 200, {"ETag": '"7"', "last-modified": changed}, b"7\n"

    server = stack.enter_context(Odd(site, twist))
    here = web(tmp_path, server.url)
    first = here.get("version.txt", limit=100)
    assert (first.status, first.body, first.etag, first.modified) == (200, b"7\n", '"7"', changed)
    for etag, since in ((first.etag, ""), ("", first.modified)):
        again = here.get(f"{server.url}/version.txt", limit=100, etag=etag, since=since)
        assert (again.status, again.body) == (304, b"")


def test_a_document_larger_than_it_may_be_is_refused_and_not_read_on(
    tmp_path: Path, site: Path, stack: ExitStack
) -> None:
    server = stack.enter_context(Odd(site))
    with pytest.raises(SourceError, match=r"/big has more than 1000 bytes"):
        web(tmp_path, server.url).get("big", limit=1000)


@pytest.mark.parametrize("ranges", [True, False])
def test_the_beginning_of_a_file_comes_alone_and_tells_the_size_of_all(
    tmp_path: Path, site: Path, stack: ExitStack, *, ranges: bool
) -> None:
    def twist(_path: str, asked: Any, content: bytes) -> Any:
        assert asked["Range"] == "bytes=0-511"
        return part(content, 0, 512) if ranges else None

    server = stack.enter_context(Odd(site, twist if ranges else lambda *_args: (200, {}, BIG)))
    found = web(tmp_path, server.url).get("big", limit=4096, first=512)
    assert (found.status, found.body, found.size) == (200, BIG[:512], len(BIG))


def test_what_there_is_of_a_file_is_told_without_its_bytes(tmp_path: Path, site: Path, stack: ExitStack) -> None:
    def twist(_path: str, asked: Any, content: bytes) -> Any:
        if asked["Range"] is not None:
            return part(content, 0, 1)
        return (200, {"ETag": '"x"'}, content) if knows_it else (405, {}, b"")

    server = stack.enter_context(Odd(site, twist))
    knows_it = True
    found = web(tmp_path, server.url).head("big")
    assert (found.size, found.validator) == (len(BIG), f'"x"||{len(BIG)}')
    knows_it = False
    assert web(tmp_path, server.url).head("big").size == len(BIG)
    assert [method for method, _headers in server.asked] == ["HEAD", "HEAD", "GET"]


# --- what is for one host ---------------------------------------------------------------------------------------------


def test_what_is_for_the_own_host_does_not_go_along_to_another_one(
    tmp_path: Path, site: Path, stack: ExitStack
) -> None:
    other = stack.enter_context(Odd(site))

    def twist(path: str, _asked: Any, _content: bytes | None) -> Any:
        query = path.partition("?")[2]
        return (302, {"Location": f"{other.url}/version.txt?sign=1&{query}"}, b"") if "away" in path else None

    server = stack.enter_context(Odd(site, twist))
    here = web(tmp_path, server.url, OWN)
    token = [("Authorization", "Bearer of one host"), ("PRIVATE-TOKEN", "x"), ("Accept", "text/plain")]
    assert here.get("away?v=1", limit=9, headers=token).body == b"7\n"
    assert here.get(f"{other.url}/version.txt", limit=9).url == f"{other.url}/version.txt"
    own, own_headers = server.seen[0][0], server.asked[0][1]
    assert own == f"/away?v=1&code={KEY}"
    assert (own_headers["X-Key"], own_headers["X-Site"], own_headers["Authorization"]) == (KEY, "north", token[0][1])
    assert [path for path, _range in other.seen] == ["/version.txt?sign=1&v=1", "/version.txt"]
    for _method, headers in other.asked:
        assert not {"authorization", "x-key", "x-site", "private-token"} & {name.lower() for name in headers}
    assert other.asked[0][1]["Accept"] == "text/plain"
    assert KEY not in str(other.seen)


def test_a_secret_is_in_no_address_that_is_given_back(tmp_path: Path, site: Path, stack: ExitStack) -> None:
    def twist(path: str, _asked: Any, _content: bytes | None) -> Any:
        return (302, {"Location": f"/version.txt?{path.partition('?')[2]}"}, b"") if "old" in path else None

    server = stack.enter_context(Odd(site, twist))
    found = web(tmp_path, server.url, OWN).get("old", limit=9)
    assert found.url == f"{server.url}/version.txt"
    assert server.seen[1][0] == f"/version.txt?code={KEY}"


@pytest.mark.parametrize("location", ["http://[{key}", "https://{key}:99999999/x", "file:///{key}"])
def test_a_secret_is_in_no_message(tmp_path: Path, site: Path, stack: ExitStack, location: str) -> None:
    twist = lambda *_args: (302, {"Location": location.format(key=KEY)}, b"")  # noqa: E731
    server = stack.enter_context(Odd(site, twist))
    with pytest.raises(SourceError) as caught:
        web(tmp_path, server.url, OWN).get("version.txt", limit=9)
    assert KEY not in caught.value.message


def test_a_secret_that_no_header_can_have_is_refused_without_showing_it(tmp_path: Path, site: Path) -> None:
    options = replace(OPTIONS, headers={"X-Key": SecretRef("env", "KEY")})
    context = fake_context(tmp_path, secrets={"KEY": "one\nHost: other"})
    with pytest.raises(SourceError, match="the value of the header X-Key can't be sent") as caught:
        Web("http://127.0.0.1:9", options, context).get("x", limit=9)
    assert "other" not in str(caught.value).replace("another", "")
    with pytest.raises(SourceError, match="the header Range can't be set"):
        Web("http://127.0.0.1:9", replace(OPTIONS, headers={"Range": "bytes=0-"}), context)


def test_a_proxy_gets_its_own_password_and_the_server_does_not(tmp_path: Path, site: Path, stack: ExitStack) -> None:
    def twist(path: str, asked: Any, _content: bytes | None) -> Any:
        if asked["Proxy-Authorization"] != "Basic am9lOmh1bnRlcjItd29yZA==":
            return 407, {}, b""
        return 200, {}, path.encode()

    server = stack.enter_context(Odd(site, twist))
    proxy = Proxy("egress", "http", "127.0.0.1", int(server.url.rpartition(":")[2]), "joe", SecretRef("env", "WORD"))
    found = web(tmp_path, "http://feed.example", proxy=proxy).get("rules", limit=99)
    assert found.body == b"http://feed.example/rules"
    with pytest.raises(SourceError, match="the proxy egress wants other credentials"):
        web(tmp_path, "http://feed.example", proxy=replace(proxy, username="ann")).get("rules", limit=99)


# --- answers that aren't what was asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Content-Encoding", "Transfer-Encoding"])
def test_an_answer_that_was_packed_unasked_is_refused(
    tmp_path: Path, site: Path, stack: ExitStack, header: str
) -> None:
    packed = gzip.compress(b"7\n")
    server = stack.enter_context(Odd(site, lambda *_args: (200, {header: "gzip"}, packed)))
    here = web(tmp_path, server.url)
    with pytest.raises(SourceError, match=rf"packed it \({header}: gzip\), though it was asked not to"):
        here.get("version.txt", limit=99)
    with pytest.raises(SourceError, match="packed it"), closing(here.open("version.txt")) as file:
        file.read()
    assert {headers["Accept-Encoding"] for _method, headers in server.asked} == {"identity"}


def test_a_packed_file_that_a_server_names_so_comes_as_it_is(tmp_path: Path, site: Path, stack: ExitStack) -> None:
    packed = gzip.compress(b"rules")
    server = stack.enter_context(Odd(site, lambda *_args: (200, {"Content-Encoding": "x-gzip"}, packed)))
    assert web(tmp_path, server.url).get("rules.tar.gz", limit=99).body == packed


def test_old_servers_without_a_length_are_understood(tmp_path: Path, site: Path, stack: ExitStack) -> None:
    server = stack.enter_context(Odd(site, protocol="HTTP/1.0"))
    here = web(tmp_path, server.url)
    assert here.get("version.txt", limit=9).body == b"7\n"
    assert read(here, "big") == BIG


def read(here: Web, url: str, *, at: int = 0, validator: str = "") -> bytes:
    """Read a file from a place on."""
    file = here.open(url, validator=validator)
    try:
        if at:
            file.seek(at)
        content: bytes = file.read()
        return content
    finally:
        file.close()


def test_a_file_that_is_cut_is_continued(tmp_path: Path, site: Path, stack: ExitStack) -> None:
    server = stack.enter_context(Odd(site))
    wire = Wire(int(server.url.rpartition(":")[2]), cut_after=250_000)
    assert read(web(tmp_path, f"http://127.0.0.1:{wire.port}"), "big") == BIG
    assert wire.cuts > 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda begin: (206, {"Content-Range": f"bytes {begin + 7}-599999/600000"}, BIG[begin + 7 :]),
        lambda begin: (206, {"Content-Range": "bytes what-ever/600000"}, BIG[begin:]),
        lambda begin: (206, {}, BIG[begin:]),
    ],
)
def test_a_part_with_a_wrong_place_is_not_taken(
    tmp_path: Path, site: Path, stack: ExitStack, wrong: Callable[[int], Any]
) -> None:
    def twist(_path: str, asked: Any, content: bytes) -> Any:
        if asked["Range"] is None:
            return 200, {}, content
        return wrong(int(asked["Range"][6:-1]))

    server = stack.enter_context(Odd(site, twist))
    assert read(web(tmp_path, server.url), "big", at=1000) == BIG[1000:]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": '"1"'}, {"ETag": '"2"'}),
        ({"ETag": 'W/"1"'}, {"ETag": 'W/"2"'}),
        ({"Last-Modified": "Sun, 29 Nov 2026 10:00:00 GMT"}, {"Last-Modified": "Sun, 29 Nov 2026 11:00:00 GMT"}),
    ],
)
def test_no_file_is_put_together_of_two_that_were_at_its_place(
    tmp_path: Path, site: Path, stack: ExitStack, before: dict[str, str], after: dict[str, str]
) -> None:
    other = BIG[::-1]

    def twist(_path: str, asked: Any, content: bytes) -> Any:
        if asked["Range"] is None:
            return 200, {**before, "Content-Length": str(len(content))}, content[:5000]
        status, headers, body = part(other, int(asked["Range"][6:-1]))
        return status, {**headers, **after}, body

    server = stack.enter_context(Odd(site, twist))
    wire = Wire(int(server.url.rpartition(":")[2]), cut_after=4000)
    here = web(tmp_path, f"http://127.0.0.1:{wire.port}")
    with pytest.raises(ChangedError, match="changed while it was downloaded"):
        read(here, "big")
    known = here.head("big").validator
    with pytest.raises(ChangedError):
        read(web(tmp_path, server.url), "big", at=9, validator=known)


def test_a_server_that_stops_in_the_middle_is_given_up(
    tmp_path: Path, site: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "TRIES", 2)
    server = stack.enter_context(Odd(site, lambda *_args: (200, {"Content-Length": "9"}, b"half")))
    here = web(tmp_path, server.url, replace(OPTIONS, read=0.2))
    with pytest.raises(SourceError, match="2 tries"):
        here.get("version.txt", limit=99)


def test_bytes_that_trickle_are_not_waited_for(
    tmp_path: Path, site: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace.Floor, "SPAN", 0.0)
    monkeypatch.setattr(pace.Floor, "LEAST", 10**12)
    server = stack.enter_context(Odd(site))
    with pytest.raises(SourceError, match="bytes a second"):
        read(web(tmp_path, server.url), "big")
    assert timed.LIMIT > 0


# --- a source that doesn't want to be asked ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "until"),
    [
        (429, {"Retry-After": "3600"}, timedelta(hours=1)),
        (429, {}, timedelta(hours=4)),
        (503, {"Retry-After": "1800"}, timedelta(minutes=30)),
        (403, {}, timedelta(hours=24)),
        (418, {}, timedelta(hours=2)),
    ],
)
def test_a_source_that_wants_to_be_left_alone_is_for_as_long_as_the_plugin_or_it_says(
    tmp_path: Path, site: Path, stack: ExitStack, status: int, headers: dict[str, str], until: timedelta
) -> None:
    rests = {403: timedelta(hours=24), 418: timedelta(hours=2)}
    server = stack.enter_context(Odd(site, lambda *_args: (status, headers, b"")))
    for _turn in range(2):
        with pytest.raises(SourceError) as caught:
            web(tmp_path, server.url, cooldowns=rests).head("x")
        assert caught.value.cooldown_until == NOW + until
    assert len(server.seen) == 1
    with pytest.raises(HttpStatusError if status == 403 else SourceError):
        web(tmp_path, server.url, now=NOW + until).get("x", limit=9)
    assert len(server.seen) == 2


def test_a_file_that_is_not_allowed_says_so_and_leaves_the_source_usable(
    tmp_path: Path, site: Path, stack: ExitStack
) -> None:
    twist = lambda path, *_args: (403, {"WWW-Authenticate": "Bearer"}, b"") if "no" in path else None  # noqa: E731
    server = stack.enter_context(Odd(site, twist))
    here = web(tmp_path, server.url)
    with pytest.raises(HttpStatusError) as caught:
        here.get("no", limit=9)
    assert (caught.value.status, caught.value.headers["www-authenticate"]) == (403, "Bearer")
    assert here.get("version.txt", limit=9).body == b"7\n"


# --- into quarantine --------------------------------------------------------------------------------------------------


def test_a_killed_fetch_asks_the_server_for_the_rest_only(tmp_path: Path, site: Path, stack: ExitStack) -> None:
    def twist(_path: str, asked: Any, content: bytes) -> Any:
        if asked["Range"] is None:
            return 200, {"ETag": '"1"'}, content
        status, headers, body = part(content, int(asked["Range"][6:-1]))
        return status, {"ETag": '"1"', **headers}, body

    server = stack.enter_context(Odd(site, twist))
    context = fake_context(tmp_path)
    here = Web(server.url, OPTIONS, context)
    known = here.head("big")

    class KilledError(BaseException):
        pass

    class Killed:
        """A stream whose reader dies after its second piece."""

        def __init__(self) -> None:
            self.stream = here.open("big", validator=known.validator)
            self.pieces = 0

        def read(self, _size: int = -1, /) -> bytes:
            self.pieces += 1
            if self.pieces > 2:
                raise KilledError
            data: bytes = self.stream.read(100_000)
            return data

        def seek(self, *_args: int) -> int:
            raise AssertionError

        def close(self) -> None:
            self.stream.close()

    def bring(open_: Callable[[], Any]) -> Path:
        place = Quarantine(tmp_path / "quarantine", context, 10**6)
        options = {"size": known.size, "validator": known.validator, "limit": 10**6}
        path: Path = place.fetch("big/1", "big", open_, **options)
        return path

    with pytest.raises(KilledError):
        bring(Killed)
    had = sum(path.stat().st_size for path in (tmp_path / "quarantine").rglob("big"))
    assert had > 0
    assert bring(lambda: here.open("big", validator=known.validator)).read_bytes() == BIG
    assert server.seen[-1] == ("/big", f"bytes={had}-")


def test_a_disk_that_gets_full_ends_one_fetch_and_keeps_what_was_kept(
    tmp_path: Path, site: Path, stack: ExitStack, small_disk: Path
) -> None:
    server = stack.enter_context(Odd(site, protocol="HTTP/1.0"))
    here = web(tmp_path, server.url)
    place = Quarantine(small_disk / "quarantine", fake_context(tmp_path), 10**9)
    place.fetch("small", "version.txt", lambda: here.open("version.txt"), size=None, limit=100)
    place.keep("small", {})
    with (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(shutil.disk_usage(small_disk).free - 300_000))
    with pytest.raises(SourceError, match="No space left on device"):
        place.fetch("large", "big", lambda: here.open("big"), size=None, limit=10**6)
    assert not list(small_disk.rglob("big"))
    assert place.held("small") is not None
    (small_disk / "filler").unlink()
    assert place.fetch("large", "big", lambda: here.open("big"), size=None, limit=10**6).read_bytes() == BIG


def test_a_run_that_is_stopped_waits_for_no_server(
    tmp_path: Path, site: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PAUSE", 600.0)
    monkeypatch.setattr(stream, "LONGEST_PAUSE", 600.0)
    stop = Event()

    def twist(path: str, _asked: Any, content: bytes | None) -> Any:
        stop.set()
        return (503, {}, b"") if path == "/busy" else (200, {}, content)

    server = stack.enter_context(Odd(site, twist))
    here = Web(server.url, OPTIONS, replace(fake_context(tmp_path), stop=stop))
    for place in ("busy", "big"):
        stop.clear()
        with pytest.raises(InterruptedRunError):
            here.get(place, limit=10**6)


# --- a medium ---------------------------------------------------------------------------------------------------------


def test_a_medium_answers_as_a_server_does(tmp_path: Path, site: Path) -> None:
    here = web(tmp_path, site.as_uri())
    first = here.get("version.txt", limit=9)
    assert (first.status, first.body, first.size) == (200, b"7\n", 2)
    assert here.get("version.txt", limit=9, etag=first.etag).status == 304
    assert here.get("version.txt", limit=9, since=first.modified).status == 304
    os.utime(site / "version.txt", (1, 1))
    assert here.get("version.txt", limit=9, etag=first.etag, since=first.modified).body == b"7\n"
    assert here.head("big").size == len(BIG)
    assert here.get("big", limit=9, first=4).body == BIG[:4]
    assert read(here, "big", at=599_990) == BIG[-10:]
    (site / "folder").mkdir()
    for url, words in {
        "none": "isn't there",
        "../out": "leads out of",
        "folder": "is no file",
        "big": "has more than 9 bytes",
        "http://other.example/x": "isn't on the medium",
        "%00": "can't be read",
        "file:///etc/passwd": "leads out of",
    }.items():
        with pytest.raises(SourceError, match=words):
            here.get(url, limit=9)


def test_a_link_on_a_medium_leads_to_nothing_but_the_medium(tmp_path: Path, site: Path) -> None:
    (tmp_path / "secret").write_text("of this machine")
    (site / "out").symlink_to(tmp_path / "secret")
    (site / "beyond").symlink_to(tmp_path)
    (site / "latest").symlink_to("version.txt")
    here = web(tmp_path, site.as_uri())
    assert here.get("latest", limit=9).body == b"7\n"
    for url in ("out", "beyond/secret"):
        with pytest.raises(SourceError, match="a link that leads out of"):
            here.get(url, limit=99)
        with pytest.raises(SourceError, match="a link that leads out of"):
            here.open(url)
