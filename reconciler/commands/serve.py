"""Shows the fleet in a browser, and takes down what people want: the console.

It is a process without keys: it reads what the controller made, and of the file only what is about itself.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from threading import Event
from typing import TYPE_CHECKING

from reconciler.assembly import stop_on_signals, utc_now
from reconciler.controller.service import ServiceManager
from reconciler.desk import user_name
from reconciler.errors import SecretError, StateError, UpdoserError, UsageError
from reconciler.model.console import LEAST_SECRET
from reconciler.programs import StartError, companion
from reconciler.resolving import resolve
from reconciler.specfile.console import load_console
from reconciler.specfile.secrets import Masker
from reconciler.specfile.variables import parse_variables

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from reconciler.console.serving import Listening, Secured
    from reconciler.console.sign_in.access import Access
    from reconciler.console.sign_in.oidc import Provider
    from reconciler.desk import Desk
    from reconciler.model.request import Role
    from reconciler.model.secret import SecretRef
    from reconciler.specfile.console import ConsoleFile
    from reconciler.storage.state import State

PACKAGES = ("starlette", "uvicorn", "joserfc")
"""What the console needs beside all that updoser needs."""
_PAUSE = 0.2
_LASTING = 25
"""Looks after which what keeps a state from being opened isn't that it is just being made."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where to listen. With `controller`, `updoser run` is started, too, with its own options."""

    listen: tuple[str, int]
    controller: bool = False
    run_options: tuple[str, ...] = ()


def serve(desk: Desk, options: ServeOptions) -> int:
    """Serve the console until a signal ends it; ends as its controller does, where that ends by itself.

    Raises:
        UsageError: its packages aren't there, or it can't listen where it is to.
        SpecError, SecretError, StateError: a part can't be had.
    """
    if lacking := [name for name in PACKAGES if find_spec(name) is None]:
        raise UsageError(
            f"the console needs packages that aren't there: {', '.join(lacking)}",
            hint="pip install 'updoser[service]'",
        )
    from reconciler.console.serving import Secured, listen

    file = load_console(desk.file, variables=parse_variables(desk.variables))
    secret = _secrets(desk, file)
    manager, wake = ServiceManager.of(os.environ), Event()
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals(partial(_say_end, desk, options), wake))
        secured = Secured(file.console.tls) if file.console.tls.certificate else None
        place = listen(*options.listen, file.console)
        stack.callback(place.close)
        controller = stack.enter_context(_controller_beside(desk, options)) if options.controller else None
        stack.callback(manager.stopping)
        state = _state(desk, file, secret, stop, controller)
        if state is not None:
            access = _access(desk, file, secret, stack.enter_context(state))
            running = _Running(
                desk=desk,
                place=place,
                access=access,
                secured=secured,
                controller=controller,
                manager=manager,
                stop=stop,
                wake=wake,
                hook=_hook(file, secret),
            )
            running.serve()
    return 0 if controller is None else controller.result(desk)


def _say_end(desk: Desk, options: ServeOptions, _text: str) -> None:
    more = "; clients under way are finished first, once more to leave at once" if options.controller else ""
    desk.terminal.note(f"the console ends{more}")


def _secrets(desk: Desk, file: ConsoleFile) -> Callable[[SecretRef], str]:
    """Give what resolves the secrets of the console; each that it resolves is masked from then on."""
    masker = Masker()
    desk.terminal.mask = masker.mask

    def secret(reference: SecretRef) -> str:
        public = {name: value for name, value in os.environ.items() if name not in file.secret_variables}
        value = resolve(reference, file.start_of(reference), os.environ, public)
        masker.add(value)
        return value

    return secret


def _state(
    desk: Desk, file: ConsoleFile, secret: Callable[[SecretRef], str], stop: Event, controller: _Controller | None
) -> State | None:
    """Open the state. A controller beside may have to make it first: then it is waited for.

    None: it is to end before.

    Raises:
        StateError: it isn't there, and nobody is about to make it; or it can't be opened.
    """
    from reconciler.storage.state import State

    reference = file.server.state_password
    password = secret(reference) if reference else None
    told, last, times = "", "", 0
    while True:
        try:
            return State.open_shared(file.server.state, clock=utc_now, password=password)
        except StateError as error:
            if controller is None:
                raise
            times = times + 1 if error.message == last else 0
            last = error.message
            if last != told and (not told or times == _LASTING):  # one that is being made goes through some
                told = last
                desk.terminal.note(f"the console waits for the controller: {told}")
        if stop.wait(_PAUSE) or controller.ended:
            return None


def _access(desk: Desk, file: ConsoleFile, secret: Callable[[SecretRef], str], state: State) -> Access:
    """Put together who gets in, with all secrets that this takes."""
    from reconciler.console.sign_in.access import Access

    provider: Provider | None = None
    if file.console.oidc is not None:
        from reconciler.console.sign_in.oidc import Provider
        from reconciler.network.dial import Dialer

        oidc = file.console.oidc
        shared = secret(oidc.client_secret) if oidc.client_secret else ""
        provider = Provider(oidc, file.console.public_url, shared, Dialer(secret), utc_now)
    return Access(
        spec=file.console,
        state=state,
        clock=utc_now,
        say=desk.terminal.note,
        owner=user_name(),
        digests=_digests(file, secret),
        provider=provider,
    )


