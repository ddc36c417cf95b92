"""Whatever a spec is made into, `validate` takes it or says what is wrong and where."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.attacks.specs import Shelf
from tests.draw import rounds

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

OURS = re.compile(r"\b(Odd|Map|Seq|Text|PosixPath)\(| object at 0x")
"""Words of Python for what stands in a file."""


def test_a_spoiled_spec_is_valid_or_each_of_its_problems_has_a_place(tmp_path: Path, draw: Random) -> None:
    shelf = Shelf(tmp_path)
    refused = 0
    for _ in range(rounds(300)):
        name, content = shelf.spoil(draw)
        error = shelf.judge(name, content)
        if error is not None:
            refused += 1
            assert error.problems, (name, content)
            assert all(problem.file and problem.message for problem in error.problems), (name, content, error)
            assert not any(OURS.search(problem.message) for problem in error.problems), (name, content, error)
    assert refused
