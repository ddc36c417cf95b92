"""Presets of catalogs: what a component takes with one name, beside what the spec itself says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.specfile.catalogs import bundled_catalogs, load_catalogs
from reconciler.specfile.desired import desired_documents
from reconciler.specfile.effective import values_in_force
from reconciler.specfile.load import load, load_spec
from reconciler.specfile.tree import Seq
from tests.fleet import Fleet
from tests.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.model.spec import Spec

PLUGINS = ROOT / "plugins/catalog"
GROUP = {"transport": {"type": "local"}, "install_root": "c", "clients": [{"name": "a"}]}
DEBIAN: dict[str, Any] = {
    "install": [{"to": "/opt/rules", "method": "rename", "owner": "scanner"}],
    "replaces": ["*.old"],
    "hooks": {"after": {"run": "reload", "timeout": "5m"}, "always": {"run": "bypass off"}},
    "loaded": {"run": "engine --version", "within": "2m"},
    "checks": [{"name": "parses", "run": "scan", "expect_exit": 1}],
}
REDHAT = {"hooks": {"after": {"run": "systemctl reload scanner"}}}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z?")
COMPONENT = {"name": "Rules", "kind": "pattern", "version_scheme": "integer"}


class Site:
    """A folder with a spec, and a catalog of two components that have presets and one that has none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.presets: dict[str, dict[str, Any]] = {
            "rules": {"debian": DEBIAN, "redhat": REDHAT},
            "more": {"debian": {**REDHAT, "checks": [{"name": "parses-more", "run": "scan"}]}},
        }

    def write(self, **spec: Any) -> Path:
        listed = [
            {"id": name, **COMPONENT, **({"presets": self.presets[name]} if name in self.presets else {})}
            for name in ("rules", "more", "engine")
        ]
        catalog = {"version": 1, "name": "site", "components": listed}
        (self.folder / "site.yaml").write_text(yaml.safe_dump(catalog))
        file = self.folder / "updoser.yaml"
        file.write_text(yaml.safe_dump({"version": 1, "catalogs": ["site.yaml"], "groups": {"g": GROUP}, **spec}))
        return file

    def spec(self, **spec: Any) -> Spec:
        return load_spec(self.write(**spec))

    def problems(self, **spec: Any) -> list[Problem]:
        with pytest.raises(SpecError) as caught:
            self.spec(**spec)
        return list(caught.value.problems)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def for_rules(*checks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"for": "rules", **check} for check in checks]


def test_a_preset_is_what_somebody_would_write_out(site: Site) -> None:
    written = {key: value for key, value in DEBIAN.items() if key != "checks"}
    assert site.spec(components={"rules": {"preset": "debian"}}) == site.spec(
        components={"rules": written}, defaults={"checks": for_rules(*DEBIAN["checks"])}
    )


def test_no_preset_counts_that_nobody_asks_for(site: Site) -> None:
    spec = site.spec()
    assert not any(one.layout.targets or one.hooks.after for one in spec.components.values())
    assert spec.groups["g"].checks == ()


def test_what_a_component_says_counts_instead_key_by_key(site: Site) -> None:
    own = {
        "preset": "debian",
        "install": [{"to": "/srv/rules"}],
        "replaces": None,
        "hooks": {"after": {"timeout": "10m"}},
        "loaded": {"within": "9m"},
    }
    rules = site.spec(components={"rules": own}).components["rules"]
    assert [(target.to, target.owner) for target in rules.layout.targets] == [("/srv/rules", "")]
    assert rules.layout.replaces == ()
    assert (rules.hooks.after, rules.hooks.always) != (None, None)
    assert rules.hooks.after is not None
    assert (rules.hooks.after.run, rules.hooks.after.timeout) == ("reload", 600)
    assert rules.loaded is not None
    assert (rules.loaded.run, rules.loaded.within) == ("engine --version", 540)


def test_a_preset_of_all_is_taken_by_those_that_have_it_and_yields_to_what_is_said_of_all(site: Site) -> None:
    common = {"preset": "debian", "min_age": "2h", "hooks": {"after": {"run": "reload-all"}}}
    spec = site.spec(components={"*": common, "more": {"hooks": {"after": {"run": "reload-more"}}}})
    hooks = {name: one.hooks.after and one.hooks.after.run for name, one in spec.components.items()}
    assert hooks == {"rules": "reload-all", "more": "reload-more", "engine": "reload-all"}
    assert [target.to for target in spec.components["rules"].layout.targets] == ["/opt/rules"]
    assert {one.min_age is not None for one in spec.components.values()} == {True}
    assert [check.component for check in spec.groups["g"].checks] == ["rules", "more"]
    assert {name: one.named for name, one in spec.components.items()} == {
        "rules": False, "more": True, "engine": False,
    }  # fmt: skip


