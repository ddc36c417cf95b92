"""Which file of an earlier release each file of a later one is made from."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.model.release import ReleaseFile


def pair_files(before: Sequence[ReleaseFile], after: Sequence[ReleaseFile]) -> dict[str, tuple[str, bool]]:
    """Give for each file of `after` the name of its base in `before`, and whether that has the same bytes.

    1. A file with the same bytes, under the same name or else the first of any other.
    2. The file of the same name.
    3. The only one whose name is the same but for numbers: `lpt$vpn.679` becomes `lpt$vpn.681`.
    4. The only file, where both have only one.
    5. Otherwise there is none: the base is an empty string.
    """
    names = {file.name for file in before}
    same: dict[str, str] = {}
    for file in sorted(before, reverse=True):
        same[file.sha256] = file.name
    digests = {file.name: file.sha256 for file in before}
    alike_before = _by_shape(file.name for file in before)
    shapes_after = Counter(_shape(file.name) for file in after)
    pairs = {}
    for file in after:
        shape = _shape(file.name)
        alike = alike_before.get(shape, [])
        if digests.get(file.name) == file.sha256:
            pairs[file.name] = (file.name, True)
        elif file.sha256 in same:
            pairs[file.name] = (same[file.sha256], True)
        elif file.name in names:
            pairs[file.name] = (file.name, False)
        elif len(alike) == 1 and shapes_after[shape] == 1:
            pairs[file.name] = (alike[0], False)
        elif len(before) == len(after) == 1:
            pairs[file.name] = (before[0].name, False)
        else:
            pairs[file.name] = ("", False)
    return pairs


def _shape(name: str) -> str:
    return re.sub(r"[0-9]+", "#", name)


def _by_shape(names: Iterable[str]) -> dict[str, list[str]]:
    shapes: dict[str, list[str]] = {}
    for name in names:
        shapes.setdefault(_shape(name), []).append(name)
    return shapes
