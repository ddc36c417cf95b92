"""A source of ClamAV's databases over real connections: servers that behave as mirrors do, and DNS."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import pytest
import yaml

from reconciler.errors import SourceError
from reconciler.model.network import Proxy
from reconciler.plugins.source import clamav
from reconciler.plugins.source._clamav import mirror
from reconciler.plugins.source._clamav.dns import Server, parse_server, system_servers, text_record
from reconciler.web import stream
from tests.clam_mirror import ClamVendor, write_keys
from tests.fakes import NOW, fake_context, make_component, make_plugin
from tests.fleet import Fleet
from tests.servers import Odd, nginx, part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import ExitStack
    from datetime import datetime
    from pathlib import Path

    from reconciler.model.offer import SourceReport

DAILY = make_component("clamav-daily", scheme="integer")
VERIFY = [{"clamsign": {"keys": "trust/keys.yaml"}}]
RECORD = "current.cvd.test"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAUSE", 0.01)
    monkeypatch.setattr(stream, "LONGEST_PAUSE", 0.02)


def lines(version: int, count: int = 20) -> dict[str, bytes]:
    text = b"".join(b"%032x:%d:Test.Signature-%d\n" % (n * 7919, n, n) for n in range(count + version))
    return {"daily.hdb": text}


class Site:
    """A vendor's mirror on a web server, and a source that reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vendor = ClamVendor(folder / "mirror")
        write_keys(folder / "trust" / "keys.yaml")
        self.context = fake_context(folder)
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        """What is answered in place of a file."""
        self.modified = formatdate(NOW.timestamp(), usegmt=True)

    def publish(self, *versions: int, count: int = 20) -> None:
        for version in versions:
            self.vendor.publish("daily", version, lines(version, count))

    def answer(self, path: str, asked: Any, content: bytes | None) -> tuple[int, dict[str, str], bytes] | None:
        name = path.lstrip("/")
        if name in self.answers:
            return self.answers[name]
        if content is None:
            return None
        about = {"Last-Modified": self.modified, "ETag": f'"{hash(content):x}"'}
        span = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", asked["Range"] or "")
        if span is None:
            return 200, about, content
        status, more, body = part(content, int(span[1]), int(span[2]) + 1 if span[2] else None)
        return status, about | more, body

    def source(self, url: str, **options: Any) -> Any:
        return make_plugin(clamav, {"url": url, "verify": VERIFY, **options}, self.context)

    def look(self, url: str, **options: Any) -> SourceReport:
        report: SourceReport = self.source(url, **options).releases({DAILY.id: DAILY})
        return report

    def at(self, moment: datetime) -> None:
        self.context = replace(self.context, clock=lambda: moment)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def server(site: Site, stack: ExitStack) -> Odd:
    return stack.enter_context(Odd(site.vendor.folder, site.answer))


def versions(report: SourceReport) -> list[str]:
    return [release.version for release in report.releases]


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.needs("nginx")
def test_a_mirror_of_nginx_is_read_by_header_increment_and_whole_file(site: Site, stack: ExitStack) -> None:
    site.publish(1)
    url = stack.enter_context(nginx(site.folder / "nginx", site.vendor.folder))
    assert versions(site.look(url)) == ["1"]
    site.publish(2, 3)
    report = site.look(url)
    assert (versions(report), report.problems) == (["3", "1"], ())
    assert site.look(url) == report


def test_a_look_with_nothing_new_asks_for_a_header_only(site: Site, server: Odd) -> None:
    site.publish(1)
    first = site.look(server.url)
    built = formatdate(site.vendor.newest["daily"].header.time, usegmt=True)
    server.seen.clear()
    server.asked.clear()
    assert site.look(server.url) == first
    assert server.seen == [("/daily.cvd", "bytes=0-511")]
    assert server.asked[0][1]["If-Modified-Since"] == built
    site.answers["daily.cvd"] = 304, {}, b""
    assert site.look(server.url) == first


def test_a_record_that_announces_nothing_new_is_all_that_is_asked_for(site: Site, server: Odd) -> None:
    site.publish(1)
    site.look(server.url, discovery="dns.txt")
    server.seen.clear()
    site.look(server.url, discovery="dns.txt")
    assert [path for path, _range in server.seen] == ["/dns.txt"]


def test_it_says_who_it_is(site: Site, server: Odd) -> None:
    site.publish(1)
    site.look(server.url)
    assert {headers["User-Agent"].partition("/")[0] for _method, headers in server.asked} == {"updoser"}


