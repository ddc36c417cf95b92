"""`extends`: one file laid over another, and that over a third."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

from reconciler.paths import is_file
from reconciler.specfile.reader import read
from reconciler.specfile.tree import Map, child_map, path_at

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.errors import Problem

MAX_FILES = 10


def read_extended(path: Path, problems: list[Problem], files: list[Path] | None = None) -> Map:
    """Read a file and what it extends: maps merge, lists replace, null resets. `files` gets those that were read.

    Raises:
        SpecError: a file can't be read, or isn't YAML.
    """
    trees: list[Map] = []
    seen: list[str] = []
    name, current = str(path), path
    while True:
        tree = read(current, problems, name, rank=len(trees))
        trees.append(tree)
        seen.append(os.path.realpath(current))
        if files is not None:
            files.append(current)
        base = tree.get("extends")
        if not isinstance(base, str) or not base:
            break
        place = tree.values_at["extends"]
        current = path_at(place, base, current.parent, problems)
        name = str(current)
        if os.path.realpath(current) in seen:
            problems.append(place.problem("this file extends itself, over the files that it names"))
            break
        if len(trees) >= MAX_FILES:
            problems.append(place.problem(f"more than {MAX_FILES} files extend one another"))
            break
        if not is_file(current):
            problems.append(place.problem(f"the file `{base}` isn't there"))
            break
    merged = trees.pop()
    while trees:
        merged = lay_over(merged, trees.pop())
    return merged


def lay_over(base: Map, over: Map) -> Map:
    """Lay one map over another; neither is changed. The result stands where `over` stands."""
    result = base.copy()
    result.place = over.place
    for key, value in over.items():
        if value is None:
            if key in result:
                result.drop(key)
        elif isinstance(value, Map) and isinstance(result.get(key), Map):
            result.put(key, lay_over(child_map(base, key), value), over.keys_at[key], over.values_at[key])
        else:
            result.take(key, over)
    return result
