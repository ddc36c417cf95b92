"""What differs between two plans, so that a plan that isn't valid any more explains itself.

Compared are documents, key by key, and a key that is new here is compared like any other: entries by what they are
about, with their clients, bytes and whatever else they say; sentences by their words. What plans are called, and what
is counted from the rest, isn't compared. Times that stand as far from the making of each plan are the same.

A difference has the form {"what", "kind", "subject", "before", "after"}, with null where there was nothing; where
clients came and went, also {"clients_new", "clients_gone"}, as counts.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.present.fields import FORMAT_VERSION
from reconciler.present.look import PLAIN
from reconciler.present.words import count_text, page, size_text, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.present.look import Look

    Entry = Mapping[str, Any]

_APART = frozenset({"format_version", "plan_id", "created", "summary", "members"})
"""What isn't compared: names and times of the plans themselves, what is counted from the rest, and lists of clients,
which are compared where something refers to them."""
_BASIS = {
    "lineage": "the state",
    "epoch": "the state's epoch",
    "serial": "runs since",
    "spec_digest": "the spec",
    "catalog_digest": "a catalog",
}
_WORDS = {"changes": "change", "rollouts": "rollout"}
_ABOUT = ("step", "by", "action", "path", "component", "version", "group", "platform", "from", "to", "reason")
"""What an entry is about, where these are words or numbers; all else is what it says of that."""
_ABOUT_SOME = {"rollouts": ("component", "version", "group"), "fleet_moves": ("kind", "before", "group")}
_BRIEF = frozenset(_WORDS.values())
"""What its subject says enough of where it is new or gone."""
_PLAIN = frozenset({"", "says"})
"""Keys whose values need no name."""
_REFERS = frozenset({"members", "clients", "bytes"})
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_MARKS = {"added": "+", "removed": "-", "changed": "~"}
_NOT = "no"
_NEAR = 60
"""Seconds: times of two plans that are as far from the making of each but for so much are the same."""


class _Side(NamedTuple):
    """What one of the plans says of a subject: `names` are its clients, `says` the rest by its keys."""

    clients: int | None
    bytes: int | None
    names: set[str]
    says: dict[str, list[str]]


def plan_difference(old: Entry, new: Entry) -> dict[str, Any]:
    """Give the document of what differs between two plans' documents, the earlier one first."""
    sides = [_Plan(document) for document in (old, new)]
    keys = [key for key in dict.fromkeys((*old, *new)) if key not in _APART]
    found = [
        *({"what": "basis", **_one(_BASIS[key], None, None, "changed")} for key in _BASIS if old[key] != new[key]),
        *(entry for key in keys if key not in _BASIS for entry in _between(key, *sides)),
    ]
    return {
        "format_version": FORMAT_VERSION,
        "old": {"plan_id": old["plan_id"], "created": old["created"], "clients": sum(old["clients"].values())},
        "new": {"plan_id": new["plan_id"], "created": new["created"], "clients": sum(new["clients"].values())},
        "differences": found,
    }


def plan_difference_text(document: Entry, *, look: Look = PLAIN) -> str:
    """Render that document: a row for each difference."""
    differences = document["differences"]
    old, new = document["old"], document["new"]
    lines = [f"From plan {old['plan_id']} ({old['created']}) to {new['plan_id']} ({new['created']}):"]
    if old["clients"] != new["clients"]:
        lines.append(f"{count_text(old['clients'], 'client')} -> {new['clients']}")
    rows = [(f"  {_MARKS[entry['kind']]}", entry["what"], entry["subject"], _sides(entry)) for entry in differences]
    lines += table(rows, width=look.width)
    if not differences:
        lines.append("Both plans do the same.")
    return page(lines, look.width)


def _sides(entry: Entry) -> str:
    """Write what was and what is; of an entry that is new or gone the one there is."""
    sides = [side for side in (entry["before"], entry["after"]) if side]
    counts = [{key: side[key] for key in ("clients", "bytes")} for side in sides]
    if any("says" in side for side in sides) and counts[0] == counts[-1] and len(sides) > 1:
        sides = [{"says": side.get("says", "-")} for side in sides]
    texts = dict.fromkeys(map(_side, sides))
    moved = [
        f"{entry[key]} {word}" for key, word in (("clients_new", "new"), ("clients_gone", "gone")) if entry.get(key)
    ]
    return " -> ".join(texts) + (f" ({', '.join(moved)})" if moved and entry["kind"] == "changed" else "")


def _side(side: Entry) -> str:
    clients = [count_text(side["clients"], "client")] if side.get("clients") is not None else []
    size = [size_text(side["bytes"])] if side.get("bytes") is not None else []
    return ", ".join([*clients, *size, *([str(side["says"])] if side.get("says") else [])])


def _one(subject: str, before: Entry | None, after: Entry | None, kind: str = "") -> dict[str, Any]:
    kind = kind or ("added" if before is None else "removed" if after is None else "changed")
    return {"kind": kind, "subject": subject, "before": before, "after": after}


