from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.formats import cdiff as module
from reconciler.formats.cdiff import apply, parse_cdiff, script_of
from tests.clam_signer import cdiff, make, script

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMBERS: Mapping[str, bytes] = {
    "COPYING": b"of the vendor\n",
    "daily.hdb": b"one:1\ntwo:2\nthree:3\nfour:4\n",
    "daily.ndb": b"a\nb\n",
    "daily.empty": b"",
}


def applied(*commands: str, members: Mapping[str, bytes] = MEMBERS) -> dict[str, bytes]:
    return apply(members, "".join(f"{command}\n" for command in commands).encode(), "daily")


def hdb(*commands: str) -> bytes:
    return applied("OPEN daily.hdb", *commands, "CLOSE")["daily.hdb"]


# --- the container ----------------------------------------------------------------------------------------------------


def test_a_cdiff_is_taken_apart_and_unpacked() -> None:
    data = cdiff(27812, b"UNLINK daily.ndb\n")
    found = parse_cdiff(data)
    assert (found.version, found.size, script_of(found)) == (27812, 17, b"UNLINK daily.ndb\n")
    assert found.signed + b":" + found.signature.encode() == data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "isn't a cdiff"),
        (b"ClamAV-Diff:1:2", "isn't a cdiff"),
        (b"ClamAV-Diff:one:2::s", "no number"),
        (b"ClamAV-Diff:1:-2::s", "no number"),
        (b"ClamAV-Diff:1:999999999::s", "at most"),
        (b"ClamAV-Diff:1:2:packed", "has no signature"),
        (b"ClamAV-Diff:1:2:packed:" + b"s" * 351, "has no signature"),
        (b"ClamAV-Diff:1:2:packed:\xff", "no text"),
    ],
)
def test_what_is_no_cdiff_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_cdiff(data)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"nothing",
        gzip.compress(b"#\n" * 10**6),
        gzip.compress(b"#\n")[:-4],
        gzip.compress(b"#\n\n\n") + b"more",
        gzip.compress(b"#\n"),
    ],
    ids=["empty", "not packed", "a bomb", "cut off", "more behind it", "fewer"],
)
def test_a_cdiff_never_unpacks_to_other_bytes_than_it_says(packed: bytes) -> None:
    with pytest.raises(ValueError, match="can't be unpacked|doesn't have the 4 bytes"):
        script_of(parse_cdiff(b"ClamAV-Diff:1:4:" + packed + b":s"))


# --- commands ---------------------------------------------------------------------------------------------------------


def test_lines_go_change_and_come_by_the_numbers_that_they_had_before() -> None:
    assert hdb("DEL 1 one", "XCHG 3 three new line", "ADD five:5") == b"two:2\nnew line\nfour:4\nfive:5\n"


def test_edits_are_made_in_the_order_of_lines_in_whatever_order_they_are_written() -> None:
    assert hdb("DEL 4 f", "XCHG 1 one x", "DEL 2 two") == hdb("XCHG 1 one x", "DEL 2 two", "DEL 4 f") == b"x\nthree:3\n"


def test_what_is_added_comes_last_though_it_stands_first() -> None:
    assert hdb("ADD  with blanks ", "DEL 1 one") == b"two:2\nthree:3\nfour:4\n with blanks \n"


def test_members_come_and_go_and_comments_say_nothing() -> None:
    found = applied("# 512", "OPEN daily.ldb", "ADD new", "CLOSE", "UNLINK daily.ndb", "OPEN daily.hdb", "CLOSE")
    assert found["daily.ldb"] == b"new\n"
    assert "daily.ndb" not in found
    assert found["daily.hdb"] == MEMBERS["daily.hdb"]
    assert "daily.ndb" in MEMBERS


def test_lines_move_from_one_member_to_the_end_of_another() -> None:
    found = applied("MOVE daily.hdb daily.ndb 2 two:2 3 thr")
    assert (found["daily.hdb"], found["daily.ndb"]) == (b"one:1\nfour:4\n", b"a\nb\ntwo:2\nthree:3\n")
    assert applied("MOVE daily.ndb daily.hdb 1 a 2 b")["daily.ndb"] == b""


