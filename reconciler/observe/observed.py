"""Everything that a plan is made from: looked at afresh, or taken from what the state remembers.

Facts that are seen are recorded first and read back from the state then, so that a fresh look and `--no-refresh` go one
way. Nothing is recorded that a later run would decide by: that waits in `storage.roll` until something is carried out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.errors import InterruptedRunError, OtherControllerError, RepositoryError, UsageError
from reconciler.formats.select import FAILED_SET
from reconciler.machine import all_memory
from reconciler.model.client import MAX_EPOCH
from reconciler.model.deploy import MACHINE
from reconciler.model.events import ClientObserved, LookStarted, SourceRead, Trouble
from reconciler.model.network import DIRECT, why_unreachable
from reconciler.model.offer import about_source
from reconciler.model.plan import Basis
from reconciler.observe.cohorts import EVERYBODY, Eye, Gathered, Marks, Selection, gather, say_doubles
from reconciler.observe.idle import check_limit, notes_of
from reconciler.observe.inventory import list_clients, list_fleet
from reconciler.observe.loading import awaited_loads, with_late_loads
from reconciler.observe.relays import kept_apart, look_at_relays
from reconciler.observe.upstream import (
    find_withdrawals,
    merge_incrementals,
    merge_offers,
    merge_unfetched,
    read_sources,
    remember_signed,
)
from reconciler.observe.ways import find_ways
from reconciler.planner.desired import changed_offers
from reconciler.planner.inputs import Observed
from reconciler.planner.likes import likes
from reconciler.planner.targets import Past
from reconciler.present.words import count_text
from reconciler.repository.edition import folder_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from reconciler.model.client import Client
    from reconciler.model.events import Level
    from reconciler.model.mirror import Mirror
    from reconciler.model.offer import Offer, SourceReport
    from reconciler.model.release import Release
    from reconciler.model.repository import Published
    from reconciler.model.rollout import Key
    from reconciler.model.spec import GroupSpec, SourceSpec
    from reconciler.storage.roll import Roll
    from reconciler.storage.state import Identity, Observation
    from reconciler.workspace import Workspace

_BATCH = 256
NO_ROOT = "it has no root yet, so nothing is published: see `updoser publish init`"
_FROZEN = "adopted: upgrades wait for `updoser apply --confirm-adopted`"


@dataclass(frozen=True, slots=True)
class Sight:
    """How to look.

    `refresh` asks inventories, sources and clients; without it the state's memory must do. `contact` False leaves
    clients alone. `limit` is a pattern, `forks` how many clients are looked at a time, `verify` has every file hashed.
    `names`, in place of a pattern, are clients by their exact names. With `after`, only clients that weren't looked at
    for so long are looked at; the others are as remembered. `keep` leaves connections open for a change that
    follows. `adopt` takes over clients of a controller whose state was
    lost, and `confirmed` lets upgrades go to them; `allow_shrink` believes an inventory that lost more clients than
    allowed. `settings` compares those of clients, too, for which templates and their secrets are read: of all groups,
    or of those of `names`.
    """

    refresh: bool = True
    contact: bool = True
    limit: str = ""
    forks: int = 20
    verify: bool = False
    keep: bool = False
    adopt: bool = False
    confirmed: bool = False
    allow_shrink: bool = False
    settings: bool = True
    names: tuple[str, ...] = ()
    after: timedelta | None = None


def observe(work: Workspace, sight: Sight, *, seen: Roll | None = None) -> Observed:
    """Look at store, sources and clients; what was `seen` with another spec of the same fleet isn't looked at again.

    Raises:
        UsageError: the limit is no pattern, or it or a part of it selects no client.
        InventoryError, InventoryShrankError: the fleet can't be listed, or the list isn't believed.
        OtherControllerError: the state is new and clients answer to another controller.
        InterruptedRunError: the user stopped it.
        SpecError, SecretError: a template of settings, or a secret that it reads, is no good.
        StoreError, StateError: store or state can't be read or written.
    """
    choice = chosen_by(work, sight)
    fleet: Sequence[Client] = ()
    if sight.refresh:
        fleet = refresh_lists(work, sight, choice)
    else:
        recall_lists(work, seen)
        _check_choice(work, choice)
    if sight.refresh and sight.contact:
        _look_at_clients(work, sight, choice, fleet)
    identity = _identity(work, adopt=sight.adopt)
    rollouts = work.state.rollouts()
    doubles, told = say_doubles(work.roll.doubles())
    gathered = _gather(work, sight, choice, Eye(identity, work.means.clock(), _likes(work, rollouts)), doubles)
    sources, components = work.spec.sources, {name: spec.component for name, spec in work.spec.components.items()}
    reports = known_reports(work)
    offers, conflicts = merge_offers(reports, sources, components)
    unfetched, outranking = merge_unfetched(reports, sources, components)
    remembered, _conflicts = merge_offers(reports, sources, components, away=True)
    left_out = [*work.notes, *([] if sight.contact else _left_out(work))]
    absent = {source.name for source in sources if source.may_be_absent or work.plugins.refusal(source.plugin)}
    inspection = work.store.inspect(verify=sight.verify)
    contents = work.state.contents()
    changed = changed_offers(offers, inspection.releases, contents)
    published, trouble = _published(work)
    mirrors, mirror_troubles = _mirrors(work, inspection.releases, offers)
    ahead = work.state.moments_ahead(work.spec.quarantine.span)
    return Observed(
        basis=Basis(
            lineage=identity.lineage,
            epoch=identity.epoch,
            serial=identity.serial,
            spec_digest=work.spec.digest,
            catalog_digest=work.spec.catalog.digest,
        ),
        held=inspection.releases,
        offers=offers,
        problems=(
            *left_out,
            *told,
            *(_said(report, report.error) for report in reports if report.error),
            *(_said(report, report.accepted) for report in reports if report.accepted),
            *(_said(report, problem) for report in reports for problem in report.problems),
            *(entry.says for entry in (*conflicts, *outranking)),
            *inspection.problems,
            *trouble,
            *mirror_troubles,
            *([ahead_text(ahead)] if ahead else []),
        ),
        notes=notes_of(_patterns(work), work.roll.rows()),
        excused=(
            *left_out,
            *(_said(report, report.error) for report in reports if report.error and report.source in absent),
            *(_said(report, report.accepted) for report in reports if report.accepted),
            *(_said(report, sentence) for report in reports for sentence in report.harmless),
            *inspection.problems,  # what is wanted of it is fetched again, or can't be had, which is said too
            *([ahead_text(ahead)] if ahead else []),
        ),
        unread=[report.source for report in reports if report.error and report.source not in absent],
        cohorts=gathered.chosen,
        others=gathered.others,
        rollouts=rollouts,
        failures=with_late_loads(work, work.state.rollout_failures(), rollouts, gathered.profiles),
        troubles=work.state.rollout_failures(MACHINE),
        gone=work.roll.gone(),
        freeze=_FROZEN if identity.frozen and not sight.confirmed else "",
        incrementals=inspection.incrementals,
        offered=merge_incrementals(reports, offers),
        codecs=work.plugins.codec_traits(),
        dormant=_dormant(gathered),
        withdrawn=find_withdrawals(reports, sources),
        remembered=remembered,
        published=published,
        mirrors=mirrors,
        first_seen=work.state.first_seen(),
        past=Past(contents, work.state.got(changed) | (_on_clients(work) if changed else set())),
        source_routes={source.name: _source_route(source) for source in sources},
        unfetched=unfetched,
        memory=work.spec.duplication.memory or all_memory() // 2,
        relays=look_at_relays(work, refresh=sight.refresh and sight.contact),
        apart=kept_apart(work),
        back=work.state.came_back() if any(one.trigger == "seen" for one in work.spec.policies.values()) else {},
    )


def ahead_text(ahead: Mapping[str, datetime]) -> str:
    """Say that remembered moments lie ahead of the clock; `ahead` has the latest by what they are about."""
    latest = f"{max(ahead.values()):%Y-%m-%dT%H:%M:%SZ}"
    return f"a clock was wrong: moments up to {latest} are remembered ({', '.join(ahead)}); they count as now"


def _on_clients(work: Workspace) -> set[tuple[str, str]]:
    """Give the (component, version) that clients had when they were last seen, those that are only kept included."""
    return {
        (entry.component, version)
        for profile in work.state.profiles().values()
        for entry in profile.installed
        for version in (entry.version, *dict(entry.kept))
    }


def wanted_settings(work: Workspace) -> dict[str, str]:
    """Give which settings each client of groups that have some should have.

    Raises:
        SpecError, SecretError: a template, or a secret that it reads, is no good.
    """
    by_client, by_group = _wanted_settings(work, Sight())
    return {client.name: by_group[client.group] for client in work.roll.clients(by_group)} | by_client


def _wanted_settings(work: Workspace, sight: Sight) -> tuple[dict[str, str], dict[str, str]]:
    """Give which settings clients should have: by client, and by group where all of it should have the same."""
    by_client: dict[str, str] = {}
    by_group: dict[str, str] = {}
    if not (sight.settings and sight.contact and any(group.settings for group in work.spec.groups.values())):
        return by_client, by_group
    from reconciler.templates.book import Book

    book = Book(work.spec, work.state.settings_key(), work.means.secret)
    if sight.names:
        named = (client for client, _has in work.roll.named(sight.names) if client.group in book.groups)
        return {client.name: book.wish(client) for client in named}, by_group
    wishes = {group: book.wish_of_group(group) for group in book.groups}
    by_group |= {group: wish for group, wish in wishes.items() if wish is not None}
    apart = [group for group, wish in wishes.items() if wish is None]
    if apart:
        by_client |= {client.name: book.wish(client) for client in work.roll.clients(apart)}
    return by_client, by_group


def known_reports(work: Workspace) -> list[SourceReport]:
    """Give the last report of each source that the spec still has, in its order.

    Raises:
        StateError: the state can't be read.
    """
    known = {report.source: report for report, _last_success in work.state.source_reports()}
    return [known[source.name] for source in work.spec.sources if source.name in known]


def _patterns(work: Workspace) -> dict[str, str]:
    """Give the patterns of the spec that should take somebody, by where they stand."""
    today = work.means.clock().date()
    held = (hold.clients for hold in work.spec.holds if hold.until is None or today <= hold.until)
    selects = (wave.select for policy in work.spec.policies.values() for wave in policy.rollout.waves if wave.select)
    served = {f"relay {relay.name}": relay.serves for relay in work.spec.relays.values()}
    selected = {f"waves that select {text}": text for text in selects}
    return {f"hold of {text}": text for text in held} | selected | served


def _said(report: SourceReport, sentence: str) -> str:
    return about_source(report.source, sentence)


def _published(work: Workspace) -> tuple[Published | None, list[str]]:
    """Look at the repository for other sites; sentences say what keeps it from being published."""
    spec, repository = work.spec.repository, folder_of(work)
    if spec is None or repository is None:
        return None, []
    try:
        published = repository.published(work.means.clock(), spec.expires)
    except RepositoryError as error:
        return None, [f"repository: {error.message}; nothing is published"]
    return published, [] if published.ready else [f"repository: {NO_ROOT}"]


def _mirrors(
    work: Workspace, held: Sequence[Release], offers: Iterable[Offer]
) -> tuple[Mapping[str, Mirror], list[str]]:
    """Look at mirrors; sentences say what keeps them from being published."""
    if not work.spec.mirrors:
        return {}, []
    from reconciler.observe.mirrors import look_at_mirrors, troubles_of

    mirrors = look_at_mirrors(work, held, offers)
    return mirrors, troubles_of(mirrors.items())


def _source_route(source: SourceSpec) -> str:
    proxy = source.proxy
    return f"via {proxy.name}" if proxy is not None and source.remote and proxy.is_for(source.host) else DIRECT


def _gather(work: Workspace, sight: Sight, choice: Selection, eye: Eye, doubles: Mapping[str, str]) -> Gathered:
    """Put the clients of the fleet into cohorts."""
    waves = {wave for policy in work.spec.policies.values() for wave in policy.rollout.waves}
    selects = {pattern for wave in waves for pattern in (wave.select, wave.prefer) if pattern}
    selects |= {relay.serves for relay in work.spec.relays.values()}
    settings, group_settings = _wanted_settings(work, sight)
    marks = Marks(
        work.spec.holds,
        sorted(selects),
        settings,
        group_settings,
        quarantine=work.spec.quarantine.span,
        doubles=doubles,
    )
    return gather(work.roll.blocks(), work.state.profiles, choice, marks, eye)


def _likes(work: Workspace, rollouts: Iterable[Key]) -> dict[str, str]:
    """Give for each group the first of those in which everything is decided as in it."""
    spec = work.spec
    return likes(spec.groups, spec.components, spec.policies, alone={group for _component, _version, group in rollouts})


def _dormant(fleet: Gathered) -> frozenset[tuple[str, str]]:
    """Give what clients have, as last seen, that didn't answer or weren't chosen: it won't change in this run."""
    found = (fleet.profiles[fingerprint] for fingerprint in fleet.asleep if fingerprint in fleet.profiles)
    return frozenset((entry.component, entry.digest) for profile in found for entry in profile.installed)


