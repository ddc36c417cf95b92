"""The `sample` source makes releases for any catalog, the same on every machine, which evolve day by day."""

import hashlib
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import SourceError
from reconciler.model.release import KINDS, Component
from reconciler.model.version import SCHEMES, VersionScheme
from reconciler.plugins.source import sample
from tests.fakes import make_component, make_plugin

CATALOG = {
    component.id: component
    for component in (make_component(f"{scheme}-{kind}", kind, scheme) for scheme in SCHEMES for kind in KINDS)
}


def source(day: Any, **options: Any) -> Any:
    return make_plugin(sample, {"day": day, "size": 16, **options}, None)


def releases(day: Any, **options: Any) -> Any:
    return source(day, **options).releases(CATALOG).releases


def newest(day: Any, component: str, **options: Any) -> Any:
    offered = [release for release in releases(day, **options) if release.component == component]
    return max(offered, key=lambda release: CATALOG[component].version(release.version))


def content(mine: Any, release: Any, name: str) -> Any:
    (file,) = [file for file in release.files if file.name == name]
    with mine.open(release, file) as stream:
        return stream.read()


def test_the_same_options_give_the_same_bytes_on_every_machine() -> None:
    (release,) = [release for release in releases(2) if release.component == "pattern-pattern"][-1:]
    assert release.version == "14.747.00"
    assert release.digest == "c3f19722562b65e6feb411fd908004367d525cf88618994d538bd24702affdc5"


def test_another_seed_gives_other_releases() -> None:
    assert newest(1, "dotted-engine").digest != newest(1, "dotted-engine", seed="other").digest


@settings(max_examples=50, deadline=None)
@given(day=st.integers(1, 20_000), history=st.integers(0, 5))
def test_on_any_day_every_component_has_releases_of_its_own_scheme_each_version_once(day: int, history: int) -> None:
    offered = releases(day, history=history, size=1)
    assert {release.component for release in offered} == set(CATALOG)
    assert len({(release.component, release.version) for release in offered}) == len(offered)
    for release in offered:
        assert CATALOG[release.component].scheme.accepts(release.version)
        assert release.platform == "any"
        assert release.released is not None


@settings(max_examples=25, deadline=None)
@given(day=st.integers(1, 20_000))
def test_a_later_day_never_has_a_lower_version_and_patterns_rise_every_day(day: int) -> None:
    for id_, component in CATALOG.items():
        today, tomorrow = (component.version(newest(when, id_, size=1).version) for when in (day, day + 1))
        assert today < tomorrow if component.kind == "pattern" else today <= tomorrow


@pytest.mark.parametrize(("kind", "days"), [("pattern", 1), ("engine", 7), ("service", 14), ("driver", 30)])
def test_each_kind_has_its_own_pace(kind: str, days: int) -> None:
    versions = [newest(day, f"integer-{kind}", size=1).version for day in range(1, 1 + 4 * days)]
    assert len(set(versions)) in {4, 5}
    assert int(max(versions)) - int(min(versions)) == len(set(versions)) - 1


def test_pattern_numbers_rise_by_two_and_roll_over() -> None:
    numbers = []
    for day in range(1, 1000):
        roll, pattern, _build = newest(day, "pattern-pattern", size=1, history=0).version.split(".")
        numbers.append(int(roll) * 900 + int(pattern) - 100)
        assert 100 <= int(pattern) <= 999
    assert {after - before for before, after in pairwise(numbers)} == {2}


def test_earlier_days_are_offered_as_far_as_history_goes() -> None:
    def versions(history: Any) -> Any:
        offered = releases(9, history=history)
        return [release.version for release in offered if release.component == "integer-pattern"]

    assert len(versions(4)) == 5
    assert versions(0) == versions(4)[-1:]


def test_a_release_is_the_same_whichever_day_it_is_asked_for_on() -> None:
    shared = set(releases(50)) & set(releases(51))
    assert {release.component for release in shared} == set(CATALOG)


