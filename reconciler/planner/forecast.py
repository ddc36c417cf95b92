"""How far releases will be, and when: the planner with the clock moved on, if nothing fails.

1. An apply is carried out in imagination (`planner.outlook`), and others until nothing is due at that moment.
2. The clock jumps to the next moment at which something becomes due: a soak ends, a window or an occurrence opens, a
   blackout is over, a client's own moment comes, a release is old enough, a hold or a quarantine is over. With `every`,
   an apply runs only that often.
3. It ends when time alone brings nothing more, after HORIZON, or after so many plans; that is said then.

Nobody approves, resumes or blocks anything, no release comes out, who is off stays so, and so does who is held without
an end: what waits for that is never reached, and the forecast says what it waits for.

What a plan says of it is told for each component by itself (`planner.portion`): components go their ways apart, and
clients that differ in others only are alike then. What is told is the same, for a small part of the work.

Example: a canary that soaks for 4 h, then all, but in a window from 02:00 to 05:00. A forecast at noon opens wave 1 at
02:00 and wave 2 at 02:00 of the day after, as 06:00 is too late.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.formats.counts import count_text
from reconciler.model.forecast import PERCENTS, Forecast, Point, Reach, ReleaseForecast, WaveForecast
from reconciler.model.outlook import Arrival
from reconciler.model.plan import FINDINGS
from reconciler.planner.imagined import all_loaded
from reconciler.planner.moments import Moments
from reconciler.planner.outlook import Imagination
from reconciler.planner.portion import portion
from reconciler.planner.rollout import lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from reconciler.model.plan import Cohort, Plan
    from reconciler.model.rollout import Key, RolloutRecord
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.outlook import Run

HORIZON = timedelta(days=60)
MOST_PLANS = 1000
"""How many plans are made for a forecast."""
LARGE = 20_000
"""Clients from which on a forecast isn't made minute by minute."""
_IN_PLAN = 60
"""How many plans are made for what a plan says of it."""
_COARSE = timedelta(minutes=10)
_APPLIES = 10
"""How many applies follow each other at one moment."""


