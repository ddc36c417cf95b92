"""Makes docs/pictures/plan.svg: the demo's plan as a terminal shows it.

    python docs/make/pictures.py

The command is that of README, run on the demo after its first day; what it writes to a terminal is drawn as text. Equal
output gives an equal picture, and the picture loads nothing from elsewhere.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/pictures/plan.svg"
COLUMNS = 130
_MARGIN = 9
_BAR = 32
"""How high the bar of a window is, for which rich leaves room above the text."""
FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
FORM = """\
<svg class="rich-terminal" viewBox="0 0 {width} [{height}]" xmlns="http://www.w3.org/2000/svg" role="img">
<title>What updoser plan shows on a terminal</title>
<style>
.{unique_id}-matrix {{ font-family: FONT; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="BACKGROUND" width="{width}" height="[{height}]" rx="8"/>
<g transform="translate({terminal_x}, MARGIN)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def command() -> tuple[str, ...]:
    """Give the command whose output README shows."""
    line = re.search(r"^\$ updoser (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert line
    return tuple(shlex.split(line[1]))


def shown(folder: Path, arguments: tuple[str, ...]) -> str:
    """Run a command in a folder and give what it writes to a terminal, colours included."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    environment.pop("NO_COLOR", None)
    call = [sys.executable, "-m", "reconciler", *arguments]
    quiet = subprocess.DEVNULL
    with (
        open(ours, "rb", buffering=0) as screen,  # noqa: PTH123 - a descriptor has no path
        subprocess.Popen(call, cwd=folder, env=environment, stdin=quiet, stdout=theirs, stderr=quiet),
    ):
        os.close(theirs)
        written = bytearray()
        while part := _read(screen):
            written += part
    return written.decode().replace("\r\n", "\n")


def _read(screen: io.FileIO) -> bytes:
    try:
        return screen.read(65536) or b""
    except OSError:  # the other end is closed
        return b""


def picture(arguments: tuple[str, ...], text: str) -> str:
    """Draw a command and its output."""
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ updoser {shlex.join(arguments)}", style="bold"))
    console.print(Text.from_ansi(text.rstrip("\n")))
    form = (
        FORM.replace("FONT", FONT).replace("BACKGROUND", MONOKAI.background_color.hex).replace("MARGIN", f"{_MARGIN}")
    )
    svg = console.export_svg(theme=MONOKAI, code_format=form, unique_id="plan")
    svg = re.sub(r"\[([\d.]+)\]", lambda height: f"{float(height[1]) - _BAR:g}", svg, count=2)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    """Run the demo's first day, and draw the plan of its second."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "updoser.yaml", folder)
        apply = [sys.executable, "-m", "reconciler", "apply", "--auto-approve"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(apply, cwd=folder, env=environment, check=True, capture_output=True)
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(picture(command(), shown(folder, command())), encoding="utf-8")


if __name__ == "__main__":
    main()
