"""A `command` inventory runs a program and reads Ansible's dynamic-inventory JSON, within limits."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import programs
from reconciler.errors import InventoryError
from reconciler.model.client import Demands, InventoryEntry
from reconciler.plugins.inventory import _ansible, command
from tests.fakes import fake_context, make_plugin
from tests.waiting import late_once, until


def parse(data: dict[str, Any] | list[dict[str, float] | str]) -> list[InventoryEntry] | None:
    return list(command.parse_inventory(json.dumps(data).encode(), "inv", Path("/etc/site")))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Run a Python program as the inventory."""

    def run(program: str, *arguments: str, **options: dict[str, str] | str) -> list[InventoryEntry] | None:
        (tmp_path / "inv.py").write_text(program, encoding="utf-8")
        line = [sys.executable, "inv.py", *arguments]
        return list(make_plugin(command, {"run": line, **options}, fake_context(tmp_path)).clients())

    return run


def test_hosts_groups_and_vars_become_clients() -> None:
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
        InventoryEntry(
            "web-1",
            "192.0.2.1",
            port=2222,
            user="admin",
            labels=(),
            groups=("all", "web"),
            vars={"tier": "front", "rack": "7"},
        ),
        InventoryEntry("web-2", groups=("all", "web"), vars={"tier": "front"}),
    ]


def test_a_group_in_the_old_form_is_a_list_of_hosts() -> None:
    assert parse({"web": ["b", "a"]}) == [InventoryEntry(name, groups=("all", "web")) for name in "ab"]


def test_a_host_is_in_all_groups_above_its_own() -> None:
    data = {"eu": {"children": ["de"]}, "de": {"children": ["berlin"]}, "berlin": ["pc"], "us": ["other"]}
    assert [entry.groups for entry in parse(data)] == [("all", "us"), ("all", "berlin", "de", "eu")]


def test_vars_further_down_win() -> None:
    data = {
        "all": {"vars": {"a": "all", "b": "all", "c": "all", "d": "all"}},
        "zone": {"children": ["site"], "vars": {"b": "zone", "c": "zone", "d": "zone"}},
        "site": {"hosts": ["pc"], "vars": {"c": "site", "d": "site"}},
        "_meta": {"hostvars": {"pc": {"d": "host"}}},
    }
    assert parse(data)[0].vars == {"a": "all", "b": "zone", "c": "site", "d": "host"}


def test_groups_in_a_circle_do_no_harm() -> None:
    data = {"a": {"children": ["b"], "hosts": ["pc"]}, "b": {"children": ["a", "b"], "vars": {"x": "1"}}}
    assert parse(data) == [InventoryEntry("pc", groups=("a", "all", "b"), vars={"x": "1"})]


def chain(size: Any, hosts: Any) -> dict[str, dict[str, dict[str, int] | list[str]]]:
    groups = {f"g{at}": {"children": [f"g{at + 1}"], "vars": {"at": at}} for at in range(size)}
    for at in hosts:
        groups[f"g{at}"]["hosts"] = [f"pc-{at}"]
    return {**groups, "_meta": {"hostvars": {}}}  # type: ignore[dict-item]


def test_a_chain_of_groups_may_be_long_and_not_many_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    (deepest,) = parse(chain(3000, [2999]))  # type: ignore[misc]
    assert len(deepest.groups) == 3001
    assert deepest.vars == {"at": "2999"}
    monkeypatch.setattr("reconciler.plugins.inventory._groups.MAX_TOGETHER", 1000)
    with pytest.raises(InventoryError, match="the groups are too many"):
        parse(chain(3000, range(3000)))


def test_only_scalars_become_vars_and_no_password_does() -> None:
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
    (entry,) = parse({"_meta": {"hostvars": {"pc": values}}})  # type: ignore[misc]
    assert entry.vars == {"text": "a", "number": "1.5", "truth": "true", "unsafe": "{{ raw }}"}
    assert entry.address == "192.0.2.1"


def reached(vars_: Any) -> InventoryEntry:
    (entry,) = parse({"_meta": {"hostvars": {"pc": vars_}}})  # type: ignore[misc]
    return entry


