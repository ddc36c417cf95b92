"""Objects of git as they are read, and packs as they are looked at before anything of them is kept."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.errors import SourceError
from reconciler.plugins.source._git.depot import Depot
from reconciler.plugins.source._git.guard import Guard, Limits, PackError
from reconciler.plugins.source._git.objects import object_id, parse_commit, parse_tag, parse_tree
from reconciler.plugins.source._git.versions import tag_versions

A, B = "a" * 40, "b" * 40
WHO = "Ada <ada@example.org> 1795759200 +0100"
COMMIT = f"tree {A}\nparent {B}\nauthor {WHO}\ncommitter {WHO}\n".encode()
SIGNATURE = b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"
SIGNED = COMMIT + b"gpgsig " + SIGNATURE.replace(b"\n", b"\n ") + b"\nencoding UTF-8\n\nRules\n\ngpgsig of words\n"
TAG = f"object {A}\ntype commit\ntag v1.0\ntagger {WHO}\n\nWhat is new\n".encode()
LIMITS = Limits(1000, 5000)


def test_the_signature_of_a_commit_is_of_all_its_other_bytes_as_they_are() -> None:
    commit = parse_commit(SIGNED)
    assert commit.signature == SIGNATURE
    assert commit.payload == COMMIT + b"encoding UTF-8\n\nRules\n\ngpgsig of words\n"
    assert (commit.tree, commit.parents, f"{commit.made:%F %R}") == (A, (B,), "2026-11-27 06:00")


@pytest.mark.parametrize(
    "content",
    [
        SIGNED.replace(b"parent", f"tree {B}\nparent".encode(), 1),
        SIGNED.replace(b"encoding UTF-8", f"tree {B}".encode()),
        SIGNED.replace(b"encoding UTF-8", b"gpgsig " + SIGNATURE.replace(b"\n", b"\n ")),
        COMMIT.replace(b"author", b"author x\nauthor", 1) + b"\n",
        COMMIT.replace(b"tree a", b"tree /"),
        COMMIT.replace(b"\nparent", b"\n goes on\nparent") + b"\n",
        COMMIT.replace(b"1795759200", b"99999999999999999") + b"\n",
        COMMIT.replace(b"1795759200", b"soon") + b"\n",
        COMMIT.replace(b"parent", b"par\0ent") + b"\n",
        COMMIT[:-3],
        b"",
    ],
)
def test_a_commit_that_could_be_read_in_two_ways_or_in_none_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="a commit|the name of an object"):
        parse_commit(content)


def test_the_signature_of_a_tag_is_what_stands_at_its_end() -> None:
    words = TAG + b"-----BEGIN PGP SIGNATURE-----\nof words\n"
    tag = parse_tag(words + SIGNATURE + b"\n")
    assert (tag.name, tag.target, tag.kind, tag.payload, tag.signature) == (
        "v1.0",
        A,
        "commit",
        words,
        SIGNATURE + b"\n",
    )
    assert (parse_tag(TAG).payload, parse_tag(TAG).signature) == (TAG, b"")


@pytest.mark.parametrize("name", ["", ".", "..", ".git", ".GIT", "a/b"])
def test_a_folder_with_a_name_that_no_file_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a file"):
        parse_tree(f"100644 {name}\0".encode() + bytes(20), 40)


@pytest.mark.parametrize("content", [b"100644 a\0" + bytes(19), b"100644 a", b"9 a\0" + bytes(20), b"100644 a\0" * 9])
def test_a_folder_that_is_damaged_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="a folder of it"):
        parse_tree(content, 40)


@given(st.binary(max_size=300))
def test_whatever_an_object_has_it_is_read_or_refused(data: bytes) -> None:
    for read in (parse_commit, parse_tag, lambda content: parse_tree(content, 40)):
        try:
            read(data)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("v1.2.3", ("1.2.3",)),
        ("1.2", ("1.2",)),
        ("v2026-11-20", ("2026-11-20", "2026.11.20")),
        ("20261120", ("20261120", "2026.11.20")),
        ("2026.11.20.2", ("2026.11.20.2", "2026.11.20.2")),
    ],
)
def test_versions_are_in_the_names_of_tags(tag: str, found: tuple[str, ...]) -> None:
    assert tag_versions(tag, "v") == found


# --- packs ------------------------------------------------------------------------------------------------------------


def number(value: int) -> bytes:
    """Write a size as deltas have it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def entry(kind: int, content: bytes, *, size: int | None = None, base: bytes = b"") -> bytes:
    """Write an object of a pack; `size` is what its head says, `base` what stands between that and its bytes."""
    size = len(content) if size is None else size
    first, rest = kind << 4 | size & 15, size >> 4
    head = bytes([first | 0x80]) + number(rest) if rest else bytes([first])
    return head + base + zlib.compress(content)


def pack(*entries: bytes, count: int | None = None) -> bytes:
    body = b"PACK" + (2).to_bytes(4, "big") + (len(entries) if count is None else count).to_bytes(4, "big")
    body += b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


