"""What people read in a terminal: the fixed form of the verdict, aligned columns, and honest words."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import printable
from reconciler.model.change import Deploy, Download, Generate, Merge, Proof, Prune, Settings
from reconciler.model.outlook import Arrival, Later, Outlook, WaveStep
from reconciler.model.plan import Basis, Finding, Plan, RolloutStep, WaveCounts
from reconciler.model.report import (
    RECAP,
    ComponentStatus,
    Diagnosis,
    Failure,
    JournalEntry,
    Quarantined,
    Report,
    Run,
    SourceStatus,
)
from reconciler.model.report import Status as FleetStatus
from reconciler.model.rollout import Cut, RolloutRecord
from reconciler.model.spec_change import SpecChange
from reconciler.present.declared import plugins_document, plugins_text
from reconciler.present.document import (
    checks_document,
    plan_document,
    report_document,
    rollouts_document,
    run_document,
    status_document,
)
from reconciler.present.history_text import history_text, run_text
from reconciler.present.look import Look
from reconciler.present.markdown import plan_markdown
from reconciler.present.plan_text import plan_text, verdict
from reconciler.present.report_markdown import report_markdown
from reconciler.present.rollout_text import rollouts_text
from reconciler.present.status_markdown import status_markdown
from reconciler.present.status_text import status_text
from reconciler.present.text import checks_text, report_text
from reconciler.present.words import count_text, name_list, number_text, size_text, span_text, table
from tests.fakes import NOW

BASIS = Basis("l", 1, 0, "s", "c")
SIZE = r"\d+(?:\.\d)? (?:B|KiB|MiB|GiB|TiB|PiB)"
NUMBER = r"\d{1,3}(?: \d{3})*"
VERDICT = re.compile(
    rf"Plan: {NUMBER} downloads? \({SIZE}\), {NUMBER} changes? on {NUMBER} of {NUMBER} clients? \({SIZE}\)"
    rf"(?:, settings on {NUMBER} clients?)?; "
    rf"drift {NUMBER}, held {NUMBER}, deferred {NUMBER}, unknown {NUMBER}, unreachable {NUMBER}"
    "(?:; nothing is known of any client)?"
)
HOSTILE = "x\x1b[2J\r\ny\x9b31m\u202e\u2028"


def deploy(
    component: str = "rules",
    group: str = "office",
    before: str = "1",
    to: str = "2",
    clients: Any = 1,
    cohort: str = "c1",
    **more: Any,
) -> Deploy:
    digest = "a" * 64 if before else ""
    fields = {"reason": "outdated" if before else "missing", "bytes": 1536, "bytes_full": 2048, **more}
    fields.setdefault("platform", "any")
    return Deploy(component, group, before, digest, to, "b" * 64, clients=clients, members=(cohort,), **fields)


def plan(**fields: Any) -> dict[str, int | str]:
    return plan_document(Plan("p", NOW, BASIS, **fields))


def names(prefix: Any, count: Any) -> Any:
    return tuple(f"{prefix}-{n}" for n in range(1, count + 1))


@pytest.fixture
def example() -> Any:
    """A plan with a bit of everything."""
    return plan(
        downloads=(Download("rules", "1", "2", "b" * 64, "any", "drop", 2048, "outdated"),),
        deploys=(
            deploy(clients=2),
            deploy(group="plant", clients=1, cohort="c2"),
            deploy("engine", "plant", before="", to="9.1", clients=1, cohort="c2", platform="linux-x86_64"),
            deploy("driver", before="5", to="4", clients=2, reason="pinned", downgrade=True),
        ),
        held=(Finding("office", 1, ("c3",), "hold: INC-1", "rules", "2"),),
        unknown=(Finding("plant", 2, ("c4",), "no connection"),),
        gone=("old-pc",),
        problems=("source vendor: it can't be reached",),
        members={"c1": names("pc", 2), "c2": names("plc", 1), "c3": ("db",), "c4": names("lost", 2)},
        clients={"office": 3, "plant": 3},
    )


EXAMPLE = """\
Plan: 1 download (2.0 KiB), 3 changes on 3 of 6 clients (9.0 KiB); drift 0, held 1, deferred 0, unknown 2, \
unreachable 0; not as declared: 1 problem

Problems
  ! source vendor: it can't be reached

Saved against fulls: 3.0 KiB to deploy.

