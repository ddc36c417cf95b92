"""Why a client has what it has: the answers follow from the plan, and each names the line that asks for it."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.model.policy import Wave
from reconciler.model.spec import Hold
from reconciler.observe.observed import Sight, observe
from reconciler.planning import PlanOptions, plan_of
from reconciler.specfile.asked import asked_of, holds_of
from reconciler.specfile.load import load
from tests.fleet import Fleet
from tests.unit.test_documents import schema
from tests.unit.workbench import Bench, Opened


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    made = Fleet(tmp_path_factory.mktemp("why"), clients=3, client_keep=2)
    made.write(auto_update={"rollout": {"waves": [{"count": 1, "soak": "1h"}, {"share": "100%"}]}})
    made.release("rules", "1", rules_dat=b"1")
    assert made.apply().code == 0
    made.release("rules", "2", rules_dat=b"2")
    assert made.apply().code == 0
    return made


def waiting(fleet: Fleet) -> str:
    """Give a client that waits for the second wave."""
    return next(name for name in ("c1", "c2", "c3") if fleet.current(name, "rules") == {"rules.dat": b"1"})


def answer(fleet: Fleet, *question: str) -> Any:
    done = fleet.run("why", *question, "--format", "json")
    assert done.code == 0, done.err
    Draft202012Validator(schema("why")).validate(done.json)
    return done.json


def test_a_client_of_a_later_wave_is_told_its_wave_the_soak_and_what_happened_last(fleet: Fleet) -> None:
    document = answer(fleet, waiting(fleet), "rules")
    (rules,) = document["components"]
    assert (rules["version"], rules["wanted"], rules["state"], rules["coming"]) == ("1", "2", "outdated", "deferred")
    (rollout,) = rules["rollouts"]
    assert (rollout["own_wave"], rollout["open_wave"], rollout["waves"]) == (2, 1, 2)
    assert rollout["next_at"]
    assert rollout["next_at"] in rules["next"]
    assert [(one["to"], one["outcome"]) for one in rules["happened"]] == [("1", "changed")]
    assert (rules["release"]["version"], rules["release"]["signed_by"]) == ("2", None)
    lines = (fleet.folder / "updoser.yaml").read_text().splitlines()
    places = {one["path"]: one["from"] for one in rules["asked"]}
    assert places["components.rules.version"] == "default"
    at = int(places["auto_update.rollout"].rpartition(":")[2])
    assert "rollout" in lines[at - 1]


def test_the_answer_as_text_says_the_same(fleet: Fleet) -> None:
    done = fleet.run("why", waiting(fleet))
    assert done.code == 0
    assert "rules: has 1, wanted is 2: not what is wanted" in done.out
    assert "this client is in wave 2 of 2" in done.out
    began = answer(fleet, waiting(fleet))["components"][0]["protection"]["began"]
    assert f"time to protection: 2: not yet 50 % of the clients (offered {began})" in done.out
    assert "next: a later apply, once what it waits for is over; the next step of its rollout is due " in done.out


def test_a_client_or_component_that_is_not_there_is_refused_with_what_was_meant(fleet: Fleet) -> None:
    for question, message in ((("c11",), "did you mean `c1`?"), (("c1", "rulse"), "did you mean `rules`?")):
        done = fleet.run("why", *question)
        assert (done.code, done.out) == (64, "")
        assert message in done.err


def test_the_answer_names_the_site_that_a_client_is_worked_on_from(fleet: Fleet) -> None:
    text = (fleet.folder / "updoser.yaml").read_text()
    group = next(iter(fleet.spec["groups"]))
    spec = fleet.folder / "sited.yaml"
    spec.write_text(f"{text}sites: {{lyon: {{groups: [{group}], executor: {{type: threads}}}}}}\n")
    asked = ("why", "c1", "--file", spec.name)
    done = fleet.run(*asked, "--format", "json")
    assert done.code == 0, done.err
    Draft202012Validator(schema("why")).validate(done.json)
    assert done.json["site"] == "lyon"
    assert f"c1 of group {group} at site lyon" in fleet.run(*asked).out
    assert "site" not in answer(fleet, "c1")


# --- settings ---------------------------------------------------------------------------------------------------------

SECRET = "hunter2-is-the-password"


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Give a fleet of one client that has a release and a file of settings."""
    folder = tmp_path_factory.mktemp("configured")
    (folder / "agent.j2").write_text("{{ name }} {{ vars.role }} {{ site }} {{ secret.key }}\n")
    (folder / "key").write_text(SECRET)
    (folder / "key").chmod(0o600)
    (folder / "etc").mkdir()
    made = Fleet(folder, clients=1, vars={"site": "berlin"})
    group = made.spec["groups"]["all"]
    group["clients"][0]["vars"] = {"role": "db", "other": "unread"}
    asked = {"template": "agent.j2", "path": str(folder / "etc/agent.conf"), "mode": "0600"}
    group["settings"] = [{**asked, "secrets": {"key": {"file": "key"}}}]
    made.write()
    made.release("rules", "1", rules_dat=b"1")
    assert made.apply().code == 0
    return made


