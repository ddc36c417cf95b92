"""What is worked out once for all clients that get the very same: most of a fleet is a few cohorts.

Things are told apart by their identity, which costs nothing however large they are; texts by what they say. They are
kept together with what was made of them, so that no others can take their identity meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 1000
"""Things that are remembered because the next clients are likely to get the same."""
Given = ParamSpec("Given")
MadeT = TypeVar("MadeT")


class Alike(Generic[Given, MadeT]):
    """Remembers what a function made of the very same things. Used from one thread."""

    def __init__(self, make: Callable[Given, MadeT], most: int = MOST) -> None:
        """Take the function; its arguments never change."""
        self._make = make
        self._most = most
        self._made: dict[tuple[int | str, ...], tuple[object, MadeT]] = {}

    def __call__(self, *things: Given.args, **none: Given.kwargs) -> MadeT:
        """Give what is made of things."""
        key = tuple([thing if type(thing) is str else id(thing) for thing in things])
        known = self._made.get(key)
        if known is None:
            if len(self._made) >= self._most:
                self._made.clear()
            known = self._made[key] = cast("tuple[object, MadeT]", (things, self._make(*things, **none)))
        return known[1]
