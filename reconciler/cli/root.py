"""The command `updoser` itself; every other command is added to it by the module that declares it."""

from __future__ import annotations

import click

from reconciler import __version__

EXIT_CODES = """\b
Exit codes:
    0  done, or nothing to do
    1  error, or something can't be as declared
    2  due changes, drift or a stuck rollout present, or something can't be as declared (only with --detailed-exitcode)
    3  some clients failed, a gate halted a rollout, or one is stuck
    4  more clients unreachable than tolerated, none failed
    5  refused: stale plan, lock held, other controller, inventory shrank
   64  bad usage
   65  the spec is invalid
  130  interrupted: journal written, lock released
"""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="updoser", message="%(prog)s %(version)s")
def cli() -> None:
    """Keep endpoint-security components current on a fleet: declare, plan, apply."""
