"""The command line: arguments become one call of a module of `commands`, whose result is the exit code.

Nothing heavy is imported before a command runs, so that `updoser --help` answers at once.
"""

from __future__ import annotations

import gc
import io
import logging
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from reconciler import __version__
from reconciler.arguments import (
    DIFF,
    FILE,
    FORMAT,
    PATH,
    VARIABLES,
    Conditions,
    Duration,
    Share,
    desk_of,
    look_options,
    plan_options,
    planning_of,
    showing_of,
    sight_of,
    spec_options,
    together,
)
from reconciler.errors import REPORT_IT, InterruptedRunError, UpdoserError, UsageError
from reconciler.present.streams import take_streams
from reconciler.present.terminal import Log, Terminal, debugging

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.commands.rollout import Which

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


def main() -> NoReturn:
    """Run the command line of this process, and end it with the exit code."""
    # A fleet is millions of small objects without cycles: looking for garbage every 700 of them costs a fifth.
    gc.set_threshold(200_000, 20, 50)
    terminal = Terminal(streams=take_streams())
    logging.getLogger().addHandler(Log(terminal))
    if debugging():  # what nobody expected is logged with where it came from
        logging.getLogger("updoser").setLevel(logging.DEBUG)
    sys.exit(terminal.settle(run(sys.argv[1:], terminal)))


def run(arguments: Sequence[str], terminal: Terminal) -> int:
    """Run one command and give its exit code; whatever goes wrong is told on stderr, never as a traceback."""
    try:
        code = cli.main(args=list(arguments), prog_name="updoser", obj=terminal, standalone_mode=False)
    except UpdoserError as error:
        terminal.note(f"Error: {error}")
        return error.exit_code
    except (click.Abort, SystemExit) as end:
        return _end_of_click(end, terminal)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        terminal.note(said.getvalue().rstrip("\n"))
        return UsageError.exit_code
    except KeyboardInterrupt:
        terminal.note("Interrupted.")
        return InterruptedRunError.exit_code
    except Exception as error:
        if debugging():
            raise
        return _fault(terminal, error)
    return int(code or 0)


def _end_of_click(end: click.Abort | SystemExit, terminal: Terminal) -> int:
    """Tell apart what click makes one: Ctrl-C and any EOFError; the end of a process and any broken pipe.

    The process's own streams never break, so that such an error is always of something else.
    """
    error = end.__context__
    if isinstance(error, (EOFError, BrokenPipeError)):
        if debugging():
            raise error
        return _fault(terminal, error)
    if isinstance(end, SystemExit):
        raise end
    return InterruptedRunError.exit_code


def _fault(terminal: Terminal, error: Exception) -> int:
    """Tell an error that nobody expected."""
    terminal.note(f"Error: this is a fault of updoser: {type(error).__name__}: {error}\n  {REPORT_IT}")
    return 1


# --- commands -------------------------------------------------------------------------------------------------------


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="updoser", message="%(prog)s %(version)s")
def cli() -> None:
    """Keep endpoint-security components current on a fleet: declare, plan, apply."""


@cli.command()
@together(FILE)
@click.option("--from", "catalog", metavar="CATALOG", help="List the components of this catalog, by name or path.")
@click.option(
    "--inventory", metavar="'PROGRAM'", help="Take clients from a program that prints Ansible's inventory JSON."
)
@click.pass_context
def init(context: click.Context, /, file: Path, catalog: str | None, inventory: str | None) -> int:
    """Write a commented starter file that validates."""
    from reconciler.commands import setup as command

    return command.init(context.obj, file, catalog, inventory)


@cli.command()
@spec_options
@click.option("--effective", metavar="PATH", help="Show what is in force there (groups.dmz), and from which line.")
@click.option("--no-exec", is_flag=True, help="Run nothing that the file names, and resolve no secret.")
@click.pass_context
def validate(context: click.Context, /, effective: str | None, no_exec: bool, **options: Any) -> int:
    """Check the file, and tell every problem at once."""
    from reconciler.commands import setup as command

    return command.validate(desk_of(context, options, no_exec=no_exec), effective)


@cli.command()
@spec_options
@look_options(refresh=True)
@plan_options
@click.option("--out", type=PATH, metavar="FILE", help="Write the plan for `updoser apply FILE`.")
@click.option(
    "--no-exec", is_flag=True, help="For files from anyone: run no program, resolve no secret, reach no client."
)
@click.pass_context
def plan(context: click.Context, /, no_exec: bool, **options: Any) -> int:
    """Show what an apply would change, and change nothing."""
    from reconciler.commands import plan as command

    if no_exec and options["out"]:
        raise UsageError("--no-exec: such a plan isn't made from the fleet, so it can't be written for an apply")
    desk = desk_of(context, options, no_exec=no_exec)
    return command.plan(desk, planning_of(options, sight_of(options, contact=not no_exec)), showing_of(options))


