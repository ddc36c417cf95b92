"""What every notifier promises: a message is delivered, or NotifierError says why, within its time."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shlex
import ssl
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.assembly import _render
from reconciler.contracts import Notifier
from reconciler.errors import NotifierError, PluginError
from reconciler.model.notice import Condition, Message, Notice
from reconciler.model.secret import SecretRef
from reconciler.plugins.notifier import command, email, webhook
from tests.fakes import fake_context, make_plugin
from tests.servers import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from socketserver import BaseServer
    from types import ModuleType

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HALTED = Condition("rollout_halted", "rules 2", "critical", "rules 2 is halted: 3 of 4 failed \"'<&{{ x }}\x1b[31m")
MESSAGE = Message("20261124T120000-0a0b0c0d", NOW, "updates-1", (Notice("begun", HALTED, NOW),))
SECRETS = {"url": "", "key": "s3cret", "token": "Bearer t0ken", "password": "p4ssword"}


class Taken:
    """What a server was sent, and how it answers."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.says = b"no\x1b[31m room"
        self.lines: list[str] = []
        self.rejects = ""
        self.tls: ssl.SSLContext | None = None
        self.hangs = False
        self.ended = Event()


@contextmanager
def serving(server: BaseServer) -> Iterator[int]:
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]  # type: ignore[misc, index]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def web_server(taken: Taken) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.got.append((self.path, dict(self.headers.items()), body))
            while taken.hangs and not taken.ended.wait(0.05):
                self.wfile.write(b"X")  # a byte now and then keeps a read from ever being late
            status, headers = taken.answers.pop(0) if taken.answers else (200, {})
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(taken.says))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(taken.says)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_arguments: object) -> None:
            pass  # the client may leave

    server = Server(("127.0.0.1", 0), Handler)
    if taken.tls is not None:
        server.socket = taken.tls.wrap_socket(server.socket, server_side=True)
    return server


