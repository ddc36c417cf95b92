"""What the state holds back from a listing is only what nobody asked for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from reconciler.model.client import Client, Installed, Profile
from reconciler.model.spec import ComponentSpec, Hold, InventorySpec, PluginConfig
from reconciler.observe import listing
from reconciler.observe.listing import Query, list_page
from reconciler.present.listing_form import listing_document
from reconciler.storage.observations import Observation
from reconciler.storage.sieve import Sieve
from reconciler.storage.sifting import Sifter
from reconciler.workspace import Workspace
from tests.fakes import NOW, make_component
from tests.postgres import BOTH
from tests.unit.workbench import COMPONENT, Bench, Opened

BENCHES_ON = BOTH

NAMES = ("a", "A1", "a1", "ab", "a%b", "a_b", "b[x]", "zé", "ä", "z", "z\uffff", "z\U0010ffff", "z\U0010ffffz")
LISTED = ("a1", "b", "zz")
"""Names that the spec has itself; the state may have one of them in another group."""
HELD = ("a*", "label=canary,&group=h", "!a1:label=canary", "[x-z]*", "group=?", "&zé", 'é"')
WHERE = (
    *("name=a*", "name=a?,z*", "name!=a*", "name=a%*", "name=?_b", "name=b[[]x]", "name=[!a]*", "name=z\U0010ffff*"),
    *("name=*é", "group=h", "group!=h", "group=[gh]", "label=canary", "label=*%*", "label=?é*", "label!=canary"),
    *("platform=linux*", "platform!=linux*", 'platform="*"', "platform=any"),
    *("seen=never", "seen<2d", "seen>2d", "seen>1d", "error~KAPUTT", "error~stop", "error!~stop", "error~again"),
    *("error~other", "error~way", "component=rules", "component!=rules", "version<2", "version=2", "version!=2"),
    *(f"state={word}" for word in ("updated", "outdated", "ahead", "missing", "damaged", "unknown", "failed", "held")),
    *("state=unreachable", "state=quarantined", "state!=unknown", "state!=updated,outdated", "state!=held"),
    *("current=yes", "current=no", "behind=0", "behind=1", "behind<1", "behind>=1", "behind<=1"),
    *("state=failed,missing", "state=held,updated", "state!=failed", "state=unknown,quarantined"),
)
PROFILES = st.builds(
    Profile,
    st.sampled_from(["linux-x86_64", "any"]),
    st.lists(
        st.builds(
            Installed,
            st.sampled_from([COMPONENT, "tool"]),
            st.sampled_from(["1", "2", "3", "odd"]),
            st.sampled_from(["", "0" * 64]),
            damage=st.sampled_from(["", "gone"]),
        ),
        max_size=2,
        unique_by=lambda one: one.component,
    ).map(lambda found: tuple(sorted(found))),
    lineage=st.sampled_from(["", "", "another"]),
)
ROWS = st.fixed_dictionaries(
    {
        "error": st.sampled_from(["", "", "no connection: \u017ftop", "client failed: Kaputt", "other controller"]),
        "route": st.sampled_from(["direct", "direct", "proxy", "unreachable: no way"]),
        "failures": st.integers(0, 1),
        "quarantined": st.sampled_from([None, 1.0, (NOW + timedelta(hours=1)).timestamp()]),
        "seen_at": st.sampled_from([None, *(NOW.timestamp() - days * 86_400 for days in (0, 1, 2, 3))]),
        "machine": st.sampled_from([None, "", "m1"]),
    }
)
CLIENTS = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(
        st.sampled_from(["h", "i"]),
        st.sampled_from([(), ("canary",), ('é"', "a%b")]),
        st.one_of(st.none(), PROFILES),
        ROWS,
    ),
    min_size=9,
)


def fill(bench: Bench, clients: Any) -> None:
    for group in ("h", "i"):
        members = [
            Client(name, group, labels=labels) for name, (where, labels, *_) in clients.items() if where == group
        ]
        bench.state.sync_clients(group, members)
    looks = [
        Observation(client=name, profile=profile, free=1, error="", at=NOW)
        for name, (_group, _labels, profile, _row) in clients.items()
        if profile
    ]
    with bench.state._write() as connection:
        connection.exec_driver_sql("UPDATE clients SET fingerprint = NULL")
    bench.state.record_observations(looks)
    with bench.state._write() as connection:
        for name, (*_client, row) in clients.items():
            values = ", ".join(f"{column} = :{column}" for column in row)
            connection.execute(text(f"UPDATE clients SET {values} WHERE name = :name"), {**row, "name": name})


def pages(work: Workspace, where: str, size: int) -> Any:
    """Give all clients of whom conditions hold, read in pages of a size."""
    found: list[Any] = []
    after = ""
    while True:
        document = listing_document(list_page(work, Query(where=where, after=after, size=size)))
        found += document["clients"]
        after = document["next"]
        if not after:
            return found


class All(Sifter):
    """Holds nothing back."""

    asks_profiles = False

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.groups = tuple(given[1].groups)

    def bare(self) -> Sieve:
        return Sieve()


@pytest.fixture
def bench(opened: Opened) -> Bench:
    bench = opened({"g": 1, "h": 1, "i": 1})
    bench.release("2")
    bench.plan()
    groups = dict(bench.spec.groups)
    for name in ("h", "i"):
        listed = InventorySpec(PluginConfig("inventory", "csv", {}))
        groups[name] = replace(groups[name], clients=(), inventory=listed)
    groups["g"] = replace(groups["g"], clients=tuple(Client(name, "g") for name in LISTED))
    components = {**bench.spec.components, "tool": ComponentSpec(make_component("tool"))}
    bench.spec = replace(bench.spec, groups=groups, components=components)
    return bench


@settings(max_examples=5)
@given(
    CLIENTS,
    st.lists(st.lists(st.sampled_from(WHERE), min_size=1, max_size=2).map(" ".join), min_size=12, max_size=12),
    st.lists(st.sampled_from(HELD), max_size=2),
    st.sets(st.sampled_from(NAMES), max_size=2),
)
def test_a_listing_has_all_that_its_conditions_hold_of_whatever_the_state_holds_back(
    bench: Bench, clients: Any, conditions: Any, held: Any, failed: Any
) -> None:
    fill(bench, clients)
    bench.spec = replace(bench.spec, holds=tuple(Hold(pattern, "moving") for pattern in held))
    said = {name: [(COMPONENT, "2", "try again")] for name in failed}
    with pytest.MonkeyPatch.context() as patch, bench.work() as work:
        ruler = listing.make_ruler(work)
        patch.setattr(listing, "make_ruler", lambda _work: ruler)
        patch.setattr(type(bench.state), "failed_in_rollouts", lambda _state, _components: said)
        for where in conditions:
            found = pages(work, where, size=4)
            with pytest.MonkeyPatch.context() as bare:
                bare.setattr(listing, "Sifter", All)
                assert found == pages(work, where, size=100), where
