"""A signed repository on a real web server: through proxies, over TLS and both families, with what goes wrong."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from reconciler.errors import SourceError, StoreError
from reconciler.model.network import Proxy
from reconciler.model.release import ReleaseFile
from reconciler.model.secret import SecretRef
from reconciler.model.spec import PluginConfig, SourceSpec
from reconciler.observe.upstream import read_sources
from reconciler.plugins.source import tuf
from reconciler.storage.store import Store
from reconciler.web import pace, stream, timed
from tests.fakes import fake_context, make_component, make_plugin
from tests.fleet import Fleet
from tests.servers import Authority, Odd, Socks4, Wire, microsocks, nginx, part, requests, squid
from tests.tufrepo import Vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import ExitStack

    from reconciler.model.offer import SourceReport

Answer: TypeAlias = "tuple[int, dict[str, str], bytes]"

pytestmark = pytest.mark.needs("nginx", "squid", "microsocks", "openssl")
NOW = datetime.now(UTC)
COMPONENTS = {"rules": make_component("rules", scheme="integer")}
BIG = hashlib.shake_128(b"big").digest(3_000_000)
SECRETS = {"user": "joe", "word": "hunter2-secret", "KEY": "the key"}


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    folder = tmp_path_factory.mktemp("vendor")
    made = Vendor(folder / "repo", NOW)
    made.add("rules", "1", {"all.rules": BIG, "small": b"x"})
    made.sign()
    return made


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAUSE", 0.01)
    monkeypatch.setattr(stream, "LONGEST_PAUSE", 0.02)


class Look:
    """A source as a run has it, and what it answers."""

    def __init__(
        self, folder: Path, vendor: Vendor, url: str, *, proxy: Proxy | None = None, now: datetime = NOW, **options: Any
    ) -> None:
        shutil.copy(vendor.metadata / "1.root.json", folder / "root.json")
        context = fake_context(folder, now=now, secrets=SECRETS, proxy=proxy)
        self.source = make_plugin(tuf, {"url": url, "trusted_root": "root.json", **options}, context)
        self.store = Store(folder / "store")

    @property
    def report(self) -> SourceReport:
        spec = SourceSpec("vendor", PluginConfig("source", "tuf"), signed=True)
        (answer,) = read_sources([(spec, self.source)], COMPONENTS)
        return answer

    def fetch(self) -> dict[str, int]:
        """Bring all files into the store; give their sizes."""
        report = self.report
        assert report.error == "", report.error
        (release,) = report.releases
        sizes = {}
        for file in release.files:
            with self.source.open(release, file) as stream:
                sizes[file.name] = self.store.put(file, stream)
        self.store.add(release)
        return sizes


ALL = {"all.rules": len(BIG), "small": 1}


def test_releases_come_from_a_web_server(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    assert Look(tmp_path, vendor, url).fetch() == ALL
    assert Look(tmp_path, vendor, f"{url}/").fetch() == ALL


def test_a_second_look_asks_for_little(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    assert Look(tmp_path, vendor, url).report.error == ""
    before = len(requests(tmp_path / "web"))
    assert Look(tmp_path, vendor, url).report.error == ""
    asked = requests(tmp_path / "web")[before:]
    paths = re.findall(r'"GET (\S+)', "\n".join(asked))
    assert paths == ["/metadata/2.root.json", "/metadata/timestamp.json"]


# --- what breaks on the way -------------------------------------------------------------------------------------------


def test_a_download_that_is_cut_is_continued_where_it_was(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    wire = Wire(int(url.rpartition(":")[2]), cut_after=1_000_000)
    assert Look(tmp_path, vendor, f"http://127.0.0.1:{wire.port}").fetch() == ALL
    assert wire.cuts == 3
    assert [line.split()[8] for line in requests(tmp_path / "web") if "/content/" in line].count("206") == 3


def test_a_server_that_does_not_know_ranges_sends_all_again_and_the_content_is_right(
    vendor: Vendor, tmp_path: Path, stack: ExitStack
) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder, rules="max_ranges 0;"))
    wire = Wire(int(url.rpartition(":")[2]), cut_after=2_000_000)
    look = Look(tmp_path, vendor, f"http://127.0.0.1:{wire.port}")
    with pytest.raises(SourceError):
        look.fetch()  # two thirds come, and no more, however often
    assert wire.cuts >= 5
    wire = Wire(int(url.rpartition(":")[2]))
    assert Look(tmp_path, vendor, f"http://127.0.0.1:{wire.port}").fetch() == ALL
    assert hashlib.sha256(BIG).hexdigest() in {path.name for path in (tmp_path / "store/content").rglob("*")}


def test_what_a_run_that_was_killed_had_of_a_file_is_not_asked_for_again(
    vendor: Vendor, tmp_path: Path, stack: ExitStack
) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    wire = Wire(int(url.rpartition(":")[2]), cut_after=2_000_000)
    look = Look(tmp_path, vendor, f"http://127.0.0.1:{wire.port}")
    (release,) = look.report.releases
    stream = look.source._files.open(_content(BIG))
    stream._again = lambda trouble: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        look.store.put(release.files[0], stream)
    (part,) = (tmp_path / "store/tmp").glob("*.part")
    had = part.stat().st_size
    assert had > 1_900_000
    assert Look(tmp_path, vendor, url).fetch() == ALL
    (last,) = [line for line in requests(tmp_path / "web") if _content(BIG) in line][-1:]
    assert f" 206 {len(BIG) - had} " in last
    assert list((tmp_path / "store/tmp").iterdir()) == []


def _content(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"content/{digest[:2]}/{digest}"


OTHER = b"?" * len(BIG)


def _answers_of_resumed_requests() -> dict[str, Callable[[bytes, int], Answer]]:
    """Give what servers have answered to a request for the rest of a file, by what is odd about it."""
    return {
        "a part from before": lambda content, at: part(content, max(at - 1000, 0)),
        "all as a part": lambda content, _at: part(content, 0),
        "a part from behind": lambda content, at: part(content, at + 1000),
        "the end only": lambda content, _at: part(content, len(content) - 10),
        "a part of no place": lambda content, at: (206, {}, content[at:]),
        "several parts": lambda content, at: (206, {"Content-Type": "multipart/byteranges; boundary=x"}, content[at:]),
        "a part of a part": lambda content, at: part(content, at, at + 1_000_000),
        "all, changed since": lambda content, _at: (200, {"ETag": '"new"'}, content),
        "no such range": lambda content, at: (416, {"Content-Range": f"bytes */{at - 10}"}, b""),
        "no range at all": lambda _content, _at: (416, {}, b""),
        "a bad request": lambda _content, _at: (400, {}, b""),
        "forbidden": lambda _content, _at: (403, {}, b""),
        "a fault, each time": lambda _content, _at: (500, {}, b""),
        "other bytes": lambda content, at: part(OTHER[: len(content)], at),
        "a part of something smaller": lambda content, at: part(content[: at + 10], at),
    }


@pytest.mark.parametrize("odd", list(_answers_of_resumed_requests()))
def test_whatever_a_server_answers_to_a_request_for_the_rest_the_file_comes_in_the_same_run(
    vendor: Vendor, tmp_path: Path, odd: str
) -> None:
    answer = _answers_of_resumed_requests()[odd]

    def twist(path: str, asked: Mapping[str, str], content: bytes) -> Answer | None:
        at = int(asked.get("Range", "bytes=0-")[6:-1])
        return answer(content, at) if path.startswith("/content/") and at else None

    with Odd(vendor.folder, twist) as server:
        look = Look(tmp_path, vendor, server.url)
        leave_part(tmp_path, BIG[:2_000_000])
        if odd in {"other bytes", "a part of something smaller"}:  # a run asks once more for what came damaged
            with pytest.raises(StoreError, match=r"has the SHA-256|should have"):
                look.fetch()
        assert look.fetch() == ALL
    assert (f"/{_content(BIG)}", "bytes=2000000-") in server.seen
    assert list((tmp_path / "store/tmp").iterdir()) == []


def leave_part(folder: Path, content: bytes) -> None:
    """Leave what a run that was killed had of the large file."""
    parts = folder / "store/tmp"
    parts.mkdir(parents=True, exist_ok=True)
    (parts / f"{hashlib.sha256(BIG).hexdigest()}.part").write_bytes(content)


def test_a_part_of_other_bytes_costs_a_second_request_and_nothing_more(vendor: Vendor, tmp_path: Path) -> None:
    with Odd(vendor.folder, lambda *_asked: None) as server:
        folder = tmp_path / "site"
        folder.mkdir()
        shutil.copy(vendor.metadata / "1.root.json", folder / "root.json")
        source = {"name": "vendor", "type": "tuf", "url": server.url, "trusted_root": "root.json"}
        site = Fleet(folder, clients=1, sources=[source])
        leave_part(folder, OTHER[:2_000_000])
        done = site.apply()
    assert done.code == 0, done.out + done.err
    assert site.current("c1", "rules") == {"all.rules": BIG, "small": b"x"}


@pytest.mark.parametrize("odd", ["a part from before", "a part from behind", "a bad request", "no range at all"])
def test_a_cut_is_got_over_whatever_the_server_then_answers(vendor: Vendor, tmp_path: Path, odd: str) -> None:
    answer = _answers_of_resumed_requests()[odd]

    def twist(path: str, asked: Mapping[str, str], content: bytes) -> Answer | None:
        at = int(asked.get("Range", "bytes=0-")[6:-1])
        if not path.startswith("/content/") or len(content) < 1_000_000:
            return None
        if at:
            return answer(content, at)
        whole = sum(place == path and not begun for place, begun in server.seen) > 1
        return (
            None if whole else (200, {"Content-Length": str(len(content)), "Connection": "close"}, content[:1_500_000])
        )

    with Odd(vendor.folder, twist) as server:
        assert Look(tmp_path, vendor, server.url).fetch() == ALL
    assert (f"/{_content(BIG)}", "bytes=1500000-") in server.seen


def test_a_file_that_is_there_whole_since_a_kill_is_not_fetched_again(vendor: Vendor, tmp_path: Path) -> None:
    with Odd(vendor.folder, lambda _path, asked, content: _beyond(asked, content)) as server:
        look = Look(tmp_path, vendor, server.url)
        leave_part(tmp_path, BIG)
        assert look.fetch() == ALL
    assert [begin for path, begin in server.seen if path == f"/{_content(BIG)}"] == [f"bytes={len(BIG)}-"]


def _beyond(asked: Mapping[str, str], content: bytes) -> Answer | None:
    at = int(asked.get("Range", "bytes=0-")[6:-1])
    return (416, {"Content-Range": f"bytes */{len(content)}"}, b"") if at and at >= len(content) else None


def test_a_part_from_a_folder_is_continued_where_it_is_good(vendor: Vendor, tmp_path: Path) -> None:
    look = Look(tmp_path, vendor, vendor.folder.as_uri())
    for had in (BIG[:2_000_000], BIG, BIG + b"?"):
        leave_part(tmp_path, had)
        assert look.fetch() == ALL
    leave_part(tmp_path, OTHER[:2_000_000])
    with pytest.raises(StoreError, match="has the SHA-256"):
        look.fetch()
    assert look.fetch() == ALL


# --- what is no repository --------------------------------------------------------------------------------------------

PAGE = b"<!DOCTYPE html>\n<title>Please log in</title>\x1b[2J"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            (200, {"Content-Type": "text/html; charset=utf-8"}, PAGE),
            "it is a page (Content-Type: text/html; charset=utf-8)",
        ),
        ((200, {}, PAGE), "it is a page, and begins with '<!DOCTYPE html>\\n<title>"),
        ((200, {"Content-Encoding": "gzip"}, gzip.compress(b"{}")), "it is packed (Content-Encoding: gzip)"),
        ((200, {}, gzip.compress(b"{}")), "it is packed, and begins with '\\x1f\\x8b"),
        ((200, {}, b""), "the answer is empty"),
        ((200, {"Content-Type": "text/plain"}, b"no backend\x1b[2J"), "it is no JSON (Content-Type: text/plain)"),
    ],
    ids=["a page", "a page of no type", "packed", "packed and silent", "empty", "a text"],
)
@pytest.mark.parametrize("path", ["/metadata/timestamp.json", "/metadata/2.root.json", "/targets/"])
def test_what_comes_in_place_of_metadata_is_said_as_what_it_is(
    vendor: Vendor, tmp_path: Path, path: str, answer: Answer, words: str
) -> None:
    with Odd(vendor.folder, lambda asked, *_more: answer if asked.startswith(path) else None) as server:
        report = Look(tmp_path, vendor, server.url).report
    said = report.error or report.problems[0]
    assert words in said
    assert f"{server.url}{path}" in said
    assert "breaks the rules" not in said
    assert said.isprintable()


def test_a_page_in_place_of_content_is_said_as_what_it_is(vendor: Vendor, tmp_path: Path) -> None:
    page = 200, {"Content-Type": "text/html"}, PAGE
    with (
        Odd(vendor.folder, lambda asked, *_more: page if "/content/" in asked else None) as server,
        pytest.raises(StoreError, match=r"bytes and has .*; the server called it a page \(Content-Type: text/html\)"),
    ):
        Look(tmp_path, vendor, server.url).fetch()
    packed = 200, {"Content-Encoding": "gzip"}, gzip.compress(BIG)
    with (
        Odd(vendor.folder, lambda asked, *_more: packed if "/content/" in asked else None) as server,
        pytest.raises(StoreError, match=r"; the server packed it \(Content-Encoding: gzip\), though it was asked"),
    ):
        Look(tmp_path, vendor, server.url).fetch()


# --- mirrors that lag behind each other -------------------------------------------------------------------------------


@pytest.fixture
def mirrors(tmp_path: Path) -> tuple[Vendor, Path]:
    """Two states of a repository: what a mirror that lags behind still has, and what the vendor has."""
    made = Vendor(tmp_path / "fresh", NOW)
    made.add("rules", "1", {"all.rules": b"one"})
    made.sign()
    shutil.copytree(made.folder, tmp_path / "lagging")
    made.add("rules", "2", {"all.rules": b"two"})
    made.sign()
    return made, tmp_path / "lagging"


def test_a_mirror_that_lags_behind_is_passed_over_at_a_second_look(
    mirrors: tuple[Vendor, Path], tmp_path: Path
) -> None:
    vendor, lagging = mirrors

    def twist(path: str, *_more: object) -> Answer | None:
        place = lagging / path.lstrip("/")
        if server.connection % 2 == 0 or path.startswith("/content/"):
            return None
        return (200, {}, place.read_bytes()) if place.is_file() else (404, {}, b"")

    with Odd(vendor.folder, twist) as server:
        look = Look(tmp_path, vendor, server.url)
        first = look.report
        assert [release.version for release in first.releases] == ["1"]
        look.source._files.reconnect()
        assert [release.version for release in look.report.releases] == ["1", "2"]
        look.source._files.reconnect()  # leads to the one that lags behind: older than what was seen
        again = look.report
    assert again.error == ""
    assert [release.version for release in again.releases] == ["1", "2"]


@pytest.mark.parametrize("missing", ["snapshot", "targets", "index"])
def test_a_look_that_met_two_mirrors_in_different_states_is_made_again(
    mirrors: tuple[Vendor, Path], tmp_path: Path, missing: str
) -> None:
    vendor, _lagging = mirrors
    lost: list[str] = []

    def twist(path: str, *_more: object) -> Answer | None:
        if missing in path.rpartition("/")[0] * (missing == "index") + path.rpartition("/")[2] and not lost:
            lost.append(path)
            return 404, {}, b""
        return None

    with Odd(vendor.folder, twist) as server:
        report = Look(tmp_path, vendor, server.url).report
    assert lost
    assert (report.error, report.problems) == ("", ())
    assert [release.version for release in report.releases] == ["1", "2"]


def test_a_mirror_that_stays_behind_is_said_to_lag_and_nothing_of_it_is_taken(
    mirrors: tuple[Vendor, Path], tmp_path: Path
) -> None:
    vendor, lagging = mirrors
    with Odd(vendor.folder, lambda *_asked: None) as server:
        assert Look(tmp_path, vendor, server.url).report.error == ""
    with Odd(lagging, lambda *_asked: None) as server:
        report = Look(tmp_path, vendor, server.url).report
    assert report.releases == ()
    assert (
        "is older than before, at a second look too: the server lags behind, or it is refused as a rollback"
        in report.error
    )
    assert sum(path == "/metadata/timestamp.json" for path, _range in server.seen) == 2


def test_a_part_that_was_damaged_is_thrown_away_and_all_is_asked_for(
    vendor: Vendor, tmp_path: Path, stack: ExitStack
) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    look = Look(tmp_path, vendor, url)
    file = next(file for file in look.report.releases[0].files if file.name == "all.rules")
    (tmp_path / "store/tmp").mkdir(parents=True)
    (tmp_path / f"store/tmp/{file.sha256}.part").write_bytes(b"?" * 1_500_000)
    with pytest.raises(StoreError, match="has the SHA-256"):
        look.fetch()
    assert look.fetch() == ALL


def test_bytes_that_trickle_are_given_up(
    vendor: Vendor, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace.Floor, "SPAN", 0.5)
    monkeypatch.setattr(pace.Floor, "LEAST", 100_000)
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    wire = Wire(int(url.rpartition(":")[2]), trickle=0.1)
    assert (
        "a source that is kept slow is refused" in Look(tmp_path, vendor, f"http://127.0.0.1:{wire.port}").report.error
    )


def test_a_head_that_trickles_is_given_up(vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "LIMIT", 0.5)
    done = Event()

    def trickle(listener: socket.socket) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                client, _address = listener.accept()
                with client, suppress(OSError):
                    client.sendall(b"HTTP/1.1 200 OK\r\n")
                    while not done.wait(0.05):
                        client.sendall(b"X")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=trickle, args=(listener,), daemon=True).start()
        error = Look(tmp_path, vendor, f"http://127.0.0.1:{listener.getsockname()[1]}").report.error
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
    assert "the head of the answer wasn't complete" in error
    assert "(5 tries)" in error


def test_a_server_that_says_nothing_is_given_up(vendor: Vendor, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        error = Look(tmp_path, vendor, url, read_timeout="1s").report.error
    assert "timed out" in error
    assert "(5 tries)" in error


def test_nobody_at_the_port_is_told_with_host_and_port(vendor: Vendor, tmp_path: Path) -> None:
    error = Look(tmp_path, vendor, "http://127.0.0.1:9").report.error
    assert "127.0.0.1:9 can't be reached: Connection refused (5 tries)" in error


def test_a_file_that_is_longer_than_was_signed_is_cut_off(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(vendor.folder, copy)
    with (copy / _content(BIG)).open("ab") as file:
        file.write(b"?" * 1000)
    look = Look(tmp_path, vendor, stack.enter_context(nginx(tmp_path / "web", copy)))
    with pytest.raises(StoreError, match="should have 3000000 bytes and has more"):
        look.fetch()


def test_a_file_that_is_not_there_is_told_by_its_path(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(vendor.folder, copy)
    (copy / _content(BIG)).unlink()
    look = Look(tmp_path, vendor, stack.enter_context(nginx(tmp_path / "web", copy)))
    with pytest.raises(SourceError, match=r"HTTP 404, not there"):
        look.fetch()


# --- servers that want to be left alone -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "hours"),
    [("return 429;", 4), ("return 403;", 24), ("add_header Retry-After 7200 always; return 429;", 2)],
    ids=["too many", "forbidden", "says for how long"],
)
def test_a_source_that_is_busy_is_left_alone_for_its_time_by_later_runs_too(
    vendor: Vendor, tmp_path: Path, stack: ExitStack, answer: str, hours: int
) -> None:
    url = stack.enter_context(
        nginx(tmp_path / "web", vendor.folder, server=f"location = /metadata/timestamp.json {{ {answer} }}")
    )
    first = Look(tmp_path, vendor, url).report
    assert "it is left alone until" in first.error
    assert first.cooldown_until == NOW + timedelta(hours=hours)
    asked = len(requests(tmp_path / "web"))
    assert Look(tmp_path, vendor, url, now=NOW + timedelta(hours=hours, minutes=-1)).report.cooldown_until is not None
    assert len(requests(tmp_path / "web")) == asked
    assert Look(tmp_path, vendor, url, now=NOW + timedelta(hours=hours, minutes=1)).report.cooldown_until is not None
    assert len(requests(tmp_path / "web")) > asked


def test_a_missing_root_that_is_answered_with_403_is_the_end_of_the_roots(
    vendor: Vendor, tmp_path: Path, stack: ExitStack
) -> None:
    url = stack.enter_context(
        nginx(tmp_path / "web", vendor.folder, server="location = /metadata/2.root.json { return 403; }")
    )
    assert Look(tmp_path, vendor, url).fetch() == ALL


def test_a_short_wait_is_waited_for(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    rules = "limit_req zone=slow; limit_req_status 503; error_page 503 @later;"
    later = "location @later { add_header Retry-After 1 always; return 503; }"
    folder = tmp_path / "web"
    url = stack.enter_context(nginx(folder, vendor.folder, rules=rules, server=later, http=_ZONE))
    assert Look(tmp_path, vendor, url).fetch() == ALL
    assert any(" 503 " in line for line in requests(folder))


_ZONE = "limit_req_zone $binary_remote_addr zone=slow:1m rate=120r/m;"


def test_redirects_are_followed_but_never_away_from_tls(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    there = stack.enter_context(nginx(tmp_path / "there", vendor.folder))
    moved = stack.enter_context(nginx(tmp_path / "moved", vendor.folder, rules=f"return 302 {there}$request_uri;"))
    assert Look(tmp_path, vendor, moved).fetch() == ALL
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("localhost", "127.0.0.1")
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    away = nginx(tmp_path / "away", vendor.folder, tls=tls, rules=f"return 302 {there}$request_uri;")
    error = Look(tmp_path, vendor, stack.enter_context(away), ca=str(authority.certificate)).report.error
    assert "which isn't followed" in error
    endless = stack.enter_context(nginx(tmp_path / "endless", vendor.folder, rules="return 302 $request_uri;"))
    assert "more than 5 redirects" in Look(tmp_path, vendor, endless).report.error


def test_credentials_do_not_go_along_to_another_host(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    log = "log_format who '$http_authorization $uri';"
    there = stack.enter_context(
        nginx(tmp_path / "there", vendor.folder, http=log, server=f"access_log {tmp_path}/who who;")
    )
    moved = stack.enter_context(nginx(tmp_path / "moved", vendor.folder, rules=f"return 302 {there}$request_uri;"))
    login: dict[str, Any] = {"username": "joe", "password": SecretRef("env", "word")}
    assert Look(tmp_path, vendor, moved, **login).fetch() == ALL
    assert {line.split()[0] for line in (tmp_path / "who").read_text().splitlines()} == {"-"}
    assert Look(tmp_path, vendor, there, **login).fetch() == ALL
    assert "Basic" in (tmp_path / "who").read_text()


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_a_private_authority_is_trusted_where_it_is_named_and_nowhere_else(
    vendor: Vendor, tmp_path: Path, stack: ExitStack
) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("localhost", "127.0.0.1")
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder, tls=tls))
    assert Look(tmp_path, vendor, url, ca="ca/ca.pem").fetch() == ALL
    assert "its certificate isn't trusted" in Look(tmp_path, vendor, url).report.error
    error = Look(tmp_path, vendor, url, ca="ca/gone.pem").report.error
    assert "the certificates in ca/gone.pem can't be used" in error


def test_a_certificate_for_another_name_is_refused(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("mirror.example")
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder, tls=tls))
    assert "its certificate isn't trusted" in Look(tmp_path, vendor, url, ca="ca/ca.pem").report.error


def test_a_client_certificate_is_shown_where_it_is_wanted(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("localhost", "127.0.0.1")
    own, own_key = authority.sign("updoser")
    tls = (
        f"ssl_certificate {certificate}; ssl_certificate_key {key}; "
        f"ssl_client_certificate {authority.certificate}; ssl_verify_client on;"
    )
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder, tls=tls))
    SECRETS["KEY"] = own_key.read_text()
    shown: dict[str, Any] = {"certificate": str(own), "key": SecretRef("env", "KEY")}
    assert Look(tmp_path, vendor, url, ca="ca/ca.pem", **shown).fetch() == ALL
    assert "HTTP 400" in Look(tmp_path, vendor, url, ca="ca/ca.pem").report.error
    wrong: dict[str, Any] = {"certificate": str(own), "key": SecretRef("env", "word")}
    assert "can't be used" in Look(tmp_path, vendor, url, ca="ca/ca.pem", **wrong).report.error


# --- proxies ----------------------------------------------------------------------------------------------------------


def proxy(scheme: str, port: int, *, login: bool = True, ca: str = "", no_proxy: tuple[str, ...] = ()) -> Proxy:
    name, word = ("joe", SecretRef("env", "word")) if login else ("", None)
    return Proxy("egress", scheme, "127.0.0.1", port, name, word, no_proxy=no_proxy, ca=ca)


def test_http_goes_through_a_proxy_with_a_password(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password=SECRETS["word"]))
    assert Look(tmp_path, vendor, url, proxy=proxy("http", port)).fetch() == ALL
    assert any("GET http://127.0.0.1" in line for line in requests(tmp_path / "squid"))
    error = Look(tmp_path, vendor, url, proxy=proxy("http", port, login=False)).report.error
    assert "the proxy egress wants other credentials (HTTP 407)" in error


def test_https_goes_through_a_tunnel_of_a_proxy_with_a_password(
    vendor: Vendor, tmp_path: Path, stack: ExitStack
) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("localhost", "127.0.0.1")
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder, tls=tls))
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password=SECRETS["word"]))
    assert Look(tmp_path, vendor, url, ca="ca/ca.pem", proxy=proxy("http", port)).fetch() == ALL
    error = Look(tmp_path, vendor, url, ca="ca/ca.pem", proxy=proxy("http", port, login=False)).report.error
    assert "the proxy egress wants other credentials (HTTP 407)" in error
    assert any("CONNECT 127.0.0.1" in line for line in requests(tmp_path / "squid"))


def test_a_proxy_may_itself_be_spoken_with_over_tls(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.sign("localhost", "127.0.0.1")
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password=SECRETS["word"], tls=pair))
    assert Look(tmp_path, vendor, url, proxy=proxy("https", port, ca="ca/ca.pem")).fetch() == ALL
    assert "isn't trusted" in Look(tmp_path, vendor, url, proxy=proxy("https", port)).report.error


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_with_a_password(vendor: Vendor, tmp_path: Path, stack: ExitStack, scheme: str) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder)).replace("127.0.0.1", "localhost")
    port = stack.enter_context(microsocks(tmp_path / "socks", user="joe", password=SECRETS["word"]))
    assert Look(tmp_path, vendor, url, proxy=proxy(scheme, port)).fetch() == ALL
    error = Look(tmp_path, vendor, url, proxy=proxy(scheme, port, login=False)).report.error
    assert "the proxy egress gives no way to localhost" in error


def test_a_socks_4_proxy(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    socks = Socks4()
    assert Look(tmp_path, vendor, url, proxy=proxy("socks4", socks.port, login=False)).fetch() == ALL
    assert socks.seen


def test_what_stands_in_no_proxy_is_reached_directly(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    assert Look(tmp_path, vendor, url, proxy=proxy("http", 9, no_proxy=("127.0.0.0/8",))).fetch() == ALL
    error = Look(tmp_path, vendor, url, proxy=proxy("http", 9)).report.error
    assert "127.0.0.1:9 can't be reached" in error


# --- address families -------------------------------------------------------------------------------------------------


def test_a_server_on_ipv6(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder, host="::1"))
    assert Look(tmp_path, vendor, url).fetch() == ALL
    assert Look(tmp_path, vendor, url, family="ipv6").fetch() == ALL
    assert "::1 has no IPv4 address" in Look(tmp_path, vendor, url, family="ipv4").report.error


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_of_a_host_with_both_families_the_one_that_answers_is_used(
    vendor: Vendor, tmp_path: Path, stack: ExitStack, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder, host=host))
    port = int(url.rpartition(":")[2])
    known = socket.getaddrinfo

    def both(name: str, *args: Any, **options: Any) -> Sequence[tuple[Any, ...]]:
        if name != "dual.example":
            return known(name, *args, **options)
        found = [*known("::1", *args, **options), *known("127.0.0.1", *args, **options)]
        wanted = args[1] if len(args) > 1 else options.get("family", 0)
        return [entry for entry in found if wanted in {0, entry[0]}]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert Look(tmp_path, vendor, f"http://dual.example:{port}").fetch() == ALL


# --- rate -------------------------------------------------------------------------------------------------------------


def test_a_limit_is_kept(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    import time

    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    look = Look(tmp_path, vendor, url, limit="2MB/s")
    began = time.monotonic()
    assert look.fetch() == ALL
    assert time.monotonic() - began > 1.0  # 3 MB, less the burst: a floor, not a figure of speed


# --- what must not be seen --------------------------------------------------------------------------------------------


def test_no_secret_is_in_any_error(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    """Whatever goes wrong, neither what is raised nor its causes show a password."""
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password="another"))
    login: dict[str, Any] = {"username": "joe", "password": SecretRef("env", "word")}
    for url in ("http://127.0.0.1:9", "https://127.0.0.1:9", "http://nowhere.invalid"):
        look = Look(tmp_path, vendor, url, proxy=proxy("http", port), **login)
        attempts: tuple[Callable[[], object], ...] = (partial(look.source.releases, COMPONENTS), look.fetch)
        for attempt in attempts:
            try:
                attempt()
            except (SourceError, AssertionError) as error:
                shown = ""
                cause: BaseException | None = error
                while cause is not None:
                    shown += f"{cause!r} {cause} {vars(cause)}"
                    cause = cause.__cause__ or cause.__context__
                assert SECRETS["word"] not in shown
                assert "aHVudGVyMi1zZWNyZXQ" not in shown


def test_a_stream_that_is_left_in_the_middle_leaves_nothing_open(
    vendor: Vendor, tmp_path: Path, stack: ExitStack
) -> None:
    url = stack.enter_context(nginx(tmp_path / "web", vendor.folder))
    look = Look(tmp_path, vendor, url)
    (release,) = look.report.releases
    big = next(file for file in release.files if file.name == "all.rules")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with look.source.open(release, big) as stream:
            assert stream.read(10)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    gone = ReleaseFile("gone", 1, "0" * 64)
    with pytest.raises(SourceError), look.source.open(release, gone) as stream:
        stream.read(1)
