"""The desired state from its file: read with lines kept, extended, rendered, checked, built.

    read -> lay over what it extends -> render templates -> lay presets under -> settle and check against the schema
         -> build

Every problem that can be found is told at once, in file order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import Problem, SpecError
from reconciler.specfile.build import Builder
from reconciler.specfile.catalogs import catalog_path
from reconciler.specfile.extend import read_extended
from reconciler.specfile.presets import take_presets
from reconciler.specfile.render import render_tree
from reconciler.specfile.tree import child_seq
from reconciler.specfile.unpacked import unpacked_at
from reconciler.specfile.validate import check, schema_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.model.spec import Spec
    from reconciler.specfile.tree import Map


@dataclass(frozen=True, slots=True)
class Loaded:
    """A spec with what showing it needs: the tree that knows each value's place, and `-e` variables.

    `notes` say what was left out with `no_exec`. `files` are those that the spec is made from: its own, what that
    extends, catalogs and templates of settings.
    """

    spec: Spec
    tree: Map
    variables: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def load(
    path: Path,
    *,
    variables: Mapping[str, Any] | None = None,
    no_exec: bool = False,
    environ: Mapping[str, str] | None = None,
    check_secrets: bool = True,
) -> Loaded:
    """Read the desired state; `variables` win over its `vars`, `environ` is the process's own by default.

    Raises:
        SpecError: it is invalid; carries every problem, in file order.
    """
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    files: list[Path] = []
    if not os.path.lexists(path):  # `Path.exists` raises for some
        raise SpecError(
            [Problem("the file isn't there", str(path), hint="`updoser init` writes one; -f names another")]
        )
    path, unpacked = unpacked_at(path) or (path, None)
    try:
        tree = read_extended(path, problems, files)
        problems += render_tree(tree, variables or {}, environ, no_exec=no_exec)
        take_presets(tree, path.absolute().parent, problems)
        check(tree, schema_of("updoser"), problems)
        secrets = environ if check_secrets and not no_exec else None
        builder = Builder(
            tree, path, problems, variables=variables or {}, no_exec=no_exec, environ=secrets, unpacked=unpacked
        )
        spec = builder.build()
    except SpecError as error:
        raise SpecError(_in_order(error.problems)) from None
    files += [catalog_path(str(name), spec.base) for name in child_seq(tree, "catalogs")]
    files += {setting.template for group in spec.groups.values() for setting in group.settings}
    return Loaded(spec, tree, variables or {}, notes=tuple(builder.notes), files=tuple(files))


def load_spec(path: Path, **options: Any) -> Spec:
    """Read the desired state and give only the Spec; see `load`."""
    return load(path, **options).spec


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Sort by file, line and column, and tell nothing twice."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    unique = list(dict.fromkeys(problems))
    return sorted(unique, key=lambda problem: (files.index(problem.file), problem.line, problem.column))
