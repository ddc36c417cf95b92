"""What is worked out once for all clients that get the very same."""

from typing import Any

from reconciler.execute.alike import Alike


def counting(*, most: int = 1000) -> tuple[Any, list[Any]]:
    """Give what remembers, and a list of how many things each was worked out of."""
    made: list[int] = []

    def make(*things: Any) -> int:
        made.append(len(things))
        return len(made)

    return Alike(make, most), made


def test_the_very_same_things_are_worked_out_once_and_equal_ones_each() -> None:
    alike, made = counting()
    one, other = ([1], [1])
    assert [alike(one), alike(one), alike(other), alike(one, other), alike(one)] == [1, 1, 2, 3, 1]
    assert len(made) == 3


def test_texts_are_the_same_that_say_the_same() -> None:
    alike, _made = counting()
    steps = ()
    assert alike(steps, str(b"group", "ascii")) == alike(steps, str(b"group", "ascii"))
    assert alike(steps, "group") != alike(steps, "other")


def test_no_others_take_the_identity_of_things_that_are_gone() -> None:
    alike, made = counting()
    assert [alike([at]) for at in range(100)] == list(range(1, 101))
    assert len(made) == 100


def test_only_so_much_is_remembered() -> None:
    alike, made = counting(most=2)
    things: list[list[int]] = [[], [], []]
    for _ in range(2):
        for thing in things:
            alike(thing)
    assert len(made) == 6