def check_limited(work: Workspace, sight: Sight) -> None:
    """Refuse a limit that takes nobody: inventories are asked, no source and no client.

    Raises:
        UsageError: it is no pattern, or it or a part of it takes no client.
        InventoryError, InventoryShrankError: the fleet can't be listed, or the list isn't believed.
        StateError: the state can't be read or written.
    """
    choice = chosen_by(work, sight)
    if choice.pattern is not None:
        _list_fleet(work, sight)
        _check_choice(work, choice)


def chosen_by(work: Workspace, sight: Sight) -> Selection:
    """Read the limit, or take the names that stand in its place.

    Raises:
        UsageError: it is no pattern.
    """
    if sight.names:
        return Selection.named(sight.names)
    return Selection.parse(sight.limit, work.state.last_failed() if f"@{FAILED_SET}" in sight.limit else ())


def _check_choice(work: Workspace, choice: Selection) -> None:
    if choice.pattern is not None and not choice.exact:
        check_limit(choice.pattern, work.roll.rows())


def refresh_lists(work: Workspace, sight: Sight, choice: Selection = EVERYBODY) -> list[Client]:
    """Ask inventories and sources, no client; give all clients. A source may be slow, so a bad choice fails before.

    Raises:
        UsageError: the choice, or a part of it, takes no client.
        InventoryError, InventoryShrankError: the fleet can't be listed, or the list isn't believed.
        StateError: the state can't be written.
    """
    fleet = _list_fleet(work, sight)
    _check_choice(work, choice)
    ask_sources(work)
    _note_releases(work)
    return fleet


