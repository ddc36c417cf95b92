"""Clients that are files in a folder, for suites that mustn't know in which process a client is worked on.

A client NAME is begun with `NAME.begun`, to which a line is added each time, and waits while `NAME.held` is there. With
`NAME.lost` it can't be reached, with `NAME.limit` its worker finds no room for more, and `NAME.deadly` kills the
worker's process. It gets what a relay has, but for `NAME.dry`. What it is sent lies in `NAME.got.COMPONENT`. It has
nothing installed, and whatever it is to have it is changed to.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from reconciler.contracts import Traits
from reconciler.errors import LimitError, TransportError
from reconciler.model.client import Facts, Profile, Same
from reconciler.model.deploy import DeployReport, Outcome
from reconciler.model.question import NOTHING_ASKED
from reconciler.model.relay import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Context, Session, ToolsTried
    from reconciler.model.client import Client
    from reconciler.model.deploy import DeployRequest
    from reconciler.model.question import Asked
    from reconciler.model.relay import HoldOrder

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "properties": {"folder": {"type": "string", "description": "Where the clients are."}},
    "required": ["folder"],
    "additionalProperties": False,
}
MARK = "a" * 40
"""What all of them say of themselves."""
_PAUSE = 0.01
_PATIENCE = 240.0


class Sluice:
    """The `Transport` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context | None = None) -> None:
        del context
        self._folder = Path(options["folder"])

    @contextmanager
    def connect(self, client: Client) -> Iterator[Session]:
        """Connect to a client."""
        place = self._folder / client.name
        if place.with_suffix(".lost").exists():
            raise TransportError(f"{client.name} can't be reached: connection refused")
        if place.with_suffix(".limit").exists():
            raise LimitError("this machine has no room for more: too many open files")
        yield _Session(place)


class _Session:
    def __init__(self, place: Path) -> None:
        self._place = place

    def facts(
        self, install_root: str, *, verify: bool = False, tools: ToolsTried = "", asked: Asked = NOTHING_ASKED
    ) -> Facts:
        del install_root, verify, tools, asked
        self._begin()
        return Facts(Profile("linux-x86_64", ()), 2**30)

    def look_again(self, install_root: str, mark: str) -> Facts | Same:
        if mark == MARK:
            self._begin()
            return Same(7)
        return replace(self.facts(install_root), mark=MARK)

    def deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        self._begin()
        sent = 0
        for step in request.steps:
            got = bytearray()
            for part in step.payload:
                with content(part.sha256) as stream:
                    got += stream.read(part.size)
            self._place.with_suffix(f".got.{step.component}").write_bytes(got)
            sent += len(got)
        status = "staged" if request.purpose == "stage" else "ok" if request.purpose == "check" else "changed"
        outcomes = (Outcome(step.component, status, step.to_version, step.to_digest) for step in request.steps)  # type: ignore[arg-type]
        return DeployReport(tuple(outcomes), sent)

    def read(self, install_root: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        del install_root
        self._begin()
        return {path: self._place.name.encode() if path.endswith("name") else None for path in paths}

    def hold(self, order: HoldOrder, content: object, pace: object) -> Held:
        del content, pace
        self._begin()
        dry = self._place.with_suffix(".dry").exists()
        return Held(serving=f"no {order.probe}/{order.sha256}: {order.size} bytes of nothing" if dry else "yes")

    def serve(self, order: object, beats: object) -> None:
        raise AssertionError

    def _begin(self) -> None:
        with self._place.with_suffix(".begun").open("a") as begun:
            begun.write("begun\n")
        if self._place.with_suffix(".deadly").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        give_up = time.monotonic() + _PATIENCE
        while self._place.with_suffix(".held").exists() and time.monotonic() < give_up:
            time.sleep(_PAUSE)


TRAITS = Traits(local=True)
PLUGIN = Sluice
