"""What rollouts, checks, hooks, settings and quarantine of a spec mean, and what is said where they are wrong."""

import contextlib
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.model.deploy import Hook, Hooks
from reconciler.model.policy import DEFAULT_LIMITS, DEFAULT_WAVES, AutoUpdate, Gate, Limits, Rollout, Wave
from reconciler.model.secret import SecretRef
from reconciler.model.spec import CheckSpec, PluginConfig, Quarantine, SettingSpec
from reconciler.specfile.effective import explain
from reconciler.specfile.load import load

HEAD = "version: 1\n"
GROUP = "{transport: {type: local}, install_root: %s, clients: [{name: %s}]%s}"
TWO = f"groups:\n  g: {GROUP % ('c', 'a', '')}\n  h: {GROUP % ('d', 'b', '%s')}\n"
HOUR = timedelta(hours=1)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(text: str, **options: Any) -> Any:
        (tmp_path / "t.j2").write_text("x = {{ y }}\n")
        (tmp_path / "updoser.yaml").write_text(HEAD + text, encoding="utf-8")
        return load(tmp_path / "updoser.yaml", **{"environ": {}, **options})

    return read


@pytest.fixture
def rollout(read: Any) -> Any:
    def rollout(text: str, more: str = "") -> Any:
        spec = read(f"auto_update: {{rollout: {text}}}\n{TWO % more}").spec
        assert spec.policies["g", "virus-pattern"].rollout == spec.policies["g", "virus-scan-engine"].rollout
        return spec.policies["g", "virus-pattern"].rollout

    return rollout


def waves(*written: str) -> str:
    return f"{{waves: [{', '.join(written)}]}}"


ALL = '{share: "100%"}'

# --- rollouts -------------------------------------------------------------------------------------------------------


def test_without_a_word_releases_go_by_three_waves_with_limits(read: Any) -> None:
    policy = read(TWO % "").spec.policies["g", "virus-pattern"]
    assert policy == AutoUpdate()
    assert policy.rollout == Rollout(waves=DEFAULT_WAVES, limits=DEFAULT_LIMITS)
    assert DEFAULT_WAVES[0].limits == Limits(min_attempted=1, max_failed=0)
    assert Limits(max_fail_percentage=2, max_unreachable_percentage=15) == DEFAULT_LIMITS


def in_force(loaded: Any, path: Any) -> Any:
    return {
        entry["path"].removeprefix(f"{path}."): (entry["value"], entry["from"].split("/")[-1])
        for entry in explain(loaded, path)["values"]
    }


def test_the_waves_in_force_are_shown_though_nobody_wrote_any(read: Any) -> None:
    loaded = read(TWO % "")
    for path in ("auto_update", "groups.g.auto_update"):
        shown = in_force(loaded, path)
        assert {key: value for key, (value, _from) in shown.items()} == {
            "enabled": True,
            "trigger": "download",
            "rollout.scope": "fleet",
            "rollout.recheck": "none",
            "rollout.newer_release": "queue",
            "rollout.on_failure": "halt",
            "rollout.max_catch_up": "5%",
            "rollout.max_fail_percentage": 2,
            "rollout.max_unreachable_percentage": 15,
            "rollout.waves.0.count": 3,
            "rollout.waves.0.soak": "30m",
            "rollout.waves.0.approve": "auto",
            "rollout.waves.0.min_attempted": 1,
            "rollout.waves.0.max_failed": 0,
            "rollout.waves.1.share": "10%",
            "rollout.waves.1.approve": "auto",
            "rollout.waves.2.share": "100%",
            "rollout.waves.2.approve": "auto",
        }
        assert all(where.startswith("default") for _value, where in shown.values())
        assert "labelled canary first" in shown["rollout.waves.0.count"][1]


