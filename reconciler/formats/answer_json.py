"""What workers report, as documents: `schema/result.schema.json` describes them.

An answer says what became of one client; at last one says that the batch is over. Files that were read are in base64,
errors by the name of their class, their message, hint and reason: whoever reads makes the same of them, or the nearest
that this version knows. Texts of a worker are cut to what is read here, so that no odd word of one client is in the way
of all others.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, get_args

from reconciler import errors
from reconciler.errors import DocumentError, SpecError, UpdoserError, printable
from reconciler.formats.batch_json import FORMAT_VERSION, MAX_READ, MAX_STEPS, check_format
from reconciler.formats.entries import LINE, Entry, filled, time_text
from reconciler.formats.text import read_object
from reconciler.model.batch import Answer, Ended, NotBegun, StepDone
from reconciler.model.client import MAX_EPOCH, MAX_INSTALLED, Facts, Installed, Profile, Same
from reconciler.model.deploy import OUTCOMES, RELEASE, Fault, Outcome, OutcomeStatus
from reconciler.model.mark import SAID
from reconciler.model.release import COMPONENT_ID, PLATFORM, SHA256, VERSION_NAME
from reconciler.reasons import REASONS

if TYPE_CHECKING:
    from reconciler.model.batch import Report

MAX_REPORT = 128 * 2**20
"""Bytes of a document."""
MAX_CONTENT = 64 * 2**10
"""Bytes of a file that was read."""
_WORDS = 4_000
"""Characters of an error's message, and of its hint."""
_LISTED = 100
"""Entries of the lists that a client tells about itself; `reconciler.client.protocol` takes no more."""
_STATUSES: tuple[OutcomeStatus, ...] = (*OUTCOMES, "skipped")
_NOT_BEGUN: tuple[NotBegun, ...] = get_args(NotBegun)
_FAULTS: tuple[Fault, ...] = get_args(Fault)
_CLASSES = {
    name: made
    for name, made in vars(errors).items()
    if isinstance(made, type) and issubclass(made, UpdoserError) and made is not SpecError
}


def write_report(report: Report) -> bytes:
    """Write what a worker reports."""
    head = {"format_version": FORMAT_VERSION}
    form = _answer_form(report) if isinstance(report, Answer) else _ended_form(report)
    return json.dumps({**head, **form}, separators=(",", ":"), ensure_ascii=False).encode()


def read_report(content: bytes) -> Report:
    """Read what `write_report` wrote, or somebody who pretends to.

    Raises:
        DocumentError: it is malformed, or has a format of another major version.
    """
    try:
        entry = Entry(read_object(content, "the report", MAX_REPORT), "report")
        check_format(entry)
        return _answer(entry) if entry.word("kind", ("answer", "ended")) == "answer" else _ended(entry)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"the report is malformed: {error}") from error


def _ended_form(report: Ended) -> dict[str, Any]:
    return {"kind": "ended", "batch": report.batch, "attempt": report.attempt, **filled(lost=_line(report.lost))}


def _ended(entry: Entry) -> Ended:
    return Ended(entry.text("batch", most=200), entry.number("attempt", least=1), entry.text("lost", ""))


def _answer_form(answer: Answer) -> dict[str, Any]:
    return {
        "kind": "answer",
        "batch": answer.batch,
        "attempt": answer.attempt,
        "client": answer.client,
        **filled(
            not_begun=answer.not_begun,
            steps=[_done_form(done) for done in answer.steps],
            halted=list(answer.halted),
            facts=answer.facts and _facts_form(answer.facts),
            same=answer.same and {"free": answer.same.free},
            files={path: None if found is None else b64encode(found).decode() for path, found in answer.files.items()},
            bytes_sent=answer.bytes_sent,
            fetched=answer.fetched,
            unfetched=_line(answer.unfetched),
            error=answer.error and error_form(answer.error),
            seconds=answer.seconds,
            at=answer.at and time_text(answer.at),
        ),
    }


def _answer(entry: Entry) -> Answer:
    facts, same, error = entry.entry("facts"), entry.entry("same"), entry.entry("error")
    return Answer(
        batch=entry.text("batch", most=200),
        attempt=entry.number("attempt", least=1),
        client=entry.text("client"),
        not_begun=entry.word("not_begun", _NOT_BEGUN, ""),
        steps=tuple(map(_done, entry.entries("steps", most=2 * MAX_STEPS))),
        halted=entry.texts("halted", most=2 * MAX_STEPS),
        facts=_facts(facts) if facts else None,
        same=Same(same.number("free")) if same else None,
        files=_files(entry),
        bytes_sent=entry.number("bytes_sent", 0),
        fetched=entry.number("fetched", 0),
        unfetched=entry.text("unfetched", ""),
        error=_error(error) if error else None,
        seconds=entry.seconds("seconds", 0.0),
        at=entry.time("at"),
    )


def _done_form(done: StepDone) -> dict[str, Any]:
    outcome = done.outcome
    return {
        "component": outcome.component,
        "status": outcome.status,
        **filled(
            version=outcome.version,
            digest=outcome.digest,
            message=_line(outcome.message),
            fault=outcome.fault if outcome.fault != RELEASE else "",
            reason=outcome.reason if outcome.reason != "client" else "",
            loaded=outcome.loaded,
            unsaid=_line(outcome.unsaid),
            from_version=done.from_version,
            sent=done.sent,
            fell_back=done.fell_back,
        ),
    }


