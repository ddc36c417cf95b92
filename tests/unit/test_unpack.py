"""Archives made into files of a release: what is taken, and what no archive may do."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import stat
import struct
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SourceError
from reconciler.formats import packed
from reconciler.formats.defaults import completed
from reconciler.model.release import file_name_problem
from reconciler.plugins.source._fetched import archives
from reconciler.plugins.source._fetched import unpack as unpack_module
from reconciler.plugins.source._fetched.unpack import UNPACK, Unpacking, unpack
from tests.fakes import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from reconciler.model.release import ReleaseFile

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RULES = {
    "coreruleset-4.1/rules/a.conf": b"SecRule a\n" * 50,
    "coreruleset-4.1/rules/b.data": b"b\n",
    "coreruleset-4.1/crs-setup.conf.example": b"",
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstd.compress,
}


def tarball(files: Mapping[str, bytes], format_: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format_) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def entry(name: str, kind: bytes = b"0", **fields: Any) -> bytes:
    """Give a tar archive with one odd entry and a good one."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type = kind
        for key, value in fields.items():
            setattr(info, key, value)
        archive.addfile(info, io.BytesIO(b"x" * info.size) if info.size else None)
        archive.addfile(tarfile.TarInfo("good.conf"))
    return made.getvalue()


def taken(folder: Path, content: bytes, name: str = "a.tar", **options: Any) -> dict[str, bytes]:
    """Unpack an archive; hold what is told of each file against what is there, and give their contents."""
    (folder / "archive").write_bytes(content)
    place = folder / f"out{len(list(folder.iterdir()))}"
    found = unpack(folder / "archive", Unpacking.of(completed(options, UNPACK)), place, name=name)
    there = {path.name: path.read_bytes() for path in place.iterdir()}
    assert found == tuple(sorted(describe(name, data) for name, data in there.items()))
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o600}
    return there


def refusal(folder: Path, content: bytes, name: str = "a.tar", **options: Any) -> str:
    (folder / "archive").write_bytes(content)
    with pytest.raises(SourceError) as caught:
        unpack(folder / "archive", Unpacking.of(completed(options, UNPACK)), folder / "out", name=name)
    assert [path.name for path in folder.iterdir()] == ["archive"]
    return caught.value.message


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_of_a_tar_archive_of_any_form_and_packing_come_out_byte_for_byte(
    packing: str, format_: int, tmp_path: Path
) -> None:
    content = PACKERS[packing](tarball(RULES, format_))
    there = taken(tmp_path, content, f"a.tar{packing}")
    assert there == {path.rpartition("/")[2]: data for path, data in RULES.items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_of_a_zip_archive_come_out_byte_for_byte(method: int, tmp_path: Path) -> None:
    assert taken(tmp_path, zipped(RULES, method))["a.conf"] == RULES["coreruleset-4.1/rules/a.conf"]


def test_a_zip_archive_that_was_written_as_a_stream_or_with_wide_sizes_is_read(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_args: int) -> int:
            raise io.UnsupportedOperation

    made = Pipe()
    with zipfile.ZipFile(made, "w") as archive, archive.open("big.rules", "w", force_zip64=True) as member:
        member.write(b"alert\n" * 1000)
    assert taken(tmp_path, made.getvalue()) == {"big.rules": b"alert\n" * 1000}


def test_a_packed_file_that_is_no_archive_is_one_file(tmp_path: Path) -> None:
    assert taken(tmp_path, gzip.compress(b"[1]"), "feed.json.gz") == {"feed.json": b"[1]"}


def test_archives_made_of_several_packed_streams_with_padding_are_one(tmp_path: Path) -> None:
    whole = tarball(RULES)
    for packing, pack in list(PACKERS.items())[1:]:
        pieces = pack(whole[:700]) + pack(b"") + pack(whole[700:])
        assert len(taken(tmp_path, pieces + bytes(1024), f"a.tar{packing}")) == 3


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_only_what_is_included_and_not_excluded_is_taken(tmp_path: Path) -> None:
    whole = tarball(RULES)
    (tmp_path / "none").mkdir()
    assert set(taken(tmp_path, whole, include=["*.conf"])) == {"a.conf"}
    assert refusal(tmp_path / "none", whole, include=["rules/*"])
    assert set(taken(tmp_path, whole, strip=1, include=["rules/*"])) == {"a.conf", "b.data"}
    assert set(taken(tmp_path, whole, include=["**/rules/*"], exclude=["*.data"])) == {"a.conf"}
    assert set(taken(tmp_path, whole, strip=2)) == {"a.conf", "b.data"}


def test_files_keep_their_folders_in_their_names_if_that_is_asked_for(tmp_path: Path) -> None:
    there = taken(tmp_path, tarball(RULES), strip=1, flatten="path")
    assert set(there) == {"rules--a.conf", "rules--b.data", "crs-setup.conf.example"}


def test_what_is_hidden_is_passed_over(tmp_path: Path) -> None:
    files = {"./a.conf": b"", ".github/ci.conf": b"", "x/.gitignore": b""}
    assert set(taken(tmp_path, tarball(files))) == {"a.conf"}


def test_links_and_devices_that_nobody_wants_are_passed_over(tmp_path: Path) -> None:
    assert set(taken(tmp_path, entry("link.txt", b"2", linkname="/etc/passwd"), include=["*.conf"])) == {"good.conf"}
    assert set(taken(tmp_path, entry("null", b"3"), include=["*.conf"])) == {"good.conf"}


def test_an_archive_without_anything_that_is_taken_says_what_it_has(tmp_path: Path) -> None:
    said = refusal(tmp_path, tarball(RULES), include=["*.rules"])
    assert said.startswith("a.tar: nothing in it is taken; it has coreruleset-4.1/rules/a.conf, ")


# --- what no archive may do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../evil.conf", "/etc/evil.conf", "a/../../evil.conf", "..\\evil.conf", "C:\\evil.conf", "\\evil.conf"]
)
@pytest.mark.parametrize("make", [tarball, zipped])
def test_a_path_that_leads_out_is_refused_even_if_it_is_not_taken(
    name: str, make: Callable[[Mapping[str, bytes]], bytes], tmp_path: Path
) -> None:
    assert "leads out of the archive" in refusal(tmp_path, make({"good.conf": b"", name: b"x"}), include=["good*"])


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"6"])
def test_a_link_or_device_that_would_be_taken_is_refused(kind: bytes, tmp_path: Path) -> None:
    said = refusal(tmp_path, entry("evil.conf", kind, linkname="/etc/passwd"))
    assert "evil.conf in it is" in said
    assert "a release has files only" in said