def test_what_is_in_force_in_a_component_and_a_group_names_the_line_that_said_so(read: Any) -> None:
    text = f"""
auto_update: {{rollout: {{waves: [{{count: 2}}, {ALL}], max_failed: 4}}}}
components:
  virus-pattern: {{auto_update: {{trigger: manual, rollout: {{on_failure: rollback}}}}}}
  virus-scan-engine: {{auto_update: {{rollout: {{min_attempted: 2}}}}}}
{TWO % ", auto_update: {rollout: {max_failed: 1}}"}"""
    loaded = read(text)
    shown = in_force(loaded, "components.virus-pattern.auto_update")
    assert shown["trigger"] == ("manual", "updoser.yaml:5")
    assert shown["rollout.waves.0.count"] == (2, "updoser.yaml:3")
    assert shown["rollout.waves.0.min_attempted"] == (1, "default")
    assert shown["rollout.rollback_scope"] == ("wave", "default")
    assert "rollout.waves.0.min_attempted" not in in_force(loaded, "components.virus-scan-engine.auto_update")
    assert in_force(loaded, "groups.g.auto_update")["rollout.max_failed"] == (4, "updoser.yaml:3")
    assert in_force(loaded, "groups.h.auto_update")["rollout.max_failed"][0] == 1


def test_a_rollout_without_waves_keeps_the_three_and_limits_that_are_not_given(rollout: Any) -> None:
    assert rollout("{}") == Rollout()
    found = rollout("{max_fail_percentage: 7.5, max_failed: 9}")
    assert found == Rollout(limits=Limits(None, 9, 7.5, 15.0))
    found = rollout("{min_attempted: 2}")
    assert found.limits.min_attempted == 2
    assert [wave.limits.min_attempted for wave in found.waves] == [None, None, None]


def test_everything_that_can_be_said_of_waves(rollout: Any) -> None:
    found = rollout(
        waves(
            "{select: 'label=canary', soak: 4h, max_failed: 0, min_attempted: 3}",
            "{count: 5, soak: 90s, approve: auto}",
            "{share: 2.5%, max_fail_percentage: 1, max_unreachable_percentage: '30%'}",
            "{share: '100%', at_once: 200, approve: manual, soak: 1h}",
        )
    )
    assert found.waves == (
        Wave(select="label=canary", soak=4 * HOUR, limits=Limits(3, 0)),
        Wave(count=5, apart=True, soak=timedelta(seconds=90)),
        Wave(share=0.025, limits=Limits(None, None, 1.0, 30.0)),
        Wave(share=1.0, at_once=200, approve=True, soak=HOUR),
    )


def test_the_first_wave_and_those_that_select_need_a_client_that_was_tried(rollout: Any) -> None:
    least = lambda found: [wave.limits.min_attempted for wave in found.waves]  # noqa: E731
    assert least(rollout(waves("{share: 1%}", "{select: x}", "{share: 10%}", ALL))) == [1, 1, None, None]  # type: ignore[no-untyped-call]
    assert least(rollout(waves("{share: 1%, min_attempted: 0}", "{select: '*'}"))) == [0, 1]  # type: ignore[no-untyped-call]
    text = f"{{min_attempted: 5, waves: [{{select: x, min_attempted: 2}}, {{select: y}}, {ALL}]}}"
    assert least(rollout(text)) == [2, None, None]  # type: ignore[no-untyped-call]


def test_everything_else_that_can_be_said_of_a_rollout(rollout: Any) -> None:
    text = "{scope: group, recheck: end_of_soak, newer_release: supersede, on_failure: rollback, rollback_scope: all}"
    assert rollout(text) == Rollout(
        scope="group", recheck=True, newer="supersede", on_failure="rollback", rollback_scope="all"
    )
    assert not rollout("{recheck: none}").recheck
    assert rollout("{max_catch_up: 20}").catch_up.of(1_000_000) == 20
    assert rollout("{max_catch_up: 0}").catch_up.of(1_000_000) == 0
    assert rollout("{max_catch_up: '0.5%'}").catch_up.of(1_000) == 5
    assert [rollout("{}").catch_up.of(clients) for clients in (1, 60, 99, 100)] == [3, 3, 4, 5]


