"""Formats files of YAML: each is laid out anew, and nothing is handed out that reads as other values than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import SpecError, UpdoserError
from reconciler.paths import read_file
from reconciler.specfile.edit import Edit, difference, plain_data
from reconciler.specfile.layout import laid_out
from reconciler.specfile.reader import MAX_BYTES, parse

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.specfile.tree import Map

_BOM = "\ufeff"


def formatted(path: Path) -> Edit:
    """Propose the layout of all for a file: a spec, what it extends, a catalog.

    Raises:
        SpecError: it can't be read, or isn't YAML that updoser could read.
        UpdoserError: it is written so strangely that its values would be others.
    """
    return formatted_text(path, read_file(path, MAX_BYTES, lambda why: UpdoserError(f"{path} can't be read: {why}")))


def formatted_text(path: Path, data: bytes) -> Edit:
    """Propose the layout of all for the bytes of a file; see `formatted`."""
    before = _parsed(path, data)
    text = data.decode()
    bom = _BOM if text.startswith(_BOM) else ""
    body = text.removeprefix(_BOM)
    newline = "\r\n" if "\r\n" in body else "\n"
    after = bom + laid_out(body.replace("\r\n", "\n").replace("\r", "\n")).replace("\n", newline)
    try:
        other = difference(plain_data(before), plain_data(_parsed(path, after.encode())))
    except SpecError as error:
        raise UpdoserError(
            f"{path} can't be formatted: what would come out can't be read ({error.problems[0].message})",
            hint="write what stands there in a plainer way",
        ) from error
    if other is not None:
        raise UpdoserError(
            f"{path} can't be formatted: `{'.'.join(other)}` would be another value",
            hint="write what stands there in a plainer way",
        )
    return Edit(path, text, after)


def _parsed(path: Path, data: bytes) -> Map:
    problems: list[Problem] = []
    tree = parse(data, problems, str(path), path.absolute().parent)
    if problems:
        raise SpecError(problems)
    return tree
