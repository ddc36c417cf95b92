"""Keep the fleet current by itself, and say what the controller that does may do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from reconciler import SPEC_FILE
from reconciler.cli.options import EVENTS, FILE, FORKS, VARIABLES, desk_of, table_options, together
from reconciler.cli.places import READ, WRITTEN
from reconciler.cli.root import cli
from reconciler.cli.values import Duration, HostPort
from reconciler.errors import UsageError
from reconciler.model.controller import VERIFY

if TYPE_CHECKING:
    from datetime import timedelta

    from reconciler.controller.mirror import GitOptions


_GIVEN = ParameterSource.COMMANDLINE
_GIT_NAMES = ("url", "branch", "tag", "path", "verify", "signers", "gpg_home", "allow_rewind", "folder")
_GIT = together(
    click.option("--from-git", "url", default="", metavar="URL", help="Take the file from a git repository."),
    click.option("--branch", default="", metavar="NAME", help="The newest commit of this branch."),
    click.option("--tag", default="", metavar="PATTERN", help="The highest tag that is like this, such as 'v*'."),
    click.option("--spec-path", "path", default=SPEC_FILE, show_default=True, help="The file in the repository."),
    click.option(
        "--verify",
        type=click.Choice(VERIFY),
        default="none",
        show_default=True,
        help="Whose signature must be good: that of the commit, the tag, or all commits since the one in force.",
    ),
    click.option(
        "--allowed-signers", "signers", type=READ, metavar="FILE", help="Who signs with SSH keys, for --verify."
    ),
    click.option("--gpg-home", type=READ, metavar="DIR", help="The folder of GnuPG with keys to trust, for --verify."),
    click.option(
        "--allow-rewind", is_flag=True, help="Take a commit also when it doesn't come after the one in force."
    ),
    click.option(
        "--git-folder",
        "folder",
        type=WRITTEN,
        default=Path(".updoser/git"),
        show_default=True,
        help="Where the repository's mirror and the commit in force are kept.",
    ),
)


@cli.command()
@together(FILE, VARIABLES, EVENTS)
@click.option("--forks", type=click.IntRange(1, 1024), default=20, show_default=True, help=FORKS)
@click.option(
    "--listen",
    type=HostPort(),
    metavar="HOST:PORT",
    help="Answer /livez, /readyz and /metrics there: 127.0.0.1:8485. Left out: nowhere.",
)
@_GIT
@click.pass_context
def run(context: click.Context, /, forks: int, listen: tuple[str, int] | None, **options: Any) -> int:
    """Keep the fleet as the file declares it, until a signal ends it.

    SIGTERM ends it when the clients under way are finished, SIGHUP has it read the file and look now. With --from-git
    the file is that of the newest commit, of a branch or of tags, that can be believed.
    """
    from reconciler.commands import run as command

    git = _git_of(context, options)
    return command.run(desk_of(context, options), command.RunOptions(forks, git, listen))


def _git_of(context: click.Context, options: dict[str, Any]) -> GitOptions | None:
    """Take the options of a repository out of all.

    Raises:
        UsageError: one of them is there without a repository, or with a file.
    """
    from reconciler.controller.mirror import GitOptions

    given = {name: options.pop(name) for name in _GIT_NAMES}
    named = [name for name in (*_GIT_NAMES, "file") if context.get_parameter_source(name) is _GIVEN]
    if not given["url"]:
        alone = [name for name in named if name != "file"]
        if alone:
            raise UsageError(f"{_option(context, alone[0])} needs --from-git", hint="--from-git URL --branch NAME")
        return None
    if "file" in named:
        raise UsageError("-f and --from-git name two specs", hint="--spec-path names the file in the repository")
    return GitOptions(**given)


def _option(context: click.Context, name: str) -> str:
    return next(option.opts[-1] for option in context.command.params if option.name == name)


@cli.group()
def controller() -> None:
    """Say what `updoser run` may do, and ask whether it lives."""


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


@controller.command("requests")
@table_options
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--waiting", is_flag=True, help="Only those that nothing came of yet.")
@click.pass_context
def controller_requests(context: click.Context, /, last: int, *, waiting: bool, **options: Any) -> int:
    """List what people asked of the controller in the console, and what came of it."""
    from reconciler.commands import controller as command

    return command.requests(desk_of(context, options), last, waiting=waiting)


@controller.command("check")
@together(FILE, VARIABLES)
@click.pass_context
def controller_check(context: click.Context, /, **options: Any) -> int:
    """Say whether a controller leads, lives and keeps its times; 1 where none does.

    It waits for a sign of life, 45 seconds at most.
    """
    from reconciler.commands import controller as command

    return command.check(desk_of(context, options))


@controller.command("test-notify")
@together(FILE, VARIABLES)
@click.argument("name")
@click.pass_context
def controller_test_notify(context: click.Context, /, name: str, **options: Any) -> int:
    """Send a test message by the notifier NAME of `notify`."""
    from reconciler.commands import controller as command

    return command.test_notify(desk_of(context, options), name)
