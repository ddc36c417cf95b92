"""What goes out of the store is hashed before: what rots there is no client's fault, and no release's.

* Each content is hashed once in a run, before a client gets it; what this run wrote was hashed then.
* A release that is damaged is fetched again from a source that offers the same bytes. Where none does, nobody gets it,
  that is said, and its clients stay as they are.
* An incremental that is damaged isn't used: clients get the full. It is made or fetched again in a later run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import InterruptedRunError, LimitError, SourceError, StoreError, UpdoserError
from reconciler.execute.download import fetch
from reconciler.guards import blaming
from reconciler.model.events import Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.execute.download import Offers
    from reconciler.execute.tally import Tally
    from reconciler.model.change import Deploy
    from reconciler.model.delta import Incremental
    from reconciler.model.release import Release
    from reconciler.workspace import Workspace


def mend_releases(
    deploys: Iterable[Deploy], held: Mapping[str, Release], offers: Offers, work: Workspace, tally: Tally
) -> set[str]:
    """Hash what clients are to get; give the digests of releases that are damaged and can't be had again.

    `held` are the releases of the store, by digest.
    """
    sent = dict.fromkeys(deploy.to_digest for deploy in deploys if not deploy.held)
    return {digest for digest in sent if digest in held and not _is_sound(held[digest], offers, work, tally)}


def sound_incrementals(
    deploys: Iterable[Deploy], incrementals: Iterable[Incremental], work: Workspace
) -> list[Incremental]:
    """Give the incrementals without those that clients were to get and that are damaged."""
    sent = {(deploy.component, deploy.platform, name) for deploy in deploys for name in deploy.path}
    sound = []
    for entry in incrementals:
        if (entry.component, entry.platform, entry.name) in sent:
            try:
                work.store.check(entry.patches)
            except StoreError as error:
                text = f"{entry.component} {entry.name}: clients get the full: {error.message}"
                work.means.emit(Trouble(text, component=entry.component))
                continue
        sound.append(entry)
    return sound


def _is_sound(release: Release, offers: Offers, work: Workspace, tally: Tally) -> bool:
    """Say whether a release can go out, after it was fetched again if need be."""
    try:
        work.store.check(release.files)
    except StoreError as error:
        damage = error.message
    else:
        return True
    label = f"{release.component} {release.version}"
    work.means.emit(Trouble(f"{label}: fetching it again: {damage}", component=release.component))
    why = "no source offers these bytes"
    for spec in work.spec.sources:
        if spec.name not in offers.sources_of(release):
            continue
        try:
            with blaming(f"fetching from {spec.name}", SourceError):
                tally.downloaded(fetch(release, work.plugins.source(spec), work))
        except (LimitError, InterruptedRunError):
            raise
        except UpdoserError as error:
            why = f"source {spec.name}: {error.brief}"
        else:
            return True
    tally.server_failed(release.component, f"{label} isn't sent: {damage}; {why}")
    work.means.emit(Trouble(f"{label}: isn't sent: {damage}; {why}", level="error", component=release.component))
    return False
