"""What a plan says of relays: who fetches what from which, what that spares, and what is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.client.behind import Behind
from reconciler.model.change import Deploy
from reconciler.model.client import Client
from reconciler.model.delta import Incremental, Patch
from reconciler.model.plan import Basis, Plan
from reconciler.model.relay import Held, RelaySeen, RelaySpec, RelayUse
from reconciler.model.release import Release, ReleaseFile
from reconciler.model.spec import GroupSpec, PluginConfig
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.relays import relay_uses
from reconciler.present.document import plan_document
from reconciler.present.html.plan_view import view_of_plan
from reconciler.present.markdown import plan_markdown
from reconciler.present.plan_text import plan_text
from reconciler.present.reading import read_plan

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BASIS = Basis(lineage="l", epoch=1, serial=1, spec_digest="s" * 64, catalog_digest="c" * 64)
LARGE, TINY = ReleaseFile("data", 1_000_000, "a" * 64), ReleaseFile("tiny", 100, "b" * 64)
OLD = Release("rules", "1", "any", (TINY,))
NEW = Release("rules", "2", "any", (LARGE, TINY))
PATCH = Patch("data", 50_000, "c" * 64, "zstd")
STEP = Incremental(
    component="rules",
    platform="any",
    from_version="1",
    from_digest=OLD.digest,
    to_version="2",
    to_digest=NEW.digest,
    codec="zstd",
    patches=(PATCH,),
)


def relay(**more: Any) -> RelaySpec:
    usual = {"name": "lyon", "hosts": ("192.0.2.9",), "serves": "lyon", "store": "/r", "http": 8080}
    return RelaySpec(**{**usual, "transport": PluginConfig("transport", "local"), **more})


def deploy(clients: int, *members: str, **more: Any) -> Deploy:
    return Deploy(
        component="rules",
        group="all",
        from_version="",
        from_digest="",
        to="2",
        to_digest=NEW.digest,
        platform="any",
        reason="missing",
        clients=clients,
        members=members,
        bytes=1_000_100,
        bytes_full=1_000_100,
        **more,
    )


def plan(*deploys: Deploy, **members: int) -> Plan:
    names = {cohort: tuple(f"{cohort}-{at}" for at in range(count)) for cohort, count in members.items()}
    return Plan("p", NOW, BASIS, deploys=deploys, members=names, clients={"all": sum(members.values())})


def uses(
    made: Plan, spec: RelaySpec, afar: frozenset[str] = frozenset(), **observed: Any
) -> tuple[RelayUse | None, list[str]]:
    found, problems = relay_uses(
        Wanted({}, {}, relays={spec.name: spec}, afar=afar),
        made,
        {cohort: spec.name for cohort in made.members if cohort != "c9"},
        Observed(BASIS, held=(OLD, NEW), **observed),
    )
    return (found[0] if found else None), problems


def seen(host: str = "192.0.2.9", **held: Any) -> dict[tuple[str, str], RelaySeen]:
    return {("lyon", host): RelaySeen("lyon", host, at=NOW, held=Held(**held))}


def test_large_parts_go_to_the_relay_once_and_small_ones_to_each_client() -> None:
    use, problems = uses(plan(deploy(40, "c1"), c1=40), relay())
    assert use is not None
    assert (use.clients, use.others, use.fill, use.site) == (40, 0, 1_000_000, 40_000_000)
    assert (use.line, use.without) == (1_000_000 + 40 * 100, 40 * 1_000_100)
    assert (use.estimated, use.wait, use.then, use.cohorts, problems) == (False, 900, "direct", ("c1",), [])


def test_to_workers_of_a_site_bytes_would_go_once_without_a_relay_too() -> None:
    made, afar = plan(deploy(40, "c1"), c1=40), frozenset({"all"})
    use, _problems = uses(made, relay(), afar)
    assert use is not None
    assert (use.site, use.fill, use.line, use.without) == (40_000_000, 1_000_000, 1_000_100, 1_000_100)
    use, _problems = uses(made, relay(clients=30), afar)
    assert use is not None
    assert (use.site, use.line) == (30_000_000, 2_000_100), "the others get them from their worker"


def test_clients_that_are_behind_no_relay_count_for_none() -> None:
    use, _problems = uses(plan(deploy(15, "c1", "c9"), c1=5, c9=10), relay())
    assert use is not None
    assert (use.clients, use.without) == (5, 5 * 1_000_100)
    assert uses(plan(deploy(10, "c9"), c9=10), relay()) == (None, [])


def test_what_lies_on_a_relay_is_not_sent_there_again_and_each_host_counts() -> None:
    made = plan(deploy(40, "c1"), c1=40)
    use, _problems = uses(made, relay(), relays=seen(free=10**9, parts={LARGE.sha256: LARGE.size}))
    assert use is not None
    assert use.fill == 0
    both = relay(hosts=("192.0.2.9", "192.0.2.10"))
    use, _problems = uses(made, both, relays=seen(free=10**9, parts={LARGE.sha256: LARGE.size}))
    assert use is not None
    assert (use.fill, use.hosts) == (LARGE.size, 2)


def test_an_incremental_that_is_not_made_yet_makes_it_an_estimate() -> None:
    made = plan(replace(deploy(4, "c1"), bytes=60_000, path=(STEP.name,)), c1=4)
    use, _problems = uses(made, relay(), incrementals=(STEP,))
    assert use is not None
    assert (use.fill, use.site, use.estimated) == (50_000, 200_000, False)
    use, _problems = uses(made, relay())
    assert use is not None
    assert (use.fill, use.site, use.estimated) == (60_000, 240_000, True)


def test_what_lies_on_clients_already_needs_no_relay() -> None:
    assert uses(plan(replace(deploy(4, "c1"), held=True, bytes=0), c1=4), relay()) == (None, [])


@pytest.mark.parametrize(
    ("then", "says", "line"), [("direct", "their bytes go directly", 11), ("wait", "they wait", 1)]
)
def test_clients_beyond_the_limit_are_a_problem(then: Any, says: str, line: int) -> None:
    use, problems = uses(plan(deploy(40, "c1"), c1=40), relay(clients=30, then=then))
    assert use is not None
    assert (use.clients, use.others, use.site) == (30, 10, 30_000_000)
    assert use.line == line * 1_000_000 + 40 * 100
    (problem,) = problems
    assert problem.startswith("relay lyon: 10 clients more than the 30 that it may serve; ")
    assert says in problem


def test_clients_that_are_kept_from_their_relay_are_counted_by_why() -> None:
    apart = {"c1-0": "it is the relay itself", "c1-1": "odd", "c1-2": "odd", "elsewhere": "odd"}
    use, problems = uses(plan(deploy(5, "c1"), c1=5), relay(), apart=apart)
    assert use is not None
    assert (use.clients, use.others) == (2, 3)
    assert [problem.partition(";")[0] for problem in problems] == [
        "relay lyon: 1 client can't have it: it is the relay itself",
        "relay lyon: 2 clients can't have it: odd",
    ]


@pytest.mark.parametrize(
    ("spec", "held", "says"),
    [
        (relay(disk=500_000), {"free": 10**9}, "its clients need 976.6 KiB, and its limit is 488.3 KiB of disk"),
        (relay(), {"free": 1000}, "976.6 KiB are to go there, and 1000 B are free"),
    ],
)
def test_a_relay_without_room_serves_nobody(spec: RelaySpec, held: Any, says: str) -> None:
    use, problems = uses(plan(deploy(40, "c1"), c1=40), spec, relays=seen(**held))
    assert use is not None
    assert (use.clients, use.fill, use.site, use.line) == (0, 0, 0, use.without)
    assert problems == [f"relay lyon: {says}; their bytes go directly"]


def test_old_parts_make_room_for_new_ones() -> None:
    _use, problems = uses(plan(deploy(4, "c1"), c1=4), relay(), relays=seen(free=1000, parts={"d" * 64: 10**6}))
    assert problems == []


def test_a_plan_tells_of_relays_in_each_of_its_forms_and_reads_them_back() -> None:
    made = plan(deploy(40, "c1"), c1=40)
    use, _problems = uses(made, relay(clients=30, hosts=("a", "b")))
    assert use is not None
    made = replace(made, relays=(use,))
    document = plan_document(made)
    assert read_plan(document).relays == (use,)
    text = plan_text(document)
    assert "Relays\n  lyon  30 clients fetch about 28.6 MiB, 10 can't" in text
    assert "about 1.9 MiB to fill it, 2 hosts" in text
    assert "gone for 15 min: direct" in text
    assert "| lyon | 30 clients fetch about 28.6 MiB, 10 can't |" in plan_markdown(document)
    assert view_of_plan(document).sections[0].lines[0].cells[0] == "lyon"
    assert plan_document(made, names=False)["relays"][0]["cohorts"] == []
    assert "relays" not in plan_document(replace(made, relays=()))


# --- who is behind which ----------------------------------------------------------------------------------------------


def place(client: Client, *specs: RelaySpec, **group: Any) -> tuple[str, str]:
    group = {"name": "all", "transport": PluginConfig("transport", "local"), "install_root": "/c", **group}
    found = Behind({spec.name: spec for spec in specs}, {"all": GroupSpec(**group)}).of(client)
    return (found.relay.name if found.relay else ""), found.apart


def test_a_client_is_behind_the_relay_that_serves_it() -> None:
    lyon, paris = relay(), relay(name="paris", serves="label=paris:!pc-3")
    assert place(Client("pc-1", "all", labels=("lyon",)), lyon, paris) == ("lyon", "")
    assert place(Client("pc-2", "all", labels=("paris",)), lyon, paris) == ("paris", "")
    assert place(Client("pc-3", "all", labels=("paris",)), lyon, paris) == ("", "")


def test_two_relays_are_one_too_many_and_none_is_behind_itself() -> None:
    two = relay(), relay(name="paris", serves="*")
    assert place(Client("pc-1", "all", labels=("lyon",)), *two) == ("lyon", "it is served by lyon and by paris")
    host = Client("pc-1", "all", "192.0.2.9", labels=("lyon",))
    assert place(host, relay()) == ("lyon", "it is the relay itself")


@pytest.mark.parametrize(
    ("client", "group", "hosts", "apart"),
    [
        ({"address": "192.0.2.1"}, {}, ("2001:db8::1",), "it speaks IPv4, and the relay IPv6"),
        ({"families": ("ipv6",)}, {}, ("192.0.2.9",), "it speaks IPv6, and the relay IPv4"),
        ({"address": "pc-1"}, {"families": ("ipv6",)}, ("192.0.2.9",), "it speaks IPv6, and the relay IPv4"),
        ({"address": "pc-1"}, {}, ("192.0.2.9",), ""),
        ({"address": "192.0.2.1"}, {}, ("relay1",), ""),
        ({"address": "192.0.2.1"}, {}, ("192.0.2.9", "2001:db8::1"), ""),
        ({"address": "2001:db8::2", "families": ("ipv4", "ipv6")}, {}, ("192.0.2.9",), ""),
    ],
)
def test_a_client_that_shares_no_address_family_with_its_relay_is_kept_from_it(
    client: Any, group: Any, hosts: tuple[str, ...], apart: str
) -> None:
    made = Client("pc-1", "all", labels=("lyon",), **client)
    assert place(made, relay(hosts=hosts), **group) == ("lyon", apart)
