"""A site at work: how many clients at a time, and for a controller that dies in the midst of an apply."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest

from reconciler.assembly import utc_now
from reconciler.storage.state import State
from tests.fleet import ONE_WAVE, Fleet
from tests.integration.test_sites_end_to_end import CLIENTS, RULES, at_broker, sites_fleet, worker_at
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from tests.rabbitmq import RabbitMQ

pytestmark = [pytest.mark.needs("rabbitmq-server", "epmd", "openssl"), pytest.mark.xdist_group("rabbitmq")]

BUSY = ("lyon-1", "lyon-2")


def held_fleet(folder: Path, broker: RabbitMQ, held: str) -> Fleet:
    """Give a fleet of lyon alone, whose clients note when they begin to switch to `rules` and when they go on.

    In between, those of the pattern `held` wait as long as there is no file `go`.
    """
    notes = folder / "notes"
    hook = (
        f'name=${{UPDOSER_ROOT##*/}}; echo "begin $name" >>{notes}; case $name in {held}) '
        f'while [ ! -e {folder}/go ]; do sleep 0.05; done;; esac; echo "end $name" >>{notes}'
    )
    components = {"rules": {"hooks": {"before": {"run": hook, "timeout": "4m"}}}, "engine": {}}
    fleet = sites_fleet(folder, at_broker(broker) | {"beat": "1s"})
    for part in ("groups", "sites"):
        del fleet.spec[part]["paris"]
    fleet.write(components=components, auto_update=ONE_WAVE)
    return fleet


def notes(fleet: Fleet) -> list[tuple[str, str]]:
    """Give what clients noted, in its order: a word and the client."""
    with suppress(FileNotFoundError):
        return [(word, name) for word, name in map(str.split, (fleet.folder / "notes").read_text().splitlines())]
    return []


def noted(fleet: Fleet, wanted: str) -> list[str]:
    """Give the clients that noted a word."""
    return [name for word, name in notes(fleet) if word == wanted]


def changed(fleet: Fleet) -> Counter[str]:
    """Count how often the journal says of a client that it was changed to the rules."""
    with State.open(f"sqlite:///{fleet.folder}/state.db", clock=utc_now) as state:
        entries = [entry for run in state.runs(9) for entry in state.journal_of(run.run_id)]
    return Counter(
        entry.client for entry in entries if entry.component == "rules" and entry.client and entry.outcome == "changed"
    )


def test_a_site_finishes_what_it_began_for_a_controller_that_was_killed_and_begins_nothing_more(
    broker: RabbitMQ, tmp_path: Path, stack: ExitStack
) -> None:
    fleet = held_fleet(tmp_path / "sites", broker, "*")
    clients = [client["name"] for client in fleet.spec["groups"]["lyon"]["clients"]]
    with worker_at("lyon", broker, fleet, processes=1, forks=2):
        apply = fleet.start("apply", "--auto-approve")
        stack.callback(apply.communicate)
        stack.callback(apply.kill)
        until(lambda: len(noted(fleet, "begin")) == 2, apply)
        apply.kill()
        apply.wait()
        log = fleet.folder / "at-lyon" / "worker.log"
        until(lambda: "goes back: a worker at the site lyon didn't hear of the controller" in log.read_text())
        (fleet.folder / "go").touch()
        begun = noted(fleet, "begin")
        until(lambda: all(fleet.current(name, "rules") for name in begun))
        done = fleet.apply("--format", "json")
    assert done.code == 0, done.err
    assert [fleet.current(name, "rules")["rules.db"] for name in clients] == [RULES["1"]] * len(clients)
    assert Counter(noted(fleet, "begin")) == dict.fromkeys(clients, 1)
    assert changed(fleet) == dict.fromkeys(set(clients) - set(begun), 1)


def test_the_next_apply_leaves_alone_whom_a_site_still_works_on_for_one_that_was_killed_and_then_converges(
    broker: RabbitMQ, tmp_path: Path, stack: ExitStack
) -> None:
    fleet = held_fleet(tmp_path / "sites", broker, "lyon-[12]")
    clients = [client["name"] for client in fleet.spec["groups"]["lyon"]["clients"]]
    with worker_at("lyon", broker, fleet, processes=2, forks=2 * len(clients)):
        apply = fleet.start("apply", "--auto-approve")
        stack.callback(apply.communicate)
        stack.callback(apply.kill)
        until(lambda: len(noted(fleet, "begin")) == len(clients), apply)
        apply.kill()
        apply.wait()
        second = fleet.apply("--format", "json")
        recap = second.json["recap"]["lyon"]
        assert (second.code, recap["failed"], recap["stale"] >= 2) == (0, 0, True), second.err
        assert [fleet.current(name, "rules") for name in BUSY] == [{}, {}]
        (fleet.folder / "go").touch()
        until(lambda: all(fleet.current(name, "rules") for name in BUSY))
        until(lambda: "No changes" in fleet.apply().out)
        before = fleet.listing()
        assert "No changes" in fleet.apply().out
        assert fleet.listing() == before
    assert [fleet.current(name, "rules")["rules.db"] for name in clients] == [RULES["1"]] * len(clients)
    assert Counter(noted(fleet, "begin")) == dict.fromkeys(clients, 1)
    assert set(changed(fleet).values()) <= {1}


def test_a_site_works_on_no_more_clients_at_a_time_than_the_file_of_the_fleet_says(
    broker: RabbitMQ, tmp_path: Path, stack: ExitStack
) -> None:
    fleet = held_fleet(tmp_path / "sites", broker, "*")
    fleet.spec["sites"]["lyon"]["forks"] = 2
    fleet.write()
    with worker_at("lyon", broker, fleet, processes=2, forks=20):
        apply = fleet.start("apply", "--auto-approve")
        stack.callback(apply.kill)
        until(lambda: len(noted(fleet, "begin")) >= 2, apply)
        (fleet.folder / "go").touch()
        _, said = apply.communicate(timeout=PATIENCE)
    assert apply.returncode == 0, said
    at_work = accumulate(1 if word == "begin" else -1 for word, _name in notes(fleet))
    assert max(at_work) == 2
    assert len(noted(fleet, "end")) == CLIENTS
