"""Documents as JUnit XML, which forges and CI servers show as tests: a suite for each group, a case for each finding.

    failure    what went wrong, or isn't as declared: a client that failed, a problem, a rollout that is halted
    error      what nobody could find out: a client that didn't answer
    skipped    what is left alone on purpose: what is held, or not due yet
    else       what goes, or went, well

A suite has MAX_CASES at most, those that didn't go well first, and what is left out is counted in one more case of the
worst kind among it. Sources: the schema of Jenkins' xUnit plugin (junit-10.xsd), and what GitLab reads of it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from reconciler.errors import printable
from reconciler.present.provenance_form import with_bare
from reconciler.present.rollout_text import is_alarm
from reconciler.present.words import count_text, number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Entry = Mapping[str, Any]

State = Literal["failure", "error", "skipped", ""]
MAX_CASES = 500
MAX_SUITES = 500
_ORDER: tuple[State, ...] = ("failure", "error", "skipped", "")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
_SERVER = "server"


class Case(NamedTuple):
    """A case: `about` is what it is grouped under (its class), `says` why it didn't go well."""

    about: str
    name: str
    state: State = ""
    says: str = ""


Suites = dict[str, list[Case]]


def xml_safe(text: str) -> str:
    """Escape a text for XML, in attributes as well as outside; what can't be in XML is shown as `?`."""
    return printable(text, but="\n").translate(_ESCAPES)


def junit(name: str, suites: Suites, *, started: str = "", seconds: float | None = None) -> str:
    """Write suites as XML; `started` is when they began, in UTC, and `seconds` how long they took."""
    shown = list(suites.items())[:MAX_SUITES]
    left = [case for _suite, cases in list(suites.items())[MAX_SUITES:] for case in cases]
    if left:
        shown.append((f"{len(suites) - MAX_SUITES} more", left))
    parts = [(suite, _bounded(cases)) for suite, cases in shown]
    every = [case for _suite, cases in parts for case in cases]
    took = "" if seconds is None else f' time="{seconds:.3f}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites{_named(name)}{_counts(every)}{took}>"]
    for suite, cases in parts:
        skipped = sum(case.state == "skipped" for case in cases)
        when = f' timestamp="{xml_safe(started.removesuffix("Z"))}"' if started else ""
        lines.append(f'  <testsuite{_named(suite)}{_counts(cases)} skipped="{skipped}"{when}>')
        lines += [f"    {_case(case)}" for case in cases]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _bounded(cases: Iterable[Case]) -> list[Case]:
    listed = sorted(cases, key=lambda case: _ORDER.index(case.state))
    shown, left = listed[:MAX_CASES], listed[MAX_CASES:]
    if left:
        more = f"and {count_text(len(left), 'case')} more"
        shown.append(Case("more", more, left[0].state, f"{more}: `--format json` has them all"))
    return shown


def _counts(cases: Iterable[Case]) -> str:
    states = [case.state for case in cases]
    return f' tests="{len(states)}" failures="{states.count("failure")}" errors="{states.count("error")}"'


def _named(name: str) -> str:
    return f' name="{_attribute(name)}"'


def _attribute(text: str) -> str:
    return xml_safe(printable(text))


def _case(case: Case) -> str:
    head = f'<testcase{_named(case.name)} classname="{_attribute(case.about)}"'
    if not case.state:
        return f"{head}/>"
    first = case.says.partition("\n")[0]
    message = f'<{case.state} message="{_attribute(first)}"'
    if case.state == "skipped":
        return f"{head}>{message}/></testcase>"
    return f'{head}>{message} type="{case.state}">{xml_safe(case.says)}</{case.state}></testcase>'


# --- plans ------------------------------------------------------------------------------------------------------------

_FINDINGS: Mapping[str, State] = {
    "drift": "failure",
    "unknown": "error",
    "unreachable": "error",
    "held": "skipped",
    "deferred": "skipped",
    "pending": "failure",
}


def plan_junit(document: Entry, **_how: Any) -> str:
    """Render a plan: what it does is well, what it finds isn't."""
    suites: Suites = {_SERVER: [], **{group: [] for group in document["clients"]}}
    excused = set(document.get("excused", ()))
    for problem in document["problems"]:
        suites[_SERVER].append(Case("problems", problem, "skipped" if problem in excused else "failure", problem))
    suites[_SERVER] += map(_rollout, document["rollouts"])
    for change in document["changes"]:
        of = suites.setdefault(change.get("group") or _SERVER, [])
        of.append(Case(change.get("component") or change["action"], _change(change)))
    for kind, state in _FINDINGS.items():
        for finding in document.get(kind, ()):
            says = f"{count_text(finding['clients'], 'client')}: {finding['reason']}{_members(finding, document)}"
            case = Case(finding["component"] or "clients", f"{kind}: {finding['reason']}", state, says)
            suites.setdefault(finding["group"], []).append(case)
    for group, cases in suites.items():
        if not cases:
            cases.append(Case("clients" if group != _SERVER else "problems", "nothing to do"))
    return junit("updoser plan", suites, started=document["created"])