def test_increments_are_fetched_and_the_whole_file_is_not(site: Site, server: Odd) -> None:
    site.publish(1)
    site.look(server.url)
    site.publish(2, 3)
    server.seen.clear()
    site.look(server.url)
    asked = [path for path, _range in server.seen]
    assert asked == ["/daily.cvd", "/daily-2.cdiff", "/daily-2.cdiff.sign", "/daily-3.cdiff", "/daily-3.cdiff.sign"]


# --- a server that says no --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "hours"), [(403, 24), (429, 4)])
def test_the_vendors_network_is_left_alone_as_long_as_it_wants(
    status: int, hours: int, site: Site, server: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "VENDOR", "127.0.0.1")
    site.publish(1)
    site.look(server.url)
    site.answers["daily.cvd"] = status, {}, b""
    with pytest.raises(SourceError, match=f"it answered HTTP {status}") as told:
        site.look(server.url)
    assert told.value.cooldown_until == NOW + timedelta(hours=hours)
    del site.answers["daily.cvd"]
    server.seen.clear()
    site.at(NOW + timedelta(hours=hours, seconds=-1))
    with pytest.raises(SourceError, match="it is left alone until"):
        site.look(server.url)
    assert server.seen == []
    site.at(NOW + timedelta(hours=hours, seconds=1))
    assert versions(site.look(server.url)) == ["1"]


def test_a_source_that_wants_to_rest_in_the_midst_keeps_what_was_had_before(
    site: Site, server: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "VENDOR", "127.0.0.1")
    site.publish(1)
    site.vendor.publish("bytecode", 3, {"1.cbc": b"ClamBC\n"})
    code = make_component("clamav-bytecode", scheme="integer")
    site.answers["daily.cvd"] = 429, {"Retry-After": "7200"}, b""
    report = site.source(server.url).releases({code.id: code, DAILY.id: DAILY})
    assert [one.component for one in report.releases] == [code.id]
    assert report.cooldown_until == NOW + timedelta(hours=2)


@pytest.mark.parametrize("status", [403, 404])
def test_a_store_of_objects_may_say_403_of_what_is_not_there(status: int, site: Site, server: Odd) -> None:
    site.publish(1)
    made = site.vendor.newest["daily"]
    site.vendor.put("daily.cld", made.cld)
    site.answers["daily.cvd"] = status, {}, b""
    assert versions(site.look(server.url)) == ["1"]


def test_a_mirror_that_is_half_way_through_its_update_is_taken_as_far_as_it_is(site: Site, server: Odd) -> None:
    site.publish(1)
    old = site.vendor.newest["daily"]
    site.look(server.url, discovery="dns.txt")
    site.publish(2, 3)  # the record says 3; of the files, one increment came and the whole file didn't
    site.vendor.put_whole(old)
    site.answers["daily-3.cdiff"] = 404, {}, b""
    report = site.look(server.url, discovery="dns.txt")
    assert versions(report) == ["2", "1"]
    assert report.harmless == report.problems
    del site.answers["daily-3.cdiff"]
    assert versions(site.look(server.url, discovery="dns.txt")) == ["3", "2"]


def test_a_whole_file_that_is_cut_off_and_comes_packed_is_told_apart(site: Site, server: Odd) -> None:
    site.publish(1)
    content = site.vendor.newest["daily"].cvd
    site.answers["daily.cvd"] = 200, {"Content-Encoding": "br"}, content
    with pytest.raises(SourceError, match="the server packed it"):
        site.look(server.url)


def test_a_whole_file_that_is_too_large_for_a_plan_is_fetched_by_apply_and_deployed_by_the_next(site: Site) -> None:
    site.publish(1)
    source: dict[str, Any] = {"name": "clamav", "type": "clamav", "url": "mirror", "verify": VERIFY}
    source |= {"refresh_limit": "1KiB", "components": {DAILY.id: {"database": "daily"}}}
    catalog = {"id": DAILY.id, "name": "Daily", "kind": "pattern", "version_scheme": "integer"}
    fleet = Fleet(site.folder, 1, sources=[source])
    (site.folder / "catalog.yaml").write_text(yaml.safe_dump({"version": 1, "name": "clamav", "components": [catalog]}))
    planned = fleet.run("plan").out
    assert "digest unknown until fetched" in planned
    assert fleet.apply().code == 0
    assert fleet.current("c1", DAILY.id) == {}
    assert fleet.apply().code == 0
    assert fleet.current("c1", DAILY.id) == {"daily.cld": site.vendor.newest["daily"].cld}


