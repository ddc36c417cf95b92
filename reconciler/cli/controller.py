"""Keep the fleet current by itself, and say what the controller that does may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import EVENTS, FILE, VARIABLES, desk_of, together
from reconciler.cli.root import cli
from reconciler.cli.values import Duration

if TYPE_CHECKING:
    from datetime import timedelta


@cli.command()
@together(FILE, VARIABLES, EVENTS)
@click.option("--forks", type=click.IntRange(1, 1024), default=20, show_default=True, help="Clients at a time.")
@click.pass_context
def run(context: click.Context, /, forks: int, **options: Any) -> int:
    """Keep the fleet as the file declares it, until a signal ends it.

    SIGTERM ends it when the clients under way are finished, SIGHUP has it read the file and look now.
    """
    from reconciler.commands import run as command

    return command.run(desk_of(context, options), command.RunOptions(forks))


@cli.group()
def controller() -> None:
    """Say what `updoser run` may do."""


@controller.command("pause")
@together(FILE, VARIABLES)
@click.option("--reason", required=True, help="Why, for all who wonder.")
@click.option("--for", "span", type=Duration(), help="For how long. Left out: until it is resumed.")
@click.option("--as", "who", default="", metavar="NAME", help="Who does it. Left out: the user.")
@click.pass_context
def controller_pause(context: click.Context, /, reason: str, span: timedelta | None, who: str, **options: Any) -> int:
    """Have the controller look, and change nothing."""
    from reconciler.commands import controller as command

    return command.pause(desk_of(context, options), command.PauseOptions(reason, span, who))


@controller.command("resume")
@together(FILE, VARIABLES)
@click.pass_context
def controller_resume(context: click.Context, /, **options: Any) -> int:
    """Let the controller change clients again."""
    from reconciler.commands import controller as command

    return command.resume(desk_of(context, options))


@controller.command("look")
@together(FILE, VARIABLES)
@click.pass_context
def controller_look(context: click.Context, /, **options: Any) -> int:
    """Have the controller look now."""
    from reconciler.commands import controller as command

    return command.look(desk_of(context, options))
