"""Blocking and pinning a version in the user's file: the smallest change, nothing else touched, or a refusal."""

import os
import stat
import textwrap
from itertools import takewhile
from operator import eq
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import RefusedError, SpecError, UpdoserError, UsageError
from reconciler.specfile.edit import Edit, block_version, pin_version, write
from reconciler.specfile.load import load_spec

ID = "virus-pattern"
VERSION = "16.677.00"
ENTRY = '{version: "16.677.00", reason: "slow"}'
OLD = '{version: "16.675.00", reason: "old"}'


@pytest.fixture
def file(tmp_path: Path) -> Any:
    return tmp_path / "updoser.yaml"


def put(file: Any, text: str) -> Any:
    file.write_bytes(text.encode())
    return file


def block(file: Any, version: Any = VERSION, reason: str = "slow") -> Any:
    return block_version(file, ID, version, reason)


def pin(file: Any, version: Any = VERSION) -> Any:
    return pin_version(file, ID, version)


def dedent(text: str) -> str:
    return textwrap.dedent(text).removeprefix("\n").replace("ENTRY", ENTRY).replace("OLD", OLD)


# --- before and after -----------------------------------------------------------------------------------------------

BLOCKS = {
    "an empty file": (
        "",
        """
        components:
          "*": {version: latest}
          virus-pattern:
            block:
              - ENTRY
        """,
    ),
    "only comments": (
        """
        # nothing yet
        """,
        """
        # nothing yet
        components:
          "*": {version: latest}
          virus-pattern:
            block:
              - ENTRY
        """,
    ),
    "no components: the others stay managed": (
        """
        ---
        version: 1
        vars:
            site: berlin  # the site

        groups:
            g: {x: [1,
              2]}
        # the end
        """,
        """
        ---
        version: 1
        vars:
            site: berlin  # the site

        groups:
            g: {x: [1,
              2]}

        components:
            "*": {version: latest}
            virus-pattern:
                block:
                    - ENTRY
        # the end
        """,
    ),
    "a document that is ended": (
        "version: 1\n...\n",
        'version: 1\ncomponents:\n  "*": {version: latest}\n  virus-pattern:\n    block:\n      - ENTRY\n...\n',
    ),
    "nothing but a head": (
        "--- # head\n",
        '--- # head\ncomponents:\n  "*": {version: latest}\n  virus-pattern:\n    block:\n      - ENTRY\n',
    ),
    "a file in one line": (
        "{version: 1}\n",
        '{version: 1, components: {"*": {version: latest}, virus-pattern: {block: [ENTRY]}}}\n',
    ),
    "components without a value": (
        """
        components:  # none yet
        version: 1
        """,
        """
        components:  # none yet
          "*": {version: latest}
          virus-pattern:
            block:
              - ENTRY
        version: 1
        """,
    ),
    "managed by the star alone": (
        """
        components:
          "*": {version: latest}   # all
          # engines follow

        groups: {}
        """,
        """
        components:
          "*": {version: latest}   # all
          virus-pattern:
            block:
              - ENTRY
          # engines follow

        groups: {}
        """,
    ),
    "managed by a star in one line": (
        'components: {"*": {version: latest}}  # all\n',
        'components: {"*": {version: latest}, virus-pattern: {block: [ENTRY]}}  # all\n',
    ),
    "what the star blocks stays blocked": (
        """
        components:
          "*": {block: [OLD]}
        """,
        """
        components:
          "*": {block: [OLD]}
          virus-pattern:
            block:
              - OLD
              - ENTRY
        """,
    ),
    "an entry without a value, and tabs in its comment": (
        "components:\n  virus-pattern:\t# 'a'\t{b\n  # two\n  x: {}\n",
        "components:\n  virus-pattern:\t# 'a'\t{b\n    block:\n      - ENTRY\n  # two\n  x: {}\n",
    ),
    "an entry that is null": (
        "components:\n  virus-pattern: ~  # c\n",
        "components:\n  virus-pattern: {block: [ENTRY]}  # c\n",
    ),
    "an entry without a value in one line": (
        "components: {virus-pattern: , x: {}}\n",
        "components: {virus-pattern: {block: [ENTRY]} , x: {}}\n",
    ),
    "an entry that is nothing but its name": (
        "components: {virus-pattern}\n",
        "components: {virus-pattern: {block: [ENTRY]}}\n",
    ),
    "an anchor that nobody uses": (
        "components:\n  virus-pattern: &vp\n  x: {}\n",
        "components:\n  virus-pattern: &vp {block: [ENTRY]}\n  x: {}\n",
    ),
    "an entry in one line": (
        "components:\n  virus-pattern: { version: latest }  # c\n",
        "components:\n  virus-pattern: { version: latest, block: [ENTRY] }  # c\n",
    ),
    "an empty entry": (
        "components:\n  virus-pattern: {}  # c\n",
        "components:\n  virus-pattern: {block: [ENTRY]}  # c\n",
    ),
    "an empty entry with a comment inside": (
        "components:\n  virus-pattern: {# {\n  }\n",
        "components:\n  virus-pattern: {block: [ENTRY] # {\n  }\n",
    ),
    "an entry in one line that takes some: the last comma stays": (
        """
        components:
          virus-pattern: {
            version: latest,  # newest
          }  # end
        """,
        """
        components:
          virus-pattern: {
            version: latest, block: [ENTRY],  # newest
          }  # end
        """,
    ),
    "an entry in lines": (
        """
        components:
            "virus-pattern":     # quoted
                version: latest  # newest

                # block: []
            x: {}
        """,
        """
        components:
            "virus-pattern":     # quoted
                version: latest  # newest
                block:
                    - ENTRY

                # block: []
            x: {}
        """,
    ),
    "an entry whose last value has lines of its own": (
        """
        components:
          'virus-pattern':
            hooks: |
              # a
              b

          x: {}
        """,
        """
        components:
          'virus-pattern':
            hooks: |
              # a
              b
            block:
              - ENTRY

          x: {}
        """,
    ),
    "an entry whose last value keeps its blank lines": (
        "components:\n  virus-pattern:\n    hooks: |+\n      a\n\n  x: {}\n",
        "components:\n  virus-pattern:\n    hooks: |+\n      a\n\n    block:\n      - ENTRY\n  x: {}\n",
    ),
    "an entry whose last value is an alias": (
        "components:\n  x: &x {version: latest}\n  virus-pattern: {install: *x}\n",
        "components:\n  x: &x {version: latest}\n  virus-pattern: {install: *x, block: [ENTRY]}\n",
    ),
    "an entry with a merge key that says nothing of it": (
        "components:\n  x: &x {version: latest}\n  virus-pattern:\n    <<: *x\n",
        "components:\n  x: &x {version: latest}\n  virus-pattern:\n    <<: *x\n    block:\n      - ENTRY\n",
    ),
    "a list in lines": (
        """
        components:
          virus-pattern:
            block:
              - OLD  # long ago
              # more
            version: latest
        """,
        """
        components:
          virus-pattern:
            block:
              - OLD  # long ago
              - ENTRY
              # more
            version: latest
        """,
    ),
    "a list in lines that isn't indented, with entries in lines": (
        """
        components:
          virus-pattern:
            block: &b  # c
            - version: "1"
              reason: >-
                one
                two

            version: latest
        """,
        """
        components:
          virus-pattern:
            block: &b  # c
            - version: "1"
              reason: >-
                one
                two
            - ENTRY

            version: latest
        """,
    ),
    "a list whose entries begin below their dash": (
        "components:\n  virus-pattern:\n    block:\n      - # long ago\n        version: '1'\n",
        "components:\n  virus-pattern:\n    block:\n      - # long ago\n        version: '1'\n      - ENTRY\n",
    ),
    "components that are indented otherwise than the rest": (
        """
        vars:
            v: "1"
        components:
          "*": {}
        """,
        """
        vars:
            v: "1"
        components:
          "*": {}
          virus-pattern:
            block:
              - ENTRY
        """,
    ),
    "a list in one line": (
        "components:\n  virus-pattern:\n    block: [OLD]  # c\n",
        "components:\n  virus-pattern:\n    block: [OLD, ENTRY]  # c\n",
    ),
    "an empty list": (
        "components: {virus-pattern: {block: [ ]}}\n",
        "components: {virus-pattern: {block: [ENTRY ]}}\n",
    ),
    "a list without a value": (
        "components:\n  virus-pattern:\n    block: # c\n    version: latest\n",
        "components:\n  virus-pattern:\n    block: # c\n      - ENTRY\n    version: latest\n",
    ),
    "a list that is null": (
        "components:\n  virus-pattern:\n    block: null # c\n",
        "components:\n  virus-pattern:\n    block: [ENTRY] # c\n",
    ),
    "templates stay": (
        'vars: {v: "1"}\ncomponents:\n  virus-pattern:\n    block: [{version: "{{ v }}", reason: "{{ v }}"}]\n',
        'vars: {v: "1"}\ncomponents:\n  virus-pattern:\n    block: [{version: "{{ v }}", reason: "{{ v }}"}, ENTRY]\n',
    ),
    "no newline at the end": (
        "components:\n  virus-pattern:\n    version: latest",
        "components:\n  virus-pattern:\n    version: latest\n    block:\n      - ENTRY",
    ),
    "no newline at the end of comments": (
        "# é",
        '# é\ncomponents:\n  "*": {version: latest}\n  virus-pattern:\n    block:\n      - ENTRY\n',
    ),
    "line ends of Windows": (
        "components:\r\n  virus-pattern:\r\n    version: latest  # c\r\n  x: {}\r\n",
        "components:\r\n  virus-pattern:\r\n    version: latest  # c\r\n    block:\r\n      - ENTRY\r\n  x: {}\r\n",
    ),
    "a byte order mark, and characters of four bytes": (
        "\ufeff# 🦠\ncomponents: {virus-pattern: {version: latest}} # 🦠\n",
        "\ufeff# 🦠\ncomponents: {virus-pattern: {version: latest, block: [ENTRY]}} # 🦠\n",
    ),
}