def _between(key: str, old: _Plan, new: _Plan) -> Iterator[dict[str, Any]]:
    """Give what differs below a key of the documents."""
    had, has = old.told(key), new.told(key)
    for what, subject in dict.fromkeys((*had, *has)):
        before, after = had.get((what, subject)), has.get((what, subject))
        kept = _same_said(before, after, old.made, new.made) if before and after else frozenset()
        alone = not (before and after)
        was, is_now = (
            _written(side, kept, alone=alone, brief=alone and what in _BRIEF) if side else None
            for side in (before, after)
        )
        had_names, has_names = (side.names if side else set() for side in (before, after))
        if was == is_now and had_names == has_names:
            continue
        moved = {"clients_new": len(has_names - had_names), "clients_gone": len(had_names - has_names)}
        yield {"what": what, **_one(subject, was, is_now), **(moved if had_names or has_names else {})}


def _same_said(before: _Side, after: _Side, old: datetime, new: datetime) -> frozenset[str]:
    """Give the keys of which both sides say the same."""

    def same(one: str, other: str) -> bool:
        if one == other:
            return True
        times = _time(one), _time(other)
        if times[0] is None or times[1] is None:
            return False
        return abs(((times[0] - old) - (times[1] - new)).total_seconds()) < _NEAR

    return frozenset(
        key
        for key, said in before.says.items()
        if len(said) == len(after.says.get(key, ())) and all(map(same, said, after.says[key]))
    )


def _written(side: _Side, kept: frozenset[str], *, alone: bool, brief: bool) -> dict[str, Any]:
    """Write a side, without the keys of which the other one says the same.

    Of one that is `alone` flags that aren't set are left out, and all but sentences where it is to be `brief`.
    """
    says = ", ".join(
        f"{'' if key in _PLAIN else f'{key} '}{' / '.join(said)}"
        for key, said in side.says.items()
        if key not in kept and any(said) and not (alone and key and said == [_NOT]) and (key in _PLAIN or not brief)
    )
    return {"clients": side.clients, "bytes": side.bytes, **({"says": says} if says else {})}


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
    except ValueError:
        return None


class _Plan:
    """A plan's document, as something to compare."""

    def __init__(self, document: Entry) -> None:
        self._document = document
        self.made = datetime.fromisoformat(document["created"])

    def told(self, key: str) -> dict[tuple[str, str], _Side]:
        """Give what the plan says below a key, by what that is and what it is about."""
        found: dict[tuple[str, str], _Side] = {}
        self._tell(key, self._document.get(key), found)
        return found

    def _tell(self, key: str, value: Any, found: dict[tuple[str, str], _Side]) -> None:
        what = _WORDS.get(key, key)
        if isinstance(value, dict):
            for name, part in value.items():
                if isinstance(part, (dict, list)):
                    self._tell(f"{key}.{name}", part, found)
                else:
                    found[what, name] = _Side(None, None, set(), {"": [_shown(part)]})
        elif isinstance(value, list):
            for entry in value:
                if isinstance(entry, dict):
                    self._add(key, entry, found)
                else:
                    found[what, _shown(entry)] = _Side(None, None, set(), {})
        elif value not in {None, ""}:
            found[what, ""] = _Side(None, None, set(), {"": [_shown(value)]})

    def _add(self, key: str, entry: Entry, found: dict[tuple[str, str], _Side]) -> None:
        """Add an entry to those that are about the same."""
        about = _ABOUT_SOME.get(key, _ABOUT)
        named = [name for name in about if isinstance(entry.get(name), (str, int))]
        subject = " ".join(str(entry[name]) for name in named if entry[name] != "")
        place = _WORDS.get(key, key), subject
        side = found.get(place, _Side(None, None, set(), {}))
        clients, size = entry.get("clients"), entry.get("bytes")
        each = clients if key == "changes" and clients is not None else 1
        said = {name: list(texts) for name, texts in side.says.items()}
        for name, part in entry.items():
            if name not in named and name not in _REFERS:
                for path, text in _leaves(name, part):
                    said[path] = sorted({*said.get(path, ()), text})
        found[place] = _Side(
            side.clients if clients is None else (side.clients or 0) + clients,
            side.bytes if size is None else (side.bytes or 0) + size * each,
            side.names
            | {client for cohort in entry.get("members", ()) for client in self._document["members"][cohort]},
            said,
        )


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Give the words and numbers in a value, by their dotted paths."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves(f"{path}.{name}", part)
    elif isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        for at, part in enumerate(value):
            yield from _leaves(f"{path}.{at}", part)
    elif isinstance(value, list):
        yield path, ", ".join(map(_shown, value))
    else:
        yield path, _shown(value)


def _shown(value: Any) -> str:
    """Write a word, a number or a flag; of a digest its beginning."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else _NOT
    text = str(value)
    return text[:12] if _DIGEST.fullmatch(text) else text