Clients that come and go
  -  gone from the inventory  1 client  old-pc
  What is gone keeps what it has, unmanaged.

Download to the store
  +  rules  1  ->  2  2.0 KiB  full from drop  outdated

Deploy to clients
  ~  rules   1  ->  2                   3 clients  1.5 KiB each  office, plant  outdated
  +  engine  -  ->  9.1 (linux-x86_64)   1 client  1.5 KiB each  plant          missing
  <  driver  5  ->  4                   2 clients  1.5 KiB each  office         pinned, downgrade

Held (not changed)
  =  rules 2  1 client  office  hold: INC-1

Unknown (nothing is known of them, so nothing is changed)
  ?  all components  2 clients  plant  no connection
        lost-1, lost-2
        fix: look at the network, and at what sshd logs there
"""


def test_a_plan_reads_like_this(example: Any) -> None:
    assert plan_text(example) == EXAMPLE


DUPLICATED = """\
Saved against fulls: 19.1 MiB to download, about 107.8 MiB to deploy.

Download to the store
  +  engine  -                         ->  9.1 (linux-x86_64)   10.9 MiB  full from drop                 missing
  +  rules   171                       ->  175                    1002 B  zstd incremental from drop     for a merge
  +  rules   173, 157, 155 and 1 more  ->  175                 781.2 KiB  4 zstd incrementals from drop  no full

Merge in the store
  +  rules  171  ->  175  by 1 incremental; if that fails, the full: 19.1 MiB from drop  outdated

Make incrementals in the store
  +  rules  169, 167  ->  175  about 5.9 KiB  2 zstd incrementals    duplicate
  +  rules  -         ->  175  about 6.7 MiB  full packed with gzip  clients need the full

Deploy to clients
  ~  rules  4 versions  ->  175  7 clients  about 25.8 MiB in all: 5 by incrementals, 1 packed, 1 in full  eu  outdated

Prune from the store
  -  rules  -                         ->  159  19.1 MiB  full                 beyond the newest 7 fulls
  -  rules  169, 167, 165 and 2 more  ->  171  14.6 KiB  5 zstd incrementals  on no way
