"""What a valid spec means: defaults, extends, variables, secrets, what is in force and why, and the starter file."""

import json
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler import resolving
from reconciler.errors import SecretError, SpecError, UsageError
from reconciler.model.client import InventoryEntry
from reconciler.model.delta import Duplication
from reconciler.model.secret import SecretRef
from reconciler.resolving import resolve
from reconciler.specfile.effective import effective_text, explain
from reconciler.specfile.load import load, load_spec
from reconciler.specfile.secrets import MASK, Masker
from reconciler.specfile.starter import schema_beside, starter, written_new
from reconciler.specfile.variables import parse_variables

LOCAL = "groups: {g: {transport: {type: local}, install_root: c, clients: [{name: a}]}}\n"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str, name: str = "updoser.yaml") -> Any:
        (tmp_path / name).write_text(f"version: 1\n{text}", encoding="utf-8")
        return tmp_path / name

    return write


def spec_of(path: Any, **options: Any) -> Any:
    return load_spec(path, environ={}, **options)


# --- defaults and groups --------------------------------------------------------------------------------------------


def test_without_components_everything_is_managed_at_latest(write: Any) -> None:
    spec = spec_of(write(LOCAL))
    assert len(spec.components) == 20
    assert {wanted.version for wanted in spec.components.values()} == {"latest"}


def test_a_site_has_its_groups_and_what_carries_work_out_there(write: Any) -> None:
    spec = spec_of(write(f"{LOCAL}sites: {{lyon: {{groups: [g], executor: {{type: threads}}}}}}\n"))
    assert (spec.sites["lyon"].executor.name, spec.sites["lyon"].forks) == ("threads", 0)
    limited = spec_of(write(f"{LOCAL}sites: {{lyon: {{groups: [g], executor: {{type: threads}}, forks: 40}}}}\n"))
    assert limited.sites["lyon"].forks == 40
    assert (spec.site_of("g"), spec.site_of("h")) == ("lyon", "")


def test_only_what_is_listed_is_managed_and_the_star_stands_for_all(write: Any) -> None:
    spec = spec_of(write("components: {virus-pattern: {}}\n"))
    assert list(spec.components) == ["virus-pattern"]
    spec = spec_of(write('components: {"*": {selinux: restore}, virus-pattern: {version: "16.679.00"}}\n'))
    assert len(spec.components) == 20
    assert spec.components["virus-pattern"].version == "16.679.00"
    assert spec.components["virus-pattern"].layout.selinux == "restore"


def test_components_are_duplicated_where_the_catalog_or_the_file_says_so(write: Any) -> None:
    spec = spec_of(write(LOCAL))
    assert sum(wanted.duplicate for wanted in spec.components.values()) == 6
    assert spec.duplication == Duplication(enabled=True, incrementals=14, keep_fulls=7)
    text = """
duplication: {incrementals: 3, keep_fulls: 2, codecs: {zstd: {level: 12, window: 27}, bsdiff: {}}}
components: {"*": {}, virus-pattern: {duplicate: false}, virus-scan-engine: {duplicate: true, codec: bsdiff}}
"""
    spec = spec_of(write(LOCAL + text))
    assert not spec.components["virus-pattern"].duplicate
    engine = spec.components["virus-scan-engine"]
    assert (engine.duplicate, engine.codec) == (True, "bsdiff")
    policy = spec.duplication
    assert (policy.incrementals, policy.keep_fulls, policy.codecs) == (3, 2, ("zstd", "bsdiff"))
    assert (policy.levels, policy.windows) == ({"zstd": 12}, {"zstd": 27})


def test_a_group_takes_the_defaults_and_lays_its_own_over_them(write: Any) -> None:
    text = """
defaults: {install_root: /r, transport: {type: ssh, user: u, port: 23}, labels: [d]}
groups:
  g: {transport: {user: v}, labels: [x], clients: [{name: a, labels: [y]}, {name: b, install_root: /own, port: 99}]}
  h: {clients: [{name: c}]}
  l: {transport: {type: local}, install_root: there, clients: [{name: d}]}
"""
    spec = spec_of(write(text))
    assert {key: spec.groups["g"].transport.options[key] for key in ("user", "port")} == {"user": "v", "port": 23}
    a, b = spec.groups["g"].clients
    assert (a.labels, a.install_root, b.install_root, b.port) == (("x", "y"), "/r", "/own", 99)
    assert spec.groups["h"].clients[0].labels == ("d",)
    assert "user" not in spec.groups["l"].transport.options
    assert spec.groups["l"].install_root == str(spec.base / "there")


