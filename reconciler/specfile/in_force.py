"""Auto-update policies as they are in force, for showing: what is written, laid over what holds without a word.

The defaults are those of `model.policy`, so what is shown can't differ from what is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.policy import DEFAULT_LIMITS, DEFAULT_WAVES, AutoUpdate, Limits, Rollout, Wave
from reconciler.specfile.extend import lay_over
from reconciler.specfile.policy import own_policy, top_policy
from reconciler.specfile.tree import DEFAULT, Map, Seq, child_map, child_seq

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.specfile.tree import Place

_HOLDERS = ("components", "groups")
_CHOSEN = "at most one of each group, those labelled canary first, and never all that answer"


def with_policies(shown: Map, tree: Map) -> Map:
    """Show the policy that is in force at the top of a spec, and in each component and group; `tree` is as written."""
    top = top_policy(tree)
    found = shown.copy()
    _put(found, "auto_update", _whole(top))
    for holder in _HOLDERS:
        if not isinstance(found.get(holder), Map):
            continue
        listed = found[holder].copy()
        for name, entry in listed.items():
            full = entry.copy()
            _put(full, "auto_update", _whole(lay_over(top, own_policy(child_map(tree, holder), name))))
            listed[name] = full
        found[holder] = listed
    return found


def _whole(policy: Map) -> Map:
    """Fill in what holds where a policy says nothing."""
    rollout, default = child_map(policy, "rollout"), AutoUpdate()
    trigger = "schedule" if "schedule" in policy else default.trigger
    whole = _filled(policy, {"enabled": default.enabled, "trigger": trigger})
    _put(whole, "rollout", _whole_rollout(rollout))
    return whole


def _whole_rollout(node: Map) -> Map:
    default = Rollout()
    on_failure = node.get("on_failure", default.on_failure)
    back = {"rollback_scope": default.rollback_scope} if on_failure == "rollback" else {}
    words = {
        "scope": default.scope,
        "recheck": "none",
        "newer_release": default.newer,
        "on_failure": on_failure,
        **back,
        "max_catch_up": f"{default.catch_up.share * 100:g}%",
    }
    rollout = _filled(node, {**words, **_limits(DEFAULT_LIMITS)})
    if "max_catch_up" not in node:
        rollout.values_at["max_catch_up"] = DEFAULT._replace(raw=f"or {default.catch_up.clients}, if that is more")
    own = "min_attempted" in node
    waves = Seq(rollout.place)
    written = child_seq(node, "waves")
    for at, wave in enumerate(written):
        least = {} if own or not (at == 0 or "select" in wave) else {"min_attempted": 1}
        waves.put(_filled(wave, least), written.items_at[at])
    for wave in () if written else DEFAULT_WAVES:
        waves.put(_default_wave(wave, own=own), DEFAULT)
    _put(rollout, "waves", waves)
    return rollout


def _default_wave(wave: Wave, *, own: bool) -> Map:
    """Show a wave that nobody wrote; with an `own` limit of the rollout it has no `min_attempted`."""
    who: dict[str, Any] = (
        {"count": wave.count} if wave.count is not None else {"share": f"{(wave.share or 0) * 100:g}%"}
    )
    soak = {"soak": f"{wave.soak.total_seconds() / 60:g}m"} if wave.soak else {}
    limits = {key: value for key, value in _limits(wave.limits).items() if not (own and key == "min_attempted")}
    shown = _filled(Map(), {**who, **soak, "approve": "manual" if wave.approve else "auto", **limits})
    if wave.prefer:
        shown.values_at["count"] = DEFAULT._replace(raw=_CHOSEN)
    return shown


def _limits(limits: Limits) -> dict[str, Any]:
    said = {name: value for name in Limits.__slots__ if (value := getattr(limits, name)) is not None}
    return {name: int(value) if value == int(value) else value for name, value in said.items()}


def _filled(node: Map, values: Mapping[str, Any]) -> Map:
    """Give a copy of a map in which these values stand where it has none."""
    filled = node.copy()
    for key, value in values.items():
        if key not in filled:
            _put(filled, key, value)
    return filled


def _put(node: Map, key: str, value: Any) -> None:
    """Set a key and keep its place, if it has one."""
    place: Place = node.values_at.get(key, DEFAULT)
    node.put(key, value, node.keys_at.get(key, DEFAULT), place)
