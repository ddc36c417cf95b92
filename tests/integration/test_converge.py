"""For random specs, catalogs and fleets: plan, apply, plan again, and nothing is left; on fakes and on real shells."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.client.reach import Reach
from reconciler.execute.engine import run_plan
from reconciler.execute.outcome import is_complete
from reconciler.observe.observed import Sight
from reconciler.planning import Following, PlanOptions, new_plan
from reconciler.specfile.load import load_spec
from reconciler.storage.state import State
from reconciler.storage.store import Store
from reconciler.workspace import Means, Plugins, Workspace
from tests.fakes import FakeClient, FakeSource, FakeTransport

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.contracts import Source, Transport
    from reconciler.model.plan import Plan
    from reconciler.model.report import Report
    from reconciler.model.spec import SourceSpec, Spec

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OPTIONS = PlanOptions(Sight(forks=2))
IDS = ("rules", "engine", "driver")

catalogs = st.fixed_dictionaries(
    {name: st.sampled_from([["smart"], ["conventional"], ["smart", "conventional"]]) for name in IDS}
)
offered = st.lists(st.tuples(st.sampled_from(IDS), st.integers(1, 4)), max_size=6, unique=True)
fleets = st.lists(st.sampled_from(["smart", "conventional", None]), min_size=1, max_size=3)
pins = st.dictionaries(st.sampled_from(IDS), st.integers(1, 4), max_size=2)
days = st.lists(st.tuples(offered, pins), min_size=1, max_size=3)


class Quiet(Plugins):
    """The plugins of a spec, but for its source, and for its clients where they are faked."""

    def __init__(self, spec: Spec, means: Means, source: FakeSource, transport: FakeTransport | None) -> None:
        super().__init__(spec, means)
        self._source, self._transport = source, transport

    def source(self, source: SourceSpec) -> Source:
        return self._source

    def transport(self, group: str) -> Transport:
        return self._transport or super().transport(group)


def write_spec(folder: Path, catalog: dict[str, list[str]], methods: list[str | None], wanted: dict[str, int]) -> Spec:
    components = [
        {"id": name, "name": name, "kind": "pattern", "version_scheme": "integer", "scan_methods": scan}
        for name, scan in catalog.items()
    ]
    (folder / "catalog.yaml").write_text(yaml.safe_dump({"version": 1, "name": "c", "components": components}))
    groups = {}
    for at, method in enumerate(methods):
        clients = [{"name": f"c{at}-{n}", "install_root": f"clients/c{at}-{n}"} for n in range(2)]
        group = {"transport": {"type": "local"}, "install_root": "clients", "clients": clients}
        groups[f"g{at}"] = {**group, **({"scan_method": method} if method else {})}
    spec = {
        "version": 1,
        "catalogs": ["catalog.yaml"],
        "server": {"store": "store", "state": "sqlite:///state.db"},
        "sources": [{"name": "fake", "type": "directory", "path": "unused"}],
        "components": {"*": {}, **{name: {"version": str(version)} for name, version in wanted.items()}},
        "groups": groups,
    }
    (folder / "updoser.yaml").write_text(yaml.safe_dump(spec))
    return load_spec(folder / "updoser.yaml", environ={})


def one_round(
    folder: Path, spec: Spec, source: FakeSource, transport: FakeTransport | None
) -> tuple[Plan, Report, Plan]:
    """Plan, apply and plan again; give both plans and the report."""
    means = Means(
        run_id=f"run-{random.getrandbits(60)}",
        clock=lambda: NOW,
        secret=str,
        emit=lambda _event: None,
        stop=Event(),
        public=str,
    )
    plugins = Quiet(spec, means, source, transport)
    reach = Reach(plugins.transport, means.stop)
    with State.open(spec.server.state, clock=means.clock) as state:
        work = Workspace(
            spec=spec, store=Store(spec.server.store), state=state, plugins=plugins, reach=reach, means=means
        )
        first = new_plan(work, OPTIONS)
        state.record_plan(first.plan_id, "", 0, NOW)
        report = run_plan(first, work, forks=2, following=Following(first, work, OPTIONS))
        second = new_plan(work, OPTIONS)
        work.close()
    return first, report, second


def check_convergence(
    folder: Path,
    catalog: dict[str, list[str]],
    methods: list[str | None],
    timeline: list[tuple[list[tuple[str, int]], dict[str, int]]],
    transport: FakeTransport | None,
) -> None:
    source = FakeSource("fake")
    for releases, wanted in timeline:
        for component, version in releases:
            content = {"data": f"{component} {version}".encode(), "same": b"the same in all"}
            source.add(component, str(version), content)
        first, report, second = one_round(folder, write_spec(folder, catalog, methods, wanted), source, transport)
        assert second.empty, second
        assert not second.drift
        if not first.empty:
            assert is_complete(report), report


@given(catalogs, fleets, days)
@settings(max_examples=25, deadline=None)
def test_on_fakes(
    tmp_path_factory: pytest.TempPathFactory,
    catalog: dict[str, list[str]],
    methods: list[str | None],
    timeline: list[tuple[list[tuple[str, int]], dict[str, int]]],
) -> None:
    folder = tmp_path_factory.mktemp("fleet")
    clients = {f"c{at}-{n}": FakeClient() for at in range(3) for n in range(2)}
    check_convergence(folder, catalog, methods, timeline, FakeTransport(clients))


@given(catalogs, fleets, days)
@settings(max_examples=8, deadline=None)
def test_on_real_shells(
    tmp_path_factory: pytest.TempPathFactory,
    catalog: dict[str, list[str]],
    methods: list[str | None],
    timeline: list[tuple[list[tuple[str, int]], dict[str, int]]],
) -> None:
    check_convergence(tmp_path_factory.mktemp("fleet"), catalog, methods, timeline, None)


@pytest.mark.parametrize("fault", ["unreachable", "refuses_login"])
def test_a_client_that_cannot_be_reached_is_unknown_until_it_can(tmp_path: Path, fault: str) -> None:
    clients = {f"c0-{n}": FakeClient() for n in range(2)}
    source = FakeSource("fake")
    content = {"data": b"one"}
    source.add("rules", "1", content)
    spec = write_spec(tmp_path, {"rules": ["smart"], "engine": ["smart"], "driver": ["smart"]}, [None], {})
    setattr(clients["c0-1"], fault, True)
    _first, report, second = one_round(tmp_path, spec, source, FakeTransport(clients))
    assert (report.total("changed"), report.total("unreachable")) == (1, 1)
    assert [finding.clients for finding in second.unknown] == [1]
    setattr(clients["c0-1"], fault, False)
    _first, report, second = one_round(tmp_path, spec, source, FakeTransport(clients))
    assert (report.total("changed"), report.total("ok")) == (1, 1)
    assert second.empty
    assert not second.unknown