def test_a_symbolic_link_in_a_zip_archive_is_refused(tmp_path: Path) -> None:
    made = io.BytesIO()
    info = zipfile.ZipInfo("evil.conf")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert "evil.conf in it is a link" in refusal(tmp_path, made.getvalue())


def test_names_that_would_be_one_file_are_refused_by_both_names(tmp_path: Path) -> None:
    for one, other in [("a/x.conf", "b/x.conf"), ("x.conf", "X.conf"), ("\u00e9.conf", "e\u0301.conf")]:
        for make in (tarball, zipped):
            said = refusal(tmp_path, make({one: b"1", other: b"2"}))
            assert said == f"{one} and {other} would be one file in a release, which has no folders"
    double = tarball({"a": b"1"})[:1024] + tarball({"a": b"2"})
    assert "a and a would be one file" in refusal(tmp_path, double)


def test_names_that_no_release_may_have_are_refused(tmp_path: Path) -> None:
    for name in ("-rf", "current", "a\\b", "line\nbreak"):
        refusal(tmp_path, tarball({name: b""}))


def test_a_bomb_is_refused_by_what_comes_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "FREE", 2**16)
    zeros = {"zero.conf": bytes(2**21)}
    for packing, pack in list(PACKERS.items())[1:]:
        assert "more than 250 times its size" in refusal(tmp_path, pack(tarball(zeros)), f"a.tar{packing}"), packing
    assert "more than 250 times its size" in refusal(tmp_path, zipped(zeros))
    for name, whole in (("a.tar.gz", gzip.compress(tarball(RULES))), ("a.zip", zipped(RULES)), ("a", tarball(RULES))):
        assert "more than 400 bytes unpacked, which is the limit" in refusal(tmp_path, whole, name, max_size="400")


def test_what_is_not_taken_of_a_tar_archive_counts_too(tmp_path: Path) -> None:
    whole = gzip.compress(tarball({"big": b"x" * 100_000, "small.conf": b""}))
    assert "which is the limit" in refusal(tmp_path, whole, include=["*.conf"], max_size="50KiB")


