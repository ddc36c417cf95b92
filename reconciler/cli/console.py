"""Show the fleet in a browser."""

from __future__ import annotations

from typing import Any

import click

from reconciler.cli.options import FILE, VARIABLES, desk_of, together
from reconciler.cli.root import cli
from reconciler.cli.values import HostPort
from reconciler.errors import UsageError


@cli.command()
@together(FILE, VARIABLES)
@click.option(
    "--listen",
    type=HostPort(),
    default="127.0.0.1:8484",
    show_default=True,
    metavar="HOST:PORT",
    help="Where; port 0 is a free one. Anything but loopback takes TLS and a way to sign in (`console` of the file).",
)
@click.option("--with-controller", "controller", is_flag=True, help="Start `updoser run`, too, and end it as well.")
@click.argument("run_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF RUN]")
@click.pass_context
def serve(
    context: click.Context,
    /,
    listen: tuple[str, int],
    run_options: tuple[str, ...],
    *,
    controller: bool,
    **options: Any,
) -> int:
    """Show the fleet in a browser, and take down what people want of the controller, until a signal ends it.

    It needs `pip install 'updoser[service]'`, and a state that `updoser apply` or `run` made. On loopback it shows a
    link to sign in by; SIGHUP shows another one, and has the certificate read again.
    """
    from reconciler.commands import serve as command

    if run_options and not controller:
        raise UsageError(f"{run_options[0]} is for the controller", hint="updoser serve --with-controller -- OPTIONS")
    return command.serve(desk_of(context, options), command.ServeOptions(listen, controller, run_options))
