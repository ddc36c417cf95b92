"""Documents: their schemas describe them, they come back as they went out, and nonsense is refused with a sentence."""

import contextlib
import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.errors import DocumentError
from reconciler.model.client import Installed, Profile
from reconciler.model.events import EVENT_TYPES, LEVELS
from reconciler.model.plan import DEPLOY_REASONS, Basis, Cohort
from reconciler.model.release import ANY_PLATFORM, Offer
from reconciler.model.report import RECAP, Failure, Report, Traffic
from reconciler.model.spec import ComponentSpec, GroupSpec, PluginConfig
from reconciler.planner.planner import Observed, Wanted, make_plan
from reconciler.planner.status import Allowance, make_status
from reconciler.present.document import plan_document, report_document, status_document
from reconciler.present.reading import read_plan
from reconciler.storage.planfile import read_key, read_plan_file, write_plan_file
from tests.fakes import make_component, make_release

SCHEMAS = Path(__file__).parents[2] / "schema"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BASIS = Basis("lineage", 1, 3, "a" * 64, "b" * 64)
VERSIONS = ("1", "2", "3")
RELEASES = {version: make_release("rules", version, {"a": version.encode()}) for version in VERSIONS}


def schema(name):
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))


def wanted(version="latest"):
    group = {name: GroupSpec(name, PluginConfig("transport", "local"), "/r") for name in ("g", "h")}
    return Wanted({"rules": ComponentSpec(make_component("rules"), version)}, group)


def profile(version):
    release = RELEASES[version]
    layout = ComponentSpec(make_component("rules")).layout.fingerprint
    return Profile("linux-x86_64", (Installed("rules", version, release.digest, layout=layout),))


cohorts = st.lists(
    st.tuples(st.sampled_from(["g", "h"]), st.sampled_from([None, "", *VERSIONS]), st.sampled_from(["", "held"])),
    max_size=8,
)


def observed(drawn):
    made = []
    for at, (group, version, hold) in enumerate(drawn):
        members = tuple(f"{group}-{at}-{n}" for n in range(1 + at % 3))
        if version is None:
            made.append(Cohort(group, members, unknown="no connection"))
        else:
            made.append(Cohort(group, members, profile(version) if version else Profile("linux-x86_64"), hold=hold))
    return Observed(BASIS, (RELEASES["1"],), (Offer("drop", RELEASES["2"]),), ("odd",), made, ("gone",))


def plan_of(drawn, **more):
    return make_plan(wanted(**more), observed(drawn), plan_id="p", now=NOW)


@given(cohorts)
@settings(max_examples=60, deadline=None)
def test_every_plan_fits_its_schema_and_comes_back_as_it_was(drawn):
    plan = plan_of(drawn)
    document = plan_document(plan)
    Draft202012Validator(schema("plan")).validate(document)
    assert read_plan(json.loads(json.dumps(document))) == plan


