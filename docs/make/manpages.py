"""The man pages: `updoser`, a page for each command or group of commands, and the keys of `updoser.yaml`.

They have no date: a page that nothing has changed stays as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from docs.make.facts import (
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
from docs.make.roff import argument, as_is, bold, escaped, guarded, italic, prose
from reconciler import __version__
from reconciler.cli.root import EXIT_CODES, cli

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docs.make.facts import Node

MADE = r".\" Made by `make docs` from the code: what is wrong here is mended there."
FILE = "updoser.yaml"


def manpages() -> dict[str, str]:
    """Give the pages by where they lie below `share/man`."""
    pages = {"man1/updoser.1": whole_page(), f"man5/{FILE}.5": keys_page()}
    for name, command in sorted(cli.commands.items()):
        pages[f"man1/updoser-{name}.1"] = command_page(name, command)
    return pages


# --- commands -------------------------------------------------------------------------------------------------------


def whole_page() -> str:
    """Give the page of `updoser` itself."""
    context = click.Context(cli, **cli.context_settings)
    lines = _head("updoser", 1, brief(cli))
    lines += _section("SYNOPSIS") + _usage("updoser", [*cli.collect_usage_pieces(context)])
    lines += _section("DESCRIPTION") + prose(sentence(cli.help or ""))
    lines += [".PP", *prose(f"What the fleet should run stands in a file, {FILE}; `updoser init` writes a first one.")]
    lines += _section("OPTIONS") + _options(
        [part for part in cli.get_params(context) if isinstance(part, click.Option)]
    )
    lines += _section("COMMANDS")
    for name, command in sorted(cli.commands.items()):
        lines += [".TP", rf"{bold(f'updoser-{name}')}(1)", *prose(f"{brief(command)}.")]
    lines += _section("EXIT STATUS")
    for code, meaning in re.findall(r"^ +(\d+)  (.+)$", EXIT_CODES, re.MULTILINE):
        lines += [".TP", bold(code), *prose(meaning)]
    lines += _environment(cli)
    lines += _section("FILES")
    lines += [".TP", bold(FILE), *prose("What the fleet should run, in the folder where updoser is called.")]
    others = [(f"updoser-{name}", 1) for name in sorted(cli.commands)]
    return _text([*lines, *_see_also([*others, (FILE, 5)])])


def command_page(name: str, command: click.Command) -> str:
    """Give the page of a command, or of all commands of a group."""
    title = f"updoser-{name}"
    parts = list(commands(command, f"{name} ")) if isinstance(command, click.Group) else [(name, command)]
    lines = _head(title, 1, brief(command))
    lines += _section("SYNOPSIS")
    for at, (words, part) in enumerate(parts):
        takes = [*(["[OPTIONS]"] if options(part) else []), *arguments(part)]
        lines += [*([".br"] if at else []), *_usage(f"updoser {words}", takes)]
    lines += _section("DESCRIPTION") + _paragraphs(command)
    if isinstance(command, click.Group):
        lines += _section("COMMANDS")
        for words, part in parts:
            lines += [f".SS {argument(f'updoser {words}')}", *_paragraphs(part), *_options(options(part))]
    elif options(command):
        lines += _section("OPTIONS") + _options(options(command))
    for part in (part for _words, part in parts):
        lines += _environment(part)
    lines += [*_section("EXIT STATUS"), "Those of all commands are listed in", rf"{bold('updoser')}(1)."]
    return _text([*lines, *_see_also([("updoser", 1), (FILE, 5)])])


def _usage(words: str, takes: Sequence[str]) -> list[str]:
    named = (re.sub(r"[^\[\].]+", lambda found: italic(found[0]), part) for part in takes)
    return [" ".join([bold(words), *named])]


def _paragraphs(command: click.Command) -> list[str]:
    r"""Give what a command says of itself; a paragraph that begins with `\b` keeps its lines, as click has it."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", (command.help or "").strip()):
        kept = paragraph.startswith("\b")
        shown = as_is(paragraph.removeprefix("\b").strip("\n").splitlines()) if kept else prose(sentence(paragraph))
        lines += [*([".PP"] if lines else []), *shown]
    return lines


def _options(has: Sequence[click.Option]) -> list[str]:
    lines = []
    for option in has:
        names = (" ".join(filter(None, (bold(name), italic(value)))) for name, value in spellings(option))
        lines += [".TP", ", ".join(names), *prose(option_text(option))]
    return lines


def _environment(command: click.Command) -> list[str]:
    lines = []
    for option in options(command):
        if option.envvar:
            name = option.envvar if isinstance(option.envvar, str) else option.envvar[0]
            lines += [".TP", bold(name), *prose(f"What holds where `{option.opts[-1]}` isn't given.")]
    return [*_section("ENVIRONMENT"), *lines] if lines else []


# --- the file -------------------------------------------------------------------------------------------------------


def keys_page() -> str:
    """Give the page of the keys of `updoser.yaml`, and of the options of bundled plugins."""
    import yaml

    schema = schema_of("updoser")
    lines = _head(FILE, 5, "what a fleet should run")
    lines += _section("DESCRIPTION") + prose(sentence(schema["description"]))
    lines += [".PP", *prose("`[]` stands for each entry of a list, `<name>` for a name of yours.")]
    lines += prose("`updoser explain` KEY says the same of one key, and knows the plugins that are installed here.")
    lines += _section("EXAMPLE")
    lines += as_is(yaml.safe_dump(schema["examples"][0], sort_keys=False).splitlines())
    lines += _section("KEYS") + _keys(schema)
    lines += _section("PARTS")
    for name, node in sorted(schema["$defs"].items()):
        lines += [f".SS {argument(name)}", *prose(sentence(node["description"])), *_keys(node)]
    for name, node in sections():
        lines += [f".SS {argument(name)}", *prose(sentence(node["description"])), *_keys(node)]
    lines += _section("PLUGINS")
    for name, node in plugins():
        keys = _keys(node)
        lines += [f".SS {argument(name)}", *(keys or ["It has no options."])]
    others = [(f"updoser-{name}", 1) for name in ("explain", "fmt", "init", "schema", "validate")]
    return _text([*lines, *_see_also([("updoser", 1), *others])])


def _keys(node: Node) -> list[str]:
    lines = []
    for path, value, meaning in keys_below(node):
        lines += [".TP", bold(path), *prose(value), *([".br", *prose(meaning)] if meaning else [])]
    return lines


# --- pages ----------------------------------------------------------------------------------------------------------


def _head(name: str, part: int, about: str) -> list[str]:
    about = about if about[1:2].isupper() else about[:1].lower() + about[1:]
    title = f'.TH {argument(name.upper())} {part} "" {argument(f"updoser {__version__}")} {argument("updoser")}'
    plain = [".nh", ".ad l"]  # names of commands and keys aren't broken
    return [MADE, title, *plain, *_section("NAME"), rf"{escaped(name)} \- {escaped(about.replace('`', ''))}"]


def _section(name: str) -> list[str]:
    return [f".SH {argument(name)}" if " " in name else f".SH {name}"]


def _see_also(pages: Sequence[tuple[str, int]]) -> list[str]:
    named = [rf"{bold(name)}({part})" for name, part in pages]
    return [*_section("SEE ALSO"), *(f"{name}," for name in named[:-1]), guarded(named[-1])]


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
