"""Keep the repository that other servers take releases from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import completing
from reconciler.cli.options import desk_of, spec_options
from reconciler.cli.places import READ, WRITTEN
from reconciler.cli.root import cli

if TYPE_CHECKING:
    from pathlib import Path


@cli.group()
def publish() -> None:
    """Keep the signed repository that other servers take releases from."""


@publish.command("key")
@click.argument("key_file", type=WRITTEN)
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
@click.argument("root_file", type=WRITTEN)
@click.option("--key", "key_file", type=READ, required=True, metavar="KEYFILE", help="The private key to sign with.")
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
@click.argument("component", shell_complete=completing.components)
@click.argument("version", required=False)
@spec_options
@click.option(
    "--notes", default="", metavar="TEXT|@FILE", help="What is new, in place of what its source says: a text or a file."
)
@click.pass_context
def publish_add(context: click.Context, /, component: str, version: str | None, notes: str, **options: Any) -> int:
    """Publish a release that the store holds, the highest if VERSION is left out."""
    from reconciler.commands import publish as command

    return command.add(desk_of(context, options), component, version, notes)


@publish.command("status")
@spec_options
@click.pass_context
def publish_status(context: click.Context, /, **options: Any) -> int:
    """Show what is published, by whose signatures, and for how long."""
    from reconciler.commands import publish as command

    return command.status(desk_of(context, options))
