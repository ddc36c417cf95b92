"""Writes what is made from the code and the schemas: the pages of docs/reference, and the man pages; and what is shown.

    python -m docs.make

What the code and the schemas say is the only source. What is made of them is committed, and tests hold it to them; so a
wheel is built without the packages that updoser needs. What updoser shows of a made fleet is written into the examples
of plans, and into the captures of tests/golden.
"""

from __future__ import annotations

from docs.make import captures, examples
from docs.make.facts import ROOT
from docs.make.manpages import manpages
from docs.make.pages import write_anew
from docs.make.references import references


def main() -> None:
    """Write them all, and take away those that are no more."""
    for folder, made in ((ROOT / "docs/reference", references()), (ROOT / "man", manpages())):
        for name, text in made.items():
            write_anew(folder / name, text)
        for path in folder.rglob("*.*"):
            if path.is_file() and str(path.relative_to(folder)) not in made:
                path.unlink()
    captures.write()
    write_anew(examples.PAGE, examples.page(examples.PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
