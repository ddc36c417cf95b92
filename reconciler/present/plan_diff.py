"""What differs between two plans, so that a plan that isn't valid any more explains itself.

Compared are documents: changes and findings by what they are about, with their clients and bytes; rollouts by where
they are. A difference has the form {"what", "kind", "subject", "before", "after"}, with null where there was nothing;
where clients came and went, also {"clients_new", "clients_gone"}, as counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.plan import FINDINGS
from reconciler.present.words import count_text, page, size_text, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Entry = Mapping[str, Any]

FORMAT_VERSION = "1.0"
_ABOUT = ("component", "group", "platform", "from", "to", "reason")
_BASIS = (
    ("lineage", "the state"),
    ("epoch", "the state's epoch"),
    ("serial", "runs since"),
    ("spec_digest", "the spec"),
    ("catalog_digest", "a catalog"),
)
_SENTENCES = ("problems", "notes", "gone")
_MARKS = {"added": "+", "removed": "-", "changed": "~"}


def plan_difference(old: Entry, new: Entry) -> dict[str, Any]:
    """Give the document of what differs between two plans' documents, the earlier one first."""
    found = [
        *({"what": "basis", **_one(says, None, None, "changed")} for key, says in _BASIS if old[key] != new[key]),
        *_between("change", _changes(old), _changes(new)),
        *_between("rollout", _rollouts(old), _rollouts(new)),
        *(entry for kind in FINDINGS for entry in _between(kind, _findings(old, kind), _findings(new, kind))),
        *(entry for kind in _SENTENCES for entry in _between(kind, _sentences(old, kind), _sentences(new, kind))),
    ]
    return {
        "format_version": FORMAT_VERSION,
        "old": {"plan_id": old["plan_id"], "created": old["created"], "clients": sum(old["clients"].values())},
        "new": {"plan_id": new["plan_id"], "created": new["created"], "clients": sum(new["clients"].values())},
        "differences": found,
    }


def plan_difference_text(document: Entry) -> str:
    """Render that document: a line for each difference."""
    differences = document["differences"]
    old, new = document["old"], document["new"]
    lines = [f"From plan {old['plan_id']} ({old['created']}) to {new['plan_id']} ({new['created']}):"]
    if old["clients"] != new["clients"]:
        lines.append(f"{count_text(old['clients'], 'client')} -> {new['clients']}")
    rows = [(f"  {_MARKS[entry['kind']]}", entry["what"], entry["subject"], _sides(entry)) for entry in differences]
    lines += table(rows)
    if not differences and old["clients"] == new["clients"]:
        lines.append("Both plans do the same.")
    return page(lines)


def _sides(entry: Entry) -> str:
    """Write what was and what is; of an entry that is new or gone the one there is."""
    texts = dict.fromkeys(_side(side) for side in (entry["before"], entry["after"]) if side)
    moved = [
        f"{entry[key]} {word}" for key, word in (("clients_new", "new"), ("clients_gone", "gone")) if entry.get(key)
    ]
    return " -> ".join(texts) + (f" ({', '.join(moved)})" if moved and entry["kind"] == "changed" else "")


def _side(side: Entry) -> str:
    if "says" in side:
        return str(side["says"])
    clients = [count_text(side["clients"], "client")] if side.get("clients") is not None else []
    return ", ".join([*clients, *([size_text(side["bytes"])] if side.get("bytes") is not None else [])])


def _one(subject: str, before: Entry | None, after: Entry | None, kind: str = "") -> dict[str, Any]:
    kind = kind or ("added" if before is None else "removed" if after is None else "changed")
    return {"kind": kind, "subject": subject, "before": before, "after": after}


def _between(what: str, old: Mapping[str, Entry], new: Mapping[str, Entry]) -> Iterator[dict[str, Any]]:
    for subject in dict.fromkeys((*old, *new)):
        before, after = old.get(subject), new.get(subject)
        if before == after:
            continue
        had, has = ((side or {}).get("names", frozenset()) for side in (before, after))
        moved = {"clients_new": len(has - had), "clients_gone": len(had - has)} if had or has else {}
        yield {"what": what, **_one(subject, _counted(before), _counted(after)), **moved}


def _counted(side: Entry | None) -> Entry | None:
    return {key: value for key, value in side.items() if key != "names"} if side is not None else None


def _names(document: Entry, entry: Entry) -> set[str]:
    return {name for cohort in entry.get("members", ()) for name in document["members"][cohort]}


def _changes(document: Entry) -> Mapping[str, Entry]:
    """Add up clients and bytes of the changes by what they are about."""
    found: dict[str, dict[str, Any]] = {}
    for change in document["changes"]:
        clients = change.get("clients")
        moved = change.get("bytes")
        subject = _subject(change["action"], [change.get(key) for key in _ABOUT])
        side = found.setdefault(subject, {"clients": None, "bytes": None, "names": set()})
        side["names"] |= _names(document, change)
        if isinstance(clients, int):
            side["clients"] = (side["clients"] or 0) + clients
        if isinstance(moved, int):
            side["bytes"] = (side["bytes"] or 0) + moved * (clients if isinstance(clients, int) else 1)
    return found


def _findings(document: Entry, kind: str) -> Mapping[str, Entry]:
    found: dict[str, dict[str, Any]] = {}
    for finding in document[kind]:
        parts = [finding[key] for key in ("component", "version", "group", "reason")]
        side = found.setdefault(_subject("", parts), {"clients": 0, "bytes": None, "names": set()})
        side["names"] |= _names(document, finding)
        side["clients"] += finding["clients"]
    return found


def _rollouts(document: Entry) -> dict[str, Entry]:
    return {
        _subject("", [entry.get(key) for key in ("component", "version", "group")]): {"says": entry["says"]}
        for entry in document["rollouts"]
    }


def _sentences(document: Entry, kind: str) -> dict[str, Entry]:
    return {str(sentence): {"says": ""} for sentence in document.get(kind, ())}


def _subject(action: str, parts: Sequence[Any]) -> str:
    return " ".join(str(part) for part in (action, *parts) if part)
