"""Secrets as a spec names them, and what was resolved masked wherever it would be shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.present.render import spellings
from reconciler.resolving import is_reference as is_reference  # noqa: PLC0414 - who reads a spec has it from here
from reconciler.resolving import reference as reference  # noqa: PLC0414

if TYPE_CHECKING:
    from collections.abc import Iterator


MASK = "********"
_MIN_MASKED = 4
_CUT = re.compile(r"\u2026|\\u2026")
"""What stands where a text was cut, as it is and in JSON."""


def variables_of(value: Any) -> Iterator[str]:
    """Give the variables of the environment that references in plain data name."""
    if is_reference(value):
        if isinstance(value.get("env"), str):
            yield value["env"]
        return
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(entry, (dict, list)):
            yield from variables_of(entry)


class Masker:
    """Knows the secrets that were resolved, and takes them out of texts."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: set[str] = set()

    def add(self, secret: str) -> None:
        """Mask a secret from now on: as a whole and each of its lines; short ones would mask half of the text.

        Renderers escape what they show, so each part is masked in all the ways in which they spell it.
        """
        for part in (secret, *secret.splitlines()):
            if len(part) >= _MIN_MASKED:
                self._known |= spellings(part)

    def mask(self, text: str) -> str:
        """Give a text without the secrets, and without the beginnings of those within which it was cut."""
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, MASK)
        if not self._known or not _CUT.search(text):
            return text
        shown, end = [], 0
        for cut in _CUT.finditer(text):
            shown += [self._begun(text[end : cut.start()]), cut[0]]
            end = cut.end()
        return "".join([*shown, text[end:]])

    def _begun(self, text: str) -> str:
        """Mask what a text ends with, if a secret begins so."""
        starts = []
        for secret in self._known:
            start = text.find(secret[:_MIN_MASKED], max(len(text) - len(secret), 0))
            while start >= 0 and not secret.startswith(text[start:]):
                start = text.find(secret[:_MIN_MASKED], start + 1)
            starts += [start] if start >= 0 else []
        return f"{text[: min(starts)]}{MASK}" if starts else text
