"""What a transport gives is looked at before it is believed, whoever wrote it and whatever a client answers.

* Whatever a transport or a session raises is an error of that client (`reach.expecting`), and what goes wrong while a
  connection is closed is none: its work is done.
* Numbers and counts have limits, so that one client's answer can't break the state or the plan for all others.
* Outcomes must be possible for what was asked: `unpatched` only where something was to be patched or lay ready, `ok`
  and `changed` only with the version that was sent.
"""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from reconciler.client.protocol import MAX_CONTENT, MAX_LISTED
from reconciler.client.reach import expecting
from reconciler.contracts import MarkingSession, RelaySession
from reconciler.errors import ProtocolError, TransportError
from reconciler.model.client import MAX_EPOCH, MAX_INSTALLED, Same
from reconciler.model.deploy import CONTENTION, MACHINE, RELEASE
from reconciler.model.mark import SAID, compares
from reconciler.model.question import NOTHING_ASKED
from reconciler.model.release import COMPONENT_ID, PLATFORM, SHA256, VERSION_NAME
from reconciler.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Session, ToolsTried, Transport
    from reconciler.model.client import Client, Facts, Installed, Profile
    from reconciler.model.deploy import DeployReport, DeployRequest, FromRelay, Outcome, Purpose, Step
    from reconciler.model.question import Asked
    from reconciler.model.relay import Held, HoldOrder, ServeOrder

_MAX_TEXT = 1000
_MAX_SHORT = 128
_MAX_FREE = 2**63 - 1
_MAX_MEMORY = 2**40
_POSSIBLE = {
    "switch": {"changed", "ok", "stale", "failed"},
    "stage": {"staged", "ok", "stale", "failed"},
    "check": {"ok", "stale", "failed"},
}
_AT_GOAL = {"changed", "ok"}
_REMEMBERED = 256
_SOUND: dict[int, Profile] = {}
"""Profiles in which nothing is wrong, by their identity: as they are kept, no others can take it."""


class GuardedTransport:
    """The `Transport` protocol over another transport, of which nothing is believed."""

    def __init__(self, transport: Transport, *, debug: bool = False) -> None:
        """Take the transport; `debug` lets what nobody expected through."""
        self._transport = transport
        self._debug = debug

    @contextmanager
    def connect(self, client: Client) -> Iterator[Session]:
        """Connect; see `contracts.Transport`."""
        with expecting(debug=self._debug):
            opened = self._transport.connect(client)
            session = opened.__enter__()
        try:
            yield GuardedSession(session, debug=self._debug)
        finally:
            with suppress(Exception, SystemExit, GeneratorExit):
                opened.__exit__(*sys.exc_info())


