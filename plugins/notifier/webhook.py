"""Messages to a web server: the JSON of the message, or what a template makes of it, by POST.

* With `secret`, who receives it can see that it is ours and new: X-Updoser-Signature is `sha256=` and the HMAC-SHA256,
  in hex, over X-Updoser-Time (seconds since 1970), a dot and the body.
* X-Updoser-Message is the message's id: what is sent once more has the same.
* A redirect is followed to the same scheme, host and port, and to nothing else. The URL itself is often a secret: no
  error shows more of it than the host.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from reconciler.contracts import Traits
from reconciler.errors import NotifierError, UpdoserError, printable, words_of
from reconciler.formats.option_schemas import CA, FAMILY, SECRET
from reconciler.model.secret import SecretRef
from reconciler.paths import read_file

from ._deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket
    from urllib.parse import SplitResult

    from reconciler.contracts import Context
    from reconciler.model.notice import Message

REDIRECTS = 3
MAX_TEMPLATE = 64 * 2**10
MAX_SHOWN = 200
"""Characters that are shown of what a server says to a message that it doesn't take."""
_LEADS_ON = {301, 302, 307, 308}

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "A web server that takes messages by POST: a chat, a pager, or one of your own.",
    "properties": {
        "url": {
            "type": ["string", "object"],
            "x-secret": True,
            "minLength": 1,
            "description": "Where to: an http or https URL, or, as it is often a secret itself, a secret's place.",
            "examples": ["https://hooks.example/updoser", {"file": "secrets/chat-url"}],
        },
        "template": {
            "type": "string",
            "minLength": 1,
            "description": "A file with a template of the body. It knows what the JSON of the message has. Left out: "
            "that JSON.",
            "examples": ["templates/slack.json.j2"],
        },
        "content_type": {
            "type": "string",
            "pattern": "^[\\x21-\\x7e][\\x20-\\x7e]*$",
            "default": "application/json",
            "description": "What the body is. What a template makes for a type of JSON must be JSON.",
            "examples": ["text/plain; charset=utf-8"],
        },
        "headers": {
            "type": "array",
            "description": "Headers beside those that are sent anyway.",
            "examples": [[{"name": "Authorization", "value": {"file": "secrets/token"}}]],
            "items": {
                "type": "object",
                "description": "A header.",
                "examples": [{"name": "X-Site", "value": "north"}],
                "required": ["name", "value"],
                "additionalProperties": False,
                "properties": {
                    "name": {
                        "type": "string",
                        "pattern": "^[A-Za-z0-9-]+$",
                        "description": "Its name.",
                        "examples": ["Authorization"],
                    },
                    "value": {
                        "type": ["string", "object"],
                        "x-secret": True,
                        "description": "Its value, or a secret's place.",
                        "examples": ["north", {"file": "secrets/token"}],
                    },
                },
            },
        },
        "secret": {**SECRET, "description": "What the body is signed with: see X-Updoser-Signature."},
        "ca": CA,
        "family": FAMILY,
    },
    "required": ["url"],
    "additionalProperties": False,
}


class Webhook:
    """The `Notifier` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._options = options
        self._context = context

    def send(self, message: Message, *, timeout: float) -> None:
        """Post a message."""
        deadline = Deadline(timeout)
        url = self._text(self._options["url"])
        body = self._body(message).encode()
        headers = self._headers(message, body)
        start = _parts(url)
        for _turn in range(REDIRECTS + 1):
            parts = _parts(url)
            if _origin(parts) != _origin(start):
                raise NotifierError(f"{start.hostname} leads to {parts.hostname}, which isn't followed")
            status, location, said = self._post(parts, body, headers, deadline)
            if status in _LEADS_ON and location:
                url = _target(url, location)
                continue
            if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                return
            raise NotifierError(f"{start.hostname} answered HTTP {status}" + (f": {said}" if said else ""))
        raise NotifierError(f"{start.hostname}: more than {REDIRECTS} redirects")

    def _body(self, message: Message) -> str:
        document = message.document
        if "template" not in self._options:
            return json.dumps(document)
        name = self._options["template"]
        path = self._context.path(name, NotifierError)
        data = read_file(path, MAX_TEMPLATE, lambda why: NotifierError(f"{name} can't be read: {why}"))
        if len(data) > MAX_TEMPLATE:
            raise NotifierError(f"{name} is longer than {MAX_TEMPLATE // 2**10} KiB")
        try:
            made = self._context.render(data.decode(), document)
        except UnicodeDecodeError as error:
            raise NotifierError(f"{name} isn't UTF-8") from error
        except UpdoserError as error:
            raise NotifierError(f"{name}: {error.message}", hint=error.hint) from error
        if "json" in self._options["content_type"]:
            try:
                json.loads(made)
            except ValueError as error:
                raise NotifierError(
                    f"what {name} makes is no JSON: {error}", hint="write values as {{ text | tojson }}"
                ) from error
        return made

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        own = {one["name"]: self._text(one["value"]) for one in self._options.get("headers", [])}
        found = {
            "User-Agent": "updoser",
            **own,
            "Content-Type": self._options["content_type"],
            "X-Updoser-Message": message.id,
        }
        if "secret" in self._options:
            now = f"{self._context.clock().timestamp():.0f}"
            key = self._context.secret(self._options["secret"]).encode()
            found["X-Updoser-Time"] = now
            found["X-Updoser-Signature"] = (
                f"sha256={hmac.new(key, f'{now}.'.encode() + body, hashlib.sha256).hexdigest()}"
            )
        return found

    def _post(
        self, parts: SplitResult, body: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> tuple[int, str, str]:
        """Give status, location and what was said first."""
        host = str(parts.hostname)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        wire = self._context.dial(
            host, port, proxy=self._context.proxy, family=self._options["family"], timeout=deadline.left
        )
        try:
            wire.settimeout(deadline.left)
            with deadline.cuts(wire):
                wire = self._secured(wire, host) if parts.scheme == "https" else wire
                connection = http.client.HTTPConnection(host, port)
                connection.sock = wire
                connection.request("POST", target, body, {**headers, "Host": parts.netloc, "Connection": "close"})
                answer = connection.getresponse()
                said = answer.read(MAX_SHOWN * 4).decode("utf-8", "replace")
                return answer.status, answer.headers.get("Location", ""), _line(said)
        except ssl.SSLCertVerificationError as error:
            raise NotifierError(f"{host}: its certificate isn't trusted: {error.verify_message}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotifierError(deadline.says if deadline.over else f"{host}: {words_of(error)}") from error
        finally:
            wire.close()

    def _secured(self, wire: socket, host: str) -> socket:
        ca = self._options.get("ca", "")
        file = str(self._context.path(ca, NotifierError)) if ca else None
        try:
            trust = ssl.create_default_context(cafile=file)
        except OSError as error:
            raise NotifierError(f"the certificates in {ca} can't be used: {error.strerror or error}") from error
        return trust.wrap_socket(wire, server_hostname=host)

    def _text(self, value: SecretRef | str) -> str:
        return self._context.secret(value) if isinstance(value, SecretRef) else value


def _target(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise NotifierError(f"{urlsplit(url).hostname} leads to no address") from error


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        fits = False
    if not fits:
        raise NotifierError("`url` is no http or https URL", hint="user and password belong in `headers`")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _line(said: str) -> str:
    return printable(" ".join(said.split())[:MAX_SHOWN])


TRAITS = Traits(network=True)
PLUGIN = Webhook
