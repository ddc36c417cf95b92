"""Numbers as people read them, wherever a sentence with one is made."""

from __future__ import annotations


def count_text(number: int, noun: str) -> str:
    """Write a number with its noun: `1 client`, `48 212 clients`."""
    return f"{number_text(number)} {noun}{'' if number == 1 else 's'}"


def number_text(number: int) -> str:
    """Write a number with thin groups of three digits: `48 212`."""
    return f"{number:,}".replace(",", " ")