def test_a_pattern_is_text_of_which_a_few_lines_in_a_hundred_change_each_day() -> None:
    yesterday, today = (
        content(source(day, size=200), newest(day, "integer-pattern", size=200), "integer-pattern.ptn")
        for day in (8, 9)
    )
    assert re.fullmatch(rb"(?:[0-9a-f]+:[0-9]+\n)+", today)
    before, after = set(yesterday.splitlines()), set(today.splitlines())
    assert 0.01 < len(after - before) / len(after) < 0.04
    assert 200_000 < len(today) < 300_000


def test_an_engine_is_larger_and_most_of_it_stays_from_release_to_release() -> None:
    earlier, later = (content(source(day), newest(day, "dotted-engine"), "dotted-engine.eng") for day in (3, 10))
    blocks = range(0, len(later), sample.BLOCK)
    changed = sum(earlier[at : at + sample.BLOCK] != later[at : at + sample.BLOCK] for at in blocks)
    assert 0 < changed <= len(blocks) / 4
    assert len(later) == 4 * 16 * 1024


def test_one_file_of_each_release_never_changes() -> None:
    notices = {file for release in releases(1) + releases(200) for file in release.files if file.name == "NOTICE.txt"}
    assert len(notices) == 1


def test_a_component_can_have_a_database_for_clamav_that_changes_with_each_release() -> None:
    days = [source(day, clamav=["integer-pattern"]) for day in (1, 2)]
    first, second = (
        content(mine, newest(day, "integer-pattern", clamav=["integer-pattern"]), "eicar.hdb")
        for day, mine in enumerate(days, 1)
    )
    assert re.fullmatch(rb"[0-9a-f]{32}:68:Eicar-Example-[0-9]+\n", first)
    assert first != second
    assert {file.name for file in newest(1, "integer-driver", clamav=["integer-pattern"]).files} == {
        "integer-driver.drv",
        "NOTICE.txt",
    }


def test_a_bad_release_is_cut_off_and_neither_those_around_it_nor_other_components_are() -> None:
    options = {"clamav": ["integer-pattern"], "bad": {"integer-pattern": 3}}
    good, spoilt = (set(releases(5, **{**options, "bad": bad})) for bad in ({}, options["bad"]))
    (whole,), (half,) = good - spoilt, spoilt - good
    assert half.version == whole.version == newest(3, "integer-pattern").version
    for before, after in zip(whole.files, half.files, strict=True):
        assert after.name == before.name
        assert after.size == (before.size if after.name == "NOTICE.txt" else before.size // 2)
    start = content(source(5, **options), half, "eicar.hdb")
    assert content(source(5, clamav=["integer-pattern"]), whole, "eicar.hdb").startswith(start)
    assert re.fullmatch(rb"[0-9a-f]+", start)


def test_a_bad_release_is_the_same_whichever_day_it_is_asked_for_on() -> None:
    (third,), (fifth,) = (
        [release for release in releases(day, bad={"dotted-engine": 3}) if release.version == version]
        for day in (3, 5)
        for version in [newest(3, "dotted-engine").version]
    )
    assert third == fifth


def test_a_release_that_an_earlier_run_listed_can_be_opened() -> None:
    for release in releases(9):
        for file in release.files:
            with source(9).open(release, file) as stream:
                assert hashlib.sha256(stream.read()).hexdigest() == file.sha256


def test_a_release_that_is_not_offered_any_more_cannot_be_opened() -> None:
    release = newest(1, "integer-pattern")
    with pytest.raises(SourceError, match="integer-pattern"), source(100).open(release, release.files[0]):
        pass


def test_a_scheme_that_the_sample_does_not_know_is_an_error_that_names_it() -> None:
    roman = Component("roman", "Roman", "pattern", scheme=VersionScheme("roman", "MMXXVI", lambda _text: (1,)))
    with pytest.raises(SourceError, match="scheme roman"):
        source(1).releases({"roman": roman})
