"""Rollouts: in which waves releases go out, what must hold between them, and what follows when it doesn't.

* Exactly one of `select`, `share` and `count` says who is in a wave. Shares and counts are cumulative, so each is
  larger than the one before, and the last wave takes all.
* The first wave, and each with `select`, needs one client that was attempted where nothing else is said: a wave of
  which no client could be reached shows nothing.
* Limits that a rollout doesn't state are those of DEFAULT_LIMITS; limits of a wave hold for that wave only.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.model.policy import (
    DEFAULT_LIMITS,
    DEFAULT_WAVES,
    NEWER,
    ON_FAILURE,
    ROLLBACK_SCOPES,
    SCOPES,
    CatchUp,
    Gate,
    Limits,
    Rollout,
    Wave,
)
from reconciler.model.share import of_percent
from reconciler.specfile.tree import (
    Map,
    Seq,
    child_map,
    child_seq,
    maps_of,
    pattern_of,
    percent_of,
    seconds_of,
    span_of,
    value_place,
    whole_of,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.errors import Problem
    from reconciler.specfile.options import OptionReader

LIMITS = ("min_attempted", "max_failed", "max_fail_percentage", "max_unreachable_percentage")
EVERYBODY = "*"
_WHO = ("select", "share", "count")
_GATE_KEYS = frozenset(["type", "where", "timeout"])
PartT = TypeVar("PartT", Wave, Gate)


class RolloutReader:
    """Reads rollouts; a list that several policies share is read once."""

    def __init__(self, options: OptionReader, problems: list[Problem]) -> None:
        """Take what reads the options of gates; what is wrong is added to `problems`."""
        self._options = options
        self._problems = problems
        self._lists: dict[int, tuple[Seq, tuple[Any, ...]]] = {}

    def read(self, policy: Map) -> Rollout:
        """Give the rollout of a policy in which all that holds is laid over one another."""
        node = child_map(policy, "rollout")
        limits = self._limits(node)
        default = Rollout()
        return Rollout(
            scope=word_of(node, "scope", SCOPES, default.scope),
            waves=_attempted(self._once(child_seq(node, "waves"), self._waves) or DEFAULT_WAVES, limits),
            limits=limits.over(DEFAULT_LIMITS),
            gates=self._once(child_seq(node, "gate"), self._gates),
            recheck=node.get("recheck") == "end_of_soak",
            newer=word_of(node, "newer_release", NEWER, default.newer),
            on_failure=word_of(node, "on_failure", ON_FAILURE, default.on_failure),
            rollback_scope=word_of(node, "rollback_scope", ROLLBACK_SCOPES, default.rollback_scope),
            catch_up=_catch_up(node),
            wait_loaded=span_of(node, "wait_loaded", self._problems),
        )

    def check_own(self, own: Map, rollout: Rollout) -> None:
        """Check what a part of the spec says itself, against the rollout that comes of it."""
        node = child_map(own, "rollout")
        if "rollback_scope" in node and rollout.on_failure != "rollback":
            self._complain(node, "rollback_scope", "`rollback_scope` needs `on_failure: rollback`", _NOTHING_BACK)

    def of_group(self, own: Map, rollout: Rollout, component: Rollout) -> Rollout:
        """Give the rollout of a group: under `scope: fleet` that of the component, with the group's limits."""
        if rollout.scope != "fleet":
            return rollout
        node = child_map(own, "rollout")
        for key in node:
            if key not in LIMITS and not (key == "scope" and component.scope == "fleet"):
                self._problems.append(
                    node.keys_at.get(key, node.place).problem(
                        f"`{key}` of a group needs `scope: group`",
                        "a rollout through the fleet is the same for all groups, but for limits",
                    )
                )
        return replace(component, limits=rollout.limits)

    def _complain(self, node: Any, key: Any, message: str, hint: str = "") -> None:
        self._problems.append(value_place(node, key).problem(message, hint))

    def _once(self, nodes: Seq, read: Callable[[Seq], tuple[PartT, ...]]) -> tuple[PartT, ...]:
        if nodes and id(nodes) not in self._lists:
            self._lists[id(nodes)] = nodes, read(nodes)
        return self._lists[id(nodes)][1] if nodes else ()

    # --- limits -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _limits(node: Map) -> Limits:
        return Limits(
            min_attempted=whole_of(node, "min_attempted"),
            max_failed=whole_of(node, "max_failed"),
            max_fail_percentage=percent_of(node.get("max_fail_percentage")),
            max_unreachable_percentage=percent_of(node.get("max_unreachable_percentage")),
        )

    # --- waves --------------------------------------------------------------------------------------------------------

    def _waves(self, nodes: Seq) -> tuple[Wave, ...]:
        entries = maps_of(nodes)
        waves = tuple(map(self._wave, entries))
        for key in ("share", "count"):
            self._check_rising(entries, waves, key)
        if waves and entries[-1] is nodes[-1]:
            self._check_last(entries[-1], waves[-1])
        return waves

    def _wave(self, node: Map) -> Wave:
        named = [key for key in _WHO if key in node]
        if not named:
            message = "this wave doesn't say who is in it"
            self._problems.append(node.place.problem(message, "give it one of `select`, `share` and `count`"))
        elif len(named) > 1:
            message = f"a wave has one of `select`, `share` and `count`, and this one has `{named[0]}` already"
            self._problems.append(node.keys_at.get(named[1], node.place).problem(message, "make two waves of it"))
        share, count = percent_of(node.get("share")), whole_of(node, "count")
        if share == 0:
            self._complain(node, "share", "a wave of `0%` lets nobody in")
        return Wave(
            select=pattern_of(node, "select", self._problems),
            share=None if share is None else of_percent(share),
            count=count,
            apart=count is not None,
            soak=span_of(node, "soak", self._problems) or timedelta(),
            at_once=whole_of(node, "at_once") or 0,
            approve=node.get("approve") == "manual",
            limits=self._limits(node),
        )

    def _check_rising(self, nodes: list[Map], waves: tuple[Wave, ...], key: str) -> None:
        before = 0.0
        for node, wave in zip(nodes, waves, strict=True):
            value = getattr(wave, key)
            if value is None or not _one(node):
                continue
            if 0 < value <= before:
                hint = f"each `{key}` counts the waves before it, so it must be larger than theirs"
                self._complain(node, key, "this wave lets nobody in who isn't in a wave before it", hint)
            before = max(before, value)

    def _check_last(self, node: Map, wave: Wave) -> None:
        key = next((key for key in _WHO if getattr(wave, key)), "")
        if key and _one(node) and not _takes_all(wave):
            message = "the last wave must take all, and this one may leave clients out"
            self._complain(node, key, message, 'add a wave behind it: {share: "100%"}')

    # --- gates --------------------------------------------------------------------------------------------------------

    def _gates(self, nodes: Seq) -> tuple[Gate, ...]:
        return tuple(gate for gate in map(self._gate, maps_of(nodes)) if gate is not None)

    def _gate(self, node: Map) -> Gate | None:
        config = self._options.read("check", node, _GATE_KEYS)
        timeout = seconds_of(node, "timeout", 60.0, self._problems)
        if config is None:
            return None
        try:
            options = json.dumps(config.options, sort_keys=True, separators=(",", ":"))
        except TypeError:
            self._problems.append(node.place.problem("a gate can't have secrets among its options"))
            return None
        return Gate(config.name, options, timeout)


_NOTHING_BACK = "nothing goes back with `on_failure: halt`"


def _attempted(waves: tuple[Wave, ...], limits: Limits) -> tuple[Wave, ...]:
    """Let the first wave, and each with `select`, need one client that was attempted where nothing else is said."""
    if limits.min_attempted is not None:
        if waves is not DEFAULT_WAVES:
            return waves
        return (replace(waves[0], limits=replace(waves[0].limits, min_attempted=None)), *waves[1:])
    return tuple(
        replace(wave, limits=wave.limits.over(Limits(min_attempted=1))) if at == 0 or wave.select else wave
        for at, wave in enumerate(waves)
    )


def _one(node: Map) -> bool:
    return sum(key in node for key in _WHO) == 1


def _takes_all(wave: Wave) -> bool:
    return wave.select.strip() == EVERYBODY or (wave.share is not None and wave.share >= 1)


def _catch_up(node: Map) -> CatchUp:
    """Read how many clients may come late at once: a number of them, or a text such as "5%"."""
    clients = whole_of(node, "max_catch_up")
    if clients is not None:
        return CatchUp(clients, 0.0)
    share = percent_of(node.get("max_catch_up"))
    return CatchUp() if share is None else CatchUp(0, of_percent(share))
