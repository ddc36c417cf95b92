"""Documents: their schemas describe them, they come back as they went out, and nonsense is refused with a sentence."""

import contextlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from jsonschema import Draft202012Validator

from reconciler.errors import DocumentError
from reconciler.model.change import DEPLOY_REASONS, PROOF_KINDS, SETTINGS_REASONS, Deploy, Proof, Settings
from reconciler.model.client import Installed, Profile
from reconciler.model.events import LEVELS
from reconciler.model.offer import Offer
from reconciler.model.plan import Basis, Cohort, Plan, RolloutStep, WaveCounts
from reconciler.model.release import ANY_PLATFORM
from reconciler.model.report import (
    RECAP,
    Asked,
    Failure,
    JournalEntry,
    JournalOutcome,
    Quarantined,
    Report,
    Run,
    RunPart,
    RunStatus,
    RunStep,
    Status,
    Traffic,
)
from reconciler.model.rollout import STATUSES, Approval, Cut, RolloutRecord
from reconciler.model.spec import ComponentSpec, GroupSpec, PluginConfig
from reconciler.model.work_events import EVENT_TYPES
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.planner import make_plan
from reconciler.planner.ruler import Allowance
from reconciler.planner.status import make_status
from reconciler.present.document import (
    outcomes_document,
    plan_document,
    report_document,
    rollouts_document,
    run_document,
    status_document,
)
from reconciler.present.reading import read_plan
from reconciler.storage.planfile import read_key, read_plan_file, write_plan_file
from tests.fakes import make_component, make_release

SCHEMAS = Path(__file__).parents[2] / "schema"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BASIS = Basis("lineage", 1, 3, "a" * 64, "b" * 64)
VERSIONS = ("1", "2", "3")
RELEASES = {version: make_release("rules", version, {"a": version.encode()}) for version in VERSIONS}


def schema(name: Any) -> Any:
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))


def wanted(version: str = "latest") -> Wanted:
    group = {name: GroupSpec(name, PluginConfig("transport", "local"), "/r") for name in ("g", "h")}
    return Wanted({"rules": ComponentSpec(make_component("rules"), version)}, group)


def profile(version: str) -> Profile:
    release = RELEASES[version]
    layout = ComponentSpec(make_component("rules")).layout.fingerprint
    return Profile("linux-x86_64", (Installed("rules", version, release.digest, layout=layout),))


cohorts = st.lists(
    st.tuples(st.sampled_from(["g", "h"]), st.sampled_from([None, "", *VERSIONS]), st.sampled_from(["", "held"])),
    max_size=8,
)


def observed(drawn: list[Any]) -> Observed:
    made = []
    for at, (group, version, hold) in enumerate(drawn):
        members = tuple(f"{group}-{at}-{n}" for n in range(1 + at % 3))
        if version is None:
            made.append(Cohort(group, members, unknown="no connection"))
        else:
            made.append(Cohort(group, members, profile(version) if version else Profile("linux-x86_64"), hold=hold))
    return Observed(BASIS, (RELEASES["1"],), (Offer("drop", RELEASES["2"]),), ("odd",), made, ("gone",))


def plan_of(drawn: list[Any], **more: Any) -> Plan:
    return make_plan(wanted(**more), observed(drawn), plan_id="p", now=NOW)


@given(cohorts)
@settings(max_examples=60, deadline=None)
def test_every_plan_fits_its_schema_and_comes_back_as_it_was(drawn: list[Any]) -> None:
    plan = plan_of(drawn)
    document = plan_document(plan)
    Draft202012Validator(schema("plan")).validate(document)
    assert read_plan(json.loads(json.dumps(document))) == plan


@given(cohorts)
@settings(max_examples=5, deadline=None)
def test_what_there_is_none_of_may_be_missing_from_a_plan_and_is(drawn: list[Any]) -> None:
    plan = plan_of(drawn)
    document = plan_document(plan)
    needed = set(schema("plan")["required"])
    assert all(document[key] or key in needed or key in ALWAYS for key in document)
    for key in set(document) - needed:
        read_plan({name: value for name, value in document.items() if name != key})


ALWAYS = {"notes", "excused", "unmet", "unread"}
"""What stands in a plan also where there is none of it, and didn't in the first plans."""


# --- rollouts, proofs, settings -------------------------------------------------------------------------------------

