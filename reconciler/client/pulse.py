"""When a client was last heard of while it is waited for, by which who counts those under way knows the silent ones.

A client is waited for in one of three ways (`WaitedFor`): it is being reached, it is looked at, or it is in the middle
of a change; `of` says which others it is compared with. Signs of it are the begin of that, and each piece of content
that is taken for it. All other time is ours, such as pauses, content that is brought here, a turn that is waited for:
it isn't silent then, however long that takes.

A sign is an attribute that one thread writes and others read, without a lock and without a cost for each byte.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from io import BytesIO
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeAlias, TypeVar, cast

from reconciler.contracts import MarkingSession
from reconciler.model.mark import compares
from reconciler.model.question import NOTHING_ASKED

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Session, ToolsTried
    from reconciler.model.client import Facts, Same
    from reconciler.model.deploy import DeployReport, DeployRequest
    from reconciler.model.question import Asked

    Content: TypeAlias = Callable[[str], AbstractContextManager[BinaryIO]]

ResultT = TypeVar("ResultT")
WaitedFor: TypeAlias = Literal["reached", "looked at", "changed"]


class Wait(NamedTuple):
    """What a client is waited for; those of which all of it is the same are alike."""

    what: WaitedFor
    of: Hashable = None


REACHED = Wait("reached")


class Pulse:
    """The signs of one client under way. Its own thread writes them; `at` and `wait` may be read from any."""

    __slots__ = ("_clock", "_crowded", "_longest", "_through", "_waited_for", "at", "wait")

    def __init__(
        self,
        through: Callable[[Wait, float], None] = lambda _wait, _longest: None,
        crowded: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take what is told of each wait that ended well, with its longest silence, and of a machine without room."""
        self._through = through
        self._crowded = crowded
        self._clock = clock
        self._longest = 0.0
        self._waited_for = False
        self.at = inf
        """When it was last heard of; `inf` while it isn't waited for."""
        self.wait = REACHED

    def waits(self, wait: Wait, work: Callable[[], ResultT]) -> ResultT:
        """Do work in which the client is waited for, and give what comes of it."""
        self.begin(wait)
        try:
            result = work()
        except BaseException:
            self.end()
            raise
        self.end(well=True)
        return result

    def begin(self, wait: Wait) -> None:
        """Begin to wait for the client."""
        self.wait, self._longest, self._waited_for = wait, 0.0, True
        self.at = self._clock()

    def end(self, *, well: bool = False) -> None:
        """Wait no more; where the client came through `well`, its longest silence is one that is usual."""
        self.touch()
        self._waited_for = False
        self.at = inf
        if well:
            self._through(self.wait, self._longest)

    def touch(self) -> None:
        """Say that the client was heard of."""
        now = self._clock()
        silent = now - self.at
        if silent > self._longest:  # noqa: PLR1730 - `max` costs three times as much
            self._longest = silent
        self.at = now if self._waited_for else inf  # a thread of a transport may take content late

    def rest(self) -> None:
        """Say that the client was heard of, and isn't waited for until the next sign."""
        self.touch()
        self.at = inf

    def crowded(self) -> None:
        """Say that this machine had no room for the work on the client."""
        self._crowded()

    @contextmanager
    def content(self, content: Content, sha256: str) -> Iterator[BinaryIO]:
        """Open content, of which each piece that is taken is a sign of the client."""
        self.rest()
        with content(sha256) as stream:
            self.touch()
            yield stream if isinstance(stream, BytesIO) else cast("BinaryIO", _Heard(stream, self))


class HeardSession:
    """The `Session` protocol over another session, whose client is waited for in each call."""

    def __init__(self, session: Session, pulse: Pulse, like: Hashable = None) -> None:
        """Take the session, where the signs of its client go, and what changes of it are compared by."""
        self._session = session
        self._pulse = pulse
        self._like = like

    def facts(
        self, install_root: str, *, verify: bool = False, tools: ToolsTried = "", asked: Asked = NOTHING_ASKED
    ) -> Facts:
        """Look at the client; see `contracts.Session`."""
        session, wait = self._session, Wait("looked at", (verify, tools, bool(asked.questions)))
        return self._pulse.waits(wait, lambda: session.facts(install_root, verify=verify, tools=tools, asked=asked))

    def look_again(self, install_root: str, mark: str) -> Facts | Same:
        """Look at the client unless it is as it was; see `contracts.MarkingSession`."""
        session = self._session
        if not mark or not isinstance(session, MarkingSession):
            return self.facts(install_root)
        wait = Wait("looked at", ("again", compares(mark)))
        return self._pulse.waits(wait, lambda: session.look_again(install_root, mark))

    def deploy(self, request: DeployRequest, content: Content) -> DeployReport:
        """Carry out a request; see `contracts.Session`."""
        session, heard = self._session, partial(self._pulse.content, content)
        wait = Wait("looked at" if request.purpose == "check" else "changed", (request.purpose, self._like))
        return self._pulse.waits(wait, lambda: session.deploy(request, heard))

    def read(self, install_root: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Read small files; see `contracts.Session`."""
        return self._pulse.waits(Wait("looked at", "files"), lambda: self._session.read(install_root, paths))


class _Heard:
    """A stream of content; what it is read with is a sign, and the time in which it is read is ours."""

    def __init__(self, stream: BinaryIO, pulse: Pulse) -> None:
        self._stream = stream
        self._pulse = pulse

    def read(self, size: int = -1, /) -> bytes:
        self._pulse.rest()
        data = self._stream.read(size)
        self._pulse.touch()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
