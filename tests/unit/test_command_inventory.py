"""A `command` inventory runs a program and reads Ansible's dynamic-inventory JSON, within limits."""

import json
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import InventoryError
from reconciler.model.client import InventoryEntry
from reconciler.plugins.inventory import _program, command
from tests.fakes import fake_context


def parse(data):
    return list(command.parse_inventory(json.dumps(data).encode(), "inv"))


@pytest.fixture
def run(tmp_path):
    """Run a Python program as the inventory."""

    def run(program, *arguments, **options):
        (tmp_path / "inv.py").write_text(program, encoding="utf-8")
        line = [sys.executable, "inv.py", *arguments]
        return list(command.PLUGIN({"run": line, **options}, fake_context(tmp_path)).clients())

    return run


def test_hosts_groups_and_vars_become_clients():
    data = {
        "_meta": {
            "hostvars": {
                "web-1": {"ansible_host": "192.0.2.1", "ansible_port": 2222, "ansible_user": "admin", "rack": 7},
                "alone": {},
            }
        },
        "web": {"hosts": ["web-1", "web-2"], "vars": {"tier": "front"}},
    }
    assert parse(data) == [
        InventoryEntry("alone", groups=("all",)),
        InventoryEntry("web-1", "192.0.2.1", 2222, "admin", (), ("all", "web"), {"tier": "front", "rack": "7"}),
        InventoryEntry("web-2", groups=("all", "web"), vars={"tier": "front"}),
    ]


def test_a_group_in_the_old_form_is_a_list_of_hosts():
    assert parse({"web": ["b", "a"]}) == [InventoryEntry(name, groups=("all", "web")) for name in "ab"]


def test_a_host_is_in_all_groups_above_its_own():
    data = {"eu": {"children": ["de"]}, "de": {"children": ["berlin"]}, "berlin": ["pc"], "us": ["other"]}
    assert [entry.groups for entry in parse(data)] == [("all", "us"), ("all", "berlin", "de", "eu")]


def test_vars_further_down_win():
    data = {
        "all": {"vars": {"a": "all", "b": "all", "c": "all", "d": "all"}},
        "zone": {"children": ["site"], "vars": {"b": "zone", "c": "zone", "d": "zone"}},
        "site": {"hosts": ["pc"], "vars": {"c": "site", "d": "site"}},
        "_meta": {"hostvars": {"pc": {"d": "host"}}},
    }
    assert parse(data)[0].vars == {"a": "all", "b": "zone", "c": "site", "d": "host"}


def test_groups_in_a_circle_do_no_harm():
    data = {"a": {"children": ["b"], "hosts": ["pc"]}, "b": {"children": ["a", "b"], "vars": {"x": "1"}}}
    assert parse(data) == [InventoryEntry("pc", groups=("a", "all", "b"), vars={"x": "1"})]


def test_only_scalars_become_vars_and_no_password_does():
    values = {
        "text": "a",
        "number": 1.5,
        "truth": True,
        "unsafe": {"__ansible_unsafe": "{{ raw }}"},
        "nothing": None,
        "list": ["a"],
        "vault": {"__ansible_vault": "$ANSIBLE_VAULT"},
        "ansible_password": "geheim",
        "ansible_host": {"__ansible_unsafe": "192.0.2.1"},
    }
    (entry,) = parse({"_meta": {"hostvars": {"pc": values}}})
    assert entry.vars == {"text": "a", "number": "1.5", "truth": "true", "unsafe": "{{ raw }}"}
    assert entry.address == "192.0.2.1"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "inv printed no JSON object"),
        ({"_meta": []}, "`_meta` isn't an object"),
        ({"_meta": {"hostvars": []}}, "`_meta` isn't an object with an object `hostvars`"),
        ({"_meta": {"hostvars": {"pc": []}}}, "the vars of 'pc' aren't an object"),
        ({"web": "pc"}, "the group 'web' is neither an object nor a list of hosts"),
        ({"web": {"hosts": "pc"}}, "`hosts` of the group 'web' isn't a list of names"),
        ({"web": {"children": [1]}}, "`children` of the group 'web' isn't a list of names"),
        ({"web": {"vars": []}}, "`vars` of the group 'web' isn't an object"),
        ({"_meta": {"hostvars": {"pc": {"ansible_port": "ssh"}}}}, "ansible_port of 'pc' isn't a number: 'ssh'"),
        ({"_meta": {"hostvars": {"pc": {"ansible_host": "{{ x }}.example"}}}}, "ansible_host of 'pc' is a template"),
    ],
)
def test_an_answer_of_another_form_is_an_error_that_names_the_place(data, words):
    with pytest.raises(InventoryError) as caught:
        parse(data)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "line 1, column 1"),
        (b'{"web":\n  [}', "line 2, column 4"),
        (b'{"a": "\xff"}', "printed no JSON"),
        (b"[" * 100_000, "printed no JSON"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "printed no JSON"),
    ],
)
def test_an_answer_that_is_no_json_is_an_error_that_says_where(answer, words):
    with pytest.raises(InventoryError) as caught:
        list(command.parse_inventory(answer, "inv"))
    assert words in caught.value.message
    assert "and nothing else to its standard output" in caught.value.hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["a", "b", "c", "all", "pc-1", "pc-2"])
