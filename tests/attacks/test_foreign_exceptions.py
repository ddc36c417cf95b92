"""Whatever a plugin raises, wherever it may, is told as an error of ours, counted, and hurts nobody else.

Transports have `test_foreign_transports`.
"""

from __future__ import annotations

import errno
import io
import logging
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

from reconciler.contracts import CheckResult, Subject
from reconciler.errors import FaultError, InventoryError, PatchError, PluginError, SourceError, UpdoserError
from reconciler.guards import blaming, guarded
from reconciler.model.client import InventoryEntry
from reconciler.model.offer import SourceReport
from reconciler.model.spec import CheckSpec, GroupSpec, InventorySpec, PluginConfig
from reconciler.observe.inventory import list_clients
from tests.attacks.siege import OTHER, siege
from tests.draw import rounds
from tests.fakes import CODECS, make_release
from tests.unit.workbench import COMPONENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from random import Random

    from reconciler.model.release import Release
    from tests.attacks.siege import Siege


class OddError(Exception):
    """One that can't even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def _unicode() -> UnicodeDecodeError:
    return UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


RAISED: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("no value"),
    "OverflowError": lambda: OverflowError("int too large to convert to C int"),
    "RecursionError": lambda: RecursionError("maximum recursion depth exceeded"),
    "KeyError": lambda: KeyError("key"),
    "IndexError": lambda: IndexError("list index out of range"),
    "StopIteration": lambda: StopIteration("over"),
    "StopAsyncIteration": StopAsyncIteration,
    "AttributeError": lambda: AttributeError("'NoneType' object has no attribute 'x'"),
    "TypeError": lambda: TypeError("unhashable"),
    "AssertionError": AssertionError,
    "ZeroDivisionError": lambda: ZeroDivisionError("by zero"),
    "EOFError": EOFError,
    "TimeoutError": lambda: TimeoutError("timed out"),
    "BrokenPipeError": lambda: BrokenPipeError(errno.EPIPE, "Broken pipe"),
    "OSError": lambda: OSError(errno.EIO, "Input/output error"),
    "UnicodeDecodeError": _unicode,
    "ExceptionGroup": lambda: ExceptionGroup("several", [ValueError("one"), OSError("two")]),
    "custom": OddError,
    "control characters": lambda: ValueError("\x1b[2Jgone\nclient pc-1: ok"),
    "endless words": lambda: ValueError("word " * 10**6),
}
"""What a plugin may raise; what this machine has no room for is no plugin's."""
ROOM: dict[str, Callable[[], BaseException]] = {
    "MemoryError": MemoryError,
    "no descriptors": lambda: OSError(errno.EMFILE, "Too many open files"),
}

Sieges: TypeAlias = "Callable[[], Iterator[tuple[str, Callable[[], BaseException], Siege]]]"


class Evil:
    """A plugin as it is, but for one method, which raises; `calls` has each time that it did."""

    def __init__(
        self, plugin: Any, method: str, make: Callable[[], BaseException], calls: list[str] | None = None
    ) -> None:
        self._plugin, self._method, self._make = plugin, method, make
        self.calls: list[str] = [] if calls is None else calls

    def __getattr__(self, name: str) -> Any:
        if name != self._method.partition(":")[0]:
            return getattr(self._plugin, name)
        if name == "traits":
            self._raise()
        if ":" in self._method:
            return self._opened
        return self._raise

    def _raise(self, *_args: object, **_options: object) -> None:
        self.calls.append(self._method)
        raise self._make()

    @contextmanager
    def _opened(self, *args: Any) -> Iterator[Any]:
        """Open, and raise on the way in, at a read, or on the way out."""
        name, _colon, where = self._method.partition(":")
        with getattr(self._plugin, name)(*args) as stream:
            if where == "enter":
                self._raise()
            yield Evil(stream, "read", self._make, self.calls) if where == "read" else stream
            if where == "exit":
                self._raise()


@pytest.fixture
def sieges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Random) -> Sieges:
    """Give what may be raised, each with a siege: a few in a run of the suite, all in an exploration."""
    monkeypatch.setattr("reconciler.client.reach.PAUSE", 0)

    def each() -> Iterator[tuple[str, Callable[[], BaseException], Siege]]:
        for name in draw.sample(sorted(RAISED), min(rounds(2), len(RAISED))):
            with siege(tmp_path / name) as besieged:
                yield name, RAISED[name], besieged

    return each


# --- the guard of each kind -------------------------------------------------------------------------------------------

RELEASE = make_release("rules", "1", {"a": b"x"})


