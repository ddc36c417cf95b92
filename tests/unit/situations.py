"""Draws what a plan is made from: a spec, a catalog, a fleet, and how far its rollouts are."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import permutations, product
from typing import Any

from hypothesis import strategies as st

from reconciler.model.client import Installed, Profile
from reconciler.model.delta import Duplication, Incremental, Kept, Patch
from reconciler.model.deploy import InstallTarget, Layout
from reconciler.model.offer import Fetchable, Offer, OfferedIncremental, Unfetched, Withdrawal
from reconciler.model.plan import Basis
from reconciler.model.policy import AutoUpdate, Gate, Limits, Rollout, Wave
from reconciler.model.rollout import STATUSES, UNDER_WAY, UNFIT, Approval, Key, RolloutRecord
from reconciler.model.spec import LATEST, ComponentSpec, GroupSpec, Hold, PluginConfig
from reconciler.observe.cohorts import Marks, Selection, gather_cohorts
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.planner import make_plan
from reconciler.planner.waves import Lineup, structure
from reconciler.storage.fleet import ClientRow
from reconciler.storage.state import Identity
from tests.fakes import CODECS, NOW, make_component, make_release

IDS = ("rules", "engine", "driver")
PLATFORMS = ("linux-x86_64", "linux-aarch64")
METHODS = ("smart", "conventional")
HOUR = timedelta(hours=1)
YESTERDAY = NOW - timedelta(days=1)
SEEN = {(name, "1"): YESTERDAY for name in IDS}
ROUTES = ["direct", "direct", "direct", "direct", "via bridge", "unreachable: no way"]
IDENTITY = Identity("mine", 1, 0, frozen=False)
BASIS = Basis("mine", 1, 0, "s", "c")
LAYOUT = Layout((InstallTarget("*", "/opt/scanner"),))
TRAITS = {name: codec.traits for name, codec in CODECS.items()}
AT_ONCE = AutoUpdate(rollout=Rollout(waves=(Wave(share=1.0, limits=Limits(min_attempted=1)),)))
CANARY = "label=canary"
HALF_AN_HOUR_AGO, AN_HOUR_AGO = NOW - HOUR / 2, NOW - HOUR


def any_of(*fields: range | list[Any] | tuple[Any, ...]) -> Any:
    """Draw one of each at once: what hypothesis draws costs far more than to plan it. What stands first is simplest."""
    return st.sampled_from(list(product(*fields)))


VERSIONS = ("1", "2", "3", "4")
PLACES = range(12)
"""Draws one of a list that has one to four entries."""
ONCE = [
    make_release(component, version, {"data": f"{version}{platform}{odd}".encode() * 5000, "same": b"same"}, platform)
    for odd, platform, component, version in product(("", "odd"), ("any", *PLATFORMS), IDS, VERSIONS)
]
SOUND, FOR_ALL = ONCE[: len(ONCE) // 2], ONCE[: len(IDS) * len(VERSIONS)]
RELEASES = [*FOR_ALL, *FOR_ALL, *SOUND, *ONCE]
"""Most are for all platforms, and few have other bytes than their version stands for."""
releases = st.sampled_from(RELEASES)
installed = st.builds(
    lambda what, release, kept: Installed(
        what[0],
        release.version,
        "" if what[1] else release.digest,
        previous="",
        layout=what[2].fingerprint,
        damage="x" if what[1] else "",
        kept=((kept.version, kept.digest),) if kept and kept.version != release.version else (),
    ),
    any_of(IDS, (False, False, False, False, True), (Layout(), LAYOUT)), releases,
    st.sampled_from([*[None] * len(RELEASES), *RELEASES]),
)  # fmt: skip
profiles = st.builds(
    lambda entries, machine: Profile(
        machine[0], tuple(sorted({entry.component: entry for entry in entries}.values())),
        tools=machine[1], memory=machine[2],
    ),
    st.lists(installed, max_size=5),
    any_of(PLATFORMS, ((), ("zstd",), ("bspatch",), ("bspatch", "zstd")), (0, 16, 2048)),
)  # fmt: skip
SOME, PERCENTS = (None, None, None, 0, 1, 2), (None, 0.0, 40.0, 100.0)
LIMITS = [Limits(*fields) for fields in product(SOME, SOME, PERCENTS, PERCENTS)]
limits = st.sampled_from(LIMITS)
no_limits = st.sampled_from([*[None] * len(LIMITS), *LIMITS])
WHO: tuple[dict[str, Any], ...] = ({"select": CANARY}, {"share": 0.3}, {"share": 0.6}, {"count": 1}, {"count": 3})
waves = st.lists(
    st.builds(
        lambda wave, own: replace(wave, limits=own or Limits()),
        st.sampled_from([
            Wave(**who, soak=soak, approve=approve, apart="count" in who, at_once=at_once)
            for who, soak, approve, at_once in product(WHO, (timedelta(), HOUR), (False, False, False, True), range(3))
        ]),
        no_limits,
    ),
    max_size=2,
).map(lambda first: (*first, Wave(share=1.0)))  # fmt: skip
WAYS = list(
    product(
        ("fleet", "group"), ((), (Gate("command", "{}"),)), (False, True), ("queue", "supersede", "finish"),
        ("halt", "rollback"), ("client", "wave", "all"),
    )
)  # fmt: skip
rollouts = st.builds(
    lambda way, waves, limits: Rollout(
        scope=way[0],
        waves=waves,
        limits=limits,
        gates=way[1],
        recheck=way[2],
        newer=way[3],
        on_failure=way[4],
        rollback_scope=way[5],
    ),
    st.sampled_from(WAYS),
    waves,
    limits,
)
components = st.tuples(
    any_of(
        [frozenset({"smart"}), frozenset({"conventional"}), frozenset(METHODS)],
        [*[LATEST] * 12, *VERSIONS], [Layout(), LAYOUT],
    ),
    any_of([False, True], (0, 0, 0, 0, 1, 2), [*[""] * 12, *VERSIONS], (None, None, None, None, HOUR)),
)  # fmt: skip
some_ids, some_groups = (
    st.sampled_from([some for size in (1, 2, 3) for some in permutations(names, size)]) for names in (IDS, "abc")
)
methods = st.sampled_from([None, None, *METHODS])
duplications = any_of((True, True, False), range(5), range(1, 5)).map(
    lambda fields: Duplication(enabled=fields[0], incrementals=fields[1], keep_fulls=fields[2])
)
enabled = any_of((True, True, True, False), [*[None] * len(LIMITS), *LIMITS])
expedited = st.sampled_from([None, None, None, *IDS])
clients = st.lists(
    any_of(
        ("", "", "", "", "", "no connection: 1"), (YESTERDAY, HALF_AN_HOUR_AGO), ("[]", "[]", '["canary"]'), ROUTES,
        range(3 * 2), PLACES,
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip
few_releases = st.lists(releases, max_size=5)
few_profiles = st.lists(profiles, min_size=1, max_size=4)
some_limit = st.sampled_from(["", "", "", "a", "!pc-0"])
known = st.integers(0, 2**15 - 1)
"""Which of the incrementals are there; ten releases have at most fifteen pairs that fit."""
withdrawals = st.lists(any_of(range(3 * 2), VERSIONS), max_size=2)
some_versions = st.lists(any_of(range(3 * 2), (0, 0, 0, 1, 2, 3), (False, False, False, True)), max_size=3)
standings = st.tuples(
    any_of(
        (False, False, False, True), ("running", "running", "running", *STATUSES), (None, HALF_AN_HOUR_AGO),
        (YESTERDAY, AN_HOUR_AGO), PLACES,
    ),
    any_of((False, True), (False, True), ("", "wave", "all"), [(), (1,), (2,), (3,), (1, 2), (2, 3)]),
)  # fmt: skip
failed = st.lists(st.sampled_from(range(27720)), max_size=2)  # a multiple of all numbers of clients


@dataclass(frozen=True)
class Situation:
    """A spec's wishes, and a fleet as the state's rows and profiles, with what is held, offered and under way."""

    wanted: Wanted
    rows: list[Any]
    seen: dict[str, Any]
    holds: tuple[Hold, ...]
    held: list[Any]
    offers: list[Any]
    incrementals: list[Any]
    offered: list[Any]
    withdrawn: dict[str, Any]
    records: dict[Key, RolloutRecord] = field(default_factory=dict)
    failures: dict[Key, dict[str, str]] = field(default_factory=dict)
    limit: str = ""
    now: datetime = NOW
    hidden: tuple[Offer, ...] = ()
    """Offers of which nobody knows the bytes before they are fetched."""

    def gather(self) -> Any:
        """Give the cohorts that are chosen, and the others."""
        marks, choice = Marks(self.holds, [CANARY]), Selection.parse(self.limit, ())
        return gather_cohorts(self.rows, self.seen, choice=choice, marks=marks, identity=IDENTITY, now=self.now)

    def plan(self, *, freeze: str = "", cohorts: Any = None) -> Any:
        return make_plan(*self.facts(freeze=freeze, cohorts=cohorts), plan_id="p", now=self.now)

    def facts(self, *, freeze: str = "", cohorts: Any = None) -> tuple[Wanted, Observed]:
        """Give what a plan is made from."""
        chosen, others = cohorts or self.gather()
        facts = Observed(
            BASIS,
            self.held,
            self.offers,
            (),
            chosen,
            (),
            freeze,
            self.incrementals,
            self.offered,
            TRAITS,
            withdrawn=self.withdrawn,
            first_seen=SEEN,
            others=others,
            rollouts=self.records,
            failures=self.failures,
            unfetched=[Fetchable(one.source, _nameless(one.release)) for one in self.hidden],
        )
        return replace(self.wanted, limited=bool(self.limit), partial=bool(self.limit)), facts


def _nameless(release: Any) -> Unfetched:
    return Unfetched(release.component, release.version, release.platform, release.size, release.released)


@st.composite
def wanteds(draw: Any, *, in_waves: Any) -> Any:
    """Give what a spec wants: components, pinned or not, for some scan methods; one to three groups; policies."""
    specs = {}
    for name in draw(some_ids):
        (scans, version, layout), (duplicate, behind, blocked, min_age) = draw(components)
        component = make_component(name, "pattern" if name == "rules" else "engine", scan_methods=scans)
        specs[name] = ComponentSpec(
            component,
            version,
            layout=layout,
            duplicate=duplicate,
            behind=behind,
            blocked={blocked: "bad"} if blocked else {},
            min_age=min_age,
        )
    groups = {
        name: GroupSpec(name, PluginConfig("transport", "local"), "/r", draw(methods)) for name in draw(some_groups)
    }
    policies = dict.fromkeys(product(groups, specs), AT_ONCE)
    hurried: frozenset[str] = frozenset()
    if in_waves:
        policies = {}
        for name in specs:
            rollout = draw(rollouts)
            for group in groups:  # a rollout through the fleet is the same for all groups, but for limits
                own = draw(rollouts) if rollout.scope == "group" else rollout
                on, own_limits = draw(enabled)
                own = replace(own, scope=rollout.scope, limits=own_limits or own.limits)
                policies[group, name] = AutoUpdate(enabled=on, rollout=own)
        hurried = frozenset(specs.keys() & {draw(expedited)})
    return Wanted(specs, groups, duplication=draw(duplications), policies=policies, expedited=hurried)


def unique(listed: Any) -> Any:
    """Give each release once, as the store and the merged offers of sources do."""
    return list({(entry.component, entry.version, entry.platform): entry for entry in listed}.values())


def chosen(listed: Any, at: Any) -> Any:
    """Give one of a list that is drawn by a number."""
    return listed[at % len(listed)]


@st.composite
def situations(draw: Any, *, in_waves: bool = True) -> Any:
    """Give a situation; without `in_waves` all policies have one wave, and nothing is under way."""
    wanted = draw(wanteds(in_waves=in_waves))
    seen = {profile.fingerprint: profile for profile in draw(few_profiles)}
    groups, prints, names = sorted(wanted.groups), sorted(seen), sorted(wanted.components)
    rows = [
        ClientRow(
            f"pc-{at}", chosen(groups, group), labels if in_waves else "[]", chosen(prints, print_), error, route,
            since.timestamp() if error else None, None, "",
        )
        for at, (error, since, labels, route, group, print_) in enumerate(draw(clients))
    ]  # fmt: skip
    holds = (Hold("pc-1,pc-3", "INC-1"),) if draw(st.booleans()) else ()
    held = unique(draw(few_releases))
    offers = [Offer("drop", release) for release in unique(draw(few_releases))]
    ends = unique([*held, *(offer.release for offer in offers)])
    pairs = [
        (before, after)
        for before, after in product(ends, ends)
        if (before.component, before.platform) == (after.component, after.platform)
        and int(before.version) < int(after.version)
    ]
    there = draw(known)
    incrementals = [incremental(before, after) for at, (before, after) in enumerate(pairs) if there >> at & 1]
    here = [
        entry for entry in incrementals if int(entry.to_version) % 2 and entry.to_digest in {r.digest for r in held}
    ]
    offered = [OfferedIncremental("drop", entry) for entry in incrementals]
    taken_back = {(chosen(names, at), version) for at, version in draw(withdrawals)}
    withdrawn = {"drop": [Withdrawal(component, version, "bad") for component, version in sorted(taken_back)]}
    made = Situation(wanted, rows, seen, holds, held, offers, here, offered, withdrawn)
    if not in_waves:
        return made
    records = draw(records_of(made))
    failures = {
        key: dict.fromkeys([chosen(rows, at)[0] for at in draw(failed)], "it failed")
        for key, record in records.items()
        if rows and record.status in UNDER_WAY | {"halted"}
    }
    return replace(made, records=records, failures=failures, limit=draw(some_limit))


@st.composite
def records_of(draw: Any, situation: Situation) -> Any:
    """Give rollouts that the state might remember: of some versions, in some wave, in some status."""
    selected, others = situation.gather()
    cohorts, wanted, records = [*selected, *others], situation.wanted, {}
    names = sorted(wanted.components)
    there = [*situation.held, *(offer.release for offer in situation.offers)]
    places = []
    for at, number, gone in draw(some_versions):
        name = chosen(names, at)
        versions = sorted({release.version for release in there if release.component == name}, reverse=True)
        places.append((name, chosen(VERSIONS if gone or not versions else versions, number)))
    for name, version in dict.fromkeys(places):
        by_group = wanted.policy(next(iter(wanted.groups)), name).rollout.scope == "group"
        for group in wanted.groups if by_group else [""]:
            policy = wanted.policy(group or next(iter(wanted.groups)), name).rollout
            (other, status, passed, changed, wave), (cleared, first, undo, approved) = draw(standings)
            planned = (Wave(share=0.5), Wave(share=1.0)) if other else policy.waves  # other: as if the spec's were new
            among = [at for at, cohort in enumerate(cohorts) if group in {"", cohort.group}]
            cuts, sizes = Lineup(cohorts).cut(planned, among)
            record = RolloutRecord(
                component=name,
                version=version,
                group=group,
                status=status,
                cuts=cuts,
                sizes=sizes,
                structure=structure(planned),
                started=YESTERDAY,
                opened=changed,
                wave=len(cuts) if status == "done" else wave % len(cuts) + 1,
                passed=passed,
                cleared=passed is not None and cleared,
                first=first,
                reason=status,
                undo=undo if status in UNFIT else "",
                approved=tuple(Approval(number, "eva", NOW) for number in approved),
            )
            records[record.key] = record
    return records


def incremental(before: Any, after: Any, codec: str = "zstd", size: int = 700) -> Any:
    """Make an incremental, as if it were there."""
    patch = Patch("data", size, "0" * 64, codec, "data" if before else "", after.files[0].size)
    return Incremental(
        component=after.component,
        platform=after.platform,
        from_version=before.version if before else "",
        from_digest=before.digest if before else "",
        to_version=after.version,
        to_digest=after.digest,
        codec=codec,
        patches=(patch,),
        kept=(Kept("same", "same"),) if before else (),
    )


def members(plan: Any, entry: Any) -> Any:
    return [name for cohort in entry.members for name in plan.members[cohort]]
