"""Files of settings as they are on clients, beside what they will be: for `--diff`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.client.protocol import MAX_CONTENT
from reconciler.dispatch.jobs import Job, Made, by_site
from reconciler.model.batch import Read, Target
from reconciler.model.settings import FileView
from reconciler.templates.book import Book
from reconciler.templates.fault import TemplateFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.client import Client
    from reconciler.model.plan import Plan
    from reconciler.templates.book import Sheet
    from reconciler.workspace import Workspace

SHOWN = 3
"""Clients of each group of which differences are shown."""
_TOO_LONG = f"it has more than {MAX_CONTENT // 1024} KiB"


def view_settings(plan: Plan, work: Workspace, *, contact: bool, forks: int) -> tuple[list[FileView], dict[str, int]]:
    """Give the files that a plan changes on the first clients of each group, and how many others each group has.

    Without `contact` nobody is asked what is there. A client that doesn't answer says so in its files.

    Raises:
        SpecError, SecretError: a template, or a secret that it reads, is no good.
    """
    names: dict[str, list[str]] = defaultdict(list)
    for change in plan.settings:
        names[change.group] += [name for cohort in change.members for name in plan.members[cohort]]
    shown = [name for members in names.values() for name in sorted(members)[:SHOWN]]
    book = Book(work.spec, work.state.settings_key(), work.means.secret)
    found = {client.name: (client, has) for client, has in work.roll.named(shown)}
    for group in names:
        book.sheets(group)

    done: dict[str, list[FileView]] = {}
    for name in shown:
        if name in found:
            client, has = found[name]
            done[name] = [_view(sheet, client) for sheet, _version in book.due(client, has)]
    if contact:
        done = _read({name: found[name][0] for name in done}, done, work, forks)
    else:
        done = {name: _unknown(views, "nobody was asked") for name, views in done.items()}
    views = [view for name in shown for view in done.get(name, ())]
    return views, {group: len(members) - SHOWN for group, members in names.items() if len(members) > SHOWN}


def _view(sheet: Sheet, client: Client) -> FileView:
    view = FileView(client.name, client.group, sheet.spec.path)
    try:
        return replace(view, after=sheet.render(client), shadow=sheet.render(client, masked=True))
    except TemplateFault as fault:
        return replace(view, trouble=sheet.trouble(fault))


def _read(
    clients: Mapping[str, Client], views: Mapping[str, list[FileView]], work: Workspace, forks: int
) -> dict[str, list[FileView]]:
    """Give the views of files with what clients have; those of clients that weren't asked any more are left out."""
    task = Read()

    def make(job: Job[None]) -> Made:
        paths = tuple(view.path for view in views[job.client.name])
        return Made(task=task, target=Target(client=job.client, paths=paths))

    asked = [client for name, client in clients.items() if views[name]]
    read: dict[str, list[FileView]] = {}
    for job, answer in work.flow(make, forks=forks).answers(*by_site(asked, work.spec.site_of)):
        name = job.client.name
        if answer.error is not None:
            read[name] = _unknown(views[name], answer.error.brief)
        else:
            read[name] = [_with(view, answer.files.get(view.path)) for view in views[name]]
    return read


def _with(view: FileView, content: bytes | None) -> FileView:
    if content is not None and len(content) >= MAX_CONTENT:
        return replace(view, unknown=_TOO_LONG)
    return replace(view, before=None if content is None else content.decode("utf-8", "replace"))


def _unknown(views: Sequence[FileView], why: str) -> list[FileView]:
    return [replace(view, unknown=why) for view in views]
