"""What a plan may not do or find, as pipelines say it: `downgrade, unknown>5%, bytes>10GiB, unmet`.

A condition is a measure and how much of it is too much: `unknown>20`, a share of the plan's clients (`unknown>5%`), or
a size (`bytes>10GiB`). A measure alone means any of it. Conditions are separated by commas; one that is met is enough.

| measure | what it counts |
|---|---|
| `clients` | clients that are changed |
| `downgrade` | clients that go back to an older version |
| `drift`, `held`, `deferred`, `unknown`, `unreachable` | clients that the plan lists under that |
| `gone` | clients that left the inventory; a share is one of these and all others |
| `removed` | clients that left, and those from which a component or file isn't managed any more with this plan |
| `bytes` | what is sent to clients |
| `downloads` | bytes that are downloaded to the store |
| `halted`, `stuck` | rollouts that stand still |
| `unmet` | components that can't be had as declared |
| `unread` | sources that can't be read |
| `unsigned` | releases that are downloaded, merged, deployed, published or fetched and that no signature vouches for |
| `unfetched` | releases that are fetched, and that only another plan can deploy |
| `problems` | what isn't as declared, or can't be told, and isn't excused |

Only the document of the plan is asked, so a plan is judged alike where it is made and where its file is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from reconciler.errors import PolicyError
from reconciler.hints import did_you_mean
from reconciler.model.plan import FINDINGS
from reconciler.present.fleet_text import removed
from reconciler.present.provenance_text import unsigned
from reconciler.present.words import count_text, number_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Entry = Mapping[str, Any]

EXAMPLE = "downgrade,unknown>5%,bytes>10GiB"
_FORM = re.compile(r"\s*([^\s<>=]*)\s*(?:(>)\s*(\S*)\s*)?")
_NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(%|B|KiB|MiB|GiB|TiB)?")
_UNITS = {unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))}


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that is counted in a plan's document: clients, bytes, or what `noun` says."""

    noun: str
    of: Callable[[Entry], int]

    def text(self, value: int) -> str:
        """Write a value as people read it."""
        return size_text(value) if self.noun == "byte" else count_text(value, self.noun)


@dataclass(frozen=True, slots=True)
class Condition:
    """A measure and its limit; `share` says that the limit is a part (0 to 1) of the plan's clients."""

    text: str
    name: str
    limit: Fraction = Fraction(0)
    share: bool = False

    def met_by(self, document: Entry) -> str:
        """Say by how much a plan is beyond the limit; empty when it isn't."""
        measure = MEASURES[self.name]
        value, whole = measure.of(document), _all_clients(document)
        if self.name in {"gone", "removed"}:
            whole += len(document["gone"])
        if value <= self.limit * (whole if self.share else 1):
            return ""
        part = f" of {number_text(whole)} ({value * 100 / whole:.2f} %)" if measure.noun == "client" and whole else ""
        return f"{self.text}: {measure.text(value)}{part}"


def parse_policy(text: str) -> tuple[Condition, ...]:
    """Read conditions as `plan --fail-on` takes them.

    Raises:
        ValueError: the text isn't of that form; it says which part, and what there is.
    """
    parts = text.split(",")
    return tuple(_condition(part, f"condition {at} of {len(parts)}") for at, part in enumerate(parts, 1))


def _condition(text: str, place: str) -> Condition:
    form = _FORM.fullmatch(text)
    name, sign, limit = form.groups() if form else ("", "", "")
    if not name:
        raise ValueError(f"{place}, {text.strip()!r}, is none: it is a measure, or one, `>` and a limit ({EXAMPLE})")
    if name not in MEASURES:
        hint = did_you_mean(name, MEASURES)
        raise ValueError(f"{place}: there is no measure {name!r}{f'; {hint}' if hint else ''}; {_ALLOWED}")
    return Condition(text.strip(), name, *_limit(name, limit or "", place)) if sign else Condition(text.strip(), name)


def _limit(name: str, limit: str, place: str) -> tuple[Fraction, bool]:
    number, noun = _NUMBER.fullmatch(limit), MEASURES[name].noun
    wanted = {"byte": "a size (such as 10GiB)", "client": "a number, or a share of the clients (such as 5%)"}
    unit = (number[2] or "") if number else "none"
    fits = unit in _UNITS if noun == "byte" else unit == "" or (unit == "%" and noun == "client")
    if number is None or not fits or (unit in {"", "B"} and "." in limit):
        raise ValueError(f"{place}: the limit of {name!r} is {wanted.get(noun, 'a whole number')}, and not {limit!r}")
    if unit == "%":
        return Fraction(number[1]) / 100, True
    return Fraction(number[1]) * _UNITS.get(unit, 1), False


def breaches(conditions: Iterable[Condition], document: Entry) -> list[str]:
    """List every condition that a plan's document meets, with its figures."""
    return [says for condition in conditions if (says := condition.met_by(document))]


def check_policy(conditions: Iterable[Condition], document: Entry) -> None:
    """Refuse a plan that meets a condition.

    Raises:
        PolicyError: it does; all that it meets are named.
    """
    met = breaches(conditions, document)
    if met:
        raise PolicyError(f"--fail-on: {'; '.join(met)}", hint="the plan itself is made: review it, or change the spec")


def _all_clients(document: Entry) -> int:
    return sum(document["clients"].values())


def _changed(document: Entry) -> int:
    return _clients(document, (change for change in document["changes"] if change["action"] in {"deploy", "settings"}))


def _back(document: Entry) -> int:
    return _clients(document, (change for change in document["changes"] if change.get("downgrade")))


def _clients(document: Entry, changes: Iterable[Entry]) -> int:
    """Count the clients of some changes, each once."""
    cohorts = {cohort for change in changes for cohort in change["members"]}
    return sum(len(document["members"][cohort]) for cohort in cohorts)


def _problems(document: Entry) -> int:
    excused = set(document.get("excused", ()))
    return sum(problem not in excused for problem in document["problems"])


def _finding(kind: str) -> Measure:
    return Measure("client", lambda document: int(document["summary"].get(kind, 0)))


MEASURES: Mapping[str, Measure] = {
    "clients": Measure("client", _changed),
    "downgrade": Measure("client", _back),
    **{kind: _finding(kind) for kind in FINDINGS},
    "gone": Measure("client", lambda document: len(document["gone"])),
    "removed": Measure("client", removed),
    "bytes": Measure("byte", lambda document: int(document["summary"]["deploy"]["bytes"])),
    "downloads": Measure("byte", lambda document: int(document["summary"]["download"]["bytes"])),
    "halted": Measure("rollout", lambda document: sum(one["status"] == "halted" for one in document["rollouts"])),
    "stuck": Measure("rollout", lambda document: sum(bool(one.get("stuck")) for one in document["rollouts"])),
    "unmet": Measure("component", lambda document: len(document.get("unmet", ()))),
    "unread": Measure("source", lambda document: len(document.get("unread", ()))),
    "unsigned": Measure("release", unsigned),
    "unfetched": Measure("release", lambda document: int(document["summary"]["fetch"]["changes"])),
    "problems": Measure("problem", _problems),
}
_ALLOWED = f"there is: {', '.join(MEASURES)}"
