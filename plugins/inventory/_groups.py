"""The groups of a dynamic inventory: who is in which, and which vars that gives.

A group may stand below several others, and nothing forbids a circle: each group counts once for a host. Vars of groups
nearer to the top are overridden by those further down; of groups at the same depth the one with the higher
`ansible_group_priority` wins, then the later name. Source of the rules: Ansible's "Building an inventory" and
"Developing dynamic inventory".
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ALL = "all"
MAX_TOGETHER = 2_000_000
MAX_EACH = 100
"""Groups that all hosts may be in together, those above included: some millions, and as many more as hosts grow.

Where each host has its own place in a long chain of groups, what they are in is as much as both multiplied.
"""
PRIORITY = "ansible_group_priority"


class Groups:
    """The groups of one inventory, from the JSON values by name.

    Raises:
        ValueError: a group has another form than an object or a list of hosts.
    """

    def __init__(self, groups: Mapping[str, Any]) -> None:
        self._parents: dict[str, list[str]] = defaultdict(list)
        self._vars: dict[str, Mapping[str, Any]] = {}
        self._direct: dict[str, list[str]] = defaultdict(list)
        self._known: dict[tuple[str, ...], tuple[tuple[str, ...], Mapping[str, Any]]] = {}
        for name in sorted(groups):
            self._add(name, groups[name])
        depths = self._measure()
        order = sorted(depths, key=lambda name: (depths[name], self._priority(name), name))
        self._ranks = {name: rank for rank, name in enumerate(order) if self._vars.get(name)}
        self._left = MAX_TOGETHER + MAX_EACH * len(self._direct)

    @property
    def hosts(self) -> set[str]:
        """All hosts that some group lists."""
        return set(self._direct)

    def of(self, host: str) -> tuple[tuple[str, ...], Mapping[str, Any]]:
        """Give the groups that a host is in, sorted, and the vars that they give it; worked out once per situation.

        Raises:
            ValueError: all hosts together are in more groups than can be worked out.
        """
        direct = tuple(self._direct.get(host, ()))
        if direct not in self._known:
            above = self._above(direct)
            self._left -= len(above)
            if self._left < 0:
                raise ValueError("the groups are too many: each host of a long chain of groups is in all above it")
            merged: dict[str, Any] = {}
            for group in sorted((name for name in above if name in self._ranks), key=self._ranks.__getitem__):
                merged.update(self._vars[group])
            self._known[direct] = tuple(sorted(above)), merged
        return self._known[direct]

    def _add(self, name: str, value: Any) -> None:
        hosts, children, vars_ = _members(name, value)
        for host in hosts:
            self._direct[host].append(name)
        for child in children:
            self._parents[child].append(name)
        self._vars[name] = vars_

    def _above(self, groups: Iterable[str]) -> set[str]:
        found = {ALL}
        waiting = list(groups)
        while waiting:
            group = waiting.pop()
            if group not in found:
                found.add(group)
                waiting += self._parents.get(group, ())
        return found

    def _priority(self, group: str) -> int:
        try:
            return int(self._vars.get(group, {}).get(PRIORITY, 1))
        except (TypeError, ValueError, OverflowError):
            return 1

    def _measure(self) -> dict[str, int]:
        """Give the length of the longest way to each group from the top; one that is in a circle counts each once."""
        depths: dict[str, int] = {ALL: 0}
        for name in sorted({*self._vars, *self._parents}):
            under_way: dict[str, Iterator[str]] = {}
            group: str | None = name
            while group is not None:
                waiting = under_way.setdefault(group, iter(self._parents.get(group, ())))
                parent = next((one for one in waiting if one not in depths and one not in under_way), None)
                if parent is None and group not in depths:
                    known = [depths[one] for one in self._parents.get(group, ()) if one in depths]
                    depths[group] = 1 + max(known, default=0)
                if parent is None:
                    under_way.pop(group)
                    parent = next(reversed(under_way), None)
                group = parent
        return depths


def _members(name: str, value: Any) -> tuple[list[str], list[str], Mapping[str, Any]]:
    match value:
        case list():
            value = {"hosts": value}
        case dict():
            pass
        case _:
            raise ValueError(f"the group {name!r} is neither an object nor a list of hosts")
    hosts, children, vars_ = value.get("hosts", []), value.get("children", []), value.get("vars", {})
    for what, names in (("hosts", hosts), ("children", children)):
        if not isinstance(names, list) or not all(isinstance(entry, str) for entry in names):
            raise ValueError(f"`{what}` of the group {name!r} isn't a list of names")
    if not isinstance(vars_, dict):
        raise ValueError(f"`vars` of the group {name!r} isn't an object")  # noqa: TRY004 - it is a value of the JSON
    return hosts, children, vars_
