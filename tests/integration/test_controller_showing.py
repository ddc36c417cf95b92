"""What the console has of a run that takes long, while it goes on."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

from reconciler.controller import showing
from reconciler.controller.health import Health
from reconciler.controller.loop import Outside, Signals, keep_current
from reconciler.controller.service import ServiceManager
from reconciler.controller.spec_source import FromFile
from reconciler.desk import Desk
from reconciler.present.terminal import Terminal
from reconciler.storage.state import State
from tests.fakes import NOW
from tests.fleet import Fleet
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_how_far_clients_are_is_shown_while_the_run_that_changes_them_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "EVERY", 0.2)
    first, go = tmp_path / "first", tmp_path / "go"
    waits = {"name": "waits", "for": "rules", "phase": "staged", "where": "client", "timeout": "5m"}
    waits["run"] = f"mkdir {first} 2>/dev/null || until test -e {go}; do sleep 0.1; done"
    fleet = Fleet(tmp_path, 2, defaults={"checks": [waits]}, controller={"interval": "10s"})
    fleet.release("rules", "1", rules_txt=b"one")
    assert fleet.run("status").code == 0  # there is a state
    source, stop = FromFile(Desk(Terminal(), fleet.folder / "updoser.yaml")), Event()
    outside = Outside(ServiceManager(), Health())
    given = source, source.first(stop), outside, Signals(stop, Event())
    controller = Thread(target=keep_current, args=given, kwargs={"forks": 1})
    with State.open_shared(f"sqlite:///{fleet.folder}/state.db", clock=lambda: NOW) as console:

        def updated() -> int:
            kept = console.snapshot("status")
            entries = kept.document["components"] if kept else ()
            return sum(entry["updated"] for entry in entries if entry["id"] == "rules")

        controller.start()
        try:
            until(lambda: updated() == 1)
            assert console.progress() is not None
            go.touch()
            until(lambda: updated() == 2)
        finally:
            go.touch()
            stop.set()
            controller.join(PATIENCE)
    assert not controller.is_alive()