names = st.text(st.characters(codec="utf-8"), max_size=4)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
spans = st.integers(0, 10**6)
undos = st.sampled_from(["", "wave", "all"])
cuts = st.builds(Cut, names, st.integers(-1, 2**32 - 1), st.lists(names, max_size=2).map(tuple))


@st.composite
def steps(draw: Any, version: Any) -> RolloutStep:
    waves = draw(st.lists(cuts, max_size=3).map(tuple))
    record = RolloutRecord(
        component="rules",
        version=version,
        group=draw(st.sampled_from(["", "g", "h"])),
        status=draw(st.sampled_from(STATUSES)),
        cuts=waves,
        sizes=tuple(draw(spans) for _ in waves),
        structure=draw(names),
        started=draw(moments),
        opened=draw(moments),
        wave=draw(st.integers(0, len(waves))),
        passed=draw(st.none() | moments),
        cleared=draw(st.booleans()),
        first=draw(st.booleans()),
        reason=draw(names),
        undo=draw(undos),
        approved=draw(st.lists(st.builds(Approval, spans, names, moments), max_size=2).map(tuple)),
        catches_up=draw(st.booleans()),
        had=draw(st.dictionaries(names, spans, max_size=2).map(lambda counts: tuple(sorted(counts.items())))),
    )
    parts = [draw(spans) for _ in range(4)]
    return RolloutStep(
        record,
        new=draw(st.booleans()),
        says=draw(names),
        counts=WaveCounts(sum(parts), *parts, draw(spans)),  # type: ignore[call-arg]
        next_at=draw(st.none() | moments.map(lambda moment: moment.replace(microsecond=0))),
        at_once=draw(spans),
        max_failed=draw(st.none() | spans),
        max_fail_percentage=draw(st.none() | st.floats(0, 100) | st.integers(0, 100)),
        undo=draw(undos),
    )


@st.composite
def rolling_plans(draw: Any) -> Plan:
    """Plans that are consistent and have everything that a rollout brings."""
    made = tuple(draw(steps(version)) for version in VERSIONS[: draw(st.integers(0, 3))])
    members = {"c1": ("a",), "c2": ("b", "c")}
    proofs = tuple(
        Proof(*step.record.key, step.record.wave, kind, number, 3 if kind == "recheck" else 0, tuple(members)[:many])  # type: ignore[call-arg]
        for step in made
        for kind, number, many in (("recheck", 0, 2), ("gate", draw(spans), 0))
    )
    changed = tuple(
        Settings("g", draw(st.sampled_from(SETTINGS_REASONS)), len(members[cohort]), (cohort,), NOW)
        for cohort in draw(st.sets(st.sampled_from(["c1", "c2"])))
    )
    deploys = tuple(
        deploy(step.record.version, step.record.group or "g", wave=draw(st.integers(0, len(step.record.cuts))), **how)  # type: ignore[arg-type]
        for step, how in zip(made, ({"held": True, "bytes": 0}, {"early": True}, {}), strict=False)
    )[:1]
    return Plan(
        "p", NOW, BASIS, deploys=deploys, settings=changed, proofs=proofs, rollouts=made, members=members,
        clients={"g": 3},
    )  # fmt: skip


def deploy(to: Any, group: Any = "g", **more: Any) -> Deploy:
    fields = {"reason": "outdated", "bytes": 1, "bytes_full": 2, "platform": "any", **more}
    return Deploy("rules", group, "0", "a" * 64, to, "b" * 64, clients=1, members=("c1",), **fields)


@given(rolling_plans())
@settings(max_examples=100, deadline=None)
def test_rollouts_proofs_and_settings_fit_the_schema_and_come_back_as_they_were(plan: Plan) -> None:
    document = plan_document(plan)
    Draft202012Validator(schema("plan")).validate(document)
    assert read_plan(json.loads(json.dumps(document))) == plan
    assert json.dumps(plan_document(read_plan(document))) == json.dumps(document)


def test_changes_stand_in_the_order_in_which_they_are_carried_out_and_are_counted() -> None:
    document = plan_document(rolling())
    assert [change["action"] for change in document["changes"]] == ["proof", "proof", "deploy", "settings"]
    summary = document["summary"]
    assert summary["proof"] == {"changes": 2, "clients": 1, "bytes": 0}
    assert summary["settings"] == {"changes": 1, "clients": 2, "bytes": 0}
    assert summary["deploy"] == {"changes": 1, "clients": 1, "bytes": 1}