"""


def duplicated() -> Any:
    """A plan with all that duplication does."""

    def incremental(before: Any, size: Any, reason: str) -> Any:
        return Download("rules", before, "175", "b" * 64, "any", "drop", size, reason, kind="zstd")

    def generate(before: Any, codec: Any, level: Any, size: Any, reason: str) -> Any:
        start = "a" * 64 if before else ""
        return Generate("rules", before, start, "175", "b" * 64, "any", codec, level, size, reason)

    def prune(before: Any, to: Any, kind: str, size: Any, reason: str) -> Any:
        return Prune("rules", before, to, "b" * 64, "any", kind, size, reason)

    full = Download("engine", "", "9.1", "b" * 64, "linux-x86_64", "drop", 11_400_000, "missing")
    path = ("171..175/zstd",)
    old = {"group": "eu", "to": "175", "bytes_full": 20_000_000}
    return plan(
        downloads=(
            full,
            incremental("171", 1002, "for a merge"),
            *(incremental(before, 200_000, "no full") for before in ("173", "157", "155", "153")),
        ),
        merges=(Merge("rules", "171", "a" * 64, "175", "b" * 64, "any", path, "drop", 20_000_000, "outdated"),),
        generates=(
            generate("169", "zstd", 9, 3000, "duplicate"),
            generate("167", "zstd", 9, 3000, "duplicate"),
            generate("", "gzip", 6, 7_000_000, "clients need the full"),
        ),
        prunes=(
            prune("", "159", "full", 20_000_000, "beyond the newest 7 fulls"),
            *(prune(before, "171", "zstd", 3000, "on no way") for before in ("169", "167", "165", "163", "161")),
        ),
        deploys=(
            deploy(before="171", clients=3, bytes=1002, path=path, **old),  # type: ignore[arg-type]
            deploy(
                before="169", clients=2, cohort="c2", bytes=3000, estimated=True,
                path=("169..173/zstd", "173..175/zstd"), **old,  # type: ignore[arg-type]
            ),
            deploy(
                before="101", cohort="c3", bytes=7_000_000, estimated=True,
                path=("..175/gzip",), why_full="35 releases behind", **old,  # type: ignore[arg-type]
            ),
            deploy(before="165", cohort="c4", bytes=20_000_000, why_full="delta not smaller", **old),  # type: ignore[arg-type]
        ),
        members={"c1": names("pc", 3), "c2": names("plc", 2), "c3": ("old",), "c4": ("odd",)},
        clients={"eu": 7},
    )  # fmt: skip


def test_a_plan_of_duplication_says_what_is_chosen_and_why() -> None:
    assert plan_text(duplicated()).partition("\n")[2] == DUPLICATED


# --- rollouts, proofs, settings -------------------------------------------------------------------------------------

SOAKS = "wave 2 of 3 soaks until 2026-11-24T16:00:00Z"
FAILED = "1 of 3 clients failed, and max_failed is 0 (pc-1: not enough disk)"


def step(
    component: Any = "rules",
    to: Any = "2",
    group: Any = "",
    status: Any = "running",
    says: Any = SOAKS,
    sizes: Any = (3, 97, 900),
    **more: Any,
) -> RolloutStep:
    cuts = (Cut("label=canary"), Cut(upto=5), Cut(upto=2**32 - 1))[-len(sizes) :]
    wave, reason = more.pop("wave", 1), more.pop("reason", "why")
    record = RolloutRecord(
        component=component,
        version=to,
        group=group,
        status=status,
        cuts=cuts,
        sizes=sizes,
        structure="s",
        started=NOW,
        opened=NOW,
        wave=wave,
        reason=reason,
    )
    return RolloutStep(record, **{"new": True, **more}, says=says)


def stopped(component: str = "engine", **more: Any) -> RolloutStep:
    says = f"halted in wave 1 of 3: {FAILED}"
    return step(component, "9.1", status="halted", says=says, reason=FAILED, new=False, **more)


def rolling() -> Any:
    """A plan with all that rollouts bring."""
    counts = WaveCounts(97, 40, 2, 54, 1, 9)
    return plan(
        rollouts=(
            step(says="wave 2 of 3 is open: 43 of 97 done", counts=counts, wave=2),
            step("driver", "5", "plant", says="wave 1 of 1 is open: 0 of 4 done", sizes=(48_212,)),
            step("tool", "7", new=False, next_at=NOW),
            step("scan", "3", status="paused", says="paused in wave 1 of 3: lunch", new=False),
            stopped(),
        ),
        proofs=(
            Proof("tool", "7", "", 2, "recheck", 0, 3, ("c1",)),
            Proof("driver", "5", "plant", 1, "gate", 1),
        ),
        deploys=(
            deploy(clients=3, wave=2, early=True),
            deploy(group="plant", clients=1, cohort="c2", wave=2, early=True),
            deploy(clients=1, cohort="c3", wave=2, bytes=0, held=True),
            deploy("driver", "plant", before="", to="5", wave=1, cohort="c2", early=True, route="via egress"),
        ),
        settings=(Settings("office", "missing", 3, ("c1",)), Settings("plant", "damaged", 1, ("c2",))),
        members={"c1": names("pc", 3), "c2": ("plc-1",), "c3": ("db",)},
        clients={"office": 48_212},
    )


ROLLING = """\
Plan: 0 downloads (0 B), 3 changes on 5 of 48 212 clients (7.5 KiB), settings on 4 clients; \
drift 0, held 0, deferred 0, unknown 0, unreachable 0
Halted: engine 9.1 in wave 1 of 3: 1 of 3 clients failed, and max_failed is 0 (pc-1: not enough disk)
  go on or give it up: updoser rollout resume|abort engine; or block 9.1 in the file
Saved against fulls: 4.5 KiB to deploy.

Rollouts
  >  rules   2    whole fleet  3 + 97 + 900 clients  wave 2 of 3 is open: 43 of 97 done (2 failed, 1 unreachable, 9 off)
  >  driver  5    plant        48 212 clients        wave 1 of 1 is open: 0 of 4 done
  =  tool    7    whole fleet  3 + 97 + 900 clients  wave 2 of 3 soaks until 2026-11-24T16:00:00Z
  !  scan    3    whole fleet  3 + 97 + 900 clients  paused in wave 1 of 3: lunch
  !  engine  9.1  whole fleet  3 + 97 + 900 clients  halted in wave 1 of 3

Prove again
  *  tool 7            wave 2 of 3  switched checks once more  3 clients
  *  driver 5 (plant)  wave 1 of 1  gate 2