def test_a_component_takes_another_preset_than_all(site: Site) -> None:
    spec = site.spec(components={"*": {"preset": "debian"}, "rules": {"preset": "redhat"}})
    after = spec.components["rules"].hooks.after
    assert after is not None
    assert after.run == "systemctl reload scanner"
    assert spec.components["rules"].layout.targets == ()


def test_checks_of_presets_come_to_every_list_and_one_of_their_name_is_taken_instead(site: Site) -> None:
    def group(name: str, **more: Any) -> dict[str, Any]:
        return {**GROUP, "clients": [{"name": name}], "install_root": name, **more}

    own = {"name": "parses", "for": "rules", "run": "true"}
    other = {"name": "other", "run": "true"}
    spec = site.spec(
        components={"rules": {"preset": "debian"}},
        defaults={"checks": [own]},
        groups={"plain": group("a"), "none": group("b", checks=[]), "more": group("c", checks=[other])},
    )
    found = {
        name: [(check.name, check.plugin.options["run"]) for check in one.checks] for name, one in spec.groups.items()
    }
    assert found == {
        "plain": [("parses", "true")],
        "none": [("parses", "scan")],
        "more": [("other", "true"), ("parses", "scan")],
    }


def test_a_template_chooses_the_preset(site: Site) -> None:
    file = site.write(components={"rules": {"preset": "{{ distribution }}"}}, vars={"distribution": "debian"})
    after = load_spec(file, variables={"distribution": "redhat"}).components["rules"].hooks.after
    assert after is not None
    assert after.run == "systemctl reload scanner"


KEYS = st.fixed_dictionaries(
    {},
    optional={
        "install": st.lists(st.fixed_dictionaries({"to": st.sampled_from(["/opt/a", "/opt/b"])}), min_size=1),
        "unmanaged": st.sampled_from(["keep", "report"]),
        "selinux": st.sampled_from(["restore", "none"]),
        "hooks": st.dictionaries(
            st.sampled_from(["before", "after", "always"]),
            st.fixed_dictionaries({"run": st.sampled_from("xy")}, optional={"timeout": st.sampled_from(["1m", "2m"])}),
        ),
        "loaded": st.fixed_dictionaries({"run": st.sampled_from("xy")}, optional={"within": st.just("2m")}),
    },
)


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {key: merged(under[key], over[key]) for key in under.keys() & over.keys() if isinstance(over[key], dict)}
    return {**under, **over, **both}


@given(preset=KEYS, own=KEYS)
def test_whatever_both_say_a_preset_is_what_lies_under_the_rest(
    tmp_path_factory: pytest.TempPathFactory, preset: dict[str, Any], own: dict[str, Any]
) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    site.presets = {"rules": {"debian": preset}}
    assert site.spec(components={"rules": {"preset": "debian", **own}}) == site.spec(
        components={"rules": merged(preset, own)}
    )


def test_each_value_says_whose_preset_it_is_and_where_that_stands(site: Site) -> None:
    loaded = load(site.write(components={"rules": {"preset": "debian", "hooks": {"after": {"timeout": "9m"}}}}))
    told = {".".join(path): origin for path, _value, origin in values_in_force(loaded, "components.rules")}
    catalog = (site.folder / "site.yaml").read_text().splitlines()
    place, _, whose = told["components.rules.hooks.after.run"].partition(" ")
    file, line = place.split(":")
    assert (file, catalog[int(line) - 1].strip()) == ("site.yaml", "run: reload")
    assert whose == "(preset debian of catalog site)"
    assert told["components.rules.hooks.after.timeout"].startswith(f"{site.folder / 'updoser.yaml'}:")
    page = desired_documents(loaded)["groups.g"]["values"]
    assert ["scan", True] in [[value, "(preset debian of catalog site)" in origin] for _path, value, origin in page]


