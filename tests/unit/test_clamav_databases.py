from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.formats.cdiff import apply, parse_cdiff, script_of
from reconciler.formats.cvd import (
    Header,
    check_header,
    check_members,
    database_of,
    header_block,
    info_of,
    parse_header,
    parse_info,
    read_database,
    write_cld,
)
from tests.clam_signer import COPYING, cdiff, make, script, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ONE = make("daily", 27811, {"daily.cfg": b"options\n", "daily.hdb": b"aa:1:One\nbb:2:Two\ncc:3:Three\n"})
TWO = make(
    "daily", 27812, {"daily.cfg": b"options\n", "daily.hdb": b"aa:1:One\nbb:2:Other\n", "daily.ndb": b"Four:0:*:04\n"}
)
DIGEST = b"137b64f10c1d9f1a5b2b2d1f5b1e2f6a"
GENUINE = b"ClamAV-VDB:16 Sep 2021 08-32 -0400:62:6647427:90:" + DIGEST + b":x7d/Signature+:sigmgr:1631795562"


def read(data: bytes, limit: int = 2**20) -> Mapping[str, bytes]:
    return read_database(io.BytesIO(data), limit=limit).members


def proven(members: Mapping[str, bytes], database: str = "daily") -> None:
    check_members(members, info_of(members, database), database)


def packed(*members: tuple[str, bytes], kind: bytes = b"0") -> bytes:
    return header_block(ONE.header) + gzip.compress(tar(members, kind=kind))


# --- headers ----------------------------------------------------------------------------------------------------------


def test_a_header_as_the_vendor_writes_it_is_read_and_written_again() -> None:
    header = parse_header(GENUINE.ljust(512))
    assert (header.version, header.signatures, header.flevel, header.time) == (62, 6647427, 90, 1631795562)
    assert (header.built, header.builder, header.is_signed) == ("16 Sep 2021 08-32 -0400", "sigmgr", True)
    assert header_block(header) == GENUINE.ljust(512)


