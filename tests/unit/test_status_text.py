"""A status as people read it: a screen on an ordinary day, the worst first, and no figure but those of the document."""

from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.make import captures
from reconciler.model.notice import Condition, Known
from reconciler.model.report import (
    ComponentStatus,
    Failure,
    Quarantined,
    SourceStatus,
    Status,
    Troubled,
    WithdrawnStatus,
)
from reconciler.present.document import status_document
from reconciler.present.html.status_view import status_html, view_of_status
from reconciler.present.look import Look
from reconciler.present.status_markdown import status_markdown
from reconciler.present.status_rows import COUNTS, component_rows, current_of
from reconciler.present.status_text import status_text
from reconciler.present.words import number_text
from reconciler.specfile.validate import schema_of
from tests.fakes import NOW
from tests.shown import rollout

SAYS = "1 of 3 clients failed, and max_failed is 0 (pc-1: not enough disk)"


def component(id_: str = "rules", held: str = "2", offered: str = "3", **counts: Any) -> ComponentStatus:
    return ComponentStatus(id_, held, offered, **{**dict.fromkeys(COUNTS, 0), **counts})


def many(count: int, prefix: str = "part", **counts: Any) -> tuple[ComponentStatus, ...]:
    return tuple(component(f"{prefix}-{n}", f"{n}.1", f"{n}.1", **counts) for n in range(count))


def document(*components: ComponentStatus, groups: Any = None, clients: int = 2, **more: Any) -> Any:
    return status_document(Status(NOW, NOW, clients, components, groups or {"g": components}, **more))


def test_what_people_are_told_of_stands_in_each_form_of_a_status() -> None:
    known = Known(Condition("drift", "rules", "warning", "rules: <b>changed</b> by somebody else"), NOW, "warning", NOW)
    made = document(component(updated=2), conditions=(known,))
    assert made["conditions"][0]["since"] == "2026-11-24T12:00:00Z"
    jsonschema.validate(made, schema_of("status"))
    line = "  warning  2026-11-24T12:00:00Z  rules: <b>changed</b> by somebody else\n"
    assert f"\nConditions\n{line}" in status_text(made)
    row = "| warning | 2026-11-24T12:00:00Z | rules: &lt;b&gt;changed&lt;/b&gt; by somebody else |"
    assert row in status_markdown(made)
    assert "rules: &lt;b&gt;changed&lt;/b&gt; by somebody else" in status_html(made)


def test_a_status_reads_like_this() -> None:
    bad = component(updated=1, outdated=1, versions={"2": 1, "1": 1}, age=7200)
    good = component("engine", "9.1", "", updated=2, versions={"9.1": 2})
    sources = (SourceStatus("drop", NOW), SourceStatus("vendor", None, "it can't be reached", stale=True))
    assert (
        status_text(document(bad, good, sources=sources))
        == """\
Status: 2 clients, 1 of 2 components updated everywhere; last looked at 2026-11-24T12:00:00Z

  component  held -> offered  updated  outdated  unknown     rate  age  by version
  rules      2 -> 3                 1         1        0   50.0 %  2 h  1: 1
  engine     9.1                    2         0        0  100.0 %    -

Sources
  vendor  last read never  stale: it can't be reached
  fine: drop; last read 2026-11-24T12:00:00Z
"""
    )


FOLDED = """\
  component     held -> offered     updated  outdated  unknown   rate
  4 components  others are offered        0       260    3 000  0.0 %
      age 2 h to 3 h, by version: missing: 200
        a 1, b 1, c 1, d 1
  behavior-monitoring-detection-pattern
                1 -> 2                    4       255        0  1.5 %
      ahead 1, age 2 h, by version: 0.9: 254, 2: 1, 1 more
"""


def test_components_of_which_the_same_is_said_share_a_row_and_a_long_name_stands_above_its_figures() -> None:
    alike = [
        component(name, "1", "2", outdated=260, unknown=3000, versions={"0.9": 60, "missing": 200}, age=age)
        for name, age in zip("abcd", (7200, 7200, 10_800, 10_000), strict=True)
    ]
    versions = {"2": 1, "1": 4, "0.9": 254, "missing": 1}
    long = "behavior-monitoring-detection-pattern"
    odd = component(long, "1", "2", updated=4, outdated=255, ahead=1, versions=versions, age=7200)
    assert FOLDED in status_text(document(*alike, odd), look=Look(80))
    for width in (40, 60, 80, 120, 200):
        text = status_text(document(*alike, odd), look=Look(width))
        assert max(map(len, text.splitlines())) <= width
        flat = " ".join(text.split())
        assert all(said in flat for said in ("260", "3 000", "missing: 200", "others are offered", long, "0.9: 254"))


