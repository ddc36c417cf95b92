"""Files that a command reads and writes: one that it writes may be none of the others, found out before it begins.

Every option and argument that names a file says by its type which of both it does; `SpareCommand` compares them. What
only the spec names, such as the state, is compared once that is read (`desk.read_spec`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACES = "updoser.places"


class Named(NamedTuple):
    """A file, and the option or argument that named it."""

    by: str
    path: Path
    written: bool


class FilePath(click.Path):
    """A path of a file that the command reads, or writes."""

    def __init__(self, *, written: bool = False) -> None:
        super().__init__(path_type=Path)
        self._written = written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take the path, and note it."""
        path: Any = super().convert(value, param, ctx)
        if param is not None and ctx is not None:
            _note(ctx, param, path, written=self._written)
        return path


READ, WRITTEN = FilePath(), FilePath(written=True)


def note_files(context: click.Context, param: click.Parameter, value: Any) -> Any:
    """Note the files that an option reads which may also name something else: `@FILE`, or a file or a revision."""
    for item in (value,) if isinstance(value, str) else value:
        name = item.removeprefix("@")
        if name and (name != item or os.path.lexists(name)):
            _note(context, param, Path(name), written=False)
    return value


def _note(context: click.Context, param: click.Parameter, path: Path, *, written: bool) -> None:
    named = max(param.opts, key=len) if isinstance(param, click.Option) else (param.name or "").upper()
    context.meta.setdefault(_PLACES, []).append(Named(named, path, written))


def written_by(context: click.Context) -> dict[str, Path]:
    """Give the files that a command writes, by the option that names each."""
    return {place.by: place.path for place in _named(context) if place.written}


def _named(context: click.Context) -> Sequence[Named]:
    found: Sequence[Named] = context.meta.get(_PLACES, ())
    return found


class SpareCommand(click.Command):
    """A command that isn't begun where it would write a file that it reads, or one file twice."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments.

        Raises:
            UsageError: two of them name the same file, and one is written.
        """
        rest = super().parse_args(ctx, args)
        written = [place for place in _named(ctx) if place.written]
        if written and not ctx.resilient_parsing:
            from reconciler.files import is_same_file

            for at, place in enumerate(written):
                others = (*written[:at], *(other for other in _named(ctx) if not other.written))
                for other in others:
                    if is_same_file(place.path, other.path):
                        does = "writes" if other.written else "reads"
                        raise UsageError(f"{place.by} {place.path}: {other.by} {does} that file", hint=HINT)
        return rest


HINT = "name another file"