def test_a_gate_is_a_check_with_its_options_in_one_spelling(rollout: Any) -> None:
    text = "{gate: [{run: [bin/ask, 'x < 1'], timeout: 2m}, {type: command, where: server, expect_exit: 3, run: y}]}"
    assert rollout(text).gates == (
        Gate("command", '{"expect_exit":0,"run":["bin/ask","x < 1"]}', 120.0),
        Gate("command", '{"expect_exit":3,"run":"y"}', 60.0),
    )


def test_policies_can_be_kept_in_sets_and_equal_ones_are_one_object(read: Any) -> None:
    text = (
        "auto_update: {stage: early, rollout: {gate: [{run: x}], waves: [{share: 10%, soak: 1h}, {share: '100%'}]}}\n"
    )
    found = read(text + TWO % ", auto_update: {rollout: {max_failed: 3}}").spec.policies
    assert len(found) == 40
    assert len({id(policy) for policy in found.values()}) == len(set(found.values())) == 2


def test_files_may_go_out_early_and_blackouts_may_spare_what_is_expedited(read: Any) -> None:
    text = "auto_update: {blackouts: [{from: '2026-12-18', to: '2026-12-19', reason: x, except: [expedite]}]%s}\n"
    policy = read(text % ", stage: early" + TWO % "").spec.policies["g", "virus-pattern"]
    assert (policy.early, policy.blackouts[0].spares) == (True, {"expedite"})
    assert not read(text % ", stage: window" + TWO % "").spec.policies["g", "virus-pattern"].early


def test_components_lay_their_rollout_over_that_of_all_key_by_key(read: Any) -> None:
    text = f"""
auto_update: {{rollout: {{on_failure: rollback, waves: [{{share: 5%}}, {ALL}]}}}}
components:
  "*": {{auto_update: {{rollout: {{max_failed: 4}}}}}}
  virus-pattern: {{auto_update: {{rollout: {waves(ALL)}}}}}
"""
    found = read(text + TWO % "").spec.policies
    assert len(found["g", "virus-scan-engine"].rollout.waves) == 2
    rollout = found["g", "virus-pattern"].rollout
    assert rollout.waves == (Wave(share=1.0, limits=Limits(min_attempted=1)),)
    assert (rollout.limits.max_failed, rollout.on_failure) == (4, "rollback")


def test_in_a_fleet_a_group_may_have_limits_of_its_own_and_nothing_else(read: Any) -> None:
    text = f"auto_update: {{rollout: {{max_failed: 4, min_attempted: 2, waves: [{{share: 5%}}, {ALL}]}}}}\n"
    found = read(text + TWO % ", auto_update: {rollout: {scope: fleet, max_unreachable_percentage: 30}}").spec.policies
    ours, theirs = found["g", "virus-pattern"].rollout, found["h", "virus-pattern"].rollout
    assert theirs.limits == Limits(2, 4, 2.0, 30.0)
    assert theirs.waves is ours.waves
    own = "{rollout: {scope: group, waves: [{share: '100%', soak: 1h}], on_failure: rollback}}"
    theirs = read(text + TWO % f", auto_update: {own}").spec.policies["h", "virus-pattern"].rollout
    assert (theirs.scope, theirs.on_failure, len(theirs.waves)) == ("group", "rollback", 1)


def test_a_group_needs_not_repeat_that_rollouts_go_by_group(read: Any) -> None:
    text = "auto_update: {rollout: {scope: group}}\n"
    found = read(text + TWO % ", auto_update: {rollout: {waves: [{share: '100%'}]}}").spec.policies
    assert [len(found[group, "virus-pattern"].rollout.waves) for group in "gh"] == [3, 1]


