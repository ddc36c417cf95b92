"""The repositories that a spec publishes: from the tree to a RepositorySpec, and to a MirrorSpec for each other one.

The signed one is the core's own. Each other layout is a plugin, whose options stand beside the keys of all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.hints import suggestion
from reconciler.model.offer import Withdrawal
from reconciler.model.spec import PUBLISH_WHEN, ROLES, MirrorSpec, RepositorySpec
from reconciler.specfile.catalogs import is_version, known_component
from reconciler.specfile.secrets import is_reference, reference
from reconciler.specfile.tree import Map, child_map, child_seq, duration, path_at, plain, value_place, word_of

if TYPE_CHECKING:
    from reconciler.errors import Problem
    from reconciler.model.release import Catalog
    from reconciler.model.spec import PublishWhen
    from reconciler.specfile.options import OptionReader

SIGNED = "tuf"
"""The layout of the repository that other servers read; the one where none is named."""
_OF_ALL = frozenset(["path", "layout", "name", "components", "publish", "withdraw"])
_OF_SIGNED = frozenset(["keys", "expires"])


class RepositoryReader:
    """Reads `repository` and `repositories`; what is wrong is added to `problems`. `clients`: the spec has groups."""

    def __init__(
        self, catalog: Catalog, base: Path, options: OptionReader, problems: list[Problem], *, clients: bool
    ) -> None:
        self._catalog = catalog
        self._base = base
        self._options = options
        self._problems = problems
        self._usual: PublishWhen = "after_rollout" if clients else "downloaded"
        self._folders: dict[Path, str] = {}

    def read(self, tree: Map) -> tuple[RepositorySpec | None, tuple[MirrorSpec, ...]]:
        """Give the signed repository, if there is one, and all others; those that are wrong are left out."""
        first = [child_map(tree, "repository")] if isinstance(tree.get("repository"), Map) else []
        more = [node for node in child_seq(tree, "repositories") if isinstance(node, Map)]
        signed: RepositorySpec | None = None
        mirrors: dict[str, MirrorSpec] = {}
        for node in (*first, *more):
            if not isinstance(node.get("layout"), str):
                continue
            place = value_place(node, "layout")
            if node["layout"] != SIGNED:
                mirror = self._mirror(node)
                if mirror is not None and mirror.name in mirrors:
                    says = f"there is another repository `{mirror.name}`"
                    self._problems.append(place.problem(says, "give one of them another `name`"))
                elif mirror is not None:
                    mirrors[mirror.name] = mirror
            elif node in more:
                self._problems.append(place.problem(f"only `repository` can have the layout {SIGNED}"))
            else:
                signed = self._signed(node)
        return signed, tuple(mirrors.values())

    def _signed(self, node: Map) -> RepositorySpec | None:
        unknown = [key for key in node if key not in _OF_ALL | _OF_SIGNED]
        for key in unknown:
            hint = suggestion(key, sorted(_OF_ALL | _OF_SIGNED))
            self._problems.append(node.keys_at.get(key, node.place).problem(f"unknown key `{key}`", hint))
        if "keys" not in node:
            self._problems.append(node.place.problem("`keys` is missing here"))
        return self._of_keys(node, child_map(node, "keys"))

    def _of_keys(self, node: Map, keys: Map) -> RepositorySpec | None:
        problems = self._problems
        roots = [reference(plain(entry)) for entry in child_seq(keys, "root") if is_reference(entry)]
        threshold = keys.get("threshold", 1)
        if isinstance(threshold, int) and threshold > len(roots) > 0:
            place = value_place(keys, "threshold")
            problems.append(place.problem(f"{threshold} of {len(roots)} root keys can't sign", "name more, or fewer"))
        expires = {role: duration(child_map(node, "expires").get(role)) for role in ROLES}
        for role, span in expires.items():
            if span is not None and not span:
                place = value_place(child_map(node, "expires"), role)
                problems.append(place.problem("this would have expired at once"))
        components, withdrawn = self._components(node), self._withdrawn(node)
        path = self._path(node)
        if not is_reference(keys.get("online")) or path is None or None in expires.values():
            return None
        return RepositorySpec(
            path=path,
            publish=word_of(node, "publish", PUBLISH_WHEN, self._usual),
            root_keys=tuple(roots),
            threshold=threshold if isinstance(threshold, int) else 1,
            online_key=reference(plain(keys["online"])),
            expires={role: span for role, span in expires.items() if span is not None},
            withdrawn=withdrawn,
            components=components,
        )

    def _mirror(self, node: Map) -> MirrorSpec | None:
        if "keys" in node:
            place = node.keys_at.get("keys", node.place)
            self._problems.append(place.problem(f"unknown key `keys`: only the layout {SIGNED} signs with them"))
        config = self._options.read("layout", node, _OF_ALL | _OF_SIGNED, key="layout")
        components, withdrawn = self._components(node), self._withdrawn(node)
        path = self._path(node)
        if config is None or path is None:
            return None
        return MirrorSpec(
            name=node["name"] if isinstance(node.get("name"), str) else config.name,
            plugin=config,
            path=path,
            publish=word_of(node, "publish", PUBLISH_WHEN, self._usual),
            components=components,
            withdrawn=withdrawn,
        )

    def _path(self, node: Map) -> Path | None:
        """Give the folder; two repositories in one would take each other's files away."""
        if not isinstance(node.get("path"), str):
            return None
        place = value_place(node, "path")
        path = path_at(place, node["path"], self._base, self._problems)
        whole = Path(os.path.normpath(path))
        for other in self._folders:
            if whole.is_relative_to(other) or other.is_relative_to(whole):
                says = f"another repository has the folder {self._folders[other]}"
                self._problems.append(place.problem(says, "each wants a folder of its own"))
        self._folders[whole] = node["path"]
        return path

    def _components(self, node: Map) -> frozenset[str] | None:
        listed = child_seq(node, "components")
        if not listed:
            return None
        for at, name in enumerate(listed):
            if isinstance(name, str):
                known_component(name, self._catalog, value_place(listed, at), self._problems)
        return frozenset(name for name in listed if isinstance(name, str))

    def _withdrawn(self, node: Map) -> tuple[Withdrawal, ...]:
        return _withdrawn(node, self._catalog, self._problems)


def _withdrawn(node: Map, catalog: Catalog, problems: list[Problem]) -> tuple[Withdrawal, ...]:
    found: dict[tuple[str, str], Withdrawal] = {}
    for entry in child_seq(node, "withdraw"):
        if not isinstance(entry, Map) or not all(
            isinstance(entry.get(key), str) for key in ("component", "version", "reason")
        ):
            continue
        component = known_component(entry["component"], catalog, value_place(entry, "component"), problems)
        if component is not None:
            is_version(component, entry["version"], value_place(entry, "version"), problems)
        key = entry["component"], entry["version"]
        if key in found:
            problems.append(value_place(entry, "version").problem("this version is withdrawn twice"))
        found[key] = Withdrawal(*key, " ".join(entry["reason"].split()))
    return tuple(sorted(found.values()))