# --- a kill -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["daily-2.cdiff", "daily-3.cdiff.sign", "daily-4.cdiff"])
def test_what_is_killed_in_the_midst_goes_on_with_what_it_had(
    at: str, site: Site, server: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def killed(self: mirror.Mirror, name: str, *more: str) -> Any:
        if name == at.removesuffix(".sign"):
            raise KilledError
        return usual(self, name, *more)

    site.publish(1)
    site.look(server.url)
    site.publish(2, 3, 4)
    method = "sign" if at.endswith(".sign") else "open"
    usual = getattr(mirror.Mirror, method)
    with monkeypatch.context() as patch:
        patch.setattr(mirror.Mirror, method, killed)
        with pytest.raises(KilledError):
            site.look(server.url)
    for number in range(2, int(at[6])):  # what came before isn't asked for again
        site.answers[f"daily-{number}.cdiff"] = 500, {}, b""
    assert versions(site.look(server.url)) == ["4", "1"]


# --- DNS --------------------------------------------------------------------------------------------------------------


class NameServer:
    """A name server of one machine whose answers a test makes: by UDP, and by TCP where it cuts them."""

    def __init__(self, answer: Callable[[bytes, str], bytes]) -> None:
        self._answer = answer
        self.asked: list[str] = []
        self._udp, self._tcp = _bound()
        self.server = Server("127.0.0.1", self._udp.getsockname()[1])

    def __enter__(self) -> Self:
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(self, *_args: object) -> None:
        for wire in (self._udp, self._tcp):
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            wire.close()

    def _serve_udp(self) -> None:
        with suppress(OSError):
            while True:
                data, address = self._udp.recvfrom(4096)
                if not data:
                    return
                self.asked.append("udp")
                if answer := self._answer(data, "udp"):
                    self._udp.sendto(answer, address)

    def _serve_tcp(self) -> None:
        with suppress(OSError):
            while True:
                wire, _address = self._tcp.accept()
                with wire:
                    data = wire.recv(4096)
                    self.asked.append("tcp")
                    answer = self._answer(data[2:], "tcp")
                    wire.sendall(struct.pack("!H", len(answer)) + answer)


def _bound() -> tuple[socket.socket, socket.socket]:
    """Give sockets of both kinds at the same port."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            return udp, socket.create_server(udp.getsockname())
        except OSError:  # somebody else has it
            udp.close()


def reply(question: bytes, *texts: Iterable[bytes], flags: int = 0x8180, before: bytes = b"", ahead: int = 0) -> bytes:
    """Answer a question with TXT records, each of some strings."""
    records = [b"".join(bytes([len(one)]) + one for one in strings) for strings in texts]
    body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, len(data)) + data for data in records)
    head = question[:2] + struct.pack("!5H", flags, 1, len(records) + ahead, 0, 0)
    return head + question[12:] + before + body


def ask(answer: Callable[[bytes, str], bytes], name: str = RECORD, timeout: float = 30.0) -> str:
    with NameServer(answer) as there:
        found: str = text_record(name, [there.server], threading.Event(), timeout)
        return found


def test_a_text_record_is_found_in_one_string_or_several() -> None:
    assert ask(lambda question, _way: reply(question, [b"1.4.6:62:", b"27811"])) == "1.4.6:62:27811"


def test_an_answer_that_was_cut_is_asked_for_once_more_over_a_connection() -> None:
    def answer(question: bytes, way: str) -> bytes:
        return reply(question, flags=0x8380) if way == "udp" else reply(question, [b"whole"])

    assert ask(answer) == "whole"


def test_an_alias_within_the_answer_is_followed() -> None:
    target = b"\x05other\x04test\x00"

    def answer(question: bytes, _way: str) -> bytes:
        alias = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, len(target)) + target
        text = target + struct.pack("!HHIH", 16, 1, 60, 3) + b"\x02ok"
        return question[:2] + struct.pack("!5H", 0x8180, 1, 2, 0, 0) + question[12:] + alias + text

    assert ask(answer) == "ok"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda q, _w: reply(q, flags=0x8183), "there is no such name"),
        (lambda q, _w: reply(q, flags=0x8182), "the server failed"),
        (lambda q, _w: reply(q, flags=0x8185), "the server refused"),
        (lambda q, _w: reply(q), "it has 0 such records"),
        (lambda q, _w: reply(q, [b"one"], [b"two"]), "it has 2 such records"),
        (lambda q, _w: q[:2] + b"\x81", "no answer|timed out"),
        (lambda q, _w: reply(q, [b"x"], flags=0x0100), "its answer is to no question of ours"),
        (lambda q, _w: reply(q[:12] + b"\x05other" + q[20:], [b"x"]), "another question|malformed"),
        (lambda q, _w: reply(q, [b"x"])[:-2], "cut off"),
        (lambda q, _w: reply(q, [b"x"], before=b"\xc0\xff"), "malformed|another|records"),
        (lambda q, _w: q[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + b"\xc0\x0c" + q[12:], "malformed"),
        (lambda q, _w: reply(q, [b"\xff"]), "malformed"),
        (lambda q, _w: bytes([q[0] ^ 1]) + reply(q, [b"x"])[1:], "no answer|timed out"),
        (lambda _q, _w: b"", "no answer|timed out"),
    ],
)
def test_an_answer_that_does_not_fit_the_question_is_none(answer: Callable[[bytes, str], bytes], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        ask(answer, timeout=0.3 if "no answer" in says else 30.0)


@pytest.mark.parametrize("name", ["", "a..b", "ä.test", "x" * 64 + ".test", "a b", ".".join(["abc"] * 90)])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    with pytest.raises(SourceError, match="is no name"):
        text_record(name, [], threading.Event())


def test_name_servers_are_those_of_the_machine(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("# one\nsearch test\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions edns0\nnameserver\n")
    assert system_servers(conf) == [Server("192.0.2.1"), Server("2001:db8::1")]
    assert system_servers(tmp_path / "none") == [Server("127.0.0.1")]
    assert parse_server("[2001:db8::1]:5353") == Server("2001:db8::1", 5353)
    assert parse_server("2001:db8::1") == Server("2001:db8::1")
    for text in ("", "a b", "192.0.2.1:0", "192.0.2.1:99999", "[::1"):
        with pytest.raises(ValueError, match="no name server"):
            parse_server(text)


def announcing(text: str, question: bytes, _way: str) -> bytes:
    return reply(question, [text.encode()])


def dns_options(there: NameServer) -> dict[str, Any]:
    return {"discovery": "dns", "record": RECORD, "resolver": f"{there.server.host}:{there.server.port}"}


def test_a_record_of_dns_that_announces_nothing_new_is_all_that_is_asked_for(
    site: Site, server: Odd, stack: ExitStack
) -> None:
    site.publish(1)
    there = stack.enter_context(NameServer(partial(announcing, site.vendor.record(int(NOW.timestamp())))))
    report = site.look(server.url, **dns_options(there))
    server.seen.clear()
    assert site.look(server.url, **dns_options(there)) == report
    assert (server.seen, there.asked) == ([], ["udp", "udp"])


@pytest.mark.parametrize("case", ["old", "nonsense", "silent"])
def test_where_dns_says_nothing_that_counts_the_databases_themselves_are_looked_at(
    case: str, site: Site, server: Odd, stack: ExitStack
) -> None:
    site.publish(1)
    site.look(server.url)
    text = {"old": site.vendor.record(int(NOW.timestamp()) - 13 * 3600), "nonsense": "v=spf1 -all", "silent": ""}[case]
    site.publish(2)
    answer = partial(announcing, text) if text else lambda question, _way: reply(question, flags=0x8182)
    there = stack.enter_context(NameServer(answer))
    assert versions(site.look(server.url, **dns_options(there))) == ["2", "1"]


def test_behind_a_proxy_dns_is_not_asked(site: Site, server: Odd, stack: ExitStack) -> None:
    site.publish(1)
    there = stack.enter_context(NameServer(partial(announcing, site.vendor.record())))
    site.context = replace(site.context, proxy=Proxy("office", "http", "127.0.0.1", int(server.url.rpartition(":")[2])))
    with suppress(SourceError):
        site.look("http://mirror.test", **dns_options(there))
    assert there.asked == []


def test_of_what_a_folder_has_dns_is_not_asked(site: Site, stack: ExitStack) -> None:
    site.publish(1)
    there = stack.enter_context(NameServer(partial(announcing, site.vendor.record())))
    assert versions(site.look("mirror", **dns_options(there))) == ["1"]
    assert there.asked == []


@pytest.mark.parametrize("host", ["x" * 70 + ".test", "nobody.invalid"])
def test_a_name_server_that_there_cannot_be_does_not_answer(host: str) -> None:
    with pytest.raises(SourceError, match="can't be had"):
        text_record(RECORD, [Server(host)], threading.Event(), 1)


def test_another_database_has_a_record_of_its_own(site: Site, server: Odd, stack: ExitStack) -> None:
    site.vendor.publish("rules", 5, {"rules.hdb": b"aa:1:One\n"})
    rules = make_component("clamav-rules", scheme="integer")
    there = stack.enter_context(NameServer(partial(announcing, f"5:{int(NOW.timestamp())}")))
    source = site.source(server.url, **dns_options(there))
    assert versions(source.releases({rules.id: rules})) == ["5"]
    server.seen.clear()
    source.releases({rules.id: rules})
    assert server.seen == []