@cli.command()
@click.argument("plan_file", type=PATH, required=False)
@spec_options
@look_options(refresh=True)
@plan_options
@click.option("--check", is_flag=True, help="Only show the plan, as `updoser plan` does.")
@click.option("--auto-approve", "approved", is_flag=True, help="Don't ask.")
@click.option("--confirm-adopted", is_flag=True, help="Let upgrades go to clients that were taken over.")
@click.option(
    "--wait", is_flag=True, help="Stay until all rollouts are done or halted, and take each step when it is due."
)
@click.option(
    "--max-unreachable", type=Share(), default=0.0, show_default="0%", help="Share of clients that may not answer."
)
@click.pass_context
def apply(context: click.Context, /, plan_file: Path | None, check: bool, **options: Any) -> int:
    """Bring the fleet to what the file declares.

    With PLAN_FILE, carry out exactly that plan.
    """
    from reconciler.commands import apply as command

    desk = desk_of(context, options)
    if plan_file is not None and (options["limit"] or options["targets"] or check):
        raise UsageError("a plan file is carried out as it is: give --limit, --target and --check to `updoser plan`")
    if check:
        from reconciler.commands.plan import plan as show_plan

        return show_plan(desk, planning_of(options, sight_of(options)), showing_of(options))
    order = command.ApplyOptions(
        planning=planning_of(options, sight_of(options, keep=True, confirmed=options["confirm_adopted"])),
        file=plan_file,
        sign=options["sign"],
        names=options["names"],
        approved=options["approved"],
        max_unreachable=options["max_unreachable"],
        wait=options["wait"],
    )
    return command.apply(desk, order)


@cli.command()
@click.argument("plan_file", type=PATH)
@together(FORMAT, DIFF)
@click.pass_context
def show(context: click.Context, /, plan_file: Path, form: str, names: bool) -> int:
    """Show a plan file."""
    from reconciler.commands import show as command

    return command.show(context.obj, plan_file, form, names=names)


@cli.command()
@spec_options
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
@click.pass_context
def status(context: click.Context, /, **options: Any) -> int:
    """Show how far the fleet is, by component and group."""
    from reconciler.commands import status as command

    order = command.StatusOptions(sight_of(options), options["within"], options["max_age"], options["fail_on"])
    return command.status(desk_of(context, options), order)


@cli.command()
@click.argument("run_id", required=False, default="")
@spec_options
@click.option("-n", "--last", type=click.IntRange(1), default=20, show_default=True, help="How many runs.")
@click.pass_context
def history(context: click.Context, /, run_id: str, last: int, **options: Any) -> int:
    """Show the last runs, or what one run did."""
    from reconciler.commands import history as command

    return command.history(desk_of(context, options), run_id, last)


@cli.command()
@click.argument("clients", nargs=-1)
@spec_options
@click.option("--client-script", is_flag=True, help="Print the script that runs on clients, for use with sudoers.")
@click.option("--forks", type=click.IntRange(1, 1024), default=4, show_default=True, help="Clients at a time.")
@click.pass_context
def doctor(context: click.Context, /, clients: tuple[str, ...], client_script: bool, forks: int, **options: Any) -> int:
    """Check the way to clients, and say what fixes it."""
    from reconciler.commands import doctor as command

    if client_script:
        return command.client_script(context.obj)
    return command.doctor(desk_of(context, options), clients, forks)


@cli.group()
def release() -> None:
    """Put releases into the folder of a `directory` source, and accept bytes that changed."""


@release.command("add")
@click.argument("component")
@click.argument("version")
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--to", type=PATH, required=True, metavar="DIR", help="The folder of the source.")
@click.option("--platform", default="any", show_default=True, help="Such as linux-x86_64.")
@click.option("--notes", default="", help="What is new, in a sentence.")
@click.option(
    "--incremental-from", "before", multiple=True, metavar="VERSION", help="Make an incremental from this release."
)
@click.option("--codec", default="zstd", show_default=True, help="What makes incrementals; bsdiff for executables.")
@click.pass_context
def release_add(
    context: click.Context, /, component: str, version: str, files: tuple[Path, ...], **options: Any
) -> int:
    """Put a release of COMPONENT into a folder, whole or not at all."""
    from reconciler.commands import release as command

    return command.add(context.obj, component, version, files, command.ReleaseOptions(**options))


