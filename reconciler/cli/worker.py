"""Work for a controller on another process or machine."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 # click looks at it

import click

from reconciler.cli.places import READ
from reconciler.cli.root import cli
from reconciler.errors import UsageError


@cli.command()
@click.option("--stdio", is_flag=True, help="Take orders on standard input, and report on standard output.")
@click.option(
    "--config",
    type=READ,
    metavar="FILE",
    help="The file of this worker, where it isn't on the controller's own machine: how clients are reached from here.",
)
def worker(*, stdio: bool, config: Path | None) -> int:
    """Carry batches out for a controller, which starts this by itself.

    A controller with `executor: {type: processes}` starts workers on its own machine; with `executor: {type: relay}` it
    starts `updoser worker --stdio --config FILE` over SSH, on a machine that reaches clients it doesn't reach itself.
    """
    if not stdio:
        raise UsageError("say how orders come to this worker", hint="updoser worker --stdio, as a controller starts it")
    from reconciler.commands import worker as command

    return command.speak(config)
