"""Deploy changes become the steps that clients are sent; clients of a cohort share them.

* Files that the version FROM has too aren't sent: the client copies them. The store knows them while it holds FROM.
* Where the plan names a way over incrementals and the store has them, only those are sent.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

from reconciler.execute.settings import NOTHING, Prepared
from reconciler.model.delta import compose
from reconciler.model.deploy import Patched, PatchHop, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.model.change import Deploy, Settings
    from reconciler.model.client import Client, Profile
    from reconciler.model.delta import Chain, Incremental
    from reconciler.model.deploy import ClientCheck
    from reconciler.model.relay import Offer
    from reconciler.model.release import Release
    from reconciler.model.spec import Spec


@dataclass(frozen=True, slots=True)
class Task:
    """What one client is to get, and `early` what it is sent before its time.

    `profile` is what was seen of it when it was planned. `settings` are those that it had then, where they are to be
    changed, and `prepared` what is made of that once its turn has come. `changes` are those of the plan that it is of.
    An `offer` is what its relay has for it by then, or why that is nothing; None where it is behind none.
    """

    client: Client
    steps: tuple[Step, ...]
    profile: Profile | None
    _: KW_ONLY
    early: tuple[Step, ...] = ()
    settings: str | None = None
    prepared: Prepared = NOTHING
    changes: tuple[Deploy | Settings, ...] = ()
    offer: Offer | None = None

    @property
    def all_steps(self) -> dict[str, Step]:
        """All steps, by component."""
        bad = (step for step, _outcome in self.prepared.bad)
        return {step.component: step for step in (*self.steps, *self.prepared.steps, *self.early, *bad)}


class Stepper:
    """Makes the steps of deploy changes; clients of a cohort share them."""

    def __init__(
        self,
        spec: Spec,
        releases: Mapping[str, Release],
        incrementals: Iterable[Incremental] = (),
        checks: Callable[[str, str], tuple[ClientCheck, ...]] = lambda _group, _component: (),
    ) -> None:
        """Take the releases that the store holds, by content digest, its incrementals, and what clients check.

        `checks` gives the checks of a component in a group.
        """
        self._components = spec.components
        self._checks = checks
        self._releases = releases
        self._incrementals = {
            (entry.component, entry.platform, entry.name): entry for entry in incrementals if not entry.refused
        }

    def steps(self, deploys: tuple[Deploy, ...]) -> tuple[Step, ...]:
        """Give the steps of one client's changes."""
        return tuple(self._step(deploy) for deploy in deploys)

    def _step(self, deploy: Deploy) -> Step:
        release = self._releases[deploy.to_digest]
        step = Step(
            component=deploy.component,
            from_version=deploy.from_version,
            from_digest=deploy.from_digest,
            to_version=deploy.to,
            to_digest=deploy.to_digest,
            files=release.files,
            kept=self._kept(deploy, release),
            layout=self._components[deploy.component].layout,
            checks=self._checks(deploy.group, deploy.component),
            hooks=self._components[deploy.component].hooks,
            question=self._components[deploy.component].loaded,
        )
        if deploy.held:
            return replace(step, kept={}, held=True)
        return self._patched(step, deploy)

    def _kept(self, deploy: Deploy, release: Release) -> dict[str, str]:
        before = self._releases.get(deploy.from_digest)
        return {file.name: file.name for file in before.shared_with(release)} if before else {}

    def _patched(self, step: Step, deploy: Deploy) -> Step:
        """Give the step over the plan's incrementals; the full one where they aren't there, or don't fit."""
        path = [self._incrementals.get((deploy.component, deploy.platform, name)) for name in deploy.path]
        known = [entry for entry in path if entry is not None]
        if not known or len(known) != len(path):
            return step
        try:
            chains = compose(known)
        except ValueError:
            return step
        if known[0].from_digest not in {"", step.from_digest} or known[-1].to_digest != step.to_digest:
            return step
        if {file.name for file in step.files} != set(chains):
            return step
        kept = {name: chain.base for name, chain in chains.items() if not chain.patches}
        patched = {name: _hops(chain) for name, chain in chains.items() if chain.patches}
        if not known[0].from_digest:  # a packed full: what the client has already stays
            kept = dict(step.kept)
            patched = {name: way for name, way in patched.items() if name not in kept}
        return replace(step, kept=kept, patched=patched)


def _hops(chain: Chain) -> Patched:
    hops = tuple(PatchHop(patch.codec, patch.size, patch.sha256, patch.result) for patch in chain.patches)
    return Patched(chain.base, hops)