@pytest.mark.parametrize(
    ("changed", "field", "value"),
    [
        (b":1631795562", "time", 0),
        (DIGEST, "is_signed", False),
        (b"x7d/Signature+", "is_signed", False),
    ],
    ids=["without seconds", "without a digest", "without a signature"],
)
def test_a_header_may_lack_what_old_and_local_databases_lack(changed: bytes, field: str, value: object) -> None:
    assert getattr(parse_header(GENUINE.replace(changed, b"")), field) == value


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "doesn't begin with ClamAV-VDB"),
        (b"ClamAV-VDB:now:1:2:3", "has 5 fields"),
        (GENUINE.replace(b":62:", b":-1:"), "the version in its header is no number: '-1'"),
        (GENUINE.replace(b":62:", b":99999999999:"), "the version in its header is no number"),
        (GENUINE.replace(b"sigmgr", b"\x1b[2J"), "can't be shown"),
        (GENUINE.replace(b"sigmgr", b"\xff"), "isn't ASCII"),
    ],
)
def test_what_is_no_header_is_refused_by_what_is_wrong_with_it(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_header(data)


@pytest.mark.parametrize(
    ("name", "database"), [("daily.cvd", "daily"), ("main-62.cdiff", "main"), ("bytecode.cvd.sign", "bytecode")]
)
def test_the_name_of_a_file_says_of_which_database_it_is(name: str, database: str) -> None:
    assert database_of(name) == database


@pytest.mark.parametrize("name", ["", ".cvd", "../daily.cvd", "-1.cdiff", "dai ly.cvd"])
def test_a_file_whose_name_says_no_database_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="names no database"):
        database_of(name)


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["cvd", "cld"])
def test_a_database_is_read_whether_it_is_packed_or_plain_and_proven_by_its_info(form: str) -> None:
    found = read_database(io.BytesIO(getattr(ONE, form)))
    assert found.members == ONE.members
    proven(found.members)
    check_header(found.header, info_of(found.members, "daily"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "has 0 bytes only"),
        (ONE.cvd[:600], "can't be unpacked"),
        (ONE.cld[:-1530], "cut off within daily.hdb"),
        (ONE.cld[:-1700], "cut off within the head of a member"),
        (header_block(ONE.header) + b"nothing", "can't be unpacked"),
        (packed(("../daily.hdb", b"")), r"a member with the name '\.\./daily\.hdb'"),
        (packed(("/etc/passwd", b"")), "a member with the name '/etc/passwd'"),
        (packed((".hidden", b"")), "a member with the name"),
        (packed(("daily.hdb", b""), kind=b"2"), "daily.hdb is no plain file"),
        (packed(("daily", b""), kind=b"5"), "daily is no plain file"),
        (packed(("daily.hdb", b"a"), ("daily.hdb", b"b")), "has the member daily.hdb twice"),
        (packed(("daily.hdb", bytes(2**21))), "more than 1048576 bytes"),
        (packed(*((f"daily.{n}", bytes(2**18)) for n in range(5))), "more than 1048576 bytes"),
        (header_block(ONE.header) + b"COPYING".ljust(512, b"\0"), "COPYING has no size"),
    ],
)
def test_what_is_no_database_is_refused_by_what_is_wrong_with_it(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(data)


def without(members: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    return {key: value for key, value in members.items() if key != name}


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({**ONE.members, "daily.hdb": b"aa:1:One\nbb:2:Two\ncc:3:Thr33\n"}, "daily.hdb isn't what .info says"),
        ({**ONE.members, "daily.hdb": b""}, "daily.hdb isn't what .info says"),
        ({**ONE.members, "daily.ndb": b""}, "daily.ndb isn't listed"),
        (without(ONE.members, "daily.cfg"), "daily.cfg isn't there"),
        (without(ONE.members, "daily.info"), "no .info"),
        ({**ONE.members, "main.info": b""}, "daily.info, main.info"),
    ],
)
def test_a_database_that_differs_from_its_info_in_one_member_is_not_proven(
    members: Mapping[str, bytes], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        proven(members)


def test_one_database_is_not_taken_for_another_whatever_its_files_are_called() -> None:
    main = make("main", 62, {"main.hdb": b"aa:1:One\n"})
    with pytest.raises(ValueError, match="isn't the database daily: it has main.info"):
        proven(main.members)
    renamed = {**without(main.members, "main.info"), "daily.info": main.members["main.info"]}
    with pytest.raises(ValueError, match="isn't the database daily: it has the member main.hdb"):
        proven(renamed)
    proven(make("bytecode", 1, {"bytecode.hdb": b"", "3986187.cbc": b"ClamBC\n"}).members, "bytecode")


@pytest.mark.parametrize("field", ["version", "signatures", "flevel", "time"])
def test_a_container_that_says_otherwise_than_its_info_is_refused(field: str) -> None:
    other = replace(ONE.header, **{field: getattr(ONE.header, field) + 1})
    with pytest.raises(ValueError, match=f"its header says {field}"):
        check_header(other, info_of(ONE.members, "daily"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((b"DSIG:", b"SIG:"), "isn't signed"),
        ((b"daily.hdb:", b"daily.hdb "), "line 3 of .info"),
        ((b"daily.hdb:", b"daily.cfg:"), "line 3 of .info"),
        ((b"daily.hdb:", b"../x.hdb:"), "line 3 of .info"),
        ((b"ClamAV-VDB", b"ClamAV"), "the first line of .info"),
    ],
)
def test_an_info_that_is_malformed_is_refused_by_its_line(change: tuple[bytes, bytes], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_info(ONE.members["daily.info"].replace(*change))


def test_nothing_stands_behind_the_signature_of_an_info() -> None:
    with pytest.raises(ValueError, match="goes on behind its signature"):
        parse_info(ONE.members["daily.info"] + b"daily.ndb:0:" + b"0" * 64 + b"\n")


# --- writing ----------------------------------------------------------------------------------------------------------


@given(st.permutations(sorted(TWO.members)))
@settings(max_examples=20)
def test_a_cld_has_the_same_bytes_in_whatever_order_its_members_came(order: list[str]) -> None:
    made = b"".join(write_cld({name: TWO.members[name] for name in order}, "daily"))
    assert made == TWO.cld
    assert list(read(made)) == ["COPYING", "daily.info", "daily.cfg", "daily.hdb", "daily.ndb"]


def test_a_cld_is_the_same_from_a_full_file_and_from_cdiffs() -> None:
    merged = apply(read(ONE.cvd), script_of(parse_cdiff(cdiff(27812, script(ONE, TWO)))), "daily")
    assert b"".join(write_cld(merged, "daily")) == b"".join(write_cld(read(TWO.cvd), "daily"))


def test_a_cld_is_not_written_of_what_a_plain_tar_of_clamav_cannot_have() -> None:
    with pytest.raises(ValueError, match="has no COPYING"):
        list(write_cld(without(ONE.members, "COPYING"), "daily"))
    with pytest.raises(ValueError, match="no member can have the name"):
        list(write_cld({**ONE.members, "a/b": b""}, "daily"))
    with pytest.raises(ValueError, match="more than 512 bytes"):
        header_block(replace(ONE.header, builder="x" * 512))


# --- whatever comes ---------------------------------------------------------------------------------------------------

texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters=":"), max_size=30)
numbers = st.integers(0, 2**31 - 1)


