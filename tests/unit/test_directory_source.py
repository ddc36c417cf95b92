"""A `directory` source offers what is whole, settled and unchanged, and says why it holds the rest back."""

import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import SourceError
from reconciler.formats.minisign import new_secret_key, prehash, sign
from reconciler.model.release import SignedBy, file_name_problem
from reconciler.plugins.source import directory
from reconciler.plugins.source._folder import release_yaml, tree
from reconciler.plugins.source.directory import Directory
from tests.fakes import describe, fake_context, make_component, make_plugin

PATTERN = make_component("virus-pattern", scheme="pattern")
RULES = make_component("rules", scheme="integer")
COMPONENTS = {component.id: component for component in (PATTERN, RULES)}


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def put(drop: Path, place: str, files: dict[str, bytes], *, sums: bool = False, facts: str | None = None) -> Path:
    """Lay a release down as a vendor's script would."""
    folder = drop / place
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if facts is not None:
        (folder / "release.yaml").write_text(facts, encoding="utf-8")
    if sums:
        listing = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
        (folder / "SHA256SUMS").write_text(listing, encoding="utf-8")
    return folder


def source(drop: Path, *, after: timedelta = timedelta(hours=1), **options: Any) -> Directory | None:
    """Make a source that looks some time from now, when all that a test wrote has settled."""
    context = fake_context(drop.parent, now=datetime.now(UTC) + after)
    return make_plugin(directory, {"path": "drop", **options}, context)


def look(drop: Path, **options: Any) -> Any:
    return source(drop, **options).releases(COMPONENTS)


def only_problem(report: Any) -> Any:
    assert report.releases == ()
    assert len(report.problems) == 1
    return report.problems[0]


def test_each_folder_of_a_version_is_a_release_with_its_files(drop: Path) -> None:
    files = {"lpt$vpn.679": b"pattern", "notes é.txt": b""}
    put(drop, "virus-pattern/16.679.00", files)
    put(drop, "rules/7", {"all.rules": b"alert"})
    report = look(drop)
    assert report.problems == ()
    assert [(release.component, release.version, release.platform) for release in report.releases] == [
        ("rules", "7", "any"),
        ("virus-pattern", "16.679.00", "any"),
    ]
    assert report.releases[1].files == tuple(describe(name, content) for name, content in sorted(files.items()))


def test_components_that_nobody_asked_for_are_not_looked_at(drop: Path) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    put(drop, "other/not-a-version", {"x": b""})
    assert [release.component for release in look(drop).releases] == ["rules"]


def test_what_could_be_a_component_and_was_not_asked_for_is_named(drop: Path) -> None:
    for folder in ("virus-patern", "Rules", ".work", "lost+found"):
        (drop / folder).mkdir()
    assert look(drop).others == ("Rules", "virus-patern")
    put(drop, "rules/1", {"a": b"1"})
    assert set(look(drop).others) == {"Rules", "virus-patern"}


def test_release_yaml_says_platform_time_and_notes_and_is_no_part_of_the_release(drop: Path) -> None:
    facts = "platform: linux-x86_64\nreleased: 2026-11-19T06:00:00Z\nnotes: 'Fewer false positives.'\n"
    put(drop, "rules/7", {"all.rules": b"alert"}, facts=facts)
    (release,) = look(drop).releases
    assert (release.platform, release.notes) == ("linux-x86_64", "Fewer false positives.")
    assert release.released == datetime(2026, 11, 19, 6, tzinfo=UTC)
    assert [file.name for file in release.files] == ["all.rules"]


def test_one_version_for_several_platforms_stands_in_folders_named_after_them(drop: Path) -> None:
    put(drop, "rules/7@linux-x86_64", {"engine": b"x86"})
    put(drop, "rules/7@linux-aarch64", {"engine": b"arm"}, facts="platform: linux-aarch64\n")
    mine = source(drop)
    releases = mine.releases(COMPONENTS).releases
    assert [release.platform for release in releases] == ["linux-aarch64", "linux-x86_64"]
    for release, content in zip(releases, (b"arm", b"x86"), strict=True):
        with mine.open(release, release.files[0]) as stream:
            assert stream.read() == content


