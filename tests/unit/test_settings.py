"""Settings: templates and their bounds, versions, what clients have of them, and what is shown of differences."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from threading import Event
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.client.reach import Reach
from reconciler.errors import SecretError, SpecError
from reconciler.execute.deploy import Task
from reconciler.execute.settings import Prepared, has_after, prepare
from reconciler.model.client import Client, Installed, Profile
from reconciler.model.deploy import Hook, Outcome
from reconciler.model.network import Proxy
from reconciler.model.plan import Basis
from reconciler.model.secret import SecretRef
from reconciler.model.settings import FileView, Have, is_reserved, pack, setting_id, split, to_do, unpack, wish
from reconciler.model.spec import GroupSpec, PluginConfig, SettingSpec
from reconciler.present.line_diff import changes
from reconciler.present.settings_text import files_text
from reconciler.templates.book import Book
from reconciler.templates.fault import TemplateFault
from reconciler.templates.profile import SETTINGS_FILE
from reconciler.templates.sandbox import Sandbox
from reconciler.templates.settings_file import Template
from reconciler.templates.settings_filters import FILTERS, bounded_range
from tests.fakes import FakeClient, FakeTransport
from tests.unit.deploying import Deployer

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32
CLIENT = Client("pc-1", "g", "192.0.2.1", labels=("eu", "canary"), install_root="/r", vars={"role": "db", "other": "x"})
PW = SecretRef("file", "pw")
HIDE = "updosermaskedvalue"


class Fake:
    """As much of a Spec as a Book reads."""

    def __init__(self, base: Any, settings: Any, variables: Any = None, **group: Any) -> None:
        transport = PluginConfig("transport", "local")
        self.base, self.variables = base, variables or {}
        self.groups = {"g": GroupSpec("g", transport, "/r", settings=tuple(settings), **group)}


@pytest.fixture
def book(tmp_path: Path) -> Any:
    """Make a book of one file."""

    def make(
        text: Any, *, key: Any = KEY, secret: Any = "geheim", variables: Any = None, proxy: Any = None, **keys: Any
    ) -> Any:
        (tmp_path / "t.j2").write_text(text)
        setting = replace(SettingSpec(tmp_path / "t.j2", "/etc/agent.conf"), **keys)
        return Book(Fake(tmp_path, [setting], variables, proxy=proxy), key, lambda _reference: secret)  # type: ignore[arg-type]

    return make


def rendered(text: str, **values: Any) -> Any:
    return Template(text, "t.j2").render(values)


# --- templates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{% for x in labels %}\n{{ loop.index }} {{ x | upper }}\n{% endfor %}\n", "1 EU\n2 CANARY\n"),
        ("{{ vars.role }} {{ vars['role'] }} {{ vars.none | default('-') }}", "db db -"),
        ("{{ name.split('-')[1] }} {{ 2 * 3 + 1 }} {{ 'a' + 'b' ~ 1 }}", "1 7 ab1"),
        ("{% if 'eu' in labels and vars.role is defined %}yes{% else %}no{% endif %}", "yes"),
        ("{% for k, v in vars.items() %}{{ k }}={{ v | quote }};{% endfor %}", "role=db;other=x;"),
        (
            "{{ labels | sort | join(',') }} {{ labels | tojson }} {{ range(3) | list }}",
            'canary,eu ["eu", "canary"] [0, 1, 2]',
        ),
        ("{# a comment #}x\n", "x\n"),
        ("no newline", "no newline"),
    ],
)
def test_what_templates_can_do(text: str, result: str) -> None:
    values = {"name": "pc-1", "labels": ["eu", "canary"], "vars": {"role": "db", "other": "x"}}
    assert rendered(text, **values) == result


FILTERED = {
    "abs": ("{{ -3 | abs }}", "3"),
    "capitalize": ("{{ 'eU' | capitalize }}", "Eu"),
    "count": ("{{ labels | count }}", "2"),
    "d": ("{{ nope | d('-') }}", "-"),
    "default": ("{{ '' | default('-', true) }}", "-"),
    "dictsort": ("{% for k, v in vars | dictsort %}{{ k }}={{ v }};{% endfor %}", "other=x;role=db;"),
    "first": ("{{ labels | first }}", "eu"),
    "float": ("{{ '1.5' | float + 1 }} {{ 'x' | float }} {{ 'x' | float(2) }}", "2.5 0.0 2"),
    "indent": (r"{{ 'a\n\nb' | indent(2) }};{{ 'a\nb' | indent('> ', true) }}", "a\n\n  b;> a\n> b"),
    "int": ("{{ '7' | int }} {{ 7.9 | int }} {{ 'x' | int }} {{ 'x' | int(3) }}", "7 7 0 3"),
    "join": ("{{ labels | join(', ') }}", "eu, canary"),
    "last": ("{{ labels | last }}", "canary"),
    "length": ("{{ name | length }}", "4"),
    "list": ("{{ 'ab' | list }}", "['a', 'b']"),
    "lower": ("{{ 'EU' | lower }}", "eu"),
    "max": ("{{ [2, 3, 1] | max }}", "3"),
    "min": ("{{ [2, 3, 1] | min }}", "1"),
    "quote": ('{{ "it\'s" | quote }}', """'it'"'"'s'"""),
    "replace": ("{{ name | replace('-', '_') }}", "pc_1"),
    "round": ("{{ 2.345 | round(1) }} {{ 7 | round }}", "2.3 7"),
    "sort": ("{{ labels | sort }}", "['canary', 'eu']"),
    "string": ("{{ (7 | string) ~ 1 }}", "71"),
    "sum": ("{{ [1, 2] | sum }}", "3"),
    "title": ("{{ 'in eu' | title }}", "In Eu"),
    "to_json": ("{{ vars | to_json }}", '{"role": "db", "other": "x"}'),
    "tojson": ("{{ [1] | tojson(1) }}", "[\n 1\n]"),
    "trim": ("{{ '  eu ' | trim }}.", "eu."),
    "unique": ("{{ [1, 2, 1] | unique }}", "[1, 2]"),
    "upper": ("{{ name | upper }}", "PC-1"),
}


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_every_filter_does_what_its_name_says(name: str) -> None:
    text, result = FILTERED[name]
    values = {"name": "pc-1", "labels": ["eu", "canary"], "vars": {"role": "db", "other": "x"}}
    assert rendered(text, **values) == result


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ range('3') | list }}", "range() takes whole numbers"),
        ("{{ range(1000000) | list }}", "range() gives more than"),
        ("{{ name | replace('', 'x') }}", "replace() needs something to look for"),
        ("{{ 'nan' | float }}", "`nan` is no number to work with"),
        ("{{ [] | first }}", "what is empty has no first entry"),
        ("{{ [] | last }}", "what is empty has no last entry"),
        ("{{ nope | tojson }}", "'nope' is undefined"),
    ],
)
def test_a_filter_says_what_it_can_not_take(text: str, says: str) -> None:
    with pytest.raises(TemplateFault, match=re.escape(says)):
        rendered(text, name="pc-1")


def test_values_are_data() -> None:
    assert rendered("{{ name }}", name="{{ 7 * 7 }} {% endfor %}") == "{{ 7 * 7 }} {% endfor %}"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("\n{{ nope }}", 2, "'nope' is undefined"),
        ("\n\n{{ vars.nope }}", 3, "no attribute 'nope'"),
        ("{{", 1, "malformed"),
        ("{{ 'a' * 9 }}", 1, "`*` takes two small numbers"),
        ("{{ 2 ** 9 }}", 1, "`**`"),
        ("{{ name.__class__ }}", 1, "unsafe"),
        ("{{ name.join }}", 1, "unsafe"),
        ("{{ labels.append('x') }}", 1, "unsafe"),
        ("{{ lipsum() }}", 1, "can't call"),
        ("{% include 'x' %}", 1, "{% include %}"),
        ("{% macro f() %}{% endmacro %}", 1, "macros"),
        ("\n{% autoescape true %}x{% endautoescape %}", 2, "{% autoescape %}"),
        ("\n{% set vars = 1 %}", 2, "`vars` can't be set"),
        ("{{ name | frob }}", 1, "no filter `frob`"),
        ("\n{{ 1 / 0 }}", 2, "division by zero"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", 1, "100000 rounds"),
        ("{{ range(10 * 9999999) | join }}", 1, "more than 100000"),
        ("{% for a in range(90000) %}0123456789012{% endfor %}", 0, "longer than 1024 KiB"),
        ("{% set a = 'xxxxxxxxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 40, 1, "longer than 256 KiB"),
        ("{% set a = 'xxxxxxxxxxxxxxxx' %}" + "{% set a = a + a %}" * 40, 1, "longer than 256 KiB"),
        (
            "{{ (range(9000) | join) | replace('1', '" + "x" * 90 + "') }}",
            1,
            "256 KiB",
        ),
        ("{% set a = ['x'] %}" + "{% set a = [a, a] %}" * 38 + "{{ a }}", 1, "longer than 256 KiB"),
        (
            "{% set a = {'x': 1} %}" + "{% set a = {'l': a, 'r': a} %}" * 38 + "{{ a | tojson }}",
            1,
            "longer than 256 KiB",
        ),
        (
            "{% set a = ('x',) %}" + "{% set a = (a, a) %}" * 38 + "{{ [a] | unique | length }}",
            1,
            "longer than 256 KiB",
        ),
        ("{% set a = ['x'] %}" + "{% set a = a + a %}" * 38, 1, "longer than 256 KiB"),
        (
            "{% set a = [1] %}" + "{% set a = [a] %}" * 400 + "{% set a = [a] + range(9000)|list %}{{ a|tojson(16) }}",
            1,
            "256 KiB",
        ),
        (
            "{% set a = 'x' %}"
            + "{% set a = a ~ a %}" * 17
            + "{% for i in range(2000) %}{% set b = a | upper %}{% endfor %}",
            1,
            "it builds more than 16 MiB",
        ),
        (
            "{% set a = 'a' %}" + "{% set a = a ~ a %}" * 17 + "{{ a.rsplit('ab' ~ a) | length }}",
            1,
            "at most 1024 characters",
        ),
        ("\n{{ vars.items }}", 2, "no value"),
        ("\n{{ vars.items ~ '' }}", 2, "no value"),
        ("\n{{ [range] | join }}", 2, "no value"),
        ("\n{% for a in labels %}{{ loop }}{% endfor %}", 2, "no value"),
        ("\n{{ [nope] }}", 2, "'nope' is undefined"),
        ("\n{{ 'inf' | float | int }}", 2, "`inf` is no number"),
        ("\n{{ [] | first }}", 2, "no first entry"),
        ("\n{{ '\\ud800' }}", 0, "half a character"),
        ("\n{{ " + "9" * 5000 + " }}", 0, "malformed"),
        ("{{ 'x' ~ [[[[[[[[[[" + "[" * 60 + "]" * 70 + " }}", 1, "nested too deeply"),
        ("x" * 300_000, 0, "the template is longer"),
    ],
)
def test_what_templates_can_not_do(text: str, line: int, says: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        rendered(text, name="pc-1", labels=["eu"], vars={})
    assert says in caught.value.message
    assert caught.value.line == line


def test_what_a_client_lacks_is_told_with_line_and_column(book: Any) -> None:
    made = book("a\n\nroles: {{ name }} {%- if true %} {{ labels | first }}{% endif %}.\n")
    (sheet,) = made.sheets("g")
    with pytest.raises(TemplateFault) as caught:
        sheet.render(replace(CLIENT, labels=()))
    assert sheet.trouble(caught.value) == "t.j2:3:34: what is empty has no first entry"
    assert sheet.render(CLIENT) == "a\n\nroles: pc-1 eu.\n"


PARTS = (
    "a",
    "\n",
    " ",
    "\r\n",
    "é",
    "{{ name }}",
    "{{- name -}}",
    "{{ name |\n upper }}",
    "{# c\n #}",
    "{% raw %}{{ x }}{% endraw %}",
)


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.lists(st.sampled_from(PARTS), max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_place_of_a_fault_is_that_of_its_tag(before: Any, after: Any) -> None:
    start = "".join(before).replace("\r\n", "\n")
    with pytest.raises(TemplateFault, match="zero") as caught:
        rendered("".join([*before, "{{ 1 // 0 }}", *after]), name="n")
    assert (caught.value.line, caught.value.column) == (start.count("\n") + 1, len(start) - start.rfind("\n"))


def test_a_place_is_found_behind_what_a_tag_takes_away() -> None:
    text = "{% raw %}{{ x }}{% endraw %}\r\n  {#- y\n#}\n\n  {%- set a = 1\n  + nope -%}\n\n é {{ a }}"
    with pytest.raises(TemplateFault) as caught:
        rendered(text)
    assert (caught.value.line, caught.value.column) == (5, 3)


def test_a_template_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hurried = replace(SETTINGS_FILE, spending=replace(SETTINGS_FILE.spending, seconds=0.0))  # type: ignore[type-var]
    sandbox = Sandbox(hurried, FILTERS, {"range": bounded_range})
    monkeypatch.setattr("reconciler.templates.settings_file._sandbox", lambda: sandbox)
    with pytest.raises(TemplateFault, match="took longer"):
        rendered("{% for a in range(5000) %}{% set b = range(1000) | list %}{% endfor %}")


# --- versions ---------------------------------------------------------------------------------------------------------

TEXT = "{{ site }} {{ vars.role }} {{ secret.pw }}"
PLAIN = {"variables": {"site": "b", "more": 1}, "secrets": {"pw": PW}}
HOOK = Hook("reload")


def version(book: Any, client: Any = CLIENT) -> Any:
    (found,) = book.versions(client).values()
    return found


def test_the_same_inputs_give_the_same_version_in_every_book(book: Any) -> None:
    first = version(book(TEXT, **PLAIN))
    assert first == version(book(TEXT, **PLAIN)) == version(book(TEXT, **PLAIN), replace(CLIENT, name="pc-2"))
    assert len(first) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"text": TEXT + "\n"},
        {"variables": {"site": "p", "more": 1}},
        {"secret": "another"},
        {"key": b"l" * 32},
        {"path": "/etc/other.conf"},
        {"owner": "root"},
        {"group": "root"},
        {"mode": "0600"},
        {"method": "copy"},
        {"validate": "true %s"},
        {"hook": HOOK},
        {"hook": Hook("reload", 5)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_input_makes_another_version(book: Any, change: Any) -> None:
    plain = version(book(TEXT, **PLAIN))
    hooked = version(book(TEXT, **PLAIN, hook=HOOK))
    other = version(book(change.get("text", TEXT), **{**PLAIN, **{k: v for k, v in change.items() if k != "text"}}))
    assert other not in {plain, hooked} or change == {"hook": HOOK}
    assert other != plain


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ({"vars": {"role": "web", "other": "x"}}, True),
        ({"vars": {"role": "db", "other": "changed"}}, False),
        ({"labels": ()}, False),
        ({"address": "192.0.2.9"}, False),
        ({"install_root": "/other"}, False),
    ],
)
def test_only_what_the_template_reads_of_a_client_matters(book: Any, change: Any, matters: bool) -> None:
    made = book(TEXT, **PLAIN)
    assert (version(made) != version(made, replace(CLIENT, **change))) is matters


def test_a_variable_that_is_not_read_makes_no_new_version(book: Any) -> None:
    other = {**PLAIN, "variables": {"site": "b", "more": 2}}
    assert version(book(TEXT, **PLAIN)) == version(book(TEXT, **other))


def test_where_vars_are_taken_as_a_whole_each_of_them_matters(book: Any) -> None:
    made = book("{{ vars | tojson }}")
    assert version(made) != version(made, replace(CLIENT, vars={**CLIENT.vars, "other": "y"}))


def test_a_group_has_one_version_where_nothing_of_a_client_is_read(book: Any) -> None:
    made = book("{{ site }} {{ group }}", variables={"site": "b"})
    assert made.wish_of_group("g") == made.wish(CLIENT) == made.wish(replace(CLIENT, name="pc-2"))
    assert book("{{ name }}").wish_of_group("g") is None


def test_only_secrets_that_are_read_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text("{{ secret.a }}")
    setting = SettingSpec(tmp_path / "t.j2", "/etc/x", secrets={"a": PW, "b": SecretRef("file", "not read")})
    asked = []
    Book(Fake(tmp_path, [setting]), KEY, lambda ref: asked.append(ref) or "s").sheets("g")  # type: ignore[arg-type, func-returns-value, redundant-expr]
    assert asked == [PW]


@pytest.mark.parametrize(
    ("text", "keys", "says"),
    [
        ("x\n{{ siet }}", {"variables": {"site": 1}}, "t.j2:2:1: the variable `siet` isn't defined"),
        ("{{ secret.pv }}", {"secrets": {"pw": PW}}, "names no secret `pv`"),
        ("{{ name }}", {"variables": {"name": "x"}}, "`name` is of the client here"),
        ("{% if %}", {}, "t.j2:1:1: the template is malformed"),
    ],
)
def test_a_template_that_is_no_good_is_told_with_its_place(book: Any, text: str, keys: Any, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        book(text, **keys).sheets("g")
    assert says in str(caught.value)


def test_a_template_may_ask_whether_a_variable_is_there(book: Any) -> None:
    assert book("{{ maybe | default('no') }}{% if more is defined %}{{ more }}{% endif %}").sheets("g")


def test_a_template_that_is_gone_or_no_text_is_told(book: Any, tmp_path: Path) -> None:
    made = book("x")
    (tmp_path / "t.j2").unlink()
    with pytest.raises(SpecError, match="can't be read"):
        made.sheets("g")
    (tmp_path / "t.j2").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="isn't UTF-8"):
        made.sheets("g")


def test_a_template_knows_the_proxy_and_never_its_password(book: Any) -> None:
    proxy = Proxy("p", "http", "proxy.example", 3128, "user", SecretRef("env", "PW"))
    made = book("{% if proxy %}{{ proxy | tojson }}{% endif %}", proxy=proxy).sheets("g")[0]
    assert made.render(CLIENT) == '{"name": "p", "host": "proxy.example", "port": 3128, "scheme": "http"}'
    assert book("{% if proxy %}x{% endif %}").sheets("g")[0].render(CLIENT) == ""


def test_a_secret_that_is_not_there_ends_the_plan(tmp_path: Path) -> None:
    def missing(_reference: Any) -> None:
        raise SecretError("it isn't there")

    (tmp_path / "t.j2").write_text("{{ secret.pw }}")
    with pytest.raises(SecretError):
        Book(Fake(tmp_path, [SettingSpec(tmp_path / "t.j2", "/etc/x", secrets={"pw": PW})]), KEY, missing).sheets("g")  # type: ignore[arg-type]


# --- what clients have ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "has", "todo"),
    [
        ("a:1", "a:1:d", ""),
        ("a:1", "a:1:d b:9:d", ""),
        ("a:1", "", "missing"),
        ("a:1", "b:9:d", "missing"),
        ("a:1 b:1", "a:1:d", "changed"),
        ("a:2", "a:1:d", "changed"),
        ("a:1", "a:1:!", "damaged"),
        ("a:2 b:1", "a:1:! b:1:d", "damaged"),
        ("a:1", "a:1:d b:1:!", ""),
    ],
)
def test_what_is_to_be_done_about_the_settings_of_a_client(wanted: str, has: str, todo: str) -> None:
    assert to_do(wanted, has) == todo


def test_settings_leave_the_profile_so_that_profiles_stay_few() -> None:
    settings = [Installed(setting_id("/etc/a"), "v1", "d"), Installed(setting_id("/etc/b"), "v2", "", damage="changed")]
    rules = Installed("rules", "1", "e")
    profile, has = split(Profile(installed=(rules, *settings)))
    assert profile == Profile(installed=(rules,))
    assert unpack(has) == {setting_id("/etc/a"): ("v1", "d"), setting_id("/etc/b"): ("v2", "")}
    assert split(profile) == (profile, "")


def test_ids_are_readable_and_differ_by_path() -> None:
    assert setting_id("/etc/clamav/clamd.conf").startswith("settings-clamd-conf-")
    assert setting_id("/a/x.conf") != setting_id("/b/x.conf")
    assert all(map(is_reserved, ("settings", "settings-x")))
    assert not is_reserved("settingsx")
    assert len(setting_id("/etc/" + "x" * 255)) <= 64


def test_a_step_carries_what_the_setting_says(book: Any) -> None:
    made = book("x {{ name }}", validate='check "%s"', mode="0640", owner="root", hook=HOOK, method="copy")
    ((step,), content) = (found := prepare(made, CLIENT, "")).steps, found.content
    (target,), (check,) = step.layout.targets, step.checks
    assert content[step.files[0].sha256] == b"x pc-1"
    assert (target.to, target.method, target.owner, target.mode) == ("/etc", "copy", "root", "0640")
    assert (check.phase, check.run) == ("staged", 'check "$UPDOSER_STAGED"/agent.conf')
    assert (step.from_version, step.from_digest, step.files[0].name, step.hooks.after) == ("", "", "agent.conf", HOOK)
    assert step.private


def test_only_files_that_differ_are_sent_and_all_where_none_does(tmp_path: Path) -> None:
    settings = []
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        settings.append(SettingSpec(tmp_path / name, f"/etc/{name}"))
    book = Book(Fake(tmp_path, settings), KEY, str)  # type: ignore[arg-type]
    a, b = book.versions(CLIENT).items()
    both = {a[0]: Have(a[1], "d"), b[0]: Have(b[1], "d")}
    assert [step.component for step in prepare(book, CLIENT, pack({**both, a[0]: Have("old", "d")})).steps] == [a[0]]
    assert [step.component for step in prepare(book, CLIENT, pack({**both, b[0]: Have(b[1], "")})).steps] == [b[0]]
    assert len(prepare(book, CLIENT, pack(both)).steps) == 2
    assert to_do(wish(dict([a, b])), pack(both)) == ""


def test_a_file_that_can_not_be_rendered_costs_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\n{{ vars.nope }}")
    (tmp_path / "b").write_text("fine")
    settings = [SettingSpec(tmp_path / name, f"/etc/{name}") for name in ("a", "b")]
    found = prepare(Book(Fake(tmp_path, settings), KEY, str), CLIENT, "")  # type: ignore[arg-type]
    assert [step.component for step in found.steps] == [setting_id("/etc/b")]
    ((_step, outcome),) = found.bad
    assert (outcome.status, outcome.message) == ("failed", "/etc/a: a:2:1: 'dict object' has no attribute 'nope'")


def test_what_a_client_has_after_a_run_is_what_it_answered(book: Any) -> None:
    has = "settings-gone:1:d settings-kept:2:d settings-stale:3:d"
    (step,) = prepare(book("x"), CLIENT, has).steps
    outcomes = [
        Outcome(step.component, "changed", step.to_version, step.to_digest),
        Outcome("settings-gone", "failed"),
        Outcome("settings-stale", "failed", "4", ""),
        Outcome("rules", "changed", "1", "d"),
    ]
    after = has_after(
        has, outcomes, {outcome.component: replace(step, component=outcome.component) for outcome in outcomes}
    )
    new = {step.component: (step.to_version, step.to_digest)}
    assert unpack(after) == {**new, "settings-kept": ("2", "d"), "settings-stale": ("4", "")}


def test_secrets_are_taken_out_of_what_clients_say(book: Any) -> None:
    prepared = prepare(book("{{ secret.pw }}", secrets={"pw": PW}, secret="one-line\nsecond-line"), CLIENT, "")
    (outcome,) = prepared.masked([Outcome("s", "failed", message="it says second-line and one-line")])
    assert outcome.message == "it says ******** and ********"
    assert Prepared().masked([outcome]) == (outcome,)


def test_a_file_is_rendered_without_its_secrets_too(book: Any) -> None:
    (sheet,) = book("a={{ secret.pw }}\n", secrets={"pw": PW}, secret="one\ntwo").sheets("g")
    assert sheet.render(CLIENT) == "a=one\ntwo\n"
    assert sheet.render(CLIENT, masked=True) == f"a={HIDE}\n{HIDE}\n"


def test_a_client_that_moved_since_the_plan_gets_the_file_all_the_same(book: Any) -> None:
    machine = FakeClient()
    reach = Reach(lambda _group: FakeTransport({"pc-1": machine}), Event())
    spec, basis = SimpleNamespace(client_keep=2, components={}), Basis("l", 1, 0, "", "")
    for text in ("old", "new"):
        prepared = prepare(book(text), CLIENT, "")
        result = Deployer(spec, basis, reach, None)(Task(CLIENT, (), Profile(), settings=""), prepared)
        assert [outcome.status for outcome in result.outcomes] == ["changed"]
        assert machine.content(setting_id("/etc/agent.conf")) == {"agent.conf": text.encode()}


# --- differences ------------------------------------------------------------------------------------------------------


def shown(before: Any, after: Any, shadow: Any = None, path: str = "/etc/x", **keys: Any) -> Any:
    view = FileView("pc-1", "g", path, before, after, after if shadow is None else shadow, **keys)
    return files_text(([view], {}))


def test_what_is_the_same_on_several_clients_is_shown_once() -> None:
    views = [FileView(f"pc-{n}", "g", "/etc/x", "a", odd, odd) for n, odd in enumerate("bbcb")]
    text = files_text((views, {"g": 9}))
    assert "  pc-0, pc-1, pc-3 (g): /etc/x\n" in text
    assert text.count("+b") == 1
    assert "  pc-2 (g): /etc/x\n" in text


@pytest.mark.parametrize(
    ("before", "after", "shadow"),
    [
        ("key=alt-geheim\n", "key=neu-geheim\n", f"key={HIDE}\n"),
        ("key=alt-geheim;\n", "key=neu-geheim;\n", f"key={HIDE};\n"),
        ("alt-geheim\n", "neu-geheim\n", f"{HIDE}\n"),
        ("a\nalt-geheim\nalt-geheim2\nb\n", "a\nneu-geheim\nb\n", f"a\n{HIDE}\nb\n"),
        ("key=neu-geheim\nx=1\n", "key=neu-geheim\nx=2\n", f"key={HIDE}\nx=2\n"),
        ("key=alt-geheim\nx=1\n", "x=1\nother=neu-geheim\n", f"x=1\nother={HIDE}\n"),
        ("password: alt-geheim\n", "x: 1\n", None),
        ('"api_key" : "alt-geheim"\n', "x\n", None),
        ("DbPassword alt-geheim\n", "x\n", None),
        ("password: alt-geheim token: x\n", "x\n", None),
        ("neu-geheim\n", "neu-geheim\nneu-geheim\n", f"{HIDE}\n"),
        ("k: alt-geheim\n", "k: neu-geheim\n", f"k: {HIDE.upper()}\n"),
    ],
)
@pytest.mark.parametrize("path", ["/etc/x", "/etc/x.yaml", "/etc/x.ini"])
def test_no_secret_is_shown_neither_the_new_one_nor_the_one_before(
    before: str, after: str, shadow: str | None, path: str
) -> None:
    text = shown(before, after, shadow, path)
    assert "alt-geheim" not in text
    assert "neu-geheim" not in text
    assert "updosermasked" not in text.lower()


def test_ordinary_lines_beside_a_secret_are_shown() -> None:
    text = shown("key=s\nx=1\n", "key=s\nx=2\n", f"key={HIDE}\nx=2\n")
    assert [line.strip() for line in text.splitlines()[4:]] == ["@@ -1,2 +1,2 @@", "key=********", "-x=1", "+x=2"]


def test_a_file_that_is_not_there_yet_is_new_as_a_whole() -> None:
    assert "    +a\n    +b\n" in shown(None, "a\nb\n")


def test_what_could_move_the_cursor_is_not_shown() -> None:
    assert "\x1b" not in shown("a\x1b[2J\n", "b\n")


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: *x\n", "a: [", "{{", "\t", f"a: 0x{'f' * 9000}", "[" * 9000, f"a: [{'1,' * 900}]"]
)
def test_data_that_can_not_be_read_has_its_diff_only(text: str) -> None:
    assert "@@" in shown(text, "a: 1\n", path="/etc/x.yaml")


FLOODS = {
    "the same line again and again": ("/etc/x", "a\n" * 30_000, "a\nb\na\n" * 10_000),
    "few lines in any order": ("/etc/x", "a\nb\nc\nb\n" * 8_000, "c\na\nb\na\nb\n" * 6_000),
    "a word and blanks": ("/etc/x", f"password{' ' * 65_000}\n", "x\n"),
    "a word again and again": ("/etc/x", "password" * 8_000, "x\n"),
    "brackets": ("/etc/x.yaml", "[" * 65_000, "a: 1\n"),
    "a list of lists": ("/etc/x.yaml", "[a," * 20_000, "a: 1\n"),
    "numbers": ("/etc/x.json", f"[{'1,' * 30_000}1]", f"[{'1,2,' * 20_000}1]"),
    "an option and blanks": ("/etc/x.ini", f"[a]\nk{' ' * 65_000}b\n", "[a]\nk=1\n"),
}
"""64 KiB of a client over which a run would sit for minutes or hours, if any step took more than its share."""


@pytest.mark.parametrize("flood", FLOODS)
def test_what_a_client_made_up_is_compared_in_a_moment(flood: Any) -> None:
    path, before, after = FLOODS[flood]
    text = shown(before, after, path=path)
    assert "@@" in text
    assert max(map(len, text.splitlines())) <= 520


@given(st.lists(st.sampled_from("abcdefgh"), max_size=30), st.lists(st.sampled_from("abcdefgh"), max_size=30))
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("work", [0, 500, 10**9])
def test_a_diff_leads_from_one_text_to_the_other_however_little_was_compared(
    work: Any, before: Any, after: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reconciler.present.line_diff.MAX_WORK", work)
        made = []
        for group in changes(before, after, 1000):
            for kind, i1, i2, j1, j2 in group:
                assert kind != "equal" or before[i1:i2] == after[j1:j2]
                made += before[i1:i2] if kind == "equal" else after[j1:j2]
    assert made == (after if before != after else [])


def test_lines_that_stand_once_are_found_again_in_a_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.present.line_diff.MAX_WORK", 1000)
    before = [f"{at}" if at % 7 else "" for at in range(2000)]
    after = [*before[:500], "new", *before[510:1500], *before[1500:]]
    found = [code for group in changes(before, after, 0) for code in group if code[0] != "equal"]
    assert found == [("replace", 500, 510, 500, 501)]


def test_a_long_diff_is_cut() -> None:
    assert "… and 801 lines more" in shown(None, "x\n" * 1000)


def test_the_key_of_the_state_stays_and_is_secret_enough(tmp_path: Path) -> None:
    from reconciler.storage.state import State

    url = f"sqlite:///{tmp_path / 'state.db'}"
    keys = []
    for _again in range(2):
        with State.open(url, clock=lambda: None) as state:  # type: ignore[arg-type, return-value]
            keys += [state.settings_key(), state.settings_key()]
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert not stat.S_IMODE((tmp_path / "state.db").stat().st_mode) & 0o077