def test_an_extended_header_can_not_be_vast(tmp_path: Path) -> None:
    whole = tarball({"n" * 70_000: b""}, tarfile.GNU_FORMAT)
    assert "an extended header of it is larger than 65536 bytes" in refusal(tmp_path, whole)


@pytest.mark.parametrize("packing", PACKERS)
def test_an_archive_that_is_cut_anywhere_is_refused(packing: str, tmp_path: Path) -> None:
    whole = PACKERS[packing](tarball({"a.conf": b"some rules", "b.conf": b""}))
    end = len(whole) if packing else 3 * 512  # behind the last header there are zeros only
    for size in range(0, end, max(end // 40, 1)):
        assert refusal(tmp_path, whole[:size], f"a.tar{packing}")


def test_a_zip_archive_with_too_many_entries_is_refused_before_its_list_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = zipped({f"{number}.conf": b"" for number in range(4)})
    monkeypatch.setattr(archives, "MAX_MEMBERS", 4)
    (tmp_path / "good").mkdir()
    assert len(taken(tmp_path / "good", whole)) == 4
    (tmp_path / "bad").mkdir()
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    monkeypatch.setattr(zipfile.ZipFile, "infolist", None)
    assert "it has more than 3 entries" in refusal(tmp_path / "bad", whole)


def test_a_zip_archive_that_is_cut_or_has_something_around_it_is_refused(tmp_path: Path) -> None:
    whole = zipped({"a.conf": b"some rules", "b.conf": b""})
    for size in range(0, len(whole), 7):
        refusal(tmp_path, whole[:size], "a.zip")
    assert "something stands before its first member" in refusal(tmp_path, b"PK\3\4" + whole)


@pytest.mark.parametrize("packing", list(PACKERS)[1:])
def test_something_behind_the_end_is_refused(packing: str, tmp_path: Path) -> None:
    whole = tarball(RULES)
    assert "something follows after its end" in refusal(tmp_path, whole + b"x")
    assert "something follows after its end" in refusal(tmp_path, PACKERS[packing](whole + whole), f"a.tar{packing}")
    assert "something else follows" in refusal(tmp_path, PACKERS[packing](whole) + b"anything", f"a.tar{packing}")


def test_tricks_of_extended_headers_are_refused(tmp_path: Path) -> None:
    def pax(headers: Mapping[str, str], *, everywhere: bool = False) -> bytes:
        made = io.BytesIO()
        options: dict[str, Any] = {"pax_headers": headers} if everywhere else {}
        with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT, **options) as archive:
            info = tarfile.TarInfo("a.conf")
            info.pax_headers = {} if everywhere else dict(headers)
            archive.addfile(info)
        return made.getvalue()

    assert "leads out" in refusal(tmp_path, pax({"path": "../evil"}))
    assert "sparse" in refusal(tmp_path, pax({"GNU.sparse.major": "1"}))
    assert "no name that can be read" in refusal(tmp_path, pax({"path": "a\0b"}))
    for size in ("-1", "9" * 30, "100000"):
        refusal(tmp_path, pax({"size": size}))
    assert set(taken(tmp_path, pax({"comment": "4f2"}, everywhere=True))) == {"a.conf"}


def test_what_is_no_file_and_has_content_all_the_same_is_refused(tmp_path: Path) -> None:
    for kind in b"1235":
        header = tarfile.TarInfo("a.conf")
        header.type, header.size = bytes([kind]), 512
        raw = header.tobuf() + tarfile.TarInfo("hidden.conf").tobuf() + bytes(1024)
        assert "is no file and has content all the same" in refusal(tmp_path, raw)
    sparse = tarfile.TarInfo("a.conf")
    sparse.type = b"S"
    assert "a sparse file, which isn't unpacked" in refusal(tmp_path, sparse.tobuf() + bytes(1024))


def test_a_header_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    whole = bytearray(tarball({"a.conf": b"", "b.conf": b""}))
    whole[520] ^= 1
    assert "a header of it is damaged" in refusal(tmp_path, bytes(whole))


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (24, struct.pack("<L", 4), "Bad CRC-32"),
        (24, struct.pack("<L", 2**31), "hasn't the size that the list"),
        (16, b"\1\2\3\4", "Bad CRC-32"),
        (20, struct.pack("<L", 3), "damaged|hasn't the size"),
        (20, struct.pack("<L", 2**30), "shares bytes with what follows"),
        (8, b"\1\0", "is encrypted"),
        (10, b"\x0e\0", "packed in a way that isn't known here"),
        (46, b"z", "differ"),
        (42, b"\xff\xff\0\0", "something stands before its first member"),
        (42, b"\1\0\0\0", "something stands before its first member"),
    ],
)
def test_a_zip_archive_whose_list_says_another_thing_than_its_files_is_refused(
    place: int, value: bytes, says: str, tmp_path: Path
) -> None:
    whole = bytearray(zipped({"a.conf": b"some rules, some rules"}))
    at = whole.index(b"PK\1\2") + place
    whole[at : at + len(value)] = value
    said = refusal(tmp_path, bytes(whole))
    assert any(words in said for words in says.split("|")), said


