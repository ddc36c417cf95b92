"""Options that several commands have, declared once, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reconciler import SPEC_FILE
from reconciler.cli import completing
from reconciler.cli.places import READ, WRITTEN, note_files, written_by
from reconciler.cli.values import Policy
from reconciler.present.render import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.commands.plan import ShowOptions
    from reconciler.desk import Desk
    from reconciler.observe.observed import Sight
    from reconciler.planning import PlanOptions

CommandT = TypeVar("CommandT", bound="Callable[..., Any]")

DEFAULT_FILE = Path(SPEC_FILE)
FORKS = "Clients at a time; from 2 on, one that says nothing for long lends its place to another one."


def together(*options: Callable[[CommandT], CommandT]) -> Callable[[CommandT], CommandT]:
    """Join options to one decorator; help lists them in this order."""

    def decorate(command: CommandT) -> CommandT:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


FILE = click.option("-f", "--file", type=READ, default=DEFAULT_FILE, show_default=True, help="The desired state.")
VARIABLES = click.option(
    "-e",
    "--extra-var",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    callback=note_files,
    help="Set a variable; @FILE reads a map.",
)


def _into(context: click.Context, _param: click.Parameter, path: Path | None) -> None:
    """Have the terminal write documents into a file, too; one that can't be written is refused at once."""
    if path is not None:
        context.obj.write_into(path)


JSON_INTO = click.option(
    "--json-into",
    type=WRITTEN,
    metavar="FILE",
    expose_value=False,
    callback=_into,
    help="Write the result into FILE as JSON, beside what is shown.",
)


def _can_be_written(_context: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    if path is not None:
        from reconciler.present.terminal import check_place

        check_place("--metrics-into", path)
    return path


METRICS_INTO = click.option(
    "--metrics-into",
    type=WRITTEN,
    metavar="FILE",
    callback=_can_be_written,
    help="Write metrics for Prometheus into FILE, beside what is shown.",
)


def format_options(*special: str) -> Callable[[CommandT], CommandT]:
    """Give the options of the form of a result; `special` are those that the command's documents have beside all."""
    forms = tuple(name for name, form in FORMATS.items() if name in special or not form.part)
    return together(
        click.option(
            "--format", "form", type=click.Choice(forms), default="text", show_default=True, help="Form of the result."
        ),
        JSON_INTO,
    )


FORMAT = format_options()
PLAN_FORMAT = format_options("gitlab-terraform", "junit", "html")
DIFF = click.option("--diff", "names", is_flag=True, help="Name the clients of each change; show changes of the spec.")
SIGN = click.option("--sign", type=READ, metavar="KEYFILE", help="Sign the plan file, or demand that signature.")
POLICY = click.option(
    "--fail-on",
    "policy",
    type=Policy(),
    default=(),
    metavar="CONDITIONS",
    help="Exit with 5 when the plan does or finds this: downgrade,unknown>5%,bytes>10GiB.",
)
BASE = click.option(
    "--base",
    default="",
    metavar="REV|FILE",
    callback=note_files,
    help="Compare with another spec: a file, or a git revision.",
)
EVENTS = click.option("--events", type=WRITTEN, metavar="FILE", help="Append what happens as JSON lines.")

spec_options = together(FILE, VARIABLES, FORMAT)
junit_spec_options = together(FILE, VARIABLES, format_options("junit"))
plan_spec_options = together(FILE, VARIABLES, PLAN_FORMAT)
report_spec_options = together(FILE, VARIABLES, format_options("junit", "html"))
page_spec_options = together(FILE, VARIABLES, format_options("html"))
status_spec_options = together(FILE, VARIABLES, format_options("html", "prometheus"))
table_options = together(FILE, VARIABLES, format_options("csv"))


def look_options(*, refresh: bool) -> Callable[[CommandT], CommandT]:
    """Give the options of commands that look at the fleet."""
    return together(
        click.option(
            "--limit",
            default="",
            metavar="PATTERN",
            help="Only these clients: names, groups, labels, @failed.",
            shell_complete=completing.patterns,
        ),
        click.option(
            "--refresh/--no-refresh",
            default=refresh,
            show_default=True,
            help="Look at clients, inventories and sources, or take what the state remembers.",
        ),
        click.option("--verify", is_flag=True, help="Hash every file on clients and in the store."),
        click.option("--forks", type=click.IntRange(1, 1024), default=20, show_default=True, help=FORKS),
        click.option("--allow-shrink", is_flag=True, help="Believe an inventory that lost more than max_shrink."),
        EVENTS,
    )


plan_options = together(
    click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="COMPONENT",
        help="Only this component; repeatable.",
        shell_complete=completing.components,
    ),
    click.option("--adopt", is_flag=True, help="Take over clients of a controller whose state was lost."),
    click.option("--force-update", "forced", is_flag=True, help="Now, whatever triggers updates; windows still hold."),
    click.option(
        "--expedite",
        "expedited",
        multiple=True,
        metavar="COMPONENT",
        help="It waits for no soak and no window; checks and waves stay. Repeatable.",
        shell_complete=completing.components,
    ),
    DIFF,
    SIGN,
    click.option(
        "--detailed-exitcode",
        "detailed",
        is_flag=True,
        help="Exit a plan with 2 when changes are due or there is drift.",
    ),
)


def desk_of(context: click.Context, options: dict[str, Any], *, no_exec: bool = False) -> Desk:
    """Take the options that all commands share."""
    from reconciler.desk import Desk

    form = options.get("form", "text")
    context.obj.form = form
    return Desk(
        terminal=context.obj,
        file=options["file"],
        variables=options["variables"],
        form=form,
        events=options.get("events"),
        written=written_by(context),
        no_exec=no_exec,
    )


def sight_of(options: dict[str, Any], **more: Any) -> Sight:
    """Take the options of commands that look at the fleet."""
    from reconciler.observe.observed import Sight

    return Sight(
        refresh=options["refresh"],
        limit=options["limit"],
        verify=options["verify"],
        forks=options["forks"],
        allow_shrink=options["allow_shrink"],
        adopt=options.get("adopt", False),
        **more,
    )


def planning_of(options: dict[str, Any], sight: Sight) -> PlanOptions:
    """Take the options of commands that plan."""
    from reconciler.planning import PlanOptions

    return PlanOptions(
        sight=sight,
        targets=options["targets"],
        forced=options["forced"],
        expedited=options["expedited"],
    )


def showing_of(options: dict[str, Any]) -> ShowOptions:
    """Take the options that say how a plan is shown."""
    from reconciler.commands.plan import ShowOptions

    return ShowOptions(
        names=options["names"],
        out=options.get("out"),
        sign=options["sign"],
        detailed=options["detailed"],
        policy=options.get("policy", ()),
        base=options.get("base", ""),
    )
