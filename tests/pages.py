"""The pages that users read, and the examples on them: found by themselves, so that a new page is held to all rules.

An example is a fenced block. The comment before it, which no reader sees, says what is done with it:

    <!-- spec:hq -->               a name by which a test takes it: `example("spec:hq")`
    <!-- run:demo -->              its commands run one after the other on the demo, and print what stands there
    <!-- not run: it needs … -->   why no test can run it

YAML without a comment is a spec, a catalog, or a part of a spec, and must be a valid one.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
NOT_RUN = "not run: "
_FENCE = re.compile(r"(?:^ *<!-- ([^\n]+) -->\n)?^( *)```(\w*)[^\n]*\n(.*?)^\2```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A fenced block of a page, without the indentation of the list that it stands in; `line` is that of its fence."""

    page: Path
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The calls of updoser in it, without the word `updoser`; empty where it isn't a shell's."""
        if self.language not in {"sh", "console"}:
            return ()
        prompt = "$ " if self.language == "console" else ""
        lines = self.text.replace("\\\n", " ").splitlines()
        words = [shlex.split(line.removeprefix(prompt), comments=True) for line in lines if line.startswith(prompt)]
        ends = re.compile(r"\||&&|\|\||[012]?[<>].*")
        return tuple(
            tuple(takewhile(lambda word: not ends.fullmatch(word), line[1:]))
            for line in words
            if line[:1] == ["updoser"]
        )

    @property
    def prints(self) -> str:
        """What a console shows after its command."""
        return self.text.partition("\n")[2]


@cache
def pages() -> tuple[Path, ...]:
    """Give all pages: README, CONTRIBUTING, and what is below docs."""
    return ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))


@cache
def examples() -> tuple[Example, ...]:
    """Give the examples of all pages in their order."""
    found = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            mark, _, language, inside = match.groups()
            line = text.count("\n", 0, match.start(3)) + 1
            found.append(Example(page, line, language, mark or "", dedent(inside)))
    return tuple(found)


def example(mark: str) -> Example:
    """Give the one example with a mark."""
    [found] = marked(mark)
    return found


def with_catalog(text: str, folder: Path, replaced: Mapping[str, str]) -> str:
    """Give a spec whose one bundled catalog lies in its folder instead, for other paths on clients: from -> to."""
    (name,) = re.findall(r"^catalogs: \[(\w+)\]$", text, re.MULTILINE)
    catalog = (ROOT / "plugins" / "catalog" / f"{name}.yaml").read_text(encoding="utf-8")
    for before, after in replaced.items():
        assert before in catalog, before
        catalog = catalog.replace(before, after)
    (folder / f"{name}.yaml").write_text(catalog, encoding="utf-8")
    return text.replace(f"catalogs: [{name}]", f"catalogs: [{name}.yaml]")


def marked(mark: str) -> Sequence[Example]:
    """Give the examples with a mark in their order."""
    return [found for found in examples() if found.mark == mark]