PINS = {
    "no components": (
        "version: 1\n",
        'version: 1\ncomponents:\n  "*": {version: latest}\n  virus-pattern: {version: "16.677.00"}\n',
    ),
    "managed by the star alone": (
        'components:\n  "*": {version: latest}\n# c\n',
        'components:\n  "*": {version: latest}\n  virus-pattern: {version: "16.677.00"}\n# c\n',
    ),
    "an entry without a value": (
        "components:\n  virus-pattern:  # c\n",
        'components:\n  virus-pattern: {version: "16.677.00"}  # c\n',
    ),
    "an entry in lines without a version": (
        "components:\n  virus-pattern:\n    min_age: 2h  # c\n  x: {}\n",
        'components:\n  virus-pattern:\n    min_age: 2h  # c\n    version: "16.677.00"\n  x: {}\n',
    ),
    "a version in lines": (
        "components:\n  virus-pattern:\n    version: latest\t# c\n    min_age: 2h\n",
        'components:\n  virus-pattern:\n    version: "16.677.00"\t# c\n    min_age: 2h\n',
    ),
    "a version in one line": (
        "components: {virus-pattern: {version: 'latest-1',min_age: 2h}}  # c\n",
        'components: {virus-pattern: {version: "16.677.00",min_age: 2h}}  # c\n',
    ),
    "a version without quotes that is read as a number": (
        "components: {virus-pattern: {version: 9.10}}\n",
        'components: {virus-pattern: {version: "16.677.00"}}\n',
    ),
    "a version without a value": (
        "components:\n  virus-pattern:\n    version:  # c\n    min_age: 2h\n",
        'components:\n  virus-pattern:\n    version: "16.677.00"  # c\n    min_age: 2h\n',
    ),
    "a version with an anchor that nobody uses": (
        "components:\n  virus-pattern:\n    version: &v !!str latest\n",
        'components:\n  virus-pattern:\n    version: &v !!str "16.677.00"\n',
    ),
    "a version from a template": (
        'components:\n  virus-pattern: {version: "{{ v }}"}\n',
        'components:\n  virus-pattern: {version: "16.677.00"}\n',
    ),
    "a block list beside it": (
        "components:\n  virus-pattern:\n    block:\n      - OLD\n",
        'components:\n  virus-pattern:\n    block:\n      - OLD\n    version: "16.677.00"\n',
    ),
    "line ends of Windows and no newline at the end": (
        "components:\r\n  virus-pattern:\r\n    version: latest",
        'components:\r\n  virus-pattern:\r\n    version: "16.677.00"',
    ),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_a_block_is_written_into(file: Any, case: Any) -> None:
    before, after = map(dedent, BLOCKS[case])
    edit = block(put(file, before))
    assert edit == Edit(file, before, after)
    assert block(put(file, after)) == Edit(file, after, after)


@pytest.mark.parametrize("case", PINS)
def test_a_pin_is_written_into(file: Any, case: Any) -> None:
    before, after = map(dedent, PINS[case])
    edit = pin(put(file, before))
    assert edit == Edit(file, before, after)
    assert pin(put(file, after)) == Edit(file, after, after)


@pytest.mark.parametrize(
    "reason",
    [
        'it\'s "50 %": #1, {x} [y] \\',
        "tab\tnewline\nbell\a",
        "é 🦠 \x85 \x9f \u2028 \ufeff",
        "latest",
        "yes",
        "12:00",
        " x ",
    ],
)
@pytest.mark.parametrize("text", ["components: {virus-pattern: {}}\n", "components:\n  virus-pattern:\n"])
def test_any_reason_is_written_in_one_line(file: Any, text: str, reason: str) -> None:
    edit = block(put(file, text), reason=reason)
    assert yaml.safe_load(edit.after)["components"][ID]["block"] == [{"version": VERSION, "reason": reason}]
    assert len(edit.after.splitlines()) in {1, 4}


def test_names_that_yaml_would_read_as_something_else_are_quoted(file: Any) -> None:
    edit = pin_version(put(file, "version: 1\n"), "on", "1e3")
    assert '\n  "on": {version: "1e3"}\n' in edit.after


def test_what_comes_out_is_a_spec_that_manages_what_it_managed(file: Any) -> None:
    text = "version: 1\ngroups: {g: {transport: {type: local}, install_root: c, clients: [{name: a}]}}\n"
    before = load_spec(put(file, text), environ={}).components
    write(block(file))
    after = load_spec(file, environ={}).components
    assert list(after) == list(before)
    assert {name for name in after if after[name] != before[name]} == {ID}
    assert after[ID].blocked == {VERSION: "slow"}
    write(pin(file, "16.675.00"))
    assert load_spec(file, environ={}).components[ID].version == "16.675.00"


def test_the_diff_names_the_file_as_the_user_did_and_shows_no_line_ends(
    file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    put(file, "\ufeffcomponents:\r\n  virus-pattern: {}  # c")
    edit = pin(file.relative_to(file.parent))
    assert edit.diff().splitlines() == [
        "--- updoser.yaml",
        "+++ updoser.yaml",
        "@@ -1,2 +1,2 @@",
        " components:",
        "-  virus-pattern: {}  # c",
        '+  virus-pattern: {version: "16.677.00"}  # c',
    ]
    assert Edit(file, "a\n", "a\n").diff() == ""
    assert Edit(file, "a\n", "a\nb\n").diff().splitlines()[2:] == ["@@ -1 +1,2 @@", " a", "+b"]


# --- what can't be wanted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'components: {virus-pattern: {version: "16.677.00"}}\n',
        "components: {virus-pattern: {version: 16.677.00}}\n",
        'components: {"*": {version: "16.677.00"}}\n',
        'components: {"*": {version: "16.677.00"}, virus-pattern: {block: []}}\n',
    ],
)
def test_a_pinned_version_is_not_blocked(file: Any, text: str) -> None:
    with pytest.raises(UsageError, match="is pinned to 16.677.00") as caught:
        block(put(file, text))
    assert "--to" in caught.value.hint


