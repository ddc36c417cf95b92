"""A batch as a message: a task of Celery's, packed, sealed where it is private, and signed as a whole."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError, PluginError
from reconciler.formats.sealed import seal, unseal

from .sender import Letter
from .wire import CONTENT_TYPE, ENCODING, TASK, packed, queue_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Collection

    from celery import Celery

    from reconciler.model.batch import Halt, Order

    from .signing import Signer

GRACE = 60.0
"""Seconds beyond its budget after which Celery kills the process that a batch is carried out in."""
_LIMIT = 128


@dataclass(frozen=True, slots=True)
class Address:
    """Which batch an order is of, and which attempt of it, and who wants to hear of that."""

    reply: str
    batch: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a worker takes out of a message: the batch as a document, and its private content."""

    document: bytes
    private: dict[str, bytes]
    budget: float
    halted: tuple[Halt, ...]


def order_letter(
    order: Order,
    document: bytes,
    *,
    site: str,
    reply: str,
    signer: Signer,
    seal_key: str,
    budget: float,
    halted: Collection[Halt],
) -> Letter:
    """Make the message of an order; what was `halted` before it is said in it, too.

    Raises:
        PluginError: it has private content, and nothing to seal it with.
    """
    batch = order.batch
    envelope: dict[str, Any] = {
        "site": site,
        "reply": reply,
        "id": batch.id,
        "attempt": batch.attempt,
        "budget": budget,
        "halted": sorted(map(list, halted)),
        "batch": _text(packed(document)),
    }
    if order.private:
        if not seal_key:
            raise PluginError(
                f"settings have secrets, and nothing seals them for the site {site}",
                hint="give its executor the `seal_key` that `updoser worker --new-seal-key` printed",
            )
        try:
            envelope["private"] = _text(seal(seal_key, order.private, _about(site, reply, document)))
        except ValueError as error:
            raise PluginError(f"the seal_key of the site {site} is none: {error}") from error
    message = _celery().amqp.as_task_v2(
        f"{reply}-{batch.id}-{batch.attempt}"[:_LIMIT],
        TASK,
        [envelope],
        {},
        time_limit=budget + GRACE,
        argsrepr="...",  # what Celery would show in logs
        kwargsrepr="",
        ignore_result=True,
        origin="updoser",
    )
    headers = {**message.headers, "reply": reply, "batch": batch.id, "attempt": batch.attempt}
    return Letter(
        exchange="",
        key=queue_of(site),
        body=signer.serialize(message.body),
        properties={
            "content_type": CONTENT_TYPE,
            "content_encoding": ENCODING,
            "application_headers": headers,
            **message.properties,
        },
    )


def address_of(envelope: Any, site: str) -> Address:
    """Say whom to tell of a message at a site, whether the rest of it can be read or not.

    Raises:
        DocumentError: it isn't what it should be, or not for this site.
    """
    try:
        if envelope["site"] != site:
            raise DocumentError(f"an order for the site {str(envelope['site'])[:_LIMIT]} came to {site}")
        return Address(str(envelope["reply"]), str(envelope["id"]), int(envelope["attempt"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DocumentError(f"an order doesn't say whose it is: {error}") from error


def opened(envelope: Any, site: str, seal_key: str) -> Envelope:
    """Take a message apart at its site.

    Raises:
        DocumentError: it isn't what it should be, or what is sealed in it can't be opened.
    """
    try:
        document = unpacked(base64.b64decode(envelope["batch"], validate=True))
        budget = float(envelope["budget"])
        halted = tuple((str(component), str(version), str(group)) for component, version, group in envelope["halted"])
        sealed = base64.b64decode(envelope.get("private", ""), validate=True)
        about = _about(site, str(envelope["reply"]), document)
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as error:
        raise DocumentError(f"an order can't be read: {error}") from error
    return Envelope(document=document, private=_unsealed(sealed, seal_key, about), budget=budget, halted=halted)


def _unsealed(sealed: bytes, seal_key: str, about: str) -> dict[str, bytes]:
    if not sealed:
        return {}
    if not seal_key:
        raise DocumentError("secrets of settings came, and this worker has no `seal_key`")
    try:
        return unseal(seal_key, sealed, about)
    except ValueError as error:
        raise DocumentError(f"secrets of settings can't be opened with its `seal_key`: {error}") from error


def _about(site: str, reply: str, document: bytes) -> str:
    return f"{site}/{reply}/{hashlib.sha256(document).hexdigest()}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@cache
def _celery() -> Celery:
    """Give what knows the form of Celery's messages; it connects to nothing."""
    from celery import Celery

    return Celery("updoser", set_as_current=False)
