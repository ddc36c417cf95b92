"""A signed repository that somebody tampers with: each attack that The Update Framework names has a message of its own.

The attacker holds the repository's folder, and in some cases keys; the source must refuse, and say what it refuses.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import pytest
from securesystemslib.signer import CryptoSigner

from reconciler.errors import SourceError
from reconciler.formats.index import content_path
from reconciler.model.offer import Withdrawal
from reconciler.model.release import SignedBy
from reconciler.model.spec import PluginConfig, SourceSpec
from reconciler.observe.upstream import read_sources
from reconciler.plugins.source import tuf
from reconciler.storage.memory import StateMemory
from reconciler.storage.state import State
from tests.fakes import fake_context, make_component, make_plugin
from tests.fleet import Fleet
from tests.tufrepo import Vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from reconciler.contracts import Context
    from reconciler.model.offer import SourceReport
    from reconciler.model.release import Component

Look: TypeAlias = "Callable[..., SourceReport]"

RULES = make_component("rules", scheme="integer")
ENGINE = make_component("engine", "engine", "dotted")
COMPONENTS = {"rules": RULES, "engine": ENGINE}
NOW = datetime.now(UTC)


@pytest.fixture(params=[False, True], ids=["plain", "delegated"])
def vendor(request: pytest.FixtureRequest, tmp_path: Path) -> Vendor:
    made = Vendor(tmp_path / "repo", NOW, delegate=request.param)
    made.add("rules", "1", {"all.rules": b"one" * 100})
    made.add("engine", "1.0", {"engine.bin": b"engine"})
    made.sign()
    shutil.copy(made.metadata / "1.root.json", tmp_path / "root.json")
    return made


@pytest.fixture(params=["itself", "another"])
def controller(request: pytest.FixtureRequest) -> str:
    """Say who looks each time: one controller, with its work folder, or another one that has the state only."""
    return str(request.param)


@pytest.fixture
def look(tmp_path: Path, controller: str) -> Iterator[Look]:
    """Read the repository as a run would, with what earlier runs remembered."""
    looks = count()
    state = State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW)

    def context_of(now: datetime) -> Context:
        made = replace(fake_context(tmp_path, now=now), memory=StateMemory(state, "source vendor"))
        if controller == "itself":
            return made
        work = tmp_path / f"work-{next(looks)}"
        work.mkdir()
        return replace(made, work=work)

    def report(
        components: Mapping[str, Component] = COMPONENTS, now: datetime = NOW, **options: object
    ) -> SourceReport:
        given = {"url": (tmp_path / "repo").as_uri(), "trusted_root": "root.json", **options}
        source = make_plugin(tuf, given, context_of(now))
        spec = SourceSpec("vendor", PluginConfig("source", "tuf"), signed=True)
        (answer,) = read_sources([(spec, source)], components)
        return answer

    with state:
        yield report


def versions(report: SourceReport) -> list[tuple[str, str]]:
    return sorted((release.component, release.version) for release in report.releases)


def keep(folder: Path, place: Path) -> None:
    shutil.copytree(folder, place)


def put_back(place: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(place, folder)


def test_what_is_signed_is_offered_and_its_bytes_are_there(vendor: Vendor, look: Look, tmp_path: Path) -> None:
    report = look()
    assert (report.error, report.problems) == ("", ())
    assert versions(report) == [("engine", "1.0"), ("rules", "1")]
    source = make_plugin(
        tuf, {"url": vendor.folder.as_uri(), "trusted_root": "root.json"}, fake_context(tmp_path, now=NOW)
    )
    (release,) = (entry for entry in report.releases if entry.component == "rules")
    with source.open(release, release.files[0]) as stream:
        assert stream.read() == b"one" * 100
    assert versions(look()) == versions(report)


def test_a_release_says_which_keys_of_which_role_signed_it(vendor: Vendor, look: Look) -> None:
    signed = {release.component: release.signed for release in look().releases}
    for component, found in signed.items():
        signer = vendor.delegated[component] if vendor.delegate else vendor.keys["targets"][0]
        role = component if vendor.delegate else "targets"
        assert found == SignedBy("vendor", role, 1, 1, 1, (signer.public_key.keyid,))


def test_when_the_signatures_of_each_role_expire_is_told(vendor: Vendor, look: Look) -> None:
    expires = look().expires
    assert {"root", "targets", "snapshot", "timestamp"} <= expires.keys()
    assert ("rules" in expires) == bool(vendor.delegate)
    assert min(expires.values()) > NOW
    assert all(at.utcoffset() == timedelta() for at in expires.values())


def test_of_several_keys_those_count_that_signed(vendor: Vendor, look: Look) -> None:
    silent, second = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    first = vendor.keys["targets"][0]
    vendor.keys["targets"] = [first, second, silent]
    vendor.sign_root()
    vendor.keys["targets"] = [first, second]
    vendor.sign()
    signed = look().releases[0].signed
    assert signed is not None
    if not vendor.delegate:
        assert (signed.signatures, signed.known) == (2, 3)
        assert signed.keys == tuple(sorted((first.public_key.keyid, second.public_key.keyid)))


def test_a_component_without_an_index_is_not_offered_and_nobody_complains(vendor: Vendor, look: Look) -> None:
    report = look({"rules": RULES, "driver": make_component("driver", "driver", "dotted")})
    assert (report.error, report.problems, versions(report)) == ("", (), [("rules", "1")])


def test_a_rollback_to_older_metadata_is_refused(vendor: Vendor, look: Look, tmp_path: Path) -> None:
    keep(vendor.folder, tmp_path / "old")
    vendor.add("rules", "2", {"all.rules": b"two"})
    vendor.sign()
    assert ("rules", "2") in versions(look())
    put_back(tmp_path / "old", vendor.folder)
    report = look()
    assert "refused as a rollback" in report.error
    assert report.releases == ()


def test_a_rollback_of_the_targets_alone_is_refused(vendor: Vendor, look: Look) -> None:
    vendor.add("rules", "2", {"all.rules": b"two"})
    vendor.sign()
    look()
    vendor.version["targets"] = 0
    vendor.sign_targets()
    vendor.sign_snapshot()
    vendor.sign_timestamp()
    assert "refused as a rollback" in look().error


def test_a_repository_that_is_kept_frozen_is_refused_once_its_signatures_expire(vendor: Vendor, look: Look) -> None:
    assert look().error == ""
    vendor.lifetime["timestamp"] = timedelta(seconds=-60)
    vendor.sign_timestamp()
    report = look()
    assert "its signatures have expired" in report.error
    assert "frozen" in report.error
    assert "accept_expired" in report.error


def test_parts_of_different_states_are_not_mixed(vendor: Vendor, look: Look) -> None:
    vendor.add("rules", "2", {"all.rules": b"two"})
    vendor.sign()
    number = vendor.version["targets"]
    old = vendor.metadata / f"{number - 1}.targets.json"
    shutil.copy(old, vendor.metadata / f"{number}.targets.json")
    report = look()
    assert report.error
    assert report.releases == ()


def test_an_index_of_another_state_costs_its_component_only(vendor: Vendor, look: Look) -> None:
    digest = hashlib.sha256(vendor.indexes["rules"]).hexdigest()
    place = vendor.folder / f"targets/index/{digest}.rules.json"
    place.write_bytes(place.read_bytes().replace(b'"1"', b'"9"'))
    report = look()
    assert report.error == ""
    assert versions(report) == [("engine", "1.0")]
    (problem,) = report.problems
    assert problem.startswith("rules: the index isn't what was signed")


def test_metadata_without_an_end_is_cut_off(vendor: Vendor, look: Look) -> None:
    with (vendor.metadata / "timestamp.json").open("ab") as file:
        file.write(b" " * 100_000)
    assert "doesn't end where it should, and was cut off" in look().error


def test_an_index_without_an_end_is_cut_off(vendor: Vendor, look: Look) -> None:
    digest = hashlib.sha256(vendor.indexes["rules"]).hexdigest()
    with (vendor.folder / f"targets/index/{digest}.rules.json").open("ab") as file:
        file.write(b" " * 1_000_000)
    (problem,) = look().problems
    assert problem.startswith("rules: the index doesn't end where it should")


def test_an_index_about_another_component_is_refused(vendor: Vendor, look: Look) -> None:
    vendor.set_index("rules", vendor.indexes["engine"])
    vendor.sign()
    (problem,) = look().problems
    assert "signed, and refused all the same: it is about 'engine'" in problem


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x", "/etc/passwd", "..", "a\nb", "-rf", ".hidden", "current", "a\\b"]
)
def test_names_that_lead_elsewhere_are_refused_though_they_are_signed(vendor: Vendor, look: Look, name: str) -> None:
    document = vendor.document("rules")
    document["releases"][0]["files"][0]["name"] = name
    vendor.set_index("rules", document)
    vendor.sign()
    report = look()
    assert versions(report) == [("engine", "1.0")]
    assert "rules: its index is signed, and refused all the same" in report.problems[0]


def test_an_index_that_is_no_index_is_refused(vendor: Vendor, look: Look) -> None:
    for content in (b"", b"[]", b"{", b'{"format_version": "2.0", "component": "rules", "releases": []}', b"null" * 9):
        vendor.set_index("rules", content)
        vendor.sign()
        report = look()
        assert versions(report) == [("engine", "1.0")]
        assert len(report.problems) == 1


def test_keys_that_are_not_trusted_sign_in_vain(vendor: Vendor, look: Look) -> None:
    vendor.keys["targets"] = [CryptoSigner.generate_ed25519()]
    vendor.add("rules", "2", {"all.rules": b"evil"})
    vendor.sign()
    report = look()
    assert "isn't signed by enough of the trusted keys" in report.error
    assert report.releases == ()


def test_a_root_of_others_is_not_trusted(vendor: Vendor, look: Look, tmp_path: Path) -> None:
    other = Vendor(tmp_path / "other", NOW)
    shutil.copy(other.metadata / "1.root.json", tmp_path / "root.json")
    assert "isn't signed by enough of the trusted keys" in look().error


def test_keys_can_be_rotated_several_times_while_nobody_looks(vendor: Vendor, look: Look) -> None:
    assert look().error == ""
    for version in ("2", "3", "4"):
        before = vendor.keys["root"]
        vendor.keys = {role: [CryptoSigner.generate_ed25519()] for role in vendor.keys}
        vendor.sign_root(before=before)
        vendor.add("rules", version, {"all.rules": version.encode()})
        vendor.sign()
    report = look()
    assert report.error == ""
    assert ("rules", "4") in versions(report)


def test_a_key_that_was_stolen_is_taken_out_and_what_it_signed_is_worth_nothing_then(
    vendor: Vendor, look: Look
) -> None:
    stolen = vendor.keys["timestamp"]
    vendor.keys["timestamp"] = [CryptoSigner.generate_ed25519()]
    vendor.sign_root()
    vendor.sign()
    assert look().error == ""
    vendor.keys["timestamp"] = stolen
    vendor.sign()
    assert "isn't signed by enough of the trusted keys" in look().error


def test_a_root_that_the_old_keys_did_not_sign_is_refused(vendor: Vendor, look: Look) -> None:
    vendor.keys["root"] = [CryptoSigner.generate_ed25519()]
    vendor.sign_root()
    vendor.sign()
    assert "isn't signed by enough of the trusted keys" in look().error


def test_a_threshold_of_two_wants_two(tmp_path: Path, look: Look) -> None:
    vendor = Vendor(tmp_path / "repo", NOW, threshold=2)
    vendor.add("rules", "1", {"a": b"x"})
    vendor.sign()
    shutil.copy(vendor.metadata / "1.root.json", tmp_path / "root.json")
    assert look().error == ""
    before = vendor.keys["root"]
    vendor.keys["root"] = [before[0], CryptoSigner.generate_ed25519()]
    vendor.sign_root()
    assert "isn't signed by enough of the trusted keys" in look().error


def test_what_was_withdrawn_comes_with_its_reason(vendor: Vendor, look: Look) -> None:
    vendor.add("rules", "2", {"all.rules": b"two"})
    vendor.releases["rules"].pop()
    vendor.set_index("rules", vendor.document("rules", withdrawn=[Withdrawal("rules", "2", "INC-1")]))
    vendor.sign()
    report = look()
    assert report.withdrawn == (Withdrawal("rules", "2", "INC-1"),)
    assert ("rules", "2") not in versions(report)


def test_expired_metadata_is_accepted_for_a_time_and_brings_nothing_new(vendor: Vendor, look: Look) -> None:
    assert versions(look()) == [("engine", "1.0"), ("rules", "1")]
    vendor.add("rules", "2", {"all.rules": b"two"})
    vendor.lifetime = dict.fromkeys(vendor.lifetime, timedelta(seconds=-60))
    vendor.sign()
    today = NOW.date().isoformat()
    accept = {"until": today, "reason": "courier strike"}
    report = look(accept_expired=accept)
    assert report.error == ""
    assert versions(report) == [("engine", "1.0"), ("rules", "1")]
    assert f"accepted until {today}: courier strike" in report.accepted
    late = look(accept_expired=accept, now=NOW + timedelta(days=2))
    assert f"it was accepted until {today}" in late.error
    assert "its signatures have expired" in look().error


def test_what_was_never_verified_is_not_accepted_expired(vendor: Vendor, look: Look) -> None:
    vendor.lifetime["timestamp"] = timedelta(seconds=-60)
    vendor.sign_timestamp()
    accept = {"until": NOW.date().isoformat(), "reason": "courier strike"}
    report = look(accept_expired=accept)
    assert report.releases == ()


def test_a_medium_that_is_not_there_is_told_so(look: Look, tmp_path: Path, vendor: Vendor) -> None:
    vendor.folder.rename(tmp_path / "elsewhere")
    assert f"the folder {tmp_path / 'repo'} isn't there" in look().error


def test_a_trusted_root_that_is_not_there_or_none_is_told_so(vendor: Vendor, look: Look, tmp_path: Path) -> None:
    assert "the trusted root gone.json can't be read" in look(trusted_root="gone.json").error
    (tmp_path / "root.json").write_text("{}")
    assert "root.json isn't a root that can be trusted" in look().error


def test_content_that_was_swapped_is_not_noticed_by_the_source_but_by_the_store(
    vendor: Vendor, look: Look, tmp_path: Path
) -> None:
    from reconciler.errors import StoreError
    from reconciler.storage.store import Store

    report = look()
    (release,) = (entry for entry in report.releases if entry.component == "rules")
    place = vendor.folder / content_path(release.files[0].sha256)
    place.write_bytes(b"evi" * 100)
    source = make_plugin(
        tuf, {"url": vendor.folder.as_uri(), "trusted_root": "root.json"}, fake_context(tmp_path, now=NOW)
    )
    with source.open(release, release.files[0]) as stream, pytest.raises(StoreError, match="has the SHA-256"):
        Store(tmp_path / "store").put(release.files[0], stream)


def test_a_delegated_role_whose_name_leads_out_of_the_folder_is_not_followed(tmp_path: Path, look: Look) -> None:
    vendor = Vendor(tmp_path / "repo", NOW, delegate=True)
    vendor.add("rules", "1", {"a": b"x"})
    vendor.sign()
    shutil.copy(vendor.metadata / "1.root.json", tmp_path / "root.json")
    name = "../../secret"
    (tmp_path / "secret.json").write_text("not for you")
    vendor.rename_role("rules", name)
    report = look({"rules": RULES})
    assert report.releases == ()
    assert "leads out of" in report.problems[0]
    assert "not for you" not in str(report)


def test_a_pipe_in_place_of_a_file_does_not_hang(vendor: Vendor, look: Look) -> None:
    import os

    place = vendor.metadata / "timestamp.json"
    place.unlink()
    os.mkfifo(place)
    assert "is no file" in look().error


def test_a_damaged_memory_of_ours_is_made_again(vendor: Vendor, look: Look, tmp_path: Path) -> None:
    look()
    for path in (tmp_path / "work/metadata").rglob("*.json"):
        if not path.is_symlink():
            path.write_text("damaged")
    assert look().error == ""


def rolled_back(vendor: Vendor, folder: Path) -> None:
    put_back(folder / "old", vendor.folder)


def frozen(vendor: Vendor, _folder: Path) -> None:
    vendor.lifetime["timestamp"] = timedelta(seconds=-60)
    vendor.sign_timestamp()


def signed_by_others(vendor: Vendor, _folder: Path) -> None:
    vendor.keys["timestamp"] = [CryptoSigner.generate_ed25519()]
    vendor.add("rules", "9", {"all.rules": b"evil"})
    vendor.sign()


def mixed(vendor: Vendor, _folder: Path) -> None:
    vendor.add("rules", "9", {"all.rules": b"evil"})
    vendor.sign()
    number = vendor.version["targets"]
    shutil.copy(vendor.metadata / f"{number - 1}.targets.json", vendor.metadata / f"{number}.targets.json")


def leading_elsewhere(vendor: Vendor, _folder: Path) -> None:
    vendor.add("rules", "9", {"all.rules": b"evil"})
    document = vendor.document("rules")
    document["releases"][-1]["files"][0]["name"] = "../../evil"
    vendor.set_index("rules", document)
    vendor.sign()


def swapped(vendor: Vendor, _folder: Path) -> None:
    release = vendor.add("rules", "9", {"all.rules": b"evil"})
    vendor.sign()
    (vendor.folder / content_path(release.files[0].sha256)).write_bytes(b"EVIL")


def test_who_vouches_for_a_release_stands_in_plan_and_history_also_when_its_source_has_let_go_of_it(
    tmp_path: Path,
) -> None:
    vendor = Vendor(tmp_path / "repo", NOW)
    vendor.add("rules", "1", {"all.rules": b"one"}, notes="First.\nOf all.", released=NOW - timedelta(days=9))
    vendor.sign()
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(vendor.metadata / "1.root.json", site / "root.json")
    source = {"name": "vendor", "type": "tuf", "url": vendor.folder.as_uri(), "trusted_root": "root.json"}
    fleet = Fleet(site, clients=1, sources=[source], components={"rules": {"version": "latest"}})
    first = fleet.run("plan", "--fail-on", "unsigned")
    assert first.code == 0, first.err
    day = f"{NOW - timedelta(days=9):%Y-%m-%d}"
    row = f"  rules 1  signed by targets of vendor (1 of 1 key)  released {day}  notes: First. …\n"
    assert row in first.out
    assert fleet.apply().code == 0
    entries = fleet.run("history", "--component", "rules", "--format", "json").json["entries"]
    assert "signed by targets of vendor (1 of 1 key)" in [entry["message"] for entry in entries]
    vendor.releases["rules"].clear()
    vendor.set_index("rules", vendor.document("rules"))
    vendor.sign()
    fleet.spec["groups"]["all"]["clients"].append({"name": "late", "install_root": "clients/late"})
    fleet.write()
    assert row in fleet.run("plan", "--fail-on", "unsigned").out


@pytest.mark.parametrize("attack", [rolled_back, frozen, signed_by_others, mixed, leading_elsewhere, swapped])
def test_whatever_is_tried_store_and_clients_keep_what_they_have(
    tmp_path: Path, attack: Callable[[Vendor, Path], None]
) -> None:
    vendor = Vendor(tmp_path / "repo", NOW)
    vendor.add("rules", "1", {"all.rules": b"one" * 100})
    vendor.sign()
    keep(vendor.folder, tmp_path / "old")
    vendor.add("rules", "2", {"all.rules": b"two" * 100})
    vendor.sign()
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(vendor.metadata / "1.root.json", site / "root.json")
    source = {"name": "vendor", "type": "tuf", "url": vendor.folder.as_uri(), "trusted_root": "root.json"}
    fleet = Fleet(site, clients=2, sources=[source], components={"rules": {"version": "latest"}})
    assert fleet.apply().code == 0
    before = fleet.listing(), sorted((site / "store/content").rglob("*")), sorted((site / "store/releases").rglob("*"))
    attack(vendor, tmp_path)
    done = fleet.apply()
    assert done.code == 1, done.out
    assert "Problems" in done.out or "has the SHA-256" in done.out
    after = fleet.listing(), sorted((site / "store/content").rglob("*")), sorted((site / "store/releases").rglob("*"))
    assert after == before
    assert fleet.current("c1", "rules") == {"all.rules": b"two" * 100}


def test_a_proxy_to_a_folder_is_refused(vendor: Vendor, tmp_path: Path) -> None:
    from reconciler.model.network import Proxy

    context = fake_context(tmp_path, now=NOW, proxy=Proxy("p", "http", "127.0.0.1", 1))
    with pytest.raises(SourceError, match="isn't reached through a proxy"):
        make_plugin(tuf, {"url": vendor.folder.as_uri(), "trusted_root": "root.json"}, context)


def test_a_later_minor_version_of_the_index_may_have_more_keys(vendor: Vendor, look: Look) -> None:
    document = vendor.document("rules")
    document |= {"format_version": "1.7", "mood": "sunny"}
    document["releases"][0]["mood"] = "sunny"
    vendor.set_index("rules", json.dumps(document).encode())
    vendor.sign()
    assert look().problems == ()
    document["format_version"] = "1.0"
    vendor.set_index("rules", json.dumps(document).encode())
    vendor.sign()
    assert "unknown key 'mood'" in look().problems[0]
