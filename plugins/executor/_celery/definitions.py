"""What a RabbitMQ broker needs for sites: users, rights, queues, as the definitions that `rabbitmqctl` imports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.errors import PluginError

from .signing import MAX_FILE
from .wire import CONTROL, DEAD, RESULTS, queue_of, stream_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DELIVERIES = 5
"""How often a batch may be given out anew because its worker died."""
STREAM_AGE, STREAM_BYTES = "1h", 500_000
MAX_DEAD = 1000


def definitions(vhost: str, controller: str, sites: Sequence[str]) -> str:
    """Give the definitions of a virtual host for a controller's user and these sites, as JSON."""
    everything = [
        _exchange(vhost, RESULTS, "topic"),
        _exchange(vhost, DEAD, "headers"),
        _exchange(vhost, CONTROL, "direct"),
    ]
    queues = [_queue(vhost, "dead", {"x-queue-type": "quorum", "x-max-length": MAX_DEAD})]
    bindings = [_binding(vhost, DEAD, "dead", "", {"x-match": "all"})]
    users, rights = [_user(controller)], [_rights(vhost, controller, configure=r"^answers\.", write="", read="")]
    for site in sites:
        queue, stream = queue_of(site), stream_of(site)
        limits = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERIES, "x-dead-letter-exchange": DEAD}
        age = {"x-queue-type": "stream", "x-max-age": STREAM_AGE, "x-stream-max-segment-size-bytes": STREAM_BYTES}
        queues += [_queue(vhost, queue, limits), _queue(vhost, stream, age)]
        bindings.append(_binding(vhost, CONTROL, stream, site, {}))
        users.append(_user(queue))
        rights.append(_rights(vhost, queue, configure="^$", write=f"^{RESULTS}$", read=f"^({queue}|{stream})$"))
    rights[0] |= {
        "write": rf"^(answers\..*|{CONTROL}|amq\.default)$",
        "read": rf"^(answers\..*|{RESULTS}|{DEAD})$",
    }
    found = {
        "vhosts": [{"name": vhost}],
        "users": users,
        "permissions": rights,
        "exchanges": everything,
        "queues": queues,
        "bindings": bindings,
    }
    return json.dumps(found, indent=2)


def user_of(certificate: Path) -> str:
    """Give the user that a certificate logs in: its common name.

    Raises:
        PluginError: it can't be read, or has none.
    """
    from cryptography.x509 import load_pem_x509_certificate
    from cryptography.x509.oid import NameOID

    try:
        with certificate.open("rb") as stream:
            names = load_pem_x509_certificate(stream.read(MAX_FILE)).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (OSError, ValueError) as error:
        raise PluginError(f"{certificate} is no certificate: {error}") from error
    if len(names) != 1:
        raise PluginError(f"{certificate} has no common name", hint="that is the user at the broker")
    return str(names[0].value)


def _user(name: str) -> dict[str, Any]:
    # without a password: nobody can log in as this user but with a certificate
    return {"name": name, "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []}


def _rights(vhost: str, user: str, *, configure: str, write: str, read: str) -> dict[str, Any]:
    return {"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read}


def _exchange(vhost: str, name: str, kind: str) -> dict[str, Any]:
    more = {"durable": True, "auto_delete": False, "internal": False, "arguments": {}}
    return {"name": name, "vhost": vhost, "type": kind, **more}


def _queue(vhost: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": arguments}


def _binding(vhost: str, source: str, queue: str, key: str, arguments: dict[str, Any]) -> dict[str, Any]:
    place = {"destination": queue, "destination_type": "queue"}
    return {"source": source, "vhost": vhost, **place, "routing_key": key, "arguments": arguments}