def test_components_that_are_current_on_all_who_answered_are_a_sentence() -> None:
    text = status_text(document(component(outdated=1, unknown=3), *many(9, updated=1, unknown=3)), look=Look(80))
    assert "\n9 of 10 components are current on every client that answered (3 unknown):\n        part-0 0.1, " in text
    assert "part-5 5.1\n        and 3 more\n" in text
    whole = status_text(document(*many(9, updated=1)))
    assert "\nAll 9 components are current on every client:\n" in whole
    assert "outdated" not in whole


@pytest.mark.parametrize("counts", [{"unknown": 3}, {"updated": 1, "ahead": 1}, {"updated": 5, "outdated": 1}])
def test_what_nobody_answered_about_or_somebody_has_another_version_of_is_not_called_current(counts: Any) -> None:
    made = document(*many(5, **counts))
    for shown in (status_text(made), status_markdown(made)):
        assert "are current on" not in shown
    assert not view_of_status(made).current


def test_a_group_is_a_line_and_names_only_what_the_whole_fleet_does_not_say() -> None:
    fleet = (component(updated=4, outdated=2), component("engine", updated=6))
    groups = {
        "a": (component(updated=3), component("engine", updated=3)),
        "b": (component(updated=1), component("engine", updated=1)),
        "c": (component(outdated=2), component("engine", updated=2)),
        "d": (component(updated=1, outdated=1),),
        "e": (component(held="1", updated=1),),
    }
    text = status_text(document(*fleet, groups=groups))
    assert text.partition("Groups, by the worst of their components\n")[2] == """\
  group  clients  current  outdated  unknown     rate
  c            2   1 of 2         2        0    0.0 %
      rules 2 -> 3: 0 updated, 2 outdated
  d            2   0 of 1         1        0   50.0 %
  a            3   2 of 2         0        0  100.0 %
  b            1   2 of 2         0        0  100.0 %
  e            1   1 of 1         0        0  100.0 %
      rules 1 -> 3: 1 updated, 0 outdated
"""  # fmt: skip


def test_many_groups_are_no_more_than_a_screen() -> None:
    fine = {f"fine-{n:03}": many(2, updated=1) for n in range(300)}
    late = {f"late-{n:03}": many(2, outdated=1) for n in range(50)}
    text = status_text(document(*many(2, updated=300, outdated=50), groups={**fine, **late}), look=Look(80))
    assert "300 of 350 groups are current in all components: fine-000, " in text
    assert "  and 30 more groups that are not fully current\n" in text
    assert len(text.splitlines()) < 80


def test_rollouts_that_are_equally_far_share_a_row_and_one_that_stands_still_comes_first() -> None:
    rollouts = (*(rollout(f"part-{n}") for n in range(9)), rollout("engine", "halted", SAYS))
    text = status_text(document(component(outdated=1), rollouts=rollouts), look=Look(100))
    assert text.startswith(text.partition("\n")[0] + "\nHalted: engine 2 in wave 2 of 3: ")
    rows = text.partition("Rollouts under way\n")[2].splitlines()
    assert rows[:3] == [
        "  !  engine      2  since 2026-11-24T12:00:00Z  halted in wave 2 of 3",
        "  >  9 rollouts     since 2026-11-24T12:00:00Z",
        "      wave 2 of 3 is open: 43 of 97 done (2 failed, 1 unreachable, 9 off)",
    ]
    assert rows[3].endswith("part-5 2 and 3 more")


def test_clients_that_are_left_alone_for_one_reason_share_a_row() -> None:
    alone = [Quarantined(f"pc-{n}", f"g{n % 2}", NOW, 3 + n % 2, f"pc-{n}: {n} MiB are not enough") for n in range(25)]
    made = document(component(), quarantined=(*alone, Quarantined("plc-1", "plant", NOW, 1, "no")))
    text = status_text(made)
    until = "until 2026-11-24T12:00:00Z"
    assert text.partition("Quarantined\n")[2].splitlines() == [
        f"  pc-0, pc-1, pc-2 and 22 more  g0, g1  {until}  up to 4 failures  pc-0: 0 MiB are not enough",
        f"  plc-1                         plant   {until}         1 failure  no",
    ]
    reasons = "abcdefghijklmnopqrstuvwxy"
    apart = tuple(Quarantined(f"pc-{reason}", "g", NOW, 3, reason) for reason in reasons)
    assert status_text(document(component(), quarantined=apart)).endswith("\n  and 5 more\n")


def test_sources_that_are_fine_are_one_line() -> None:
    text = status_text(document(component(), sources=(SourceStatus("a", NOW), SourceStatus("b", NOW))))
    assert text.endswith("\n\nSources fine: a, b; last read 2026-11-24T12:00:00Z\n")


