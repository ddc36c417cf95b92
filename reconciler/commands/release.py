"""Puts releases into the folder of a source, and takes the bytes that a source has now under a version that is out.

A version never changes by itself once somebody got it. Where its first bytes were a mistake, as with a file that was
seen half-written, somebody says so; who, and why, stands in the history, and the version goes its way through the fleet
anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.authoring.incrementals import add_with_incrementals
from reconciler.authoring.releases import notes_from
from reconciler.desk import user_name
from reconciler.errors import UsageError
from reconciler.model.delta import NOT_SMALLER
from reconciler.model.release import release_time
from reconciler.model.report import JournalEntry
from reconciler.observe.observed import ask_sources, known_reports
from reconciler.observe.upstream import merge_offers

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from reconciler.desk import Desk
    from reconciler.model.offer import Offer
    from reconciler.present.terminal import Terminal
    from reconciler.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Which version is accepted, on which platform (empty: on all that are offered), by whom and why."""

    component: str
    version: str
    platform: str = ""
    who: str = ""
    reason: str = ""


def accept(desk: Desk, wanted: Acceptance) -> int:
    """Have a version stand for the bytes that its source offers now; the next apply brings them."""
    with at_work(desk) as work, work.state.lock("release accept"):
        ask_sources(work)
        changes = _changes(work, wanted)
        who = wanted.who or user_name()
        why = f": {wanted.reason}" if wanted.reason else ""
        entries = []
        for offer, before in changes:
            release = offer.release
            work.state.record_content((release.component, release.version, release.platform), release.digest, before)
            says = f"bytes of source {offer.source} accepted by {who}, {before[:12]} -> {release.digest[:12]}{why}"
            now = work.means.clock()
            name, version = release.component, release.version
            entries.append(
                JournalEntry(
                    component=name,
                    from_version=version,
                    to_version=version,
                    outcome="accepted",
                    message=says,
                    bytes=release.size,
                    at=now,
                )
            )
        work.state.forget_rollouts(wanted.component, wanted.version)
        what = f"release accept {wanted.component}"
        work.state.record_command(work.means.run_id, what, work.means.origin, entries)
    for offer, _before in changes:
        bytes_ = f"the bytes that source {offer.source} has now ({offer.release.digest[:12]})"
        desk.terminal.note(f"{wanted.component} {wanted.version} is accepted with {bytes_}; the next apply brings them")
    return 0


def _changes(work: Workspace, wanted: Acceptance) -> list[tuple[Offer, str]]:
    """Give the offers of the version that aren't what it stands for, each with the content that it does.

    Raises:
        UsageError: the component isn't managed, or there is nothing to accept.
    """
    specs, name = work.spec.components, f"{wanted.component} {wanted.version}"
    work.managed(wanted.component)
    components = {id_: spec.component for id_, spec in specs.items()}
    offers, held_back = merge_offers(known_reports(work), work.spec.sources, components)
    offers = [
        offer
        for offer in offers
        if (offer.release.component, offer.release.version) == (wanted.component, wanted.version)
        and wanted.platform in {"", offer.release.platform}
    ]
    if not offers:
        asked = wanted.component, wanted.version
        why = (entry.says for entry in held_back if (entry.component, entry.version) == asked)
        hint = next(why, "`updoser plan` says what is offered")
        raise UsageError(f"no source offers {name} {wanted.platform}".rstrip(), hint=hint)
    contents = work.state.contents()
    digests = {(held.component, held.version, held.platform): held.digest for held in work.store.inspect().releases}
    changes = []
    for offer in offers:
        key = offer.release.component, offer.release.version, offer.release.platform
        content = contents.get(key)
        before = content.digest if content is not None else digests.get(key, "")
        if before not in {"", offer.release.digest}:
            changes.append((offer, before))
    if not changes:
        raise UsageError(f"{name} has the bytes that it had before", hint="there is nothing to accept")
    return changes


@dataclass(frozen=True, slots=True)
class ReleaseOptions:
    """Where a release goes, what is said of it, and from which versions incrementals to it are made.

    `notes` are a text, or `@` and the file that has it; `released` is the time when it came out, if anybody says so.
    """

    to: Path
    platform: str
    notes: str
    released: str
    before: tuple[str, ...]
    codec: str


def add(terminal: Terminal, component: str, version: str, files: tuple[Path, ...], options: ReleaseOptions) -> int:
    """Put a release into the folder of a `directory` source, and incrementals to it: all of them or none."""
    folder, incrementals = add_with_incrementals(
        component,
        version,
        files,
        options.to,
        before=options.before,
        codec=options.codec,
        platform=options.platform,
        notes=notes_from(options.notes),
        released=_released(options.released),
    )
    terminal.result(f"{folder}\n")
    for before, made in incrementals.items():
        if made is None:
            terminal.note(f"{component} {before}..{version}: {NOT_SMALLER}; nothing is written")
        else:
            terminal.result(f"{made}\n")
    return 0


def _released(given: str) -> datetime | None:
    """Read when a release came out.

    Raises:
        UsageError: it is no time that a release can have.
    """
    try:
        return release_time(given) if given else None
    except ValueError as error:
        raise UsageError(f"--released: {error}") from error