@pytest.mark.parametrize(
    ("vars_", "demands"),
    [
        ({"ansible_connection": "ssh"}, Demands("ssh")),
        ({"ansible_connection": "ansible.builtin.paramiko_ssh"}, Demands("ssh")),
        ({"ansible_connection": "winrm"}, Demands("winrm")),
        ({"ansible_connection": "local"}, Demands("local")),
        ({"ansible_private_key_file": "keys/a"}, Demands(keys=("/etc/site/keys/a",))),
        ({"ansible_private_key_file": "a", "ansible_ssh_private_key_file": "/k"}, Demands(keys=("/k",))),
        ({"ansible_ssh_extra_args": "-i k -o IdentityFile=/k"}, Demands(keys=("/etc/site/k", "/k"))),
        ({"ansible_ssh_common_args": "-J ops@bastion:2222,b.example"}, Demands(jump=("[bastion]:2222", "b.example"))),
        ({"ansible_ssh_common_args": "-o ProxyJump=[2001:db8::1]:22"}, Demands(jump=("2001:db8::1",))),
        ({"ansible_ssh_common_args": "-oProxyJump=none -J bastion"}, Demands()),
        ({"ansible_ssh_common_args": "-o ProxyCommand='ssh -q -W %h:%p o@b'"}, Demands(jump=("b",))),
        ({"ansible_ssh_args": "-J a", "ansible_ssh_common_args": "-J b"}, Demands(jump=("a",))),
        ({"ansible_ssh_args": "-C -o ControlMaster=auto -o 'ControlPersist 60s' -qo LogLevel=ERROR"}, None),
        ({"ansible_ssh_args": "-C -o ControlMaster=auto -o 'ControlPersist 60s' -q -o LogLevel=ERROR"}, Demands()),
        ({"ansible_become": True}, Demands(become=True)),
        ({"ansible_become": "no", "ansible_become_user": "joe"}, Demands(become=False)),
        ({"ansible_password": "geheim", "ansible_ssh_pipelining": True, "ansible_python_interpreter": "x"}, Demands()),
    ],
)
def test_what_a_transport_must_have_is_demanded_of_it(vars_: dict[str, Any], demands: Demands | None) -> None:
    entry = reached(vars_)
    assert (entry.demands if not entry.unfit else None) == demands


@pytest.mark.parametrize(
    ("vars_", "words"),
    [
        ({"ansible_port": "ssh"}, "ansible_port isn't a number: 'ssh'"),
        ({"ansible_ssh_port": 22.5, "ansible_port": 22}, "ansible_ssh_port isn't a number"),
        ({"ansible_host": "{{ x }}.example"}, "ansible_host is a template"),
        ({"ansible_ssh_host": {"__ansible_unsafe": "{{ x }}"}}, "ansible_ssh_host is a template"),
        ({"ansible_host": {"__ansible_vault": "$ANSIBLE_VAULT;1.1"}}, "ansible_host is vaulted"),
        ({"ansible_user": {"__ansible_vault": "$ANSIBLE_VAULT;1.1"}}, "ansible_user is vaulted"),
        ({"ansible_host": ["192.0.2.1"]}, "ansible_host is neither a text nor a number"),
        ({"ansible_host": ""}, "ansible_host is empty"),
        ({"ansible_connection": "{{ how }}"}, "ansible_connection is a template"),
        ({"ansible_ssh_common_args": "-o HostName=other"}, "ansible_ssh_common_args has the option 'HostName'"),
        ({"ansible_ssh_common_args": "-F other.conf"}, "ansible_ssh_common_args has '-F'"),
        ({"ansible_ssh_extra_args": "-p 2222"}, "ansible_ssh_extra_args has '-p'"),
        ({"ansible_ssh_common_args": "-o ProxyCommand='nc -x proxy %h %p'"}, "leads over 'nc -x proxy %h %p'"),
        ({"ansible_ssh_common_args": "-o ProxyCommand='ssh -F other -W %h:%p b'"}, "can't tell the hosts of"),
        ({"ansible_ssh_common_args": "'-J bastion"}, "isn't a line of arguments"),
        ({"ansible_ssh_executable": "/opt/wrapper"}, "ansible_ssh_executable is '/opt/wrapper'"),
        ({"ansible_ssh_private_key": "-----BEGIN"}, "ansible_ssh_private_key holds a private key"),
        ({"ansible_become": True, "ansible_become_method": "su"}, "ansible_become_method is 'su'"),
        ({"ansible_become_user": "postgres"}, "ansible_become_user is 'postgres'"),
        ({"ansible_become": "perhaps"}, "ansible_become is neither true nor false"),
    ],
)
def test_a_host_that_cannot_be_reached_as_its_vars_say_is_unfit_and_says_which_var(
    vars_: dict[str, Any], words: str
) -> None:
    entry = reached({**vars_, "site": "berlin"})
    assert words in entry.unfit
    assert (entry.address, entry.port, entry.user, entry.vars) == ("", None, None, {"site": "berlin"})


