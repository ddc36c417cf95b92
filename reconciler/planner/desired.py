"""Which release each platform should run: the highest that is known, or the one that is pinned.

* Known is what the store holds and what trusted sources offer. A release that vanished upstream but is held still
  counts: a source that is away changes nothing on clients.
* `latest` is the highest version by the component's scheme. An exact version is a pin; when nobody has it, nothing
  is wanted of the component and the plan says so.
* A client gets releases of its own platform and of `any`; of equal versions its own platform's.
* A version that a trusted source withdrew is wanted by nobody; a pin to it wants nothing, and the plan says so.
* A version that is held with one content and offered with another is never taken from the source: the plan says so, and
  what is held stays in force.

Example: held 16.677.00, offered 16.677.00 and 16.679.00, `version: latest` -> 16.679.00, to be downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.release import ANY_PLATFORM
from reconciler.model.spec import LATEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.release import Offer, Release, Withdrawal
    from reconciler.model.spec import ComponentSpec
    from reconciler.model.version import Version


@dataclass(frozen=True, slots=True)
class Target:
    """The release that clients of a platform should run. `source` is empty when the store holds it already."""

    spec: ComponentSpec
    version: Version
    release: Release
    source: str
    pinned: bool


class Desired:
    """The targets of all managed components, asked by component and client platform.

    `problems` are sentences: pins that nobody has, offers that contradict what is held. `held` gives the releases in
    the store by content digest, `newest_held` the highest version there by (component, platform), `known` all versions
    of a component that are held or offered, `withdrawn` why a (component, version) is wanted by nobody.
    """

    def __init__(
        self,
        components: Mapping[str, ComponentSpec],
        held: Sequence[Release],
        offers: Sequence[Offer],
        withdrawn: Mapping[str, Sequence[Withdrawal]] | None = None,
    ) -> None:
        self.problems: list[str] = []
        self.withdrawn = {
            (entry.component, entry.version): f"withdrawn by source {source}: {entry.reason}"
            for source, entries in (withdrawn or {}).items()
            for entry in entries
        }
        self.held = {release.digest: release for release in held}
        self.newest_held: dict[tuple[str, str], Version] = {}
        self.known: dict[str, set[str]] = {component: set() for component in components}
        self._targets: dict[tuple[str, str], Target] = {}
        holding = {(release.component, release.version, release.platform): release for release in held}
        known: dict[str, list[Target]] = {component: [] for component in components}
        for release in held:
            self._learn(components, known, release, "")
        for offer in offers:
            release = offer.release
            twin = holding.get((release.component, release.version, release.platform))
            if twin is None:
                self._learn(components, known, release, offer.source)
            elif twin.digest != release.digest and release.component in components:
                self.problems.append(
                    f"{release.component} {release.version}: source {offer.source} now offers other bytes than the "
                    f"store holds ({release.digest[:12]}, held {twin.digest[:12]}); the held release stays in force"
                )
        for component, spec in components.items():
            self._choose(spec, known[component])

    def target(self, component: str, platform: str) -> Target | None:
        """Give what clients of a platform should run of a component; None when nothing is wanted or known."""
        own = self._targets.get((component, platform))
        common = self._targets.get((component, ANY_PLATFORM))
        if own is None or common is None:
            return own or common
        return common if common.version > own.version else own

    def targets(self, component: str) -> list[Target]:
        """Give the targets of a component on all platforms."""
        return [target for (known, _platform), target in self._targets.items() if known == component]

    def _learn(
        self, components: Mapping[str, ComponentSpec], known: Mapping[str, list[Target]], release: Release, source: str
    ) -> None:
        spec = components.get(release.component)
        if spec is None or not spec.component.scheme.accepts(release.version):
            return
        version = spec.component.version(release.version)
        self.known[release.component].add(release.version)
        known[release.component].append(Target(spec, version, release, source, spec.version != LATEST))
        key = (release.component, release.platform)
        if not source and (key not in self.newest_held or self.newest_held[key] < version):
            self.newest_held[key] = version

    def _choose(self, spec: ComponentSpec, known: Iterable[Target]) -> None:
        """Keep the wanted release of each platform; between equal ones the held one, then the first source."""
        component = spec.component.id
        found = False
        taken_back: dict[str, str] = {}
        for candidate in known:
            version = candidate.release.version
            if spec.version not in {LATEST, version}:
                continue
            if (component, version) in self.withdrawn:
                taken_back[version] = self.withdrawn[component, version]
                continue
            found = True
            key = (component, candidate.release.platform)
            best = self._targets.get(key)
            if best is None or best.version < candidate.version:
                self._targets[key] = candidate
        self.problems += [f"{component} {version} is {why}" for version, why in sorted(taken_back.items())]
        if not found and taken_back:
            self.problems.append(f"{component}: nothing else of it is known, so clients keep what they have")
        elif not found:
            wanted = "any release" if spec.version == LATEST else f"the pinned version {spec.version}"
            self.problems.append(f"{component}: no source offers {wanted} and the store doesn't hold it")
