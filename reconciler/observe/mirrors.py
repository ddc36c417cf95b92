"""Looking at mirrors: which releases lie in each, what in them isn't as it should be, and what they can't have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import RepositoryError, UpdoserError
from reconciler.guards import blaming
from reconciler.model.mirror import Mirror
from reconciler.model.repository import MirrorStatus
from reconciler.repository.mirror import MirrorFolder, placed_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.model.offer import Offer
    from reconciler.model.release import Release
    from reconciler.model.spec import MirrorSpec
    from reconciler.workspace import Workspace


def look_at_mirrors(work: Workspace, held: Sequence[Release], offers: Iterable[Offer]) -> dict[str, Mirror]:
    """Give each mirror of the spec as it is, by its name."""
    releases = {id(release): release for release in (*held, *(offer.release for offer in offers))}
    return {spec.name: _look(spec, work, held, releases.values()) for spec in work.spec.mirrors}


def statuses_of(work: Workspace) -> list[MirrorStatus]:
    """Give how each mirror stands.

    Raises:
        StoreError: the store can't be read.
    """
    mirrors = look_at_mirrors(work, work.store.inspect().releases, ()) if work.spec.mirrors else {}
    return [
        MirrorStatus(
            name=spec.name,
            layout=spec.plugin.name,
            path=str(spec.path),
            policy=spec.publish,
            releases=mirrors[spec.name].releases,
            renew=mirrors[spec.name].renew,
            problem=mirrors[spec.name].problem,
        )
        for spec in work.spec.mirrors
    ]


def troubles_of(mirrors: Iterable[tuple[str, Mirror]]) -> list[str]:
    """Say what keeps mirrors from being published."""
    return [f"repository {name}: nothing is published: {mirror.problem}" for name, mirror in mirrors if mirror.problem]


def _look(spec: MirrorSpec, work: Workspace, held: Sequence[Release], known: Iterable[Release]) -> Mirror:
    try:
        with blaming("it can't be looked at", RepositoryError):
            refusal = work.plugins.refusal(spec.plugin)
            if refusal:
                return Mirror(problem=f"its layout isn't used: {refusal}")
            layout, folder = work.plugins.layout(spec), MirrorFolder(spec.path)
            releases = folder.releases()
            refused = {
                (release.component, release.version, release.platform): why
                for release in known
                if spec.has(release.component) and (why := layout.refusal(release))
            }
            return Mirror(
                releases=releases,
                traits=layout.traits,
                refused=refused,
                renew=folder.differs(placed_in(spec, releases, held, layout, folder.there(), work.spec.catalog)),
            )
    except UpdoserError as error:
        return Mirror(problem=f"{error.message} ({error.hint})" if error.hint else error.message)