def test_of_groups_at_one_depth_the_priority_counts_and_then_the_name() -> None:
    ports = {"a": 2201, "b": 2202, "c": 2203}
    data = {name: {"hosts": ["pc"], "vars": {"ansible_port": port}} for name, port in ports.items()}
    assert parse(data)[0].port == 2203
    data["a"]["vars"]["ansible_group_priority"] = 10
    assert parse(data)[0].port == 2201


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
    ],
)
def test_an_answer_of_another_form_is_an_error_that_names_the_place(
    data: dict[str, Any] | list[Any], words: str
) -> None:
    with pytest.raises(InventoryError) as caught:
        parse(data)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "line 1, column 1"),
        (b'{"web":\n  [}', "line 2, column 4"),
        (b'{"a": "\xff"}', "printed no JSON"),
        (b'{"a": {"vars": {"x": "\\ud800"}}}', "half a character"),
        ('{"a": {"vars": {"x": "\\ud800"}}}'.encode("utf-16"), "printed no JSON"),
        (b"[" * 100_000, "printed no JSON"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "printed no JSON"),
    ],
)
def test_an_answer_that_is_no_json_is_an_error_that_says_where(answer: bytes, words: str) -> None:
    with pytest.raises(InventoryError) as caught:
        list(command.parse_inventory(answer, "inv", Path("/etc/site")))
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
SAID = JSON | st.sampled_from(
    ["ssh", "-J a", "-o ProxyCommand='ssh -W %h:%p b'", "-o x", "'", "sudo", "yes", "{{ x }}"]
)
VARS = st.dictionaries(st.sampled_from([*sorted(_ansible.DECIDING), "x"]), SAID)
INVENTORY = st.dictionaries(NAMES, GROUP | JSON, max_size=5).flatmap(
    lambda groups: st.builds(
        lambda hostvars: {**groups, "_meta": {"hostvars": hostvars}}, st.dictionaries(NAMES, VARS | JSON, max_size=3)
    )
)


@settings(max_examples=200, deadline=None)
@given(data=INVENTORY | JSON)
def test_any_json_is_clients_or_an_inventory_error(data: Any) -> None:
    try:
        entries = parse(data)
    except InventoryError:
        return
    assert len({entry.name for entry in entries}) == len(entries)  # type: ignore[arg-type]
    assert all("all" in entry.groups for entry in entries)
    assert all(isinstance(value, str) for entry in entries for value in entry.vars.values())