class Plain:
    """The other half of each contract: what works."""

    traits = CODECS["gzip"].traits

    def releases(self, _components: object) -> SourceReport:
        return SourceReport("plain")

    def fetch(self, *_what: object) -> Release:
        return RELEASE

    def open(self, *_what: object) -> io.BytesIO:
        return io.BytesIO(b"x")

    def open_patch(self, *_what: object) -> io.BytesIO:
        return io.BytesIO(b"x")

    def make(self, *_args: object, **_options: object) -> bytes:
        return b""

    def apply(self, *_args: object) -> Iterator[bytes]:
        yield b""

    def clients(self) -> Iterator[InventoryEntry]:
        yield InventoryEntry("pc-1")

    def on_client(self) -> tuple[str, int]:
        return "true", 0

    def on_server(self, _subject: object, **_options: object) -> CheckResult:
        return CheckResult(good=True)

    def check(self, *_args: object) -> None:
        return None


def drained(opened: AbstractContextManager[Any]) -> None:
    with opened as stream:
        while stream.read(10):
            pass


def entered(opened: AbstractContextManager[Any]) -> None:
    with opened:
        pass


class PlainCrew:
    """A crew with nothing to do."""

    size = 1

    def __init__(self, reports: Sequence[Any] = ()) -> None:
        self._reports = reports

    def lane(self, _client: str) -> str:
        return ""

    def room(self, _lane: str) -> int:
        return 1

    def refusal(self, _lane: str) -> str:
        return ""

    def give(self, _lane: str, _order: object) -> None:
        return None

    def halt(self, _halted: object) -> None:
        return None

    def receive(self, _timeout: float) -> Sequence[Any]:
        return self._reports

    def stop(self) -> None:
        return None


CALLS: dict[tuple[str, str], Callable[[Any], object]] = {
    ("source", "releases"): lambda source: source.releases({}),
    ("source", "fetch"): lambda source: source.fetch("rules", "1", "any"),
    **{
        ("source", f"{way}{where}"): lambda source, way=way: drained(getattr(source, way)(RELEASE, RELEASE.files[0]))  # type: ignore[misc]
        for way in ("open", "open_patch")
        for where in ("", ":enter", ":read", ":exit")
    },
    ("codec", "traits"): lambda codec: codec.traits,
    ("codec", "make"): lambda codec: codec.make(b"", b"", level=1),
    ("codec", "check"): lambda codec: codec.check(b"", 0),
    ("codec", "apply"): lambda codec: list(codec.apply(b"", b"", 0)),
    ("inventory", "clients"): lambda inventory: list(inventory.clients()),
    ("check", "on_client"): lambda check: check.on_client(),
    ("check", "on_server"): lambda check: check.on_server(Subject("c", "1"), timeout=1, stop=Event()),
    ("executor", "open"): lambda executor: entered(executor.open(None, 1)),
    ("executor", "open:enter"): lambda executor: entered(executor.open(None, 1)),
    ("executor", "open:exit"): lambda executor: entered(executor.open(None, 1)),
}
WRONG = {
    "source": SourceError,
    "codec": PatchError,
    "inventory": InventoryError,
    "check": PluginError,
    "executor": PluginError,
}


@pytest.mark.parametrize(("kind", "method"), CALLS)
def test_a_plugin_raises_nothing_but_the_errors_of_its_contract(kind: str, method: str) -> None:
    for name, make in {**RAISED, **ROOM}.items():
        plugin = guarded(kind, "evil", Evil(Plain(), method, make))
        with pytest.raises(UpdoserError) as caught:
            CALLS[kind, method](plugin)
        if name in RAISED:
            assert type(caught.value) is WRONG[kind], name
            assert caught.value.message.startswith(f"the {kind} plugin evil broke: "), name
            assert len(str(caught.value)) < 1000, name
            assert str(caught.value).isprintable(), name


@pytest.mark.parametrize(("kind", "method"), CALLS)
def test_what_ends_the_process_passes(kind: str, method: str) -> None:
    ends: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit)
    for make in ends:
        with pytest.raises(make):
            CALLS[kind, method](guarded(kind, "evil", Evil(Plain(), method, make)))


@pytest.mark.parametrize(("kind", "method"), CALLS)
def test_a_plugin_that_works_works_as_without_a_guard(kind: str, method: str) -> None:
    CALLS[kind, method](guarded(kind, "plain", Plain()))


def test_a_source_that_fetches_something_else_than_a_release_broke_its_promise() -> None:
    class Odd(Plain):
        def fetch(self, *_what: object) -> Any:
            return {"component": "rules"}

    with pytest.raises(SourceError, match="the source plugin odd broke: TypeError: it fetched a dict"):
        guarded("source", "odd", Odd()).fetch("rules", "1", "any")


def test_what_the_reader_of_a_stream_raises_is_not_the_sources() -> None:
    with pytest.raises(ZeroDivisionError), guarded("source", "plain", Plain()).open(RELEASE, RELEASE.files[0]):
        raise ZeroDivisionError


CREW: dict[str, Callable[[Any], object]] = {
    "lane": lambda crew: crew.lane("pc"),
    "room": lambda crew: crew.room(""),
    "refusal": lambda crew: crew.refusal(""),
    "give": lambda crew: crew.give("", None),
    "halt": lambda crew: crew.halt(()),
    "receive": lambda crew: crew.receive(0),
    "stop": lambda crew: crew.stop(),
}


