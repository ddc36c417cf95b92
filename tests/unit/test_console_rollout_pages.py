"""The pages of rollouts, the plan, sources and what is wanted: they say what is there, and nothing that isn't."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.controller.places import keep_wanted
from reconciler.model.controller import ControllerReport, Pause, RunProgress
from reconciler.model.offer import SourceReport, Withdrawal
from reconciler.model.plan import RolloutStep, WaveCounts
from reconciler.model.rollout import Approval, Cut, RolloutRecord
from reconciler.present.rollout_form import standing_entry, whole_entry
from reconciler.specfile.desired import HIDDEN, desired_documents
from reconciler.specfile.load import load
from reconciler.storage.outcomes import Fared
from reconciler.storage.state import State
from tests import shown
from tests.console import NOW, SOMEBODY, Answer, ask, console_app
from tests.fakes import make_release
from tests.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from reconciler.console.frame import Person
    from tests.unit.workbench import Bench, Opened

HOUR = timedelta(hours=1)
SAID = "<script>alert(1)</script>"
CUTS = (Cut("label=canary"), Cut(upto=2**31), Cut(upto=2**32 - 1))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        yield state


def record(component: str = "rules", version: str = "2", **more: Any) -> RolloutRecord:
    fields = {"group": "", "status": "running", "sizes": (3, 97, 900), "structure": "s", "started": NOW - HOUR, **more}
    return RolloutRecord(component=component, version=version, cuts=CUTS, opened=NOW, **fields)


def keep(state: State, *steps: RolloutStep, **plan: Any) -> None:
    """Have a controller have seen these rollouts."""
    for step in steps:
        state.record_rollout(step.record)
    status = shown.status(SAID)
    status.pop("groups")
    state.keep_snapshots("status", {"": {**status, "rollouts": [standing_entry(step) for step in steps]}})
    document = {**shown.plan(SAID), "rollouts": [whole_entry(step) for step in steps], **plan}
    state.keep_snapshots("plan", {"": document})


def look(state: State, path: str, person: Person = SOMEBODY) -> Answer:
    answer = ask(console_app(state, person), path)
    assert SAID not in answer.text
    return answer


def text_of(answer: Answer) -> str:
    body = answer.text.partition("<main")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u202f", " ").split())


def test_rollouts_that_need_somebody_come_first_with_what_may_be_done_and_filters_choose(state: State) -> None:
    keep(
        state,
        RolloutStep(record("fine"), new=False, says="wave 1 of 3 is open: 1 of 3 done"),
        RolloutStep(record("bad", status="halted", reason=SAID), new=False, says="halted"),
        RolloutStep(
            record("asks", cleared=True), new=False, awaits_approval=True,
            says="wave 1 of 3 passed; wave 2 waits for approval: updoser rollout approve asks",
        ),
    )  # fmt: skip
    page = look(state, "/rollouts")
    assert "3 releases are on their way; 2 need somebody." in text_of(page)
    order = re.findall(r'<h3><a href="/rollouts/(\w+)/2">', page.text)
    assert order == ["bad", "asks", "fine"]
    assert "Wave 1 is through. Wave 2 has 97 clients." in text_of(page)
    assert "updoser rollout approve" not in text_of(page)
    links = re.findall(r'class="button[^"]*" href="/do/(\w+)\?component=(\w+)', page.text)
    assert links == [
        ("resume", "bad"), ("abort", "bad"), ("approve", "asks"), ("pause", "asks"), ("abort", "asks"),
        ("pause", "fine"), ("abort", "fine"),
    ]  # fmt: skip
    for asked, names in (("status=stopped", ["bad"]), ("status=running&component=fine", ["fine"]), ("component=x", [])):
        found = re.findall(r'<h3><a href="/rollouts/(\w+)/2">', look(state, f"/rollouts?{asked}").text)
        assert found == names


def test_a_component_is_called_the_same_wherever_its_rollouts_stand(state: State) -> None:
    keep(state, RolloutStep(record(), new=False, says="wave 1 of 3 is open"))
    kept = state.snapshot("status")
    assert kept is not None
    named = [{**entry, "id": "rules", "name": "The rules & more"} for entry in kept.document["components"][:1]]
    state.keep_snapshots("status", {"": {**kept.document, "components": named}})
    state.record_rollout(record(version="1", status="done"))
    for path in ("/", "/rollouts", "/rollouts/rules/2"):
        text = look(state, path).text
        assert "The rules &amp; more</a> <code>2</code>" in text.replace(" <code>2</code></a>", "</a> <code>2</code>")
    assert "The rules &amp; more <code>1</code>" in look(state, "/rollouts?status=over").text
    assert "<code>rules</code>" in look(state, "/rollouts/rules/2").text


def test_rollouts_that_are_over_are_read_on_from_the_last_one_and_none_is_missed(state: State) -> None:
    for n in range(120):
        state.record_rollout(record(version=str(n), status="done", started=NOW - HOUR * (n // 3), group=f"g{n % 2}"))
    path, seen = "/rollouts", []
    while path:
        page = look(state, path).text
        seen += re.findall(r'<th scope="row"><a href="/rollouts/rules/(\d+)\?', page)
        more = re.search(r'href="([^"]*before=[^"]*)"', page)
        path = unescape(more[1]) if more else ""
    assert sorted(map(int, seen)) == list(range(120))


def test_the_page_of_a_rollout_says_how_far_it_is_who_approved_and_who_failed_of_what(state: State) -> None:
    first = record()
    state.record_rollout(first)
    second = replace(first, wave=2, approved=(Approval(2, "ann", NOW),))
    step = RolloutStep(
        second, new=False, says="wave 2 of 3 is open: 43 of 97 done", max_failed=3, max_fail_percentage=5.0,
        counts=WaveCounts(97, 40, 2, 54, 1, 9), next_at=NOW + HOUR,
    )  # fmt: skip
    arrival = {"component": "rules", "version": "2", "group": None, "half": "2026-11-29T14:00:00Z", "most": None}
    keep(state, step, run={**shown.plan()["run"], "arrivals": [{**arrival, "all": None, "never": "1 is off"}]})
    failed = [(f"pc-{n:02}", Fared(second.key, f"check loads failed: exit {n}")) for n in range(70)]
    state.record_fared([*failed, (SAID, Fared(second.key, "not enough disk: 1 MiB free", "machine"))])
    page = look(state, "/rollouts/rules/2")
    says = text_of(page)
    for told in (
        "Wave 2 of 3 is open: 43 of 97 done",
        "At most 3 may fail; 2 did.",
        "At most 5 % of those attempted may fail; 4.8 % did.",
        "40 have it",
        "71 in all",
        "70 clients check loads failed: exit 0",
        "1 client not enough disk: 1 MiB free of the machine, not the release",
        "and 10 more",
        "Wave 2 of 3 opened",
        "Wave 2 was approved by ann",
        "Never all of them: 1 is off",
    ):
        assert told in says
    assert 'href="/clients/pc-00"' in page.text
    assert "/clients/%3Cscript%3E" in page.text


def test_a_page_goes_by_what_is_now_where_the_last_look_is_behind(state: State) -> None:
    keep(state, RolloutStep(record(), new=False, says="wave 1 of 3 is open: 1 of 3 done"))
    state.record_rollout(record(status="paused", reason="by eve: freeze"))
    says = text_of(look(state, "/rollouts/rules/2"))
    assert "In wave 1 of 3: by eve: freeze" in says
    assert "1 of 3 done" not in says


@pytest.mark.parametrize(
    ("leads", "mode", "pause", "runs", "says"),
    [
        (False, "apply", None, False, "No controller runs: nobody carries this out"),
        (True, "apply", None, False, "What is due is carried out in each round"),
        (True, "apply", Pause(who="eve", reason="audit", since=NOW), False, "The controller is paused by eve"),
        (True, "observe", None, False, "The controller only observes"),
        (True, "approve", None, False, "Releases that nobody let go out yet wait for a person"),
        (True, "apply", None, True, "It is carried out now"),
    ],
)
def test_the_plan_is_that_of_the_commands_and_says_what_becomes_of_it(
    state: State, leads: bool, mode: Any, pause: Pause | None, runs: bool, says: str
) -> None:
    keep(state)
    if leads:
        state.take_lease(None)
    state.report_controller(ControllerReport(who="up@hq", phase="sleeping", mode=mode, since=NOW, commit="c" * 40))
    state.pause_controller(pause)
    state.report_progress(RunProgress(run_id="r", command="run", started=NOW) if runs else None)
    page = look(state, "/plan")
    assert says in text_of(page)
    assert "Deploy to clients" in text_of(page)
    assert "c" * 12 in text_of(page)
    assert ("/do/resume_controller" in page.text) is (pause is not None)


def test_sources_say_how_they_are_what_they_offer_and_when_signatures_expire(state: State) -> None:
    keep(state)
    releases = tuple(make_release("rules", str(n), {"f": b"x"}) for n in range(12))
    report = SourceReport(
        "vendor", releases, problems=(f"rules 99: {SAID}",), withdrawn=(Withdrawal("rules", "1", SAID),)
    )
    state.record_source(report, NOW)
    store = {"path": "/s", "releases": 12, "components": 1, "incrementals": 2, "bytes": 1 << 20, "incremental_bytes": 5}
    roles = [
        {"role": "root", "version": 2, "expires": "2027-11-29T12:00:00Z"},
        {"role": "timestamp", "version": 9, "expires": "2026-11-30T12:00:00Z"},
        {"role": "snapshot", "version": 9, "expires": "2026-11-29T11:00:00Z"},
        {"role": "targets", "version": 0, "expires": None},
    ]
    repository = {"path": "/r", "roles": roles, "releases": 3, "renew": "", "error": ""}
    state.keep_snapshots("places", {"": {"store": {**store, "problems": []}, "repository": repository}})
    status = state.snapshot("status").document
    status["sources"][0]["expires"] = {"root": "2027-11-29T12:00:00Z", "mirrors": "2026-11-29T14:00:00Z"}
    state.keep_snapshots("status", {"": status})
    page = look(state, "/sources")
    says = text_of(page)
    for told in (
        "1 of 2 sources needs a look.",
        "vendor stale 12 releases of 1 component",
        "and 4 more",
        "12 releases of 1 component 2 incrementals 5 B 1.0 MiB",
        "mirrors 2 h left",
        "timestamp 24 h left",
        "snapshot expired",
        "targets not signed yet",
    ):
        assert told in says
    assert 'id="source-vendor"' in page.text


@pytest.fixture
def bench(opened: Opened) -> Bench:
    return opened()


@pytest.fixture
def wanted(tmp_path: Path) -> Fleet:
    """Give a fleet whose file has secrets written out, and more clients than anybody reads."""
    fleet = Fleet(tmp_path, 120)
    fleet.spec["vars"] = {"db_password": "hunter2", "place": "https://bob:hunter3@example.org/x"}
    fleet.write(components={"*": {"version": "latest"}, "rules": {"version": "7"}})
    return fleet


def test_what_is_wanted_stands_there_with_its_line_and_without_secrets(state: State, wanted: Fleet) -> None:
    path = wanted.folder / "updoser.yaml"
    state.keep_snapshots("desired", desired_documents(load(path)))
    page = look(state, "/desired?at=components.rules")
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "version: '7'" in text)
    assert re.search(rf"version 7 updoser.yaml:{line}\b|version 7 .*updoser.yaml:{line}\b", text_of(page))
    whole = look(state, "/desired?at=vars")
    assert "hunter" not in whole.text
    assert HIDDEN in whole.text
    clients = text_of(look(state, "/desired?at=groups.all"))
    assert "c50" in clients
    assert "c51" not in clients
    assert "of further clients aren't shown" in clients
    found = text_of(look(state, "/desired?q=SETTLE"))
    assert "1 value with" in found
    assert "0s" in found
    written = text_of(look(state, "/desired?at=components.rules&show=written"))
    assert "default" not in written.partition("Key Value From")[2]
    assert look(state, "/desired?at=nonsense").status == 404
    assert look(state, "/desired?show=nonsense").status == 400


def test_all_that_is_in_force_is_in_one_of_the_documents(wanted: Fleet) -> None:
    loaded = load(wanted.folder / "updoser.yaml")
    documents = desired_documents(loaded)
    index = documents.pop("")
    assert [one["section"] for one in index["sections"]] == list(documents)
    assert [one["values"] for one in index["sections"]] == [len(one["values"]) for one in documents.values()]
    data = yaml.safe_load((wanted.folder / "updoser.yaml").read_text())
    assert {key.partition(".")[0] for key in documents} >= set(data)


def test_what_is_wanted_is_written_down_again_when_a_line_of_the_file_moves(bench: Bench, wanted: Fleet) -> None:
    path = wanted.folder / "updoser.yaml"

    def kept() -> tuple[datetime, str]:
        bench.later(HOUR)
        with bench.work() as work:
            keep_wanted(work, load(path), lambda document: document)
        found = bench.state.snapshot("desired", "components.rules")
        return found.at, found.data

    first, second = kept(), kept()
    assert second == first
    path.write_text(f"# moved\n{path.read_text()}")
    third = kept()
    assert third[0] > first[0]
    assert third[1] != first[1]
    assert bench.state.snapshot("places").document["store"]["releases"] == 1
