"""A plugin of each kind as somebody else writes it, against reconciler/contracts.py only; for mypy, as contracts.py is.

The source is the example of CONTRIBUTING; see tests/integration/test_contributing.py. What a `type: ignore` stands
behind must be an error: mypy complains of one that isn't needed.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Become, Check, CheckResult, Codec, Completed, Executor, Inventory, Traits, Transport
from reconciler.errors import PatchError, TransportError
from reconciler.model.client import InventoryEntry
from reconciler.model.delta import CodecTraits, Grade
from reconciler.model.deploy import Outcome
from reconciler.model.secret import SecretRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from threading import Event

    from reconciler.contracts import Context, Crew, Hands, Pipe, PluginModule, Session, Subject
    from reconciler.model.client import Client


class _Wire:
    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float, patience: float = 0.0) -> Completed:
        raise TransportError(f"{command}: {sum(map(len, stdin))} bytes within {timeout + patience} s")


class Serial(Transport):
    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._become = Become("sudo") if options["root"] else None
        self._context = context

    @contextmanager
    def connect(self, client: Client) -> Iterator[Session]:
        pipe: Pipe = _Wire()
        yield self._context.shell(pipe, shell="sh", become=self._become)


class Register(Inventory):
    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._path = context.path(options["path"])

    def clients(self) -> Iterator[InventoryEntry]:
        for name in self._path.read_text(encoding="utf-8").split():
            yield InventoryEntry(name, labels=("listed",), vars={"site": "berlin"})


class Whole(Codec):
    traits = CodecTraits(
        name="whole",
        tool="cat",
        based=False,
        grades=(Grade(1, frozenset({"pattern"}), ratio=1.0, pace=0.001),),
        memory=0,
        memory_old=0.0,
        memory_new=1.0,
        making=1.0,
        max_size=2**20,
    )

    def make(self, old: bytes, new: bytes, *, level: int, window: int = 0) -> bytes:
        return new

    def check(self, patch: bytes, size: int) -> None:
        if len(patch) != size:
            raise PatchError("it has another size")

    def apply(self, old: bytes, patch: bytes, size: int) -> Iterator[bytes]:
        yield patch


class Always(Check):
    def on_client(self) -> tuple[str, int]:
        return "exit 0", 0

    def on_server(self, subject: Subject, *, timeout: float, stop: Event) -> CheckResult:
        return CheckResult(good=not stop.is_set(), message=f"{subject.component} {subject.version}")


class InTurn(Executor):
    def open(self, hands: Hands, forks: int) -> AbstractContextManager[Crew]:
        return hands.threads(min(forks, 1))


class Module:
    """What a module of its own has."""

    OPTIONS: Mapping[str, Any] = {"type": "object", "properties": {"root": {"type": "boolean", "default": False}}}
    PLUGIN = Serial

    @staticmethod
    def TRAITS(options: Mapping[str, Any]) -> Traits:  # noqa: N802 - as plugins have it
        return Traits(network=True, become=options["root"])


MODULE: PluginModule = Module()


class Odd(Inventory):
    def clients(self) -> list[str]:  # type: ignore[override] # names are no entries
        return []


def words_that_nobody_knows(context: Context, session: Session) -> None:
    Become("doas")  # type: ignore[arg-type]
    SecretRef("vault", "updoser/key")  # type: ignore[arg-type]
    Outcome("rules", "done")  # type: ignore[arg-type]
    Grade(1, frozenset({"rules"}), ratio=1.0, pace=0.1)  # type: ignore[arg-type]
    context.dial("updates.example", 443, family="IPv4")  # type: ignore[arg-type]
    session.facts("/var/lib/updoser", tools="all")  # type: ignore[arg-type]
