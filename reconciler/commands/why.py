"""Says why a client has what it has: what is asked for, what is in the way, and what comes next.

The answer is a plan for that one client, made by the one planner from the whole fleet as it was last seen. What an
apply would do, and for which reasons it wouldn't, is read from that plan; nothing is decided here.
"""

from __future__ import annotations

import shlex
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.desk import read_spec
from reconciler.errors import SecretError, SpecError, UsageError
from reconciler.hints import MAX_COMPARED, did_you_mean, listing, suggestion
from reconciler.model.release import ANY_PLATFORM
from reconciler.model.report import Asked
from reconciler.model.settings import RESERVED, is_reserved
from reconciler.model.standing import ClientStanding, ComponentStanding, Happened, RolloutPlace, SettingStanding
from reconciler.observe.listing import make_ruler
from reconciler.observe.observed import Sight, observe
from reconciler.observe.standing import settings_of
from reconciler.planner.inputs import Wanted
from reconciler.planner.loading import unloaded
from reconciler.planner.provenance import of_version
from reconciler.planner.waves import Lineup, first_waves
from reconciler.planning import PlanOptions, plan_of
from reconciler.present.fields import time_text
from reconciler.present.standing_form import standing_document
from reconciler.present.views import STANDING
from reconciler.present.words import size_text
from reconciler.specfile.asked import asked_of, asked_of_setting, holds_of, values_read
from reconciler.storage.base import moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.desk import Desk
    from reconciler.model.change import Deploy
    from reconciler.model.client import Client, Installed
    from reconciler.model.plan import Finding, Plan, RolloutStep
    from reconciler.model.spec import ComponentSpec
    from reconciler.model.standing import Coming
    from reconciler.observe.standing import SeenSetting
    from reconciler.planner.inputs import Observed
    from reconciler.planner.ruler import Ruler
    from reconciler.specfile.load import Loaded
    from reconciler.workspace import Workspace

