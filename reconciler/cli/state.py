"""Keep copies of the state, and bring it to another place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import FILE, VARIABLES, desk_of, together
from reconciler.cli.places import READ, WRITTEN
from reconciler.cli.root import cli

if TYPE_CHECKING:
    from pathlib import Path


@cli.group()
def state() -> None:
    """Keep copies of the state, and bring it to another database."""


@state.command("backup")
@click.argument("backup_file", type=WRITTEN)
@together(FILE, VARIABLES)
@click.pass_context
def state_backup(context: click.Context, /, backup_file: Path, **options: Any) -> int:
    """Write all that the state remembers into BACKUP_FILE, whoever uses it meanwhile."""
    from reconciler.commands import state as command

    return command.backup(desk_of(context, options), backup_file)


@state.command("restore")
@click.argument("backup_file", type=READ)
@click.option("--force", is_flag=True, help="Replace what is there.")
@together(FILE, VARIABLES)
@click.pass_context
def state_restore(context: click.Context, /, backup_file: Path, *, force: bool, **options: Any) -> int:
    """Make the state that the file names of BACKUP_FILE.

    Clients refuse whoever goes on with the former state, once this one reached them.
    """
    from reconciler.commands import state as command

    return command.restore(desk_of(context, options), backup_file, force=force)


@state.command("move")
@click.argument("url")
@click.option("--force", is_flag=True, help="Replace what is there.")
@together(FILE, VARIABLES)
@click.pass_context
def state_move(context: click.Context, /, url: str, *, force: bool, **options: Any) -> int:
    """Bring the state to URL, from SQLite to PostgreSQL or back. What was there before can't be used any more.

    PostgreSQL takes the password of URL from PGPASSWORD or ~/.pgpass. Have server.state name URL afterwards. A move
    that was broken off is ended by the same command.
    """
    from reconciler.commands import state as command

    return command.move(desk_of(context, options), url, force=force)
