"""How much of the fleet a plan changes, and whether it could go back, in a plan's text and in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.words import count_text, number_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Entry = Mapping[str, Any]

_GROUPS_SHOWN = 3


def way_back_lines(document: Entry) -> list[str]:
    """Give the lines of a plan that say how far it reaches, and the way back; none where nothing is known of that."""
    ways = document.get("ways_back", ())
    lines = [_reach(document)] if len(document["clients"]) > 1 and ways else []
    return [*lines, *_rollback([way for way in ways if way["clients"] > way["first"]])]


def _rollback(ways: Sequence[Entry]) -> list[str]:
    """Say on how many clients the version before is kept; by release only where it isn't on all."""
    if not ways:
        return []
    lacking = [way for way in ways if way["kept"] < way["clients"] - way["first"]]
    if not lacking:
        return ["Rollback: the version before is kept on all clients that have one, so nothing is sent."]
    shown = [
        f"{way['component']} {way['version']}: the version before is kept on {number_text(way['kept'])} of "
        f"{count_text(way['clients'] - way['first'], 'client')}"
        for way in lacking
    ]
    return [f"Rollback: {'; '.join(shown)}."]


def _reach(document: Entry) -> str:
    """Say which share of each group changes, those with the greatest first."""
    changed: dict[str, set[str]] = {}
    for change in document["changes"]:
        if change["action"] in {"deploy", "settings"}:
            names = {name for cohort in change["members"] for name in document["members"][cohort]}
            changed.setdefault(change["group"], set()).update(names)
    shares = {group: len(names) / max(document["clients"].get(group, 0), 1) for group, names in changed.items()}
    groups = sorted(changed, key=lambda group: (-shares[group], group))
    shown = [f"{_percent(shares[group])} of {group}" for group in groups[:_GROUPS_SHOWN]]
    more = [f"parts of {count_text(len(groups) - _GROUPS_SHOWN, 'more group')}"] if len(groups) > _GROUPS_SHOWN else []
    everybody = set().union(*changed.values())
    share = _percent(len(everybody) / max(sum(document["clients"].values()), 1))
    return f"This step changes {share} of the fleet: {', '.join([*shown, *more])}."


def _percent(share: float) -> str:
    """Write a share; what is more than nothing is never written as nothing, nor less than all as all."""
    percent = round(share * 100)
    if 0 < share < 1:
        percent = min(max(percent, 1), 99)
    return f"{percent} %"