Deploy to clients
  ~  rules   1  ->  2  4 clients  1.5 KiB each, sent early, switched to in time              office, plant  \
outdated, wave 2 of 3
  ~  rules   1  ->  2   1 client  from what it kept, nothing sent                            office         \
outdated, wave 2 of 3
  +  driver  -  ->  5   1 client  1.5 KiB each, via egress, sent early, switched to in time  plant          missing

Settings
  +  3 clients  office  missing
  ~   1 client  plant   damaged
"""


def test_a_plan_with_rollouts_reads_like_this() -> None:
    assert plan_text(rolling()) == ROLLING


def test_with_names_proofs_and_settings_list_their_clients_too() -> None:
    lines = plan_text(rolling(), names=True).splitlines()
    for title in ("Prove again", "Settings"):
        assert lines[lines.index(title) + 2] == "        pc-1, pc-2, pc-3"


def test_where_all_rollouts_are_for_the_whole_fleet_no_group_is_named() -> None:
    text = plan_text(plan(rollouts=(step(),)))
    assert f"  >  rules  2  3 + 97 + 900 clients  {SOAKS}\n" in text
    assert "whole fleet" not in text


def test_who_is_held_by_a_halt_is_not_told_its_reason_again() -> None:
    held = (Finding("g", 1, ("c1",), f"halted: {FAILED}", "engine", "9.1"),)
    made = plan(rollouts=(stopped(),), held=held, members={"c1": ("a",)}, clients={"g": 1})
    assert "  =  engine 9.1  1 client  g  halted in wave 1 of 3\n" in plan_text(made)


def test_many_rollouts_of_which_a_report_says_the_same_are_a_line() -> None:
    rollouts = tuple(step(f"rules-{at}") for at in range(13))
    lines = report_text(report_document(Report("r", "p", NOW, NOW, {}, rollouts=rollouts))).splitlines()
    assert lines[0] == f"13 rollouts: {SOAKS}"


def test_every_halted_rollout_stands_at_the_top() -> None:
    lines = plan_text(plan(rollouts=(stopped(), stopped("driver", group="plant"), step()))).splitlines()
    assert lines[1] == f"Halted: engine 9.1 in wave 1 of 3: {FAILED}"
    assert lines[3] == f"Halted: driver 9.1 (plant) in wave 1 of 3: {FAILED}"
    assert "updoser rollout resume|abort driver" in lines[4]


def test_why_a_rollout_is_halted_or_stuck_is_said_once_and_elsewhere_it_is_marked() -> None:
    few = "wave 2 of 3 is blocked: 1 of 3 clients can be tried"
    rollouts = (stopped(), step("tool", "7", new=False, stuck=True, wave=2, says=few))
    held = tuple(
        Finding("g", 2, ("c1",), f"rollout: {entry.says}", *entry.record.key[:2])
        for entry in rollouts
        for _twice in "12"
    )
    later = tuple(Later(*entry.record.key, 2, f"rollout: {entry.says}", waits=True) for entry in rollouts)
    never = tuple(Arrival(*entry.record.key, never=entry.says) for entry in rollouts)
    fields = {"rollouts": rollouts, "held": held, "members": {"c1": ("a", "b")}, "clients": {"g": 2}}
    made = plan(**fields, run=Outlook((WaveStep(1, 1, 1),), 1, 1, later=later, arrivals=never))
    status = status_document(FleetStatus(NOW, NOW, 1, (), {}, rollouts=rollouts))
    report = report_document(Report("r", "p", NOW, NOW, {"g": {"ok": 1}}, rollouts=rollouts))
    listed = rollouts_document(rollouts)
    shown = {
        "plan": plan_text(made),
        "plan, opened": plan_text(made, names=True),
        "plan in Markdown": plan_markdown(made),
        "status": status_text(status),
        "status in Markdown": status_markdown(status),
        "report": report_text(report),
        "report in Markdown": report_markdown(report),
        "list": rollouts_text(listed),
    }
    for name, text in shown.items():
        said = text.replace("\\", "")
        assert [said.count(why) for why in (FAILED, few)] == [1, 1], name
        assert said.count("updoser rollout resume|abort engine") == said.count("updoser rollout abort tool") == 1, name
    for name in ("plan", "plan in Markdown"):
        assert "rollout: halted in wave 1 of 3" in shown[name]
        assert "rollout: stuck in wave 2 of 3" in shown[name]


@pytest.mark.parametrize("status", ["aborted", "paused", "running", "done", "superseded"])
def test_only_what_is_halted_stands_at_the_top(status: str) -> None:
    assert "Halted" not in plan_text(plan(rollouts=(step(status=status),)))


def test_groups_whose_rollouts_have_other_waves_stand_apart() -> None:
    document = plan(
        rollouts=(step(group="office"), step(group="plant", sizes=(1, 2))),
        deploys=(deploy(wave=1), deploy(group="plant", cohort="c2", wave=1)),
        members={"c1": ("pc",), "c2": ("plc",)},
    )
    rows = [line for line in plan_text(document).splitlines() if line.startswith("  ~")]
    assert [row.rpartition(", ")[2] for row in rows] == ["wave 1 of 3", "wave 1 of 2"]


@pytest.mark.parametrize(
    ("rollouts", "fields", "words"),
    [
        (
            (step(new=False, next_at=NOW),),
            {},
            ". Every client has what is declared. Next step at 2026-11-24T12:00:00Z.",
        ),
        (
            (step(new=False, next_at=NOW),),
            {"deferred": (Finding("g", 1, ("c1",), "x"),)},
            ". What differs is held or deferred. Next step at 2026-11-24T12:00:00Z.",
        ),
        ((step(says="done", status="done"),), {}, ", but 1 rollout moves on. Every client has what is declared."),
        (
            (step(next_at=NOW), step("b")),
            {},
            ", but 2 rollouts move on. Every client has what is declared. Next step at 2026-11-24T12:00:00Z.",
        ),
        ((stopped(),), {}, ". What is known is as declared; see above what else was found."),
        ((step(status="aborted", new=False),), {}, ". What is known is as declared; see above what else was found."),
    ],
)
def test_a_plan_in_which_only_rollouts_move_or_wait_says_so(rollouts: Any, fields: Any, words: str) -> None:
    text = plan_text(plan(members={"c1": ("pc",)}, clients={"g": 1}, rollouts=rollouts, **fields))
    assert text.endswith(f"\nNo changes{words}\n")


def test_with_names_each_change_lists_its_clients_and_groups_stand_apart(example: Any) -> None:
    lines = plan_text(example, names=True).splitlines()
    at = lines.index("Deploy to clients")
    assert [line.split()[0] for line in lines[at + 1 : at + 8]] == [
        "~",
        "office:",
        "plant:",
        "+",
        "plc-1",
        "<",
        "pc-1,",
    ]
    assert "        lost-1, lost-2" in lines


def test_many_groups_and_names_are_counted_and_all_are_there_when_asked_for() -> None:
    groups = [f"g{n}" for n in range(5)]
    document = plan(
        deploys=tuple(deploy(group=group, cohort=f"c{at}") for at, group in enumerate(groups)),
        members={f"c{at}": (f"pc-{at}",) for at in range(5)},
        gone=names("old", 12),
    )
    assert "5 groups" in plan_text(document)
    assert plan_text(document).count("  ~") == 1
    assert "old-1, old-2, old-3 and 9 more" in plan_text(document)
    assert "old-12" not in plan_text(document)
    assert "old-12" in plan_text(document, names=True)
    assert name_list(["a", "b"]) == "a, b"


@given(st.integers(0, 10**7), st.integers(0, 2**50), st.integers(0, 10**7), st.tuples(*[st.integers(0, 10**6)] * 5))
def test_the_verdict_has_one_form_whatever_the_numbers(clients: int, size: int, everybody: int, waiting: Any) -> None:
    document = plan(clients={"g": everybody})
    document["summary"]["settings"] = {"changes": clients % 2, "clients": clients, "bytes": 0}
    document["summary"]["deploy"] = {"changes": clients % 3, "clients": clients, "bytes": size}
    document["summary"] |= dict(zip(("drift", "held", "deferred", "unknown", "unreachable"), waiting, strict=True))
    assert VERDICT.fullmatch(verdict(document))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "There are no clients."),
        ({"clients": {"g": 1}}, "Every client has what is declared."),
        ({"clients": {"g": 1}, "unknown": (Finding("g", 1, ("c1",), "x"),)}, "What is not known above may differ."),
        ({"clients": {"g": 1}, "held": (Finding("g", 1, ("c1",), "x"),)}, "What differs is held or deferred."),
    ],
)
def test_a_plan_without_changes_says_what_that_means(fields: Any, words: str) -> None:
    assert plan_text(plan(members={"c1": ("pc",)}, **fields)).endswith(f"\nNo changes. {words}\n")


@pytest.mark.parametrize("problem", ["rules: no source offers the pinned version 7", "source drop: it can't be read"])
def test_a_plan_with_problems_never_says_that_all_is_as_declared(problem: str) -> None:
    text = plan_text(plan(clients={"g": 1}, problems=(problem,)))
    assert "as declared; " not in text
    assert "Every client has what is declared" not in text
    assert text.splitlines()[0].endswith("unreachable 0; not as declared: 1 problem")
    assert text.endswith("\nNo changes. Not as declared: 1 problem.\n")


def test_the_verdict_names_what_can_not_be_had_and_what_can_not_be_read_and_a_fleet_that_nothing_is_known_of() -> None:
    problems = ("rules: no source offers the pinned version 7", "source drop: away", "rules 9 is blocked: INC-1")
    fields = {"unmet": ("rules 7",), "unread": ("drop",), "excused": problems[2:], "problems": problems}
    dark = (Finding("g", 2, ("c1",), "not looked at yet"),)
    text = plan_text(plan(clients={"g": 2}, members={"c1": ("a", "b")}, unknown=dark, **fields))
    says = "not as declared: rules 7 can't be had, source drop can't be read"
    assert text.splitlines()[0].endswith(f"unknown 2, unreachable 0; {says}; nothing is known of any client")
    assert text.endswith(f"No changes. N{says[1:]}. What is not known above may differ.\n")
    noted = plan_text(plan(clients={"g": 2}, problems=problems[2:], excused=problems[2:]))
    assert noted.splitlines()[0].endswith("unreachable 0"), "what is as the file wants it is no fault"


@pytest.mark.parametrize("show", [plan_text, plan_markdown])
def test_what_may_be_a_reason_to_say_no_stands_before_where_a_run_leads(show: Any) -> None:
    later = Later("tool", "7", "", 40, "wave 1 of 3 soaks", NOW)
    steps = Outlook((WaveStep(1, 3, 9), WaveStep(2, 5, 9)), later=(later,))
    changes = (SpecChange("hold.a", "removed", "the hold of a is lifted", safety=True),)
    made: Any = plan(
        rollouts=(stopped(),), problems=("source vendor: it can't be reached",), run=steps, spec_changes=changes
    )
    text = show(made)
    places = [text.index(said) for said in ("Halted: engine", "source vendor: ", "the hold of a is", "Later: tool")]
    assert places == sorted(places)
    routine = show({**made, "spec_changes": [{**entry, "safety": False} for entry in made["spec_changes"]]})
    assert routine.index("Later: tool") < routine.index("the hold of a is")


def test_a_partial_plan_says_so() -> None:
    assert "partial" in plan_text(plan(partial=True))
    assert "partial" not in plan_text(plan())


def test_a_change_that_only_moves_files_sends_nothing() -> None:
    document = plan(deploys=(deploy(to="1", reason="layout_changed", bytes=0),), members={"c1": ("pc",)})
    assert "nothing sent" in plan_text(document)


def component(id_: Any = "rules", **counts: Any) -> ComponentStatus:
    return ComponentStatus(id_, "2", "3", **{**dict.fromkeys(("updated", "outdated", "ahead", "unknown"), 0), **counts})


def test_a_list_of_rollouts_has_a_line_for_each() -> None:
    text = rollouts_text(rollouts_document([step(), stopped()], [step("tool", "7", status="done").record]))
    assert text.startswith("Halted: engine 9.1 in wave 1 of 3: ")
    assert text.splitlines()[-1] == "  =  tool    7    since 2026-11-24T12:00:00Z  done: why"
    assert rollouts_text(rollouts_document([])) == "No rollouts.\n"


def test_a_report_says_where_rollouts_are_and_when_to_go_on() -> None:
    report = Report("r", "p", NOW, NOW, {"g": {"ok": 1}}, rollouts=(step(), stopped()), next_step_at=NOW)
    *_recap, first, todo, second, following, _blank, end = report_text(report_document(report)).splitlines()
    assert first == f"Halted: engine 9.1 in wave 1 of 3: {FAILED}"
    assert second == f"rules 2: {SOAKS}"
    assert todo == "  go on or give it up: updoser rollout resume|abort engine; or block 9.1 in the file"
    assert following == "Next step at 2026-11-24T12:00:00Z: run updoser apply then, or keep it running with --wait"
    assert end.startswith("Apply complete: ")


def test_a_report_reads_like_this() -> None:
    report = Report(
        "r", "p", NOW, NOW, {"g": {"ok": 1, "changed": 2, "failed": 1}}, downloaded=1,
        failed=(
            Failure("pc-1", "g", "rules", "not enough disk", reason="disk"),
            Failure("", "", "engine", "it is damaged", reason="server"),
        ),
        bytes_received=2048, bytes_sent=1536, bytes_saved=512,
    )  # fmt: skip
    assert (
        report_text(report_document(report))
        == """\