def test_a_number_without_quotes_is_the_version_that_is_written(file: Any) -> None:
    with pytest.raises(UsageError, match="is pinned to 9.10"):
        block(put(file, "components: {virus-pattern: {version: 9.10}}\n"), "9.10")


@pytest.mark.parametrize(
    "text",
    [
        "components: {virus-pattern: {block: [ENTRY]}}\n",
        'components: {virus-pattern: {version: "16.677.00", block: [ENTRY]}}\n',
        'components: {"*": {block: [ENTRY]}}\n',
    ],
)
def test_a_blocked_version_is_not_pinned(file: Any, text: str) -> None:
    with pytest.raises(UsageError, match="is blocked") as caught:
        pin(put(file, dedent(text)))
    assert "components.virus-pattern.block" in caught.value.hint


@pytest.mark.parametrize("text", ["components: {}\n", "components:\n  other: {}\n"])
@pytest.mark.parametrize("edit", [block, pin])
def test_what_is_not_managed_does_not_become_so(file: Any, text: str, edit: Any) -> None:
    with pytest.raises(UsageError, match="isn't managed"):
        edit(put(file, text))


@pytest.mark.parametrize(
    "words",
    [
        ("*", "1", "x"),
        ("", "1", "x"),
        (ID, " ", "x"),
        (ID, "1", ""),
        (ID, "1", "{{ x }}"),
        (ID, "{% x", "x"),
        (ID, "1", "\udc80"),
    ],
)
def test_words_that_would_mean_something_else_are_refused(file: Any, words: str) -> None:
    with pytest.raises(UsageError):
        block_version(put(file, "version: 1\n"), *words)