@given(cohorts, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_what_was_observed_makes_no_difference(drawn, shuffle: random.Random):
    facts = observed(drawn)
    shuffled = list(facts.cohorts)
    shuffle.shuffle(shuffled)
    again = make_plan(wanted(), replace(facts, cohorts=shuffled), plan_id="p", now=NOW)
    assert json.dumps(plan_document(again)) == json.dumps(plan_document(plan_of(drawn)))


@given(cohorts)
@settings(max_examples=40, deadline=None)
def test_the_numbers_of_a_summary_add_up(drawn):
    document = plan_document(plan_of(drawn))
    deploys = [change for change in document["changes"] if change["action"] == "deploy"]
    touched = {name for change in deploys for cohort in change["members"] for name in document["members"][cohort]}
    assert document["summary"]["deploy"]["clients"] == len(touched) == sum(change["clients"] for change in deploys)
    assert document["summary"]["deploy"]["bytes"] == sum(change["bytes"] * change["clients"] for change in deploys)
    assert sum(document["clients"].values()) == sum(1 + at % 3 for at in range(len(drawn)))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_plan_that_was_tampered_with_is_refused_or_read_but_never_breaks(data):
    document = plan_document(plan_of([("g", "1", ""), ("h", "", ""), ("g", None, "")]))
    node, key = document, None
    for _ in range(4):
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        if not isinstance(node[key], (dict, list)) or not node[key]:
            break
        node, parent = node[key], node
    value = data.draw(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
    )
    holder = node if key in node or (isinstance(node, list) and isinstance(key, int) and key < len(node)) else parent
    holder[key] = value
    with contextlib.suppress(DocumentError):
        read_plan(document)


@pytest.mark.parametrize("version", ["2.0", "0.9", "", "x"])
def test_another_major_version_is_refused_and_a_later_minor_is_read(version):
    document = plan_document(plan_of([]))
    with pytest.raises(DocumentError, match="format"):
        read_plan({**document, "format_version": version})
    assert read_plan({**document, "format_version": "1.7", "new": 1}).plan_id == "p"


def test_statuses_and_reports_fit_their_schemas():
    facts = observed([("g", "1", ""), ("h", None, ""), ("h", "2", "")])
    status = make_status(wanted(), facts, Allowance(NOW), as_of=None, sources=(), traffic=Traffic())
    Draft202012Validator(schema("status")).validate(status_document(status))
    recap = {"g": dict.fromkeys(RECAP, 1)}
    failure = Failure("c", "g", "rules", "no")
    report = Report("r", "p", NOW, NOW, recap, failed=(failure,), unreachable=(failure,))
    Draft202012Validator(schema("report")).validate(report_document(report))


def test_the_schema_of_plans_lists_every_reason():
    changes = schema("plan")["properties"]["changes"]["items"]["oneOf"]
    (deploy,) = (part for part in changes if part["properties"]["action"].get("const") == "deploy")
    assert tuple(deploy["properties"]["reason"]["enum"]) == DEPLOY_REASONS


def test_the_schema_of_events_lists_every_type_and_level():
    properties = schema("events")["properties"]
    assert tuple(properties["type"]["enum"]) == EVENT_TYPES
    assert tuple(properties["level"]["enum"]) == LEVELS


def parts(node, path=()):
    """Give every schema in a schema."""
    yield path, node
    for key in ("properties", "$defs"):
        for name, part in node.get(key, {}).items():
            yield from parts(part, (*path, name))
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from parts(node[key], (*path, key))
    for part in node.get("oneOf", ()):
        yield from parts(part, (*path, "oneOf"))


@pytest.mark.parametrize("name", sorted(path.name.split(".")[0] for path in SCHEMAS.glob("*.json")))
def test_every_key_of_a_schema_is_described_with_an_example(name):
    document = schema(name)
    Draft202012Validator.check_schema(document)
    for path, part in parts(document):
        if "$ref" not in part:
            assert part.get("description"), path
            assert name == "release" or part.get("examples") or not path, path


def test_every_option_of_a_spec_that_has_a_default_states_it():
    document = schema("updoser")
    without = [
        ".".join(path)
        for path, part in parts(document)
        if path and path[-1] in {"settle", "client_keep", "version", "method", "min_clients"} and "default" not in part
        if not {"withdraw", "block"} & set(path)  # there a version must be named
    ]
    assert without == []


# --- plan files -----------------------------------------------------------------------------------------------------


def test_a_plan_file_is_written_whole_and_signed(tmp_path):
    document = plan_document(plan_of([("g", "1", "")]))
    key = b"k" * 32
    file = tmp_path / "plan.json"
    digest = write_plan_file(file, document, key)
    read = read_plan_file(file)
    assert (read.document, read.sha256) == (document, digest)
    assert read.is_signed_by(key)
    assert not read.is_signed_by(b"x" * 32)
    Draft202012Validator(schema("plan")).validate(json.loads(file.read_text()))
    file.write_text(file.read_text().replace('"g-0-0"', '"g-0-9"'))
    assert not read_plan_file(file).is_signed_by(key)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_bytes_break_the_reader_of_plan_files(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("p") / "plan.json"
    file.write_bytes(data)
    with pytest.raises(DocumentError):
        read_plan(read_plan_file(file).document)


def test_a_short_key_is_refused_with_the_line_that_makes_one(tmp_path):
    (tmp_path / "key").write_text("short")
    with pytest.raises(Exception, match="openssl rand"):
        read_key(tmp_path / "key")


def test_releases_of_any_platform_are_the_default():
    assert RELEASES["1"].platform == ANY_PLATFORM
