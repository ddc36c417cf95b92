"""Whatever a transport raises for one client, at whichever of its methods, is that client's trouble."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.errors import ClientError, TransportError, UpdoserError
from reconciler.execute import engine
from reconciler.model.policy import Limits, Wave
from tests.fakes import FakeTransport
from tests.unit.conftest import bench_on, first_benches, opened  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Self

    from reconciler.model.client import Client
    from tests.fakes import FakeClient, FakeSession
    from tests.unit.workbench import Opened


class UnspeakableError(Exception):
    """An exception that can't even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")


ERRORS = [
    *(RuntimeError("boom"), KeyError("x"), StopIteration(3), StopAsyncIteration(), GeneratorExit(), SystemExit(0)),
    *(RecursionError(), AssertionError(), OSError(5, "I/O"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")),
    *(
        TimeoutError("late"),
        EOFError(),
        ValueError("\ud800\0\x1b[2J" * 10_000),
        UnspeakableError(),
        NotImplementedError(),
    ),
    *(ExceptionGroup("several", [KeyError(1)]), UpdoserError("odd"), ClientError("no"), TransportError("gone")),
]


class Bad:
    """The session of the client in trouble, and what opens it; it raises at one place."""

    def __init__(self, session: AbstractContextManager[FakeSession], error: BaseException, place: str) -> None:
        self._opens, self._error, self._place = session, error, place

    def _at(self, place: str) -> None:
        if self._place == place:
            raise self._error

    def __enter__(self) -> Self:
        self._at("enter")
        self._session = self._opens.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._at("exit")

    def facts(self, *arguments: Any, **options: Any) -> Any:
        self._at("facts")
        return self._session.facts(*arguments, **options)

    def deploy(self, *arguments: Any, **options: Any) -> Any:
        self._at("deploy")
        return self._session.deploy(*arguments, **options)


class BadTransport(FakeTransport):
    """Reaches clients as it should, but for those for which there is an error."""

    def __init__(self, clients: dict[str, FakeClient], errors: dict[str, BaseException], place: str) -> None:
        super().__init__(clients)
        self._errors, self._place = errors, place

    def connect(self, client: Client) -> Any:
        good, error = super().connect(client), self._errors.get(client.name)
        if error is None:
            return good
        if self._place == "connect":
            raise error
        return Bad(good, error, self._place)


@pytest.mark.parametrize("place", ["connect", "enter", "facts", "deploy", "exit"])
def test_whatever_a_transport_raises_costs_one_client_and_is_in_the_history(opened: Opened, place: str) -> None:  # noqa: F811
    errors = {f"bad-{at}": error for at, error in enumerate(ERRORS)}
    honest = {"a", "c"}
    bench = opened(["a", *errors, "c"])
    bench.later(timedelta(hours=1))
    bench.policy(waves=(Wave(share=1.0),), limits=Limits(max_fail_percentage=100.0))
    bench.release("2")
    bench.transport = BadTransport(bench.machines, errors, place)
    report = bench.apply()
    assert bench.running("2") >= honest
    if place == "exit":  # its work was done
        assert bench.counts(report) == {"changed": len(bench.machines)}
        return
    trouble = {entry.client: entry.message for entry in [*report.failed, *report.unreachable]}
    assert trouble.keys() == errors.keys()
    assert all(message.isprintable() and len(message) < 2000 for message in trouble.values())
    assert bench.counts(report)["changed"] == len(honest)
    written = {entry.client: entry.outcome for entry in bench.journal() if entry.client}
    assert {name for name, what in written.items() if what == "changed"} == honest
    assert place != "deploy" or {name for name, what in written.items() if what == "failed"} == errors.keys()
    assert bench.state.last_failed() == errors.keys()


def test_a_run_that_is_broken_off_is_in_the_history_with_what_it_had_done(
    opened: Opened,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = opened()
    bench.later(timedelta(hours=1))
    bench.release("2")

    def breaks(*_arguments: object) -> None:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(engine, "prune_all", breaks)
    with pytest.raises(RuntimeError, match="nobody expected this"):
        bench.apply()
    run = bench.state.runs(1)[0]
    assert run.status == "failed"
    assert run.recap["g"]["changed"] == len(bench.running("2")) == 3
