"""What updoser shows of a made fleet is as somebody looked at it last: `python -m docs.make` makes tests/golden.

A document of an earlier form that can't be shown any more is made anew by the same.
"""

import difflib
import re
from typing import TYPE_CHECKING, Any

import pytest

from docs.make import captures
from reconciler.present.look import Look
from reconciler.present.render import render

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = captures.kept()
of_each = pytest.mark.parametrize(("name", "document"), sorted(DOCUMENTS.items()), ids=sorted(DOCUMENTS))


def kept(name: str) -> list[str]:
    """Give the lines of a capture as they were last."""
    path: Path = captures.GOLDEN / name
    return path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []


@of_each
def test_what_is_shown_is_as_it_was_looked_at_last(name: str, document: Any) -> None:
    difference = "".join(
        line
        for file, text in captures.captures({name: document}).items()
        for line in difflib.unified_diff(kept(file), text.splitlines(keepends=True), file, "now")
    )
    assert not difference, f"look at it, and keep it by `python -m docs.make`:\n{difference}"


def test_no_capture_is_left_that_nothing_makes() -> None:
    there = {path.name for path in captures.GOLDEN.iterdir() if path.is_file()}
    assert there == set(captures.captures(DOCUMENTS))


@of_each
def test_no_line_is_wider_than_the_terminal(name: str, document: Any) -> None:
    view = captures.view_of(name)
    for width in (60, 80, 100) if view.fits else ():
        narrow = render(document, "text", view, look=Look(width))
        assert max(map(len, narrow.splitlines())) <= width
        assert not [line for line in narrow.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize("name", captures.COLOURED)
def test_colours_change_nothing_but_the_look_and_go_on_in_the_next_line(name: str) -> None:
    found = captures.captures({name: DOCUMENTS[name]})
    coloured = found[f"{name}.80.colour.txt"]
    assert re.sub(r"\x1b\[\d+m", "", coloured) == found[f"{name}.80.txt"]
    if name == "plan-halt":
        assert "\x1b[1m  deferred " in coloured
        assert "\x1b[31mHalted: " in coloured