def mail_server(taken: Taken) -> ThreadingTCPServer:  # noqa: C901 - the answers of a mail server, one after another
    class Handler(StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(text.encode() + b"\r\n")

        def handle(self) -> None:
            while taken.hangs and not taken.ended.wait(0.05):
                self.wfile.write(b"2")
            self.say("220 mail")
            try:
                self.talk()
            finally:
                self.connection.close()

        def talk(self) -> None:
            secured = False
            while line := self.rfile.readline().decode().strip():
                taken.lines.append(line)
                verb = line.split()[0].upper()
                if taken.rejects and line.upper().startswith(taken.rejects):
                    self.say("550 not\x1b[31m wanted")
                elif verb == "EHLO":
                    offers = ["mail", "AUTH PLAIN", *(["STARTTLS"] if taken.tls and not secured else [])]
                    for offer in offers[:-1]:
                        self.say(f"250-{offer}")
                    self.say(f"250 {offers[-1]}")
                elif verb == "STARTTLS" and taken.tls:
                    self.say("220 go on")
                    self.connection = taken.tls.wrap_socket(self.connection, server_side=True)
                    self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                    secured = True
                elif verb == "AUTH":
                    self.say("235 welcome")
                elif verb == "DATA":
                    self.say("354 go on")
                    body = b""
                    while (part := self.rfile.readline()) != b".\r\n":
                        body += part
                    taken.got.append(("tls" if secured else "plain", {}, body))
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 fine")

    class Server(ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_arguments: object) -> None:
            pass

    return Server(("127.0.0.1", 0), Handler)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def trusted(authority: Authority, name: str = "local", *addresses: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign(name, *addresses))
    return context


@pytest.fixture
def taken() -> Iterator[Taken]:
    made = Taken()
    yield made
    made.ended.set()


@pytest.fixture
def web(taken: Taken) -> Iterator[str]:
    with serving(web_server(taken)) as port:
        yield f"http://127.0.0.1:{port}"


def make(plugin: ModuleType, tmp_path: Path, **options: Any) -> Notifier:
    context = fake_context(tmp_path, secrets=SECRETS)
    object.__setattr__(context, "render", _render)
    made: Notifier = make_plugin(plugin, options, context)
    assert isinstance(made, Notifier)
    return made


def mail(tmp_path: Path, port: int, **options: Any) -> Notifier:
    whole = {"host": "127.0.0.1", "port": port, "from": "updoser@example.org", "to": ["ops@example.org"], **options}
    return make(email, tmp_path, **whole)


def send(notifier: Notifier, message: Message = MESSAGE, timeout: float = 60.0) -> None:
    notifier.send(message, timeout=timeout)


# --- webhook --------------------------------------------------------------------------------------------------------


def test_a_web_server_gets_the_message_as_json_under_its_id(tmp_path: Path, taken: Taken, web: str) -> None:
    send(make(webhook, tmp_path, url=f"{web}/hook?room=1"))
    ((path, headers, body),) = taken.got
    assert json.loads(body) == MESSAGE.document
    assert (path, headers["Content-Type"]) == ("/hook?room=1", "application/json")
    assert headers["X-Updoser-Message"] == MESSAGE.id
    assert headers["Host"] == web.removeprefix("http://")


def test_a_signed_message_is_signed_over_time_and_body(tmp_path: Path, taken: Taken, web: str) -> None:
    headers = [{"name": "Authorization", "value": SecretRef("file", "token")}]
    send(make(webhook, tmp_path, url=web, secret=SecretRef("file", "key"), headers=headers))
    ((_path, got, body),) = taken.got
    signed = hmac.new(b"s3cret", got["X-Updoser-Time"].encode() + b"." + body, hashlib.sha256)
    assert got["X-Updoser-Signature"] == f"sha256={signed.hexdigest()}"
    assert int(got["X-Updoser-Time"]) == NOW.timestamp()
    assert got["Authorization"] == "Bearer t0ken"


def test_a_template_makes_the_body(tmp_path: Path, taken: Taken, web: str) -> None:
    (tmp_path / "chat.j2").write_text(
        '{"text": {{ text | tojson }}, "all": [{% for n in notices %}{{ n.about | tojson }}{% endfor %}]}'
    )
    send(make(webhook, tmp_path, url=web, template="chat.j2"))
    assert json.loads(taken.got[0][2]) == {"text": MESSAGE.text, "all": ["rules 2"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ text", "line 1"),
        ('{"text": "{{ text }}"}', "is no JSON"),
        ("{{ ''.__class__ }}", "chat.j2"),
        ("x" * 70_000, "longer than 64 KiB"),
    ],
)
def test_a_template_that_is_no_good_is_named_and_nothing_is_sent(
    tmp_path: Path, taken: Taken, web: str, text: str, says: str
) -> None:
    (tmp_path / "chat.j2").write_text(text)
    with pytest.raises(NotifierError, match=says):
        send(make(webhook, tmp_path, url=web, template="chat.j2"))
    with pytest.raises(NotifierError, match="gone.j2 can't be read"):
        send(make(webhook, tmp_path, url=web, template="gone.j2"))
    assert taken.got == []


def test_a_redirect_is_followed_on_the_same_server_only(tmp_path: Path, taken: Taken, web: str) -> None:
    taken.answers = [(307, {"Location": "/other"})]
    send(make(webhook, tmp_path, url=f"{web}/hook"))
    assert [path for path, _headers, _body in taken.got] == ["/hook", "/other"]
    for elsewhere in ("http://localhost/x", "https://127.0.0.1/", "//evil.example/", "http://["):
        taken.answers = [(302, {"Location": elsewhere})]
        with pytest.raises(NotifierError):
            send(make(webhook, tmp_path, url=f"{web}/hook"))
    taken.answers = [(301, {"Location": "/round"})] * 9
    with pytest.raises(NotifierError, match="more than 3 redirects"):
        send(make(webhook, tmp_path, url=web))


def test_what_a_server_says_to_a_message_that_it_does_not_take_is_shown_without_the_url(
    tmp_path: Path, taken: Taken, web: str
) -> None:
    taken.answers = [(503, {})]
    with pytest.raises(NotifierError) as caught:
        send(make(webhook, tmp_path, url=f"{web}/T0PSECRET"))
    assert caught.value.message == "127.0.0.1 answered HTTP 503: no?[31m room"


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "http://me:pass@127.0.0.1/", "http://x:99999/", "http://[", "x"]
)
def test_a_url_that_is_none_is_an_error_that_does_not_show_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(NotifierError, match="no http or https URL"):
        send(make(webhook, tmp_path, url=url))