REFUSED = {
    "components from an alias": ("x: &x {virus-pattern: {}}\ncomponents: *x\n", ":2 .*`components` .*alias"),
    "an entry from an alias": ("components:\n  x: &x {}\n  virus-pattern: *x\n", ":3 .*`virus-pattern` .*alias"),
    "an entry from a merge": (
        "x: &x {virus-pattern: {}}\ncomponents:\n  <<: *x\n",
        ":3 .*`virus-pattern` .*alias",
    ),
    "a key that is an alias": (
        "x: &x virus-pattern\ncomponents:\n  *x : {}\n",
        ":3 .*`virus-pattern` .*alias",
    ),
    "an entry that another takes as an alias": (
        "components:\n  virus-pattern: &x {min_age: 2h}\n  x: *x\n",
        r"`components\.x\.[a-z]+` would change, too",
    ),
    "an entry that another merges": (
        "components:\n  virus-pattern: &x\n    min_age: 2h\n  x:\n    <<: *x\n",
        r"`components\.x\.[a-z]+` would change, too",
    ),
    "an entry that isn't a map": ("components:\n  virus-pattern: [x]\n", ":2: `components.virus-pattern` isn't a map"),
    "a text for components": ("components: all\n", ":1: `components` isn't a map"),
    "a list for the whole": ("- a\n", "must be a map"),
    "a key in an uncommon way": ("components:\n  ? virus-pattern\n  ? x\n", "can't be edited safely"),
    "a text in lines that the end of the file ends": (
        "components:\n  virus-pattern:\n    hooks: |\n      a",
        "`components.virus-pattern.hooks` wouldn't come out as meant",
    ),
    "a key twice": ("components: {x: {}, x: {}}\n", "stands here twice"),
}  # fmt: skip