@pytest.mark.parametrize(
    ("place", "facts", "words"),
    [
        ("rules/7@linux-x86_64", "platform: linux-aarch64\n", "says the platform linux-aarch64"),
        ("rules/7@Linux", None, "isn't a platform"),
        ("rules/v7", None, "not a version of the scheme integer"),
        ("rules/07", None, "not a version of the scheme integer"),
    ],
)
def test_a_folder_whose_name_is_not_what_it_should_be_is_held_back(
    drop: Path, place: str, facts: str | None, words: str
) -> None:
    put(drop, place, {"all.rules": b"alert"}, facts=facts)
    problem = only_problem(look(drop))
    assert problem.startswith(f"drop/{place}: ")
    assert words in problem


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("platform: x\n", "neither `any` nor `os-arch`"),
        ("platfor: any\n", "line 1: unknown key"),
        ("notes: a\nnotes: b\n", "line 2: the key notes stands twice"),
        ("notes: on\n", "put it in quotes"),
        ("notes: [a]\n", "put it in quotes"),
        ("- notes\n", "isn't a mapping"),
        ("notes: 'a\n", "isn't YAML"),
        ("notes: \x1b\n", "isn't YAML"),
        ('notes: "\\e[2J"\n', "control characters"),
        ("released: yesterday\n", "isn't a time"),
        ("released: '0001-01-01T00:00:00+23:59'\n", "isn't of the years"),
        ("released: '9999-12-31T23:59:59-23:59'\n", "isn't of the years"),
        ("[" * 60_000, "isn't a mapping"),
        ("notes: " + "[" * 60_000, "wants a text"),
        ("notes: " + "{a: " * 15_000, "wants a text"),
        ("notes: a\n---\nnotes: b\n", "second document"),
        ("released: 2026-11-19T06:00:00\n", "no time zone"),
        ("released: '2026-11-19'\n", "no time zone"),
        ("format_version: '2.0'\n", "only 1 is known"),
        ("a: &a [x]\nb: *a\n", "unknown key"),
        (f"notes: {'x' * 10_001}\n", "longer than"),
        (f"notes: {'x' * 70_000}\n", "larger than"),
    ],
)
def test_a_release_yaml_that_cannot_be_believed_holds_the_release_back(drop: Path, facts: str, words: str) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"}, facts=facts)
    problem = only_problem(look(drop))
    assert problem.startswith("drop/rules/7/release.yaml: ")
    assert words in problem
    assert problem.isprintable()


@given(
    content=st.binary(max_size=200)
    | st.text(alphabet="abnotesplfrm: \n'\"[]{}&*!-#|>%@,0.\t", max_size=80).map(str.encode)
)
def test_any_bytes_are_a_release_yaml_or_refused(content: bytes) -> None:
    try:
        facts = release_yaml.parse_release_facts(content)
    except ValueError:
        return
    assert len(facts.notes) <= release_yaml.MAX_NOTES


def test_a_release_that_is_still_being_copied_is_offered_once_it_settled(drop: Path) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    assert "drop/rules/7: not settled yet" in only_problem(look(drop, after=timedelta(0), settle="1m"))
    assert look(drop, after=timedelta(minutes=2), settle="1m").releases


def test_a_file_with_a_time_in_the_future_does_not_hold_a_release_back_for_ever(drop: Path) -> None:
    folder = put(drop, "rules/7", {"all.rules": b"alert"})
    os.utime(folder / "all.rules", (2**33, 2**33))
    assert look(drop).releases


def test_a_release_that_a_clock_ahead_wrote_settles_by_the_time_that_it_was_first_seen(drop: Path) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    for hours, settled in ((0, False), (1, False), (25, True)):
        report = look(drop, after=timedelta(days=-4000, hours=hours), settle="24h")
        assert bool(report.releases) is settled
        assert settled or "the clock that wrote it is ahead" in only_problem(report)