@pytest.fixture
def copied(configured: Fleet, tmp_path: Path) -> Fleet:
    """Give the same fleet in a folder of its own; the file of settings stays where it is."""
    shutil.copytree(configured.folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    made = Fleet(tmp_path)
    made.spec = copy.deepcopy(configured.spec)
    made.write()
    return made


def test_a_file_of_settings_is_told_with_its_template_its_lines_and_what_that_reads(configured: Fleet) -> None:
    path = str(configured.folder / "etc/agent.conf")
    document = answer(configured, "c1", path)
    (setting,) = document["settings"]
    assert document["components"] == []
    assert (setting["path"], setting["template"], setting["state"]) == (path, "agent.j2", "updated")
    assert setting["version"] == setting["wanted"] == setting["happened"][0]["to"]
    lines = (configured.folder / "updoser.yaml").read_text().splitlines()
    written = {
        one["path"]: lines[int(one["from"].rpartition(":")[2]) - 1] for one in setting["asked"] + setting["reads"]
    }
    assert "template: agent.j2" in written["groups.all.settings.0.template"]
    assert {path: line.split()[-1] for path, line in written.items() if "vars" in path} == {
        "vars.site": "berlin",
        "clients.c1.vars.role": "db",
    }
    assert SECRET not in json.dumps(document)


def test_settings_that_somebody_changed_or_that_a_variable_changes_are_told_with_what_comes(copied: Fleet) -> None:
    given = answer(copied, "c1", "settings", "-e", "site=rome")["settings"][0]
    assert (given["state"], given["coming"], given["reads"][0]["from"]) == ("outdated", "due", "-e site")
    Path(given["path"]).write_text("changed by hand")
    done = copied.run("why", "c1", "settings", "--refresh")
    assert "settings, made of agent.j2: changed by somebody else since it was put there" in done.out
    assert "next: the next apply writes it anew: `updoser plan --limit c1 --diff`" in done.out


def test_a_template_that_is_no_good_keeps_nobody_from_the_rest_of_the_answer(copied: Fleet) -> None:
    (copied.folder / "agent.j2").write_text("\n{{ naem }}\n")
    document = answer(copied, "c1")
    assert [(one["id"], one["state"]) for one in document["components"]] == [
        ("rules", "updated"),
        ("engine", "unknown"),
    ]
    assert "no source offers a release" in document["components"][1]["next"]
    (setting,) = document["settings"]
    assert (setting["state"], setting["coming"]) == ("unknown", "held")
    assert "agent.j2:2: the variable `naem` isn't defined" in setting["trouble"]


def test_what_nothing_asks_for_any_more_is_said_to_stay(copied: Fleet) -> None:
    copied.spec["groups"]["all"]["settings"] = []
    copied.write(components={"engine": {}})
    document = answer(copied, "c1")
    (_engine, rules), (setting,) = document["components"], document["settings"]
    assert (rules["id"], rules["version"], rules["state"]) == ("rules", "1", "unmanaged")
    assert rules["next"] == "nothing: the spec doesn't manage it, and what is there stays"
    assert (setting["path"], setting["state"]) == (None, "unmanaged")


def test_clients_and_names_that_mean_nothing_are_refused_with_what_to_ask_instead(copied: Fleet) -> None:
    copied.spec["groups"]["all"]["clients"][0] |= {"name": "other", "install_root": "clients/other"}
    copied.write(components={"engine": {}})
    assert copied.run("plan").code == 0
    for question, says in (
        (("all",), "that is a group\n  `updoser clients all` lists its clients"),
        (("c1",), "c1 is no client any more: it was in group all, and answered last at "),
        (("othr",), "did you mean `other`?"),
        (("other", "rulse"), "no catalog has a component rulse\n  did you mean `rules`?"),
        (("other", "rules"), "clients of group all don't get rules: the spec doesn't manage it\n  they get: engine"),
        (("other", "/etc/x"), "clients of group all have no settings /etc/x\n  they get: "),
    ):
        done = copied.run("why", *question)
        assert (done.code, done.out) == (64, "")
        assert says in done.err


def planned(bench: Bench, name: str, **sight: Any) -> Any:
    with bench.work() as work:
        options = PlanOptions(Sight(refresh=False, names=(name,), **sight))
        return plan_of(work, options, observe(work, options.sight))


def test_a_client_is_judged_among_the_whole_fleet_and_nobody_is_contacted(opened: Opened) -> None:
    bench = opened({"g": 4})
    bench.policy(waves=(Wave(count=1), Wave(share=1.0)))
    bench.release("2")
    whole = bench.plan()
    before = {name: machine.calls["facts"] for name, machine in bench.machines.items()}
    changing = {name for deploy in whole.deploys for cohort in deploy.members for name in whole.members[cohort]}
    assert len(changing) == 1
    for name in bench.machines:
        assert bool(planned(bench, name).deploys) is (name in changing), name
    assert {name: machine.calls["facts"] for name, machine in bench.machines.items()} == before


def test_asking_about_a_client_does_not_pass_over_a_manual_trigger_as_a_limit_does(opened: Opened) -> None:
    bench = opened({"g": 1})
    policies = {key: replace(policy, trigger="manual") for key, policy in bench.spec.policies.items()}
    bench.spec = replace(bench.spec, policies=policies)
    bench.release("2")
    assert bench.plan(limit="g-0").deploys
    plan = planned(bench, "g-0")
    assert not plan.deploys
    assert "trigger is manual" in plan.held[0].reason


def test_names_with_the_marks_of_patterns_are_taken_as_they_are(opened: Opened) -> None:
    bench = opened(("!a", "a:b", "*"))
    bench.spec = replace(bench.spec, holds=(Hold("name=x", "y"),))
    for name in ("!a", "a:b", "*"):
        plan = planned(bench, name)
        assert sum(plan.clients.values()) == 1, name


SPEC = """\
version: 1
server: {store: store, state: "sqlite:///state.db"}
catalogs: [catalog.yaml]
auto_update: {trigger: download}
components:
  "*": {min_age: 2h}
  rules:
    version: "7"
    auto_update: {enabled: true, trigger: manual}
groups:
  all:
    transport: {type: local}
    install_root: clients
    clients: [{name: c1}]
    auto_update:
      enabled: false
hold:
  - {clients: c1, reason: moving house}
  - clients: label=lab
    reason: exam
    until: "2026-11-30"
"""


def test_each_value_that_decides_is_named_with_the_line_of_who_wrote_it_last(tmp_path: Path) -> None:
    Fleet(tmp_path)
    (tmp_path / "updoser.yaml").write_text(SPEC)
    loaded = load(tmp_path / "updoser.yaml")
    found = {one.path: (one.value, one.where.rpartition(":")[2]) for one in asked_of(loaded, "rules", "all")}
    assert found == {
        "components.rules.version": ("7", "8"),
        "components.*.min_age": ("2h", "6"),
        "groups.all.auto_update.enabled": ("false", "16"),
        "components.rules.auto_update.trigger": ("manual", "9"),
    }
    held = holds_of(loaded, "c1", "all", ("lab",), "2026-11-30")
    assert [(one.path, one.where.rpartition(":")[2]) for one in held] == [("hold.0", "18"), ("hold.1", "19")]
    assert json.loads(held[1].value)["reason"] == "exam"
    assert [one.path for one in holds_of(loaded, "c2", "all", ("lab",), "2026-12-01")] == []
