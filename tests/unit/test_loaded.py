"""What engines have loaded, from the look to the gate: over a fleet of fakes, with a state that remembers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.controller.round import go_round
from reconciler.errors import SpecError
from reconciler.model.policy import Limits, Wave
from reconciler.model.question import Question
from reconciler.model.spec import Hold
from reconciler.observe.judging import keep_index
from reconciler.observe.listing import Query, list_page
from reconciler.observe.observed import Sight, observe
from reconciler.planning import whole_plan
from reconciler.present.document import plan_document
from reconciler.present.listing_form import listing_document
from reconciler.present.listing_text import clients_rows, clients_text
from reconciler.present.plan_text import plan_text
from reconciler.specfile.load import load_spec
from tests.fleet import Fleet
from tests.unit.workbench import COMPONENT, Bench, Opened

CANARY = Wave(count=1, apart=True, limits=Limits(max_failed=0))
WAIT = timedelta(minutes=30)


@pytest.fixture
def bench(opened: Opened) -> Bench:
    made = opened(["a", "b", "c"])
    made.component(loaded=Question("engine --version"))
    return made


def listed(bench: Bench, where: str = "") -> Any:
    with bench.work() as work:
        return listing_document(list_page(work, Query(where=where)))


def pending(bench: Bench, **options: Any) -> list[tuple[str, int]]:
    return [(finding.reason, finding.clients) for finding in bench.plan(**options).pending]


def test_a_look_tells_who_runs_with_another_version_than_it_has(bench: Bench) -> None:
    bench.machines["a"].engines = {COMPONENT: "0"}
    bench.machines["b"].engines = {COMPONENT: "exit 3"}
    assert pending(bench) == [("0 is loaded", 1), ("what is loaded isn't known: exit 3", 1)]
    assert pending(bench, refresh=False) == [("0 is loaded", 1), ("what is loaded isn't known: exit 3", 1)]
    assert bench.plan().empty
    bench.machines["a"].engines = bench.machines["b"].engines = {}
    assert pending(bench) == []


def test_an_update_whose_engine_loads_it_at_once_is_known_to_be_loaded_without_another_look(bench: Bench) -> None:
    bench.plan()
    bench.machines["b"].engines = {COMPONENT: "1"}
    bench.release("2")
    bench.apply()
    assert bench.running("2") == {"a", "b", "c"}
    assert pending(bench, refresh=False) == [("1 is loaded", 1)]


def test_clients_that_have_not_loaded_what_they_have_are_listed_by_that(bench: Bench) -> None:
    bench.machines["a"].engines = {COMPONENT: "0"}
    bench.machines["b"].engines = {COMPONENT: "no answer came in time"}
    bench.plan()
    document = listed(bench, "state=pending")
    components = {client["name"]: client["components"][0] for client in document["clients"]}
    assert {name: one.get("loaded") for name, one in components.items()} == {"a": "0", "b": None}
    assert components["b"]["unsaid"] == "no answer came in time"
    assert "rules 1 (installed, 0 is loaded)" in clients_text(document)
    assert "rules 1 (installed; what is loaded isn't known: no answer came in time)" in clients_text(document)
    assert [row[-1] for row in clients_rows(document)] == ["loaded", "0", "no answer came in time"]
    assert [client["state"] for client in listed(bench)["clients"]] == ["pending", "pending", "updated"]
    assert [client["name"] for client in listed(bench, "state=updated")["clients"]] == ["c"]


def test_what_is_judged_for_the_console_knows_what_is_not_loaded(bench: Bench) -> None:
    bench.machines["a"].engines = {COMPONENT: "0"}
    bench.machines["b"].engines = {COMPONENT: "exit 3"}
    bench.plan()
    with bench.work() as work:
        keep_index(work, observe(work, Sight(refresh=False)))
    judged = [one for one in bench.state.standings().by_component[COMPONENT] if one.installed]
    found = {
        (one.installed.loaded, bool(one.installed.unsaid)): (one.state, one.clients) for one in judged if one.installed
    }
    assert found == {("0", False): ("pending", 1), ("", True): ("pending", 1), ("1", False): ("updated", 1)}


def test_a_wave_opens_once_the_engines_of_the_one_before_have_loaded_the_release(bench: Bench) -> None:
    bench.policy(waves=(CANARY, Wave(share=1.0)), wait_loaded=WAIT)
    for machine in bench.machines.values():
        machine.engines = {COMPONENT: "1"}
    bench.release("2")
    bench.apply()
    (canary,) = bench.running("2")
    assert bench.record("2").wave == 1
    bench.now += timedelta(minutes=20)
    bench.apply()
    assert bench.running("2") == {canary}
    bench.machines[canary].engines = {}
    bench.apply()
    assert bench.running("2") == {"a", "b", "c"}
    assert bench.record("2").status == "running"
    for machine in bench.machines.values():
        machine.engines = {}
    bench.apply()
    assert bench.record("2").status == "done"


def test_a_client_that_has_not_loaded_a_release_in_time_failed_with_it(bench: Bench) -> None:
    bench.policy(waves=(CANARY, Wave(share=1.0)), wait_loaded=WAIT)
    for machine in bench.machines.values():
        machine.engines = {COMPONENT: "1"}
    bench.release("2")
    bench.now += timedelta(days=1)
    bench.apply()
    (canary,) = bench.running("2")
    bench.now += WAIT + timedelta(minutes=1)
    bench.apply()
    record = bench.record("2")
    assert record.status == "halted"
    why = f"{canary}: it has 2 installed, and 1 is loaded"
    assert record.reason == f"1 of 1 clients failed, and at most 0 may ({why})"
    assert bench.running("2") == {canary}


def test_what_was_not_loaded_in_time_goes_back_where_the_rollout_says_so(bench: Bench) -> None:
    bench.policy(waves=(CANARY, Wave(share=1.0)), wait_loaded=WAIT, on_failure="rollback")
    for machine in bench.machines.values():
        machine.engines = {COMPONENT: "exit 1"}
    bench.release("2")
    bench.apply()
    bench.now += 2 * WAIT
    bench.apply()
    assert bench.record("2").status == "halted"
    bench.apply()
    assert bench.running("1") == {"a", "b", "c"}


def test_a_client_is_given_its_time_from_when_it_switched_and_not_from_when_its_wave_opened(bench: Bench) -> None:
    bench.policy(waves=(Wave(share=1.0, limits=Limits(max_failed=9, max_fail_percentage=100.0)),), wait_loaded=WAIT)
    for machine in bench.machines.values():
        machine.engines = {COMPONENT: "1"}
    bench.spec = replace(bench.spec, holds=(Hold("c", "moving house"),))
    bench.release("2")
    bench.apply()
    bench.now += timedelta(hours=1)
    bench.spec = replace(bench.spec, holds=())
    bench.apply()
    assert bench.running("2") == {"a", "b", "c"}
    with bench.work() as work:
        observed = observe(work, bench.options().sight)
    why = "it has 2 installed, and 1 is loaded"
    assert observed.failures == {(COMPONENT, "2", ""): {"a": why, "b": why}}


def test_a_controller_looks_in_each_round_at_those_whose_engines_a_gate_waits_for(bench: Bench) -> None:
    bench.policy(waves=(CANARY, Wave(share=1.0)), wait_loaded=WAIT)
    bench.spec = replace(bench.spec, controller=replace(bench.spec.controller, look=timedelta(hours=12)))
    for machine in bench.machines.values():
        machine.engines = {COMPONENT: "1"}

    def go() -> dict[str, int]:
        for machine in bench.machines.values():
            machine.calls.clear()
        with bench.work() as work:
            go_round(work, bench.spec.path, lambda: bench.spec.holds, forks=1, changing=lambda _round: None)
        return {name: machine.calls["facts"] for name, machine in bench.machines.items()}

    bench.release("2")
    go()
    (canary,) = bench.running("2")
    bench.now += timedelta(minutes=20)
    assert go() == {name: int(name == canary) for name in bench.machines}
    bench.machines[canary].engines = {}
    bench.now += timedelta(minutes=20)
    go()
    assert bench.running("2") == {"a", "b", "c"}


def test_a_forecast_takes_it_that_engines_load_what_their_clients_have(bench: Bench) -> None:
    bench.policy(waves=(CANARY, Wave(share=1.0)), wait_loaded=WAIT)
    for machine in bench.machines.values():
        machine.engines = {COMPONENT: "1"}
    bench.release("2")
    bench.apply()
    with bench.work() as work:
        made = whole_plan(work, bench.options())
    assert not made.deploys
    text = plan_text(plan_document(made))
    assert "the rest never" not in text


def test_what_was_seen_before_the_time_was_over_says_nothing_of_what_is_loaded_after(bench: Bench) -> None:
    bench.policy(waves=(CANARY, Wave(share=1.0)), wait_loaded=WAIT)
    for machine in bench.machines.values():
        machine.engines = {COMPONENT: "1"}
    bench.release("2")
    bench.apply()
    bench.now += WAIT + timedelta(minutes=1)
    assert bench.plan(refresh=False).rollouts[0].says.endswith(", 1 has it and hasn't loaded it")
    assert bench.plan().rollouts[0].says.startswith("halted")


SPEC = """\
version: 1
catalogs: [clamav]
groups: {g: {transport: {type: local}, install_root: c, clients: [{name: a}]}}
components:
"""


def asked(tmp_path: Any, components: str) -> dict[str, Question]:
    (tmp_path / "updoser.yaml").write_text(f"{SPEC}  {components}\n")
    return load_spec(tmp_path / "updoser.yaml", environ={}).questions("g")


def test_a_catalog_says_how_an_engine_is_asked_and_a_spec_says_otherwise(tmp_path: Any) -> None:
    (question,) = asked(tmp_path, '"*": {}').values()
    assert "clamdscan --version" in question.run
    assert (question.timeout, question.within) == (10.0, 0.0)
    (waiting,) = asked(tmp_path, "clamav-daily: {loaded: {within: 2m, timeout: 5s}}").values()
    assert waiting == Question(question.run, 5.0, 120.0)
    own = asked(tmp_path, 'clamav-main: {loaded: {run: [my-engine, "--of", "a b"]}}')
    assert own == {"clamav-main": Question("my-engine --of 'a b'")}
    assert asked(tmp_path, "clamav-daily: {loaded: {enabled: false}}") == {}
    assert asked(tmp_path, "clamav-daily: {auto_update: {rollout: {wait_loaded: 30m}}}") != {}


@pytest.mark.parametrize(
    ("components", "says"),
    [
        ("clamav-main: {loaded: {within: 2m}}", "`loaded` of clamav-main needs `run`"),
        ("clamav-main: {auto_update: {rollout: {wait_loaded: 1h}}}", "`wait_loaded` of clamav-main needs `loaded`"),
        ("clamav-main: {loaded: {run: ''}}", "isn't a command"),
        ("clamav-main: {loaded: {run: x, within: 0s}}", "no time at all"),
        ("clamav-main: {loaded: {run: x, timeout: soon}}", "isn't a duration"),
    ],
)
def test_what_an_engine_can_not_be_asked_is_told(components: str, says: str, tmp_path: Any) -> None:
    with pytest.raises(SpecError) as caught:
        asked(tmp_path, components)
    assert says in str(caught.value) or any(says in problem.message for problem in caught.value.problems)


def test_every_command_says_what_is_installed_and_not_loaded(tmp_path: Any) -> None:
    fleet = Fleet(tmp_path, clients=2)
    says = tmp_path / "says"
    says.write_text("1\n")
    fleet.write(components={"rules": {"loaded": {"run": f"cat {says}"}}})
    fleet.release("rules", "2", rules_dat=b"2")
    assert fleet.apply().code == 0
    assert "pending: 2 clients have installed rules, and not loaded it" in fleet.run("status").out
    planned = fleet.run("plan")
    assert planned.code == 0
    assert ", pending 2\n" in planned.out
    assert "Pending (installed as declared, and not loaded by the engine)\n" in planned.out
    assert "No changes. What is declared is installed everywhere; see above where it isn't loaded.\n" in planned.out
    told = fleet.run("why", "c1", "rules").out
    assert "rules: has 2, wanted is 2: installed, and not loaded by its engine\n  loaded: 1\n" in told
    assert "  next: nothing is sent: it has what it should have, and its engine has to load it\n" in told
    assert fleet.run("status", "--fail-on", "pending>0").code != 0
    says.write_text("2\n")
    assert "pending" not in fleet.run("plan").out
    assert fleet.run("status", "--fail-on", "pending>0").code == 0
