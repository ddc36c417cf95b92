"""Brings the repository for other sites, and each mirror, to what a plan says, when all else of the plan is done.

What is attached to releases and didn't come with them is fetched first, as far as it can be had. A release with which a
client failed in this run isn't published; nor is one that didn't get into the store.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from reconciler.errors import RepositoryError, UpdoserError
from reconciler.execute.download import fetch_attached, lacking_attached
from reconciler.execute.journal import note
from reconciler.guards import blaming
from reconciler.model.events import Trouble
from reconciler.model.offer import Withdrawal
from reconciler.model.release import ReleaseKey
from reconciler.model.report import published_text
from reconciler.model.work_events import PublishFinished
from reconciler.repository.edition import Edition, held_releases, parts_of, write_edition, write_mirror
from reconciler.repository.mirror import MirrorFolder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.execute.download import Offers
    from reconciler.execute.tally import Tally
    from reconciler.model.change import Publish
    from reconciler.model.plan import Plan
    from reconciler.model.release import Release
    from reconciler.model.spec import MirrorSpec
    from reconciler.workspace import Workspace


def publish_all(plan: Plan, offers: Offers, work: Workspace, tally: Tally) -> None:
    """Publish what a plan says, each repository by itself; what goes wrong is told and counted, and leaves what was.

    Raises:
        StoreError, StateError: store or state fail as a whole.
    """
    if not plan.publishes or work.means.stop.is_set():
        return
    away = _attach([change for change in plan.publishes if change.kind == "attached"], offers, work)
    for change in plan.publishes:
        if _key(change) in away and change.kind == "attached":
            note(change, work, AWAY)
    changes = [one for one in plan.publishes if one.kind != "attached" or _key(one) not in away]
    _publish(REPOSITORY, [one for one in changes if not one.repository], write_signed, work, tally)
    for spec in work.spec.mirrors:
        mine = [change for change in changes if change.repository == spec.name]
        _publish(f"{REPOSITORY} {spec.name}", mine, partial(_write_mirror, spec), work, tally)


Write = Callable[["Sequence[Publish]", "Workspace", "Tally"], "set[ReleaseKey]"]
"""Writes a repository by what changes in it, and gives what of it is held back."""


def _publish(place: str, changes: Sequence[Publish], write: Write, work: Workspace, tally: Tally) -> None:
    """Carry the changes of one repository out; `place` stands for it among what failed."""
    if not changes or place in tally.failed_here or work.means.stop.is_set():
        return
    failure = ""
    withheld: set[ReleaseKey] = set()
    try:
        with blaming("publishing", RepositoryError):
            withheld = write(changes, work, tally)
    except UpdoserError as error:
        failure = error.brief
        tally.server_failed(place, failure)
    for change in changes:
        held_back = _key(change) in withheld
        why = failure or (WITHHELD if held_back else "")
        note(change, work, why, done=_done(change), size=change.bytes)
        if not why:
            tally.published()
    where = f" in {changes[0].repository}" if changes[0].repository else ""
    if failure or withheld:
        text = failure or f"{WITHHELD}: {', '.join(sorted(f'{key[0]} {key[1]}' for key in withheld))}"
        work.means.emit(PublishFinished(f"publish{where}: {text}", level="error" if failure else "warning"))
    else:
        work.means.emit(PublishFinished(f"published: {', '.join(sorted({_done(one) for one in changes}))}"))


def _attach(changes: Sequence[Publish], offers: Offers, work: Workspace) -> set[ReleaseKey]:
    """Fetch what is attached to releases that the store holds; give those of which nothing more could be had.

    What can't be had is told, and costs nothing else.
    """
    if not changes:
        return set()
    held, away = held_releases(work), set[ReleaseKey]()
    sources = {source.name: source for source in work.spec.sources}
    for key in dict.fromkeys(map(_key, changes)):
        for name, offered in offers.attaching(held[key]) if key in held else ():
            if name in sources:
                try:
                    with blaming(f"fetching from {name}"):
                        lacking = lacking_attached(offered, work)
                        if lacking and not fetch_attached(offered, work.plugins.source(sources[name]), work):
                            away.add(key)
                        work.store.add(offered)
                except UpdoserError as error:
                    away.add(key)
                    work.means.emit(Trouble(f"{key[0]} {key[1]}: {error.message}", component=key[0]))
    return away


AWAY = "what is attached to it can't be had"
REPOSITORY = "repository"
"""In place of a component, where publishing as a whole failed: it isn't tried again in the run."""
WITHHELD = "not published: clients failed with it, or it isn't held"


