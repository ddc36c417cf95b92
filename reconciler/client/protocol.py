"""What the client script answers, read as bytes from a stranger: nothing is believed that doesn't fit.

    updoser 1 facts | same | outcomes | content | relay | error
    … lines …
    end

A login shell may print before the first line, and a client that works for long prints `updoser waits` there; what
follows `end` is ignored. Texts lose their control characters. Behind the outcomes of all steps stands for each that
failed a line `NUMBER CODE`: `model.client.FAULTS` tells what that is about; and for each whose engine was asked a line
`NUMBER loaded HOW TEXT`. HOW is the exit status of the question, or why it has none.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import BusyError, ClientError, OtherControllerError, ProtocolError, printable
from reconciler.model.deploy import CONTENTION, FAULTS, OUTCOMES, RELEASE, Outcome, reason_by_code
from reconciler.model.release import COMPONENT_ID, SHA256, VERSION_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.contracts import Completed
    from reconciler.model.deploy import Step

FIRST = re.compile(rb"^updoser (\d{1,3}) (facts|same|outcomes|content|relay|error)$", re.MULTILINE)
TOKEN = re.compile(r"[A-Za-z0-9._:-]{1,128}")
NUMBER = re.compile(r"[0-9]{1,18}")
NO_SCRIPT = 96
"""The exit status where the copy of the script that was to be run isn't there, or is another one."""
NO_FULLBLOCK = 95
"""The exit status where the script can't be read, because dd doesn't read whole blocks."""
NO_UNPACKING = 94
"""The exit status where a packed script came, and no whole one out of it."""
_MAX_TEXT = 1000
MAX_LISTED = 100
"""How many tools, unmanaged files or kept versions a client names."""
MAX_CONTENT = 64 * 1024
"""Bytes of a file that a client shows."""
KIB = 1024
TOOLS_HINT = "install GNU coreutils or busybox there, and have the PATH of the user name them first"
UNWRITABLE_HINT = "give the user the folder, or set `become: {method: sudo}`"
_HINTS = {
    "insecure": "install_root and the folders above it must belong to root or to the user, and nobody else may write",
    "locked": "wait for the other run; a lock whose process is gone is taken over by itself",
    "unwritable": UNWRITABLE_HINT,
    "unreadable": UNWRITABLE_HINT,
    "disk": "make room on the client, or lower client_keep",
    "tools": TOOLS_HINT,
    "protocol": "if `become.command` names a copy of the client script, renew it: updoser doctor --client-script",
}


def lacks_script(done: Completed) -> bool:
    """Say whether a client has no copy of the script, or another one."""
    return done.status == NO_SCRIPT and FIRST.search(done.stdout) is None


def lacks_unpacking(done: Completed) -> bool:
    """Say whether a client couldn't unpack the script."""
    return done.status == NO_UNPACKING and FIRST.search(done.stdout) is None


def read_outcomes(done: Completed, steps: Sequence[Step]) -> tuple[Outcome, ...]:
    """Read the answer to a deploy request, one outcome for each step and in its order.

    Raises:
        OtherControllerError: the client answers to another controller.
        BusyError: another process is changing the client.
        ClientError: the client says that it can't.
        ProtocolError: the answer is malformed or cut short.
    """
    lines = list(answer_lines(done, "outcomes"))
    found = [_outcome(line) for line in lines[: len(steps)]]
    if [outcome.component for outcome in found] != [step.component for step in steps]:
        raise ProtocolError("the client answers for other components than it was asked")
    for line in lines[len(steps) :]:
        number, _, code = line.partition(" ")
        at = int(number) - 1 if NUMBER.fullmatch(number) else -1
        if code.startswith("loaded ") and 0 <= at < len(found) and found[at].status == "changed":
            loaded, unsaid = loaded_of(code.removeprefix("loaded "))
            found[at] = replace(found[at], loaded=loaded, unsaid=unsaid)
            continue
        if not 0 <= at < len(found) or found[at].status != "failed" or not TOKEN.fullmatch(code):
            raise ProtocolError(f"the client's answer has a malformed line: {clean(line)!r}")
        found[at] = replace(found[at], fault=FAULTS.get(code, RELEASE), reason=reason_by_code(code))
    return tuple(found)


def read_content(done: Completed, paths: Sequence[str]) -> dict[str, bytes | None]:
    """Read the answer to a request for files: the content of the first of them, as many as went into one answer.

    Raises:
        ClientError: the client says that it can't.
        ProtocolError: the answer is malformed or cut short.
    """
    found: list[bytearray | None] = []
    for line in answer_lines(done, "content"):
        if line.startswith(" "):
            content = found[-1] if found else None
            if content is None:
                raise ProtocolError("the client's answer has bytes that nobody asked for")
            content += _hexadecimal(line)
            if len(content) > MAX_CONTENT:
                raise ProtocolError(f"the client shows more than {MAX_CONTENT // KIB} KiB of a file")
        elif line == f"file {len(found) + 1}":
            found.append(bytearray())
        elif line == f"none {len(found) + 1}":
            found.append(None)
        else:
            raise ProtocolError(f"the client's answer has a malformed line: {clean(line)!r}")
    if len(found) > len(paths) or not found:
        raise ProtocolError("the client's answer is not about the files that were asked for")
    return {path: None if content is None else bytes(content) for path, content in zip(paths, found, strict=False)}