Failed
  ! disk full: 1 client of g
      pc-1 rules: not enough disk
      fix: make room on the clients, or lower `client_keep`
  ! failed on this server: 1 change
      engine: it is damaged
      fix: look at what each says; the next apply tries it again

Recap  ok  changed  failed  unreachable  stale  skipped  not attempted
  g     1        2       1            0      0        0              0

Apply complete: 2 clients changed, 1 failed, 0 unreachable; 2.0 KiB downloaded, 1.5 KiB sent (512 B saved).
"""
    )


def test_a_history_has_a_line_for_each_run_and_each_outcome() -> None:
    run = Run(
        run_id="r1",
        plan_id="",
        command="apply",
        started=NOW,
        ended=None,
        status="running",
        recap={"g": dict.fromkeys(RECAP, 1234)},
    )
    entry = JournalEntry(
        client="",
        group="",
        component="rules",
        from_version="",
        to_version="2",
        outcome="changed",
        message="",
        bytes=5,
        at=NOW,
    )
    assert "1 234" in history_text([run_document(run)])
    assert "store" in run_text(run_document(run, [entry]))
    assert "nothing was changed" in run_text(run_document(run, []))
    assert history_text([]) == "No runs yet.\n"


def test_the_doctor_says_what_mends_it() -> None:
    checks = [Diagnosis("pc-1", "disk", "fail", "full", "make room"), Diagnosis("pc-1", "shell", "ok", "dash")]
    document = checks_document([*checks, Diagnosis("", "store", "ok", "there")])
    assert checks_text(document).splitlines() == [
        "pc-1  disk  fail  full",
        "    fix: make room",
        "3 checks of this machine and 1 client: 1 fail, 0 warn, 2 ok; -v shows all",
    ]
    assert checks_text(document, every=True).splitlines() == [
        "pc-1          disk   fail  full",
        "    fix: make room",
        "pc-1          shell  ok    dash",
        "this machine  store  ok    there",
        "3 checks of this machine and 1 client: 1 fail, 0 warn, 2 ok",
    ]


# --- hostile names --------------------------------------------------------------------------------------------------


def hostile_step() -> RolloutStep:
    return step(HOSTILE, HOSTILE, HOSTILE, "halted", HOSTILE)


def hostile_texts() -> dict[str, str]:
    """Give every text, rendered from documents whose every name is hostile."""
    finding = Finding(HOSTILE, 1, ("c1",), HOSTILE, HOSTILE, HOSTILE)
    changes = {"downloads": (Download(*[HOSTILE] * 6, 1, HOSTILE),), "deploys": (deploy(HOSTILE, HOSTILE, HOSTILE),)}  # type: ignore[arg-type, call-arg]
    made = plan(
        **changes,
        settings=(Settings(HOSTILE, HOSTILE, 1, ("c1",)),),  # type: ignore[arg-type]
        proofs=(Proof(HOSTILE, HOSTILE, HOSTILE, 1, "recheck", 0, 1, ("c1",)),),
        rollouts=(hostile_step(),),
        drift=(finding,),
        unknown=(finding,),
        gone=(HOSTILE,),
        problems=(HOSTILE,),
        members={"c1": (HOSTILE,)},
        clients={HOSTILE: 1},
    )
    failure = Failure(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    texts = ("client", "group", "component", "from_version", "to_version", "outcome", "message")
    entry = JournalEntry(**dict.fromkeys(texts, HOSTILE), bytes=1, at=NOW)  # type: ignore[arg-type]
    run = run_document(
        Run(run_id=HOSTILE, plan_id=HOSTILE, command=HOSTILE, started=NOW, ended=NOW, status=HOSTILE),  # type: ignore[arg-type]
        [entry],
    )
    counted = component(HOSTILE, outdated=1, versions={HOSTILE: 1})
    status = FleetStatus(
        NOW, None, 1, (counted,), {HOSTILE: (counted,), "b": ()}, (SourceStatus(HOSTILE, None, HOSTILE),),
        rollouts=(hostile_step(),), quarantined=(Quarantined(HOSTILE, HOSTILE, NOW, 1, HOSTILE),),
    )  # fmt: skip
    report = Report("r", "p", NOW, NOW, {HOSTILE: {}}, failed=(failure,), rollouts=(hostile_step(),))
    return {
        "plan": plan_text(made, names=True),
        "status": status_text(status_document(status)),
        "rollouts": rollouts_text(rollouts_document([hostile_step()], [hostile_step().record])),
        "report": report_text(report_document(report)),
        "run": run_text(run),
        "history": history_text([run]),
        "checks": checks_text(checks_document([Diagnosis(*[HOSTILE] * 5)])),  # type: ignore[arg-type]
        "plugins": plugins_text(plugins_document([(HOSTILE, HOSTILE, HOSTILE)])),
    }


@pytest.mark.parametrize("name", sorted(hostile_texts()))
def test_a_hostile_name_cannot_move_the_cursor_turn_the_text_or_add_a_line(name: str) -> None:
    text = hostile_texts()[name]
    assert "x?[2J??y?31m??" in text
    assert all(line.isprintable() for line in text.split("\n"))
    assert not any(line.startswith("y") for line in text.split("\n"))


@given(st.lists(st.lists(st.text(max_size=6), min_size=3, max_size=3), min_size=1, max_size=4))
@settings(max_examples=60)
def test_a_table_has_one_line_for_each_row_and_aligned_columns(rows: Any) -> None:
    lines = table(rows, right=frozenset({1}))
    assert len(lines) == len(rows)
    starts = [max(len(printable(row[0])) for row in rows) + 2] * len(rows)
    for line, row, start in zip(lines, rows, starts, strict=True):
        assert line.startswith(printable(row[0]).rstrip())
        width = max(len(printable(other[1])) for other in rows)
        assert line[start : start + width].strip() == printable(row[1]).strip()


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (716, "716 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (2**20, "1.0 MiB"), (2**60, "1024.0 PiB")],
)
def test_sizes(size: Any, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (12 * 86400, "12 d")],
)
def test_spans(seconds: int | None, text: str) -> None:
    assert span_text(seconds) == text


@given(st.integers(0, 10**12))
def test_numbers_keep_their_digits_and_stand_in_groups_of_three(number: int) -> None:
    text = number_text(number)
    assert int(text.replace(" ", "")) == number
    assert all(len(group) == 3 for group in text.split(" ")[1:])
    assert count_text(1, "client") == "1 client"
    assert count_text(48212, "client") == "48 212 clients"


def test_on_a_narrow_terminal_no_line_ends_between_a_number_and_what_it_counts() -> None:
    held = (Finding("office", 3, ("c1",), "INC-1", "rules", "2"),)
    few = plan(held=held, members={"c1": ("a", "b", "c")}, clients={"office": 3})
    narrow = plan_text(few, look=Look(width=72))
    assert "\n  held 3, deferred 0, unknown 0, unreachable 0\n" in narrow
    assert all(len(line) <= 72 for line in narrow.splitlines())


def test_where_clients_of_a_change_are_reached_in_several_ways_each_is_counted() -> None:
    ways = [deploy(), deploy(clients=2, cohort="c2", bytes=1000, route="via bridge")]
    text = plan_text(plan(deploys=tuple(ways), members={"c1": ("a",), "c2": ("b", "c")}, clients={"office": 3}))
    assert "  3.5 KiB in all, in full, 1 direct, 2 via bridge  office  outdated\n" in text


def test_what_goes_below_its_row_keeps_its_cells_apart() -> None:
    names = [deploy(group=group, cohort=f"c{at}") for at, group in enumerate(("a", "b", "c"))]
    members = {f"c{at}": (f"pc-{at}",) for at in range(3)}
    text = plan_text(plan(deploys=tuple(names), members=members, clients={"a": 3}), look=Look(width=40))
    assert "\n      1.5 KiB each; a, b, c; outdated\n" in text
