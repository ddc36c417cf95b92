"""Clients found by what they are like, from what the controller wrote down: just those whom a listing has."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.formats.where import conditions_of, parse_where
from reconciler.model.client import Installed, Profile
from reconciler.model.question import Question
from reconciler.model.report import JournalEntry
from reconciler.model.spec import ComponentSpec, Hold, InventorySpec, PluginConfig
from reconciler.observe.judging import keep_index
from reconciler.observe.listing import Query, list_page
from reconciler.observe.observed import Sight, observe
from reconciler.planning import status_of
from reconciler.present.listing_form import found_document
from reconciler.present.listing_text import csv_chunks
from reconciler.storage import found, sifting
from reconciler.storage.judging import Behind
from reconciler.storage.observations import Observation
from reconciler.storage.outcomes import Fared
from reconciler.storage.state import State
from reconciler.storage.tables import CLIENTS as ROWS
from tests.fakes import NOW, make_component
from tests.postgres import BOTH
from tests.unit.test_sifting import CLIENTS, HELD, NAMES, WHERE, All, fill
from tests.unit.workbench import COMPONENT, Bench, Opened

BENCHES_ON = BOTH

BECAUSE = (
    "known=yes",
    "known=no",
    *("current=yes", "current=no", "behind=0", "behind=1,2", "behind<2", "behind<=1", "behind>1", "behind>=1"),
    "version=missing",
    "version!=missing",
    "reason=connection",
    "reason=client,controller",
    "reason=no_way",
    "reason=other,disk",
    "reason!=connection",
)
SEEN = Sight(refresh=False, settings=False)
POLICIES: tuple[Any, ...] = (
    *({}, {"version": "1"}, {"version": "2"}, {"version": "7"}, {"behind": 1}, {"min_age": timedelta(days=9)}),
    *({"blocked": {"2": "bad"}}, {"snapshot": NOW.date()}),
)
WELL = {"error": "", "route": "direct", "failures": 0, "quarantined": None, "seen_at": NOW.timestamp(), "machine": None}
WORDS = ("updated", "pending", "outdated", "ahead", "unknown", "deferred")


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
    st.sampled_from([0, 1000]),
)
def test_just_those_clients_are_found_that_a_listing_has(
    bench: Bench, clients: Any, conditions: Any, held: Any, failed: Any, step: float, texts: int
) -> None:
    bench.spec = replace(bench.spec, holds=tuple(Hold(pattern, "moving") for pattern in held))
    said = {name: [Behind(COMPONENT, "2", "try again")] for name in failed}
    with pytest.MonkeyPatch.context() as patch, bench.work() as work:
        patch.setattr(type(bench.state), "failed_in_rollouts", lambda _state, _components: said)
        patch.setattr(found, "_STEP", step)
        patch.setattr(found, "_MAX_LABEL_TEXTS", texts)
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
                bare.setattr(sifting, "Sifter", All)
                bare.setattr(found.FoundRecords, "_ways", lambda *_asked: [found.Way()])
                assert some == shown(every(bench, where)), where


def count(bench: Bench, *address: tuple[str, str]) -> int:
    found = bench.state.count_clients(conditions_of(address))
    assert not found.more
    return found.number


@settings(max_examples=6)
@given(
    CLIENTS,
    st.sampled_from(POLICIES),
    st.sets(st.sampled_from(NAMES), max_size=3),
    st.booleans(),
)
def test_behind_each_figure_of_a_status_are_as_many_clients(
    bench: Bench, clients: Any, policy: Any, failed: Any, before: bool
) -> None:
    fill(bench, clients)
    spec = bench.spec
    bench.state.forget_failures((COMPONENT, "2", ""))
    with bench.work() as work:
        if before:  # the wish is another one since
            judge(bench, work)
    wish = replace(spec.components[COMPONENT], **policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "spec", replace(spec, components={**spec.components, COMPONENT: wish}))
        for name in sorted(failed):
            bench.state.record_fared([(name, Fared((COMPONENT, "2", ""), "try again"))])
            bench.state.journal("r", [outcome(name)])
        with bench.work() as work:
            judge(bench, work)
            status = status_of(work, SEEN)
    assert count(bench, ("current", "yes")) == status.current
    assert count(bench, ("current", "no")) == status.clients - status.current
    for group, entries in [("", status.components), *status.groups.items()]:
        where = [("group", group)] if group else []
        for entry in entries:
            of = ("component", entry.id), *where
            words = {word: count(bench, *of, ("state", word)) for word in WORDS}
            assert words == {word: getattr(entry, word) for word in WORDS}, of
            late = sum(entry.lags.values())
            up = count(bench, *of, ("state", "updated,outdated"), ("behind", "<=3"))
            assert up == entry.updated + late, of
            assert count(bench, *of, ("state", "outdated"), ("behind", ">3")) == entry.outdated - late, of
            assert {lag: count(bench, *of, ("behind", str(lag))) for lag in entry.lags} == entry.lags, of
            for version, number in entry.versions.items():
                assert count(bench, *of, ("version", version), ("known", "yes")) == number, (of, version)
    assert {one.reason: one.clients for one in status.troubles} == {
        one.reason: count(bench, ("reason", one.reason)) for one in status.troubles
    }
    assert count(bench, ("state", "quarantined")) == len(status.quarantined)
    assert count(bench) == status.clients


def outcome(name: str) -> JournalEntry:
    return JournalEntry(
        client=name,
        group="h",
        component=COMPONENT,
        from_version="1",
        to_version="2",
        outcome="failed",
        message="try again",
        bytes=0,
        at=NOW,
        reason="disk",
    )


@pytest.fixture
def fleet(opened: Opened) -> Bench:
    """Give a fleet that was judged: g-0 is updated, g-1 silent, g-2 failed, all others are outdated."""
    bench = opened({"g": 3, "h": 2})
    bench.release("2")
    bench.plan()
    bench.apply(limit="g-0")
    bench.machines["g-2"].broken = {COMPONENT}
    bench.apply(limit="g-2")
    bench.machines["g-1"].unreachable = True
    bench.plan()
    with bench.work() as work:
        judge(bench, work)
    return bench


def test_a_console_finds_nobody_before_the_controller_looked_and_says_so(opened: Opened) -> None:
    state = opened({"g": 1}).state
    assert state.find_clients(()) == found.FoundClients(None)
    assert state.count_clients(()).number == 0
    assert state.client_in_full("g-0").listed is None


def test_a_console_finds_clients_in_a_state_that_it_may_not_write(fleet: Bench) -> None:
    with State.open_shared(fleet.url, clock=lambda: NOW) as console:
        page = console.find_clients(conditions_of([("state", "outdated")]), limit=1)
        assert ([one.name for one in page.clients], page.after, page.at) == (["g-2"], "g-2", NOW)
        rest = console.find_clients(conditions_of([("state", "outdated")]), after=page.after)
        assert ([one.name for one in rest.clients], rest.after) == (["h-0", "h-1"], "")
        assert console.count_clients((), most=2) == found.FoundCount(2, more=True)
        with pytest.raises(ValueError, match="there is no component `rule`; did you mean `rules`"):
            console.find_clients(conditions_of([("component", "rule")]))


def test_a_new_release_makes_clients_outdated_though_none_of_them_changed(fleet: Bench) -> None:
    assert names(fleet, "state=updated") == ["g-0"]
    fleet.release("3")
    with fleet.work() as work:
        keep_index(work, observe(work, Sight(contact=False)))
    assert names(fleet, "state=updated") == []
    assert names(fleet, "component=rules version=2 state=outdated") == ["g-0"]


def test_a_client_in_full_says_what_it_has_and_what_is_in_its_way(fleet: Bench) -> None:
    full = fleet.state.client_in_full("g-2")
    assert (full.listed.state, full.listed.reason, full.client.install_root) == ("failed", "client", "/r/g-2")
    assert full.profile.by_component[COMPONENT].version == "1"
    assert (full.left, full.same_machine) == (None, ())
    assert fleet.state.client_in_full("nobody") is None


def test_all_clients_of_a_condition_are_one_csv_whose_pages_are_never_together_in_memory(fleet: Bench) -> None:
    read: list[int] = []

    def documents() -> Iterator[Any]:
        for page in fleet.state.client_pages(parse_where("known=yes"), 2):
            read.append(len(page.clients))
            yield found_document(page.clients, NOW, where="known=yes", after=page.after)

    chunks = csv_chunks(documents())
    text = next(chunks) + next(chunks)
    assert read == [2]
    rows = list(csv.reader((text + "".join(chunks)).splitlines()))
    assert rows[0][:2] == ["client", "group"]
    assert [row[0] for row in rows[1:]] == ["g-0", "g-2", "h-0", "h-1"]
    assert {len(row) for row in rows} == {len(rows[0])}


def test_a_version_that_is_none_of_its_scheme_is_found_as_it_is_written(bench: Bench) -> None:
    odd = Installed("rules", "odd", "")
    fill(bench, {name: ("h", (), Profile("any", (odd,) if name == "b" else ()), WELL) for name in "ab"})
    with bench.work() as work:
        judge(bench, work)
    assert names(bench, "component=rules version=missing known=yes") == ["a"]
    page = bench.state.find_clients(conditions_of([("version", "odd")]))
    assert [one.name for one in page.clients] == ["b"]
    with pytest.raises(ValueError, match="is not a version"):
        bench.state.find_clients(conditions_of([("version", "odder")]))


def test_who_left_or_moved_counts_where_the_last_look_saw_it_though_nothing_was_carried_out(fleet: Bench) -> None:
    groups = dict(fleet.spec.groups)
    g, h = groups["g"], groups["h"]
    gone, moved = g.clients[0], replace(g.clients[2], group="h")
    groups |= {"g": replace(g, clients=g.clients[1:2]), "h": replace(h, clients=(*h.clients, moved))}
    fleet.spec = replace(fleet.spec, groups=groups)
    with fleet.work() as work:
        seen = observe(work, Sight(forks=1))
        keep_index(work, seen)
        status = status_of(work, SEEN)
    assert gone.name not in names(fleet)
    assert names(fleet, "group=h") == [moved.name, "h-0", "h-1"]
    assert len(names(fleet)) == status.clients == 4


def test_what_an_engine_has_loaded_decides_what_clients_are_found_as(opened: Opened) -> None:
    bench = opened({"g": 3})
    bench.plan()
    bench.component(loaded=Question("engine --version"))
    said: Any = ({"loaded": "1"}, {"loaded": "0"}, {"unsaid": "it is busy"})
    (profile,) = bench.state.profiles().values()
    (installed,) = profile.installed
    bench.state.record_observations(
        [
            Observation(
                client=f"g-{at}",
                profile=replace(profile, installed=(replace(installed, **more),)),
                free=1,
                error="",
                at=NOW,
            )
            for at, more in enumerate(said)
        ]
    )
    with bench.work() as work:
        judge(bench, work)
        (status,) = status_of(work, SEEN).components
    assert (names(bench, "state=updated"), names(bench, "state=pending")) == (["g-0"], ["g-1", "g-2"])
    assert (status.updated, status.pending) == (1, 2)


@pytest.mark.parametrize(("texts", "few"), [(1000, 3000), (1000, 1), (1, 3000)])
def test_clients_are_found_by_labels_whether_few_or_many_have_such(
    fleet: Bench, monkeypatch: pytest.MonkeyPatch, texts: int, few: int
) -> None:
    monkeypatch.setattr(found, "_MAX_LABEL_TEXTS", texts)
    monkeypatch.setattr(found, "_FEW", few)
    labels = {"g-1": '["canary"]', "g-2": '["canary", "site-north"]', "h-1": '["site-south"]'}
    with fleet.state._write() as connection:
        for name, text in labels.items():
            connection.execute(ROWS.update().where(ROWS.c.name == name).values(labels=text))
    for where, expected in {
        "label=canary": ["g-1", "g-2"],
        "label=site-*": ["g-2", "h-1"],
        "label=canary label=site-north": ["g-2"],
        "label=canary label!=site-*": ["g-1"],
        "label=canary,site-south group=h": ["h-1"],
        "label=nobody": [],
    }.items():
        assert names(fleet, where) == expected, where