def test_sources_whose_releases_nobody_signed_are_named_among_the_fine_and_among_the_others() -> None:
    bare, signed = SourceStatus("bare", NOW, signed=False), SourceStatus("signed", NOW)
    mixed = status_text(document(component(), sources=(bare, signed)))
    assert mixed.endswith("\nSources fine: bare, signed; last read 2026-11-24T12:00:00Z; not signed: bare\n")
    assert status_text(document(component(), sources=(bare,))).endswith(
        "; last read 2026-11-24T12:00:00Z; not signed\n"
    )
    stale = SourceStatus("old", NOW, stale=True, signed=False)
    assert "stale, not signed" in status_text(document(component(), sources=(stale,)))


def test_withdrawn_versions_that_nobody_has_share_a_row() -> None:
    bad = [WithdrawnStatus("rules", str(n), "it hangs", "vendor", 0 if n else 7) for n in range(30)]
    rows = status_text(document(component(), withdrawn=tuple(bad))).partition("publishers\n")[2].splitlines()
    assert [" ".join(row.split()) for row in rows] == [
        "rules 0 7 clients with it by vendor: it hangs",
        "29 versions 0 clients with them rules 1, rules 2, rules 3, rules 4, rules 5, rules 6 and 23 more",
    ]


def test_what_is_kept_back_for_the_same_reason_is_told_once() -> None:
    waits = [component(f"part-{n}", updated=1, kept_back=f"{n}.2 is blocked: INC-1") for n in range(5)]
    other = component(updated=1, kept_back="3 is blocked: INC-2")
    text = status_text(document(*waits, other))
    assert "  kept back: 5 components, is blocked: INC-1: part-0 0.2, part-1 1.2, part-2 2.2, " in text
    assert "  kept back: rules 3 is blocked: INC-2\n" in text


@pytest.mark.parametrize(("name", "most"), [("routine", 50), ("halt", 60), ("trouble", 90)])
def test_a_status_of_a_fleet_of_20_components_is_a_screen_or_two(name: str, most: int) -> None:
    made = captures.kept()[f"status-{name}"]
    for width in (80, 120, 200):
        lines = status_text(made, look=Look(width)).splitlines()
        assert len(lines) <= most
        assert max(map(len, lines)) <= width


FIELDS: Any = {
    "latest_offered": st.sampled_from(["", "3"]),
    **dict.fromkeys(("updated", "outdated", "ahead"), st.integers(0, 1)),
    "unknown": st.sampled_from([0, 3000]),
    "versions": st.sampled_from([{"1": 1}, {"missing": 1}]),
}


@st.composite
def nearly_alike(draw: Any) -> list[ComponentStatus]:
    """Give components, most of which differ from another in one field only."""
    kinds = [replace(component(), **{name: draw(values) for name, values in FIELDS.items()})]
    for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3)):
        kinds.append(replace(kinds[0], **{name: draw(FIELDS[name])}))
    return [kind for kind in kinds for _ in range(draw(st.integers(1, 6)))]


@given(nearly_alike())
def test_the_figures_of_rows_that_stand_for_many_are_those_of_the_document(made: list[ComponentStatus]) -> None:
    entries = [{**entry, "id": f"part-{n}"} for n, entry in enumerate(document(*made)["components"])]
    rows = component_rows(entries)
    for row in rows:
        for entry in row.entries:
            assert [row.cells[key] for key in COUNTS] == [number_text(entry[key]) for key in COUNTS]
            assert f"{entry['rate'] * 100:.1f} %" == row.cells["rate"]
            assert ("missing" in row.cells["by version"]) is ("missing" in entry["versions"])
            assert len(row.entries) == 1 or f"{entry['id']} {entry['latest_held']}" in row.names
    assert sorted(entry["id"] for part in (*(row.entries for row in rows), current_of(entries)) for entry in part) == (
        sorted(entry["id"] for entry in entries)
    )
    assert [row.entries[0]["rate"] for row in rows] == sorted(row.entries[0]["rate"] for row in rows)


def test_trouble_stands_before_groups_and_rollouts() -> None:
    off = Failure("pc-1", "g", "", "did not answer: 192.0.2.1:22 didn't answer within 10 s", reason="silent")
    made = document(
        component(outdated=1), groups={"g": (component(outdated=1),), "h": (component(outdated=1),)},
        troubles=(Troubled("silent", 3000, ("g",), (off,)),), rollouts=(rollout(),),
    )  # fmt: skip
    text = status_text(made)
    assert text.index("\nTrouble\n") < text.index("\nGroups") < text.index("\nRollouts under way\n")
    shown = status_markdown(made)
    assert shown.index("| did not answer ") < shown.index("| group ") < shown.index("| rollout ")