def rolling() -> Plan:
    """A plan in which wave 1 of 2 is proved."""
    waves = (Cut("label=canary"), Cut(upto=2**32 - 1))
    record = RolloutRecord(
        component="rules", version="2", group="", status="running", cuts=waves, sizes=(1, 2),
        structure="s", started=NOW, opened=NOW + timedelta(microseconds=7), passed=NOW,
        approved=(Approval(2, "anna", NOW),),
    )  # fmt: skip
    return Plan(
        "p", NOW, BASIS,
        deploys=(deploy("2", wave=1),),
        settings=(Settings("g", "changed", 2, ("c2",)),),
        proofs=(Proof("rules", "2", "", 1, "recheck", 0, 1, ("c1",)), Proof("rules", "2", "", 1, "gate", 1)),
        rollouts=(RolloutStep(record, new=True, says="it is proved once more", counts=WaveCounts(1, 1)),),
        members={"c1": ("a",), "c2": ("b", "c")},
        clients={"g": 3},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("rollouts.0.status", "fine"),
        ("rollouts.0.status", None),
        ("rollouts.0.wave", 3),
        ("rollouts.0.wave", -1),
        ("rollouts.0.wave", True),
        ("rollouts.0.waves", 3),
        ("rollouts.0.sizes", [1]),
        ("rollouts.0.sizes", [1, -2]),
        ("rollouts.0.sizes", [1, "2"]),
        ("rollouts.0.sizes", 3),
        ("rollouts.0.cuts", []),
        ("rollouts.0.cuts", ["a", "b"]),
        ("rollouts.0.cuts.0.upto", 2**32),
        ("rollouts.0.cuts.0.upto", -2),
        ("rollouts.0.cuts.0.names", "pc-1"),
        ("rollouts.0.cuts.0.select", 1),
        ("rollouts.0.started", "2026-11-24T12:00:00Z"),
        ("rollouts.0.opened", None),
        ("rollouts.0.passed", "yesterday"),
        ("rollouts.0.next_at", "2026-11-24T12:00:00.000001Z"),
        ("rollouts.0.undo", "client"),
        ("rollouts.0.step_undo", "everything"),
        ("rollouts.0.max_failed", -1),
        ("rollouts.0.max_failed", 0.5),
        ("rollouts.0.max_fail_percentage", 101),
        ("rollouts.0.max_fail_percentage", float("nan")),
        ("rollouts.0.max_fail_percentage", True),
        ("rollouts.0.max_fail_percentage", "2"),
        ("rollouts.0.at_once", 2**63),
        ("rollouts.0.counts", None),
        ("rollouts.0.counts.planned", 7),
        ("rollouts.0.counts.failed", -1),
        ("rollouts.0.approved.0.wave", "2"),
        ("rollouts.0.approved.0.who", "\udcff"),
        ("rollouts.0.new", 1),
        ("rollouts.0.cleared", None),
        ("rollouts.0.group", "g"),
        ("rollouts.0.version", "3"),
        ("rollouts", []),
        ("rollouts", None),
        ("changes.0.kind", "guess"),
        ("changes.0.wave", 2),
        ("changes.0.members", ["c9"]),
        ("changes.0.members", ["c1", "c1"]),
        ("changes.0.clients", 2),
        ("changes.1.number", -1),
        ("changes.1.kind", "recheck"),
        ("changes.2.wave", 3),
        ("changes.2.held", True),
        ("changes.2.early", None),
        ("changes.3.reason", "why not"),
        ("changes.3.clients", 3),
        ("changes.3.members", ["c9"]),
        ("changes.3.not_after", "later"),
    ],
)
def test_nonsense_about_rollouts_proofs_and_settings_is_refused(where: str, value: Any) -> None:
    document = plan_document(rolling())
    node = document
    *path, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    for part in path:
        node = node[part]
    assert repr(node[last]) != repr(value)
    node[last] = value
    with pytest.raises(DocumentError):
        read_plan(document)


@pytest.mark.parametrize(("key", "at"), [("rollouts", 0), ("changes", 0), ("changes", 2), ("changes", 3)])
def test_nothing_of_a_rollout_stands_in_a_plan_twice(key: str, at: int) -> None:
    document = plan_document(rolling())
    document[key].append(document[key][at])
    with pytest.raises(DocumentError, match="twice"):
        read_plan(document)


