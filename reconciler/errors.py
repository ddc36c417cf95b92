"""The tree of errors; each class owns the exit code that a command ends with.

    UpdoserError                     1   something went wrong and the message says what to do
    ├── UsageError                  64   the command line asks for what can't be
    ├── SpecError                   65   the desired state is invalid; carries every problem found
    ├── RefusedError                 5   updoser could, but must not
    │   ├── PolicyError              5   a plan does or finds what --fail-on says it must not
    │   ├── StalePlanError           5   what the plan was made from has changed
    │   ├── LockHeldError            5   another run holds the lock
    │   ├── LockLostError            5   the lock of this run was taken away
    │   ├── LeaseLostError           5   another controller leads by now
    │   ├── OtherControllerError     5   clients answer to another controller
    │   └── InventoryShrankError     5   an inventory lost more clients than allowed
    ├── PluginError                  1   a plugin can't be found, loaded or configured
    ├── SecretError                  1   a secret reference can't be resolved
    ├── NetworkError                 1   a connection can't be made, or broke
    │   └── NoAddressError           1   the host has no address of a family that is allowed
    ├── SourceError                  1   a source can't be read or broke its promise
    ├── RepositoryError              1   what is published can't be read, signed or written
    ├── InventoryError               1   an inventory can't be read
    ├── NotifierError                1   somebody can't be told
    ├── StoreError                   1   the store can't be read or written, or a file is damaged
    │   ├── NoContentError           1   content isn't where it was looked for
    │   └── DamagedError             1   content isn't what its digest says
    ├── PatchError                   1   a patch can't be made, or isn't what it should be
    ├── StateError                   1   the state can't be read or written
    ├── DocumentError                1   a document (plan file, manifest) is malformed
    ├── LimitError                   1   this machine has no more descriptors, memory, threads or processes
    ├── FaultError                   1   updoser did what nobody expected while it worked on one client
    ├── TransportError               4   a client can't be reached
    │   ├── HungUpError              4   the client's server took the connection and dropped it before it greeted
    │   ├── AuthenticationError      4   the client refused every credential
    │   └── HostKeyError             4   the host key is unknown, changed or revoked
    ├── ClientError                  3   a client was reached and failed
    │   ├── ProtocolError            3   its answer isn't what the protocol allows
    │   └── BusyError                3   another process is changing it at this moment
    ├── OutcomeError                 1   how a run ended, when not well: a download failed, a threshold is passed
    │   ├── NotAsDeclaredError       1   what is declared can't be had, or a source can't be read
    │   ├── ClientsFailedError       3   some clients failed
    │   └── ClientsUnreachableError  4   more clients unreachable than tolerated, none failed
    └── InterruptedRunError        130   interrupted; the journal is written, the lock released

Foreign exceptions are mapped where a library is called, never higher: nothing but these leaves a room. What nobody
expected is mapped by `guards`, where a plugin is called and where the work on one part begins: one source, release or
file never ends the work on the others.

A limit of this machine is never a client's fault: `own_limit` tells such an exception from all others.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from reconciler.reasons import Reason


_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}


def printable(text: str, but: str = "") -> str:
    """Show as `?` what could move the cursor, add a line or end a text, but for some: for all that others wrote."""
    return text if text.isprintable() else "".join(char if char.isprintable() or char in but else "?" for char in text)


class UpdoserError(Exception):
    """The root of all errors that a user sees.

    The message says where and what; `hint` says what to do about it. Clients that fail alike are counted under the
    `reason`: that of the class, unless more is known. Whoever wrote a part of the message, nothing in it can move a
    cursor.
    """

    exit_code: ClassVar[int] = 1
    reason: Reason = "other"

    def __init__(self, message: str, *, hint: str = "", reason: Reason | None = None) -> None:
        self.message = printable(message, but="\n\t")
        self.hint = printable(hint, but="\n\t")
        self.reason = reason or self.reason
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    @property
    def brief(self) -> str:
        """The error in one line, `label: message`, as it is recorded and counted."""
        return f"{REASONS[self.reason].label}: {' '.join(self.message.split())}"


class UsageError(UpdoserError):
    """The command line asks for what can't be."""

    exit_code = 64


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the desired state, and where.

    `line` and `column` count from 1; 0 means that the place is not known. `excerpt` is the source line without its line
    end. `file` is as the user named it.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    excerpt: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        lines = [f"{place}: {self.message}" if place else self.message]
        if self.excerpt and self.line:
            gutter = f"  {self.line} | "
            indent = "".join("\t" if char == "\t" else " " for char in self.excerpt[: max(self.column - 1, 0)])
            lines += [gutter + self.excerpt, " " * (len(gutter) - 2) + "| " + indent + "^"]
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class SpecError(UpdoserError):
    """The desired state is invalid; `problems` holds all that was found, in file order."""

    exit_code = 65

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RefusedError(UpdoserError):
    """updoser could, but must not."""

    exit_code = 5


class PolicyError(RefusedError):
    """A plan does or finds what the user said it must not: nothing is wrong with it, and yet it isn't to be applied."""


class StalePlanError(RefusedError):
    """What the plan was made from has changed."""


class LockHeldError(RefusedError):
    """Another run holds the lock."""


