"""What is attached to releases comes along where others take it from here, and never stands in the way."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.secret import SecretRef
from reconciler.model.spec import ROLES, RepositorySpec
from tests.unit.workbench import COMPONENT, Opened

ALONG = {"data-2.cdiff": b"increment", "data.sign": b"signature"}


def held(bench: Any, version: str = "2") -> list[str]:
    with bench.work() as work:
        releases = {release.version: release for release in work.store.inspect().releases}
    return [file.name for file in releases[version].attached]


def offer(bench: Any) -> None:
    bench.source.add(COMPONENT, "2", {"data": b"2"}, attached=ALONG)


def publish(bench: Any, folder: Path) -> None:
    repository = RepositorySpec(
        path=folder / "publish",
        publish="downloaded",
        root_keys=(),
        threshold=1,
        online_key=SecretRef("file", "key"),
        expires=dict.fromkeys(ROLES, timedelta(days=9)),
    )
    bench.spec = replace(bench.spec, repository=repository)


def test_what_is_attached_comes_where_it_is_passed_on_to_others(opened: Opened, tmp_path: Path) -> None:
    bench = opened(("a",))
    publish(bench, tmp_path)
    offer(bench)
    report = bench.apply()
    assert held(bench) == ["data-2.cdiff", "data.sign"]
    assert bench.running("2") == {"a"}
    assert set(bench.machines["a"].components[COMPONENT].versions["2"]) == {"data"}
    assert report.failed == ()


def test_what_is_attached_is_not_fetched_where_nobody_takes_it_from_here(opened: Opened) -> None:
    bench = opened(("a",))
    offer(bench)
    before = bench.source.calls["open"]
    bench.apply()
    assert held(bench) == []
    assert bench.source.calls["open"] == before + 1


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_an_attached_file_that_cannot_be_had_is_told_and_costs_nothing_else(
    opened: Opened, tmp_path: Path, how: str
) -> None:
    bench = opened(("a",))
    publish(bench, tmp_path)
    offer(bench)
    getattr(bench.source, how).add("data.sign")
    report = bench.apply()
    assert held(bench) == ["data-2.cdiff"]
    assert bench.running("2") == {"a"}
    assert report.failed == ()
    assert any("data.sign isn't passed on" in text for text in bench.events("warning"))


def test_a_plan_counts_the_bytes_that_are_fetched_and_no_others(opened: Opened, tmp_path: Path) -> None:
    bench = opened(("a",))
    sizes = []
    for version, along in (("2", {}), ("3", ALONG), ("4", {**ALONG, "data-4.cdiff": b"another"})):
        files = {"data": version.encode() * 9, "same": b"in each release", "twin": b"in each release"}
        bench.source.add(COMPONENT, version, files, attached=along)
        if version == "3":
            publish(bench, tmp_path)
        (download,) = bench.plan().downloads
        sizes.append(download.bytes)
        report = bench.apply()
        assert report.bytes_received == download.bytes
    assert sizes == [9 + 15, 9 + 18, 9 + 7]
