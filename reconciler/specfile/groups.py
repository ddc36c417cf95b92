"""`groups` of the spec: their clients and inventories, and how clients are reached."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from reconciler.model.client import Client
from reconciler.model.share import of_percent
from reconciler.model.spec import GroupSpec, InventorySpec, PluginConfig
from reconciler.specfile.extend import lay_over
from reconciler.specfile.tree import (
    Map,
    child_map,
    child_seq,
    families,
    path_at,
    pattern_of,
    texts,
    value_place,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.model.release import ScanMethod
    from reconciler.specfile.checks import CheckReader
    from reconciler.specfile.options import OptionReader
    from reconciler.specfile.proxies import ProxyReader
    from reconciler.specfile.tree import Place

_INVENTORY_KEYS = frozenset(["type", "select", "labels_from", "min_clients", "max_shrink"])


class GroupReader:
    """Reads the groups; what is wrong is added to `problems`."""

    def __init__(
        self, tree: Map, home: Path, options: OptionReader, proxies: ProxyReader, problems: list[Problem]
    ) -> None:
        """Take the tree, where places of this machine start, and what reads options and names of proxies."""
        self._tree = tree
        self._home = home
        self._options = options
        self._proxies = proxies
        self._problems = problems

    def read(self, checks: CheckReader) -> dict[str, GroupSpec]:
        """Give the groups by their name, with the defaults laid under what each says itself."""
        defaults = child_map(self._tree, "defaults")
        of_all = checks.checks(child_seq(defaults, "checks")), checks.settings(child_seq(defaults, "settings"))
        names: dict[str, Place] = {}
        groups = child_map(self._tree, "groups")
        found = {}
        for name, node in groups.items():
            if not isinstance(node, Map):
                continue
            if not node.get("clients") and "inventory" not in node:
                hint = "list `clients`, or name an `inventory`"
                self._complain(groups.keys_at[name], f"the group `{name}` has no clients", hint)
            group, own = self._group(name, node, defaults, names), written(node)
            found[name] = replace(
                group,
                checks=checks.checks(child_seq(node, "checks")) if "checks" in own else of_all[0],
                settings=checks.settings(child_seq(node, "settings")) if "settings" in own else of_all[1],
            )
        self._check_places(found.values(), names)
        return found

    def _check_places(self, groups: Iterable[GroupSpec], names: Mapping[str, Place]) -> None:
        """Refuse two clients that are one folder: what one of them is sent, the other one would take for a change."""
        there: dict[tuple[object, ...], str] = {}
        for group in groups:
            for client in group.clients:
                first = there.setdefault(group.place(client), client.name)
                if first != client.name:
                    self._complain(
                        names[client.name],
                        f"`{client.name}` and `{first}` are one place: the install_root {client.install_root}"
                        + ("" if group.local else f" on {client.address or client.name}"),
                        f"give each its own install_root, or remove one; `{first}` stands in {names[first]}",
                    )

    def _group(self, name: str, node: Map, defaults: Map, names: dict[str, Place]) -> GroupSpec:
        config, transport = read_transport(node, defaults, self._options)
        does = self._options.traits(config, transport)
        local = does.local
        root = self._install_root(node if "install_root" in node else defaults, local=local, group=name, node=node)
        labels = texts(node if "labels" in written(node) else defaults, "labels")
        clients = [
            self._client(entry, name, root, labels, local=local, names=names)
            for entry in child_seq(node, "clients")
            if isinstance(entry, Map) and isinstance(entry.get("name"), str)
        ]
        method = node.get("scan_method", defaults.get("scan_method"))
        return GroupSpec(
            name=name,
            transport=config or PluginConfig("transport", ""),
            install_root=root,
            scan_method=cast("ScanMethod", method) if isinstance(method, str) else None,
            labels=labels,
            clients=tuple(clients),
            inventory=self._inventory(node),
            families=families(node),
            proxy=self._proxies.named(node if "proxy" in node else defaults),
            jump=does.jump,
            port=does.port,
            user=does.user,
            local=local,
            key_files=tuple(map(self._key_file, does.keys)),
            hops=does.hops,
            become=does.become,
            speaks=does.speaks,
        )

    def _key_file(self, file: str) -> str:
        return os.path.normpath(self._home / os.path.expanduser(file))  # noqa: PTH111 - a home that is missing was told

    def _install_root(self, holder: Map, *, local: bool, group: str, node: Map) -> str:
        root = holder.get("install_root")
        if not isinstance(root, str):
            if "install_root" not in holder:
                self._complain(
                    node.place, f"the group `{group}` has no install_root", "set it here, or under `defaults`"
                )
            return ""
        return self._absolute(root, value_place(holder, "install_root"), local=local)

    def _absolute(self, root: str, place: Place, *, local: bool) -> str:
        """Give an install_root as clients get it: absolute, without what could lead elsewhere."""
        if local:
            root = str(path_at(place, root, self._home, self._problems))
        parts = root.split("/")
        if not root.startswith("/") or root == "/" or any(char < " " for char in root):
            self._complain(place, f"`{root}` is no absolute folder on a client")
        elif "" in parts[1:] or {".", ".."} & set(parts):
            if not local:
                self._complain(place, f"`{root}` has `.`, `..`, or a slash too many")
            else:
                root = os.path.realpath(root)
        return root

    def _client(
        self, node: Map, group: str, root: str, labels: tuple[str, ...], *, local: bool, names: dict[str, Place]
    ) -> Client:
        name, place = node["name"], node.values_at["name"]
        if name in names:
            self._complain(place, f"there is another client `{name}`", f"the first one stands in {names[name]}")
        names.setdefault(name, place)
        own = node.get("install_root")
        own_root = self._absolute(own, node.values_at["install_root"], local=local) if isinstance(own, str) else root
        port, user = node.get("port"), node.get("user")
        return Client(
            name=name,
            group=group,
            address=str(node.get("address", "")),
            port=port if isinstance(port, int) else None,
            user=user if isinstance(user, str) else None,
            labels=tuple(dict.fromkeys((*labels, *texts(node, "labels")))),
            install_root=own_root,
            vars={key: _as_text(value) for key, value in child_map(node, "vars").items()},
            families=families(node),
        )

    def _inventory(self, node: Map) -> InventorySpec | None:
        entry = node.get("inventory")
        if not isinstance(entry, Map):
            return None
        config = self._options.read("inventory", entry, _INVENTORY_KEYS)
        select = pattern_of(entry, "select", self._problems)
        if config is None:
            return None
        least, shrink = entry.get("min_clients", 1), entry.get("max_shrink")
        if isinstance(shrink, str) and shrink.endswith("%"):
            shrink = of_percent(shrink.removesuffix("%"))
        return InventorySpec(
            plugin=config,
            select=select,
            labels_from=texts(entry, "labels_from"),
            min_clients=least if isinstance(least, int) else 1,
            max_shrink=shrink if isinstance(shrink, (int, float)) else None,
        )

    def _complain(self, place: Place, message: str, hint: str = "") -> None:
        self._problems.append(place.problem(message, hint))


def read_transport(node: Map, defaults: Map, options: OptionReader) -> tuple[PluginConfig | None, Map]:
    """Read how what stands at a node is reached: by its own options over those of `defaults`; both are completed."""
    over, under = child_map(node, "transport"), child_map(defaults, "transport")
    transport = over if over.get("type", under.get("type")) != under.get("type") else lay_over(under, over)
    if "type" not in transport:
        transport.put("type", "ssh", transport.place, transport.place)
    if "transport" not in node:
        transport.place = node.place
    config = options.read("transport", transport, {"type"})
    node.put("transport", transport, node.keys_at.get("transport", node.place), transport.place)
    return config, transport


def _as_text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
