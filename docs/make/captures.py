"""Captures of what updoser shows, for eyes and for a test: documents of a made fleet, rendered as they are read.

    python -m docs.make

The fleet has its days: the first, on which nobody has anything; one of routine; one on which a release is bad and is
halted; and one on which a network is down, so that 3,000 clients don't answer. The documents are made by commands, and
kept in tests/golden/documents; captures are rendered from them, which takes a moment. A capture is named after its
document, its width, and `colour` where it has that.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

from docs.make.facts import ROOT
from docs.make.made_fleet import MadeFleet
from docs.make.pages import write_anew
from reconciler.present.look import Look
from reconciler.present.render import render
from reconciler.present.views import CHECKS, CLIENTS, FORECAST, HISTORY, OUTCOMES, PLAN, REPORT, RUN, STANDING, STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.present.render import View

GOLDEN = ROOT / "tests/golden"
DOCUMENTS = GOLDEN / "documents"
_BEGIN = datetime(2026, 11, 30, 8, tzinfo=UTC)
_DAY = timedelta(days=1)
_SPEC = """\
version: 1
catalogs: [officescan]
vars: {day: 333}
server: {store: store, state: "sqlite:///state.db", families: [ipv4]}
sources:
  - {name: example, type: sample, day: "{{ day }}", history: 0}
duplication: {incrementals: 2, keep_fulls: 2}
auto_update:
  rollout:
    waves:
      - {select: label=canary, soak: 4h, max_failed: 0}
      - {share: 25%, soak: 2h}
      - {share: 100%}
    max_unreachable_percentage: 60
defaults:
  transport: {type: ssh, user: updoser, known_hosts: known_hosts}
  install_root: /var/lib/updoser
  checks:
    - {name: detects, for: virus-pattern, phase: staged, run: scan}
groups:
  office:
    scan_method: conventional
    inventory: {type: csv, path: clients/office.csv}
  branch:
    scan_method: smart
    inventory: {type: csv, path: clients/branch.csv}
