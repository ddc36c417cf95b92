"""What a controller and the workers of a site have in common: where their broker is, and what is called what there.

    orders     queue `site-SITE` (quorum): batches, signed by the controller, taken by whichever worker is free
    dead       exchange (headers): batches that ended their worker again and again, back to who sent them
    results    exchange (topic): `answers.REPLY` to the crew of that name, `alive.SITE` to whoever listens
    control    exchange (direct), and a stream `control-SITE` that each worker reads: halts, and who still waits

A site's certificate is for the user `site-SITE`, which may read its queue and its stream and write results; the broker
vouches for who sent a message (`user_id`), so that no site can answer for another one.
"""

from __future__ import annotations

import socket
import ssl
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Timer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from reconciler.errors import NetworkError, PluginError
from reconciler.formats.duration import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import amqp

    from reconciler.contracts import Context

RESULTS, DEAD, CONTROL = "results", "dead", "control"
TASK = "updoser.batch"
CONTENT_TYPE, ENCODING = "application/data", "utf-8"
"""What Celery calls a message that is signed."""
HEARTBEAT = 20
CONNECT = 10.0
SILENCE = 30.0
"""Seconds after which a broker that doesn't take or confirm anything is given up, and connected to anew."""
MAX_BODY = 2**26
"""How large a message may be when it is unpacked."""
MAX_PAUSE = 10.0
"""Seconds at most before a broker that is away is tried again."""
_TICK = 0.5
"""Seconds that are waited for what comes."""
BEAT = 5.0
"""Seconds between two signs of life, of workers and of controllers, where a controller says nothing else."""
MISSED, GONE = 6, 12
"""Signs of life in a row that are missed: then a worker isn't counted any more, and then one side is gone."""
PORT = 5671
_NO_ROUTE = 312

BROKER: Mapping[str, Any] = {
    "url": {
        "type": "string",
        "description": "The RabbitMQ broker: host, port and virtual host. There is only TLS.",
        "examples": ["amqps://broker.example:5671/updoser"],
        "pattern": "^amqps://[^\\s/@?#]+/[^\\s/@?#]+$",
        "x-says": "a URL such as amqps://broker.example:5671/updoser, without a user",
    },
    "ca": {
        "type": "string",
        "description": "A file of certificates that the broker is checked with. Left out: the system's.",
        "examples": ["tls/ca.pem"],
        "minLength": 1,
    },
    "cert": {
        "type": "string",
        "description": "The certificate to log in with: its common name is the user at the broker.",
        "examples": ["tls/updoser.pem"],
        "minLength": 1,
    },
    "key": {
        "type": "string",
        "description": "The file of the certificate's key, without a passphrase.",
        "examples": ["tls/updoser.key"],
        "minLength": 1,
    },
}
"""Options that both sides have."""


def queue_of(site: str) -> str:
    """Name the queue of a site's orders, and its user at the broker."""
    return f"site-{site}"


def stream_of(site: str) -> str:
    """Name the stream that each worker of a site reads."""
    return f"{CONTROL}-{site}"


def answers_of(reply: str) -> str:
    """Name the queue, and the key, of the answers to a crew."""
    return f"answers.{reply}"