@pytest.mark.parametrize(
    ("commands", "says"),
    [
        (["FROB x"], "line 1: 'FROB' is no command"),
        (["open daily.hdb"], "line 1: 'open' is no command"),
        (["ADD x"], "line 1: ADD where no member is open"),
        (["CLOSE"], "line 1: CLOSE where no member is open"),
        (["OPEN daily.hdb", "OPEN daily.ndb"], "line 2: OPEN while daily.hdb is open"),
        (["OPEN daily.hdb", "UNLINK daily.ndb"], "line 2: UNLINK while daily.hdb is open"),
        (["OPEN daily.hdb", "MOVE daily.hdb daily.ndb 1 o 1 o"], "line 2: MOVE while daily.hdb is open"),
        (["OPEN daily.hdb"], "without a CLOSE of daily.hdb"),
        (["OPEN ../daily.hdb"], "line 1: '../daily.hdb' is no name"),
        (["OPEN daily/hdb"], "is no name"),
        (["OPEN "], "is no name"),
        (["OPEN main.hdb"], "main.hdb is no member of the database daily"),
        (["UNLINK daily.ldb"], "line 1: daily.ldb isn't there"),
        (["OPEN daily.hdb", "DEL 1 two", "CLOSE"], "line 3: line 1 of daily.hdb doesn't begin with 'two', as line 2"),
        (["OPEN daily.hdb", "XCHG 2 one x", "CLOSE"], "line 3: line 2 of daily.hdb doesn't begin with 'one'"),
        (["OPEN daily.hdb", "DEL 2 two:2\r", "CLOSE"], "line 3: line 2 of daily.hdb doesn't begin with"),
        (["OPEN daily.hdb", "DEL 5 x", "CLOSE"], "line 3: daily.hdb has no line 5, which line 2 changes"),
        (["OPEN daily.empty", "DEL 1 x", "CLOSE"], "daily.empty is empty, and line 2 changes it"),
        (["OPEN daily.ldb", "DEL 1 x", "CLOSE"], "daily.ldb isn't there, and line 2 changes it"),
        (["OPEN daily.hdb", "DEL 1 o", "XCHG 1 o x"], "line 3: line 1 was to be changed by line 2 already"),
        (["OPEN daily.hdb", "DEL 0 x"], "line 2: '0' is no number of a line"),
        (["OPEN daily.hdb", "DEL -1 x"], "no number of a line"),
        (["OPEN daily.hdb", "DEL x x"], "no number of a line"),
        (["OPEN daily.hdb", "DEL 1"], "DEL doesn't say what line 1 begins with"),
        (["OPEN daily.hdb", "XCHG 1 one"], "XCHG without a new line"),
        (["MOVE daily.hdb daily.ndb 2 two"], "MOVE doesn't say"),
        (["MOVE daily.hdb daily.ldb 1 one 2 two"], "daily.ldb isn't there"),
        (["MOVE daily.hdb daily.hdb 1 one 2 two"], "MOVE within daily.hdb"),
        (["MOVE daily.hdb daily.ndb 3 thr 2 two"], "MOVE of lines 3 to 2"),
        (["MOVE daily.hdb daily.ndb 3 thr 9 x"], "hasn't got lines 3 to 9"),
        (["MOVE daily.hdb daily.ndb 1 two 2 two"], "line 1 of daily.hdb doesn't begin with 'two'"),
        (["MOVE daily.hdb daily.ndb 1 one 2 one"], "line 2 of daily.hdb doesn't begin with 'one'"),
    ],
)
def test_a_command_that_does_not_fit_is_refused_by_its_line(commands: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        applied(*commands)


def test_a_script_whose_last_line_has_no_end_was_cut_off() -> None:
    with pytest.raises(ValueError, match="line 2 has no end"):
        apply(MEMBERS, b"OPEN daily.hdb\nCLOSE", "daily")


def test_a_database_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNPACKED", 100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        hdb(*["ADD 12345678"] * 10)


@pytest.mark.parametrize("commands", [["OPEN daily.hdb", "ADD x", "CLOSE"], ["MOVE daily.hdb daily.ndb 1 one 1 one"]])
def test_what_writes_members_again_and_again_ends_soon(commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WRITTEN", 9_000)
    members = {**MEMBERS, "daily.hdb": b"one\n" * 100}
    assert applied(*commands, members=members) != members
    with pytest.raises(ValueError, match="writes more than 9000 bytes"):
        applied(*commands * 10, members=members)


def test_a_script_has_no_more_lines_than_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COMMANDS", 5)
    with pytest.raises(ValueError, match="more than 5 lines"):
        hdb("ADD 1", "ADD 2", "ADD 3", "ADD 4")


# --- whatever the edits -----------------------------------------------------------------------------------------------

line = st.binary(min_size=1, max_size=12).map(lambda found: found.replace(b"\n", b"n"))
text = st.lists(line, max_size=40)


@st.composite
def edited(draw: st.DrawFn) -> tuple[list[bytes], bytes, list[bytes]]:
    """Give the lines of a member, commands in any order, and what must come of it, found line by line."""
    before = draw(text)
    commands, after = [], []
    for number, old in enumerate(before, 1):
        what = draw(st.sampled_from(["stays", "stays", "goes", "changes"]))
        prefix = old[: draw(st.integers(1, len(old)))]
        if what == "goes":
            commands.append(b"DEL %d %s" % (number, prefix))
        elif what == "changes":
            new = draw(line)
            commands.append(b"XCHG %d %s %s" % (number, prefix.split(b" ")[0] or b"", new))
            if not prefix.split(b" ")[0]:
                commands.pop()
                after.append(old)
                continue
            after.append(new)
        if what == "stays":
            after.append(old)
    added = draw(text)
    commands = [*draw(st.permutations(commands)), *(b"ADD " + one for one in added)]
    return before, b"\n".join([b"OPEN daily.hdb", *commands, b"CLOSE", b""]), after + added


def lines(found: list[bytes]) -> bytes:
    return b"".join(one + b"\n" for one in found)


@given(edited(), st.sampled_from([1, 7, 4096]))
@settings(max_examples=200)
def test_edits_give_what_a_change_line_by_line_gives(case: tuple[list[bytes], bytes, list[bytes]], stride: int) -> None:
    before, commands, after = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_STRIDE", stride)
        found = apply({"daily.hdb": lines(before)}, commands, "daily")
    assert found["daily.hdb"] == lines(after)


contents = st.dictionaries(
    st.sampled_from(["daily.hdb", "daily.ndb", "daily.ldb"]),
    st.lists(st.text("abc:", min_size=1, max_size=8), min_size=1, max_size=12).map(
        lambda found: lines([one.encode() for one in found])
    ),
)


@given(contents, contents)
@settings(max_examples=40)
def test_a_cdiff_between_two_databases_makes_the_one_of_the_other_member_by_member(
    before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    one, two = make("daily", 1, before), make("daily", 2, after)
    packed = parse_cdiff(cdiff(2, script(one, two)))
    assert apply(one.members, script_of(packed), "daily") == two.members


def test_a_script_is_unpacked_no_further_than_it_says() -> None:
    with pytest.raises(ValueError, match="doesn't have"):
        script_of(parse_cdiff(b"ClamAV-Diff:1:10:" + zlib.compress(bytes(10**7), wbits=31) + b":s"))
