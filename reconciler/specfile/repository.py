"""The repository that a spec publishes: from the tree to a RepositorySpec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.offer import Withdrawal
from reconciler.model.spec import PUBLISH_WHEN, ROLES, RepositorySpec
from reconciler.specfile.catalogs import is_version, known_component
from reconciler.specfile.secrets import is_reference, reference
from reconciler.specfile.tree import Map, child_map, child_seq, duration, path_at, plain, value_place, word_of

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.model.release import Catalog


def read_repository(
    tree: Map, catalog: Catalog, base: Path, problems: list[Problem], *, clients: bool
) -> RepositorySpec | None:
    """Read `repository`; None where there is none, or it is wrong. `clients`: the spec has groups."""
    if not isinstance(tree.get("repository"), Map):
        return None
    node = child_map(tree, "repository")
    keys = child_map(node, "keys")
    roots = [reference(plain(entry)) for entry in child_seq(keys, "root") if is_reference(entry)]
    threshold = keys.get("threshold", 1)
    if isinstance(threshold, int) and threshold > len(roots) > 0:
        place = value_place(keys, "threshold")
        problems.append(place.problem(f"{threshold} of {len(roots)} root keys can't sign", "name more, or fewer"))
    expires = {role: duration(child_map(node, "expires").get(role)) for role in ROLES}
    for role, span in expires.items():
        if span is not None and not span:
            problems.append(value_place(child_map(node, "expires"), role).problem("this would have expired at once"))
    withdrawn = _withdrawn(node, catalog, problems)
    if not is_reference(keys.get("online")) or not isinstance(node.get("path"), str) or None in expires.values():
        return None
    return RepositorySpec(
        path=path_at(value_place(node, "path"), node["path"], base, problems),
        publish=word_of(node, "publish", PUBLISH_WHEN, "after_rollout" if clients else "downloaded"),
        root_keys=tuple(roots),
        threshold=threshold if isinstance(threshold, int) else 1,
        online_key=reference(plain(keys["online"])),
        expires={role: span for role, span in expires.items() if span is not None},
        withdrawn=withdrawn,
    )


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
