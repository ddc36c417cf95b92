"""Shows what an apply would do, and writes it down; shows what was written down."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.desk import base_spec
from reconciler.errors import OutcomeError, UpdoserError, UsageError
from reconciler.files import check_writable
from reconciler.observe.observed import Sight, known_reports
from reconciler.planning import PlanOptions, against_base, whole_plan, with_spec_changes
from reconciler.present.closing import after_plan
from reconciler.present.document import (
    plan_document,
)
from reconciler.present.policy import check_policy
from reconciler.present.render import FORMATS, View, render
from reconciler.present.views import PLAN
from reconciler.storage.planfile import read_key, write_plan_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.desk import Desk
    from reconciler.model.plan import Plan
    from reconciler.model.settings import FileView
    from reconciler.present.policy import Condition
    from reconciler.workspace import Workspace

CHANGES_DUE = 2


@dataclass(frozen=True, slots=True)
class ShowOptions:
    """How to show a plan.

    `names` lists the clients of each change, and what changes in files; `out` is where the plan is written, signed with
    the key of the file `sign`; `detailed` tells changes and drift by the exit code. A condition of the `policy`
    that the plan meets makes the command fail, once all is shown and written. `base`, a file or a git revision, is what
    the plan is compared with.
    """

    names: bool = False
    out: Path | None = None
    sign: Path | None = None
    detailed: bool = False
    policy: tuple[Condition, ...] = ()
    base: str = ""


def plan(desk: Desk, options: PlanOptions, showing: ShowOptions) -> int:
    """Show what an apply would do, and write it down for that apply when asked."""
    key = _ready_to_write(showing)
    with ExitStack() as stack:
        base = stack.enter_context(base_spec(desk, showing.base)) if showing.base else None
        work = stack.enter_context(at_work(desk))
        made = with_spec_changes(whole_plan(work, options), work)
        if base is not None:
            made = against_base(made, work, options, base)
        written = showing.out is not None or desk.terminal.into is not None
        document = plan_document(made, whole=written or not FORMATS[desk.form].talks)
        form, within = FORMATS[desk.form], {}
        if showing.names and form.whole:
            within["files"] = changed_files(made, work, options.sight)
        shown = [
            desk.terminal.rendered(document, desk.form, PLAN, look=desk.terminal.look, names=showing.names, **within)
        ]
        if showing.names and not form.single:
            shown.append(file_changes(made, work, options.sight, desk.form))
        if showing.out is not None:
            write_plan_file(showing.out, document, key, record=partial(record_plan, work, made))
        for text in shown:
            desk.terminal.result(text)
        desk.terminal.keep(document)
        check_policy(showing.policy, document)
        check_absent(work, options.sight)
    out = str(showing.out) if showing.out else ""
    signed = ["--sign", str(showing.sign)] if showing.sign else []
    hint = after_plan(document, out=out, options=asked_again(options), spec=[*signed, *desk.options])
    desk.terminal.hint(hint)
    return (
        CHANGES_DUE if showing.detailed and (made.drift or made.stuck or not made.empty or not made.as_declared) else 0
    )


def asked_again(options: PlanOptions) -> list[str]:
    """Give the options by which an apply plans the same."""
    named = (("--limit", (options.sight.limit,)), ("--target", options.targets), ("--expedite", options.expedited))
    return [word for option, values in named for value in values if value for word in (option, value)]


def _ready_to_write(showing: ShowOptions) -> bytes | None:
    """Give the key that signs the plan; what can't be written or signed fails before anything is looked at.

    Raises:
        UsageError: there would be nothing to sign.
        UpdoserError: the key can't be read, or the file can't be written.
    """
    if showing.out is None:
        if showing.sign is not None:
            raise UsageError("--sign: there is no plan file to sign", hint="say where the plan goes with --out FILE")
        return None
    key = read_key(showing.sign) if showing.sign else None
    try:
        check_writable(showing.out)
    except FileNotFoundError as error:
        folder = shlex.quote(str(showing.out.parent))
        raise UpdoserError(f"--out: the folder of {showing.out} isn't there", hint=f"mkdir -p {folder}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UpdoserError(f"--out: {showing.out} can't be written: {why}") from error
    return key


def record_plan(work: Workspace, made: Plan, sha256: str) -> None:
    """Remember a plan, and the digest of its file, so that an apply of it can be told from others."""
    work.state.record_plan(made.plan_id, sha256, made.basis.serial, made.created)


def check_absent(work: Workspace, sight: Sight) -> None:
    """Fail when a source couldn't be read that the spec wants to be there; all else is done by then."""
    strict = {source.name for source in work.spec.sources if source.absent_is_error} if sight.refresh else set()
    absent = [report.source for report in known_reports(work) if report.error and report.source in strict]
    if absent:
        raise OutcomeError(f"can't be read, and `when_absent` says `error`: {', '.join(absent)}")


def file_changes(made: Plan, work: Workspace, sight: Sight, form: str) -> str:
    """Show what will change in files of settings."""
    found = changed_files(made, work, sight)
    if not found:
        return ""
    from reconciler.present.settings_text import files_text

    return render(found, form, View(files_text))


def changed_files(made: Plan, work: Workspace, sight: Sight) -> tuple[Sequence[FileView], Mapping[str, int]] | None:
    """Give the files of settings that change, and how many clients of each group aren't looked at for that."""
    if not made.settings:
        return None
    from reconciler.observe.settings import view_settings

    return view_settings(made, work, contact=sight.refresh and sight.contact, forks=sight.forks)
