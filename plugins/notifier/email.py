"""Messages by mail, over SMTP. The connection is secured unless `tls` says otherwise, and the server's name is checked.

A password is never sent over a connection that isn't secured. The Message-ID is made of the message's id, so that
what is sent once more can be known by it.
"""

from __future__ import annotations

import smtplib
import ssl
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import NotifierError, PluginError, printable, words_of
from reconciler.formats.option_schemas import CA, FAMILY, SECRET
from reconciler.model.secret import SecretRef

from ._deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket

    from reconciler.contracts import Context
    from reconciler.model.notice import Message

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_ADDRESS: Mapping[str, Any] = {
    "type": "string",
    "pattern": "^[^\\s@<>,;]+@[^\\s@<>,;]+$",
    "x-says": "an address such as ops@example.org",
}

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Mail by way of an SMTP server.",
    "properties": {
        "host": {
            "type": "string",
            "minLength": 1,
            "description": "The SMTP server.",
            "examples": ["mail.example.org"],
        },
        "port": {
            "type": "integer",
            "minimum": 1,
            "maximum": 65535,
            "description": "Its port. Left out: 587, 465 with `tls: tls`, 25 with `tls: none`.",
            "examples": [587],
        },
        "tls": {
            "type": "string",
            "enum": ["starttls", "tls", "none"],
            "default": "starttls",
            "description": "How the connection is secured: by STARTTLS, from its beginning, or not at all.",
            "examples": ["tls"],
        },
        "ca": CA,
        "from": {**_ADDRESS, "description": "Who sends.", "examples": ["updoser@example.org"]},
        "to": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {**_ADDRESS, "description": "An address.", "examples": ["ops@example.org"]},
            "description": "Who gets it.",
            "examples": [["ops@example.org"]],
        },
        "username": {
            "type": ["string", "object"],
            "x-secret": True,
            "description": "Who signs in, where the server wants to know: a name, or a secret's place.",
            "examples": ["updoser"],
        },
        "password": {**SECRET, "description": "The user's password."},
        "family": FAMILY,
    },
    "required": ["host", "from", "to"],
    "additionalProperties": False,
}


class Email:
    """The `Notifier` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._options = options
        self._context = context
        if "username" in options and options["tls"] == "none":
            raise PluginError("a password isn't sent over a connection that isn't secured", hint="use `tls: starttls`")

    def send(self, message: Message, *, timeout: float) -> None:
        """Hand a mail over to the server; it is delivered to all, or counts as delivered to nobody."""
        deadline, options = Deadline(timeout), self._options
        host, port = options["host"], options.get("port", _PORTS[options["tls"]])
        mail = self._mail(message)
        wire = self._context.dial(
            host, port, proxy=self._context.proxy, family=options["family"], timeout=deadline.left
        )
        try:
            wire.settimeout(deadline.left)
            with deadline.cuts(wire):
                self._hand_over(wire, mail, deadline)
        except OSError as error:  # SMTPException is one, too
            raise NotifierError(deadline.says if deadline.over else _why(host, error)) from error
        except (MessageError, ValueError) as error:
            raise NotifierError(f"{host}: {words_of(error)}") from error
        finally:
            wire.close()

    def _hand_over(self, wire: socket, mail: EmailMessage, deadline: Deadline) -> None:
        options = self._options
        if options["tls"] == "tls":
            wire = self._trust().wrap_socket(wire, server_hostname=options["host"])
        with _Session(wire, options["host"], deadline.left) as session:
            if options["tls"] == "starttls":
                session.starttls(context=self._trust())
            if "username" in options:
                name = options["username"]
                name = self._context.secret(name) if isinstance(name, SecretRef) else name
                password = self._context.secret(options["password"]) if "password" in options else ""
                session.login(name, password)
            refused = session.send_message(mail, options["from"], options["to"])
            if refused:  # those who took it get it once more, which is better than that somebody never does
                raise smtplib.SMTPRecipientsRefused(refused)

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"] = self._options["from"], ", ".join(self._options["to"])
        mail["Subject"] = f"[{message.severity}] {_plain(message.title)}"[:200]
        mail["Date"] = format_datetime(message.at)
        mail["Message-ID"] = f"<{message.id}@{parseaddr(self._options['from'])[1].rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n".join(_plain(line) for line in message.text.splitlines()) + "\n")
        return mail

    def _trust(self) -> ssl.SSLContext:
        ca = self._options.get("ca", "")
        file = str(self._context.path(ca, NotifierError)) if ca else None
        try:
            return ssl.create_default_context(cafile=file)
        except OSError as error:
            raise NotifierError(f"the certificates in {ca} can't be used: {error.strerror or error}") from error


class _Session(smtplib.SMTP):
    """A session over a connection that is open already."""

    def __init__(self, wire: socket, host: str, timeout: float) -> None:
        self._wire = wire
        super().__init__(host, timeout=timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket:
        del host, port, timeout
        return self._wire


def _why(host: str, error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"{host}: its certificate isn't trusted: {error.verify_message}"
        case smtplib.SMTPRecipientsRefused():
            refused = (f"{address} ({_said(answer[1])})" for address, answer in error.recipients.items())
            return f"{host} doesn't take mail for {', '.join(refused)}"
        case smtplib.SMTPResponseException():
            return f"{host} answered {error.smtp_code}: {_said(error.smtp_error)}"
    return f"{host}: {words_of(error)}"


def _plain(text: str) -> str:
    return printable(" ".join(text.split()))


def _said(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return printable(" ".join(text.split())[:200])


TRAITS = Traits(network=True)
PLUGIN = Email