def recall_lists(work: Workspace, seen: Roll | None = None) -> None:
    """Take the fleet from what the spec says itself and what was seen or the state remembers; ask nobody."""
    groups = work.spec.groups
    listed = {name: list_clients(group, None) for name, group in groups.items() if group.inventory is None}
    known = seen.listed if seen is not None else {}
    again = {name: known[name] for name, group in groups.items() if group.inventory is not None and name in known}
    ways = seen.ways if seen is not None else work.state.ways() if any(listed.values()) else {}
    work.roll.call(groups, {**listed, **again}, ways, asked=False)
    _note_releases(work)


def _note_releases(work: Workspace) -> None:
    """Note releases that are offered, and weren't when something was carried out last."""
    reports = known_reports(work)
    offered = {(entry.component, entry.version) for report in reports for entry in report.releases}
    offered |= {(entry.component, entry.version) for report in reports for entry in report.unfetched}
    work.roll.saw(offered - work.state.first_seen().keys(), work.means.clock())


def _list_fleet(work: Workspace, sight: Sight) -> list[Client]:
    state, groups = work.state, work.spec.groups
    asked = {name: group for name, group in groups.items() if not _inventory_refusal(work, group)}
    listed = list_fleet(
        [(group, work.plugins.inventory(group)) for group in asked.values()],
        state.known_count,
        allow_shrink=sight.allow_shrink,
    )
    ways = find_ways(listed, groups, work.spec.server) if sight.contact else state.ways()
    work.roll.call(groups, listed, ways, asked=True)
    if sight.contact:
        state.record_listing(listed, ways)
    return [client for clients in listed.values() for client in clients]