ROLLOUTS = {
    "nobody": (waves("{soak: 1h}", ALL), "this wave doesn't say who is in it", "one of `select`, `share` and `count`"),
    "two kinds": (waves("{share: 5%, count: 3}", ALL), "and this one has `share` already", "make two waves of it"),
    "no share": (waves("{share: some}", ALL), "`some` isn't a share such as", ""),
    "a share without its mark": (waves("{share: 10}", ALL), "`10` is read by YAML as the number 10", 'quote it: "10"'),
    "a share of nobody": (waves("{share: 0%}", ALL), "a wave of `0%` lets nobody in", ""),
    "more than all": (waves("{share: 101%}"), "`101%` isn't a share such as", ""),
    "shares that fall": (
        waves("{share: 10%}", "{select: x}", "{share: 5%}", ALL),
        "lets nobody in who isn't in a wave before it",
        "each `share` counts the waves before it",
    ),
    "counts that stay": (waves("{count: 3}", "{count: 3}", ALL), "lets nobody in", "each `count` counts the waves"),
    "no client": (waves("{count: 0}", ALL), "0 is too small", ""),
    "some are left out": (
        waves("{share: 10%}", "{share: 50%}"),
        "the last wave must take all, and this one may leave clients out",
        '{share: "100%"}',
    ),
    "a last wave of some": (
        waves(ALL, "{select: 'label=late'}"),
        "the last wave must take all",
        "add a wave behind it",
    ),
    "a count at the end": (waves("{count: 100}"), "the last wave must take all", "add a wave behind it"),
    "no wave": ("{waves: []}", "this list is too short", ""),
    "no pattern": (waves("{select: '&'}", ALL), "has a mark without a name", ""),
    "an unknown set": (waves("{select: '@failed'}", ALL), "an unknown set '@failed'", ""),
    "no soak": (waves("{share: 10%, soak: long}", ALL), "`long` isn't a duration", ""),
    "a soak of no time": (waves("{share: 10%, soak: 0s}", ALL), "`0s` is no time at all", ""),
    "a soak without end": (waves("{share: 10%, soak: 9999d}", ALL), "`9999d` is longer than ten years", ""),
    "nobody at once": (waves("{share: '100%', at_once: 0}"), "0 is too small", ""),
    "an unknown approval": (waves("{share: '100%', approve: manul}"), "`manul` isn't possible here", "`manual`"),
    "an unknown key of a wave": (waves("{share: '100%', soke: 1h}"), "unknown key `soke`", "did you mean `soak`?"),
    "too much of a percentage": ("{max_fail_percentage: 101}", "`101` isn't a percentage: a number from 0 to 100", ""),
    "a percentage of a text": ("{max_fail_percentage: few}", "`few` isn't a percentage", ""),
    "a percentage that is too much": ("{max_fail_percentage: '100.5%'}", "`100.5%` isn't a percentage", ""),
    "a part of a late client": ("{max_catch_up: 2.5}", "not `2.5`", ""),
    "late clients in words": ("{max_catch_up: few}", "`few` isn't a number of clients, or a percentage", ""),
    "a negative number": ("{max_failed: -1}", "-1 is too small", ""),
    "an unknown scope": ("{scope: flet}", "`flet` isn't possible here", "did you mean `fleet`?"),
    "an unknown recheck": ("{recheck: end_of_sok}", "isn't possible here", "did you mean `end_of_soak`?"),
    "an unknown way with newer ones": (
        "{newer_release: queuee}",
        "`queuee` isn't possible here",
        "did you mean `queue`?",
    ),
    "an unknown way back": ("{on_failure: rolback}", "`rolback` isn't possible here", "did you mean `rollback`?"),
    "a way back that nobody goes": (
        "{on_failure: halt, rollback_scope: wave}",
        "`rollback_scope` needs `on_failure: rollback`",
        "nothing goes back",
    ),
    "a way back without a word": ("{rollback_scope: all}", "`rollback_scope` needs `on_failure: rollback`", ""),
    "an unknown gate": ("{gate: [{type: commandd, run: x}]}", "there is no check plugin `commandd`", "`command`"),
    "a gate on clients": ("{gate: [{where: client, run: x}]}", "`client` isn't possible here", "there is: server"),
    "a gate that runs nothing": ("{gate: [{type: command}]}", "`run` is missing here", ""),
    "an unknown option of a gate": ("{gate: [{run: x, expect: 1}]}", "unknown key `expect`", "`expect_exit`"),
    "a gate without time": ("{gate: [{run: x, timeout: 0m}]}", "`0m` is no time at all", ""),
    "an empty command": ("{gate: [{run: ' '}]}", "isn't a command", ""),
    "an unknown key": ("{wave: []}", "unknown key `wave`", "did you mean `waves`?"),
}


