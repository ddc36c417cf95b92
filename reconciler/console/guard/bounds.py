"""How much a request may bring, and how long it may take; and what is said where updoser itself is at fault.

A body is read whole before anybody looks at it. Streams may stay open for as long as somebody reads them, and end when
the server does: who listens for the other's leaving hears it then.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
from starlette.responses import PlainTextResponse

from reconciler.console.guard.caller import header
from reconciler.errors import printable, words_of
from reconciler.present.terminal import debugging

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_HEAD = 16 * 1024
"""Bytes of an address and of headers."""
LARGEST = 64 * 1024
"""Bytes of a form, or of a question to the API."""
LARGEST_HOOK = 2 * 1024 * 1024
"""Bytes of what a forge tells of a push."""
HOOKS = "/hooks/"
PATIENCE = 60.0
"""Seconds in which a request must be there as a whole, and its answer must begin."""
_LOG = logging.getLogger("updoser.console")


class TooLargeError(Exception):
    """A request is larger than it may be."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class Bounds:
    """Holds requests to their bounds; `closing` is set when the server ends."""

    def __init__(self, app: ASGIApp, closing: asyncio.Event, patience: float = PATIENCE) -> None:
        self._app = app
        self._closing = closing
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered."""
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        began = time.monotonic()
        with anyio.move_on_after(self._patience) as patience:
            try:
                _measure(scope)
                scope["updoser.body"] = await _body(scope, receive)
                answer.on_start = lambda: setattr(patience, "deadline", math.inf)
                await self._app(scope, _Heard(scope["updoser.body"], receive, self._closing), answer)
            except TooLargeError as error:
                await answer.say(scope, error.status, "that is more than is taken here")
            except Exception as error:  # noqa: BLE001 - whatever it is: somebody waits for an answer
                said = f"this is a fault of updoser: {words_of(error)}"
                _LOG.error("%s: %s", _line(scope), said, exc_info=error if debugging() else None)
                await answer.say(scope, HTTPStatus.INTERNAL_SERVER_ERROR, said)
        if patience.cancelled_caught:
            await answer.say(scope, HTTPStatus.REQUEST_TIMEOUT, "that took too long")
        if self._closing.is_set():
            await answer.end()
        took = (time.monotonic() - began) * 1000
        _LOG.info("%s: %s in %.0f ms", _line(scope), answer.status or "nothing", took)


class _Answer:
    """What is sent: knows whether it has begun, and whether it is complete."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._complete = False
        self.status = 0
        self.on_start: Callable[[], None] = _pass

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.on_start()
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)
        await self._send(message)
        if not self._complete:  # to who has left, sending takes no time: what never ends would let nobody else be
            await asyncio.sleep(0)

    async def say(self, scope: Scope, status: HTTPStatus, why: str) -> None:
        """Answer in a line, where nothing was answered yet; the rest of what is asked isn't waited for."""
        if not self.status:
            response = PlainTextResponse(f"{status.phrase}: {why}\n", status, headers={"Connection": "close"})
            await response(scope, _nothing, self)

    async def end(self) -> None:
        """Complete an answer that was broken off."""
        if self.status and not self._complete:
            await self({"type": "http.response.body", "body": b"", "more_body": False})


class _Heard:
    """What an application hears: the body that was read, then that the other left, or that the server ends."""

    def __init__(self, body: bytes, receive: Receive, closing: asyncio.Event) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self._closing = closing

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        waits = {asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._closing.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return {"type": "http.disconnect"}


def _pass() -> None:
    """Do nothing."""


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _measure(scope: Scope) -> None:
    """Measure the head: what came in one piece was measured by nobody.

    Raises:
        TooLargeError: it is larger than it may be.
    """
    size = len(scope["raw_path"]) + len(scope["query_string"])
    if size + sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEAD:
        raise TooLargeError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Read a whole body.

    Raises:
        TooLargeError: it is larger than it may be.
    """
    most = LARGEST_HOOK if scope["path"].startswith(HOOKS) else LARGEST
    said = header(scope, "content-length")
    if said.isdecimal() and int(said) > most:
        raise TooLargeError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    parts, size = [], 0
    while True:
        message: Mapping[str, object] = await receive()
        part = message.get("body", b"")
        assert isinstance(part, bytes)
        parts.append(part)
        size += len(part)
        if size > most:
            raise TooLargeError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if message["type"] != "http.request" or not message.get("more_body", False):
            return b"".join(parts)


def _line(scope: Scope) -> str:
    return printable(f"{scope['method']} {scope['path']}"[:200])