def _left_out(work: Workspace) -> list[str]:
    """Say what a plan lacks that must not contact anybody."""
    plugins, groups = work.plugins, work.spec.groups
    lines = ["--no-exec: clients aren't contacted; what the state remembers of them is compared"]
    lines += [f"--no-exec: the settings of group {name} aren't compared" for name in groups if groups[name].settings]
    for source in work.spec.sources:
        why = plugins.refusal(source.plugin)
        if why:
            memory = "what the state remembers of it is offered"
            lines.append(f"--no-exec: source {source.name} isn't asked, as {why}; {memory}")
    for group in groups.values():
        why = _inventory_refusal(work, group)
        if why:
            memory = "what the state remembers of it is compared"
            lines.append(f"--no-exec: the inventory of group {group.name} isn't asked, as {why}; {memory}")
    content = work.spec.server.content
    why = plugins.refusal(content.plugin) if content is not None else ""
    if why:
        lines.append(f"--no-exec: the store's content isn't looked at, as {why}; it is taken to be there")
    refused = [(config.name, plugins.refusal(config)) for config in plugins.codecs]
    return lines + [f"--no-exec: the codec {name} isn't used, as {why}" for name, why in refused if why]


def _inventory_refusal(work: Workspace, group: GroupSpec) -> str:
    """Say why the inventory of a group may not be asked; empty when it may, or there is none."""
    return work.plugins.refusal(group.inventory.plugin) if group.inventory is not None else ""


