"""What the state remembers of relays, on both databases; and what a host is told to do from what it has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.execute.filling import order_for
from reconciler.model.relay import Held, RelaySeen, RelaySpec, relay_statuses
from reconciler.model.spec import PluginConfig

if TYPE_CHECKING:
    from reconciler.storage.state import State

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HELD = Held(free=1000, parts={"a" * 64: 10}, begun={"b" * 64: 5})
RELAY = RelaySpec(
    name="lyon", hosts=("one", "two"), serves="*", store="/r", transport=PluginConfig("transport", "local"), disk=100
)


def seen(host: str = "one", **more: Any) -> RelaySeen:
    return RelaySeen("lyon", host, **more)


def test_what_a_host_had_stays_known_when_it_does_not_answer_any_more(any_state: State) -> None:
    any_state.keep_relays([seen(at=NOW, held=HELD), seen("two", error="no connection: gone")])
    any_state.keep_relays([seen(error="no connection: off"), seen("two", at=NOW, held=Held(free=7))])
    assert any_state.relays() == {
        ("lyon", "one"): seen(at=NOW, held=HELD, error="no connection: off"),
        ("lyon", "two"): seen("two", at=NOW, held=Held(free=7)),
    }
    first, second = relay_statuses({"lyon": RELAY}, any_state.relays())
    assert (first.seen, first.parts, first.filled, first.free, first.limit) == (NOW, 1, 15, 1000, 100)
    assert (first.standby, first.error) == (False, "no connection: off")
    assert (second.standby, second.parts, second.error) == (True, 0, "")


def test_a_host_that_nobody_asked_yet_is_listed(any_state: State) -> None:
    statuses = relay_statuses({"lyon": RELAY}, any_state.relays())
    assert [(status.host, status.seen, status.filled) for status in statuses] == [("one", None, 0), ("two", None, 0)]


A, B, C, D = (letter * 64 for letter in "abcd")


@pytest.mark.parametrize(
    ("held", "useful", "drop", "hashed", "take", "begun"),
    [
        (Held(), (), set(), set(), {A: 60, B: 30}, {}),
        (Held(parts={A: 60}), (), set(), {A}, {B: 30}, {}),
        (Held(parts={A: 59}), (), set(), set(), {A: 60, B: 30}, {}),
        (Held(begun={A: 20, B: 31}), (), set(), set(), {A: 60, B: 30}, {A: 20}),
        (Held(parts={C: 5, D: 5}), (C,), {D}, set(), {A: 60, B: 30}, {}),
        (Held(parts={C: 5, D: 11}), (C, D), {D}, set(), {A: 60, B: 30}, {}),
        (Held(begun={C: 5}), (C,), {C}, set(), {A: 60, B: 30}, {}),
    ],
)
def test_a_host_keeps_what_is_of_use_and_takes_what_it_lacks(
    held: Held, useful: Any, drop: set[str], hashed: set[str], take: dict[str, int], begun: dict[str, int]
) -> None:
    order = order_for(RELAY, held, {A: 60, B: 30}, useful)
    assert set(order.drop) == drop
    assert set(order.held) == hashed
    assert dict(order.take) == take
    assert dict(order.begun) == begun
