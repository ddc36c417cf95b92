"""Auto-update policies: what the spec says at its top, of components and of groups, laid over one another.

A component may override any key, and a group any key after that: where machines are counts more than what they get.
Only of a rollout through the whole fleet a group may override nothing but limits.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from reconciler.hints import suggestion
from reconciler.model.policy import DAYS, EVERY_DAY, TRIGGERS, AutoUpdate, Blackout, Schedule, Window
from reconciler.specfile.extend import lay_over
from reconciler.specfile.rollout import RolloutReader
from reconciler.specfile.tree import (
    Map,
    Seq,
    child_map,
    child_seq,
    day_of,
    duration,
    texts,
    value_place,
    word_of,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta, tzinfo

    from reconciler.errors import Problem
    from reconciler.specfile.options import OptionReader

_WORDS = ("day", "week")
_ZONE = re.compile(r"[\w+-]{1,40}(/[\w+-]{1,40}){0,3}", re.ASCII)


def own_policy(nodes: Map, name: str) -> Map:
    """Give what somebody wrote under `auto_update` of a component or group."""
    return written(child_map(child_map(nodes, name), "auto_update"))


def top_policy(tree: Map) -> Map:
    """Give what the spec says for all components: at its top, and of `*`."""
    return lay_over(written(child_map(tree, "auto_update")), own_policy(child_map(tree, "components"), "*"))


class PolicyReader:
    """Reads policies; equal combinations are one object, so that the planner judges them once."""

    def __init__(self, tree: Map, options: OptionReader, problems: list[Problem]) -> None:
        """Take the spec and what reads the options of gates; what is wrong is added to `problems`."""
        self._tree = tree
        self._problems = problems
        self._rollouts = RolloutReader(options, problems)

    def read(self, components: Iterable[str], groups: Iterable[str]) -> dict[tuple[str, str], AutoUpdate]:
        """Give the policy in force for each (group, component)."""
        made: dict[AutoUpdate, AutoUpdate] = {}
        found = {}
        nodes, of_groups = child_map(self._tree, "components"), child_map(self._tree, "groups")
        top = top_policy(self._tree)
        common = self._policy(top, top)
        theirs = {group: own_policy(of_groups, group) for group in groups}
        for component in components:
            own = own_policy(nodes, component)
            node = lay_over(top, own) if own else top
            plain = self._policy(node, own) if own else common
            for group, over in theirs.items():
                policy = self._of_group(lay_over(node, over), over, plain) if over else plain
                found[group, component] = made.setdefault(policy, policy)
        return found

    def _complain(self, node: Any, key: Any, message: str, hint: str = "") -> None:
        problem = value_place(node, key).problem(message, hint)
        if problem not in self._problems:
            self._problems.append(problem)

    def _of_group(self, node: Map, over: Map, component: AutoUpdate) -> AutoUpdate:
        policy = self._policy(node, over)
        return replace(policy, rollout=self._rollouts.of_group(over, policy.rollout, component.rollout))

    def _policy(self, node: Map, own: Map) -> AutoUpdate:
        """Read a policy; `own` is the part of it that the last one to speak wrote."""
        trigger = word_of(node, "trigger", TRIGGERS, "schedule" if "schedule" in node else "download")
        schedule = self._schedule(child_map(node, "schedule")) if "schedule" in node else None
        if trigger == "schedule" and schedule is None:
            self._complain(node, "trigger", "`trigger: schedule` needs a `schedule`")
        rollout = self._rollouts.read(node)
        self._rollouts.check_own(own, rollout)
        return AutoUpdate(
            enabled=node.get("enabled", True) is True,
            trigger=trigger,
            schedule=schedule,
            windows=tuple(self._windows(child_seq(node, "windows"))),
            blackouts=tuple(self._blackouts(child_seq(node, "blackouts"))),
            early=node.get("stage") == "early",
            rollout=rollout,
        )

    def _schedule(self, node: Map) -> Schedule:
        every = str(node.get("every", "day"))
        spread, zone = duration(node.get("spread")), self._zone(node)
        interval: timedelta | None = None if every in _WORDS else duration(every)
        if interval is not None:
            if interval.total_seconds() < 60 or interval.days >= 1:
                self._complain(node, "every", f"`{every}` isn't between a minute and a day", "or `day`, or `week`")
            for key in ("at", "days"):
                if key in node:
                    self._complain(node, key, f"`{key}` is for `every: day` and `every: week`")
            if spread is not None and spread > interval:
                self._complain(node, "spread", "a spread can't be longer than what lies between two times")
            return Schedule(interval=interval, spread=spread if spread is not None else interval)
        if spread is not None and not 60 <= spread.total_seconds() <= 24 * 3600:
            self._complain(node, "spread", "a spread is between a minute and a day")
        days = self._days(node)
        if every == "week" and not days:
            self._complain(node, "every", "`every: week` needs `days`", "such as [tue]")
        default = Schedule()
        return Schedule(
            days=days or EVERY_DAY,
            at=self._time(node, "at"),
            spread=spread if spread is not None else default.spread,
            zone=zone,
        )

    def _windows(self, nodes: Seq) -> Iterable[Window]:
        for node in nodes:
            if isinstance(node, Map):
                start, end = self._time(node, "from"), self._time(node, "to")
                if start == end:
                    self._complain(node, "to", "this window ends when it begins")
                yield Window(start, end, self._days(node) or EVERY_DAY, self._zone(node))

    def _blackouts(self, nodes: Seq) -> Iterable[Blackout]:
        for node in nodes:
            if not isinstance(node, Map):
                continue
            first, last = day_of(node, "from", self._problems), day_of(node, "to", self._problems)
            if first is None or last is None:
                continue
            if last < first:
                self._complain(node, "to", "this blackout ends before it begins")
            reason = " ".join(str(node.get("reason", "")).split())
            yield Blackout(
                first=first, last=last, reason=reason, zone=self._zone(node), spares=frozenset(texts(node, "except"))
            )

    def _days(self, node: Map) -> frozenset[int]:
        return frozenset(DAYS.index(day) for day in texts(node, "days") if day in DAYS)

    def _time(self, node: Map, key: str) -> time:
        text = node.get(key, "00:00")
        try:
            return time.fromisoformat(text) if isinstance(text, str) else time()
        except ValueError:
            self._complain(node, key, f"`{text}` is no time of the day", 'such as "01:30"')
            return time()

    def _zone(self, node: Map) -> tzinfo:
        name = node.get("timezone", "UTC")
        if not isinstance(name, str) or name == "UTC":
            return UTC
        try:
            if _ZONE.fullmatch(name):  # `zoneinfo` imports a package for each `/`
                return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
        hint = suggestion(name, available_timezones())
        self._complain(node, "timezone", f"there is no time zone `{name}`", hint)
        return UTC
