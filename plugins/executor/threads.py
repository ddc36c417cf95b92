"""Work on clients with threads of this process: a client is mostly waited for, and threads wait cheaply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from reconciler.contracts import Context, Crew, Hands

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Works on clients with threads of this process. There is nothing to set.",
    "properties": {},
    "additionalProperties": False,
}


class Threads:
    """The `Executor` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        del options, context

    def open(self, hands: Hands, forks: int) -> AbstractContextManager[Crew]:
        """Have so many threads ready; each is started when it is needed."""
        return hands.threads(forks)


TRAITS = Traits()
PLUGIN = Threads
