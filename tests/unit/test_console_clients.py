"""The pages of clients: those that an address asks for, and one with all that is known of it."""

import csv
import io
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.formats.where import FIELDS, STATES, conditions_of, parse_where
from reconciler.model.report import ComponentStatus, JournalEntry, Status
from reconciler.present.document import status_document
from reconciler.present.html.clients_view import command_of, sentence
from reconciler.storage.state import State
from tests.console import NOW, Answer, ask, console_app
from tests.console_clients import ODD, fleet, keep_fleet


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """Give a state with clients in all kinds of trouble, of which two have a history."""
    with State.open(f"sqlite:///{tmp_path_factory.mktemp('clients')}/state.db", clock=lambda: NOW) as state:
        keep_fleet(state, fleet(250))
        state.begin_run("r1", "", "apply", NOW)
        entries = [
            JournalEntry(
                client=client, group="branch", component="virus-pattern", from_version="15.783.00",
                to_version="15.785.00", outcome="changed", at=NOW,
            )
            for client in ("branch-1", ODD)
        ]  # fmt: skip
        state.journal("r1", entries)
        state.end_run("r1", "done", {}, NOW)
        yield state


@pytest.fixture
def app(state: State) -> Any:
    return console_app(state)


def told(answer: Answer) -> str:
    """Give what a page says, without its markup."""
    main = answer.text.partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).replace("\u202f", " ").split())


def names(answer: Answer) -> list[str]:
    assert answer.status == 200
    return [unescape(name) for name in re.findall(r'<th scope="row"><a href="[^"]*">([^<]*)</a>', answer.text)]


def links(answer: Answer, word: str) -> list[str]:
    return [unescape(href) for href in re.findall(rf'<a [^>]*href="([^"]*)"[^>]*>{re.escape(word)}</a>', answer.text)]


def test_all_clients_are_leafed_through_by_name_and_back(app: Any) -> None:
    pages, path = [], "/clients"
    while path:
        answer = ask(app, path)
        assert "259 clients" in told(answer)
        pages.append(names(answer))
        path = next(iter(links(answer, "Next")), "")
    assert [name for page in pages for name in page] == sorted(one.name for one in fleet(250))
    assert len(pages) == 3
    back = ask(app, links(answer, "Previous")[0])
    assert names(back) == pages[1]
    assert names(ask(app, links(back, "Previous")[0])) == pages[0]
    assert names(ask(app, links(back, "First")[0])) == pages[0]


@pytest.mark.parametrize(
    ("asked", "found", "says"),
    [
        ("state=outdated&component=virus-pattern", ["branch-1", "branch-3", "held-1", ODD], "that are outdated, in"),
        ("state=ahead", ["branch-2"], "Clients that are ahead."),
        ("state=damaged&state=ahead", ["branch-2", "damaged-1"], "that are damaged or ahead"),
        ("group=branch&state=unknown", ["new-1"], "of group branch"),
        ("reason=silent", ["silent-1"], "in the trouble “did not answer”"),
        ("reason=silent,sudo", ["silent-1", "sudo-1"], "“did not answer or sudo refused”"),
        ("state=held", ["held-1"], "that are held"),
        ("seen=never", ["new-1"], "that never answered"),
        ("seen=%3E8h", ["new-1", "silent-1", "sudo-1"], "that did not answer for 8h"),
        ("label=till&name=*-2", ["branch-2"], "with label till, named *-2"),
        ("error=192.0.2.7", ["silent-1"], "that said “192.0.2.7”"),
        ("component=spyware-pattern&version=16.179&group=!office", ["branch-1", ODD], "not of group office"),
        ("name=nobody", [], "No client is like that."),
    ],
)  # fmt: skip
def test_an_address_asks_for_clients_and_the_page_says_whom_it_has(
    app: Any, asked: str, found: list[str], says: str
) -> None:
    answer = ask(app, f"/clients?{asked}")
    assert sorted(names(answer)) == sorted(found)
    assert says in told(answer)
    assert f"{len(found)} client{'' if len(found) == 1 else 's'}" in told(answer)
    rows = list(csv.reader(io.StringIO(ask(app, f"/clients.csv?{asked}").text)))
    assert {row[0].lstrip("'") for row in rows[1:]} == set(found)


