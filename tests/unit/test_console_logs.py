"""The pages of runs and of the audit: who did what and what came of it, in parts that an address asks for."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.controller import RunProgress
from reconciler.model.report import JournalEntry
from reconciler.model.request import Request, Target
from reconciler.storage.audit import DEEDS, AskedDeeds
from reconciler.storage.logbook import AskedEntries, AskedRuns, Cut
from reconciler.storage.sessions import Session
from reconciler.storage.state import State
from tests import shown
from tests.console import NOW, Answer, ask, console_app

HOUR = timedelta(hours=1)
ANN = {"user": "ann", "host": "desk"}
BOB = {"user": "runner", "host": "ci-1", "ci": "GitHub Actions", "actor": "Bob", "job": "https://ci.example/1"}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        yield state


def add(state: State, name: str, hours: int, command: str = "apply", status: Any = "done", **more: Any) -> str:
    """Have a run be remembered that began so many hours ago."""
    began = NOW - hours * HOUR
    state.begin_run(name, more.get("plan", ""), command, began, more.get("origin", ANN))
    state.journal(name, more.get("entries", ()))
    if status != "running":
        state.end_run(name, status, more.get("report", {}), began + HOUR)
    return name


def failed(client: str, reason: Any = "check", message: str = "check failed: exit 1") -> JournalEntry:
    return JournalEntry(
        client=client, group="g", component="rules", to_version="2", outcome="failed", message=message, at=NOW,
        reason=reason,
    )  # fmt: skip


def changed(client: str) -> JournalEntry:
    return JournalEntry(
        client=client, group="g", component="rules", from_version="1", to_version="2", outcome="changed", at=NOW
    )


def told(answer: Answer) -> str:
    """Give what a page says, without its markup."""
    main = answer.text.partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split())


def links(answer: Answer, word: str) -> list[str]:
    """Give the addresses that a word leads to."""
    return [unescape(href) for href in re.findall(rf'<a [^>]*href="([^"]*)"[^>]*>{re.escape(word)}</a>', answer.text)]


def run_ids(answer: Answer) -> list[str]:
    return re.findall(r'<th scope="row"><a href="/runs/([^"]*)"', answer.text)


def test_runs_are_leafed_through_in_both_directions_and_none_is_lost_or_shown_twice(state: State) -> None:
    names = [add(state, f"r{hours:03}", hours) for hours in range(120)]
    app = console_app(state)
    pages, path = [], "/runs"
    while path:
        answer = ask(app, path)
        pages.append(run_ids(answer))
        path = next(iter(links(answer, "Older")), "")
    assert [name for page in pages for name in page] == names
    back = ask(app, links(answer, "Newer")[0])
    assert run_ids(back) == pages[-2]
    assert run_ids(ask(app, links(back, "Newest")[0])) == pages[0]


def test_runs_are_found_by_who_began_them_their_status_and_their_command(state: State) -> None:
    add(state, "r1", 3, origin=BOB)
    add(state, "r2", 2, status="failed")
    add(state, "r3", 1, "rollout pause rules", status="interrupted")
    app = console_app(state)
    assert run_ids(ask(app, "/runs?who=bob")) == ["r1"]
    assert run_ids(ask(app, "/runs?who=ci-1")) == ["r1"]
    assert run_ids(ask(app, "/runs?status=failed&status=interrupted")) == ["r3", "r2"]
    assert run_ids(ask(app, "/runs?status=failed,interrupted&who=ANN&command=rollout")) == ["r3"]
    nothing = ask(app, "/runs?who=job")  # a word of how it is written down, and no name
    assert run_ids(nothing) == []
    assert "No run is like that." in nothing.text


def test_a_run_whose_process_died_is_told_and_one_that_goes_on_is_not_taken_for_it(state: State) -> None:
    add(state, "dead", 9, status="running", entries=[failed("pc-1")])
    app = console_app(state)
    assert "This run was broken off" in ask(app, "/runs/dead").text
    with state.lock("apply"):
        add(state, "live", 1, status="running")
        add(state, "pause", 0, "rollout pause rules")
        said = RunProgress(
            run_id="live", command="apply", started=NOW, step="wave 2 of 3", clients=4821, finished=3180, failed=4
        )
        state.report_progress(said)
        assert "This run was broken off" in ask(app, "/runs/dead").text
        assert run_ids(ask(app, "/runs?status=running")) == ["live"]
        assert run_ids(ask(app, "/runs?status=broken+off")) == ["dead"]
        page = told(ask(app, "/runs/live"))
    assert "Apply: 3 180 of 4 821 clients so far. wave 2 of 3" in page.replace("\u202f", " ")
    assert "broken off" not in page


def test_failures_of_a_run_are_counted_by_reason_and_lead_to_those_that_they_count(state: State) -> None:
    entries = [failed(f"pc-{number}") for number in range(7)]
    entries += [failed("pc-0"), failed("odd/na me?", "disk", "disk full: 1 B free"), changed("pc-9")]
    add(state, "r1", 1, status="failed", entries=entries, report=shown.report())
    page = ask(console_app(state), "/runs/r1")
    assert "Check failed: 7 clients" in told(page)
    assert "Disk full: 1 client" in told(page)
    assert links(page, "odd/na me?")[0] == "/clients/odd%2Fna%20me%3F"
    assert links(page, "All clients that are in this trouble now") == ["/clients?reason=check", "/clients?reason=disk"]
    some = ask(console_app(state), links(page, "7 clients")[0].partition("#")[0])
    assert told(some).partition("Journal")[2].count("check failed: exit 1") == 8
    assert "pc-9" not in told(some)


def test_the_journal_of_a_run_is_leafed_through_and_asked_for_by_outcome_client_and_component(state: State) -> None:
    add(state, "r1", 1, entries=[changed(f"pc-{number:03}") for number in range(130)])
    add(state, "r2", 1, entries=[changed("pc-other")])
    found = [noted.entry.client for noted in state.find_entries(AskedEntries(run_id="r1"), Cut()).entries]
    assert found == [f"pc-{number:03}" for number in range(129, 79, -1)]
    app = console_app(state)
    first = ask(app, "/runs/r1")
    second = ask(app, links(first, "Older")[0].partition("#")[0])
    assert ("pc-080" in first.text, "pc-079" in first.text) == (True, False)
    assert ("pc-080" in second.text, "pc-079" in second.text) == (False, True)
    assert "pc-080" in ask(app, links(second, "Newer")[0].partition("#")[0]).text
    only = told(ask(app, "/runs/r1?client=pc-007&outcome=changed&component=rules"))
    assert ("pc-007" in only, "pc-008" in only) == (True, False)
    assert "Nothing in this run is like that." in ask(app, "/runs/r1?outcome=failed").text


def test_the_plan_of_a_run_is_linked_as_long_as_it_is_remembered(state: State) -> None:
    add(state, "r1", 1, plan="p1")
    state.keep_snapshots("plan", {"": {"plan_id": "p1"}})
    assert links(ask(console_app(state), "/runs/r1"), "p1") == ["/plan"]
    state.keep_snapshots("plan", {"": {"plan_id": "p2"}})
    assert links(ask(console_app(state), "/runs/r1"), "p1") == []


def wish(who: str, hours: int, kind: Any = "approve", **more: Any) -> Request:
    target = Target(component="rules", version="2")
    return Request(at=NOW - hours * HOUR, who=who, roles=("approver",), kind=kind, target=target, seen="d", **more)


def test_the_audit_says_who_did_what_why_and_what_came_of_it_the_newest_first(state: State) -> None:
    waits = state.ask(wish("cy", 1))
    refused = state.ask(wish("ann", 4, "pause", reason="change freeze"))
    state.settle(refused, "refused", "it moved since you looked")
    told_of = JournalEntry(component="rules", to_version="2", outcome="aborted", message="aborted by Bob", at=NOW)
    add(state, "r1", 3, "rollout abort rules", origin=BOB, entries=[told_of])
    add(state, "r2", 2)
    in_it = Session(
        who="dee", roles=("viewer",), way="oidc", address="::1", created=NOW - 5 * HOUR, used=NOW, ends=NOW + HOUR
    )
    state.begin_session("s3cret", in_it)
    page = ask(console_app(state), "/audit")
    said = told(page)
    order = ["Approve rules 2 cy", "rollout abort rules GitHub Actions for Bob", "Pause rules 2 ann", "Sign in", "dee"]
    places = [said.index(words) for words in order]
    assert places == sorted(places)
    for words in ("change freeze", "it moved since you looked", "aborted by Bob", "waiting"):
        assert words in said
    assert "updoser apply" not in said
    assert f'"/requests/{waits}"' in page.text
    assert "updoser apply" in told(ask(console_app(state), "/audit?kind=apply"))
    assert "dee" not in told(ask(console_app(state), "/audit?who=ann"))


def test_the_audit_as_a_table_has_what_the_page_shows_and_no_cell_that_a_spreadsheet_would_run(state: State) -> None:
    for hours in range(3):
        state.ask(wish("=cmd|' /C calc'!A0", hours, reason="@SUM(1)"))
    add(state, "r1", 5, "release accept rules", origin=BOB)
    answer = ask(console_app(state), "/audit.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    head, *rows = csv.reader(io.StringIO(answer.text))
    assert [row[head.index("who")] for row in rows] == ["'=cmd|' /C calc'!A0"] * 3 + ["GitHub Actions for Bob"]
    assert rows[0][head.index("reason")] == "'@SUM(1)"
    none = ask(console_app(state), "/audit.csv?kind=request&since=2026-11-30")
    assert list(csv.reader(io.StringIO(none.text))) == [head]


@given(st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 3)), max_size=12), st.integers(1, 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_no_deed_is_lost_or_told_twice_whatever_happened_at_one_moment(
    tmp_path_factory: pytest.TempPathFactory, deeds: list[tuple[str, int]], size: int
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('audit')}/state.db"
    with State.open(url, clock=lambda: NOW) as state:
        for number, (kind, hours) in enumerate(deeds):
            at = NOW - hours * HOUR
            if kind == "request":
                state.ask(wish("ann", hours))
            elif kind == "sign-in":
                state.begin_session(
                    f"s{number}", Session(who="a", roles=(), way="link", address="", created=at, used=at, ends=NOW)
                )
            else:
                add(state, f"a-run-with-a-long-name-{number}", hours, "apply" if kind == "apply" else "rollout pause x")
        found, behind, more = [], None, True
        while more:
            some, more = state.find_deeds(AskedDeeds(kinds=DEEDS), behind, size)
            found += some
            behind = some[-1].place if some else None
        assert sorted((deed.kind, (NOW - deed.at) // HOUR) for deed in found) == sorted(deeds)
        assert [deed.at for deed in found] == sorted((deed.at for deed in found), reverse=True)


WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["failed", "broken off", "r1", "1", "99999999999999999999", "2026-11-29", "0~0~1", "nan~1~x", "-1", "!", "a,b"]
    ),
)
FIELDS = st.sampled_from(
    [
        "status",
        "who",
        "command",
        "older",
        "newer",
        "outcome",
        "reason",
        "client",
        "component",
        "kind",
        "since",
        "until",
        "x",
    ]
)
PATHS = st.sampled_from(["/runs", "/runs/r1", "/runs/{}", "/audit", "/audit.csv"])


@given(PATHS, st.lists(st.tuples(FIELDS, WORDS), max_size=5), st.text(max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_address_asks_for_is_shown_or_said_to_be_wrong(
    wide: Any, path: str, fields: list[tuple[str, str]], name: str
) -> None:
    asked = urlencode(fields, errors="surrogatepass")
    answer = ask(wide, f"{path.format(quote(name, safe='', errors='surrogatepass'))}?{asked}")
    assert answer.status in {200, 307, 400, 404}  # 307: to the page without a slash at its end


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give a console over a state with something of everything."""
    with State.open(f"sqlite:///{tmp_path_factory.mktemp('wide')}/state.db", clock=lambda: NOW) as state:
        add(state, "r1", 2, entries=[failed("pc-1"), changed("pc-2")], report=shown.report())
        add(state, "r2", 1, status="running")
        state.ask(wish("ann", 1))
        yield console_app(state)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/runs?status=failedd", "did you mean failed?"),
        ("/runs?stat=failed", "did you mean status?"),
        ("/runs/r1?older=x", "older is the number of an entry, not x"),
        ("/audit?since=yesterday", "since is a day such as 2026-11-29"),
        ("/runs?who=a%00b", "has a character in it that can't be shown"),
    ],
)
def test_an_address_that_asks_for_what_can_not_be_says_what_may_stand_there(wide: Any, path: str, says: str) -> None:
    answer = ask(wide, path)
    assert answer.status == 400
    assert says in " ".join(told(answer).split()).replace(" ?", "?").replace(" ,", ",")


def test_a_run_that_is_not_remembered_is_said_in_a_page(wide: Any) -> None:
    answer = ask(wide, "/runs/nonsense")
    assert answer.status == 404
    assert "There is no such run" in answer.text


def test_runs_behind_one_that_was_forgotten_are_forgotten_too(state: State) -> None:
    add(state, "r1", 1)
    assert state.find_runs(AskedRuns(), Cut(older="r0")).entries == []
