"""Presets: what catalogs know of how a component is installed and checked, for the components that take it.

    preset of the catalog  <  `components."*"`  <  `components.<id>`

A preset is laid under what the spec says before anybody judges the spec, so that all of it is judged as if it had been
written there, and nobody behind knows of presets. Each value keeps its place in the catalog, which says whose preset
it is. Checks of a preset are added to each list of checks that has none of that name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.errors import UpdoserError
from reconciler.hints import suggestion
from reconciler.paths import is_file
from reconciler.specfile.catalogs import catalog_path, is_bundled, read_catalog
from reconciler.specfile.extend import lay_over
from reconciler.specfile.tree import Map, Seq, child_map, child_seq, maps_of, text_of, value_place
from reconciler.specfile.validate import schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.specfile.tree import Place, Text

ALL = "*"
KEY = "preset"


class _Known(NamedTuple):
    """What catalogs have: each component's presets by their names, and how the catalog is called."""

    presets: Map
    catalog: str


class _Added(NamedTuple):
    """A check that a preset adds: its name, what it says, and the component that it is for."""

    name: str
    node: Map
    component: str


def take_presets(tree: Map, base: Path, problems: list[Problem]) -> None:
    """Put in place of each `preset` of a spec's tree what it stands for; a name that nothing has is a problem.

    Where a catalog can't be read or is malformed, nothing is put: whoever reads catalogs tells why.
    """
    nodes = child_map(tree, "components")
    asked = {name: node for name, node in nodes.items() if isinstance(node, Map) and text_of(node, KEY)}
    if not asked:
        return
    changed = nodes.copy()
    for name, node in asked.items():
        changed[name] = node.copy()
        changed[name].drop(KEY)
    tree.put("components", changed, tree.keys_at["components"], tree.values_at["components"])
    known = _known_presets(_catalogs_of(tree), base)
    if known is None:
        return
    _check_shared(child_map(nodes, ALL), known, problems)
    added: list[_Added] = []
    for component, one in known.items():
        preset = _chosen(nodes, component, one, problems)
        if preset is not None:
            added += _checks_of(preset, component, problems)
            _lay_under(changed, component, preset)
    if added:
        _add_checks(tree, added, problems)


def is_named(nodes: Map, component: str) -> bool:
    """Say whether somebody wrote a component under `components`; a preset of `"*"` puts it there, too."""
    return component in nodes and nodes.keys_at.get(component) != nodes.keys_at.get(ALL)


# --- which one ------------------------------------------------------------------------------------------------------


def _chosen(nodes: Map, component: str, known: _Known, problems: list[Problem]) -> Map | None:
    """Give the preset that a component takes, as a copy; one of its own choice must be there."""
    if component in nodes and not isinstance(nodes[component], Map):  # said later
        return None
    node = child_map(nodes, component)
    own = text_of(node, KEY)
    name = own or text_of(child_map(nodes, ALL), KEY)
    if name in known.presets:
        copied: Map = _copied(known.presets[name], f"preset {name} of catalog {known.catalog}", {})
        return copied
    if own:
        hint = suggestion(own, known.presets) or "its catalog has none"
        problems.append(value_place(node, KEY).problem(f"{component} has no preset `{own}`", hint))
    return None


def _check_shared(common: Map, known: Mapping[str, _Known], problems: list[Problem]) -> None:
    """Refuse a preset of `*` that no component has."""
    name = text_of(common, KEY)
    if name and not any(name in one.presets for one in known.values()):
        hint = suggestion(name, dict.fromkeys(preset for one in known.values() for preset in one.presets))
        message = f"no component of the catalogs has a preset `{name}`"
        problems.append(value_place(common, KEY).problem(message, hint or "they have none"))


# --- catalogs -------------------------------------------------------------------------------------------------------


