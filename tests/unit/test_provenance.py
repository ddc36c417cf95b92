"""Where the releases of a plan come from: who vouches for them, and what is new in them, without harm from notes."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.authoring.releases import notes_from
from reconciler.errors import UsageError
from reconciler.model.change import Deploy, Download, Publish
from reconciler.model.offer import Offer
from reconciler.model.plan import Basis, Plan
from reconciler.model.provenance import MAX_NOTES, Provenance
from reconciler.model.release import Release, SignedBy
from reconciler.planner.inputs import Observed
from reconciler.planner.provenance import of_version, provenance
from reconciler.present.document import plan_document
from reconciler.present.policy import breaches, parse_policy
from reconciler.present.provenance_text import release_text
from reconciler.present.reading import read_plan
from reconciler.present.render import render
from reconciler.present.views import PLAN
from tests.fakes import make_release

SCHEMA = Path(__file__).parents[2] / "schema" / "plan.schema.json"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BASIS = Basis("l", 1, 0, "a" * 64, "b" * 64)
SIGNED = SignedBy("vendor", "targets", 2, 3, 2, ("k" * 64,))


def release(component: str = "rules", version: str = "2", **said: Any) -> Release:
    return make_release(component, version, {"a": f"{component} {version}".encode()}, **said)


def deploy(what: Release) -> Deploy:
    return Deploy(
        what.component, "office", "1", "c" * 64, what.version, what.digest, what.platform, "outdated", 1, ("c1",), 9, 9
    )


def download(what: Release) -> Download:
    return Download(what.component, "", what.version, what.digest, what.platform, "drop", 9, "missing")


def plan_of(*deployed: Release, downloaded: tuple[Release, ...] = (), **observed: Any) -> Plan:
    """Make a plan that brings these, and says where they come from."""
    made = Plan(
        "p", NOW, BASIS, downloads=tuple(map(download, downloaded)), deploys=tuple(map(deploy, deployed)),
        members={"c1": ("pc-1",)}, clients={"office": 1},
    )  # fmt: skip
    return replace(made, provenance=provenance(made, Observed(BASIS, **observed)))


def shown(plan: Plan, form: str = "text", *, names: bool = False) -> str:
    return render(plan_document(plan), form, PLAN, names=names)


def test_whoever_signed_the_bytes_vouches_for_them_offered_or_held() -> None:
    bare, signed = release(notes="old words", released=NOW), release(signed=SIGNED, notes="new words")
    for observed in (
        {"held": [bare], "offers": [Offer("vendor", signed)]},
        {"held": [bare], "remembered": [Offer("vendor", signed)]},
    ):
        (entry,) = plan_of(bare, **observed).provenance  # type: ignore[arg-type]
        assert (entry.signed_by, entry.notes) == (SIGNED, "new words")
    (entry,) = plan_of(bare, held=[signed]).provenance
    assert entry.signed_by == SIGNED


def test_what_nobody_signed_is_not_said_beside_a_signature() -> None:
    bare, signed = release(notes="trust me", released=NOW), release(signed=SIGNED)
    (entry,) = plan_of(bare, held=[bare], offers=[Offer("vendor", signed)]).provenance
    assert (entry.signed_by, entry.notes, entry.released) == (SIGNED, "", None)


def test_other_bytes_under_the_same_version_vouch_for_nothing() -> None:
    other = make_release("rules", "2", {"a": b"other"}, signed=SIGNED, notes="other")
    (entry,) = plan_of(release(), held=[other], offers=[Offer("vendor", other)]).provenance
    assert (entry.signed_by, entry.notes) == (None, "")


def test_each_release_that_comes_to_the_store_or_to_clients_is_told_once() -> None:
    going, coming = release(), release("engine", "9")
    found = plan_of(going, downloaded=(going, coming), held=[release("other")]).provenance
    assert [(entry.component, entry.digest) for entry in found] == [
        ("engine", coming.digest),
        ("rules", going.digest),
    ]


def test_a_plan_fits_its_schema_and_comes_back_with_what_it_says_of_releases() -> None:
    told = release(signed=SIGNED, notes="line\nline", released=NOW - timedelta(hours=3))
    plan = plan_of(told, release("engine"), held=[told])
    document = plan_document(plan)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
    assert read_plan(json.loads(json.dumps(document))) == plan
    assert "provenance" not in plan_document(replace(plan, provenance=()))


@pytest.mark.parametrize(
    ("signed", "says"),
    [
        (SIGNED, "signed by targets of vendor (2 of 3 keys)"),
        (replace(SIGNED, signatures=1, known=1), "signed by targets of vendor (1 of 1 key)"),
        (SignedBy("vendor"), "signed by vendor"),
        (
            SignedBy("vendor", scheme="minisign", keys=("39DF3D7302CB8A87",)),
            "signed by vendor (minisign 39DF3D7302CB8A87)",
        ),
        (None, "not signed"),
    ],
)
def test_a_plan_says_who_signed_a_release_and_that_nobody_did(signed: SignedBy | None, says: str) -> None:
    plan = plan_of(release(), held=[release(signed=signed)])
    assert says in shown(plan)
    assert says in shown(plan, "markdown")


@pytest.mark.parametrize(("form", "times"), [("text", 3), ("markdown", 4), ("html", 4), ("junit", 2), ("json", 2)])
def test_each_line_that_brings_a_release_nobody_signed_says_so_and_no_other(form: str, times: int) -> None:
    bare, signed = release("rules"), release("rules", signed=SIGNED)
    for held, says in ((bare, times), (signed, 0)):
        text = shown(plan_of(bare, downloaded=(bare,), held=[held]), form)
        assert text.count('"signed": false' if form == "json" else "not signed") == says


@pytest.mark.parametrize("kind", ["release", "attached"])
@pytest.mark.parametrize("form", ["text", "markdown", "html", "junit", "json"])
def test_a_line_that_passes_on_what_nobody_signed_says_so_and_no_other(form: str, kind: Any) -> None:
    word = '"signed": false' if form == "json" else "not signed"
    for signed in (None, SIGNED):
        what = release(signed=signed)
        entry = Publish(what.component, "", what.version, what.digest, "any", kind, 9, "downloaded", repository="tools")
        out = replace(entry, kind="let go", bytes=0, reason="the store doesn't keep it")
        made = Plan("p", NOW, BASIS, publishes=(entry, out), clients={"office": 1})
        plan = replace(made, provenance=provenance(made, Observed(BASIS, held=[what])))
        lines = [line for line in shown(plan, form).replace("</tr>", "\n").splitlines() if word in line]
        assert any("downloaded" in line for line in lines) is (signed is None and form != "json")
        assert not any("doesn" in line for line in lines)
        assert bool(lines) is (signed is None)
        assert breaches(parse_policy("unsigned"), plan_document(plan)) == ([] if signed else ["unsigned: 1 release"])
        assert read_plan(plan_document(plan)) == plan


def test_releases_that_share_a_row_are_all_signed_or_none_is() -> None:
    bare = [release(f"a{at}") for at in range(5)]
    signed = [release(f"b{at}", signed=SIGNED) for at in range(5)]
    plan = plan_of(*bare, *signed, downloaded=(*bare, *signed), held=[*bare, *signed])
    rows = [" ".join(line.split()) for line in shown(plan).splitlines() if "5 components" in line]
    assert [row.endswith("not signed") for row in rows] == [True, False, True, False]


@pytest.mark.parametrize(
    ("age", "says"),
    [
        (timedelta(hours=3), "released 3 h ago"),
        (timedelta(hours=49), "released 2026-11-22"),
        (timedelta(days=-3), "released 2026-11-27, which lies ahead"),
    ],
)
def test_of_a_fresh_release_the_age_is_said_of_an_old_one_the_day(age: timedelta, says: str) -> None:
    assert says in shown(plan_of(release(), held=[release(released=NOW - age)]))


HOSTILE = "Fine.\x1b[2J\r\n# Heading <script>x</script> @everyone\n\n| a | b |\n</details>\n- five\n- six"


def test_notes_of_others_are_one_line_of_text_the_first_lines_of_markdown_and_whole_in_json() -> None:
    plan = plan_of(release(), held=[release(notes=HOSTILE)])
    (line,) = (line for line in shown(plan).splitlines() if "notes:" in line)
    assert line.endswith("notes: Fine. [2J …")
    opened = shown(plan, names=True)
    assert "        # Heading <script>x</script> @everyone\n" in opened
    assert "        - six\n" in opened
    text = shown(plan, "markdown")
    (item,) = (line for line in text.splitlines() if "Heading" in line)
    assert item.startswith("- rules 2, not signed")
    assert item.count("<br>") == 3
    assert not {"<script>", "@everyone"} & set(item.replace("<br>", " ").split())
    assert text.count("</details>") == text.count("<details>")
    (entry,) = plan_document(plan)["provenance"]
    assert entry["notes"].endswith("- five\n- six")
    assert "\x1b" not in entry["notes"]


def test_notes_in_a_plan_have_an_end() -> None:
    (entry,) = plan_of(release(), held=[release(notes="é" * 20_000)]).provenance
    assert len(entry.notes) == MAX_NOTES
    assert entry.notes.endswith("…")
    assert len(max(shown(plan_of(release(), held=[release(notes="x" * 9000)])).splitlines(), key=len)) < 250


def test_notes_that_are_no_text_can_be_written_all_the_same() -> None:
    plan = plan_of(release(), held=[release(notes="odd \ud800 end")])
    assert json.dumps(plan_document(plan), ensure_ascii=False).encode()


def test_releases_of_which_the_same_is_said_share_a_row() -> None:
    many = [release(f"c{at:02}", notes="An example.", released=NOW - timedelta(days=at + 3)) for at in range(13)]
    odd = release(signed=SIGNED)
    plan = plan_of(*many, odd, held=[*many, odd])
    rows = shown(plan).partition("\nReleases\n")[2].partition("\n\n")[0].splitlines()
    assert [" ".join(row.split()) for row in rows] == [
        "13 releases not signed released 2026-11-09 to 2026-11-21 notes: An example.",
        "rules 2 signed by targets of vendor (2 of 3 keys)",
    ]
    assert "14 releases, 13 not signed, 13 with notes" in shown(plan, "markdown")
    assert f"sha256 {many[4].digest[:12]}" in shown(plan, names=True)


def test_more_rows_than_a_page_has_are_counted() -> None:
    many = [release(f"c{at:02}", notes=f"Number {at}.") for at in range(30)]
    assert "and 18 more releases: --diff" in shown(plan_of(*many, held=many))


def test_a_policy_refuses_releases_that_nobody_vouches_for() -> None:
    signed, bare = release("engine", signed=SIGNED), release()
    plan = plan_of(signed, bare, held=[signed, bare])
    assert breaches(parse_policy("unsigned"), plan_document(plan)) == ["unsigned: 1 release"]
    assert breaches(parse_policy("unsigned>1"), plan_document(plan)) == []
    assert breaches(parse_policy("unsigned"), plan_document(plan_of(signed, held=[signed]))) == []


def test_a_plan_that_says_nothing_of_its_releases_vouches_for_none() -> None:
    document = plan_document(replace(plan_of(release(signed=SIGNED), held=[release(signed=SIGNED)]), provenance=()))
    assert breaches(parse_policy("unsigned"), document) == ["unsigned: 1 release"]


def test_one_line_says_all_of_a_release() -> None:
    entry = Provenance("rules", "2", "any", "d" * 64, NOW - timedelta(hours=3), "New.\nMore.", SIGNED)
    made = replace(plan_of(release()), provenance=(entry,))
    document = plan_document(made)
    assert release_text(document["provenance"][0], document["created"]) == (
        "signed by targets of vendor (2 of 3 keys), released 3 h ago, notes: New. …"
    )


def test_of_a_version_the_release_counts_that_clients_of_a_platform_get() -> None:
    common, own = release(notes="for all"), make_release("rules", "2", {"a": b"own"}, "linux-x86_64", notes="own")
    observed = Observed(BASIS, held=[common, own], offers=[Offer("vendor", replace(common, signed=SIGNED))])
    for platform, notes, signed in (("linux-x86_64", "own", None), ("linux-aarch64", "for all", SIGNED)):
        found = of_version("rules", "2", platform, observed)
        assert found is not None
        assert (found.notes, found.signed_by) == (notes, signed)
    assert of_version("rules", "3", "any", observed) is None


def test_notes_are_a_text_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_bytes("One.\r\nTwo é.\n".encode())
    assert notes_from("One.") == "One."
    assert notes_from(f"@{file}") == "One.\nTwo é."


@pytest.mark.parametrize("content", [None, b"\xff", b"x" * 50_000, b"\x1b[2J"])
def test_a_file_of_notes_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "notes.md"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match="notes"):
        notes_from(f"@{file}")
