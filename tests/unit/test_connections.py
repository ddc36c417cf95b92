"""Requests that fail on their way: what is tried again, and what is told of the way instead."""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import NetworkError, NoAddressError, SecretError, SourceError
from reconciler.model.network import Proxy
from reconciler.web import stream
from reconciler.web.connections import HttpOptions
from reconciler.web.files import files_at
from tests.fakes import fake_context

OPTIONS = HttpOptions(family="any", connect=60, read=60, total=600)
EGRESS = Proxy("egress", "http", "proxy.example", 3128)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Ask for a file through what opens connections; give what is said in the end, and how often one was opened."""
    monkeypatch.setattr(stream, "PAUSE", 0.0)

    def asked(dial: Any, *, proxy: Any = None) -> tuple[str, int]:
        opened = []

        def counted(host: str, port: int, **_options: int | str | None) -> Any:
            opened.append((host, port))
            return dial()

        context = replace(fake_context(tmp_path, proxy=proxy), dial=counted)  # type: ignore[arg-type]
        files = files_at("https://updates.example/repo", OPTIONS, context)
        with pytest.raises(SourceError) as caught, files.open("file") as stream:
            stream.read(1)
        return caught.value.message, len(opened)

    return asked


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (NetworkError("updates.example has no time for anybody"), stream.TRIES),
        (NoAddressError("updates.example speaks IPv6 only"), 1),
        (SecretError("the variable X isn't set"), 1),
    ],
)
def test_a_connection_is_tried_again_where_time_may_help_whatever_the_words_are(
    ask: Callable[..., Any], error: NetworkError | NoAddressError | SecretError, times: int
) -> None:
    def fail() -> None:
        raise error

    said, opened = ask(fail)
    assert opened == times
    assert error.message in said


@pytest.mark.parametrize(
    ("answer", "words", "times"),
    [
        ("407 Nobody", "the proxy egress wants other credentials (HTTP 407)", 1),
        ("403 Nowhere", "the proxy egress doesn't allow updates.example (HTTP 403)", 1),
        ("502 not 407 and no certificate", "502 not 407 and no certificate", stream.TRIES),
        ("503 ask 403 times", "503 ask 403 times", stream.TRIES),
    ],
)
def test_what_a_proxy_refuses_is_told_by_its_status_and_not_by_its_words(
    ask: Callable[..., Any], answer: str, words: str, times: int
) -> None:
    def dial() -> Any:
        ours, theirs = socket.socketpair()

        def serve() -> None:
            with theirs:
                asked = b""
                while not asked.endswith(b"\r\n\r\n"):
                    asked += theirs.recv(4096)
                theirs.sendall(f"HTTP/1.1 {answer}\r\n\r\n".encode())

        threading.Thread(target=serve).start()
        return ours

    said, opened = ask(dial, proxy=EGRESS)
    assert words in said
    assert opened == times
