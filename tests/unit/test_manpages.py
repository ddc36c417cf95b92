"""The man pages: all commands and keys are there as they are now, and `man` shows them as they were meant."""

import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from docs.make.facts import commands, keys_below, schema_of
from docs.make.manpages import manpages
from docs.make.roff import as_is, bold, prose
from reconciler.cli.root import cli
from tests.waiting import PATIENCE

MAN = Path(__file__).parents[2] / "man"
PAGES = manpages()
ODD = (
    ".so /etc/passwd",
    "'\\\" a comment",
    "\\fBnot bold\\fR and \\*[name] and \\\\",
    "C:\\new\\table ~/.ssh/config a^b --no-exec -vv",
    "\"quoted\" and 'single' and <name> and {{ name }} and %d",
    "10 % at most → 5 GiB; größer 日本",
)


def shown(*command: str | Path, text: str = "") -> str:
    """Give what `man` shows, without what marks bold text; a warning is a failure."""
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "500"}
    done = subprocess.run(
        ["man", "--warnings=w", "-P", "cat", "-l", *command],
        input=text, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return re.sub(r".\x08|\x1b\[[\d;]*m", "", done.stdout)


def test_the_man_pages_say_what_the_code_and_the_schemas_say() -> None:
    there = {
        str(path.relative_to(MAN)): path.read_text(encoding="utf-8") for path in MAN.rglob("*.*") if path.is_file()
    }
    assert sorted(there) == sorted(PAGES)
    stale = [name for name, text in PAGES.items() if there[name] != text]
    assert stale == [], "`make docs` writes them"


@pytest.mark.needs("man")
def test_man_shows_each_command_with_its_options_and_each_key() -> None:
    by_page: dict[str, list[str]] = {}
    for words, command in commands(cli):
        names = [name for part in command.params if isinstance(part, click.Option) for name in part.opts]
        by_page.setdefault(f"man1/updoser-{words.partition(' ')[0]}.1", []).extend([f"updoser {words}", *names])
    by_page["man5/updoser.yaml.5"] = [key.path for key in keys_below(schema_of("updoser"))]
    by_page["man1/updoser.1"] = [f"{Path(name).stem}(1)" for name in by_page if name.endswith(".1")]
    assert sorted(by_page) == sorted(PAGES)
    heads = [f"{Path(name).stem.upper()}({name[-1]})" for name in by_page]
    text = shown(*(MAN / name for name in by_page))
    starts = [text.index(f"\n{head} " if at else f"{head} ") for at, head in enumerate(heads)]
    assert starts == sorted(starts)
    for said, start, end in zip(by_page.values(), starts, [*starts[1:], len(text)], strict=True):
        page = " ".join(text[start:end].split())
        assert [word for word in said if word not in page] == []


@pytest.mark.needs("man")
@pytest.mark.parametrize("as_what", ["prose", "code", "kept"])
def test_whatever_a_text_says_is_shown_and_not_obeyed(as_what: str) -> None:
    lines: list[str]
    page = ['.TH "ODD" 1 "" "" ""', ".SH NAME", r"odd \- odd"]
    for text in ODD:
        lines = {"prose": prose(text), "code": [bold(text)], "kept": as_is([text])}[as_what]
        page += [".PP", *lines]
    seen = [line.strip() for line in shown("-", text="\n".join(page) + "\n").splitlines() if line.strip()]
    typographic = [line.replace("’", "'") for line in seen] if as_what == "prose" else seen
    assert typographic[3:-1] == list(ODD)
