"""What sources say is checked, and what they disagree about is held."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SourceError
from reconciler.model.offer import Fetchable, Offer, SourceReport, Unfetched
from reconciler.model.release import Release, ReleaseFile, SignedBy, file_name_problem
from reconciler.model.spec import PluginConfig, SourceSpec
from reconciler.observe import unfetched, upstream
from reconciler.observe.upstream import merge_offers, merge_unfetched, read_sources
from tests.fakes import FakeSource, make_component, make_release

RULES = make_component("rules", scheme="integer")
ENGINE = make_component("engine", "engine", "dotted")
COMPONENTS = {"rules": RULES, "engine": ENGINE}
GOOD = ReleaseFile("all.rules", 5, "a" * 64)


def spec(name: str = "vendor", components: Any = None, *, signed: bool = False) -> Any:
    return SourceSpec(name, PluginConfig("source", "fake"), components, signed=signed)


def read(*releases: Any, problems: Any = (), components: Any = None, signed: bool = False) -> Any:
    """Read one source that says this."""

    class Saying:
        def releases(self, _components: Any) -> Any:
            return SourceReport("", releases, problems=problems)

    (report,) = read_sources([(spec(components=components, signed=signed), Saying())], COMPONENTS)  # type: ignore[list-item]
    return report


def rules(version: Any = "7", **fields: Any) -> Release:
    return Release("rules", version, **{"platform": "any", "files": (GOOD,), **fields})


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (ReleaseFile("../up", 5, "a" * 64), "has a slash"),
        (ReleaseFile("a.sign", -1, "a" * 64), "the size of a.sign"),
        (ReleaseFile("a.sign", 5, "A" * 64), "isn't 64 hexadecimal digits"),
        (GOOD, "stands in it twice"),
    ],
)
def test_what_is_attached_is_no_more_believed_than_files_are(odd: Any, says: str) -> None:
    report = read(rules(attached=(odd,)), rules("8", attached=(ReleaseFile("a.sign", 5, "b" * 64),)))
    assert [release.version for release in report.releases] == ["8"]
    assert says in report.problems[0]


def test_releases_come_sorted_by_component_version_and_platform_whatever_the_source_says_first() -> None:
    report = read(
        rules("10"),
        rules("9", platform="linux-x86_64"),
        rules("9"),
        make_release("engine", "1.10", {"b": b"", "a": b""}),
        make_release("engine", "1.9", {"a": b""}),
    )
    assert report.source == "vendor"
    assert [(release.component, release.version, release.platform) for release in report.releases] == [
        ("engine", "1.9", "any"),
        ("engine", "1.10", "any"),
        ("rules", "9", "any"),
        ("rules", "9", "linux-x86_64"),
        ("rules", "10", "any"),
    ]


def test_files_come_sorted_by_name_so_that_equal_releases_are_equal() -> None:
    files = (ReleaseFile("b", 0, "b" * 64), ReleaseFile("a", 0, "a" * 64))
    assert read(rules(files=files)).releases[0].files == files[::-1]


def test_only_components_that_the_source_may_serve_are_asked_for() -> None:
    source = FakeSource()
    source.add("rules", "7", {"a": b""})
    source.add("engine", "1.0", {"a": b""})
    (report,) = read_sources([(spec(components=frozenset({"rules"})), source)], COMPONENTS)
    assert [release.component for release in report.releases] == ["rules"]
    assert report.problems == ()


@pytest.mark.parametrize(
    ("release", "words"),
    [
        (Release("other", "7", "any", (GOOD,)), "nobody asked for this component"),
        (Release("engine", "1.0", "any", (GOOD,)), "doesn't let this source serve"),
        (rules("1.0"), "isn't one of the scheme integer (such as 27811)"),
        (rules("../7"), "isn't one of the scheme"),
        (rules(platform="../../x"), "neither `any` nor `os-arch`"),
        (rules(files=()), "it has 0 files"),
        (rules(files=(GOOD,) * 10_001), "it has 10001 files"),
        (rules(files=(GOOD, replace(GOOD, size=6))), "stands in it twice"),
        (rules(files=(replace(GOOD, name="../x"),)), "has a slash"),
        (rules(files=(replace(GOOD, name="-x"),)), "begins with '-'"),
        (rules(files=(replace(GOOD, name="a\nb"),)), "control bytes"),
        (rules(files=(replace(GOOD, size=-1),)), "the size of all.rules is -1"),
        (rules(files=(replace(GOOD, size=2**60),)), "the size of all.rules"),
        (rules(files=(replace(GOOD, sha256="A" * 64),)), "the SHA-256 of all.rules"),
        (rules(files=(replace(GOOD, sha256="a" * 64 + "\n"),)), "the SHA-256 of all.rules"),
        (rules(notes="x" * 20_001), "notes are longer"),
        (rules(released=datetime(2026, 1, 1)), "no time zone"),  # noqa: DTZ001 - the mistake that is meant
    ],
)
def test_a_release_that_breaks_a_rule_is_left_out_and_the_others_stay(release: Any, words: str) -> None:
    report = read(release, rules("8"), components=frozenset({"rules"}))
    assert [good.version for good in report.releases] == ["8"]
    (problem,) = report.problems
    assert words in problem
    assert problem.isprintable()


def test_a_release_that_is_listed_twice_counts_once_and_with_two_contents_not_at_all() -> None:
    twin = rules(released=datetime(2026, 1, 1, tzinfo=UTC))
    assert read(rules(), twin).releases == (rules(),)
    report = read(rules(), rules(files=(replace(GOOD, size=6),)), rules("8"))
    assert [release.version for release in report.releases] == ["8"]
    assert report.problems == ("rules 7: it is listed twice, with different content",)


def test_what_a_source_says_is_fit_to_be_shown_and_not_endless() -> None:
    report = read(problems=("\x1b[2J bad\nthing", "x" * 10_000, *("more" for _number in range(1000))))
    assert report.problems[0] == "?[2J bad thing"
    assert len(report.problems[1]) == upstream.MAX_SENTENCE
    assert len(report.problems) == upstream.MAX_PROBLEMS + 1
    assert report.problems[-1] == "and 802 problems more"


def test_a_source_with_too_many_releases_is_an_error_of_that_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "MAX_RELEASES", 2)
    assert "lists 3 releases" in read(rules("1"), rules("2"), rules("3")).error


def test_a_source_that_fails_does_not_disturb_the_others_and_the_order_stays() -> None:
    good, sad, broken = FakeSource(), FakeSource(), FakeSource()
    good.add("rules", "7", {"a": b""})
    sad.error = SourceError("the folder drop is not there", hint="make it")
    broken.error = KeyError("oops")
    reports = read_sources([(spec("a"), sad), (spec("b"), broken), (spec("c"), good)], COMPONENTS)
    assert [(report.source, report.error) for report in reports] == [
        ("a", "the folder drop is not there (make it)"),
        ("b", "the source broke: KeyError: 'oops'"),
        ("c", ""),
    ]
    assert len(reports[2].releases) == 1


def test_sources_are_asked_at_the_same_time() -> None:
    together = threading.Barrier(3)

    class Waiting:
        def releases(self, _components: Any) -> Any:
            together.wait(30)
            return SourceReport("")

    reports = read_sources([(spec(str(number)), Waiting()) for number in range(3)], COMPONENTS)  # type: ignore[misc]
    assert [report.error for report in reports] == ["", "", ""]


def test_no_sources_are_no_reports() -> None:
    assert read_sources([], COMPONENTS) == []


def test_of_equal_offers_the_first_source_wins() -> None:
    offers, problems = merge_offers([SourceReport("a", (rules(),)), SourceReport("b", (rules(), rules("8")))])
    assert offers == [Offer("a", rules()), Offer("b", rules("8"))]
    assert problems == []


SIGNED = SignedBy("elsewhere", "targets", 2, 3, 2, ("k" * 64,))


def test_only_a_signed_source_says_whose_signatures_vouch_for_a_release() -> None:
    assert read(rules(signed=SIGNED)).releases[0].signed is None
    assert read(rules(signed=SIGNED), signed=True).releases[0].signed == replace(SIGNED, source="vendor")
    assert read(rules(), signed=True).releases[0].signed == SignedBy("vendor")


def test_what_a_source_says_of_its_signatures_is_fit_to_be_shown_and_not_endless() -> None:
    odd = replace(SIGNED, role="\x1b[2J" * 100, keys=("k" * 500,) * 50)
    signed = read(rules(signed=odd), signed=True).releases[0].signed
    assert signed is not None
    assert signed.role.isprintable()
    assert (len(signed.role), len(signed.keys), len(signed.keys[0])) == (100, 8, 100)


def test_whoever_signed_the_bytes_vouches_for_them_whichever_source_they_come_from() -> None:
    signed = rules(signed=replace(SIGNED, source="vendor"))
    offers, held = merge_offers([SourceReport("drop", (rules(),)), SourceReport("vendor", (signed,))])
    assert held == []
    assert [(offer.source, offer.release.signed) for offer in offers] == [("drop", signed.signed)]


def test_a_source_that_is_not_signed_makes_no_signed_release_older_and_says_nothing_of_it() -> None:
    bare = rules(released=datetime(2020, 1, 1, tzinfo=UTC), notes="old and proven")
    signed = rules(signed=replace(SIGNED, source="vendor"), released=datetime(2026, 1, 1, tzinfo=UTC))
    (offer,), _held = merge_offers([SourceReport("drop", (bare,)), SourceReport("vendor", (signed,))])
    assert (offer.source, offer.release.released, offer.release.notes) == ("drop", signed.released, "")


def test_a_release_that_sources_disagree_about_is_held_and_the_sources_are_named() -> None:
    other = rules(files=(replace(GOOD, sha256="b" * 64),))
    offers, problems = merge_offers([SourceReport("a", (rules(), rules("8"))), SourceReport("b", (other,))])
    assert offers == [Offer("a", rules("8"))]
    said = f"a ({rules().digest[:12]}) and b ({other.digest[:12]})"
    assert [entry.says for entry in problems] == [f"rules 7 is held: the content differs between the sources {said}"]


def test_releases_of_one_version_for_several_platforms_are_no_disagreement() -> None:
    x86 = rules(platform="linux-x86_64", files=(replace(GOOD, sha256="b" * 64),))
    offers, problems = merge_offers([SourceReport("a", (rules(),)), SourceReport("b", (x86,))])
    assert len(offers) == 2
    assert problems == []


TEXT = st.text(max_size=8)
FILES = st.lists(st.builds(ReleaseFile, TEXT, st.integers(), TEXT | st.just("a" * 64)), max_size=3).map(tuple)
IDS, VERSIONS = st.sampled_from(["rules", "engine", "x"]), st.sampled_from(["7", "1.0", "x"])
RELEASES = st.builds(Release, IDS, VERSIONS | TEXT, TEXT | st.just("any"), FILES)


@given(st.lists(RELEASES | st.just(rules()), max_size=5))
def test_whatever_a_source_says_what_is_left_keeps_all_rules(releases: Any) -> None:
    report = read(*releases)
    assert report.error == ""
    for release in report.releases:
        assert COMPONENTS[release.component].scheme.accepts(release.version)
        assert release.files
        assert all(file_name_problem(file.name) == "" and file.size >= 0 for file in release.files)
    assert all(sentence.isprintable() for sentence in report.problems)


def test_what_a_source_has_of_a_component_that_no_catalog_knows_is_told_with_what_was_meant() -> None:
    class Drop:
        def releases(self, _components: Any) -> Any:
            return SourceReport("drop", others=("virus-patern", "engine"))

    spec = SourceSpec("drop", PluginConfig("source", "directory"))
    (report,) = read_sources([(spec, Drop())], {}, {"virus-pattern", "engine"})  # type: ignore[list-item]
    assert (
        report.problems
        == report.harmless
        == ("virus-patern: no catalog has such a component; did you mean `virus-pattern`?",)
    )
    assert report.error == ""


# --- releases whose bytes nobody knows --------------------------------------------------------------------------------


def read_unfetched(*entries: Any, releases: Any = (), components: Any = None, fetches: bool = True) -> Any:
    """Read one source that has these unfetched releases."""

    class Saying:
        def releases(self, _components: Any) -> Any:
            return SourceReport("", releases, unfetched=entries)

    class Fetching(Saying):
        def fetch(self, *_key: str) -> Any:
            raise AssertionError("nothing is fetched while sources are read")

    source = Fetching() if fetches else Saying()
    (report,) = read_sources([(spec(components=components), source)], COMPONENTS)  # type: ignore[list-item]
    return report


BEFORE_TIME = datetime(1960, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Unfetched("other", "7"), "other 7: nobody asked for this component"),
        (Unfetched("engine", "1.0"), "doesn't let this source serve"),
        (Unfetched("rules", "1.0"), "isn't one of the scheme integer (such as 27811)"),
        (Unfetched("rules", "../7"), "isn't one of the scheme"),
        (Unfetched("rules", "7\n"), "isn't one of the scheme"),
        (Unfetched("rules", "7", "../x"), "neither `any` nor `os-arch`"),
        (Unfetched("rules", "7", size=-1), "its size is -1 bytes"),
        (Unfetched("rules", "7", size=2**60), "its size is"),
        (Unfetched("rules", "7", size=True), "its size is True bytes"),
        (Unfetched("rules", "7", size=1.5), "its size is 1.5 bytes"),  # type: ignore[arg-type]
        (Unfetched("rules", "7", released=BEFORE_TIME), "its release time isn't of the years"),
    ],
)
def test_an_unfetched_release_that_breaks_a_rule_is_left_out_and_the_others_stay(entry: Any, words: str) -> None:
    report = read_unfetched(entry, Unfetched("rules", "8", size=5), components=frozenset({"rules"}))
    assert [good.version for good in report.unfetched] == ["8"]
    (problem,) = report.problems
    assert words in problem
    assert problem.isprintable()


def test_unfetched_releases_come_sorted_and_once_and_never_beside_their_bytes() -> None:
    report = read_unfetched(
        Unfetched("rules", "10", why="\x1b[2J " + "too large " * 100),
        Unfetched("rules", "9", "linux-x86_64"),
        Unfetched("rules", "9"),
        Unfetched("rules", "10", size=7),
        Unfetched("rules", "7"),
        releases=(rules(),),
    )
    assert [entry.key[1:] for entry in report.unfetched] == [("9", "any"), ("9", "linux-x86_64"), ("10", "any")]
    why = report.unfetched[2].why
    assert why.startswith("?[2J too large")
    assert len(why) <= 300
    assert report.problems == ()


def test_a_source_that_cannot_fetch_has_no_unfetched_releases() -> None:
    report = read_unfetched(Unfetched("rules", "8"), fetches=False)
    assert (report.unfetched, report.problems) == (
        (),
        ("rules 8: nobody knows its bytes, and the source can't fetch it",),
    )


def test_a_source_with_too_many_unfetched_releases_is_an_error_of_that_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unfetched, "MAX_UNFETCHED", 1)
    assert "lists 2 unfetched releases" in read_unfetched(Unfetched("rules", "1"), Unfetched("rules", "2")).error


def test_an_unfetched_release_is_fetched_from_the_first_source_unless_one_offers_its_bytes() -> None:
    reports = [
        SourceReport("gone", unfetched=(Unfetched("rules", "9"),), error="no route"),
        SourceReport("a", unfetched=(Unfetched("rules", "8"), Unfetched("rules", "9"))),
        SourceReport("b", (rules("8"),), unfetched=(Unfetched("rules", "9", size=7),)),
    ]
    found, held = merge_unfetched(reports)
    assert (found, held) == ([Fetchable("a", Unfetched("rules", "9"))], [])


def test_what_is_fetched_is_known_to_be_signed_or_not_by_what_its_source_can_prove() -> None:
    config = PluginConfig("source", "fake")
    specs = [
        SourceSpec("all", config, signed=True, vouches=True),
        SourceSpec("some", config, vouches=True),
        SourceSpec("none", config),
    ]
    reports = [SourceReport(spec.name, unfetched=(Unfetched(spec.name, "1"),)) for spec in specs]
    found, _held = merge_unfetched(reports, specs)
    assert {entry.source: entry.signed for entry in found} == {"all": True, "some": None, "none": False}


def test_an_unfetched_release_outranks_signed_ones_no_more_than_others_do() -> None:
    reports = [SourceReport("hq", (rules("7"),)), SourceReport("web", unfetched=(Unfetched("rules", "8"),))]
    found, held = merge_unfetched(reports, [spec("hq", signed=True), spec("web")], COMPONENTS)
    assert found == []
    assert "rules 8 of source web is held: it isn't signed, and would outrank 7 of hq" in held[0].says
    allowed = replace(spec("web"), may_outrank=True)
    assert merge_unfetched(reports, [spec("hq", signed=True), allowed], COMPONENTS)[1] == []


UNFETCHED = st.builds(
    Unfetched, IDS | TEXT, VERSIONS | TEXT, TEXT | st.just("any"), st.none() | st.integers(), st.none(), TEXT
)


@given(st.lists(UNFETCHED | st.just(Unfetched("rules", "7")), max_size=5))
def test_whatever_a_source_has_unfetched_what_is_left_keeps_all_rules(entries: Any) -> None:
    report = read_unfetched(*entries)
    assert report.error == ""
    for entry in report.unfetched:
        assert COMPONENTS[entry.component].scheme.accepts(entry.version)
        assert entry.size is None or entry.size >= 0
    assert all(sentence.isprintable() for sentence in (*report.problems, *(entry.why for entry in report.unfetched)))
