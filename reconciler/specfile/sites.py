"""`sites` of the spec: which groups are worked on from where, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.hints import suggestion
from reconciler.model.spec import SiteSpec
from reconciler.specfile.server import read_executor
from reconciler.specfile.tree import Map, child_map, child_seq, value_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.errors import Problem
    from reconciler.model.spec import GroupSpec
    from reconciler.specfile.options import OptionReader
    from reconciler.specfile.proxies import ProxyReader
    from reconciler.specfile.tree import Place


def read_sites(
    tree: Map, groups: Mapping[str, GroupSpec], options: OptionReader, proxies: ProxyReader, problems: list[Problem]
) -> dict[str, SiteSpec]:
    """Read the sites by their name; each of their groups must be one of `groups`, and of no other site."""
    nodes = child_map(tree, "sites")
    taken: dict[str, tuple[str, Place]] = {}
    found = {}
    for name, node in nodes.items():
        if not isinstance(node, Map):
            continue
        executor = child_map(node, "executor")
        config, proxy = read_executor(node, options, proxies)
        named = _groups(name, node, groups, taken, problems)
        if config is None:
            continue
        found[name] = SiteSpec(name, named, config, proxy, forks=_forks(node))
        if options.traits(config, executor).unsealed:
            _check_private(name, named, groups, executor, problems)
    return found


def _forks(node: Map) -> int:
    forks = node.get("forks")
    return forks if isinstance(forks, int) else 0


def _groups(
    site: str,
    node: Map,
    groups: Mapping[str, GroupSpec],
    taken: dict[str, tuple[str, Place]],
    problems: list[Problem],
) -> tuple[str, ...]:
    listed = child_seq(node, "groups")
    named = []
    for at, group in enumerate(listed):
        if not isinstance(group, str):
            continue
        place = value_place(listed, at)
        first, where = taken.setdefault(group, (site, place))
        if group not in groups:
            problems.append(place.problem(f"there is no group `{group}`", suggestion(group, groups)))
        elif where is not place:
            other = "listed twice" if first == site else f"of the site `{first}`, too"
            problems.append(place.problem(f"the group `{group}` is {other}", f"the first one stands in {where}"))
        else:
            named.append(group)
    return tuple(named)


def _check_private(
    site: str, named: tuple[str, ...], groups: Mapping[str, GroupSpec], executor: Map, problems: list[Problem]
) -> None:
    """Refuse settings with secrets where what carries them can be read on the way."""
    for group in named:
        for setting in groups[group].settings:
            if setting.secrets:
                message = f"{setting.path} of the group `{group}` has secrets, and nothing seals them for `{site}`"
                place = value_place(executor, "type")
                problems.append(
                    place.problem(message, "give the executor the `seal_key` that the site's worker prints")
                )
                break