def test_a_filter_keeps_what_it_asks_for_in_its_form_and_on_its_pages(app: Any) -> None:
    answer = ask(app, "/clients?name=pc-*&group=office&group=lab&state=!failed&seen=<2d".replace("<", "%3C"))
    assert answer.status == 400
    assert "lab" in told(answer)
    answer = ask(app, "/clients?name=pc-*&group=office&group=branch&state=!failed&seen=%3C2d")
    for field in ('name="name" value="pc-*"', 'name="group" value="office"', 'name="group" value="branch"'):
        assert field in answer.text
    assert '<input type="checkbox" name="state" value="!failed" checked="checked"/>' in answer.text
    assert 'value="&lt;2d"' in answer.text
    (following,) = links(answer, "Next")
    assert len(names(ask(app, following))) == 100
    assert names(ask(app, following))[0] == "pc-0100"


def test_rows_say_what_is_there_and_what_is_wanted(app: Any) -> None:
    said = told(ask(app, "/clients?name=branch-*"))
    assert "branch-1 branch · linux-x86_64 outdated virus-pattern 15.785.00 wanted → 15.787.00" in said
    assert "virus-pattern 15.789.00 ahead of 15.787.00" in said
    assert "virus-pattern nothing wanted → 15.787.00" in said
    assert "Did not answer : 192.0.2.7:22" in told(ask(app, "/clients?name=silent-1"))


def test_a_table_has_all_clients_and_no_cell_that_a_spreadsheet_would_run(tmp_path: Path) -> None:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        keep_fleet(state, fleet(1200, said="=1+1"))
        answer = ask(console_app(state), "/clients.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    head, *rows = csv.reader(io.StringIO(answer.text))
    assert head[:3] == ["client", "group", "labels"]
    assert len({row[0] for row in rows}) == 1209
    assert {row[2] for row in rows if row[0] == ODD} == {"'=1+1"}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("state=outdatet", "did you mean outdated"),
        ("stat=outdated", "there is no field stat"),
        ("component=nonsense", "nonsense"),
        ("component=virus-pattern&version=x", "x"),
        ("seen=yesterday", "seen=yesterday"),
        ("group=a%01b", "has a character in it that can't be shown"),
    ],
)
def test_what_can_not_be_asked_for_is_said_above_the_form(app: Any, asked: str, says: str) -> None:
    for path in ("/clients", "/clients.csv"):
        answer = ask(app, f"{path}?{asked}")
        assert answer.status == 400
        assert says in told(answer).replace(" ?", "?")
        assert "An address may ask for component" in told(answer)


def test_a_client_is_shown_with_what_it_has_where_it_is_and_what_happened_to_it(app: Any) -> None:
    said = told(ask(app, "/clients/branch-1"))
    for words in (
        "To come: virus-pattern 15.785.00 → 15.787.00, spyware-pattern 16.179.00 → 16.183.00.",
        "virus-pattern outdated 15.785.00 15.787.00 1.0.0 15.783.00",
        "Group branch",
        "Labels till , berlin",
        "Address 0.example",
        "Free room 12.0 GiB",
        "settings/agent.conf 0123456789ab",
        "updoser why branch-1",
        "r1 changed virus-pattern 15.783.00 → 15.785.00",
    ):
        assert words in said
    assert "It has what it should have." in told(ask(app, "/clients/pc-0001"))


def test_a_client_in_trouble_says_why_since_when_and_what_to_do(app: Any) -> None:
    said = told(ask(app, "/clients/silent-1"))
    assert "Did not answer since 2026-11-29 11:00 UTC 192.0.2.7:22 didn't answer: it is away" in said
    assert "see that they are on, and that no firewall stands between this server and them" in said
    assert "Held hold: moving to another floor" in told(ask(app, "/clients/held-1"))
    damaged = told(ask(app, "/clients/damaged-1"))
    assert "scan-engine damaged 9.850.00 a file is missing: it is away" in damaged