@release.command("accept")
@click.argument("component")
@click.argument("version")
@click.option("--platform", default="", help="Of this platform. Left out: of all that are offered.")
@click.option("--reason", default="", help="Why; it stands in the history.")
@click.option("--as", "who", default="", metavar="NAME", help="Who does it, for the history. Left out: the user.")
@together(FILE, VARIABLES)
@click.pass_context
def release_accept(context: click.Context, /, **options: Any) -> int:
    """Take the bytes that a source has now under a VERSION that was out with others."""
    from reconciler.commands import release as command

    names = ("component", "version", "platform", "who", "reason")
    wanted = command.Acceptance(**{name: options.pop(name) for name in names})
    return command.accept(desk_of(context, options), wanted)


@cli.group()
def rollout() -> None:
    """Steer the way of releases through the fleet."""


_OF = together(
    click.option("--version", default="", help="Of this version, where several are on their way."),
    click.option("--group", default="", help="Of this group, where each has its own."),
    click.option("--as", "who", default="", metavar="NAME", help="Who does it, for the history. Left out: the user."),
)
_WHICH = together(click.argument("component"), _OF)


def _which(options: dict[str, Any]) -> Which:
    from reconciler.commands.rollout import Which

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
@click.argument("component", required=False, default="")
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
@click.argument("component")
@click.option("--to", default="", metavar="VERSION", help="Pin this version. Left out: block the one that is in force.")
@click.option("--reason", default="", help="Why, for the block.")
@click.option("--limit", default="", metavar="PATTERN", help="Show the plan for these clients only.")
@click.option("--auto-approve", "approved", is_flag=True, help="Don't ask.")
@spec_options
@click.pass_context
def rollback(context: click.Context, /, **options: Any) -> int:
    """Take a component back: propose the edit of the file, write it, and plan it."""
    from reconciler.commands import rollback as command

    names = ("component", "to", "reason", "limit", "approved")
    order = command.RollbackOptions(**{name: options.pop(name) for name in names})
    return command.rollback(desk_of(context, options), order)


@cli.group()
def publish() -> None:
    """Keep the signed repository that other servers take releases from."""


@publish.command("key")
@click.argument("key_file", type=PATH)
@click.pass_context
def publish_key(context: click.Context, /, key_file: Path) -> int:
    """Make a key pair: KEY_FILE, for its owner only, and KEY_FILE.pub."""
    from reconciler.commands import publish as command

    return command.key(context.obj, key_file)


@publish.command("init")
@spec_options
@click.pass_context
def publish_init(context: click.Context, /, **options: Any) -> int:
    """Make the repository's root, or take it into use once enough keys signed it."""
    from reconciler.commands import publish as command

    return command.init(desk_of(context, options))


@publish.command("sign")
@click.argument("root_file", type=PATH)
@click.option("--key", "key_file", type=PATH, required=True, metavar="KEYFILE", help="The private key to sign with.")
@click.pass_context
def publish_sign(context: click.Context, /, root_file: Path, key_file: Path) -> int:
    """Sign a root that waits for it. Needs no spec: carry ROOT_FILE to where the key is."""
    from reconciler.commands import publish as command

    return command.sign(context.obj, root_file, key_file)


@publish.command("rotate")
@spec_options
@click.option("--force", is_flag=True, help="Make another root though nothing asks for it.")
@click.pass_context
def publish_rotate(context: click.Context, /, force: bool, **options: Any) -> int:
    """Make the next root, with the keys of the spec, or take it into use once enough keys signed it."""
    from reconciler.commands import publish as command

    return command.turn(desk_of(context, options), force=force)


@publish.command("add")
@click.argument("component")
@click.argument("version", required=False)
@spec_options
@click.pass_context
def publish_add(context: click.Context, /, component: str, version: str | None, **options: Any) -> int:
    """Publish a release that the store holds, the highest if VERSION is left out."""
    from reconciler.commands import publish as command

    return command.add(desk_of(context, options), component, version)


@publish.command("status")
@spec_options
@click.pass_context
def publish_status(context: click.Context, /, **options: Any) -> int:
    """Show what is published, by whose signatures, and for how long."""
    from reconciler.commands import publish as command

    return command.status(desk_of(context, options))


@cli.command()
@spec_options
@click.pass_context
def plugins(context: click.Context, /, **options: Any) -> int:
    """List the plugins that there are."""
    from reconciler.commands import setup as command

    return command.plugins(desk_of(context, options))


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
