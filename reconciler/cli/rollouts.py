"""Steer releases on their way through the fleet, and take one back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import completing
from reconciler.cli.options import FILE, VARIABLES, desk_of, spec_options, together
from reconciler.cli.root import cli

if TYPE_CHECKING:
    from reconciler.steering import Which


@cli.group()
def rollout() -> None:
    """Steer the way of releases through the fleet."""


_OF = together(
    click.option("--version", default="", help="Of this version, where several are on their way."),
    click.option("--group", default="", help="Of this group, where each has its own."),
    click.option("--as", "who", default="", metavar="NAME", help="Who does it, for the history. Left out: the user."),
)
_WHICH = together(click.argument("component", shell_complete=completing.components), _OF)


def _which(options: dict[str, Any]) -> Which:
    from reconciler.steering import Which

    return Which(*(options.pop(name, "") for name in ("component", "version", "group", "who", "reason")))


@rollout.command("list")
@spec_options
@click.option("--all", "every", is_flag=True, help="Also those that are over.")
@click.pass_context
def rollout_list(context: click.Context, /, every: bool, **options: Any) -> int:
    """List rollouts, and where they are."""
    from reconciler.commands import rollout as command

    return command.show(desk_of(context, options), every=every)


@rollout.command("approve")
@_WHICH
@together(FILE, VARIABLES)
@click.pass_context
def rollout_approve(context: click.Context, /, **options: Any) -> int:
    """Let the next wave of a rollout open."""
    from reconciler.commands import rollout as command

    which = _which(options)
    return command.approve(desk_of(context, options), which)


@rollout.command("pause")
@_WHICH
@click.option("--reason", default="", help="Why; it stands in every plan.")
@together(FILE, VARIABLES)
@click.pass_context
def rollout_pause(context: click.Context, /, **options: Any) -> int:
    """Keep a rollout where it is."""
    from reconciler.commands import rollout as command

    which = _which(options)
    return command.pause(desk_of(context, options), which)


@rollout.command("resume")
@click.argument("component", required=False, default="", shell_complete=completing.components)
@_OF
@click.option("--all", "every", is_flag=True, help="All that are halted, but for those that a newer one overtook.")
@click.option("--reason", default="", help="Why.")
@together(FILE, VARIABLES)
@click.pass_context
def rollout_resume(context: click.Context, /, every: bool, **options: Any) -> int:
    """Let a rollout go on that was paused, halted or aborted."""
    from reconciler.commands import rollout as command

    which = _which(options)
    if every is bool(which.component) or (every and (which.version or which.group)):
        raise click.UsageError("name one component, or say --all and no --version or --group")
    return command.resume(desk_of(context, options), which)


@rollout.command("abort")
@_WHICH
@click.option("--reason", default="", help="Why; it stands in every plan.")
@click.option("--undo", is_flag=True, help="Clients that have the version go back to the one before.")
@together(FILE, VARIABLES)
@click.pass_context
def rollout_abort(context: click.Context, /, undo: bool, **options: Any) -> int:
    """End a rollout: its version goes to nobody any more."""
    from reconciler.commands import rollout as command

    which = _which(options)
    return command.abort(desk_of(context, options), which, undo=undo)


@cli.command()
@click.argument("component", shell_complete=completing.components)
@click.option("--to", default="", metavar="VERSION", help="Pin this version. Left out: block the one that is in force.")
@click.option("--reason", default="", help="Why, for the block.")
@click.option(
    "--limit",
    default="",
    metavar="PATTERN",
    help="Show the plan for these clients only.",
    shell_complete=completing.patterns,
)
@click.option("--auto-approve", "approved", is_flag=True, help="Don't ask.")
@spec_options
@click.pass_context
def rollback(context: click.Context, /, **options: Any) -> int:
    """Take a component back: propose the edit of the file, write it, and plan it."""
    from reconciler.commands import rollback as command

    names = ("component", "to", "reason", "limit", "approved")
    order = command.RollbackOptions(**{name: options.pop(name) for name in names})
    return command.rollback(desk_of(context, options), order)
