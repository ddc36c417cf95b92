"""What relays do for a plan: who fetches from them, and how many bytes that spares the line to their site.

* The parts that a relay's clients need go over the line once for each of its hosts, but for those that lie there.
* A part below SMALL is sent to each client all the same, and so is everything to clients that can't fetch: those beyond
  the limit, and those that are kept apart. They are a problem, and said.
* Where the workers of clients are on another machine (`afar`), what isn't fetched goes over the line once for all.
* A relay whose disk has no room for all parts serves nobody. What is known of the disk is from when it was seen last.
* Where an incremental isn't made yet, or somebody is beyond the limit, bytes are an estimate.

Example: 40 clients need an incremental of 300 KiB. 300 KiB go over the line in place of 12 MiB, and 12 MiB within it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.formats.counts import count_text
from reconciler.formats.size import size_text
from reconciler.model.relay import SMALL, RelayUse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.model.change import Deploy
    from reconciler.model.delta import Incremental
    from reconciler.model.plan import Plan
    from reconciler.model.relay import RelaySeen, RelaySpec
    from reconciler.model.release import Release
    from reconciler.planner.inputs import Observed, Wanted

    Parts = Mapping[str, int]


@dataclass
class _Site:
    """What the clients behind a relay get by a plan: `parts` by digest or name, and bytes for all of them.

    `large` and `small` are what goes to each of those that are worked on from here. For the others the line carries
    `afar` once, by digest or name; within the site they get `spread`.
    """

    spec: RelaySpec
    cohorts: dict[str, int] = field(default_factory=dict)
    apart: Counter[str] = field(default_factory=Counter)
    parts: dict[str, int] = field(default_factory=dict)
    known: bool = True
    large: int = 0
    small: int = 0
    afar: dict[str, int] = field(default_factory=dict)
    spread: int = 0


def relay_uses(
    wanted: Wanted, plan: Plan, behind: Mapping[str, str], observed: Observed
) -> tuple[tuple[RelayUse, ...], list[str]]:
    """Give what each relay does for a plan, and what is wrong; `behind` has the relay of each cohort that has one."""
    relays = wanted.relays
    sites = {name: _Site(spec) for name, spec in relays.items()}
    releases = {offer.release.digest: offer.release for offer in observed.offers} if relays else {}
    releases |= {release.digest: release for release in observed.held} if relays else {}
    incrementals = {(entry.component, entry.platform, entry.name): entry for entry in observed.incrementals}
    for deploy in plan.deploys if behind else ():
        parts = _parts(deploy, releases, incrementals)
        known = parts is not None
        sizes = parts if parts is not None else {f"{deploy.to_digest} {deploy.path}": deploy.bytes}
        for cohort in deploy.members:
            if cohort in behind and sizes:
                site = sites[behind[cohort]]
                _add(site, cohort, plan.members[cohort], observed.apart)
                _count(site, sizes, len(plan.members[cohort]), afar=deploy.group in wanted.afar)
                site.known &= known
    uses, problems = [], []
    for site in sites.values():
        if site.cohorts:
            trouble = _short_of_disk(site, observed.relays)
            uses.append(_use(site, observed.relays, usable=not trouble))
            problems += [*([trouble] if trouble else []), *_kept_apart(site)]
    return tuple(uses), problems


def _add(site: _Site, cohort: str, names: Sequence[str], apart: Mapping[str, str]) -> None:
    if cohort not in site.cohorts:
        kept = Counter(apart[name] for name in names if name in apart) if apart else Counter()
        site.apart += kept
        site.cohorts[cohort] = len(names) - kept.total()


def _count(site: _Site, sizes: Parts, clients: int, *, afar: bool) -> None:
    large = {part: size for part, size in sizes.items() if size >= SMALL}
    site.parts |= large
    if afar:
        site.afar |= sizes
        site.spread += clients * sum(large.values())
    else:
        site.large += clients * sum(large.values())
        site.small += clients * (sum(sizes.values()) - sum(large.values()))


def _parts(
    deploy: Deploy, releases: Mapping[str, Release], incrementals: Mapping[tuple[str, str, str], Incremental]
) -> Parts | None:
    """Give what one client is sent, by digest; None where that isn't known yet."""
    if deploy.held:
        return {}
    if deploy.path:
        way = [incrementals.get((deploy.component, deploy.platform, name)) for name in deploy.path]
        if any(entry is None for entry in way):
            return None
        return {patch.sha256: patch.size for entry in way if entry is not None for patch in entry.patches}
    release, before = releases.get(deploy.to_digest), releases.get(deploy.from_digest)
    if release is None:
        return None
    kept = {file.name for file in before.shared_with(release)} if before else set()
    return {file.sha256: file.size for file in release.files if file.name not in kept}