@pytest.mark.parametrize(
    ("components", "message", "hint"),
    [
        ({"rules": {"preset": "debianx"}}, "rules has no preset `debianx`", "did you mean `debian`?"),
        ({"rules": {"preset": "x"}}, "rules has no preset `x`", "there is: debian, redhat"),
        ({"engine": {"preset": "debian"}}, "engine has no preset `debian`", "its catalog has none"),
        ({"*": {"preset": "debianx"}}, "no component of the catalogs has a preset `debianx`", "did you mean `debian`?"),
        (
            {"rules": {"preset": ["debian"]}},
            "a name of letters, digits, `_`, `.` and `-` is wanted here, not a list",
            "",
        ),
        ({"rules": {"preset": ""}}, "`` isn't a name of letters, digits, `_`, `.` and `-`", ""),
        ({"ruels": {"preset": "debian"}}, "no catalog has a component `ruels`", "did you mean `rules`?"),
    ],
)
def test_a_preset_that_is_not_there_is_told_with_its_place(
    site: Site, components: dict[str, Any], message: str, hint: str
) -> None:
    (problem,) = site.problems(components=components)
    assert problem.message == message
    assert hint in problem.hint
    assert (problem.file.endswith("updoser.yaml"), problem.line > 0) == (True, True)


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ({"hoks": {}}, "unknown key `hoks`"),
        ({"version": "2"}, "unknown key `version`"),
        ({"install": [{"to": "relative"}]}, "isn't an absolute folder"),
        ({"hooks": {"after": {"timeout": "1m"}}}, "`run` is missing here"),
        ({"checks": [{"run": "true"}]}, "`name` is missing here"),
        ({"install": "here"}, "a list is wanted here"),
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_a_preset_is_held_to_what_a_spec_is_whoever_takes_it(
    site: Site, preset: dict[str, Any], message: str, *, asked: bool
) -> None:
    site.presets = {"rules": {"debian": preset}}
    (problem,) = site.problems(**({"components": {"rules": {"preset": "debian"}}} if asked else {}))
    assert problem.file == "site.yaml"
    assert message in problem.message


def test_options_of_a_preset_that_a_plugin_refuses_are_told_with_the_catalog_and_the_preset(site: Site) -> None:
    site.presets = {"rules": {"debian": {"checks": [{"name": "x", "run": "true", "expect_exitt": 1}]}}}
    (problem,) = site.problems(components={"rules": {"preset": "debian"}})
    assert (problem.file, problem.message) == ("site.yaml", "unknown key `expect_exitt`")
    assert problem.hint.endswith("it is in force by preset debian of catalog site")


def test_checks_of_one_name_of_two_presets_are_told_and_one_of_the_spec_settles_it(site: Site) -> None:
    site.presets["more"] = {"debian": {"checks": [{"name": "parses", "run": "scan"}]}}
    (problem,) = site.problems(components={"*": {"preset": "debian"}})
    assert problem.message == "the presets of rules and more both have a check `parses`"
    checks = [{"name": "parses", "run": "scan --all"}]
    spec = site.spec(components={"*": {"preset": "debian"}}, defaults={"checks": checks})
    assert [(check.name, check.component) for check in spec.groups["g"].checks] == [("parses", "")]


def test_a_check_of_a_preset_is_for_its_component_alone(site: Site) -> None:
    site.presets["rules"] = {"debian": {"checks": [{"name": "x", "run": "true", "for": "engine"}]}}
    (problem,) = site.problems(components={"rules": {"preset": "debian"}})
    assert problem.message == "a check of a preset of rules is for it alone"


@pytest.mark.parametrize("name", bundled_catalogs())
def test_every_bundled_preset_can_be_taken_as_it_is(site: Site, name: str) -> None:
    problems: list[Problem] = []
    names = Seq()
    names.append(name)
    load_catalogs(names, site.folder, problems)
    assert problems == []
    tree = yaml.safe_load((PLUGINS / f"{name}.yaml").read_text())
    known = {preset for one in tree["components"] for preset in one.get("presets", ())}
    for preset in known:
        spec = site.spec(catalogs=[name], components={"*": {"preset": preset}})
        hooks = {one.hooks.after.run for one in spec.components.values() if one.hooks.after}
        assert len(hooks) <= 1  # one reload a run


def test_the_plan_of_a_preset_is_to_the_byte_the_plan_of_what_it_says(tmp_path: Path) -> None:
    preset: dict[str, Any] = {"hooks": {"after": {"run": "true"}}, "checks": [{"name": "parses", "run": "true"}]}
    fleet = Fleet(tmp_path, clients=1)
    catalog = yaml.safe_load((tmp_path / "catalog.yaml").read_text())
    component = catalog["components"][0]
    component["presets"] = {"debian": preset}
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(catalog))
    name = component["id"]
    fleet.release(name, {"pattern": "1.001.00", "integer": "1"}.get(component["version_scheme"], "1.0"), a_txt=b"1")
    plans = []
    for components, checks in (
        ({name: {"preset": "debian"}}, []),
        ({name: {"hooks": preset["hooks"]}}, [{**preset["checks"][0], "for": name}]),
    ):
        fleet.write(components=components, defaults={"checks": checks})
        done = fleet.run("plan", "--format", "json")
        assert done.json["changes"], done.err
        plans.append(MOMENT.sub("", done.out.replace(done.json["plan_id"], "")))
    assert plans[0] == plans[1]
