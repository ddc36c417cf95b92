"""Writes what is made from the code and the schemas: the pages of docs/reference, and the man pages; and what is shown.

    python -m docs.make

What the code and the schemas say is the only source. What is made of them is committed, and tests hold it to them; so a
wheel is built without the packages that updoser needs. What updoser shows of a made fleet is written into the examples
of plans, and into the captures of tests/golden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.make import captures, examples
from docs.make.facts import ROOT
from docs.make.manpages import manpages
from docs.make.references import references

if TYPE_CHECKING:
    from pathlib import Path


def main() -> None:
    """Write them all, and take away those that are no more."""
    for folder, made in ((ROOT / "docs/reference", references()), (ROOT / "man", manpages())):
        for name, text in made.items():
            _write(folder / name, text)
        for path in folder.rglob("*.*"):
            if path.is_file() and str(path.relative_to(folder)) not in made:
                path.unlink()
    captures.write()
    _write(examples.PAGE, examples.page(examples.PAGE.read_text(encoding="utf-8")))


def _write(path: Path, text: str) -> None:
    """Write what isn't there yet: others may be reading it."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