BLOB = entry(3, b"alert" * 20)
SMALL = number(100) + number(4) + b"\x04more"
BOMB = number(100) + number(10**9) + b"\x04more"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "breaks off in its head"),
        (b"KCAP" + pack(BLOB)[4:], "isn't a pack"),
        (pack(BLOB)[:-30], "breaks off"),
        (pack(BLOB)[:-1], "breaks off before its end"),
        (pack(BLOB) + b"!", "its last bytes aren't the digest"),
        (pack(BLOB)[:-1] + b"!", "its last bytes aren't the digest"),
        (pack(BLOB, count=2), "isn't based on an object before it|is damaged|of a kind that is none|breaks off"),
        (pack(count=2**31), "has 2147483648 objects"),
        (pack(entry(3, b"x", size=10**12)), "has an object of 1000000000000 bytes; at most 1000 are read"),
        (pack(entry(3, bytes(10**6), size=900)), "larger than its head says"),
        (pack(entry(3, b"x", size=900)), "smaller than its head says"),
        (pack(*[entry(3, bytes(900))] * 6), "has objects of more than 5000 bytes"),
        (pack(BLOB, entry(6, BOMB, base=number(len(BLOB)))), "has an object of 1000000000 bytes"),
        (pack(BLOB, entry(6, SMALL, base=number(3))), "isn't based on an object before it"),
        (pack(entry(6, SMALL, base=b"\xff\xff\xff\xff\xff\xff\x01")), "isn't based on an object before it"),
        (pack(BLOB, entry(6, b"\xff", base=number(len(BLOB)))), "has a damaged delta"),
        (pack(entry(5, b"x")), "of a kind that is none"),
        (pack(b"\xbf" + b"\xff" * 20), "of a size that is none"),
        (pack(b"\x31no zlib at all"), "is damaged"),
    ],
)
def test_a_pack_that_is_damaged_or_a_bomb_is_refused_before_it_is_read(
    tmp_path: Path, content: bytes, says: str
) -> None:
    with pytest.raises(PackError, match=says):
        Guard(content, 20, LIMITS).check()
    (tmp_path / "pack").write_bytes(content or b"?")
    with pytest.raises(SourceError):
        Depot(tmp_path / "mirror.git", LIMITS).take(tmp_path / "pack", 40)


def test_deltas_are_not_piled_up_without_end(tmp_path: Path) -> None:
    same = number(100) + number(100) + b"\x90\x64"
    step = entry(6, same, base=number(len(entry(6, same, base=number(20)))))
    first = entry(6, same, base=number(len(BLOB)))
    Guard(pack(BLOB, first, *[step] * 100), 20, Limits(1000, 10**6)).check()
    with pytest.raises(PackError, match="more than 500 deltas on each other"):
        Guard(pack(BLOB, first, *[step] * 600), 20, Limits(1000, 10**6)).check()
    del tmp_path


def test_objects_of_a_pack_are_kept_under_the_names_that_their_bytes_have(tmp_path: Path) -> None:
    made = b"alert" * 20 + b"more"
    delta = number(100) + number(104) + b"\x90\x64" + b"\x04more"
    (tmp_path / "pack").write_bytes(pack(BLOB, entry(6, delta, base=number(len(BLOB)))))
    depot = Depot(tmp_path / "mirror.git", LIMITS)
    depot.take(tmp_path / "pack", 40)
    assert depot.read(object_id("blob", b"alert" * 20, 40), "blob") == b"alert" * 20
    assert depot.read(object_id("blob", made, 40), "blob") == made
    with pytest.raises(SourceError, match="is a blob where a tree belongs"):
        depot.read(object_id("blob", made, 40), "tree")


@pytest.mark.parametrize(
    "entries",
    [
        [BLOB, entry(7, SMALL, base=bytes(20))],  # of a base that nobody has
        [BLOB, entry(6, number(99) + number(4) + b"\x04more", base=number(len(BLOB)))],  # of another base
        [BLOB, entry(6, number(100) + number(4) + b"\x90\x64", base=number(len(BLOB)))],  # makes more than it says
        [BLOB, entry(6, number(100) + number(200) + b"\xb0\xc8", base=number(len(BLOB)))],  # reads behind its base
        [BLOB, entry(6, number(100) + number(4) + b"\x00more", base=number(len(BLOB)))],
    ],
)
def test_a_delta_that_lies_is_refused(tmp_path: Path, entries: list[bytes]) -> None:
    (tmp_path / "pack").write_bytes(pack(*entries))
    with pytest.raises(SourceError, match="what came can't be read"):
        Depot(tmp_path / "mirror.git", LIMITS).take(tmp_path / "pack", 40)


GOOD = pack(BLOB, entry(6, number(100) + number(104) + b"\x90\x64\x04more", base=number(len(BLOB))))


@given(at=st.integers(0, len(GOOD) - 21), bits=st.integers(1, 255))
@example(at=11, bits=3)
def test_a_pack_with_any_byte_changed_is_refused_or_is_what_it_says(at: int, bits: int) -> None:
    content = bytearray(GOOD)
    content[at] ^= bits
    with pytest.raises(PackError):
        Guard(bytes(content), 20, LIMITS).check()
    content[-20:] = hashlib.sha1(content[:-20], usedforsecurity=False).digest()
    with TemporaryDirectory() as folder:
        (Path(folder) / "pack").write_bytes(content)
        depot = Depot(Path(folder) / "mirror.git", LIMITS)
        with suppress(SourceError):
            depot.take(Path(folder) / "pack", 40)
        kept = [path.parent.name + path.name for path in depot.folder.glob("objects/??/*")]
        assert all(depot.has(name) for name in kept)


@given(st.binary(max_size=200))
def test_whatever_a_server_calls_a_pack_is_refused(data: bytes) -> None:
    with pytest.raises(PackError):
        Guard(b"PACK\0\0\0\2\0\0\0\1" + data, 20, LIMITS).check()