_JOURNAL = 200
"""Entries of the journal that are looked through for what happened last."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class WhyOptions:
    """Whom to ask about, and what: all where `component` is empty; `refresh` looks at the client first.

    `component` may also be a file of settings, by its path or its id, or `settings` for all of these.
    """

    client: str
    component: str = ""
    refresh: bool = False


def why(desk: Desk, options: WhyOptions) -> int:
    """Say why a client has what it has."""
    with at_work(desk, reads=not options.refresh) as work:
        _check_component(work, options.component)
        sight = Sight(refresh=options.refresh, names=(options.client,))
        observed = _observed(work, sight)
        if not observed.cohorts:
            raise _nobody(work, options.client)
        made = plan_of(work, PlanOptions(sight), observed)
        standing = _Teller(work, read_spec(desk), made, observed).tell(options.component)
    desk.terminal.show(standing_document(standing), desk.form, STANDING)
    return 0


def _observed(work: Workspace, sight: Sight) -> Observed:
    """Look at the client; a template or a secret that is no good keeps nobody from an answer about the rest."""
    try:
        return observe(work, sight)
    except (SpecError, SecretError):
        return observe(work, replace(sight, refresh=False, settings=False))


def _check_component(work: Workspace, name: str) -> None:
    """Refuse a name that no catalog has, and that is none of settings."""
    known = work.spec.catalog.components
    if name and name not in known and not (is_reserved(name) or name.startswith("/")):
        hint = did_you_mean(name, (*work.spec.components, *known)) or listing(work.spec.components, "managed are")
        raise UsageError(f"no catalog has a component {name}", hint=hint)


def _nobody(work: Workspace, name: str) -> UsageError:
    """Say that a client isn't there, and what was probably meant."""
    line = work.state.lines_of([name]).get(name)
    if line is not None:
        seen = moment(line.seen_at)
        when = f", and answered last at {time_text(seen)}" if seen else ""
        hint = f"`updoser history --client {shlex.quote(name)}` says what happened to it"
        return UsageError(f"{name} is no client any more: it was in group {line.group}{when}", hint=hint)
    if name in work.spec.groups:
        hint = f"`updoser clients {shlex.quote(name)}` lists its clients"
        return UsageError(f"there is no client {name}: that is a group", hint=hint)
    names = sorted(row.name for row in work.roll.rows())
    at = max(bisect_left(names, name) - MAX_COMPARED // 2, 0)
    near = suggestion(name, names[at : at + MAX_COMPARED], "clients are")
    return UsageError(f"there is no client {name}", hint=near or "`updoser clients` lists the fleet")


class _Teller:
    """Reads from the plan of one client how it stands."""

    def __init__(self, work: Workspace, loaded: Loaded, plan: Plan, observed: Observed) -> None:
        self._work = work
        self._loaded = loaded
        self._plan = plan
        self._observed = observed
        self._cohort = observed.cohorts[0]
        (self._name,) = self._cohort.members
        self._lineup = Lineup([self._cohort])
        self._protections = work.state.protections()
        self._wanted = Wanted(work.spec.components, work.spec.groups)
        self._ruler: Ruler = make_ruler(work)
        self._happened = [
            Happened(
                run_id=run_id,
                at=entry.at,
                component=entry.component,
                from_version=entry.from_version,
                to_version=entry.to_version,
                outcome=entry.outcome,
                message=entry.message,
            )
            for run_id, entry in work.state.outcomes(Asked(client=self._name), _JOURNAL)
        ]

    def tell(self, component: str) -> ClientStanding:
        """Say how the client stands, with one component or all."""
        line = self._work.state.lines_of([self._name]).get(self._name)
        client, has = self._client()
        labels = client.labels if client else ()
        group, now = self._cohort.group, self._plan.created
        specs = [one for one in self._wanted.of_group(group) if component in {"", one.component.id}]
        settings = tuple(self._settings(client, has, component)) if client else ()
        components = (*map(self._component, specs), *self._left_over(component))
        if component and not (components or settings):
            raise self._not_given(component)
        failing = moment(line.failing_since) if line and line.error else None
        return ClientStanding(
            created=now,
            name=self._name,
            group=group,
            labels=labels,
            platform=self._cohort.profile.platform if self._cohort.profile else "",
            seen=moment(line.seen_at) if line else None,
            failing_since=failing,
            reasons=tuple(self._in_general(line.error if line else "")),
            holds=holds_of(self._loaded, self._name, group, labels, now.date().isoformat()),
            components=components,
            settings=settings,
            happened=tuple(one for one in self._happened if not one.component)[:_SHOWN],
            site=self._work.spec.site_of(group),
        )

    def _client(self) -> tuple[Client | None, str]:
        """Give the client, also one that no apply took in yet, and the settings that it has."""
        written = (client for client in self._work.spec.groups[self._cohort.group].clients if client.name == self._name)
        return next(iter(self._work.roll.named([self._name])), (next(written, None), ""))

    def _in_general(self, error: str) -> list[str]:
        """Give what keeps everything from the client."""
        blind = [*self._plan.unreachable, *self._plan.unknown]
        said = [error or finding.reason for finding in blind]
        held = [finding.reason for finding in self._plan.held if not finding.component]
        return list(dict.fromkeys([*said, *filter(None, [self._cohort.hold]), *held]))

    def _component(self, spec: ComponentSpec) -> ComponentStanding:
        component, profile = spec.component.id, self._cohort.profile
        installed = profile.by_component.get(component) if profile else None
        platform = profile.platform if profile else ""
        deploys = [one for one in self._plan.deploys if one.component == component]
        held, deferred = (_about(found, component) for found in (self._plan.held, self._plan.deferred))
        drift = _about(self._plan.drift, component) + _about(self._plan.pending, component)
        steps = [step for step in self._plan.rollouts if step.record.component == component]
        rollouts = tuple(self._rollout(step) for step in steps if step.record.group in {"", self._cohort.group})
        coming = self._coming(deploys, held, deferred)
        fetched = self._fetched_of(spec, platform)
        to, wanted = next((one.to for one in deploys), ""), self._ruler.wanted(component, platform)
        following = self._next_of(spec, installed, coming, deploys, rollouts, wanted=wanted)
        if fetched and coming == "nothing":
            following = ""
        return ComponentStanding(
            id=component,
            version=installed.version if installed else "",
            wanted=wanted,
            state=self._ruler.state(component, installed, platform) if profile else "unknown",
            damage=installed.damage if installed else "",
            previous=installed.previous if installed else "",
            asked=asked_of(self._loaded, component, self._cohort.group),
            coming=coming,
            to=to,
            reasons=tuple(
                dict.fromkeys(f"{one.version}: {one.reason}" if one.version else one.reason for one in held + deferred)
            )
            + tuple(one.reason for one in drift),
            rollouts=rollouts,
            next="; ".join(filter(None, (following, fetched))),
            happened=self._of(component),
            release=of_version(component, to or wanted, platform, self._observed),
            protection=self._protections.get((component, wanted)),
            loaded=installed.loaded if installed and spec.loaded else "",
            unsaid=installed.unsaid if installed and spec.loaded else "",
        )

    @staticmethod
    def _next_of(
        spec: ComponentSpec,
        installed: Installed | None,
        coming: Coming,
        deploys: Sequence[Deploy],
        rollouts: Sequence[RolloutPlace],
        *,
        wanted: str,
    ) -> str:
        if coming == "nothing" and not wanted:
            return _NO_RELEASE
        if coming == "nothing" and installed is not None and unloaded(spec, installed):
            return "nothing is sent: it has what it should have, and its engine has to load it"
        return _next(coming, deploys, rollouts)

    def _fetched_of(self, spec: ComponentSpec, platform: str) -> str:
        """Say what the next apply has fetched of a component for a platform; empty where that is nothing."""
        for change in self._plan.fetches:
            if change.component == spec.component.id and change.platform in {platform, ANY_PLATFORM}:
                size = "" if change.bytes is None else f" ({size_text(change.bytes)})"
                return f"the next apply fetches {change.to} from {change.source}{size}, and one after that deploys it"
        return ""

    def _left_over(self, component: str) -> Iterator[ComponentStanding]:
        """Give what the client has and nothing asks for."""
        group = self._cohort.group
        gets = {spec.component.id for spec in self._wanted.of_group(group)}
        for installed in self._cohort.profile.installed if self._cohort.profile else ():
            name = installed.component
            if name not in gets and component in {"", name}:
                yield ComponentStanding(
                    id=name,
                    version=installed.version,
                    wanted="",
                    state="unmanaged",
                    damage=installed.damage,
                    previous=installed.previous,
                    asked=(),
                    coming="nothing",
                    to="",
                    reasons=(),
                    rollouts=(),
                    next=f"nothing: {self._why_not(name)}, and what is there stays",
                    happened=self._of(name),
                )

    def _not_given(self, component: str) -> UsageError:
        """Say that the client neither gets a component, or a file of settings, nor has it."""
        group = self._cohort.group
        gets = [spec.component.id for spec in self._wanted.of_group(group)]
        paths = [setting.path for setting in self._work.spec.groups[group].settings]
        if is_reserved(component) or component.startswith("/"):
            hint = suggestion(component, paths, "they get") or f"`groups.{group}` has no `settings`"
            return UsageError(f"clients of group {group} have no settings {component}", hint=hint)
        hint = suggestion(component, gets, "they get")
        return UsageError(f"clients of group {group} don't get {component}: {self._why_not(component)}", hint=hint)

    def _why_not(self, component: str) -> str:
        if component not in self._work.spec.components:
            return "the spec doesn't manage it"
        return f"it isn't for the scan method of group {self._cohort.group}"

    def _of(self, component: str) -> tuple[Happened, ...]:
        return tuple(one for one in self._happened if one.component == component)[:_SHOWN]

    def _settings(self, client: Client, has: str, asked: str) -> Iterator[SettingStanding]:
        group = self._cohort.group
        for seen in settings_of(self._work, client, has):
            if asked and asked not in {RESERVED, seen.id, seen.path}:
                continue
            coming = self._coming_of(seen)
            yield SettingStanding(
                id=seen.id,
                path=seen.path,
                template=seen.template,
                version=seen.has.version if seen.has else "",
                wanted=seen.wanted,
                state=seen.state if self._cohort.profile else "unknown",
                trouble=seen.trouble,
                asked=asked_of_setting(self._loaded, group, seen.path),
                reads=tuple(values_read(self._loaded, client, seen.names, seen.entries)),
                coming=coming,
                next=_next_of(seen, coming, self._name),
                happened=self._of(seen.id),
            )

    def _coming_of(self, seen: SeenSetting) -> Coming:
        if self._cohort.profile is None:
            return "blind"
        if seen.trouble:
            return "held"
        if seen.state in {"updated", "unmanaged"}:
            return "nothing"
        return "due" if self._plan.settings else "held"

    def _coming(self, deploys: Sequence[Deploy], held: Sequence[Finding], deferred: Sequence[Finding]) -> Coming:
        if self._cohort.profile is None:
            return "blind"
        if deploys:
            return "sent_early" if all(one.early for one in deploys) else "due"
        return "held" if held else "deferred" if deferred else "nothing"

    def _rollout(self, step: RolloutStep) -> RolloutPlace:
        record = step.record
        parts = [first_waves(record.cuts, wave) for wave in range(1, len(record.cuts) + 1)]
        ((inside, _names),) = self._lineup.split(0, parts).items() if parts else (((), ()),)
        return RolloutPlace(
            version=record.version,
            group=record.group,
            status=record.status,
            own_wave=inside.index(True) + 1 if True in inside else 0,
            open_wave=record.wave,
            waves=len(record.cuts),
            says=step.says,
            next_at=step.next_at,
        )


def _about(findings: Sequence[Finding], component: str) -> list[Finding]:
    return [one for one in findings if one.component == component]


def _next(coming: Coming, deploys: Sequence[Deploy], rollouts: Sequence[RolloutPlace]) -> str:
    """Say what comes next, and when as far as the time alone decides."""
    at = min((one.next_at for one in rollouts if one.next_at is not None), default=None)
    then = f"; the next step of its rollout is due {at:%Y-%m-%dT%H:%M:%SZ}" if at else ""
    if coming == "due":
        change = next(one for one in deploys if not one.early)
        way = "kept there already" if change.held else size_text(change.bytes)
        what = " -> ".join(filter(None, (change.from_version or "nothing", change.to)))
        until = f", to begin before {change.not_after:%Y-%m-%dT%H:%M:%SZ}" if change.not_after else ""
        return f"the next apply changes it: {what} ({change.reason}, {way}){until}"
    return _WORDS[coming] + (then if coming in {"sent_early", "deferred"} else "")


def _next_of(seen: SeenSetting, coming: Coming, client: str) -> str:
    """Say what comes next for a file of settings."""
    if coming == "due":
        does = "puts it there" if seen.state == "missing" else "writes it anew"
        return f"the next apply {does}: `updoser plan --limit {shlex.quote(client)} --diff` shows what changes"
    if seen.state == "unmanaged":
        return "nothing: no settings ask for it, and what is there stays"
    return "nothing until that is mended" if seen.trouble else _WORDS[coming]


_NO_RELEASE = "nothing: no source offers a release of it that may be used, and the store has none"
_WORDS: Mapping[Coming, str] = {
    "sent_early": "the next apply sends it, and a later one switches to it",
    "held": "nothing until somebody acts",
    "deferred": "a later apply, once what it waits for is over",
    "blind": "nothing as long as the client isn't known: see what it said",
    "nothing": "nothing: it has what it should have",
}
