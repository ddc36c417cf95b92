"""JUnit XML of plans, reports, checks and specs: it is what CI servers take, and hostile text stays text in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from reconciler import cli
from reconciler.errors import Problem
from reconciler.model.change import Deploy, Download, Settings
from reconciler.model.plan import Basis, Finding, Plan
from reconciler.model.report import RECAP, Diagnosis, Failure, Held, Report
from reconciler.present.declared import VALID, invalid_document
from reconciler.present.document import checks_document, plan_document, report_document
from reconciler.present.junit import MAX_CASES, MAX_SUITES, Case, Suites, junit
from reconciler.present.render import render
from reconciler.present.terminal import Terminal
from reconciler.present.views import CHECKS, PLAN, REPORT
from reconciler.specfile.secrets import MASK, Masker
from tests.fakes import NOW
from tests.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

# Rules of the schema of Jenkins' xUnit plugin (junit-10.xsd), by which GitLab's reader goes, too.
ATTRIBUTES = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp", "hostname", "id", "package", "group", "file", "log", "url"},
    ),
    "testcase": ({"name"}, {"time", "classname", "group"}),
    **dict.fromkeys(("failure", "error", "skipped"), (set(), {"type", "message"})),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testsuite", "testcase", "properties", "system-out", "system-err"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}
TIME = re.compile(r"\d+\.\d+")


def read(text: str) -> ET.Element:
    """Read XML, and hold it to the rules."""
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        needed, allowed = ATTRIBUTES[element.tag]
        assert needed <= set(element.attrib) <= needed | allowed, element.attrib
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
        assert not element.get("time") or TIME.fullmatch(element.attrib["time"])
    for suite in (root, *root.findall("testsuite")):
        for state, key in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            if key in suite.attrib:
                assert int(suite.attrib[key]) == len(suite.findall(f".//testcase/{state}"))
        assert int(suite.attrib["tests"]) == len(suite.findall(".//testcase"))
    return root


def cases(root: ET.Element) -> dict[str, list[tuple[str, str]]]:
    """Give the cases of each suite: their names, and what became of them."""
    return {
        suite.attrib["name"]: [(case.attrib["name"], case[0].tag if len(case) else "") for case in suite]
        for suite in root
    }


def deploy(group: str, cohort: str, clients: int) -> Deploy:
    return Deploy(
        "rules", group, "1", "a" * 64, "2", "b" * 64, "any", "outdated", clients, (cohort,), bytes=9, bytes_full=9
    )


def test_a_plan_has_a_suite_for_each_group_in_which_findings_are_what_did_not_go_well() -> None:
    plan = Plan(
        "p",
        NOW,
        Basis("l", 1, 0, "s", "c"),
        members={"c1": ("a", "b"), "c2": ("c",), "c3": ("d",)},
        clients={"office": 3, "dmz": 1, "lab": 0},
        downloads=(Download("rules", "", "2", "b" * 64, "any", "drop", 9, "missing"),),
        deploys=(deploy("office", "c1", 2),),
        settings=(Settings("dmz", "changed", 1, ("c3",)),),
        unknown=(Finding("office", 1, ("c2",), "no connection"),),
        held=(Finding("dmz", 1, ("c3",), "INC-1", "rules", "2"),),
        drift=(Finding("dmz", 1, ("c3",), "damaged", "rules", "1"),),
        problems=("source drop: it is away", "it is fine"),
        excused=("it is fine",),
    )
    root = read(render(plan_document(plan), "junit", PLAN))
    assert cases(root) == {
        "server": [
            ("source drop: it is away", "failure"),
            ("it is fine", "skipped"),
            ("download rules 2 (missing)", ""),
        ],
        "office": [("unknown: no connection", "error"), ("deploy rules 1 -> 2 on 2 clients (outdated)", "")],
        "dmz": [
            ("drift: damaged", "failure"),
            ("held: INC-1", "skipped"),
            ("settings on 1 client (changed)", ""),
        ],
        "lab": [("nothing to do", "")],
    }
    assert root.find(".//error").text == "1 client: no connection\nc"
    assert root[0].get("timestamp") == f"{NOW:%Y-%m-%dT%H:%M:%S}"


def test_a_report_names_each_client_that_failed_and_counts_the_others() -> None:
    recap = {"office": {**dict.fromkeys(RECAP, 0), "changed": 3, "failed": 1, "skipped": 2}, "dmz": {"unreachable": 1}}
    report = Report(
        "r",
        "p",
        NOW,
        NOW,
        recap,  # type: ignore[arg-type]
        failed=(Failure("pc-1", "office", "rules", "check failed\nexit 1"), Failure("", "", "engine", "not found")),
        unreachable=(Failure("d-1", "dmz", "", "no connection"),),
        held=(Held("office", "rules", "2", "INC-1", 2),),
    )
    root = read(render(report_document(report), "junit", REPORT))
    assert cases(root) == {
        "server": [("engine", "failure")],
        "office": [
            ("pc-1", "failure"),
            ("rules 2 on 2 clients", "skipped"),
            ("2 clients skipped", "skipped"),
            ("3 clients changed", ""),
        ],
        "dmz": [("d-1", "error")],
    }
    failure = root.find("testsuite[@name='office']/testcase/failure")
    assert (failure.get("message"), failure.text) == ("check failed", "check failed\nexit 1")
    assert root.get("time") == "0.000"


def test_the_doctor_has_a_suite_for_each_client_those_in_trouble_first() -> None:
    checks = [
        Diagnosis("pc-1", "connection", "ok", "fine"),
        Diagnosis("", "store", "warn", "no room", "make room"),
        Diagnosis("pc-2", "login", "fail", "refused", "add the key"),
    ]
    root = read(render(checks_document(checks), "junit", CHECKS, every=False))
    assert list(cases(root)) == ["pc-2", "this machine", "pc-1"]
    assert root.find(".//failure").text == "refused\nfix: add the key"


def test_a_spec_that_is_invalid_has_its_problems_in_the_file_and_fails_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(tmp_path)
    spec = str(fleet.folder / "updoser.yaml")
    assert cli.run(["validate", "-f", spec, "--format", "junit"], Terminal()) == 0
    assert cases(read(capsys.readouterr().out)) == {spec: [("valid", "")]}
    fleet.write(nonsense=1, other=2)
    assert cli.run(["validate", "-f", spec, "--format", "junit"], Terminal()) == 65
    shown = capsys.readouterr()
    found = read(shown.out).findall(".//failure")
    assert [re.sub(r".*:\d+:\d+: ", "", failure.attrib["message"]) for failure in found] == [
        "unknown key `nonsense`",
        "unknown key `other`",
    ]
    assert "nonsense" in shown.err


def test_however_much_goes_wrong_the_file_stays_small_and_says_what_it_left_out() -> None:
    many: Suites = {f"g{at}": [Case("clients", "pc", "error", "gone")] for at in range(MAX_SUITES + 7)}
    many["g0"] = [Case("clients", f"pc-{at}", "failure" if at == 9 else "error", "gone") for at in range(MAX_CASES + 3)]
    root = read(junit("apply", many))
    assert len(root) == MAX_SUITES + 1
    assert root[-1].attrib["name"] == "7 more"
    first = cases(root)["g0"]
    assert (len(first), first[0], first[-1]) == (MAX_CASES + 1, ("pc-9", "failure"), ("and 3 cases more", "error"))


@given(st.text(alphabet=st.characters(), max_size=30))
def test_whatever_somebody_says_is_text_in_a_file_that_can_be_read(text: str) -> None:
    suites: Suites = {text: [Case(text, text, "failure", f"{text}\n{text}"), Case(text, text, "skipped", text)]}
    root = read(junit(text, suites))
    assert len(root[0]) == 2
    assert all(char.isprintable() for char in root[0].attrib["name"])


def test_a_secret_is_masked_in_xml_as_it_is_spelled_there(capsys: pytest.CaptureFixture[str]) -> None:
    masker = Masker()
    secret = "a<b>&\"c'd e"
    masker.add(secret)
    problems = [Problem(f"the password {secret} is wrong\nand {secret}", "updoser.yaml", 3, 1)]
    Terminal(masker.mask).result(render(invalid_document(None, problems), "junit", VALID))  # type: ignore[arg-type]
    shown = capsys.readouterr().out
    assert shown.count(MASK) == 3
    assert "a&lt;b" not in shown
