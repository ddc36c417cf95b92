"""What counts as updated: the figures of a status."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.client import Installed, Profile
from reconciler.model.offer import Offer, SourceReport, Withdrawal
from reconciler.model.plan import Basis, Cohort
from reconciler.model.question import Question
from reconciler.model.report import MAX_LAG, ComponentStatus, Traffic
from reconciler.model.spec import ComponentSpec, GroupSpec, PluginConfig, SourceSpec
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.ruler import Allowance
from reconciler.planner.status import make_status, source_statuses
from reconciler.planner.thresholds import breaches, parse_conditions
from reconciler.present.document import status_document
from reconciler.present.status_markdown import status_markdown
from reconciler.present.status_text import status_text
from tests.fakes import make_component, make_release

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RELEASES = {
    version: make_release("rules", version, {"a": version.encode()}, released=NOW - timedelta(days=10 - int(version)))
    for version in "12345"
}


def status(
    clients: Any,
    *,
    held: str = "1234",
    offered: str = "5",
    within: int = 0,
    max_age: Any = None,
    pin: str = "latest",
    groups: Any = ("g",),
    withdrawn: Any = (),
    **policy: Any,
) -> Any:
    wanted = Wanted(
        {"rules": ComponentSpec(make_component("rules"), pin, **policy)},
        {name: GroupSpec(name, PluginConfig("transport", "local"), "/r") for name in groups},
    )
    cohorts = []
    for at, (group, told, count) in enumerate(clients):
        version, _, says = told.partition("/")
        members = tuple(f"{group}{at}-{n}" for n in range(count))
        if version == "?":
            cohorts.append(Cohort(group, members, unknown="no connection"))
            continue
        digest = (
            ""
            if version.endswith("!")
            else "other"
            if version.endswith("~")
            else RELEASES.get(version[0], RELEASES["1"]).digest
        )
        loaded, unsaid = ("", says) if " " in says else (says, "")
        damage = "x" if version.endswith("!") else ""
        entry = Installed("rules", version.rstrip("!~"), digest, damage=damage, loaded=loaded, unsaid=unsaid)
        cohorts.append(Cohort(group, members, Profile("linux-x86_64", (entry,) if version != "-" else ())))
    observed = Observed(
        Basis("l", 1, 0, "s", "c"),
        [RELEASES[version] for version in held],
        [Offer("s", RELEASES[version]) for version in offered],
        cohorts=cohorts,
        withdrawn={"s": [Withdrawal("rules", version, "bad") for version in withdrawn]},
    )
    return make_status(wanted, observed, Allowance(NOW, within, max_age), as_of=None, sources=(), traffic=Traffic())


def counts(made: Any) -> Any:
    (entry,) = made.components
    return entry.updated, entry.outdated, entry.ahead, entry.unknown


FLEET = [("g", "4", 5), ("g", "3", 2), ("g", "1", 1), ("g", "-", 1), ("g", "5", 3), ("g", "4!", 1), ("g", "?", 4)]


def test_clients_are_measured_against_what_the_store_holds() -> None:
    made = status(FLEET, offered="4")
    assert counts(made) == (5, 5, 3, 4)
    (entry,) = made.components
    assert (entry.latest_held, entry.latest_offered) == ("4", "4")
    assert entry.versions == {"5": 3, "4": 6, "3": 2, "1": 1, "missing": 1}
    assert entry.rate == pytest.approx(5 / 17)
    assert entry.age == 6 * 86400
    assert made.clients == 17


def test_clients_without_a_newer_version_that_is_offered_are_outdated_though_the_store_lacks_it() -> None:
    made = status([("g", "4", 5)])
    assert counts(made) == (0, 5, 0, 0)
    assert breaches(parse_conditions("outdated>0%"), made.components) == ["rules: outdated>0%"]
    assert "0 of 1 component updated everywhere" in status_text(status_document(made))


def test_a_version_that_is_offered_and_blocked_or_too_young_makes_nobody_outdated() -> None:
    for policy in ({"blocked": {"5": "INC-1"}}, {"min_age": timedelta(days=5, hours=1)}, {"behind": 1}):
        assert counts(status([("g", "4", 5)], **policy)) == (5, 0, 0, 0), policy


@pytest.mark.parametrize(
    ("policy", "deferred", "why"),
    [
        ({"min_age": timedelta(days=5, hours=1)}, 5, "5 waits: min_age: not before 2026-11-24T13:00:00Z"),
        ({"blocked": {"5": "INC-1"}}, 0, "5 is blocked: INC-1"),
        ({"pin": "4"}, 0, "5 is offered, and 4 is pinned"),
        ({"behind": 1}, 0, "5 is offered, and latest-1 is wanted"),
        ({"snapshot": date(2026, 11, 18)}, 0, "5 is offered, and the snapshot is of 2026-11-18"),
    ],
)
def test_a_status_says_what_is_offered_and_goes_to_nobody(policy: Any, deferred: int, why: str) -> None:
    document = status_document(status([("g", "4", 5)], **policy))
    (entry,) = document["components"]
    assert (entry["updated"], entry.get("deferred", 0)) == (5, deferred)
    assert entry["kept_back"].startswith(why)
    for shown in (status_text(document), status_markdown(document)):
        assert f"kept back: rules {why}" in shown
        assert ("5 clients deferred" in shown) is bool(deferred)


def test_a_release_that_everybody_may_get_is_not_kept_back() -> None:
    (entry,) = status_document(status([("g", "4", 5)]))["components"]
    assert not entry.keys() & {"deferred", "kept_back"}


def test_releases_behind_may_still_count_as_updated() -> None:
    assert counts(status(FLEET, offered="", within=1)) == (7, 3, 3, 4)
    assert counts(status(FLEET, offered="", within=3)) == (8, 2, 3, 4)


def test_lacking_only_young_releases_may_still_count_as_updated() -> None:
    assert counts(status(FLEET, offered="", max_age=timedelta(days=6, hours=1))) == (7, 3, 3, 4)
    assert counts(status(FLEET, offered="", max_age=timedelta(days=5))) == (5, 5, 3, 4)


def test_a_pin_is_what_clients_are_measured_against() -> None:
    assert counts(status(FLEET, pin="3")) == (2, 3, 8, 4)


LOADS: Any = [("g", "4/4", 5), ("g", "4/3", 2), ("g", "4/exit 1", 1), ("g", "4/odd", 1), ("g", "4", 1), ("g", "3/2", 1)]


def test_what_is_installed_and_not_loaded_counts_neither_as_updated_nor_as_outdated() -> None:
    (entry,) = status(LOADS, offered="4", loaded=Question("engine")).components
    assert (entry.updated, entry.pending, entry.outdated, entry.clients) == (6, 4, 1, 11)
    assert entry.rate == pytest.approx(6 / 11)
    (entry,) = status(LOADS, offered="4").components
    assert (entry.updated, entry.pending, entry.outdated) == (10, 0, 1)


def test_releases_that_may_be_lacking_may_be_so_in_what_is_loaded() -> None:
    (entry,) = status(LOADS, offered="4", within=1, loaded=Question("engine")).components
    assert (entry.updated, entry.pending, entry.outdated) == (8, 3, 0)


def test_an_engine_that_runs_with_a_higher_version_than_its_client_has_is_not_updated() -> None:
    (entry,) = status([("g", "4/5", 1)], offered="4", loaded=Question("engine")).components
    assert (entry.updated, entry.pending) == (0, 1)


def test_a_status_names_what_is_pending_and_a_component_with_some_is_not_current() -> None:
    document = status_document(status(LOADS, offered="4", loaded=Question("engine")))
    (entry,) = document["components"]
    assert entry["pending"] == 4
    text, markdown = status_text(document), status_markdown(document)
    assert "0 of 1 component updated everywhere" in text
    for shown in (text, markdown):
        assert "pending: 4 clients have installed rules, and not loaded it" in shown
    assert re.search(r"component +held -> offered +updated +outdated +unknown +rate +pending +age", text)
    many = {**document, "components": [{**entry, "id": f"rules-{at}"} for at in range(5)]}
    assert "pending: up to 4 clients have installed rules-0, rules-1, " in status_text(many)
    del entry["pending"]  # as earlier versions wrote it
    assert "pending" not in status_text(document)


def test_while_nothing_is_held_what_is_offered_is_the_measure() -> None:
    assert counts(status([("g", "5", 2), ("g", "4", 1)], held="")) == (2, 1, 0, 0)


def test_nothing_known_of_a_component_is_unknown() -> None:
    assert counts(status([("g", "1", 2)], held="", offered="")) == (0, 0, 0, 2)


def test_groups_have_figures_of_their_own_and_the_worst_stand_first() -> None:
    made = status([("g", "5", 2), ("h", "3", 2)], groups=("g", "h"))
    assert {group: entries[0].rate for group, entries in made.groups.items()} == {"g": 1.0, "h": 0.0}


def counted(entries: Iterable[ComponentStatus]) -> Counter[str]:
    found = Counter[str]()
    for entry in entries:
        found += Counter(
            {name: getattr(entry, name) for name in ("updated", "outdated", "ahead", "unknown", "deferred")}
        )
        found += Counter({f"runs {version}": clients for version, clients in entry.versions.items()})
    return found


def test_files_that_are_others_than_those_of_their_version_are_outdated() -> None:
    assert counts(status([("g", "4", 5), ("g", "4~", 1)], offered="4")) == (5, 1, 0, 0)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("gh"), st.sampled_from(["1", "3", "4", "5", "4!", "4~", "-", "?"]), st.integers(1, 9)
        ),
        max_size=5,
    ),
    st.sampled_from([{}, {"min_age": timedelta(days=5, hours=1)}, {"blocked": {"5": "INC-1"}}, {"pin": "3"}]),
)
def test_a_fleet_counts_as_its_cohorts_do_one_by_one(fleet: Any, policy: Any) -> None:
    made = status(fleet, groups="gh", **policy)
    added = counted(entry for one in fleet for entry in status([one], groups="gh", **policy).components)
    assert counted(made.components) == added
    assert counted(entry for of_group in made.groups.values() for entry in of_group) == added


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("gh"), st.sampled_from(["1", "2", "3", "4", "5", "1!", "4~", "-", "?"]), st.integers(1, 9)
        ),
        max_size=5,
    ),
    st.sampled_from([{}, {"min_age": timedelta(days=5, hours=1)}, {"behind": 1}, {"pin": "3"}]),
)
def test_who_lacks_so_many_releases_only_is_counted_as_what_would_still_be_updated(fleet: Any, policy: Any) -> None:
    (entry,) = status(fleet, groups="gh", **policy).components
    for within in range(1, MAX_LAG + 1):
        (allowed,) = status(fleet, groups="gh", within=within, **policy).components
        late = sum(clients for lag, clients in entry.lags.items() if lag <= within)
        assert (allowed.updated, allowed.outdated) == (entry.updated + late, entry.outdated - late)


def test_a_status_counts_who_is_updated_in_everything_and_of_whom_nothing_is_known() -> None:
    made = status([("g", "5", 3), ("h", "5", 2), ("g", "4", 5), ("h", "5!", 1), ("g", "?", 4)], groups="gh")
    assert (made.clients, made.current, made.unknown) == (15, 5, 4)
    both = {name: ComponentSpec(make_component(name)) for name in ("rules", "engine")}
    wanted = Wanted(both, {"g": GroupSpec("g", PluginConfig("transport", "local"), "/r")})
    releases = [make_release(name, "1", {"a": b"1"}) for name in both]
    entries = [Installed(release.component, "1", release.digest) for release in releases]
    cohorts = [
        Cohort("g", ("a", "b"), Profile("linux-x86_64", tuple(entries))),
        Cohort("g", ("c",), Profile("linux-x86_64", (entries[0],))),
    ]
    observed = Observed(Basis("l", 1, 0, "s", "c"), releases, cohorts=cohorts)
    counted = make_status(wanted, observed, Allowance(NOW), as_of=None, sources=(), traffic=Traffic())
    assert (counted.clients, counted.current, counted.unknown) == (3, 2, 0)


@pytest.mark.parametrize(
    ("policy", "wanted", "why"),
    [
        ({}, "5", "latest"),
        ({"behind": 1}, "4", "latest-1"),
        ({"pin": "3"}, "3", "pin 3"),
        ({"snapshot": date(2026, 11, 17)}, "3", "latest of what was out on 2026-11-17"),
        ({"min_age": timedelta(days=6, hours=1)}, "3", "latest, at least 145 h old"),
    ],
)
def test_a_status_says_what_is_wanted_and_by_which_rule(policy: Any, wanted: str, why: str) -> None:
    document = status_document(status(FLEET, **policy))
    (entry,) = document["components"]
    assert (entry["wanted"], entry["target_reason"], entry["kind"]) == (wanted, why, "pattern")


def test_clients_that_run_what_a_source_took_back_are_counted() -> None:
    made = status([("g", "3", 2), ("h", "3", 1), ("g", "4", 5), ("g", "?", 1)], groups="gh", withdrawn=("3", "2"))
    assert [(entry.version, entry.clients) for entry in made.withdrawn] == [("2", 0), ("3", 3)]


@pytest.mark.parametrize(("ago", "stale"), [(None, True), (5, False), (11, True)])
def test_a_source_that_is_silent_for_too_long_is_stale(ago: int | None, stale: bool) -> None:
    source = SourceSpec("s", PluginConfig("source", "directory"), stale_after=timedelta(hours=10))
    last = NOW - timedelta(hours=ago) if ago else None
    (made,) = source_statuses([source], [(SourceReport("s", error="away"), last)], NOW)
    assert (made.stale, made.error, made.last_success) == (stale, "away", last)
