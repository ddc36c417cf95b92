"""Writes what was made, and only where it differs: checks and tests may be reading the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_anew(path: Path, text: str) -> None:
    """Write a file that isn't there yet, or has another text."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
