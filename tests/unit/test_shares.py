"""Shares are compared as they are written, whatever binary fractions make of them."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.policy import Limits, Wave
from reconciler.model.share import exact, exceeds, of_percent
from reconciler.storage.outcomes import Fared
from tests.unit.workbench import Opened


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 10000))
@settings(max_examples=100, deadline=None)
def test_a_part_exceeds_a_percentage_when_it_does_in_whole_numbers(part: int, whole: int, hundredths: int) -> None:
    assert exceeds(part, whole, hundredths / 100) == (part * 10_000 > hundredths * whole)
    assert exact(of_percent(f"{hundredths / 100}")) == Fraction(hundredths, 10_000)


def test_what_is_just_the_share_that_may_fail_halts_no_rollout_and_one_more_does(opened: Opened) -> None:
    bench = opened({"g": 375})
    bench.policy(waves=(Wave(share=1.0),), limits=Limits(max_fail_percentage=18.4))
    bench.release("2")
    bench.state.record_fared([(f"g-{at}", Fared(bench.key("2"), "no room")) for at in range(69)])
    (step,) = bench.plan().rollouts
    assert (step.counts.failed, step.max_failed, step.record.status) == (69, 69, "running")
    bench.state.record_fared([("g-69", Fared(bench.key("2"), "no room"))])
    (step,) = bench.plan().rollouts
    assert step.record.status == "halted"


def test_a_wave_has_as_many_clients_as_its_share_says(opened: Opened) -> None:
    bench = opened({"g": 25})
    bench.policy(waves=(Wave(share=of_percent("28")), Wave(share=1.0)))
    bench.release("2")
    (step,) = bench.plan().rollouts
    assert step.record.sizes == (7, 18)
