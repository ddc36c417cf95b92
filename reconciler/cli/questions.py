"""Questions about clients, answered from what the state remembers."""

from __future__ import annotations

from typing import Any

import click

from reconciler.cli import completing
from reconciler.cli.options import desk_of, spec_options, table_options
from reconciler.cli.root import cli
from reconciler.errors import UsageError

_MAX_PAGE = 100_000


@cli.command()
@click.argument("pattern", required=False, default="")
@table_options
@click.option(
    "--limit",
    default="",
    metavar="PATTERN",
    help="Only these clients: names, groups, labels, @failed.",
    shell_complete=completing.patterns,
)
@click.option(
    "--where", default="", metavar="CONDITIONS", help="Only of which these hold: state=outdated version<16.679 seen>2d."
)
@click.option(
    "--page-size", type=click.IntRange(1, _MAX_PAGE), default=500, show_default=True, help="Clients on a page."
)
@click.option("--after", default="", metavar="NAME", help="Begin behind this client; each page names the last one.")
@click.pass_context
def clients(context: click.Context, /, pattern: str, **options: Any) -> int:
    """List clients: what each has, which are outdated or failed and why. Contacts nobody.

    PATTERN is the same as that of --limit, to see whom one takes.
    """
    from reconciler.commands import clients as command

    if pattern and options["limit"]:
        raise UsageError("name a pattern once: as the argument, or with --limit")
    query = command.Query(pattern or options["limit"], options["where"], options["after"], options["page_size"])
    return command.clients(desk_of(context, options), query)


@cli.command()
@click.argument("client", shell_complete=completing.clients)
@click.argument("component", required=False, default="", shell_complete=completing.components)
@spec_options
@click.option("--refresh", is_flag=True, help="Look at the client first; left out: as it was last seen.")
@click.pass_context
def why(context: click.Context, /, client: str, component: str, refresh: bool, **options: Any) -> int:
    """Say why a client has what it has: what asks for it, what is in the way, and what comes next.

    COMPONENT may also be a file of settings, by its path on the client, or `settings` for all of them.
    """
    from reconciler.commands import why as command

    return command.why(desk_of(context, options), command.WhyOptions(client, component, refresh))