def _use(site: _Site, seen: Mapping[tuple[str, str], RelaySeen], *, usable: bool) -> RelayUse:
    spec, able = site.spec, sum(site.cohorts.values())
    all_of_them = able + site.apart.total()
    clients = min(able, spec.clients or able) if usable else 0
    share = clients / all_of_them
    fetched = round(site.large * share)
    afar = sum(site.afar.values())
    others = afar if share < 1 and spec.then == "direct" else sum(size for size in site.afar.values() if size < SMALL)
    fill = sum(size for host in spec.hosts for size in _missing(site, host, seen).values()) if clients else 0
    return RelayUse(
        relay=spec.name,
        serves=spec.serves,
        hosts=len(spec.hosts),
        clients=clients,
        others=all_of_them - clients,
        fill=fill,
        site=fetched + round(site.spread * share),
        line=fill + site.small + (site.large - fetched if spec.then == "direct" else 0) + others,
        without=site.large + site.small + afar,
        estimated=not site.known or 0 < clients < all_of_them,
        wait=round(spec.wait),
        then=spec.then,
        cohorts=tuple(site.cohorts),
    )


def _missing(site: _Site, host: str, seen: Mapping[tuple[str, str], RelaySeen]) -> Parts:
    """Give the parts that a host lacks, as far as it is known."""
    one = seen.get((site.spec.name, host))
    has = one.held.parts if one is not None and one.held is not None else {}
    return {part: size for part, size in site.parts.items() if has.get(part) != size}


def _short_of_disk(site: _Site, seen: Mapping[tuple[str, str], RelaySeen]) -> str:
    """Say that no host has room for the parts; empty where one has, or that isn't known."""
    spec, needed = site.spec, sum(site.parts.values())
    if spec.disk and needed > spec.disk:
        says = f"its clients need {size_text(needed)}, and its limit is {size_text(spec.disk)} of disk"
        return f"relay {spec.name}: {says}; {_then(spec)}"
    short = []
    for host in spec.hosts:
        one, lacks = seen.get((spec.name, host)), sum(_missing(site, host, seen).values())
        if one is None or one.held is None or one.held.free + _of_no_use(site, one) >= lacks:
            return ""
        short.append(f"{size_text(lacks)} are to go there, and {size_text(one.held.free)} are free")
    return f"relay {spec.name}: {short[0]}; {_then(spec)}"


def _of_no_use(site: _Site, seen: RelaySeen) -> int:
    """Give the bytes that a host can let go of."""
    assert seen.held is not None
    return sum(size for part, size in seen.held.parts.items() if part not in site.parts)


def _kept_apart(site: _Site) -> Iterator[str]:
    spec, able = site.spec, sum(site.cohorts.values())
    if spec.clients and able > spec.clients:
        more = count_text(able - spec.clients, "client")
        yield f"relay {spec.name}: {more} more than the {spec.clients} that it may serve; {_then(spec)}"
    for why, clients in sorted(site.apart.items()):
        yield f"relay {spec.name}: {count_text(clients, 'client')} can't have it: {why}; {_then(spec)}"


def _then(spec: RelaySpec) -> str:
    return "their bytes go directly" if spec.then == "direct" else "they wait (then: wait)"
