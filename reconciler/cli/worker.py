"""Work for a controller on another process or machine."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 # click looks at it

import click

from reconciler.cli.places import READ, WRITTEN
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
@click.option("--site", metavar="NAME", default="", help="Take the orders of this site, until a signal ends it.")
@click.option(
    "--new-seal-key",
    "seal_key",
    type=WRITTEN,
    metavar="FILE",
    help="Make the key pair of a site: the private key goes to FILE, the public one is printed for the `seal_key` of "
    "its executor.",
)
def worker(*, stdio: bool, config: Path | None, site: str, seal_key: Path | None) -> int:
    """Carry batches out for a controller.

    At a site with `executor: {type: celery}` it is a service that takes orders from a broker: `updoser worker --site
    NAME`. Its file says where from, and how clients are reached; it is updoser-worker.yaml, or that of UPDOSER_WORKER.

    A controller with `executor: {type: processes}` starts workers on its own machine; with `executor: {type: relay}` it
    starts `updoser worker --stdio --config FILE` over SSH, on a machine that reaches clients it doesn't reach itself.
    """
    if (stdio, bool(site), seal_key is not None).count(True) != 1:
        hint = "updoser worker --site NAME; or --stdio, as a controller starts it"
        raise UsageError("say how orders come to this worker, in one way", hint=hint)
    if seal_key is not None or site:
        from reconciler.commands import site_worker

        return site_worker.new_seal_key(seal_key) if seal_key is not None else site_worker.serve(site, config)
    from reconciler.commands import worker as command

    return command.speak(config)
