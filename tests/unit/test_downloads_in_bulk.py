"""What became of downloads is written down together: each transaction waits for the disk, and all clients for that."""

from dataclasses import replace

import pytest

from reconciler.model.spec import ComponentSpec
from tests.fakes import make_component
from tests.postgres import BOTH
from tests.unit.workbench import Bench, Opened

BENCHES_ON = BOTH
NAMES = [f"pattern-{at:02}" for at in range(60)]


@pytest.fixture
def bench(opened: Opened) -> Bench:
    bench = opened({"g": 1})
    bench.spec = replace(bench.spec, components={name: ComponentSpec(make_component(name)) for name in NAMES})
    for name in NAMES:
        bench.source.add(name, "1", {"same": b"same"})  # the store has that, so that all of them end at once
    return bench


def outcomes(bench: Bench) -> dict[str, str]:
    known = {"changed", "failed"}
    noted = [entry for entry in bench.journal() if not entry.client and entry.outcome in known]
    return {entry.component: entry.outcome for entry in noted if entry.component in NAMES}


def test_downloads_that_end_together_have_no_transactions_of_their_own(bench: Bench) -> None:
    before = bench.state._commits
    bench.step()
    assert bench.state._commits - before < len(NAMES)
    assert outcomes(bench) == dict.fromkeys(NAMES, "changed")
    assert {name for name, *_rest in bench.state.contents()} >= set(NAMES)


def test_one_that_fails_leaves_those_that_end_with_it_be(bench: Bench) -> None:
    bench.source.add(NAMES[30], "2", {"other": b"other"})
    bench.source.lost = {"other"}
    bench.step()
    assert outcomes(bench) == {**dict.fromkeys(NAMES, "changed"), NAMES[30]: "failed"}
    assert {name for name, *_rest in bench.state.contents()} >= {*NAMES} - {NAMES[30]}
