"""When a fleet was protected by each release; what was reached stays so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from reconciler.model.protection import MILESTONES, Protection
from reconciler.storage.base import Part, seconds
from reconciler.storage.cells import checked
from reconciler.storage.database import upsert
from reconciler.storage.tables import PROTECTION

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class Protections(Part):
    """Time to protection."""

    def protections(self) -> dict[tuple[str, str], Protection]:
        """Give what is known of each (component, version) that is followed, the latest of a component last."""
        with self._read() as connection:
            found = {}
            for row in connection.execute(select(PROTECTION).order_by(PROTECTION.c.component, PROTECTION.c.began)):
                times = {name: self._past(getattr(row, name)) for name in ("began", *MILESTONES)}
                one = Protection(row.component, row.version, loads=row.loads, **times)  # type: ignore[arg-type]
                found[row.component, row.version] = checked(one)
            return found

    def keep_protections(self, found: Iterable[Protection]) -> None:
        """Remember what was reached; what was before stays as it is, whatever is said now."""
        with self._write() as connection:
            for one in found:
                reached = {name: seconds(at) for name in MILESTONES if (at := one.at(name)) is not None}
                key = {"component": one.component, "version": one.version}
                upsert(connection, PROTECTION, [{**key, "began": seconds(one.began), "loads": one.loads}], ())
                here = [PROTECTION.c[name] == value for name, value in key.items()]
                if reached:
                    values = {name: func.coalesce(PROTECTION.c[name], at) for name, at in reached.items()}
                    connection.execute(PROTECTION.update().where(*here).values(**values))

    def forget_protections(self, before: datetime) -> None:
        """Forget releases that were first offered before a time."""
        with self._write() as connection:
            connection.execute(delete(PROTECTION).where(PROTECTION.c.began < seconds(before)))