def _catalogs_of(tree: Map) -> list[str]:
    named = tree["catalogs"] if "catalogs" in tree else schema_of("updoser")["properties"]["catalogs"]["default"]
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def _known_presets(names: Iterable[str], base: Path) -> Mapping[str, _Known] | None:
    """Give the presets of all components by id; None where a catalog isn't as it should be, which is told later."""
    found: dict[str, _Known] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            path = catalog_path(name, base)
            if not is_file(path):
                return None
            tree = read_catalog(path, problems, "" if is_bundled(path) else name)
        except UpdoserError:
            return None
        for entry in maps_of(child_seq(tree, "components")):
            found[text_of(entry, "id")] = _Known(child_map(entry, "presets"), text_of(tree, "name"))
    return None if problems else found


def _copied(node: Any, whose: str, texts: dict[int, Text]) -> Any:
    """Copy what a catalog has, without defaults that nobody wrote; places say whose it is."""

    def place(old: Place) -> Place:
        assert old.text is not None
        text = texts.get(id(old.text))
        if text is None:
            text = texts[id(old.text)] = replace(old.text, whose=whose)
        return old._replace(text=text)

    if isinstance(node, Map):
        made = Map(place(node.place))
        for key, value in node.items():
            if node.values_at[key].text is not None:
                inner = _copied(value, whose, texts)
                made.put(key, inner, place(node.keys_at[key]), place(node.values_at[key]))
        return made
    if isinstance(node, Seq):
        items = Seq(place(node.place))
        for value, at in zip(node, node.items_at, strict=True):
            items.put(_copied(value, whose, texts), place(at))
        return items
    return node


# --- laying under ---------------------------------------------------------------------------------------------------


def _lay_under(nodes: Map, component: str, preset: Map) -> None:
    """Lay a preset under what the spec says of a component; what `*` says of the same keys is laid over it, too."""
    common = Map(preset.place)
    for key in child_map(nodes, ALL):
        if key in preset:
            common.take(key, child_map(nodes, ALL))
    own = child_map(nodes, component)
    at = component if component in nodes else ALL
    nodes.put(component, lay_over(lay_over(preset, common), own), nodes.keys_at[at], nodes.values_at[at])


def _checks_of(preset: Map, component: str, problems: list[Problem]) -> Iterator[_Added]:
    """Take the checks out of a preset, each for its component."""
    checks = child_seq(preset, "checks")
    if "checks" in preset:
        preset.drop("checks")
    for node in maps_of(checks):
        if text_of(node, "for", component) != component:
            problems.append(value_place(node, "for").problem(f"a check of a preset of {component} is for it alone"))
        at = node.values_at.get("name", node.place)
        node.put("for", component, node.keys_at.get("name", at), at)
        yield _Added(text_of(node, "name"), node, component)


def _add_checks(tree: Map, added: list[_Added], problems: list[Problem]) -> None:
    """Add checks to those of `defaults` and of each group that has its own."""
    place = added[0].node.place
    if "defaults" not in tree:
        tree.put("defaults", Map(place), place, place)
    groups = child_map(tree, "groups")
    for holder in (tree["defaults"], *(group for group in groups.values() if isinstance(group, Map))):
        if holder is not tree["defaults"] and "checks" not in holder:
            continue
        if isinstance(holder, Map) and isinstance(holder.get("checks", Seq()), Seq):
            own = child_seq(holder, "checks")
            there = holder.values_at.get("checks", place)
            holder.put("checks", _with(own, added, problems), holder.keys_at.get("checks", there), there)


def _with(own: Seq, added: list[_Added], problems: list[Problem]) -> Seq:
    """Give a list of checks with those of presets; the list's own of a name counts instead."""
    named = {text_of(node, "name") for node in maps_of(own)}
    whole = Seq(own.place)
    for value, at in zip(own, own.items_at, strict=True):
        whole.put(value, at)
    others: dict[str, str] = {}
    for name, node, component in added:
        if name in others:
            message = f"the presets of {others[name]} and {component} both have a check `{name}`"
            hint = f"a check `{name}` under `checks` counts instead of both"
            problems.append(value_place(node, "name").problem(message, hint))
        elif name not in named:
            others[name] = component
            whole.put(node.copy(), node.place)  # each list is settled and completed by itself
    return whole
