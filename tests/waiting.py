"""Waiting for what happens, in place of a time in which it should have happened: a busy machine may take it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import pytest

PATIENCE = 240.0
"""Seconds after which something won't happen any more, however busy the machine is."""
PAUSE = 0.02

T = TypeVar("T")


def until(is_so: Callable[[], T], process: subprocess.Popen[Any] | None = None, *, patience: float = PATIENCE) -> T:
    """Wait until something is so, and give what `is_so` said then; a process that is to bring it about must live.

    Raises:
        AssertionError: It didn't happen in time, or the process has ended without it.
    """
    give_up = time.monotonic() + patience
    while True:
        ended = process is not None and process.poll() is not None
        if said := is_so():
            return said
        assert not ended, "it ended before that came about"
        assert time.monotonic() < give_up, f"it did not come about within {patience:.0f} s"
        time.sleep(PAUSE)


def late_once(happened: Callable[[], bool], patch: pytest.MonkeyPatch, *modules: Any) -> None:
    """Have no time pass for modules that read the clock until something happened, and more than they wait for then.

    What is to be late must have begun by then, and how long that takes depends on the machine.
    """
    clock = SimpleNamespace(monotonic=lambda: 1e9 if happened() else 0.0)
    for module in modules:
        patch.setattr(module, "time", clock)
