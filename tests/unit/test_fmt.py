"""One layout for all files: formatting changes no value, and nothing is left to format afterwards."""

from __future__ import annotations

import io
import stat
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler import cli
from reconciler.errors import SpecError
from reconciler.present.terminal import Terminal
from reconciler.specfile.fmt import formatted_text
from reconciler.specfile.starter import starter
from tests.unit import test_spec_edit as edits

if TYPE_CHECKING:
    from collections.abc import Callable

LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
ROOT = Path(__file__).parents[2]
FILE = Path("updoser.yaml")


def fmt(text: str) -> str:
    return formatted_text(FILE, text.encode()).after


LAYOUTS = {
    "indentation, and lists under their key": (
        """
        groups:
            all:
                clients:
                - name: a
                  labels:
                  -   x
                -   {name: b}
        """,
        """
        groups:
          all:
            clients:
              - name: a
                labels:
                  - x
              - {name: b}
        """,
    ),
    "quotes where they are needed": (
        """
        a: 'word'
        b: ["latest", "10%", "9.10", "yes", "n", "", "a: b", "two words", '{{ x }}', "*"]
        'c': {'d': "e.f/g", "h":"i"}
        "e":   'say "x"'
        """,
        """
        a: word
        b: [latest, "10%", "9.10", "yes", "n", "", "a: b", "two words", '{{ x }}', "*"]
        c: {d: e.f/g, "h":"i"}
        e:   'say "x"'
        """,
    ),
    "spaces at ends and empty lines": ("a: 1  \n\n\n\nb: 2\t\n  \n", "a: 1\n\nb: 2\n"),
    "comments and their columns": (
        """
        # top
        a:
            # of b
            b: 'x'      # one
            c: [1,      # two
                2]
        # of d
        d: 1
        """,
        """
        # top
        a:
          # of b
          b: x          # one
          c: [1,        # two
              2]
        # of d
        d: 1
        """,
    ),
    "texts of several lines": (
        """
        a:
            run: |
                if x; then
                    y
                fi


            plain: one
                two
            quoted: "a

              b"
        """,
        """
        a:
          run: |
            if x; then
                y
            fi

          plain: one
              two
          quoted: "a

            b"
        """,
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_file_gets_the_layout_of_all(case: str) -> None:
    before, after = (textwrap.dedent(text).lstrip("\n") for text in LAYOUTS[case])
    assert fmt(before) == after
    assert fmt(after) == after


def texts() -> list[str]:
    pairs = (*edits.BLOCKS.values(), *edits.PINS.values())
    return [edits.dedent(text) for pair in pairs for text in pair]


@pytest.mark.parametrize("text", dict.fromkeys(texts()))
def test_however_a_file_is_written_it_keeps_its_values_and_is_formatted_once_and_for_all(text: str) -> None:
    after = fmt(text)
    assert yaml.load(after, LOADER) == yaml.load(text, LOADER)
    assert fmt(after) == after
    assert after.count("#") == text.count("#")


WORDS = st.sampled_from(
    ["a", "word", "two words", "9.10", "yes", "1", "", "a: b", "# c", "{{ x }}", "x\ny\n", " l", "%"]
)
DATA = st.recursive(
    WORDS | st.integers(0, 99) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


@given(
    data=st.dictionaries(WORDS, DATA, min_size=1, max_size=4),
    indent=st.integers(2, 7),
    width=st.sampled_from([8, 40, 200]),
    flow=st.sampled_from([None, True, False]),
    style=st.sampled_from([None, '"', "'", "|", ">"]),
    between=st.lists(st.sampled_from(["", "", "", "# comment", "      # deep", "\n", "   "]), max_size=12),
)
def test_formatting_any_file_keeps_its_values_and_changes_nothing_the_second_time(
    data: dict[str, Any], indent: int, width: int, flow: bool | None, style: str | None, between: list[str]
) -> None:
    text = yaml.safe_dump(
        data, indent=indent, width=width, default_flow_style=flow, default_style=style, allow_unicode=True
    )
    if style not in {"|", ">"} and width == 200 and "\n\n" not in text:  # lines are values then, not parts of texts
        lines = text.splitlines()
        text = "\n".join(line for pair in zip(lines, [*between, *lines], strict=False) for line in pair if line) + "\n"
        text = text if _reads(text) == _reads("\n".join(lines)) else "\n".join(lines) + "\n"
    try:
        after = fmt(text)
    except SpecError:  # such as a key that is no text: no spec has one
        return
    assert yaml.safe_load(after) == yaml.safe_load(text)
    assert fmt(after) == after


def _reads(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def test_what_updoser_writes_itself_and_its_demo_are_formatted(tmp_path: Path) -> None:
    for text in (
        (ROOT / "updoser.yaml").read_text(),
        starter(file=tmp_path / "updoser.yaml", catalog=None, inventory=None, entries=()),
        starter(file=tmp_path / "updoser.yaml", catalog=None, inventory="list", entries=()),
    ):
        assert fmt(text) == text


def test_line_ends_and_a_byte_order_mark_stay() -> None:
    assert fmt("\ufeffa:\r\n    b: 'c'\r\n") == "\ufeffa:\r\n  b: c\r\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.run(["fmt", *map(str, arguments)], Terminal())
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_check_names_what_would_change_diff_shows_it_and_neither_writes(tmp_path: Path, run: Any) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("a: 1\n")
    bad.write_text("a: 'x'\n")
    assert run("--check", good, bad) == (1, f"{bad}\n", "")
    assert run("--check", good) == (0, "", "")
    code, out, _err = run("--diff", good, bad)
    assert (code, "-a: 'x'\n+a: x\n" in out) == (0, True)
    assert run("--check", "--diff", bad)[0] == 1
    assert bad.read_text() == "a: 'x'\n"


def test_formatting_writes_names_what_changed_and_keeps_the_mode(tmp_path: Path, run: Any) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: 'x'\n")
    file.chmod(0o640)
    assert run(file) == (0, f"{file}\n", "")
    assert file.read_text() == "a: x\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert run(file) == (0, "", "")


def test_nothing_is_written_where_one_file_is_no_yaml(tmp_path: Path, run: Any) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("a: 'x'\n")
    bad.write_text("a: {{ x }}\n")
    code, _out, err = run(good, bad)
    assert (code, f"{bad}:1:4: a template needs quotes" in err) == (65, True)
    assert good.read_text() == "a: 'x'\n"
    code, _out, err = run(good, tmp_path / "none.yaml")
    assert (code, "can't be read" in err) == (65, True)
    assert run(tmp_path)[0] == 1


def test_a_dash_formats_standard_input(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a:   'x'\n")))
    assert run("-") == (0, "a:   x\n", "")
