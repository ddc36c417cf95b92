"""Fingerprints that are remembered and compared: what is equal stays so, whatever is added to updoser."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.model import client, deploy, rollout
from reconciler.model.client import Client, Installed, Profile
from reconciler.model.deploy import Hook, InstallTarget, Layout
from reconciler.model.fingerprint import parts
from reconciler.model.network import Proxy
from reconciler.model.policy import Wave
from reconciler.model.release import ReleaseFile, content_digest
from reconciler.model.rollout import Approval, Cut, RolloutRecord
from reconciler.model.secret import SecretRef
from reconciler.model.settings import setting_id
from reconciler.model.spec import GroupSpec, PluginConfig, SettingSpec
from reconciler.planner.waves import structure
from reconciler.templates.book import Book

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TARGET = InstallTarget("*.dat", "/opt/av", "copy", "root", "av", "0640")
LAYOUT = Layout((TARGET,), ("old.dat",), "remove", "restorecon")  # type: ignore[arg-type]
INSTALLED = Installed("rules", "2", "0" * 64, previous="1", layout="abc", kept=(("1", "1" * 64),))
PROFILE = Profile(
    "linux-x86_64",
    (INSTALLED,),
    tools=("bspatch", "zstd"),
    lineage="c0ffee",
    epoch=3,
    selinux=True,
    unmanaged=("/etc/x",),
    memory=512,
)
NEW = RolloutRecord(
    component="rules",
    version="2",
    group="",
    status="running",
    cuts=(Cut("label=canary"),),
    sizes=(1,),
    structure="s",
    started=NOW,
    opened=NOW,
)
HALTED = replace(
    NEW,
    group="g",
    status="halted",
    cuts=(Cut("label=canary"), Cut("", 2**32 - 1, ("a'\"ö",), ("b",))),
    sizes=(1, 2),
    opened=NOW + timedelta(microseconds=7),
    wave=2,
    passed=NOW,
    cleared=True,
    first=True,
    reason='1 of "1" it\'s\n',
    undo="all",
    approved=(Approval(2, "ann", NOW),),
    catches_up=True,
    had=(("g", 3),),
)
LISTS = [
    (PROFILE, client._PROFILE),
    (INSTALLED, client._INSTALLED),
    (LAYOUT, deploy._LAYOUT),
    (TARGET, deploy._TARGET),
    (HALTED, rollout._RECORD),
    (HALTED.cuts[1], rollout._CUT),
    (HALTED.approved[0], rollout._APPROVAL),
]


@pytest.mark.parametrize(
    ("record", "golden"),
    [
        (Profile(), "91841485bde7fb0d94c7a60ab7f451ea25bc414a03537184ba98e3da4ab688cc"),
        (PROFILE, "9b9b9a802fd7efe40ece88349ea3bf1a7b11b82f05833f6c0f38d6de1ca7c0a7"),
        (Layout(), "fd864ca544704b81"),
        (LAYOUT, "239e646fd8a6ec2b"),
        (NEW, "757e81448b66e5bf"),
        (HALTED, "ce78597afe6c465d"),
    ],
    ids=["empty profile", "profile", "empty layout", "layout", "new rollout", "halted rollout"],
)
def test_what_was_remembered_of_a_record_still_is_its_fingerprint(record: Any, golden: str) -> None:
    assert record.fingerprint == golden


def test_what_was_remembered_of_waves_still_is_their_structure() -> None:
    waves = Wave(select="label=canary"), Wave(share=0.5, prefer="x"), Wave(count=3, apart=True)
    assert structure(waves) == "b9b7b575a516a8fb"
    assert structure([replace(wave, soak=timedelta(1), at_once=2, approve=True) for wave in waves]) == structure(waves)


def test_what_was_remembered_of_files_still_is_their_content_digest() -> None:
    files = [ReleaseFile("b", 1, "1" * 64), ReleaseFile("a", 2, "0" * 64)]
    assert content_digest(files) == "c9d26cfbe2513e38dbeaba173f44b57e81f821c2702bf7a3ba2fe30531c91e58"


@pytest.mark.parametrize(("record", "first"), LISTS, ids=lambda value: type(value).__name__)
def test_a_field_that_is_new_is_in_no_fingerprint_until_it_says_something(record: Any, first: Any) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Later(type(record)):  # type: ignore[misc]
        novelty: tuple[str, ...] = ()
        option: str = "as before"
        seen: list[str] = field(default_factory=list)

    of_today = {name: getattr(record, name) for name in first}
    assert parts(record, first) == of_today
    assert list(parts(record, first)) == list(first)
    assert parts(Later(**of_today), first) == of_today
    assert parts(Later(**of_today, option="another"), first) == of_today | {"option": "another"}


def test_what_was_remembered_of_a_setting_still_is_its_version(tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text("{{ site }} {{ name }} {{ vars.role }} {{ secret.pw }} {{ proxy.host }}\n")
    setting = SettingSpec(
        tmp_path / "t.j2",
        "/etc/agent.conf",
        owner="root",
        group="av",
        mode="0640",
        method="copy",
        validate="check {file}",
        hook=Hook("reload", 30, "keep"),
        secrets={"pw": SecretRef("file", "pw")},
    )
    proxy = Proxy("edge", "http", "192.0.2.7", 3128, username="u", password=SecretRef("file", "pw"))
    group = GroupSpec("g", PluginConfig("transport", "local"), "/r", proxy=proxy, settings=(setting,))
    spec = SimpleNamespace(base=tmp_path, variables={"site": "köln", "unused": 1}, groups={"g": group})
    book = Book(spec, b"k" * 32, lambda _reference: "geheim")  # type: ignore[arg-type]
    made = book.versions(Client("pc-1", "g", vars={"role": "db", "unused": "x"}))
    assert made == {setting_id("/etc/agent.conf"): "eede5c161c32cfec"}