def alive_of(site: str) -> str:
    """Name the key of signs of life from a site."""
    return f"alive.{site}"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, how one logs in, and how often one says there that one lives."""

    host: str
    port: int
    vhost: str
    cert: Path
    key: Path
    ca: Path | None = None
    beat: float = field(default=BEAT, kw_only=True)

    @classmethod
    def of(cls, options: Mapping[str, Any], context: Context) -> Broker:
        """Read the options.

        Raises:
            PluginError: one of the files isn't there, or the port is none.
        """
        parts = urlsplit(options["url"])
        try:
            port = parts.port or PORT
        except ValueError as error:
            raise PluginError(f"{options['url']}: the port is none") from error
        files = {name: context.path(options[name]) for name in ("ca", "cert", "key") if name in options}
        for path in files.values():
            if not path.is_file():
                raise PluginError(f"{path} isn't there", hint="docs/sites.md says how certificates are made")
        vhost = unquote(parts.path.removeprefix("/"))
        beat = parse_duration(options["beat"]).total_seconds() if "beat" in options else BEAT
        return cls(parts.hostname or "", port, vhost, files["cert"], files["key"], files.get("ca"), beat=beat)

    @property
    def place(self) -> str:
        """The broker in messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The broker as Celery wants it."""
        return f"amqps://{self.place}/{self.vhost}"

    def tls(self) -> dict[str, Any]:
        """Give what py-amqp wants to know: the broker must prove its name, and we ours."""
        return {
            "ca_certs": str(self.ca) if self.ca else None,
            "certfile": str(self.cert),
            "keyfile": str(self.key),
            "cert_reqs": ssl.CERT_REQUIRED,
            "server_hostname": self.host,
            "tls_minimum_version": ssl.TLSVersion.TLSv1_2,
        }

    def connect(self) -> amqp.Connection:
        """Connect and log in.

        Raises:
            NetworkError: nobody answers, or the broker refuses us.
        """
        from amqp import Connection

        with self.mapped():
            connection = Connection(
                host=self.place,
                virtual_host=self.vhost,
                login_method="EXTERNAL",
                ssl=self.tls(),
                heartbeat=HEARTBEAT,
                confirm_publish=True,
                connect_timeout=CONNECT,
                read_timeout=SILENCE,
                write_timeout=SILENCE,
            )
            try:
                connection.connect()
            except BaseException:
                _collect(connection)
                raise
            return connection

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """Turn what breaks on the way to the broker into NetworkError."""
        from amqp.exceptions import AMQPError

        try:
            yield
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason or str(error)
            raise NetworkError(f"{self.place}: TLS fails: {why}", hint="docs/sites.md: certificates") from error
        except (OSError, AMQPError, zlib.error, ValueError, AttributeError) as error:
            # py-amqp has AttributeErrors where a connection is gone that it still works on
            raise NetworkError(f"{self.place}: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name can't be looked up"
    if isinstance(error, TimeoutError):
        return "it doesn't answer"
    if getattr(error, "reply_code", None) == _NO_ROUTE:
        return "it hasn't the queues of this site: `updoser broker` prints what it needs"
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text or type(error).__name__


@contextmanager
def within(connection: amqp.Connection, seconds: float) -> Iterator[None]:
    """Have a broker do the block in so many seconds: py-amqp waits for as long as the broker says that it lives.

    Raises:
        TimeoutError: it didn't; the connection is over.
    """
    sock, late = _socket_of(connection), Event()

    def end() -> None:
        late.set()
        with suppress(OSError, AttributeError):
            sock.shutdown(socket.SHUT_RDWR)

    watch = Timer(seconds, end)
    watch.daemon = True
    watch.start()
    try:
        yield
    except Exception as error:
        if late.is_set():
            raise TimeoutError from error
        raise
    finally:
        watch.cancel()


def drain(connection: amqp.Connection) -> None:
    """Take what comes within a moment, or nothing."""
    try:
        connection.drain_events(timeout=_TICK)
    except TimeoutError:
        pass
    except OSError as error:
        if "timed out" not in str(error):  # what TLS says of a time-out
            raise


def close(connection: amqp.Connection | None) -> None:
    """Give a connection up, in whatever state it is."""
    if connection is None:
        return
    known = _socket_of(connection)
    if connection.connected:
        with suppress(Exception):  # it is gone all the same
            connection.transport.read_timeout = connection.transport.write_timeout = 2.0
            connection.close()
    _collect(connection, known)


def _collect(connection: amqp.Connection, known: Any = None) -> None:
    """Free what a connection holds: py-amqp leaves sockets open whose end of TLS fails."""
    sockets = known, _socket_of(connection)
    with suppress(Exception):
        connection.collect()
    for one in sockets:
        if one is not None:
            with suppress(OSError):
                one.close()


def _socket_of(connection: amqp.Connection) -> Any:
    return getattr(connection._transport, "sock", None)  # noqa: SLF001 - asked for `transport`, it would connect again


def packed(data: bytes) -> bytes:
    """Make a body small: documents of a batch are much alike."""
    return zlib.compress(data, 6)


def unpacked(data: bytes) -> bytes:
    """Give a body as it was.

    Raises:
        ValueError: it is none, or too large.
    """
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(data, MAX_BODY)
    except zlib.error as error:
        raise ValueError(f"it isn't packed: {error}") from error
    if not reader.eof:
        raise ValueError(f"it is cut off, or larger than {MAX_BODY} bytes")
    return found