@pytest.mark.parametrize("edit", [block, pin])
@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_edited_safely_is_refused(file: Any, case: Any, edit: Any) -> None:
    text, message = REFUSED[case]
    with pytest.raises(UpdoserError, match=message) as caught:
        edit(put(file, text))
    assert not isinstance(caught.value, UsageError)
    assert str(file) in caught.value.message


@pytest.mark.parametrize(
    ("edit", "text", "message"),
    [
        (block, "components:\n  x: &x {block: [OLD]}\n  virus-pattern: {<<: *x}\n", ":3 .*`block` .*alias"),
        (block, "components:\n  x: {block: &b [OLD]}\n  virus-pattern: {block: *b}\n", ":3 .*`block` .*alias"),
        (block, "components:\n  virus-pattern: {block: &b [OLD]}\n  x: {block: *b}\n", "x.block.1` would"),
        (block, "components:\n  virus-pattern: {block: x}\n", "isn't a list"),
        (block, "components:\n  virus-pattern:\n    block: &b\n    - # c\n      version: '1'\n", ":3 .*uncommon way"),
        (pin, 'components:\n  x: &x {version: "1"}\n  virus-pattern: {<<: *x}\n', ":3 .*`version` .*alias"),
        (pin, 'components:\n  x: {version: &v "1"}\n  virus-pattern: {version: *v}\n', ":3 .*`version` .*alias"),
        (pin, 'components:\n  virus-pattern: {version: &v "1"}\n  x: {version: *v}\n', "x.version` would"),
        (pin, "components:\n  virus-pattern:\n    version: |\n      1\n", ":3 .*isn't written in one line"),
        (pin, "components:\n  virus-pattern: {version: [1]}\n", "isn't written in one line"),
    ],
)  # fmt: skip
def test_a_value_that_stands_elsewhere_or_strangely_is_refused(file: Any, edit: Any, text: str, message: str) -> None:
    with pytest.raises(UpdoserError, match=message):
        edit(put(file, dedent(text)))


def test_a_refusal_shows_what_to_write_by_hand(file: Any) -> None:
    text = dedent("components:\n  x: {block: &b [OLD]}\n  virus-pattern: {block: *b}\n")
    with pytest.raises(UpdoserError) as caught:
        block(put(file, text))
    assert caught.value.hint.splitlines()[1:] == [
        "    components:",
        "      virus-pattern:",
        "        block:",
        f"          - {OLD}",
        f"          - {ENTRY}",
    ]


# --- extends --------------------------------------------------------------------------------------------------------

