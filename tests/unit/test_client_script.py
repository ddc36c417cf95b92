"""The text of the client script: who may know which variable, and what is sent of it."""

import re
from pathlib import Path

import pytest

from reconciler.client.session import client_script, commented_script

FOLDER = Path(__file__).parents[2] / "reconciler/client/script"
ROW = re.compile(r"^#   (?P<names>\w+(?:, \w+)*)  +(?P<meaning>\S.*) \((?P<setters>[^()]+)\)$", re.MULTILINE)
FUNCTION = re.compile(r"^(?P<name>\w+)\(\) (?P<body>\{[^\n]*\}$|\{\n.*?^\})", re.MULTILINE | re.DOTALL)
NOTES = re.compile(r"(?:^|\s)# .*$", re.MULTILINE)
OPERANDS = re.compile(r"\bdd [^|;&\n]*")
ASSIGNED = re.compile(r"(?<![\w$.,/-])([A-Za-z]\w*?)(_\$\w+)?=")
TAKEN = re.compile(r"\b(?:for (?=\w+ in)|read -r )((?:[A-Za-z]\w*(?: (?!in\b))?)+)")
SMALL = re.compile(r"\$\{?#?([a-z]\w*)")
LOCAL = re.compile(r"^\s+local (.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def functions() -> dict[str, str]:
    """Give the code of each function by its name; `main` is what stands in none."""
    text = NOTES.sub("", "".join(part.read_text() for part in sorted(FOLDER.glob("*.sh"))))
    found = {match["name"]: match["body"] for match in FUNCTION.finditer(text)}
    return {**found, "main": FUNCTION.sub("", text)}


@pytest.fixture(scope="module")
def table() -> dict[str, list[str]]:
    """Give who sets a variable, by its name."""
    rows = ROW.finditer((FOLDER / "00-head.sh").read_text())
    return {name: row["setters"].split(", ") for row in rows for name in row["names"].split(", ")}


def assigned(code: str) -> set[str]:
    """Give the variables that get a value; NAME_n stands for one that has a number in its name."""
    code = OPERANDS.sub("", code)
    taken = {name for names in TAKEN.findall(code) for name in names.split()}
    return taken | {name + ("_n" if number else "") for name, number in ASSIGNED.findall(code)}


def local(code: str) -> set[str]:
    return {name for names in LOCAL.findall(code) for name in names.split()}


def test_a_variable_of_the_client_script_is_local_or_stands_in_the_table(
    functions: dict[str, str], table: dict[str, list[str]]
) -> None:
    for name, code in functions.items():
        if name != "main":
            shared = (assigned(code) | set(SMALL.findall(code))) - local(code) - {"IFS"}
            assert shared - set(table) == set(), name
            assert local(code) & set(table) == set(), name


def test_a_local_variable_of_the_client_script_is_declared_before_it_gets_a_value(functions: dict[str, str]) -> None:
    # dash splits `local a=$b` into words, and `local a=$(b)` hides whether b failed.
    for name, code in functions.items():
        assert "=" not in "".join(LOCAL.findall(code)), name
        assert local(code) <= assigned(code), name


def test_the_table_of_variables_is_true(functions: dict[str, str], table: dict[str, list[str]]) -> None:
    for variable, setters in table.items():
        if variable in {"own", "own_kept", "own_mark"}:
            continue  # they come with the command that starts the script
        for setter in setters:
            assert variable in assigned(functions["main" if setter == "head" else setter]), (variable, setter)
        text = variable.removesuffix("n") if variable.endswith("_n") else variable
        assert any(re.search(rf"(?:\$\{{?#?|\(\(|export [^\n]*){text}", code) for code in functions.values()), variable


def test_no_two_functions_of_the_client_script_differ_by_an_s_at_the_end(functions: dict[str, str]) -> None:
    assert [name for name in functions if f"{name}s" in functions] == []


def test_a_client_gets_the_script_without_comments_and_a_reader_with_its_rules() -> None:
    sent, read = (script.decode().splitlines() for script in (client_script(), commented_script()))
    assert [line for line in sent if line.lstrip().startswith("#")] == ["#!/bin/sh", "# end"]
    (known,) = [line for line in sent if line.startswith("LOOK_BYTES=") and line[11:].isdigit()]
    code = [line for line in sent if line[:1] != "#" and line != known]
    assert [line for line in read if not line.lstrip().startswith("#")] == code
    assert client_script("facts").decode() == client_script().decode()[: int(known[11:])] + "\nrun_request\n# end\n"
    assert sum(line.startswith("# 22 ") for line in read) == 1
