"""Files of real web servers and odd ones: listings of nginx, a proxy with a password, and what breaks on the way."""

from __future__ import annotations

import gzip
import hashlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.network import Proxy
from reconciler.model.secret import SecretRef
from reconciler.web import stream
from tests.servers import Odd, Wire, logged, nginx, part, requests, squid
from tests.vendor_site import Desk, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack
    from pathlib import Path

BIG = hashlib.shake_128(b"big").digest(400_000)
LISTED = {"url": "{match}", "version": {"listing": "", "pattern": "r-([0-9]+)[.]rules"}, "interval": "0s"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAUSE", 0.01)
    monkeypatch.setattr(stream, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    for number in (7, 9, 10):
        (folder / f"r-{number}.rules").write_bytes(BIG[number:])
    return folder


@pytest.mark.needs("nginx")
def test_a_folder_that_nginx_lists_has_versions_and_a_look_without_news_takes_few_bytes(
    shelf: Path, tmp_path: Path, stack: ExitStack
) -> None:
    url = stack.enter_context(nginx(tmp_path / "nginx", shelf, rules="autoindex on;"))
    desk = Desk(tmp_path, url, rules=LISTED)
    report = desk.look()
    assert (report.error, report.problems) == ("", ())
    assert desk.contents(report) == {"10": {"r-10.rules": BIG[10:]}}
    assert [entry.version for entry in report.unfetched] == ["7", "9"]
    before = len(requests(tmp_path / "nginx"))
    assert list(desk.contents(desk.look())) == ["10"]
    (line,) = requests(tmp_path / "nginx")[before:]
    assert int(line.split('"')[2].split()[1]) < 1000
    (shelf / "r-11.rules").write_bytes(BIG[11:])
    assert list(desk.contents(desk.look())) == ["11", "10"]


@pytest.mark.needs("nginx", "squid")
def test_it_goes_through_a_proxy_with_a_password_that_is_shown_nowhere(
    shelf: Path, tmp_path: Path, stack: ExitStack
) -> None:
    url = stack.enter_context(nginx(tmp_path / "nginx", shelf, rules="autoindex on;"))
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password="hunter2-secret"))
    desk = Desk(tmp_path, url, rules=LISTED)
    for word, said in (("hunter2-secret", ""), ("wrong-word", "wants other credentials (HTTP 407)")):
        reference = SecretRef("env", "WORD")
        proxy = Proxy("egress", "http", "127.0.0.1", port, username="joe", password=reference)
        desk.means = {"secrets": {"WORD": word}, "proxy": proxy}
        report = desk.look()
        assert said in report.error
        assert bool(said) == bool(report.error)
        assert word not in str(report)
    assert logged(tmp_path / "squid", "r-10.rules")


def test_it_reads_what_lies_on_a_medium(shelf: Path, tmp_path: Path) -> None:
    (shelf / "version.txt").write_text("10\n")
    told = {"url": "r-{version}.rules", "version": {"text": "version.txt"}}
    assert Desk(tmp_path, shelf.as_uri(), rules=told).offered() == {"10": {"r-10.rules": BIG[10:]}}
    lost = {"rules": {"url": "../../etc/passwd", "version": "7"}}
    assert "leads out of" in str(Desk(tmp_path, shelf.as_uri(), **lost).look().problems)


Answer = tuple[int, dict[str, str], bytes]


def odd(change: Callable[[Mapping[str, str]], Answer | None]) -> Any:
    """Answer as usual, but for the file, which `change` answers for by the headers of the request."""

    def twist(path: str, asked: Mapping[str, str], _content: bytes | None) -> Answer | None:
        return (200, {}, b"7") if path == "/version" else change(asked)

    return twist


TOLD: Mapping[str, Any] = {"url": "all.rules", "version": {"text": "version"}}


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/1.1"])
def test_any_protocol_will_do(protocol: str, tmp_path: Path) -> None:
    with Odd(tmp_path, odd(lambda _asked: (200, {}, BIG)), protocol=protocol) as server:
        assert Desk(tmp_path, server.url, rules=TOLD).offered() == {"7": {"all.rules": BIG}}


def test_what_a_server_packs_on_the_way_is_refused(tmp_path: Path) -> None:
    answer = (200, {"Content-Encoding": "gzip"}, gzip.compress(BIG))
    with Odd(tmp_path, odd(lambda _asked: answer)) as server:
        (problem,) = Desk(tmp_path, server.url, rules=TOLD).look().problems
        assert "packed it" in problem


def test_a_part_that_was_not_asked_for_never_becomes_part_of_a_file(tmp_path: Path) -> None:
    def wrong(asked: Mapping[str, str]) -> Answer:
        if "Range" in asked:
            status, _headers, body = part(BIG, 5)
            return status, {"Content-Range": f"bytes 0-{len(BIG) - 6}/{len(BIG)}"}, body
        return 200, {"ETag": '"x"'}, BIG

    with Odd(tmp_path, odd(wrong)) as server:
        wire = Wire(int(server.url.rpartition(":")[2]), cut_after=250_000)
        report = Desk(tmp_path, f"http://127.0.0.1:{wire.port}", rules=TOLD).look()
        assert all(file.sha256 == hashlib.sha256(BIG).hexdigest() for rel in report.releases for file in rel.files)


def test_a_download_that_is_cut_is_continued(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.put("version", "7")
        site.put("all.rules", BIG)
        wire = Wire(int(site.url.rpartition(":")[2]), cut_after=150_000)
        assert Desk(tmp_path, f"http://127.0.0.1:{wire.port}", rules=TOLD).offered() == {"7": {"all.rules": BIG}}
        assert wire.cuts >= 2
        assert "bytes=1" in "".join(range_ for _path, range_ in site.server.seen)


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "TRIES", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        report = Desk(tmp_path, url, more={"read_timeout": "1s"}, rules=TOLD).look()
        assert "(2 tries)" in report.error


def test_a_redirect_to_another_host_is_followed_for_the_file(tmp_path: Path) -> None:
    with Site(tmp_path) as edge, Site(tmp_path) as site:
        edge.put("x/all.rules", BIG)
        site.put("version", "7")
        site.odd["/all.rules"] = (302, {"Location": f"{edge.url}/x/all.rules"}, b"")
        assert Desk(tmp_path, site.url, rules=TOLD).offered() == {"7": {"all.rules": BIG}}
