"""Work carried out by workers at a site, which take it from a RabbitMQ broker: Celery with quorum queues.

The broker carries; the truth about each batch is in the state. Workers dial out to the broker and hold that site's
keys. What the broker needs is printed by `updoser broker`; docs/sites.md says how a site is set up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import PluginError
from reconciler.formats.duration import parse_duration
from reconciler.formats.sealed import key_bytes

from ._celery.definitions import definitions, user_of
from ._celery.wire import BROKER, Broker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Context, Crew, Hands

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Workers at a site, which take batches from a RabbitMQ broker.",
    "properties": {
        **BROKER,
        "sign_cert": {
            "type": "string",
            "description": "The certificate (RSA) that workers know us by. Left out: `cert`.",
            "examples": ["tls/signing.pem"],
            "minLength": 1,
        },
        "sign_key": {
            "type": "string",
            "description": "The key that orders are signed with. Left out: `key`.",
            "examples": ["tls/signing.key"],
            "minLength": 1,
        },
        "seal_key": {
            "type": "string",
            "description": "The site's public key, as `updoser worker --new-seal-key` printed it: secrets of settings "
            "are sealed with it. Left out: groups of the site have no settings with secrets.",
            "examples": ["pYk8mQ1pTmTn3Xl0c5mB1rJq0v6cN4d2w8zUe7YxKjE="],
            "minLength": 44,
            "maxLength": 44,
        },
        "batch": {
            "type": "integer",
            "description": "How many clients a batch has.",
            "examples": [50],
            "default": 50,
            "minimum": 1,
            "maximum": 1000,
        },
        "budget": {
            "type": "string",
            "description": "How long a worker may take for a batch; no client of it is begun later. RabbitMQ's "
            "consumer_timeout (30m) must be longer by two minutes.",
            "examples": ["25m"],
            "default": "25m",
            "pattern": "^([0-9]+[smhdw])+$",
            "x-says": "a duration such as 90s, 2m, 36h or 7d",
        },
        "beat": {
            "type": "string",
            "description": "How often both sides say that they are there. A worker that misses six of these isn't "
            "counted any more; after twelve the site is given up, or its workers begin nothing more for us.",
            "examples": ["5s"],
            "default": "5s",
            "pattern": "^([1-9]|[1-5][0-9]|60)s$",
            "x-says": "1s to 60s",
        },
    },
    "required": ["url", "cert", "key"],
    "dependentRequired": {"sign_cert": ["sign_key"], "sign_key": ["sign_cert"]},
    "additionalProperties": False,
}


class Workers:
    """The `Executor` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._broker = Broker.of(options, context)
        self._sign_cert = context.path(options["sign_cert"]) if "sign_cert" in options else self._broker.cert
        self._sign_key = context.path(options["sign_key"]) if "sign_key" in options else self._broker.key
        self._seal_key: str = options.get("seal_key", "")
        if self._seal_key:
            try:
                key_bytes(self._seal_key)
            except ValueError as error:
                raise PluginError(f"`seal_key` is no key: {error}") from error
        self._batch: int = options["batch"]
        self._budget = parse_duration(options["budget"]).total_seconds()
        self._stop = context.stop

    def open(self, hands: Hands, forks: int) -> AbstractContextManager[Crew]:
        """Give the crew of a site; how many clients are under way there its workers and its `limit` decide."""
        del forks
        if not hands.site:
            raise PluginError("`celery` carries out work at a site", hint="name it under `sites`")
        try:
            import celery  # noqa: F401 - asked for here, so that the message says what to do

            from ._celery.crew import SiteCrew
            from ._celery.signing import Signer
        except ImportError as error:
            raise PluginError(f"Celery isn't installed: {error}", hint="pip install 'updoser[celery]'") from error
        signer = Signer.of(self._sign_cert, self._sign_key)
        return SiteCrew(
            self._broker,
            hands,
            signer,
            seal_key=self._seal_key,
            batch=self._batch,
            budget=self._budget,
            stop=self._stop,
        )

    def definitions(self, sites: Sequence[str]) -> str:
        """Give what the broker needs for these sites, which are all at this broker."""
        return definitions(self._broker.vhost, user_of(self._broker.cert), sites)


def _traits(options: Mapping[str, Any]) -> Traits:
    return Traits(network=True, outlives=True, unsealed="seal_key" not in options)


TRAITS = _traits
PLUGIN = Workers
