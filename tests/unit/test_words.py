"""The words that decide are types, and the schemas know the same ones."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.change import DeployReason, ProofKind, PublishKind, SettingsReason
from reconciler.model.deploy import CheckPhase, Fault, InstallMethod, OnHookFailure, SelinuxLabels, Unmanaged
from reconciler.model.network import Family
from reconciler.model.offer import about_source, is_about_source
from reconciler.model.plan import RolloutStep
from reconciler.model.policy import AfterBreach, Newer, RollbackScope, Scope, Trigger
from reconciler.model.release import ComponentKind, ScanMethod
from reconciler.model.report import published_text
from reconciler.model.rollout import STATUSES, RolloutRecord, RolloutStatus, Undo
from reconciler.model.spec import CheckPlace, PublishWhen, SettingMethod
from reconciler.present.document import rollouts_document
from reconciler.present.rollout_text import halted
from tests.fakes import NOW

SCHEMAS = Path(__file__).parents[2] / "schema"
CHECK, HOOKS, POLICY = "$defs/check", "$defs/hooks", "$defs/rollout"
WORDS = {
    "catalog:properties/components/items/properties/kind": ComponentKind,
    "catalog:properties/components/items/properties/scan_methods/items": ScanMethod,
    "plan:changes/proof/kind": ProofKind,
    "plan:changes/deploy/reason": DeployReason,
    "plan:changes/settings/reason": SettingsReason,
    "plan:changes/publish/kind": PublishKind,
    "plan:$defs/rollout/properties/status": RolloutStatus,
    "plan:$defs/rollout/properties/undo": Undo,
    "plan:$defs/rollout/properties/step_undo": Undo,
    "report:$defs/rollout/properties/status": RolloutStatus,
    "status:$defs/rollout/properties/status": RolloutStatus,
    "updoser:$defs/families/items": Family,
    "updoser:$defs/repository/properties/publish": PublishWhen,
    "updoser:$defs/scan_method": ScanMethod,
    "updoser:$defs/install/properties/method": InstallMethod,
    "updoser:$defs/setting/properties/method": SettingMethod,
    "updoser:$defs/auto_update/properties/trigger": Trigger,
    "updoser:$defs/unmanaged": Unmanaged,
    "updoser:$defs/selinux": SelinuxLabels,
    f"updoser:{HOOKS}/properties/after/properties/on_failure": OnHookFailure,
    f"updoser:{POLICY}/properties/scope": Scope,
    f"updoser:{POLICY}/properties/newer_release": Newer,
    f"updoser:{POLICY}/properties/on_failure": AfterBreach,
    f"updoser:{POLICY}/properties/rollback_scope": RollbackScope,
    f"updoser:{CHECK}/properties/phase": CheckPhase,
    f"updoser:{CHECK}/properties/where": CheckPlace,
}


def listed(place: Any) -> Any:
    name, _, path = place.partition(":")
    found = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    if path.startswith("changes/"):
        _, action, key = path.split("/")
        kinds = found["properties"]["changes"]["items"]["oneOf"]
        (found,) = (kind for kind in kinds if kind["properties"]["action"]["const"] == action)
        path = f"properties/{key}"
    for part in path.split("/"):
        found = found[part]
    return {word or "" for word in found["enum"]}


@pytest.mark.parametrize("place", WORDS)
def test_a_schema_lists_the_words_that_the_code_knows(place: Any) -> None:
    assert listed(place) == {*get_args(WORDS[place])}


def test_a_failure_in_a_report_is_of_the_release_or_of_the_machine() -> None:
    assert listed("report:$defs/failure/properties/fault") == {*get_args(Fault)} - {"contention"}


NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)


@given(NAMES, NAMES, st.text())
def test_a_sentence_about_a_source_is_about_no_other(name: str, other: Any, says: str) -> None:
    assert is_about_source(about_source(name, says), other) == (name == other)


def test_a_release_counts_as_published_that_an_earlier_version_wrote_down_as_such() -> None:
    assert published_text("rules", "7") == "rules 7 published"


@pytest.mark.parametrize("status", STATUSES)
def test_only_a_halted_rollout_is_told_as_halted_and_its_status_is_said_once(status: Any) -> None:
    record = RolloutRecord(
        component="rules",
        version="7",
        group="",
        status=status,
        cuts=(),
        sizes=(),
        structure="",
        started=NOW,
        opened=NOW,
        reason="1 of 1 clients failed",
    )
    (entry,) = rollouts_document([RolloutStep(record, new=False, says=record.stopped)])["rollouts"]
    shown = [stop.says for stop in halted([entry])]
    assert shown == (["Halted: rules 7 in wave 1 of 0: 1 of 1 clients failed"] if status == "halted" else [])
