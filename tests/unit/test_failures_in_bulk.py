"""How clients fared in rollouts is written down with all else that became of them: many at a time, before a halt."""

import math
from typing import Any

import pytest

from reconciler.execute import collector
from reconciler.model.policy import Limits, Wave
from tests.postgres import BOTH
from tests.unit.workbench import COMPONENT, Bench, Opened

BENCHES_ON = BOTH
WAVE = Wave(share=1.0)


@pytest.fixture
def bench(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(collector, "SPAN", math.inf)  # however slow this machine is
    return opened({"g": 80})


def transactions(bench: Bench) -> int:
    """Take a step, and give how many transactions that was."""
    before = bench.state._commits
    bench.step()
    return bench.state._commits - before


def test_clients_that_fail_or_are_well_again_have_no_transactions_of_their_own(bench: Bench) -> None:
    bench.policy(waves=(WAVE,), limits=Limits(max_fail_percentage=100.0))
    for machine in bench.machines.values():
        machine.broken = {COMPONENT}
    bench.release("2")
    assert transactions(bench) < len(bench.machines)
    assert set(bench.failures("2")) == set(bench.machines)
    for machine in bench.machines.values():
        machine.broken = set()
    assert transactions(bench) < len(bench.machines)
    assert bench.running("2") == set(bench.machines)
    assert bench.failures("2") == {}


def test_a_rollout_is_halted_once_all_that_halts_it_is_written_down(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.policy(waves=(WAVE,), limits=Limits(max_failed=2))
    bench.release("2")
    bad = sorted(bench.machines)[:3]
    for name in bad:
        bench.machines[name].broken = {COMPONENT}
    there: list[Any] = []
    write = bench.state.record_rollout

    def record(rollout: Any) -> None:
        if rollout.status == "halted":
            failed = {entry.client for entry in bench.journal() if entry.outcome == "failed"}
            there.append((failed, set(bench.failures("2"))))
        write(rollout)

    monkeypatch.setattr(bench.state, "record_rollout", record)
    bench.step()
    assert there == [(set(bad), set(bad))]
    assert bench.record("2").status == "halted"
    assert len(bench.running("2")) < len(bench.machines) - len(bad), "others were spared"