"""


# --- documents --------------------------------------------------------------------------------------------------------


def documents() -> dict[str, Any]:
    """Live through the days of the fleet, and give the documents of what is asked meanwhile, by their names."""
    with TemporaryDirectory() as name, mock.patch("reconciler.client.reach.PAUSE", 0):
        fleet = MadeFleet(Path(name), _BEGIN)
        fleet.write("updoser.yaml", _SPEC)
        fleet.write("known_hosts", "")
        fleet.group("office", 48, 1)
        fleet.group("branch", 12, 2)
        return dict(_days(fleet))


def _days(fleet: MadeFleet) -> Iterator[tuple[str, Any]]:
    yield "plan-first-day", fleet.document("plan")
    fleet.run("apply", "--auto-approve", "--forks", "1")
    yield "plan-nothing", fleet.document("plan")
    yield from _routine(fleet)
    yield from _halted(fleet)
    yield from _in_trouble(fleet)


def _routine(fleet: MadeFleet) -> Iterator[tuple[str, Any]]:
    fleet.now += _DAY
    day = ("-e", "day=334")
    yield "plan-routine", fleet.document("plan", *day)
    yield "forecast-routine", fleet.document("forecast", *day)
    yield "report-routine", fleet.document("apply", "--auto-approve", "--forks", "1", *day)
    yield "status-routine", fleet.document("status", *day)
    yield "clients-routine", fleet.document("clients", "--page-size", "12", *day)
    yield "why-waits", fleet.document("why", "office-30", "virus-pattern", *day)
    for hours in (5, 5):
        fleet.now += timedelta(hours=hours)
        fleet.run("apply", "--auto-approve", "--forks", "1", *day)


def _halted(fleet: MadeFleet) -> Iterator[tuple[str, Any]]:
    fleet.now += _DAY
    day = ("-e", "day=335")
    for client in fleet.clients.values():
        client.fails["detects"] = True
    yield "report-halt", fleet.document("apply", "--auto-approve", "--forks", "1", *day, code=3)
    yield "plan-halt", fleet.document("plan", *day)
    yield "status-halt", fleet.document("status", *day)
    yield "why-failed", fleet.document("why", "office-01", "virus-pattern", *day)
    yield "history-runs", fleet.document("history", *day)
    yield "history-client", fleet.document("history", "--client", "office-01", "--component", "virus-pattern", *day)
    yield "history-run", fleet.document("history", fleet.document("history", *day)[0]["run_id"], *day)


def _in_trouble(fleet: MadeFleet) -> Iterator[tuple[str, Any]]:
    """Have 3,000 of 3,200 clients of a third group away, some of them for other reasons than most."""
    fleet.now += _DAY
    for client in fleet.clients.values():
        client.fails.clear()
    fleet.write("updoser.yaml", _SPEC + "  plant:\n    inventory: {type: csv, path: clients/plant.csv}\n")
    fleet.group("plant", 3200, 3)
    away = [client for name, client in fleet.clients.items() if name.startswith("plant")][:3000]
    for number, client in enumerate(away):
        client.unreachable = number % 100 not in {0, 1}
        client.refuses_login = number % 100 == 0
        client.sick = number % 100 == 1
    day = ("-e", "day=336")
    yield "plan-trouble", fleet.document("plan", "--target", "virus-pattern", *day)
    yield (
        "doctor-trouble",
        fleet.document("doctor", "--forks", "1", "office-01", "plant-0001", "plant-0002", "plant-0003", *day, code=1),
    )
    yield (
        "report-trouble",
        fleet.document("apply", "--auto-approve", "--forks", "1", "--target", "virus-pattern", *day, code=3),
    )
    yield "status-trouble", fleet.document("status", *day)
    yield "clients-trouble", fleet.document("clients", "--where", "state=unreachable", "--page-size", "12", *day)


# --- captures ---------------------------------------------------------------------------------------------------------

_VIEWS: Mapping[str, View] = {
    "plan": PLAN,
    "report": REPORT,
    "status": STATUS,
    "forecast": FORECAST,
    "clients": CLIENTS,
    "why": STANDING,
    "history-runs": HISTORY,
    "history-run": RUN,
    "history-client": OUTCOMES,
    "doctor": CHECKS,
}
_WIDE = {"plan-routine": (120, 200), "plan-trouble": (120,), "status-routine": (120,), "report-trouble": (120,)}
COLOURED = ("plan-halt", "report-halt", "status-halt")
_IN_MARKDOWN = ("plan-routine", "plan-trouble", "plan-halt", "report-halt", "status-halt", "forecast-routine")


def view_of(name: str) -> View:
    """Give the view of a document by its name."""
    return _VIEWS.get(name) or _VIEWS[name.partition("-")[0]]


def captures(made: Mapping[str, Any]) -> dict[str, str]:
    """Give the captures of documents by their file names."""
    found = {}
    for name, document in made.items():
        view = view_of(name)
        for width in (80, *_WIDE.get(name, ())):
            found[f"{name}.{width}.txt"] = render(document, "text", view, look=Look(width))
        if name in COLOURED:
            found[f"{name}.80.colour.txt"] = render(document, "text", view, look=Look(80, colour=True))
        if name in _IN_MARKDOWN:
            found[f"{name}.md"] = render(document, "markdown", view)
    return found


def kept() -> dict[str, Any]:
    """Read the documents that were made last."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DOCUMENTS.glob("*.json"))}


def write() -> None:
    """Make documents and captures anew."""
    made = documents()
    texts = {f"documents/{name}.json": f"{json.dumps(made[name], separators=(',', ':'))}\n" for name in sorted(made)}
    texts |= captures(made)
    for path in [*GOLDEN.glob("*.*"), *DOCUMENTS.glob("*.*")]:
        if path.relative_to(GOLDEN).as_posix() not in texts:
            path.unlink()
    DOCUMENTS.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_anew(GOLDEN / name, text)
