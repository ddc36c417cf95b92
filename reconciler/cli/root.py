"""The command `updoser` itself; every other command is added to it by the module that declares it."""

from __future__ import annotations

import logging
from typing import Literal

import click

from reconciler import __version__
from reconciler.cli.places import SpareCommand
from reconciler.present.terminal import LogStyle, Terminal

EXIT_CODES = """\b
Exit codes:
    0  done, or nothing to do
    1  error, or something can't be as declared
    2  due changes, drift or a stuck rollout present, or something can't be as declared (only with --detailed-exitcode)
    3  some clients failed, a gate halted a rollout, or one is stuck
    4  more clients unreachable than tolerated, none failed
    5  refused: a plan that --fail-on forbids, stale plan, lock held, other controller, inventory shrank
   64  bad usage
   65  the spec is invalid
  130  interrupted: journal written, lock released
"""


class _Group(click.Group):
    """Commands that write no file that they read."""

    command_class = SpareCommand
    group_class = type


@click.group(
    cls=_Group, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="updoser", message="%(prog)s %(version)s")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    envvar="UPDOSER_LOG_FORMAT",
    help="Write what isn't a result as log lines with time, level and the run's id.",
)
@click.option("-v", "--verbose", count=True, help="Tell of each client, and what plugins do; -vv: all that they say.")
@click.option("-q", "--quiet", is_flag=True, help="Tell of warnings and errors only.")
@click.pass_context
def cli(context: click.Context, log_format: Literal["text", "json"] | None, verbose: int, *, quiet: bool) -> None:
    """Keep endpoint-security components current on a fleet: declare, plan, apply."""
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose can't be had together")
    if isinstance(context.obj, Terminal):
        context.obj.log = LogStyle(log_format or "", quiet, verbose)
    if verbose:
        logging.getLogger("updoser").setLevel(LogStyle(verbose=verbose).threshold)
