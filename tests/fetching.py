"""A source whose releases have to be fetched before anybody knows their bytes, for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import SourceError
from reconciler.model.offer import Unfetched
from reconciler.model.release import ANY_PLATFORM
from tests.fakes import FakeSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.offer import SourceReport
    from reconciler.model.release import Component, Release, ReleaseKey


class FakeFetchingSource(FakeSource):
    """A source whose unfetched releases a test adds with the bytes that they turn out to have.

    What is in `broken` can't be fetched. `fetched` are the releases that were, in that order.
    """

    def __init__(self, name: str = "fake") -> None:
        super().__init__(name)
        self.broken: set[ReleaseKey] = set()
        self.fetched: list[ReleaseKey] = []
        self._unfetched: dict[ReleaseKey, tuple[Unfetched, Mapping[str, bytes]]] = {}

    def add_unfetched(
        self,
        component: str,
        version: str,
        files: Mapping[str, bytes],
        platform: str = ANY_PLATFORM,
        *,
        size: int | None = None,
        **fields: object,
    ) -> Unfetched:
        """Add a release that nobody knows the bytes of."""
        entry = Unfetched(component, version, platform, size, **fields)  # type: ignore[arg-type]
        self._unfetched[entry.key] = entry, files
        return entry

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """List the releases of these components, and those that are to be fetched."""
        unfetched = tuple(entry for entry, _files in self._unfetched.values() if entry.component in components)
        return replace(super().releases(components), unfetched=unfetched)

    def fetch(self, component: str, version: str, platform: str) -> Release:
        """Fetch a release: from then on it is listed with its bytes."""
        self.calls["fetch"] += 1
        key = component, version, platform
        for release in self._releases:
            if (release.component, release.version, release.platform) == key:
                return release
        if key in self.broken or key not in self._unfetched:
            raise SourceError(f"{component} {version} can't be fetched: its signature is wrong")
        entry, files = self._unfetched.pop(key)
        self.fetched.append(key)
        return self.add(component, version, files, platform, released=entry.released)
