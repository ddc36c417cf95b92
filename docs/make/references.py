"""Writes the pages of docs/reference: commands from the command line, keys and documents from the schemas.

    python docs/make/references.py

What the code and the schemas say is the only source; the pages are committed, and a test holds them to it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.root import cli
from reconciler.plugin_loader import KINDS, available, options_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Node = Mapping[str, Any]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/reference"
DOCUMENTS = ("plan", "report", "status", "events", "release", "index", "catalog")
MADE = "<!-- Made by `make docs` from the code: what is wrong here is mended there. -->\n"


def references() -> dict[str, str]:
    """Give the pages by their file names."""
    return {"commands.md": commands_page(), "keys.md": keys_page(), "documents.md": documents_page()}


def commands_page() -> str:
    """Give what `--help` says of every command, as one page."""
    lines = [MADE, "# Commands", "", "What each command does, and which options it has.", ""]
    lines += [
        "[What holds for every command](../running.md) explains what they share: files, output, clients, exit codes."
    ]
    lines += ["", "| command | what it does |", "|---|---|"]
    for words, command in _commands(cli, ""):
        brief = _sentence(command.help or "").partition(". ")[0].rstrip(".")
        lines.append(f"| [{words}](#{words.replace(' ', '-')}) | {_cell(brief)}. |")
    for words, command in _commands(cli, ""):
        takes = [_argument(part) for part in command.params if isinstance(part, click.Argument)]
        options = [part for part in command.params if isinstance(part, click.Option)]
        lines += ["", f"## {words}", "", _sentence(command.help or ""), ""]
        lines += ["```text", " ".join(["updoser", words, *takes, *(["[OPTIONS]"] if options else [])]), "```"]
        if options:
            lines += ["", "| option | what it does |", "|---|---|"]
            lines += [f"| {_option(option)} | {_cell(_help(option))} |" for option in options]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def _argument(argument: click.Argument) -> str:
    name = (argument.metavar or (argument.name or "").upper()).strip("[].")
    shown = name + ("..." if argument.nargs == -1 else "")
    return shown if argument.required else f"[{shown}]"


def _option(option: click.Option) -> str:
    names = [*option.opts, *option.secondary_opts]
    if option.is_flag or option.count:
        return _cell(", ".join(f"`{name}`" for name in names))
    if isinstance(option.type, click.Choice):
        value = "NAME"
    else:
        value = option.metavar or option.type.name.partition(" ")[0].upper()
    return _cell(", ".join(f"`{name}{' ' + value if name.startswith('--') else ''}`" for name in names))


def _help(option: click.Option) -> str:
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


def keys_page() -> str:
    """Give every key of the desired state, and every option of bundled plugins."""
    schema = _schema("updoser")
    lines = [
        MADE,
        "# Keys of the file",
        "",
        "What each key of `updoser.yaml` means, what it may be, and what holds without it.",
        "",
    ]
    lines += [
        "`[]` stands for each entry of a list, `<name>` for a name of yours. Editors show the same from the schema."
    ]
    lines += ["", "## updoser.yaml", "", _sentence(schema["description"]), "", *_keys(schema)]
    for name, node in sorted(schema["$defs"].items()):
        lines += ["", f"## {name}", "", _sentence(node["description"])]
        lines += ["", *_keys(node)]
    for kind in KINDS:
        for plugin in available(kind):
            if plugin.origin == "bundled":
                options = options_schema(kind, plugin.name)
                lines += ["", f"## {kind} {plugin.name}", ""]
                lines += _keys(options) if _rows(options, "") else ["It has no options."]
    return "\n".join(lines) + "\n"


def documents_page() -> str:
    """Give every key of the documents that updoser writes and reads."""
    lines = [
        MADE,
        "# Documents",
        "",
        "What stands in the JSON and YAML that updoser writes for programs, or takes from them.",
        "",
    ]
    lines += [
        "`--format json` gives them. A later minor version only adds keys, so readers skip what they don't know. The",
        "schemas lie in `schema/`.",
    ]
    for name in DOCUMENTS:
        schema = _schema(name)
        lines += ["", f"## {schema['title']}", "", f"{_sentence(schema['description'])} (`schema/{name}.schema.json`)"]
        if _rows(schema, ""):
            lines += ["", *_keys(schema, f"{name}-")]
        for part, node in sorted(schema.get("$defs", {}).items()):
            if _rows(node, ""):
                lines += ["", f'### <a id="{name}-{part}"></a>`{part}` of {name}', ""]
                lines += [_sentence(node["description"]), ""] if "description" in node else []
                lines += _keys(node, f"{name}-")
    return "\n".join(lines) + "\n"


def _schema(name: str) -> Node:
    """Read a schema; what it describes apart and has no keys of its own stands where it is used."""
    node: Node = json.loads((ROOT / f"schema/{name}.schema.json").read_text(encoding="utf-8"))
    parts = node.get("$defs", {})
    small = {f"#/$defs/{part}": inner for part, inner in parts.items() if not _rows(inner, "")}
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


def _keys(node: Node, prefix: str = "") -> list[str]:
    return ["| key | value | meaning |", "|---|---|---|", *_rows(node, "", prefix)]


def _rows(node: Node, path: str, prefix: str = "") -> list[str]:
    """Give the rows of all keys below a node; what another section describes is a link to it."""
    rows = []
    required = set(node.get("required", ()))
    for name, child in node.get("properties", {}).items():
        rows += _row(child, f"{path}.{name}" if path else name, prefix, needed=name in required)
    for alternative in (*node.get("oneOf", ()), *node.get("anyOf", ())):
        rows += [row for row in _rows(alternative, path, prefix) if row not in rows]
    return rows


def _row(node: Node, path: str, prefix: str, *, needed: bool) -> list[str]:
    says = [_sentence(node.get("description", ""))]
    if "default" in node and node["default"] not in ({}, []):
        says.append(f"Default: {_code(node['default'])}.")
    elif needed is not bool(prefix):  # a file mostly leaves keys out, a document mostly has them
        says.append("It must be there." if needed else "It may be missing.")
    row = f"| `{path}` | {_cell(_value(node, prefix))} | {_cell(' '.join(filter(None, says)))} |"
    rows = [row]
    more, items = node.get("additionalProperties"), node.get("items")
    rows += _rows(node, path, prefix)
    for inner, mark in ((more, ".<name>"), (items, "[]")):
        if isinstance(inner, dict) and "$ref" not in inner:
            rows += _rows(inner, path + mark, prefix)
            deeper = inner.get("additionalProperties")
            if isinstance(deeper, dict):
                rows += _rows(deeper, f"{path}{mark}.<name>", prefix)
    return rows


def _value(node: Node, prefix: str) -> str:
    """Say what a value may be, in a few words."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return f"[{name}](#{prefix}{name})"
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


def _sentence(text: str) -> str:
    """Put a text of a docstring or a schema into one line."""
    return " ".join(text.replace("\b", " ").split())


def _cell(text: str) -> str:
    """Escape what would end a cell, or begin a tag outside of code."""
    parts = re.split(r"(`[^`]*`)", _sentence(text))
    shown = (part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)
    return "".join(shown).replace("|", "\\|")


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in references().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