def ask_sources(work: Workspace, names: Collection[str] = ()) -> None:
    """Ask the sources, or the named ones, what they offer, and remember it; versions whose bytes are others are told.

    Raises:
        StateError: the state can't be written.
    """
    wanted = [source for source in work.spec.sources if not names or source.name in names]
    asked = [source for source in wanted if not work.plugins.refusal(source.plugin)]
    before = {report.source: report for report, _last_success in work.state.source_reports()}
    sources = [(source, work.plugins.source(source)) for source in asked]
    components = {name: wanted.component for name, wanted in work.spec.components.items()}
    for read in read_sources(sources, components, work.spec.catalog.components):
        report = remember_signed(read, before.get(read.source), components, work.means.clock())
        work.state.record_source(report, work.means.clock())
        level: Level = "warning" if report.error else "info"
        more = f", {len(report.unfetched)} more to be fetched" if report.unfetched else ""
        what = report.error or count_text(len(report.releases), "release") + more
        work.means.emit(SourceRead(f"source {report.source}: {what}", level=level, source=report.source))
        for release in _changed_bytes(before.get(report.source), report):
            text = f"source {report.source}: the bytes of {release.component} {release.version} are others than before"
            work.means.emit(Trouble(text, source=report.source))


def _changed_bytes(before: SourceReport | None, now: SourceReport) -> list[Release]:
    """Give the releases that a source offered with other bytes when it was last read."""
    digests = {(one.component, one.version, one.platform): one.digest for one in before.releases} if before else {}
    return [
        release
        for release in now.releases
        if digests.get((release.component, release.version, release.platform), release.digest) != release.digest
    ]


def _look_at_clients(work: Workspace, sight: Sight, choice: Selection, fleet: Sequence[Client]) -> None:
    means = work.means
    cut_off = {name for name, way in work.roll.ways.items() if why_unreachable(way)}
    if sight.after is not None:
        cut_off |= work.state.looked_since(means.clock() - sight.after) - awaited_loads(work)
    chosen = [
        client
        for client in fleet
        if client.name not in cut_off and choice.takes(client.name, client.group, client.labels)
    ]
    if not chosen:
        return
    means.emit(LookStarted(f"looking at {count_text(len(chosen), 'client')}", clients=len(chosen)))
    from reconciler.observe.clients import look

    batch: list[Observation] = []
    try:
        for seen in look(chosen, work, forks=sight.forks, verify=sight.verify, keep=sight.keep):
            level: Level = "warning" if seen.error else "info"
            means.emit(ClientObserved(f"{seen.client}: {seen.error or 'seen'}", level=level, client=seen.client))
            batch.append(seen)
            if len(batch) >= _BATCH:
                work.state.record_observations(batch)
                batch = []
    finally:
        work.state.record_observations(batch)
        work.state.prune_profiles()
    if means.stop.is_set():
        raise InterruptedRunError("interrupted while looking at clients; nothing was changed")


def _identity(work: Workspace, *, adopt: bool) -> Identity:
    """Give who we are to clients; refuse, or take over, what answers to somebody else while the state is new.

    Only a state that never changed anything can be one that was lost and made again. Later on a client of another
    controller is a matter of that client: see `gather_cohorts`.
    """
    state, roll = work.state, work.roll
    identity = state.identity()
    if not state.is_new():
        if adopt and not identity.frozen:
            raise UsageError(
                "--adopt: this state is in use already", hint="it is for a new state whose predecessor was lost"
            )
        return identity
    foreign = {
        key: profile
        for key, profile in state.profiles().items()
        if profile.is_foreign(identity.lineage, identity.epoch)
    }
    if not foreign:
        return identity
    counts = _count_by_lineage(roll, {key: profile.lineage for key, profile in foreign.items()})
    if not counts:
        return identity
    (lineage, clients), *_others = counts.most_common(1)
    if not adopt:
        raise OtherControllerError(
            f"{count_text(clients, 'client')} answer to another controller (lineage {lineage[:8]}); this state is new",
            hint="if its state was lost, take them over with --adopt; else use that controller's state",
        )
    epoch = max(profile.epoch for profile in foreign.values() if profile.lineage == lineage)
    roll.adopted = replace(identity, lineage=lineage, epoch=min(epoch + 1, MAX_EPOCH), frozen=True)
    return roll.adopted


def _count_by_lineage(roll: Roll, lineages: Mapping[str, str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in roll.rows():
        if row.fingerprint is not None and row.fingerprint in lineages:
            counts[lineages[row.fingerprint]] += 1
    return counts