GROUP = st.lists(NAMES, max_size=3) | st.fixed_dictionaries(
    {}, optional={"hosts": st.lists(NAMES), "children": st.lists(NAMES), "vars": st.dictionaries(NAMES, JSON)}
)
VARS = st.dictionaries(st.sampled_from(["ansible_host", "ansible_port", "ansible_user", "x"]), JSON)
INVENTORY = st.dictionaries(NAMES, GROUP | JSON, max_size=5).flatmap(
    lambda groups: st.builds(
        lambda hostvars: {**groups, "_meta": {"hostvars": hostvars}}, st.dictionaries(NAMES, VARS | JSON, max_size=3)
    )
)


@settings(max_examples=200, deadline=None)
@given(data=INVENTORY | JSON)
def test_any_json_is_clients_or_an_inventory_error(data):
    try:
        entries = parse(data)
    except InventoryError:
        return
    assert len({entry.name for entry in entries}) == len(entries)
    assert all("all" in entry.groups for entry in entries)
    assert all(isinstance(value, str) for entry in entries for value in entry.vars.values())


def test_the_program_runs_in_the_folder_of_the_spec_with_its_arguments_and_environment(run, tmp_path):
    program = """
import json, os, sys
print(json.dumps({"web": {"hosts": [sys.argv[1]], "vars": {"cwd": os.getcwd(), "mine": os.environ["MINE"]}}}))
"""
    assert run(program, "$(id)", env={"MINE": "yes"}) == [
        InventoryEntry("$(id)", groups=("all", "web"), vars={"cwd": str(tmp_path.resolve()), "mine": "yes"})
    ]


def test_a_program_that_fails_is_an_error_with_the_last_lines_that_it_said(run):
    program = "import sys\nfor n in range(9): print('line', n, file=sys.stderr)\nprint('{}')\nsys.exit(3)"
    with pytest.raises(InventoryError, match="ended with status 3") as caught:
        run(program)
    assert caught.value.hint == "line 4; line 5; line 6; line 7; line 8"


def test_what_a_program_says_on_the_side_is_no_part_of_its_answer(run):
    program = "import sys\nprint('warning ' * 100_000, file=sys.stderr)\nprint('{\"web\": [\"pc\"]}')"
    assert [entry.name for entry in run(program)] == ["pc"]


def test_a_program_that_is_not_there_is_an_error_that_names_it(tmp_path):
    inventory = command.PLUGIN({"run": ["./gone"]}, fake_context(tmp_path))
    with pytest.raises(InventoryError, match=r"\./gone can't be started: no such file"):
        list(inventory.clients())


def test_a_program_that_takes_too_long_is_stopped_with_all_that_it_started(run, tmp_path):
    program = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
open("child", "w").write(str(child.pid))
time.sleep(600)
"""
    with pytest.raises(InventoryError, match="wasn't done after 1 s"):
        run(program, timeout="1s")
    status = Path("/proc") / (tmp_path / "child").read_text() / "stat"
    gone = threading.Event()
    for _try in range(100):
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            gone.set()
            break
        gone.wait(0.05)
    assert gone.is_set()


@pytest.mark.parametrize(
    "program",
    [
        "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(600)",
        "import sys\nwhile True: sys.stderr.write('x' * 10_000)",
    ],
    ids=["closes its outputs", "never ends to warn"],
)
def test_a_program_that_goes_on_after_its_time_is_stopped_whatever_it_does(run, program):
    with pytest.raises(InventoryError, match="wasn't done after 1 s"):
        run(program, timeout="1s")


def test_a_program_that_prints_without_end_is_stopped(run, monkeypatch):
    monkeypatch.setattr(_program, "MAX_OUTPUT", 100_000)
    with pytest.raises(InventoryError, match="printed more than 100000 bytes"):
        run("while True: print('x' * 1000)")


def test_a_malformed_time_out_is_an_error_that_names_it(run):
    with pytest.raises(InventoryError, match="timeout"):
        run("", timeout="soon")
