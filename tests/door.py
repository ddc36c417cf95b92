"""The door of the console in tests: its application with all that guards it, and a browser that keeps cookies."""

from __future__ import annotations

import asyncio
import hashlib
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from reconciler.console.app import make_app
from reconciler.console.frame import Console
from reconciler.console.serving import guarded
from reconciler.console.sign_in.access import Access
from reconciler.model.console import ConsoleSpec
from tests.console import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from reconciler.storage.state import State
    from tests.console import Answer

HERE = "http://127.0.0.1:8484"
TOKEN = "a-secret-of-a-program"


class Door:
    """A console, and who gets in."""

    def __init__(
        self, state: State, clock: Callable[[], datetime], spec: ConsoleSpec | None = None, **access: Any
    ) -> None:
        self.said: list[str] = []
        tokens: dict[bytes, Any] = {hashlib.sha256(TOKEN.encode()).digest(): ("ci", ("operator",))}
        self.access = Access(
            spec=spec or ConsoleSpec(),
            state=state,
            clock=clock,
            say=self.said.append,
            owner="root",
            digests=tokens,
            **access,
        )
        self.inner = make_app(Console(state, clock))
        self.inner.state.access = self.access
        self.app = guarded(self.inner, self.access, asyncio.Event(), loopback=True)

    def ask(self, path: str, **how: Any) -> Answer:
        """Ask without cookies."""
        return ask(self.app, path, **how)


class Browser:
    """Somebody's browser: it keeps cookies, and says of a form where it comes from."""

    def __init__(self, door: Door, origin: str = HERE, **how: Any) -> None:
        self._door = door
        self._how = how
        self._origin = origin
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask(path, {"accept": "text/html", **headers})

    def post(self, path: str, /, fields: Mapping[str, str], **headers: str) -> Answer:
        sent = {"content-type": "application/x-www-form-urlencoded", "origin": self._origin, **headers}
        body = urlencode(fields).encode()
        return self._ask(path, {name: value for name, value in sent.items() if value}, method="POST", body=body)

    def by_link(self) -> Answer:
        """Sign in by the link."""
        return self.post("/sign-in", {"link": self._door.access.link.renew()})

    def form(self) -> str:
        """Give what forms of this session bring."""
        return self.get("/").text.partition('name="csrf" value="')[2].partition('"')[0]

    def _ask(self, path: str, headers: Mapping[str, str], **how: Any) -> Answer:
        jar = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        answer = self._door.ask(
            path, headers={"host": self._origin.partition("//")[2], **jar, **headers}, **{**self._how, **how}
        )
        for line in answer.headers.get("set-cookie", "").splitlines():
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return answer
