"""Clients found by what they are like, from what the controller wrote down: just those whom a listing has."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.formats.where import parse_where
from reconciler.model.spec import ComponentSpec, Hold, InventorySpec, PluginConfig
from reconciler.observe import listing
from reconciler.observe.judging import keep_index
from reconciler.observe.listing import Query, list_page
from reconciler.observe.observed import Sight, observe
from reconciler.storage import found
from reconciler.storage.judging import Behind
from tests.fakes import make_component
from tests.unit.test_sifting import CLIENTS, HELD, NAMES, WHERE, All, fill
from tests.unit.workbench import COMPONENT, Bench, Opened

BECAUSE = ("reason=connection", "reason=client,controller", "reason=no_way", "reason=other,disk", "reason!=connection")
SEEN = Sight(refresh=False, settings=False)
WORDS = ("updated", "outdated", "ahead", "unknown", "deferred")


@pytest.fixture
def bench(opened: Opened) -> Bench:
    bench = opened({"g": 1, "h": 1, "i": 1})
    bench.release("2")
    bench.plan()
    groups = dict(bench.spec.groups)
    for name in ("h", "i"):
        listed = InventorySpec(PluginConfig("inventory", "csv", {}))
        groups[name] = replace(groups[name], clients=(), inventory=listed, scan_method="smart" if name == "i" else None)
    components = {
        **bench.spec.components,
        "tool": ComponentSpec(replace(make_component("tool"), scan_methods=frozenset(["conventional"]))),
    }
    bench.spec = replace(bench.spec, groups=groups, components=components)
    return bench


def judge(bench: Bench, work: Any) -> None:
    """Have the controller write down what it knows after a round."""
    keep_index(work, observe(work, SEEN))


def every(bench: Bench, where: str, size: int = 100) -> Any:
    return [
        client
        for page in bench.state.client_pages(parse_where(where) if where else (), size)
        for client in page.clients
    ]


def names(bench: Bench, where: str = "", size: int = 100) -> list[str]:
    return [client.name for client in every(bench, where, size)]


def shown(clients: Any) -> Any:
    return [(one.name, one.group, one.state, one.why, one.reason, one.address, [*one.components]) for one in clients]


@settings(max_examples=4)
@given(
    CLIENTS,
    st.lists(
        st.lists(st.sampled_from([*WHERE, *BECAUSE]), min_size=1, max_size=3).map(" ".join), min_size=15, max_size=15
    ),
    st.lists(st.sampled_from(HELD), max_size=2),
    st.sets(st.sampled_from(NAMES), max_size=2),
    st.sampled_from([0.0, 1e-9, 1e9]),
)
def test_just_those_clients_are_found_that_a_listing_has(
    bench: Bench, clients: Any, conditions: Any, held: Any, failed: Any, step: float
) -> None:
    bench.spec = replace(bench.spec, holds=tuple(Hold(pattern, "moving") for pattern in held))
    said = {name: [Behind(COMPONENT, "2", "try again")] for name in failed}
    with pytest.MonkeyPatch.context() as patch, bench.work() as work:
        patch.setattr(listing, "failed_in_rollouts", lambda _work: said)
        patch.setattr(type(bench.state), "failed_in_rollouts", lambda _state, _components: said)
        patch.setattr(found, "_STEP", step)
        fill(bench, clients)
        judge(bench, work)
        for where in conditions:
            expected = list_page(work, Query(where=where, size=100)).clients
            assert shown(every(bench, where, size=4)) == shown(expected), where


@settings(max_examples=4)
@given(
    CLIENTS,
    CLIENTS,
    st.lists(st.lists(st.sampled_from([*WHERE, *BECAUSE]), min_size=1, max_size=2).map(" ".join), max_size=15),
    st.sampled_from([0.0, 1e9]),
)
def test_nobody_is_held_back_whose_profile_came_after_the_controller_looked(
    bench: Bench, before: Any, clients: Any, conditions: Any, step: float
) -> None:
    with pytest.MonkeyPatch.context() as patch, bench.work() as work:
        patch.setattr(found, "_STEP", step)
        fill(bench, before)
        judge(bench, work)
        fill(bench, clients)
        for where in conditions:
            some = shown(every(bench, where, size=4))
            with pytest.MonkeyPatch.context() as bare:
                bare.setattr(found, "Sifter", All)
                bare.setattr(found.FoundRecords, "_ways", lambda *_asked: [found.Way()])
                assert some == shown(every(bench, where)), where