@pytest.mark.parametrize("method", CREW)
def test_a_crew_raises_nothing_but_the_errors_of_its_contract(method: str) -> None:
    for name, make in RAISED.items():

        class Executor:
            @staticmethod
            def open(_hands: object, _forks: int, make: Any = make) -> Any:
                return nullcontext(Evil(PlainCrew(), method, make))

        with guarded("executor", "evil", Executor()).open(None, 1) as crew:
            with pytest.raises(PluginError, match="the executor plugin evil broke"):
                CREW[method](crew)
            for other in CREW.keys() - {method}:
                CREW[other](crew)
        assert name


def test_a_crew_that_reports_what_is_no_report_is_broken() -> None:
    class Executor:
        @staticmethod
        def open(_hands: object, _forks: int) -> Any:
            return nullcontext(PlainCrew(["all is well"]))

    with (
        guarded("executor", "evil", Executor()).open(None, 1) as crew,
        pytest.raises(PluginError, match="it reported a str"),
    ):
        crew.receive(0)


def test_where_a_fault_came_from_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "updoser")
    with pytest.raises(FaultError, match="counting sheep: ZeroDivisionError"), blaming("counting sheep"):
        raise ZeroDivisionError
    assert "Traceback" in caplog.text
    assert "raise ZeroDivisionError" in caplog.text


# --- in a run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["releases", "open", "open:enter", "open:read", "open:exit"])
def test_a_source_that_breaks_costs_its_own_releases_only(sieges: Sieges, method: str) -> None:
    for name, make, besieged in sieges():
        besieged.other.add(OTHER, "1", {"data": b"x"})
        besieged.sources["other"] = evil = Evil(besieged.other, method, make)
        report = besieged.apply()
        assert evil.calls, name
        assert besieged.spared, name
        told = besieged.report_of("other").error if method == "releases" else report.failed[0].message
        assert "the source plugin other broke" in told, name
        assert {(failure.client, failure.component) for failure in report.failed} <= {("", OTHER)}, name
        assert method == "releases" or any(entry.outcome == "failed" for entry in besieged.journal()), name


@pytest.mark.parametrize("method", ["traits", "make", "apply"])
def test_a_codec_that_breaks_costs_its_patches_only(sieges: Sieges, method: str) -> None:
    for name, make, besieged in sieges():
        besieged.component(duplicate=True)
        for at in (2, 3):
            for codec in CODECS:
                besieged.codecs[codec] = guarded("codec", codec, Evil(CODECS[codec], method, make))
            besieged.source.add(COMPONENT, f"{at}0", {"data": bytes(range(256)) * 400 + b"%d" % at})
            report = besieged.apply()
            assert besieged.running(f"{at}0") == set(besieged.machines), name
            assert not [failure for failure in report.failed if failure.client], name


@pytest.mark.parametrize(
    ("method", "where", "phase"),
    [("on_client", "client", "staged"), ("on_server", "server", "staged"), ("on_server", "server", "switched")],
)
def test_a_check_that_breaks_is_not_passed_and_costs_its_component_only(
    sieges: Sieges, method: str, where: Literal["client", "server"], phase: Literal["staged", "switched"]
) -> None:
    for name, make, besieged in sieges():
        besieged.other.add(OTHER, "1", {"data": b"x"})
        evil = Evil(Plain(), method, make)
        besieged.checks["command"] = guarded("check", "command", evil)
        check = CheckSpec("evil", PluginConfig("check", "command", {}), OTHER, phase, where)
        groups = {name: replace(group, checks=(check,)) for name, group in besieged.spec.groups.items()}
        besieged.spec = replace(besieged.spec, groups=groups)
        report = besieged.apply()
        assert evil.calls, name
        assert besieged.spared, name
        assert any("the check plugin command broke" in failure.message for failure in report.failed), name
        assert phase == "switched" or not any(machine.version(OTHER) for machine in besieged.machines.values()), name


def test_an_executor_that_breaks_ends_the_run_with_a_report_and_a_plan_with_an_error(sieges: Sieges) -> None:
    for name, make, besieged in sieges():
        plan = besieged.plan()
        besieged.executor = guarded("executor", "threads", Evil(Plain(), "open", make))
        report = besieged.apply(plan=plan)
        assert any("the executor plugin threads broke" in failure.message for failure in report.failed), name
        with pytest.raises(PluginError, match="the executor plugin threads broke"):
            besieged.plan()


def test_an_inventory_that_breaks_is_an_error_that_names_it() -> None:
    spec = InventorySpec(PluginConfig("inventory", "csv", {}))
    group = GroupSpec("g", PluginConfig("transport", "local"), "/r", inventory=spec)
    for make in RAISED.values():
        with pytest.raises(InventoryError, match="the inventory plugin csv broke"):
            list_clients(group, guarded("inventory", "csv", Evil(Plain(), "clients", make)))