def _digests(file: ConsoleFile, secret: Callable[[SecretRef], str]) -> dict[bytes, tuple[str, tuple[Role, ...]]]:
    """Give the digests of all tokens.

    Raises:
        SecretError: one can't be had, can be guessed, or is that of two.
    """
    found: dict[bytes, tuple[str, tuple[Role, ...]]] = {}
    for token in file.console.tokens:
        digest = bytes.fromhex(token.sha256)
        if token.secret is not None:
            shown = secret(token.secret)
            if len(shown) < LEAST_SECRET:
                raise SecretError(
                    f"the token {token.name} has less than {LEAST_SECRET} characters",
                    hint="make one with `openssl rand -hex 32`",
                )
            digest = hashlib.sha256(shown.encode()).digest()
        if digest in found:
            raise SecretError(f"the tokens {found[digest][0]} and {token.name} are the same")
        found[digest] = token.name, token.roles
    return found


def _hook(file: ConsoleFile, secret: Callable[[SecretRef], str]) -> str:
    """Give the secret of the hook; empty where there is none.

    Raises:
        SecretError: it can't be had, or can be guessed.
    """
    if file.console.hook is None:
        return ""
    known = secret(file.console.hook)
    if len(known) < LEAST_SECRET:
        raise SecretError(
            f"console.hook: its secret has less than {LEAST_SECRET} characters",
            hint="make one with `openssl rand -hex 32`",
        )
    return known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """A console that runs, and what it is asked while it does."""

    desk: Desk
    place: Listening
    access: Access
    secured: Secured | None
    controller: _Controller | None
    manager: ServiceManager
    stop: Event
    wake: Event
    begun: Event = field(default_factory=Event)
    hook: str = field(default="", repr=False)

    def serve(self) -> None:
        """Serve until it is to end."""
        from reconciler.console.frame import Console
        from reconciler.console.serving import serve

        self.desk.terminal.note(f"the console: {self.access.spec.public_url or self.place.url}/")
        self._show_link()
        console = Console(self.access.state, utc_now, four_eyes=self.access.spec.four_eyes, hook=self.hook)
        serve(console, self.access, self.place, self.secured, self._ends)

    def _show_link(self) -> None:
        if self.access.has_link and self.place.loopback:
            url = f"{self.place.url}/sign-in?link={self.access.link.renew()}"
            self.desk.terminal.note(f"sign in as {self.access.owner}, once and within ten minutes: {url}")

    def _ends(self) -> bool:
        """Say whether it is to end; asked some times a second, and does what signals want."""
        if not self.begun.is_set():
            self.begun.set()
            self.manager.ready()
            self.manager.status(f"listens at {self.place.url}")
        self.manager.beat()
        if self.wake.is_set():
            self.wake.clear()
            self._reload()
        if self.stop.is_set() and self.controller is not None:
            self.controller.end()
        return self.stop.is_set() or (self.controller is not None and self.controller.ended)

    def _reload(self) -> None:
        self.manager.reloading()
        try:
            if self.secured is not None:
                self.secured.read()
                self.desk.terminal.note("the certificate is read again")
        except UpdoserError as error:
            self.desk.terminal.note(f"the certificate before stays: {error}", "error")
        self._show_link()
        self.manager.ready()


class _Controller:
    """An `updoser run` that this process started; signals of the terminal go to this process only."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._told = False

    @property
    def ended(self) -> bool:
        """True when it has ended."""
        return self._process.poll() is not None

    def end(self) -> None:
        """Have it end when the clients under way are finished; told once, as the second time it leaves at once."""
        if not self._told and not self.ended:
            self._told = True
            self._process.terminate()

    def wait(self) -> None:
        """Wait until it has ended."""
        self.end()
        self._process.wait()

    def result(self, desk: Desk) -> int:
        """Give how it ended; one that nobody told to is an error, whatever it says."""
        code = self._process.returncode
        if self._told:
            return max(code, 0)
        desk.terminal.note(f"Error: the controller ended by itself ({code}), and the console with it", "error")
        return code if code > 0 else 1


@contextmanager
def _controller_beside(desk: Desk, options: ServeOptions) -> Iterator[_Controller]:
    """Run a controller for the time of the block."""
    log = desk.terminal.log
    style = [*(["--log-format", log.form] if log.form else []), *(["-q"] if log.quiet else []), *(["-v"] * log.verbose)]
    # -P: a folder `reconciler` in the current one isn't ours.
    command = [sys.executable, "-P", "-m", "reconciler", *style, "run", *desk.options, *options.run_options]
    try:
        process = companion(command)
    except StartError as error:
        raise UpdoserError(f"the controller can't be started: {error}") from error
    controller = _Controller(process)
    try:
        yield controller
    finally:
        controller.wait()
