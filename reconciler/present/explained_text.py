"""What a key of the spec means, as text: facts, words, the keys below, and an example to copy."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from reconciler.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH = 100
_WIDEST_NAME = 24
_LIMITS = {"minimum": "at least", "maximum": "at most", "minItems": "entries, at least", "maxItems": "entries, at most"}


def explained_text(document: Mapping[str, Any], *, width: int = _WIDTH) -> str:
    """Give the document of a key as text, in lines of `width` columns."""
    lines = [document["path"] or "updoser.yaml", ""]
    lines += _facts(document)
    lines += ["", *_wrapped(document["description"], width, "  ")] if document["description"] else []
    if document["keys"]:
        head = "Keys" if document["keys_of"] == document["path"] else f"Keys of {document['keys_of']}"
        lines += ["", head, *_rows(document["keys"], width)]
    for plugin in document.get("plugins", ()):
        lines += ["", f"Keys of {plugin['key']}: {plugin['name']}", *_wrapped(plugin["description"], width, "  ")]
        lines += _rows(plugin["keys"], width)
    if document.get("examples"):
        lines += ["", "Example", *_example(document["path"], document["examples"][0])]
    if document["keys"]:
        prefix = document["keys_of"]
        first = next((row["name"] for row in document["keys"] if row["name"] != "type"), document["keys"][0]["name"])
        lines += ["", f"More of a key: updoser explain {prefix.replace('[]', '')}{'.' if prefix else ''}{first}"]
    return printable("\n".join(lines) + "\n", but="\n")


def _facts(document: Mapping[str, Any]) -> list[str]:
    rows = [("type", document.get("says") or document["type"])]
    if "values" in document:
        rows.append(("possible", ", ".join(map(_value, document["values"]))))
    rows += [(_LIMITS[word], str(value)) for word, value in document.get("limits", {}).items()]
    if "default" in document:
        rows.append(("default", _value(document["default"])))
    if document["required"]:
        rows.append(("required", "yes"))
    widest = max(len(name) for name, _value_text in rows)
    return [f"  {name:<{widest}}  {text}" for name, text in rows]


def _rows(rows: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    column = min(max((len(row["name"]) for row in rows), default=0), _WIDEST_NAME) + 4
    lines = []
    for row in rows:
        said = row["description"]
        if row["required"]:
            said = f"Required. {said}"
        if "default" in row and row["default"] not in ([], {}, ""):
            said = f"{said} Default: {_value(row['default'])}."
        wrapped = textwrap.wrap(said, max(width - column, 30)) or [""]
        name = f"  {row['name']}"
        if len(name) > column - 2:
            lines.append(name)
        else:
            wrapped[0] = f"{name:<{column}}{wrapped[0]}"
        lines += [line if line.startswith(name) else f"{'':<{column}}{line}" for line in wrapped]
    return lines


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, max(width, 30), initial_indent=indent, subsequent_indent=indent)


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _example(path: str, example: Any) -> list[str]:
    import yaml

    key = path.replace("[]", "").rpartition(".")[2]
    shown = {key: [example] if path.endswith("[]") else example} if key and key != "NAME" else example
    flow = None if isinstance(example, (dict, list)) else False
    text = yaml.safe_dump(shown, sort_keys=False, default_flow_style=flow, allow_unicode=True, width=10**6)
    return [f"  {line}" for line in text.splitlines()]
