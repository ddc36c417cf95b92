"""Settings become steps like any other: one for each file that differs, made when the client's turn has come.

Rendered files exist in memory only, for as long as one client is worked on.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.model.deploy import WELL, ClientCheck, Hooks, InstallTarget, Layout, Outcome, Step
from reconciler.model.release import ReleaseFile, content_digest
from reconciler.model.settings import Have, is_setting, pack, unpack
from reconciler.templates.fault import TemplateFault
from reconciler.templates.settings_file import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.client import Client
    from reconciler.templates.book import Book, Sheet

_MAX_NAME = 150
_MIN_HIDDEN = 4
_MASK = "********"
_NOTHING = Have("", "")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a client gets: steps, the content that they send by its SHA-256, and what can't be rendered for it.

    `hidden` are the secrets in it: a client that shows them in an answer must not get them written down.
    """

    steps: tuple[Step, ...] = ()
    content: Mapping[str, bytes] = field(default_factory=dict)
    bad: tuple[tuple[Step, Outcome], ...] = ()
    hidden: tuple[str, ...] = ()

    def masked(self, outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
        """Take secrets out of what a client says."""
        return tuple(replace(outcome, message=self._mask(outcome.message)) for outcome in outcomes)

    def _mask(self, text: str) -> str:
        for secret in self.hidden:
            text = text.replace(secret, _MASK)
        return text


NOTHING = Prepared()


def prepare(book: Book, client: Client, has: str) -> Prepared:
    """Render the files of a client that differ from `has`; all of them where none does any more."""
    there, due = unpack(has), book.due(client, has)
    steps: list[Step] = []
    content: dict[str, bytes] = {}
    bad: list[tuple[Step, Outcome]] = []
    for sheet, version in due:
        before = there.get(sheet.id, _NOTHING)
        try:
            made = sheet.render(client).encode()
        except (TemplateFault, UnicodeEncodeError) as error:
            fault = error if isinstance(error, TemplateFault) else TemplateFault("the result isn't text")
            step = Step(
                component=sheet.id,
                from_version=before.version,
                from_digest=before.digest,
                to_version=version,
                to_digest="",
                files=(),
            )
            told = f"{sheet.spec.path}: {sheet.trouble(fault)}"
            failed = Outcome(sheet.id, "failed", before.version, before.digest, message=told, reason="settings")
            bad.append((step, failed))
            continue
        file = ReleaseFile(_name(sheet), len(made), hashlib.sha256(made).hexdigest())
        content[file.sha256] = made
        steps.append(_step(sheet, before, version, file))
    return Prepared(tuple(steps), content, tuple(bad), _hidden(sheet for sheet, _version in due))


def _name(sheet: Sheet) -> str:
    return sheet.spec.path.rpartition("/")[2]


def _step(sheet: Sheet, before: Have, version: str, file: ReleaseFile) -> Step:
    setting = sheet.spec
    folder = setting.path.rpartition("/")[0]
    target = InstallTarget(
        files="*", to=folder, method=setting.method, owner=setting.owner, group=setting.group, mode=setting.mode
    )
    return Step(
        component=sheet.id,
        from_version=before.version,
        from_digest=before.digest,
        to_version=version,
        to_digest=content_digest([file]),
        files=(file,),
        layout=Layout((target,)),
        checks=_checks(sheet, file.name),
        hooks=Hooks(after=setting.hook),
        private=True,
    )


def _checks(sheet: Sheet, name: str) -> tuple[ClientCheck, ...]:
    """Give the check that runs `validate` on the file before it is put in its place."""
    if not sheet.spec.validate:
        return ()
    staged = f'"$UPDOSER_STAGED"/{shlex.quote(name)}'
    run = PLACEHOLDER.sub(lambda _found: staged, sheet.spec.validate)
    return (ClientCheck(f"validate {sheet.spec.path[-_MAX_NAME:]}", "staged", run),)


def _hidden(sheets: Iterable[Sheet]) -> tuple[str, ...]:
    parts = {
        part
        for sheet in sheets
        for secret in sheet.secrets.values()
        for part in (secret, *secret.splitlines())
        if len(part) >= _MIN_HIDDEN
    }
    return tuple(sorted(parts, key=len, reverse=True))


def has_after(has: str, outcomes: Iterable[Outcome], steps: Mapping[str, Step]) -> str:
    """Give which settings a client has after a task, from its answers."""
    now = unpack(has)
    for outcome in outcomes:
        if not is_setting(outcome.component):
            continue
        step = steps[outcome.component]
        if outcome.status in WELL:
            now[step.component] = Have(step.to_version, step.to_digest)
        elif outcome.version:
            now[step.component] = Have(outcome.version, outcome.digest)
        else:
            now.pop(step.component, None)
    return pack(now)
