"""Look at the fleet and at what runs did, and take away what is in the way of the next one."""

from __future__ import annotations

from typing import Any

import click

from reconciler.cli import completing
from reconciler.cli.options import (
    FILE,
    FORKS,
    METRICS_INTO,
    VARIABLES,
    desk_of,
    junit_spec_options,
    look_options,
    sight_of,
    status_spec_options,
    table_options,
    together,
)
from reconciler.cli.root import cli
from reconciler.cli.values import Conditions, Duration, Since


@cli.command()
@status_spec_options
@look_options(refresh=False)
@click.option(
    "--within",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Releases behind that still count as updated.",
)
@click.option("--max-age", type=Duration(), help="Count as updated what lacks only releases younger than this.")
@click.option(
    "--fail-on", type=Conditions(), default=(), metavar="CONDITIONS", help="Exit with 1 when met: age>48h,outdated>5%."
)
@METRICS_INTO
@click.option("--groups", is_flag=True, help="Have metrics by group, too: many for many groups.")
@click.pass_context
def status(context: click.Context, /, **options: Any) -> int:
    """Show how far the fleet is, by component and group."""
    from reconciler.commands import status as command

    order = command.StatusOptions(
        sight_of(options),
        **{name: options[name] for name in ("within", "max_age", "fail_on", "metrics_into", "groups")},
    )
    return command.status(desk_of(context, options), order)


@cli.command()
@click.argument("run_id", required=False, default="")
@table_options
@click.option("-n", "--last", type=click.IntRange(1), default=20, show_default=True, help="How many runs, or outcomes.")
@click.option(
    "--client", default="", metavar="NAME", help="What happened to this client.", shell_complete=completing.clients
)
@click.option(
    "--component",
    default="",
    metavar="ID",
    help="What happened with this component.",
    shell_complete=completing.components,
)
@click.option("--version", default="", help="Who got this version, or left it.")
@click.option("--since", type=Since(), help="Only since then: 2d, 2026-11-24 or 2026-11-24T12:00Z.")
@click.pass_context
def history(context: click.Context, /, run_id: str, last: int, since: Any, **options: Any) -> int:
    """Show the last runs and who ran them, what one run did, or what happened to a client, component or version."""
    from reconciler.commands import history as command

    asked = command.Asked(run_id, *(options.pop(name) for name in ("client", "component", "version")))
    return command.history(desk_of(context, options), asked, last, since)


@cli.command()
@click.argument("clients", nargs=-1, shell_complete=completing.clients)
@junit_spec_options
@click.option("-v", "--verbose", "every", is_flag=True, help="Show also what is fine.")
@click.option(
    "--sources", is_flag=True, help="Look at sources and the keys that they trust; what is named are sources."
)
@click.option("--client-script", is_flag=True, help="Print the script that runs on clients, for use with sudoers.")
@click.option("--forks", type=click.IntRange(1, 1024), default=4, show_default=True, help=FORKS)
@click.pass_context
def doctor(
    context: click.Context,
    /,
    clients: tuple[str, ...],
    every: bool,
    sources: bool,
    client_script: bool,
    forks: int,
    **options: Any,
) -> int:
    """Check this machine and the way to clients for what an apply would find, and say what fixes it."""
    from reconciler.commands import doctor as command

    if client_script:
        return command.client_script(context.obj)
    if sources:
        return command.doctor_of_sources(desk_of(context, options), clients)
    return command.doctor(desk_of(context, options), clients, forks, every=every)


@cli.command()
@click.argument("lock_id")
@click.option("--force", is_flag=True, help="Also when the run that holds it is alive.")
@together(FILE, VARIABLES)
@click.pass_context
def unlock(context: click.Context, /, lock_id: str, *, force: bool, **options: Any) -> int:
    """Take away the lock of a run that is gone.

    The command that was refused names LOCK_ID.
    """
    from reconciler.commands import unlock as command

    return command.unlock(desk_of(context, options), lock_id, force=force)