def test_options_of_plugins_get_their_defaults_and_secrets_stay_references(write: Any, tmp_path: Path) -> None:
    (tmp_path / "k").write_text("x")
    text = "groups: {g: {transport: {type: ssh, keys: [{file: k}]}, install_root: /r, clients: [{name: a}]}}\n"
    options = spec_of(write(text)).groups["g"].transport.options
    assert options["connect_timeout"] == "10s"
    assert options["keys"] == [SecretRef("file", "k")]
    url = "url: 'https://u.example/repo', trusted_root: root.json"
    text = f"sources: [{{name: v, type: tuf, {url}, headers: {{X-Key: {{file: k}}, X-Site: north}}}}]\n"
    (source,) = spec_of(write(text)).sources
    assert source.plugin.options["headers"] == {"X-Key": SecretRef("file", "k"), "X-Site": "north"}


def test_paths_start_from_the_folder_of_the_spec(write: Any, tmp_path: Path) -> None:
    spec = spec_of(write("server: {store: s, state: 'sqlite:///d/state.db'}\n"))
    assert spec.server.store == tmp_path / "s"
    assert spec.server.state == f"sqlite:///{tmp_path}/d/state.db"


# --- extends and variables ------------------------------------------------------------------------------------------


def test_extending_merges_maps_replaces_lists_and_null_resets(write: Any) -> None:
    write("client_keep: 5\nserver: {store: s}\nhold: [{clients: a, reason: base}]\nplugins: []\n", "base.yaml")
    text = (
        "extends: base.yaml\nclient_keep: null\nserver: {state: 'sqlite:///x.db'}\nhold: [{clients: b, reason: own}]\n"
    )
    spec = spec_of(write(text))
    assert spec.client_keep == 2
    assert spec.server.store.name == "s"
    assert spec.server.state.endswith("x.db")
    assert [hold.reason for hold in spec.holds] == ["own"]


def test_only_a_plugin_that_says_so_is_signed_remote_or_local_whatever_its_name_and_options(
    write: Any, tmp_path: Path
) -> None:
    module = 'OPTIONS = {"type": "object"}\ndef PLUGIN(options, context):\n    return None\n'
    for kind in ("source", "transport"):
        (tmp_path / "own" / kind).mkdir(parents=True, mode=0o755)
        (tmp_path / "own" / kind / "guessed.py").write_text(module)
        (tmp_path / "own" / kind / "guessed.py").chmod(0o644)
    file = write(
        "plugins: [own]\n"
        "sources: [{name: s, type: guessed, url: 'https://updates.example', trusted_root: root.json}]\n"
        "groups: {g: {transport: {type: guessed, jump: [{address: j}]}, install_root: /r, clients: [{name: c}]}}\n"
    )
    (source,), group = spec_of(file).sources, spec_of(file).groups["g"]
    assert (source.signed, source.remote, group.local, group.jump) == (False, False, False, "")


SHELF = """
OPTIONS = {"type": "object", "additionalProperties": False, "properties": {"components": {"type": "object",
    "additionalProperties": {"type": "object", "properties": {"place": {"type": "string", "default": "top"}}}}}}
def PLUGIN(options, context):
    return None
"""


def test_a_source_serves_the_components_that_its_plugin_has_options_for(write: Any, tmp_path: Path) -> None:
    (tmp_path / "own" / "source").mkdir(parents=True, mode=0o755)
    (tmp_path / "own" / "source" / "shelf.py").write_text(SHELF)
    (tmp_path / "own" / "source" / "shelf.py").chmod(0o644)
    text = "plugins: [own]\nsources: [{name: s, type: %s, components: %s}]\n"
    (source,) = spec_of(write(text % ("shelf", "{virus-pattern: {}, spyware-pattern: {place: left}}"))).sources
    assert source.components == {"virus-pattern", "spyware-pattern"}
    told = source.plugin.options["components"]
    assert told == {"virus-pattern": {"place": "top"}, "spyware-pattern": {"place": "left"}}
    (source,) = spec_of(write(text % ("shelf", "[virus-pattern]"))).sources
    assert (source.components, dict(source.plugin.options)) == ({"virus-pattern"}, {})
    for type_, components, says in (
        ("shelf", "{virus-patern: {}}", "no catalog has a component `virus-patern`"),
        ("shelf", "{virus-pattern: {place: 1}}", "text is meant here"),
        ("sample", "{virus-pattern: {}}", "`sample` has no options for each of `components`"),
        ("sample", "all", "a list or a map is wanted here"),
    ):
        with pytest.raises(SpecError, match=says):
            spec_of(write(text % (type_, components)))


