"""A week of a controller: commits, a bad release, sources and clients that are away, and ten deaths."""

import json
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import soak
from tests.fleet import ROOT

pytestmark = pytest.mark.lasting
END = soak.START + timedelta(hours=soak.HOURS)
LATE = timedelta(hours=4)
"""An interval, and what a round takes: what is forgotten then has been older than it may be for so long."""


class Week:
    """What a week left behind."""

    def __init__(self, folder: Path) -> None:
        self.sites = soak.Sites(folder)
        self.memory: soak.Memory = pickle.loads(self.sites.world.read_bytes())
        self.messages = [json.loads(line) for line in self.sites.told.read_text().splitlines()]

    def versions(self, component: str) -> dict[str, int]:
        """Count clients by the version that they have."""
        has = [components[component].current for _lineage, _epoch, components, _off in self.memory.clients.values()]
        return {version: has.count(version) for version in sorted(set(has))}

    def heard(self) -> Iterator[str]:
        """Give what people read, each message once: one that comes again has the id of the first."""
        for message in {one["id"]: one for one in self.messages}.values():
            for notice in message["notices"]:
                yield f"{notice['change']} {notice['condition']} {notice['about']}".rstrip()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.sites.state)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Week:
    folder = tmp_path_factory.mktemp("week")
    command = [sys.executable, "-W", "error", "-c", "from tests import soak; soak.main()", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Week(folder)


def test_after_a_week_in_which_it_died_ten_times_each_client_is_where_it_should_be(week: Week) -> None:
    assert (week.memory.died, len(soak.DEATHS), week.memory.happened) == (10, 10, len(soak.EVENTS))
    assert week.versions("rules") == {"4": soak.CLIENTS}
    assert week.versions("engine") == {"1.1": soak.CLIENTS}


def test_a_bad_release_reaches_its_canary_and_nobody_else(week: Week) -> None:
    assert 1 <= len(week.memory.sent[f"rules {soak.BAD}"]) <= 3


def test_no_client_is_sent_again_what_it_has_but_those_under_way_when_a_controller_died(week: Week) -> None:
    for what, sent in week.memory.sent.items():
        again = sum(sent.values()) - len(sent)
        assert again <= soak.FORKS * len(soak.DEATHS), what


def test_people_are_told_once_when_something_begins_gets_worse_and_is_over(week: Week) -> None:
    assert list(week.heard()) == [
        "begun spec_rejected",
        "ended spec_rejected",
        f"begun rollout_halted rules {soak.BAD}",
        "begun unknown",
        f"ended rollout_halted rules {soak.BAD}",
        "ended unknown",
        "begun source_stale drop",
        "changed source_stale drop",
        "ended source_stale drop",
    ]
    assert len(week.messages) == len({one["id"] for one in week.messages}) + 1  # it died when it had just sent one


def test_nothing_is_locked_and_nothing_is_kept_for_longer_than_it_should_be(week: Week) -> None:
    assert week.rows("SELECT * FROM lock") == []
    assert week.rows("SELECT holder FROM lease") == [("",)]
    assert week.rows("SELECT * FROM outbox") == []
    oldest_plan = (END - timedelta(days=1) - LATE).timestamp()
    oldest_run = (END - timedelta(days=2) - LATE).timestamp()
    assert week.rows(f"SELECT * FROM plans WHERE created < {oldest_plan} AND status != 'running'") == []
    newest = "SELECT max(started) FROM runs"
    assert week.rows(f"SELECT * FROM runs WHERE started < {oldest_run} AND started < ({newest})") == []
    assert week.rows("SELECT * FROM journal WHERE run_id NOT IN (SELECT run_id FROM runs)") == []
    assert week.rows("SELECT * FROM profiles WHERE fingerprint NOT IN (SELECT fingerprint FROM clients)") == []
    assert len(list((week.sites.folder / "git/commits").iterdir())) == 2
