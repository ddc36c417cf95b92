"""Help for those who write the spec: its schema, its keys explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import FILE, PATH, VARIABLES, desk_of, spec_options, together
from reconciler.cli.root import cli

if TYPE_CHECKING:
    from pathlib import Path


@cli.command()
@together(FILE, VARIABLES)
@click.option("--output", type=PATH, metavar="FILE", help="Write it there, for the first line of the spec to name.")
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
