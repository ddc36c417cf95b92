"""A source that was once signed never falls back to what nobody signed, whatever is changed, cut off or left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.offer import SourceReport
from reconciler.model.release import SignedBy
from reconciler.model.spec import PluginConfig, SourceSpec
from reconciler.observe.upstream import merge_offers, read_sources, remember_signed
from reconciler.storage.state import State
from reconciler.storage.tables import SOURCES
from tests.fakes import NOW, make_component, make_release

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPONENTS = {name: make_component(name) for name in ("rules", "engine")}
BARE = SourceSpec("vendor", PluginConfig("source", "http"))
SIGNED, EITHER = replace(BARE, signed=True, vouches=True), replace(BARE, vouches=True)
ALLOWED = replace(BARE, may_outrank=True)


class Site:
    """A state, and one source that is read into it."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.now: datetime = NOW

    def read(self, spec: SourceSpec, *versions: str, signed: tuple[str, ...] = (), error: bool = False) -> None:
        """Read the source as the spec has it now; it has `versions`, and signatures of those that are `signed`."""

        class Saying:
            def releases(self, _components: Any) -> SourceReport:
                if error:
                    raise OSError("cut off")
                by = SignedBy(scheme="minisign", keys=("k",))
                made = (make_release("rules", version, {"a": version.encode()}) for version in versions)
                return SourceReport(
                    "", tuple(replace(one, signed=by if one.version in signed else None) for one in made)
                )

        self.now += timedelta(hours=1)
        before = {report.source: report for report, _last in self.state.source_reports()}
        for report in read_sources([(spec, Saying())], COMPONENTS):  # type: ignore[list-item]
            kept = remember_signed(report, before.get(report.source), COMPONENTS, self.now)
            self.state.record_source(kept, self.now)

    def offered(self, spec: SourceSpec) -> tuple[dict[str, bool], list[str]]:
        """Give the versions that are offered, each with whether it is signed, and what is held."""
        reports = [report for report, _last in self.state.source_reports()]
        offers, held = merge_offers(reports, [spec], COMPONENTS)
        found = {offer.release.version: offer.release.signed is not None for offer in offers}
        return found, [entry.says for entry in held]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    folder = tmp_path_factory.mktemp("state")
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW + timedelta(days=9)) as opened:
        yield opened


@pytest.fixture
def site(state: State) -> Site:
    with state._write() as connection:
        connection.execute(SOURCES.delete())
    return Site(state)


def test_a_source_whose_verification_is_taken_out_of_the_spec_is_held_above_what_was_signed(site: Site) -> None:
    site.read(SIGNED, "7", "8")
    site.read(BARE, "7", "8", "9")
    offered, held = site.offered(BARE)
    assert offered == {"7": False, "8": False}
    (said,) = held
    assert said == (
        "rules 9 of source vendor is held: it isn't signed, and 8 of the same source still was when it was read at "
        f"{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}: verify it as before, or `may_outrank: true` allows it"
    )
    assert site.offered(ALLOWED)[0] == {"7": False, "8": False, "9": False}


def test_a_release_whose_signature_is_missing_where_any_proof_counts_is_held_once_there_was_one(site: Site) -> None:
    site.read(EITHER, "7")
    assert site.offered(EITHER)[0] == {"7": False}
    site.read(EITHER, "7", "8", signed=("8",))
    assert site.offered(EITHER)[0] == {"7": False, "8": True}
    site.read(EITHER, "7", "8", "9", signed=("8",))
    offered, (held,) = site.offered(EITHER)
    assert offered == {"7": False, "8": True}
    assert "8 of the same source still was" in held
    assert "ask its publisher for the signature" in held


def test_from_one_scheme_of_signatures_to_another_a_source_may_change(site: Site) -> None:
    site.read(replace(SIGNED, plugin=PluginConfig("source", "tuf")), "7")
    site.read(SIGNED, "8", signed=("8",))
    assert site.offered(SIGNED) == ({"8": True}, [])


def test_another_component_of_the_same_source_that_was_never_signed_is_offered(site: Site) -> None:
    site.read(SIGNED, "7")
    report = SourceReport("vendor", (make_release("engine", "9", {"a": b""}),), signed_up_to={"rules": "7"})
    offers, held = merge_offers([report], [BARE], COMPONENTS)
    assert ([offer.release.component for offer in offers], held) == (["engine"], [])


def test_what_was_signed_is_known_of_a_state_that_has_its_releases_only() -> None:
    by = SignedBy("vendor")
    before = SourceReport("vendor", (make_release("rules", "7", {"a": b""}, signed=by),))
    now = remember_signed(SourceReport("vendor"), before, COMPONENTS, NOW)
    assert (now.signed_up_to, now.signed_until) == ({"rules": "7"}, None)


def test_a_failure_to_read_the_source_forgets_nothing(site: Site) -> None:
    site.read(SIGNED, "8")
    site.read(BARE, error=True)
    site.read(BARE)
    site.read(BARE, "9")
    assert site.offered(BARE)[0] == {}


_versions = st.lists(st.integers(1, 12).map(str), unique=True, max_size=5)
_steps = st.lists(
    st.tuples(st.sampled_from([BARE, SIGNED, EITHER, ALLOWED]), _versions, _versions, st.booleans()), max_size=6
)


@given(steps=_steps)
def test_no_order_of_changes_offers_what_nobody_signed_above_what_somebody_had(steps: Any, state: State) -> None:
    highest, site = 0, Site(state)
    with state._write() as connection:
        connection.execute(SOURCES.delete())
    for spec, versions, signed, error in steps:
        site.read(spec, *versions, signed=tuple(signed), error=error)
        offered, held = site.offered(spec)
        if not error:
            vouched = [int(v) for v in versions if spec.signed or (spec.vouches and v in signed)]
            highest = max([highest, *vouched])
            assert len(offered) + len(held) == len(versions)
        if spec is not ALLOWED:
            bare = [int(version) for version, is_signed in offered.items() if not is_signed]
            assert max(bare, default=0) <= highest or not highest
