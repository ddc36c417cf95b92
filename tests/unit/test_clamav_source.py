"""A source of ClamAV's databases, from a folder that has what a mirror has."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.errors import SourceError
from reconciler.formats import cvd
from reconciler.formats.cvd import HEADER, read_database
from reconciler.plugins.source import clamav
from reconciler.plugins.source._clamav import ladder
from tests.clam_mirror import ClamVendor, write_keys
from tests.clam_signer import Authority, Made, cdiff, make, script, sign_file
from tests.fakes import NOW, fake_context, make_component, make_plugin

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.offer import SourceReport
    from reconciler.model.release import Release

DAILY = make_component("clamav-daily", scheme="integer")
VERIFY = {"clamsign": {"keys": "trust/keys.yaml"}}


def lines(version: int, count: int = 20) -> dict[str, bytes]:
    """Give the members of a version: each has a line more than the one before, and another first one."""
    found = [b"%032x:%d:Test.First" % (version, version)]
    found += [b"%032x:%d:Test.Signature-%d" % (n * 7919, n, n) for n in range(count + version)]
    return {"daily.cfg": b"one\n", "daily.hdb": b"".join(line + b"\n" for line in found)}


class Place:
    """A mirror and a source that reads it."""

    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        self.folder = folder
        self.vendor = ClamVendor(folder / "mirror", authority)
        write_keys(folder / "trust" / "keys.yaml")
        self.context = fake_context(folder)

    def publish(self, version: int, **more: Any) -> Made:
        return self.vendor.publish("daily", version, lines(version), **more)

    def source(self, **options: Any) -> Any:
        return make_plugin(clamav, {"url": "mirror", "verify": [VERIFY], **options}, self.context)

    def look(self, **options: Any) -> SourceReport:
        report: SourceReport = self.source(**options).releases({DAILY.id: DAILY})
        return report

    def versions(self, **options: Any) -> list[str]:
        return [release.version for release in self.look(**options).releases]

    def content(self, release: Release, name: str = "") -> bytes:
        file = next(one for one in (*release.files, *release.attached) if one.name == (name or release.files[0].name))
        with self.source().open(release, file) as stream:
            data: bytes = stream.read()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)
        return data

    def without_whole(self) -> None:
        """Have the mirror answer for headers only: whoever asks for a whole file finds it broken."""
        whole = self.vendor.folder / "daily.cvd"
        whole.write_bytes(whole.read_bytes()[:HEADER])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


# --- what is offered --------------------------------------------------------------------------------------------------


def test_a_whole_file_is_offered_unpacked_and_says_who_signed_it(place: Place) -> None:
    made = place.publish(1)
    report = place.look()
    (release,) = report.releases
    assert (report.problems, report.unfetched) == ((), ())
    assert place.content(release) == made.cld
    assert (release.version, release.files[0].name, release.released) == ("1", "daily.cld", _time(made))
    assert release.signed is not None
    assert release.signed.text.startswith("signed by  (clamsign ")
    assert release.notes == f"23 signatures, built {made.header.built}"


def _time(made: Made) -> Any:
    return datetime.fromtimestamp(made.header.time, UTC)


def test_increments_alone_lead_to_the_same_bytes_as_the_whole_file(place: Place, tmp_path: Path) -> None:
    place.publish(1)
    place.look()
    for version in (2, 3, 4):
        newest = place.publish(version)
    place.without_whole()
    report = place.look()
    assert [release.version for release in report.releases] == ["4", "1"]
    assert report.problems == ()
    release = report.releases[0]
    assert place.content(release) == newest.cld
    assert [file.name for file in release.attached] == [f"daily-{n}.cdiff" for n in (2, 3, 4)]
    for n in (2, 3, 4):
        assert place.content(release, f"daily-{n}.cdiff") == (place.vendor.folder / f"daily-{n}.cdiff").read_bytes()

    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.vendor.newest = place.vendor.newest
    other.vendor.put_whole(newest)
    assert other.look().releases[0].files == release.files


def test_a_look_with_nothing_new_shows_the_same_and_writes_nothing(place: Place) -> None:
    place.publish(1)
    before = place.look()
    files = {path: path.stat().st_mtime_ns for path in (place.folder / "work").rglob("*") if path.name != "lock"}
    assert place.look() == before
    assert {p: p.stat().st_mtime_ns for p in (place.folder / "work").rglob("*") if p.name != "lock"} == files


def test_a_whole_file_as_published_goes_with_its_signature_and_its_increments(
    tmp_path: Path, authority: Authority
) -> None:
    place = Place(tmp_path, authority)
    for version in (1, 2):
        made = place.publish(version)
        report = place.look(form="cvd")
    assert report.problems == ()
    release = report.releases[0]
    assert place.content(release) == made.cvd
    attached = ["daily-2.cdiff", "daily-2.cdiff.sign", "daily-2.cvd.sign"]
    assert [file.name for file in release.attached] == attached
    assert place.content(release, "daily-2.cvd.sign") == (place.vendor.folder / "daily-2.cvd.sign").read_bytes()


def test_a_signature_that_comes_later_is_added_to_the_version_that_is_there(
    tmp_path: Path, authority: Authority
) -> None:
    place = Place(tmp_path)
    made = place.publish(1)
    assert place.look(form="cvd").releases[0].attached == ()
    (place.vendor.folder / "daily-1.cvd.sign").write_bytes(authority.sign(made.cvd))
    assert [file.name for file in place.look(form="cvd").releases[0].attached] == ["daily-1.cvd.sign"]


def test_the_other_form_is_made_of_what_is_there(place: Place) -> None:
    made = place.publish(1)
    place.look(form="cvd")
    place.without_whole()
    (release,) = place.look().releases
    assert place.content(release) == made.cld


def test_components_of_other_names_are_told_which_database_they_are(place: Place) -> None:
    place.publish(1)
    rules = make_component("rules", scheme="integer")
    source = place.source(components={"rules": {"database": "daily"}})
    assert [one.component for one in source.releases({"rules": rules, DAILY.id: DAILY}).releases] == ["rules"]
    assert source.releases({}).releases == ()


def test_without_keys_nothing_says_who_signed_and_damage_is_found_all_the_same(place: Place) -> None:
    place.publish(1)
    source = make_plugin(clamav, {"url": "mirror"}, place.context)
    (release,) = source.releases({DAILY.id: DAILY}).releases
    assert release.signed is None
    assert clamav.TRAITS({"url": "mirror"}).signed is False
    made = place.publish(2)
    place.vendor.put("daily-2.cdiff", b"")
    place.vendor.put("daily.cvd", made.cvd[:-20] + b"\0" + made.cvd[-19:])
    assert "is refused" in source.releases({DAILY.id: DAILY}).problems[0]


def test_what_is_trusted_is_listed_with_fingerprints(tmp_path: Path, authority: Authority) -> None:
    place = Place(tmp_path)
    (tmp_path / "trust" / "root.pem").write_bytes(authority.pem)
    found = place.source(verify=[{"clamsign": {"keys": "trust/keys.yaml", "certificates": "trust"}}]).trusted()
    assert [(one.about, len(one.fingerprint)) for one in found] == [
        ("for container", 64), ("for cdiff", 64), ("for info", 64), ("CN=updoser Test Root", 64),
    ]  # fmt: skip
    found = place.source(verify=[{"clamsign": {"keys": "no.yaml", "certificates": "nothing"}}]).trusted()
    assert ["can't be read" in one.problem for one in found] == [True, True]


# --- the ladder -------------------------------------------------------------------------------------------------------


def test_too_many_increments_are_not_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "CDIFFS", 2)
    place.publish(1)
    place.look()
    for version in (2, 3, 4):
        place.publish(version)
    (release, _old) = place.look().releases
    assert (release.version, release.attached) == ("4", ())


@pytest.mark.parametrize("case", ["empty", "gone", "of another version", "does not fit", "a bomb", "cut off"])
def test_an_increment_that_cannot_be_used_is_gone_around(case: str, place: Place) -> None:
    one = place.publish(1)
    place.look()
    place.publish(2)
    three = place.publish(3)
    data = {
        "empty": b"",
        "of another version": cdiff(3, script(one, three)),
        "does not fit": cdiff(2, b"OPEN daily.hdb\nDEL 1 nothing\nCLOSE\n"),
        "a bomb": cdiff(2, b"#" * 1000 + b"\n").replace(b":1001:", b":0004:"),
        "cut off": cdiff(2, b"OPEN daily.hdb\n")[:100],
        "gone": None,
    }[case]
    if data is None:
        (place.vendor.folder / "daily-2.cdiff").unlink()
    else:
        place.vendor.put("daily-2.cdiff", data)
    report = place.look()
    assert [release.version for release in report.releases] == ["3", "1"]
    assert place.content(report.releases[0]) == three.cld
    said = {"of another version": "it is the increment to 3", "a bomb": "isn't signed", "cut off": "is refused"}
    assert [said.get(case, "?") in problem for problem in report.problems] == ([True] if case in said else [])


def test_one_increment_that_is_announced_and_not_there_yet_is_waited_for(place: Place) -> None:
    place.publish(1)
    place.look()
    two = place.publish(2)
    later = (place.vendor.folder / "daily-2.cdiff").rename(place.folder / "later")
    report = place.look()
    assert [release.version for release in report.releases] == ["1"]
    assert report.problems == report.harmless == ("daily: 2 is announced, and daily-2.cdiff isn't there yet",)
    later.rename(place.vendor.folder / "daily-2.cdiff")
    assert place.content(place.look().releases[0]) == two.cld


def test_as_far_as_increments_are_there_the_database_follows(place: Place) -> None:
    place.publish(1)
    place.look()
    two = place.publish(2)
    place.publish(3)
    (place.vendor.folder / "daily-3.cdiff").unlink()
    place.without_whole()
    report = place.look()
    assert place.content(report.releases[0]) == two.cld
    assert report.harmless == ("daily: 3 is announced, and daily-3.cdiff isn't there yet",)


def test_a_whole_file_older_than_announced_is_taken_and_increments_follow(place: Place) -> None:
    two, three = (place.publish(version) for version in (2, 3))
    place.vendor.put_whole(two)
    (release, *_older) = place.look(discovery="dns.txt").releases
    assert place.content(release) == three.cld


@pytest.mark.parametrize("form", ["cld", "cvd"])
def test_a_version_that_is_announced_and_nowhere_there_has_nothing_be_fetched_again(form: str, place: Place) -> None:
    place.publish(1)
    place.look(form=form)
    place.vendor.newest["daily"] = make("daily", 50, lines(1))
    place.vendor.write_record()
    place.without_whole()
    report = place.look(form=form, discovery="dns.txt")
    assert [release.version for release in report.releases] == ["1"]
    assert report.problems == report.harmless == ("daily: 50 is announced, and the whole file is 1 still",)


def test_a_mirror_that_goes_back_is_not_followed(place: Place) -> None:
    one = place.publish(1)
    place.publish(2)
    place.look()
    place.vendor.newest["daily"] = one
    place.vendor.put_whole(one)
    place.vendor.write_record()
    for discovery in ("http", "dns.txt"):
        report = place.look(discovery=discovery)
        assert [release.version for release in report.releases] == ["2"]
        assert report.harmless == ("daily: the source has 1 now and had 2 before; it isn't followed back",)


def test_a_cld_of_a_private_mirror_is_taken_where_there_is_no_cvd(place: Place) -> None:
    made = place.publish(1)
    (place.vendor.folder / "daily.cvd").unlink()
    place.vendor.put("daily.cld", made.cld)
    assert place.content(place.look().releases[0]) == made.cld
    with pytest.raises(SourceError, match=r"daily\.cvd isn't there"):
        place.look(form="cvd")


def test_what_is_too_large_for_a_plan_is_said_and_fetched_when_it_is_asked_for(place: Place) -> None:
    made = place.publish(1)
    report = place.look(refresh_limit="1KiB")
    assert report.releases == ()
    (one,) = report.unfetched
    assert (one.component, one.version, one.platform, one.size) == (DAILY.id, "1", "any", len(made.cvd))
    fetched = place.source(refresh_limit="1KiB").fetch(DAILY.id, "1", "any")
    assert place.look(refresh_limit="1KiB").releases == (fetched,)
    assert place.content(fetched) == made.cld


def test_what_was_kept_and_is_damaged_is_fetched_again(place: Place) -> None:
    place.publish(1)
    place.look()
    (kept,) = (place.folder / "work").rglob("daily.cld")
    kept.write_bytes(kept.read_bytes()[:-3000] + bytes(3000))
    two = place.publish(2)
    assert place.content(place.look().releases[0]) == two.cld


def test_what_was_proven_with_keys_that_are_trusted_no_more_is_not_offered(place: Place) -> None:
    place.publish(1)
    place.look()
    keys = place.folder / "trust" / "keys.yaml"
    text = keys.read_text()
    data = yaml.safe_load(text)
    keys.write_text(yaml.safe_dump({**data, "info": data["cdiff"]}))
    report = place.look()
    assert report.releases == ()
    assert ".info isn't signed with the key that is trusted" in report.problems[0]
    keys.write_text(text)
    assert place.versions() == ["1"]


# --- attacks ----------------------------------------------------------------------------------------------------------


def refused(place: Place, **options: Any) -> str:
    report = place.look(**options)
    assert [release.version for release in report.releases] == ["1"]
    (problem,) = report.problems
    assert report.harmless == ()
    return problem


@pytest.fixture
def attacked(place: Place) -> Place:
    """Give a place whose source has version 1, and whose mirror has version 2 without its increment."""
    place.publish(1)
    place.look()
    place.publish(2)
    place.vendor.put("daily-2.cdiff", b"")
    return place


def test_a_whole_file_signed_by_another_key_is_refused(attacked: Place) -> None:
    attacked.vendor.put_whole(make("daily", 2, lines(2), info_key="cdiff"))
    assert ".info isn't signed with the key that is trusted" in refused(attacked)
    attacked.vendor.put_whole(make("daily", 2, lines(2), container_key="container"))
    assert attacked.versions() == ["2", "1"]


def test_a_container_of_another_key_is_refused_though_its_members_are_genuine(attacked: Place) -> None:
    made = attacked.vendor.newest["daily"]
    data = made.cvd.replace(made.header.signature[:20].encode(), b"A" * 20)
    attacked.vendor.put("daily.cvd", data)
    assert "its container isn't signed with the key" in refused(attacked)


@pytest.mark.parametrize("at", [600, -60])
def test_a_flipped_byte_is_found(at: int, attacked: Place) -> None:
    data = bytearray(attacked.vendor.newest["daily"].cvd)
    data[at] ^= 1
    attacked.vendor.put("daily.cvd", bytes(data))
    assert "daily.cvd is refused" in refused(attacked)


def test_what_was_refused_is_not_fetched_again_until_it_changes(
    attacked: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = (attacked.vendor.folder / "daily.cvd").read_bytes()
    attacked.vendor.put("daily.cvd", good[:-60] + bytes(60))
    said = refused(attacked)
    assert refused(attacked, refresh_limit="0B") == said
    attacked.vendor.put("daily.cvd", good)
    assert attacked.versions() == ["2", "1"]


def test_another_database_is_not_taken_for_this_one(attacked: Place) -> None:
    main = make("main", 2, {"main.hdb": b"aa:1:One\n"})
    attacked.vendor.put("daily.cvd", main.cvd)
    assert "it isn't the database daily" in refused(attacked)


def test_an_increment_signed_by_another_key_is_said_loudly(place: Place) -> None:
    one = place.publish(1)
    place.look()
    two = place.publish(2)
    place.vendor.put("daily-2.cdiff", cdiff(2, script(one, two), key="info"))
    report = place.look()
    assert report.problems == ("daily-2.cdiff is refused: it isn't signed with the key that is trusted",)
    assert [release.version for release in report.releases] == ["2", "1"]


def test_a_genuine_increment_of_another_time_leads_nowhere(place: Place) -> None:
    one, two, three = (place.publish(version) for version in (1, 2, 3))
    place.vendor.put_whole(two)
    place.look(discovery="http")
    # what once led from 1 to 2, under the name of what leads from 2 to 3
    place.vendor.put("daily-3.cdiff", cdiff(2, script(one, two)))
    place.vendor.put_whole(three)
    assert "daily-3.cdiff is refused: it is the increment to 2" in place.look().problems


@pytest.mark.parametrize("full", [True, False])
def test_databases_of_both_kinds_of_signature_are_taken(full: bool, place: Place) -> None:
    place.publish(1, full=full)
    place.look()
    place.publish(2, full=full)
    place.without_whole()
    assert place.versions() == ["2", "1"]


def test_a_bomb_is_not_unpacked(attacked: Place) -> None:
    attacked.vendor.put_whole(make("daily", 2, {"daily.hdb": bytes(2**22)}))
    assert "its members have more than 1048576 bytes" in refused(attacked, max_size="1MiB")


def test_a_bomb_does_not_fill_the_memory_whatever_a_file_may_have(
    attacked: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cvd, "MAX_UNPACKED", 2**20)
    attacked.vendor.put_whole(make("daily", 2, {"daily.hdb": bytes(2**22)}))
    assert "its members have more than 1048576 bytes" in refused(attacked)


def signed_place(folder: Path, authority: Authority, require: str = "any") -> tuple[Place, list[Any]]:
    place = Place(folder, authority)
    (folder / "trust" / "root.pem").write_bytes(authority.pem)
    return place, [{"clamsign": {"keys": "trust/keys.yaml", "certificates": "trust/root.pem", "require": require}}]


@pytest.mark.parametrize("form", ["cld", "cvd"])
def test_a_signature_beside_a_file_that_is_there_and_wrong_is_refused(
    form: str, tmp_path: Path, authority: Authority
) -> None:
    place, verify = signed_place(tmp_path, authority)
    place.publish(1)
    assert place.versions(verify=verify, form=form) == ["1"]
    made = place.publish(2)
    (place.vendor.folder / "daily-2.cdiff.sign").write_bytes(sign_file(("1:", authority.der(b"another file"))))
    (place.vendor.folder / "daily-2.cvd.sign").write_bytes(sign_file(("1:", authority.der(b"another file"))))
    report = place.look(verify=verify, form=form)
    assert [release.version for release in report.releases] == ["1"]
    assert any("daily.cvd is refused: the signature beside it" in problem for problem in report.problems)
    place.vendor.put("daily-2.cdiff", (place.vendor.folder / "daily-2.cdiff").read_bytes())
    place.vendor.put_whole(made)
    assert place.versions(verify=verify, form=form) == ["2", "1"]


def test_a_signature_beside_a_file_may_be_missing_unless_it_is_required(tmp_path: Path, authority: Authority) -> None:
    place, verify = signed_place(tmp_path, authority)
    place.publish(1)
    (place.vendor.folder / "daily-1.cvd.sign").unlink()
    assert place.versions(verify=verify) == ["1"]
    _place, strict = verify, [{"clamsign": {**verify[0]["clamsign"], "require": "sign"}}]
    assert place.versions(verify=strict) == []  # what came without one isn't as good as it was
    place.publish(2)
    assert place.versions(verify=strict) == ["2"]
    assert place.versions(verify=verify) == ["2", "1"]
    (place.vendor.folder / "daily-2.cdiff.sign").unlink()
    place.publish(3)
    (place.vendor.folder / "daily-3.cdiff.sign").unlink()
    (place.vendor.folder / "daily-3.cvd.sign").unlink()
    assert any("`require: sign`" in problem for problem in place.look(verify=strict).problems)


def test_a_whole_file_that_is_at_hand_is_held_to_other_certificates(tmp_path: Path, authority: Authority) -> None:
    place, verify = signed_place(tmp_path, authority, "sign")
    place.publish(1)
    assert place.versions(verify=verify, form="cvd") == ["1"]
    (tmp_path / "trust" / "root.pem").write_bytes(Authority("Another Root").pem)
    assert place.versions(verify=verify, form="cvd") == []
    (tmp_path / "trust" / "root.pem").write_bytes(authority.pem)
    assert place.versions(verify=[VERIFY], form="cvd") == ["1"]


def test_a_form_that_has_no_signature_beside_it_is_refused_where_one_is_required(
    tmp_path: Path, authority: Authority
) -> None:
    place, strict = signed_place(tmp_path, authority, "sign")
    made = place.publish(1)
    (place.vendor.folder / "daily.cvd").unlink()
    place.vendor.put("daily.cld", made.cld)
    assert place.look(verify=strict).releases == ()
    assert "a .cld has no signature beside it" in place.look(verify=strict).problems[0]


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_an_error_of_the_source(place: Place) -> None:
    with pytest.raises(SourceError, match="isn't there"):
        place.look(url="nowhere")


def test_a_record_that_is_none_is_an_error_of_the_source(place: Place) -> None:
    place.publish(1)
    for text in ("", "a:b", "1.4.6:62:x:1:1:90:0:3", "1.4.6:62:1:1:1:90:0"):
        (place.vendor.folder / "dns.txt").write_text(text)
        with pytest.raises(SourceError, match="dns.txt isn't a record of versions"):
            place.look(discovery="dns.txt")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "https://user:pass@mirror.example"}, "user and password don't belong"),
        ({"resolver": "not a server"}, "`resolver`"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(options: dict[str, Any], says: str, place: Place) -> None:
    with pytest.raises(SourceError, match=says):
        place.source(**options)


@pytest.mark.parametrize("text", ["", "[]", "info: 5", "{", "a: &a [*a]"])
def test_keys_that_are_none_are_refused_with_the_name_of_their_file(text: str, place: Place) -> None:
    place.publish(1)
    (place.folder / "trust" / "keys.yaml").write_text(text)
    with pytest.raises(SourceError, match=r"the keys trust/keys\.yaml"):
        place.look()


def test_other_databases_lie_side_by_side_and_one_that_fails_costs_itself_only(place: Place) -> None:
    place.publish(1)
    place.vendor.publish("main", 62, {"main.hdb": b"aa:1:One\n"})
    place.vendor.publish("bytecode", 3, {"bytecode.hdb": b"", "39.cbc": b"ClamBC\n"})
    components = {f"clamav-{name}": make_component(f"clamav-{name}", scheme="integer") for name in ("main", "bytecode")}
    components[DAILY.id] = DAILY
    (place.vendor.folder / "main.cvd").write_bytes(b"nothing")
    report = place.source().releases(components)
    assert [(one.component, one.version) for one in report.releases] == [("clamav-bytecode", "3"), (DAILY.id, "1")]
    assert report.problems == ("clamav-main: main.cvd: it doesn't begin with ClamAV-VDB",)


def test_old_versions_and_increments_are_swept_after_a_day(place: Place) -> None:
    for version in range(1, 9):
        place.publish(version)
        place.look()
        now = NOW + timedelta(days=2 * version)
        place.context = replace(place.context, clock=partial(datetime.fromisoformat, now.isoformat()))
    place.look()
    kept = sorted(path.parts[-3] for path in (place.folder / "work").rglob("daily.cld"))
    assert kept == ["daily-5", "daily-6", "daily-7", "daily-8"]


def test_what_is_kept_reads_as_databases(place: Place) -> None:
    made = place.publish(1)
    (release,) = place.look().releases
    assert read_database(io.BytesIO(place.content(release))).members == made.members
