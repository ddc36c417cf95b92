"""What is asked of a client's running engines: which version of a component each has loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """A command that prints the version of a component that the running engine has loaded, as its last line.

    `run` is a text for sh, `timeout` its seconds in a look. With `within` (seconds), a switch is good only when the
    engine has loaded the version by then.
    """

    run: str
    timeout: float = TIMEOUT
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What one client is asked in a look: questions by component, and its `vars`, which they get as checks do."""

    questions: Mapping[str, Question] = field(default_factory=dict)
    vars: Mapping[str, str] = field(default_factory=dict)


NOTHING_ASKED = Asked()