class LockLostError(RefusedError):
    """The lock of this run was taken away: by a person, or by another run once this one gave no sign of life."""


class LeaseLostError(RefusedError):
    """Another controller of the same state leads by now."""


class OtherControllerError(RefusedError):
    """Clients answer to another controller."""

    reason: Reason = "controller"


class InventoryShrankError(RefusedError):
    """An inventory lost more clients than allowed."""


class PluginError(UpdoserError):
    """A plugin can't be found, loaded or configured."""


class NotifierError(UpdoserError):
    """A message can't be delivered now."""


class SecretError(UpdoserError):
    """A secret reference can't be resolved."""

    reason: Reason = "secret"


class NetworkError(UpdoserError):
    """A connection can't be made, or broke."""

    reason: Reason = "connection"


class NoAddressError(NetworkError):
    """A host has no address of the families that are allowed: asking again won't help."""

    reason: Reason = "no_way"


class SourceError(UpdoserError):
    """A source can't be read or broke its promise.

    `cooldown_until` is the time before which it doesn't want to be asked again.
    """

    def __init__(self, message: str, *, hint: str = "", cooldown_until: datetime | None = None) -> None:
        super().__init__(message, hint=hint)
        self.cooldown_until = cooldown_until


class RepositoryError(UpdoserError):
    """What is published can't be read, signed or written."""


class InventoryError(UpdoserError):
    """An inventory can't be read."""


class StoreError(UpdoserError):
    """The store can't be read or written, or a file in it is damaged."""


class NoContentError(StoreError):
    """Content isn't where it was looked for."""


class DamagedError(StoreError):
    """Content isn't what its digest, or its size, says: none of it is kept."""


class PatchError(UpdoserError):
    """A patch can't be made, or isn't what it should be."""


class StateError(UpdoserError):
    """The state can't be read or written.

    `passing`: it goes by itself, and nothing of the transaction was written, so that it may be tried again.
    `in_doubt`: it goes by itself, and nobody knows whether the transaction was written.
    """

    def __init__(self, message: str, *, hint: str = "", passing: bool = False, in_doubt: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.passing = passing
        self.in_doubt = in_doubt


class DocumentError(UpdoserError):
    """A document (plan file, manifest) is malformed."""


class LimitError(UpdoserError):
    """This machine has no more descriptors, memory, threads or processes; that says nothing about a client."""

    reason: Reason = "limit"


def own_limit(error: BaseException, *, starting: bool = False) -> LimitError | None:
    """Give the error that a foreign one means when this machine has no room for more; None when it means another thing.

    `starting` a program, EAGAIN means that too; on a connection it is ordinary.
    """
    number = getattr(error, "errno", None)
    threads = isinstance(error, RuntimeError) and "start new thread" in str(error)
    if not (threads or isinstance(error, MemoryError) or number in _NO_ROOM or (starting and number == errno.EAGAIN)):
        return None
    words = getattr(error, "strerror", None) or str(error) or "out of memory"
    return LimitError(
        f"this machine has no room for more: {words[:1].lower()}{words[1:]}",
        hint="work on fewer clients at a time with --forks, or raise what it may have (ulimit -n, ulimit -u, memory)",
    )


REPORT_IT = "please report it, with what UPDOSER_DEBUG=1 shows"
"""What to do about a fault."""


class FaultError(UpdoserError):
    """Updoser did what nobody expected while it worked on one part, such as a client; the others go on."""

    reason: Reason = "fault"


_MAX_WORDS = 500


def words_of(error: BaseException) -> str:
    """Say what an exception is, in bounded words, whoever wrote its class."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - its own `__str__` is broken, too
        text = "it can't say why"
    said = f"{type(error).__name__}{': ' if text else ''}{text}"
    return said if len(said) <= _MAX_WORDS else f"{said[: _MAX_WORDS - 1]}\u2026"


class TransportError(UpdoserError):
    """A client can't be reached."""

    exit_code = 4
    reason: Reason = "connection"


class HungUpError(TransportError):
    """The client's server took the connection and dropped it before it greeted: it has too many at the moment."""

    reason: Reason = "crowded"


class AuthenticationError(TransportError):
    """The client refused every credential."""

    reason: Reason = "login"


class HostKeyError(TransportError):
    """The host key is unknown, changed or revoked."""

    reason: Reason = "host_key"


class ClientError(UpdoserError):
    """A client was reached and failed."""

    exit_code = 3
    reason: Reason = "client"


class ProtocolError(ClientError):
    """A client's answer isn't what the protocol allows."""

    reason: Reason = "protocol"


class BusyError(ClientError):
    """Another process is changing the client at this moment, maybe one that lost its controller: look again later."""

    reason: Reason = "busy"


class OutcomeError(UpdoserError):
    """How a run ended, when not well."""


class NotAsDeclaredError(OutcomeError):
    """What is declared can't be had, a source can't be read, or another problem is left; all else is done."""


class ClientsFailedError(OutcomeError):
    """Some clients failed."""

    exit_code = 3


class ClientsUnreachableError(OutcomeError):
    """More clients were unreachable than tolerated, and none failed."""

    exit_code = 4


class InterruptedRunError(UpdoserError):
    """Interrupted by the user; the journal is written and the lock released."""

    exit_code = 130
