"""The pages of docs/reference: commands from the command line, keys and documents from the schemas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docs.make.facts import (
    ROOT,
    arguments,
    brief,
    commands,
    keys_below,
    option_text,
    options,
    plugins,
    schema_of,
    sections,
    sentence,
    spellings,
)
from reconciler.cli.root import cli

if TYPE_CHECKING:
    import click

    from docs.make.facts import Node

_FIRST = ("plan", "plan-diff", "report", "status", "clients", "why", "history", "forecast", "events", "notification")
"""Documents in the order in which readers look for them; all others follow by their names."""
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
    for words, command in commands(cli):
        lines.append(f"| [{words}](#{words.replace(' ', '-')}) | {_cell(brief(command))}. |")
    for words, command in commands(cli):
        has = options(command)
        lines += ["", f"## {words}", "", sentence(command.help or ""), ""]
        lines += ["```text", " ".join(["updoser", words, *arguments(command), *(["[OPTIONS]"] if has else [])]), "```"]
        if has:
            lines += ["", "| option | what it does |", "|---|---|"]
            lines += [f"| {_option(option)} | {_cell(option_text(option))} |" for option in has]
    return "\n".join(lines) + "\n"


def keys_page() -> str:
    """Give every key of the desired state, and every option of bundled plugins."""
    schema = schema_of("updoser")
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
    lines += ["", "## updoser.yaml", "", sentence(schema["description"]), "", *_keys(schema)]
    for name, node in sorted(schema["$defs"].items()):
        lines += ["", f"## {name}", "", sentence(node["description"])]
        lines += ["", *_keys(node)]
    for name, node in sections():
        lines += ["", f"## {name}", "", sentence(node["description"]), "", *_keys(node)]
    for name, node in plugins():
        lines += ["", f"## {name}", ""]
        lines += _keys(node) if keys_below(node) else ["It has no options."]
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
    for name in documents():
        schema = schema_of(name)
        lines += ["", f"## {schema['title']}", "", f"{sentence(schema['description'])} (`schema/{name}.schema.json`)"]
        if keys_below(schema):
            lines += ["", *_keys(schema, f"{name}-")]
        for part, node in sorted(schema.get("$defs", {}).items()):
            if keys_below(node):
                lines += ["", f'### <a id="{name}-{part}"></a>`{part}` of {name}', ""]
                lines += [sentence(node["description"]), ""] if "description" in node else []
                lines += _keys(node, f"{name}-")
    return "\n".join(lines) + "\n"


def documents() -> list[str]:
    """Name the schemas of all documents; that of the spec has a page of its own."""
    names = {path.name.partition(".")[0] for path in (ROOT / "schema").glob("*.schema.json")} - {"updoser"}
    return [*_FIRST, *sorted(names - set(_FIRST))]


def _keys(node: Node, prefix: str = "") -> list[str]:
    rows = [
        f"| `{path}` | {_cell(value)} | {_cell(meaning)} |" for path, value, meaning in keys_below(node, "", prefix)
    ]
    return ["| key | value | meaning |", "|---|---|---|", *rows]


def _option(option: click.Option) -> str:
    return _cell(", ".join(f"`{name}{value and f' {value}'}`" for name, value in spellings(option)))


def _cell(text: str) -> str:
    """Escape what would end a cell, or begin a tag outside of code."""
    parts = re.split(r"(`[^`]*`)", sentence(text))
    shown = (part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)
    return "".join(shown).replace("|", "\\|")
