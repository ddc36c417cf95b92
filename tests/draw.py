"""What tests draw: the same in each run of the suite; other things, and more of them, with `make explore`."""

from __future__ import annotations

import os
from collections import defaultdict
from random import Random, SystemRandom
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MORE = int(os.environ.get("EXPLORE", "0"))
"""How many times as many rounds an exploration does; 0 in a run of the suite."""

T = TypeVar("T")


def rounds(few: int) -> int:
    """Give the number of rounds: `few` in a run of the suite, more in an exploration."""
    return few * (MORE or 1)


def spread(cases: Iterable[T], few: int) -> list[T]:
    """Give `few` of the cases, evenly spread from the first to the last; in an exploration, all of them."""
    cases = list(cases)
    if MORE or len(cases) <= few:
        return cases
    return [cases[round(number * (len(cases) - 1) / (few - 1))] for number in range(few)]


def draw_of(name: str) -> tuple[Random, str]:
    """Give the random choices of a test, and the seed that draws them again (EXPLORE_SEED)."""
    seed = os.environ.get("EXPLORE_SEED") or (str(SystemRandom().randrange(10**9)) if MORE else "0")
    return Random(f"{name} {seed}"), seed


def draw_properties() -> None:
    """Choose how hypothesis draws the examples of properties, before any of them is read."""
    # A machine with other work to do is slow; and a folder that examples share is one that commands share.
    fine = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
    settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=fine)
    settings.register_profile("explore", deadline=None, suppress_health_check=fine, print_blob=True)
    settings.load_profile("explore" if MORE else "suite")


def draw_more(test: object) -> None:
    """Have an exploration draw more examples of a property than it asks for."""
    key = "_hypothesis_internal_use_settings"  # hypothesis has no other way to change what a decorator said
    if MORE and (asked := getattr(test, key, None)) is not None:
        setattr(test, key, settings(asked, max_examples=rounds(asked.max_examples)))


def shell_of(item: pytest.Item) -> str:
    """Give the shell of a test that runs on each, and "" for other tests."""
    return str(item.callspec.params.get("machine", "")) if hasattr(item, "callspec") else ""


def shells_left_out(items: Sequence[pytest.Item]) -> set[pytest.Item]:
    """Give what a run of the suite leaves out of the tests that run on each shell: it takes busybox, and one other.

    Those other than busybox have the same tools, and take turns. What shells do differently is marked `each_shell`,
    and the contract of transports is held on each of them.
    """
    tests: dict[str, dict[str, pytest.Function]] = defaultdict(dict)
    for item in items:
        if MORE or not isinstance(item, pytest.Function):
            continue
        if shell_of(item) not in {"", "busybox sh"} and not item.get_closest_marker("each_shell"):
            rest = {name: value for name, value in item.callspec.params.items() if name != "machine"}
            tests[f"{item.path.name} {item.originalname} {sorted(rest.items())}"][shell_of(item)] = item
    left_out: set[pytest.Item] = set()
    for name, on in tests.items():
        chosen = sorted(on)[crc32(name.encode()) % len(on)]
        left_out.update(item for shell, item in on.items() if shell != chosen)
    return left_out
