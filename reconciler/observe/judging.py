"""Writes down what clients count as: who shows them, and has neither spec nor store, can tell the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.planner.inputs import Wanted
from reconciler.planner.ruler import Allowance, Ruler
from reconciler.storage.ground import MAX_NAMED, Facts, facts_document
from reconciler.storage.judging import Counted

if TYPE_CHECKING:
    from reconciler.model.client import Installed
    from reconciler.planner.inputs import Observed
    from reconciler.workspace import Workspace


def count(ruler: Ruler, component: str, installed: Installed | None, platform: str) -> Counted:
    """Say what a component counts as on a client that is known."""
    state = ruler.state(component, installed, platform)
    behind = ruler.behind(component, installed, platform) if state == "outdated" else 0
    return Counted(state, ruler.wanted(component, platform), behind)


def keep_index(work: Workspace, found: Observed) -> None:
    """Judge all profiles as a status does of what was found, and keep what else clients are judged by.

    It may be called as often as somebody wants: only what is new costs something.

    Raises:
        StateError: the state can't be read or written.
    """
    wanted = Wanted(work.spec.components, work.spec.groups)
    ruler = Ruler(wanted, found, Allowance(work.means.clock(), first_seen=found.first_seen))

    def measure(component: str, installed: Installed | None, platform: str) -> Counted:
        return count(ruler, component, installed, platform)

    def keep() -> None:
        digest = work.state.judge_profiles(tuple(wanted.components), measure)
        work.state.keep_snapshots("facts", {"": {**facts_document(_facts(work, wanted, found)), "standings": digest}})

    work.state.whole(keep)


def _facts(work: Workspace, wanted: Wanted, found: Observed) -> Facts:
    doubles = work.roll.doubles()
    moved = {name: group for group, names in work.roll.moved().items() for name in names}
    few = len(found.gone) + len(moved) <= MAX_NAMED
    return Facts(
        groups={group: tuple(spec.component.id for spec in wanted.of_group(group)) for group in wanted.groups},
        schemes={name: spec.component.scheme for name, spec in wanted.components.items()},
        holds=work.spec.holds,
        quarantine=work.spec.quarantine.span,
        lineage=found.basis.lineage,
        epoch=found.basis.epoch,
        doubles=doubles if sum(map(len, doubles)) <= MAX_NAMED else None,
        gone=frozenset(found.gone) if few else frozenset(),
        moved=moved if few else {},
    )
