"""Takes batches of a site from a RabbitMQ broker, with Celery: the other side of the executor of that name.

It dials out only. Each of its processes carries out one batch at a time; docs/sites.md says how it is set up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import PluginError
from reconciler.formats.duration import parse_duration
from reconciler.formats.sealed import key_bytes

from ..executor._celery.wire import BROKER, Broker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.contracts import Context, Labour

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Takes batches from a RabbitMQ broker.",
    "properties": {
        **BROKER,
        "controllers": {
            "type": "array",
            "description": "Certificates of the controllers whose orders are carried out; all others are refused.",
            "examples": [["tls/controller.pem"]],
            "minItems": 1,
            "items": {
                "type": "string",
                "description": "A file with one certificate.",
                "examples": ["tls/controller.pem"],
                "minLength": 1,
            },
        },
        "seal_key": {
            "type": "object",
            "x-secret": True,
            "description": "The site's private key, which `updoser worker --new-seal-key` made: it opens secrets of "
            "settings.",
            "examples": [{"file": "seal.key"}],
            "minProperties": 1,
            "maxProperties": 1,
        },
        "drain": {
            "type": "string",
            "description": "How long a worker that is told to end may take for what it has begun.",
            "examples": ["10m"],
            "default": "10m",
            "pattern": "^([0-9]+[smhdw])+$",
            "x-says": "a duration such as 90s, 2m, 36h or 7d",
        },
    },
    "required": ["url", "cert", "key", "controllers"],
    "additionalProperties": False,
}


class Station:
    """The `Station` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._broker = Broker.of(options, context)
        self._controllers = tuple(context.path(path) for path in options["controllers"])
        self._drain = parse_duration(options["drain"]).total_seconds()
        self._seal_key = ""
        if "seal_key" in options:
            self._seal_key = context.secret(options["seal_key"]).strip()
            try:
                key_bytes(self._seal_key)
            except ValueError as error:
                raise PluginError(f"`seal_key` is no key: {error}") from error
        self._log = context.log

    def serve(self, labour: Labour) -> None:
        """Carry out what comes, until a signal ends it."""
        try:
            from ..executor._celery.signing import reader_of
            from ._celery.program import Program
        except ImportError as error:
            raise PluginError(f"Celery isn't installed: {error}", hint="pip install 'updoser[celery]'") from error
        read = reader_of(self._controllers)
        Program(self._broker, labour, read, seal_key=self._seal_key, drain=self._drain, log=self._log).run()


TRAITS = Traits(network=True)
PLUGIN = Station