def test_members_of_a_zip_archive_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    whole = zipped({"a.conf": b"some rules", "b.conf": b"others"})
    second = whole.rindex(b"PK\1\2")
    shared = whole[: second + 42] + bytes(4) + whole[second + 46 :]
    assert "shares bytes" in refusal(tmp_path, shared)


def test_a_decompressor_can_not_take_all_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}]
    assert "damaged" in refusal(tmp_path, lzma.compress(tarball(RULES), filters=filters), "a.tar.xz")
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(30 - 10) << 3]) + b"\1\0\0"
    assert "damaged" in refusal(tmp_path, frame, "a.tar.zst")


def test_an_archive_of_endlessly_many_streams_or_entries_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MAX_STREAMS", 10)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    monkeypatch.setattr(unpack_module, "MAX_FILES", 5)
    assert "more than 10 streams" in refusal(tmp_path, gzip.compress(b"") * 11, "a.tar.gz")
    many = {f"{number}.conf": b"" for number in range(11)}
    assert "more than 10 entries" in refusal(tmp_path, tarball(many), include=["0.conf"])
    assert "more than 5 files of it would be taken" in refusal(tmp_path, tarball(dict(list(many.items())[:8])))


def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpack_module, "_written", full)
    assert refusal(tmp_path, tarball(RULES)) == "a.tar can't be unpacked: No space left on device"


# --- properties -------------------------------------------------------------------------------------------------------

GOOD = [
    tarball(RULES),
    tarball({"x" * 150 + "/" + "y" * 120: b"long"}, tarfile.GNU_FORMAT),
    gzip.compress(tarball(RULES)),
    zipped(RULES),
    zstd.compress(tarball(RULES)),
    lzma.compress(tarball(RULES)),
]


def outcome(folder: Path, content: bytes) -> Mapping[str, ReleaseFile] | None:
    """Give what came of some bytes; None where they were refused. Any other exception is a failure."""
    place = folder / hashlib.sha256(content).hexdigest()[:20]
    (folder / "bytes").write_bytes(content)
    try:
        found = unpack(folder / "bytes", Unpacking.of(completed({"max_size": "1MiB"}, UNPACK)), place, name="a.tar")
    except SourceError:
        assert not place.exists()
        return None
    assert all(file_name_problem(file.name) == "" for file in found)
    assert sum(file.size for file in found) <= 2**20
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    return {file.name: file for file in found}


@given(content=st.binary(max_size=2000))
def test_whatever_the_bytes_are_nothing_but_a_source_error_comes_of_them(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for start in (b"", b"PK\3\4", b"\x1f\x8b\x08\0", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh9"):
        outcome(folder, start + content)


@given(
    number=st.integers(0, len(GOOD) - 1),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=12)), min_size=1, max_size=3),
)
def test_whatever_is_changed_in_an_archive_it_is_read_or_refused(
    number: int, changes: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(GOOD[number])
    for place, new in changes:
        at = place % len(content)
        content[at : at + len(new)] = new
    outcome(tmp_path_factory.mktemp("changed"), bytes(content))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\:"), min_size=1, max_size=30).filter(
    lambda name: not file_name_problem(name)
)


@given(
    files=st.dictionaries(NAMES, st.binary(max_size=3000), min_size=1, max_size=4),
    folder=st.sampled_from(["", "rules/", "a/b/"]),
    make=st.sampled_from([tarball, zipped]),
)
def test_whatever_files_are_put_into_an_archive_come_out_or_are_told_apart_by_nobody(
    files: dict[str, bytes],
    folder: str,
    make: Callable[[Mapping[str, bytes]], bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    place = tmp_path_factory.mktemp("any")
    try:
        there = taken(place, make({folder + name: content for name, content in files.items()}))
    except SourceError as error:
        there = {} if "would be one file" in error.message else {error.message: b""}
    assert there in ({}, files)
