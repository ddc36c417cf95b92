"""What a shell completes behind commands and options: components, groups and clients of the file that -f names.

A shell asks at each press of a key, so nothing but the file and the state's names is read, and what goes wrong there
completes nothing and says nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import SPEC_FILE

if TYPE_CHECKING:
    import click

DEFAULT_FILE = Path(SPEC_FILE)


def components(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Give the managed components that begin so."""
    from reconciler.commands import completion as command

    try:
        return command.components(_file(context), typed)
    except Exception:  # noqa: BLE001 - whatever it is, the user is only typing
        return []


def patterns(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Give the patterns whose last part is a client, a group or a label that begins so."""
    from reconciler.commands import completion as command

    try:
        return command.patterns(_file(context), typed)
    except Exception:  # noqa: BLE001 - see above
        return []


def clients(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Give the clients that begin so."""
    from reconciler.commands import completion as command

    try:
        return command.clients(_file(context), typed)
    except Exception:  # noqa: BLE001 - see above
        return []


def _file(context: click.Context) -> Path:
    return context.params.get("file") or DEFAULT_FILE