@given(
    st.builds(
        Header,
        built=texts,
        version=numbers,
        signatures=numbers,
        flevel=numbers,
        md5=texts,
        signature=texts,
        builder=texts,
        time=numbers,
    )
)
def test_every_header_is_read_as_it_was_written(header: Header) -> None:
    assert parse_header(header_block(header)) == header


names = st.sampled_from(["daily.hdb", "daily.ndb", "daily.ldb", "daily.cfg", "daily.ign2"])
lines = st.binary(min_size=1, max_size=40).map(lambda line: line.replace(b"\n", b"n"))
contents = st.dictionaries(names, st.lists(lines, max_size=30).map(lambda found: b"".join(x + b"\n" for x in found)))


@given(contents)
@settings(max_examples=30)
def test_every_database_is_read_as_it_was_written_packed_and_plain(found: dict[str, bytes]) -> None:
    made = make("daily", 1, found)
    assert read(made.cvd) == read(made.cld) == made.members
    proven(made.members)


def merged(data: bytes) -> Mapping[str, bytes]:
    return apply(ONE.members, script_of(parse_cdiff(data)), "daily")


samples = st.sampled_from([ONE.cvd, ONE.cld, ONE.members["daily.info"], cdiff(27812, script(ONE, TWO))])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(samples))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 20))] = draw(st.binary(max_size=20))
    return bytes(data)


@given(damaged() | st.binary(max_size=2000))
@example(b"ClamAV-Diff:1:2:")
@example(b"ClamAV-Diff:1:2:::")
@settings(max_examples=400)
def test_whatever_is_read_it_is_refused_with_a_sentence_or_taken(data: bytes) -> None:
    readers: list[Callable[[bytes], object]] = [parse_header, parse_info, read, merged]
    for reader in readers:
        says = ""
        try:
            reader(data)
        except ValueError as error:
            says = str(error)
        assert says.isprintable(), says


def test_other_readers_of_tars_read_a_cld_too_and_nothing_in_it_says_when_or_where_it_was_made() -> None:
    with tarfile.open(fileobj=io.BytesIO(ONE.cld[512:])) as found:
        members = found.getmembers()
        assert {one.name: one.size for one in members} == {name: len(content) for name, content in ONE.members.items()}
        assert {(one.mtime, one.uid, one.gid, one.mode) for one in members} == {(0, 0, 0, 0o644)}


def test_the_licence_travels_with_the_database() -> None:
    assert read(ONE.cld)["COPYING"] == COPYING