def only_problem(read: Any, text: str, **options: Any) -> Any:
    with pytest.raises(SpecError) as caught:
        read(text, **options)
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == 1, found
    assert re.match(r".*updoser\.yaml:\d+:\d+: ", found[0]), found
    assert "^" in found[0]
    return found[0]


@pytest.mark.parametrize("case", ROLLOUTS)
def test_a_mistake_in_a_rollout_has_a_message_a_place_and_a_hint(case: Any, read: Any) -> None:
    text, message, hint = ROLLOUTS[case]
    found = only_problem(read, f"auto_update: {{rollout: {text}}}\n{TWO % ', auto_update: {enabled: true}'}")
    assert message in found
    assert hint in found


@pytest.mark.parametrize(
    ("top", "own", "key"),
    [
        ("{}", "{waves: [{share: '100%'}]}", "waves"),
        ("{}", "{gate: [{run: x}]}", "gate"),
        ("{}", "{on_failure: rollback, max_failed: 3}", "on_failure"),
        ("{scope: group}", "{scope: fleet}", "scope"),
    ],
)
def test_a_group_that_would_go_its_own_way_through_a_fleet_is_told_what_it_needs(
    top: str, own: str, key: str, read: Any
) -> None:
    found = only_problem(read, f"auto_update: {{rollout: {top}}}\n" + TWO % f", auto_update: {{rollout: {own}}}")
    assert f"`{key}` of a group needs `scope: group`" in found
    assert "the same for all groups, but for limits" in found


def test_a_component_that_only_halts_may_leave_the_scope_of_a_rollback_above_it_alone(read: Any) -> None:
    text = "auto_update: {rollout: {on_failure: rollback, rollback_scope: all}}\n"
    text += "components: {virus-pattern: {auto_update: {rollout: {on_failure: halt}}}}\n"
    assert read(text + TWO % "").spec.policies["g", "virus-pattern"].rollout.on_failure == "halt"