def test_the_program_runs_in_the_folder_of_the_spec_with_its_arguments_and_environment(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    program = """
import json, os, sys
vars = {"cwd": os.getcwd(), "mine": os.environ["MINE"]}
print(json.dumps({"_meta": {"hostvars": {}}, "web": {"hosts": [sys.argv[1]], "vars": vars}}))
"""
    assert run(program, "$(id)", env={"MINE": "yes"}) == [
        InventoryEntry("$(id)", groups=("all", "web"), vars={"cwd": str(tmp_path.resolve()), "mine": "yes"})
    ]


OLD = """
import json, sys, time
if sys.argv[1] == "--list":
    print(json.dumps({"web": ["pc-1", "pc-2", "pc-3"]}))
elif sys.argv[2] == "pc-1":
    print(json.dumps({"ansible_host": "192.0.2.1", "ansible_port": 2201}))
elif sys.argv[2] == "pc-2":
    print(sys.argv[3] * 10 if len(sys.argv) > 3 else "")
"""


def test_a_program_without_meta_is_asked_for_each_host_as_ansible_does(run: Callable[..., Any]) -> None:
    assert run(OLD, "--list") == [
        InventoryEntry("pc-1", "192.0.2.1", port=2201, groups=("all", "web")),
        InventoryEntry("pc-2", groups=("all", "web")),
        InventoryEntry("pc-3", groups=("all", "web")),
    ]


def test_a_program_without_meta_that_cannot_be_asked_for_a_host_is_refused(run: Callable[..., Any]) -> None:
    with pytest.raises(InventoryError, match="its answer has no `_meta`, so which machine 'pc-1' is") as caught:
        run(f"import sys; sys.argv.append('--list')\n{OLD}")
    assert "--host" in caught.value.hint


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (f"{OLD}\nif sys.argv[2:] == ['pc-2']: sys.exit(3)", "asked for 'pc-2': the inventory program"),
        (f"{OLD}\nif sys.argv[2:] == ['pc-3']: print([])", "--host pc-3 printed no JSON object"),
        (f"{OLD}\nif sys.argv[2:] == ['pc-3']: print('x' * 2**21)", "printed more than 1048576 bytes"),
        ('print(\'{"web": ["--list"]}\')', "a host is called '--list'"),
    ],
)
def test_a_host_that_a_program_says_nothing_of_is_an_error_that_names_it(
    run: Callable[..., Any], program: str, words: str
) -> None:
    with pytest.raises(InventoryError) as caught:
        run(program, "--list")
    assert words in caught.value.message


def test_a_program_that_takes_too_long_to_say_of_all_hosts_is_an_error_that_says_how_far_it_came(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_once((tmp_path / "asked").exists, monkeypatch, command, programs)
    with pytest.raises(InventoryError, match="gave the vars of 2 of 3 hosts in 4 s"):
        run(f"{OLD}\nif sys.argv[2:] == ['pc-3']: open('asked', 'w'); time.sleep(600)", "--list", timeout="4s")


def test_a_program_that_fails_is_an_error_with_the_last_lines_that_it_said(run: Callable[..., Any]) -> None:
    program = "import sys\nfor n in range(9): print('line', n, file=sys.stderr)\nprint('{}')\nsys.exit(3)"
    with pytest.raises(InventoryError, match="ended with status 3") as caught:
        run(program)
    assert caught.value.hint == "line 4; line 5; line 6; line 7; line 8"


def test_what_a_program_says_on_the_side_is_no_part_of_its_answer(run: Callable[..., Any]) -> None:
    answer = json.dumps({"_meta": {"hostvars": {}}, "web": ["pc"]})
    program = f"import sys\nprint('warning ' * 100_000, file=sys.stderr)\nprint({answer!r})"
    assert [entry.name for entry in run(program)] == ["pc"]


def test_a_program_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    inventory = make_plugin(command, {"run": ["./gone"]}, fake_context(tmp_path))
    with pytest.raises(InventoryError, match=r"\./gone can't be started: no such file"):
        list(inventory.clients())


def test_a_program_that_takes_too_long_is_stopped_with_all_that_it_started(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
open("new", "w").write(str(child.pid))
os.rename("new", "child")
time.sleep(600)
"""
    late_once((tmp_path / "child").exists, monkeypatch, programs)
    with pytest.raises(InventoryError, match="wasn't done after 1 s"):
        run(program, timeout="1s")
    status = Path("/proc") / (tmp_path / "child").read_text() / "stat"
    until(lambda: not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize(
    "program",
    [
        "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(600)",
        "import sys\nwhile True: sys.stderr.write('x' * 10_000)",
    ],
    ids=["closes its outputs", "never ends to warn"],
)
def test_a_program_that_goes_on_after_its_time_is_stopped_whatever_it_does(
    run: Callable[..., Any], program: str
) -> None:
    with pytest.raises(InventoryError, match="wasn't done after 1 s"):
        run(program, timeout="1s")


def test_a_program_that_prints_without_end_is_stopped(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MAX_OUTPUT", 100_000)
    with pytest.raises(InventoryError, match="printed more than 100000 bytes"):
        run("while True: print('x' * 1000)")


def test_a_malformed_time_out_is_an_error_that_names_it(run: Callable[..., Any]) -> None:
    with pytest.raises(InventoryError, match="timeout"):
        run("", timeout="soon")