def test_variables_come_from_the_file_the_command_line_and_the_environment(write: Any, tmp_path: Path) -> None:
    file = write('vars: {site: berlin, folder: "{{ site }}-1"}\nserver: {store: "{{ folder }}"}\n')
    assert spec_of(file).server.store.name == "berlin-1"
    assert spec_of(file, variables={"site": "paris"}).server.store.name == "paris-1"
    (tmp_path / "v.yaml").write_text("site: rom\nnumber: 3\n")
    assert parse_variables([f"@{tmp_path}/v.yaml", "number=4"]) == {"site": "rom", "number": "4"}
    file = write("server: {store: \"{{ env('UPDOSER_VAR_X') }}\"}\n")
    assert load_spec(file, environ={"UPDOSER_VAR_X": "there"}).server.store.name == "there"
    with pytest.raises(SpecError, match="--no-exec"):
        load_spec(file, environ={"UPDOSER_VAR_X": "there"}, no_exec=True)


def test_a_template_becomes_the_number_that_is_meant(write: Any) -> None:
    spec = spec_of(write('client_keep: "{{ 1 + 2 }}"\n'))
    assert spec.client_keep == 3
    with pytest.raises(SpecError, match="whole number"):
        spec_of(write("client_keep: \"{{ 'x' }}\"\n"))


@pytest.mark.parametrize("item", ["x", "=y", "1a=b", "@missing.yaml"])
def test_a_malformed_variable_is_told(item: str) -> None:
    with pytest.raises((UsageError, SpecError)):
        parse_variables([item])


def test_the_digest_covers_what_decides_and_not_how_it_is_written(write: Any) -> None:
    digest = spec_of(write("server: {store: s}   # comment\n")).digest
    assert spec_of(write("server:\n  store: 's'\n")).digest == digest
    assert spec_of(write("vars: {x: s}\nserver: {store: '{{ x }}'}\n")).digest != digest
    assert spec_of(write("server: {store: t}\n")).digest != digest


# --- what is in force -----------------------------------------------------------------------------------------------


def test_each_value_in_force_is_told_with_the_line_that_set_it(write: Any, tmp_path: Path) -> None:
    write("defaults: {install_root: /base}\n", "base.yaml")
    file = write(
        "extends: base.yaml\nvars: {u: root}\ngroups:\n  dmz:\n"
        '    transport: {user: "{{ u }}"}\n    clients: [{name: a}]\n'
    )
    loaded = load(file, environ={}, variables={"u": "admin"})
    document = explain(loaded, "groups.dmz")
    places = {
        entry["path"]: (entry["value"], entry["from"].replace(f"{tmp_path}/", "")) for entry in document["values"]
    }
    assert places["groups.dmz.install_root"] == ("/base", "base.yaml:2")
    assert places["groups.dmz.transport.user"] == ("admin", "updoser.yaml:6, with -e u")
    assert places["groups.dmz.transport.port"] == (22, "default")
    assert places["groups.dmz.clients.a.name"] == ("a", "updoser.yaml:7")
    assert "groups.dmz.transport.user: admin" in effective_text(document)
    assert json.dumps(document)
    with pytest.raises(UsageError) as caught:
        explain(loaded, "groups.dmx")
    assert "did you mean `dmz`?" in caught.value.hint


# --- secrets --------------------------------------------------------------------------------------------------------


def test_secrets_come_from_the_environment_a_file_or_a_program(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("from file\n")
    assert resolve(SecretRef("env", "X"), tmp_path, {"X": "from env"}) == "from env"
    assert resolve(SecretRef("file", "s"), tmp_path, {}) == "from file"
    program = SecretRef("command", (sys.executable, "-c", "print('from program')"))
    assert resolve(program, tmp_path, {}) == "from program"


def test_a_secret_that_cannot_be_had_is_told_without_telling_it(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("hidden")
    (tmp_path / "open").chmod(0o666)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").write_text("")
    failing = SecretRef("command", (sys.executable, "-c", "print('hidden'); raise SystemExit(3)"))
    for secret in (
        SecretRef("env", "X"),
        SecretRef("file", "missing"),
        SecretRef("file", "open"),
        SecretRef("file", "binary"),
        SecretRef("file", "empty"),
        SecretRef("command", ("no-such-program",)),
        failing,
    ):
        with pytest.raises(SecretError) as caught:
            resolve(secret, tmp_path, {})
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("program", "within", "words"),
    [
        ("while True: print('hidden' * 1000)", 30, "is larger than 65536 bytes"),
        ("import time; print('hidden', flush=True); time.sleep(600)", 1, "gave no secret within 1 s"),
    ],
)
def test_a_program_that_does_not_end_with_a_secret_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, within: int, words: str
) -> None:
    monkeypatch.setattr(resolving, "TIMEOUT", within)
    with pytest.raises(SecretError, match=words):
        resolve(SecretRef("command", (sys.executable, "-c", program)), tmp_path, {})


