"""Begin a spec, check it, and list what there is to use in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import FILE, desk_of, junit_spec_options, spec_options, together
from reconciler.cli.root import cli

if TYPE_CHECKING:
    from pathlib import Path


@cli.command()
@together(FILE)
@click.option("--from", "catalog", metavar="CATALOG", help="List the components of this catalog, by name or path.")
@click.option(
    "--inventory", metavar="'PROGRAM'", help="Take clients from a program that prints Ansible's inventory JSON."
)
@click.pass_context
def init(context: click.Context, /, file: Path, catalog: str | None, inventory: str | None) -> int:
    """Write a commented starter file that validates."""
    from reconciler.commands import setup as command

    return command.init(context.obj, file, catalog, inventory)


@cli.command()
@junit_spec_options
@click.option("--effective", metavar="PATH", help="Show what is in force there (groups.dmz), and from which line.")
@click.option("--no-exec", is_flag=True, help="Run nothing that the file names, and resolve no secret.")
@click.pass_context
def validate(context: click.Context, /, effective: str | None, no_exec: bool, **options: Any) -> int:
    """Check the file, and tell every problem at once."""
    from reconciler.commands import setup as command

    return command.validate(desk_of(context, options, no_exec=no_exec), effective)


@cli.command()
@spec_options
@click.pass_context
def plugins(context: click.Context, /, **options: Any) -> int:
    """List the plugins that there are."""
    from reconciler.commands import setup as command

    return command.plugins(desk_of(context, options))


@cli.command()
@click.argument("site", required=False, default="")
@spec_options
@click.pass_context
def broker(context: click.Context, /, site: str, **options: Any) -> int:
    """Print what the broker of sites needs, as definitions that `rabbitmqctl import_definitions` takes.

    These are users without passwords, their rights, exchanges and queues. With several brokers, SITE is one of those
    that the broker is for.
    """
    from reconciler.commands import broker as command

    return command.broker(desk_of(context, options), site)