def test_without_a_time_to_settle_a_release_is_there_at_once(drop: Path) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    assert look(drop, after=timedelta(0), settle="0s").releases


def test_a_release_with_checksums_that_match_needs_no_time_to_settle(drop: Path) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"}, sums=True)
    (release,) = look(drop, after=timedelta(0), settle="1h").releases
    assert [file.name for file in release.files] == ["all.rules"]


def test_a_release_without_the_checksums_that_complete_it_is_not_there_yet(drop: Path) -> None:
    folder = put(drop, "rules/7", {"all.rules": b"alert"})
    problem = only_problem(look(drop, complete_when="SHA256SUMS"))
    assert problem == "drop/rules/7: not complete yet: it has no SHA256SUMS"
    digest = hashlib.sha256(b"alert").hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest} *./all.rules\n", encoding="utf-8")
    assert look(drop, complete_when="SHA256SUMS").releases


@pytest.mark.parametrize(
    ("sums", "words"),
    [
        (f"{'0' * 64}  all.rules\n", "all.rules isn't what SHA256SUMS says"),
        ("", "doesn't list all.rules"),
        (f"{hashlib.sha256(b'alert').hexdigest()}all.rules\n", "SHA256SUMS: line 1 isn't a digest"),
        (f"{'0' * 64}  all.rules\n{hashlib.sha256(b'alert').hexdigest()}  all.rules\n", "all.rules isn't what"),
        (f"{'0' * 64}  other.rules\n", "doesn't list all.rules"),
        (f"{hashlib.sha256(b'alert').hexdigest()}  all.rules\n{'0' * 64}  zz\n", "lists 'zz', which isn't there"),
    ],
)
def test_a_release_that_contradicts_its_checksums_is_held_back(drop: Path, sums: str, words: str) -> None:
    folder = put(drop, "rules/7", {"all.rules": b"alert"})
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
    assert words in only_problem(look(drop))


@pytest.mark.parametrize("line", ["SHA256 (all.rules) = {}", "\ufeff{}  all.rules\r"], ids=["tagged", "from Windows"])
def test_checksums_in_another_form_that_sha256sum_takes_complete_a_release(drop: Path, line: str) -> None:
    folder = put(drop, "rules/7", {"all.rules": b"alert"})
    sums = line.format(hashlib.sha256(b"alert").hexdigest().upper())
    (folder / "SHA256SUMS").write_bytes(f"{sums}\n".encode())
    assert look(drop, complete_when="SHA256SUMS").releases


@pytest.mark.parametrize("place", ["rules/7/secret", "rules/7", "rules"])
def test_a_link_that_leads_out_of_the_folder_is_refused(drop: Path, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    put(outside, "7", {"secret": b"secret"})
    link = drop / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to({"rules/7/secret": outside / "7/secret", "rules/7": outside / "7", "rules": outside}[place])
    assert f"drop/{place}: it is a link that leads out of drop" in only_problem(look(drop))


def test_links_within_the_folder_are_followed(drop: Path) -> None:
    put(drop, "shared", {"all.rules": b"alert"})
    folder = put(drop, "rules/7", {})
    (folder / "all.rules").symlink_to("../../shared/all.rules")
    (drop / "rules/8").symlink_to("7")
    mine = source(drop)
    releases = mine.releases(COMPONENTS).releases
    assert [release.version for release in releases] == ["7", "8"]
    with mine.open(releases[1], releases[1].files[0]) as stream:
        assert stream.read() == b"alert"


def test_a_link_in_a_circle_or_to_nothing_is_refused(drop: Path) -> None:
    for version, target in (("7", "a"), ("8", "gone")):
        (put(drop, f"rules/{version}", {}) / "a").symlink_to(target)
    report = look(drop)
    assert report.releases == ()
    assert [problem.partition(": ")[0] for problem in report.problems] == ["drop/rules/7/a", "drop/rules/8/a"]


def test_special_files_and_folders_are_refused_and_nobody_waits_for_them(drop: Any) -> None:
    os.mkfifo(put(drop, "rules/7", {}) / "pipe")
    put(drop, "rules/8/folder", {"a": b""})
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(put(drop, "rules/9", {}))
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        report = look(drop)
    assert report.releases == ()
    assert report.problems == (
        "drop/rules/7/pipe: it is a special file; a release holds files only",
        "drop/rules/8/folder: it is a folder; a release holds files only",
        "drop/rules/9/socket: it is a special file; a release holds files only",
    )


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Act as somebody who isn't root: root can read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_or_folder_is_named() -> None:
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o777)
        drop = Path(base) / "drop"
        (put(drop, "rules/7", {"all.rules": b"alert"}) / "all.rules").chmod(0)
        put(drop, "virus-pattern/16.679.00", {"x": b""}).chmod(0)
        with ordinary_user():
            report = look(drop)
        (drop / "virus-pattern/16.679.00").chmod(0o755)
    assert report.releases == ()
    assert report.problems == (
        "drop/rules/7/all.rules: permission denied",
        "drop/virus-pattern/16.679.00: permission denied",
    )


