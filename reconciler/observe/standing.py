"""Files of settings as one client has them, beside what it should have: for the answer to why it has what it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import SecretError, SpecError
from reconciler.model.settings import setting_id, unpack
from reconciler.templates.book import Book, template_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.client import Client
    from reconciler.model.settings import Have
    from reconciler.model.standing import StandingState
    from reconciler.templates.book import Sheet
    from reconciler.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSetting:
    """A file of settings on a client: `wanted` is the version that it should have, `has` what is there.

    `path` and `template` are empty where nothing asks for it. `names` and `entries` are what the template reads of the
    spec's variables and of the client's. `trouble` says why nobody knows what the client should have.
    """

    id: str
    path: str = ""
    template: str = ""
    has: Have | None = None
    wanted: str = ""
    names: frozenset[str] = frozenset()
    entries: frozenset[str] = frozenset()
    trouble: str = ""

    @property
    def state(self) -> StandingState:
        """How the two compare."""
        if not self.path:
            return "unmanaged"
        if self.trouble:
            return "unknown"
        if self.has is None:
            return "missing"
        if not self.has.digest:
            return "damaged"
        return "updated" if self.has.version == self.wanted else "outdated"


def settings_of(work: Workspace, client: Client, has: str) -> list[SeenSetting]:
    """Give the files of settings of a client: those that it should have, then those that it has beside them."""
    there = unpack(has)
    specs = work.spec.groups[client.group].settings
    book = Book(work.spec, work.state.settings_key(), work.means.secret)
    sheets: Mapping[str, Sheet] = {}
    trouble = ""
    try:
        sheets = {sheet.id: sheet for sheet in book.sheets(client.group)}
    except SpecError as error:
        trouble = "; ".join(f"{one.file}:{one.line}: {one.message}" for one in error.problems)
    except SecretError as error:
        trouble = error.message
    found = []
    for spec in specs:
        id_ = setting_id(spec.path)
        sheet = sheets.get(id_)
        found.append(
            SeenSetting(
                id=id_,
                path=spec.path,
                template=template_name(spec, work.spec),
                has=there.pop(id_, None),
                wanted=sheet.version(sheet.inputs(client)) if sheet else "",
                names=frozenset(sheet.shared) if sheet else frozenset(),
                entries=frozenset(sheet.inputs(client).get("vars", ())) if sheet else frozenset(),
                trouble=trouble,
            )
        )
    return [*found, *(SeenSetting(id=id_, has=have) for id_, have in sorted(there.items()))]