@pytest.mark.parametrize("header", ["a\nb", "ü\u2028"])
def test_a_header_that_can_not_be_sent_is_an_error(tmp_path: Path, web: str, header: str) -> None:
    with pytest.raises(NotifierError):
        send(make(webhook, tmp_path, url=web, headers=[{"name": "X-A", "value": header}]))


@pytest.mark.needs("openssl")
def test_a_web_server_must_be_the_one_that_it_says(tmp_path: Path, taken: Taken, authority: Authority) -> None:
    for name, addresses in (("right", ["127.0.0.1"]), ("wrong", [])):
        taken.tls = trusted(authority, name, *addresses)
        with serving(web_server(taken)) as port:
            hook = make(webhook, tmp_path, url=f"https://127.0.0.1:{port}/", ca=str(authority.certificate))
            if name == "right":
                send(hook)
            else:
                with pytest.raises(NotifierError, match="certificate isn't trusted"):
                    send(hook)
            with pytest.raises(NotifierError, match="certificate isn't trusted"):
                send(make(webhook, tmp_path, url=f"https://127.0.0.1:{port}/"))
    assert len(taken.got) == 1


# --- email ----------------------------------------------------------------------------------------------------------


@pytest.mark.needs("openssl")
def test_a_mail_is_sent_over_a_secured_connection_after_signing_in(
    tmp_path: Path, taken: Taken, authority: Authority
) -> None:
    taken.tls = trusted(authority, "mail", "127.0.0.1")
    ca = str(authority.certificate)
    with serving(mail_server(taken)) as port:
        send(mail(tmp_path, port, ca=ca, username="me", password=SecretRef("file", "password")))
        with pytest.raises(NotifierError, match="certificate isn't trusted"):
            send(mail(tmp_path, port))
    ((how, _headers, body),) = taken.got
    text = body.decode()
    assert how == "tls"
    assert next(at for at, line in enumerate(taken.lines) if line == "STARTTLS") < next(
        at for at, line in enumerate(taken.lines) if line.startswith("AUTH")
    )
    assert f"Message-ID: <{MESSAGE.id}@example.org>" in text
    assert "Subject: [critical] updoser on updates-1: rules 2 is halted" in text
    assert "\x1b" not in text


def test_a_mail_server_that_offers_no_security_gets_nothing(tmp_path: Path, taken: Taken) -> None:
    with serving(mail_server(taken)) as port:
        with pytest.raises(NotifierError, match="STARTTLS"):
            send(mail(tmp_path, port))
        send(mail(tmp_path, port, tls="none"))
        with pytest.raises(PluginError, match="isn't secured"):
            mail(tmp_path, port, tls="none", username="me", password=SecretRef("file", "password"))
    assert [how for how, _headers, _body in taken.got] == ["plain"]


@pytest.mark.parametrize(
    ("rejects", "says"), [("MAIL", "answered 550"), ("RCPT", "doesn't take mail for ops@"), ("DATA", "550")]
)
def test_what_a_mail_server_refuses_is_an_error_with_its_words(
    tmp_path: Path, taken: Taken, rejects: str, says: str
) -> None:
    taken.rejects = rejects
    with serving(mail_server(taken)) as port, pytest.raises(NotifierError, match=says) as caught:
        send(mail(tmp_path, port, tls="none"))
    assert "\x1b" not in caught.value.message
    assert "not?[31m wanted" in caught.value.message


