"""What the attacks draw: the same in each run of the suite; other things, and more of them, with `make explore`."""

import os
from random import Random, SystemRandom

MORE = int(os.environ.get("EXPLORE", "0"))
"""How many times as many rounds an exploration does; 0 in a run of the suite."""


def rounds(few):
    """Give the number of rounds: `few` in a run of the suite, more in an exploration."""
    return few * (MORE or 1)


def draw_of(name):
    """Give the random choices of a test, and the seed that draws them again (EXPLORE_SEED)."""
    seed = os.environ.get("EXPLORE_SEED") or (str(SystemRandom().randrange(10**9)) if MORE else "0")
    return Random(f"{name} {seed}"), seed
