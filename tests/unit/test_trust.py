"""Which offers are believed when several sources serve a component."""

from datetime import UTC, datetime
from typing import Any

from reconciler.model.offer import SourceReport, Withdrawal
from reconciler.model.spec import PluginConfig, SourceSpec
from reconciler.observe.upstream import find_withdrawals, merge_incrementals, merge_offers
from reconciler.storage.state import State
from tests.fakes import make_component, make_release

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
COMPONENTS = {"rules": make_component("rules"), "engine": make_component("engine")}


def source(name: str, *, signed: bool = False, **more: Any) -> SourceSpec:
    return SourceSpec(name, PluginConfig("source", "x"), signed=signed, **more)


def report(name: str, *versions: Any, error: str = "", **more: Any) -> Any:
    return SourceReport(name, tuple(make_release("rules", v, {"a": v.encode()}) for v in versions), error=error, **more)


def offered(reports: Any, specs: Any) -> Any:
    offers, problems = merge_offers(reports, specs, COMPONENTS)
    return sorted((offer.source, offer.release.version) for offer in offers), [entry.says for entry in problems]


VENDOR, DROP = source("vendor", signed=True), source("drop")


def test_what_is_not_signed_may_not_outrank_what_is() -> None:
    found, problems = offered([report("vendor", "1", "2"), report("drop", "0", "3")], [VENDOR, DROP])
    assert found == [("drop", "0"), ("vendor", "1"), ("vendor", "2")]
    (problem,) = problems
    assert problem.startswith("rules 3 of source drop is held: it isn't signed, and would outrank 2 of vendor")


def test_the_spec_can_allow_it() -> None:
    found, problems = offered([report("vendor", "1"), report("drop", "3")], [VENDOR, source("drop", may_outrank=True)])
    assert (found, problems) == ([("drop", "3"), ("vendor", "1")], [])


def test_whoever_cuts_the_signed_source_off_gains_nothing() -> None:
    remembered = report("vendor", "2", error="it can't be reached")
    assert offered([remembered, report("drop", "3")], [VENDOR, DROP])[0] == []
    never_read = report("vendor", error="it can't be reached")
    found, problems = offered([never_read, report("drop", "1")], [VENDOR, DROP])
    assert found == []
    assert "the signed source vendor was never read" in problems[0]


def test_a_signed_source_that_was_never_asked_counts_too() -> None:
    assert offered([report("drop", "1")], [VENDOR, DROP])[0] == []


def test_a_signed_source_that_may_not_serve_the_component_is_no_hindrance() -> None:
    vendor = source("vendor", signed=True, components=frozenset({"engine"}))
    assert offered([report("drop", "3")], [vendor, DROP])[0] == [("drop", "3")]
    assert offered([report("vendor"), report("drop", "3")], [VENDOR, DROP])[0] == [("drop", "3")]


def test_a_source_that_failed_offers_nothing_of_what_it_offered_before() -> None:
    gone = report("drop", "1", error="gone")
    assert offered([gone], [DROP]) == ([], [])
    assert merge_incrementals([gone], []) == []


def test_only_a_signed_source_can_withdraw_and_only_what_it_may_serve() -> None:
    taken_back = (Withdrawal("rules", "2", "INC-1"), Withdrawal("engine", "1", "INC-2"))
    limited = source("vendor", signed=True, components=frozenset({"rules"}))
    reports = [report("vendor", withdrawn=taken_back, error="gone"), report("drop", withdrawn=taken_back)]
    assert find_withdrawals(reports, [limited, DROP]) == {"vendor": [taken_back[0]]}


def test_the_state_remembers_what_a_source_withdrew_and_when_it_wants_to_be_left_alone(state_url: str) -> None:
    later = datetime(2026, 11, 25, tzinfo=UTC)
    with State.open(state_url, clock=lambda: later) as state:
        state.record_source(report("vendor", "1", withdrawn=(Withdrawal("rules", "2", "INC-1"),)), NOW)
        state.record_source(report("vendor", error="busy", cooldown_until=NOW), NOW)
        ((known, when),) = state.source_reports()
        assert (known.error, known.cooldown_until, when) == ("busy", NOW, NOW)
        assert known.withdrawn == (Withdrawal("rules", "2", "INC-1"),)
        assert [release.version for release in known.releases] == ["1"]
        state.record_source(report("vendor", "1", accepted="a strike"), later)
        ((known, when),) = state.source_reports()
        assert (known.accepted, when) == ("a strike", NOW)
        state.record_source(report("vendor", "1"), later)
        ((known, when),) = state.source_reports()
        assert (known.accepted, known.cooldown_until, when) == ("", None, later)