def test_no_line_of_a_message_becomes_a_header(tmp_path: Path, taken: Taken) -> None:
    nasty = Condition("drift", "x", "info", "a\r\nBcc: evil@example.org\r\n\r\n.\r\nQUIT")
    with serving(mail_server(taken)) as port:
        send(mail(tmp_path, port, tls="none"), Message("i", NOW, "h\nX: y", (Notice("begun", nasty, NOW),)))
    ((_how, _headers, body),) = taken.got
    head, _blank, _text = body.partition(b"\r\n\r\n")
    assert b"\nBcc:" not in head
    assert b"\nX:" not in head


# --- command --------------------------------------------------------------------------------------------------------


def test_a_command_reads_the_message_and_has_taken_it_when_it_ends_well(tmp_path: Path) -> None:
    send(make(command, tmp_path, run="cat > got"))
    assert json.loads((tmp_path / "got").read_text()) == MESSAGE.document
    send(make(command, tmp_path, run=[sys.executable, "-c", "import sys; open('two', 'w').write(sys.stdin.read())"]))
    assert (tmp_path / "two").read_text() == (tmp_path / "got").read_text()
    send(make(command, tmp_path, run="true"))  # it needn't read


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ("echo no; exit 3", "exited with 3: no"),
        ("kill -9 $$", "signal 9"),
        (["no-such-program"], "can't be started"),
    ],
)
def test_a_command_that_fails_took_nothing(tmp_path: Path, run: str | list[str], says: str) -> None:
    with pytest.raises(NotifierError, match=says):
        send(make(command, tmp_path, run=run))


# --- all ------------------------------------------------------------------------------------------------------------

SLOW: dict[str, Callable[[Path, int, int], Notifier]] = {
    "webhook": lambda path, web, _mail: make(webhook, path, url=f"http://127.0.0.1:{web}"),
    "email": lambda path, _web, port: mail(path, port, tls="none"),
    "command": lambda path, _web, _mail: make(
        command, path, run=f"exec {shlex.quote(sys.executable)} -c 'input(); input()' < /dev/zero"
    ),
}


@pytest.mark.parametrize("kind", SLOW)
def test_one_that_takes_too_long_is_given_up_in_time(tmp_path: Path, taken: Taken, kind: str) -> None:
    taken.hangs = True
    with serving(web_server(taken)) as web, serving(mail_server(taken)) as port:
        with pytest.raises(NotifierError, match=r"wasn't done after 0\.4 s"):
            send(SLOW[kind](tmp_path, web, port), timeout=0.4)
        taken.ended.set()


@pytest.mark.parametrize("kind", ["webhook", "email"])
def test_a_server_that_is_not_there_is_an_error(tmp_path: Path, kind: str) -> None:
    with pytest.raises(Exception, match="127.0.0.1") as caught:
        send(SLOW[kind](tmp_path, 1, 1))
    assert type(caught.value).__name__ in {"NetworkError", "NotifierError"}


@pytest.mark.parametrize("plugin", [webhook, email, command], ids=lambda plugin: plugin.__name__.rpartition(".")[2])
def test_its_options_are_a_schema_that_describes_every_one_of_them(plugin: ModuleType) -> None:
    Draft202012Validator.check_schema(plugin.OPTIONS)
    assert plugin.OPTIONS["additionalProperties"] is False
    assert all(option["description"] for option in (plugin.OPTIONS, *plugin.OPTIONS["properties"].values()))


EXAMPLES = re.findall(
    r"```jinja\n(.*?)```", (ROOT / "docs/notifications.md").read_text(encoding="utf-8"), flags=re.DOTALL
)


@pytest.mark.parametrize("number", range(4), ids=["slack", "teams", "mattermost", "pagerduty"])
def test_the_templates_of_the_docs_make_json_of_any_message(
    tmp_path: Path, taken: Taken, web: str, number: int
) -> None:
    assert len(EXAMPLES) == 4
    (tmp_path / "chat.j2").write_text(EXAMPLES[number])
    send(make(webhook, tmp_path, url=web, template="chat.j2"))
    made = json.loads(taken.got[0][2])
    assert "rules 2 is halted: 3 of 4 failed" in json.dumps(made)
    assert number == 3 or "{{ x }}" in json.dumps(made)