@pytest.mark.parametrize("name", ["-rf", ".hidden", "a\nb", "back\\slash", "current", b"\xff", "x\x1b[2J"])
def test_a_file_name_that_must_not_reach_a_client_holds_the_release_back(drop: Path, name: bytes | str) -> None:
    (put(drop, "rules/7", {"all.rules": b"alert"}) / os.fsdecode(name)).touch()
    problem = only_problem(look(drop))
    assert problem.startswith("drop/rules/7: ")
    assert problem.isprintable()


def test_a_release_without_files_and_a_file_in_place_of_a_folder_are_refused(drop: Path) -> None:
    put(drop, "rules/7", {}, facts="notes: nothing in it\n")
    put(drop, "virus-pattern", {"lpt$vpn.679": b"pattern"})
    assert look(drop).problems == (
        "drop/rules/7: it has no files",
        "drop/virus-pattern/lpt$vpn.679: a file stands where the folder of a version belongs",
    )


def test_a_release_with_more_files_or_bytes_than_a_release_may_have_is_refused(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(drop, "rules/7", {str(number): b"" for number in range(1, 6)})
    put(drop, "rules/8", {"big": b"x" * 101})
    monkeypatch.setattr(directory, "MAX_FILES", 2)
    monkeypatch.setattr(directory, "MAX_SIZE", 100)
    report = look(drop)
    assert report.problems == (
        "drop/rules/7: it has more than 4 entries",
        "drop/rules/8: its files have more than 100 bytes",
    )


def test_work_in_progress_is_passed_over(drop: Path) -> None:
    put(drop, "rules/.7.upload", {"all.rules": b"al"})
    put(drop, "rules/incrementals/.6..7.upload", {"all.rules.zstd": b"delta"})
    assert look(drop) == directory.SourceReport("drop")


def test_a_bad_release_never_hides_the_good_ones(drop: Path) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    put(drop, "rules/8", {"-rf": b""})
    put(drop, "rules/9", {"all.rules": b"alert again"})
    report = look(drop)
    assert [release.version for release in report.releases] == ["7", "9"]
    assert len(report.problems) == 1


def test_what_is_offered_is_what_is_there_now(drop: Path) -> None:
    folder = put(drop, "rules/7", {"all.rules": b"aler"})
    assert look(drop).releases[0].files == (describe("all.rules", b"aler"),)
    (folder / "all.rules").write_bytes(b"alert")
    assert look(drop).releases[0].files == (describe("all.rules", b"alert"),)


def test_bytes_that_change_behind_an_equal_size_and_time_are_noticed(drop: Path) -> None:
    file = put(drop, "rules/7", {"all.rules": b"alert"}) / "all.rules"
    before = file.stat()
    assert look(drop).releases
    file.write_bytes(b"other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(drop).releases[0].files == (describe("all.rules", b"other"),)


def test_files_that_did_not_change_are_not_read_again(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    first = look(drop)
    monkeypatch.setattr(tree.Tree, "sha256", lambda *_: pytest.fail("the file was read again"))
    assert look(drop) == first


def test_the_digest_of_a_file_that_changed_a_moment_ago_is_not_remembered(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    first = look(drop, after=timedelta(0), settle="0s")
    reads = []
    read = tree.Tree.sha256
    monkeypatch.setattr(tree.Tree, "sha256", lambda *args: reads.append(args) or read(*args))  # type: ignore[func-returns-value, redundant-expr]
    assert look(drop) == first
    assert len(reads) == 1


def test_a_release_that_changes_while_it_is_read_is_not_settled(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(drop, "rules/7", {"a": b"alert"})
    read = tree.Tree.sha256

    def read_while_more_comes(*args: Any) -> Any:
        digest = read(*args)
        (folder / "b").write_bytes(b"more")
        return digest

    monkeypatch.setattr(tree.Tree, "sha256", read_while_more_comes)
    assert only_problem(look(drop)) == "drop/rules/7: not settled yet: it changed while it was read"


def test_a_file_that_grew_since_it_was_listed_is_not_settled(drop: Path) -> None:
    (put(drop, "rules/7", {"a": b"alert"}))
    drop_tree = tree.Tree(drop, "drop")
    stamp = drop_tree.folder("rules/7", 10)["a"]
    assert drop_tree.sha256("rules/7/a", stamp) == hashlib.sha256(b"alert").hexdigest()
    with (drop / "rules/7/a").open("ab") as stream:
        stream.write(b"!")
    assert drop_tree.sha256("rules/7/a", stamp) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"format": 1, "hashed": []}',
        b'{"format": 1, "hashed": {"rules/7/all.rules": [1, 2, 3, "4", "x"]}}',
        b'{"format": 1, "hashed": {"rules/7/all.rules": [1, 2, 3, 4, "x"]}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_memory_is_made_again(drop: Path, content: bytes) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    first = look(drop)
    (memory,) = (drop.parent / "work").iterdir()
    good = json.loads(memory.read_bytes())
    memory.write_bytes(content)
    assert look(drop) == first
    assert json.loads(memory.read_bytes()) == good


def test_a_memory_that_cannot_be_written_only_costs_time(drop: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    mine = source(drop)
    (drop.parent / "work").rmdir()
    assert mine.releases(COMPONENTS).releases
    assert "can't be written" in caplog.text


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"")], ids=["missing", "file"])
def test_a_source_whose_folder_is_no_folder_is_an_error_that_names_it(tmp_path: Path, make: Callable[..., Any]) -> None:
    make(tmp_path / "drop")
    with pytest.raises(SourceError, match="drop"):
        look(tmp_path / "drop")


def test_a_malformed_time_to_settle_is_an_error_that_names_it(drop: Path) -> None:
    with pytest.raises(SourceError, match="settle"):
        source(drop, settle="soon")


@pytest.mark.parametrize("swapped", ["rules/7/all.rules", "rules/7"])
def test_what_is_swapped_for_a_link_after_it_was_listed_is_not_opened(drop: Path, tmp_path: Path, swapped: str) -> None:
    put(drop, "rules/7", {"all.rules": b"alert"})
    outside = put(tmp_path, "outside", {"all.rules": b"secret"})
    mine = source(drop)
    (release,) = mine.releases(COMPONENTS).releases
    (drop / swapped).rename(tmp_path / "moved")
    (drop / swapped).symlink_to(outside / "all.rules" if swapped.endswith("rules") else outside)
    with pytest.raises(SourceError, match="leads out"), mine.open(release, release.files[0]):
        pass


NAMES = st.sampled_from(
    [
        "7",
        "8",
        "16.679.00",
        "release.yaml",
        "SHA256SUMS",
        "lpt$vpn.679",
        "a b",
        "-x",
        ".x",
        "current",
        "é",
        "x\n",
        "x@y",
    ]
)
NODES = st.recursive(
    st.one_of(
        st.binary(max_size=20).map(lambda content: ("file", content)),
        st.sampled_from(["..", "../..", "/etc/hostname", "7", "nowhere", "."]).map(lambda target: ("link", target)),
        st.just(("fifo", None)),
    ),
    lambda children: st.dictionaries(NAMES, children, max_size=4).map(lambda entries: ("folder", entries)),
    max_leaves=12,
)


def plant(path: Path, node: tuple[Any, ...]) -> None:
    kind, value = node
    if kind == "file":
        path.write_bytes(value)
    elif kind == "link":
        path.symlink_to(value)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
        for name, child in value.items():
            plant(path / name, child)


@settings(max_examples=60, deadline=None)
@given(tree=st.dictionaries(st.sampled_from(["rules", "virus-pattern", "other"]), NODES, max_size=3))
def test_whatever_lies_in_the_folder_only_what_is_whole_is_offered(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as base:
        drop = Path(base) / "drop"
        plant(drop, ("folder", tree))
        mine = source(drop)
        report = mine.releases(COMPONENTS)
        assert all(problem.isprintable() for problem in report.problems)
        for release in report.releases:
            assert COMPONENTS[release.component].scheme.accepts(release.version)
            for file in release.files:
                assert file_name_problem(file.name) == ""
                with mine.open(release, file) as stream:
                    assert describe(file.name, stream.read()) == file


# --- signed folders ---------------------------------------------------------------------------------------------------

KEY = new_secret_key()
VERIFY = [{"minisign": {"key": "vendor.pub"}}]


def signed(drop: Path, place: str = "rules/7", comment: str = "file:SHA256SUMS", **fields: Any) -> Path:
    """Lay a release down whose SHA256SUMS is signed."""
    (drop.parent / "vendor.pub").write_text(KEY.public.text)
    folder = put(drop, place, {"all.rules": b"alert"}, sums=True, **fields)
    sign_sums(folder, comment)
    return folder


def sign_sums(folder: Path, comment: str = "file:SHA256SUMS", *, name: str = "SHA256SUMS") -> None:
    content = (folder / name).read_bytes()
    (folder / f"{name}.minisig").write_bytes(sign(KEY, prehash(iter([content])), trusted=comment))


def test_a_release_whose_sums_are_signed_says_by_whom_and_its_signature_is_none_of_its_files(drop: Path) -> None:
    signed(drop, comment="file:SHA256SUMS version:7 component:rules")
    (release,) = look(drop, verify=VERIFY).releases
    assert release.signed == SignedBy(scheme="minisign", keys=(KEY.public.name,))
    assert [file.name for file in release.files] == ["all.rules"]
    (key,) = source(drop, verify=VERIFY).trusted()
    assert (key.place, key.fingerprint) == ("vendor.pub", KEY.public.name)
    (bare,) = look(drop).releases
    assert (bare.digest, bare.signed) == (release.digest, None)


@pytest.mark.parametrize("comment", ["file:SHA256SUMS version:6", "component:engine", "file:other"])
def test_a_signed_release_under_another_name_than_its_signature_has_is_refused(drop: Path, comment: str) -> None:
    signed(drop, comment=comment)
    report = look(drop, verify=VERIFY)
    assert report.releases == ()
    assert "good for something else: it was made for the " in report.problems[0]


def test_a_release_that_was_changed_with_its_sums_is_refused(drop: Path) -> None:
    folder = signed(drop)
    (folder / "all.rules").write_bytes(b"evil")
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(b'evil').hexdigest()}  all.rules\n")
    report = look(drop, verify=VERIFY)
    assert report.releases == ()
    assert f"isn't what the key {KEY.public.name} signed" in report.problems[0]
    assert len(look(drop).releases) == 1


def test_a_release_without_sums_or_signature_waits_while_it_is_young_and_is_refused_then(drop: Path) -> None:
    folder = signed(drop)
    (folder / "SHA256SUMS.minisig").unlink()
    young = source(drop, after=timedelta(), verify=VERIFY).releases(COMPONENTS)
    assert (young.releases, len(young.harmless)) == ((), 1)
    late = look(drop, verify=VERIFY)
    assert (late.releases, late.harmless) == ((), ())
    assert "SHA256SUMS.minisig isn't there" in late.problems[0]
    (folder / "SHA256SUMS").unlink()
    assert "it has no SHA256SUMS" in look(drop, verify=VERIFY).problems[0]


def test_what_is_said_of_a_signed_release_counts_only_where_the_sums_list_it(drop: Path) -> None:
    facts = 'released: "2026-11-01T00:00:00Z"\nnotes: Trust me.\n'
    folder = signed(drop, facts=facts)
    (release,) = look(drop, verify=VERIFY).releases
    assert (release.released, release.notes) == (None, "")
    with (folder / "SHA256SUMS").open("a") as sums:
        sums.write(f"{hashlib.sha256(facts.encode()).hexdigest()}  release.yaml\n")
    sign_sums(folder)
    (release,) = look(drop, verify=VERIFY).releases
    assert (release.released, release.notes) == (datetime(2026, 11, 1, tzinfo=UTC), "Trust me.")
    (folder / "release.yaml").write_text("notes: Other words.\n")
    assert "release.yaml isn't what SHA256SUMS says" in look(drop, verify=VERIFY).problems[0]


def test_what_is_said_of_a_release_counts_where_a_second_listing_of_it_is_signed_too(drop: Path) -> None:
    facts = 'released: "2026-11-01T00:00:00Z"\nnotes: Trust me.\n'
    folder = signed(drop, facts=facts)
    (listing, sums, said) = (folder / name for name in ("SHA256SUMS.release", "SHA256SUMS", "release.yaml"))
    both = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in (sums, said))

    def notes() -> str:
        (release,) = look(drop, verify=VERIFY).releases
        return str(release.notes)

    listing.write_text(both)
    assert notes() == "", "the listing isn't signed"
    sign_sums(folder, "file:SHA256SUMS", name=listing.name)
    assert notes() == "", "the signature is for another file"
    sign_sums(folder, "file:SHA256SUMS.release", name=listing.name)
    assert notes() == "Trust me."
    said.write_text("notes: Other words.\n")
    assert notes() == ""
    said.write_text(facts)
    listing.write_text(both.replace(both[:64], "0" * 64))
    sign_sums(folder, "file:SHA256SUMS.release", name=listing.name)
    assert notes() == "", "it was made for other files"
    listing.write_text("nonsense\n")
    assert notes() == ""


def test_a_platform_that_nobody_signed_is_refused(drop: Path) -> None:
    signed(drop, facts="platform: linux-x86_64\n")
    assert (
        "says the platform linux-x86_64, and SHA256SUMS, which is verified, doesn't list it"
        in look(drop, verify=VERIFY).problems[0]
    )
    signed(drop, "rules/8@linux-x86_64", facts="platform: linux-x86_64\n")
    assert [release.platform for release in look(drop, verify=VERIFY).releases] == ["linux-x86_64"]


def test_where_a_digest_is_all_that_is_asked_nobody_is_said_to_have_signed(drop: Path) -> None:
    folder = put(drop, "rules/7", {"all.rules": b"alert"}, sums=True)
    (folder / "SHA256SUMS.sha256").write_text(hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest())
    (release,) = look(drop, verify=[{"sha256": {"file": "{name}.sha256"}}]).releases
    assert release.signed is None


@pytest.mark.parametrize("reference", ["../../../vendor.pub", "/etc/passwd", "https://vendor.example/x", "."])
def test_a_signature_is_looked_for_in_the_releases_folder_only(drop: Path, reference: str) -> None:
    signed(drop)
    report = look(drop, verify=[{"minisign": {"key": "vendor.pub", "signature": reference}}])
    assert f"{reference} isn't there" in report.problems[0]
