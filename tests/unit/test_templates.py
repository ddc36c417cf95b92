"""The sandbox of templates: whatever a template is made of, both profiles keep to what they list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.templates.fault import TemplateFault
from reconciler.templates.profile import SETTINGS_FILE, SPEC_TEXT
from reconciler.templates.settings_file import Template
from reconciler.templates.spec_text import Renderer

VALUES = {"name": "pc-1", "n": 7, "big": 10**16, "f": 1.5, "t": True, "none": None, "long": "x" * 3000, "items": "y"}
OF_FILES = {"labels": ["eu", "canary"], "vars": {"role": "db", "n": 3, "items": "z"}, "secret": {"pw": "geheim"}}
ENVIRON = {"UPDOSER_VAR_X": "there", "UPDOSER_VAR_BAD": "\udcff", "UPDOSER_VAR_LONG": "z" * 5000}
IN_FILES = sorted(set(SETTINGS_FILE.filters) - set(SPEC_TEXT.filters))
IN_NEITHER = ("attr", "map", "format", "safe", "xmlattr", "batch", "random", "pprint", "_weighed", "_joined", "nope")
TESTS = ("defined", "undefined", "number", "string", "even", "sequence", "sameas", "callable", "nope")
ATTRIBUTES = ("role", "split", "items", "values", "get", "__class__", "__init__", "append", "format", "join", "nope")


class Environ(dict[str, Any]):
    """An environment that knows whether somebody looked."""

    looked = False

    def __contains__(self, name: Any) -> Any:
        """Say whether a variable is set."""
        self.looked = True
        return super().__contains__(name)


def among(*texts: Any) -> Any:
    return st.sampled_from(texts)


def made(form: Any, *parts: Any) -> Any:
    return st.tuples(*parts).map(lambda found: form % found)


def tame(inner: Any) -> Any:
    """Give what every profile can render, whatever values are in it."""
    return st.one_of(
        made("(%s ~ %s)", inner, inner),
        made("(%s if %s else %s)", inner, inner, inner),
        made("(%s %s %s)", inner, among("and", "or", "==", "!="), inner),
        made("(not %s)", inner),
        made("(%s is %s)", inner, among(*SPEC_TEXT.tests)),
        made("(%s|string|%s)", inner, among("upper", "lower", "trim", "length", "default('a')")),
        made("(%s|string|replace('c', 'd'))", inner),
        made("((%s|string|length) %s 2)", inner, among("+", "-", "*", "/", "//", "%", "<", ">=")),
    )


TAME = st.recursive(among("name", "n", "f", "t", "none", "items", "2", "'a'", "''"), tame, max_leaves=5)
ALIEN = st.one_of(
    made("(%s ** 2)", among("n", "f", "2")),
    made("(%s|%s)", TAME, among(*IN_FILES, *IN_NEITHER)),
    made("(%s|default(fallback=%s))", TAME, TAME),
    made("%s(%s)", among("range", "name", "lipsum", "dict", "self", "(n)", "name.upper"), TAME),
    made("[%s, %s]", TAME, TAME),
    made("(%s, %s)", TAME, TAME),
    made("{%s: %s}", TAME, TAME),
    made("%s.%s", TAME, among(*ATTRIBUTES)),
    made("(%s|string)[0]", TAME),
    made("(%s|string)[1:]", TAME),
    among("env", "self", "[]", "{}", "()"),
)
"""What the profile of the spec refuses; that of files of settings can do much of it."""


def wild(inner: Any) -> Any:
    """Give what any profile may refuse, or fail at."""
    return st.one_of(
        tame(inner),
        made("(%s %s %s)", inner, among("+", "-", "*", "/", "//", "%", "**", "<", "in"), inner),
        made("-%s", inner),
        made("(%s|%s)", inner, among(*SPEC_TEXT.filters, *IN_FILES, *IN_NEITHER)),
        made("(%s|%s(%s))", inner, among("default", "replace", "join", "round", "indent", "tojson"), inner),
        made("(%s is %s)", inner, among(*TESTS)),
        made("env(%s, %s)", among(*map(repr, ENVIRON), "'UPDOSER_VAR_Y'", "'HOME'", "n"), inner),
        made("range(%s)", inner),
        made("[%s, %s]", inner, inner),
        made("{%s: %s}", inner, inner),
        made("%s.%s", inner, among(*ATTRIBUTES)),
        made("%s.%s(%s)", inner, among(*ATTRIBUTES), inner),
        made("%s[%s]", inner, inner),
        made("%s[%s:]", inner, inner),
    )


WILD = st.recursive(
    st.one_of(
        among(*VALUES, *OF_FILES, "nope", "loop", "_updoser_budget", "env", "self"),
        among("0", "2", "1e999", "10000000000000000", "'%s {0}'", "'\\ud800'", "true", "[]"),
    ),
    wild,
    max_leaves=6,
)


def statements(expression: Any) -> Any:
    """Give statements that the profile of the spec hasn't got."""
    return st.one_of(
        made("{%% for x in %s %%}{{ x }}{{ %s }}{%% endfor %%}", expression, expression),
        made("{%% set a = %s %%}{%% set a = a ~ a ~ %s %%}{{ a }}", expression, expression),
        made("{%% filter upper %%}{{ %s }}{%% endfilter %%}", expression),
        made("{%% macro m(a) %%}{{ %s }}{%% endmacro %%}{{ name }}", expression),
        made("{%% with x = %s %%}{%% endwith %%}", expression),
        made("{%% set a %%}{{ %s }}{%% endset %%}", expression),
        made("{%% include %s %%}", expression),
        among("{% import 'x' as y %}", "{% from 'x' import y %}", "{% extends 'x' %}", "{% block b %}{% endblock %}"),
        among("{% autoescape true %}{% endautoescape %}", "{% call name() %}{% endcall %}", "{% set self.x = 1 %}"),
    )


