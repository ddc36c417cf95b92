"""Files of settings as they are on clients, beside what they will be: for `--diff`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from reconciler.client.protocol import MAX_CONTENT
from reconciler.guards import Caught
from reconciler.model.settings import FileView
from reconciler.templates.book import Book
from reconciler.templates.fault import TemplateFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.contracts import Session
    from reconciler.model.client import Client
    from reconciler.model.plan import Plan
    from reconciler.templates.book import Sheet
    from reconciler.workspace import Workspace

SHOWN = 3
"""Clients of each group of which differences are shown."""
_AT_ONCE = 50
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

    def look(named: tuple[Client, str]) -> list[FileView]:
        client, has = named
        views = [_view(sheet, client) for sheet, _version in book.due(client, has)]
        return _read(views, client, work) if contact else _unknown(views, "nobody was asked")

    items = [found[name] for name in shown if name in found]
    done = {
        client.name: views
        for (client, _has), views in work.plugins.executor.run(look, items, forks=forks, stop=work.means.stop)
    }
    views = [view for name in shown for view in done.get(name, ())]
    return views, {group: len(members) - SHOWN for group, members in names.items() if len(members) > SHOWN}


def _view(sheet: Sheet, client: Client) -> FileView:
    view = FileView(client.name, client.group, sheet.spec.path)
    try:
        return replace(view, after=sheet.render(client), shadow=sheet.render(client, masked=True))
    except TemplateFault as fault:
        return replace(view, trouble=sheet.trouble(fault))


def _read(views: Sequence[FileView], client: Client, work: Workspace) -> list[FileView]:
    paths = [view.path for view in views]
    content: dict[str, bytes | None] = {}
    with Caught() as caught:
        for start in range(0, len(paths), _AT_ONCE):
            part = paths[start : start + _AT_ONCE]
            content |= work.reach.work(client, partial(_read_from, client.install_root, part))
    if caught.error is not None:
        return _unknown(views, caught.brief)
    return [_with(view, content.get(view.path)) for view in views]


def _read_from(root: str, paths: Sequence[str], session: Session) -> dict[str, bytes | None]:
    return session.read(root, paths)


def _with(view: FileView, content: bytes | None) -> FileView:
    if content is not None and len(content) >= MAX_CONTENT:
        return replace(view, unknown=_TOO_LONG)
    return replace(view, before=None if content is None else content.decode("utf-8", "replace"))


def _unknown(views: Sequence[FileView], why: str) -> list[FileView]:
    return [replace(view, unknown=why) for view in views]
