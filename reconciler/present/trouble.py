"""Trouble by its reason: thousands of clients that fail alike are a line, with their number and some examples.

What clients say has names, addresses and numbers in it; what they are counted by is the reason that was known where it
went wrong (`reasons`). Each is told with what to do about it, once:

      ! did not answer: 3 000 clients of branch, office
          pc-1: 192.0.2.1:22 didn't answer within 10 s
          pc-2: 192.0.2.2:22 didn't answer within 10 s
          pc-3: 192.0.2.3:22 didn't answer within 10 s
          and 2 997 more
          fix: see that they are on, and that no firewall stands between this server and them

Sentences about sources have no reason of their own: two are alike when they differ in nothing but what is particular.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.present.kinds import groups_text
from reconciler.present.words import count_text, number_text
from reconciler.reasons import REASONS, reason_of, todo_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.reasons import Reason

    Entry = Mapping[str, Any]

EXAMPLES = 3
_PROBLEMS_SHOWN = 12
_OWN = re.compile(r"[0-9a-f]*[0-9][0-9a-f.:]*", re.IGNORECASE)
"""Numbers, addresses, digests."""
_ORDER: Mapping[str, int] = {reason: at for at, reason in enumerate(REASONS)}


class Told(NamedTuple):
    """What is told of a reason: how many failed, of which groups, some of them with what they said, and a remedy."""

    label: str
    how_many: str
    groups: str
    examples: tuple[tuple[str, str], ...]
    more: int
    todo: str


def told_of_failures(failures: Iterable[Entry]) -> list[Told]:
    """Give what is told of failures of a report, the most frequent reason first; a client counts once for a reason."""
    alike: dict[Reason, dict[tuple[str, str], list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for failure in failures:
        whose = failure["client"], "" if failure["client"] else failure["component"]
        alike[_reason(failure)][whose].append(failure)
    found = []
    for reason, by_client in sorted(alike.items(), key=lambda each: (-len(each[1]), _ORDER[each[0]])):
        same = list(by_client.values())
        shown = same if len(same) <= EXAMPLES + 1 else same[:EXAMPLES]
        found.append(
            Told(
                label=REASONS[reason].label,
                how_many=count_text(len(same), "change" if reason == "server" else "client"),
                groups=groups_text(of[0]["group"] for of in same if of[0]["group"]),
                examples=tuple(_example(of, reason) for of in shown),
                more=len(same) - len(shown),
                todo=REASONS[reason].todo,
            )
        )
    return found


def told_of_status(troubles: Iterable[Entry]) -> list[Told]:
    """Give what is told of the troubles of a status."""
    return [
        Told(
            label=REASONS[entry["reason"]].label,
            how_many=count_text(entry["clients"], "client"),
            groups=groups_text(entry["groups"]),
            examples=tuple(_example([failure], entry["reason"]) for failure in entry["examples"]),
            more=entry["clients"] - len(entry["examples"]),
            todo=REASONS[entry["reason"]].todo,
        )
        for entry in troubles
    ]


def told_lines(told: Iterable[Told]) -> list[str]:
    """Give the lines of a text about troubles."""
    lines = []
    for each in told:
        of = f" of {each.groups}" if each.groups else ""
        lines.append(f"  ! {each.label}: {each.how_many}{of}")
        lines += [f"      {who}: {said}" if said else f"      {who}" for who, said in each.examples]
        lines += [f"      and {number_text(each.more)} more"] if each.more > 0 else []
        lines.append(f"      fix: {each.todo}")
    return lines


def told_rows(told: Iterable[Told]) -> list[tuple[str, ...]]:
    """Give rows (reason, how many, groups, examples, what to do) about troubles."""
    rows: list[tuple[str, ...]] = []
    for each in told:
        examples = [f"{who}: {said}" if said else who for who, said in each.examples]
        more = [f"and {number_text(each.more)} more"] if each.more > 0 else []
        rows.append((each.label, each.how_many, each.groups, "; ".join([*examples, *more]), each.todo))
    return rows


def todo_of_finding(kind: str, finding: Entry) -> str:
    """Say what to do about clients of a plan of which nothing is known; nothing where no reason is."""
    return REASONS["no_way"].todo if kind == "unreachable" else todo_of(finding["reason"]) if kind == "unknown" else ""


TOLD_HEAD = ("reason", "how many", "groups", "such as", "what to do")


def _reason(failure: Entry) -> Reason:
    """Give the reason of a failure; reports of earlier versions have it in the message, if at all."""
    known: Reason = failure.get("reason") or reason_of(failure["message"])
    return known if known in REASONS else "other"


def _example(failures: Sequence[Entry], reason: Reason) -> tuple[str, str]:
    """Name a client and what it said, first of all if it failed with several components."""
    first, others = failures[0], len(failures) - 1
    also = f" (and {count_text(others, 'other')})" if others else ""
    who = " ".join(filter(None, (first["client"], f"{first['component']}{also}")))
    label = REASONS[reason].label
    said = first["message"].removeprefix(f"{label}: ")
    return who, "" if said == label else said


def likeness(message: str) -> str:
    """Give what a sentence has in common with those that are alike."""
    return _OWN.sub("#", message)


def alike(sentences: Iterable[str]) -> list[list[str]]:
    """Put sentences together that say the same of one part or another: `WHO: WHAT`."""
    found: dict[str, list[str]] = defaultdict(list)
    for sentence in sentences:
        who, _colon, what = sentence.partition(": ")
        found[likeness(what or who)].append(sentence)
    return list(found.values())


def brief_list(sentences: Sequence[str]) -> list[str]:
    """Give sentences; of many that are alike, examples and how many more there are."""
    shown = []
    for same in alike(sentences):
        shown += same[:EXAMPLES] if len(same) > EXAMPLES + 1 else same
        if len(same) > EXAMPLES + 1:
            shown.append(f"... and {number_text(len(same) - EXAMPLES)} more like these")
    more = len(shown) - _PROBLEMS_SHOWN
    return shown if more <= 1 else [*shown[:_PROBLEMS_SHOWN], f"... and {number_text(more)} more; --diff shows all"]
