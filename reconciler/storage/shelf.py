"""What the state keeps of a store whose content several machines share: manifests, and what is known of content.

Content that no manifest names any more is `left`: it stays for a time, as somebody elsewhere may be about to read it,
and a manifest that names it again takes that back in the same transaction. Content that was found damaged is known to
all, until somebody has brought it again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import and_, delete, select

from reconciler.storage.base import Part, seconds
from reconciler.storage.database import upsert
from reconciler.storage.tables import CONTENT_MARKS, MANIFESTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import timedelta

    from sqlalchemy import ColumnElement

ManifestKind = Literal["release", "incremental"]
Mark = Literal["left", "damaged"]
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ManifestKey:
    """What names a manifest. The name of an incremental has both of its versions; a release has no codec."""

    kind: ManifestKind
    component: str
    name: str
    platform: str
    codec: str = ""

    def __str__(self) -> str:
        return f"{self.component} {self.name} for {self.platform}{self.codec and f' by {self.codec}'}"


class Shelf(Part):
    """The manifests of a store, and marks of its content."""

    def manifests(self, kind: ManifestKind) -> list[tuple[ManifestKey, str]]:
        """Give all manifests of a kind, as the texts that were kept."""
        table = MANIFESTS.c
        with self._read() as connection:
            rows = connection.execute(
                select(table.component, table.name, table.platform, table.codec, table.document).where(
                    table.kind == kind
                )
            )
            return [
                (
                    ManifestKey(
                        kind=kind, component=row.component, name=row.name, platform=row.platform, codec=row.codec
                    ),
                    row.document,
                )
                for row in rows
            ]

    def manifest(self, key: ManifestKey) -> str | None:
        """Give one manifest; None where there is none."""
        with self._read() as connection:
            return connection.scalar(select(MANIFESTS.c.document).where(_is(key)))

    def keep_manifest(self, key: ManifestKey, document: str, digests: Collection[str]) -> None:
        """Keep a manifest, in place of what has its name; the content that it names isn't left any more."""
        with self._write(lasts=True) as connection:
            upsert(connection, MANIFESTS, [{**asdict(key), "document": document}], ("document",))
            for some in _some(digests):
                marks = CONTENT_MARKS.c
                connection.execute(delete(CONTENT_MARKS).where(marks.mark == "left", marks.sha256.in_(some)))

    def drop_manifest(self, key: ManifestKey) -> None:
        """Forget a manifest."""
        with self._write(lasts=True) as connection:
            connection.execute(delete(MANIFESTS).where(_is(key)))

    def leave_content(self, digests: Iterable[str]) -> None:
        """Say that no manifest names content any more, from now on; what was left before stays so since then."""
        self._mark("left", digests)

    def left_content(self, grace: timedelta) -> set[str]:
        """Give the content that was left longer ago than that."""
        before = seconds(self._clock() - grace)
        marks = CONTENT_MARKS.c
        with self._read() as connection:
            return set(connection.scalars(select(marks.sha256).where(marks.mark == "left", marks.at <= before)))

    def damaged_content(self) -> set[str]:
        """Give the content that was found damaged, and not brought again since."""
        with self._read() as connection:
            return set(connection.scalars(select(CONTENT_MARKS.c.sha256).where(CONTENT_MARKS.c.mark == "damaged")))

    def mark_damaged(self, digests: Iterable[str]) -> None:
        """Have all know that content is damaged."""
        self._mark("damaged", digests)

    def _mark(self, mark: Mark, digests: Iterable[str]) -> None:
        """Mark content that has no such mark yet."""
        at = seconds(self._clock())
        rows = [{"sha256": sha256, "mark": mark, "at": at} for sha256 in sorted(set(digests))]
        if rows:
            with self._write() as connection:
                upsert(connection, CONTENT_MARKS, rows, ())

    def unmark(self, mark: Mark, digests: Collection[str]) -> None:
        """Forget a mark: content is gone, or was brought again."""
        if digests:
            with self._write() as connection:
                for some in _some(digests):
                    marks = CONTENT_MARKS.c
                    connection.execute(delete(CONTENT_MARKS).where(marks.mark == mark, marks.sha256.in_(some)))


def _is(key: ManifestKey) -> ColumnElement[bool]:
    return and_(*(MANIFESTS.c[name] == value for name, value in asdict(key).items()))


def _some(digests: Collection[str]) -> Iterable[Sequence[str]]:
    """Give digests in parts that a statement can name."""
    ordered = sorted(digests)
    return (ordered[at : at + _AT_ONCE] for at in range(0, len(ordered), _AT_ONCE))