def test_secrets_are_masked_wherever_they_would_be_shown() -> None:
    masker = Masker()
    masker.add("geheim-geheim")
    masker.add("ab")
    assert masker.mask("x geheim-geheim ab") == f"x {MASK} ab"


# --- the starter file -----------------------------------------------------------------------------------------------


def test_the_starter_file_is_valid_and_lists_the_catalog(tmp_path: Path) -> None:
    file = tmp_path / "updoser.yaml"
    with written_new(file, starter(file=file, catalog=None, inventory=None, entries=())):
        pass
    spec = load_spec(file, environ={}, check_secrets=False)
    assert len(spec.components) == 20
    assert "# virus-pattern:" in file.read_text()
    assert schema_beside(file)
    assert (tmp_path / re.search(r"\$schema=(\S+)", file.read_text())[1]).is_file()
    assert not schema_beside(file)  # it may have been made with other plugins
    with pytest.raises(UsageError, match="there already"):
        written_new(file, "").__enter__()


def test_a_starter_file_that_is_no_good_does_not_stay(tmp_path: Path) -> None:
    file = tmp_path / "updoser.yaml"
    with pytest.raises(SpecError), written_new(file, "version: 2\n"):
        load_spec(file, environ={})
    assert not file.exists()


def test_the_starter_file_is_filled_from_an_inventory_and_a_catalog_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "version: 1\nname: own\ncomponents: [{id: rules, name: Rules, kind: pattern, version_scheme: integer}]\n"
    )
    entries = [InventoryEntry("a", groups=("web",)), InventoryEntry("b", groups=("web", "db"))]
    file = tmp_path / "updoser.yaml"
    with written_new(file, starter(file=file, catalog="own.yaml", inventory="list 'my hosts'", entries=entries)):
        pass
    spec = load_spec(file, environ={}, check_secrets=False)
    assert list(spec.components) == ["rules"]
    assert spec.groups["fleet"].inventory.plugin.options["run"] == ["list", "my hosts"]
    assert "2 of 2 clients are in web" in file.read_text()
    with pytest.raises(UsageError, match="there is no catalog"):
        starter(file=file, catalog="nothing", inventory=None, entries=())


def test_the_spec_of_the_demo_is_valid(tmp_path: Path) -> None:
    spec = load_spec(Path(__file__).parents[2] / "updoser.yaml", environ={})
    assert [len(group.clients) for group in spec.groups.values()] == [4, 4]
    assert {group.scan_method for group in spec.groups.values()} == {"conventional", "smart"}
    assert not stat.S_IMODE(spec.path.stat().st_mode) & stat.S_IXUSR


def test_an_entry_of_a_list_is_explained_by_its_number_or_its_name(write: Any) -> None:
    loaded = load(write(f"sources: [{{name: hq, type: directory, path: x}}]\n{LOCAL}"), environ={})
    by_name, by_number = (explain(loaded, path)["values"] for path in ("sources.hq.type", "sources.0.type"))
    assert [entry["value"] for entry in by_name] == [entry["value"] for entry in by_number] == ["directory"]
    with pytest.raises(UsageError, match="there is no `gq` in sources") as caught:
        explain(loaded, "sources.gq")
    assert caught.value.hint == "there is: hq"
    with pytest.raises(UsageError, match=r"there is no `x` in sources\.hq\.type"):
        explain(loaded, "sources.hq.type.x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a-b: x\n", "`a-b` can't be a variable's name"),
        ("a: [x]\n", "a variable is text, a number, or true or false"),
        ("a:\n", "a variable is text, a number, or true or false"),
    ],
)
def test_a_file_of_variables_says_what_can_not_be_one(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "v.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        parse_variables([f"@{tmp_path}/v.yaml"])
    assert [problem.message for problem in caught.value.problems] == [says]
