"""Make a plan, carry it out, show one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import (
    BASE,
    DIFF,
    PLAN_FORMAT,
    POLICY,
    desk_of,
    look_options,
    page_spec_options,
    plan_options,
    plan_spec_options,
    planning_of,
    report_spec_options,
    showing_of,
    sight_of,
    together,
)
from reconciler.cli.places import READ, WRITTEN
from reconciler.cli.root import cli
from reconciler.cli.values import Duration, Share
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.present.policy import Condition as Limit


@cli.command()
@plan_spec_options
@look_options(refresh=True)
@plan_options
@POLICY
@BASE
@click.option("--out", type=WRITTEN, metavar="FILE", help="Write the plan for `updoser apply FILE`.")
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
@click.argument("plan_file", type=READ, required=False)
@report_spec_options
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
@click.argument("components", nargs=-1)
@page_spec_options
@look_options(refresh=True)
@click.option("--every", type=Duration(), help="Assume that an apply runs this often. Left out: when one is due.")
@BASE
@click.pass_context
def forecast(context: click.Context, /, components: tuple[str, ...], **options: Any) -> int:
    """Tell when waves open, and when how many clients have a release, if nothing fails."""
    from reconciler.commands import forecast as command

    if options["every"] is not None and not options["every"]:
        raise UsageError("--every: an apply can't run all the time: give a span such as 6h, or leave it out")
    order = command.ForecastOptions(sight_of(options), components, options["every"], options["base"])
    return command.tell(desk_of(context, options), order)


@cli.command()
@click.argument("plan_file", type=READ)
@click.argument("new_file", type=READ, required=False)
@together(PLAN_FORMAT, DIFF, POLICY)
@click.pass_context
def show(
    context: click.Context,
    /,
    plan_file: Path,
    new_file: Path | None,
    form: str,
    names: bool,
    policy: tuple[Limit, ...],
) -> int:
    """Show a plan file; with --diff and NEW_FILE, what differs between the two."""
    from reconciler.commands import show as command

    if new_file is not None:
        if policy:
            raise UsageError("--fail-on judges one plan file", hint="show it by itself")
        if not names:
            raise UsageError("one plan file is shown at a time", hint="add --diff to see what differs between two")
        return command.show_difference(context.obj, plan_file, new_file, form)
    return command.show(context.obj, plan_file, form, names=names, policy=policy)
