"""`SHA256SUMS` in every form that `sha256sum -c` takes, and what it takes is read as it reads it."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.plugins.source._folder.sums import parse_sums

DIGEST = hashlib.sha256(b"alert").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


def parsed(*lines: Any, end: str = "\n") -> Any:
    return list(parse_sums(end.join(lines).encode() + end.encode()))


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([f"{DIGEST}  all.rules"], ["all.rules"]),
        ([f"{DIGEST} *all.rules"], ["all.rules"]),
        ([f"{DIGEST}  ./all.rules"], ["all.rules"]),
        ([f"{DIGEST.upper()}  all.rules"], ["all.rules"]),
        ([f"\ufeff{DIGEST}  all.rules"], ["all.rules"]),
        ([f"SHA256 (all.rules) = {DIGEST}"], ["all.rules"]),
        ([f"SHA256(all.rules)= {DIGEST.upper()}"], ["all.rules"]),
        ([f"\ufeffSHA256 (./a (b) = c.rules) = {DIGEST}"], ["a (b) = c.rules"]),
        ([f"{DIGEST} all.rules", f"{DIGEST}  led by a blank"], ["all.rules", " led by a blank"]),
        ([f"{DIGEST}   led by a blank"], [" led by a blank"]),
        (["# made by hand", "", f"  {DIGEST}  all.rules", ""], ["all.rules"]),
        ([f"\\{DIGEST}  a\\\\b\\nc"], ["a\\b\nc"]),
        ([f"\\SHA256 (a\\\\b) = {DIGEST}"], ["a\\b"]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_form_that_sha256sum_takes_gives_name_and_digest(lines: list[str], names: list[str], end: str) -> None:
    assert parsed(*lines, end=end) == [(name, DIGEST) for name in names]


@pytest.mark.parametrize(
    "line",
    [
        f"{DIGEST[:40]}  all.rules",
        f"{DIGEST}all.rules",
        f"{DIGEST}  ",
        f"SHA512 (all.rules) = {DIGEST}",
        f"SHA256 (all.rules) = {DIGEST[:40]}",
        f"\\{DIGEST}  a\\x",
        "-----BEGIN PGP SIGNED MESSAGE-----",
    ],
)
def test_a_line_that_may_be_half_of_one_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 isn't a digest and a file name"):
        parsed(f"{DIGEST}  first", line)


def test_the_two_forms_without_a_tag_are_not_mixed_as_names_could_hide_in_that() -> None:
    with pytest.raises(ValueError, match="line 2"):
        parsed(f"{DIGEST}  first", f"{DIGEST} second")


NAME = st.text(alphabet="ab .*()=\\\n#é-", min_size=1, max_size=8).filter(lambda name: name.strip(" .-") != "")


@pytest.mark.needs("sha256sum")
@settings(max_examples=15, deadline=None)
@given(
    names=st.lists(NAME, min_size=1, max_size=4, unique=True),
    form=st.sampled_from([(), ("--tag",), ("--binary",), ("--text",)]),
    upper=st.booleans(),
)
def test_what_sha256sum_writes_and_accepts_is_read_as_it_was_meant(
    names: Any, form: Any, upper: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"alert")
    program = shutil.which("sha256sum")
    written = subprocess.run([program, *form, "--", *names], cwd=folder, capture_output=True, check=True).stdout  # type: ignore[list-item]
    if upper:
        written = written.replace(DIGEST.encode(), DIGEST.upper().encode())
    (tmp_path / "sums").write_bytes(written)
    said = subprocess.run([program, "-c", "--strict", "../sums"], cwd=folder, capture_output=True, check=False)  # type: ignore[list-item]
    assert said.returncode == 0, said.stderr
    assert sorted(parse_sums(written)) == sorted((name, DIGEST) for name in names)


LINE = st.tuples(
    st.sampled_from(["", "\\", " ", "#"]),
    st.sampled_from([DIGEST, DIGEST.upper(), DIGEST[1:], f"SHA256 (a) = {DIGEST}", f"SHA256(b)={DIGEST}"]),
    st.sampled_from(["  a", " *b", " a", "   a", "  ", " b", "a", "", "\ta", "  ./a"]),
).map("".join)


@pytest.mark.needs("sha256sum")
@settings(max_examples=40, deadline=None)
@given(lines=st.lists(LINE, min_size=1, max_size=3))
def test_a_list_that_sha256sum_takes_without_a_warning_is_never_refused(lines: Any, tmp_path: Path) -> None:
    for name in ("a", "b", " a", " b"):
        (tmp_path / name).write_bytes(b"alert")
    content = "".join(f"{line}\n" for line in lines).encode()
    command = [shutil.which("sha256sum"), "-c", "--strict", "-"]
    said = subprocess.run(command, cwd=tmp_path, input=content, capture_output=True, check=False)  # type: ignore[arg-type]
    if said.returncode == 0:
        assert {digest for _name, digest in parse_sums(content)} == {DIGEST}
