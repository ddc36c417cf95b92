"""The line behind a result that says what to do next: the one thing that is most useful, or nothing.

    Next: updoser apply plan.json

It is for people at a terminal or a log of CI: not part of any document, and nothing where all is as it should be.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from reconciler.present.rollout_text import is_alarm
from reconciler.reasons import REASONS, reached

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Entry = Mapping[str, Any]

UNREACHED, FAILED = "state=unreachable", "state=failed"


def command(*words: str, spec: Sequence[str] = ()) -> str:
    """Give a command of updoser as a shell takes it; `spec` are the options that name the spec, if it needs some."""
    return shlex.join(["updoser", *words, *spec])


def after_plan(document: Entry, *, out: str = "", options: Sequence[str] = (), spec: Sequence[str] = ()) -> str:
    """Say what to do about a plan; `out` is its file, if it has one, and `options` are those that it was made with."""
    if any(is_alarm(entry) for entry in document["rollouts"]):
        return ""  # it stands at the top, with what to do
    moves = any(entry["new"] for entry in document["rollouts"])
    if document["changes"] or document.get("claims") or moves:
        return command("apply", out, spec=spec) if out else command("apply", *options, spec=spec)
    waits = [entry["component"] for entry in document["rollouts"] if entry.get("awaits_approval")]
    if waits:
        return command("rollout", "approve", waits[0], spec=spec)
    if document["summary"]["unknown"] or document["summary"]["unreachable"]:
        return command("clients", "--where", UNREACHED, spec=spec)
    return command("doctor", spec=spec) if document.get("unread") else ""


def after_apply(document: Entry, *, spec: Sequence[str] = ()) -> str:
    """Say what to do about the report of an apply that ended well; who fails otherwise is told by the error."""
    if document["unreachable"]:
        return command("clients", "--where", UNREACHED, spec=spec)
    return ""


def after_status(document: Entry, *, spec: Sequence[str] = ()) -> str:
    """Say what to do about a status."""
    if any(is_alarm(entry) for entry in document["rollouts"]):
        return ""
    if document["troubles"]:
        off = any(not reached(REASONS[entry["reason"]].label) for entry in document["troubles"])
        return command("clients", "--where", UNREACHED if off else FAILED, spec=spec)
    if any(entry["outdated"] for entry in document["components"]):
        return command("plan", spec=spec)
    return ""
