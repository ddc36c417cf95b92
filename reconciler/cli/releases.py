"""Offer releases in a folder, and accept what a source offers anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import completing
from reconciler.cli.options import FILE, VARIABLES, desk_of, together
from reconciler.cli.places import READ
from reconciler.cli.root import cli

if TYPE_CHECKING:
    from pathlib import Path


@cli.group()
def release() -> None:
    """Put releases into the folder of a `directory` source, and accept bytes that changed."""


@release.command("add")
@click.argument("component", shell_complete=completing.components)
@click.argument("version")
@click.argument("files", nargs=-1, required=True, type=READ)
@click.option("--to", type=READ, required=True, metavar="DIR", help="The folder of the source.")
@click.option("--platform", default="any", show_default=True, help="Such as linux-x86_64.")
@click.option("--notes", default="", metavar="TEXT|@FILE", help="What is new: a text, or the file that has it.")
@click.option("--released", default="", metavar="TIME", help="When it came out, such as 2026-11-19T06:00:00Z.")
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
@click.argument("component", shell_complete=completing.components)
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
