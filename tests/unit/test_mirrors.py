"""Mirrors in the layouts of other programs: what a plan says of them, and what an apply makes of that."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.offer import Withdrawal
from reconciler.model.release import Catalog
from reconciler.model.spec import MirrorSpec, PluginConfig
from tests.fakes import make_component
from tests.unit.workbench import COMPONENT, Opened

ALONG = {"data-2.cdiff": b"increment", "data.sign": b"signature"}


@pytest.fixture
def bench(opened: Opened) -> Any:
    made = opened(("a",))
    components = {COMPONENT: make_component(COMPONENT)}
    made.spec = replace(made.spec, catalog=Catalog(components, "catalog"))
    return made


def mirror(bench: Any, folder: Path, layout: str = "tree", name: str = "", **more: Any) -> Path:
    """Have the spec publish in a layout; `more` are keys of the spec, options of the layout stand in `options`."""
    options = more.pop("options", {})
    path = folder / (name or layout)
    spec = MirrorSpec(
        **{
            "name": name or layout,
            "plugin": PluginConfig("layout", layout, options),
            "path": path,
            "publish": "downloaded",
            **more,
        }
    )
    bench.spec = replace(bench.spec, mirrors=(*(one for one in bench.spec.mirrors if one.name != spec.name), spec))
    return path


def said(plan: Any) -> list[str]:
    return [
        f"{one.repository}: {' '.join(filter(None, (one.component, one.to, one.kind)))}: {one.reason}"
        for one in plan.publishes
    ]


def lying(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def test_a_plan_says_what_a_mirror_gets_and_the_apply_writes_it_and_the_next_plan_has_nothing(
    bench: Any, tmp_path: Path
) -> None:
    path = mirror(bench, tmp_path)
    plan = bench.plan()
    assert said(plan) == ["tree: rules 1 release: downloaded"]
    assert not path.exists()
    assert bench.apply(plan=plan).published == 1
    assert lying(path) == [f"rules/{name}" for name in ("1/SHA256SUMS", "1/data", "1/same", "latest", "versions.txt")]
    assert bench.plan().publishes == ()


def test_what_is_wanted_comes_and_what_is_beyond_the_kept_ones_goes(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path, options={"keep": 2})
    bench.apply()
    bench.release("2")
    bench.apply()
    bench.release("3")
    plan = bench.plan()
    assert said(plan) == ["tree: rules 1 let go: 3 is there", "tree: rules 3 release: downloaded"]
    bench.apply(plan=plan)
    assert (path / "rules/versions.txt").read_text() == "2\n3\n"
    assert not (path / "rules/1").exists()
    assert bench.plan().publishes == ()


def test_a_version_that_is_withdrawn_vanishes(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path)
    bench.apply()
    bench.release("2")
    bench.apply()
    mirror(bench, tmp_path, withdrawn=(Withdrawal(COMPONENT, "2", "INC-1"),))
    assert said(bench.plan()) == ["tree: rules 2 withdraw: INC-1"]
    bench.apply()
    assert (path / "rules/latest").read_text() == "1\n"
    assert not (path / "rules/2").exists()
    assert bench.plan().publishes == ()


def test_what_is_not_as_it_was_published_is_written_anew(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path)
    bench.apply()
    (path / "rules/1/data").write_bytes(b"rotten")
    (path / "index.html").write_bytes(b"somebody's own")
    assert said(bench.plan()) == ["tree: files: rules/1/data is another one"]
    bench.apply()
    assert (path / "rules/1/data").read_bytes() == b"content 1"
    assert (path / "index.html").exists()
    assert bench.plan().publishes == ()


def test_a_release_that_clients_failed_with_is_not_published_and_what_it_was_to_replace_stays(
    bench: Any, tmp_path: Path
) -> None:
    path = mirror(bench, tmp_path, options={"keep": 1})
    bench.apply()
    bench.release("2")
    bench.machines["a"].broken.add(COMPONENT)
    bench.apply()
    assert (path / "rules/latest").read_text() == "1\n"
    assert (path / "rules/1/data").exists()
    assert not (path / "rules/2").exists()


def test_a_mirror_that_waits_for_the_rollout_gets_a_release_when_it_is_done(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path, publish="after_rollout")
    bench.apply()
    bench.release("2")
    assert said(bench.plan()) == []
    bench.apply(wait=True)
    assert (path / "rules/latest").read_text() == "2\n"


def test_what_was_attached_later_is_fetched_and_passed_on(bench: Any, tmp_path: Path) -> None:
    bench.source.add(COMPONENT, "2", {"data": b"2"}, attached=ALONG)
    bench.apply()
    path = mirror(bench, tmp_path)
    bench.source.lost.add("data.sign")
    plan = bench.plan()
    assert said(plan) == [
        "tree: rules 2 attached: to be fetched: data-2.cdiff, data.sign",
        "tree: rules 2 release: downloaded",
    ]
    bench.apply(plan=plan)
    assert [name for name in lying(path) if "data" in name] == ["rules/2/data", "rules/2/data-2.cdiff"]
    assert said(bench.plan()) == ["tree: rules 2 attached: to be fetched: data.sign"]
    bench.source.lost.clear()
    assert bench.apply().failed == ()
    assert (path / "rules/2/data.sign").read_bytes() == b"signature"
    assert bench.plan().publishes == ()


def test_a_release_that_cannot_lie_in_a_layout_is_told_and_the_rest_goes_on(bench: Any, tmp_path: Path) -> None:
    mirror(bench, tmp_path, "clamav")
    path = mirror(bench, tmp_path)
    plan = bench.plan()
    assert said(plan) == ["tree: rules 1 release: downloaded"]
    assert any(
        "repository clamav: rules 1 isn't published: data is no file that ClamAV loads" in text
        for text in plan.problems
    )
    bench.apply(plan=plan)
    assert (path / "rules/latest").exists()


def test_a_mirror_that_cannot_be_written_is_told_and_another_one_is_written(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"a file, and no folder")
    mirror(bench, tmp_path, name="bad")
    path = mirror(bench, tmp_path)
    report = bench.apply()
    says = f"error: {tmp_path}/bad can't be written: File exists; what is published stays"
    assert [(one.component, one.message) for one in report.failed] == [("repository bad", says)]
    assert (path / "rules/latest").exists()


def test_a_record_that_is_damaged_is_told_with_what_to_do_and_stops_nothing_else(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path)
    bench.apply()
    record = tmp_path / "tree.mirror.json"
    record.write_text('{"releases": [], "files": {"a": 1}}')
    plan = bench.plan()
    assert plan.publishes == ()
    assert any(
        text.startswith(f"repository tree: nothing is published: {record} isn't what was written")
        for text in plan.problems
    )
    record.unlink()
    before = (path / "rules/1/data").stat().st_mtime_ns
    bench.apply()
    assert (path / "rules/1/data").stat().st_mtime_ns == before
    assert bench.plan().publishes == ()


def test_a_component_that_a_mirror_is_not_to_have_any_more_goes(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path)
    bench.apply()
    mirror(bench, tmp_path, components=frozenset({"other"}))
    assert said(bench.plan()) == ["tree: rules 1 let go: the mirror isn't to have the component"]
    bench.apply()
    assert lying(path) == []
