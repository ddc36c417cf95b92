"""How much a source may fetch by itself, as options of the sources that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.formats.size import SIZE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZE: Mapping[str, Any] = {"type": "string", "pattern": SIZE_PATTERN, "x-says": "a size such as 64MiB or 2GB"}
REFRESH_LIMIT: Mapping[str, Any] = {
    "refresh_limit": {
        **_SIZE,
        "default": "64MiB",
        "description": "The most that is fetched while a plan is made, to learn what a release is, a source and run. "
        "What is larger is fetched by apply, and deployed by the plan after that.",
        "examples": ["64MiB", "0B"],
    },
    "max_size": {
        **_SIZE,
        "default": "4GiB",
        "description": "The most that one file may have; a larger one is refused.",
        "examples": ["4GiB"],
    },
}
"""The properties of a schema of options; `formats.size.parse_size` reads their values."""