def forecast(
    wanted: Wanted,
    observed: Observed,
    now: datetime,
    *,
    components: Iterable[str] = (),
    every: timedelta | None = None,
    most: int = MOST_PLANS,
) -> Forecast:
    """Tell what becomes of the releases that are on their way, or of those of some components only."""
    clients = sum(len(cohort.members) for cohort in (*observed.cohorts, *observed.others))
    within = _COARSE if clients > LARGE else timedelta()
    course = _Course(wanted, observed, most // 10 if clients > LARGE else most)
    cut, moment = "", now
    while not cut:
        course.apply(moment, 1 if every else _APPLIES)
        following = course.next(moment)
        if following is None:
            break
        if every is not None:
            following = now + -(-(following - now) // every) * every
        following = max(following, moment + within)
        if following > now + HORIZON:
            cut = f"{HORIZON.days} days are over"
        elif course.left <= 0:
            cut = "it has more steps than are looked at"
        else:
            moment = following
    chosen = set(components)
    return Forecast(
        created=now,
        until=moment,
        every=int(every.total_seconds()) if every is not None else None,
        within=int(within.total_seconds()),
        cut=cut,
        releases=tuple(course.release(key, cut) for key in sorted(course.tracks) if not chosen or key[0] in chosen),
    )


def arrivals(wanted: Wanted, observed: Observed, plan: Plan, now: datetime) -> tuple[Arrival, ...]:
    """Give when the releases arrive that don't reach all clients at once; none where that would take long to tell.

    The plan was made of what is observed: where it has nothing to do and keeps nothing back, nothing is on its way.
    """
    if sum(len(cohort.members) for cohort in (*observed.cohorts, *observed.others)) > LARGE:
        return ()
    under_way = {deploy.component for deploy in plan.deploys} | {step.record.component for step in plan.rollouts}
    under_way.update(finding.component for finding in (*plan.deferred, *plan.held))
    portions = (portion(wanted, observed, name) for name in sorted(under_way & wanted.components.keys()))
    releases = [entry for part in portions for entry in forecast(*part, now, most=_IN_PLAN).releases]
    found = []
    for entry in releases:
        half, most, full = (reach.at for reach in entry.reaches)
        if full != now:
            found.append(
                Arrival(
                    component=entry.component,
                    version=entry.version,
                    group=entry.group,
                    half=half,
                    most=most,
                    all=full,
                    never=entry.never,
                )
            )
    return tuple(found)


def all_arrive(wanted: Wanted, after: Observed, run: Run, now: datetime) -> bool:
    """Say that all releases reach all of their clients in a run, so that nothing is left to be told of `arrivals`.

    `after` is what is there after it. This costs a plan, and not several for each component as a forecast does.
    """
    if run.more or _keeps_back(run.left):
        return False
    course = _Course(wanted, after, 1)
    course.apply(now, 0)
    if course.next(now) is not None or _keeps_back(course.plan):
        return False
    for plan in run.plans:
        course.note(plan, now)
    return all(course.have(key) >= track.clients for key, track in course.tracks.items())


def _keeps_back(plan: Plan) -> bool:
    return any(getattr(plan, kind) for kind in FINDINGS)


@dataclass(slots=True)
class _Track:
    """What became of one release so far, as its rollout went on."""

    clients: int
    record: RolloutRecord | None = None
    opens: dict[int, datetime | None] = field(default_factory=dict)
    ends: dict[int, datetime | None] = field(default_factory=dict)
    curve: list[Point] = field(default_factory=list)

    def note(self, record: RolloutRecord, at: datetime) -> None:
        """Take where the rollout is at a moment."""
        if self.record is None:  # what was before isn't known
            before = range(1, record.wave if record.opened < at else 1)
            self.opens.update(dict.fromkeys(before))
            self.ends.update(dict.fromkeys(before))
        elif self.record.structure != record.structure or record.started != self.record.started:
            self.opens, self.ends = {}, {}
        self.record = record
        for wave in range(1, record.wave + 1):
            self.opens.setdefault(wave, record.opened if wave == record.wave else at)
            if wave < record.wave or record.status == "done":
                self.ends.setdefault(wave, at)
        if record.wave and record.passed is not None:
            self.ends.setdefault(record.wave, record.passed)


class _Course:
    """The fleet in time. `left` counts the plans that may still be made, `tracks` has what becomes of each release."""

    def __init__(self, wanted: Wanted, observed: Observed, most: int) -> None:
        self._wanted = wanted
        self._imagined = Imagination(wanted, all_loaded(wanted, observed))  # nothing fails: no engine either
        self.plan: Plan
        self.left = most
        self.tracks: dict[Key, _Track] = {}
        self._platforms: dict[tuple[str, str], set[str]] = {}
        for release in (*observed.held, *(offer.release for offer in observed.offers)):
            self._platforms.setdefault((release.component, release.version), set()).add(release.platform)

    def apply(self, now: datetime, applies: int) -> None:
        """Let applies run until nothing is due, or so many did, and remember what came of it."""
        self._imagined.look(now)
        self.plan = self._imagined.plan(now)
        self.left -= 1
        self.note(self.plan, now)
        for _number in range(applies):
            if not self.plan.due:
                break
            run = self._imagined.run(self.plan, now)
            self.left -= len(run.plans) + 1
            for made in (*run.plans[1:], run.left):
                self.note(made, now)
            self.plan = self._imagined.plan(now)
            self.note(self.plan, now)
        for key, track in self.tracks.items():
            have = self.have(key)
            if track.curve and track.curve[-1].at == now:
                track.curve.pop()
            if not track.curve or track.curve[-1].clients != have:
                track.curve.append(Point(now, have))

    def next(self, now: datetime) -> datetime | None:
        """Give when an apply has something to do again."""
        if self.plan.due:  # what one apply wasn't for is the next one's
            return now + timedelta(seconds=1)
        waiting = {finding.reason for finding in self.plan.held}
        ends = [
            cohort.free_at
            for cohort in self._cohorts()
            if cohort.free_at is not None and cohort.free_at > now and cohort.hold in waiting
        ]
        following = Moments(self._wanted, self.plan, now).next()
        return min([*ends, *([following] if following else [])], default=None)

    def note(self, plan: Plan, now: datetime) -> None:
        """Take where releases are by a plan of a moment."""
        for step in plan.rollouts:
            self._track(step.record.key).note(step.record, now)
        gone = {step.record.key[:2] for step in plan.rollouts}
        for deploy in plan.deploys:
            if deploy.about not in gone:  # few that come late to a version that is proven
                self._track((deploy.component, deploy.to, lane(self._wanted, deploy.group, deploy.component)))

    def _track(self, key: Key) -> _Track:
        known = self.tracks.get(key)
        if known is None:
            clients = sum(len(cohort.members) for cohort in self._cohorts() if self._should(cohort, key))
            known = self.tracks[key] = _Track(clients)
        return known

    def _cohorts(self) -> tuple[Cohort, ...]:
        return (*self._imagined.observed.cohorts, *self._imagined.observed.others)

    def _should(self, cohort: Cohort, key: Key) -> bool:
        """Say whether clients of a cohort should have a release, or may: those of which nothing is known."""
        component, version, group = key
        gets = any(spec.component.id == component for spec in self._wanted.of_group(cohort.group))
        if not gets or lane(self._wanted, cohort.group, component) != group or group not in {"", cohort.group}:
            return False
        platforms = self._platforms.get((component, version), set())
        return cohort.profile is None or not platforms.isdisjoint({"any", cohort.profile.platform})

    def have(self, key: Key) -> int:
        """Count the clients that have a release, or a later one."""
        component, version, _group = key
        spec = self._wanted.components.get(component)
        if spec is None:
            return 0
        scheme, found = spec.component.scheme, 0
        for cohort in self._cohorts():
            installed = cohort.profile.by_component.get(component) if cohort.profile else None
            if installed is None or not installed.digest or not self._should(cohort, key):
                continue
            fits = scheme.accepts(installed.version) and scheme.accepts(version)
            if installed.version == version or (fits and scheme.parse(installed.version) >= scheme.parse(version)):
                found += len(cohort.members)
        return found

    def release(self, key: Key, cut: str) -> ReleaseForecast:
        """Give what becomes of a release."""
        track = self.tracks[key]
        record, waves, total = track.record, [], 0
        sizes = record.sizes if record is not None else ()
        for at, size in enumerate(sizes):
            total += size
            share = 100 * total // max(sum(sizes), 1)
            waves.append(
                WaveForecast(
                    wave=at + 1,
                    clients=size,
                    percent=share,
                    opens=track.opens.get(at + 1),
                    ends=track.ends.get(at + 1),
                )
            )
        reaches = tuple(
            Reach(
                percent,
                next((point.at for point in track.curve if point.clients * 100 >= percent * track.clients), None),
            )
            for percent in PERCENTS
        )
        return ReleaseForecast(
            *key,
            clients=track.clients,
            waves=tuple(waves),
            reaches=reaches,
            curve=tuple(track.curve),
            never="" if reaches[-1].at is not None else self._why(key, cut),
        )

    def _why(self, key: Key, cut: str) -> str:
        """Say what keeps a release from those that lack it in the end."""
        if cut:
            return f"not looked further: {cut}"
        component, version, _group = key
        counts: dict[str, int] = {}
        for finding in (*self.plan.held, *self.plan.deferred):
            if (finding.component, finding.version) == (component, version):
                reason = finding.reason.removeprefix("rollout: ")
                counts[reason] = counts.get(reason, 0) + finding.clients
        for cohort in self._cohorts():
            why = cohort.unreachable or cohort.unknown
            if why and self._should(cohort, key):
                counts[why] = counts.get(why, 0) + len(cohort.members)
        record = self.tracks[key].record
        if not counts and record is not None and record.status not in {"running", "done"}:
            return record.stopped
        return "; ".join(f"{count_text(count, 'client')}: {why}" for why, count in counts.items())


def compare(before: Forecast, after: Forecast) -> list[str]:
    """Say in sentences what the second of two forecasts of one fleet changes against the first."""
    known = {(entry.component, entry.version, entry.group): entry for entry in before.releases}
    sentences = []
    for entry in after.releases:
        name = f"{entry.component} {entry.version}" + (f" ({entry.group})" if entry.group else "")
        other = known.pop((entry.component, entry.version, entry.group), None)
        if other is None:
            sentences.append(f"with this change {name} goes to {count_text(entry.clients, 'client')}")
            continue
        sentences += _differences(name, other, entry)
    for component, version, group in known:
        name = f"{component} {version}" + (f" ({group})" if group else "")
        sentences.append(f"with this change {name} isn't on its way any more")
    return sentences


def _differences(name: str, was: ReleaseForecast, now: ReleaseForecast) -> list[str]:
    """Say what differs for a release; shares of which the same is said share a sentence."""
    found: dict[str, list[int]] = {}
    for before, after in zip(was.reaches, now.reaches, strict=True):
        if before.at != after.at:
            found.setdefault(_difference(before.at, after.at, now.never), []).append(after.percent)
    return [f"this change brings {name} to {_listed(percents)} % {says}" for says, percents in found.items()]


def _listed(percents: Sequence[int]) -> str:
    """Write numbers as people list them: `50, 95 and 100`."""
    *first, last = map(str, percents)
    return f"{', '.join(first)} and {last}" if first else last


def _difference(was: datetime | None, now: datetime | None, never: str) -> str:
    if now is None:
        return f"never: {never}"
    if was is None:
        return f"at {_shown(now)}, which isn't reached without it"
    return f"{_span(abs(now - was))} {'later' if now > was else 'earlier'}, at {_shown(now)}"


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    days, hours = minutes // 1440, minutes % 1440 // 60
    parts = ((days, "d"), (hours, "h"), (minutes % 60 if not days else 0, "min"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "less than 1 min"