def _hexadecimal(line: str) -> bytes:
    try:
        return bytes.fromhex(line)
    except ValueError:
        raise ProtocolError(f"the client's answer has a malformed line: {clean(line)!r}") from None


def answer_lines(done: Completed, kind: str) -> Iterator[str]:
    """Give the lines of an answer of the wanted kind.

    Raises:
        UpdoserError: what any other answer means.
    """
    first = FIRST.search(done.stdout)
    if first is None:
        raise _no_answer(done)
    text = done.stdout[first.end() + 1 :].decode("utf-8", "replace")
    body, closing, _rest = f"\n{text}".partition("\nend\n")
    if not closing:
        raise ProtocolError("the client's answer is cut short")
    lines = [line for line in body.split("\n") if line]
    if first[2] == b"error":
        raise _refusal(lines[0] if lines else "")
    if first[2].decode() != kind:
        raise ProtocolError(f"the client answers with {first[2].decode()}, not {kind}")
    yield from lines


def _refusal(line: str) -> ClientError | OtherControllerError:
    code, _, text = clean(line).partition(" ")
    if code == "controller":
        lineage, _, epoch = text.partition(" ")
        return OtherControllerError(
            f"the client answers to another controller (lineage {lineage[:8]}, epoch {epoch})",
            hint="two states drive this client: use the one of that controller",
        )
    if code == "tools":
        text = lacking(text.split(", "))
    refusal = BusyError if FAULTS.get(code) == CONTENTION else ClientError
    reason = reason_by_code(code)
    return refusal(text or "the client refused without a reason", hint=_HINTS.get(code, ""), reason=reason)


def lacking(what: Sequence[str]) -> str:
    """Say what the tools of a client can't do."""
    return f"an update needs what the client's tools can't do: {', '.join(what)}"


def _no_answer(done: Completed) -> ClientError:
    """Say why there is no answer, from the exit status and what the client's shell or sudo said."""
    if done.status == NO_FULLBLOCK:
        return ClientError(lacking(["dd iflag=fullblock"]), hint=TOOLS_HINT, reason="tools")
    said = clean(" ".join(done.stderr.decode("utf-8", "replace").split()))
    lowered = said.lower()
    if "sudo" in lowered and ("password" in lowered or "not allowed" in lowered or "not in the sudoers" in lowered):
        return ClientError(
            f"sudo refuses: {said}",
            hint="allow it without a password in /etc/sudoers.d; the quickstart shows the line",
            reason="sudo",
        )
    if "must have a tty" in lowered:
        return ClientError(
            f"sudo refuses: {said}", hint="put `Defaults:<user> !requiretty` into /etc/sudoers.d", reason="sudo"
        )
    reason = f": {said}" if said else ""
    if done.status in {126, 127}:
        return ClientError(f"the client has no such command (exit status {done.status}){reason}")
    return ProtocolError(f"the client gave no answer (exit status {done.status}){reason}")


_HOW = {
    "late": "no answer came in time",
    "hindered": "there is no folder for its answer",
    "binary": "the answer is no text",
    "126": "the command can't be run (exit 126)",
    "127": "the command isn't there (exit 127)",
}
_MAX_SAID = 60


def loaded_of(answer: str) -> tuple[str, str]:
    """Give the version that an engine says it has loaded, or why that isn't known.

    What it said otherwise is kept short: what clients have is compared by it.
    """
    how, _, text = answer.partition(" ")
    said = clean(text).strip()
    if how == "0" and VERSION_NAME.fullmatch(said):
        return said, ""
    short = said if len(said) <= _MAX_SAID else f"{said[: _MAX_SAID - 1]}\u2026"
    if how == "0":
        return "", f"the answer is no version: {short}" if said else "the answer is empty"
    why = _HOW.get(how) or (f"exit {how}" if NUMBER.fullmatch(how) else "the client doesn't say why")
    return "", f"{why}: {short}" if said else why


def _outcome(line: str) -> Outcome:
    fields = line.split(" ", 4)
    if (
        len(fields) < 4
        or not COMPONENT_ID.fullmatch(fields[0])
        or fields[1] not in OUTCOMES
        or not (fields[2] == "-" or VERSION_NAME.fullmatch(fields[2]))
        or not (fields[3] == "-" or SHA256.fullmatch(fields[3]))
    ):
        raise ProtocolError(f"the client's answer has a malformed line: {clean(line)!r}")
    message = clean(fields[4]) if len(fields) == 5 else ""
    return Outcome(
        component=fields[0], status=fields[1], version=value_of(fields[2]), digest=value_of(fields[3]), message=message
    )


def value_of(text: str) -> str:
    """Give what stands in a field; a dash stands for nothing."""
    return "" if text == "-" else text


def clean(text: str) -> str:
    """Cut a text and take what could move a cursor or break a line."""
    return printable(text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}\u2026")
