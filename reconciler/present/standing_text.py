"""How a client stands, for people: what is asked for, what is there, what is in the way, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.look import PLAIN
from reconciler.present.provenance_text import release_text
from reconciler.present.status_rows import reached_text
from reconciler.present.words import page, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.present.look import Look

_VALUE = 60
_NOW = {
    "updated": "as wanted",
    "pending": "installed, and not loaded by its engine",
    "outdated": "not what is wanted",
    "missing": "not what is wanted",
    "damaged": "damaged",
    "ahead": "ahead of what is wanted",
    "deferred": "as wanted by now, and a newer release is deferred",
    "unknown": "unknown whether that is what is wanted",
    "unmanaged": "nothing asks for it, and it stays",
}
_THERE = {
    **_NOW,
    "outdated": "not as wanted: another version of it is there",
    "missing": "not there",
    "damaged": "changed by somebody else since it was put there",
    "unknown": "unknown whether it is as wanted",
}


def standing_text(document: Mapping[str, Any], *, look: Look = PLAIN) -> str:
    """Render how a client stands."""
    platform = f", {document['platform']}" if document["platform"] else ""
    labels = f", labels {', '.join(document['labels'])}" if document["labels"] else ""
    seen = f"seen {document['seen']}" if document["seen"] else "never seen"
    site = f" at site {document['site']}" if document.get("site") else ""
    lines = [f"{document['name']} of group {document['group']}{site}{platform}{labels}: {seen}"]
    since = f" (since {document['failing_since']})" if document["failing_since"] else ""
    lines += [f"  in the way of everything: {reason}{since}" for reason in document["reasons"]]
    lines += _asked(document["holds"])
    lines += _happened(document["happened"], look.width)
    for component in document["components"]:
        lines += ["", *_component(component, document["created"], look.width)]
    for setting in document["settings"]:
        lines += ["", *_setting(setting, look.width)]
    return page(lines, look.width)


def _component(entry: Mapping[str, Any], created: str, width: int | None) -> Iterator[str]:
    has, known = entry["version"] or "nothing", "nothing" if entry["state"] == "unmanaged" else "nothing that is known"
    yield f"{entry['id']}: has {has}, wanted is {entry['wanted'] or known}: {_NOW[entry['state']]}"
    if entry["damage"]:
        yield f"  damaged: {entry['damage']}"
    if entry.get("loaded"):
        yield f"  loaded: {entry['loaded']}"
    yield from _asked(entry["asked"])
    for reason in entry["reasons"]:
        yield f"  in the way: {reason}"
    for rollout in entry["rollouts"]:
        own = f"this client is in wave {rollout['own_wave']}" if rollout["own_wave"] else "this client is in no wave"
        yield f"  rollout of {rollout['version']}: {own} of {rollout['waves']}; {rollout['says']}"
    if entry.get("release"):
        yield f"  release: {entry['release']['version']}, {release_text(entry['release'], created)}"
    if entry.get("protection"):
        yield f"  time to protection: {reached_text(entry['protection'])}"
    yield f"  next: {entry['next']}"
    yield from _happened(entry["happened"], width)


def _setting(entry: Mapping[str, Any], width: int | None) -> Iterator[str]:
    made = f", made of {entry['template']}" if entry["template"] else ""
    yield f"{entry['path'] or entry['id']}: settings{made}: {_THERE[entry['state']]}"
    if entry["trouble"]:
        yield f"  in the way: {entry['trouble']}"
    yield from _asked(entry["asked"])
    yield from _asked(entry["reads"], "reads")
    yield f"  next: {entry['next']}"
    yield from _happened(entry["happened"], width)


def _asked(asked: Iterable[Mapping[str, Any]], word: str = "asked") -> list[str]:
    return [f"  {word}: {one['path']}: {_cut(one['value'])}  # {one['from']}" for one in asked]


def _cut(value: str) -> str:
    return value if len(value) <= _VALUE else f"{value[: _VALUE - 1]}…"


def _happened(happened: Iterable[Mapping[str, Any]], width: int | None) -> list[str]:
    rows = [
        (
            f"  last: {one['time']}",
            f"{one['from'] or '-'} -> {one['to'] or '-'}" if one["component"] else "as a whole",
            one["outcome"],
            f"run {one['run_id']}",
            one["message"] or "",
        )
        for one in happened
    ]
    return table(rows, width=width) if rows else []
