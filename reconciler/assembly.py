"""Puts together what a command needs: the spec read, secrets resolvable and masked, signals heard, parts opened."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from reconciler import plugin_loader
from reconciler.contracts import Context
from reconciler.desk import Desk, origin_of, read_spec
from reconciler.errors import InterruptedRunError, PluginError, SecretError, StateError
from reconciler.guards import guarded
from reconciler.model.events import Trouble
from reconciler.present.event_log import EventLog
from reconciler.present.render import FORMATS
from reconciler.resolving import resolve
from reconciler.specfile.secrets import Masker
from reconciler.storage.eventfile import event_file
from reconciler.storage.scratch import scratch_state
from reconciler.workspace import Means, Workspace, open_state, open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from reconciler.model.client import InventoryEntry
    from reconciler.model.secret import SecretRef
    from reconciler.model.spec import Spec
    from reconciler.specfile.load import Loaded
    from reconciler.storage.moving import Place
    from reconciler.storage.state import State


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def utc_now() -> datetime:
    """Give the time in UTC."""
    return datetime.now(UTC)


def new_id(now: datetime) -> str:
    """Make an id for a plan or a run: sorts by time, `20261124T120000-1f2e3d4c`."""
    return f"{now:%Y%m%dT%H%M%S}-{os.urandom(4).hex()}"


@contextmanager
def at_work(
    desk: Desk,
    *,
    reads: bool = False,
    loaded: Loaded | None = None,
    stop: Event | None = None,
    clock: Callable[[], datetime] | None = None,
    masker: Masker | None = None,
) -> Iterator[Workspace]:
    """Read the spec and open all parts for the time of the block.

    What only `reads` goes on with a copy of the state where that itself can't be written. Who hears signals itself
    gives what they set as `stop`, and as `loaded` what was read already; without a `clock` it is now. A `masker`
    that is given remembers the secrets of all that is done one after the other.

    Raises:
        SpecError, StateError, SecretError: a part can't be had.
    """
    loaded, clock = loaded or read_spec(desk), clock or utc_now
    run_id = new_id(clock())
    log = EventLog(run_id, clock, desk.terminal, quiet=not FORMATS[desk.form].talks)
    with ExitStack() as stack:
        stop = stop or stack.enter_context(stop_on_signals(partial(desk.terminal.note, level="warning")))
        append = stack.enter_context(event_file(desk.events, desk.terminal.lose)) if desk.events else None
        stack.enter_context(log.to(append))
        state, folder = None, None
        if desk.no_exec:  # nothing that such a spec names is written to
            tell = partial(desk.terminal.note, level="warning")
            state = stack.enter_context(scratch_state(loaded.spec.server.state, clock, tell=tell))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="updoser-")))
        secret = _secrets(desk, loaded.spec, masker or Masker())
        public = secret if desk.no_exec else _quietly(loaded.spec)
        means = Means(
            run_id=run_id,
            clock=clock,
            secret=secret,
            emit=log,
            stop=stop,
            public=public,
            work=folder,
            confined=desk.no_exec,
            origin=origin_of(loaded.spec.base, loaded.spec.public(os.environ), loaded.spec.commit),
            render=_render,
        )
        if reads and state is None:
            state = _state_to_read(desk, stack, loaded.spec, means)
        work = stack.enter_context(open_workspace(loaded.spec, means, state=state))
        yield replace(work, notes=loaded.notes)


def warn_of_state(work: Workspace) -> None:
    """Say, where somebody is about to change the fleet, that another server may pass for that of the state."""
    if why := work.state.unverified():
        work.means.emit(Trouble(f"{why}: docs/state.md"))


def _state_to_read(desk: Desk, stack: ExitStack, spec: Spec, means: Means) -> State:
    """Open the state, or a copy of it where it can't be written: on a disk that is full, of another user, only read.

    Raises:
        StateError: it can't be read either.
    """
    try:
        return open_state(spec, means)
    except StateError as error:
        try:
            copy = stack.enter_context(scratch_state(spec.server.state, means.clock, must_be=True))
        except StateError:
            raise error from None
        desk.terminal.note(f"{error.message}; it is only read", "warning")
        return copy


@contextmanager
def stop_on_signals(
    tell: Callable[[str], None], wake: Event | None = None, stop: Event | None = None
) -> Iterator[Event]:
    """Give an event that SIGINT, SIGTERM or SIGHUP sets, for the time of the block; with `wake`, SIGHUP sets that.

    It is `stop`, where that is given.

    On the second signal the process ends at once with 130. Nothing is lost by that: stores and states are written
    atomically, the lock of a process that is gone is taken over, and clients finish or undo on their own.
    """
    stop = stop or Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if wake is not None and number == signal.SIGHUP:
            wake.set()
            return
        if stop.is_set():
            with suppress(OSError):  # the terminal may be gone
                os.write(2, b"left where it stands; the next apply goes on from there\n")
            os._exit(InterruptedRunError.exit_code)
        stop.set()
        tell("interrupted: no new work begins, clients under way are finished; once more to leave at once")

    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # as under nohup
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _render(text: str, values: Mapping[str, Any]) -> str:
    """Make a text of a template.

    Raises:
        PluginError: the template is no good, or its values don't fit.
    """
    from reconciler.templates.fault import TemplateFault
    from reconciler.templates.settings_file import Template

    try:
        return Template(text, "the template").render(values)
    except TemplateFault as fault:
        line = f"line {fault.line}: " if fault.line else ""
        raise PluginError(f"{line}{fault.message}", hint=fault.hint) from fault


def place_of_state(desk: Desk) -> Place:
    """Give where the state is that the file names, for who has to do with nothing else of it.

    Raises:
        SpecError, SecretError: the file is no good, or the password can't be had.
    """
    spec = read_spec(desk).spec
    from reconciler.storage.moving import Place

    reference = spec.server.state_password
    return Place(spec.server.state, _secrets(desk, spec, Masker())(reference) if reference else None)


def _secrets(desk: Desk, spec: Spec, masker: Masker) -> Callable[[SecretRef], str]:
    """Give what resolves secrets; each that it resolves is masked from then on."""
    desk.terminal.mask = masker.mask

    def secret(reference: SecretRef) -> str:
        if desk.no_exec:
            raise SecretError(f"{reference} isn't resolved with --no-exec")
        value = resolve(reference, spec.start_of(reference), os.environ, spec.public(os.environ))
        masker.add(value)
        return value

    return secret


def _quietly(spec: Spec) -> Callable[[SecretRef], str]:
    """Give what resolves secrets that needn't be masked: public halves of keys are shown."""

    def public(reference: SecretRef) -> str:
        return resolve(reference, spec.start_of(reference), os.environ, spec.public(os.environ))

    return public


def list_program(command: Sequence[str], folder: Path) -> list[InventoryEntry]:
    """Give the clients that an inventory program lists, run in a folder.

    Raises:
        InventoryError: it can't be run, or what it prints isn't Ansible's inventory JSON.
    """
    from reconciler.client.session import shell_session

    with tempfile.TemporaryDirectory(prefix="updoser-") as work:
        context = Context(
            base=folder,
            work=Path(work),
            clock=utc_now,
            secret=_no_secret,
            log=logging.getLogger("updoser"),
            shell=shell_session,
        )
        inventory = guarded(
            "inventory", "command", plugin_loader.load("inventory", "command", {"run": list(command)}, context)
        )
        return list(inventory.clients())


def _no_secret(reference: SecretRef) -> str:
    raise SecretError(f"{reference} isn't resolved here")
