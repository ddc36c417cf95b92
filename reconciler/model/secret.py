"""Secrets are references: where one stands, never what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is, never what it is: an environment variable, a file, or the output of a program."""

    kind: Literal["env", "file", "command", "url"]
    """`env`, `file` or `command`; `url`: the part of a URL in the environment that `value` names."""
    value: str | tuple[str, ...]

    def __str__(self) -> str:
        shown = self.value if isinstance(self.value, str) else " ".join(self.value)
        return f"{{{self.kind}: {shown}}}"