def _done(entry: Entry) -> StepDone:
    outcome = Outcome(
        component=entry.text("component", fits=COMPONENT_ID),
        status=entry.word("status", _STATUSES),
        version=entry.text("version", "", fits=VERSION_NAME),
        digest=entry.text("digest", "", fits=SHA256),
        message=entry.text("message", ""),
        fault=entry.word("fault", _FAULTS, RELEASE),
        reason=entry.word("reason", REASONS, "client"),
        loaded=entry.text("loaded", "", fits=VERSION_NAME),
        unsaid=entry.text("unsaid", ""),
    )
    return StepDone(
        outcome=outcome,
        from_version=entry.text("from_version", "", fits=VERSION_NAME),
        sent=entry.number("sent", 0),
        fell_back=entry.flag("fell_back", default=False),
    )


def _facts_form(facts: Facts) -> dict[str, Any]:
    profile = facts.profile
    return {
        "platform": profile.platform,
        "free": facts.free,
        **filled(
            installed=[_installed_form(entry) for entry in profile.installed],
            tools=list(profile.tools),
            lineage=profile.lineage,
            epoch=profile.epoch,
            selinux=profile.selinux,
            unmanaged=list(profile.unmanaged),
            memory=profile.memory,
            seconds=facts.seconds,
            user=facts.user,
            apparmor=facts.apparmor,
            lacks=list(facts.lacks),
            machine=facts.machine,
            unmade=facts.unmade,
            mark=facts.mark,
        ),
    }


def _facts(entry: Entry) -> Facts:
    installed = tuple(map(_installed, entry.entries("installed", most=MAX_INSTALLED)))
    if len({one.component for one in installed}) < len(installed):
        raise ValueError(f"{entry.where} has a component twice")
    profile = Profile(
        entry.text("platform", fits=PLATFORM),
        installed,
        tools=entry.texts("tools", most=_LISTED),
        lineage=entry.text("lineage", ""),
        epoch=entry.number("epoch", 0, most=MAX_EPOCH),
        selinux=entry.flag("selinux", default=False),
        unmanaged=entry.texts("unmanaged", most=_LISTED),
        memory=entry.number("memory", 0, most=2**40),
    )
    return Facts(
        profile,
        entry.number("free"),
        seconds=entry.seconds("seconds", 0.0),
        user=entry.number("user", 0),
        apparmor=entry.flag("apparmor", default=False),
        lacks=entry.texts("lacks", most=_LISTED),
        machine=entry.text("machine", ""),
        unmade=entry.text("unmade", ""),
        mark=entry.text("mark", "", fits=SAID),
    )


def _installed_form(entry: Installed) -> dict[str, Any]:
    return {
        "component": entry.component,
        "version": entry.version,
        **filled(
            digest=entry.digest,
            previous=entry.previous,
            layout=entry.layout,
            damage=entry.damage,
            kept=dict(entry.kept),
            loaded=entry.loaded,
            unsaid=entry.unsaid,
        ),
    }


def _installed(entry: Entry) -> Installed:
    return Installed(
        entry.text("component", fits=COMPONENT_ID),
        entry.text("version", fits=VERSION_NAME),
        entry.text("digest", "", fits=SHA256),
        previous=entry.text("previous", "", fits=VERSION_NAME),
        layout=entry.text("layout", ""),
        damage=entry.text("damage", ""),
        kept=tuple(entry.named("kept", _is_kept, most=_LISTED).items()),
        loaded=entry.text("loaded", "", fits=VERSION_NAME),
        unsaid=entry.text("unsaid", ""),
    )


def _is_kept(version: str, digest: Any) -> bool:
    return VERSION_NAME.fullmatch(version) is not None and type(digest) is str and SHA256.fullmatch(digest) is not None


def _files(entry: Entry) -> dict[str, bytes | None]:
    found = entry.named("files", lambda _path, text: text is None or type(text) is str, most=MAX_READ, longest=4_096)
    files: dict[str, bytes | None] = {}
    for path, text in found.items():
        try:
            files[path] = None if text is None else b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"{entry.where}.files has at {path!r:.80} what isn't base64") from None
        if len(files[path] or b"") > MAX_CONTENT:
            raise ValueError(f"{entry.where}.files has at {path!r:.80} more than {MAX_CONTENT} bytes")
    return files


def read_error(document: Any) -> UpdoserError:
    """Read what `error_form` wrote, or somebody who pretends to.

    Raises:
        DocumentError: it is malformed.
    """
    try:
        return _error(Entry(document, "error"))
    except ValueError as error:
        raise DocumentError(f"the error is malformed: {error}") from error


def error_form(error: UpdoserError) -> dict[str, Any]:
    """Write an error."""
    name = next(made.__name__ for made in type(error).__mro__ if _CLASSES.get(made.__name__) is made)
    return {
        "class": name,
        "message": error.message[:_WORDS],
        "reason": error.reason,
        **filled(hint=error.hint[:_WORDS]),
    }


def _error(entry: Entry) -> UpdoserError:
    """Make the error again; one of a class that isn't known here, as a later version may have it, is one of ours."""
    made = _CLASSES.get(entry.text("class"), UpdoserError)
    error = made(entry.lines("message", most=_WORDS), hint=entry.lines("hint", "", most=_WORDS))
    reason = next((known for known in REASONS if known == entry.text("reason")), None)
    if reason is not None:
        error.reason = reason
    return error


def _line(text: str) -> str:
    """Cut a text to one line that is read."""
    shown = printable(text)
    return shown if len(shown) <= LINE else f"{shown[: LINE - 1]}\u2026"