def test_a_plan_without_rollouts_was_made_by_an_older_version_and_is_refused() -> None:
    document = plan_document(rolling())
    del document["rollouts"]
    with pytest.raises(DocumentError, match="malformed"):
        read_plan(document)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_rollout_that_was_tampered_with_is_refused_or_read_but_never_breaks(data: DataObject) -> None:
    tamper(plan_document(rolling()), data)


@given(cohorts, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_what_was_observed_makes_no_difference(drawn: list[Any], shuffle: random.Random) -> None:
    facts = observed(drawn)
    shuffled = list(facts.cohorts)
    shuffle.shuffle(shuffled)
    again = make_plan(wanted(), replace(facts, cohorts=shuffled), plan_id="p", now=NOW)
    assert json.dumps(plan_document(again)) == json.dumps(plan_document(plan_of(drawn)))


@given(cohorts)
@settings(max_examples=40, deadline=None)
def test_the_numbers_of_a_summary_add_up(drawn: list[Any]) -> None:
    document = plan_document(plan_of(drawn))
    deploys = [change for change in document["changes"] if change["action"] == "deploy"]
    touched = {name for change in deploys for cohort in change["members"] for name in document["members"][cohort]}
    assert document["summary"]["deploy"]["clients"] == len(touched) == sum(change["clients"] for change in deploys)
    assert document["summary"]["deploy"]["bytes"] == sum(change["bytes"] * change["clients"] for change in deploys)
    assert sum(document["clients"].values()) == sum(1 + at % 3 for at in range(len(drawn)))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_plan_that_was_tampered_with_is_refused_or_read_but_never_breaks(data: DataObject) -> None:
    tamper(plan_document(plan_of([("g", "1", ""), ("h", "", ""), ("g", None, "")])), data)


def tamper(document: Any, data: Any) -> None:
    """Put something else in place of something in a document, and read it."""
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
def test_another_major_version_is_refused_and_a_later_minor_is_read(version: str) -> None:
    document = plan_document(plan_of([]))
    with pytest.raises(DocumentError, match="format"):
        read_plan({**document, "format_version": version})
    assert read_plan({**document, "format_version": "1.7", "new": 1}).plan_id == "p"


def test_statuses_and_reports_fit_their_schemas() -> None:
    facts = observed([("g", "1", ""), ("h", None, ""), ("h", "2", "")])
    left_alone = (Quarantined("c", "g", NOW, 3, "no"),)
    status = make_status(wanted(), facts, Allowance(NOW), as_of=None, sources=(), traffic=Traffic())
    shown = status_document(replace(status, rollouts=rolling().rollouts, quarantined=left_alone))
    Draft202012Validator(schema("status")).validate(shown)
    assert [entry["says"] for entry in shown["rollouts"]] == ["it is proved once more"]
    assert shown["quarantined"][0]["until"] == "2026-11-24T12:00:00Z"
    recap = {"g": dict.fromkeys(RECAP, 1)}
    failure = Failure("c", "g", "rules", "no")
    report = Report(
        "r", "p", NOW, NOW, recap, failed=(failure,), unreachable=(failure,), next_step_at=NOW,
        rollouts=rolling().rollouts,
    )  # fmt: skip
    Draft202012Validator(schema("report")).validate(report_document(report))
    assert report_document(report)["rollouts"] == shown["rollouts"]


@pytest.mark.parametrize("status", ["done", "superseded"])
def test_a_status_shows_no_rollout_that_is_over(status: Any) -> None:
    (step,) = rolling().rollouts
    over = replace(step, record=replace(step.record, status=status))
    assert status_document(Status(NOW, None, 0, (), {}, rollouts=(over,)))["rollouts"] == []
    (shown,) = rollouts_document((), [replace(over.record, reason="a newer one came")])["rollouts"]
    assert shown["says"] == f"{status}: a newer one came"


def test_the_schema_of_plans_lists_every_reason() -> None:
    changes = schema("plan")["properties"]["changes"]["items"]["oneOf"]
    (deploy,) = (part for part in changes if part["properties"]["action"].get("const") == "deploy")
    assert tuple(deploy["properties"]["reason"]["enum"]) == DEPLOY_REASONS
    by_action = {part["properties"]["action"]["const"]: part["properties"] for part in changes}
    assert tuple(by_action["settings"]["reason"]["enum"]) == SETTINGS_REASONS
    assert tuple(by_action["proof"]["kind"]["enum"]) == PROOF_KINDS


@pytest.mark.parametrize("name", ["plan", "status", "report"])
def test_the_schemas_of_rollouts_list_every_status_and_count(name: str) -> None:
    known = schema(name)["$defs"]
    assert tuple(known["rollout"]["properties"]["status"]["enum"]) == STATUSES
    assert tuple(known["counts"]["properties"]) == WaveCounts.__slots__


@pytest.mark.parametrize("name", ["plan", "status", "report", "events", "history"])
def test_the_examples_of_a_schema_are_right(name: str) -> None:
    document = schema(name)
    for path, part in parts(document):
        for example in part.get("examples", ()):
            errors = Draft202012Validator({**part, "$defs": document.get("$defs", {})}).iter_errors(example)
            assert [error.message for error in errors] == [], path


def test_the_example_of_a_plan_can_be_read() -> None:
    (example,) = schema("plan")["examples"]
    assert read_plan(example).rollouts[0].record.version == "16.679.00"


def test_the_schema_of_events_lists_every_type_and_level() -> None:
    properties = schema("events")["properties"]
    assert tuple(properties["type"]["enum"]) == EVENT_TYPES
    assert tuple(properties["level"]["enum"]) == LEVELS


@pytest.mark.parametrize("status", get_args(RunStatus))
def test_runs_and_outcomes_of_the_history_fit_its_schema(status: RunStatus) -> None:
    nothing: Any = dict.fromkeys(("component", "from_version", "to_version", "message"), "")
    entry = JournalEntry(client="c", group="g", outcome="ok", bytes=1, at=NOW, **nothing)
    entries = [replace(entry, outcome=outcome) for outcome in get_args(JournalOutcome)]
    steps = tuple(RunStep(part, NOW, 0.1) for part in get_args(RunPart))
    origin = dict.fromkeys(("user", "host", "spec_commit", "ci", "job", "actor", "commit", "ref"), "x")
    bare = Run(run_id="r", plan_id="", command="rollout pause", started=NOW, ended=None, status=status)
    full = replace(bare, plan_id="p", ended=NOW, recap={"g": dict.fromkeys(RECAP, 1)}, origin=origin, steps=steps)
    known = Draft202012Validator(schema("history"))
    for run in (bare, full):
        known.validate(run_document(run, entries))
        known.validate([run_document(run)])
        assert not known.is_valid({**run_document(run), "odd": 1})
    for asked in (Asked(client="c"), Asked("r", "c", "rules", "2", NOW)):
        known.validate(outcomes_document(asked, [("r", entry) for entry in entries]))
    defined = schema("history")["$defs"]
    assert set(defined["entry"]["properties"]["outcome"]["enum"]) == set(get_args(JournalOutcome))


def parts(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
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
def test_every_key_of_a_schema_is_described_with_an_example(name: str) -> None:
    document = schema(name)
    Draft202012Validator.check_schema(document)
    for path, part in parts(document):
        if "$ref" not in part:
            assert part.get("description"), path
            assert name == "release" or part.get("examples") or not path, path


def test_every_option_of_a_spec_that_has_a_default_states_it() -> None:
    document = schema("updoser")
    without = [
        ".".join(path)
        for path, part in parts(document)
        if path and path[-1] in {"settle", "client_keep", "version", "method", "min_clients"} and "default" not in part
        if not {"withdraw", "block"} & set(path)  # there a version must be named
    ]
    assert without == []


# --- plan files -----------------------------------------------------------------------------------------------------


def test_a_plan_file_is_written_whole_and_signed(tmp_path: Path) -> None:
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
def test_no_bytes_break_the_reader_of_plan_files(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("p") / "plan.json"
    file.write_bytes(data)
    with pytest.raises(DocumentError):
        read_plan(read_plan_file(file).document)


def test_a_short_key_is_refused_with_the_line_that_makes_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short")
    with pytest.raises(Exception, match="openssl rand"):
        read_key(tmp_path / "key")


def test_releases_of_any_platform_are_the_default() -> None:
    assert RELEASES["1"].platform == ANY_PLATFORM
