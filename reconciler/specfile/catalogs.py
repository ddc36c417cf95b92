"""Catalogs: components as data, bundled or of the user's own."""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import TYPE_CHECKING, Any

from reconciler.errors import UpdoserError
from reconciler.hints import suggestion
from reconciler.model.question import TIMEOUT, Question
from reconciler.model.release import KINDS, Catalog, Component
from reconciler.model.settings import RESERVED, is_reserved
from reconciler.model.version import SCHEMES
from reconciler.paths import is_file, path_from
from reconciler.plugin_loader import bundled_folder
from reconciler.specfile.reader import read
from reconciler.specfile.tree import child_map, child_seq, plain, seconds_of, value_place, word_of
from reconciler.specfile.validate import check, schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.specfile.tree import Map, Place, Seq

_SUFFIXES = (".yaml", ".yml")


def bundled_catalogs() -> list[str]:
    """List the names of the bundled catalogs."""
    return sorted(path.stem for path in (bundled_folder() / "catalog").glob("*.yaml"))


def load_catalogs(names: Seq, base: Path, problems: list[Problem]) -> Catalog:
    """Read catalogs by bundled name or path; an id in two of them is a problem."""
    components: dict[str, Component] = {}
    contents: list[Any] = []
    for at, name in enumerate(names):
        if not isinstance(name, str):  # said already
            continue
        place = value_place(names, at)
        try:
            path = catalog_path(name, base)
        except UpdoserError as error:
            problems.append(place.problem(error.message, error.hint))
            continue
        if not is_file(path):
            hint = suggestion(name, bundled_catalogs(), "bundled are")
            problems.append(place.problem(f"there is no catalog `{name}`", hint))
            continue
        tree = read_catalog(path, problems, "" if is_bundled(path) else name)
        contents.append(plain(tree))
        entries = child_seq(tree, "components")
        for index, component in enumerate(component_list(tree, problems)):
            where = value_place(entries, index)
            if is_reserved(component.id):
                text = f"the id `{component.id}` belongs to the settings of clients"
                problems.append(where.problem(text, f"choose one that isn't `{RESERVED}` and doesn't begin with it"))
            if component.id in components:
                problems.append(where.problem(f"the component `{component.id}` stands in two places"))
            components[component.id] = component
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True, default=str).encode()).hexdigest()
    return Catalog(components, digest)


def catalog_path(name: str, base: Path) -> Path:
    """Give the file of a catalog: a path when it looks like one, a bundled one otherwise.

    Raises:
        UpdoserError: the path begins in a home that isn't there.
    """
    if name.endswith(_SUFFIXES) or "/" in name:
        return path_from(base, name)
    return bundled_folder() / "catalog" / f"{name}.yaml"


def is_bundled(path: Path) -> bool:
    """Say whether a file is one of the bundled catalogs."""
    return path.parent == bundled_folder() / "catalog"


def read_catalog(path: Path, problems: list[Problem], name: str = "") -> Map:
    """Read and check one catalog file.

    Raises:
        SpecError: it can't be read, or isn't YAML.
    """
    tree = read(path, problems, name, rank=1)
    check(tree, schema_of("catalog"), problems)
    return tree


def known_component(name: str, catalog: Catalog, place: Place, problems: list[Problem]) -> Component | None:
    """Find a component that the spec names; one that no catalog has is a problem."""
    component = catalog.components.get(name)
    if component is None:
        problems.append(place.problem(f"no catalog has a component `{name}`", suggestion(name, catalog.components)))
    return component


def is_version(component: Component, version: str, place: Place, problems: list[Problem], more: str = "") -> bool:
    """Say whether a version that the spec names is one of the component's scheme; else that is a problem."""
    if component.scheme.accepts(version):
        return True
    hint = f"its scheme is {component.scheme.name}, such as {component.scheme.example}{more}"
    problems.append(place.problem(f"`{version}` is no version of {component.id}", hint))
    return False


def question_of(node: Map, problems: list[Problem], known: Question | None = None) -> Question | None:
    """Read `loaded` of a component, over what is `known` of it already; None where nothing is to be asked."""
    run = plain(node.get("run"))
    if isinstance(run, list):
        run = shlex.join(map(str, run))
    if not isinstance(run, str):
        run = known.run if known is not None else ""
    timeout = seconds_of(node, "timeout", known.timeout if known is not None else TIMEOUT, problems)
    within = seconds_of(node, "within", known.within if known is not None else 0.0, problems)
    if node.get("enabled") is False or not run.strip():
        return None
    return Question(run, timeout, within)


def component_list(tree: Map, problems: list[Problem]) -> Sequence[Component]:
    """Give the components of a catalog's tree; entries that are malformed are left out."""
    found = []
    for entry in child_seq(tree, "components"):
        values = plain(entry)
        if isinstance(values, dict) and values.get("version_scheme") in SCHEMES and isinstance(values.get("id"), str):
            found.append(
                Component(
                    id=values["id"],
                    name=str(values.get("name", values["id"])),
                    kind=word_of(entry, "kind", KINDS),
                    scan_methods=frozenset(map(str, values.get("scan_methods", ()))),
                    duplicate=values.get("duplicate") is True,
                    scheme=SCHEMES[values["version_scheme"]],
                    loaded=question_of(child_map(entry, "loaded"), problems),
                )
            )
    return found