class GuardedSession:
    """The `Session` protocol over another session."""

    def __init__(self, session: Session, *, debug: bool = False) -> None:
        """Take the session."""
        self._session = session
        self._debug = debug

    def facts(
        self, install_root: str, *, verify: bool = False, tools: ToolsTried = "", asked: Asked = NOTHING_ASKED
    ) -> Facts:
        """Look at the client; see `contracts.Session`."""
        with expecting(debug=self._debug):
            return _checked(self._session.facts(install_root, verify=verify, tools=tools, asked=asked))

    def look_again(self, install_root: str, mark: str) -> Facts | Same:
        """Look at the client unless it is as it was; see `contracts.MarkingSession`."""
        session = self._session
        if not mark or not isinstance(session, MarkingSession):
            return self.facts(install_root)
        with expecting(debug=self._debug):
            found = session.look_again(install_root, mark)
            if isinstance(found, Same):
                _check(_wrong_same(found, mark))
                return found
            return _checked(found)

    def deploy(
        self, request: DeployRequest, content: Callable[[str], AbstractContextManager[BinaryIO]]
    ) -> DeployReport:
        """Carry out a request; see `contracts.Session`."""
        with expecting(debug=self._debug):
            report = self._session.deploy(request, content)
            _check(_wrong_report(report, request))
            return report

    def read(self, install_root: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Read small files; see `contracts.Session`."""
        with expecting(debug=self._debug):
            found = self._session.read(install_root, paths)
            known = {path: found.get(path) for path in paths}
            _check(
                f"{path} has {len(content)} bytes"
                for path, content in known.items()
                if content is not None and len(content) > MAX_CONTENT
            )
            return known

    def hold(
        self,
        order: HoldOrder,
        content: Callable[[str], AbstractContextManager[BinaryIO]],
        pace: Callable[[int], None],
    ) -> Held:
        """Fill a relay, or look at it; see `contracts.RelaySession`."""
        with expecting(debug=self._debug):
            held = self._for_relays().hold(order, content, pace)
            _check(_wrong_held(held))
            return held

    def serve(self, order: ServeOrder, beats: Iterable[None]) -> None:
        """Have a folder served; see `contracts.RelaySession`."""
        with expecting(debug=self._debug):
            self._for_relays().serve(order, beats)

    def _for_relays(self) -> RelaySession:
        if not isinstance(self._session, RelaySession):
            raise TransportError("this transport reaches no relays", hint="name another one for the relay")
        return self._session


def _wrong_held(held: Held) -> Iterator[str]:
    """Say what can't be of what a relay tells about itself."""
    if not 0 <= held.free <= _MAX_FREE:
        yield f"free space of {held.free}"
    for sha256, size in (*held.parts.items(), *held.begun.items()):
        if not SHA256.fullmatch(sha256) or not 0 <= size <= _MAX_FREE:
            yield "a part that is none"
    if not all(map(SHA256.fullmatch, held.bad)):
        yield "a bad part that is none"
    yield from _wrong_texts(held.serving)


def _check(wrong: Iterable[str]) -> None:
    """Refuse an answer.

    Raises:
        ProtocolError: something is wrong with it; the message says the first thing.
    """
    for what in wrong:
        raise ProtocolError(f"the client says what can't be: {what}")


def _check_profile(profile: Profile) -> None:
    """Refuse what a client says that it has; alike clients may have the very same, which is looked at once.

    Raises:
        ProtocolError: something is wrong with it.
    """
    if _SOUND.get(id(profile)) is profile:
        return
    _check(_wrong_profile(profile))
    if len(_SOUND) >= _REMEMBERED:
        _SOUND.clear()
    _SOUND[id(profile)] = profile


def _checked(facts: Facts) -> Facts:
    """Give facts that can be.

    Raises:
        ProtocolError: these can't.
    """
    _check(_wrong_facts(facts))
    _check_profile(facts.profile)
    return facts


def _wrong_facts(facts: Facts) -> Iterator[str]:
    """Say what can't be of what a client tells about itself, beside its profile."""
    yield from _wrong_numbers(facts)
    yield from _wrong_list(facts.lacks)
    yield from _wrong_texts(facts.machine, facts.unmade)
    if facts.mark and not SAID.fullmatch(facts.mark):
        yield "its mark"


def _wrong_same(found: Same, mark: str) -> Iterator[str]:
    """Say what can't be of a client that says it is as it was."""
    if not compares(mark):
        yield "it is the same as what nobody compared it with"
    if not 0 <= found.free <= _MAX_FREE:
        yield f"free space of {found.free}"


def _wrong_profile(profile: Profile) -> Iterator[str]:
    """Say what can't be of what a client tells that it has."""
    if not PLATFORM.fullmatch(profile.platform) or len(profile.platform) > _MAX_SHORT:
        yield "its platform"
    if len(profile.installed) > MAX_INSTALLED:
        yield f"{len(profile.installed)} components"
    if len(profile.by_component) < len(profile.installed):
        yield "a component twice"
    yield from _wrong_list(profile.tools)
    yield from _wrong_list(profile.unmanaged)
    yield from _wrong_texts(profile.lineage)
    for entry in profile.installed:
        yield from _wrong_entry(entry)


def _wrong_list(texts: Sequence[str]) -> Iterator[str]:
    if len(texts) > MAX_LISTED:
        yield f"a list of {len(texts)}"
    yield from _wrong_texts(*texts)


def _wrong_numbers(facts: Facts) -> Iterator[str]:
    profile = facts.profile
    numbers = (
        ("free space", facts.free, _MAX_FREE),
        ("memory", profile.memory, _MAX_MEMORY),
        ("the epoch", profile.epoch, MAX_EPOCH),
        ("a user number", facts.user, _MAX_FREE),
    )
    for what, number, most in numbers:
        if not 0 <= number <= most:
            yield f"{what} of {number}"
    if not (math.isfinite(facts.seconds) and facts.seconds >= 0):
        yield f"a shell that took {facts.seconds} s"


def _wrong_entry(entry: Installed) -> Iterator[str]:
    if not (COMPONENT_ID.fullmatch(entry.component) and _is_version(entry.version) and _is_digest(entry.digest)):
        yield "a component, version or digest that is none"
    if entry.previous and not _is_version(entry.previous):
        yield "a previous version that is none"
    if len(entry.kept) > MAX_LISTED:
        yield f"{len(entry.kept)} kept versions"
    if not all(_is_version(version) and SHA256.fullmatch(digest) for version, digest in entry.kept):
        yield "a kept version that is none"
    if entry.loaded and not _is_version(entry.loaded):
        yield "a loaded version that is none"
    yield from _wrong_texts(entry.layout, entry.damage, entry.unsaid)


def _is_version(text: str) -> bool:
    return VERSION_NAME.fullmatch(text) is not None


def _is_digest(text: str) -> bool:
    return not text or SHA256.fullmatch(text) is not None


def _wrong_texts(*texts: str) -> Iterator[str]:
    for text in texts:
        if len(text) > _MAX_TEXT:
            yield f"a text of {len(text)} characters"
        if not text.isprintable():
            yield "a text with control characters"


def _wrong_report(report: DeployReport, request: DeployRequest) -> Iterator[str]:
    """Say what can't be of what a client tells that it did."""
    if [outcome.component for outcome in report.outcomes] != [step.component for step in request.steps]:
        yield "outcomes of other components than it was asked for"
        return
    most = sum(part.size for step in request.steps for part in step.payload)
    if not 0 <= report.bytes_sent <= most:
        yield f"{report.bytes_sent} bytes that it got, of {most}"
    for step, outcome in zip(request.steps, report.outcomes, strict=True):
        yield from _wrong_outcome(step, outcome, request.purpose, request.relay)


def _wrong_outcome(step: Step, outcome: Outcome, purpose: Purpose, relay: FromRelay | None) -> Iterator[str]:
    possible = _POSSIBLE[purpose] | ({"unpatched"} if step.patched or step.held else set())
    if relay is not None and not step.private:
        possible |= {"unfetched"}
    if outcome.status not in possible:
        yield f"{step.component} is {outcome.status!r}, which was not asked for"
    if outcome.status in _AT_GOAL and (outcome.version, outcome.digest) != (step.to_version, step.to_digest):
        yield f"{step.component} is {outcome.status}, with another version than {step.to_version}"
    if (outcome.version and not _is_version(outcome.version)) or not _is_digest(outcome.digest):
        yield "a version or digest that is none"
    if outcome.fault not in {RELEASE, MACHINE, CONTENTION}:
        yield "a fault that is none"
    if outcome.reason not in REASONS:
        yield "a reason that is none"
    if outcome.loaded and not _is_version(outcome.loaded):
        yield "a loaded version that is none"
    yield from _wrong_texts(outcome.message, outcome.unsaid)