EXTENDED = {
    "components of the base need no star here": (
        "components: {virus-pattern: {}}\n",
        "extends: base.yaml\n",
        "extends: base.yaml\ncomponents:\n  virus-pattern:\n    block:\n      - ENTRY\n",
    ),
    "no components in either": (
        "version: 1\n",
        "extends: base.yaml\n",
        'extends: base.yaml\ncomponents:\n  "*": {version: latest}\n  virus-pattern:\n    block:\n      - ENTRY\n',
    ),
    "an empty map of components": (
        "components: {virus-pattern: {}}\n",
        "extends: base.yaml\ncomponents: {}  # ours\n",
        "extends: base.yaml\ncomponents: {virus-pattern: {block: [ENTRY]}}  # ours\n",
    ),
    "what the base blocks stays blocked": (
        'components:\n  virus-pattern:\n    block:\n      - {reason: "old", version: "1"}\n',
        "extends: base.yaml\ncomponents:\n  virus-pattern: {version: latest}\n",
        dedent(
            """
            extends: base.yaml
            components:
              virus-pattern: {version: latest, block: [{reason: "old", version: "1"}, ENTRY]}
            """
        ),
    ),
    "what the star of the base blocks stays blocked": (
        'components: {"*": {block: [OLD]}}\n',
        "extends: base.yaml\n",
        "extends: base.yaml\ncomponents:\n  virus-pattern:\n    block:\n      - OLD\n      - ENTRY\n",
    ),
    "a list here has replaced that of the base already": (
        'components: {virus-pattern: {block: [{version: "1", reason: "x"}]}}\n',
        "extends: base.yaml\ncomponents: {virus-pattern: {block: [OLD]}}\n",
        "extends: base.yaml\ncomponents: {virus-pattern: {block: [OLD, ENTRY]}}\n",
    ),
    "null here has reset the list of the base": (
        "components: {virus-pattern: {block: [OLD]}}\n",
        "extends: base.yaml\ncomponents: {virus-pattern: {block: null}}\n",
        "extends: base.yaml\ncomponents: {virus-pattern: {block: [ENTRY]}}\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EXTENDED)
def test_a_block_over_a_base_is_written_into_the_named_file(file: Any, case: Any) -> None:
    base, before, after = map(dedent, EXTENDED[case])
    put(file.with_name("base.yaml"), base)
    edit = block(put(file, before))
    assert edit == Edit(file, before, after)
    assert block(put(file, after)).after == after


def test_a_pin_here_wins_over_that_of_the_base(file: Any) -> None:
    put(
        file.with_name("base.yaml"),
        'components: {virus-pattern: {version: "1", block: [{version: "2", reason: "x"}]}}\n',
    )
    edit = pin(put(file, "extends: base.yaml\n"))
    assert edit.after == 'extends: base.yaml\ncomponents:\n  virus-pattern: {version: "16.677.00"}\n'
    with pytest.raises(UsageError, match="is blocked"):
        pin(file, "2")
    with pytest.raises(UsageError, match="is pinned"):
        block(file, "1")


@pytest.mark.parametrize(
    "text", ["components: {virus-pattern: null}\n", "components: {virus-pattern: }\n", "components:\n"]
)
@pytest.mark.parametrize("edit", [block, pin])
def test_what_null_has_reset_does_not_come_back(file: Any, text: str, edit: Any) -> None:
    put(file.with_name("base.yaml"), 'components: {"*": {}, virus-pattern: {min_age: 2h}}\n')
    with pytest.raises(UpdoserError, match="`components.* (wouldn't come out as meant|would change, too)"):
        edit(put(file, "extends: base.yaml\n" + text))


@pytest.mark.parametrize("base", ["nowhere.yaml", "updoser.yaml", "bad.yaml"])
def test_a_base_that_can_not_be_read_is_told(file: Any, base: str) -> None:
    put(file.with_name("bad.yaml"), "a: {\n")
    with pytest.raises(SpecError, match=base):
        block(put(file, f"extends: {base}\n"))


# --- writing --------------------------------------------------------------------------------------------------------


def names(folder: Path) -> Any:
    return sorted(path.name for path in folder.iterdir())


def test_writing_keeps_mode_and_owner_and_the_byte_order_mark(file: Any) -> None:
    put(file, "\ufeffcomponents: {virus-pattern: {}}\r\n").chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 1234, 4321)
    status = file.stat()
    edit = pin(file)
    write(edit)
    assert file.read_bytes() == edit.after.encode()
    assert edit.after.startswith("\ufeff")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (file.stat().st_uid, file.stat().st_gid) == (status.st_uid, status.st_gid)
    assert names(file.parent) == [file.name]


def test_writing_keeps_extended_attributes(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}
    monkeypatch.setattr(os, "listxattr", lambda path: ["security.x", "user.x"] if path == file else [])
    monkeypatch.setattr(os, "getxattr", lambda path, name: b"value of " + name.encode())

    def setxattr(number: Any, name: str, value: Any) -> None:
        if name.startswith("security."):
            raise PermissionError
        given[name] = value

    monkeypatch.setattr(os, "setxattr", setxattr)
    write(pin(put(file, "version: 1\n")))
    assert given == {"user.x": b"value of user.x"}


def test_writing_goes_through_a_symbolic_link_to_the_real_file(file: Any, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = put(tmp_path / "real/spec.yaml", "extends: base.yaml\n")
    put(
        tmp_path / "base.yaml", "components: {virus-pattern: {}}\n"
    )  # `extends` counts from the link, as it does in load
    file.symlink_to("real/spec.yaml")
    edit = block(file)
    write(edit)
    assert file.is_symlink()
    assert real.read_text(encoding="utf-8") == edit.after != edit.before
    assert names(real.parent) == ["spec.yaml"]


def test_writing_nothing_touches_nothing(file: Any) -> None:
    put(file, "version: 1\n")
    before = file.stat()
    write(Edit(file, "version: 1\n", "version: 1\n"))
    assert file.stat() == before


def test_a_file_that_was_changed_since_is_left_alone(file: Any) -> None:
    edit = block(put(file, "version: 1\n"))
    put(file, "version: 1\r\n")
    with pytest.raises(RefusedError, match=f"{file} was changed after it was read"):
        write(edit)
    assert file.read_bytes() == b"version: 1\r\n"
    assert names(file.parent) == [file.name]


def test_a_file_that_is_gone_is_told(file: Any) -> None:
    edit = block(put(file, "version: 1\n"))
    file.unlink()
    with pytest.raises(UpdoserError, match=f"{file} can't be written: No such file"):
        write(edit)
    assert names(file.parent) == []


@pytest.mark.parametrize("call", ["mkstemp", "fsync", "fchown", "fchmod", "replace"])
def test_a_failure_on_the_way_leaves_the_old_file_and_nothing_beside_it(
    file: Any, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    edit = block(put(file, "version: 1\n"))
    if call == "fchown":
        monkeypatch.setattr("os.fstat", lambda _number: os.stat_result([0o100600, 1, 1, 1, 77, 77, 0, 0, 0, 0]))
    monkeypatch.setattr(
        "pathlib.Path.replace" if call == "replace" else f"{'tempfile' if call == 'mkstemp' else 'os'}.{call}", fail
    )
    with pytest.raises(UpdoserError, match=f"{file} can't be written: No space left"):
        write(edit)
    assert file.read_bytes() == b"version: 1\n"
    assert names(file.parent) == [file.name]


def test_what_can_not_be_read_is_told(file: Any, tmp_path: Path) -> None:
    with pytest.raises(UpdoserError, match=f"{file} can't be read: No such file"):
        block(file)
    with pytest.raises(UpdoserError, match="can't be read: it isn't a regular file"):
        block(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UpdoserError, match="pipe can't be read: it isn't a regular file"):
        block(tmp_path / "pipe")
    file.write_bytes(b"a: \xff\n")
    with pytest.raises(SpecError, match="isn't UTF-8"):
        block(file)


# --- whatever is written, however -----------------------------------------------------------------------------------

COMMENTS = ["", "", "", " # c", "  # {x: [", '\t# "é"\t', " # 🦠: '"]
versions = st.sampled_from(["1.1", "9.10", "16.677.00", "27811", VERSION])
blocks = st.lists(versions, unique=True, max_size=3).map(
    lambda found: [{"version": version, "reason": f"no {version}"} for version in found]
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "version": st.one_of(versions, st.just("latest"), st.just("{{ v }}")),
        "block": blocks,
        "replaces": st.lists(st.sampled_from(["*.old", "# x", "{{ v }}"]), max_size=2),
        "hooks": st.fixed_dictionaries({"run": st.sampled_from(["a\nb\n", "a: {b}", "c"])}),
    },
)
listings = st.dictionaries(st.sampled_from([ID, ID, "*", "x", "on"]), entries, max_size=4)
specs = st.fixed_dictionaries(
    {}, optional={"components": listings, "vars": st.just({"v": "1"}), "groups": st.just({"g": {"labels": ["a"]}})}
)


class Writer:
    """Writes data in YAML, each time in another style."""

    def __init__(self, draw: Any, *, nulls: Any) -> None:
        self.draw, self.nulls = draw, nulls
        self.indent = draw(st.sampled_from([2, 2, 3, 4]))

    def some(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def text(self, data: Any) -> Any:
        lines = []
        if self.some(0, 0, 1):
            lines.append("---" + self.comment())
        if data and self.some(0, 0, 0, 1):
            lines.append(self.flow(data) + self.comment())
        elif data:
            lines += self.map(data, 0)
        lines += self.between(0)
        newline = self.some("\n", "\r\n")
        # Text in lines that ends the file has no line end to keep when there is none.
        end = newline if any(line.endswith(("|", "|+")) for line in lines) else self.some("", newline)
        return self.some("", "", "\ufeff") + newline.join(lines) + end

    def comment(self) -> Any:
        return self.some(*COMMENTS)

    def between(self, column: Any) -> Any:
        return self.some([], [], [""], [" " * column + "# c"], ["", "# 🦠"])

    def scalar(self, text: str, *, key: bool = False) -> Any:
        plain = text.replace("-", "").isalpha() and text != "on"
        if not key and text.endswith("\n"):
            return yaml.dump(text, default_style='"').strip()
        return self.some(*([text] if plain else []), f'"{text}"', f"'{text}'")

    def flow(self, value: Any) -> Any:
        if not value and self.nulls and isinstance(value, dict):
            return self.some("{}", "{ }", "null", "~")
        if isinstance(value, str):
            return self.scalar(value)
        space, comma = self.some("", " ", "\n      ", "  # c\n      "), self.some("", ",") if value else ""
        if isinstance(value, dict):
            inner = [f"{self.scalar(key, key=True)}: {self.flow(entry)}" for key, entry in value.items()]
            return "{" + space + self.some(", ", " ,", ",\n       ").join(inner) + comma + space + "}"
        return "[" + space + ", ".join(map(self.flow, value)) + comma + space + "]"

    def map(self, data: Any, column: Any) -> Any:
        lines = []
        for key, value in data.items():
            lines += self.between(column) + self.pair(" " * column + self.scalar(key, key=True) + ":", value, column)
        return lines

    def pair(self, head: Any, value: Any, column: Any) -> Any:
        if not value and self.nulls and isinstance(value, dict) and self.some(0, 1):
            return [head + self.comment()]
        if isinstance(value, str) and value.endswith("\n") and self.some(0, 1):
            return [f"{head} {self.some('|', '|+')}", *(" " * (column + 2) + line for line in value.splitlines())]
        if not value or isinstance(value, str) or self.some(0, 0, 1):
            return (f"{head} {self.flow(value)}" + self.comment()).split("\n")
        head += self.comment()
        if isinstance(value, dict):
            return [head, *self.map(value, column + self.indent)]
        column += self.some(0, self.indent)
        lines = [head]
        for entry in value:
            lines += self.between(column)
            if isinstance(entry, dict) and self.some(0, 1):
                (first, *rest) = self.map(entry, column + 2)
                while not first.strip() or first.lstrip().startswith("#"):
                    first, *rest = rest
                lines += [" " * column + "- " + first.lstrip(), *rest]
            else:
                lines += (" " * column + "- " + self.flow(entry) + self.comment()).split("\n")
        return lines


@st.composite
def written_specs(draw: Any) -> Any:
    """Give the text of a base, empty when there is none, and that of a spec over it."""
    base, spec = draw(st.one_of(st.none(), specs)), draw(specs)
    if base is None:
        return "", Writer(draw, nulls=True).text(spec)
    return Writer(draw, nulls=False).text(base), Writer(draw, nulls=False).text({"extends": "base.yaml", **spec})


def load(text: str) -> Any:
    """Read YAML with libyaml, as updoser does: PyYAML's own scanner takes no tab before a comment."""
    return yaml.load(text.removeprefix("\ufeff"), Loader=yaml.CSafeLoader) or {}


def lay(base: Any, over: Any) -> Any:
    """Say in the test's own words what `extends` and the star mean."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {key: lay(base.get(key), over[key]) if key in over else base[key] for key in [*base, *over]}


def is_one_splice(before: Any, after: Any) -> Any:
    """Say whether all lines but one are still there, in order."""
    before, after = before.split("\n"), after.split("\n")
    start = len(list(takewhile(bool, map(eq, before, after))))
    end = len(list(takewhile(bool, map(eq, before[start:][::-1], after[start:][::-1]))))
    return len(before) - start - end <= 1


@settings(max_examples=400, deadline=None)
@given(written=written_specs(), version=versions, edit=st.sampled_from([block, pin]))
def test_an_edit_changes_what_was_asked_and_one_line_at_most(file: Any, written: Any, version: Any, edit: Any) -> None:
    base, text = written
    put(file.with_name("base.yaml"), base)
    put(file, text)
    own = load(text)
    components = lay(load(base), own).get("components")
    listed = components or {}
    wanted = lay(listed.get("*") or {}, listed.get(ID) or {})
    is_blocked = version in [entry["version"] for entry in wanted.get("block", [])]
    is_pinned = wanted.get("version") == version
    managed = components is None or ID in listed or "*" in listed
    if not managed or (is_pinned if edit is block else is_blocked):
        with pytest.raises(UsageError):
            edit(file, version)
        return

    found = edit(file, version)

    assert found.before == text
    assert is_one_splice(text, found.after)
    if is_blocked if edit is block else is_pinned:
        assert found.after == text
    else:
        key, value = ("block", [*wanted.get("block", []), {"version": version, "reason": "slow"}])
        if edit is pin:
            key, value = "version", version
        here = own.get("components") or {}
        star = {"*": {"version": "latest"}} if components is None else {}
        assert load(found.after) == {**own, "components": {**star, **here, ID: {**(here.get(ID) or {}), key: value}}}
    again = edit(put(file, found.after), version)
    assert again.after == again.before == found.after