def _change(change: Entry) -> str:
    to = change.get("to") or change.get("version") or ""
    before = f"{change['from']} -> " if change.get("from") and to else ""
    on = f" on {count_text(change['clients'], 'client')}" if change.get("clients") else ""
    reason = with_bare(change.get("reason", ""), change)
    why = f" ({reason})" if reason else ""
    what = " ".join(filter(None, (change["action"], change.get("component"), f"{before}{to}")))
    return f"{what}{on}{why}"


def _members(finding: Entry, document: Entry, most: int = 10) -> str:
    names = [name for cohort in finding["members"] for name in document["members"][cohort]]
    more = f"\nand {number_text(len(names) - most)} more" if len(names) > most else ""
    return "".join(f"\n{name}" for name in sorted(names)[:most]) + more


def _rollout(entry: Entry) -> Case:
    group = f" ({entry['group']})" if entry["group"] else ""
    name = f"rollout of {entry['version']}{group}"
    bad = is_alarm(entry)
    return Case(entry["component"], name, "failure" if bad else "", entry["says"] if bad else "")


# --- reports ----------------------------------------------------------------------------------------------------------

_OUTCOMES: Mapping[str, State] = {
    "changed": "",
    "ok": "",
    "stale": "skipped",
    "skipped": "skipped",
    "not_attempted": "skipped",
}


def report_junit(document: Entry, **_how: Any) -> str:
    """Render the report of an apply: each client that failed or couldn't be reached, and how many others there are."""
    suites: Suites = {_SERVER: [], **{group: [] for group in document["recap"]}}
    states: tuple[tuple[str, State], ...] = (("failed", "failure"), ("unreachable", "error"))
    for key, state in states:
        for failure in document[key]:
            name = failure["client"] or failure["component"]
            about = failure["component"] if failure["client"] else "store"
            case = Case(about or "clients", name, state, failure["message"])
            suites.setdefault(failure["group"] or _SERVER, []).append(case)
    for held in document["held"]:
        what = " ".join(filter(None, (held["component"], held["version"]))) or "settings"
        name = f"{what} on {count_text(held['clients'], 'client')}"
        suites.setdefault(held["group"], []).append(
            Case(held["component"] or "settings", name, "skipped", held["reason"])
        )
    for group, counts in document["recap"].items():
        for outcome, state in _OUTCOMES.items():
            if counts[outcome]:
                word = outcome.replace("_", " ")
                name = f"{count_text(counts[outcome], 'client')} {word}"
                suites[group].append(Case("clients", name, state, word if state else ""))
    suites[_SERVER] += map(_rollout, document["rollouts"])
    if document["interrupted"]:
        suites[_SERVER].append(Case("run", "interrupted", "error", "the run was interrupted"))
    if not suites[_SERVER]:
        suites[_SERVER].append(Case("run", "complete"))
    return junit("updoser apply", suites, started=document["started"], seconds=_seconds(document))


def _seconds(document: Entry) -> float:
    from datetime import datetime

    span = datetime.fromisoformat(document["ended"]) - datetime.fromisoformat(document["started"])
    return max(span.total_seconds(), 0.0)


# --- the doctor -------------------------------------------------------------------------------------------------------

_LEVELS: Mapping[str, State] = {"ok": "", "warn": "skipped", "fail": "failure"}


def checks_junit(document: Entry, **_how: Any) -> str:
    """Render what the doctor found: a suite for this machine, and one for each client."""
    suites: Suites = defaultdict(list)
    for check in document["checks"]:
        fix = f"\nfix: {check['fix']}" if check["fix"] else ""
        state = _LEVELS[check["level"]]
        says = f"{check['finding']}{fix}" if state else ""
        suites[check["client"] or "this machine"].append(Case(check["client"] or _SERVER, check["what"], state, says))
    return junit("updoser doctor", _worst_first(suites))


def _worst_first(suites: Suites) -> Suites:
    def worst(suite: tuple[str, list[Case]]) -> int:
        return min(_ORDER.index(case.state) for case in suite[1])

    return dict(sorted(suites.items(), key=worst))


# --- specs ------------------------------------------------------------------------------------------------------------


def spec_junit(document: Entry, **_how: Any) -> str:
    """Render a spec that is valid, or the problems of one that isn't."""
    cases = list(_spec_problems(document)) or [Case(document["file"], "valid")]
    return junit("updoser validate", {document["file"]: cases})


def _spec_problems(document: Entry) -> Iterator[Case]:
    for problem in document.get("problems", ()):
        place = ":".join(str(part) for part in (problem["file"], problem["line"], problem["column"]) if part)
        says = "\n".join(filter(None, (f"{place}: {problem['message']}", problem["hint"])))
        yield Case(problem["file"] or document["file"], place or document["file"], "failure", says)
