"""Help for those who write the spec: its schema, its keys explained, one layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import DEFAULT_FILE, FILE, VARIABLES, desk_of, spec_options, together
from reconciler.cli.places import READ, WRITTEN
from reconciler.cli.root import cli

if TYPE_CHECKING:
    from pathlib import Path


@cli.command()
@together(FILE, VARIABLES)
@click.option("--output", type=WRITTEN, metavar="FILE", help="Write it there, for the first line of the spec to name.")
@click.pass_context
def schema(context: click.Context, /, output: Path | None, **options: Any) -> int:
    """Print the JSON Schema of the file, with the options of all plugins that there are."""
    from reconciler.commands import schema as command

    return command.schema(desk_of(context, options), output)


@cli.command()
@click.argument("key", required=False, default="")
@spec_options
@click.pass_context
def explain(context: click.Context, /, key: str, **options: Any) -> int:
    """Say what KEY of the file means, such as groups.auto_update.rollout; without it, list the keys."""
    from reconciler.commands import schema as command

    return command.explain_key(desk_of(context, options), key)


@cli.command()
@click.argument("files", nargs=-1, type=READ)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 and name the files that would change.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
@click.pass_context
def fmt(context: click.Context, /, files: tuple[Path, ...], *, check: bool, diff: bool) -> int:
    """Give FILES one layout (updoser.yaml, if none is named; - for standard input); their values stay."""
    from reconciler.commands import fmt as command

    return command.fmt(context.obj, files or (DEFAULT_FILE,), check=check, diff=diff)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, /, shell: str) -> int:
    """Print what teaches SHELL to complete commands, options, components, groups and clients."""
    from reconciler.commands import completion as command

    return command.script(context.obj, shell, cli)
