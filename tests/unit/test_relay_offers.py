"""What a run offers its clients of a relay, by turns and by answers; no client is looked at before its turn."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from reconciler.client.session import client_script, script_digest
from reconciler.execute.deploy import Task
from reconciler.execute.relays import Relays
from reconciler.model.batch import Answer, StepDone
from reconciler.model.client import Client
from reconciler.model.deploy import Outcome, Patched, PatchHop, Step
from reconciler.model.plan import Basis, Plan
from reconciler.model.relay import Held, RelaySpec, RelayUse
from reconciler.model.release import ReleaseFile
from reconciler.model.spec import PluginConfig
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.model.relay import Offer

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LARGE, SMALL = ReleaseFile("data", 1_000_000, "a" * 64), ReleaseFile("tiny", 100, "b" * 64)
PATCH = PatchHop("zstd", 50_000, "c" * 64, 1_000_000)
STEP = Step(
    component="rules", from_version="", from_digest="", to_version="2", to_digest="d" * 64, files=(LARGE, SMALL)
)
USE = RelayUse(
    relay="lyon",
    serves="*",
    hosts=1,
    clients=9,
    others=0,
    fill=0,
    site=0,
    line=0,
    without=0,
    estimated=False,
    wait=900,
    then="direct",
    cohorts=("c1", "c2"),
)


class Nobody(dict[str, Any]):
    """The clients of a plan, of which none may be named."""

    def __getitem__(self, cohort: str) -> Any:
        raise AssertionError(f"the clients of {cohort} were read")


class Host:
    """A host of a relay that has all that it is sent."""

    def __init__(self) -> None:
        self.parts: dict[str, int] = {}

    def hold(self, order: Any, _content: Any, _pace: Any) -> Held:
        self.parts |= order.take
        return Held(free=10**9, parts=dict(self.parts), serving="yes")

    def work(self, _client: Client, do: Callable[[Any], Any]) -> Any:
        return do(self)


@contextmanager
def relays(*steps: Step, host: Host | None = None, **changes: Any) -> Iterator[Relays]:
    """Give the relays of a run with one cohort of these steps, when all are filled; `changes` are of the only one."""
    spec = RelaySpec(
        name="lyon",
        hosts=("relay1",),
        serves="*",
        store="/r",
        transport=PluginConfig("transport", "local"),
        url="http://{host}:8080",
        **changes,
    )
    means = SimpleNamespace(stop=threading.Event(), clock=lambda: NOW, emit=lambda _event: None, run_id="r")
    work = SimpleNamespace(
        spec=SimpleNamespace(relays={"lyon": spec}, groups={}),
        means=means,
        relay_reach=host or Host(),
        store=SimpleNamespace(open=None),
        state=SimpleNamespace(keep_relays=list, journal=lambda _run, _entries: None),
    )
    basis = Basis(lineage="l", epoch=1, serial=1, spec_digest="s" * 64, catalog_digest="c" * 64)
    plan = Plan("p", NOW, basis, members=Nobody(), relays=(USE,))
    with Relays(plan, cast("Any", work), {"c1": (steps, ()), "c9": ((STEP,), ())}) as made:
        until(made.ready(made.of_cohorts.get("c1", "")))
        yield made


def task(name: str, *steps: Step) -> Task:
    return Task(Client(name, "all", "192.0.2.1"), steps, None)


def offer(made: Relays, one: Task) -> Offer:
    found = made.offered(one).offer
    assert found is not None
    return found


def answer(name: str, **more: Any) -> Answer:
    done = StepDone(outcome=Outcome("rules", "changed"))
    return Answer(batch="b", attempt=1, client=name, steps=(done,), **more)


def test_large_parts_of_a_cohort_are_filled_and_offered_without_a_look_at_its_clients() -> None:
    host = Host()
    with relays(STEP, host=host) as made:
        assert made.of_cohorts == {"c1": "lyon"}
        assert host.parts == {LARGE.sha256: LARGE.size, script_digest(): len(client_script())}
        found = offer(made, task("pc-1", STEP))
        assert (found.urls, found.wait) == (("http://relay1:8080",), 900)
        assert found.parts == {LARGE.sha256, script_digest()}


def test_a_disk_without_room_for_the_script_has_what_clients_need_all_the_same() -> None:
    host = Host()
    with relays(STEP, host=host, disk=LARGE.size + 1000) as made:
        assert host.parts == {LARGE.sha256: LARGE.size}
        assert offer(made, task("pc-1", STEP)).parts == {LARGE.sha256}


def test_clients_that_get_the_same_share_an_offer_so_that_they_share_a_batch() -> None:
    steps = (STEP,)
    with relays(STEP) as made:
        assert offer(made, task("pc-1", *steps)) is not offer(made, task("pc-2", *steps)), "other tuples of steps"
        one = task("pc-1", STEP)
        assert offer(made, one) is offer(made, replace(one, client=Client("pc-2", "all")))


def test_who_needs_no_large_part_is_offered_nothing_and_waits_for_nothing() -> None:
    tiny = replace(STEP, files=(SMALL,))
    with relays(tiny) as made:
        assert made.of_cohorts == {}
        assert made.offered(task("pc-1", tiny)).offer is None


def test_the_full_is_offered_too_where_another_cohort_has_it_filled() -> None:
    patched = replace(STEP, patched={"data": Patched("data", (PATCH,))})
    with relays(patched, STEP) as made:
        assert offer(made, task("pc-1", patched)).parts == {PATCH.sha256, LARGE.sha256, script_digest()}


def test_no_more_clients_are_offered_anything_than_may_be_and_one_that_is_tried_again_is_none_more() -> None:
    with relays(STEP, clients=1) as made:
        assert offer(made, task("pc-1", STEP)).urls
        assert offer(made, task("pc-1", STEP)).urls
        late = offer(made, task("pc-2", STEP))
        assert (late.urls, late.why) == ((), "more than the 1 clients that it may serve")


def test_a_relay_that_gave_three_in_a_row_nothing_is_offered_no_more_and_one_is_waited_for_once() -> None:
    with relays(STEP) as made:
        waits = []
        for number in range(3):
            one = made.offered(task(f"pc-{number}", STEP))
            assert one.offer is not None
            waits.append(one.offer.wait)
            made.learn(one, answer(one.client.name, unfetched="connection refused"))
        assert waits == [900, 0, 0]
        last = offer(made, task("pc-9", STEP))
        assert (last.urls, last.why) == ((), "connection refused")


@pytest.mark.parametrize("says", [{"fetched": 1_000_000}, {"unfetched": "the client has neither curl nor wget"}])
def test_one_that_fetches_has_it_trusted_again_and_one_that_cannot_is_no_fault_of_it(says: Any) -> None:
    with relays(STEP) as made:
        cut = {"unfetched": "cut"}
        later = [cut, cut] if "fetched" in says else []
        for number, told in enumerate([cut, cut, says, *later]):
            one = made.offered(task(f"pc-{number}", STEP))
            made.learn(one, answer(one.client.name, **told))
        assert offer(made, task("pc-9", STEP)).urls
