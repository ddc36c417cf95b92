"""Versions, patterns that select, durations, known_hosts, thresholds, and the bundled catalog."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from reconciler.formats.duration import parse_duration
from reconciler.formats.known_hosts import KnownHosts, hashed_name
from reconciler.formats.select import parse
from reconciler.model.release import content_digest, file_name_problem
from reconciler.model.report import ComponentStatus
from reconciler.model.version import SCHEMES, dated_version, pattern_from_integer, pattern_to_integer
from reconciler.planner.thresholds import breaches, parse_conditions
from reconciler.specfile.catalogs import catalog_path, component_list, read_catalog
from tests.fakes import describe

# --- versions -------------------------------------------------------------------------------------------------------

numbers = st.integers(0, 10**9)
ONE_HOUR = timedelta(hours=1)
TEXTS = {
    "pattern": st.builds("{}.{:03}.{:02}".format, st.integers(0, 999_999), st.integers(0, 999), st.integers(0, 99)),
    "dotted": st.lists(numbers, min_size=1, max_size=6).map(lambda fields: ".".join(map(str, fields))),
    "integer": numbers.map(str),
    "calver": st.builds(
        "{:%Y.%m.%d}{}{}".format,
        st.dates(),
        st.sampled_from(["", ".1", ".2", ".10", "T000000", "T000001", "T235959"]),
        st.sampled_from(["", "+00000000", "+4f2a9c31"]),
    ).filter(lambda text: len(text.split(".")[0]) == 4),
}


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
def test_versions_of_a_scheme_are_in_one_total_order_and_keep_their_spelling(name: str, data: DataObject) -> None:
    a, b, c = (SCHEMES[name].parse(data.draw(TEXTS[name])) for _ in range(3))
    assert str(SCHEMES[name].parse(a.text)) == a.text
    assert (a < b) + (b < a) + (a == b) == 1
    assert not (a <= b <= c) or a <= c
    assert (a == b) == (a.text == b.text)


def test_versions_of_a_day_are_ordered_by_their_time_and_then_by_their_bytes() -> None:
    moments = [datetime(2026, 11, 19, 0, 0, 0, tzinfo=UTC), datetime(2026, 11, 19, 7, 15, tzinfo=timezone(ONE_HOUR))]
    dated = [dated_version(moment, digest * 64) for moment in moments for digest in ("", "0", "4")]
    assert dated[3:] == ["2026.11.19T061500", "2026.11.19T061500+00000000", "2026.11.19T061500+44444444"]
    scheme = SCHEMES["calver"]
    day = ["2026.11.19", *dated, "2026.11.19.1", "2026.11.20"]
    assert [version.text for version in sorted(map(scheme.parse, reversed(day)))] == day
    assert dated_version(datetime(987, 1, 2, tzinfo=UTC)) == "0987.01.02T000000"


@given(roll=st.integers(1, 999), build=st.integers(0, 99))
def test_after_pattern_999_the_roll_rises(roll: int, build: int) -> None:
    scheme = SCHEMES["pattern"]
    assert scheme.parse(f"{roll}.999.{build:02}") < scheme.parse(f"{roll + 1}.100.00")


@given(TEXTS["pattern"], TEXTS["pattern"])
def test_the_integer_form_of_a_pattern_comes_back_and_keeps_the_order(text: str, other: Any) -> None:
    version, another = (SCHEMES["pattern"].parse(one) for one in (text, other))
    assert pattern_from_integer(pattern_to_integer(version)) == version
    assert (pattern_to_integer(version) < pattern_to_integer(another)) == (version < another)


@pytest.mark.parametrize(
    ("text", "number"), [("16.679.00", 1667900), ("16.001.00", 1600100), ("0.999.00", 99900), ("0.000.07", 7)]
)
def test_a_pattern_is_any_roll_pattern_and_build_and_has_an_integer_form(text: str, number: int) -> None:
    assert pattern_to_integer(SCHEMES["pattern"].parse(text)) == number
    assert pattern_from_integer(number).text == text


@given(st.integers(-(10**12), 10**12))
def test_a_number_is_the_integer_form_of_one_pattern_or_of_none(number: int) -> None:
    try:
        version = pattern_from_integer(number)
    except ValueError:
        return
    assert pattern_to_integer(version) == number


@pytest.mark.parametrize(
    ("scheme", "text"),
    [
        *(("pattern", text) for text in ("16.67.00", "16.1000.00", "16.679.0", "016.679.00", "16.679", "-1.999.00")),
        *(("dotted", text) for text in ("", "1.", "1..2", "01.2", "1.2.3.4.5.6.7", "1.a", "-1", "1\n", "١")),
        *(("integer", text) for text in ("", "01", "1.0", "-1", "1" * 30)),
        *(("calver", text) for text in ("2026.13.01", "2026.02.30", "26.01.01", "2026.1.1", "2026.01.01.0")),
        *(
            ("calver", f"2026.01.01{text}")
            for text in ("T1", "T240000", "T006000", ".1T000000", "+4F2A9C31", "+4f2", "+")
        ),
    ],
)
def test_what_is_no_version_is_refused_with_an_example(scheme: Any, text: str) -> None:
    assert not SCHEMES[scheme].accepts(text)
    with pytest.raises(ValueError, match="such as"):
        SCHEMES[scheme].parse(text)


# --- selecting ------------------------------------------------------------------------------------------------------

FLEET = {
    "pc-1": (("branch",), ("eu", "canary")),
    "pc-2": (("branch",), ("eu",)),
    "db-1": (("dmz",), ("prod",)),
    "eu": (("dmz",), ()),
}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", "pc-1 pc-2 db-1 eu"),
        ("pc-1,db-1", "pc-1 db-1"),
        ("pc-1:db-1", "pc-1 db-1"),
        ("pc-*", "pc-1 pc-2"),
        ("branch", "pc-1 pc-2"),
        ("eu", "pc-1 pc-2 eu"),
        ("label=eu", "pc-1 pc-2"),
        ("name=eu", "eu"),
        ("group=dmz", "db-1 eu"),
        ("branch:&canary", "pc-1"),
        ("!branch", "db-1 eu"),
        ("*:!db-*:!eu", ""),
        ("&prod", "db-1"),
        ("@failed", "pc-2"),
        ("@failed:!pc-2", ""),
        ("pc-[12]", "pc-1 pc-2"),
    ],
)
def test_a_pattern_selects_what_ansible_users_expect(pattern: str, names: str) -> None:
    selection = parse(pattern, {"failed": {"pc-2"}})
    assert [
        name for name, (groups, labels) in FLEET.items() if selection.matches(name, groups, labels)
    ] == names.split()


@pytest.mark.parametrize("pattern", ["", " ", ":", "a:&", "!", "@nobody"])
def test_a_pattern_that_says_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        parse(pattern, {"failed": set()})


@given(st.text(max_size=30))
def test_no_pattern_breaks_the_reader(pattern: str) -> None:
    try:
        parse(pattern).matches("a", ("b",), ("c",))
    except ValueError as error:
        assert str(error)  # noqa: PT017  (whether it raises depends on the text)


# --- durations ------------------------------------------------------------------------------------------------------


@given(days=st.integers(0, 999), hours=st.integers(0, 999), minutes=st.integers(0, 999), seconds=st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(days: int, hours: int, minutes: int, seconds: int) -> None:
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == span
    assert parse_duration("2w") == timedelta(days=14)


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "-5m", "1.5h", "99999w", "5x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration|ten years"):
        parse_duration(text)


# --- files and digests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "..", ".a", "-a", "a/b", "a\\b", "a\nb", "current", "x" * 256, "\x7f", "a\udc80"])
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    assert file_name_problem(name)


@pytest.mark.parametrize("name", ["lpt$vpn.679", "a b", "*", "'", '"', "grün", "$(id)", "currents"])
def test_odd_names_are_allowed(name: str) -> None:
    assert not file_name_problem(name)


def test_the_digest_of_a_release_is_that_of_its_sums_listing() -> None:
    files = [describe("b", b"2"), describe("a", b"1")]
    assert content_digest(files) == content_digest(reversed(files))
    assert content_digest(files) != content_digest([describe("a", b"2"), describe("b", b"1")])


# --- known_hosts ----------------------------------------------------------------------------------------------------

KEY, OTHER = "AAAA", "BBBB"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("h ssh-ed25519 AAAA comment", "trusted"),
        ("other,h ssh-ed25519 AAAA", "trusted"),
        ("* ssh-ed25519 AAAA", "trusted"),
        ("*,!h ssh-ed25519 AAAA", "unknown"),
        ("h ssh-ed25519 BBBB", "changed"),
        ("h ssh-rsa BBBB", "changed"),
        ("[h]:2222 ssh-ed25519 AAAA", "unknown"),
        ("@revoked * ssh-ed25519 AAAA\nh ssh-ed25519 AAAA", "revoked"),
        ("@cert-authority * ssh-rsa CCCC", "authority"),
        ("@nonsense h ssh-ed25519 AAAA", "unknown"),
        ("# h ssh-ed25519 AAAA\n\nh\nh ssh-ed25519\nh ssh-ed25519 !!", "unknown"),
        (f"{hashed_name('h', b'x' * 20)} ssh-ed25519 AAAA", "trusted"),
        ("|1|nonsense ssh-ed25519 AAAA", "unknown"),
    ],
)
def test_known_hosts_judges_a_key(text: str, word: str) -> None:
    assert KnownHosts(text).judge("h", "ssh-ed25519", KEY).word == word


@given(st.text(max_size=200))
def test_no_text_breaks_known_hosts(text: str) -> None:
    assert KnownHosts(text).judge("h", "ssh-ed25519", KEY).word in {
        "unknown",
        "trusted",
        "changed",
        "revoked",
        "authority",
    }


# --- thresholds -----------------------------------------------------------------------------------------------------


def test_conditions_hold_for_numbers_shares_and_ages() -> None:
    status = ComponentStatus("rules", "2", "2", updated=90, outdated=6, ahead=0, unknown=4, age=3 * 86400)
    for text, met in {
        "outdated>5": True,
        "outdated>5%": True,
        "outdated>6%": False,
        "updated<95%": True,
        "age>48h": True,
        "age>7d": False,
        "unknown>10,age>2d": True,
        "ahead>0": False,
    }.items():
        assert bool(breaches(parse_conditions(text), [status])) == met, text


@pytest.mark.parametrize("text", ["", "age", "age>5", "nothing>5", "outdated>x", "outdated=5", "a>1,,b>2"])
def test_a_condition_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="condition|duration|number"):
        parse_conditions(text)


# --- the bundled catalog --------------------------------------------------------------------------------------------


def test_the_catalog_has_the_twenty_components_and_three_differ_by_scan_method(tmp_path: Path) -> None:
    problems: list[Any] = []
    components = {
        entry.id: entry
        for entry in component_list(read_catalog(catalog_path("officescan", tmp_path), problems), problems)
    }
    assert not problems
    assert len(components) == 20
    only = {name: set(entry.scan_methods) for name, entry in components.items() if len(entry.scan_methods) == 1}
    assert only == {
        "smart-scan-agent-pattern": {"smart"},
        "virus-pattern": {"conventional"},
        "spyware-active-monitoring-pattern": {"conventional"},
    }
    assert {name for name, entry in components.items() if entry.duplicate} == {
        "virus-pattern",
        "smart-scan-agent-pattern",
        "virus-cleanup-template",
        "intellitrap-exception-pattern",
        "spyware-pattern",
        "spyware-active-monitoring-pattern",
    }
