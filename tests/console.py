"""The console in tests: its application asked in this process, without a socket."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from starlette.middleware import Middleware

from reconciler.console.app import make_app
from reconciler.console.frame import Console, Person
from reconciler.model.request import ROLES

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from reconciler.storage.state import State

T = TypeVar("T")
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SOMEBODY = Person(who="ann", roles=frozenset(ROLES), csrf="form")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the application said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """What it says."""
        return self.body.decode()


def ask(
    app: Any,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    peer: str = "127.0.0.1",
    scheme: str = "http",
) -> Answer:
    """Ask an application, and give its whole answer; `peer` is who connects."""
    parts = urlsplit(path)
    given = {"host": "127.0.0.1:8484", **{name.lower(): value for name, value in (headers or {}).items()}}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": (peer, 40000),
        "server": ("127.0.0.1", 8484),
        "state": {},
    }
    said: list[dict[str, Any]] = []
    questions = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        for question in questions:
            return question
        return await asyncio.Future()  # whoever asked stays, and says nothing more

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    run(app(scope, receive, send))
    start = next(message for message in said if message["type"] == "http.response.start")
    content = b"".join(message.get("body", b"") for message in said if message["type"] == "http.response.body")
    named: dict[str, str] = {}
    for name, value in start["headers"]:  # several of one name are its lines
        key, before = name.decode().lower(), named.get(name.decode().lower())
        named[key] = value.decode() if before is None else f"{before}\n{value.decode()}"
    return Answer(start["status"], named, content)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run something to its end, in a thread of its own: the loop of a browser may be in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class SignedIn:
    """Has everybody be one person: how people sign in is tested elsewhere."""

    def __init__(self, app: Any, person: Person) -> None:
        self._app = app
        self._person = person

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["updoser.person"] = self._person
        await self._app(scope, receive, send)


def console_app(state: State, person: Person = SOMEBODY, *, now: datetime = NOW, **settings: Any) -> Any:
    """Make the application over a state, in which everybody is that person."""
    console = Console(state, lambda: now, **settings)
    return make_app(console, [Middleware(SignedIn, person=person)])
