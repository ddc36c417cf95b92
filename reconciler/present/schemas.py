"""The schemas of documents and of the API, as they lie beside the package: for those who ask for them over HTTP."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = Path(__file__).parents[1]
_FOLDER = _PACKAGE / "schema" if (_PACKAGE / "schema").is_dir() else _PACKAGE.parent / "schema"  # installed; a checkout
OPENAPI = "openapi.yaml"


@cache
def schema_names() -> frozenset[str]:
    """Name the schemas that there are, such as `status`."""
    return frozenset(path.name.partition(".")[0] for path in _FOLDER.glob("*.schema.json"))


@cache
def schema(name: str) -> Mapping[str, Any]:
    """Give a schema that there is."""
    found: Mapping[str, Any] = json.loads((_FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return found


@cache
def openapi() -> Mapping[str, Any]:
    """Give the description of the API, in OpenAPI 3.1."""
    import yaml

    found: Mapping[str, Any] = yaml.safe_load((_FOLDER / OPENAPI).read_text(encoding="utf-8"))
    return found