def tags(expression: Any) -> Any:
    """Give the tags that both profiles have."""
    return made("{{ %s }}", expression) | made("{%%- if %s %%}{{ 1 }}{%% endif %%}", expression)


def pieces(expression: Any) -> Any:
    return among("text", " \n", " ", "é", "{% raw %}{{ x }}{% endraw %}") | tags(expression)


def texts(piece: Any) -> Any:
    return st.lists(piece, max_size=3).map("".join)


def outcome(render: Any) -> Any:
    """Give what is rendered, or the fault; anything else that is raised goes through."""
    try:
        return render()
    except TemplateFault as fault:
        return fault


@given(texts(pieces(TAME)))
@settings(max_examples=100, deadline=None)
def test_what_both_profiles_list_is_rendered_by_both_alike(text: str) -> None:
    assert Renderer(VALUES, {}).render(text) == Template(text, "t.j2").render(VALUES)


@given(
    texts(pieces(TAME)),
    st.one_of(statements(TAME), tags(ALIEN), tags(made("(%s ~ %s)", TAME, ALIEN)), tags(made("(not %s)", ALIEN))),
)
@settings(max_examples=200, deadline=None)
def test_what_the_profile_of_the_spec_does_not_list_is_refused_before_anything_runs(before: Any, alien: Any) -> None:
    environ = Environ(ENVIRON)
    found = outcome(lambda: Renderer(VALUES, environ).render(f"{{{{ env('UPDOSER_VAR_X') }}}}{before}{alien}"))
    assert isinstance(found, TemplateFault)
    assert not environ.looked


@given(texts(st.one_of(pieces(WILD), statements(WILD))))
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_a_template_it_is_rendered_or_refused_with_its_place(text: str) -> None:
    of_spec = outcome(lambda: Renderer(VALUES, ENVIRON).render(text))
    of_file = outcome(lambda: Template(text, "t.j2").render({**VALUES, **OF_FILES}))
    for found, profile in ((of_spec, SPEC_TEXT), (of_file, SETTINGS_FILE)):
        if isinstance(found, TemplateFault):
            assert found.message
            assert 0 <= found.line <= text.count("\n") + 1
        else:
            assert len(found) <= profile.limits.output


@pytest.mark.parametrize("text", ["{{ self }}", "{{ self ~ 'x' }}", "{{ self() }}"])
def test_what_jinja2_calls_self_is_no_variable(text: str) -> None:
    with pytest.raises(TemplateFault, match=r"can't use `self`|anything but env"):
        Renderer({}, {}).render(text)