def test_a_client_is_found_by_its_name_whatever_characters_it_has(app: Any) -> None:
    (href,) = {unescape(one) for one in re.findall(r'href="(/clients/odd[^"]*)"', ask(app, "/clients").text)}
    answer = ask(app, href)
    assert answer.status == 200
    assert f"<h1>{ODD}</h1>" in unescape(answer.text)
    assert "updoser why 'odd/na me?#%&ü<b>'" in told(answer)
    assert [path for path in links(answer, "Clear") if not path.startswith(href)] == []
    assert "r1" in told(ask(app, f"{href}?outcome=changed"))


def test_a_client_that_is_not_there_is_said_with_those_that_are_called_alike(app: Any) -> None:
    answer = ask(app, "/clients/branch-17")
    assert answer.status == 404
    assert "branch-1" in links(answer, "branch-1")[0]
    assert ask(app, "/clients/" + quote("nothing like it <b>")).status == 404


def test_before_a_controller_looked_the_page_says_what_to_do(tmp_path: Path) -> None:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        app = console_app(state)
        assert "updoser run" in told(ask(app, "/clients"))
        assert len(list(csv.reader(io.StringIO(ask(app, "/clients.csv").text)))) == 1


VALUES = st.one_of(
    st.text(max_size=15),
    st.sampled_from(
        [*STATES, "!unknown", "<2d", ">1", "branch", "virus-pattern", "15.785", "*", "[", "a,b", 'a"b', "never"]
    ),
)
PAIRS = st.lists(st.tuples(st.sampled_from([*FIELDS, "after", "from", "older", "x"]), VALUES), max_size=5)


@given(st.sampled_from(["/clients", "/clients.csv", "/clients/{}"]), PAIRS, st.text(max_size=12))
def test_whatever_an_address_asks_for_is_shown_or_said_to_be_wrong(
    wide: Any, path: str, fields: list[tuple[str, str]], name: str
) -> None:
    asked = urlencode(fields, errors="surrogatepass")
    answer = ask(wide, f"{path.format(quote(name, safe='', errors='surrogatepass'))}?{asked}")
    assert answer.status in {200, 307, 400, 404}


@pytest.fixture(scope="module")
def wide(state: State) -> Any:
    return console_app(state)


@given(st.lists(st.tuples(st.sampled_from([*FIELDS]), VALUES), max_size=4))
def test_the_command_under_a_list_asks_for_just_what_its_address_does(pairs: list[tuple[str, str]]) -> None:
    try:
        conditions = conditions_of(pairs)
    except ValueError:
        return
    assert sentence(conditions).endswith(".")
    command = command_of(conditions)
    if command and conditions:
        import shlex

        *_words, where = shlex.split(command)
        assert set(parse_where(where)) == set(conditions)


def test_as_many_clients_are_said_as_the_controller_counted_in_the_same_look(tmp_path: Path) -> None:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        keep_fleet(state, fleet(1_200))
        app = console_app(state)
        asked = "/clients?component=scan-engine&state=updated"
        assert "More than 1 000 clients" in told(ask(app, "/clients"))
        counted = ComponentStatus("scan-engine", "9.850.00", "9.850.00", 1_206, 1, 0, 2, lags={2: 1})
        whole = Status(NOW, NOW, 1_209, (counted,), {}, current=1_203)
        state.keep_snapshots("status", {"": status_document(whole)})
        assert "1 209 clients" in told(ask(app, "/clients"))
        assert "1 206 clients of 1 209" in told(ask(app, asked))
        assert "1 203 clients of 1 209" in told(ask(app, "/clients?current=yes"))
        assert "More than 1 000 clients of 1 209" in told(ask(app, "/clients?current=yes&seen=<9d"))
        for within, updated in ((1, 1_206), (2, 1_207)):
            address = f"/clients?component=scan-engine&state=updated,outdated&behind=<={within}"
            assert f"{updated:,} clients of 1 209".replace(",", " ") in told(ask(app, address))
        assert "More than 1 000 clients of 1 209" in told(ask(app, f"{asked}&label=!canary"))
        assert "1 client of 1 209" in told(ask(app, "/clients?name=silent-1"))
