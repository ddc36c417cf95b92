"""What a valid spec declares, and the plugins that there are: their documents, texts and views.

They are all that `validate` and `plugins` show. Apart from the others they need no forms of plans, which take longer to
be imported than a small spec takes to be checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.fields import FORMAT_VERSION
from reconciler.present.render import View
from reconciler.present.views import Late
from reconciler.present.words import count_text, page, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.model.spec import Spec


def valid_document(spec: Spec) -> dict[str, Any]:
    """Give the document of a spec that is valid: what it declares, in numbers."""
    return {
        "format_version": FORMAT_VERSION,
        "file": str(spec.path),
        "digest": spec.digest,
        "components": len(spec.components),
        "sources": len(spec.sources),
        "groups": len(spec.groups),
        "clients": sum(len(group.clients) for group in spec.groups.values()),
        "inventories": sum(1 for group in spec.groups.values() if group.inventory),
    }


def valid_text(document: Mapping[str, Any]) -> str:
    """Render what a valid spec declares."""
    parts = [count_text(document[key], key[:-1]) for key in ("components", "sources", "groups", "clients")]
    listed = document["inventories"]
    more = f" and {listed} {'inventory' if listed == 1 else 'inventories'}" if listed else ""
    return f"{document['file']} is valid: {', '.join(parts)}{more}\n"


def plugins_document(found: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """Give the document of plugins, from their kinds, names and origins."""
    entries = [{"kind": kind, "name": name, "origin": origin} for kind, name, origin in found]
    return {"format_version": FORMAT_VERSION, "plugins": entries}


def plugins_text(document: Mapping[str, Any]) -> str:
    """Render the plugins that there are."""
    rows = [(plugin["kind"], plugin["name"], plugin["origin"]) for plugin in document["plugins"]]
    return page(table([("kind", "name", "from"), *rows]))


def invalid_document(file: Path, problems: Iterable[Problem]) -> dict[str, Any]:
    """Give the document of a spec that is invalid: every problem, in file order."""
    keys = ("message", "file", "line", "column", "hint")
    entries = [{key: getattr(problem, key) for key in keys} for problem in problems]
    return {"format_version": FORMAT_VERSION, "file": str(file), "problems": entries}


VALID = View(valid_text, junit=Late("junit", "spec_junit"))
PLUGINS = View(plugins_text)