KEYS = ["scope", "waves", "select", "share", "count", "soak", "at_once", "approve", "gate", "run", "type", "timeout"]
KEYS += ["min_attempted", "max_failed", "max_fail_percentage", "recheck", "on_failure", "rollback_scope", "x"]
VALUES = [None, True, 0, 1, -1, 2.5, "", "x", "*", "&", "10%", "100%", "1h", "0s", "fleet", "group", "halt", "rollback"]
values = st.recursive(
    st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
rollouts = st.dictionaries(st.sampled_from(KEYS), values, max_size=5) | st.fixed_dictionaries(
    {"waves": st.lists(st.dictionaries(st.sampled_from(KEYS[2:8]), values, max_size=2), max_size=4)}
)


@given(rollouts, rollouts)
@settings(max_examples=150, deadline=None)
def test_no_rollout_breaks_the_reader_and_what_it_takes_ends_with_all(tmp_path: Path, top: Any, own: Any) -> None:
    group = {"transport": {"type": "local"}, "install_root": "c", "clients": [{"name": "a"}]}
    spec = {"version": 1, "auto_update": {"rollout": top}, "groups": {"g": {**group, "auto_update": {"rollout": own}}}}
    file = tmp_path / "updoser.yaml"
    file.write_text(json.dumps(spec), encoding="utf-8")
    with contextlib.suppress(SpecError):
        for policy in load(file, environ={}).spec.policies.values():
            last = policy.rollout.waves[-1]
            assert last.share == 1.0 or last.select == "*"
            assert hash(policy) == hash(policy)


# --- checks, hooks, settings ----------------------------------------------------------------------------------------

CHECK = "{name: detects, run: scan}"


def test_everything_that_can_be_said_of_a_check(read: Any) -> None:
    text = """
defaults:
  checks:
    - {name: short, run: "true"}
    - name: long
      for: virus-pattern
      phase: switched
      where: server
      type: command
      run: |
        first
        second
      expect_exit: 1
      timeout: 2m
      retries: 5
      interval: 20s
"""
    short, long = read(text + TWO % "").spec.groups["g"].checks
    assert short == CheckSpec("short", PluginConfig("check", "command", {"run": "true", "expect_exit": 0}))
    plugin = PluginConfig("check", "command", {"run": "first\nsecond\n", "expect_exit": 1})
    assert long == CheckSpec("long", plugin, "virus-pattern", "switched", "server", 120.0, 5, 20.0)


def test_the_checks_and_settings_of_a_group_replace_those_of_all(read: Any) -> None:
    text = f"defaults: {{checks: [{CHECK}], settings: [{{template: t.j2, path: /etc/a}}]}}\n"
    loaded = read(text + TWO % ", checks: [], settings: [{template: t.j2, path: /etc/b}]")
    g, h = loaded.spec.groups["g"], loaded.spec.groups["h"]
    assert ([check.name for check in g.checks], [entry.path for entry in g.settings]) == (["detects"], ["/etc/a"])
    assert (h.checks, [entry.path for entry in h.settings]) == ((), ["/etc/b"])
    shown = {entry["path"] for entry in explain(loaded, "groups.g")["values"]}
    assert "groups.g.checks.detects.run" in shown


def test_hooks_have_their_times_and_merge_with_those_of_all(read: Any) -> None:
    text = """
components:
  "*": {hooks: {before: {run: b}, after: {run: all, timeout: 5m}}}
  virus-pattern: {hooks: {after: {run: "one\\ntwo", on_failure: keep}, always: {run: c, timeout: 30s}}}
"""
    components = read(text).spec.components
    after = Hook("one\ntwo", 300.0, "keep")
    assert components["virus-pattern"].hooks == Hooks(Hook("b", 60.0), after, Hook("c", 30.0))
    assert components["virus-scan-engine"].hooks == Hooks(Hook("b"), Hook("all", 300.0))


def test_everything_that_can_be_said_of_a_setting(read: Any, tmp_path: Path) -> None:
    text = (
        ", settings: [{template: t.j2, path: /etc/x/agent.conf, owner: root, group: agent, mode: '0640',"
        " validate: 'agent -t %s', hook: {run: reload, timeout: 2m}}, {template: t.j2, path: /etc/y}]"
    )
    hook = Hook("reload", 120.0)
    first = SettingSpec(tmp_path / "t.j2", "/etc/x/agent.conf", "root", "agent", "0640", "agent -t %s", hook)
    assert read(TWO % text).spec.groups["h"].settings == (first, SettingSpec(tmp_path / "t.j2", "/etc/y"))


def test_a_setting_with_secrets_is_for_its_owner_alone_unless_the_file_says_more(read: Any) -> None:
    text = ", settings: [{template: t.j2, path: /etc/y, secrets: {pw: {env: PW}}%s}]"
    (setting,) = read(TWO % (text % ", method: copy"), environ={"PW": "x"}).spec.groups["h"].settings
    assert (setting.mode, setting.method, setting.secrets) == ("0600", "copy", {"pw": SecretRef("env", "PW")})
    (setting,) = read(TWO % (text % ", mode: '0640'"), environ={"PW": "x"}).spec.groups["h"].settings
    assert (setting.mode, setting.method) == ("0640", "rename")


def test_a_template_is_part_of_what_a_plan_is_made_from(read: Any, tmp_path: Path) -> None:
    text = TWO % ", settings: [{template: t.j2, path: /etc/y}]"
    before = read(text).spec.digest
    assert read(text).spec.digest == before
    (tmp_path / "other.j2").write_text("y")
    assert read(text.replace("t.j2", "other.j2")).spec.digest != before
    loaded = read(text)
    (tmp_path / "t.j2").write_text("changed")
    assert load(loaded.spec.path, environ={}).spec.digest != before


def test_templates_of_settings_see_the_variables_of_the_file_and_of_the_command_line(read: Any) -> None:
    text = "vars: {site: berlin, port: 1, twice: '{{ site }}-{{ site }}'}\n"
    assert read(text).spec.variables == {"site": "berlin", "port": 1, "twice": "berlin-berlin"}
    found = read(text, variables={"site": "paris", "more": "x"}).spec.variables
    assert found == {"site": "paris", "port": 1, "twice": "paris-paris", "more": "x"}


def test_clients_that_fail_again_and_again_are_left_alone_where_the_file_says_so(read: Any) -> None:
    assert read("").spec.quarantine == Quarantine(0)
    assert read("quarantine: {after_failures: 3}").spec.quarantine == Quarantine(3, timedelta(hours=24))
    assert read("quarantine: {after_failures: 2, for: 2d}").spec.quarantine == Quarantine(2, timedelta(days=2))


def test_the_certificates_of_a_proxy_start_from_the_folder_of_the_spec(read: Any, tmp_path: Path) -> None:
    text = "proxies: {p: {url: 'https://p.example:1', ca: ca.pem}, q: {url: 'http://p:1'}}\n"
    text += TWO % ", proxy: %s"
    assert read(text % "p").spec.groups["h"].proxy.ca == str(tmp_path / "ca.pem")
    assert read(text % "q").spec.groups["h"].proxy.ca == ""


SURROUNDINGS = {
    "a check without a name": ("defaults: {checks: [{run: x}]}", "`name` is missing here", ""),
    "a check that runs nothing": ("defaults: {checks: [{name: x}]}", "`run` is missing here", ""),
    "two checks of one name": (
        "defaults: {checks: [{name: x, run: a}, {name: x, run: b}]}",
        "there is another check `x` above",
        "",
    ),
    "a check with an odd name": ("defaults: {checks: [{name: x y, run: a}]}", "`x y` isn't a name of letters", ""),
    "a check of an unknown component": (
        "defaults: {checks: [{name: x, run: a, for: virus-patern}]}",
        "no catalog has a component `virus-patern`",
        "did you mean `virus-pattern`?",
    ),
    "a check of an unknown phase": (
        "defaults: {checks: [{name: x, run: a, phase: stage}]}",
        "`stage` isn't possible here",
        "did you mean `staged`?",
    ),
    "a check at an unknown place": (
        "defaults: {checks: [{name: x, run: a, where: sever}]}",
        "`sever` isn't possible here",
        "did you mean `server`?",
    ),
    "an unknown check": (
        "defaults: {checks: [{name: x, run: a, type: commandd}]}",
        "there is no check plugin `commandd`",
        "`command`",
    ),
    "an unknown key of a check": (
        "defaults: {checks: [{name: x, run: a, expect_exit: 1, retry: 3}]}",
        "unknown key `retry`",
        "",
    ),
    "an exit status that no program has": (
        "defaults: {checks: [{name: x, run: a, expect_exit: 256}]}",
        "256 is too large",
        "",
    ),
    "a check without time": ("defaults: {checks: [{name: x, run: a, timeout: 0s}]}", "`0s` is no time at all", ""),
    "tries without time between": (
        "defaults: {checks: [{name: x, run: a, interval: 0s}]}",
        "`0s` is no time at all",
        "",
    ),
    "fewer tries than one": ("defaults: {checks: [{name: x, run: a, retries: -1}]}", "-1 is too small", ""),
    "a command as a word of YAML": ("defaults: {checks: [{name: x, run: yes}]}", "is read by YAML as true", "quote it"),
    "an unknown hook": (
        "components: {virus-pattern: {hooks: {afterr: {run: x}}}}",
        "unknown key `afterr`",
        "did you mean `after`?",
    ),
    "a hook that runs nothing": (
        "components: {virus-pattern: {hooks: {before: {timeout: 1m}}}}",
        "`run` is missing here",
        "",
    ),
    "a hook of no time": (
        "components: {virus-pattern: {hooks: {always: {run: x, timeout: 0s}}}}",
        "`0s` is no time at all",
        "",
    ),
    "a hook before that would go back": (
        "components: {virus-pattern: {hooks: {before: {run: x, on_failure: rollback}}}}",
        "unknown key `on_failure`",
        "",
    ),
    "a hook after with an unknown way": (
        "components: {virus-pattern: {hooks: {after: {run: x, on_failure: kep}}}}",
        "`kep` isn't possible here",
        "did you mean `keep`?",
    ),
    "a hook of all": ("components: {'*': {hooks: {after: {run: ''}}}}", "isn't a command", ""),
    "a template that is not there": (
        "defaults: {settings: [{template: no.j2, path: /etc/x}]}",
        "the template `no.j2` isn't there",
        "starts from the spec's folder",
    ),
    "a setting without a path": ("defaults: {settings: [{template: t.j2}]}", "`path` is missing here", ""),
    "a setting at a relative path": (
        "defaults: {settings: [{template: t.j2, path: etc/x}]}",
        "`etc/x` isn't an absolute path of a file",
        "",
    ),
    "a setting at a folder": ("defaults: {settings: [{template: t.j2, path: /etc/}]}", "isn't an absolute path", ""),
    "a setting that climbs": (
        "defaults: {settings: [{template: t.j2, path: /etc/../x}]}",
        "`/etc/../x` has `.`, `..`, or a slash too many",
        "",
    ),
    "a setting at the root": ("defaults: {settings: [{template: t.j2, path: /x}]}", "`/x` can't be put", "a folder"),
    "a setting in a hidden file": (
        "defaults: {settings: [{template: t.j2, path: /etc/.x}]}",
        "`/etc/.x` can't be put on a client",
        "doesn't begin with `.`",
    ),
    "a secret without a place": (
        "defaults: {settings: [{template: t.j2, path: /etc/x, secrets: {pw: geheim}}]}",
        "a secret's place",
        "",
    ),
    "settings by a link": (
        "defaults: {settings: [{template: t.j2, path: /etc/x, method: link}]}",
        "`link` isn't possible here",
        "",
    ),
    "two settings at one path": (
        "defaults: {settings: [{template: t.j2, path: /etc/x}, {template: t.j2, path: /etc/x}]}",
        "another template is put at `/etc/x` above",
        "",
    ),
    "a validation of nothing": (
        "defaults: {settings: [{template: t.j2, path: /etc/x, validate: agent -t}]}",
        "`agent -t` isn't a command with `%s` for the file",
        "",
    ),
    "a mode as a number": (
        "defaults: {settings: [{template: t.j2, path: /etc/x, mode: 0640}]}",
        "`0640` is read by YAML as the number 416",
        'quote it: "0640"',
    ),
    "a quarantine after nothing": ("quarantine: {for: 24h}", "`after_failures` is missing here", ""),
    "a quarantine of no time": ("quarantine: {after_failures: 3, for: 0h}", "`0h` is no time at all", ""),
    "a quarantine before a failure": ("quarantine: {after_failures: -1}", "-1 is too small", ""),
}


@pytest.mark.parametrize("case", SURROUNDINGS)
@pytest.mark.parametrize("no_exec", [False, True])
def test_a_mistake_in_what_surrounds_a_switch_has_a_message_a_place_and_a_hint(
    case: Any, no_exec: bool, read: Any
) -> None:
    text, message, hint = SURROUNDINGS[case]
    found = only_problem(read, f"{text}\n{TWO % ''}", no_exec=no_exec)
    assert message in found
    assert hint in found


def test_a_template_is_looked_for_and_never_read(read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise AssertionError("a template was read")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    text = TWO % ", settings: [{template: t.j2, path: /etc/x}]"
    assert len(read(text, no_exec=True).spec.groups["h"].settings) == 1