def _done(change: Publish) -> str:
    about = " ".join(filter(None, (change.component, change.to)))
    return {
        "release": published_text(change.component, change.to),
        "attached": f"what is attached to {about} published",
        "incrementals": f"incrementals of {about} published",
        "withdraw": f"{about} withdrawn",
        "restore": f"{about} not withdrawn any more",
        "let go": f"{about} let go of",
        "signatures": "signatures renewed",
        "files": "files written anew",
    }[change.kind] + (f" in {change.repository}" if change.repository else "")


def write_signed(changes: Sequence[Publish], work: Workspace, tally: Tally) -> set[ReleaseKey]:
    """Sign and write the signed repository; give what is held back.

    Raises:
        UpdoserError: it can't be done; what was published stays.
    """
    edition, withheld = _edition(changes, work, tally)
    write_edition(edition, work)
    return withheld


def _write_mirror(spec: MirrorSpec, changes: Sequence[Publish], work: Workspace, tally: Tally) -> set[ReleaseKey]:
    """Write a mirror; give what is held back. What such a release was to take the place of stays.

    Raises:
        UpdoserError: it can't be done; what was published stays.
    """
    folder, held = MirrorFolder(spec.path), held_releases(work)
    wanted = {(entry.component, entry.version, entry.platform): entry for entry in folder.releases()}
    withheld = _withheld(changes, held, tally)
    waiting = {(component, platform) for component, _version, platform in withheld}
    for change in changes:
        key = _key(change)
        if change.kind == "release" and key not in withheld:
            wanted[key] = held[key]
        elif change.kind == "withdraw" or (
            change.kind == "let go" and (key not in held or (change.component, change.platform) not in waiting)
        ):
            wanted.pop(key, None)
    releases = tuple(release for _key, release in sorted(wanted.items()))
    write_mirror(spec, releases, work)
    return withheld


def _withheld(changes: Sequence[Publish], held: Mapping[ReleaseKey, Release], tally: Tally) -> set[ReleaseKey]:
    """Give the releases that aren't published though they were to be: clients failed with them, or they aren't held."""
    return {
        _key(change)
        for change in changes
        if change.kind == "release"
        and (
            change.component in tally.failed_components
            or _key(change) not in held
            or held[_key(change)].digest != change.to_digest
        )
    }


def _edition(changes: Sequence[Publish], work: Workspace, tally: Tally) -> tuple[Edition, set[ReleaseKey]]:
    """Give what is to be offered after a plan, and what of the plan is held back."""
    spec, repository = parts_of(work)
    before = repository.published(work.means.clock(), spec.expires)
    held = held_releases(work)
    withdrawn = {(entry.component, entry.version): entry for entry in before.withdrawn}
    for change in changes:
        if change.kind == "withdraw":
            withdrawn[change.component, change.to] = Withdrawal(change.component, change.to, change.reason)
        elif change.kind == "restore":
            withdrawn.pop((change.component, change.to), None)
    offered = {(entry.component, entry.version, entry.platform): entry.digest for entry in before.releases}
    withheld = _withheld(changes, held, tally)
    for change in changes:
        if change.kind == "release" and _key(change) not in withheld:
            offered[_key(change)] = change.to_digest
    releases = tuple(
        held[key]
        for key, digest in sorted(offered.items())
        if key in held and held[key].digest == digest and key[:2] not in withdrawn and spec.has(key[0])
    )
    return Edition(releases, tuple(sorted(withdrawn.values()))), withheld


def _key(change: Publish) -> ReleaseKey:
    return change.component, change.to, change.platform
