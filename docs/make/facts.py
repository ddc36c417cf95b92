"""What the command line and the schemas say of themselves, for all that is made of them: pages of docs, and man pages.

Texts are plain, but for code in backticks and links to another section, `[client](#client)`; who writes pages puts
them into the form of those.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from reconciler.plugin_loader import KINDS, available, options_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Node = Mapping[str, Any]

ROOT = Path(__file__).parents[2]
SECTION = "x-section"
"""Marks what the options of several plugins have in common, and gives the name under which it is described, once."""


class Key(NamedTuple):
    """A key of a file or a document: where it stands, what it may be, and what it means."""

    path: str
    value: str
    meaning: str


# --- commands -------------------------------------------------------------------------------------------------------


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Give every command below a group, by the words that call it."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def brief(command: click.Command) -> str:
    """Give the first sentence of what a command says of itself, without its full stop."""
    return sentence(command.help or "").partition(". ")[0].rstrip(".")


def arguments(command: click.Command) -> list[str]:
    """Give the arguments of a command, as its usage shows them."""
    return [_argument(part) for part in command.params if isinstance(part, click.Argument)]


def _argument(argument: click.Argument) -> str:
    name = (argument.metavar or (argument.name or "").upper()).strip("[].")
    shown = name + ("..." if argument.nargs == -1 else "")
    return shown if argument.required else f"[{shown}]"


def options(command: click.Command) -> list[click.Option]:
    """Give the options of a command."""
    return [part for part in command.params if isinstance(part, click.Option)]


def spellings(option: click.Option) -> list[tuple[str, str]]:
    """Give each name of an option with the word for its value; that is empty for flags, and behind short names."""
    names = [*option.opts, *option.secondary_opts]
    if option.is_flag or option.count:
        value = ""
    elif isinstance(option.type, click.Choice):
        value = "NAME"
    else:
        value = option.metavar or option.type.name.partition(" ")[0].upper()
    return [(name, value if name.startswith("--") else "") for name in names]


def option_text(option: click.Option) -> str:
    """Say what an option does, what it may be, and what holds without it."""
    said = [option.help or ""]
    if isinstance(option.type, click.Choice):
        said.append("One of " + ", ".join(f"`{choice}`" for choice in option.type.choices) + ".")
    if option.multiple and "epeatable" not in said[0]:
        said.append("Repeatable.")
    default = option.default
    if option.show_default and isinstance(default, str | int | Path) and not isinstance(default, bool):
        said.append(f"Default: `{default}`.")
    if option.show_default and isinstance(default, bool) and option.secondary_opts:
        said.append(f"Default: `{(option.opts if default else option.secondary_opts)[0]}`.")
    return " ".join(said)


# --- schemas --------------------------------------------------------------------------------------------------------


def schema_of(name: str) -> Node:
    """Read a schema; what it describes apart and has no keys of its own stands where it is used."""
    node: Node = json.loads((ROOT / f"schema/{name}.schema.json").read_text(encoding="utf-8"))
    parts = node.get("$defs", {})
    small = {f"#/$defs/{part}": inner for part, inner in parts.items() if not keys_below(inner)}
    whole: Node = _inlined(
        {**node, "$defs": {part: parts[part] for part in parts if f"#/$defs/{part}" not in small}}, small
    )
    return whole


def _inlined(node: Any, small: Node) -> Any:
    if isinstance(node, list):
        return [_inlined(inner, small) for inner in node]
    if not isinstance(node, dict):
        return node
    if node.get("$ref") in small:
        node = {**small[node["$ref"]], **{key: value for key, value in node.items() if key != "$ref"}}
    return {key: _inlined(value, small) for key, value in node.items()}


def plugins() -> Iterator[tuple[str, Node]]:
    """Give the schema of the options of every bundled plugin, by its kind and name."""
    for kind in KINDS:
        for plugin in available(kind):
            if plugin.origin == "bundled":
                yield f"{kind} {plugin.name}", options_schema(kind, plugin.name)


def sections() -> list[tuple[str, Node]]:
    """Give what the options of several plugins have in common and is described apart, once, by its name.

    Where they say different things of it, what most of them say counts.
    """
    found: dict[str, list[Node]] = {}
    waiting: list[Any] = [node for _name, node in plugins()]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, dict):
            if SECTION in node:
                found.setdefault(node[SECTION], []).append(node)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    said = {name: Counter(node["description"] for node in nodes).most_common(1)[0][0] for name, nodes in found.items()}
    return [(name, {**nodes[0], "description": said[name]}) for name, nodes in sorted(found.items())]


def keys_below(node: Node, path: str = "", prefix: str = "") -> list[Key]:
    """Give all keys below a node; what another section describes is a link to it."""
    rows: list[Key] = []
    required = set(node.get("required", ()))
    for name, child in node.get("properties", {}).items():
        rows += _row(child, f"{path}.{name}" if path else name, prefix, needed=name in required)
    for alternative in (*node.get("oneOf", ()), *node.get("anyOf", ())):
        rows += [row for row in keys_below(alternative, path, prefix) if row not in rows]
    return rows


def _row(node: Node, path: str, prefix: str, *, needed: bool) -> list[Key]:
    says = [sentence(node.get("description", ""))]
    if "default" in node and node["default"] not in ({}, []):
        says.append(f"Default: {_code(node['default'])}.")
    elif needed is not bool(prefix):  # a file mostly leaves keys out, a document mostly has them
        says.append("It must be there." if needed else "It may be missing.")
    rows = [Key(path, _value(node, prefix), " ".join(filter(None, says)))]
    if SECTION in node:
        return rows
    more, items = node.get("additionalProperties"), node.get("items")
    rows += keys_below(node, path, prefix)
    for inner, mark in ((more, ".<name>"), (items, "[]")):
        if isinstance(inner, dict) and not {"$ref", SECTION} & inner.keys():
            rows += keys_below(inner, path + mark, prefix)
            deeper = inner.get("additionalProperties")
            if isinstance(deeper, dict):
                rows += keys_below(deeper, f"{path}{mark}.<name>", prefix)
    return rows


def _value(node: Node, prefix: str) -> str:
    """Say what a value may be, in a few words."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if not node["$ref"].startswith("#"):  # of the spec's own schema, which has a page of its own
            return f"[{name}](keys.md#{name})"
        return f"[{name}](#{prefix}{name})"
    if SECTION in node:
        return f"[{node[SECTION]}](#{node[SECTION]})"
    if "enum" in node:
        return ", ".join(_code(value) for value in node["enum"])
    if "const" in node:
        return _code(node["const"])
    if "x-says" in node:
        return str(node["x-says"])
    types: Sequence[str] = [node["type"]] if isinstance(node.get("type"), str) else node.get("type", ["any"])
    items, more = node.get("items"), node.get("additionalProperties")
    said = " or ".join({"object": "map", "array": "list", "boolean": "true or false"}.get(name, name) for name in types)
    if isinstance(items, dict) and "array" in types:
        said += f" of {_value(items, prefix)}"
    if isinstance(more, dict) and more and "object" in types:
        said += f" of {_value(more, prefix)}"
    limits = [f"{word} {node[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in node]
    return f"{said}, {' and '.join(limits)}" if limits else said


def _code(value: object) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return f"`{text}`"


def sentence(text: str) -> str:
    """Put a text of a docstring or a schema into one line."""
    return " ".join(text.replace("\b", " ").split())
